//! Why hastctl fails, and with which status.

use core::fmt;

use super::node::LoadError;

/// The statuses that the original ends with: those of `sysexits.h`, and one for what `dump` cannot
/// read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Usage = 64,
    Data = 65,
    NoInput = 66,
    Unavailable = 69,
    Software = 70,
    System = 71,
    CannotCreate = 73,
    Io = 74,
    Unreadable = 255,
}

/// What is told on standard error, and the status.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl fmt::Display) -> Self {
        Self {
            status: status as u8,
            text: text.to_string(),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self {
            status: error.exit_status(),
            text: error.to_string(),
        }
    }
}

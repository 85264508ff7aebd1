//! Keeping the other addresses of a prefix when one is removed.

use carp_proto::{Family, InterfaceName};

use super::{LinuxError, sysctl};

const NAME: &str = "promote_secondaries";

/// Has the kernel keep the other IPv4 addresses of a prefix when the first of them is removed
/// or runs out. By default it removes them, too, those that this program has nothing to do with
/// included.
#[derive(Debug)]
pub(super) struct Promoting {
    /// As it was, if it is to be restored.
    before: Option<u32>,
}

impl Promoting {
    /// Raises the parameter; the error is what prevents that.
    pub(super) fn set(interface: InterfaceName) -> (Self, Option<LinuxError>) {
        let raise = || {
            let before = sysctl::read(Family::V4, interface, NAME)?;
            let before = before.filter(|before| *before == 0);
            if before.is_some() {
                sysctl::write(Family::V4, interface, NAME, 1)?;
            }
            Ok(before)
        };
        match raise() {
            Ok(before) => (Self { before }, None),
            Err(error) => (Self { before: None }, Some(error)),
        }
    }

    /// Has it stay as it is.
    pub(super) fn leave(&mut self) {
        self.before = None;
    }

    pub(super) fn restore(self, interface: InterfaceName) {
        if let Some(before) = self.before {
            // Whatever prevents it, nobody is left to be told.
            let _ = sysctl::write(Family::V4, interface, NAME, before);
        }
    }
}

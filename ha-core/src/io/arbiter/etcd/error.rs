//! Why etcd tells nothing.

use core::time::Duration;
use std::string::String;

use super::{Endpoint, HttpError};
use crate::io::arbiter::RecordError;

/// Why etcd tells nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// An endpoint was not heard in time.
    #[error("{endpoint}: no answer within {time:?}")]
    TimedOut {
        /// Which.
        endpoint: Endpoint,
        /// The time it had.
        time: Duration,
    },
    /// The conversation with an endpoint failed.
    #[error("{endpoint}: {error}")]
    Http {
        /// Which.
        endpoint: Endpoint,
        /// How.
        error: HttpError,
    },
    /// It refuses.
    #[error("{endpoint}: status {status}: {message}")]
    Refused {
        /// Which.
        endpoint: Endpoint,
        /// The status of HTTP.
        status: u16,
        /// What it says, or the beginning of that.
        message: String,
    },
    /// What it says is no JSON.
    #[error("{endpoint}: no JSON: {error}")]
    Json {
        /// Which endpoint.
        endpoint: Endpoint,
        /// What is wrong with it.
        error: String,
    },
    /// A field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: {value}")]
    Value {
        /// Which.
        field: &'static str,
        /// The beginning of the value.
        value: String,
    },
    /// The key holds no record.
    #[error("the record: {0}")]
    Record(RecordError),
    /// The lease would be over before the holder's time is.
    #[error("a lease of {granted} s where {wanted} s were asked for")]
    Lease {
        /// What was asked for.
        wanted: u64,
        /// What was given.
        granted: u64,
    },
    /// An endpoint belongs to another cluster than the one that answered first.
    #[error("cluster {found:x} where {expected:x} has answered before")]
    OtherCluster {
        /// The first one.
        expected: u64,
        /// This one.
        found: u64,
    },
    /// The store has gone back.
    #[error("revision {found} where {seen} was seen before: restored from a backup?")]
    WentBack {
        /// The greatest one that was seen.
        seen: u64,
        /// This one.
        found: u64,
    },
}

impl EtcdError {
    /// Whether another endpoint may know better.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Http { .. } | Self::Json { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

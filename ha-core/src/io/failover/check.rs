//! Health checks: what is looked at, how often, and for how long a look may take.

mod file;
mod http;
mod process;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::sync::watch;

pub use self::file::{FileAge, FreeSpace};
pub use self::http::{HttpError, HttpGet, MAX_ANSWER};
pub use self::process::PidFile;
#[cfg(target_os = "linux")]
pub use self::process::ProcessName;
use super::command::{Command, CommandError};
use super::part::StorageReport;
use crate::failover::{HealthCheck, Unfit};

/// Looks at something.
///
/// One look is over before the next one begins: when its time is over it is dropped, and counts as
/// bad. So it must leave nothing behind when it is dropped.
///
/// # Errors
///
/// [`CheckError`]: why it is not well, for the operator.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Looks once. That it returns without an error says that all is well.
    async fn look(&self) -> Result<(), CheckError>;
}

/// Why something is not well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The look took too long.
    #[error("no result within {limit:?}")]
    TimedOut {
        /// Its time.
        limit: Duration,
    },
    /// Something of the system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An HTTP server does not answer well.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A file was not written for too long.
    #[error("the file is {age:?} old where {limit:?} are allowed")]
    Stale {
        /// How long ago it was written.
        age: Duration,
        /// How long that may be.
        limit: Duration,
    },
    /// There is too little room.
    #[error("{free} octets are free where {least} are needed")]
    Full {
        /// What is free.
        free: u64,
        /// What must be.
        least: u64,
    },
    /// A file that should contain the number of a process does not.
    #[error("the file does not contain the number of a process")]
    NoNumber,
    /// There is no such process.
    #[error("no such process")]
    NoProcess,
    /// The storage here is not up to date.
    #[error(transparent)]
    Storage(#[from] Unfit),
    /// The probe panicked.
    #[error("it panicked")]
    Panicked,
    /// Something else, of an embedding program.
    #[error(transparent)]
    Other(Box<dyn core::error::Error + Send + Sync>),
}

/// When a check is made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "everywhere, or where the role is")]
pub enum When {
    /// At all times.
    Always,
    /// While this node is active: it looks at what runs only then. When that was not well and
    /// the role was given away, nothing more is known, and this node is trusted again after some
    /// time.
    Active {
        /// After how long.
        forgive: Duration,
    },
}

/// A health check as a unit makes it.
pub struct Check {
    /// Its name, and how many results in a row count.
    pub(super) health: HealthCheck,
    pub(super) probe: Arc<dyn Probe>,
    pub(super) interval: Duration,
    pub(super) limit: Duration,
    pub(super) when: When,
}

impl Check {
    /// Makes a check: at all times, every five seconds, each look at most three.
    #[must_use]
    pub fn new(health: HealthCheck, probe: impl Probe + 'static) -> Self {
        Self {
            health,
            probe: Arc::new(probe),
            interval: Duration::from_secs(5),
            limit: Duration::from_secs(3),
            when: When::Always,
        }
    }

    /// Chooses how long after a look has ended the next one begins.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Chooses how long a look may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Chooses when it is made.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("health", &self.health)
            .field("interval", &self.interval)
            .field("limit", &self.limit)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

/// Well if a TCP connection is accepted.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnect {
    address: SocketAddr,
}

impl TcpConnect {
    /// A connection to this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }
}

#[async_trait]
impl Probe for TcpConnect {
    async fn look(&self) -> Result<(), CheckError> {
        TcpStream::connect(self.address).await?;
        Ok(())
    }
}

/// Well if the command ends with success. Its own [timeout](Command::timeout) should be less than
/// the limit of the check, so that it can be ended gently.
#[async_trait]
impl Probe for Command {
    async fn look(&self) -> Result<(), CheckError> {
        self.execute(&[], core::future::pending()).await?;
        Ok(())
    }
}

/// Well if the storage here is up to date by its own account.
#[derive(Clone, Debug)]
pub struct Replication {
    reports: watch::Receiver<StorageReport>,
}

impl Replication {
    /// What this storage [says](super::Storage::reports).
    #[must_use]
    pub fn new(reports: watch::Receiver<StorageReport>) -> Self {
        Self { reports }
    }
}

#[async_trait]
impl Probe for Replication {
    async fn look(&self) -> Result<(), CheckError> {
        let status = self.reports.borrow().status;
        Ok(status.fitness()?)
    }
}

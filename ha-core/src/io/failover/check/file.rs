//! Files and the room for them.

use core::time::Duration;
use std::boxed::Box;
use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;

use super::super::blocking::Repeated;
use super::super::clock;
use super::{CheckError, Probe};

/// Well if a file was written not too long ago.
#[derive(Clone, Debug)]
pub struct FileAge {
    path: PathBuf,
    limit: Duration,
    worker: Repeated,
}

impl FileAge {
    /// The file of this path, which may be so old. One of the future is as good as new.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, limit: Duration) -> Self {
        Self {
            path: path.into(),
            limit,
            worker: Repeated::default(),
        }
    }
}

#[async_trait]
impl Probe for FileAge {
    async fn look(&self) -> Result<(), CheckError> {
        let path = self.path.clone();
        let found = self.worker.run(move || fs::metadata(path)?.modified());
        let age = clock::time_of_day().duration_since(found.await??);
        let (age, limit) = (age.unwrap_or_default(), self.limit);
        if age > limit {
            return Err(CheckError::Stale { age, limit });
        }
        Ok(())
    }
}

/// Well if a file system has room for users who are not privileged.
#[derive(Clone, Debug)]
pub struct FreeSpace {
    path: PathBuf,
    least: u64,
    worker: Repeated,
}

impl FreeSpace {
    /// So many octets at least, on the file system that holds this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, least: u64) -> Self {
        Self {
            path: path.into(),
            least,
            worker: Repeated::default(),
        }
    }
}

#[async_trait]
impl Probe for FreeSpace {
    async fn look(&self) -> Result<(), CheckError> {
        let path = self.path.clone();
        let found = self.worker.run(move || rustix::fs::statvfs(path));
        let found = found.await?.map_err(std::io::Error::from)?;
        let (free, least) = (found.f_bavail.saturating_mul(found.f_frsize), self.least);
        if free < least {
            return Err(CheckError::Full { free, least });
        }
        Ok(())
    }
}

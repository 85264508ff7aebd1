//! What lies below a resource.

#[cfg(unix)]
mod file;

use std::boxed::Box;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(unix)]
pub use self::file::FileBacking;
use super::super::block::BlockDevice;

/// The file, disk or other device that a resource keeps its metadata, map and data on.
///
/// It is opened when a role that needs it begins, and dropped when the role ends, so that
/// somebody else can use it meanwhile. Implement it to keep others away while it is open.
#[async_trait]
pub trait Backing: Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being used.
    async fn open(&self) -> io::Result<Arc<dyn BlockDevice>>;
}

/// A device that is open all the time.
#[async_trait]
impl Backing for Arc<dyn BlockDevice> {
    async fn open(&self) -> io::Result<Self> {
        Ok(Self::clone(self))
    }
}

//! What lies below a resource.

use std::boxed::Box;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

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

/// A file or disk, which nobody else can open [exclusively] at the same time.
///
/// [exclusively]: super::super::block::DiskOptions::exclusive
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct FileBacking {
    path: std::path::PathBuf,
    options: super::super::block::DiskOptions,
}

#[cfg(unix)]
impl FileBacking {
    /// The file or disk at `path`, through the page cache.
    #[must_use]
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        let options = super::super::block::DiskOptions::default();
        Self::with_options(path, options)
    }

    /// The same, opened as `options` say; but exclusively in any case.
    #[must_use]
    pub fn with_options(
        path: impl Into<std::path::PathBuf>,
        mut options: super::super::block::DiskOptions,
    ) -> Self {
        options.exclusive = true;
        Self {
            path: path.into(),
            options,
        }
    }
}

#[cfg(unix)]
#[async_trait]
impl Backing for FileBacking {
    async fn open(&self) -> io::Result<Arc<dyn BlockDevice>> {
        use super::super::block::{DiskFile, FileDevice};

        let Self { path, options } = self.clone();
        let opened = tokio::task::spawn_blocking(move || DiskFile::open(path, options)).await;
        let file = opened.map_err(io::Error::other)??;
        Ok(Arc::new(FileDevice::new(file)))
    }
}

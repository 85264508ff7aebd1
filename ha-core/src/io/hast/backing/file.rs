//! A file or a disk below a resource.

use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::super::block::{BlockDevice, DiskFile, DiskOptions, FileDevice};
use super::super::super::clock;
use super::Backing;

/// For how long a lock may outlast whoever had it. When a disk that was written is closed, systemd's
/// udevd locks it to look at what is on it now; and a child process has all open files until it has
/// become another program.
const LINGERING: Duration = Duration::from_secs(1);
/// How soon the lock is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// A file or disk, which nobody else can open [exclusively] at the same time.
/// If somebody has it, it is tried again for a second.
///
/// [exclusively]: DiskOptions::exclusive
#[derive(Clone, Debug)]
pub struct FileBacking {
    path: PathBuf,
    options: DiskOptions,
}

impl FileBacking {
    /// The file or disk at `path`, through the page cache.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let options = DiskOptions::default();
        Self::with_options(path, options)
    }

    /// The same, opened as `options` say; but exclusively in any case.
    #[must_use]
    pub fn with_options(path: impl Into<PathBuf>, mut options: DiskOptions) -> Self {
        options.exclusive = true;
        Self {
            path: path.into(),
            options,
        }
    }

    async fn try_open(&self) -> io::Result<DiskFile> {
        let Self { path, options } = self.clone();
        let opened = tokio::task::spawn_blocking(move || DiskFile::open(path, options)).await;
        opened.map_err(io::Error::other)?
    }
}

/// Whether somebody else has it open: of a disk, the system says that it is busy.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{ResourceBusy, WouldBlock};

    matches!(error.kind(), ResourceBusy | WouldBlock)
}

#[async_trait]
impl Backing for FileBacking {
    async fn open(&self) -> io::Result<Arc<dyn BlockDevice>> {
        let until = clock::now() + LINGERING;
        let file = loop {
            let opened = self.try_open().await;
            let taken = opened.as_ref().is_err_and(is_taken);
            if !taken || clock::now() >= until {
                break opened?;
            }
            clock::pause(AGAIN).await;
        };
        Ok(Arc::new(FileDevice::new(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FileBacking) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, [0; 4096]).unwrap();
        (folder, FileBacking::new(path))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_lingers_is_waited_for() {
        let (_folder, backing) = disk();
        let before = backing.open().await.unwrap();
        let again = tokio::spawn(async move { backing.open().await.map(drop) });
        clock::pause(LINGERING / 2).await;
        assert!(!again.is_finished());
        drop(before);
        again.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_somebody_keeps_is_not_waited_for_for_long() {
        let (_folder, backing) = disk();
        let _before = backing.open().await.unwrap();
        let begin = clock::now();
        let refused = backing.open().await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(clock::now() - begin >= LINGERING);
        // What is not there is not waited for.
        let begin = clock::now();
        let missing = FileBacking::new("/nowhere/disk").open().await.map(drop);
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(clock::now(), begin);
    }
}

//! Why a file system is not where it should be.

use std::boxed::Box;
use std::io;
use std::path::PathBuf;
use std::string::{String, ToString};
use std::vec::Vec;

use rustix::io::Errno;

/// Why a file system is not mounted, or not unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mount point is not the absolute path of a directory below `/`.
    #[error("mount point {target:?} where the path of a directory below / is needed")]
    Target {
        /// The mount point.
        target: PathBuf,
    },
    /// The device cannot be used.
    #[error("device {device:?}: {source}")]
    Device {
        /// The device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is mounted at the mount point, or the same in another way: read-only, as a
    /// file system makes itself that finds itself damaged.
    #[error("{target:?} has something else mounted, or in another way")]
    Occupied {
        /// The mount point.
        target: PathBuf,
    },
    /// The device is mounted at another place.
    #[error("device {device:?} is mounted at {target:?}")]
    Elsewhere {
        /// The device.
        device: PathBuf,
        /// Where.
        target: PathBuf,
    },
    /// The kernel does not mount it.
    #[error("cannot mount {device:?} at {target:?}: {source}")]
    Refused {
        /// The device.
        device: PathBuf,
        /// The mount point.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is in use.
    #[error("{target:?} is used by {}", list(.users))]
    Busy {
        /// The mount point.
        target: PathBuf,
        /// The processes that use it, as far as they can be seen. If there are none, the kernel
        /// itself uses it: for swapping, as a loop device, as an export.
        users: Box<[i32]>,
    },
    /// It is not mounted here, but the device is in use: mounted in another mount namespace, or
    /// part of another device.
    #[error("device {device:?} is in use, though not mounted here")]
    Held {
        /// The device.
        device: PathBuf,
    },
    /// The kernel does not unmount it.
    #[error("cannot unmount {target:?}: {source}")]
    Stays {
        /// The mount point.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not say what is mounted.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MountError {
    /// Whether it is but used, which may end.
    pub(super) const fn is_use(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Held { .. })
    }

    pub(in crate::io::failover) fn code(&self) -> i32 {
        match self {
            Self::Device { source, .. }
            | Self::Refused { source, .. }
            | Self::Stays { source, .. }
            | Self::Io(source) => source.raw_os_error().unwrap_or(-1),
            Self::Target { .. } => Errno::INVAL.raw_os_error(),
            Self::Occupied { .. }
            | Self::Elsewhere { .. }
            | Self::Busy { .. }
            | Self::Held { .. } => Errno::BUSY.raw_os_error(),
        }
    }
}

fn list(users: &[i32]) -> String {
    const MOST: usize = 8;
    if users.is_empty() {
        return "the kernel, or processes that cannot be seen".to_string();
    }
    let mut text: Vec<String> = users.iter().take(MOST).map(ToString::to_string).collect();
    if users.len() > MOST {
        text.push("others".to_string());
    }
    text.join(", ")
}

//! File systems of Linux: mounted and unmounted by system calls, their users ended.

mod error;
mod table;
mod users;

use core::time::Duration;
use std::boxed::Box;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use async_trait::async_trait;
use rustix::fs::{Dev, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, Signal};

pub use self::error::MountError;
use self::table::Table;
use self::users::Devices;
use super::super::clock;
use super::blocking::blocking;
use super::clock::sleep;
use super::command::Command;
use super::job::{Job, StepError};
use super::part::FileSystem;
use crate::failover::MAX_TIME;

/// How often it is tried to unmount what was in use.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// More than are mounted upon each other by any system that works.
const MAX_LAYERS: usize = 256;

/// What to do with a file system that is in use and whose users cannot be ended.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is detached or not")]
pub enum Lazy {
    /// It stays mounted, and the step fails. That is the safe choice: then nothing that was
    /// below it is taken away, and this node is fenced.
    #[default]
    No,
    /// It is taken out of sight. Whoever has files open there goes on using them until the
    /// storage beneath is gone; so that must make sure that nothing can be written any more.
    Detach,
}

/// A file system on a device, mounted by this program.
///
/// The mount point belongs to it: whatever is mounted there or below it is unmounted. To mount
/// what is mounted from the same device is done at once.
///
/// Processes that use the file system are found by what they have open, mapped, run from, or as
/// a directory, and get SIGTERM first and SIGKILL after some time, this process and the first one
/// of the system excepted. Nobody is signalled if the device is mounted elsewhere as well.
#[derive(Clone, Debug)]
pub struct Mount {
    device: PathBuf,
    target: PathBuf,
    kind: String,
    flags: MountFlags,
    data: Vec<String>,
    check: Option<Command>,
    patience: Duration,
    lazy: Lazy,
}

impl Mount {
    /// The file system of this kind on `device`, to be mounted at `target`, which must exist. It
    /// is checked by `fsck -p`, which repairs what can be repaired safely.
    ///
    /// # Errors
    ///
    /// [`MountError::Target`] if `target` is not the absolute path of a directory below `/`, and
    /// [`MountError::Device`] if `device` is not an absolute path.
    pub fn new(
        device: impl Into<PathBuf>,
        target: impl Into<PathBuf>,
        kind: &str,
    ) -> Result<Self, MountError> {
        let (device, target) = (device.into(), target.into());
        let is_plain = |path: &Path| {
            let odd = |part| matches!(part, std::path::Component::ParentDir);
            path.is_absolute() && path.file_name().is_some() && !path.components().any(odd)
        };
        if !is_plain(&target) {
            return Err(MountError::Target { target });
        }
        if !device.is_absolute() {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(MountError::Device { device, source });
        }
        let fsck = Command::new("fsck").args(["-T", "-p", "-t", kind]);
        Ok(Self {
            // It has corrected something.
            check: Some(fsck.arg(&device).accept(1)),
            device,
            target,
            kind: kind.to_string(),
            flags: MountFlags::empty(),
            data: Vec::new(),
            patience: Duration::from_secs(3),
            lazy: Lazy::default(),
        })
    }

    /// Adds options, separated by commas as in fstab(5): those that the kernel has for all file
    /// systems, and others that the file system itself knows.
    #[must_use]
    pub fn options(mut self, options: &str) -> Self {
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match flag(option) {
                Some(flag) => self.flags |= flag,
                None => self.data.push(option.to_string()),
            }
        }
        self
    }

    /// Has it checked by this command, or not at all.
    #[must_use]
    pub fn check_by(mut self, check: Option<Command>) -> Self {
        self.check = check;
        self
    }

    /// Chooses how long its users may take to end after SIGTERM: three seconds by default. It
    /// should be less than half the time that the step has.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(MAX_TIME);
        self
    }

    /// Chooses what is done when it cannot be unmounted otherwise.
    #[must_use]
    pub fn lazy(mut self, lazy: Lazy) -> Self {
        self.lazy = lazy;
        self
    }

    /// Does something with it in a thread of its own.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, MountError> + Send + 'static,
    ) -> Result<T, StepError> {
        let this = self.clone();
        Ok(blocking(move || work(&this)).await??)
    }

    fn device(&self) -> Result<Dev, MountError> {
        let fault = |source| MountError::Device {
            device: self.device.clone(),
            source,
        };
        let found = fs::metadata(&self.device).map_err(fault)?;
        if !found.file_type().is_block_device() {
            return Err(fault(Errno::NOTBLK.into()));
        }
        Ok(found.rdev())
    }

    /// The mount point without symbolic links, as the table has it. What is mounted there is not
    /// touched.
    fn point(&self) -> Result<PathBuf, MountError> {
        let (Some(parent), Some(name)) = (self.target.parent(), self.target.file_name()) else {
            let target = self.target.clone();
            return Err(MountError::Target { target });
        };
        Ok(fs::canonicalize(parent)?.join(name))
    }

    /// Whether this very device is mounted here. That something else is, or that it is elsewhere,
    /// is an error.
    fn is_mounted(&self) -> Result<bool, MountError> {
        let (device, point, table) = (self.device()?, self.point()?, Table::read()?);
        if let Some(other) = table.elsewhere(device, &point) {
            return Err(MountError::Elsewhere {
                device: self.device.clone(),
                target: other.target.clone(),
            });
        }
        let wants_read_only = self.flags.contains(MountFlags::RDONLY);
        match table.at(&point) {
            None => Ok(false),
            Some(mount)
                if mount.device == device
                    && mount.root == Path::new("/")
                    && mount.is_read_only == wants_read_only =>
            {
                Ok(true)
            }
            Some(_) => Err(MountError::Occupied { target: point }),
        }
    }

    fn mount_it(&self) -> Result<(), MountError> {
        if self.is_mounted()? {
            return Ok(());
        }
        let fault = |source: io::Error| MountError::Refused {
            device: self.device.clone(),
            target: self.target.clone(),
            source,
        };
        let data = CString::new(self.data.join(",")).map_err(|error| fault(error.into()))?;
        rustix::mount::mount(
            &self.device,
            &self.point()?,
            self.kind.as_str(),
            self.flags,
            data.as_c_str(),
        )
        .map_err(|errno| fault(errno.into()))
    }

    /// Unmounts whatever is mounted there and below, the last first.
    fn unmount_it(&self, flags: UnmountFlags) -> Result<(), MountError> {
        let point = self.point()?;
        for _ in 0..MAX_LAYERS {
            let table = Table::read()?;
            let Some(last) = table.below(&point).next() else {
                return self.is_released(flags);
            };
            match rustix::mount::unmount(&last.target, flags | UnmountFlags::NOFOLLOW) {
                // Somebody else was quicker.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(Errno::BUSY) => return Err(self.busy(&table)),
                Err(errno) => {
                    return Err(MountError::Stays {
                        target: last.target.clone(),
                        source: errno.into(),
                    });
                }
            }
        }
        Err(self.busy(&Table::read()?))
    }

    /// Fails if the device is still in use though it is not mounted here any more.
    fn is_released(&self, flags: UnmountFlags) -> Result<(), MountError> {
        if flags.contains(UnmountFlags::DETACH) || self.device().is_err() {
            return Ok(());
        }
        // A device that is mounted anywhere cannot be opened so.
        let mode = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::open(&self.device, mode, Mode::empty()) {
            Err(Errno::BUSY) => Err(MountError::Held {
                device: self.device.clone(),
            }),
            // What else is wrong with it is not for here.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn busy(&self, table: &Table) -> MountError {
        let found = self
            .devices(table)
            .and_then(|devices| Ok(users::users(&devices)?));
        let pids = found.unwrap_or_default();
        MountError::Busy {
            target: self.target.clone(),
            users: pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect(),
        }
    }

    /// The devices of what is mounted there and below, as far as they are mounted nowhere else:
    /// what is seen elsewhere has other users, too.
    fn devices(&self, table: &Table) -> Result<Devices, MountError> {
        let point = self.point()?;
        if let Some(mount) = table.at(&point) {
            if let Some(other) = table.elsewhere(mount.device, &point) {
                return Err(MountError::Elsewhere {
                    device: self.device.clone(),
                    target: other.target.clone(),
                });
            }
        }
        let below = table.below(&point);
        let own = below.filter(|mount| table.elsewhere(mount.device, &point).is_none());
        Ok(own.map(|mount| mount.device).collect())
    }

    /// Signals all who use it and were not signalled before, and tells who uses it.
    fn signal_users(&self, signal: Signal, before: &[Pid]) -> Result<Vec<Pid>, MountError> {
        let devices = self.devices(&Table::read()?)?;
        let found = users::users(&devices)?;
        let mut new = found.clone();
        new.retain(|user| !before.contains(user));
        users::signal(&new, &devices, signal)?;
        Ok(found)
    }

    /// Signals its users, once each and those that come later as well, until it can be unmounted
    /// or the time is over.
    async fn drive_out(&self, job: &Job, signal: Signal) -> Result<(), StepError> {
        let end = clock::now() + self.patience;
        let mut users = Vec::new();
        loop {
            let signalled = move |mount: &Self| mount.signal_users(signal, &users);
            users = self.off(signalled).await?;
            sleep(TRY_EVERY).await;
            match self
                .off(|mount| mount.unmount_it(UnmountFlags::empty()))
                .await
            {
                Err(StepError::Mount(error))
                    if error.is_use() && clock::now() < end && !job.is_cancelled() => {}
                result => return result,
            }
        }
    }
}

fn flag(option: &str) -> Option<MountFlags> {
    Some(match option {
        "defaults" | "rw" | "auto" | "noauto" | "_netdev" | "nofail" => MountFlags::empty(),
        "ro" => MountFlags::RDONLY,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        "strictatime" => MountFlags::STRICTATIME,
        "lazytime" => MountFlags::LAZYTIME,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "sync" => MountFlags::SYNCHRONOUS,
        "dirsync" => MountFlags::DIRSYNC,
        _ => return None,
    })
}

#[async_trait]
impl FileSystem for Mount {
    async fn check(&self, job: &Job) -> Result<(), StepError> {
        // What is mounted already cannot be checked, and was.
        if self.off(|mount| mount.is_mounted()).await? {
            return Ok(());
        }
        match &self.check {
            Some(check) => check.run(job).await.map(drop),
            None => Ok(()),
        }
    }

    async fn mount(&self, _: &Job) -> Result<(), StepError> {
        self.off(Self::mount_it).await
    }

    async fn unmount(&self, _: &Job) -> Result<(), StepError> {
        self.off(|mount| mount.unmount_it(UnmountFlags::empty()))
            .await
    }

    async fn kill_and_unmount(&self, job: &Job) -> Result<(), StepError> {
        for signal in [Signal::TERM, Signal::KILL] {
            match self.drive_out(job, signal).await {
                Err(StepError::Mount(error)) if error.is_use() && !job.is_cancelled() => {}
                result => return result,
            }
        }
        self.unmount(job).await
    }

    async fn force_unmount(&self, _: &Job) -> Result<(), StepError> {
        let lazy = self.lazy;
        let force = move |mount: &Self| match mount.unmount_it(UnmountFlags::FORCE) {
            Err(MountError::Busy { .. }) if lazy == Lazy::Detach => {
                mount.unmount_it(UnmountFlags::DETACH)
            }
            result => result,
        };
        self.off(force).await
    }
}

//! Block devices of other programs as files and disks, by way of qemu-storage-daemon: what NBD
//! serves becomes a file by FUSE, and that a disk of the kernel by a loop device.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::Signal;

use super::space::{Program, run, text};

/// An export, as a file.
#[derive(Debug)]
pub(crate) struct FuseFile {
    path: PathBuf,
    program: Program,
}

impl FuseFile {
    /// Lets `path`, a file that is there, be the export of this name behind a socket.
    pub(crate) fn over(path: &Path, socket: &Path, export: &str) -> Self {
        let before = fs::metadata(path).expect("a file").dev();
        let disk = format!(
            "driver=nbd,node-name=disk,server.type=unix,server.path={},export={export}",
            text(socket)
        );
        let file = format!(
            "type=fuse,id=file,node-name=disk,mountpoint={},writable=on",
            text(path)
        );
        let arguments = ["--blockdev", &disk, "--export", &file];
        let program = Program::start("qemu-storage-daemon", &arguments)
            .wait_until("the export is a file", || {
                fs::metadata(path).is_ok_and(|file| file.dev() != before)
            });
        Self {
            path: path.to_owned(),
            program,
        }
    }
}

impl Drop for FuseFile {
    fn drop(&mut self) {
        // Ended at once, it would leave the mount behind.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        self.program.signal(Signal::TERM);
        assert!(unmounted.is_ok_and(|it| it.success()) || thread::panicking());
    }
}

/// An export, as a disk of the kernel.
#[derive(Debug)]
pub(crate) struct Disk {
    device: PathBuf,
    _file: FuseFile,
}

impl Disk {
    /// The disk behind a hastd's device; `folder` has room for a file.
    pub(crate) fn attach(folder: &Path, socket: &Path) -> Self {
        let path = folder.join("export");
        fs::write(&path, "").expect("a file");
        let file = FuseFile::over(&path, socket, "shared");
        // Of several that look for a free device at the same time, one gets it.
        let device = (0..20).find_map(|_| {
            let output = Command::new("losetup")
                .args(["--find", "--show", text(&path)])
                .output()
                .expect("losetup");
            let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then(|| PathBuf::from(device))
        });
        Self {
            device: device.expect("a free loop device"),
            _file: file,
        }
    }

    pub(crate) fn device(&self) -> &str {
        text(&self.device)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = Command::new("losetup").args(["-d", self.device()]).status();
        } else {
            run("losetup", &["-d", self.device()]);
        }
    }
}

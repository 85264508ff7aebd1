//! Who uses a file system.

use std::collections::BTreeSet;
use std::format;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::vec::Vec;

use rustix::fs::{Dev, makedev};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

/// Devices, as `stat` tells them of what is on them.
pub(super) type Devices = BTreeSet<Dev>;

/// Returns the processes that have something of these devices open, mapped, or as a directory of
/// theirs. Processes that end meanwhile, or that may not be looked at, are left out.
pub(super) fn users(devices: &Devices) -> io::Result<Vec<Pid>> {
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        if let Some(process) = number.and_then(Pid::from_raw) {
            if uses(process, devices) {
                users.push(process);
            }
        }
    }
    Ok(users)
}

/// Signals those of these processes that still are users. Neither the first process of the system
/// nor this one is signalled.
pub(super) fn signal(users: &[Pid], devices: &Devices, signal: Signal) -> io::Result<()> {
    for user in users {
        if *user == Pid::INIT || *user == getpid() {
            continue;
        }
        // What is signalled is what is looked at: its number cannot pass to another one.
        let Ok(handle) = pidfd_open(*user, PidfdFlags::empty()) else {
            continue;
        };
        if uses(*user, devices) {
            match pidfd_send_signal(&handle, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn uses(process: Pid, devices: &Devices) -> bool {
    let folder = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
    let is_on = |path: &Path| fs::metadata(path).is_ok_and(|found| devices.contains(&found.dev()));
    let mut links = ["cwd", "root", "exe"].into_iter();
    links.any(|link| is_on(&folder.join(link)))
        || has_open(&folder.join("fd"), is_on)
        || has_mapped(&folder.join("maps"), devices)
}

fn has_open(folder: &Path, is_on: impl Fn(&Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let mut files = entries.filter_map(Result::ok);
    files.any(|file| is_on(&file.path()))
}

fn has_mapped(path: &Path, devices: &Devices) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    lines.any(|line| mapped(&line).is_some_and(|device| devices.contains(&device)))
}

/// The device of a line of `maps`: the fourth field, in hexadecimal.
fn mapped(line: &[u8]) -> Option<Dev> {
    let mut fields = line.split(|octet| *octet == b' ');
    let device = core::str::from_utf8(fields.nth(3)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    Some(makedev(number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_what_it_runs_from() {
        let exe = fs::metadata("/proc/self/exe").unwrap().dev();
        assert!(users(&Devices::from([exe])).unwrap().contains(&getpid()));
        let nothing = Devices::from([makedev(4095, 77)]);
        assert!(users(&nothing).unwrap().is_empty());
        // It would end this test.
        signal(&[getpid()], &Devices::from([exe]), Signal::KILL).unwrap();
    }

    #[test]
    fn a_mapping_names_its_device() {
        let line = b"7f00-7f01 r-xp 00000000 fd:1f 123   /usr/lib/libc.so";
        assert_eq!(mapped(line), Some(makedev(0xfd, 0x1f)));
        assert_eq!(mapped(b"garbage"), None);
        assert_eq!(mapped(b"a b c d"), None);
    }
}

//! Processes.

use std::boxed::Box;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::string::String;

use async_trait::async_trait;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::super::blocking::Repeated;
use super::{CheckError, Probe};

/// Longer than any number.
const MAX_NUMBER: u64 = 32;

/// Well if the process whose number is in a file exists.
#[derive(Clone, Debug)]
pub struct PidFile {
    path: PathBuf,
    worker: Repeated,
}

impl PidFile {
    /// The file of this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            worker: Repeated::default(),
        }
    }
}

#[async_trait]
impl Probe for PidFile {
    async fn look(&self) -> Result<(), CheckError> {
        let path = self.path.clone();
        let read = move || -> io::Result<String> {
            let mut text = String::new();
            File::open(path)?
                .take(MAX_NUMBER)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let text = self.worker.run(read).await??;
        let number = text.trim().parse().ok();
        // A negative number would stand for a group.
        let number = number.filter(|number: &i32| *number > 0);
        let process = number.and_then(Pid::from_raw).ok_or(CheckError::NoNumber)?;
        match test_kill_process(process) {
            // It exists, and is another user's.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(_) => Err(CheckError::NoProcess),
        }
    }
}

/// Well if a process of this name runs. Zombies do not.
#[cfg(target_os = "linux")]
#[derive(Clone, Debug)]
pub struct ProcessName {
    name: String,
    worker: Repeated,
}

#[cfg(target_os = "linux")]
impl ProcessName {
    /// The name as in `/proc/PID/comm`, of which the kernel keeps 15 octets.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let end = name.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = end.take_while(|end| *end <= 15).last().unwrap_or_default();
        Self {
            name: name.get(..end).unwrap_or_default().into(),
            worker: Repeated::default(),
        }
    }
}

#[cfg(target_os = "linux")]
#[async_trait]
impl Probe for ProcessName {
    async fn look(&self) -> Result<(), CheckError> {
        let name = self.name.clone();
        if self.worker.run(move || runs(&name)).await?? {
            return Ok(());
        }
        Err(CheckError::NoProcess)
    }
}

#[cfg(target_os = "linux")]
fn runs(name: &str) -> io::Result<bool> {
    for entry in std::fs::read_dir("/proc")? {
        // Those that end meanwhile have no such file any more.
        let Ok(stat) = std::fs::read(entry?.path().join("stat")) else {
            continue;
        };
        // NUMBER (NAME) STATE ..., and the name may contain anything.
        let text = String::from_utf8_lossy(&stat);
        let Some((head, tail)) = text.rsplit_once(") ") else {
            continue;
        };
        let found = head.split_once(" (").map(|(_, found)| found);
        if found == Some(name) && !tail.starts_with(['Z', 'X']) {
            return Ok(true);
        }
    }
    Ok(false)
}

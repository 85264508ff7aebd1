//! The file that holds the process id, locked for as long as the process lives.

use core::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// What opens a file, and follows no link.
#[expect(clippy::cast_possible_wrap, reason = "a flag")]
const NO_LINK: i32 = OFlags::NOFOLLOW.bits() as i32;

/// The file. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    _locked: File,
}

/// Why there is no such file.
#[derive(Debug)]
pub(crate) enum PidFileError {
    /// Somebody else has locked it: the process id in it, if there is one.
    Running(Option<u32>),
    /// It cannot be written.
    Io(io::Error),
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(Some(pid)) => write!(f, "another one runs already, as process {pid}"),
            Self::Running(None) => f.write_str("another one runs already"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for PidFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl PidFile {
    /// Writes the file, unless a process that lives has it.
    pub(crate) fn create(path: &Path) -> Result<Self, PidFileError> {
        // What is in it stays until it is known to be nobody's.
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // Nor is it somebody's file that a link leads to.
            .custom_flags(NO_LINK)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let read = file.take(16).read_to_string(&mut pid);
                return Err(PidFileError::Running(
                    read.ok().and_then(|_| pid.trim().parse().ok()),
                ));
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", process::id())?;
        Ok(Self {
            path: path.to_owned(),
            _locked: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        // Left behind by one that died.
        fs::write(&path, "99999999\n").unwrap();
        let file = PidFile::create(&path).unwrap();
        let own = format!("{}\n", process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        let refused = PidFile::create(&path).unwrap_err();
        assert!(matches!(refused, PidFileError::Running(Some(pid)) if pid == process::id()));
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        drop(file);
        assert!(!path.exists());
        PidFile::create(&path).unwrap();
        // A link is not followed, wherever it leads to.
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("link"));
        fs::write(&theirs, "precious").unwrap();
        std::os::unix::fs::symlink(&theirs, &link).unwrap();
        let followed = PidFile::create(&link).unwrap_err();
        assert!(matches!(followed, PidFileError::Io(_)), "{followed}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "precious");
        let nowhere = PidFile::create(Path::new("/nonexistent/pid")).unwrap_err();
        assert!(matches!(nowhere, PidFileError::Io(_)));
    }
}

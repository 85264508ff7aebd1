//! A record in a file.

use core::time::Duration;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::string::ToString;
use std::vec::Vec;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::memory::apply;
use super::record::{MAX_RECORD_LEN, decode_record, encode_record};
use super::{Arbiter, ArbiterError};
use crate::failover::{Answer, Query, Record, Revision};
use crate::io::clock;

/// How long another process may have the file, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// What is put before the record: the revision in 20 digits, and a blank.
const REVISION_LEN: usize = 21;

/// A record in a file, for tests with several processes on one host.
///
/// Whoever asks locks the file `PATH.lock`; a swap writes `PATH.new` and renames it, so that a
/// process that dies leaves the old record or the new one. Not for file systems that are shared by
/// hosts: their locks do not survive what an arbiter is for.
#[derive(Clone, Debug)]
pub struct FileArbiter {
    path: PathBuf,
}

/// Why a file does not serve.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// What was to be done with it.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl FileArbiter {
    /// Keeps the record in this file. Its directory must exist; the file need not.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl Arbiter for FileArbiter {
    async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError> {
        let path = self.path.clone();
        // Held until the work is done, also if nobody waits for that any more.
        let lock = lock(&with_suffix(&path, ".lock")).await?;
        let work = move || {
            let answer = answer(&path, query);
            drop(lock);
            answer
        };
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|ended| ArbiterError::Other(Box::new(ended)))?
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn lock(path: &Path) -> Result<File, FileError> {
    let fault = |action, source| FileError {
        action,
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    let file = options.open(path).map_err(|error| fault("open", error))?;
    let locked = clock::within(PATIENCE, async {
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => clock::pause(PAUSE).await,
                ended => return ended,
            }
        }
    });
    let locked = locked.await.unwrap_or(Err(Errno::TIMEDOUT));
    locked.map_err(|error| fault("lock", error.into()))?;
    Ok(file)
}

fn answer(path: &Path, query: Query) -> Result<Answer, ArbiterError> {
    let stored = read(path)?;
    let (answer, changed) = apply(stored, query);
    if let (Answer::Swapped(_), Some((revision, record))) = (answer, changed) {
        write(path, revision, &record)?;
    }
    Ok(answer)
}

fn read(path: &Path) -> Result<Option<(Revision, Record)>, ArbiterError> {
    let fault = |source| FileError {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error).into()),
    };
    let mut text = Vec::new();
    let most = REVISION_LEN + MAX_RECORD_LEN;
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut text).map_err(fault)?;
    let parts = text.split_at_checked(REVISION_LEN);
    let (digits, record) = parts.ok_or_else(|| fault(not_one("the revision is missing")))?;
    let digits = digits.strip_suffix(b" ").unwrap_or_default();
    let digits = core::str::from_utf8(digits).unwrap_or_default();
    let revision = digits
        .parse()
        .map_err(|error: core::num::ParseIntError| fault(not_one(&error.to_string())))?;
    Ok(Some((Revision::new(revision), decode_record(record)?)))
}

fn not_one(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn write(path: &Path, revision: Revision, record: &Record) -> Result<(), ArbiterError> {
    let text = std::format!("{:020} {}", revision.get(), encode_record(record)?);
    let new = with_suffix(path, ".new");
    let fault = |action, path: &Path| {
        let path = path.to_owned();
        move |source| FileError {
            action,
            path,
            source,
        }
    };
    let mut file = File::create(&new).map_err(fault("create", &new))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(fault("write", &new))?;
    std::fs::rename(&new, path).map_err(fault("replace", path))?;
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(fault("sync", parent))?;
    Ok(())
}

//! A file of saved extents as it is written: under another name until it is whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use hast_proto::saved::{HEADER_LEN, Next, PIECE_HEAD_LEN, Reader};

use super::split::DiscardError;

/// A file that is being written. What is not [published](Self::publish) goes when this is dropped;
/// what a crash leaves of it is removed by the next try.
#[derive(Debug)]
pub(super) struct SavedFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    published: bool,
}

impl SavedFile {
    /// Begins a file.
    pub(super) fn create(path: &Path) -> Result<Self, DiscardError> {
        let failed = |error| file_error("create", path, error);
        if path.file_name().is_none() || path.symlink_metadata().is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        // What a crash has left; and nobody's link is followed.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // It holds what was on the disk, which is not for everybody.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(failed)?;
        Ok(Self {
            file,
            part,
            path: path.into(),
            published: false,
        })
    }

    pub(super) fn write(&mut self, pieces: &[Bytes]) -> Result<(), DiscardError> {
        for piece in pieces {
            let written = self.file.write_all(piece);
            written.map_err(|error| file_error("write", &self.path, error))?;
        }
        Ok(())
    }

    /// Makes the file durable, then its name, after all of it was read: nothing is discarded on the
    /// word of a file that nobody has read.
    pub(super) fn publish(&mut self) -> Result<(), DiscardError> {
        let path = self.path.clone();
        let failed = |action| move |error| file_error(action, &path, error);
        self.file.sync_all().map_err(failed.clone()("write"))?;
        verify(&self.part).map_err(failed.clone()("verify"))?;
        if self.path.symlink_metadata().is_ok() {
            return Err(failed("create")(io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&self.part, &self.path).map_err(failed.clone()("rename"))?;
        self.published = true;
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or_else(|| Path::new(".")));
        let synchronised = folder.and_then(|folder| folder.sync_all());
        synchronised.map_err(failed("make durable"))
    }
}

impl Drop for SavedFile {
    fn drop(&mut self) {
        if !self.published {
            // It is of no use to anybody, and cannot be mistaken for a whole one.
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn file_error(action: &'static str, path: &Path, error: io::Error) -> DiscardError {
    DiscardError::File {
        action,
        path: path.into(),
        error: Arc::new(error),
    }
}

/// Reads all of a file.
fn verify(path: &Path) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut file = BufReader::new(File::open(path)?);
    let mut header = [0; HEADER_LEN];
    file.read_exact(&mut header)?;
    let mut reader = Reader::new(&header).map_err(invalid)?;
    let mut data = Vec::new();
    loop {
        let mut head = [0; PIECE_HEAD_LEN];
        file.read_exact(&mut head)?;
        match reader.next(&head).map_err(invalid)? {
            Next::Data(piece) => {
                data.resize(piece.length(), 0);
                file.read_exact(&mut data)?;
                piece.verify(&data).map_err(invalid)?;
            }
            Next::Zeros { .. } => {}
            Next::End { .. } => return Ok(()),
        }
    }
}

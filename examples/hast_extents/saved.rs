//! The file, piece by piece.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use hast_proto::Offset;
use hast_proto::saved::{Encoder, HEADER_LEN, Header, MAX_PIECE, Next, PIECE_HEAD_LEN, Reader};

use super::Result;

/// What is asked for of a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    from: u64,
    to: u64,
}

impl Part {
    pub(crate) fn new(from: u64, length: u64) -> Self {
        let to = from.saturating_add(length);
        Self { from, to }
    }

    /// What is in it of some data, and where that begins.
    fn of(self, offset: u64, data: &[u8]) -> Option<(u64, &[u8])> {
        let end = offset + data.len() as u64;
        let (from, to) = (self.from.max(offset), self.to.min(end));
        let index = |at: u64| usize::try_from(at - offset).ok();
        let part = data.get(index(from.min(end))?..index(to.max(offset))?)?;
        (!part.is_empty()).then_some((from, part))
    }
}

/// A file that is being written.
pub(crate) struct Saver {
    encoder: Encoder,
    file: BufWriter<File>,
}

impl Saver {
    pub(crate) fn piece(&mut self, offset: Offset, data: &[u8]) -> Result<()> {
        let (head, data) = self.encoder.piece(offset, data)?;
        self.file.write_all(&head)?;
        Ok(self.file.write_all(data)?)
    }
}

/// Writes a new file, durably; one that is there already is left alone.
pub(crate) fn write_new(
    path: &Path,
    header: &Header,
    fill: impl FnOnce(&mut Saver) -> Result<()>,
) -> Result<()> {
    let (encoder, head) = Encoder::new(header)?;
    let file = File::options().write(true).create_new(true).open(path);
    let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    let file = BufWriter::new(file);
    let mut saver = Saver { encoder, file };
    saver.file.write_all(&head)?;
    fill(&mut saver)?;
    saver.file.write_all(&saver.encoder.finish())?;
    saver.file.into_inner()?.sync_all()?;
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    Ok(())
}

/// A file that is read from its beginning to its end.
pub(crate) struct SavedFile {
    file: BufReader<File>,
    reader: Reader,
}

impl SavedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let named = |error: &dyn core::fmt::Display| format!("{}: {error}", path.display());
        let mut file = BufReader::new(File::open(path).map_err(|error| named(&error))?);
        let mut block = [0; HEADER_LEN];
        file.read_exact(&mut block).map_err(|error| named(&error))?;
        let reader = Reader::new(&block).map_err(|error| named(&error))?;
        Ok(Self { file, reader })
    }

    pub(crate) fn header(&self) -> &Header {
        self.reader.header()
    }

    /// Tells of each piece where it is, how long, and whether it is zeros. Returns how many octets
    /// there are.
    pub(crate) fn list(
        &mut self,
        mut each: impl FnMut(u64, u64, bool) -> Result<()>,
    ) -> Result<u64> {
        loop {
            match self.next()? {
                Next::Data(piece) => {
                    let length = u64::try_from(piece.length())?;
                    self.file.seek_relative(i64::try_from(length)?)?;
                    each(piece.offset().get(), length, false)?;
                }
                Next::Zeros { offset, length } => each(offset.get(), length.get(), true)?,
                Next::End { octets } => return self.end(octets),
            }
        }
    }

    /// Reads what is there of a part, after it was compared with its digest.
    pub(crate) fn read(
        &mut self,
        part: Part,
        mut each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let mut buffer = Vec::with_capacity(MAX_PIECE);
        loop {
            let offset = match self.next()? {
                Next::Data(piece) => {
                    buffer.resize(piece.length(), 0);
                    self.file.read_exact(&mut buffer)?;
                    piece.verify(&buffer)?;
                    piece.offset()
                }
                Next::Zeros { offset, length } => {
                    buffer.clear();
                    buffer.resize(usize::try_from(length.get())?, 0);
                    offset
                }
                Next::End { octets } => return self.end(octets),
            };
            if let Some((offset, data)) = part.of(offset.get(), &buffer) {
                each(offset, data)?;
            }
        }
    }

    /// Reads all of it. Returns how many octets there are.
    pub(crate) fn verify(mut self) -> Result<u64> {
        self.read(Part::new(0, 0), |_, _| Ok(()))
    }

    fn next(&mut self) -> Result<Next> {
        let mut head = [0; PIECE_HEAD_LEN];
        let read = self.file.read_exact(&mut head);
        read.map_err(|error| format!("the file was cut: {error}"))?;
        Ok(self.reader.next(&head)?)
    }

    fn end(&mut self, octets: u64) -> Result<u64> {
        if self.file.read(&mut [0])? > 0 {
            return Err("something follows the end of the file".into());
        }
        Ok(octets)
    }
}

//! What was in them.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::{HEADER_LEN, Header, digest};
use super::{Digest, SavedError};
use crate::compression::is_zero;
use crate::types::{Length, Offset};

/// The most octets of a piece: 1 MiB.
pub const MAX_PIECE: usize = 1 << 20;

/// The octets before the data of a piece.
pub const PIECE_HEAD_LEN: usize = 48;

const DATA: u32 = 1;
const ZEROS: u32 = 2;
const END: u32 = 3;

#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Place {
    offset: U64,
    length: U32,
    kind: U32,
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    place: Place,
    digest: Digest,
}

const _: () = assert!(size_of::<Head>() == PIECE_HEAD_LEN, "as the form says");

impl Place {
    fn digest(&self, before: &Digest, data: &[u8]) -> Digest {
        let hash = Sha256::new_with_prefix(before);
        hash.chain_update(self.as_bytes())
            .chain_update(data)
            .finalize()
            .into()
    }
}

/// Where the next piece may be, and what there was: the same for writing and reading.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Progress {
    /// Where the last piece ended.
    least: u64,
    /// Where the data end.
    most: u64,
    /// Octets in all pieces.
    octets: u64,
    /// The last digest.
    digest: Digest,
}

impl Progress {
    fn new(header: &Header, bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            least: 0,
            most: header.data_len.get(),
            octets: 0,
            digest: digest(bytes),
        }
    }

    fn step(&mut self, offset: u64, length: u64) -> Result<(), SavedError> {
        let longest = Length::new(MAX_PIECE as u64);
        if length == 0 || length > longest.get() {
            return Err(SavedError::Length { offset, length });
        }
        let (least, most) = (self.least, self.most);
        let end = offset.checked_add(length).filter(|end| *end <= most);
        let Some(end) = end.filter(|_| offset >= least) else {
            return Err(SavedError::Place {
                offset,
                length,
                least,
                most,
            });
        };
        self.least = end;
        // Pieces do not overlap, so together they are not longer than the data.
        self.octets = self.octets.saturating_add(length);
        Ok(())
    }
}

/// Writes a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoder {
    progress: Progress,
}

impl Encoder {
    /// Begins a file: with these octets, [`HEADER_LEN`] of them.
    ///
    /// # Errors
    ///
    /// [`SavedError::Node`]
    pub fn new(header: &Header) -> Result<(Self, Vec<u8>), SavedError> {
        let bytes = header.emit()?;
        let progress = Progress::new(header, &bytes);
        Ok((Self { progress }, bytes.to_vec()))
    }

    /// Adds a piece: the head, and of the data what is to follow it, which is nothing if they are
    /// all zero.
    ///
    /// # Errors
    ///
    /// [`SavedError::Length`], [`SavedError::Place`]. Nothing is added then.
    pub fn piece<'a>(
        &mut self,
        offset: Offset,
        data: &'a [u8],
    ) -> Result<([u8; PIECE_HEAD_LEN], &'a [u8]), SavedError> {
        let length = Length::of(data).get();
        self.progress.step(offset.get(), length)?;
        let (kind, data) = if is_zero(data) {
            (ZEROS, &[][..])
        } else {
            (DATA, data)
        };
        // Not more than `MAX_PIECE`.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Ok((self.head(offset.get(), length, kind, data), data))
    }

    /// Ends the file with these octets. Without them it counts as cut.
    #[must_use]
    pub fn finish(mut self) -> [u8; PIECE_HEAD_LEN] {
        self.head(self.progress.octets, 0, END, &[])
    }

    fn head(&mut self, offset: u64, length: u32, kind: u32, data: &[u8]) -> [u8; PIECE_HEAD_LEN] {
        let place = Place {
            offset: offset.into(),
            length: length.into(),
            kind: kind.into(),
        };
        self.progress.digest = place.digest(&self.progress.digest, data);
        let digest = self.progress.digest;
        let mut bytes = [0; PIECE_HEAD_LEN];
        bytes.copy_from_slice(Head { place, digest }.as_bytes());
        bytes
    }
}

/// What comes next in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the form has these three")]
pub enum Next {
    /// Data, which follow.
    Data(Piece),
    /// Zeros, which do not.
    Zeros {
        /// Where.
        offset: Offset,
        /// How many.
        length: Length,
    },
    /// The end. Nothing follows.
    End {
        /// How many octets all pieces had.
        octets: u64,
    },
}

/// A piece whose data follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    offset: u64,
    length: u32,
    before: Digest,
    digest: Digest,
}

impl Piece {
    /// Returns where it belongs.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        Offset::new(self.offset)
    }

    /// Returns the octets that follow: 1 to [`MAX_PIECE`].
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length as usize
    }

    /// Tells whether these are its data.
    ///
    /// # Errors
    ///
    /// [`SavedError::PieceDigest`]
    pub fn verify(&self, data: &[u8]) -> Result<(), SavedError> {
        let place = Place {
            offset: self.offset.into(),
            length: self.length.into(),
            kind: DATA.into(),
        };
        if data.len() != self.length() || place.digest(&self.before, data) != self.digest {
            let offset = self.offset;
            return Err(SavedError::PieceDigest { offset });
        }
        Ok(())
    }
}

/// Reads a file from head to head. Whether the data between them are whole, [`Piece::verify`]
/// tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reader {
    header: Header,
    progress: Progress,
    has_ended: bool,
}

impl Reader {
    /// Begins with the first octets.
    ///
    /// # Errors
    ///
    /// [`SavedError`]
    pub fn new(bytes: &[u8; HEADER_LEN]) -> Result<Self, SavedError> {
        let header = Header::parse(bytes)?;
        let progress = Progress::new(&header, bytes);
        Ok(Self {
            header,
            progress,
            has_ended: false,
        })
    }

    /// Returns the header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Takes the octets that follow the header, or the data of the last piece.
    ///
    /// # Errors
    ///
    /// [`SavedError`]; the file is of no use from here on.
    pub fn next(&mut self, bytes: &[u8; PIECE_HEAD_LEN]) -> Result<Next, SavedError> {
        if self.has_ended {
            return Err(SavedError::AfterEnd);
        }
        let Ok(Head { place, digest }) = Head::read_from_bytes(bytes) else {
            return Err(SavedError::Foreign);
        };
        let (offset, length) = (place.offset.get(), place.length.get());
        let kind = place.kind.get();
        let before = core::mem::replace(&mut self.progress.digest, digest);
        if matches!(kind, ZEROS | END) && place.digest(&before, &[]) != digest {
            return Err(SavedError::PieceDigest { offset });
        }
        match kind {
            DATA | ZEROS => self.progress.step(offset, length.into())?,
            END if length != 0 => {
                let length = length.into();
                return Err(SavedError::Length { offset, length });
            }
            END => {}
            kind => return Err(SavedError::Kind { kind }),
        }
        Ok(match kind {
            DATA => Next::Data(Piece {
                offset,
                length,
                before,
                digest,
            }),
            ZEROS => Next::Zeros {
                offset: Offset::new(offset),
                length: Length::new(length.into()),
            },
            _ => {
                let (told, found) = (offset, self.progress.octets);
                if told != found {
                    return Err(SavedError::Total { told, found });
                }
                self.has_ended = true;
                Next::End { octets: found }
            }
        })
    }
}

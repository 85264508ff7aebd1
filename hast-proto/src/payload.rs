//! The data that follow a list: compressed, then checksummed, then sent; and back (HAST §3.5).

#![warn(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use crate::checksum::{ChecksumError, Digest};
use crate::compression::{Deflated, InflateError, MAX_INFLATED, Workspace, deflate, inflate};
use crate::nv::{Array, List, LookupError, Name, Text, Value, Writer};
use crate::types::{Checksum, Compression, Excerpt, Length};

const COMPRESSION: Name<'static> = Name::literal("compression");
const CHECKSUM: Name<'static> = Name::literal("checksum");
const HASH: Name<'static> = Name::literal("hash");
const SIZE: Name<'static> = Name::literal("size");

/// Why a payload is not what its list says, or says what it must not.
///
/// Each of them means that the peer or the way to it is broken: the original drops the connection,
/// and so should everybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// "compression" names no algorithm; "none" is none either.
    #[error("unknown compression {word}")]
    UnknownCompression {
        /// The name, or its start.
        word: Excerpt,
    },
    /// "checksum" names no algorithm; "none" is none either.
    #[error("unknown checksum {word}")]
    UnknownChecksum {
        /// The name, or its start.
        word: Excerpt,
    },
    /// A pair that describes the payload is missing or has the wrong type.
    #[error("{field} is {error}")]
    Field {
        /// The pair's name.
        field: &'static str,
        /// What is wrong with it.
        error: LookupError,
    },
    /// There is no payload where one is due.
    #[error("no payload")]
    Missing,
    /// There is a payload where none is due.
    #[error("payload of {len} octets where none is due")]
    Unexpected {
        /// Its octets.
        len: usize,
    },
    /// The checksum is wrong.
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    /// The payload does not yield the data expected.
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

/// A payload as it is on the wire, with what its list says of it.
///
/// A received one may be anything that a peer has sent; [`open`](Self::open) is the way to its
/// data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payload {
    compression: Compression,
    digest: Option<Digest>,
    octets: Bytes,
}

impl Payload {
    /// The most octets that are inflated, and so the most that a [`Sealer`] compresses: those of
    /// the longest activemap.
    pub const MAX_INFLATED: usize = MAX_INFLATED;

    /// Takes data as they are: neither compressed nor checksummed. `None` if there are none, or
    /// 4 GiB of them.
    #[must_use]
    pub fn plain(data: Bytes) -> Option<Self> {
        Sealer::new(Compression::None, Checksum::None).seal(data)
    }

    /// Takes the payload of a received frame: `list` describes it, `octets` follow the list.
    pub(crate) fn receive(list: List<'_>, octets: Bytes) -> Result<Self, PayloadError> {
        if octets.is_empty() {
            return Err(PayloadError::Missing);
        }
        let field = |field, error| PayloadError::Field { field, error };
        let compression = match list
            .optional::<Text<'_>>("compression")
            .map_err(|error| field("compression", error))?
            .map(Text::as_bytes)
        {
            None => Compression::None,
            Some(b"hole") => Compression::Hole,
            Some(b"lzf") => Compression::Lzf,
            Some(word) => {
                let word = Excerpt::new(word);
                return Err(PayloadError::UnknownCompression { word });
            }
        };
        let algorithm = match list
            .optional::<Text<'_>>("checksum")
            .map_err(|error| field("checksum", error))?
            .map(Text::as_bytes)
        {
            None => Checksum::None,
            Some(b"crc32") => Checksum::Crc32,
            Some(b"sha256") => Checksum::Sha256,
            Some(word) => {
                let word = Excerpt::new(word);
                return Err(PayloadError::UnknownChecksum { word });
            }
        };
        // "hash" alone is ignored.
        let digest = match algorithm {
            Checksum::None => None,
            Checksum::Crc32 | Checksum::Sha256 => {
                let hash = list
                    .get::<Array<'_, u8>>("hash")
                    .map_err(|error| field("hash", error))?;
                Digest::from_bytes(algorithm, hash.as_bytes())?
            }
        };
        Ok(Self {
            compression,
            digest,
            octets,
        })
    }

    /// Checks that nothing follows the list.
    pub(crate) fn none(octets: &Bytes) -> Result<(), PayloadError> {
        match octets.len() {
            0 => Ok(()),
            len => Err(PayloadError::Unexpected { len }),
        }
    }

    /// Verifies the checksum and restores the data, which must be of the length `expected`:
    /// that of the request, or of the map. The original takes less for the whole, and leaves what
    /// its buffer held before behind it (HAST §3.4).
    ///
    /// Nothing longer is ever allocated, nor more than [`MAX_INFLATED`](Self::MAX_INFLATED)
    /// octets however long the data are to be. For data that were not compressed it is nothing at
    /// all: they are still where they were received.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Checksum`] if the checksum is wrong, and [`PayloadError::Inflate`] if the
    /// data are shorter or longer than expected, not compressed as they claim to be, or too long
    /// to be inflated.
    pub fn open(&self, expected: Length) -> Result<Bytes, PayloadError> {
        if let Some(digest) = &self.digest {
            digest.verify(&self.octets)?;
        }
        Ok(inflate(self.compression, &self.octets, expected)?)
    }

    /// Returns the octets on the wire: compressed, and unverified if they were received.
    #[must_use]
    pub const fn wire_bytes(&self) -> &Bytes {
        &self.octets
    }

    /// Returns how the octets on the wire are compressed.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns the checksum sent along.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Appends the pairs that describe the payload, in the original's order.
    pub(crate) fn describe(&self, list: &mut Writer<'_>) {
        if self.compression != Compression::None {
            let word = self.compression.as_str();
            list.push(COMPRESSION, Value::String(Text::until_nul(word)));
        }
        if let Some(digest) = &self.digest {
            let word = digest.algorithm().as_str();
            list.push(CHECKSUM, Value::String(Text::until_nul(word)));
            if let Ok(hash) = Array::new(digest.as_bytes()) {
                list.push(HASH, Value::U8Array(hash));
            }
        }
        // Checked when the payload was made or received.
        let size = u32::try_from(self.octets.len()).unwrap_or(u32::MAX);
        list.push(SIZE, Value::U32(size));
    }
}

impl Payload {
    /// Compresses and checksums a payload that is plain; one that is not stays as it is.
    #[must_use]
    pub fn sealed(self, sealer: &mut Sealer) -> Self {
        if self.compression != Compression::None || self.digest.is_some() {
            return self;
        }
        sealer.seal(self.octets.clone()).unwrap_or(self)
    }
}

/// Makes payloads in the way that one node is configured. The peer need not be configured alike:
/// it finds in each message what to do.
#[derive(Clone, Debug)]
pub struct Sealer {
    compression: Compression,
    checksum: Checksum,
    workspace: Option<Workspace>,
}

impl Sealer {
    /// Makes a sealer; for LZF it holds the compressor's table and as much room as the largest
    /// payload so far needed.
    #[must_use]
    pub fn new(compression: Compression, checksum: Checksum) -> Self {
        Self {
            compression,
            checksum,
            workspace: (compression == Compression::Lzf).then(Workspace::default),
        }
    }

    /// Compresses `data`, if that pays, and then computes the checksum. `None` if there are no
    /// data, or 4 GiB of them: the protocol has no payload like that.
    pub fn seal(&mut self, data: Bytes) -> Option<Payload> {
        u32::try_from(data.len()).ok().filter(|len| *len != 0)?;
        let Deflated { algorithm, octets } =
            deflate(self.compression, data, self.workspace.as_mut());
        Some(Payload {
            compression: algorithm,
            digest: Digest::compute(self.checksum, &octets),
            octets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::ListBuf;
    use bytes::BytesMut;

    fn described(payload: &Payload) -> ListBuf {
        let mut buffer = BytesMut::new();
        payload.describe(&mut Writer::new(&mut buffer));
        ListBuf::parse(buffer.freeze()).unwrap()
    }

    #[test]
    fn what_is_sealed_can_be_opened() {
        let data = Bytes::from(std::vec![7; 4096]);
        for compression in [Compression::None, Compression::Hole, Compression::Lzf] {
            for checksum in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
                let sealed = Sealer::new(compression, checksum)
                    .seal(data.clone())
                    .unwrap();
                let list = described(&sealed);
                let octets = sealed.wire_bytes().clone();
                let received = Payload::receive(list.as_list(), octets).unwrap();
                assert_eq!(received, sealed);
                assert_eq!(received.open(Length::new(4096)), Ok(data.clone()));
                assert!(received.open(Length::new(4095)).is_err());
            }
        }
    }

    #[test]
    fn the_pairs_stand_in_the_original_order() {
        let zeros = Bytes::from(std::vec![0; 512]);
        let sealed = Sealer::new(Compression::Hole, Checksum::Crc32)
            .seal(zeros)
            .unwrap();
        let list = described(&sealed);
        let names = list.as_list().pairs().map(|pair| pair.name);
        assert!(names.eq([COMPRESSION, CHECKSUM, HASH, SIZE]));
    }

    #[test]
    fn the_checksum_is_over_the_compressed_octets() {
        let zeros = Bytes::from(std::vec![0; 4096]);
        let sealed = Sealer::new(Compression::Hole, Checksum::Crc32)
            .seal(zeros)
            .unwrap();
        let expected = Digest::compute(Checksum::Crc32, &4096_u32.to_le_bytes());
        assert_eq!(sealed.digest(), expected.as_ref());
    }

    #[test]
    fn no_data_are_no_payload() {
        assert_eq!(Payload::plain(Bytes::new()), None);
        let error = Payload::receive(List::EMPTY, Bytes::new());
        assert_eq!(error, Err(PayloadError::Missing));
        let error = PayloadError::Unexpected { len: 1 };
        assert_eq!(Payload::none(&Bytes::from_static(b"x")), Err(error));
    }
}

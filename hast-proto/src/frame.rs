//! The frame around a list, a decoder that takes octets in any slicing, and an encoder
//! (HAST §2.1).
//!
//! ```text
//!  offset    size
//!  0         1      version
//!  1         4      octets of the list, little-endian
//!  5         size   the list
//!  5 + size         payload: as many octets as the list's "size" says, if it is there
//! ```
//!
//! There is no mark by which a reader could find the next frame after an error, so that an error
//! is final: the connection is of no use any more.

#![warn(clippy::arithmetic_side_effects)]

use bytes::{Bytes, BytesMut};
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nv::{List, ListBuf, LookupError, NvError, Writer};
use crate::payload::Payload;
use crate::types::Version;

/// The octets in front of the list.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version: u8,
    list_len: U32,
}

/// The octets of a frame's header.
pub const HEADER_LEN: usize = size_of::<Header>();
const _: () = assert!(HEADER_LEN == 5);

/// The longest list during a session. Real ones stay below 700 octets.
pub const MAX_LIST: usize = 4096;
/// The longest list of the control protocol. An answer has about 1.2 KiB for each resource, and
/// at most some 6 KiB where every path and address is as long as may be.
pub const MAX_CONTROL_LIST: usize = 1024 * 1024;
/// The longest payload of a request or reply, which is the largest request of FreeBSD 13.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// The longest activemap on the wire: that of 256 TiB in extents of 2 MiB, each of which takes a
/// bit.
pub const MAX_MAP: usize = 16 * 1024 * 1024;
/// The longest payload of an opening, of which a real peer sends none: a compressed activemap.
/// Nobody has been asked yet who he is, so it is not much.
pub const MAX_OPENING: usize = 128 * 1024;

/// What a connection carries at the moment, in one direction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these five")]
pub enum Phase {
    /// Either handshake step, primary to secondary. The second may carry an activemap between
    /// nodes of this crate.
    Opening,
    /// The answers to them, secondary to primary; the second may carry an activemap.
    Answer,
    /// Requests, primary to secondary.
    Request,
    /// Replies, secondary to primary.
    Reply,
    /// The control protocol, both ways. No payload.
    Control,
}

/// How long the parts of a frame may be. They are compared before any memory is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a frame has these two parts of variable length"
)]
pub struct Limits {
    /// The octets of the list.
    pub list: usize,
    /// The octets of the payload.
    pub payload: usize,
}

impl Phase {
    /// Returns the limits that every message of a real peer keeps in this phase.
    #[must_use]
    pub const fn limits(self) -> Limits {
        match self {
            Self::Opening => Limits {
                list: MAX_LIST,
                payload: MAX_OPENING,
            },
            Self::Answer => Limits {
                list: MAX_LIST,
                payload: MAX_MAP,
            },
            Self::Request | Self::Reply => Limits {
                list: MAX_LIST,
                payload: MAX_PAYLOAD,
            },
            Self::Control => Limits {
                list: MAX_CONTROL_LIST,
                payload: 0,
            },
        }
    }
}

/// Why octets are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first octet names a version that does not exist (`ERPCMISMATCH`). Nothing after it
    /// has been looked at.
    #[error("version {version} where at most {} is known", Version::NEWEST)]
    Version {
        /// The octet.
        version: u8,
    },
    /// The list has no octets, of which the original dies, or no pairs, so that it says nothing.
    #[error("empty list")]
    EmptyList,
    /// The list is longer than the phase allows.
    #[error("list of {len} octets where at most {max} are allowed")]
    ListTooLong {
        /// Its length.
        len: u32,
        /// The limit.
        max: usize,
    },
    /// The list is invalid.
    #[error(transparent)]
    List(#[from] NvError),
    /// "size" is not a `uint32`.
    #[error("size is {error}")]
    Size {
        /// What is wrong with it.
        error: LookupError,
    },
    /// The payload is longer than the phase allows.
    #[error("payload of {len} octets where at most {max} are allowed")]
    PayloadTooLong {
        /// Its length.
        len: u32,
        /// The limit.
        max: usize,
    },
    /// The connection ended within a frame. The original takes such a frame for complete, with
    /// whatever its buffer held before.
    #[error("connection ended within a frame, {missing} octets before its next part is complete")]
    Truncated {
        /// How many octets are missing at least.
        missing: usize,
    },
}

/// A received frame: the list is valid, what it says is not yet looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    version: Version,
    list: ListBuf,
    payload: Bytes,
}

impl Frame {
    /// Returns the version in the header, where 0 counts as 1.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> List<'_> {
        self.list.as_list()
    }

    /// Returns what follows the list, where it was received.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Writes the frame as it was, but for padding, which becomes zero, what followed the end of
    /// the list within it, which is dropped, and header octet 0, which becomes 1.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        encoder.copy(self.version, self.list(), self.payload.clone())
    }
}

/// Finds frames in a stream of octets, however it is sliced.
///
/// ```
/// use bytes::BytesMut;
/// use hast_proto::frame::{Decoder, Phase};
///
/// let keepalive = b"\x02\x16\0\0\0\x02\x04\x01\0\0\0cmd\0\0\0\0\0\x05\0\0\0\0\0\0\0";
/// let mut decoder = Decoder::new(Phase::Request);
/// let mut buffer = BytesMut::new();
/// for octet in &keepalive[..26] {
///     buffer.extend_from_slice(&[*octet]);
///     assert_eq!(decoder.decode(&mut buffer)?, None);
/// }
/// assert_eq!(decoder.wanted(), 1);
/// buffer.extend_from_slice(&keepalive[26..]);
/// let frame = decoder.decode(&mut buffer)?.unwrap();
/// assert_eq!(frame.list().get::<u8>("cmd")?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    /// The frame whose payload is awaited; its list has been taken out of the buffer.
    head: Option<Head>,
    wanted: usize,
    failed: Option<FrameError>,
}

/// A frame up to its payload.
#[derive(Clone, Debug)]
struct Head {
    version: Version,
    list: ListBuf,
    payload_len: usize,
}

impl Decoder {
    /// Makes a decoder for what `phase` carries.
    #[must_use]
    pub const fn new(phase: Phase) -> Self {
        Self::with_limits(phase.limits())
    }

    /// Makes a decoder with limits of one's own, as between nodes that have agreed on larger
    /// requests.
    #[must_use]
    pub const fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            head: None,
            wanted: HEADER_LEN,
            failed: None,
        }
    }

    /// Goes on to another phase: after its second answer, a first connection carries requests.
    pub const fn enter(&mut self, phase: Phase) {
        self.limits = phase.limits();
    }

    /// Takes the next frame off the front of `buffer`, or `None` if it is not complete yet.
    ///
    /// The payload is not copied: it stays where it was read to. As soon as the length of the next
    /// part is known, and within the limits, room for it is made in `buffer`; what has been read
    /// of a payload is moved only if the buffer is too small for the rest. Who reads no more than
    /// [`wanted`](Self::wanted) octets at a time never sees that happen.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for the first frame that is invalid or too long, and the same again for
    /// every further call.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let frame = self.advance(buffer);
        self.failed = frame.as_ref().err().copied();
        frame
    }

    /// Returns how many octets must be read at least before there is a next part of a frame to
    /// see: header, list or payload. Meaningful after [`decode`](Self::decode) returned `None`.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Checks that the stream may end here: between frames, with nothing left in `buffer`.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`] within a frame, and any earlier error again.
    pub fn finish(&self, buffer: &BytesMut) -> Result<(), FrameError> {
        match self.failed {
            Some(error) => Err(error),
            None if buffer.is_empty() && self.head.is_none() => Ok(()),
            None => Err(FrameError::Truncated {
                missing: self.wanted,
            }),
        }
    }

    fn advance(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.read_head(buffer)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if !self.has(buffer, head.payload_len) {
            self.head = Some(head);
            return Ok(None);
        }
        self.wanted = HEADER_LEN;
        let payload = match head.payload_len {
            0 => Bytes::new(),
            len => buffer.split_to(len).freeze(),
        };
        Ok(Some(Frame {
            version: head.version,
            list: head.list,
            payload,
        }))
    }

    /// Takes header and list off the buffer, if both are there.
    fn read_head(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, FrameError> {
        // HAST §1.3: a version above 2 is refused before anything else is read.
        let Some(&version) = buffer.first() else {
            self.wanted = HEADER_LEN;
            return Ok(None);
        };
        let version = Version::from_header(version).map_err(|_| FrameError::Version { version })?;
        let Ok((header, _)) = Header::ref_from_prefix(buffer) else {
            self.wanted = HEADER_LEN.saturating_sub(buffer.len());
            return Ok(None);
        };
        let list_len = match header.list_len.get() {
            0 => return Err(FrameError::EmptyList),
            len if len as usize > self.limits.list => {
                let max = self.limits.list;
                return Err(FrameError::ListTooLong { len, max });
            }
            len => len as usize,
        };
        if !self.has(buffer, HEADER_LEN.saturating_add(list_len)) {
            return Ok(None);
        }
        let mut octets = buffer
            .split_to(HEADER_LEN.saturating_add(list_len))
            .freeze();
        let list = ListBuf::parse(octets.split_off(HEADER_LEN))?;
        // Written again, it would have no octets.
        if list.as_list().is_empty() {
            return Err(FrameError::EmptyList);
        }
        let size = list
            .as_list()
            .optional::<u32>("size")
            .map_err(|error| FrameError::Size { error })?;
        // HAST §12.2: compared with what may come before memory is taken for it.
        match size.unwrap_or(0) {
            len if len as usize > self.limits.payload => Err(FrameError::PayloadTooLong {
                len,
                max: self.limits.payload,
            }),
            len => Ok(Some(Head {
                version,
                list,
                payload_len: len as usize,
            })),
        }
    }

    /// Whether the buffer has `len` octets; if not, makes room and notes what is wanted.
    fn has(&mut self, buffer: &mut BytesMut, len: usize) -> bool {
        match len.checked_sub(buffer.len()) {
            None | Some(0) => true,
            Some(missing) => {
                buffer.reserve(missing);
                self.wanted = missing;
                false
            }
        }
    }
}

/// A frame to be sent: three pieces, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a frame has these three parts")]
pub struct Segments {
    /// The header.
    pub header: Bytes,
    /// The list.
    pub list: Bytes,
    /// The payload, which has not been copied; empty if there is none.
    pub payload: Bytes,
}

impl Segments {
    /// Returns the octets of all three.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.header
            .len()
            .saturating_add(self.list.len())
            .saturating_add(self.payload.len())
    }

    /// Whether there are none, which no encoder makes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the three, for a vectored write.
    #[must_use]
    pub fn as_slices(&self) -> [&[u8]; 3] {
        [&self.header, &self.list, &self.payload]
    }

    /// Returns one buffer with a copy of all three, for who values simplicity over speed.
    #[must_use]
    pub fn concat(&self) -> Bytes {
        self.as_slices().concat().into()
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = core::array::IntoIter<Bytes, 3>;

    fn into_iter(self) -> Self::IntoIter {
        [self.header, self.list, self.payload].into_iter()
    }
}

/// Writes frames. It holds a buffer for headers and lists that is used again as soon as what was
/// written to it has been sent and dropped.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
}

/// What a new buffer takes: lists of some fifty messages.
const BUFFER_LEN: usize = 8192;
/// Room for the header and the list of every request and reply.
const USUAL_LEN: usize = 256;

impl Encoder {
    /// Makes an encoder; it allocates nothing before it is used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a frame of any list; the messages of this crate write themselves. `None` if nobody
    /// could read it: the list has no pairs, or says another length of the payload in "size".
    pub fn encode(&mut self, version: Version, list: List<'_>, payload: Bytes) -> Option<Segments> {
        let size = list.optional::<u32>("size").ok()?.unwrap_or(0);
        let readable = !list.is_empty() && usize::try_from(size) == Ok(payload.len());
        readable.then(|| self.copy(version, list, payload))
    }

    fn copy(&mut self, version: Version, list: List<'_>, payload: Bytes) -> Segments {
        self.frame(version, payload, |buffer| {
            // Pair by pair, so that padding in which a peer has left its memory is not passed on.
            let mut writer = Writer::new(buffer);
            for pair in list {
                writer.push(pair.name, pair.value);
            }
        })
    }

    /// Writes a message: `write` appends its pairs, those that describe the payload come last.
    pub(crate) fn message(
        &mut self,
        version: Version,
        payload: Option<&Payload>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Segments {
        let octets = payload
            .map(Payload::wire_bytes)
            .cloned()
            .unwrap_or_default();
        self.frame(version, octets, |buffer| {
            let mut list = Writer::new(buffer);
            write(&mut list);
            if let Some(payload) = payload {
                payload.describe(&mut list);
            }
        })
    }

    fn frame(
        &mut self,
        version: Version,
        payload: Bytes,
        write: impl FnOnce(&mut BytesMut),
    ) -> Segments {
        if self.buffer.capacity() < USUAL_LEN {
            self.buffer.reserve(BUFFER_LEN);
        }
        self.buffer.extend_from_slice(&[0; HEADER_LEN]);
        write(&mut self.buffer);
        let list_len = self.buffer.len().saturating_sub(HEADER_LEN);
        let header = Header {
            version: version.get(),
            // No list in memory of this program comes near 4 GiB.
            list_len: U32::new(u32::try_from(list_len).unwrap_or(u32::MAX)),
        };
        if let Some(room) = self.buffer.first_chunk_mut::<HEADER_LEN>() {
            room.copy_from_slice(header.as_bytes());
        }
        let mut octets = self.buffer.split().freeze();
        let header = octets.split_to(HEADER_LEN.min(octets.len()));
        Segments {
            header,
            list: octets,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::{Name, Value};
    use crate::payload::Sealer;
    use crate::types::Checksum;
    use crate::types::Compression;

    fn write(payload_len: usize) -> Segments {
        let payload = Bytes::from(std::vec![7; payload_len]);
        let payload = Sealer::new(Compression::None, Checksum::None).seal(payload);
        Encoder::new().message(Version::V2, payload.as_ref(), |list| {
            list.push(Name::literal("cmd"), Value::U8(2));
        })
    }

    fn decode(phase: Phase, octets: &[u8]) -> Result<Option<Frame>, FrameError> {
        let mut buffer = BytesMut::from(octets);
        let mut decoder = Decoder::new(phase);
        let frame = decoder.decode(&mut buffer)?;
        decoder.finish(&buffer)?;
        Ok(frame)
    }

    #[test]
    fn the_parts_of_a_frame_are_wanted_one_after_another() {
        let octets = write(4096).concat();
        let mut decoder = Decoder::new(Phase::Request);
        let mut buffer = BytesMut::new();
        let mut wanted = std::vec::Vec::new();
        let mut at = 0;
        let frame = loop {
            if let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                break frame;
            }
            wanted.push(decoder.wanted());
            buffer.extend_from_slice(&octets[at..][..decoder.wanted()]);
            at += decoder.wanted();
        };
        assert_eq!(wanted, [5, 44, 4096]);
        assert_eq!(frame.payload().len(), 4096);
        assert_eq!(decoder.finish(&buffer), Ok(()));
    }

    #[test]
    fn limits_are_kept_before_memory_is_taken() {
        for (phase, max) in [
            (Phase::Request, MAX_LIST),
            (Phase::Control, MAX_CONTROL_LIST),
        ] {
            let mut decoder = Decoder::new(phase);
            let mut buffer = BytesMut::from(&[2, 0xff, 0xff, 0xff, 0xff][..]);
            let error = FrameError::ListTooLong { len: u32::MAX, max };
            assert_eq!(decoder.decode(&mut buffer), Err(error));
            assert_eq!(decoder.decode(&mut buffer), Err(error), "an error is final");
            assert_eq!(decoder.finish(&buffer), Err(error));
            assert!(buffer.capacity() < 64);
        }
        let octets = write(512).concat();
        let error = |max| Err(FrameError::PayloadTooLong { len: 512, max });
        assert_eq!(decode(Phase::Control, &octets), error(0));
        let limits = Limits {
            list: 64,
            payload: 511,
        };
        let mut decoder = Decoder::with_limits(limits);
        assert_eq!(decoder.decode(&mut BytesMut::from(&octets[..])), error(511));
        decoder = Decoder::with_limits(limits);
        decoder.enter(Phase::Request);
        assert!(
            decoder
                .decode(&mut BytesMut::from(&octets[..]))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn each_fault_has_its_error() {
        let error = |octets: &[u8]| decode(Phase::Request, octets).unwrap_err();
        // One octet is enough to see a wrong version.
        assert_eq!(error(&[3]), FrameError::Version { version: 3 });
        assert_eq!(error(&[2, 0, 0, 0, 0]), FrameError::EmptyList);
        assert_eq!(error(&[2, 22, 0, 0]), FrameError::Truncated { missing: 1 });
        let list = NvError::Truncated {
            at: 0,
            need: 8,
            have: 1,
        };
        assert_eq!(error(&[2, 1, 0, 0, 0, 2]), FrameError::List(list));
        let octets = write(512).concat();
        assert_eq!(error(&octets[..500]), FrameError::Truncated { missing: 61 });
        let wrong = Encoder::new().message(Version::V2, None, |list| {
            list.push(Name::literal("size"), Value::U64(1));
        });
        assert!(matches!(error(&wrong.concat()), FrameError::Size { .. }));
        // A list without pairs, though not without octets.
        assert_eq!(error(&[2, 3, 0, 0, 0, 0, 1, 2]), FrameError::EmptyList);
    }

    #[test]
    fn nothing_is_written_that_nobody_could_read() {
        let mut encoder = Encoder::new();
        let octets = write(3).list;
        let list = List::parse(&octets).unwrap();
        let mut encode = |list, payload| {
            let segments = encoder.encode(Version::V2, list, Bytes::from_static(payload));
            segments.is_some()
        };
        assert!(encode(list, b"abc"));
        assert!(!encode(list, b"ab") && !encode(list, b""), "another size");
        assert!(!encode(List::EMPTY, b""), "no pairs");
    }

    #[test]
    fn a_frame_is_written_as_it_was_read() {
        let segments = write(512);
        let frame = decode(Phase::Request, &segments.concat()).unwrap().unwrap();
        assert_eq!(frame.encode(&mut Encoder::new()), segments);
        assert_eq!((segments.len(), segments.is_empty()), (5 + 44 + 512, false));
    }

    #[test]
    fn the_payload_is_the_one_given() {
        let data = Bytes::from_static(&[1; 64]);
        let payload = Sealer::new(Compression::Hole, Checksum::Crc32).seal(data.clone());
        let segments = Encoder::new().message(Version::V2, payload.as_ref(), |_| ());
        assert_eq!(segments.payload.as_ptr(), data.as_ptr());
        assert_eq!(segments.into_iter().last(), Some(data));
    }
}

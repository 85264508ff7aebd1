//! The name-value list: a reader that checks once, and a writer (HAST §2.2).
//!
//! Messages, the metadata block and the control protocol are such lists. Each pair is laid out as
//!
//! ```text
//!  offset        size
//!  0             1      type, bits 0-6; bit 7 set: "host order"
//!  1             1      length of the name and its NUL
//!  2             4      length of the data, little-endian
//!  6             R(n)   name, NUL, padding
//!  6 + R(n)      R(d)   data, padding
//! ```
//!
//! where `R` rounds up to a multiple of eight. "Network order" of this protocol is little-endian,
//! so bit 7 changes nothing and is ignored, as by every peer of that byte order.
//!
//! [`List`] borrows the octets and exists only if they are valid; [`ListBuf`] owns them. Looking a
//! name up has the original's semantics: the first pair of that name decides, even if it is of
//! another type than wanted.
//!
//! ```
//! use bytes::BytesMut;
//! use hast_proto::nv::{List, LookupError, Name, Text, Value, Writer};
//!
//! let mut octets = BytesMut::new();
//! let mut writer = Writer::new(&mut octets);
//! writer.push(Name::new(b"resource")?, Value::String(Text::new(b"shared")?));
//! writer.push(Name::new(b"version")?, Value::U8(2));
//!
//! let list = List::parse(&octets)?;
//! assert_eq!(list.get::<u8>("version"), Ok(2));
//! assert_eq!(list.get::<Text<'_>>("resource")?.as_bytes(), b"shared");
//! assert_eq!(list.get::<u8>("token"), Err(LookupError::Missing));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};
use core::fmt;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

mod value;

pub use value::{Array, Element, InvalidText, Name, Text, Type, Typed, Value};

use crate::types::Errno;

/// What stands before the name of each pair.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: u8,
    name_size: u8,
    data_size: U32,
}

/// The header's octets.
const HEADER_LEN: usize = size_of::<Header>();
const _: () = assert!(HEADER_LEN == 6);

/// Names and data are padded to a multiple of this.
const ALIGNMENT: usize = 8;
/// No pair is shorter, says the original's first check.
const MIN_PAIR: usize = 8;
/// The bit of the type octet that means the sender's own byte order.
const HOST_ORDER: u8 = 0x80;

/// Why octets are not a name-value list (HAST §2.2). `at` is where the pair begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NvError {
    /// The octets end before the pair does; the padding of the last pair counts.
    #[error("truncated: {have} octets where the pair at {at} needs {need}")]
    Truncated {
        /// Where the pair begins.
        at: usize,
        /// How many octets it needs at least.
        need: u64,
        /// How many there are.
        have: usize,
    },
    /// The name does not end with its first NUL where its length says.
    #[error("name of {size} octets in the pair at {at} does not end with its only NUL")]
    Name {
        /// Where the pair begins.
        at: usize,
        /// The length of the name as the pair states it, NUL included.
        size: u8,
    },
    /// There is no such type.
    #[error("type {code} of the pair at {at} is outside 1..=17")]
    Type {
        /// Where the pair begins.
        at: usize,
        /// The type's code.
        code: u8,
    },
    /// The length of the data does not fit the type.
    #[error("{size} octets of data in the pair at {at} do not fit {kind}")]
    DataSize {
        /// Where the pair begins.
        at: usize,
        /// The pair's type.
        kind: Type,
        /// The length of the data as the pair states it.
        size: u32,
    },
    /// A string does not end with its only NUL.
    #[error("string in the pair at {at} does not end with its only NUL")]
    String {
        /// Where the pair begins.
        at: usize,
    },
}

/// Why a value was not found.
///
/// The original keeps the first such error in the list itself; here every lookup returns its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no pair of that name.
    #[error("missing")]
    Missing,
    /// The first pair of that name has another type.
    #[error("{found} where {wanted} is expected")]
    WrongType {
        /// The type asked for.
        wanted: Type,
        /// The type of the pair.
        found: Type,
    },
}

impl LookupError {
    /// Returns the error that the original's list has afterwards.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Missing => Errno::ENOENT,
            Self::WrongType { .. } => Errno::EINVAL,
        }
    }
}

/// One name and its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a pair has two parts")]
pub struct Pair<'a> {
    /// The name; it may be empty, but then no lookup finds it.
    pub name: Name<'a>,
    /// The value.
    pub value: Value<'a>,
}

/// A valid list in a buffer.
///
/// Two lists are equal if their pairs are, in the same order; padding does not count.
#[derive(Clone, Copy)]
pub struct List<'a> {
    /// The pairs, valid each; nothing after them.
    octets: &'a [u8],
}

impl<'a> List<'a> {
    /// A list without pairs.
    pub const EMPTY: Self = Self { octets: &[] };

    /// Checks `octets`, which hold a list and nothing else.
    ///
    /// A type octet 0 ends the list; what follows is ignored, zero or not. The lengths are added
    /// in 64 bits, so that none of them wraps as in the original.
    ///
    /// # Errors
    ///
    /// [`NvError`], whose variants say what is wrong with the first invalid pair.
    pub fn parse(octets: &'a [u8]) -> Result<Self, NvError> {
        let mut at = 0_usize;
        let mut rest = octets;
        while let Some(next) = check_pair(rest, at)? {
            at = at.saturating_add(rest.len().saturating_sub(next.len()));
            rest = next;
        }
        Ok(Self {
            octets: octets.get(..at).unwrap_or(octets),
        })
    }

    /// Returns the pairs in their order.
    #[must_use]
    pub const fn pairs(self) -> Pairs<'a> {
        Pairs { rest: self.octets }
    }

    /// Returns the octets of the pairs, without what followed the last one.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.octets
    }

    /// Whether there are no pairs.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.octets.is_empty()
    }

    /// Returns the value of the first pair called `name`, whatever its type. The empty name finds
    /// nothing.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Value<'a>> {
        let mut rest = self.octets;
        while let Some((pair, next)) = split_pair(rest) {
            if pair.name == name.as_bytes() && !name.is_empty() {
                return pair.value();
            }
            rest = next;
        }
        None
    }

    /// Whether there is a pair called `name`, of whatever type.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns the value called `name` if it has the type wanted.
    ///
    /// # Errors
    ///
    /// [`LookupError::Missing`] if there is no such pair, [`LookupError::WrongType`] if the first
    /// one has another type.
    pub fn get<T: Typed<'a>>(self, name: &str) -> Result<T, LookupError> {
        let value = self.find(name).ok_or(LookupError::Missing)?;
        T::from_value(value).ok_or_else(|| LookupError::WrongType {
            wanted: T::TYPE,
            found: value.kind(),
        })
    }

    /// Returns the value called `name`, or `None` if there is no such pair.
    ///
    /// # Errors
    ///
    /// [`LookupError::WrongType`] if the first such pair has another type.
    pub fn optional<T: Typed<'a>>(self, name: &str) -> Result<Option<T>, LookupError> {
        match self.get(name) {
            Ok(value) => Ok(Some(value)),
            Err(LookupError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for List<'_> {}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.pairs().map(|pair| (pair.name, pair.value)))
            .finish()
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Pair<'a>;
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.pairs()
    }
}

/// The pairs of a list, in their order.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let (pair, rest) = split_pair(self.rest)?;
        self.rest = rest;
        Some(Pair {
            name: Name::of_valid(pair.name),
            value: pair.value()?,
        })
    }
}

/// A valid list that owns its octets, or shares them with the buffer they were received in.
#[derive(Clone, Eq)]
pub struct ListBuf(Bytes);

impl ListBuf {
    /// Checks `octets`, which hold a list and nothing else; nothing is copied.
    ///
    /// # Errors
    ///
    /// As [`List::parse`].
    pub fn parse(octets: Bytes) -> Result<Self, NvError> {
        let len = List::parse(&octets)?.octets.len();
        let mut octets = octets;
        octets.truncate(len);
        Ok(Self(octets))
    }

    /// Returns the list for reading.
    #[must_use]
    pub fn as_list(&self) -> List<'_> {
        List { octets: &self.0 }
    }

    /// Returns the octets of the pairs.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl PartialEq for ListBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_list() == other.as_list()
    }
}

impl fmt::Debug for ListBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_list().fmt(f)
    }
}

/// Appends pairs to a buffer. All padding is zero.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// Writes behind what `buffer` already holds.
    pub const fn new(buffer: &'a mut BytesMut) -> Self {
        Self { buffer }
    }

    /// Appends one pair. It cannot fail, as no [`Name`] and no [`Value`] is too long or holds a
    /// NUL where it must not.
    pub fn push(&mut self, name: Name<'_>, value: Value<'_>) -> &mut Self {
        let (name, kind) = (name.as_bytes(), value.kind());
        // At most 254 octets by construction, and the NUL.
        let name_size = u8::try_from(name.len().saturating_add(1)).unwrap_or(u8::MAX);
        let header = |data_size| Header {
            kind: kind.code(),
            name_size,
            data_size: U32::new(data_size),
        };
        self.buffer.reserve(
            HEADER_LEN
                .saturating_add(round_up(name_size.into()))
                .saturating_add(ALIGNMENT),
        );
        value.with_data(|data, nul| {
            let size = data.len().saturating_add(usize::from(nul));
            // Checked when the value was made.
            let data_size = u32::try_from(size).unwrap_or(u32::MAX);
            self.buffer.put_slice(header(data_size).as_bytes());
            self.buffer.put_slice(name);
            self.pad(name.len(), round_up(name_size.into()));
            self.buffer.put_slice(data);
            self.pad(data.len(), round_up(size));
        });
        self
    }

    /// Fills up with zeros what has `len` octets and is to have `room`.
    fn pad(&mut self, len: usize, room: usize) {
        self.buffer.put_bytes(0, room.saturating_sub(len));
    }
}

/// A pair whose parts have been told apart but not looked at.
struct RawPair<'a> {
    kind: u8,
    name: &'a [u8],
    data: &'a [u8],
}

impl<'a> RawPair<'a> {
    fn value(&self) -> Option<Value<'a>> {
        Value::decode(Type::from_code(self.kind)?, self.data)
    }
}

/// Takes the first pair off a valid list.
fn split_pair(octets: &[u8]) -> Option<(RawPair<'_>, &[u8])> {
    let (header, rest) = Header::ref_from_prefix(octets).ok()?;
    let name_size = usize::from(header.name_size);
    let data_size = usize::try_from(header.data_size.get()).ok()?;
    let (name, rest) = rest.split_at_checked(round_up(name_size))?;
    let (data, rest) = rest.split_at_checked(round_up(data_size))?;
    let pair = RawPair {
        kind: header.kind & !HOST_ORDER,
        name: name.get(..name_size.checked_sub(1)?)?,
        data: data.get(..data_size)?,
    };
    Some((pair, rest))
}

/// Checks the first pair of `octets`, which begin `at` octets into the list, in the order of HAST
/// §2.2, and returns what follows it; `None` at the end of the list.
fn check_pair(octets: &[u8], at: usize) -> Result<Option<&[u8]>, NvError> {
    // 1. No octets, or a type octet 0: the end.
    if matches!(octets.first(), None | Some(0)) {
        return Ok(None);
    }
    let have = octets.len();
    let truncated = |need: u64| NvError::Truncated { at, need, have };
    // 2. Enough for the shortest pair.
    let (header, rest) = Header::ref_from_prefix(octets)
        .ok()
        .filter(|_| have >= MIN_PAIR)
        .ok_or_else(|| truncated(MIN_PAIR as u64))?;
    let name_size = usize::from(header.name_size);
    let name_room = round_up(name_size);
    let to_data = HEADER_LEN.saturating_add(name_room) as u64;
    // 3. Enough for the name.
    let (name, rest) = rest
        .split_at_checked(name_room)
        .ok_or_else(|| truncated(to_data))?;
    // 4. The name ends with its first NUL.
    let last = name_size.checked_sub(1);
    if last.is_none() || first_nul(name) != last {
        let size = header.name_size;
        return Err(NvError::Name { at, size });
    }
    // 5. A type that exists. Bit 7 alone does not make one.
    let code = header.kind & !HOST_ORDER;
    let kind = Type::from_code(code).ok_or(NvError::Type { at, code })?;
    // 6. Some data.
    let size = header.data_size.get();
    let unfit = NvError::DataSize { at, kind, size };
    if size == 0 {
        return Err(unfit);
    }
    // 7. Enough for the data. Rounded up in 64 bits, nothing wraps.
    let data_room = u64::from(size).next_multiple_of(ALIGNMENT as u64);
    let (data, rest) = usize::try_from(data_room)
        .ok()
        .and_then(|room| rest.split_at_checked(room))
        .ok_or_else(|| truncated(to_data.saturating_add(data_room)))?;
    // 8. Data that fit the type.
    let data = data.get(..size as usize).ok_or(unfit)?;
    if kind == Type::String {
        // `size` is not 0, so that there is a last octet.
        if first_nul(data) != data.len().checked_sub(1) {
            return Err(NvError::String { at });
        }
    } else if !kind.fits(size) {
        return Err(unfit);
    }
    Ok(Some(rest))
}

/// Where the first NUL is.
fn first_nul(octets: &[u8]) -> Option<usize> {
    octets.iter().position(|octet| *octet == 0)
}

/// The next multiple of eight; the greatest number stays, as nothing in memory is so long.
const fn round_up(len: usize) -> usize {
    match len.checked_next_multiple_of(ALIGNMENT) {
        Some(len) => len,
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(pairs: &[(&str, Value<'_>)]) -> BytesMut {
        let mut buffer = BytesMut::new();
        let mut writer = Writer::new(&mut buffer);
        for (name, value) in pairs {
            writer.push(Name::new(name.as_bytes()).unwrap(), *value);
        }
        buffer
    }

    #[test]
    fn a_pair_is_laid_out_as_specified() {
        let written = octets(&[("cmd", Value::U8(5))]);
        let expected = [
            0x02, 0x04, 0x01, 0, 0, 0, 0x63, 0x6d, 0x64, 0, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(written[..], expected);
    }

    #[test]
    fn the_first_pair_of_a_name_decides() {
        let written = octets(&[("a", Value::U8(7)), ("a", Value::U16(9))]);
        let list = List::parse(&written).unwrap();
        let error = LookupError::WrongType {
            wanted: Type::U16,
            found: Type::U8,
        };
        assert_eq!(list.get::<u16>("a"), Err(error));
        assert_eq!(error.errno(), Errno::EINVAL);
        assert_eq!(list.get::<u8>("a"), Ok(7));
        assert_eq!(list.optional::<u8>("b"), Ok(None));
        assert_eq!(list.get::<u8>("b").unwrap_err().errno(), Errno::ENOENT);
        assert!(list.contains("a") && !list.contains("b"));
    }

    #[test]
    fn an_empty_name_is_never_found() {
        let written = octets(&[("", Value::U8(1))]);
        let list = List::parse(&written).unwrap();
        assert_eq!(list.pairs().count(), 1);
        assert!(!list.contains(""));
    }

    #[test]
    fn a_zero_octet_ends_the_list_and_the_rest_is_dropped() {
        let mut written = octets(&[("a", Value::U8(1))]);
        let len = written.len();
        written.extend_from_slice(&[0, 0xff, 0xff]);
        let list = ListBuf::parse(written.freeze()).unwrap();
        assert_eq!(list.as_bytes().len(), len);
        assert_eq!(List::parse(&[0]), Ok(List::EMPTY));
        // Only the value 0 ends the list.
        let error = NvError::Type { at: 0, code: 0 };
        assert_eq!(
            List::parse(&[
                0x80, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
            ]),
            Err(error)
        );
    }

    #[test]
    fn lengths_do_not_wrap() {
        let mut written = octets(&[("a", Value::U8(1)), ("a", Value::U8(1))]);
        let second = written.len() / 2;
        for size in [0x7fff_ffff_u32, 0xffff_fff8, 0xffff_fff9, 0xffff_ffff] {
            for kind in [10, 12, 17] {
                written[second] = kind;
                written[second + 2..second + 6].copy_from_slice(&size.to_le_bytes());
                let need = 14 + u64::from(size).next_multiple_of(8);
                let error = NvError::Truncated {
                    at: 22,
                    need,
                    have: 22,
                };
                assert_eq!(List::parse(&written), Err(error));
            }
        }
    }

    #[test]
    fn padding_is_mandatory_and_not_looked_at() {
        let mut written = octets(&[("a", Value::U8(1))]);
        assert!(List::parse(&written[..21]).is_err());
        written[9] = 0xaa;
        written[21] = 0xaa;
        let clean = octets(&[("a", Value::U8(1))]);
        assert_eq!(List::parse(&written), List::parse(&clean));
    }

    #[test]
    fn each_fault_has_its_error() {
        let valid = octets(&[
            ("ab", Value::U16(1)),
            ("s", Value::String(Text::new(b"x").unwrap())),
        ]);
        let broken = |at: usize, octet: u8| {
            let mut octets = valid.clone();
            octets[at] = octet;
            List::parse(&octets).map(|_| ()).unwrap_err()
        };
        assert_eq!(broken(0, 18), NvError::Type { at: 0, code: 18 });
        assert_eq!(broken(1, 0), NvError::Name { at: 0, size: 0 });
        assert_eq!(broken(1, 2), NvError::Name { at: 0, size: 2 });
        assert_eq!(broken(1, 4), NvError::Name { at: 0, size: 4 });
        let (kind, at) = (Type::U16, 0);
        assert_eq!(broken(2, 0), NvError::DataSize { at, kind, size: 0 });
        assert_eq!(broken(2, 3), NvError::DataSize { at, kind, size: 3 });
        assert_eq!(broken(22 + 15, b'x'), NvError::String { at: 22 });
        assert_eq!(broken(22 + 14, 0), NvError::String { at: 22 });
        let error = NvError::Truncated {
            at: 0,
            need: 8,
            have: 7,
        };
        assert_eq!(List::parse(&valid[..7]), Err(error));
        let error = NvError::Truncated {
            at: 0,
            need: 14,
            have: 13,
        };
        assert_eq!(List::parse(&valid[..13]), Err(error));
    }
}

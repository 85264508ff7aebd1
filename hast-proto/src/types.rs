//! Numbers, names and choices that cannot be out of range (HAST §0).

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

pub use crate::errno::Errno;

/// A number outside what its field allows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// The number is too small or too large.
    #[error("{field} {value} is outside {min}..={max}")]
    Range {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found or asked for.
        value: u64,
        /// The least value allowed.
        min: u64,
        /// The greatest value allowed.
        max: u64,
    },
    /// The number is below 0.
    #[error("{field} {value} is negative")]
    Negative {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found.
        value: i64,
    },
    /// The number must be a power of two and is not.
    #[error("{field} {value} is not a power of two")]
    PowerOfTwo {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found or asked for.
        value: u64,
    },
}

/// The number of a request, which its replies repeat; never 0 (HAST §3.1).
///
/// Synchronisation requests of a real peer all carry 1, so that a secondary must not depend on it
/// being unique, and a primary should give 1 to no request of a device (HAST §15.5).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sequence(NonZeroU64);

impl Sequence {
    /// The number that a real primary gives to every synchronisation request.
    pub const SYNCHRONISATION: Self = Self(NonZeroU64::MIN);

    /// Makes a number of a request.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] if it is 0.
    pub const fn new(number: u64) -> Result<Self, NumberError> {
        match NonZeroU64::new(number) {
            Some(number) => Ok(Self(number)),
            None => Err(NumberError::Range {
                field: "seq",
                value: 0,
                min: 1,
                max: u64::MAX,
            }),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the number after this one; after the last comes 1 again.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self(NonZeroU64::MIN),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in octets, counted from the start of the data area unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Offset(u64);

impl Offset {
    /// The first octet.
    pub const ZERO: Self = Self(0);

    /// Makes a position.
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// Returns the octets before this position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position `length` further on, if there is one: the sum must not wrap, as a
    /// real secondary lets it (HAST §7.2).
    #[must_use]
    pub const fn checked_add(self, length: Length) -> Option<Self> {
        match self.0.checked_add(length.0) {
            Some(octets) => Some(Self(octets)),
            None => None,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of octets.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Length(u64);

impl Length {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest request that every peer takes: 128 KiB (HAST §0, MAXPHYS).
    pub const MAX_TRANSFER: Self = Self(128 * 1024);
    /// The largest request that a 64-bit FreeBSD 13 or later sends and takes: 1 MiB.
    pub const MAX_TRANSFER_13: Self = Self(1024 * 1024);

    /// Makes a number of octets.
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// Takes the length of something in memory.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        // No address space of more than 64 bits is supported.
        Self(bytes.len() as u64)
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the octets as a size in memory, or `None` where memory cannot be so large.
    #[must_use]
    pub fn to_usize(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// Returns the sum, if a `u64` holds it.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(octets) => Some(Self(octets)),
            None => None,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The size of an extent in octets: a power of two up to 1 GiB (HAST §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtentSize(u32);

impl ExtentSize {
    /// What `hastctl create` takes unless told otherwise, 2 MiB.
    pub const DEFAULT: Self = Self(2 * 1024 * 1024);
    /// The largest one. The original keeps it in a signed 32-bit number, so that the next power
    /// of two would be negative.
    pub const MAX: Self = Self(1 << 30);

    /// Makes an extent size.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] if it is 0 or above [`MAX`](Self::MAX), and
    /// [`NumberError::PowerOfTwo`] if it is no power of two, with which the original aborts.
    pub const fn new(octets: u64) -> Result<Self, NumberError> {
        if octets == 0 || octets > Self::MAX.0 as u64 {
            return Err(NumberError::Range {
                field: "extentsize",
                value: octets,
                min: 1,
                max: Self::MAX.0 as u64,
            });
        }
        if !octets.is_power_of_two() {
            return Err(NumberError::PowerOfTwo {
                field: "extentsize",
                value: octets,
            });
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most MAX, as just checked"
        )]
        Ok(Self(octets as u32))
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for ExtentSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for ExtentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sector size of a provider in octets: a power of two (HAST §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SectorSize(u32);

impl SectorSize {
    /// What a regular file has, and most disks: 512.
    pub const DEFAULT: Self = Self(512);

    /// Makes a sector size.
    ///
    /// # Errors
    ///
    /// [`NumberError::PowerOfTwo`] if it is no power of two.
    pub const fn new(octets: u32) -> Result<Self, NumberError> {
        if octets.is_power_of_two() {
            return Ok(Self(octets));
        }
        Err(NumberError::PowerOfTwo {
            field: "sectorsize",
            value: octets as u64,
        })
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether `octets` is a whole number of sectors.
    #[must_use]
    pub const fn divides(self, octets: u64) -> bool {
        // A size is never 0, so that there always is a mask.
        octets & (self.0.saturating_sub(1) as u64) == 0
    }
}

impl Default for SectorSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier that a primary draws for a resource when the two nodes first meet; never 0, for
/// 0 on the wire and on disk means that there is none yet (HAST §5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResourceId(NonZeroU64);

impl ResourceId {
    /// Takes the number as stored; `None` is what 0 means.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the number as it is stored: 0 for none.
    #[must_use]
    pub fn stored(id: Option<Self>) -> u64 {
        id.map_or(0, Self::get)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two counters of a node by which the synchronisation source is found: changes made here
/// without the peer, and changes of the peer that this node has heard of (HAST §5.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these two")]
pub struct Counters {
    /// "localcnt".
    pub local: u64,
    /// "remotecnt".
    pub remote: u64,
}

/// The random octets that tie a primary's second connection to its first (HAST §1.4).
///
/// They are sent in clear, so they are no proof of anything else; comparing takes the same time
/// wherever they differ all the same. There is no default value, as the original has one and
/// dies of it (HAST §12.2).
#[derive(Clone, Copy)]
pub struct Token([u8; Self::LEN]);

impl Token {
    /// The number of octets.
    pub const LEN: usize = 16;

    /// Takes fresh random octets, or those received.
    #[must_use]
    pub const fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// Returns the octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0);
        differences.fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The version of the protocol between two peers (HAST §1.3).
///
/// Version 2 adds memsync to version 1, and nothing else.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a third version would be another protocol"
)]
pub enum Version {
    /// FreeBSD 8 and 9, and the first frame of every conversation.
    V1,
    /// FreeBSD 10 and later.
    #[default]
    V2,
}

impl Version {
    /// The newest one.
    pub const NEWEST: Self = Self::V2;

    /// Takes the octet at the start of a frame, which may be 0, 1 or 2 whatever was negotiated;
    /// 0 counts as 1.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] above 2.
    pub const fn from_header(octet: u8) -> Result<Self, NumberError> {
        match octet {
            0 | 1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err(NumberError::Range {
                field: "version",
                value: octet as u64,
                min: 0,
                max: 2,
            }),
        }
    }

    /// Returns the version that a secondary settles for when a primary offers this number:
    /// the lesser of the offer and 2, where no offer and 0 count as 1.
    #[must_use]
    pub const fn settle(offer: Option<u8>) -> Self {
        match offer {
            None | Some(0 | 1) => Self::V1,
            Some(_) => Self::V2,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Whether the peer knows memsync's two answers.
    #[must_use]
    pub const fn has_memsync(self) -> bool {
        matches!(self, Self::V2)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A word that names none of the choices of its field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("unknown {field} {word}")]
#[non_exhaustive]
pub struct UnknownWord {
    /// The field's name as the protocol spells it.
    pub field: &'static str,
    /// The word.
    pub word: Excerpt,
}

/// The start of a text that is not understood, to be shown in a message. It is as long as any
/// word that would be understood, so that nothing a peer sends makes an error large.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Excerpt {
    octets: [u8; Self::MAX_LEN],
    len: u8,
    is_cut: bool,
}

impl Excerpt {
    /// The octets that are kept.
    pub const MAX_LEN: usize = 16;

    /// Takes the start of a text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut octets = [0; Self::MAX_LEN];
        let mut len = 0;
        for (to, from) in octets.iter_mut().zip(text) {
            *to = *from;
            len = u8::saturating_add(len, 1);
        }
        Self {
            octets,
            len,
            is_cut: text.len() > Self::MAX_LEN,
        }
    }

    /// Returns the octets that were kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_cut { "..." } else { "" };
        write!(f, "\"{}{end}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a node is for a resource (HAST §5.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Role {
    /// Neither: the daemon does nothing with the resource.
    #[default]
    Init,
    /// It serves the device and sends its writes to the other.
    Primary,
    /// It takes the other's writes.
    Secondary,
}

impl Role {
    /// Takes the number of the control protocol.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] unless it is 1, 2 or 3.
    pub const fn from_code(code: u8) -> Result<Self, NumberError> {
        match code {
            1 => Ok(Self::Init),
            2 => Ok(Self::Primary),
            3 => Ok(Self::Secondary),
            _ => Err(NumberError::Range {
                field: "role",
                value: code as u64,
                min: 1,
                max: 3,
            }),
        }
    }

    /// Returns the number of the control protocol.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Init => 1,
            Self::Primary => 2,
            Self::Secondary => 3,
        }
    }

    /// Returns the word of `hastctl`, which is also in the metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

/// Which node has the current data (HAST §5.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two nodes")]
pub enum SyncSource {
    /// The primary: what it marked dirty is written to the secondary.
    Primary,
    /// The secondary: the primary reads from there what is marked dirty.
    Secondary,
}

impl SyncSource {
    /// Takes the number in "syncsrc".
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] unless it is 1 or 2.
    pub const fn from_code(code: u8) -> Result<Self, NumberError> {
        match code {
            1 => Ok(Self::Primary),
            2 => Ok(Self::Secondary),
            _ => Err(NumberError::Range {
                field: "syncsrc",
                value: code as u64,
                min: 1,
                max: 2,
            }),
        }
    }

    /// Returns the number in "syncsrc".
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Primary => 1,
            Self::Secondary => 2,
        }
    }

    /// Returns a word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

impl fmt::Display for SyncSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When the writer is told that its write is done (HAST §6.3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Replication {
    /// Both disks have it.
    Fullsync,
    /// The local disk has it, and the peer's memory.
    #[default]
    Memsync,
    /// The local disk has it.
    Async,
}

impl Replication {
    /// Returns the word of `hast.conf`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fullsync => "fullsync",
            Self::Memsync => "memsync",
            Self::Async => "async",
        }
    }
}

/// What protects a payload against corruption on its way (HAST §3.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Checksum {
    /// Nothing but TCP.
    #[default]
    None,
    /// CRC-32 as in Ethernet and zlib, 4 octets.
    Crc32,
    /// SHA-256, 32 octets.
    Sha256,
}

impl Checksum {
    /// Returns the word of `hast.conf` and of the pair "checksum".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha256",
        }
    }
}

/// How a payload is made smaller (HAST §3.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Compression {
    /// Not at all.
    None,
    /// A payload of zeros becomes its length.
    #[default]
    Hole,
    /// As `Hole`, and others by LZF where that saves enough.
    Lzf,
}

impl Compression {
    /// Returns the word of `hast.conf` and of the pair "compression".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hole => "hole",
            Self::Lzf => "lzf",
        }
    }
}

/// Words in the order of their choices, for reading and writing.
fn choose<T: Copy>(field: &'static str, word: &str, all: &[(&str, T)]) -> Result<T, UnknownWord> {
    all.iter()
        .find(|(name, _)| *name == word)
        .map(|&(_, choice)| choice)
        .ok_or_else(|| UnknownWord {
            field,
            word: Excerpt::new(word.as_bytes()),
        })
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Init, Self::Primary, Self::Secondary];
        choose("role", word, &all.map(|role| (role.as_str(), role)))
    }
}

impl FromStr for Replication {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Fullsync, Self::Memsync, Self::Async];
        choose("replication", word, &all.map(|mode| (mode.as_str(), mode)))
    }
}

impl FromStr for Checksum {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::None, Self::Crc32, Self::Sha256];
        choose("checksum", word, &all.map(|kind| (kind.as_str(), kind)))
    }
}

impl FromStr for Compression {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::None, Self::Hole, Self::Lzf];
        choose("compression", word, &all.map(|kind| (kind.as_str(), kind)))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of a resource, the same on both nodes: 1 to 254 octets of UTF-8 without NUL.
///
/// `hast.conf` allows fewer characters (HAST §8.1); here is only what the protocol can carry.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResourceName(Box<str>);

/// Why a text is no name of a resource.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceNameError {
    /// It is empty or longer than [`ResourceName::MAX_LEN`].
    #[error("resource name of {len} octets where 1 to 254 are allowed")]
    Length {
        /// Its octets.
        len: usize,
    },
    /// It contains NUL.
    #[error("resource name with NUL at position {position}")]
    Nul {
        /// Where, counted from 0.
        position: usize,
    },
    /// It is not UTF-8, as every name is that `hast.conf` can express.
    #[error("resource name that is not UTF-8 from position {position} on")]
    Utf8 {
        /// Where, counted from 0.
        position: usize,
    },
}

impl ResourceName {
    /// The longest name, in octets (HAST §0).
    pub const MAX_LEN: usize = 254;

    /// Takes `name` as the name of a resource.
    ///
    /// # Errors
    ///
    /// [`ResourceNameError`] if it is empty, too long, or contains NUL.
    pub fn new(name: &str) -> Result<Self, ResourceNameError> {
        let len = name.len();
        if len == 0 || len > Self::MAX_LEN {
            return Err(ResourceNameError::Length { len });
        }
        match name.bytes().position(|octet| octet == 0) {
            Some(position) => Err(ResourceNameError::Nul { position }),
            None => Ok(Self(name.into())),
        }
    }

    /// Takes a name as received.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ResourceNameError::Utf8`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, ResourceNameError> {
        // The length first: what is too long is not even read.
        if name.len() > Self::MAX_LEN {
            return Err(ResourceNameError::Length { len: name.len() });
        }
        match core::str::from_utf8(name) {
            Ok(name) => Self::new(name),
            Err(error) => Err(ResourceNameError::Utf8 {
                position: error.valid_up_to(),
            }),
        }
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ResourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceName {
    type Err = ResourceNameError;

    fn from_str(name: &str) -> Result<Self, ResourceNameError> {
        Self::new(name)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_sequence_is_never_zero_and_wraps_to_one() {
        let error = NumberError::Range {
            field: "seq",
            value: 0,
            min: 1,
            max: u64::MAX,
        };
        assert_eq!(Sequence::new(0), Err(error));
        assert_eq!(
            Sequence::new(u64::MAX).unwrap().next(),
            Sequence::SYNCHRONISATION
        );
        assert_eq!(Sequence::new(7).unwrap().next().get(), 8);
    }

    #[test]
    fn an_offset_does_not_wrap() {
        let last = Offset::new(u64::MAX - 511);
        assert_eq!(last.checked_add(Length::new(512)), None);
        assert_eq!(
            last.checked_add(Length::new(511)),
            Some(Offset::new(u64::MAX))
        );
        assert_eq!(Length::new(u64::MAX).checked_add(Length::new(1)), None);
    }

    #[test]
    fn an_extent_is_a_power_of_two_up_to_a_gibibyte() {
        assert_eq!(ExtentSize::new(1 << 30), Ok(ExtentSize::MAX));
        assert!(matches!(
            ExtentSize::new(0),
            Err(NumberError::Range { value: 0, .. })
        ));
        assert!(matches!(
            ExtentSize::new(1 << 31),
            Err(NumberError::Range { .. })
        ));
        assert!(matches!(
            ExtentSize::new(3 << 20),
            Err(NumberError::PowerOfTwo { .. })
        ));
        assert!(matches!(
            SectorSize::new(0),
            Err(NumberError::PowerOfTwo { value: 0, .. })
        ));
        assert!(SectorSize::DEFAULT.divides(1024) && !SectorSize::DEFAULT.divides(1000));
    }

    #[test]
    fn versions_are_settled_as_the_original_does() {
        assert_eq!(Version::settle(None), Version::V1);
        assert_eq!(Version::settle(Some(0)), Version::V1);
        assert_eq!(Version::settle(Some(1)), Version::V1);
        assert_eq!(Version::settle(Some(2)), Version::V2);
        assert_eq!(Version::settle(Some(255)), Version::V2);
        assert_eq!(Version::from_header(0), Ok(Version::V1));
        assert!(matches!(
            Version::from_header(3),
            Err(NumberError::Range { value: 3, .. })
        ));
    }

    #[test]
    fn words_and_numbers_of_the_choices_agree() {
        for role in [Role::Init, Role::Primary, Role::Secondary] {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(Role::from_code(role.code()), Ok(role));
        }
        for source in [SyncSource::Primary, SyncSource::Secondary] {
            assert_eq!(SyncSource::from_code(source.code()), Ok(source));
        }
        assert!(Role::from_code(0).is_err() && Role::from_code(4).is_err());
        assert!(SyncSource::from_code(0).is_err() && SyncSource::from_code(3).is_err());
        for mode in [
            Replication::Fullsync,
            Replication::Memsync,
            Replication::Async,
        ] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for kind in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for kind in [Compression::None, Compression::Hole, Compression::Lzf] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "md5".parse::<Checksum>().unwrap_err();
        assert_eq!(error.to_string(), "unknown checksum \"md5\"");
        let error = "\u{1}longer than any word".parse::<Role>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown role \"\\x01longer than any...\""
        );
    }

    #[test]
    fn names_are_what_the_protocol_can_carry() {
        assert_eq!(ResourceName::new("shared").unwrap().as_str(), "shared");
        assert_eq!(
            ResourceName::new(""),
            Err(ResourceNameError::Length { len: 0 })
        );
        let long = "x".repeat(255);
        assert_eq!(
            ResourceName::new(&long),
            Err(ResourceNameError::Length { len: 255 })
        );
        assert_eq!(
            ResourceName::new("a\0b"),
            Err(ResourceNameError::Nul { position: 1 })
        );
        let error = ResourceNameError::Utf8 { position: 1 };
        assert_eq!(ResourceName::from_bytes(b"a\xff"), Err(error));
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::new(*b"0123456789abcdef");
        assert_eq!(std::format!("{token:?}"), "Token(..)");
        assert_eq!(token, Token::new(*token.as_bytes()));
        assert_ne!(token, Token::new(*b"0123456789abcdee"));
    }
}

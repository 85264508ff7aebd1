//! The 36-byte CARP header as laid out on the wire, and a checked view of it.
//!
//! ```text
//!  byte 0          1               2               3
//!  +-------+-------+---------------+---------------+---------------+
//!  | ver 2 | typ 1 |     vhid      |    advskew    |  authlen = 7  |
//!  +-------+-------+---------------+---------------+---------------+
//!  |    demote     |    advbase    |           checksum            |
//!  +---------------+---------------+-------------------------------+
//!  |                     counter, 64 bits                          |
//!  |                                                               |
//!  +---------------------------------------------------------------+
//!  |                  HMAC-SHA1, 20 bytes                          |
//!  +---------------------------------------------------------------+
//! ```

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use zerocopy::byteorder::network_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::advertisement::Advertisement;
use crate::checksum;
use crate::hmac::Tag;
use crate::types::{AdvBase, AdvSkew, OutOfRange, Vhid};

/// The IP protocol number, or IPv6 next header, of CARP; VRRP has the same.
pub const PROTOCOL: u8 = 112;
/// The length of an advertisement, in bytes.
pub const ADVERTISEMENT_LEN: usize = size_of::<Header>();
/// The CARP version this crate speaks.
pub const VERSION: u8 = 2;

/// The only message type.
const TYPE_ADVERTISEMENT: u8 = 1;
/// The length of counter and authenticator, in 32-bit words.
const AUTH_LEN: u8 = 7;

/// The bytes of an advertisement. Every field has alignment 1, so that it can be laid over
/// any buffer.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version_and_type: u8,
    vhid: u8,
    advskew: u8,
    authlen: u8,
    demote: u8,
    advbase: u8,
    checksum: U16,
    counter: U64,
    tag: [U32; 5],
}

const _: () = assert!(ADVERTISEMENT_LEN == 36);

/// Why bytes are not a CARP advertisement (CARP §2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the header does (`badlen`).
    #[error("truncated: {have} bytes where {ADVERTISEMENT_LEN} are needed")]
    Truncated {
        /// How many there are.
        have: usize,
    },
    /// The version is not 2 (`badver`).
    #[error("version {version} where {VERSION} is expected")]
    Version {
        /// The version found in the high half of the first byte.
        version: u8,
    },
    /// The checksum over the 36 bytes is wrong (`badsum`).
    #[error("checksum {found:#06x} where {expected:#06x} is right")]
    Checksum {
        /// What the field holds.
        found: u16,
        /// What it should hold.
        expected: u16,
    },
}

/// A CARP advertisement in a buffer, right in length, version and checksum, but **not**
/// authenticated: anybody on the network can have written it.
#[derive(Clone, Copy)]
pub struct View<'a>(&'a Header);

impl<'a> View<'a> {
    /// Checks `bytes`, which begin where the IP header ends.
    ///
    /// Bytes after the first 36 are ignored and not summed (CARP §1.4). The order of the
    /// checks is the recommended one; [`check`](crate::check()) offers those of the kernels.
    ///
    /// # Errors
    ///
    /// [`ParseError`], whose variants say which check failed first.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let view = Self::with_length(bytes)?;
        view.check_version()?;
        view.check_sum()?;
        Ok(view)
    }

    /// The view if there are enough bytes for one, nothing else checked.
    pub(crate) fn with_length(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Header::ref_from_prefix(bytes)
            .map(|(header, _)| Self(header))
            .map_err(|_| ParseError::Truncated { have: bytes.len() })
    }

    pub(crate) fn check_version(self) -> Result<(), ParseError> {
        match version_of(self.0.version_and_type) {
            VERSION => Ok(()),
            version => Err(ParseError::Version { version }),
        }
    }

    pub(crate) fn check_sum(self) -> Result<(), ParseError> {
        let bytes = self.0.as_bytes();
        if checksum::is_valid(checksum::sum(bytes)) {
            return Ok(());
        }
        let found = self.0.checksum.get();
        // What the sum is without the field: in one's complement, subtracting is adding
        // the complement.
        let expected = !checksum::add(checksum::sum(bytes), !found);
        Err(ParseError::Checksum { found, expected })
    }

    /// Returns the vhid byte, which may be 0.
    #[must_use]
    pub fn vhid(self) -> u8 {
        self.0.vhid
    }

    /// Returns the type, which is 1 from every known sender but checked by none.
    #[must_use]
    pub fn message_type(self) -> u8 {
        self.0.version_and_type & 0x0f
    }

    /// Returns the length of counter and authenticator in 32-bit words, which is 7 from
    /// every known sender but checked by none.
    #[must_use]
    pub fn authlen(self) -> u8 {
        self.0.authlen
    }

    /// Returns the whole seconds of the sender's interval.
    #[must_use]
    pub fn advbase(self) -> AdvBase {
        AdvBase::new(self.0.advbase)
    }

    /// Returns the 1/256 seconds of the sender's interval.
    #[must_use]
    pub fn advskew(self) -> AdvSkew {
        AdvSkew::from_wire(self.0.advskew)
    }

    /// Returns OpenBSD's demotion counter, 0 from others.
    #[must_use]
    pub fn demote(self) -> u8 {
        self.0.demote
    }

    /// Returns the counter.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0.counter.get()
    }

    /// Returns the checksum field.
    #[must_use]
    pub fn checksum(self) -> u16 {
        self.0.checksum.get()
    }

    /// Returns the 36 bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// Whether type and authlen are what every known sender writes. They are counted, not
    /// refused: the authenticator decides (CARP §2.2).
    #[must_use]
    pub fn is_usual(self) -> bool {
        self.message_type() == TYPE_ADVERTISEMENT && self.authlen() == AUTH_LEN
    }

    pub(crate) fn tag(self) -> Tag {
        self.0.tag.map(|word| word.get())
    }

    /// The values, not authenticated; kept inside the crate so that nobody takes them for
    /// authentic ones.
    pub(crate) fn to_advertisement(self) -> Result<Advertisement, OutOfRange> {
        Ok(Advertisement {
            vhid: Vhid::new(self.vhid())?,
            advbase: self.advbase(),
            advskew: self.advskew(),
            demote: self.demote(),
            counter: self.counter(),
        })
    }
}

impl core::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("View")
            .field("vhid", &self.vhid())
            .field("message_type", &self.message_type())
            .field("advskew", &self.advskew())
            .field("authlen", &self.authlen())
            .field("demote", &self.demote())
            .field("advbase", &self.advbase())
            .field("counter", &self.counter())
            .finish_non_exhaustive()
    }
}

/// The version in the first byte of a packet of protocol 112.
pub(crate) fn version_of(first: u8) -> u8 {
    first >> 4
}

/// Writes an advertisement with its authenticator and checksum.
#[inline]
pub(crate) fn emit(advertisement: &Advertisement, tag: &Tag, out: &mut [u8; ADVERTISEMENT_LEN]) {
    let mut header = Header {
        version_and_type: VERSION << 4 | TYPE_ADVERTISEMENT,
        vhid: advertisement.vhid.get(),
        advskew: advertisement.advskew.get(),
        authlen: AUTH_LEN,
        demote: advertisement.demote,
        advbase: advertisement.advbase.get(),
        checksum: U16::ZERO,
        counter: U64::new(advertisement.counter),
        tag: tag.map(U32::new),
    };
    // CARP §1.4: the authenticator does not cover the checksum, the checksum covers the
    // authenticator.
    header.checksum.set(!checksum::sum(header.as_bytes()));
    *out = zerocopy::transmute!(header);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of CARP §1.8.1.
    const EXAMPLE: [u8; ADVERTISEMENT_LEN] = [
        0x21, 0x01, 0x00, 0x07, 0x00, 0x01, 0x7e, 0x1e, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
        0xef, 0x08, 0xba, 0x76, 0x93, 0xf6, 0x1e, 0x8b, 0x92, 0x68, 0x73, 0x51, 0x8e, 0x03, 0x50,
        0xbe, 0x85, 0xe1, 0x78, 0x64, 0x63,
    ];

    #[test]
    fn each_field_is_where_the_specification_puts_it() {
        let view = View::parse(&EXAMPLE).unwrap();
        assert_eq!(view.vhid(), 1);
        assert_eq!(view.advskew().get(), 0);
        assert_eq!(view.authlen(), 7);
        assert_eq!(view.demote(), 0);
        assert_eq!(view.advbase().get(), 1);
        assert_eq!(view.checksum(), 0x7e1e);
        assert_eq!(view.counter(), 0x0123_4567_89ab_cdef);
        assert_eq!(view.tag()[0], 0x08ba_7693);
        assert!(view.is_usual());
    }

    #[test]
    fn emitting_what_was_parsed_gives_the_same_bytes() {
        let view = View::parse(&EXAMPLE).unwrap();
        let mut out = [0; ADVERTISEMENT_LEN];
        emit(&view.to_advertisement().unwrap(), &view.tag(), &mut out);
        assert_eq!(out, EXAMPLE);
    }

    #[test]
    fn trailing_bytes_are_ignored() {
        let mut long = EXAMPLE.to_vec();
        long.extend([1, 2, 3]);
        assert_eq!(View::parse(&long).unwrap().as_bytes(), EXAMPLE);
    }

    #[test]
    fn each_fault_is_named_with_its_value() {
        assert_eq!(
            View::parse(&EXAMPLE[..35]).unwrap_err(),
            ParseError::Truncated { have: 35 }
        );
        let mut bytes = EXAMPLE;
        bytes[0] = 0x31;
        assert_eq!(
            View::parse(&bytes).unwrap_err(),
            ParseError::Version { version: 3 }
        );
        let mut bytes = EXAMPLE;
        bytes[7] = 0x1f;
        assert_eq!(
            View::parse(&bytes).unwrap_err(),
            ParseError::Checksum {
                found: 0x7e1f,
                expected: 0x7e1e
            }
        );
    }
}

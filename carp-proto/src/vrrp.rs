//! The VRRPv3 packet, which FreeBSD 15 sends and takes for a group of `carpver 3`
//! (CARP §5.7, RFC 9568).
//!
//! ```text
//!  byte 0          1               2               3
//!  +-------+-------+---------------+---------------+---------------+
//!  | ver 3 | typ 1 |     vrid      |   priority    |     count     |
//!  +-------+-------+---------------+---------------+---------------+
//!  |   0   |  interval, 12 bits    |           checksum            |
//!  +-------+-----------------------+-------------------------------+
//!  |   addresses of the packet's family, 4 or 16 bytes each        |
//!  +---------------------------------------------------------------+
//! ```
//!
//! Nothing authenticates such a packet: whoever reaches the segment can write one. Group,
//! protocol number, TTL and virtual MAC are those of CARP, so an id must not be used by
//! both protocols on one segment.
//!
//! The [machine](crate::machine) runs such a group by [`Config::vrrp`](crate::Config::vrrp);
//! [`Vrrp`] says whose rules it follows.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod check;
mod rules;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::check::Discard;
use crate::checksum;
use crate::ip::{GROUP_V4, GROUP_V6, TTL};
use crate::types::{Family, OutOfRange, Vhid};
use crate::wire::{self, PROTOCOL};

pub use self::check::{Checked, Local, check};
pub use self::rules::Vrrp;
pub(crate) use self::rules::{Contest, Reception, Tie};

/// The VRRP version this module reads and writes.
pub const VERSION: u8 = 3;
/// The length of a packet before its addresses, in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();
/// The greatest number of addresses, which the count's single byte allows.
pub const MAX_ADDRESSES: usize = 255;
/// The length of the longest packet, in bytes: a buffer of this size is always enough.
pub const MAX_LEN: usize = HEADER_LEN + MAX_ADDRESSES * 16;

/// The only message type.
const TYPE_ADVERTISEMENT: u8 = 1;
/// The bits of the interval; those above are reserved.
const INTERVAL_BITS: u16 = 0x0fff;

/// The bytes before the addresses. Every field has alignment 1, so that it can be laid over
/// any buffer.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version_and_type: u8,
    vrid: u8,
    priority: u8,
    count: u8,
    reserved_and_interval: U16,
    checksum: U16,
}

const _: () = assert!(HEADER_LEN == 8 && MAX_LEN == 4088);

/// How good a router is, the higher the better.
///
/// 1 to 255 can be configured (`vrrpprio`); 0 occurs in packets only.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Priority(u8);

impl Priority {
    /// The default.
    pub const DEFAULT: Self = Self(100);
    /// The priority of the router that owns the addresses.
    pub const OWNER: Self = Self(255);
    /// The priority by which a router says that it leaves. FreeBSD 15 never sends it and
    /// takes it for an ordinary low one.
    pub const LEAVING: Self = Self(0);

    /// Makes a priority to configure.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if `priority` is 0, by which a router leaves.
    pub const fn new(priority: u8) -> Result<Self, OutOfRange> {
        match priority {
            0 => Err(OutOfRange {
                field: "vrrpprio",
                value: 0,
                min: 1,
                max: 255,
            }),
            priority => Ok(Self(priority)),
        }
    }

    /// Takes a priority as found in a packet, where every value may occur.
    #[must_use]
    pub const fn from_wire(priority: u8) -> Self {
        Self(priority)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest time between two advertisements, in centiseconds (1/100 s): 12 bits.
///
/// 1 to 4095 can be configured (`vrrpinterval`); 0 occurs in packets only, and no sender is
/// known to use it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AdverInterval(u16);

impl AdverInterval {
    /// The default, one second.
    pub const DEFAULT: Self = Self(100);
    /// The longest, almost 41 seconds.
    pub const MAX: Self = Self(INTERVAL_BITS);

    /// Makes an interval to configure.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if `centiseconds` is not within 1 to 4095.
    pub fn new(centiseconds: u16) -> Result<Self, OutOfRange> {
        if (1..=Self::MAX.0).contains(&centiseconds) {
            return Ok(Self(centiseconds));
        }
        let value = u32::from(centiseconds);
        Err(OutOfRange {
            field: "vrrpinterval",
            value,
            min: 1,
            max: 4095,
        })
    }

    /// Takes the interval from a word of a packet, whose upper 4 bits are reserved and do
    /// not count.
    #[must_use]
    pub const fn from_wire(word: u16) -> Self {
        Self(word & INTERVAL_BITS)
    }

    /// Returns the centiseconds.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the time it stands for.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0).saturating_mul(10))
    }
}

impl Default for AdverInterval {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for AdverInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a packet comes from and goes to, by which its family and pseudo header are known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third family")]
pub enum Ends {
    /// Of an IPv4 packet.
    V4 {
        /// The sender.
        source: Ipv4Addr,
        /// The receiver, mostly [`GROUP_V4`].
        destination: Ipv4Addr,
    },
    /// Of an IPv6 packet.
    V6 {
        /// The sender; a link-local address by the RFC, any by FreeBSD.
        source: Ipv6Addr,
        /// The receiver, mostly [`GROUP_V6`].
        destination: Ipv6Addr,
    },
}

impl Ends {
    /// From `source` to the group of its family, as every VRRP packet of FreeBSD travels.
    #[must_use]
    pub const fn to_group(source: IpAddr) -> Self {
        match source {
            IpAddr::V4(source) => Self::V4 {
                source,
                destination: GROUP_V4,
            },
            IpAddr::V6(source) => Self::V6 {
                source,
                destination: GROUP_V6,
            },
        }
    }

    /// Between two addresses, or none if they are of different families.
    #[must_use]
    pub const fn between(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 {
                source,
                destination,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 {
                source,
                destination,
            }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// Returns the family.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// What `form` adds to the sum over the bytes of a packet that is `len` bytes long.
    fn pseudo_sum(&self, form: Checksum, len: usize) -> u16 {
        // No IP packet is longer than 65535 bytes; such a length has no right checksum.
        let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let addresses = match (self, form) {
            (Self::V4 { .. }, Checksum::WithoutPseudoHeader) => return 0,
            (
                Self::V4 {
                    source,
                    destination,
                },
                Checksum::WithPseudoHeader,
            ) => checksum::add(
                checksum::sum(&source.octets()),
                checksum::sum(&destination.octets()),
            ),
            (
                Self::V6 {
                    source,
                    destination,
                },
                _,
            ) => checksum::add(
                checksum::sum(&source.octets()),
                checksum::sum(&destination.octets()),
            ),
        };
        // Both families' remaining fields hold the same two numbers, padded with zeros.
        let rest = checksum::add(checksum::sum(&len), u16::from(PROTOCOL));
        checksum::add(addresses, rest)
    }
}

/// What the checksum of an IPv4 packet covers. That of an IPv6 packet always covers the
/// pseudo header, whichever is chosen here.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is covered or not")]
pub enum Checksum {
    /// The packet and a pseudo header of source, destination, protocol and length, as
    /// FreeBSD 15 demands and keepalived sends unless told otherwise.
    #[default]
    WithPseudoHeader,
    /// The packet alone, as the RFC says and other vendors' routers do; FreeBSD 15 refuses
    /// such packets (`badsum`).
    WithoutPseudoHeader,
}

/// How the addresses of an IPv6 packet are counted. IPv4 packets are always right.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "right or as FreeBSD 15")]
pub enum Count {
    /// By the addresses in the packet.
    #[default]
    OfPacket,
    /// As FreeBSD 15 does, which goes on from the number of the group's IPv4 addresses:
    /// wrong for a group of both families.
    OfGroup,
}

/// The ways in which senders differ.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Style {
    /// What the checksum covers.
    pub checksum: Checksum,
    /// What is counted.
    pub count: Count,
}

impl Style {
    /// FreeBSD 15 to the letter.
    pub const FREEBSD_15: Self = Self {
        checksum: Checksum::WithPseudoHeader,
        count: Count::OfGroup,
    };
    /// RFC 9568.
    pub const RFC_9568: Self = Self {
        checksum: Checksum::WithoutPseudoHeader,
        count: Count::OfPacket,
    };
}

/// Why bytes are not taken for a VRRPv3 advertisement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end before the header does (`badlen`).
    #[error("truncated: {have} bytes where {HEADER_LEN} are needed")]
    Truncated {
        /// How many there are.
        have: usize,
    },
    /// The version is not 3 (`badver`); CARP and VRRPv2 have 2.
    #[error("version {version} where {VERSION} is expected")]
    Version {
        /// The version found in the high half of the first byte.
        version: u8,
    },
    /// No group with this id has an address of the packet's family here (`badvhid`).
    #[error("vrid {vrid} is not configured here")]
    Vrid {
        /// The id found.
        vrid: u8,
    },
    /// The group with this id speaks CARP (`badver`).
    #[error("vrid {vrid} is configured for CARP")]
    CarpGroup {
        /// The id found.
        vrid: u8,
    },
    /// The packet did not come from this network segment (`badttl`).
    #[error("TTL {ttl} where {TTL} is expected")]
    Ttl {
        /// The TTL found.
        ttl: u8,
    },
    /// By the RFC: the type is not 1 (`badver`, whose byte it shares).
    #[error("type {message_type} where 1 is expected")]
    Type {
        /// The type found in the low half of the first byte.
        message_type: u8,
    },
    /// By the RFC: the addresses are not as many as the packet says (`badlen`).
    #[error(transparent)]
    Count(#[from] CountMismatch),
    /// The checksum is wrong (`badsum`).
    #[error("checksum {found:#06x} where {expected:#06x} is right")]
    Checksum {
        /// What the field holds.
        found: u16,
        /// What it should hold.
        expected: u16,
    },
}

/// The kernel's counter for the fault, as CARP and VRRP share them.
impl From<ParseError> for Discard {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Truncated { have } => Self::BadLen { have },
            ParseError::Version { version } => Self::BadVer { version },
            ParseError::Vrid { vrid } => Self::BadVhid { vhid: vrid },
            ParseError::CarpGroup { .. } | ParseError::Type { .. } => {
                Self::BadVer { version: VERSION }
            }
            ParseError::Count(CountMismatch { carried, .. }) => Self::BadLen {
                have: HEADER_LEN.saturating_add(carried),
            },
            ParseError::Ttl { ttl } => Self::BadTtl { ttl },
            ParseError::Checksum { found, expected } => Self::BadSum { found, expected },
        }
    }
}

/// The stated number of addresses is 0 or does not fit the packet's length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("count {stated} with {carried} bytes of addresses")]
pub struct CountMismatch {
    /// The number that the packet states.
    pub stated: u8,
    /// How many bytes follow the header.
    pub carried: usize,
}

/// Why an advertisement cannot be written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// There is no address of the packet's family, and a packet must have one.
    #[error("no {family} address")]
    NoAddress {
        /// The family.
        family: Family,
    },
    /// There are more addresses than the count's single byte can state.
    #[error("{count} addresses where {MAX_ADDRESSES} are allowed")]
    TooManyAddresses {
        /// How many were to be counted.
        count: usize,
    },
    /// The packet does not fit into the buffer.
    #[error("buffer of {have} bytes where {need} are needed")]
    Buffer {
        /// The length of the packet.
        need: usize,
        /// The length of the buffer.
        have: usize,
    },
}

/// What a router says of itself, besides its addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "VRRPv3 has these fields")]
pub struct Advertisement {
    /// The group it is for; VRRP's virtual router id is CARP's vhid.
    pub vrid: Vhid,
    /// How good the sender is.
    pub priority: Priority,
    /// How often the sender advertises.
    pub interval: AdverInterval,
}

impl Advertisement {
    /// Writes the advertisement as it goes on the wire behind the IP header, with those of
    /// `addresses` that are of the packet's family, in the given order. Returns what was
    /// written; the rest of `out` is left as it was.
    ///
    /// # Errors
    ///
    /// [`EmitError::NoAddress`] if none is of that family, [`EmitError::TooManyAddresses`]
    /// if there are more than 255 to be counted, [`EmitError::Buffer`] if `out` is too
    /// short; nothing was written then.
    ///
    /// # Example
    ///
    /// ```
    /// use carp_proto::Vhid;
    /// use carp_proto::vrrp::{Advertisement, AdverInterval, Checksum, Ends, Priority, Style, View};
    ///
    /// let said = Advertisement {
    ///     vrid: Vhid::new(51)?,
    ///     priority: Priority::DEFAULT,
    ///     interval: AdverInterval::DEFAULT,
    /// };
    /// let ends = Ends::to_group("192.0.2.2".parse()?);
    /// let mut buffer = [0; 64];
    /// let packet = said.emit(&["192.0.2.1".parse()?], &ends, Style::default(), &mut buffer)?;
    /// assert_eq!(packet, [0x31, 51, 100, 1, 0, 100, 0x05, 0xd4, 192, 0, 2, 1]);
    ///
    /// let heard = View::parse(packet, &ends, Checksum::WithPseudoHeader)?;
    /// assert_eq!(heard.to_advertisement()?, said);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn emit<'b>(
        &self,
        addresses: &[IpAddr],
        ends: &Ends,
        style: Style,
        out: &'b mut [u8],
    ) -> Result<&'b [u8], EmitError> {
        let family = ends.family();
        let of_family = || addresses.iter().filter(move |a| Family::of(**a) == family);
        let carried = of_family().count();
        if carried == 0 {
            return Err(EmitError::NoAddress { family });
        }
        let counted = match (style.count, family) {
            (Count::OfGroup, Family::V6) => addresses.len(),
            _ => carried,
        };
        let count =
            u8::try_from(counted).map_err(|_| EmitError::TooManyAddresses { count: counted })?;
        let size = address_len(family);
        let need = HEADER_LEN.saturating_add(carried.saturating_mul(size));
        let have = out.len();
        let packet = out
            .get_mut(..need)
            .ok_or(EmitError::Buffer { need, have })?;

        // `need` is at least the header's length.
        let (head, body) = packet.split_at_mut(HEADER_LEN);
        for (place, address) in body.chunks_exact_mut(size).zip(of_family()) {
            match address {
                IpAddr::V4(address) => place.copy_from_slice(&address.octets()),
                IpAddr::V6(address) => place.copy_from_slice(&address.octets()),
            }
        }
        let mut header = Header {
            version_and_type: VERSION << 4 | TYPE_ADVERTISEMENT,
            vrid: self.vrid.get(),
            priority: self.priority.get(),
            count,
            reserved_and_interval: U16::new(self.interval.get()),
            checksum: U16::ZERO,
        };
        let sum = checksum::add(checksum::sum(header.as_bytes()), checksum::sum(body));
        header
            .checksum
            .set(!checksum::add(sum, ends.pseudo_sum(style.checksum, need)));
        head.copy_from_slice(header.as_bytes());
        Ok(packet)
    }
}

impl fmt::Display for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vrid {} prio {} interval {}",
            self.vrid, self.priority, self.interval
        )
    }
}

/// Has a packet that was written for the ends `from` be right for the ends `to`: one for the
/// group also for a peer that is sent a copy of its own.
///
/// Whether the checksum covers the ends at all is read off the packet. One that does not, and
/// what is no VRRPv3 packet, is left as it is. The two can only be mistaken for each other
/// where the pseudo header of `from` adds up to nothing, as one of 65535 does.
pub fn redirect(packet: &mut [u8], from: &Ends, to: &Ends) {
    let form = Checksum::WithPseudoHeader;
    let len = packet.len();
    let Ok(view) = View::parse(packet, from, form) else {
        return;
    };
    // RFC 1624, equation 3.
    let without = checksum::add(!view.checksum(), !from.pseudo_sum(form, len));
    let sum = !checksum::add(without, to.pseudo_sum(form, len));
    if let Ok((header, _)) = Header::mut_from_prefix(packet) {
        header.checksum.set(sum);
    }
}

/// A VRRPv3 advertisement in a buffer, right in length, version and checksum. Anybody on
/// the network can have written it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    header: &'a Header,
    addresses: &'a [u8],
    bytes: &'a [u8],
    family: Family,
}

impl<'a> View<'a> {
    /// Checks `bytes`, which begin where the IP header ends and end where its length says:
    /// the checksum covers all of them.
    ///
    /// The count of addresses is not compared with the length, as FreeBSD 15 itself sends
    /// wrong ones; [`check_count`](Self::check_count) does that.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`], [`ParseError::Version`] or [`ParseError::Checksum`],
    /// checked in this order.
    pub fn parse(bytes: &'a [u8], ends: &Ends, form: Checksum) -> Result<Self, ParseError> {
        let view = Self::with_length(bytes, ends.family())?;
        view.check_version()?;
        view.check_sum(ends, form)?;
        Ok(view)
    }

    fn with_length(bytes: &'a [u8], family: Family) -> Result<Self, ParseError> {
        let (header, addresses) = Header::ref_from_prefix(bytes)
            .map_err(|_| ParseError::Truncated { have: bytes.len() })?;
        Ok(Self {
            header,
            addresses,
            bytes,
            family,
        })
    }

    fn check_version(self) -> Result<(), ParseError> {
        match wire::version_of(self.header.version_and_type) {
            VERSION => Ok(()),
            version => Err(ParseError::Version { version }),
        }
    }

    fn check_sum(self, ends: &Ends, form: Checksum) -> Result<(), ParseError> {
        let pseudo = ends.pseudo_sum(form, self.bytes.len());
        let sum = checksum::add(checksum::sum(self.bytes), pseudo);
        if checksum::is_valid(sum) {
            return Ok(());
        }
        let found = self.checksum();
        // In one's complement, taking the field out is adding its complement.
        Err(ParseError::Checksum {
            found,
            expected: !checksum::add(sum, !found),
        })
    }

    /// Compares the stated number of addresses with the packet's length, as the RFC
    /// demands and FreeBSD does not.
    ///
    /// # Errors
    ///
    /// [`CountMismatch`] if the number is 0, or more or fewer addresses follow.
    pub fn check_count(self) -> Result<(), CountMismatch> {
        let (stated, carried) = (self.count(), self.addresses.len());
        let need = usize::from(stated).saturating_mul(address_len(self.family));
        if stated == 0 || need != carried {
            return Err(CountMismatch { stated, carried });
        }
        Ok(())
    }

    /// Returns the virtual router id, which may be 0.
    #[must_use]
    pub fn vrid(self) -> u8 {
        self.header.vrid
    }

    /// Returns the type, which is 1 from every known sender; FreeBSD does not check it.
    #[must_use]
    pub fn message_type(self) -> u8 {
        self.header.version_and_type & 0x0f
    }

    /// Returns the priority.
    #[must_use]
    pub fn priority(self) -> Priority {
        Priority::from_wire(self.header.priority)
    }

    /// Returns the number of addresses as the packet states it, which may be wrong.
    #[must_use]
    pub fn count(self) -> u8 {
        self.header.count
    }

    /// Returns the interval, without the reserved bits.
    #[must_use]
    pub fn interval(self) -> AdverInterval {
        AdverInterval::from_wire(self.reserved_and_interval())
    }

    /// Returns the whole word of 4 reserved bits and the interval, all of which FreeBSD 15
    /// takes for centiseconds.
    #[must_use]
    pub fn reserved_and_interval(self) -> u16 {
        self.header.reserved_and_interval.get()
    }

    /// Returns the checksum field.
    #[must_use]
    pub fn checksum(self) -> u16 {
        self.header.checksum.get()
    }

    /// Returns the family of the packet and its addresses.
    #[must_use]
    pub fn family(self) -> Family {
        self.family
    }

    /// Returns the addresses, in the sender's order: as many as are stated, but no more
    /// than there are.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> + 'a {
        self.addresses
            .chunks_exact(address_len(self.family))
            .take(usize::from(self.count()))
            .filter_map(move |bytes| match self.family {
                Family::V4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
                Family::V6 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            })
    }

    /// Returns all bytes, from the version to the end.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what the sender says of itself, the reserved bits left out.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if the id is 0, which names nobody.
    pub fn to_advertisement(self) -> Result<Advertisement, OutOfRange> {
        Ok(Advertisement {
            vrid: Vhid::new(self.vrid())?,
            priority: self.priority(),
            interval: self.interval(),
        })
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("vrid", &self.vrid())
            .field("message_type", &self.message_type())
            .field("priority", &self.priority())
            .field("count", &self.count())
            .field("interval", &self.interval())
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

/// The length of an address, in bytes.
const fn address_len(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::check::{AcceptTtl, Group};
    use crate::ip::Datagram;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The example of CARP §5.7, from 192.0.2.2, with and without pseudo header.
    const PSEUDO: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0x05, 0xd4, 192, 0, 2, 1];
    const PLAIN: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0xa8, 0x65, 192, 0, 2, 1];

    fn ends() -> Ends {
        Ends::to_group(Ipv4Addr::new(192, 0, 2, 2).into())
    }

    fn said() -> Advertisement {
        Advertisement {
            vrid: Vhid::new(51).unwrap(),
            priority: Priority::DEFAULT,
            interval: AdverInterval::DEFAULT,
        }
    }

    /// Writes what the packet should hold at the checksum's place.
    fn refix_checksum(packet: &mut [u8], ends: &Ends, form: Checksum) {
        if let Err(ParseError::Checksum { expected, .. }) = View::parse(packet, ends, form) {
            packet[6..8].copy_from_slice(&expected.to_be_bytes());
        }
    }

    #[test]
    fn each_field_is_where_the_specification_puts_it() {
        let view = View::parse(&PSEUDO, &ends(), Checksum::WithPseudoHeader).unwrap();
        assert_eq!((view.vrid(), view.message_type(), view.count()), (51, 1, 1));
        assert_eq!(view.priority(), Priority::DEFAULT);
        assert_eq!(view.interval().duration(), Duration::from_secs(1));
        assert_eq!(view.checksum(), 0x05d4);
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(view.addresses().collect::<Vec<_>>(), [address]);
        assert_eq!(view.check_count(), Ok(()));
    }

    #[test]
    fn a_packet_is_redirected_if_its_checksum_covers_the_ends() {
        let peer = |last| Ends::V4 {
            source: Ipv4Addr::new(192, 0, 2, 2),
            destination: Ipv4Addr::new(192, 0, 2, last),
        };
        let is_valid = |packet: &[u8], ends, form| View::parse(packet, &ends, form).is_ok();
        let mut packet = PSEUDO;
        redirect(&mut packet, &ends(), &peer(3));
        assert!(is_valid(&packet, peer(3), Checksum::WithPseudoHeader));
        assert!(!is_valid(&packet, ends(), Checksum::WithPseudoHeader));
        redirect(&mut packet, &peer(3), &peer(77));
        assert!(is_valid(&packet, peer(77), Checksum::WithPseudoHeader));
        redirect(&mut packet, &peer(77), &ends());
        assert_eq!(packet, PSEUDO);

        let mut packet = PLAIN;
        redirect(&mut packet, &ends(), &peer(3));
        assert_eq!(packet, PLAIN);
        let mut packet = [0x21; 36];
        redirect(&mut packet, &ends(), &peer(3));
        assert_eq!(packet, [0x21; 36]);
    }

    #[test]
    fn the_two_checksums_of_ipv4_are_told_apart() {
        let error = |bytes, form| View::parse(bytes, &ends(), form).unwrap_err();
        assert!(View::parse(&PLAIN, &ends(), Checksum::WithoutPseudoHeader).is_ok());
        assert_eq!(
            error(&PLAIN, Checksum::WithPseudoHeader),
            ParseError::Checksum {
                found: 0xa865,
                expected: 0x05d4
            }
        );
        assert_eq!(
            error(&PSEUDO, Checksum::WithoutPseudoHeader),
            ParseError::Checksum {
                found: 0x05d4,
                expected: 0xa865
            }
        );
    }

    #[test]
    fn the_reserved_bits_are_no_part_of_the_interval() {
        let mut bytes = PSEUDO;
        bytes[4] = 0xf0;
        refix_checksum(&mut bytes, &ends(), Checksum::WithPseudoHeader);
        let view = View::parse(&bytes, &ends(), Checksum::WithPseudoHeader).unwrap();
        assert_eq!(view.interval(), AdverInterval::DEFAULT);
        assert_eq!(view.reserved_and_interval(), 0xf064);
    }

    #[test]
    fn a_count_that_does_not_fit_is_told_and_never_exceeds_the_packet() {
        let counted = |stated| {
            let mut bytes = PSEUDO;
            bytes[3] = stated;
            refix_checksum(&mut bytes, &ends(), Checksum::WithPseudoHeader);
            let view = View::parse(&bytes, &ends(), Checksum::WithPseudoHeader).unwrap();
            (view.addresses().count(), view.check_count())
        };
        let mismatch = |stated| Err(CountMismatch { stated, carried: 4 });
        assert_eq!(counted(0), (0, mismatch(0)));
        assert_eq!(counted(1), (1, Ok(())));
        assert_eq!(counted(2), (1, mismatch(2)));
    }

    #[test]
    fn the_rfc_also_wants_the_type_and_the_count_to_be_right() {
        let group = [Group {
            vhid: Vhid::new(51).unwrap(),
            v4: true,
            v6: false,
            ttl: AcceptTtl::Direct,
        }];
        let verdict = |rules, bytes: &[u8; 12]| {
            let local = Local {
                vrrp: &group,
                rules,
                checksum: Checksum::WithoutPseudoHeader,
                ..Local::default()
            };
            let datagram = Datagram {
                source: Ipv4Addr::new(192, 0, 2, 2).into(),
                destination: GROUP_V4.into(),
                ttl: TTL,
                payload: bytes,
            };
            check(&datagram, &local)
        };
        let altered = |place: usize, byte| {
            let mut bytes = PLAIN;
            bytes[place] = byte;
            refix_checksum(&mut bytes, &ends(), Checksum::WithoutPseudoHeader);
            bytes
        };
        let (typed, counted) = (altered(0, 0x32), altered(3, 2));
        for bytes in [&PLAIN, &typed, &counted] {
            assert!(verdict(Vrrp::FreeBsd15, bytes).is_ok());
        }
        let heard = verdict(Vrrp::Rfc9568, &PLAIN).unwrap();
        assert_eq!(*heard.advertisement(), said());
        let fault = |bytes| verdict(Vrrp::Rfc9568, bytes).unwrap_err();
        assert_eq!(fault(&typed), ParseError::Type { message_type: 2 });
        let mismatch = CountMismatch {
            stated: 2,
            carried: 4,
        };
        assert_eq!(fault(&counted), ParseError::Count(mismatch));
        assert_eq!(Discard::from(fault(&typed)), Discard::BadVer { version: 3 });
        assert_eq!(Discard::from(fault(&counted)), Discard::BadLen { have: 12 });
    }

    #[test]
    fn the_pseudo_header_is_that_of_the_packet_whoever_it_was_sent_to() {
        let group = [Group {
            vhid: Vhid::new(51).unwrap(),
            v4: true,
            v6: false,
            ttl: AcceptTtl::Direct,
        }];
        let local = Local {
            vrrp: &group,
            ..Local::default()
        };
        let (source, peer) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3));
        let unicast = Ends::between(source.into(), peer.into()).unwrap();
        let mut out = [0; 64];
        let address = [IpAddr::from([192, 0, 2, 1])];
        let packet = said()
            .emit(&address, &unicast, Style::default(), &mut out)
            .unwrap();
        let heard_by = |destination: Ipv4Addr| {
            let datagram = Datagram {
                source: source.into(),
                destination: destination.into(),
                ttl: TTL,
                payload: packet,
            };
            check(&datagram, &local).is_ok()
        };
        assert!(heard_by(peer));
        assert!(!heard_by(GROUP_V4));
    }

    #[test]
    fn each_fault_is_found_in_the_order_of_freebsd_15() {
        let group = |vhid| Group {
            vhid: Vhid::new(vhid).unwrap(),
            v4: true,
            v6: false,
            ttl: AcceptTtl::Routed,
        };
        let (vrrp, carp) = ([group(51)], [group(52)]);
        let local = Local {
            vrrp: &vrrp,
            carp: &carp,
            ..Local::default()
        };
        let v4 = IpAddr::from([192, 0, 2, 2]);
        let fault = |source, ttl, payload: &[u8]| {
            check(
                &Datagram {
                    source,
                    destination: Family::of(source).group(),
                    ttl,
                    payload,
                },
                &local,
            )
            .err()
        };
        // Every packet has the faults of those below it, too.
        let mut bytes = PSEUDO;
        bytes[7] = 0;
        bytes[1] = 53;
        bytes[0] = 0x21;
        assert_eq!(
            fault(v4, 1, &bytes[..7]),
            Some(ParseError::Truncated { have: 7 })
        );
        assert_eq!(
            fault(v4, 1, &bytes),
            Some(ParseError::Version { version: 2 })
        );
        bytes[0] = 0x31;
        assert_eq!(fault(v4, 1, &bytes), Some(ParseError::Vrid { vrid: 53 }));
        bytes[1] = 52;
        assert_eq!(
            fault(v4, 1, &bytes),
            Some(ParseError::CarpGroup { vrid: 52 })
        );
        bytes[1] = 51;
        let v6 = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(fault(v6, 1, &bytes), Some(ParseError::Vrid { vrid: 51 }));
        assert_eq!(fault(v4, 1, &bytes), Some(ParseError::Ttl { ttl: 1 }));
        assert_eq!(
            fault(v4, 255, &bytes),
            Some(ParseError::Checksum {
                found: 0x0500,
                expected: 0x05d4
            })
        );
        assert_eq!(fault(v4, 255, &PSEUDO), None);
    }

    #[test]
    fn each_fault_has_the_kernels_counter() {
        let counter = |error: ParseError| Discard::from(error);
        assert_eq!(
            counter(ParseError::Truncated { have: 7 }),
            Discard::BadLen { have: 7 }
        );
        assert_eq!(
            counter(ParseError::Version { version: 2 }),
            Discard::BadVer { version: 2 }
        );
        assert_eq!(
            counter(ParseError::CarpGroup { vrid: 1 }),
            Discard::BadVer { version: 3 }
        );
        assert_eq!(
            counter(ParseError::Vrid { vrid: 1 }),
            Discard::BadVhid { vhid: 1 }
        );
        assert_eq!(
            counter(ParseError::Ttl { ttl: 1 }),
            Discard::BadTtl { ttl: 1 }
        );
        assert_eq!(
            counter(ParseError::Checksum {
                found: 1,
                expected: 2
            }),
            Discard::BadSum {
                found: 1,
                expected: 2
            }
        );
    }

    #[test]
    fn what_cannot_be_written_is_named_and_leaves_the_buffer_alone() {
        let mut out = [0xaa; MAX_LEN];
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let ends_v6 = Ends::to_group(v6);
        let error = |addresses: &[IpAddr], ends: &Ends, style, out: &mut [u8]| {
            said().emit(addresses, ends, style, out).unwrap_err()
        };
        assert_eq!(
            error(&[v4], &ends_v6, Style::default(), &mut out),
            EmitError::NoAddress { family: Family::V6 }
        );
        assert_eq!(
            error(&[v4; 256], &ends(), Style::default(), &mut out),
            EmitError::TooManyAddresses { count: 256 }
        );
        assert_eq!(
            error(&[v4], &ends(), Style::default(), &mut out[..11]),
            EmitError::Buffer { need: 12, have: 11 }
        );
        let mut both = [v4; 256];
        both[255] = v6;
        assert_eq!(
            error(&both, &ends_v6, Style::FREEBSD_15, &mut out),
            EmitError::TooManyAddresses { count: 256 }
        );
        assert!(out.iter().all(|byte| *byte == 0xaa));
        let longest = said().emit(&[v6; MAX_ADDRESSES], &ends_v6, Style::RFC_9568, &mut out);
        assert_eq!(longest.unwrap().len(), MAX_LEN);
    }

    #[test]
    fn a_priority_or_interval_to_configure_is_never_0() {
        assert_eq!(Priority::new(1).unwrap().get(), 1);
        assert_eq!(Priority::new(0).unwrap_err().field, "vrrpprio");
        assert_eq!(AdverInterval::new(4095), Ok(AdverInterval::MAX));
        for value in [0, 4096] {
            assert_eq!(
                AdverInterval::new(value).unwrap_err().value,
                u32::from(value)
            );
        }
    }

    fn any_ends() -> impl Strategy<Value = Ends> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(source, destination)| Ends::V4 {
                source: source.into(),
                destination: destination.into(),
            }),
            any::<([u8; 16], [u8; 16])>().prop_map(|(source, destination)| Ends::V6 {
                source: source.into(),
                destination: destination.into(),
            }),
        ]
    }

    fn any_form() -> impl Strategy<Value = Checksum> {
        prop_oneof![
            Just(Checksum::WithPseudoHeader),
            Just(Checksum::WithoutPseudoHeader)
        ]
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ]
    }

    proptest! {
        #[test]
        fn parsing_what_was_emitted_gives_the_same_values(
            vrid in 1u8..,
            priority: u8,
            interval: u16,
            addresses in proptest::collection::vec(any_address(), 0..20),
            ends in any_ends(),
            checksum in any_form(),
        ) {
            let said = Advertisement {
                vrid: Vhid::new(vrid).unwrap(),
                priority: Priority::from_wire(priority),
                interval: AdverInterval::from_wire(interval),
            };
            let family = ends.family();
            let ours: Vec<_> =
                addresses.iter().copied().filter(|a| Family::of(*a) == family).collect();
            let mut out = [0; MAX_LEN];
            let style = Style { checksum, ..Style::default() };
            match said.emit(&addresses, &ends, style, &mut out) {
                Ok(packet) => {
                    let view = View::parse(packet, &ends, checksum).unwrap();
                    prop_assert_eq!(view.to_advertisement(), Ok(said));
                    prop_assert_eq!(view.check_count(), Ok(()));
                    prop_assert_eq!(view.addresses().collect::<Vec<_>>(), ours);
                }
                Err(error) => {
                    prop_assert_eq!(error, EmitError::NoAddress { family });
                    prop_assert!(ours.is_empty());
                }
            }
        }

        /// Type 1, reserved bits 0 and a right count given, nothing is lost.
        #[test]
        fn emitting_what_was_parsed_gives_the_same_bytes(
            mut bytes in proptest::collection::vec(any::<u8>(), 24..400),
            ends in any_ends(),
            checksum in any_form(),
        ) {
            let size = address_len(ends.family());
            let count = bytes.len().saturating_sub(HEADER_LEN) / size;
            bytes.truncate(HEADER_LEN + count * size);
            bytes[0] = 0x31;
            bytes[1] |= 1;
            bytes[3] = u8::try_from(count).unwrap();
            bytes[4] &= 0x0f;
            refix_checksum(&mut bytes, &ends, checksum);

            let view = View::parse(&bytes, &ends, checksum).unwrap();
            let addresses: Vec<_> = view.addresses().collect();
            let mut out = [0; MAX_LEN];
            let style = Style { checksum, ..Style::default() };
            let said = view.to_advertisement().unwrap();
            prop_assert_eq!(said.emit(&addresses, &ends, style, &mut out), Ok(&bytes[..]));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            mut bytes: Vec<u8>,
            repaired: bool,
            ends in any_ends(),
            checksum in any_form(),
        ) {
            if repaired && bytes.len() >= HEADER_LEN {
                bytes[0] = 0x3f;
                refix_checksum(&mut bytes, &ends, checksum);
            }
            let parsed = View::parse(&bytes, &ends, checksum);
            prop_assert!(!repaired || parsed.is_ok() == (bytes.len() >= HEADER_LEN));
            if let Ok(view) = parsed {
                let carried = (bytes.len() - HEADER_LEN) / address_len(view.family());
                let stated = usize::from(view.count());
                prop_assert_eq!(view.addresses().count(), stated.min(carried));
                prop_assert_eq!(view.as_bytes(), &bytes[..]);
            }
        }
    }
}

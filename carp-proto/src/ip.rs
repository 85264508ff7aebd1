//! The IPv4 and IPv6 packets around an advertisement, for hosts that read and write them
//! whole (CARP §1.2).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum;
use crate::types::Family;
use crate::wire::{self, PROTOCOL};

/// The TTL or hop limit of every advertisement; what arrives with less was forwarded by a
/// router, or forged behind one.
pub const TTL: u8 = 255;
/// The group to which IPv4 advertisements are sent.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The group to which IPv6 advertisements are sent.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The length of an IPv4 packet with an advertisement, in bytes.
pub const IPV4_PACKET_LEN: usize = IPV4_HEADER_LEN + wire::ADVERTISEMENT_LEN;
/// The length of an IPv6 packet with an advertisement, in bytes.
pub const IPV6_PACKET_LEN: usize = IPV6_HEADER_LEN + wire::ADVERTISEMENT_LEN;

/// The length of an IPv4 header without options, in bytes.
pub const IPV4_HEADER_LEN: usize = size_of::<Ipv4Header>();
/// The length of an IPv6 header without extensions, in bytes.
pub const IPV6_HEADER_LEN: usize = size_of::<Ipv6Header>();
const DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset.
const IS_FRAGMENT: u16 = 0x3fff;

#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Ipv4Header {
    version_and_ihl: u8,
    tos: u8,
    total_len: U16,
    identification: U16,
    flags_and_offset: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Ipv6Header {
    version_class_flow: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

const _: () = assert!(IPV4_PACKET_LEN == 56 && IPV6_PACKET_LEN == 76);

/// Why bytes are not an IP packet of protocol 112. Hosts drop such packets before CARP sees
/// them, so no kernel counter names these faults.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IpError {
    /// The bytes end before the header, or the length it states, does.
    #[error("truncated: {have} bytes where {need} are needed")]
    Truncated {
        /// How many are needed.
        need: usize,
        /// How many there are.
        have: usize,
    },
    /// The version is neither 4 nor 6.
    #[error("IP version {version} where 4 or 6 is expected")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The IPv4 header length is less than 20 bytes, or more than the total length.
    #[error("IPv4 header of {header} bytes in a packet of {total}")]
    HeaderLength {
        /// The header's length in bytes.
        header: usize,
        /// The packet's length in bytes, as stated.
        total: usize,
    },
    /// The IPv4 header checksum is wrong.
    #[error("IPv4 header checksum {found:#06x} is wrong")]
    HeaderChecksum {
        /// What the field holds.
        found: u16,
    },
    /// The packet is a fragment; advertisements are never fragmented.
    #[error("fragment with flags and offset {word:#06x}")]
    Fragment {
        /// The word with flags and offset.
        word: u16,
    },
    /// The protocol or next header is not 112.
    #[error("protocol {protocol} where {PROTOCOL} is expected")]
    Protocol {
        /// The protocol found.
        protocol: u8,
    },
}

/// A received packet of protocol 112: what CARP needs to know of its IP header, and what
/// follows it.
///
/// Raw IPv6 sockets do not deliver the header, so the fields are public: fill them from the
/// socket's ancillary data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by receivers of raw sockets"
)]
pub struct Datagram<'a> {
    /// The sender.
    pub source: IpAddr,
    /// The group, or the address of ours that the packet was sent to; VRRP's checksum covers it
    /// (CARP §5.7).
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What follows the IP header, cut at the length that the header states.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Takes a whole IP packet apart; its first nibble tells the family.
    ///
    /// IPv4 options are skipped, IPv6 extension headers are not: nobody sends them.
    ///
    /// # Errors
    ///
    /// [`IpError`], whose variants say what is wrong.
    pub fn parse(packet: &'a [u8]) -> Result<Self, IpError> {
        let first = packet
            .first()
            .ok_or(IpError::Truncated { need: 1, have: 0 })?;
        match wire::version_of(*first) {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            version => Err(IpError::Version { version }),
        }
    }

    fn parse_v4(packet: &'a [u8]) -> Result<Self, IpError> {
        let have = packet.len();
        let (header, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| IpError::Truncated {
            need: IPV4_HEADER_LEN,
            have,
        })?;
        let header_len = usize::from(header.version_and_ihl & 0x0f) * 4;
        let total = usize::from(header.total_len.get());
        if header_len < IPV4_HEADER_LEN || header_len > total {
            return Err(IpError::HeaderLength {
                header: header_len,
                total,
            });
        }
        let packet = packet
            .get(..total)
            .ok_or(IpError::Truncated { need: total, have })?;
        // header_len <= total, checked above.
        let (whole_header, payload) = packet.split_at(header_len);
        if !checksum::is_valid(checksum::sum(whole_header)) {
            return Err(IpError::HeaderChecksum {
                found: header.checksum.get(),
            });
        }
        let word = header.flags_and_offset.get();
        if word & IS_FRAGMENT != 0 {
            return Err(IpError::Fragment { word });
        }
        if header.protocol != PROTOCOL {
            return Err(IpError::Protocol {
                protocol: header.protocol,
            });
        }
        Ok(Self {
            source: Ipv4Addr::from(header.source).into(),
            destination: Ipv4Addr::from(header.destination).into(),
            ttl: header.ttl,
            payload,
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Result<Self, IpError> {
        let have = packet.len();
        let (header, rest) =
            Ipv6Header::ref_from_prefix(packet).map_err(|_| IpError::Truncated {
                need: IPV6_HEADER_LEN,
                have,
            })?;
        let len = usize::from(header.payload_len.get());
        let need = IPV6_HEADER_LEN + len;
        let payload = rest.get(..len).ok_or(IpError::Truncated { need, have })?;
        if header.next_header != PROTOCOL {
            return Err(IpError::Protocol {
                protocol: header.next_header,
            });
        }
        Ok(Self {
            source: Ipv6Addr::from(header.source).into(),
            destination: Ipv6Addr::from(header.destination).into(),
            ttl: header.hop_limit,
            payload,
        })
    }

    /// Returns the family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.source)
    }
}

/// The parts of the IP header that differ between senders and that no receiver looks at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct HeaderStyle {
    /// The TOS byte of IPv4.
    pub tos: u8,
    /// The traffic class of IPv6.
    pub traffic_class: u8,
    /// The identification of IPv4.
    pub identification: u16,
}

impl HeaderStyle {
    /// FreeBSD 12 and later: DSCP CS7, identification 0 as the packet is never fragmented.
    pub const FREEBSD_12: Self = Self::with_dscp(56);
    /// FreeBSD 11 and NetBSD: low delay, identification 0.
    pub const FREEBSD_11: Self = Self {
        tos: 0x10,
        traffic_class: 0,
        identification: 0,
    };

    /// OpenBSD, UCarp and FreeBSD up to 10: low delay and a random identification.
    #[must_use]
    pub const fn openbsd(identification: u16) -> Self {
        Self {
            tos: 0x10,
            traffic_class: 0,
            identification,
        }
    }

    /// FreeBSD with the sysctl `net.inet.carp.dscp` set to `dscp`, of which 6 bits count.
    #[must_use]
    pub const fn with_dscp(dscp: u8) -> Self {
        let byte = dscp << 2;
        Self {
            tos: byte,
            traffic_class: byte,
            identification: 0,
        }
    }
}

impl Default for HeaderStyle {
    fn default() -> Self {
        Self::FREEBSD_12
    }
}

/// Writes an IPv4 packet around the 36 bytes of an advertisement.
pub fn emit_ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    style: HeaderStyle,
    advertisement: &[u8; wire::ADVERTISEMENT_LEN],
    out: &mut [u8; IPV4_PACKET_LEN],
) {
    let (head, body) = out.split_at_mut(IPV4_HEADER_LEN);
    head.copy_from_slice(&ipv4_header(source, destination, style, 36));
    body.copy_from_slice(advertisement);
}

/// Writes an IPv6 packet around the 36 bytes of an advertisement.
pub fn emit_ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    style: HeaderStyle,
    advertisement: &[u8; wire::ADVERTISEMENT_LEN],
    out: &mut [u8; IPV6_PACKET_LEN],
) {
    let (head, body) = out.split_at_mut(IPV6_HEADER_LEN);
    head.copy_from_slice(&ipv6_header(source, destination, style, 36));
    body.copy_from_slice(advertisement);
}

/// Returns the IPv4 header of a packet of protocol 112 with `payload_len` bytes after it:
/// TTL 255, DF, checksum included (CARP §1.2). A length that no IPv4 packet can have is cut to
/// the longest.
#[must_use]
pub fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    style: HeaderStyle,
    payload_len: u16,
) -> [u8; IPV4_HEADER_LEN] {
    let mut header = Ipv4Header {
        version_and_ihl: 0x45,
        tos: style.tos,
        total_len: U16::new(payload_len.saturating_add(20)),
        identification: U16::new(style.identification),
        flags_and_offset: U16::new(DONT_FRAGMENT),
        ttl: TTL,
        protocol: PROTOCOL,
        checksum: U16::ZERO,
        source: source.octets(),
        destination: destination.octets(),
    };
    header.checksum.set(!checksum::sum(header.as_bytes()));
    zerocopy::transmute!(header)
}

/// Returns the IPv6 header of a packet of protocol 112 with `payload_len` bytes after it: hop
/// limit 255 (CARP §1.2).
#[must_use]
pub fn ipv6_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    style: HeaderStyle,
    payload_len: u16,
) -> [u8; IPV6_HEADER_LEN] {
    ipv6_header_of(
        source,
        destination,
        style.traffic_class,
        PROTOCOL,
        payload_len,
    )
}

/// The bytes of an IPv6 header with hop limit 255, whatever follows it.
pub(crate) fn ipv6_header_of(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    traffic_class: u8,
    next_header: u8,
    payload_len: u16,
) -> [u8; IPV6_HEADER_LEN] {
    zerocopy::transmute!(Ipv6Header {
        version_class_flow: U32::new(6 << 28 | u32::from(traffic_class) << 20),
        payload_len: U16::new(payload_len),
        next_header,
        hop_limit: TTL,
        source: source.octets(),
        destination: destination.octets(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4() -> [u8; IPV4_PACKET_LEN] {
        let mut out = [0; IPV4_PACKET_LEN];
        let source = Ipv4Addr::new(192, 0, 2, 2);
        emit_ipv4(
            source,
            GROUP_V4,
            HeaderStyle::FREEBSD_12,
            &[0xaa; wire::ADVERTISEMENT_LEN],
            &mut out,
        );
        out
    }

    fn refix_checksum(packet: &mut [u8]) {
        let len = usize::from(packet[0] & 0x0f) * 4;
        packet[10..12].fill(0);
        let sum = !checksum::sum(&packet[..len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn the_headers_are_those_of_the_worked_examples() {
        assert_eq!(
            v4()[..20],
            [
                0x45, 0xe0, 0, 0x38, 0, 0, 0x40, 0, 0xff, 0x70, 0xd8, 0x60, 192, 0, 2, 2, 224, 0,
                0, 18
            ]
        );
        let mut out = [0; IPV6_PACKET_LEN];
        let source = "fe80::2".parse().unwrap();
        emit_ipv6(
            source,
            GROUP_V6,
            HeaderStyle::FREEBSD_12,
            &[0; wire::ADVERTISEMENT_LEN],
            &mut out,
        );
        assert_eq!(out[..8], [0x6e, 0, 0, 0, 0, 0x24, 0x70, 0xff]);
        assert_eq!(Datagram::parse(&out).unwrap().source, IpAddr::from(source));
    }

    #[test]
    fn options_are_skipped_and_padding_is_cut_off() {
        let plain = v4();
        let mut packet = plain[..20].to_vec();
        packet.extend([1, 1, 1, 0]);
        packet.extend(&plain[20..]);
        packet[0] = 0x46;
        packet[3] += 4;
        refix_checksum(&mut packet);
        packet.extend([0; 4]);
        let datagram = Datagram::parse(&packet).unwrap();
        assert_eq!(
            (datagram.ttl, datagram.payload),
            (255, &[0xaa; wire::ADVERTISEMENT_LEN][..])
        );
    }

    #[test]
    fn each_fault_is_named_with_its_value() {
        let error = |packet: &[u8]| Datagram::parse(packet).unwrap_err();
        let changed = |at: usize, value: u8| {
            let mut packet = v4();
            packet[at] = value;
            refix_checksum(&mut packet);
            error(&packet)
        };
        assert_eq!(error(&[]), IpError::Truncated { need: 1, have: 0 });
        assert_eq!(
            error(&v4()[..19]),
            IpError::Truncated { need: 20, have: 19 }
        );
        assert_eq!(
            error(&v4()[..55]),
            IpError::Truncated { need: 56, have: 55 }
        );
        assert_eq!(error(&[0x50; 40]), IpError::Version { version: 5 });
        assert_eq!(
            error(&[0x60; 39]),
            IpError::Truncated { need: 40, have: 39 }
        );
        assert_eq!(
            changed(3, 19),
            IpError::HeaderLength {
                header: 20,
                total: 19
            }
        );
        assert_eq!(changed(6, 0x20), IpError::Fragment { word: 0x2000 });
        assert_eq!(changed(9, 17), IpError::Protocol { protocol: 17 });
        let mut packet = v4();
        packet[8] = 1;
        assert_eq!(error(&packet), IpError::HeaderChecksum { found: 0xd860 });
    }
}

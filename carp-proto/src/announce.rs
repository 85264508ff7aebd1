//! The ARP and neighbour announcements that a new master sends, as bytes (CARP §5.1, §5.2).
//!
//! Neighbours that know the shared address under another MAC relearn it from these.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum;
use crate::ip::{self, IPV6_HEADER_LEN};
use crate::types::MacAddr;

/// The length of a gratuitous ARP frame, in bytes, before the driver pads it.
pub const ARP_FRAME_LEN: usize = size_of::<ArpFrame>();
/// The length of an unsolicited neighbour advertisement as an IPv6 packet, in bytes.
pub const NA_PACKET_LEN: usize = IPV6_HEADER_LEN + size_of::<NeighbourAdvertisement>();
/// The length of the same as an Ethernet frame.
pub const NA_FRAME_LEN: usize = size_of::<EthernetHeader>() + NA_PACKET_LEN;

const BROADCAST: MacAddr = MacAddr([0xff; 6]);
/// The Ethernet address of ff02::1.
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;

#[derive(Clone, Copy, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct EthernetHeader {
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: U16,
}

#[derive(Clone, Copy, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct ArpFrame {
    ethernet: EthernetHeader,
    hardware_type: U16,
    protocol_type: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_hardware: [u8; 6],
    sender_protocol: [u8; 4],
    target_hardware: [u8; 6],
    target_protocol: [u8; 4],
}

/// RFC 4861 §4.4, with the target link-layer address option of §4.6.1.
#[derive(Clone, Copy, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct NeighbourAdvertisement {
    message_type: u8,
    code: u8,
    checksum: U16,
    flags: u8,
    reserved: [u8; 3],
    target: [u8; 16],
    option_type: u8,
    /// In units of 8 bytes.
    option_len: u8,
    link_layer: [u8; 6],
}

const _: () = assert!(ARP_FRAME_LEN == 42 && NA_PACKET_LEN == 72 && NA_FRAME_LEN == 86);

/// The form of a gratuitous ARP.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "ARP has these two operations")]
pub enum ArpOperation {
    /// As all implementations send it. A FreeBSD backup answers it (CARP §11.2), which is
    /// harmless but needless.
    #[default]
    Request,
    /// Draws no answer.
    Reply,
}

/// An announcement that `address` is at `hardware`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct GratuitousArp {
    /// The shared address.
    pub address: Ipv4Addr,
    /// Where it is: [`Vhid::mac`](crate::Vhid::mac), or the real MAC as UCarp does.
    pub hardware: MacAddr,
    /// The source of the frame. FreeBSD sends from the interface's own MAC, OpenBSD from
    /// the virtual one, which also teaches the switches.
    pub ethernet_source: MacAddr,
    /// Request or reply.
    pub operation: ArpOperation,
    /// The target hardware address, which means nothing in a request: zeros on BSD, the
    /// real MAC from UCarp.
    pub target_hardware: MacAddr,
}

impl GratuitousArp {
    /// A request whose frame comes from `hardware` too.
    #[must_use]
    pub const fn new(address: Ipv4Addr, hardware: MacAddr) -> Self {
        Self {
            address,
            hardware,
            ethernet_source: hardware,
            operation: ArpOperation::Request,
            target_hardware: MacAddr([0; 6]),
        }
    }

    /// Writes the Ethernet frame.
    pub fn emit(&self, out: &mut [u8; ARP_FRAME_LEN]) {
        let operation = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        *out = zerocopy::transmute!(ArpFrame {
            ethernet: EthernetHeader {
                destination: BROADCAST.0,
                source: self.ethernet_source.0,
                ethertype: U16::new(ETHERTYPE_ARP),
            },
            hardware_type: U16::new(1),
            protocol_type: U16::new(0x0800),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_hardware: self.hardware.0,
            sender_protocol: self.address.octets(),
            target_hardware: self.target_hardware.0,
            target_protocol: self.address.octets(),
        });
    }
}

/// Whether the announcing host routes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it routes or it does not")]
pub enum Router {
    /// The router flag is clear, as FreeBSD sends it.
    #[default]
    No,
    /// The router flag is set, as OpenBSD sends it if it forwards.
    Yes,
}

/// An unsolicited neighbour advertisement to all nodes, with the override flag, without
/// which neighbours keep the old entry (trap 9.39).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct UnsolicitedNa {
    /// The shared address. Scope bytes of a link-local one are cleared.
    pub address: Ipv6Addr,
    /// Where it is.
    pub hardware: MacAddr,
    /// A link-local address of the interface.
    pub source: Ipv6Addr,
    /// Whether this host routes.
    pub router: Router,
}

impl UnsolicitedNa {
    /// An announcement by a host that does not route.
    #[must_use]
    pub const fn new(address: Ipv6Addr, hardware: MacAddr, source: Ipv6Addr) -> Self {
        Self {
            address,
            hardware,
            source,
            router: Router::No,
        }
    }

    /// Writes the IPv6 packet.
    pub fn emit(&self, out: &mut [u8; NA_PACKET_LEN]) {
        const OVERRIDE: u8 = 0x20;
        const ROUTER: u8 = 0x80;
        let mut body = NeighbourAdvertisement {
            message_type: 136,
            code: 0,
            checksum: U16::ZERO,
            flags: match self.router {
                Router::No => OVERRIDE,
                Router::Yes => OVERRIDE | ROUTER,
            },
            reserved: [0; 3],
            target: crate::auth::without_scope(self.address).octets(),
            option_type: 2,
            option_len: 1,
            link_layer: self.hardware.0,
        };
        // The pseudo header of RFC 8200 §8.1: addresses, length and protocol.
        let pseudo = [self.source, ALL_NODES]
            .iter()
            .fold(u16::from(ICMPV6), |sum, a| {
                checksum::add(sum, checksum::sum(&a.octets()))
            });
        let sum = checksum::add(checksum::add(pseudo, 32), checksum::sum(body.as_bytes()));
        body.checksum.set(!sum);
        let (head, tail) = out.split_at_mut(IPV6_HEADER_LEN);
        head.copy_from_slice(&ip::ipv6_header_of(self.source, ALL_NODES, 0, ICMPV6, 32));
        tail.copy_from_slice(body.as_bytes());
    }

    /// Writes the Ethernet frame, which comes from the announced MAC.
    pub fn emit_frame(&self, out: &mut [u8; NA_FRAME_LEN]) {
        let ethernet = EthernetHeader {
            destination: ALL_NODES_MAC.0,
            source: self.hardware.0,
            ethertype: U16::new(ETHERTYPE_IPV6),
        };
        let mut packet = [0; NA_PACKET_LEN];
        self.emit(&mut packet);
        let (head, tail) = out.split_at_mut(size_of::<EthernetHeader>());
        head.copy_from_slice(ethernet.as_bytes());
        tail.copy_from_slice(&packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Vhid;

    #[test]
    fn the_gratuitous_arp_is_that_of_the_specification() {
        let interface = MacAddr([2, 0, 0, 0, 0, 0x0a]);
        let arp = GratuitousArp {
            ethernet_source: interface,
            ..GratuitousArp::new(Ipv4Addr::new(192, 0, 2, 1), Vhid::new(1).unwrap().mac())
        };
        let mut out = [0; ARP_FRAME_LEN];
        arp.emit(&mut out);
        #[rustfmt::skip]
        assert_eq!(out, [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x0a, 0x08, 0x06,
            0, 1, 8, 0, 6, 4, 0, 1,
            0, 0, 0x5e, 0, 1, 1, 192, 0, 2, 1,
            0, 0, 0, 0, 0, 0, 192, 0, 2, 1,
        ]);
        GratuitousArp {
            operation: ArpOperation::Reply,
            ..arp
        }
        .emit(&mut out);
        assert_eq!(out[21], 2);
    }

    #[test]
    fn the_neighbour_advertisement_is_that_of_the_specification() {
        let na = UnsolicitedNa::new(
            "2001:db8::1".parse().unwrap(),
            Vhid::new(1).unwrap().mac(),
            "fe80::2".parse().unwrap(),
        );
        let mut out = [0; NA_FRAME_LEN];
        na.emit_frame(&mut out);
        #[rustfmt::skip]
        assert_eq!(out, [
            0x33, 0x33, 0, 0, 0, 1, 0, 0, 0x5e, 0, 1, 1, 0x86, 0xdd,
            0x60, 0, 0, 0, 0, 0x20, 0x3a, 0xff,
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0x88, 0, 0xcb, 0x61, 0x20, 0, 0, 0,
            0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            2, 1, 0, 0, 0x5e, 0, 1, 1,
        ]);
    }

    #[test]
    fn a_router_says_so() {
        let address = "fe80:5::1".parse().unwrap();
        let source = "fe80::2".parse().unwrap();
        let na = UnsolicitedNa::new(address, BROADCAST, source);
        let mut out = [0; NA_PACKET_LEN];
        UnsolicitedNa {
            router: Router::Yes,
            ..na
        }
        .emit(&mut out);
        assert_eq!(out[44], 0xa0);
        // The scope in the target is cleared.
        assert_eq!(out[48..52], [0xfe, 0x80, 0, 0]);
    }
}

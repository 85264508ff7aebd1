//! The bytes of an advertisement as an Ethernet frame and as an IP packet.

use core::net::IpAddr;

use carp_proto::vrrp::Ends;
use carp_proto::{
    Family, HeaderStyle, IPV4_HEADER_LEN, IPV6_HEADER_LEN, MacAddr, ipv4_header, ipv6_header, vrrp,
};

const ETHERNET_LEN: usize = 14;
/// Where the payload stands, behind the longest headers. The headers stand right before it, so
/// that it is copied once for all destinations.
const PAYLOAD: usize = ETHERNET_LEN + IPV6_HEADER_LEN;

/// Room for one advertisement and the headers before it.
pub(super) struct Frame {
    bytes: [u8; PAYLOAD + vrrp::MAX_LEN],
    start: usize,
    end: usize,
    /// For whom the payload's checksum is right, if it covers that: VRRP's may (CARP §5.7).
    summed_for: Option<IpAddr>,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; PAYLOAD + vrrp::MAX_LEN],
            start: PAYLOAD,
            end: PAYLOAD,
            summed_for: None,
        }
    }

    /// Takes an advertisement to the group; whether it has room.
    #[must_use]
    pub(super) fn set_payload(&mut self, payload: &[u8]) -> bool {
        let end = PAYLOAD + payload.len();
        let room = self.bytes.get_mut(PAYLOAD..end);
        let Some(room) = room else {
            return false;
        };
        room.copy_from_slice(payload);
        self.end = end;
        self.summed_for = None;
        true
    }

    /// Writes the IP header; nothing if the addresses are of different families.
    pub(super) fn packet(&mut self, source: IpAddr, to: IpAddr, style: HeaderStyle) -> &[u8] {
        self.sum_for(source, to);
        let len = u16::try_from(self.end - PAYLOAD).unwrap_or(u16::MAX);
        match (source, to) {
            (IpAddr::V4(source), IpAddr::V4(to)) => {
                self.put(PAYLOAD, &ipv4_header(source, to, style, len));
                self.start = PAYLOAD - IPV4_HEADER_LEN;
            }
            (IpAddr::V6(source), IpAddr::V6(to)) => {
                self.put(PAYLOAD, &ipv6_header(source, to, style, len));
                self.start = PAYLOAD - IPV6_HEADER_LEN;
            }
            _ => self.start = self.end,
        }
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn sum_for(&mut self, source: IpAddr, to: IpAddr) {
        let former = self.summed_for.replace(to);
        let former = former.unwrap_or_else(|| Family::of(source).group());
        let ends = (Ends::between(source, former), Ends::between(source, to));
        let payload = self.bytes.get_mut(PAYLOAD..self.end);
        if let ((Some(from), Some(to)), Some(payload)) = (ends, payload) {
            vrrp::redirect(payload, &from, &to);
        }
    }

    /// Writes IP and Ethernet header of a packet, each from the first address of its pair to
    /// the second.
    pub(super) fn ethernet(
        &mut self,
        macs: (MacAddr, MacAddr),
        ends: (IpAddr, IpAddr),
        style: HeaderStyle,
    ) -> &[u8] {
        let (source, to) = ends;
        self.packet(source, to, style);
        let (MacAddr(origin), MacAddr(destination)) = macs;
        let kind: [u8; 2] = match to {
            IpAddr::V4(_) => [0x08, 0x00],
            IpAddr::V6(_) => [0x86, 0xdd],
        };
        let mut header = [0; ETHERNET_LEN];
        let (macs, place) = header.split_at_mut(12);
        let (first, second) = macs.split_at_mut(6);
        first.copy_from_slice(&destination);
        second.copy_from_slice(&origin);
        place.copy_from_slice(&kind);
        self.put(self.start, &header);
        let start = self.start.saturating_sub(ETHERNET_LEN);
        self.bytes.get(start..self.end).unwrap_or_default()
    }

    /// Writes `header` right before the byte at `end`.
    fn put(&mut self, end: usize, header: &[u8]) {
        let start = end.saturating_sub(header.len());
        if let Some(room) = self.bytes.get_mut(start..end) {
            room.copy_from_slice(header);
        }
    }
}

/// The Ethernet address of a multicast group (RFC 1112 §6.4, RFC 2464 §7).
pub(super) fn group_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, a, b, c] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, a & 0x7f, b, c])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddr([0x33, 0x33, a, b, c, d])
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use carp_proto::{GROUP_V4, Vhid, emit_ipv4, emit_ipv6};

    use super::*;

    /// CARP §1.3: the lengths and addresses of the frames.
    #[test]
    fn frames_are_those_of_the_specification() {
        let mac = Vhid::new(1).unwrap().mac();
        let style = HeaderStyle::default();
        let advertisement = [0xaa; 36];
        let mut frame = Frame::new();
        assert!(frame.set_payload(&advertisement));

        let (source, group) = (Ipv4Addr::new(192, 0, 2, 2), GROUP_V4);
        let mut packet = [0; 56];
        emit_ipv4(source, group, style, &advertisement, &mut packet);
        let ends = (source.into(), group.into());
        let bytes = frame.ethernet((mac, group_mac(ends.1)), ends, style);
        assert_eq!(
            bytes[..14],
            [1, 0, 0x5e, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 1, 8, 0]
        );
        assert_eq!(bytes[14..], packet);

        let source: Ipv6Addr = "fe80::2".parse().unwrap();
        let mut packet = [0; 76];
        emit_ipv6(
            source,
            carp_proto::GROUP_V6,
            style,
            &advertisement,
            &mut packet,
        );
        let ends = (source.into(), carp_proto::GROUP_V6.into());
        let bytes = frame.ethernet((mac, group_mac(ends.1)), ends, style);
        assert_eq!(
            bytes[..14],
            [0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 1, 0x86, 0xdd]
        );
        assert_eq!(bytes[14..], packet);

        // A packet to a peer has other ends but the same payload.
        let (one, other) = ([192, 0, 2, 2].into(), [192, 0, 2, 3].into());
        let bytes = frame.packet(one, other, style);
        assert_eq!((bytes.len(), &bytes[16..20]), (56, &[192, 0, 2, 3][..]));
        assert_eq!(bytes[20..], advertisement);
    }

    /// CARP §5.7: VRRP's checksum covers the destination.
    #[test]
    fn each_destination_gets_a_checksum_of_its_own() {
        let source = IpAddr::from([192, 0, 2, 2]);
        let said = vrrp::Advertisement {
            vrid: Vhid::new(51).unwrap(),
            priority: vrrp::Priority::DEFAULT,
            interval: vrrp::AdverInterval::DEFAULT,
        };
        let style = vrrp::Style::FREEBSD_15;
        let mut bytes = [0; 12];
        said.emit(
            &[[192, 0, 2, 1].into()],
            &Ends::to_group(source),
            style,
            &mut bytes,
        )
        .unwrap();
        let mut frame = Frame::new();
        assert!(frame.set_payload(&bytes));
        for to in [
            GROUP_V4.into(),
            [192, 0, 2, 3].into(),
            [192, 0, 2, 9].into(),
        ] {
            let packet = frame.packet(source, to, HeaderStyle::default());
            let ends = Ends::between(source, to).unwrap();
            let heard = vrrp::View::parse(&packet[20..], &ends, style.checksum).unwrap();
            assert_eq!(heard.to_advertisement(), Ok(said));
        }
    }

    #[test]
    fn what_is_too_long_or_of_two_families_is_not_sent() {
        let mut frame = Frame::new();
        assert!(!frame.set_payload(&[0; vrrp::MAX_LEN + 1]));
        assert!(frame.set_payload(&[0; vrrp::MAX_LEN]));
        let bytes = frame.packet(
            [192, 0, 2, 2].into(),
            Ipv6Addr::LOCALHOST.into(),
            HeaderStyle::default(),
        );
        assert!(bytes.is_empty());
    }
}

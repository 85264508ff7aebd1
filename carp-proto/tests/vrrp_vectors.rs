//! The VRRPv3 vectors: each packet is read, judged, and written again (CARP §5.7).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use core::net::{IpAddr, Ipv4Addr};

use carp_proto::vrrp::{
    self, AdverInterval, Advertisement, Checksum, Count, Ends, ParseError, Priority, Style, View,
};
use carp_proto::{AcceptTtl, Datagram, Discard, Group, Vhid};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vrrp_cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    af: u8,
    vrid: u8,
    priority: u8,
    max_adver_int: u16,
    count: u8,
    addresses: Vec<IpAddr>,
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    checksum_pseudo_header: bool,
    vrrp_hex: String,
    computed_ip_packet_hex: String,
    expect: String,
}

impl Case {
    fn ends(&self) -> Ends {
        match (self.src, self.dst) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ends::V4 {
                source,
                destination,
            },
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ends::V6 {
                source,
                destination,
            },
            _ => panic!("{}: ends of two families", self.name),
        }
    }

    fn checksum(&self) -> Checksum {
        if self.checksum_pseudo_header {
            Checksum::WithPseudoHeader
        } else {
            Checksum::WithoutPseudoHeader
        }
    }

    fn said(&self) -> Advertisement {
        Advertisement {
            vrid: Vhid::new(self.vrid).unwrap(),
            priority: Priority::from_wire(self.priority),
            interval: AdverInterval::from_wire(self.max_adver_int),
        }
    }

    /// What is wrong with the bytes themselves, whoever receives them.
    fn has_bad_checksum(&self) -> bool {
        self.expect == "badsum" && self.checksum_pseudo_header
    }
}

fn cases() -> Vec<Case> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/carp-advertisements.json"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let file: File = serde_json::from_str(&text).unwrap();
    assert_eq!(file.vrrp_cases.len(), 10, "vectors were added or lost");
    file.vrrp_cases
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The verdict of a receiver like FreeBSD 15, by the name of its counter.
fn verdict(datagram: &Datagram<'_>, vrid: Vhid) -> &'static str {
    let group = Group {
        vhid: vrid,
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    };
    let local = vrrp::Local {
        vrrp: &[group],
        ..vrrp::Local::default()
    };
    match vrrp::check(datagram, &local).map_err(Discard::from) {
        Ok(_) => "accept",
        Err(Discard::BadTtl { .. }) => "badttl",
        Err(Discard::BadSum { .. }) => "badsum",
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_packet_is_read_and_judged_as_by_freebsd_15() {
    for case in cases() {
        let name = &case.name;
        let packet = unhex(&case.computed_ip_packet_hex);
        let datagram = Datagram::parse(&packet).unwrap();
        assert_eq!(datagram.source, case.src, "{name}");
        assert_eq!(datagram.ttl, case.ttl, "{name}");
        assert_eq!(datagram.payload, unhex(&case.vrrp_hex), "{name}");
        assert_eq!(case.ends(), Ends::to_group(case.src), "{name}");
        assert_eq!(verdict(&datagram, case.said().vrid), case.expect, "{name}");

        let view = match View::parse(datagram.payload, &case.ends(), case.checksum()) {
            Ok(view) => view,
            Err(ParseError::Checksum { .. }) if case.has_bad_checksum() => continue,
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(view.to_advertisement(), Ok(case.said()), "{name}");
        assert_eq!(view.count(), case.count, "{name}");
        assert!(
            view.addresses().eq(case.addresses.iter().copied()),
            "{name}"
        );
        let right = usize::from(case.count) == case.addresses.len();
        assert_eq!(view.check_count().is_ok(), right, "{name}");
    }
    println!("{} VRRPv3 packets read", cases().len());
}

#[test]
fn every_packet_is_written_byte_for_byte() {
    for case in cases() {
        // The count that is too high is that of a group with one more address, of IPv4.
        let mut group = case.addresses.clone();
        if usize::from(case.count) > group.len() {
            assert_eq!(case.af, 6, "{}", case.name);
            group.insert(0, Ipv4Addr::new(192, 0, 2, 1).into());
        }
        let style = match case.checksum() {
            Checksum::WithPseudoHeader => Style::FREEBSD_15,
            Checksum::WithoutPseudoHeader => Style::RFC_9568,
        };
        let mut out = [0; vrrp::MAX_LEN];
        let written = case
            .said()
            .emit(&group, &case.ends(), style, &mut out)
            .unwrap();
        let mut expected = unhex(&case.vrrp_hex);
        if case.has_bad_checksum() {
            assert_ne!(written[6..8], expected[6..8], "{}", case.name);
            expected[6..8].copy_from_slice(&written[6..8]);
        }
        assert_eq!(written, expected, "{}", case.name);
    }
    println!("{} VRRPv3 packets written", cases().len());
}

#[test]
fn the_count_is_right_unless_freebsd_is_followed() {
    let case = cases()
        .into_iter()
        .find(|case| case.name.contains("dual-stack"))
        .unwrap();
    let group = [IpAddr::from([192, 0, 2, 1]), case.addresses[0]];
    let count = |count| {
        let mut style = Style::default();
        style.count = count;
        let mut out = [0; vrrp::MAX_LEN];
        case.said()
            .emit(&group, &case.ends(), style, &mut out)
            .unwrap()[3]
    };
    assert_eq!((count(Count::OfPacket), count(Count::OfGroup)), (1, 2));
}

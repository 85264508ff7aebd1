//! Advertisements of real implementations, and ones computed from the specification, both
//! ways: what they say is read, what is read is written back to the same bytes.
//!
//! `vectors/README.md` describes the files and their origins.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use core::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use carp_proto::{
    ADVERTISEMENT_LEN, AddressCount, AdvBase, AdvSkew, Advertisement, Authenticator, CheckOrder,
    Config, Datagram, Discard, Event, Group, HeaderStyle, IPV4_PACKET_LEN, IPV6_PACKET_LEN, Input,
    IpError, Key, LinkLocal, Local, Output, Received, Refusal, ReplayPolicy, Vhid, View,
    VirtualHost, check, emit_ipv4, emit_ipv6,
};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn cases() -> Vec<Value> {
    let bytes = std::fs::read(directory().join("carp-advertisements.json")).unwrap();
    let file: Value = serde_json::from_slice(&bytes).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn text<'a>(case: &'a Value, key: &str) -> Option<&'a str> {
    case.get(key).and_then(Value::as_str)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn byte(case: &Value, key: &str) -> Option<u8> {
    case.get(key)
        .and_then(Value::as_u64)
        .map(|n| n.try_into().unwrap())
}

/// The receiver that a case describes.
struct Receiver {
    vhid: Vhid,
    shared: Vec<IpAddr>,
    auth: Authenticator,
}

impl Receiver {
    fn of(case: &Value) -> Self {
        let vhid = Vhid::new(byte(case, "vhid").unwrap()).unwrap();
        let shared: Vec<IpAddr> = case["addresses"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().parse().unwrap())
            .collect();
        let key = Key::from_bytes(unhex(text(case, "key_hex").unwrap()).try_into().unwrap());
        let auth = Authenticator::new(&key, vhid, &shared);
        Self { vhid, shared, auth }
    }

    /// Everything that a receiver does with a packet before the state machine.
    fn receive(&self, packet: &[u8], order: CheckOrder) -> Result<Received, String> {
        let datagram = Datagram::parse(packet).map_err(|error| match error {
            IpError::HeaderChecksum { .. } => "badipsum".to_string(),
            other => panic!("{other}"),
        })?;
        // A case with an address of the other family only is not among the vectors; the
        // group takes both, as the hash does.
        let group = Group {
            vhid: self.vhid,
            v4: true,
            v6: true,
            ttl: Default::default(),
        };
        let local = Local {
            groups: &[group],
            shared: &self.shared,
        };
        let verified = check(&datagram, &local, order)
            .and_then(|view| self.auth.verify(view).map_err(Discard::from));
        match verified {
            Ok(advertisement) => Ok(Received::new(advertisement, datagram.source)),
            Err(discard) => {
                let message = discard.to_string();
                Err(message.split(':').next().unwrap().to_string())
            }
        }
    }
}

fn packet(case: &Value) -> Vec<u8> {
    unhex(
        text(case, "ip_packet_hex")
            .or_else(|| text(case, "computed_ip_packet_hex"))
            .unwrap(),
    )
}

/// Whether a case is accepted, refused or recognised as a replay as it should be.
fn judge(case: &Value) {
    let receiver = Receiver::of(case);
    let result = receiver.receive(&packet(case), CheckOrder::FreeBsd15);
    match text(case, "expect").unwrap() {
        "accept" => {
            let received = result.unwrap();
            let said = received.said();
            let heard = said.carp().unwrap();
            assert_eq!(heard.advbase.get(), byte(case, "advbase").unwrap());
            assert_eq!(heard.advskew.get(), byte(case, "advskew").unwrap());
            assert_eq!(heard.demote, byte(case, "demote").unwrap());
            let counter: u64 = text(case, "counter").unwrap().parse().unwrap();
            assert_eq!(heard.counter, counter);
            assert_eq!(received.source.to_string(), text(case, "src").unwrap());
        }
        "replay" => refuse_replay(case, &receiver, result.unwrap()),
        expected => assert_eq!(result.unwrap_err(), expected),
    }
}

/// The packet itself is authentic; what was heard or sent before makes it a replay.
fn refuse_replay(case: &Value, receiver: &Receiver, received: Received) {
    let mut config = Config::new(receiver.vhid);
    config.replay = ReplayPolicy::Strict;
    config.settings.advskew = received.said().carp().unwrap().advskew;
    if let Some(Ok(IpAddr::V4(own))) = text(case, "own_address").map(str::parse) {
        config.source_v4 = Some(own);
    }
    let prior = &case["prior"][0];
    let carp = unhex(text(prior, "carp_hex").unwrap());
    let heard = receiver.auth.verify(View::parse(&carp).unwrap()).unwrap();
    let sent_by_us = prior.get("sent_by_us").is_some();
    if sent_by_us {
        // So that the first advertisement is the one of the case.
        let start = heard.advertisement().counter - 1;
        config.counter = carp_proto::CounterRule::Increasing { start };
    }
    let mut machine = VirtualHost::<core::time::Duration>::new(config).unwrap();
    machine.handle(
        Default::default(),
        Input::Addresses(AddressCount::of(&receiver.shared)),
    );
    let now = machine.poll_timeout().unwrap();
    if sent_by_us {
        machine.handle_timeout(now);
    } else {
        let source = text(prior, "src").unwrap().parse().unwrap();
        machine.handle(now, Input::Advertisement(Received::new(heard, source)));
    }
    let sent = core::iter::from_fn(|| machine.poll_output())
        .filter(|o| matches!(o, Output::Transmit(t) if t.advertisement.carp() == Some(heard.advertisement())))
        .count();
    assert_eq!(sent, usize::from(sent_by_us));
    let before = (machine.state(), machine.poll_timeout());
    machine.handle(now, Input::Advertisement(received));
    let expected = |refusal: &Refusal| {
        matches!(refusal, Refusal::Echo) == sent_by_us
            && matches!(refusal, Refusal::Replay { .. }) != sent_by_us
    };
    let output = machine.poll_output();
    assert!(
        matches!(&output, Some(Output::Event(Event::Refused { refusal, .. })) if expected(refusal)),
        "{}: {output:?}",
        case["name"]
    );
    assert_eq!(
        (machine.state(), machine.poll_timeout()),
        before,
        "nothing else changes"
    );
}

fn older_orders_of_checks_end_in_the_counters_of_their_implementations() {
    let implementations = [
        ("freebsd12", CheckOrder::FreeBsd10),
        ("freebsd14", CheckOrder::FreeBsd14),
        ("freebsd15", CheckOrder::FreeBsd15),
        ("openbsd", CheckOrder::OpenBsd),
        ("netbsd", CheckOrder::FreeBsd10),
    ];
    let mut compared = 0;
    for case in cases() {
        let receiver = Receiver::of(&case);
        let ours = |order| match receiver.receive(&packet(&case), order) {
            Ok(_) => "accept".to_string(),
            Err(counter) => counter,
        };
        for (implementation, order) in implementations {
            let Some(theirs) = text(&case["expect_by_impl"], implementation) else {
                continue;
            };
            // Left out: faults of 14.0 that this crate does not imitate, what depends on
            // more than the packet, and FreeBSD 15's sum over trailing bytes, which CARP
            // §1.4 advises against.
            let name = text(&case, "name").unwrap();
            let elsewhere = theirs.starts_with("accept (")
                || theirs.starts_with("accept if")
                || theirs.starts_with("dropped by IP")
                || (name == "quirk-trailing-bytes" && implementation == "freebsd15")
                || (name == "not-our-destination" && implementation == "openbsd")
                || (name == "replayed-own-packet");
            if !elsewhere {
                assert_eq!(ours(order), theirs, "{name} by {implementation}");
                compared += 1;
            }
        }
    }
    println!("{compared} verdicts compared");
    assert!(compared > 150, "{compared} verdicts compared");
}

fn every_genuine_packet_is_rebuilt_byte_for_byte() {
    let mut rebuilt = 0;
    for case in cases() {
        let name = text(&case, "name").unwrap();
        // What a faultless sender made: the rest was altered or forged afterwards, or
        // carries the address of OpenBSD's interface in the hash.
        let quirk = name.starts_with("quirk-") || name.starts_with("bad-version");
        let genuine = matches!(text(&case, "expect"), Some("accept" | "replay" | "badttl"));
        if !genuine || quirk {
            continue;
        }
        let form = match case.get("hash_link_local").and_then(Value::as_bool) {
            Some(false) => LinkLocal::Skipped,
            _ => LinkLocal::Included,
        };
        let receiver = Receiver::of(&case);
        let auth = receiver.auth.with_link_local(form);
        let advertisement = Advertisement {
            vhid: receiver.vhid,
            advbase: AdvBase::new(byte(&case, "advbase").unwrap()),
            advskew: AdvSkew::from_wire(byte(&case, "advskew").unwrap()),
            demote: byte(&case, "demote").unwrap(),
            counter: text(&case, "counter").unwrap().parse().unwrap(),
        };
        let mut carp = [0; ADVERTISEMENT_LEN];
        auth.sign(&advertisement, &mut carp);
        assert_eq!(
            carp.to_vec(),
            unhex(text(&case, "carp_hex").unwrap()),
            "{name}"
        );
        let mut theirs = packet(&case);
        if text(&case, "expect") == Some("badttl") {
            // The TTL and the IPv4 sum over it are what was altered.
            theirs = restore_ttl(theirs);
        }
        assert_eq!(ip_packet(&case, &theirs, &carp), theirs, "{name}");
        rebuilt += 1;
    }
    println!("{rebuilt} packets rebuilt");
    assert!(rebuilt >= 60, "{rebuilt} packets rebuilt");
}

fn restore_ttl(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[7] = 255;
        return packet;
    }
    packet[8] = 255;
    packet[10..12].fill(0);
    let sum: u32 = packet[..20]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&(!sum).to_be_bytes());
    packet
}

fn ip_packet(case: &Value, theirs: &[u8], carp: &[u8; ADVERTISEMENT_LEN]) -> Vec<u8> {
    let source: IpAddr = text(case, "src").unwrap().parse().unwrap();
    let destination: IpAddr = text(case, "dst").unwrap().parse().unwrap();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut style = HeaderStyle::FREEBSD_12;
            style.tos = theirs[1];
            style.identification = u16::from_be_bytes([theirs[4], theirs[5]]);
            let mut out = [0; IPV4_PACKET_LEN];
            emit_ipv4(source, destination, style, carp, &mut out);
            out.to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let style = if theirs[0] == 0x6e {
                HeaderStyle::FREEBSD_12
            } else {
                HeaderStyle::FREEBSD_11
            };
            let mut out = [0; IPV6_PACKET_LEN];
            emit_ipv6(source, destination, style, carp, &mut out);
            out.to_vec()
        }
        _ => panic!("families differ"),
    }
}

// Captures.

/// The frames of a classic pcap file.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path).unwrap();
    let mut reader = pcap_file::pcap::PcapReader::new(file).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_packet() {
        frames.push(frame.unwrap().data.into_owned());
    }
    frames
}

/// The IP packets of protocol 112 among them.
fn carp_packets(path: &Path) -> Vec<Vec<u8>> {
    frames(path)
        .into_iter()
        .filter(|frame| matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd]))
        .map(|frame| frame[14..].to_vec())
        .filter(|packet| Datagram::parse(packet).is_ok())
        .collect()
}

fn every_packet_captured_from_ucarp_decodes_authenticates_and_re_encodes() {
    let shared: [IpAddr; 1] = [Ipv4Addr::new(192, 0, 2, 1).into()];
    let vhid = Vhid::new(1).unwrap();
    let with =
        |pass: &str| Authenticator::new(&Key::from_passphrase(pass.as_bytes()), vhid, &shared);
    let (mut files, mut count, mut other) = (0, 0, 0);
    for entry in std::fs::read_dir(directory().join("pcaps")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("ucarp-") {
            continue;
        }
        files += 1;
        for packet in carp_packets(&path) {
            let datagram = Datagram::parse(&packet).unwrap();
            assert_eq!(datagram.ttl, 255, "{name}");
            let view = View::parse(datagram.payload).unwrap();
            assert!(view.is_usual(), "{name}");
            // One node of one capture has another password.
            let mut auth = with("secret");
            if auth.verify(view).is_err() {
                assert_eq!(name, "ucarp-wrong-password.pcap");
                auth = with("other");
                other += 1;
            }
            let heard = auth.verify(view).unwrap_or_else(|e| panic!("{name}: {e}"));

            let mut carp = [0; ADVERTISEMENT_LEN];
            auth.sign(heard.advertisement(), &mut carp);
            let IpAddr::V4(source) = datagram.source else {
                panic!("{name}: IPv6")
            };
            let style = HeaderStyle::openbsd(u16::from_be_bytes([packet[4], packet[5]]));
            let mut out = [0; IPV4_PACKET_LEN];
            emit_ipv4(source, Ipv4Addr::new(224, 0, 0, 18), style, &carp, &mut out);
            assert_eq!(out[..], packet[..IPV4_PACKET_LEN], "{name}");
            count += 1;
        }
    }
    println!("{count} packets of {files} captures, {other} of them with the other password");
    assert_eq!((files, count), (18, 181), "captures were added or lost");
    assert!(other > 0);
}

fn every_advertisement_of_a_freebsd_kernel_authenticates() {
    // The configurations that the recordings were made with.
    let groups: [(u8, &str, &[&str]); 11] = [
        (1, "secret", &["192.0.2.1"]),
        (1, "secret", &["192.0.2.1", "192.0.2.3"]),
        (1, "secret", &["192.0.2.1", "2001:db8::1"]),
        (2, "secret", &["2001:db8::1"]),
        (2, "inside", &["198.51.100.1"]),
        (
            20,
            "dual",
            &["192.0.2.30", "192.0.2.4", "fd00::1", "2001:db8::10"],
        ),
        (5, "ll", &["fe80::1", "2001:db8::1"]),
        (
            6,
            "0123456789abcdefghi",
            &["192.0.2.166", "192.0.2.6", "192.0.2.66"],
        ),
        (6, "ab", &["192.0.2.166", "192.0.2.6", "192.0.2.66"]),
        (6, "ab", &["192.0.2.166", "192.0.2.6"]),
        (255, "äöü", &["192.0.2.200"]),
    ];
    let receivers: Vec<Authenticator> = groups
        .iter()
        .map(|(vhid, pass, shared)| {
            let shared: Vec<IpAddr> = shared.iter().map(|a| a.parse().unwrap()).collect();
            let key = Key::from_passphrase(pass.as_bytes());
            Authenticator::new(&key, Vhid::new(*vhid).unwrap(), &shared)
        })
        .collect();
    let mut count = 0;
    for entry in std::fs::read_dir(directory().join("pcaps")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The injected faults are faulty on purpose.
        if !name.starts_with("freebsd-kernel-") || name.contains("injected-faults") {
            continue;
        }
        for packet in carp_packets(&path) {
            let view = View::parse(Datagram::parse(&packet).unwrap().payload)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let known = receivers
                .iter()
                .filter(|auth| auth.verify(view).is_ok())
                .count();
            assert_eq!(known, 1, "{name}: {view:?}");
            count += 1;
        }
    }
    println!("{count} advertisements of a kernel");
    assert!(count > 300, "{count} advertisements of a kernel");
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = cases();
    assert_eq!(cases.len(), 104, "cases were added or lost");
    let mut tests: Vec<Trial> = cases
        .into_iter()
        .map(|case| {
            let name = text(&case, "name").unwrap().to_owned();
            Trial::test(name, move || {
                judge(&case);
                Ok(())
            })
            .with_kind("case")
        })
        .collect();
    let wholes: [(&str, fn()); 4] = [
        (
            "older_orders_of_checks_end_in_the_counters_of_their_implementations",
            older_orders_of_checks_end_in_the_counters_of_their_implementations,
        ),
        (
            "every_genuine_packet_is_rebuilt_byte_for_byte",
            every_genuine_packet_is_rebuilt_byte_for_byte,
        ),
        (
            "every_packet_captured_from_ucarp_decodes_authenticates_and_re_encodes",
            every_packet_captured_from_ucarp_decodes_authenticates_and_re_encodes,
        ),
        (
            "every_advertisement_of_a_freebsd_kernel_authenticates",
            every_advertisement_of_a_freebsd_kernel_authenticates,
        ),
    ];
    for (name, whole) in wholes {
        tests.push(Trial::test(name, move || {
            whole();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}

//! Many virtual hosts, and many packets that nobody asked for.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use ha_core::carp_proto::{
    ADVERTISEMENT_LEN, AdvBase, AdvSkew, Advertisement, Authenticator, GROUP_V4, GROUP_V6,
    HeaderStyle, IPV4_PACKET_LEN, IPV6_PACKET_LEN, Key, Vhid, emit_ipv4, emit_ipv6,
};

use crate::SECONDS;
use crate::network::busy::Stalls;
use crate::network::capture::Capture;
use crate::network::daemons::{Carpd, Host, Launch, SHARED};
use crate::network::packet::{Mac, ethernet, flood};
use crate::network::{Lab, Node, pass, wait_until};

const LIMIT: Duration = Duration::from_secs(8);
const SHARED_V6: &str = "2001:db8::1";

#[test]
#[ignore = "needs root and network namespaces"]
fn every_vhid_at_once_is_cheap() {
    let v4 = |vhid| vec![format!("198.18.{vhid}.1/32")];
    every_vhid_at_once(v4, 2.0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn every_vhid_at_once_is_cheap_with_two_families() {
    let both = |vhid| {
        vec![
            format!("198.18.{vhid}.1/32"),
            format!("2001:db8:9::{vhid:x}/128"),
        ]
    };
    // Most of it is the kernel's, which looks at all addresses of IPv6 whenever one is refreshed.
    every_vhid_at_once(both, 10.0);
}

/// Has one `carpd` be the master of 255 virtual hosts with these addresses each, for less than
/// this many hundredths of a core.
fn every_vhid_at_once(addresses: fn(u8) -> Vec<String>, most: f64) {
    let lab = Lab::alone(1);
    let hosts: Vec<_> = (1..=255)
        .map(|vhid| Host {
            vhid,
            addresses: addresses(vhid),
            ..Host::new(0)
        })
        .collect();
    let carpd = Carpd::launch(&lab, 1, &hosts, &Launch::default());
    carpd.await_state("MASTER", SECONDS * 15);
    let served = || {
        let own = lab.node(1).addresses();
        own.iter()
            .filter(|own| own.starts_with("198.18.") || own.starts_with("2001:db8:9:"))
            .count()
    };
    let all: usize = hosts.iter().map(|host| host.addresses.len()).sum();
    wait_until("all addresses", LIMIT, || served() == all);
    pass(SECONDS * 2);

    let time = SECONDS * 10;
    let before = carpd.process().usage();
    pass(time);
    let after = carpd.process().usage();
    let states = carpd.states();
    assert_eq!(states.len(), hosts.len());
    assert!(states.iter().all(|state| state == "MASTER"), "{states:?}");
    assert_eq!(served(), all);

    let percent = (after.cpu - before.cpu).as_secs_f64() / time.as_secs_f64() * 100.0;
    let mib = after.resident_kib / 1024;
    println!("255 masters, {all} addresses: {percent:.2} % of one core, {mib} MiB resident");
    assert!(percent < most, "{percent:.2} % of one core");
    assert!(mib < 40, "{mib} MiB resident");
    carpd.stop();
    assert_eq!(served(), 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_flood_changes_nothing() {
    /// More than the 100,000 that are promised, so that a moment without a processor does not make
    /// it less.
    const ATTEMPT: u32 = 110_000;
    const AT_LEAST: u64 = 100_000;
    const TIME: Duration = Duration::from_secs(10);
    const DELAY: Duration = Duration::from_millis(20);
    /// What the allocator may round.
    const GROWTH_KIB: u64 = 64;

    let lab = Lab::alone(2);
    let start = |node, advskew| {
        let mut host = Host::new(advskew);
        host.addresses.push(format!("{SHARED_V6}/64"));
        Carpd::start(&lab, node, &host)
    };
    let master = start(1, 0);
    master.await_state("MASTER", LIMIT);
    let backup = start(2, 100);
    backup.await_state("BACKUP", LIMIT);
    for address in [SHARED, SHARED_V6] {
        lab.await_holder(1, address, LIMIT);
    }
    let frames = rubbish(lab.client());
    // What is allocated once, on the first of such packets, is no growth.
    flood(lab.client(), &frames, ATTEMPT, SECONDS);
    pass(SECONDS);

    let carpds = [&master, &backup];
    let before = carpds.map(|carpd| carpd.process().usage());
    let changes = carpds.map(Carpd::changes);
    assert!(changes.iter().all(|changes| !changes.is_empty()));
    let refused_before = carpds.map(refused);
    let received_before = [1, 2].map(|node| lab.node(node).received());
    let own = lab.node(1);
    let genuine = format!(
        "(ip proto 112 and src host {}) or (ip6 proto 112 and ether src not {})",
        own.ipv4(),
        lab.client().mac()
    );
    let stalls = Stalls::watch();
    let capture = Capture::of(&lab, lab.node(2).namespace(), Node::INTERFACE, &genuine);
    let sent = flood(lab.client(), &frames, ATTEMPT, TIME);
    let after = carpds.map(|carpd| carpd.process().usage());
    let received = [1, 2].map(|node| lab.node(node).received());
    let refused = carpds.map(refused);
    pass(SECONDS * 2);
    let recording = capture.stop();
    let stalled = stalls.longest();

    println!("{sent} packets in {TIME:?}");
    assert!(sent >= AT_LEAST * TIME.as_secs(), "only {sent}");
    for node in 0..2 {
        let arrived = received[node] - received_before[node];
        println!("node {}: {arrived} arrived", node + 1);
        assert!(arrived >= sent, "{arrived} of {sent} arrived");
        for ((name, count), (_, before)) in refused[node].iter().zip(&refused_before[node]) {
            println!("node {}: {name} {}", node + 1, count - before);
            assert!(count > before, "{name} of node {}", node + 1);
        }
    }
    assert_eq!(master.states(), ["MASTER"]);
    assert_eq!(backup.states(), ["BACKUP"]);
    assert_eq!(carpds.map(Carpd::changes), changes);
    for address in [SHARED, SHARED_V6] {
        lab.await_holder(1, address, SECONDS);
    }

    for is_v4 in [true, false] {
        let packets = recording.packets.iter();
        let family = packets.filter(|packet| packet.source.is_ipv4() == is_v4);
        let times: Vec<_> = family.map(|packet| packet.at).collect();
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = pauses.max().unwrap();
        println!(
            "{} advertisements, the longest pause {longest:?}, the machine's {stalled:?}",
            times.len()
        );
        assert!(times.len() > 11, "{} advertisements", times.len());
        assert!(
            longest <= SECONDS + DELAY + stalled,
            "a pause of {longest:?}, while the machine stood still for {stalled:?}"
        );
    }

    for (before, after) in before.iter().zip(after) {
        let cpu = (after.cpu - before.cpu).as_secs_f64() / TIME.as_secs_f64();
        println!(
            "{:.1} % of one core, {} KiB of {} resident are no file's, {} before",
            cpu * 100.0,
            after.anonymous_kib,
            after.resident_kib,
            before.anonymous_kib
        );
        let growth = after.anonymous_kib.saturating_sub(before.anonymous_kib);
        assert!(growth <= GROWTH_KIB, "{growth} KiB more");
    }
}

/// What a daemon has counted of packets that it refused, for each reason that the rubbish gives.
fn refused(carpd: &Carpd) -> [(&'static str, u64); 4] {
    let stats = &carpd.status()["stats"];
    ["badauth", "badsum", "badttl", "ipackets6"].map(|name| {
        let count = stats[name].as_u64();
        (name, count.unwrap_or_else(|| panic!("{name} in {stats}")))
    })
}

/// Frames that look like advertisements, and are none: signed with another key, damaged in each
/// place that is checked, or cut short.
fn rubbish(from: &Node) -> Vec<Vec<u8>> {
    let key = Key::from_passphrase(b"guessed");
    let vhid = Vhid::new(1).expect("a vhid");
    let shared = [SHARED, SHARED_V6].map(|address| address.parse().expect("an address"));
    let authenticator = Authenticator::new(&key, vhid, &shared);
    // Better than any master, and the word of one who leaves.
    let forged = [(0, 0), (1, 0), (255, 255)].map(|(advbase, advskew)| {
        let mut payload = [0; ADVERTISEMENT_LEN];
        let advertisement = Advertisement {
            vhid,
            advbase: AdvBase::new(advbase),
            advskew: AdvSkew::from_wire(advskew),
            demote: 0,
            counter: 0x0123_4567_89ab_cdef,
        };
        authenticator.sign(&advertisement, &mut payload);
        payload
    });
    let mut frames = Vec::new();
    for payload in &forged {
        frames.push(frame_v4(from, from.ipv4(), payload));
        frames.push(frame_v6(from, from.ipv6(), payload));
    }
    let damaged = |sound: &[u8], index: usize| {
        let mut frame = sound.to_vec();
        frame[index] ^= 0xff;
        frame
    };
    let [v4, v6] = [0, 1].map(|index| frames[index].clone());
    // Header length and checksum of IP; version, length and checksum of CARP; HMAC.
    frames.extend([14, 24, 34, 37, 40, 50].map(|index| damaged(&v4, index)));
    // From behind a router, with the checksum that belongs to it.
    let mut routed = v4.clone();
    routed[22] -= 1;
    routed[24] += 1;
    frames.push(routed);
    // Version, length and hop limit of IP; the same of CARP.
    frames.extend([14, 18, 21, 54, 57, 60, 70].map(|index| damaged(&v6, index)));
    frames.extend([15, 34, 50].map(|length| v4[..length].to_vec()));
    frames.extend([15, 54, 70].map(|length| v6[..length].to_vec()));
    frames
}

fn frame_v4(from: &Node, source: Ipv4Addr, payload: &[u8; ADVERTISEMENT_LEN]) -> Vec<u8> {
    let mut packet = [0; IPV4_PACKET_LEN];
    let style = HeaderStyle::default();
    emit_ipv4(source, GROUP_V4, style, payload, &mut packet);
    let mut frame = ethernet(Mac::GROUP, from.mac(), 0x0800);
    frame.extend(packet);
    frame
}

fn frame_v6(from: &Node, source: Ipv6Addr, payload: &[u8; ADVERTISEMENT_LEN]) -> Vec<u8> {
    let mut packet = [0; IPV6_PACKET_LEN];
    let style = HeaderStyle::default();
    emit_ipv6(source, GROUP_V6, style, payload, &mut packet);
    let mut frame = ethernet(Mac::GROUP_V6, from.mac(), 0x86dd);
    frame.extend(packet);
    frame
}

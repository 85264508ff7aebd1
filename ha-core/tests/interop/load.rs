//! Many virtual hosts, and many packets that nobody asked for.

use core::net::Ipv4Addr;
use core::time::Duration;

use ha_core::carp_proto::{
    ADVERTISEMENT_LEN, AdvBase, AdvSkew, Advertisement, Authenticator, GROUP_V4, HeaderStyle,
    IPV4_PACKET_LEN, Key, Vhid, emit_ipv4,
};

use crate::SECONDS;
use crate::network::capture::Capture;
use crate::network::daemons::{Carpd, Host, SHARED};
use crate::network::packet::{Mac, ethernet, flood};
use crate::network::{Lab, Node, pass};

const LIMIT: Duration = Duration::from_secs(8);

#[test]
#[ignore = "needs root and network namespaces"]
fn every_vhid_at_once_is_cheap() {
    let lab = Lab::alone(1);
    let hosts: Vec<_> = (1..=255)
        .map(|vhid| Host {
            vhid,
            addresses: vec![format!("198.18.{vhid}.1/32")],
            ..Host::new(0)
        })
        .collect();
    let carpd = Carpd::with(&lab, 1, &hosts, "", &[]);
    carpd.await_state("MASTER", SECONDS * 15);
    pass(SECONDS * 2);

    let time = SECONDS * 20;
    let before = carpd.process().usage();
    pass(time);
    let after = carpd.process().usage();
    let states = carpd.states();
    assert_eq!(states.len(), hosts.len());
    assert!(states.iter().all(|state| state == "MASTER"), "{states:?}");

    let percent = (after.cpu - before.cpu).as_secs_f64() / time.as_secs_f64() * 100.0;
    let mib = after.resident_kib / 1024;
    println!("255 masters: {percent:.2} % of one core, {mib} MiB resident");
    assert!(percent < 2.0, "{percent:.2} % of one core");
    assert!(mib < 40, "{mib} MiB resident");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_flood_changes_nothing() {
    /// More than the 100,000 that are promised, so that a moment without a processor does not make it
    /// less.
    const ATTEMPT: u32 = 105_000;
    /// What must get out even where others need the processors, too.
    const AT_LEAST: u32 = 95_000;
    const TIME: Duration = Duration::from_secs(10);
    const DELAY: Duration = Duration::from_millis(20);

    let lab = Lab::alone(2);
    let master = Carpd::start(&lab, 1, &Host::new(0));
    master.await_state("MASTER", LIMIT);
    let backup = Carpd::start(&lab, 2, &Host::new(100));
    backup.await_state("BACKUP", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);
    let frames = rubbish(lab.client());
    // What is allocated once, on the first of such packets, is no growth.
    flood(lab.client(), &frames, 1000, SECONDS);

    let before = [&master, &backup].map(|carpd| carpd.process().usage());
    let genuine = format!("ip proto 112 and src host {}", lab.node(1).ipv4());
    let capture = Capture::of(&lab, lab.node(2).namespace(), Node::INTERFACE, &genuine);
    let sent = flood(lab.client(), &frames, ATTEMPT, TIME);
    let after = [&master, &backup].map(|carpd| carpd.process().usage());
    pass(SECONDS * 2);
    let recording = capture.stop();

    println!("{sent} packets in {TIME:?}");
    assert!(
        f64::from(sent) >= f64::from(AT_LEAST) * TIME.as_secs_f64(),
        "only {sent}"
    );
    assert_eq!(master.states(), ["MASTER"]);
    assert_eq!(backup.states(), ["BACKUP"]);
    lab.await_holder(1, SHARED, SECONDS);
    for carpd in [&master, &backup] {
        let changes = carpd.process().log().matches("MASTER").count();
        println!("{changes} lines name MASTER");
    }

    let times: Vec<_> = recording.packets.iter().map(|packet| packet.at).collect();
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = pauses.max().unwrap();
    println!(
        "{} advertisements, the longest pause {longest:?}",
        times.len()
    );
    assert!(times.len() > 11, "{} advertisements", times.len());
    assert!(longest <= SECONDS + DELAY, "a pause of {longest:?}");

    for (before, after) in before.iter().zip(after) {
        let cpu = (after.cpu - before.cpu).as_secs_f64() / TIME.as_secs_f64();
        println!(
            "{:.1} % of one core, {} KiB resident",
            cpu * 100.0,
            after.resident_kib
        );
        let growth = after.resident_kib.saturating_sub(before.resident_kib);
        assert!(growth <= 256, "{growth} KiB more");
    }
}

/// Frames that look like advertisements, and are none: signed with another key, damaged in each
/// place that is checked, or cut short.
fn rubbish(from: &Node) -> Vec<Vec<u8>> {
    let key = Key::from_passphrase(b"guessed");
    let vhid = Vhid::new(1).expect("a vhid");
    let authenticator = Authenticator::new(&key, vhid, &[SHARED.parse().expect("an address")]);
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
        frame(from, from.ipv4(), &payload)
    });
    let sound = forged[0].clone();
    let damaged = |index: usize| {
        let mut frame = sound.clone();
        frame[index] ^= 0xff;
        frame
    };
    let mut frames = forged.to_vec();
    // Header length, TTL, checksum of IP; version, length and checksum of CARP; HMAC.
    frames.extend([14, 22, 24, 34, 37, 40, 50].map(damaged));
    frames.extend([15, 34, 50].map(|length| sound[..length.max(34)].to_vec()));
    frames
}

fn frame(from: &Node, source: Ipv4Addr, payload: &[u8; ADVERTISEMENT_LEN]) -> Vec<u8> {
    let mut packet = [0; IPV4_PACKET_LEN];
    emit_ipv4(
        source,
        GROUP_V4,
        HeaderStyle::default(),
        payload,
        &mut packet,
    );
    let mut frame = ethernet(Mac::GROUP, from.mac(), 0x0800);
    frame.extend(packet);
    frame
}

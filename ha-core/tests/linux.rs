//! The Linux adapter on real interfaces, in network namespaces that each test makes and removes.
//!
//! ```sh
//! cargo test -p ha-core --all-features --test linux -- --ignored
//! ```

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

mod lab;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use ha_core::carp_proto::{
    Config, Family, GROUP_V4, GROUP_V6, HeaderStyle, IPV4_PACKET_LEN, IPV6_PACKET_LEN, Interface,
    InterfaceName, Key, State, Vhid, emit_ipv4, emit_ipv6,
};
use ha_core::io::linux::{
    AddressOptions, Addresses, Capability, EthernetSource, Leftover, LinuxError, LinuxEvent,
    MacvlanOptions, Multicast, Network, TransportOptions,
};
use ha_core::io::{Driver, Effects, Handle, HostId, Service, Setup, Transport};
use lab::{
    Lab, Node, Plan, SHARED_V4, SHARED_V6, Side, addresses, block_on, eth0, event, is_state, until,
    vhid,
};
use nix::net::if_::if_nametoindex;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What is in the advertisement does not matter here, but for the vhid.
const ADVERTISEMENT: [u8; 36] = {
    let mut bytes = [0xaa; 36];
    bytes[0] = 0x21;
    bytes[1] = 1;
    bytes
};

/// Sends one advertisement of each family from side A.
fn send(lab: &Lab, options: TransportOptions) {
    lab.run(Side::A, async {
        let network = Network::open().unwrap();
        let nic = network.interface(eth0()).await.unwrap();
        let mut transport = nic.transport(options).await.unwrap();
        for family in [Family::V4, Family::V6] {
            transport.try_send(family, &ADVERTISEMENT).unwrap();
        }
    });
}

fn packets() -> (Vec<u8>, Vec<u8>) {
    let style = HeaderStyle::default();
    let (mut v4, mut v6) = ([0; IPV4_PACKET_LEN], [0; IPV6_PACKET_LEN]);
    let source = Ipv4Addr::new(192, 0, 2, 2);
    emit_ipv4(source, GROUP_V4, style, &ADVERTISEMENT, &mut v4);
    let source = "fe80::2".parse().unwrap();
    emit_ipv6(source, GROUP_V6, style, &ADVERTISEMENT, &mut v6);
    (v4.into(), v6.into())
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn frames_are_those_of_the_specification_byte_for_byte() {
    let lab = Lab::new();
    let capture = lab.capture(Side::B);
    let own = [2, 0, 0, 0, 0, 2];
    let virtual_mac = [0, 0, 0x5e, 0, 1, 1];
    for (choice, mac_v4, mac_v6) in [
        (EthernetSource::Virtual, virtual_mac, virtual_mac),
        (EthernetSource::Rfc9568, virtual_mac, [0, 0, 0x5e, 0, 2, 1]),
        (EthernetSource::Interface, own, own),
    ] {
        let mut options = TransportOptions::default();
        options.group.ethernet_source = choice;
        send(&lab, options);
        let (v4, v6) = packets();
        let head = |destination: [u8; 6], source: [u8; 6], kind: [u8; 2], packet: Vec<u8>| {
            [&destination[..], &source[..], &kind[..], &packet[..]].concat()
        };
        let v4 = head([1, 0, 0x5e, 0, 0, 0x12], mac_v4, [8, 0], v4);
        let v6 = head([0x33, 0x33, 0, 0, 0, 0x12], mac_v6, [0x86, 0xdd], v6);
        assert_eq!(capture.advertisement(), v4, "{choice:?}");
        assert_eq!(capture.advertisement(), v6, "{choice:?}");
    }
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn each_peer_gets_unicast_from_the_real_mac() {
    let lab = Lab::new();
    lab.ip(Side::B, "addr add 192.0.2.4/24 dev eth0");
    lab.ip(Side::B, "addr add fe80::4/64 dev eth0 nodad");
    let capture = lab.capture(Side::B);
    let mut options = TransportOptions::default();
    options.group.multicast = Multicast::Off;
    // The own addresses are skipped.
    let peers = [
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.4",
        "fe80::2",
        "fe80::3",
        "fe80::4",
    ];
    options.group.peers = peers.map(|peer| peer.parse().unwrap()).into();
    send(&lab, options);
    let (v4, v6) = packets();
    for peer in ["192.0.2.3", "192.0.2.4", "fe80::3", "fe80::4"] {
        let frame = capture.advertisement();
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 2], "{peer}");
        let packet = &frame[14..];
        let (sent, to, ttl, payload) = match peer.parse().unwrap() {
            IpAddr::V4(peer) => (&v4, packet[16..20] == peer.octets(), packet[8], 20),
            IpAddr::V6(peer) => (&v6, packet[24..40] == peer.octets(), packet[7], 40),
        };
        assert_eq!(packet.len(), sent.len());
        assert!(to, "{peer} is told next: {packet:x?}");
        assert_eq!((ttl, &packet[payload..]), (255, &ADVERTISEMENT[..]));
    }
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn the_source_follows_the_addresses_of_the_interface() {
    let lab = Lab::new();
    let capture = lab.capture(Side::B);
    let node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    let source = |family: Family| {
        let kind = if family == Family::V4 { 8 } else { 0x86 };
        let is_it = |frame: &[u8]| {
            let (protocol, at) = if kind == 8 { (23, 26) } else { (20, 22) };
            frame[12] == kind && frame[protocol] == 112 && frame.len() > at
        };
        let frame = capture.next(is_it).expect("an advertisement");
        match family {
            Family::V4 => IpAddr::from(<[u8; 4]>::try_from(&frame[26..30]).unwrap()),
            Family::V6 => IpAddr::from(<[u8; 16]>::try_from(&frame[22..38]).unwrap()),
        }
    };
    assert_eq!(source(Family::V4).to_string(), "192.0.2.2");
    assert_eq!(source(Family::V6).to_string(), "fe80::2");
    lab.ip(Side::A, "addr add 192.0.2.9/24 dev eth0");
    lab.ip(Side::A, "addr del 192.0.2.2/24 dev eth0");
    lab.ip(Side::A, "addr del fe80::2/64 dev eth0");
    until("another address", || {
        let own = node.nic().addresses();
        own.iter().all(|own| own.to_string() != "192.0.2.2")
    });
    // Removing the first one of a prefix takes the others along.
    lab.ip(Side::A, "addr replace 192.0.2.9/24 dev eth0");
    until("the other address", || !node.nic().addresses().is_empty());
    until("a new source", || {
        source(Family::V4).to_string() == "192.0.2.9"
    });
    // Without an own address the shared one has to do.
    until("the shared source", || {
        source(Family::V6).to_string() == SHARED_V6
    });
    node.stop().unwrap();
}

/// An advertisement with the checksum that it needs to get further.
fn summed() -> Vec<u8> {
    let mut bytes = ADVERTISEMENT;
    bytes[6..8].fill(0);
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) & 0xffff;
    bytes[6..8].copy_from_slice(&sum.to_be_bytes()[2..]);
    bytes.into()
}

/// Sends a packet to the group from side B.
fn inject(lab: &Lab, family: Family, hops: u32, payload: Vec<u8>) {
    lab.on(Side::B, move || {
        let protocol = Some(Protocol::from(112));
        let (domain, group) = match family {
            Family::V4 => (Domain::IPV4, IpAddr::from(GROUP_V4)),
            Family::V6 => (Domain::IPV6, IpAddr::from(GROUP_V6)),
        };
        let socket = Socket::new(domain, Type::RAW, protocol).unwrap();
        match family {
            Family::V4 => {
                socket.set_multicast_ttl_v4(hops).unwrap();
                let own = Ipv4Addr::new(192, 0, 2, 3);
                socket.set_multicast_if_v4(&own).unwrap();
            }
            Family::V6 => {
                socket.set_multicast_hops_v6(hops).unwrap();
                let index = if_nametoindex("eth0").unwrap();
                socket.set_multicast_if_v6(index).unwrap();
            }
        }
        let group = SockAddr::from(SocketAddr::from((group, 0)));
        socket.send_to(&payload, &group).unwrap();
    });
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn what_can_be_counted_is_counted_and_what_is_hopeless_does_not_arrive() {
    let lab = Lab::new();
    let node = Node::start(&lab, Side::A, Plan::default());
    let stats = || block_on(node.handle.status()).unwrap().stats();
    assert_eq!(stats().ipackets + stats().ipackets6, 0);
    let mut expected = (0, 0, 0);
    for family in [Family::V4, Family::V6] {
        inject(&lab, family, 255, [0x41; 36].into());
        inject(&lab, family, 255, [0x21; 7].into());
        inject(&lab, family, 64, summed());
        inject(&lab, family, 254, summed());
        inject(&lab, family, 255, summed());
        // The last one, so that what it leads to shows that all others are read.
        inject(&lab, family, 255, ADVERTISEMENT.into());
        expected = (expected.0 + 2, expected.1 + 1, expected.2 + 1);
        until("the last packet", || stats().badsum == expected.2);
        let stats = stats();
        let counted = (stats.badttl, stats.badauth, stats.badsum);
        let arrived = match family {
            Family::V4 => stats.ipackets,
            Family::V6 => stats.ipackets6,
        };
        assert_eq!((arrived, counted), (4, expected), "{family}: {stats:?}");
    }
    node.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn nothing_comes_back_that_was_sent() {
    let lab = Lab::new();
    let mut plan = Plan::default();
    // The stack hands what it sends to a group to this machine, too.
    plan.transport.group.peers = [GROUP_V4.into()].into();
    let node = Node::start(&lab, Side::A, plan);
    node.force(State::Master);
    let stats = || block_on(node.handle.status()).unwrap().stats();
    until("three rounds of advertisements", || {
        stats().opackets >= 3 && stats().opackets6 >= 3
    });
    // The one of another host comes after all echoes there may be.
    inject(&lab, Family::V4, 255, ADVERTISEMENT.into());
    until("a packet", || stats().badsum == 1);
    assert_eq!((stats().ipackets, stats().ipackets6), (1, 0));
    node.stop().unwrap();
}

fn election(plan: fn() -> Plan) {
    let lab = Lab::new();
    let a = Node::start(&lab, Side::A, plan());
    let mut worse = plan();
    worse.advskew = 100;
    let b = Node::start(&lab, Side::B, worse);
    until("A is master", || a.state() == State::Master);
    until("A has the addresses", || lab.has_both(Side::A));
    assert_eq!(b.state(), State::Backup);
    assert!(lab.has_none(Side::B));
    let begin = Instant::now();
    a.stop().unwrap();
    until("B has the addresses", || lab.has_both(Side::B));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(lab.has_none(Side::A));
    b.stop().unwrap();
    assert!(lab.has_none(Side::B));
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn two_nodes_agree_over_multicast() {
    election(Plan::default);
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn two_nodes_agree_over_unicast() {
    election(|| {
        let mut plan = Plan::default();
        plan.transport.group.multicast = Multicast::Off;
        let peers = ["192.0.2.2", "192.0.2.3", "fe80::2", "fe80::3"];
        plan.transport.group.peers = peers.map(|peer| peer.parse().unwrap()).into();
        plan
    });
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn two_nodes_agree_with_macvlans() {
    election(|| {
        let mut plan = Plan::default();
        plan.addresses.macvlan = Some(MacvlanOptions::default());
        plan
    });
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn an_address_lives_while_the_driver_does_and_no_longer() {
    let lab = Lab::new();
    let mut plan = Plan::default();
    plan.addresses.prefixes = addresses()
        .map(|a| (a, if a.is_ipv4() { 24 } else { 64 }))
        .into();
    let mut node = Node::start(&lab, Side::A, plan);
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        assert!(lab.has_both(Side::A));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        lab.ip(Side::A, "addr show")
            .matches("valid_lft 1sec")
            .count(),
        2
    );

    let hang = node.hang();
    let gone = until("they are gone", || lab.has_none(Side::A));
    assert!(gone < Duration::from_millis(2100), "{gone:?}");
    assert!(gone > Duration::from_millis(500), "{gone:?}");

    // As nobody else took over, they come back.
    drop(hang);
    until("they are back", || lab.has_both(Side::A));
    event(&mut node.events, |e| matches!(e, LinuxEvent::Late { .. }));
    node.stop().unwrap();
    assert!(lab.has_none(Side::A));
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn an_address_that_somebody_removes_is_restored_and_announced() {
    let lab = Lab::new();
    let mut node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    let capture = lab.capture(Side::B);
    lab.ip(Side::A, "addr del 192.0.2.1/32 dev eth0");
    let restored = |e: &LinuxEvent| matches!(e, LinuxEvent::Restored { .. });
    event(&mut node.events, restored);
    assert!(lab.has_both(Side::A));
    let arp = capture
        .next(|frame| frame[12..14] == [8, 6])
        .expect("an announcement");
    // The MAC from which the kernel answers, not the virtual one.
    let own = [2, 0, 0, 0, 0, 2];
    assert_eq!(
        (&arp[6..12], &arp[22..28], &arp[28..32]),
        (&own[..], &own[..], &[192, 0, 2, 1][..])
    );

    lab.ip(Side::A, "addr del 2001:db8::1/128 dev eth0");
    event(&mut node.events, restored);
    assert!(lab.has_both(Side::A));
    let is_announcement = |frame: &[u8]| frame[12..14] == [0x86, 0xdd] && frame[54] == 136;
    let announcement = capture.next(is_announcement).expect("an announcement");
    assert_eq!(
        (&announcement[6..12], &announcement[80..86]),
        (&own[..], &own[..])
    );
    assert_eq!(announcement[58] & 0xa0, 0x20, "override, no router");
    node.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn an_address_that_somebody_adds_to_a_backup_is_reported() {
    let lab = Lab::new();
    let a = Node::start(&lab, Side::A, Plan::default());
    a.force(State::Master);
    let mut b = Node::start(
        &lab,
        Side::B,
        Plan {
            advskew: 100,
            ..Plan::default()
        },
    );
    until("B is backup", || b.state() == State::Backup);
    for address in ["192.0.2.1/24", "2001:db8::1/64"] {
        lab.ip(Side::B, &format!("addr add {address} dev eth0"));
        let found = event(&mut b.events, |e| matches!(e, LinuxEvent::Foreign { .. }));
        let line = found.to_string();
        assert!(line.contains(&address[..address.len() - 3]), "{line}");
    }
    assert!(lab.has_both(Side::B));
    b.stop().unwrap();
    a.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn a_leftover_address_is_removed_unless_it_is_to_be_kept() {
    let lab = Lab::new();
    let other = Node::start(&lab, Side::B, Plan::default());
    other.force(State::Master);
    lab.ip(Side::A, "addr add 192.0.2.1/24 dev eth0");
    lab.ip(Side::A, "addr add 2001:db8::1/64 dev eth0 nodad");
    let mut plan = Plan {
        advskew: 100,
        ..Plan::default()
    };
    plan.addresses.leftover = Leftover::Keep;
    let node = Node::start(&lab, Side::A, plan);
    until("a backup", || node.state() == State::Backup);
    assert!(lab.has_both(Side::A));
    drop(node);
    lab.ip(Side::A, "addr replace 192.0.2.1/24 dev eth0");
    lab.ip(Side::A, "addr replace 2001:db8::1/64 dev eth0 nodad");
    let node = Node::start(
        &lab,
        Side::A,
        Plan {
            advskew: 100,
            ..Plan::default()
        },
    );
    assert!(lab.has_none(Side::A));
    node.stop().unwrap();
    other.stop().unwrap();
}

/// Has side B find the MAC of the shared address, and returns it.
fn neighbour(lab: &Lab) -> String {
    lab.ip(Side::B, "neigh flush dev eth0");
    lab.on(Side::B, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"?", (SHARED_V4, 9)).unwrap();
    });
    let entry = || lab.ip(Side::B, &format!("neigh show {SHARED_V4}"));
    until("an answer", || entry().contains("lladdr"));
    entry()
        .split_whitespace()
        .skip_while(|w| *w != "lladdr")
        .nth(1)
        .unwrap()
        .to_owned()
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn with_a_macvlan_the_virtual_mac_answers_and_without_it_the_real_one() {
    let lab = Lab::new();
    lab.ip(Side::B, "addr add 192.0.2.200/24 dev eth0");
    let node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    assert_eq!(neighbour(&lab), "02:00:00:00:00:02");
    node.stop().unwrap();

    let mut plan = Plan::default();
    plan.addresses.macvlan = Some(MacvlanOptions::default());
    // As a process that was killed leaves it.
    lab.ip(
        Side::A,
        "link add carp1.2 link eth0 type macvlan mode bridge",
    );
    lab.ip(Side::A, "link set carp1.2 up");
    let node = Node::start(&lab, Side::A, plan);
    let link = |what: &str| lab.ip(Side::A, &format!("-o link show type macvlan {what}"));
    assert_eq!(link("").lines().count(), 1);
    assert!(link("").contains("00:00:5e:00:01:01"));
    assert!(link("up").is_empty());
    let capture = lab.capture(Side::B);
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    assert!(link("up").contains("carp1."));
    let arp = capture
        .next(|f| f[12..14] == [8, 6])
        .expect("an announcement");
    assert_eq!(arp[22..28], [0, 0, 0x5e, 0, 1, 1]);
    assert_eq!(neighbour(&lab), "00:00:5e:00:01:01");

    // The other addresses keep the other MAC.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        assert!(lab.has_both(Side::A));
        thread::sleep(Duration::from_millis(20));
    }
    // Even if the interface is deleted, it comes back.
    let name = link("")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .split('@')
        .next()
        .unwrap()
        .to_owned();
    lab.ip(Side::A, &format!("link del {name}"));
    until("it is back", || {
        lab.has_both(Side::A) && !link("up").is_empty()
    });
    assert_eq!(neighbour(&lab), "00:00:5e:00:01:01");

    let ignore = || {
        lab.on(Side::A, || {
            std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_ignore").unwrap()
        })
    };
    assert_eq!(ignore(), "1\n");
    node.stop().unwrap();
    assert_eq!((link(""), ignore()), (String::new(), "0\n".to_owned()));
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn link_and_administration_are_told_to_the_driver() {
    let lab = Lab::new();
    let mut node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    let is = |wanted| move |event: &LinuxEvent| is_state(event, wanted);

    lab.ip(Side::B, "link set eth0 down");
    // The kernel itself may take a second to tell of a carrier.
    event(&mut node.events, is(Interface::NoCarrier));
    let since = Instant::now();
    until("it steps down", || node.state() == State::Init);
    until("no address", || lab.has_none(Side::A));
    // Far from any interval, while other tests keep the machine busy.
    let took = since.elapsed();
    assert!(took <= Duration::from_millis(500), "{took:?}");
    assert_eq!(node.nic().state(), Interface::NoCarrier);
    lab.ip(Side::B, "link set eth0 up");
    event(&mut node.events, is(Interface::Up));
    until("it takes part", || node.state() != State::Init);
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    lab.ip(Side::A, "link set eth0 down");
    event(&mut node.events, is(Interface::Down));
    until("it rests", || node.state() == State::Init);
    until("no address", || lab.has_none(Side::A));
    lab.ip(Side::A, "link set eth0 up");
    event(&mut node.events, is(Interface::Up));
    until("it takes part", || node.state() != State::Init);
    node.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn an_interface_that_is_deleted_is_followed_when_it_comes_back() {
    let lab = Lab::new();
    let mut node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    lab.ip(Side::A, "link del eth0");
    event(&mut node.events, |e| matches!(e, LinuxEvent::Gone { .. }));
    until("it rests", || node.state() == State::Init);
    lab.plug();
    event(&mut node.events, |e| matches!(e, LinuxEvent::Back { .. }));
    until("it takes part", || node.state() != State::Init);
    let other = Node::start(
        &lab,
        Side::B,
        Plan {
            advskew: 100,
            ..Plan::default()
        },
    );
    until("it is the master", || node.state() == State::Master);
    until("it has the addresses", || lab.has_both(Side::A));
    // It is heard by its new sockets, and hears by them.
    assert_eq!(other.state(), State::Backup);
    until("it is heard", || {
        block_on(other.handle.status()).unwrap().stats().ipackets > 0
    });
    node.stop().unwrap();
    until("B has the addresses", || lab.has_both(Side::B));
    other.stop().unwrap();
}

/// A parameter of the IPv4 stack for `eth0` on side A.
fn parameter(lab: &Lab, name: &'static str) -> String {
    lab.on(Side::A, move || {
        let path = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    })
}

/// Starts a driver on side A with a virtual host for each of `plans`: an address of its own, and
/// how it is put there.
fn several(
    lab: &Lab,
    plans: Vec<(IpAddr, AddressOptions)>,
) -> (Handle, Vec<HostId>, thread::JoinHandle<()>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = lab.spawn(Side::A, move || {
        block_on(async {
            let network = Network::open().unwrap();
            let nic = network.interface(eth0()).await.unwrap();
            let mut driver = Driver::default();
            let transport = nic.transport(TransportOptions::default()).await.unwrap();
            let segment = driver.add_segment(transport);
            let mut hosts = Vec::new();
            for (id, (address, options)) in (1..).zip(plans) {
                let vhid = Vhid::new(id).unwrap();
                let effects = nic.effects(vhid, options).await.unwrap();
                let key = Key::from_passphrase(b"secret");
                let setup = Setup::new(Config::new(vhid), key, &[address], effects);
                hosts.push(driver.add(segment, setup).unwrap());
            }
            let keeper = network.keep(driver.handle(), [(nic, segment)].into());
            let keeper = tokio::spawn(keeper);
            sender.send((driver.handle(), hosts)).unwrap();
            driver.run().await.unwrap();
            keeper.await.unwrap().unwrap();
        });
    });
    let (handle, hosts) = receiver.recv().expect("the driver to start");
    (handle, hosts, thread)
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn the_other_addresses_of_a_prefix_outlive_a_shared_one() {
    let lab = Lab::new();
    lab.on(Side::A, || {
        let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
        std::fs::write(path, "0").unwrap();
    });
    let plan = |last: u8| {
        let address = IpAddr::from([10, 9, 0, last]);
        let mut options = AddressOptions::default();
        options.prefixes = [(address, 24)].into();
        (address, options)
    };
    let (handle, hosts, thread) = several(&lab, [plan(1), plan(2)].into());
    block_on(handle.force(hosts[0], State::Master)).unwrap();
    until("the first", || lab.has(Side::A, "10.9.0.1"));
    block_on(handle.force(hosts[1], State::Master)).unwrap();
    until("the second", || lab.has(Side::A, "10.9.0.2"));
    lab.ip(Side::A, "addr add 10.9.0.200/24 dev eth0");
    assert_eq!(parameter(&lab, "promote_secondaries"), "1");

    block_on(handle.remove(hosts[0])).unwrap();
    until("the first is gone", || !lab.has(Side::A, "10.9.0.1"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        assert!(lab.has(Side::A, "10.9.0.2"));
        assert!(lab.has(Side::A, "10.9.0.200"));
    }
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
    assert!(!lab.has(Side::A, "10.9.0.2"));
    assert!(lab.has(Side::A, "10.9.0.200"));
    assert_eq!(parameter(&lab, "promote_secondaries"), "0");
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn what_the_kernel_removes_along_with_an_address_is_restored() {
    let lab = Lab::new();
    let plan = |last: u8| {
        let address = IpAddr::from([10, 9, 0, last]);
        let mut options = AddressOptions::default();
        options.prefixes = [(address, 24)].into();
        options.lifetime = None;
        (address, options)
    };
    let (handle, hosts, thread) = several(&lab, [plan(1), plan(2)].into());
    // As if it could not be raised.
    lab.on(Side::A, || {
        let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
        std::fs::write(path, "0").unwrap();
    });
    block_on(handle.force(hosts[0], State::Master)).unwrap();
    until("the first", || lab.has(Side::A, "10.9.0.1"));
    block_on(handle.force(hosts[1], State::Master)).unwrap();
    until("the second", || lab.has(Side::A, "10.9.0.2"));
    block_on(handle.remove(hosts[0])).unwrap();
    until("the first is gone", || !lab.has(Side::A, "10.9.0.1"));
    until("the second is back", || lab.has(Side::A, "10.9.0.2"));
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn however_many_are_dropped_at_once_nothing_is_left_behind() {
    let lab = Lab::new();
    lab.run(Side::A, async {
        let network = Network::open().unwrap();
        let nic = network.interface(eth0()).await.unwrap();
        let mut all = Vec::new();
        for id in 1..=100 {
            let mut options = AddressOptions::default();
            options.macvlan = Some(MacvlanOptions::default());
            let vhid = Vhid::new(id).unwrap();
            all.push(nic.effects(vhid, options).await.unwrap());
        }
        drop(all);
    });
    assert_eq!(lab.ip(Side::A, "-o link show type macvlan"), "");
    assert_eq!(parameter(&lab, "arp_ignore"), "0");
    assert_eq!(parameter(&lab, "arp_announce"), "0");
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn an_address_is_released_with_whatever_prefix_it_has() {
    let lab = Lab::new();
    for address in ["192.0.2.1/24", "192.0.2.1/25", "2001:db8::1/64"] {
        lab.ip(Side::A, &format!("addr add {address} dev eth0"));
    }
    let mut plan = Plan::default();
    plan.addresses.leftover = Leftover::Keep;
    plan.addresses.lifetime = None;
    let node = Node::start(&lab, Side::A, plan);
    node.force(State::Master);
    until("the one of ours", || {
        lab.ip(Side::A, "addr show dev eth0")
            .contains("192.0.2.1/32")
    });
    node.stop().unwrap();
    assert!(lab.has_none(Side::A));
}

/// Effects that choose other lengths of prefixes from the second time on.
struct Changing {
    addresses: Addresses,
    lengths: [[u8; 2]; 2],
    round: usize,
}

#[async_trait::async_trait]
impl Effects for Changing {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        let lengths = self.lengths[self.round.min(1)];
        self.round += 1;
        let prefixes: Vec<_> = addresses().into_iter().zip(lengths).collect();
        self.addresses.set_prefixes(&prefixes).unwrap();
        self.addresses.acquire(service).await
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        let begin = Instant::now();
        let result = self.addresses.release(service).await;
        println!("released in {:?}", begin.elapsed());
        result
    }

    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()> {
        self.addresses.announce(service, family).await
    }
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn another_prefix_takes_the_place_of_the_one_before() {
    let lab = Lab::new();
    let show = |address: &str| {
        let lines = lab.ip(Side::A, &format!("-o addr show to {address}"));
        let places = lines.lines().filter_map(|l| l.split_whitespace().nth(3));
        places.map(str::to_owned).collect::<Vec<_>>()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = lab.spawn(Side::A, move || {
        block_on(async {
            let network = Network::open().unwrap();
            let nic = network.interface(eth0()).await.unwrap();
            let mut driver = Driver::default();
            let transport = nic.transport(TransportOptions::default()).await.unwrap();
            let segment = driver.add_segment(transport);
            let addresses = nic.effects(vhid(), AddressOptions::default()).await;
            let effects = Changing {
                addresses: addresses.unwrap(),
                lengths: [[32, 128], [24, 64]],
                round: 0,
            };
            let key = Key::from_passphrase(b"secret");
            let setup = Setup::new(Config::new(vhid()), key, &lab::addresses(), effects);
            let host = driver.add(segment, setup).unwrap();
            let keeper = network.keep(driver.handle(), [(nic, segment)].into());
            let keeper = tokio::spawn(keeper);
            sender.send((driver.handle(), host)).unwrap();
            driver.run().await.unwrap();
            keeper.await.unwrap().unwrap();
        });
    });
    let (handle, host) = receiver.recv().unwrap();
    block_on(handle.force(host, State::Master)).unwrap();
    until("the first lengths", || {
        show(SHARED_V4) == ["192.0.2.1/32"] && show(SHARED_V6) == ["2001:db8::1/128"]
    });
    let [v4, v6] = addresses();
    let all = [v4, v6, "192.0.2.77".parse().unwrap()];
    block_on(handle.set_addresses(host, &all)).unwrap();
    until("one more", || lab.has(Side::A, "192.0.2.77"));
    let is_other = || show(SHARED_V4) == ["192.0.2.1/24"] && show(SHARED_V6) == ["2001:db8::1/64"];
    until("the other lengths", is_other);
    // For longer than the first ones would have lived.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert!(is_other());
    }
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
    assert!(lab.has_none(Side::A));
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn a_macvlan_that_somebody_switches_off_is_switched_on_again() {
    let lab = Lab::new();
    let mut options = AddressOptions::default();
    options.macvlan = Some(MacvlanOptions::default());
    let (handle, hosts, thread) = several(&lab, [(addresses()[0], options)].into());
    block_on(handle.force(hosts[0], State::Master)).unwrap();
    let is_up = || !lab.ip(Side::A, "-o link show type macvlan up").is_empty();
    until("it is up", || is_up() && lab.has(Side::A, SHARED_V4));
    lab.ip(Side::A, "link set carp1.2 down");
    until("it is up again", is_up);
    assert!(lab.has(Side::A, SHARED_V4));
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn a_dropped_transport_is_closed_by_the_thread_and_not_opened_again() {
    let lab = Lab::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = lab.spawn(Side::A, move || {
        block_on(async {
            let network = Network::open().unwrap();
            let nic = network.interface(eth0()).await.unwrap();
            let driver = Driver::default();
            let mut fastest = Duration::MAX;
            for _ in 0..5 {
                let transport = nic.transport(TransportOptions::default()).await.unwrap();
                let begin = Instant::now();
                drop(transport);
                fastest = fastest.min(begin.elapsed());
            }
            let keeper = tokio::spawn(network.keep(driver.handle(), Vec::new()));
            let events = network.events();
            sender.send((driver.handle(), events, fastest)).unwrap();
            driver.run().await.unwrap();
            keeper.await.unwrap().unwrap();
        });
    });
    let (handle, mut events, fastest) = receiver.recv().unwrap();
    println!("dropped in {fastest:?}");
    assert!(fastest < Duration::from_millis(2), "{fastest:?}");
    lab.ip(Side::A, "link del eth0");
    event(&mut events, |e| matches!(e, LinuxEvent::Gone { .. }));
    lab.plug();
    event(&mut events, |e| matches!(e, LinuxEvent::Back { .. }));
    let raw = lab.on(Side::A, || {
        std::fs::read_to_string("/proc/thread-self/net/raw").unwrap()
    });
    assert_eq!(raw.lines().count(), 1, "{raw}");
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn what_another_host_took_over_does_not_come_back() {
    let lab = Lab::new();
    let worse = Plan {
        advskew: 100,
        ..Plan::default()
    };
    let a = Node::start(&lab, Side::A, worse);
    a.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    let b = Node::start(&lab, Side::B, Plan::default());
    until("B is backup", || b.state() == State::Backup);
    let hang = a.hang();
    until("B has the addresses", || lab.has_both(Side::B));
    assert!(lab.has_none(Side::A));

    let capture = lab.capture(Side::B);
    drop(hang);
    until("A is backup", || a.state() == State::Backup);
    // For longer than it takes to announce an address again.
    let claim = capture.within(Duration::from_secs(2), |frame| frame[12..14] == [8, 6]);
    assert_eq!(claim, None);
    assert!(lab.has_none(Side::A));
    a.stop().unwrap();
    b.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn lost_events_are_made_up_for() {
    let lab = Lab::new();
    let mut node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));
    let hang = node.hang();
    until("they are gone", || lab.has_none(Side::A));
    let lines = (0..4000).map(|n| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        format!("addr add 10.1.{high}.{low}/32 dev eth0\n")
    });
    let batch = std::env::temp_dir().join(format!("{}-batch", lab.name(Side::A)));
    std::fs::write(&batch, lines.collect::<String>()).unwrap();
    lab.ip(Side::A, &format!("-batch {}", batch.display()));
    std::fs::remove_file(batch).unwrap();
    lab.ip(Side::A, "link set eth0 mtu 1400");
    drop(hang);
    event(&mut node.events, |e| matches!(e, LinuxEvent::Overrun));
    until("they are back", || lab.has_both(Side::A));
    until("all are known", || node.nic().addresses().len() == 4002);
    node.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn a_port_that_leaves_a_bridge_is_not_gone() {
    let lab = Lab::new();
    let mut node = Node::start(&lab, Side::A, Plan::default());
    lab.ip(Side::A, "link add br0 type bridge");
    lab.ip(Side::A, "link set eth0 master br0");
    lab.ip(Side::A, "link set eth0 nomaster");
    lab.ip(Side::A, "link set eth0 down");
    let first =
        |e: &LinuxEvent| !matches!(e, LinuxEvent::Link { state, .. } if *state == Interface::Up);
    let said = event(&mut node.events, first);
    assert!(is_state(&said, Interface::Down), "{said}");
    node.stop().unwrap();
}

#[test]
#[ignore = "needs root: drops capabilities"]
fn a_missing_capability_is_named() {
    for (dropped, named) in [
        (CapabilitySet::NET_RAW, Capability::NetRaw),
        (CapabilitySet::NET_ADMIN, Capability::NetAdmin),
    ] {
        // Capabilities are those of a thread.
        let thread = thread::spawn(move || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(dropped);
            sets.permitted.remove(dropped);
            set_capabilities(None, sets).unwrap();
            Network::open().unwrap_err()
        });
        let error = thread.join().unwrap();
        assert!(
            matches!(error, LinuxError::MissingCapability { capability } if capability == named),
            "{error}"
        );
        assert_eq!(error.to_string(), format!("missing capability {named}"));
    }
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn faults_of_the_configuration_are_named() {
    let lab = Lab::new();
    lab.ip(Side::A, "link add carp1.2 type veth peer name other");
    lab.run(Side::A, async {
        let network = Network::open().unwrap();
        let named = |name| InterfaceName::new(name).unwrap();
        let error = network.interface(named("eth9")).await.unwrap_err();
        assert_eq!(error.to_string(), "no interface eth9");
        let error = network.interface(named("lo")).await.unwrap_err();
        assert_eq!(error.to_string(), "interface lo has no Ethernet address");

        let nic = network.interface(eth0()).await.unwrap();
        let mut options = AddressOptions::default();
        options.prefixes = [(IpAddr::from([192, 0, 2, 1]), 33)].into();
        let error = nic.effects(vhid(), options).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "prefix length 33 of 192.0.2.1 is too long"
        );
        let mut macvlan = MacvlanOptions::default();
        macvlan.name = Some(named("carp1.2"));
        let mut options = AddressOptions::default();
        options.macvlan = Some(macvlan);
        let error = nic.effects(vhid(), options).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface carp1.2 exists and is no macvlan on eth0"
        );
        let _first = nic
            .effects(vhid(), AddressOptions::default())
            .await
            .unwrap();
        let error = nic
            .effects(vhid(), AddressOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "vhid 1 has effects on eth0 already");
    });
}

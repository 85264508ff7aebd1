//! `carpd` among its own: families, unicast, several virtual hosts, and what may happen to a
//! process, an interface or an address.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use ha_core::carp_proto::GROUP_V4;
use nix::sys::signal::Signal;

use crate::SECONDS;
use crate::network::capture::{Capture, Recording};
use crate::network::daemons::{Carpd, Host, Launch, SHARED, carpd_with_only};
use crate::network::packet::Mac;
use crate::network::{Lab, pass, time_until, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(8);
const SHARED_V6: &str = "2001:db8::1";
/// In which an address disappears that nobody refreshes.
const LIFETIME: Duration = Duration::from_millis(2100);

/// Node 1 as the master, node 2 as its backup. What `change` says holds for both.
fn pair(lab: &Lab, change: impl Fn(&mut Host)) -> (Carpd, Carpd) {
    let start = |node, advskew| {
        let mut host = Host::new(advskew);
        change(&mut host);
        Carpd::start(lab, node, &host)
    };
    let master = start(1, 0);
    master.await_state("MASTER", LIMIT);
    let backup = start(2, 100);
    backup.await_state("BACKUP", LIMIT);
    (master, backup)
}

/// Checks that the address moves with its neighbour entry at a client which never asks again.
fn moves(lab: &Lab, addresses: &[&str], pair: (Carpd, Carpd)) {
    let (master, backup) = pair;
    for address in addresses {
        lab.await_holder(1, address, LIMIT);
        lab.client().greet(address);
        wait_until("the client to find the master", LIMIT, || {
            lab.client().neighbour(address) == Some(lab.node(1).mac())
        });
    }
    lab.unplug(1);
    master.kill();
    backup.await_state("MASTER", LIMIT);
    for address in addresses {
        wait_for(
            LIMIT,
            || {
                format!(
                    "{address} to move, not {:?}",
                    lab.client().neighbour(address)
                )
            },
            || lab.client().neighbour(address) == Some(lab.node(2).mac()),
        );
        lab.await_takeover(2, address, LIMIT);
    }
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn ipv6_alone() {
    let lab = Lab::new(2);
    let capture = Capture::start(&lab);
    let pair = pair(&lab, |host| {
        host.addresses = vec![format!("{SHARED_V6}/64")];
    });
    moves(&lab, &[SHARED_V6], pair);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let group = "ff02::12".parse::<IpAddr>().unwrap();
    assert!(
        recording
            .packets
            .iter()
            .all(|packet| packet.destination == group)
    );
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn both_families() {
    let lab = Lab::new(2);
    let capture = Capture::start(&lab);
    let pair = pair(&lab, |host| {
        host.addresses.push(format!("{SHARED_V6}/64"));
    });
    moves(&lab, &[SHARED, SHARED_V6], pair);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let (v4, v6): (Vec<_>, Vec<_>) = recording
        .packets
        .iter()
        .partition(|packet| packet.source.is_ipv4());
    assert!(
        v4.len().abs_diff(v6.len()) <= 1,
        "{} and {}",
        v4.len(),
        v6.len()
    );
}

/// Has three nodes send to each other alone, and returns them in the order of their worth.
fn three_peers(lab: &Lab, multicast: bool) -> [Carpd; 3] {
    let start = |node: u8| {
        let others = lab.nodes().iter().filter(|other| other.number() != node);
        let peers: Vec<_> = others.map(|other| other.ipv4().to_string()).collect();
        let host = Host {
            more: format!("multicast = {multicast}\npeers = {peers:?}\n"),
            ..Host::new(100 * (node - 1))
        };
        Carpd::start(lab, node, &host)
    };
    let first = start(1);
    first.await_state("MASTER", LIMIT);
    let others = [2, 3].map(start);
    for other in &others {
        other.await_state("BACKUP", LIMIT);
    }
    let [second, third] = others;
    [first, second, third]
}

/// The destinations of what a node sends, in a row of turns that are all the same.
fn destinations(lab: &Lab, recording: &Recording, node: u8) -> Vec<IpAddr> {
    let sent = recording.from(lab.node(node).ipv4());
    let all: Vec<_> = sent.iter().map(|packet| packet.destination).collect();
    let mut one: Vec<_> = all.clone();
    one.sort_unstable();
    one.dedup();
    assert!(all.len() >= 2 * one.len(), "{all:?}");
    for turn in all.chunks_exact(one.len()) {
        let mut turn = turn.to_vec();
        turn.sort_unstable();
        assert_eq!(turn, one, "everybody is told each time: {all:?}");
    }
    one
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn unicast_alone_reaches_each_peer() {
    let lab = Lab::new(3);
    let address = |node| IpAddr::from(lab.node(node).ipv4());
    let [first, second, third] = three_peers(&lab, false);
    let capture = Capture::start(&lab);
    pass(SECONDS * 5);
    assert_eq!((second.states(), third.states()), backups());
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    recording.assert_all_from(lab.node(1).ipv4());
    assert_eq!(destinations(&lab, &recording, 1), [address(2), address(3)]);

    lab.await_holder(1, SHARED, LIMIT);
    lab.unplug(1);
    first.kill();
    second.await_state("MASTER", LIMIT);
    lab.await_takeover(2, SHARED, LIMIT);
    let capture = Capture::start(&lab);
    // The third would have taken over by now if it heard nothing.
    pass(SECONDS * 5);
    let recording = capture.stop();
    recording.assert_all_from(lab.node(2).ipv4());
    assert_eq!(destinations(&lab, &recording, 2), [address(1), address(3)]);
    assert_eq!(third.states(), ["BACKUP"]);
    let changes = third.changes();
    assert!(
        !changes.iter().any(|change| change.contains("MASTER")),
        "{changes:?}"
    );
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn unicast_goes_beside_multicast() {
    let lab = Lab::new(3);
    let _carpds = three_peers(&lab, true);
    let capture = Capture::start(&lab);
    pass(SECONDS * 4);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let expected = [lab.node(2).ipv4(), lab.node(3).ipv4(), GROUP_V4];
    assert_eq!(
        destinations(&lab, &recording, 1),
        expected.map(IpAddr::from)
    );
}

fn backups() -> (Vec<String>, Vec<String>) {
    let backup = || vec!["BACKUP".to_owned()];
    (backup(), backup())
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_the_virtual_mac_advertisements_come_from_that_of_the_interface() {
    let lab = Lab::new(1);
    let own = lab.node(1).mac();
    for (line, expected) in [
        ("", Mac([0, 0, 0x5e, 0, 1, 1])),
        ("virtual_mac = false", own),
    ] {
        let launch = Launch {
            interface: line,
            ..Launch::default()
        };
        let mut host = Host::new(0);
        host.addresses.push(format!("{SHARED_V6}/64"));
        let carpd = Carpd::launch(&lab, 1, &[host], &launch);
        carpd.await_state("MASTER", LIMIT);
        let capture = Capture::start(&lab);
        pass(SECONDS * 2);
        let recording = capture.stop();
        for is_v4 in [true, false] {
            let packets = recording.packets.iter();
            let mut macs: Vec<_> = packets
                .filter(|packet| packet.source.is_ipv4() == is_v4)
                .map(|packet| packet.mac)
                .collect();
            macs.dedup();
            assert_eq!(macs, [expected], "{line:?}");
        }
        carpd.stop();
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_new_master_tells_its_neighbours_five_times() {
    // Who asks himself for his address, and a neighbour advertisement of one that ends in 1.
    const ARP: &str = "arp and arp[14:4] = 0xc0000201 and arp[24:4] = 0xc0000201";
    const NDP: &str = "icmp6 and ip6[40] = 136 and ip6[48:4] = 0x20010db8 and ip6[60:4] = 1";
    // The only one that runs, as it looks at the clock.
    let lab = Lab::alone(1);
    let filter = format!("({ARP}) or ({NDP})");
    let capture = Capture::of(&lab, lab.switch(), "br0", &filter);
    let mut host = Host::new(0);
    host.addresses.push(format!("{SHARED_V6}/64"));
    let carpd = Carpd::start(&lab, 1, &host);
    carpd.await_state("MASTER", LIMIT);
    pass(SECONDS * 4);
    carpd.stop();
    let frames = capture.frames();
    for kind in [[0x08, 0x06], [0x86, 0xdd]] {
        let family = frames.iter().filter(|frame| frame.octets[12..14] == kind);
        let times: Vec<_> = family.map(|frame| frame.at).collect();
        assert_eq!(times.len(), 5, "{kind:x?}: {times:?}");
        for pair in times.windows(2) {
            let pause = pair[1] - pair[0];
            assert!(
                pause.abs_diff(SECONDS / 2) <= SECONDS / 5,
                "a pause of {pause:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn two_virtual_hosts_share_an_interface() {
    const OTHER: &str = "192.0.2.2";
    let lab = Lab::new(2);
    let hosts = |first, second| {
        let other = Host {
            vhid: 2,
            addresses: vec![format!("{OTHER}/24")],
            ..Host::new(second)
        };
        [Host::new(first), other]
    };
    let one = Carpd::launch(&lab, 1, &hosts(0, 100), &Launch::default());
    let two = Carpd::launch(&lab, 2, &hosts(100, 0), &Launch::default());
    lab.await_holder(1, SHARED, LIMIT);
    lab.await_holder(2, OTHER, LIMIT);
    wait_until("each to be the master of one", LIMIT, || {
        one.states() == ["MASTER", "BACKUP"] && two.states() == ["BACKUP", "MASTER"]
    });

    one.stop();
    two.await_state("MASTER", SECONDS);
    lab.await_holder(2, SHARED, SECONDS);
    lab.await_holder(2, OTHER, SECONDS);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_macvlan_the_address_has_the_mac_of_the_interface() {
    let lab = Lab::new(1);
    let mut host = Host::new(0);
    host.addresses.push(format!("{SHARED_V6}/64"));
    let carpd = Carpd::start(&lab, 1, &host);
    carpd.await_state("MASTER", LIMIT);
    for address in [SHARED, SHARED_V6] {
        lab.await_holder(1, address, LIMIT);
        assert_eq!(lab.answers(address), [lab.node(1).mac()], "{address}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn with_macvlan_the_mac_moves_with_the_address() {
    let lab = Lab::new(2);
    let virtual_mac = Mac([0, 0, 0x5e, 0, 1, 1]);
    let (master, backup) = pair(&lab, |host| {
        host.addresses.push(format!("{SHARED_V6}/64"));
        host.more = "macvlan = true\n".to_owned();
    });
    for address in [SHARED, SHARED_V6] {
        lab.await_holder(1, address, LIMIT);
        assert_eq!(lab.answers(address), [virtual_mac], "{address}");
    }

    master.stop();
    backup.await_state("MASTER", SECONDS);
    for address in [SHARED, SHARED_V6] {
        lab.await_holder(2, address, SECONDS);
        assert_eq!(lab.answers(address), [virtual_mac], "{address}");
    }
    let left = lab.node(1).macs();
    assert!(
        !left.contains(&virtual_mac),
        "removed with the daemon: {left:?}"
    );
}

#[test]
#[ignore = "needs root and network namespaces"]
fn killed_or_frozen_the_daemon_loses_its_addresses() {
    let lab = Lab::new(1);
    let mut host = Host::new(0);
    host.addresses.push(format!("{SHARED_V6}/64"));
    let gone = || {
        time_until("the addresses to disappear", LIMIT, || {
            let addresses = lab.node(1).addresses();
            !addresses
                .iter()
                .any(|own| own == SHARED || own == SHARED_V6)
        })
    };
    let start = || {
        let carpd = Carpd::start(&lab, 1, &host);
        carpd.await_state("MASTER", LIMIT);
        lab.await_holder(1, SHARED, LIMIT);
        lab.await_holder(1, SHARED_V6, LIMIT);
        carpd
    };

    start().kill();
    let killed = gone();
    assert!(killed <= LIFETIME, "killed, gone after {killed:?}");

    let carpd = start();
    carpd.process().signal(Signal::SIGSTOP);
    let frozen = gone();
    assert!(frozen <= LIFETIME, "frozen, gone after {frozen:?}");

    carpd.process().signal(Signal::SIGCONT);
    lab.await_holder(1, SHARED, LIMIT);
    lab.await_holder(1, SHARED_V6, LIMIT);
    carpd.await_state("MASTER", LIMIT);
}

/// For what is to happen at once: without any dead time, timer or second look.
const AT_ONCE: Duration = Duration::from_millis(100);

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_that_goes_down_costs_the_address_until_it_is_up() {
    // The only one that runs, as it looks at the clock.
    let lab = Lab::alone(2);
    let (master, backup) = pair(&lab, |_| ());
    lab.await_holder(1, SHARED, LIMIT);
    let steps_down = || {
        // The kernel itself may take a second to tell of a carrier.
        wait_until("the link to be down", LIMIT, || {
            lab.node(1).operstate() != "UP"
        });
        let since = Instant::now();
        wait_until("the master to step down", LIMIT, || {
            master.states() == ["INIT"]
        });
        let took = since.elapsed();
        assert!(took <= AT_ONCE, "stepped down after {took:?}");
        wait_until("the address to go", AT_ONCE, || !lab.node(1).has(SHARED));
        let last = master.changes().pop();
        assert_eq!(
            last.as_deref(),
            Some("MASTER -> INIT (hardware interface down)")
        );
    };

    lab.node(1).namespace().ip("link set eth0 down");
    steps_down();
    backup.await_state("MASTER", LIMIT);
    lab.await_holder(2, SHARED, LIMIT);

    lab.node(1).namespace().ip("link set eth0 up");
    master.await_state("MASTER", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);

    // The same for a cable that is pulled.
    lab.unplug(1);
    steps_down();
    lab.await_holder(2, SHARED, LIMIT);
    lab.plug(1);
    master.await_state("MASTER", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_link_that_does_not_tell_is_taken_for_what_the_operator_says() {
    /// A bridge without ports.
    const SILENT: &str = "silent0";
    let lab = Lab::new(1);
    let inside = lab.node(1).namespace();
    inside.ip(&format!("link add {SILENT} type bridge"));
    inside.ip(&format!("addr add 198.51.100.2/24 dev {SILENT}"));
    inside.ip(&format!("link set {SILENT} up"));
    let state = String::from_utf8(inside.ip(&format!("-br link show {SILENT}"))).unwrap();
    assert!(state.contains("UNKNOWN"), "{state}");
    let host = Host {
        interface: SILENT,
        addresses: vec!["198.51.100.1/24".to_owned()],
        ..Host::new(0)
    };
    let start = |unknown| {
        let line = format!("unknown_link = {unknown:?}");
        let launch = Launch {
            interface: &line,
            ..Launch::default()
        };
        Carpd::launch(&lab, 1, core::slice::from_ref(&host), &launch)
    };

    let carpd = start("down");
    pass(SECONDS * 5);
    carpd.await_state("INIT", SECONDS);
    assert_eq!(carpd.changes(), [""; 0]);
    carpd.stop();

    let carpd = start("up");
    carpd.await_state("MASTER", LIMIT);
    assert!(lab.node(1).has("198.51.100.1"));
    carpd.stop();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_removed_by_hand_is_restored() {
    let lab = Lab::new(1);
    let mut host = Host::new(0);
    host.addresses.push(format!("{SHARED_V6}/64"));
    let carpd = Carpd::start(&lab, 1, &host);
    carpd.await_state("MASTER", LIMIT);
    for (address, length) in [(SHARED, 24), (SHARED_V6, 64)] {
        lab.await_holder(1, address, LIMIT);
        let inside = lab.node(1).namespace();
        inside.ip(&format!("addr del {address}/{length} dev eth0"));
        lab.await_holder(1, address, SECONDS);
        // And not only until what was there before would have expired.
        pass(SECONDS * 3);
        lab.await_holder(1, address, SECONDS);
        assert_eq!(carpd.states(), ["MASTER"]);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_left_behind_is_removed_at_start() {
    let lab = Lab::new(2);
    let master = Carpd::start(&lab, 1, &Host::new(0));
    master.await_state("MASTER", LIMIT);
    let inside = lab.node(2).namespace();
    inside.ip(&format!("addr add {SHARED}/24 dev eth0"));
    let backup = Carpd::start(&lab, 2, &Host::new(100));
    lab.await_holder(1, SHARED, SECONDS * 2);
    backup.await_state("BACKUP", LIMIT);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_address_that_somebody_else_adds_is_reported() {
    let lab = Lab::new(2);
    let (_master, backup) = pair(&lab, |_| ());
    let report = format!("eth0: somebody added {SHARED}, which is not ours now");
    let reports = || {
        let log = backup.log();
        let lines = log.lines().filter(|line| line.contains(&report));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(reports(), [""; 0]);
    let inside = lab.node(2).namespace();
    inside.ip(&format!("addr add {SHARED}/24 dev eth0"));
    wait_for(
        SECONDS * 2,
        || format!("a report in\n{}", backup.log()),
        || !reports().is_empty(),
    );
    assert!(reports()[0].contains(" WARN "), "{:?}", reports());
    assert_eq!(backup.states(), ["BACKUP"]);
    // It is left alone.
    assert!(lab.node(2).has(SHARED));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_missing_capability_is_named() {
    let lab = Lab::new(1);
    for (present, missing) in [("net_raw", "net_admin"), ("net_admin", "net_raw")] {
        let log = carpd_with_only(&lab, 1, present);
        let name = format!("CAP_{}", missing.to_uppercase());
        assert!(log.contains(&name), "{name} should be named in:\n{log}");
    }
}

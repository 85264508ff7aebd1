//! `carpd` among its own: families, unicast, several virtual hosts, and what may happen to a
//! process, an interface or an address.

use core::time::Duration;

use nix::sys::signal::Signal;

use crate::SECONDS;
use crate::network::capture::Capture;
use crate::network::daemons::{Carpd, Host, PASS, SHARED, carpd_with_only, carpd_with_options};
use crate::network::packet::{Mac, resolve};
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
    let group = "ff02::12".parse::<core::net::IpAddr>().unwrap();
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

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn unicast_alone() {
    let lab = Lab::new(2);
    let capture = Capture::start(&lab);
    let peer = |node: u8| {
        let other = lab.node(3 - node).ipv4();
        format!("multicast = false\npeers = [\"{other}\"]\n")
    };
    let start = |node, advskew| {
        let host = Host {
            more: peer(node),
            ..Host::new(advskew)
        };
        Carpd::start(&lab, node, &host)
    };
    let master = start(1, 0);
    master.await_state("MASTER", LIMIT);
    let backup = start(2, 100);
    pass(SECONDS * 5);
    assert_eq!(backup.states(), ["BACKUP"]);
    moves(&lab, &[SHARED], (master, backup));

    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    for packet in &recording.packets {
        let to = if packet.source == lab.node(1).ipv4() {
            2
        } else {
            1
        };
        assert_eq!(packet.destination, lab.node(to).ipv4(), "{packet:?}");
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
    let one = Carpd::with(&lab, 1, &hosts(0, 100), "", &[]);
    let two = Carpd::with(&lab, 2, &hosts(100, 0), "", &[]);
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
    let carpd = Carpd::start(&lab, 1, &Host::new(0));
    carpd.await_state("MASTER", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);
    let answers = resolve(lab.client(), SHARED.parse().unwrap(), SECONDS / 5);
    assert_eq!(answers, [lab.node(1).mac()]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn with_macvlan_the_mac_moves_with_the_address() {
    let lab = Lab::new(2);
    let virtual_mac = Mac([0, 0, 0x5e, 0, 1, 1]);
    let (master, backup) = pair(&lab, |host| host.more = "macvlan = true\n".to_owned());
    let answers = || resolve(lab.client(), SHARED.parse().unwrap(), SECONDS / 5);
    lab.await_holder(1, SHARED, LIMIT);
    assert_eq!(answers(), [virtual_mac]);

    master.stop();
    backup.await_state("MASTER", SECONDS);
    lab.await_holder(2, SHARED, SECONDS);
    assert_eq!(answers(), [virtual_mac]);
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

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_that_goes_down_costs_the_address_until_it_is_up() {
    let lab = Lab::new(2);
    let (master, backup) = pair(&lab, |_| ());
    lab.await_holder(1, SHARED, LIMIT);

    lab.node(1).namespace().ip("link set eth0 down");
    master.await_state("INIT", SECONDS * 2);
    assert!(!lab.node(1).has(SHARED), "it has stepped down");
    backup.await_state("MASTER", LIMIT);
    lab.await_holder(2, SHARED, LIMIT);

    lab.node(1).namespace().ip("link set eth0 up");
    master.await_state("MASTER", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);

    // The same for a cable that is pulled.
    lab.unplug(1);
    master.await_state("INIT", SECONDS * 2);
    lab.await_holder(2, SHARED, LIMIT);
    lab.plug(1);
    master.await_state("MASTER", LIMIT);
    lab.await_holder(1, SHARED, LIMIT);
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
    let before = backup.process().log().matches(SHARED).count();
    let inside = lab.node(2).namespace();
    inside.ip(&format!("addr add {SHARED}/24 dev eth0"));
    wait_for(
        SECONDS * 2,
        || format!("a report in\n{}", backup.process().log()),
        || backup.process().log().matches(SHARED).count() > before,
    );
    assert_eq!(backup.states(), ["BACKUP"]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn stepping_down_and_reloading_are_no_accidents() {
    let lab = Lab::new(2);
    let (master, backup) = pair(&lab, |host| host.preempt = false);

    // Another advskew is no reason to leave.
    let capture = Capture::start(&lab);
    let changed = Host {
        preempt: false,
        ..Host::new(50)
    };
    master.reload(&[changed]);
    pass(SECONDS * 4);
    let recording = capture.stop();
    recording.assert_all_from(lab.node(1).ipv4());
    let last = recording.packets.last().and_then(|packet| packet.carp());
    assert_eq!(last.unwrap().advskew().get(), 50);
    lab.await_holder(1, SHARED, SECONDS);

    master.process().signal(Signal::SIGUSR2);
    backup.await_state("MASTER", SECONDS * 2);
    lab.await_holder(2, SHARED, SECONDS);
    assert_eq!(master.states(), ["BACKUP"]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_options_of_ucarp_are_understood() {
    let lab = Lab::new(1);
    let source = lab.node(1).ipv4().to_string();
    let options = [
        "-i", "eth0", "-s", &source, "-v", "1", "-p", PASS, "-a", SHARED, "-b", "1", "-k", "7",
        "-P",
    ];
    let capture = Capture::start(&lab);
    let _carpd = carpd_with_options(&lab, 1, &options);
    lab.await_holder(1, SHARED, LIMIT);
    pass(SECONDS);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let packet = recording.packets.last().unwrap();
    assert_eq!(packet.carp().unwrap().advskew().get(), 7);
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

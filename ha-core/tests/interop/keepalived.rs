//! In one group with the real `keepalived`, by VRRPv3 (CARP §5.7).

use core::time::Duration;
use std::collections::BTreeSet;

use crate::SECONDS;
use crate::network::capture::Capture;
use crate::network::daemons::{Carpd, Host, Keepalived, SHARED};
use crate::network::{Lab, pass};

/// To start and to find out that nobody else is there.
const START: Duration = Duration::from_secs(10);

/// Of elections and takeovers at an interval in centiseconds, each of which may take `more` than
/// the dead time.
fn takeovers(lab: &Lab, interval: u16, more: Duration) {
    let dead_time = Duration::from_millis(10) * u32::from(interval) * 4;
    let limit = dead_time + more;
    let capture = Capture::start(lab);

    // We are better: elected, and back after a crash and after a polite stop.
    let ours = Carpd::start(lab, 1, &Host::vrrp(200, interval));
    let theirs = Keepalived {
        priority: 100,
        centiseconds: interval,
    };
    let theirs = theirs.start(lab, 2);
    lab.await_holder(1, SHARED, START);
    ours.await_state("MASTER", START);
    pass(dead_time * 2);
    lab.await_holder(1, SHARED, limit);

    lab.unplug(1);
    ours.kill();
    lab.await_takeover(2, SHARED, limit);
    lab.plug(1);
    let ours = Carpd::start(lab, 1, &Host::vrrp(200, interval));
    lab.await_holder(1, SHARED, START);

    ours.stop();
    lab.await_holder(2, SHARED, limit);

    // We are worse: not elected, and there when the other crashes or stops.
    theirs.stop();
    let start = || {
        let better = Keepalived {
            priority: 200,
            centiseconds: interval,
        };
        better.start(lab, 2)
    };
    let theirs = start();
    let ours = Carpd::start(lab, 1, &Host::vrrp(100, interval));
    lab.await_holder(2, SHARED, START);
    pass(dead_time * 2);
    lab.await_holder(2, SHARED, limit);
    assert_eq!(ours.states(), ["BACKUP"]);

    lab.unplug(2);
    theirs.kill();
    lab.await_takeover(1, SHARED, limit);
    assert_eq!(ours.states(), ["MASTER"]);
    // What it has left behind, if it was too late to see that the cable was gone.
    lab.node(2).clear(SHARED);
    lab.plug(2);
    let theirs = start();
    lab.await_holder(2, SHARED, START);
    ours.await_state("BACKUP", limit);

    theirs.stop();
    lab.await_holder(1, SHARED, limit);
    ours.await_state("MASTER", limit);
    pass(dead_time);

    let recording = capture.stop();
    recording.assert_decodes_as_vrrp();
    for node in [1, 2] {
        let priorities: BTreeSet<_> = recording
            .from(lab.node(node).ipv4())
            .iter()
            .map(|packet| packet.payload[2])
            .collect();
        // Each was the better and the worse one, and has said goodbye.
        assert_eq!(priorities, [0, 100, 200].into(), "of node {node}");
    }
}

#[test]
#[ignore = "needs root, network namespaces and keepalived"]
fn takeovers_at_1_s() {
    takeovers(&Lab::new(2), 100, SECONDS / 2);
}

#[test]
#[ignore = "needs root, network namespaces and keepalived"]
fn takeovers_at_100_ms() {
    takeovers(&Lab::new(2), 10, SECONDS / 2);
}

#[test]
#[ignore = "needs root, network namespaces and keepalived"]
fn takeovers_at_10_ms() {
    // Both miss an advertisement or three where the processors are busy.
    takeovers(&Lab::alone(2), 1, SECONDS / 10);
}

//! A change of the role takes two seconds at most, whatever is under way and whoever does not
//! answer.

use core::time::Duration;
use std::thread;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::load::{Load, Work};
use super::trial;

const SIZE: u64 = 64 << 20;
/// How long a change may take, from the start of hastctl to its end.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// Four clients, 128 writes of 64 KiB.
pub(crate) const BUSY: Work = Work {
    clients: 4,
    depth: 32,
    octets: 64 * 1024,
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in ["fullsync", "memsync", "async"] {
        trials.push(trial(
            format!("roles_change_in_time_under_load_{mode}"),
            move || under_load(mode),
        ));
    }
    trials.push(trial(
        "roles_change_in_time_beside_a_stalled_secondary",
        stalled_secondary,
    ));
    trials.push(trial(
        "roles_change_in_time_beside_a_stalled_primary",
        stalled_primary,
    ));
    trials
}

/// Changes a role, which must be done in time.
pub(crate) fn change(cluster: &Cluster, node: Node, role: &str) {
    let (took, changed) = cluster.time_role(node, role);
    eprintln!("{} to {role}: {} ms", node.name(), took.as_millis());
    assert!(
        changed.status.success(),
        "{changed:?}\n{}",
        cluster.log(node)
    );
    assert!(took <= LIMIT, "{took:?}\n{}", cluster.log(node));
}

/// A load that is at work.
pub(crate) fn busy(cluster: &Cluster, node: Node) -> Load {
    let load = Load::start(&cluster.device(node), BUSY);
    wait_until("writes are acknowledged", || load.count() > BUSY.depth);
    load
}

fn under_load(mode: &str) {
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode} timeout 5"));
    cluster.start_in_roles(Ada);
    let mut primary = Ada;
    for _ in 0..3 {
        // The secondary alone, there and back.
        let load = busy(&cluster, primary);
        change(&cluster, primary.other(), "init");
        change(&cluster, primary.other(), "secondary");
        wait_until("connected again", || cluster.is_connected(primary));
        load.stop().expect("the device is not disturbed");
        cluster.wait_until_synchronised(primary);
        // Both, at the worst moment.
        let load = busy(&cluster, primary);
        change(&cluster, primary, "secondary");
        assert!(load.stop().is_err(), "writes go on without a device");
        primary = primary.other();
        change(&cluster, primary, "primary");
        cluster.wait_until_synchronised(primary);
    }
    let load = busy(&cluster, primary);
    change(&cluster, primary, "init");
    assert!(load.stop().is_err(), "writes go on without a device");
    change(&cluster, primary, "primary");
    cluster.wait_until_synchronised(primary);
    cluster.check_equal();
}

fn stalled_secondary() {
    for (mode, role) in [
        ("fullsync", "secondary"),
        ("memsync", "init"),
        ("async", "init"),
    ] {
        // So long that it is not given up meanwhile.
        let mut cluster = Cluster::new(SIZE, &format!("replication {mode} timeout 60"));
        cluster.start_in_roles(Ada);
        let load = busy(&cluster, Ada);
        cluster.signal(Bob, Signal::STOP);
        // All that can be under way is.
        thread::sleep(Duration::from_millis(500));
        change(&cluster, Ada, role);
        assert!(load.stop().is_err(), "writes go on without a device");
        change(&cluster, Ada, "primary");
        cluster.signal(Bob, Signal::CONT);
        cluster.wait_until_synchronised(Ada);
        cluster.check_equal();
    }
}

fn stalled_primary() {
    let mut cluster = Cluster::new(SIZE, "replication fullsync timeout 60");
    cluster.start_in_roles(Ada);
    let load = busy(&cluster, Ada);
    cluster.signal(Ada, Signal::STOP);
    change(&cluster, Bob, "primary");
    cluster.signal(Ada, Signal::CONT);
    // It is primary as well, and must be told what it is to be now.
    cluster.wait_for_log(Ada, "disconnected");
    change(&cluster, Ada, "init");
    assert!(load.stop().is_err(), "writes go on without a device");
}

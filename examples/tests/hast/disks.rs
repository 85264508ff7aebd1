//! Local disks that fail while clients write, on either node. A limit of the size of files that
//! a process may write makes them fail, and not any more: it can be changed at any time.

use core::time::Duration;
use std::thread;

use libtest_mimic::Trial;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::trial;
use super::writer::Ledger;

const SIZE: u64 = 32 << 20;
const BLOCKS: usize = 256;
/// Metadata and map lie before, most of the data behind it.
const AMONG_THE_DATA: u64 = 1 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in ["fullsync", "memsync", "async"] {
        trials.push(trial(format!("primary_disk_fails_{mode}"), move || {
            primary_fails(mode, AMONG_THE_DATA)
        }));
        trials.push(trial(format!("secondary_disk_fails_{mode}"), move || {
            secondary_fails(mode, AMONG_THE_DATA)
        }));
    }
    trials.push(trial("primary_disk_fails_wholly", || {
        primary_fails_wholly()
    }));
    trials.push(trial("secondary_disk_fails_wholly", || {
        secondary_fails("fullsync", 0)
    }));
    trials.push(trial("primary_disk_fails_alone", alone));
    trials
}

/// Two nodes that are told when they may not write, instead of being killed for it.
pub(crate) fn cluster(settings: &str) -> Cluster {
    let mut cluster = Cluster::new(SIZE, settings);
    for node in [Ada, Bob] {
        cluster.start_by(node, &["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    }
    cluster
}

/// Lets a node write to files up to here, and no further.
fn limit(cluster: &Cluster, node: Node, octets: Option<u64>) {
    let limit = Rlimit {
        current: octets,
        maximum: None,
    };
    prlimit(Some(cluster.pid(node)), Resource::Fsize, limit).expect("a process of ours");
}

/// A figure of the statistics.
fn count(cluster: &Cluster, node: Node, what: &str) -> u64 {
    let status: Value = cluster.status(node);
    let count = &status["worker"]["statistics"][what];
    count
        .as_u64()
        .unwrap_or_else(|| panic!("{what} in {status}"))
}

/// Waits until clients have written so much more.
fn write_on(ledger: &Ledger) {
    let sent = ledger.sent();
    wait_until("writes go on", || ledger.sent() > sent + 100);
}

fn primary_fails(mode: &str, octets: u64) {
    let mut cluster = cluster(&format!("replication {mode}"));
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, 1);
    let writers = ledger.start(&cluster.device(Ada));
    write_on(&ledger);
    limit(&cluster, Ada, Some(octets));
    cluster.wait_for_log(Ada, "local disk failed; not used any more");
    // Nobody who uses the device notices.
    write_on(&ledger);
    writers.stop().expect("no write fails");
    assert!(count(&cluster, Ada, "write_errors") > 0);
    let printed = cluster.ctl(Ada, &["list", "shared"]).stdout;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(!printed.contains("write: 0, delete: 0"), "{printed}");
    ledger.check(&cluster.device(Ada));

    // As long as it fails it is not used, whatever is tried.
    let writers = ledger.start(&cluster.device(Ada));
    let _ = cluster.ctl(Ada, &["role", "primary", "shared"]);
    write_on(&ledger);
    // It works again.
    limit(&cluster, Ada, None);
    wait_until("the disk is used again", || {
        cluster.role(Ada, "primary");
        cluster.log(Ada).contains("local disk used again")
    });
    cluster.wait_until_synchronised(Ada);
    write_on(&ledger);
    writers.stop().expect("no write fails");
    ledger.check(&cluster.device(Ada));
    cluster.wait_until_synchronised(Ada);
    // What the disk holds by itself is as good as the other one.
    cluster.kill(Bob);
    ledger.check(&cluster.device(Ada));
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

/// Not even its metadata can be written: then nothing is acknowledged that would be forgotten.
fn primary_fails_wholly() {
    let mut cluster = cluster("replication fullsync");
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, 2);
    let writers = ledger.start(&cluster.device(Ada));
    write_on(&ledger);
    limit(&cluster, Ada, Some(0));
    cluster.wait_for_log(Ada, "local disk failed; not used any more");
    thread::sleep(Duration::from_millis(500));
    // Whether writes went on or not: those that were acknowledged are there.
    let _ = writers.stop();
    ledger.check(&cluster.device(Ada));
    cluster.kill(Ada);
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    // The node comes back with a disk that works, and what was written meanwhile.
    let writers = ledger.start(&cluster.device(Bob));
    write_on(&ledger);
    cluster.start(Ada);
    cluster.role(Ada, "secondary");
    cluster.wait_until_synchronised(Bob);
    writers.stop().expect("no write fails");
    cluster.wait_until_synchronised(Bob);
    ledger.check(&cluster.device(Bob));
    cluster.check_equal();
}

fn secondary_fails(mode: &str, octets: u64) {
    let mut cluster = cluster(&format!("replication {mode}"));
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, 3);
    let writers = ledger.start(&cluster.device(Ada));
    write_on(&ledger);
    limit(&cluster, Bob, Some(octets));
    cluster.wait_for_log(Ada, "the peer failed a request");
    write_on(&ledger);
    // What the other node lacks is told.
    let status = cluster.status(Ada);
    assert_ne!(status["worker"]["dirty"], 0, "{status}");
    limit(&cluster, Bob, None);
    writers.stop().expect("no write fails");
    cluster.wait_until_synchronised(Ada);
    ledger.check(&cluster.device(Ada));
    cluster.kill(Ada);
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    cluster.start(Ada);
    cluster.role(Ada, "secondary");
    cluster.wait_until_synchronised(Bob);
    cluster.check_equal();
}

/// Nobody else has the data: the writes that fail are answered so, and none is taken for done. The
/// disk is read all the time, and written as soon as it works again.
fn alone() {
    let mut cluster = cluster("replication fullsync");
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, 4);
    cluster.stop(Bob);
    let writers = ledger.start(&cluster.device(Ada));
    write_on(&ledger);
    limit(&cluster, Ada, Some(AMONG_THE_DATA));
    cluster.wait_for_log(
        Ada,
        "local disk failed a write; it has the only complete copy",
    );
    assert!(writers.stop().is_err(), "writes go on without a disk");
    assert!(count(&cluster, Ada, "write_errors") > 0);
    ledger.check(&cluster.device(Ada));
    limit(&cluster, Ada, None);
    assert!(!cluster.log(Ada).contains("not used any more"));
    let writers = ledger.start(&cluster.device(Ada));
    write_on(&ledger);
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster.wait_until_synchronised(Ada);
    writers.stop().expect("no write fails");
    cluster.wait_until_synchronised(Ada);
    cluster.role(Ada, "secondary");
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    cluster.wait_until_synchronised(Bob);
    cluster.check_equal();
}

//! Connections that end, stall or are refused at any moment, and processes that are killed.

use core::time::Duration;
use std::env;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use super::cluster::Cluster;
use super::cluster::Node::{self, Ada, Bob};
use super::nbd::Client;
use super::trial;
use super::writer::{Ledger, Random};

const SIZE: u64 = 32 << 20;
/// How many blocks the clients write to.
const BLOCKS: usize = 256;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in ["fullsync", "memsync", "async"] {
        trials.push(trial(format!("disconnections_{mode}"), move || {
            disconnections(mode)
        }));
    }
    trials.push(trial("a_peer_that_stalls_within_a_frame", stalls));
    for mode in ["fullsync", "memsync"] {
        trials.push(trial(format!("kills_{mode}"), move || {
            kills(mode, cycles(4))
        }));
        let name = format!("many_kills_{mode}");
        // It takes minutes.
        trials.push(trial(name, move || kills(mode, cycles(200))).with_ignored_flag(true));
    }
    trials
}

/// How often something is done; `HAST_CYCLES` says otherwise.
fn cycles(usual: u64) -> u64 {
    let cycles = env::var("HAST_CYCLES").ok();
    cycles.map_or(usual, |cycles| cycles.parse().expect("a number"))
}

/// Numbers that are others in each run; the seed is told, and can be given as `HAST_SEED`.
fn random(what: &str) -> Random {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("a time after 1970").as_nanos() as u64
    };
    let seed = env::var("HAST_SEED").map_or_else(|_| now(), |seed| seed.parse().expect("a number"));
    eprintln!("{what}: HAST_SEED={seed}");
    Random(seed)
}

fn pause(random: &mut Random, most: u64) {
    thread::sleep(Duration::from_millis(random.below(most)));
}

fn disconnections(mode: &str) {
    let mut random = random("disconnections");
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode} timeout 2"));
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, random.next());
    let writers = ledger.start(&cluster.device(Ada));
    for _ in 0..10 {
        pause(&mut random, 150);
        match random.below(2) {
            0 => cluster.relay(Bob).cut(),
            _ => {
                cluster.relay(Bob).down();
                pause(&mut random, 150);
                cluster.relay(Bob).up();
            }
        }
    }
    writers.stop().expect("no write fails");
    cluster.wait_until_synchronised(Ada);
    ledger.check(&cluster.device(Ada));
    cluster.role(Ada, "secondary");
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    cluster.wait_until_synchronised(Bob);
    cluster.check_equal();
}

fn stalls() {
    let mut random = random("stalls");
    let mut cluster = Cluster::new(SIZE, "replication fullsync timeout 1");
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, random.next());
    for _ in 0..3 {
        let writers = ledger.start(&cluster.device(Ada));
        cluster.relay(Bob).stall_after(random.below(100_000) as u32);
        // Longer than the timeout: the peer is given up, and writes go on.
        let sent = ledger.sent();
        thread::sleep(Duration::from_secs(3));
        assert!(
            ledger.sent() > sent,
            "all stands still\n{}",
            cluster.log(Ada)
        );
        cluster.relay(Bob).cut();
        cluster.relay(Bob).up();
        writers.stop().expect("no write fails");
        cluster.wait_until_synchronised(Ada);
    }
    cluster.role(Ada, "secondary");
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    cluster.wait_until_synchronised(Bob);
    cluster.check_equal();
}

/// Either node is killed at any moment while clients write. Whatever was acknowledged is on the
/// survivor, and what the dead one left on its disk can be read.
fn kills(mode: &str, cycles: u64) {
    let mut random = random("kills");
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode} timeout 5"));
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(BLOCKS, random.next());
    let mut primary = Ada;
    for cycle in 0..cycles {
        let writers = ledger.start(&cluster.device(primary));
        pause(&mut random, 200);
        let killed = match random.below(2) {
            0 => primary,
            _ => primary.other(),
        };
        cluster.kill(killed);
        check_metadata(&cluster, killed);
        if killed == primary {
            // Hardly ever all of them have just been between two writes.
            let _ = writers.stop();
            let again = Client::connect(&cluster.device(killed), "shared");
            assert!(again.is_err(), "a device without a process");
            primary = primary.other();
            cluster.role(primary, "primary");
        } else {
            pause(&mut random, 100);
            writers.stop().expect("no write fails");
        }
        ledger.check(&cluster.device(primary));
        cluster.start(killed);
        cluster.role(killed, "secondary");
        // Now and then the next blow comes before the nodes agree, but never to the one that has
        // everything.
        if random.below(4) == 0 {
            pause(&mut random, 50);
            cluster.kill(killed);
            check_metadata(&cluster, killed);
            cluster.start(killed);
            cluster.role(killed, "secondary");
        }
        cluster.wait_until_synchronised(primary);
        if cycle % 50 == 49 {
            eprintln!("{mode}: {} cycles, {} writes", cycle + 1, ledger.sent());
        }
    }
    assert!(ledger.sent() > cycles, "hardly anything was written");
    ledger.check(&cluster.device(primary));
    cluster.check_equal();
}

fn check_metadata(cluster: &Cluster, node: Node) {
    let dump = cluster.ctl(node, &["dump", "shared"]);
    assert!(dump.status.success(), "{dump:?}");
}

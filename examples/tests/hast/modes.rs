//! What a pair does when nothing fails: in every mode, by every checksum and compression.

use core::time::Duration;
use std::thread;

use libtest_mimic::Trial;

use super::cluster::Cluster;
use super::cluster::Node::{Ada, Bob};
use super::nbd::Client;
use super::trial;
use super::writer::{BLOCK, Ledger, Random};

const SIZE: u64 = 16 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("initial_synchronisation", initial_synchronisation),
        trial("roles_are_swapped", roles_are_swapped),
        trial("what_is_deleted_is_deleted_on_both", deleted),
    ];
    for mode in ["fullsync", "memsync", "async"] {
        let settings = format!("replication {mode}");
        trials.push(trial(format!("replication_{mode}"), move || {
            mirrored(&settings)
        }));
    }
    for checksum in ["none", "crc32", "sha256"] {
        for compression in ["none", "hole", "lzf"] {
            let settings = format!("checksum {checksum} compression {compression}");
            let name = format!("checksum_{checksum}_compression_{compression}");
            trials.push(trial(name, move || mirrored(&settings)));
        }
    }
    trials
}

/// Data of every kind: noise, text, zeroes, and all in one.
fn pieces() -> Vec<(u64, Vec<u8>)> {
    let mut random = Random(7);
    let noise: Vec<u8> = (0..200_000).map(|_| random.next() as u8).collect();
    let text = b"to be or not to be ".repeat(10_000);
    let zeroes = vec![0; 300 * 1024];
    let mixed = [&noise[..BLOCK], &zeroes[..BLOCK], &text[..BLOCK]].concat();
    let whole = |data: Vec<u8>| {
        let len = data.len() / BLOCK * BLOCK;
        data[..len].to_vec()
    };
    vec![
        (0, mixed.clone()),
        (1 << 20, whole(noise)),
        ((2 << 20) - BLOCK as u64, whole(text)),
        (5 << 20, zeroes),
        (10 << 20, vec![1; 1 << 20]),
        ((10 << 20) + 512, mixed[..512].to_vec()),
    ]
}

fn write_all(client: &mut Client) {
    for (offset, data) in pieces() {
        client.write(offset, &data).expect("a write");
        let read = client.read(offset, data.len() as u32).expect("a read");
        assert!(read == data, "other data at {offset}");
    }
    client.flush().expect("a flush");
}

fn mirrored(settings: &str) {
    let mut cluster = Cluster::new(SIZE, settings);
    cluster.start_in_roles(Ada);
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    write_all(&mut client);
    drop(client);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
    // A secondary that was in step can take over.
    cluster.role(Bob, "primary");
    let mut client = Client::connect(&cluster.device(Bob), "shared").expect("a device");
    let (offset, data) = pieces().remove(1);
    let read = client.read(offset, data.len() as u32).expect("a read");
    assert!(read == data, "other data on the other node");
    drop(client);
    cluster.stop(Ada);
    cluster.stop(Bob);
}

/// What was written before there was a peer is copied to it; what was never written is not.
fn initial_synchronisation() {
    let mut cluster = Cluster::new(SIZE, "");
    cluster.start(Ada);
    cluster.role(Ada, "primary");
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    write_all(&mut client);
    assert_eq!(cluster.status(Ada)["worker"]["status"], "degraded");
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster.wait_until_synchronised(Ada);
    write_all(&mut client);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn roles_are_swapped() {
    let mut cluster = Cluster::new(SIZE, "replication fullsync");
    cluster.start_in_roles(Ada);
    let ledger = Ledger::new(64, 1);
    let mut primary = Ada;
    for _ in 0..3 {
        let writers = ledger.start(&cluster.device(primary));
        thread::sleep(Duration::from_millis(100));
        writers.stop().expect("all written");
        cluster.wait_until_synchronised(primary);
        cluster.role(primary, "secondary");
        assert!(!cluster.device(primary).exists());
        primary = primary.other();
        cluster.role(primary, "primary");
        ledger.check(&cluster.device(primary));
        cluster.wait_until_synchronised(primary);
    }
    assert!(ledger.sent() > 0);
    cluster.check_equal();
}

fn deleted() {
    let mut cluster = Cluster::new(SIZE, "");
    cluster.start_in_roles(Ada);
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(0, &[7; 1 << 20]).expect("a write");
    client.trim(0, 512 * 1024).expect("a deletion");
    let read = client.read(0, 1 << 20).expect("a read");
    assert_eq!(read[..512 * 1024], vec![0; 512 * 1024]);
    assert_eq!(read[512 * 1024..], vec![7; 512 * 1024]);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

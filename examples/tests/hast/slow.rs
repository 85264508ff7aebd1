//! Providers on disks that are slow, hang, or fail every request: nbdkit, as a file by FUSE.

use core::time::Duration;
use std::fs::{self, File};
use std::thread;

use libtest_mimic::Trial;
use rustix::process::Signal;

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::fuse::FuseFile;
use super::load::{Load, Work};
use super::roles::{BUSY, LIMIT, busy, change};
use super::space::{Program, alone, run, text};
use super::trial;
use super::writer::Ledger;

const SIZE: u64 = 8 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    let root = |name: &str, test: fn()| {
        trial(name, move || alone(test))
            .with_kind("root")
            .with_ignored_flag(true)
    };
    vec![
        root("roles_change_in_time_on_slow_disks", slow),
        root("roles_change_in_time_on_a_disk_that_hangs", hangs),
        root("a_disk_that_fails_every_request", fails),
        root("a_file_system_that_is_full", full),
    ]
}

/// A disk that can be disturbed.
#[derive(Debug)]
struct Disk {
    // In the order in which they must go.
    _file: FuseFile,
    server: Program,
}

impl Disk {
    /// Lies below a node, which has no provider yet. Every request takes so long.
    fn below(cluster: &Cluster, node: Node, delay: Duration) -> Self {
        let (provider, behind) = (cluster.provider(node), behind(cluster, node));
        File::create(&provider).expect("a file");
        let file = File::create(&behind).expect("a file");
        file.set_len(SIZE).expect("room");
        let socket = cluster.path(&format!("{}.nbdkit", node.name()));
        let trigger = trigger(cluster, node);
        let server = Program::start(
            "nbdkit",
            &[
                "--foreground",
                "--threads=64",
                "--unix",
                text(&socket),
                "--filter=error",
                "--filter=delay",
                "file",
                text(&behind),
                &format!("error-file={}", text(&trigger)),
                "error-rate=100%",
                &format!("wdelay={}ms", delay.as_millis()),
            ],
        )
        .wait_until("nbdkit listens", || socket.exists());
        Self {
            _file: FuseFile::over(&provider, &socket, ""),
            server,
        }
    }
}

/// The file behind the provider.
fn behind(cluster: &Cluster, node: Node) -> std::path::PathBuf {
    cluster.path(&format!("{}.behind", node.name()))
}

/// While it is there, every request of the disk fails.
fn trigger(cluster: &Cluster, node: Node) -> std::path::PathBuf {
    cluster.path(&format!("{}.fails", node.name()))
}

/// Both nodes on such disks.
fn cluster(settings: &str, delay: Duration) -> (Cluster, [Disk; 2]) {
    let mut cluster = Cluster::bare(settings);
    let disks = [Ada, Bob].map(|node| Disk::below(&cluster, node, delay));
    for node in [Ada, Bob] {
        cluster.prepare_provider(node);
    }
    cluster.start_in_roles(Ada);
    (cluster, disks)
}

fn slow() {
    let delay = Duration::from_millis(5);
    let (mut cluster, disks) = cluster("replication fullsync timeout 10", delay);
    let mut primary = Ada;
    for _ in 0..2 {
        // The kernel has it write pages, one after the other: this is half a second's work.
        let work = Work { depth: 4, ..BUSY };
        let load = Load::start(&cluster.device(primary), work);
        wait_until("writes are acknowledged", || load.count() > 16);
        change(&cluster, primary, "secondary");
        assert!(load.stop().is_err(), "writes go on without a device");
        primary = primary.other();
        change(&cluster, primary, "primary");
        cluster.wait_until_synchronised(primary);
    }
    // This is more than can be done in time; but that is told in time, and it is done then.
    let load = busy(&cluster, primary);
    for node in [primary, primary.other()] {
        let (took, _) = cluster.time_role(node, "init");
        eprintln!("{} with much to do: {} ms", node.name(), took.as_millis());
        assert!(took <= LIMIT, "{took:?}");
    }
    assert!(load.stop().is_err(), "writes go on without a device");
    for node in [Ada, Bob] {
        wait_until("the role is left", || {
            cluster.status(node)["role"] == "init"
        });
    }
    cluster.stop(Ada);
    cluster.stop(Bob);
    drop(disks);
}

/// What a disk does that does not answer, nobody knows: the role is not left before it does, but
/// that is told in time.
fn hangs() {
    for hung in [Ada, Bob] {
        let (mut cluster, disks) = cluster("replication fullsync timeout 60", Duration::ZERO);
        let load = busy(&cluster, Ada);
        disks[hung as usize].server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(300));
        let (took, changed) = cluster.time_role(hung, "init");
        eprintln!(
            "{} with a disk that hangs: {} ms",
            hung.name(),
            took.as_millis()
        );
        assert!(!changed.status.success(), "{changed:?}");
        assert!(took <= LIMIT, "{took:?}");
        // Its peer does not wait for it either.
        change(&cluster, hung.other(), "init");
        disks[hung as usize].server.signal(Signal::CONT);
        wait_until("the role is left when the disk answers", || {
            cluster.status(hung)["role"] == "init"
        });
        assert!(load.stop().is_err(), "writes go on without a device");
        change(&cluster, hung, "secondary");
        change(&cluster, hung.other(), "primary");
        cluster.wait_until_synchronised(hung.other());
        cluster.stop(Ada);
        cluster.stop(Bob);
        drop(disks);
    }
}

/// Not even reads are done any more: the other node does all the work, and nothing is lost.
fn fails() {
    let (mut cluster, disks) = cluster("replication fullsync", Duration::ZERO);
    let ledger = Ledger::new(256, 5);
    let mut writers = ledger.start(&cluster.device(Ada));
    wait_until("writes go on", || ledger.sent() > 200);
    for failing in [Bob, Ada] {
        File::create(trigger(&cluster, failing)).expect("a file");
        match failing {
            Ada => cluster.wait_for_log(Ada, "local disk failed; not used any more"),
            Bob => cluster.wait_for_log(Ada, "the peer failed a request"),
        }
        if failing == Bob {
            let sent = ledger.sent();
            wait_until("writes go on", || ledger.sent() > sent + 100);
            fs::remove_file(trigger(&cluster, failing)).expect("a file of ours");
            writers.stop().expect("no write fails");
            cluster.wait_until_synchronised(Ada);
            writers = ledger.start(&cluster.device(Ada));
        }
    }
    // The mark that its disk is behind cannot be kept, so that nothing is acknowledged; and what
    // was is on the other node.
    let _ = writers.stop();
    ledger.check(&cluster.device(Ada));
    fs::remove_file(trigger(&cluster, Ada)).expect("a file of ours");
    wait_until("the disk is used again", || {
        let _ = cluster.ctl(Ada, &["role", "primary", "shared"]);
        cluster.log(Ada).contains("local disk used again")
    });
    ledger.check(&cluster.device(Ada));
    let writers = ledger.start(&cluster.device(Ada));
    let sent = ledger.sent();
    wait_until("writes go on", || ledger.sent() > sent + 100);
    writers.stop().expect("no write fails");
    cluster.wait_until_synchronised(Ada);
    cluster.kill(Ada);
    cluster.role(Bob, "primary");
    ledger.check(&cluster.device(Bob));
    cluster.stop(Bob);
    drop(disks);
}

/// A sparse file on a file system without room fails like a disk, and goes on when there is room.
fn full() {
    let mut cluster = Cluster::bare("replication fullsync");
    let folder = cluster.path("small");
    fs::create_dir(&folder).expect("a folder");
    run(
        "mount",
        &["-t", "tmpfs", "-o", "size=2M", "none", text(&folder)],
    );
    let room = folder.join("disk");
    File::create(&room)
        .and_then(|file| file.set_len(SIZE))
        .expect("a file");
    std::os::unix::fs::symlink(&room, cluster.provider(Ada)).expect("a link");
    cluster.prepare_provider(Ada);
    cluster.make_provider(Bob, SIZE);
    cluster.prepare_provider(Bob);
    cluster.start_in_roles(Ada);
    // 4 MiB, each at a place of its own.
    let ledger = Ledger::new(1024, 6);
    let writers = ledger.start(&cluster.device(Ada));
    cluster.wait_for_log(Ada, "local disk failed; not used any more");
    let sent = ledger.sent();
    wait_until("writes go on", || ledger.sent() > sent + 100);
    writers.stop().expect("no write fails");
    ledger.check(&cluster.device(Ada));
    run("mount", &["-o", "remount,size=64M", text(&folder)]);
    cluster.role(Ada, "primary");
    cluster.wait_for_log(Ada, "local disk used again");
    cluster.wait_until_synchronised(Ada);
    cluster.kill(Bob);
    ledger.check(&cluster.device(Ada));
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
    cluster.stop(Ada);
    run("umount", &[text(&folder)]);
}

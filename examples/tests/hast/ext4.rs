//! A file system on the replicated device, whose nodes are killed while files are written.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use libtest_mimic::Trial;

use super::cluster::Cluster;
use super::cluster::Node::{self, Ada};
use super::fuse::Disk;
use super::space::{alone, run, text};
use super::trial;
use super::writer::Random;

const SIZE: u64 = 96 << 20;
/// How many write at the same time, each to a folder of its own, and to how many files.
const WRITERS: usize = 3;
const FILES: usize = 20;
const ROUNDS: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    ["fullsync", "memsync"]
        .map(|mode| {
            let test = move || alone(move || killed(mode));
            trial(format!("ext4_{mode}"), test)
                .with_kind("root")
                .with_ignored_flag(true)
        })
        .into()
}

/// Which version of each file is there: the one that was synchronised last, or a later one.
#[derive(Debug, Default)]
struct Versions {
    sent: AtomicU64,
    durable: AtomicU64,
}

fn killed(mode: &str) {
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode} timeout 5"));
    cluster.start_in_roles(Ada);
    let versions: Vec<_> = (0..WRITERS * FILES).map(|_| Versions::default()).collect();
    let target = cluster.path("mounted");
    fs::create_dir(&target).expect("a folder");
    let mut primary = Ada;
    for round in 0..ROUNDS {
        let disk = attach(&cluster, primary);
        if round == 0 {
            run("mkfs.ext4", &["-q", "-E", "nodiscard", disk.device()]);
        }
        // This replays the journal.
        run("mount", &["-t", "ext4", disk.device(), text(&target)]);
        check(&target, &versions);
        run("umount", &[text(&target)]);
        run("fsck.ext4", &["-f", "-n", disk.device()]);
        run("mount", &["-t", "ext4", disk.device(), text(&target)]);
        let before = total(&versions);
        thread::scope(|scope| {
            for (writer, versions) in versions.chunks(FILES).enumerate() {
                let folder = target.join(writer.to_string());
                let seed = (round * WRITERS + writer) as u64;
                scope.spawn(move || write(&folder, versions, seed));
            }
            thread::sleep(Duration::from_millis(1000));
            cluster.kill(primary);
        });
        eprintln!("{mode}: {} files synchronised", total(&versions) - before);
        assert!(total(&versions) > before, "nothing was written");
        // What it is of now is gone.
        run("umount", &[text(&target)]);
        drop(disk);
        cluster.role(primary.other(), "primary");
        cluster.start(primary);
        cluster.role(primary, "secondary");
        primary = primary.other();
    }
    let disk = attach(&cluster, primary);
    run("mount", &["-t", "ext4", disk.device(), text(&target)]);
    check(&target, &versions);
    run("umount", &[text(&target)]);
    run("fsck.ext4", &["-f", "-n", disk.device()]);
    drop(disk);
    cluster.wait_until_synchronised(primary);
    cluster.check_equal();
}

fn attach(cluster: &Cluster, primary: Node) -> Disk {
    Disk::attach(&cluster.path(""), &cluster.device(primary))
}

fn total(versions: &[Versions]) -> u64 {
    let durable = versions.iter().map(|it| it.durable.load(Ordering::SeqCst));
    durable.sum()
}

/// Replaces files by their next versions until the disk is gone, and notes what is durable.
fn write(folder: &Path, versions: &[Versions], seed: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut random = Random(seed);
    loop {
        let file = random.below(versions.len() as u64) as usize;
        let record = &versions[file];
        let version = record.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let fresh = folder.join("fresh");
        let mut out = File::create(&fresh)?;
        out.write_all(&contents(file, version))?;
        out.sync_all()?;
        fs::rename(&fresh, folder.join(file.to_string()))?;
        File::open(folder)?.sync_all()?;
        record.durable.store(version, Ordering::SeqCst);
    }
}

/// Whether all files are what they were, or what they were about to become.
fn check(target: &Path, versions: &[Versions]) {
    for (number, record) in versions.iter().enumerate() {
        let (writer, file) = (number / FILES, number % FILES);
        let path: PathBuf = target.join(writer.to_string()).join(file.to_string());
        let durable = record.durable.load(Ordering::SeqCst);
        let sent = record.sent.load(Ordering::SeqCst);
        let found = match fs::read(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound && durable == 0 => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let version = (durable..=sent).find(|version| found == contents(file, *version));
        let version = version.unwrap_or_else(|| {
            let path = path.display();
            panic!(
                "{path}: not version {durable} to {sent}, {} octets",
                found.len()
            )
        });
        // It does not go back from what was seen once.
        record.durable.store(version, Ordering::SeqCst);
        record.sent.store(version, Ordering::SeqCst);
    }
}

/// Up to 128 KiB.
fn contents(file: usize, version: u64) -> Vec<u8> {
    let mut random = Random(version.wrapping_mul(1_000_003).wrapping_add(file as u64));
    let words = random.below(16 * 1024);
    (0..words)
        .flat_map(|_| random.next().to_le_bytes())
        .collect()
}

//! How fast replicated storage is for a client: `hastd` of this project, two nodes over loopback,
//! beside what else serves a file to NBD clients on this machine.
//!
//!     cargo bench -p examples --bench storage
//!
//! Needs Linux, `fio`, `qemu-nbd`, `qemu-storage-daemon`, `nbdkit`, a quiet machine and a quarter
//! of an hour. Files are in `/dev/shm` ("memory") and in the folder of temporary files ("disk").
//! To make it shorter, set `STORAGE_RUNS=1`, or name what is wanted: `-- memory`, `-- lzf`.
//!
//! The yardstick is `qemu-nbd` with one file on the same file system. Each row is measured in turns
//! by the same client, so that what else happens on the machine concerns all of them; the figures
//! are medians.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "waiting for programs is limited")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement that fails stops the program"
)]

mod nodes;
mod relay;
mod servers;
mod work;

use core::time::Duration;
use std::env;
use std::process::ExitCode;

use nodes::{Nodes, Replication};
use servers::SIZE;
use work::{Speed, Work, fill};

/// What is compared.
struct Row {
    name: &'static str,
    on_disk: bool,
    work: Work,
    ours: Replication,
    against: Against,
    /// The least ratio of ours to it.
    least: f64,
}

/// What ours is compared with.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Against {
    /// `qemu-nbd` on one file.
    Yardstick,
    /// The same nodes without checksum and compression.
    Plain,
}

const fn row(name: &'static str, work: Work, least: f64) -> Row {
    Row {
        name,
        on_disk: false,
        work,
        ours: Replication::FULLSYNC,
        against: Against::Yardstick,
        least,
    }
}

const fn mode(mode: &'static str) -> Replication {
    Replication {
        mode,
        ..Replication::FULLSYNC
    }
}

const ROWS: &[Row] = &[
    row("memory: 4 KiB random write, depth 1", Work::ONE_BY_ONE, 0.8),
    row(
        "memory: 4 KiB random write, depth 32",
        Work::RANDOM_WRITE,
        1.0,
    ),
    row("memory: 1 MiB write, depth 8", Work::SEQUENTIAL_WRITE, 0.95),
    Row {
        ours: mode("memsync"),
        ..row("memory: the same, memsync", Work::SEQUENTIAL_WRITE, 1.0)
    },
    Row {
        ours: mode("async"),
        ..row("memory: the same, async", Work::SEQUENTIAL_WRITE, 1.1)
    },
    row(
        "memory: 4 KiB random read, depth 32",
        Work::RANDOM_READ,
        2.5,
    ),
    Row {
        on_disk: true,
        ..row(
            "disk: 4 KiB random write, depth 32",
            Work::RANDOM_WRITE,
            0.6,
        )
    },
    Row {
        ours: Replication {
            checksum: "crc32",
            ..Replication::FULLSYNC
        },
        against: Against::Plain,
        ..row("crc32: 1 MiB write, depth 8", Work::SEQUENTIAL_WRITE, 0.9)
    },
    Row {
        ours: Replication {
            checksum: "sha256",
            ..Replication::FULLSYNC
        },
        against: Against::Plain,
        ..row("sha256: 1 MiB write, depth 8", Work::SEQUENTIAL_WRITE, 0.6)
    },
    Row {
        ours: Replication {
            compression: "lzf",
            ..Replication::FULLSYNC
        },
        against: Against::Plain,
        ..row(
            "lzf, incompressible: 1 MiB write, depth 8",
            Work::SEQUENTIAL_WRITE,
            0.5,
        )
    },
];

/// How fast a gibibyte is copied at least, in MiB/s, and what lies between the nodes.
const COPIES: [(&str, Option<Duration>, f64); 2] = [
    ("resynchronisation", None, 1000.0),
    (
        "resynchronisation, round trip 10 ms",
        Some(Duration::from_millis(5)),
        400.0,
    ),
];

fn main() -> ExitCode {
    let runs = env::var("STORAGE_RUNS").map_or(5, |runs| runs.parse().expect("a number of runs"));
    // `cargo bench` adds `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));

    let mut met = true;
    println!(
        "{:<42} {:>10} {:>10} {:>10} {:>10} {:>7} {:>7}",
        "work", "ours", "qemu-nbd", "quorum", "nbdkit", "ratio", "least"
    );
    for row in ROWS.iter().filter(|row| is_wanted(row.name)) {
        met &= compare(row, runs);
    }
    for (name, delay, least) in COPIES.into_iter().filter(|(name, ..)| is_wanted(name)) {
        let speed = median((0..runs).map(|_| copy(delay)).collect());
        met &= speed >= least;
        println!(
            "{name:<42} {speed:>6.0} MiB/s{:>41.0}  {}",
            least,
            verdict(speed >= least)
        );
    }
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Measures a row in turns, and prints it. Returns whether it is as it should be.
fn compare(row: &Row, runs: usize) -> bool {
    let folder = folder(row.on_disk);
    let nodes = Nodes::start(&folder.path().join("ours"), row.ours, None);
    let mut servers = vec![nodes.server()];
    let plain;
    match row.against {
        Against::Yardstick => {
            servers.push(servers::qemu_nbd(folder.path(), "yardstick"));
            servers.push(servers::quorum(folder.path()));
            servers.push(servers::nbdkit(folder.path()));
        }
        Against::Plain => {
            plain = Nodes::start(&folder.path().join("plain"), Replication::FULLSYNC, None);
            servers.push(plain.server());
        }
    }
    for server in &servers {
        fill(&server.socket);
    }
    let mut speeds = vec![Vec::new(); servers.len()];
    for _ in 0..runs {
        for (server, speeds) in servers.iter().zip(&mut speeds) {
            speeds.push(row.work.run(&server.socket));
        }
    }
    let figures: Vec<_> = speeds
        .into_iter()
        .map(|speeds| median(speeds.into_iter().map(|speed| row.figure(speed)).collect()))
        .collect();
    let ratio = figures[0] / figures[1];
    let cell = |index: usize| match (row.against, figures.get(index)) {
        (Against::Plain, _) | (_, None) => String::new(),
        (_, Some(figure)) => row.print(*figure),
    };
    println!(
        "{:<42} {:>10} {:>10} {:>10} {:>10} {ratio:>7.2} {:>7.2}  {}",
        row.name,
        row.print(figures[0]),
        cell(1),
        cell(2),
        cell(3),
        row.least,
        verdict(ratio >= row.least)
    );
    let [primary, secondary] = nodes.peak_memory().map(|octets| octets >> 20);
    println!("{:<42} at most {primary} and {secondary} MiB of memory", "");
    ratio >= row.least
}

impl Row {
    /// Small requests are counted, large ones are weighed.
    fn figure(&self, speed: Speed) -> f64 {
        match self.work.block {
            "4k" => speed.requests,
            _ => speed.octets,
        }
    }

    fn print(&self, figure: f64) -> String {
        match self.work.block {
            "4k" => format!("{:.1} k/s", figure / 1e3),
            _ => format!("{:.0} MB/s", figure / 1e6),
        }
    }
}

/// Has a node copy everything to the other one. Returns MiB per second.
fn copy(delay: Option<Duration>) -> f64 {
    let folder = folder(false);
    let mut nodes = Nodes::start(&folder.path().join("ours"), Replication::FULLSYNC, delay);
    nodes.stop_secondary();
    fill(&nodes.socket());
    let time = nodes.resynchronise();
    let mebibytes = u32::try_from(SIZE >> 20).expect("a small number");
    f64::from(mebibytes) / time.as_secs_f64()
}

fn folder(on_disk: bool) -> tempfile::TempDir {
    let folder = if on_disk {
        tempfile::tempdir()
    } else {
        tempfile::tempdir_in("/dev/shm")
    };
    folder.expect("a folder")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT MET" }
}

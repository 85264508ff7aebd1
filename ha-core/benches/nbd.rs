//! How quick the NBD server is with a file, beside `qemu-nbd` with the same file: `fio` is the
//! client of both, in turn.
//!
//!     cargo bench -p ha-core --features nbd --bench nbd
//!
//! Needs `fio`, `qemu-nbd` and room for a file of 512 MiB in the folder that `NBD_FOLDER` names,
//! otherwise in `/dev/shm`, which is memory. To make it shorter, set `NBD_RUNS=1`, or name what is
//! wanted: `-- "write 4k"`. Where less than a whole machine is free, only the ratios mean
//! something: each is the median of those of pairs of runs, one right after the other.

#![cfg(unix)]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that fails stops the program, and waiting is limited"
)]

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, fs, thread};

use ha_core::io::block::{DiskFile, DiskOptions, FileDevice};
use ha_core::io::nbd::{Export, Limits, Listener, Server};

/// What is measured: name, then what fio is told.
const WORK: [(&str, &[&str]); 6] = [
    (
        "write 4k qd1",
        &["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    ),
    (
        "write 4k qd32",
        &["--rw=randwrite", "--bs=4k", "--iodepth=32"],
    ),
    ("read 4k qd1", &["--rw=randread", "--bs=4k", "--iodepth=1"]),
    (
        "read 4k qd32",
        &["--rw=randread", "--bs=4k", "--iodepth=32"],
    ),
    ("write 1m qd8", &["--rw=write", "--bs=1m", "--iodepth=8"]),
    ("read 1m qd8", &["--rw=read", "--bs=1m", "--iodepth=8"]),
];
const SIZE: usize = 512 << 20;

fn main() {
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if let [command, file, socket] = &words[..] {
        if command == "serve" {
            serve(Path::new(file), Path::new(socket));
            return;
        }
    }
    let runs = env::var("NBD_RUNS").map_or(5, |runs| runs.parse().expect("a number of runs"));
    let folder = env::var("NBD_FOLDER").unwrap_or_else(|_| "/dev/shm".into());
    let file = PathBuf::from(&folder).join(format!("ha-nbd-{}", std::process::id()));
    fs::write(&file, vec![0x5a; SIZE]).expect("room for the file");
    println!(
        "{:<14} {:>12} {:>12} {:>7} {:>7} {:>7}",
        "", "ours", "qemu-nbd", "ratio", "min", "max"
    );
    for (name, work) in WORK {
        if words.is_empty() || words.iter().any(|word| name.contains(&**word)) {
            compare(name, work, &file, runs);
        }
    }
    fs::remove_file(file).expect("the file was there");
}

/// Prints a line of the table.
fn compare(name: &str, work: &[&str], file: &Path, runs: usize) {
    let mut pairs = Vec::new();
    for _ in 0..runs {
        let ours = with_server(&mut ours(file), work);
        let theirs = with_server(&mut qemu(file), work);
        pairs.push((ours, theirs));
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| ours / theirs).collect();
    println!(
        "{name:<14} {:>12.0} {:>12.0} {:>7.2} {:>7.2} {:>7.2}",
        median(pairs.iter().map(|pair| pair.0).collect()),
        median(pairs.iter().map(|pair| pair.1).collect()),
        median(ratios.clone()),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    );
}

fn socket() -> PathBuf {
    env::temp_dir().join(format!("ha-nbd-bench-{}", std::process::id()))
}

fn ours(file: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.arg("serve").arg(file).arg(socket());
    command
}

fn qemu(file: &Path) -> Command {
    let mut command = Command::new("qemu-nbd");
    command.args([
        "--format=raw",
        "--cache=writeback",
        "--persistent",
        "--shared=8",
    ]);
    command.arg("--socket").arg(socket()).arg(file);
    command
}

/// Ends the server that it is about, however the measurement ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(socket());
    }
}

/// Requests a second of fio, at the server that `command` starts.
fn with_server(command: &mut Command, work: &[&str]) -> f64 {
    let server = Running(command.stdout(Stdio::null()).spawn().expect("the server"));
    let mut tries = 0;
    while !socket().exists() {
        assert!(tries < 1000, "the server does not listen");
        tries += 1;
        thread::sleep(Duration::from_millis(10));
    }
    let uri = format!("--uri=nbd+unix:///?socket={}", socket().display());
    let fio = Command::new("fio")
        .args([
            "--name=work",
            "--ioengine=nbd",
            &uri,
            "--output-format=json",
        ])
        .args([
            "--time_based",
            "--ramp_time=1",
            "--runtime=4",
            "--size=512m",
        ])
        .args(["--randrepeat=0", "--norandommap", "--refill_buffers"])
        .args(work)
        .stderr(Stdio::inherit())
        .output()
        .expect("fio");
    drop(server);
    let said = String::from_utf8_lossy(&fio.stdout);
    let json = said.find('{').map_or("", |begin| &said[begin..]);
    let figures: serde_json::Value = serde_json::from_str(json)
        .unwrap_or_else(|error| panic!("fio {}: {error}\n{said}", fio.status));
    let iops = |kind: &str| figures["jobs"][0][kind]["iops"].as_f64().unwrap_or(0.0);
    iops("read") + iops("write")
}

/// The server that is measured: one thread.
fn serve(file: &Path, socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let disk = DiskFile::open(file, DiskOptions::default()).expect("the file");
        let server = Server::new(Limits::default());
        let export = Export::new("", Arc::new(FileDevice::new(disk)));
        server.add(export).expect("an export");
        let listener = Listener::unix(socket).await.expect("the socket");
        server.run(listener, |error| eprintln!("{error}")).await;
    });
}

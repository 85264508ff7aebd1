//! Two nodes of this project on one machine, with the programs that a user would start.

use core::fmt::Write as _;
use core::net::SocketAddr;
use core::time::Duration;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Instant;

use crate::relay;
use crate::servers::{Process, Server, free_address, image, wait_until};

/// How a resource is replicated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Replication {
    pub(crate) mode: &'static str,
    pub(crate) checksum: &'static str,
    pub(crate) compression: &'static str,
}

impl Replication {
    /// Both copies are written before a write is acknowledged; nothing else is done to the data.
    pub(crate) const FULLSYNC: Self = Self {
        mode: "fullsync",
        checksum: "none",
        compression: "none",
    };
}

/// The two nodes, whose names are `a` and `b`. The first one serves the device.
pub(crate) struct Nodes {
    folder: PathBuf,
    config: PathBuf,
    secondary: Option<Process>,
    primary: Process,
}

impl Nodes {
    /// Starts both and waits until they agree, with `delay` in each direction between them.
    pub(crate) fn start(folder: &Path, how: Replication, delay: Option<Duration>) -> Self {
        fs::create_dir(folder).expect("a folder");
        let config = folder.join("hast.conf");
        fs::write(&config, configuration(folder, how, delay)).expect("a configuration");
        for node in ["a", "b"] {
            image(folder, node);
            hastctl(&config, node, &["create", "bench"]);
        }
        let nodes = Self {
            secondary: Some(start(folder, &config, "b")),
            primary: start(folder, &config, "a"),
            folder: folder.to_owned(),
            config,
        };
        nodes.take_role("b", "secondary");
        nodes.take_role("a", "primary");
        nodes.await_agreement();
        nodes
    }

    /// Where the device is.
    pub(crate) fn socket(&self) -> PathBuf {
        let socket = self.folder.join("a/bench");
        wait_until("the device", || socket.exists());
        socket
    }

    /// Ends the secondary.
    pub(crate) fn stop_secondary(&mut self) {
        self.secondary = None;
        // It was killed, and the next one is waited for by this.
        fs::remove_file(self.folder.join("b.ctl")).expect("its control socket");
        wait_until("the primary to notice", || {
            self.status()["status"] == "degraded"
        });
    }

    /// Starts it again, and returns how long it then took until both nodes had the same.
    pub(crate) fn resynchronise(&mut self) -> Duration {
        self.secondary = Some(start(&self.folder, &self.config, "b"));
        self.take_role("b", "secondary");
        let dirty = |nodes: &Self| nodes.status()["dirty"].as_u64().expect("a number");
        let before = dirty(self);
        wait_until("the first block to be copied", || dirty(self) < before);
        let start = Instant::now();
        self.await_agreement();
        start.elapsed()
    }

    /// What the primary says.
    fn status(&self) -> serde_json::Value {
        let output = hastctl(&self.config, "a", &["status", "--json", "bench"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        report["resources"][0]["worker"].clone()
    }

    fn await_agreement(&self) {
        wait_until("the nodes to agree", || {
            let status = self.status();
            status["status"] == "complete" && status["dirty"] == 0
        });
    }

    fn take_role(&self, node: &str, role: &str) {
        hastctl(&self.config, node, &["role", role, "bench"]);
    }

    /// The most memory that the two have held, in octets.
    pub(crate) fn peak_memory(&self) -> [u64; 2] {
        let secondary = self.secondary.as_ref().expect("it runs");
        [self.primary.id(), secondary.id()].map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
            let line = status.lines().find(|line| line.starts_with("VmHWM:"));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            number.expect("a number") * 1024
        })
    }

    /// The device as a client sees it, with nothing to end.
    pub(crate) fn server(&self) -> Server {
        Server::with(self.socket(), Vec::new())
    }
}

fn configuration(folder: &Path, how: Replication, delay: Option<Duration>) -> String {
    let [a, b] = [free_address(), free_address()];
    let to_b = delay.map_or(b, |delay| {
        let near = free_address();
        relay::start(near, b, delay);
        near
    });
    let mut text = String::new();
    let Replication {
        mode,
        checksum,
        compression,
    } = how;
    let _ = writeln!(
        text,
        "replication {mode}\nchecksum {checksum}\ncompression {compression}\ntimeout 20"
    );
    for (node, address) in [("a", a), ("b", b)] {
        let _ = writeln!(
            text,
            "on {node} {{\n\tcontrol {}\n\tlisten {}\n}}",
            folder.join(format!("{node}.ctl")).display(),
            tcp(address),
        );
    }
    let _ = writeln!(text, "resource bench {{");
    for (node, remote) in [("a", to_b), ("b", a)] {
        let _ = writeln!(
            text,
            "\ton {node} {{\n\t\tlocal {}\n\t\tremote {}\n\t}}",
            folder.join(format!("{node}.img")).display(),
            tcp(remote),
        );
    }
    text + "}\n"
}

fn tcp(address: SocketAddr) -> String {
    format!("tcp4://{address}")
}

fn start(folder: &Path, config: &Path, node: &str) -> Process {
    let process = Process::start(
        folder,
        &format!("{node}.log"),
        Command::new(program("hastd"))
            .arg("-F")
            .arg("-c")
            .arg(config)
            .args(["--node", node, "--devices"])
            .arg(folder.join(node)),
    );
    let control = folder.join(format!("{node}.ctl"));
    wait_until("the control socket", || control.exists());
    process
}

fn hastctl(config: &Path, node: &str, words: &[&str]) -> Output {
    let output = Command::new(program("hastctl"))
        .args(words)
        .arg("-c")
        .arg(config)
        .args(["--node", node])
        .output()
        .expect("hastctl");
    assert!(output.status.success(), "hastctl {words:?}: {output:?}");
    output
}

/// The path of a program of ours, built with optimisation the first time.
fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // This program is TARGET/release/deps/NAME.
        let this = env::current_exe().expect("a path of our own");
        let target = this.ancestors().nth(3).expect("a target directory");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "examples"])
            .args(["--example", "hastd", "--example", "hastctl", "--target-dir"])
            .arg(target)
            .status()
            .expect("cargo");
        assert!(status.success(), "the programs should build");
        target.join("release/examples")
    });
    folder.join(name)
}

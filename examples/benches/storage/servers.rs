//! What is measured: this project's `hastd`, and what else serves a file to NBD clients.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// Of every device.
pub(crate) const SIZE: u64 = 1 << 30;
const LIMIT: Duration = Duration::from_secs(30);

/// A running program that ends with this value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(folder: &Path, log: &str, command: &mut Command) -> Self {
        let log = File::create(folder.join(log)).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("a program");
        Self(child)
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Something that serves a device.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    pub(crate) processes: Vec<Process>,
}

/// `qemu-nbd` on one file: the yardstick.
pub(crate) fn qemu_nbd(folder: &Path, name: &str) -> Server {
    let image = image(folder, name);
    let socket = folder.join(format!("{name}.sock"));
    let process = Process::start(
        folder,
        &format!("{name}.log"),
        Command::new("qemu-nbd")
            .args([
                "--persistent",
                "--format=raw",
                "--shared=8",
                "--cache=writeback",
            ])
            .arg("--socket")
            .arg(&socket)
            .arg(image),
    );
    Server::with(socket, vec![process])
}

/// `nbdkit` on one file.
pub(crate) fn nbdkit(folder: &Path) -> Server {
    let image = image(folder, "nbdkit");
    let socket = folder.join("nbdkit.sock");
    let process = Process::start(
        folder,
        "nbdkit.log",
        Command::new("nbdkit")
            .args(["--foreground", "--exit-with-parent", "--unix"])
            .arg(&socket)
            .arg("file")
            .arg(image),
    );
    Server::with(socket, vec![process])
}

/// QEMU's storage daemon on a file and on another server: two copies, both of them written before
/// a write is acknowledged.
pub(crate) fn quorum(folder: &Path) -> Server {
    let image = image(folder, "quorum");
    let other = qemu_nbd(folder, "quorum-other");
    let socket = folder.join("quorum.sock");
    let blockdevs = [
        format!("driver=file,filename={},node-name=near", image.display()),
        format!(
            "driver=nbd,server.type=unix,server.path={},node-name=far",
            other.socket.display()
        ),
        "driver=quorum,node-name=both,vote-threshold=2,children.0=near,children.1=far".to_owned(),
    ];
    let mut command = Command::new("qemu-storage-daemon");
    for blockdev in blockdevs {
        command.args(["--blockdev", &blockdev]);
    }
    command
        .arg("--nbd-server")
        .arg(format!(
            "addr.type=unix,addr.path={},max-connections=8",
            socket.display()
        ))
        .args([
            "--export",
            "type=nbd,id=both,node-name=both,name=,writable=on",
        ]);
    let mut processes = vec![Process::start(folder, "quorum.log", &mut command)];
    processes.extend(other.processes);
    Server::with(socket, processes)
}

impl Server {
    /// Waits until it listens.
    pub(crate) fn with(socket: PathBuf, processes: Vec<Process>) -> Self {
        wait_until("a server's socket", || socket.exists());
        Self { socket, processes }
    }
}

/// An empty file of the size of all devices.
pub(crate) fn image(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.img"));
    let file = File::create(&path).expect("a file");
    file.set_len(SIZE).expect("a size");
    path
}

/// A port on which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

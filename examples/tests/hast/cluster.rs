//! Two nodes on this machine: two processes, two files, one `hast.conf`.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::relay::Relay;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What is on a provider before the data, with extents of the usual size.
const DATA: u64 = 4608;

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Node {
    Ada,
    Bob,
}

use Node::{Ada, Bob};

impl Node {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Ada => "ada",
            Bob => "bob",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Ada => Bob,
            Bob => Ada,
        }
    }
}

/// The two nodes. What runs is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    listen: [SocketAddr; 2],
    /// Where each node is reached: by its relay, unless it is elsewhere.
    reached: [SocketAddr; 2],
    /// Each leads to the node of its number.
    relays: [Relay; 2],
    /// The words before each daemon's program, if something else is to start it.
    starters: [Vec<String>; 2],
    daemons: [Option<Child>; 2],
}

impl Cluster {
    /// Makes providers of this size, and lets nothing run yet. `settings` are those of the
    /// resource "shared".
    pub(crate) fn new(size: u64, settings: &str) -> Self {
        let cluster = Self::bare(settings);
        cluster.create(size);
        cluster
    }

    /// The same without providers.
    pub(crate) fn bare(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = [free_address(), free_address()];
        let relays = listen.map(|address| Relay::to(address).expect("a relay"));
        let cluster = Self {
            folder,
            listen,
            reached: [relays[0].address(), relays[1].address()],
            relays,
            starters: [Vec::new(), Vec::new()],
            daemons: [None, None],
        };
        cluster.configure(settings);
        cluster
    }

    /// The nodes are at these addresses, and reach each other without relays.
    pub(crate) fn place(&mut self, addresses: [SocketAddr; 2], settings: &str) {
        (self.listen, self.reached) = (addresses, addresses);
        self.configure(settings);
    }

    /// Has the daemon of a node started by another program, which is to become hastd: these are
    /// the words before those that start it.
    pub(crate) fn start_by(&mut self, node: Node, words: &[&str]) {
        self.starters[node as usize] = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Makes providers of this size.
    pub(crate) fn create(&self, size: u64) {
        for node in [Ada, Bob] {
            self.make_provider(node, size);
            self.prepare_provider(node);
        }
    }

    pub(crate) fn prepare_provider(&self, node: Node) {
        let created = self.ctl(node, &["create", "shared"]);
        assert!(created.status.success(), "{created:?}");
    }

    /// Writes the configuration, of which hastd hears by a reload.
    pub(crate) fn configure(&self, settings: &str) {
        self.write_config(&self.config(settings));
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.path("hast.conf"), text).expect("a file");
    }

    pub(crate) fn config(&self, settings: &str) -> String {
        let mut text = String::new();
        for node in [Ada, Bob] {
            text += &format!(
                "on {} {{ control {} listen tcp4://{} }}\n",
                node.name(),
                self.path(&format!("{}.control", node.name())).display(),
                self.listen[node as usize],
            );
        }
        text += &format!("resource shared {{\n{settings}\n");
        for node in [Ada, Bob] {
            text += &format!(
                "on {} {{ local {} remote tcp4://{} }}\n",
                node.name(),
                self.provider(node).display(),
                self.reached[node.other() as usize],
            );
        }
        text + "}\n"
    }

    /// Where a node listens for its peer.
    pub(crate) const fn address(&self, node: Node) -> SocketAddr {
        self.listen[node as usize]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn provider(&self, node: Node) -> PathBuf {
        self.path(&format!("{}.disk", node.name()))
    }

    pub(crate) fn make_provider(&self, node: Node, size: u64) {
        let file = File::create(self.provider(node)).expect("a file");
        file.set_len(size).expect("room");
    }

    /// The relay by which `node` is reached.
    pub(crate) fn relay(&self, node: Node) -> &Relay {
        &self.relays[node as usize]
    }

    /// The socket of the device of a primary.
    pub(crate) fn device(&self, node: Node) -> PathBuf {
        self.path(&format!("{}.devices", node.name()))
            .join("shared")
    }

    /// Starts a daemon, and waits until it takes orders.
    pub(crate) fn start(&mut self, node: Node) {
        self.start_with(node, &[]);
    }

    /// The same with more options.
    pub(crate) fn start_with(&mut self, node: Node, options: &[&str]) {
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{}.log", node.name())))
            .expect("a log");
        let mut child = self
            .daemon(node)
            .args(["-F", "--reconnect", "0.1"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        // The daemon itself may not be able to write files.
        let mut said = child.stderr.take().expect("a pipe");
        thread::spawn(move || io::copy(&mut said, &mut log));
        self.daemons[node as usize] = Some(child);
        wait_until("hastd takes orders", || {
            self.ctl(node, &["status"]).status.success()
        });
    }

    /// Runs hastd on a node, until it ends or goes into the background.
    pub(crate) fn hastd(&self, node: Node, arguments: &[&str]) -> Output {
        let mut daemon = self.daemon(node);
        daemon.args(arguments).stdin(Stdio::null());
        daemon.output().expect("a process")
    }

    fn daemon(&self, node: Node) -> Command {
        let own = program("hastd");
        let mut daemon = match self.starters[node as usize].split_first() {
            None => own,
            Some((starter, words)) => {
                let mut daemon = Command::new(starter);
                daemon.args(words).arg(own.get_program());
                daemon.args(own.get_args());
                daemon
            }
        };
        daemon
            .args(["--node", node.name(), "--devices"])
            .arg(self.path(&format!("{}.devices", node.name())))
            .arg("-c")
            .arg(self.path("hast.conf"));
        daemon
    }

    pub(crate) fn start_both(&mut self) {
        self.start(Ada);
        self.start(Bob);
    }

    /// Starts both, makes them primary and secondary, and waits until they agree.
    pub(crate) fn start_in_roles(&mut self, primary: Node) {
        self.start_both();
        self.role(primary.other(), "secondary");
        self.role(primary, "primary");
        self.wait_until_synchronised(primary);
    }

    /// Ends a daemon at once, as a crash does.
    pub(crate) fn kill(&mut self, node: Node) {
        if let Some(mut child) = self.daemons[node as usize].take() {
            child.kill().expect("a process of ours");
            child.wait().expect("a process of ours");
        }
    }

    pub(crate) fn signal(&self, node: Node, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(node), signal).expect("a process of ours");
    }

    pub(crate) fn pid(&self, node: Node) -> rustix::process::Pid {
        let child = self.daemons[node as usize].as_ref().expect("a daemon");
        rustix::process::Pid::from_child(child)
    }

    /// How long a change of the role takes, from the start of hastctl to its end, and how it ends.
    pub(crate) fn time_role(&self, node: Node, role: &str) -> (Duration, Output) {
        let began = Instant::now();
        let changed = self.ctl(node, &["role", role, "shared"]);
        (began.elapsed(), changed)
    }

    /// Ends a daemon politely, and waits for it.
    pub(crate) fn stop(&mut self, node: Node) {
        self.signal(node, rustix::process::Signal::TERM);
        let mut child = self.daemons[node as usize].take().expect("a daemon");
        let status = child.wait().expect("a process of ours");
        assert!(status.success(), "{status}\n{}", self.log(node));
    }

    /// Runs hastctl on a node.
    pub(crate) fn ctl(&self, node: Node, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().expect("a command");
        program("hastctl")
            .args([command, "--node", node.name(), "-c"])
            .arg(self.path("hast.conf"))
            .args(rest)
            .stdin(Stdio::null())
            .output()
            .expect("a process")
    }

    pub(crate) fn role(&self, node: Node, role: &str) {
        let changed = self.ctl(node, &["role", role, "shared"]);
        assert!(changed.status.success(), "{changed:?}\n{}", self.log(node));
    }

    /// What hastd tells about the resource.
    pub(crate) fn status(&self, node: Node) -> Value {
        let output = self.ctl(node, &["status", "--json", "shared"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        document["resources"][0].clone()
    }

    pub(crate) fn is_connected(&self, node: Node) -> bool {
        self.status(node)["worker"]["status"] == "complete"
    }

    /// Waits until nothing differs any more.
    pub(crate) fn wait_until_synchronised(&self, primary: Node) {
        let mut status = Value::Null;
        let agreed = wait(|| {
            status = self.status(primary);
            status["worker"]["status"] == "complete" && status["worker"]["dirty"] == 0
        });
        assert!(agreed, "not synchronised: {status}\n{}", self.log(primary));
    }

    pub(crate) fn log(&self, node: Node) -> String {
        fs::read_to_string(self.path(&format!("{}.log", node.name()))).unwrap_or_default()
    }

    /// Waits until a log says something.
    pub(crate) fn wait_for_log(&self, node: Node, text: &str) {
        let told = wait(|| self.log(node).contains(text));
        assert!(told, "{text:?} is not in the log:\n{}", self.log(node));
    }

    /// Ends both roles, and compares the data areas.
    pub(crate) fn check_equal(&self) {
        for node in [Ada, Bob] {
            self.role(node, "init");
        }
        let [ada, bob] = [Ada, Bob].map(|node| data(&self.provider(node)).expect("data"));
        let differs = ada.iter().zip(&bob).position(|(ada, bob)| ada != bob);
        assert_eq!(differs, None, "the data differ at this offset");
        assert_eq!(ada.len(), bob.len());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.daemons.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// This program again, as one of the examples.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path of our own"));
    command.arg(name);
    command
}

pub(crate) fn wait_until(what: &str, done: impl FnMut() -> bool) {
    assert!(wait(done), "{what}: not within {PATIENCE:?}");
}

fn wait(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The data area of a provider.
pub(crate) fn data(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(DATA))?;
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    Ok(data)
}

/// An address that is free now, and stays so: its port is below those that systems give to
/// clients, and no other test of this run gets it.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_000).unwrap_or_default() * 10;
    let free = (0..10_000).find_map(|_| {
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = 20_000 + (first + next) % 10_000;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        listener.local_addr().ok()
    });
    free.expect("a free port")
}

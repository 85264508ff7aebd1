//! A node: a host, and `had` on it with one unit.

use core::fmt::Write as _;
use core::time::Duration;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::disk::{Disk, NAME};
use super::machine::Machine;
use super::network::{ARBITER, Net, Network, SERVICE, Side};
use super::{service, wait_for};

/// How long had may take to end after SIGTERM.
const ENDING: Duration = Duration::from_secs(30);
/// Where the file system is mounted.
const MOUNT: &str = "/run/srv";

/// What the units of both nodes have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) replication: &'static str,
    pub(crate) arbiter: bool,
}

/// A node.
pub(crate) struct Node {
    pub(crate) side: Side,
    dir: PathBuf,
    disk: Disk,
    machine: Option<Machine>,
    had: Option<Child>,
}

impl Node {
    /// A node that is switched off.
    pub(crate) fn new(side: Side, dir: &Path, disk: Disk, settings: Settings) -> Self {
        let dir = dir.join(side.name());
        fs::create_dir(&dir).expect("a directory");
        let config = config(side, &dir, disk.device(), settings);
        fs::write(dir.join("had.toml"), config).expect("a configuration");
        Self {
            side,
            dir,
            disk,
            machine: None,
            had: None,
        }
    }

    /// A place for a file of this node.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Switches it on, and starts had.
    pub(crate) fn boot(&mut self, network: &Network) {
        assert!(self.machine.is_none(), "it is on");
        self.machine = Some(Machine::boot(network, self.side));
        self.start();
    }

    /// Starts had.
    pub(crate) fn start(&mut self) {
        assert!(self.had.is_none(), "had runs");
        let _ = self.machine().run(command("mkdir", &["-p", MOUNT]));
        let mut had = self.ours(&["had", "run", "--config"]);
        had.arg(self.dir.join("had.toml"));
        self.had = Some(self.machine().spawn(had, &self.dir.join("had.log")));
    }

    /// A command to this program.
    fn ours(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env::current_exe().expect("our own name"));
        command.args(words);
        command
    }

    fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("it is on")
    }

    /// Whether one of its interfaces has this address.
    pub(crate) fn has_address(&self, address: &str) -> bool {
        let shows = |machine: &Machine| {
            let words = format!("-o address show to {address}");
            !machine.namespace().ip(&words).is_empty()
        };
        self.machine.as_ref().is_some_and(shows)
    }

    /// Sends had a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let had = self.had.as_ref().expect("had runs");
        let pid = Pid::from_raw(had.id().try_into().expect("a process id"));
        kill(pid, signal).expect("had runs");
    }

    /// Kills had alone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.had.take().map(|mut had| had.wait());
    }

    /// Waits until had has ended by itself, which it must have done well.
    pub(crate) fn await_end(&mut self) {
        let mut had = self.had.take().expect("had runs");
        let mut status = None;
        wait_for(
            ENDING,
            || format!("the end of had on {}", self.side.name()),
            || {
                status = had.try_wait().expect("a child of ours");
                status.is_some()
            },
        );
        let status = status.expect("it has ended");
        assert!(status.success(), "had ended with {status}: {}", self.log());
    }

    /// Cuts its power.
    pub(crate) fn crash(&mut self, network: &Network) {
        self.machine().unplug(network);
        self.end();
    }

    fn end(&mut self) {
        if let Some(machine) = self.machine.take() {
            machine.end(self.had.take());
        }
        release(&self.dir);
    }

    /// Kills the service alone.
    pub(crate) fn kill_service(&self) {
        let output = self.machine().run(self.ours(&["service-kill"]));
        assert!(output.status.success(), "{output:?}");
    }

    /// Commands had by its control socket.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        self.machine()
            .run(self.ours(&[&["had"][..], words].concat()))
    }

    /// What had says of the unit; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        self.had.as_ref()?;
        let output = self.command(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["own"]["units"].get(0).cloned()
    }

    /// The state of the unit.
    pub(crate) fn state(&self) -> String {
        let status = self.status().unwrap_or_default();
        status["state"].as_str().unwrap_or("nothing").to_owned()
    }

    /// Whether it could take over now.
    pub(crate) fn is_fit(&self) -> bool {
        self.status().is_some_and(|status| {
            status["state"] == "standby"
                && status["storage"]["data"] == "up-to-date"
                && status["storage"]["resource"]["connected"] == true
                && status["causes"].as_array().is_some_and(Vec::is_empty)
        })
    }

    /// The events that had has told so far, one a line.
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.dir.join("events.jsonl")).unwrap_or_default();
        let values = lines.lines().map(serde_json::from_str);
        values.collect::<Result<_, _>>().expect("events in JSON")
    }

    /// The end of what had has printed.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("had.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let name = format!("had-lab-{}-{}.log", std::process::id(), self.side.name());
            let copy = env::temp_dir().join(name);
            let _ = fs::copy(self.dir.join("had.log"), &copy);
            eprintln!("--- the log of {} is {}", self.side.name(), copy.display());
        }
    }
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// Takes the loop device away that a host without power has left to the kernel.
fn release(dir: &Path) {
    let device = dir.join("device");
    if let Ok(found) = fs::read_link(&device) {
        // In use it stays until it is not: mounts vanish a little later than their namespace.
        let _ = Command::new("losetup").arg("--detach").arg(found).status();
    }
    for name in ["device", "device.pid", "device.file"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

fn config(side: Side, dir: &Path, disk: &str, settings: Settings) -> String {
    let (other, own) = (side.other(), |net| side.address(net));
    let (id, name, dir) = (side.id(), side.name(), dir.display());
    let me = env::current_exe().expect("our own name");
    let me = me.display();
    let attach = format!("{}/had/attach-fuse.sh", env!("CARGO_MANIFEST_DIR"));
    let mut text = format!(
        r#"
[node]
id = {id}
name = "{name}"
run = "/run/had"
[[node.peer]]
id = {peer_id}
name = "{peer}"

[log]
events = "{dir}/events.jsonl"

[hast]
listen = ["{replication_address}:8457"]

[[unit]]
name = "{NAME}"
[[unit.carp]]
interface = "{interface}"
vhid = 1
addresses = ["{SERVICE}/24"]
passphrase = "laboratory"
advskew = {advskew}

[unit.resource]
local = "{disk}"
remote = "{remote}"
source = "{replication_address}"
replication = "{replication}"
timeout = 2
reconnect = 1

[unit.device]
device = "{dir}/device"
attach = ["{attach}"]
detach = ["{attach}", "detach"]

[[unit.mount]]
at = "{MOUNT}"
type = "ext4"
options = "noatime"

[[unit.service]]
name = "log"
start = ["{me}", "service-start", "{id}", "{MOUNT}/log"]
stop = ["{me}", "service-stop"]
kill = ["{me}", "service-kill"]

[[unit.check]]
name = "log"
tcp = "127.0.0.1:{port}"
interval = 0.2
limit = 1
fall = 2
when = "active"
forgive = 3

[unit.hold]
start = 4
failed = 5
left = 3
stuck = 5
"#,
        peer = other.name(),
        peer_id = other.id(),
        interface = Net::Service.interface(),
        advskew = 100 * side.id(),
        remote = other.address(Net::Replication),
        replication_address = own(Net::Replication),
        replication = settings.replication,
        port = service::PORT,
    );
    if settings.arbiter {
        let _ = write!(
            text,
            "\n[unit.arbiter]\netcd = [\"http://{ARBITER}:2379\"]\nttl = 4\nstop_early = 1\n\
             interval = 0.7\npatience = 0.5\nwhen_lost = \"release\"\n"
        );
    }
    text
}

//! The programs that share the address: `carpd` of this project, `ucarp` and `keepalived`.

use core::fmt::Write as _;
use core::time::Duration;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Confines, Lab, Node, Process, wait_for, wait_until};

/// The shared address of most tests.
pub(crate) const SHARED: &str = "192.0.2.1";
/// Its prefix length.
const PREFIX: u8 = 24;
/// The passphrase of the group.
pub(crate) const PASS: &str = "laboratory";

const LIMIT: Duration = Duration::from_secs(10);

/// A virtual host of `carpd`.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) interface: &'static str,
    pub(crate) vhid: u8,
    pub(crate) addresses: Vec<String>,
    pub(crate) passphrase: &'static str,
    pub(crate) rules: &'static str,
    pub(crate) advbase: u8,
    pub(crate) advskew: u8,
    pub(crate) preempt: bool,
    /// Further lines of its table.
    pub(crate) more: String,
}

impl Host {
    /// One with the shared address, by the rules of FreeBSD.
    pub(crate) fn new(advskew: u8) -> Self {
        Self {
            interface: Node::INTERFACE,
            vhid: 1,
            addresses: vec![format!("{SHARED}/{PREFIX}")],
            passphrase: PASS,
            rules: "freebsd",
            advbase: 1,
            advskew,
            preempt: true,
            more: String::new(),
        }
    }

    /// One that speaks VRRPv3, with the checksum as keepalived wants it.
    pub(crate) fn vrrp(priority: u8, centiseconds: u16) -> Self {
        Self {
            rules: "vrrp",
            more: format!(
                "priority = {priority}\ninterval = {centiseconds}\npseudo_header = true\n"
            ),
            ..Self::new(0)
        }
    }

    pub(crate) fn is_vrrp(&self) -> bool {
        self.rules.starts_with("vrrp")
    }

    fn table(&self) -> String {
        let mut table = format!(
            "[[host]]\ninterface = {:?}\nvhid = {}\naddresses = {:?}\nrules = {:?}\n\
             preempt = {}\n",
            self.interface, self.vhid, self.addresses, self.rules, self.preempt
        );
        // VRRPv3 has neither passphrase nor advskew.
        if !self.is_vrrp() {
            let _ = writeln!(
                table,
                "passphrase = {:?}\nadvbase = {}\nadvskew = {}",
                self.passphrase, self.advbase, self.advskew
            );
        }
        table + &self.more
    }
}

/// How `carpd` is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    /// Lines of the table of its interface.
    pub(crate) interface: &'a str,
    pub(crate) options: &'a [&'a str],
    pub(crate) confines: Confines<'a>,
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self {
            interface: "",
            options: &[],
            confines: Confines {
                capabilities: CAPABILITIES,
                ..Confines::default()
            },
        }
    }
}

/// A running `carpd`.
pub(crate) struct Carpd {
    process: Process,
    control: PathBuf,
    config: PathBuf,
    /// How long the log was when it was started.
    log_start: usize,
}

impl Carpd {
    /// Starts it on a node, with one virtual host.
    pub(crate) fn start(lab: &Lab, node: u8, host: &Host) -> Self {
        Self::launch(lab, node, core::slice::from_ref(host), &Launch::default())
    }

    /// Starts it with any number of virtual hosts on one interface.
    pub(crate) fn launch(lab: &Lab, node: u8, hosts: &[Host], launch: &Launch<'_>) -> Self {
        let home = lab.file(&format!("carpd-{node}"));
        fs::create_dir_all(&home).expect("a directory for the daemon");
        chown(&home, launch.confines.user, launch.confines.user).expect("another owner");
        let config = home.join("carpd.toml");
        let control = home.join("control");
        let _ = fs::remove_file(&control);
        let file = Self::file(&control, hosts, launch.interface);
        fs::write(&config, file).expect("a configuration file");
        let log_start = fs::metadata(log(lab, node)).map_or(0, |metadata| metadata.len());
        let mut arguments = vec!["--config".to_owned(), config.display().to_string()];
        arguments.extend(launch.options.iter().map(|&option| option.to_owned()));
        let mut process = start(lab, node, &launch.confines, &arguments);
        wait_until("the control socket of carpd", LIMIT, || {
            assert!(!process.has_ended(), "carpd ended:\n{}", process.log());
            UnixStream::connect(&control).is_ok()
        });
        Self {
            process,
            control,
            config,
            log_start: usize::try_from(log_start).expect("a short log"),
        }
    }

    fn file(control: &Path, hosts: &[Host], interface: &str) -> String {
        let name = hosts.first().map_or(Node::INTERFACE, |host| host.interface);
        let tables: Vec<_> = hosts.iter().map(Host::table).collect();
        format!(
            "control = {:?}\n\n[[interface]]\nname = {name:?}\n{interface}\n\n{}",
            control.display().to_string(),
            tables.join("\n")
        )
    }

    /// Changes its configuration file, and tells it.
    pub(crate) fn reload(&self, hosts: &[Host]) {
        self.reload_text(&Self::file(&self.control, hosts, ""));
    }

    /// The same with any text.
    pub(crate) fn reload_text(&self, text: &str) {
        fs::write(&self.config, text).expect("a configuration file");
        self.process.signal(Signal::SIGHUP);
    }

    /// What it has logged since it was started.
    pub(crate) fn log(&self) -> String {
        self.process.log().split_off(self.log_start)
    }

    /// The changes of state that it has logged, such as `BACKUP -> MASTER (master timed out)`.
    pub(crate) fn changes(&self) -> Vec<String> {
        changes(&self.log())
    }

    /// Its whole status.
    pub(crate) fn status(&self) -> Value {
        let mut socket = UnixStream::connect(&self.control).expect("the control socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a time limit");
        socket.write_all(b"status\n").expect("a reader");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("a status");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    /// The states of its virtual hosts, in their order.
    pub(crate) fn states(&self) -> Vec<String> {
        let status = self.status();
        let hosts = status["hosts"].as_array().expect("virtual hosts");
        let states = hosts.iter().map(|host| host["state"].as_str());
        states
            .map(|state| state.expect("a state").to_owned())
            .collect()
    }

    /// Waits until all its virtual hosts are in this state.
    pub(crate) fn await_state(&self, state: &str, limit: Duration) {
        wait_for(
            limit,
            || {
                format!(
                    "{state} of {}, whose states are {:?}",
                    self.process,
                    self.states()
                )
            },
            || {
                let states = self.states();
                // Just after the start there are none yet.
                !states.is_empty() && states.iter().all(|own| own == state)
            },
        );
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it as an operator would. It must say goodbye and succeed.
    pub(crate) fn stop(self) {
        let status = self.process.stop();
        assert!(status.success(), "carpd ended with {status}");
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// What `carpd` may do. The last is for `--realtime` alone.
const CAPABILITIES: &[&str] = &["net_raw", "net_admin", "sys_nice"];

/// The file in which all that run on a node write.
fn log(lab: &Lab, node: u8) -> PathBuf {
    lab.file(&format!("carpd-{node}.log"))
}

fn start(lab: &Lab, node: u8, confines: &Confines<'_>, arguments: &[String]) -> Process {
    let mut program = carpd().to_owned();
    if confines.user.is_some() {
        // Where it was built, others may not look.
        let copy = lab.file("carpd");
        fs::copy(&program, &copy).expect("a copy of carpd");
        program = copy;
    }
    let namespace = lab.node(node).namespace();
    Process::confined(confines, namespace, &log(lab, node), program, arguments)
}

/// The changes of state in a log of `carpd`, each with its reason.
pub(crate) fn changes(log: &str) -> Vec<String> {
    let change = |line: &str| {
        let arrow = line.find(" -> ")?;
        let begin = line[..arrow].rfind(|c: char| !c.is_ascii_uppercase())? + 1;
        let end = arrow + line[arrow..].find(')')?;
        Some(line[begin..=end].to_owned())
    };
    log.lines().filter_map(change).collect()
}

/// Starts `carpd` with options instead of a file.
pub(crate) fn carpd_with_options(lab: &Lab, node: u8, options: &[&str]) -> Process {
    let options: Vec<_> = options.iter().map(ToString::to_string).collect();
    let confines = Confines {
        capabilities: &["net_raw", "net_admin"],
        ..Confines::default()
    };
    start(lab, node, &confines, &options)
}

/// Starts `carpd` with one capability alone. Returns what it says before it ends.
pub(crate) fn carpd_with_only(lab: &Lab, node: u8, capability: &str) -> String {
    let options = format!(
        "-i eth0 -v 1 -p {PASS} -a {SHARED} -s {}",
        lab.node(node).ipv4()
    );
    let confines = Confines {
        capabilities: &[capability],
        ..Confines::default()
    };
    let mut process = start(lab, node, &confines, &words(&options));
    wait_until("carpd to refuse to start", LIMIT, || process.has_ended());
    process.log()
}

/// The path of `carpd`, which is built with optimisation the first time it is asked for.
fn carpd() -> &'static Path {
    static CARPD: OnceLock<PathBuf> = OnceLock::new();
    CARPD.get_or_init(|| {
        // This test is TARGET/PROFILE/deps/NAME.
        let this = env::current_exe().expect("a path of our own");
        let target = this.ancestors().nth(3).expect("a target directory");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "examples"])
            .args(["--example", "carpd", "--target-dir"])
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .expect("cargo");
        assert!(status.success(), "carpd should build");
        target.join("release/examples/carpd")
    })
}

/// What `ucarp` is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ucarp {
    pub(crate) advskew: u8,
    pub(crate) preempt: bool,
    pub(crate) passphrase: &'static str,
}

impl Ucarp {
    pub(crate) fn new(advskew: u8) -> Self {
        Self {
            advskew,
            preempt: true,
            passphrase: PASS,
        }
    }

    /// Starts it on a node.
    pub(crate) fn start(self, lab: &Lab, node: u8) -> Process {
        let add = script(lab, "up", "add");
        let delete = script(lab, "down", "del");
        let mut arguments = format!(
            "-i eth0 -s {} -v 1 -p {} -a {SHARED} -b 1 -k {} -z -f none -u {add} -d {delete}",
            lab.node(node).ipv4(),
            self.passphrase,
            self.advskew
        );
        if self.preempt {
            arguments.push_str(" -P");
        }
        Process::start(
            lab.node(node).namespace(),
            &lab.file(&format!("ucarp-{node}.log")),
            "ucarp",
            &words(&arguments),
        )
    }
}

/// A script for `ucarp` that changes the address.
fn script(lab: &Lab, name: &str, verb: &str) -> String {
    let path = lab.file(&format!("ucarp-{name}"));
    if !path.exists() {
        let text = format!("#!/bin/sh\nexec ip addr {verb} \"$2/{PREFIX}\" dev \"$1\"\n");
        // In two steps, as another daemon may run it at once.
        let draft = lab.unique("script");
        fs::write(&draft, text).expect("a script");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("a script");
        fs::rename(&draft, &path).expect("a script");
    }
    path.display().to_string()
}

/// What `keepalived` is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalived {
    pub(crate) priority: u8,
    /// Between its advertisements.
    pub(crate) centiseconds: u16,
}

impl Keepalived {
    /// Starts it on a node.
    pub(crate) fn start(self, lab: &Lab, node: u8) -> Process {
        let seconds = f64::from(self.centiseconds) / 100.0;
        let config = format!(
            "global_defs {{\n vrrp_version 3\n}}\n\
             vrrp_instance lab {{\n state BACKUP\n interface eth0\n virtual_router_id 1\n \
             priority {}\n advert_int {seconds}\n virtual_ipaddress {{\n {SHARED}/{PREFIX}\n }}\n}}\n",
            self.priority
        );
        let file = |suffix| lab.file(&format!("keepalived-{node}.{suffix}"));
        fs::write(file("conf"), config).expect("a configuration file");
        // Left by one that was killed, they keep the next from starting.
        let _ = fs::remove_file(file("pid"));
        let _ = fs::remove_file(file("vrrp"));
        let arguments = format!(
            "-n -l -D -P -G -f {} -p {} -r {}",
            file("conf").display(),
            file("pid").display(),
            file("vrrp").display()
        );
        Process::start(
            lab.node(node).namespace(),
            &file("log"),
            "keepalived",
            &words(&arguments),
        )
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

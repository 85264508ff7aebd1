//! A network laboratory: hosts in network namespaces, joined by a bridge in another, with daemons
//! that share an address, a client that uses it, and eyes on all of them.
//!
//! Linux and root. Nothing outside of the namespaces is touched or sees a packet, and all of it
//! ends with the test, be it by a panic or by SIGKILL.

pub(crate) mod busy;
pub(crate) mod capture;
pub(crate) mod daemons;
mod namespace;
mod node;
pub(crate) mod outage;
pub(crate) mod packet;
pub(crate) mod probe;
mod process;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Instant;
use std::{env, process as std_process};

use namespace::Namespace;
pub(crate) use node::Node;
use packet::Mac;
pub(crate) use process::{Confines, Process};

/// How often something that is awaited is looked for.
const GLANCE: Duration = Duration::from_millis(5);

/// Who may use the machine: many laboratories in which little happens, or one that measures it.
static MACHINE: RwLock<()> = RwLock::new(());

/// A laboratory.
pub(crate) struct Lab {
    // In the order in which they must go: the hosts with their links, then the bridge.
    nodes: Vec<Node>,
    client: Node,
    switch: Namespace,
    dir: PathBuf,
    _machine: Machine,
}

/// The permission under which a laboratory runs. Held, never read.
#[expect(dead_code, reason = "guards are there to be dropped")]
enum Machine {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Lab {
    /// A laboratory with so many hosts, numbered from 1, beside others.
    pub(crate) fn new(nodes: u8) -> Self {
        let guard = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        Self::with(Machine::Shared(guard), nodes)
    }

    /// The same as the only one that runs now: for what keeps processors busy, or would suffer
    /// from others that do.
    pub(crate) fn alone(nodes: u8) -> Self {
        let guard = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self::with(Machine::Alone(guard), nodes)
    }

    fn with(machine: Machine, nodes: u8) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("halab-{}-{count}", std_process::id()));
        fs::create_dir(&dir).expect("a directory of our own");

        let switch = Namespace::new();
        // Multicast goes to every port, as through a switch without snooping; nothing waits for
        // a spanning tree.
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        switch.ip("link set br0 up");
        // Nor does it look into the packets, and drop those that are damaged, as a kernel with
        // `br_netfilter` would.
        switch.enter(|| {
            for family in ["iptables", "ip6tables"] {
                let _ = fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), "0");
            }
        });
        Self {
            nodes: (1..=nodes)
                .map(|number| Node::new(&switch, number))
                .collect(),
            client: Node::new(&switch, Node::CLIENT),
            switch,
            dir,
            _machine: machine,
        }
    }

    /// The host of this number, from 1.
    pub(crate) fn node(&self, number: u8) -> &Node {
        &self.nodes[usize::from(number) - 1]
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The host that uses the shared address and never has it.
    pub(crate) fn client(&self) -> &Node {
        &self.client
    }

    /// The namespace of the bridge `br0`, which sees all traffic.
    pub(crate) fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A file of this laboratory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of this laboratory that nobody has used yet.
    fn unique(&self, suffix: &str) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{count}.{suffix}"))
    }

    /// Pulls the cable of a host: it loses its carrier.
    pub(crate) fn unplug(&self, number: u8) {
        self.switch.ip(&format!("link set p{number} down"));
    }

    /// Puts the cable back.
    pub(crate) fn plug(&self, number: u8) {
        self.switch.ip(&format!("link set p{number} up"));
    }

    /// The numbers of the hosts that have an address now.
    pub(crate) fn holders(&self, address: &str) -> Vec<u8> {
        self.nodes
            .iter()
            .filter(|node| node.has(address))
            .map(Node::number)
            .collect()
    }

    /// Waits until this host has the address and packets to it arrive there, whatever others
    /// believe that are cut off.
    pub(crate) fn await_takeover(&self, number: u8, address: &str, limit: Duration) {
        wait_for(
            limit,
            || {
                format!(
                    "{address} on node {number}, but it is on {:?}",
                    self.holders(address)
                )
            },
            || self.node(number).has(address),
        );
        self.assert_answers(number, address);
    }

    /// Waits until this host, and no other, has the address, and says so to whoever asks by ARP or
    /// by a neighbour solicitation.
    pub(crate) fn await_holder(&self, number: u8, address: &str, limit: Duration) {
        wait_for(
            limit,
            || {
                let holders = self.holders(address);
                format!("{address} on node {number} alone, but it is on {holders:?}")
            },
            || self.holders(address) == [number],
        );
        self.assert_answers(number, address);
    }

    /// Who says that the address is his: the MAC address in each answer.
    pub(crate) fn answers(&self, address: &str) -> Vec<Mac> {
        let address = address.parse().expect("an address");
        packet::resolve(self.client(), address, Duration::from_millis(200))
    }

    /// Checks that a question for the address is answered once, by this host.
    pub(crate) fn assert_answers(&self, number: u8, address: &str) {
        let answers = self.answers(address);
        let node = self.node(number);
        let known = node.macs();
        assert!(
            answers.len() == 1 && known.contains(&answers[0]),
            "{address} should be answered once, by one of {known:?} of node {number}, \
             but the answers are {answers:?}"
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- files are left in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Waits until `happened`. Panics if that takes longer than `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, happened: impl FnMut() -> bool) {
    wait_for(limit, || what.to_owned(), happened);
}

/// The same. What was awaited, and how it is instead, is asked for when it is too late.
pub(crate) fn wait_for(
    limit: Duration,
    what: impl FnOnce() -> String,
    mut happened: impl FnMut() -> bool,
) {
    let start = Instant::now();
    while !happened() {
        if start.elapsed() > limit {
            panic!("waited {limit:?} in vain for {}", what());
        }
        thread::sleep(GLANCE);
    }
}

/// How long `happened` took to come true.
pub(crate) fn time_until(what: &str, limit: Duration, happened: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_until(what, limit, happened);
    start.elapsed()
}

/// Lets time pass in which something should not happen.
pub(crate) fn pass(time: Duration) {
    thread::sleep(time);
}

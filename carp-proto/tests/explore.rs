//! Every order in which the packets of two or three hosts can be delivered, dropped, duplicated and
//! overtaken by timers, to a stated depth; with one crash and one return of a host among them.
//!
//! What must *always* hold is checked in each state. Beside that stands what must happen
//! *sometimes*, so that an exploration which never reaches a failover fails.
//!
//! A packet may be late by one expiry of a timer, no more. States are told apart by everything that
//! bears on the future, with times counted from now; what is only counted or remembered of the past
//! is left out. Announcements are not repeated, as they bear on nobody's role.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[path = "common/mod.rs"]
mod common;

use core::cell::Cell;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::IpAddr;
use core::ops::Add;
use core::time::Duration;
use std::collections::BTreeSet;
use std::hash::DefaultHasher;

use carp_proto::{
    AddressCount, AdvSkew, Advertisement, Announcements, Config, CounterRule, Dialect, Event,
    FreeBsd, Improvements, Input, OpenBsd, Output, Reason, State, UCarp, VirtualHost,
};
use common::{MOST_OUTPUTS, received, vhid};

thread_local! {
    /// What moments are shown relative to.
    static BASE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// An instant that shows itself as the time left until it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Moment(Duration);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = BASE.get();
        match self.0.checked_sub(base) {
            Some(left) => write!(f, "+{}", left.as_nanos()),
            None => write!(f, "-{}", (base - self.0).as_nanos()),
        }
    }
}

/// A deliberate mistake in the harness, to see that the claims can fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bug {
    None,
    /// The second host takes no notice of what is delivered to it.
    IgnoresAdvertisements,
    /// The network loses what is for the second host and says that it delivered it.
    LosesPackets,
    /// The second host's timers are lost.
    LosesTimers,
    /// The second host's advertisements go out although it is not the master.
    KeepsSending,
}

#[derive(Clone)]
struct Node {
    machine: VirtualHost<Moment>,
    alive: bool,
    serves: bool,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Packet {
    from: usize,
    to: usize,
    advbase: u8,
    advskew: u8,
    counter: u64,
    /// Whether a timer has expired since it was sent.
    late: bool,
    /// Whether it has been duplicated already.
    copied: bool,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Deliver(usize),
    Drop(usize),
    Duplicate(usize),
    /// Time goes on to the next deadline, which is this node's.
    Expire(usize),
    Crash(usize),
    Return(usize),
}

/// Two masters, and since when nothing has been lost between them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Rivalry {
    /// For how long both have been masters with nothing lost or late between them, counted
    /// up to a bound.
    undisturbed: Duration,
}

#[derive(Clone)]
struct World {
    now: Moment,
    nodes: Vec<Node>,
    flight: Vec<Packet>,
    rivalry: Rivalry,
    crashed: bool,
    returned: bool,
    had_master: bool,
    path: Vec<Action>,
}

/// What must be reached somewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Sometimes {
    failover_after_crash: bool,
    two_masters: bool,
    two_masters_resolved: bool,
    preemption: bool,
    no_master: bool,
    late_delivery: bool,
    returned_host_is_master: bool,
}

struct Report {
    states: usize,
    depth: usize,
    /// Whether nothing was left to explore before the depth was reached.
    complete: bool,
    sometimes: Sometimes,
}

struct Explorer {
    configs: Vec<Config>,
    bug: Bug,
    sometimes: Sometimes,
}

type Verdict = Result<(), String>;

/// `claim` as an error if it does not hold.
fn always(holds: bool, claim: &str) -> Verdict {
    if holds { Ok(()) } else { Err(claim.to_owned()) }
}

const ONE_MASTER: &str = "two masters that hear each other end within one interval";
const YIELDS: &str = "a master that hears a better one yields at once";
const HOLDS: &str = "a master that hears a worse one stays master";
const PATIENT: &str = "a backup that hears its master stays backup unless it preempts";
const ALONE_SENDS: &str = "only a master advertises";
const PROGRESS: &str = "a host in service has a deadline, and it is not in the past";
const SERVES: &str = "the addresses follow the role";

impl Explorer {
    fn start(&self) -> World {
        let nodes = self.configs.iter().map(|config| Node {
            machine: VirtualHost::new(*config).unwrap(),
            alive: true,
            serves: false,
        });
        World {
            now: Moment(Duration::from_secs(1)),
            nodes: nodes.collect(),
            flight: Vec::new(),
            rivalry: Rivalry::default(),
            crashed: false,
            returned: false,
            had_master: false,
            path: Vec::new(),
        }
    }

    /// Breadth first, so that the first violation found is a shortest one.
    fn explore(mut self, depth: usize) -> Result<Report, String> {
        let mut world = self.start();
        for node in 0..world.nodes.len() {
            self.input(
                &mut world,
                node,
                Input::Addresses(AddressCount { v4: 1, v6: 0 }),
            )?;
        }
        let mut seen = BTreeSet::from([fingerprint(&mut world)]);
        let mut frontier = vec![world];
        let mut reached = 0;
        while reached < depth && !frontier.is_empty() {
            let mut next = Vec::new();
            for world in &frontier {
                for action in actions(world) {
                    let mut after = world.clone();
                    after.path.push(action);
                    let verdict = self
                        .act(&mut after, action)
                        .and_then(|()| self.claims(&after));
                    if let Err(claim) = verdict {
                        return Err(format!("{claim}\n{:?}", after.path));
                    }
                    if seen.insert(fingerprint(&mut after)) {
                        next.push(after);
                    }
                }
            }
            frontier = next;
            reached += 1;
        }
        let complete = frontier.is_empty();
        Ok(Report {
            states: seen.len(),
            depth: reached,
            complete,
            sometimes: self.sometimes,
        })
    }

    fn act(&mut self, world: &mut World, action: Action) -> Verdict {
        let masters_before = masters(world);
        match action {
            Action::Deliver(index) => {
                let packet = world.flight.remove(index);
                if !(self.bug == Bug::LosesPackets && packet.to == 1) {
                    self.deliver(world, &packet)?;
                }
            }
            Action::Drop(index) => {
                world.flight.remove(index);
                world.rivalry.undisturbed = Duration::ZERO;
            }
            Action::Duplicate(index) => {
                world.flight[index].copied = true;
                let copy = world.flight[index].clone();
                world.flight.push(copy);
            }
            Action::Expire(node) => self.expire(world, node)?,
            Action::Crash(node) => {
                world.crashed = true;
                world.nodes[node].alive = false;
                world.flight.retain(|packet| packet.to != node);
            }
            Action::Return(node) => {
                world.returned = true;
                world.nodes[node] = Node {
                    machine: VirtualHost::new(self.configs[node]).unwrap(),
                    alive: true,
                    serves: false,
                };
                self.input(world, node, Input::Addresses(AddressCount { v4: 1, v6: 0 }))?;
            }
        }
        let masters_after = masters(world);
        if masters_after < 2 {
            world.rivalry = Rivalry::default();
        }
        world.had_master |= masters_after == 1;
        self.sometimes.two_masters |= masters_after == 2;
        self.sometimes.two_masters_resolved |= masters_before == 2 && masters_after == 1;
        self.sometimes.no_master |= world.had_master && masters_after == 0;
        Ok(())
    }

    fn expire(&mut self, world: &mut World, node: usize) -> Verdict {
        let deadline = world.nodes[node].machine.poll_timeout().unwrap();
        let passed = deadline.0.saturating_sub(world.now.0);
        world.now = world.now.max(deadline);
        if masters(world) >= 2 {
            let long = Duration::from_secs(8);
            world.rivalry.undisturbed = (world.rivalry.undisturbed + passed).min(long);
        }
        if !passed.is_zero() {
            for packet in &mut world.flight {
                packet.late = true;
                world.rivalry.undisturbed = Duration::ZERO;
            }
        }
        let was = world.nodes[node].machine.state();
        if !(self.bug == Bug::LosesTimers && node == 1) {
            self.input(world, node, Input::Timeout)?;
        }
        let machine = &world.nodes[node].machine;
        always(
            machine.poll_timeout().is_none_or(|next| next > world.now),
            PROGRESS,
        )?;
        if was == State::Backup && machine.state() == State::Master {
            self.sometimes.failover_after_crash |=
                world.had_master && world.nodes.iter().any(|node| !node.alive);
        }
        Ok(())
    }

    fn deliver(&mut self, world: &mut World, packet: &Packet) -> Verdict {
        let to = packet.to;
        let said = Advertisement {
            counter: packet.counter,
            ..common::saying(packet.advbase, packet.advskew, 0, 0)
        };
        let before = world.nodes[to].machine.state();
        let heard = received(address(packet.from), &said);
        if !(self.bug == Bug::IgnoresAdvertisements && to == 1) {
            self.input(world, to, Input::Advertisement(heard))?;
        }
        let machine = &world.nodes[to].machine;
        let own = self.configs[to].settings;
        let ours = (own.advbase.get(), own.advskew.get());
        let theirs = (packet.advbase, packet.advskew);
        match before {
            State::Master if ours > theirs => always(machine.state() != State::Master, YIELDS)?,
            State::Master if ours < theirs => always(machine.state() == State::Master, HOLDS)?,
            State::Backup if !own.preempt || ours >= theirs => {
                always(machine.state() == State::Backup, PATIENT)?;
            }
            State::Init | State::Backup | State::Master => {}
        }
        self.sometimes.late_delivery |= packet.late;
        Ok(())
    }

    fn input(&mut self, world: &mut World, index: usize, input: Input) -> Verdict {
        world.nodes[index].machine.handle(world.now, input);
        let mut count = 0;
        while let Some(output) = world.nodes[index].machine.poll_output() {
            count += 1;
            always(count < MOST_OUTPUTS, "outputs end")?;
            match output {
                Output::Acquire => world.nodes[index].serves = true,
                Output::Release => world.nodes[index].serves = false,
                Output::Transmit(transmit) => {
                    let said = transmit.advertisement.carp().unwrap();
                    self.send(world, index, said)?;
                }
                Output::Event(Event::State { reason, to, .. }) => {
                    self.sometimes.preemption |= reason == Reason::PreemptingSlowerMaster;
                    self.sometimes.returned_host_is_master |= to == State::Master && world.returned;
                    if self.bug == Bug::KeepsSending && index == 1 && to == State::Backup {
                        self.send(world, index, &common::saying(1, 100, 0, 2))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, world: &mut World, from: usize, said: &Advertisement) -> Verdict {
        // CARP §3.7: UCarp's loser sends once more.
        let farewell = matches!(self.configs[from].dialect, Dialect::UCarp(_));
        let is_master = world.nodes[from].machine.state() == State::Master;
        always(is_master || farewell, ALONE_SENDS)?;
        // A crashed host takes nothing off the wire.
        for to in (0..world.nodes.len()).filter(|to| *to != from && world.nodes[*to].alive) {
            world.flight.push(Packet {
                from,
                to,
                advbase: said.advbase.get(),
                advskew: said.advskew.get(),
                counter: said.counter,
                late: false,
                copied: false,
            });
        }
        Ok(())
    }

    /// What holds in every state.
    fn claims(&self, world: &World) -> Verdict {
        for node in world.nodes.iter().filter(|node| node.alive) {
            let machine = &node.machine;
            let deadline = machine.poll_timeout();
            always(
                deadline.is_some_and(|deadline| deadline >= world.now),
                PROGRESS,
            )?;
            let is_master = machine.state() == State::Master;
            always(node.serves == is_master, SERVES)?;
        }
        if masters(world) >= 2 {
            let slowest = self
                .configs
                .iter()
                .map(|config| config.settings.interval().duration());
            let bound = slowest.max().unwrap();
            always(world.rivalry.undisturbed <= bound, ONE_MASTER)?;
        }
        Ok(())
    }
}

fn masters(world: &World) -> usize {
    let nodes = world.nodes.iter().filter(|node| node.alive);
    nodes
        .filter(|node| node.machine.state() == State::Master)
        .count()
}

fn address(node: usize) -> IpAddr {
    [192, 0, 2, u8::try_from(node).unwrap() + 1].into()
}

fn actions(world: &World) -> Vec<Action> {
    let mut actions = Vec::new();
    for (index, packet) in world.flight.iter().enumerate() {
        // Equal packets have equal futures.
        if index > 0 && world.flight[index - 1] == *packet {
            continue;
        }
        actions.push(Action::Deliver(index));
        actions.push(Action::Drop(index));
        if !packet.copied {
            actions.push(Action::Duplicate(index));
        }
    }
    let alive = || {
        world
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.alive)
    };
    let next = alive()
        .filter_map(|(_, node)| node.machine.poll_timeout())
        .min();
    if !world.flight.iter().any(|packet| packet.late) {
        for (index, node) in alive() {
            if next.is_some() && node.machine.poll_timeout() == next {
                actions.push(Action::Expire(index));
            }
        }
    }
    for (index, node) in world.nodes.iter().enumerate() {
        if node.alive && !world.crashed && node.machine.state() == State::Master {
            actions.push(Action::Crash(index));
        }
        if !node.alive && !world.returned {
            actions.push(Action::Return(index));
        }
    }
    actions
}

/// Identifies the future of a world: 64 bits, so that among a million states two are taken for one
/// with a probability of about 1 in 40 million.
fn fingerprint(world: &mut World) -> u64 {
    BASE.set(world.now.0);
    world.flight.sort();
    let mut hasher = DefaultHasher::new();
    for node in &mut world.nodes {
        node.alive.hash(&mut hasher);
        if !node.alive {
            continue;
        }
        node.serves.hash(&mut hasher);
        // Does nothing but tell the time, which is then the same in every machine.
        node.machine.handle(world.now, Input::Force(State::Init));
        assert_eq!(node.machine.poll_output(), None, "every output was polled");
        let mut text = format!("{:?}", node.machine);
        for past in [
            "config: Config {",
            "sent: Sent {",
            "queue: Queue {",
            "stats: Stats {",
        ] {
            cut(&mut text, past);
        }
        text.hash(&mut hasher);
    }
    world.flight.hash(&mut hasher);
    world.rivalry.hash(&mut hasher);
    (world.crashed, world.returned, world.had_master).hash(&mut hasher);
    hasher.finish()
}

/// Takes `start` and all up to its closing brace out of `text`.
fn cut(text: &mut String, start: &str) {
    let at = text
        .find(start)
        .unwrap_or_else(|| panic!("no {start} in {text}"));
    let mut depth = 0;
    let mut end = text.len();
    for (index, byte) in text.bytes().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    end = index + 1;
                    break;
                }
            }
            _ => {}
        }
    }
    text.replace_range(at..end, "");
}

fn host(
    dialect: Dialect,
    improvements: Improvements,
    index: u8,
    skew: u8,
    preempt: bool,
) -> Config {
    let mut config = Config::new(vhid());
    config.dialect = dialect;
    config.improvements = improvements;
    // Numbers would tell apart states that have the same future.
    config.counter = CounterRule::Cookie(u64::from(index) + 1);
    config.announcements = Announcements::ONCE;
    config.settings.advskew = AdvSkew::new(skew).unwrap();
    config.settings.preempt = preempt;
    config.source_v4 = Some([192, 0, 2, index + 1].into());
    config
}

/// Explores, prints what it saw, and returns what happened sometimes.
fn explore(name: &str, configs: &[Config], depth: usize) -> Sometimes {
    let explorer = Explorer {
        configs: configs.to_vec(),
        bug: Bug::None,
        sometimes: Sometimes::default(),
    };
    match explorer.explore(depth) {
        Ok(report) => {
            let end = if report.complete {
                "complete"
            } else {
                "cut off"
            };
            println!(
                "{name}: {} states to depth {}, {end}",
                report.states, report.depth
            );
            assert!(report.complete || depth < ALL, "{name}: {end}");
            report.sometimes
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// Deep enough to reach everything that two hosts of different skew can reach.
const ALL: usize = 1000;

const FREEBSD: Dialect = Dialect::FreeBsd(FreeBsd::From14);

fn improved(index: u8, skew: u8, preempt: bool) -> Config {
    host(FREEBSD, Improvements::ALL, index, skew, preempt)
}

#[test]
fn two_hosts_that_preempt_keep_every_claim() {
    let hosts = [improved(0, 0, true), improved(1, 100, true)];
    let sometimes = explore("two, preempting", &hosts, ALL);
    assert!(
        sometimes.failover_after_crash && sometimes.two_masters,
        "{sometimes:?}"
    );
    assert!(
        sometimes.two_masters_resolved && sometimes.preemption,
        "{sometimes:?}"
    );
    assert!(
        sometimes.late_delivery && sometimes.returned_host_is_master,
        "{sometimes:?}"
    );
}

#[test]
fn two_hosts_that_do_not_preempt_keep_every_claim() {
    let hosts = [improved(0, 0, false), improved(1, 100, false)];
    let sometimes = explore("two, not preempting", &hosts, 100);
    assert!(
        sometimes.failover_after_crash && sometimes.two_masters,
        "{sometimes:?}"
    );
    assert!(
        sometimes.two_masters_resolved && !sometimes.preemption,
        "{sometimes:?}"
    );
}

/// CARP §3.8: both may yield to each other.
#[test]
fn two_equal_hosts_keep_every_claim() {
    let hosts = [improved(0, 50, true), improved(1, 50, true)];
    let sometimes = explore("two equal", &hosts, 50);
    assert!(
        sometimes.two_masters && sometimes.two_masters_resolved,
        "{sometimes:?}"
    );
    assert!(
        sometimes.failover_after_crash && sometimes.no_master,
        "{sometimes:?}"
    );
}

#[test]
fn two_hosts_of_each_dialect_keep_every_claim() {
    let ucarp = Dialect::UCarp(UCarp::default());
    let openbsd = Dialect::OpenBsd(OpenBsd::Since2025);
    for (name, one, other) in [
        ("OpenBSD", openbsd, openbsd),
        ("UCarp", ucarp, ucarp),
        ("FreeBSD and UCarp", FREEBSD, ucarp),
        ("OpenBSD and FreeBSD", openbsd, FREEBSD),
    ] {
        for skew in [0, 100] {
            let strict = Improvements::NONE;
            let hosts = [
                host(one, strict, 0, 0, true),
                host(other, strict, 1, skew, true),
            ];
            let sometimes = explore(&format!("{name}, skew {skew}"), &hosts, 18);
            assert!(sometimes.failover_after_crash, "{name}: {sometimes:?}");
            assert!(sometimes.two_masters_resolved, "{name}: {sometimes:?}");
            assert!(sometimes.preemption || skew == 0, "{name}: {sometimes:?}");
        }
    }
}

#[test]
fn three_hosts_keep_every_claim() {
    let hosts = [
        improved(0, 0, true),
        improved(1, 100, true),
        improved(2, 200, true),
    ];
    let sometimes = explore("three, preempting", &hosts, 8);
    assert!(
        sometimes.failover_after_crash && sometimes.two_masters,
        "{sometimes:?}"
    );
    assert!(
        sometimes.two_masters_resolved && sometimes.preemption,
        "{sometimes:?}"
    );
}

#[test]
fn each_claim_can_fail() {
    for (bug, claim) in [
        (Bug::IgnoresAdvertisements, YIELDS),
        (Bug::LosesPackets, ONE_MASTER),
        (Bug::LosesTimers, PROGRESS),
        (Bug::KeepsSending, ALONE_SENDS),
    ] {
        let explorer = Explorer {
            configs: vec![improved(0, 0, true), improved(1, 100, true)],
            bug,
            sometimes: Sometimes::default(),
        };
        let violation = explorer.explore(ALL).err().expect("the mistake is found");
        assert!(violation.starts_with(claim), "{bug:?}: {violation}");
    }
}

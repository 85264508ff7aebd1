//! Seeded virtual hours: two or three VRRP routers, on a network that loses, delays and partitions,
//! that crash, are shut down and come back; then the network heals, and what must come true is
//! looked for.
//!
//! A failure names its seed: `SIM_SEED=7 cargo test -p carp-proto --test vrrp_simulation`.
//! `SIM_SEEDS` is how many seeds are tried.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[path = "common/mod.rs"]
mod common;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use carp_proto::vrrp::{self, AdverInterval, Ends, Priority, Vrrp};
use carp_proto::{
    AcceptTtl, AddressCount, Config, Datagram, Dialect, Event, Family, Group, Input, Output,
    Received, SendResult, State, TTL, VirtualHost,
};
use common::{MOST_OUTPUTS, vhid};

const SEEDS: u64 = 200;
/// The longest that a packet travels.
const LATENCY: Duration = Duration::from_millis(2);
const SHARED: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 200));

/// SplitMix64: a few lines, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn time(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(most.as_micros()).unwrap()))
    }
}

struct Node {
    config: Config,
    machine: Option<VirtualHost<Duration>>,
    serves: bool,
    side: bool,
}

/// A packet on its way.
type Packet = (usize, IpAddr, Vec<u8>);

struct World {
    seed: u64,
    random: Random,
    rules: Vrrp,
    now: Duration,
    nodes: Vec<Node>,
    air: BTreeMap<(Duration, u64), Packet>,
    /// When the last packet of one host arrives at another: none overtakes it.
    arrival: Vec<Vec<Duration>>,
    sent: u64,
    /// Percent of the packets.
    loss: u64,
    takeovers: u32,
}

impl World {
    /// Equal priorities only where the rules bring them to an end.
    fn new(seed: u64, rules: Vrrp) -> Self {
        let mut random = Random(seed);
        let count = 2 + random.index(2);
        let interval = [100, 100, 20, 1][random.index(4)];
        let strict = random.chance(40);
        let preempt = random.chance(70);
        let equal = rules == Vrrp::Rfc9568 && random.chance(40);
        let nodes = (1..=u8::try_from(count).unwrap()).map(|number| {
            let mut config = if strict {
                Config::strict(vhid(), Dialect::Vrrp(rules), 0)
            } else {
                Config::vrrp(vhid(), rules)
            };
            let priority = if equal { 100 } else { 70 * number };
            config.settings.priority = Priority::new(priority).unwrap();
            config.settings.adver_interval = AdverInterval::new(interval).unwrap();
            config.settings.preempt = preempt;
            config.source_v4 = Some([192, 0, 2, number].into());
            Node {
                config,
                machine: None,
                serves: false,
                side: false,
            }
        });
        Self {
            seed,
            rules,
            now: Duration::from_secs(1),
            nodes: nodes.collect(),
            random,
            air: BTreeMap::new(),
            arrival: vec![vec![Duration::ZERO; count]; count],
            sent: 0,
            loss: 0,
            takeovers: 0,
        }
    }

    fn check(&self, holds: bool, claim: &str) {
        if !holds {
            let states: Vec<_> = (0..self.nodes.len()).map(|n| self.state(n)).collect();
            let config = self.nodes[0].config;
            panic!(
                "seed {}: {claim}; {:?} at {:?}, {:?}",
                self.seed, states, self.now, config
            );
        }
    }

    fn state(&self, node: usize) -> Option<State> {
        self.nodes[node].machine.as_ref().map(VirtualHost::state)
    }

    fn masters(&self) -> Vec<usize> {
        let nodes = 0..self.nodes.len();
        nodes
            .filter(|node| self.state(*node) == Some(State::Master))
            .collect()
    }

    fn interval(&self) -> Duration {
        self.nodes[0].config.settings.adver_interval.duration()
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].machine.is_none() {
            let machine = VirtualHost::new(self.nodes[node].config).unwrap();
            self.nodes[node].machine = Some(machine);
            self.nodes[node].serves = false;
            self.input(node, Input::Addresses(AddressCount { v4: 1, v6: 0 }));
        }
    }

    fn shut_down(&mut self, node: usize) {
        self.input(node, Input::Shutdown);
        self.check(!self.nodes[node].serves, "who ends serves nothing");
        self.nodes[node].machine = None;
    }

    fn input(&mut self, node: usize, input: Input) {
        let Some(mut machine) = self.nodes[node].machine.take() else {
            return;
        };
        machine.handle(self.now, input);
        let mut count = 0;
        while let Some(output) = machine.poll_output() {
            count += 1;
            assert!(count < MOST_OUTPUTS, "outputs without end");
            match output {
                Output::Transmit(transmit) => {
                    let said = *transmit.advertisement.vrrp().unwrap();
                    let leaves = transmit.advertisement.is_farewell();
                    assert!(leaves || machine.state() == State::Master);
                    self.transmit(node, &said);
                    machine.handle(self.now, Input::Sent(Family::V4, SendResult::Ok));
                }
                Output::Acquire => self.nodes[node].serves = true,
                Output::Release => self.nodes[node].serves = false,
                Output::Event(Event::State {
                    to: State::Master, ..
                }) => self.takeovers += 1,
                Output::Event(_) | Output::Announce(_) | Output::Demote(_) => {}
                Output::NeedCounter | Output::ForgetAddresses => {
                    panic!("VRRP has neither numbers nor a hash")
                }
            }
        }
        self.nodes[node].machine = Some(machine);
    }

    fn transmit(&mut self, from: usize, said: &vrrp::Advertisement) {
        let source: IpAddr = self.nodes[from].config.source_v4.unwrap().into();
        let mut buffer = [0; 64];
        let style = self.rules.style();
        let packet = said
            .emit(&[SHARED], &Ends::to_group(source), style, &mut buffer)
            .unwrap();
        for to in 0..self.nodes.len() {
            let apart = self.nodes[to].side != self.nodes[from].side;
            // Sometimes it comes back.
            let echo = to == from && !self.random.chance(5);
            if apart || echo || self.random.chance(self.loss) {
                continue;
            }
            self.sent += 1;
            let last = &mut self.arrival[from][to];
            let arrival = (self.now + self.random.time(LATENCY)).max(*last);
            *last = arrival;
            self.air
                .insert((arrival, self.sent), (to, source, packet.to_vec()));
        }
    }

    fn receive(&mut self, (to, source, bytes): &Packet) {
        let group = [Group {
            vhid: vhid(),
            v4: true,
            v6: false,
            ttl: AcceptTtl::Direct,
        }];
        let local = vrrp::Local {
            vrrp: &group,
            rules: self.rules,
            checksum: self.rules.style().checksum,
            ..vrrp::Local::default()
        };
        let datagram = Datagram {
            source: *source,
            destination: Family::V4.group(),
            ttl: TTL,
            payload: bytes,
        };
        let heard = vrrp::check(&datagram, &local).unwrap();
        self.input(*to, Input::Advertisement(Received::new(heard, *source)));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.nodes.iter().enumerate().filter_map(|(node, place)| {
                let at = place.machine.as_ref()?.poll_timeout()?;
                Some((at.max(self.now), node))
            });
            let timer = timers.min();
            let packet = self.air.keys().next().copied();
            let next = [timer.map(|(at, _)| at), packet.map(|(at, _)| at)];
            let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            match (packet.filter(|(at, _)| *at == next), timer) {
                (Some(key), _) => {
                    let packet = self.air.remove(&key).unwrap();
                    self.receive(&packet);
                }
                (None, Some((_, node))) => {
                    self.input(node, Input::Timeout);
                    let later = self.nodes[node].machine.as_ref();
                    let later = later.and_then(VirtualHost::poll_timeout);
                    self.check(later.is_none_or(|at| at > next), "a timeout is progress");
                }
                (None, None) => {}
            }
        }
    }

    fn fault(&mut self) {
        let node = self.random.index(self.nodes.len());
        match self.random.below(5) {
            0 => self.nodes[node].machine = None,
            1 => {
                if self.nodes[node].machine.is_some() {
                    self.shut_down(node);
                }
            }
            2 => self.nodes[node].side = !self.nodes[node].side,
            3 => self.loss = [0, 10, 40][self.random.index(3)],
            _ => self.start(node),
        }
    }

    fn heal(&mut self) {
        self.loss = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].side = false;
            self.start(node);
        }
    }
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn whatever_happens_there_is_one_master_in_the_end_and_a_farewell_is_quick() {
    let (mut takeovers, mut resolved) = (0, 0);
    for seed in seeds() {
        for rules in [Vrrp::Rfc9568, Vrrp::FreeBsd15] {
            let mut world = World::new(seed, rules);
            let interval = world.interval();
            for _ in 0..40 {
                world.fault();
                let time = world.random.time(interval * 8);
                world.run(time);
            }
            world.heal();
            // Twice the longest dead time; FreeBSD assumes a second until it has heard somebody.
            let longest = match rules {
                Vrrp::Rfc9568 => interval,
                Vrrp::FreeBsd15 => interval.max(Duration::from_secs(1)),
            };
            world.run(longest * 10);
            let masters = world.masters();
            world.check(masters.len() == 1, "one master in the end");
            let master = masters[0];
            world.check(world.nodes[master].serves, "the master serves");
            let last = world.nodes.len() - 1;
            let config = world.nodes[0].config;
            let equal = config.settings.priority == world.nodes[last].config.settings.priority;
            if config.settings.preempt && !equal {
                world.check(master == last, "the best one that preempts");
            }

            // Two that cannot hear each other, and then can.
            let other = (master + 1) % world.nodes.len();
            world.nodes[other].side = true;
            world.run(interval * 6);
            world.check(world.state(other) == Some(State::Master), "alone is master");
            let before = world.masters();
            world.nodes[other].side = false;
            world.run(interval * 2 + LATENCY * 2);
            let masters = world.masters();
            world.check(masters.len() == 1, "reunited within two intervals");
            // The highest address, which is that of the last one, or the highest priority.
            world.check(
                masters[0] == *before.iter().max().unwrap(),
                "the better of the two, or the higher address",
            );
            resolved += u32::from(equal);

            let improved = config.improvements.bow_out;
            if rules == Vrrp::Rfc9568 || improved {
                world.shut_down(masters[0]);
                // Skew_Time is shorter than one interval.
                world.run(interval + LATENCY * 2);
                world.check(world.masters().len() == 1, "a farewell is quick");
            }
            takeovers += world.takeovers;
        }
    }
    println!("{takeovers} takeovers, {resolved} ties resolved");
    if seeds().len() > 1 {
        assert!(takeovers > 0 && resolved > 0);
    }
}

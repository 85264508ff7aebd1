//! Two or three nodes with a service address, replicated storage, a file system and a service;
//! what happens to them; and the promises that must hold.

mod faults;
mod host;
mod network;
mod promises;
mod replication;
mod storage;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use carp_proto::{
    ADVERTISEMENT_LEN, AddressCount, AdvSkew, Authenticator, CounterRule, Key, Received,
    SendResult, State as Role, Vhid, View, VirtualHost,
};
use ha_core::carp_proto;
use ha_core::failover::{
    Action, Answer, Arbitration, Blocked, Cause, CheckId, Command, Config, Ending, Event, Failover,
    GroupId, Health, HealthCheck, Input, OnFailure, OnLoss, Outcome, Output, Plan, Query, Reason,
    Record, Request, RequestId, Revision, Run, RunId, State, Step, StepKind, StorageRole, Unfit,
};
use storage::{Permit, SESSION, Session, Store, id};

const TICK: Duration = Duration::from_millis(250);

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

    fn millis(&mut self, range: core::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}

/// What kind of world it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Two nodes, no arbiter, and one crash, after which the nodes hear each other, but the storage
    /// may not.
    OneCrash,
    /// Two nodes, no arbiter, and everything that can happen.
    NoArbiter,
    /// Two or three nodes with an arbiter, and everything that can happen.
    Arbiter(OnLoss),
}

#[derive(Clone, Debug)]
enum Coming {
    Arrive {
        to: usize,
        from: IpAddr,
        bytes: [u8; ADVERTISEMENT_LEN],
    },
    RunEnds {
        node: usize,
        boot: u32,
        run: RunId,
        action: Action,
        outcome: Outcome,
    },
    Asked {
        node: usize,
        boot: u32,
        request: Request,
        sent: Duration,
    },
    Answered {
        node: usize,
        boot: u32,
        request: RequestId,
        answer: Answer,
    },
    Known {
        node: usize,
        boot: u32,
    },
    Boot(usize),
    Tick,
    Fault,
    Reunite(usize, usize),
    ArbiterBack(usize),
    ReplicationBack,
    Recover {
        node: usize,
        boot: u32,
    },
    Resume {
        node: usize,
        boot: u32,
    },
    Crash {
        node: usize,
        boot: u32,
    },
    Wake {
        node: usize,
        boot: u32,
    },
}

impl Coming {
    /// The node that must run for this to happen to it; otherwise it happens when it wakes up.
    fn awaits(&self) -> Option<usize> {
        match *self {
            Self::Arrive { to: node, .. }
            | Self::RunEnds { node, .. }
            | Self::Answered { node, .. }
            | Self::Known { node, .. }
            | Self::Recover { node, .. }
            | Self::Resume { node, .. } => Some(node),
            Self::Asked { .. }
            | Self::Boot(_)
            | Self::Tick
            | Self::Fault
            | Self::Reunite(..)
            | Self::ArbiterBack(_)
            | Self::ReplicationBack
            | Self::Crash { .. }
            | Self::Wake { .. } => None,
        }
    }
}

/// When a node crashes: in a state, or in the middle of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doom {
    State(State),
    Action(Action),
}

const ACTIONS: [Action; 11] = [
    Action::SetPrimary,
    Action::SetSecondary,
    Action::WaitForDevice,
    Action::Check,
    Action::Mount,
    Action::Unmount,
    Action::Start,
    Action::Drain,
    Action::Stop,
    Action::Announce,
    Action::Withdraw,
];

struct Node {
    clock: (Duration, i64),
    boot: u32,
    /// Until when nothing runs on it, though it has not crashed.
    asleep: Option<Duration>,
    carp: Option<VirtualHost<Duration>>,
    unit: Option<Failover<Duration>>,
    demotions: BTreeMap<Cause, i32>,
    carp_demotion: i32,
    store: Store,
    mounted: bool,
    service: bool,
    address: bool,
    running: BTreeMap<RunId, (Action, Hang)>,
    /// Since when the service runs, or the address is served, without what it needs.
    orphaned: Option<Duration>,
    unserved: Option<Duration>,
    last_token: Option<Revision>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hang {
    No,
    UntilCancelled,
    EvenThen,
}

/// How often the interesting things happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) failovers: u64,
    pub(crate) crashes_in: [u64; 8],
    pub(crate) crashes_during: [u64; 11],
    pub(crate) partitions: u64,
    pub(crate) split_brains: u64,
    pub(crate) dual_primaries: u64,
    pub(crate) boots_apart: u64,
    pub(crate) granted: u64,
    pub(crate) expired_grants: u64,
    pub(crate) waits_for_grant: u64,
    pub(crate) step_failures: u64,
    pub(crate) given_up: u64,
    pub(crate) rollbacks: u64,
    pub(crate) escalations: u64,
    pub(crate) fenced: u64,
    pub(crate) stuck: u64,
    pub(crate) switch_overs: u64,
    pub(crate) refused_unfit: u64,
    pub(crate) refused_record: u64,
    pub(crate) waits_for_peer: u64,
    pub(crate) storage_lost: u64,
    pub(crate) polite_health: u64,
    pub(crate) record_lost: u64,
    pub(crate) record_taken: u64,
    pub(crate) kept: u64,
    pub(crate) cut_short: u64,
    pub(crate) forged: u64,
    pub(crate) stale: u64,
    pub(crate) synchronised: u64,
    pub(crate) without_storage: u64,
    pub(crate) late_swaps: u64,
    pub(crate) pauses: u64,
    pub(crate) woke_too_late: u64,
}

pub(crate) struct World {
    seed: u64,
    kind: Kind,
    random: Random,
    now: Duration,
    nodes: Vec<Node>,
    plans: BTreeMap<(Duration, u64), Coming>,
    planned: u64,
    chaos: bool,
    /// Pairs of nodes that do not hear each other, and nodes that do not hear the arbiter.
    cut: BTreeSet<(usize, usize)>,
    cut_off: BTreeSet<usize>,
    /// Whether the replication has a network of its own that is dead.
    apart: bool,
    record: Option<(Revision, Record)>,
    auth: Authenticator,
    writes: u64,
    acknowledged: Vec<u64>,
    last_writer: Option<(usize, u32)>,
    /// Whether something acknowledged is missing where writes go on.
    diverged: bool,
    pub(crate) counts: Counts,
    /// Whoever comes so far crashes.
    doom: Option<Doom>,
    outputs: VecDeque<(usize, u32, Output<Duration>)>,
    acting: bool,
    log: VecDeque<String>,
    pub(crate) digest: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let kind = match seed % 8 {
            0 | 1 => Kind::OneCrash,
            2 | 3 => Kind::NoArbiter,
            4 | 5 => Kind::Arbiter(OnLoss::Release),
            6 => Kind::Arbiter(OnLoss::KeepWhilePeerAgrees),
            _ => Kind::Arbiter(OnLoss::Keep),
        };
        let count = match kind {
            Kind::Arbiter(_) => 2 + random.index(2),
            Kind::OneCrash | Kind::NoArbiter => 2,
        };
        let vhid = Vhid::new(1).unwrap();
        let nodes = (0..count)
            .map(|_| Node {
                clock: (
                    random.millis(0..1_000_000),
                    i64::try_from(random.below(2001)).unwrap() - 1000,
                ),
                boot: 0,
                asleep: None,
                carp: None,
                unit: None,
                demotions: BTreeMap::new(),
                carp_demotion: 0,
                store: Store::new(),
                mounted: false,
                service: false,
                address: false,
                running: BTreeMap::new(),
                orphaned: None,
                unserved: None,
                last_token: None,
            })
            .collect();
        let key = Key::from_passphrase(b"simulation");
        let mut world = Self {
            seed,
            kind,
            random,
            now: Duration::from_secs(1),
            nodes,
            plans: BTreeMap::new(),
            planned: 0,
            chaos: false,
            cut: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            apart: false,
            record: None,
            auth: Authenticator::new(&key, vhid, &[[192, 0, 2, 200].into()]),
            writes: 0,
            acknowledged: Vec::new(),
            last_writer: None,
            diverged: false,
            counts: Counts::default(),
            doom: None,
            outputs: VecDeque::new(),
            acting: false,
            log: VecDeque::new(),
            digest: 0,
        };
        for node in 0..count {
            let at = world.random.millis(0..500);
            world.plan(at, Coming::Boot(node));
        }
        world.plan(TICK, Coming::Tick);
        world
    }

    fn config(&self, node: usize) -> Config {
        let mut steps = vec![
            Step::new(StepKind::StorageRole, "role"),
            Step::new(StepKind::Device, "device").after(0),
            Step::new(StepKind::Check, "check").after(1),
            Step::new(StepKind::Mount, "mount").after(2),
            Step::new(StepKind::Service, "service").after(3),
            Step::new(StepKind::Address, "address").after(4),
        ];
        for step in &mut steps {
            step.deadline = Duration::from_secs(5);
            for attempt in &mut step.undo {
                attempt.deadline = Duration::from_secs(2);
            }
        }
        steps[1].on_failure = OnFailure::Retry {
            times: 1,
            pause: Duration::from_millis(200),
        };
        steps[4].drain = Some(Duration::from_secs(1));
        let mut config = Config::new(id(node), Plan::new(steps).unwrap());
        let one = core::num::NonZeroU16::MIN;
        config.checks = vec![HealthCheck {
            name: "service".into(),
            rise: one,
            fall: one.saturating_add(1),
        }];
        config.holds.start = Duration::from_secs(5);
        config.holds.failed = Duration::from_secs(8);
        config.holds.stuck = Duration::from_secs(5);
        config.grace = Duration::from_secs(1);
        config.fence_self = (self.seed % 3 != 0).then_some(Duration::from_secs(2));
        if let Kind::Arbiter(on_loss) = self.kind {
            let mut arbitration = Arbitration::default();
            arbitration.ttl = Duration::from_secs(8);
            arbitration.stop_early = Duration::from_secs(2);
            arbitration.interval = Duration::from_secs(2);
            arbitration.patience = Duration::from_secs(1);
            arbitration.on_loss = on_loss;
            config.arbitration = Some(arbitration);
        }
        config
    }

    // The clockwork.

    fn plan(&mut self, after: Duration, plan: Coming) {
        self.planned += 1;
        self.plans.insert((self.now + after, self.planned), plan);
    }

    /// What the clock of a node shows: another time, at another pace.
    fn local(&self, node: usize) -> Duration {
        let (offset, drift) = self.nodes[node].clock;
        let millionths = u128::try_from(1_000_000 + drift).unwrap();
        let nanos = self.now.as_nanos() * millionths / 1_000_000;
        offset + Duration::from_nanos(u64::try_from(nanos).unwrap())
    }

    /// When the clock of a node will show `local`, rounded up.
    fn global(&self, node: usize, local: Duration) -> Duration {
        let (offset, drift) = self.nodes[node].clock;
        let millionths = u128::try_from(1_000_000 + drift).unwrap();
        let nanos = (local.saturating_sub(offset).as_nanos() * 1_000_000).div_ceil(millionths) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap())
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        loop {
            rounds += 1;
            self.always(rounds < 100_000, "time goes on");
            let timer = (0..self.nodes.len())
                .filter(|node| self.nodes[*node].asleep.is_none())
                .flat_map(|node| {
                    let carp = self.nodes[node].carp.as_ref();
                    let unit = self.nodes[node].unit.as_ref();
                    let carp = carp.and_then(VirtualHost::poll_timeout);
                    let unit = unit.and_then(Failover::poll_timeout);
                    let at = |local| self.global(node, local).max(self.now);
                    [
                        carp.map(|t| (at(t), node, 0)),
                        unit.map(|t| (at(t), node, 1)),
                    ]
                })
                .flatten()
                .min();
            let plan = self.plans.keys().next().copied();
            let next = [timer.map(|(at, ..)| at), plan.map(|(at, _)| at)];
            let next = next.into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            if let Some(key) = plan.filter(|(at, _)| *at == next) {
                let plan = self.plans.remove(&key).unwrap();
                self.happen(plan);
            } else if let Some((_, node, machine)) = timer {
                if machine == 0 {
                    self.carp(node, carp_proto::Input::Timeout);
                } else {
                    self.unit(node, Input::Timeout);
                    let next = self.nodes[node]
                        .unit
                        .as_ref()
                        .and_then(Failover::poll_timeout);
                    let local = self.local(node);
                    self.always(
                        next.is_none_or(|next| next > local),
                        "timeouts make progress",
                    );
                }
            }
            self.check();
        }
    }

    fn happen(&mut self, plan: Coming) {
        let lives = |world: &Self, node: usize, boot| {
            world.nodes[node].unit.is_some() && world.nodes[node].boot == boot
        };
        let sleeper = plan.awaits().and_then(|node| self.nodes[node].asleep);
        if let Some(until) = sleeper {
            return self.plan(until.saturating_sub(self.now), plan);
        }
        match plan {
            Coming::Arrive { to, from, bytes } => self.receive(to, from, bytes),
            Coming::RunEnds {
                node,
                boot,
                run,
                action,
                outcome,
            } => {
                if lives(self, node, boot) {
                    self.run_ends(node, run, action, outcome);
                }
            }
            Coming::Asked {
                node,
                boot,
                request,
                sent,
            } => self.asked(node, boot, request, sent),
            Coming::Answered {
                node,
                boot,
                request,
                answer,
            } => {
                if lives(self, node, boot) && !self.cut_off.contains(&node) {
                    self.unit(node, Input::Arbiter { request, answer });
                }
            }
            Coming::Known { node, boot } => {
                if lives(self, node, boot) {
                    self.nodes[node].store.known = true;
                    self.tell_status(node);
                }
            }
            Coming::Boot(node) => self.boot(node),
            Coming::Tick => self.tick(),
            Coming::Fault => self.fault(),
            Coming::Reunite(a, b) => {
                self.cut.remove(&(a, b));
            }
            Coming::ArbiterBack(node) => {
                self.cut_off.remove(&node);
            }
            Coming::ReplicationBack => self.apart = false,
            Coming::Recover { node, boot } => {
                if lives(self, node, boot) {
                    self.health(node, Health::Good);
                }
            }
            Coming::Crash { node, boot } => {
                if lives(self, node, boot) {
                    self.crash(node);
                }
            }
            Coming::Wake { node, boot } => {
                if lives(self, node, boot) {
                    self.wake(node);
                }
            }
            Coming::Resume { node, boot } => {
                if lives(self, node, boot) {
                    self.unit(node, Input::Command(Command::Resume));
                }
            }
        }
    }

    fn health(&mut self, node: usize, result: Health) {
        self.unit(
            node,
            Input::Health {
                check: CheckId::new(0),
                result,
            },
        );
    }

    fn boot(&mut self, node: usize) {
        if self.nodes[node].unit.is_some() {
            return;
        }
        let mut config = carp_proto::Config::new(Vhid::new(1).unwrap());
        config.settings.advskew = AdvSkew::new(u8::try_from(node).unwrap() * 40).unwrap();
        config.settings.preempt = true;
        config.source_v4 = Some([192, 0, 2, u8::try_from(node).unwrap() + 1].into());
        config.counter = CounterRule::Increasing {
            start: self.now.as_secs() << 32,
        };
        let unit = Failover::new(self.config(node)).unwrap();
        let place = &mut self.nodes[node];
        place.boot += 1;
        place.carp = Some(VirtualHost::new(config).unwrap());
        place.unit = Some(unit);
        place.demotions.clear();
        place.carp_demotion = 0;
        place.store.reboot();
        (place.mounted, place.service, place.address) = (false, false, false);
        place.running.clear();
        (place.orphaned, place.unserved) = (None, None);
        let boot = place.boot;
        self.note(node, "boots".into());
        self.counts.boots_apart += u64::from(self.apart && self.active().is_some());
        self.unit(node, Input::Timeout);
        self.carp(
            node,
            carp_proto::Input::Addresses(AddressCount { v4: 1, v6: 0 }),
        );
        let after = self.random.millis(100..2000);
        self.plan(after, Coming::Known { node, boot });
    }

    fn crash(&mut self, node: usize) {
        let Some(unit) = self.nodes[node].unit.take() else {
            return;
        };
        self.counts.crashes_in[State::ALL.iter().position(|s| *s == unit.state()).unwrap()] += 1;
        self.note(node, "crashes".into());
        let place = &mut self.nodes[node];
        place.carp = None;
        place.asleep = None;
        place.store.reboot();
        (place.mounted, place.service, place.address) = (false, false, false);
        let after = self.random.millis(3000..30_000);
        self.plan(after, Coming::Boot(node));
        if self.chaos && self.kind == Kind::OneCrash {
            self.apart = true;
            let long = after + self.random.millis(0..30_000);
            self.plan(long, Coming::ReplicationBack);
        }
    }
}

//! Arbitrary configurations and lists of operations, and what must hold for a machine that goes
//! through them.
//!
//! Everything arbitrary is a choice of a number below a bound, so that whatever can choose (a
//! property test, a fuzzer, a seeded generator) can drive it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a promise that is broken ends the test or the fuzzing run"
)]

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use carp_proto::{
    ADVERTISEMENT_LEN, AcceptTtl, AddressCount, AdvBase, AdvSkew, Advertisement, Announcements,
    AtStart, Authenticator, Config, CounterRule, Datagram, Dialect, Event, Family, FreeBsd, Group,
    Improvements, Input, Interface, Key, OpenBsd, Output, Received, Refusal, ReplayPolicy, Said,
    SendResult, Settings, Spacing, State, TTL, TieOrder, UCarp, UnknownLink, Vhid, View,
    VirtualHost, vrrp,
};

type Machine = VirtualHost<Duration>;

/// More outputs than can wait at a time.
const MOST_OUTPUTS: usize = 64;

/// Something that makes decisions.
pub(crate) trait Choices {
    /// A number below `bound`, which is not 0; 0 when there is nothing left to choose by.
    fn below(&mut self, bound: u32) -> u32;

    fn is_done(&self) -> bool;

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u32::try_from(of.len()).expect("a short list");
        of[self.below(count) as usize]
    }
}

/// Any valid configuration.
pub(crate) fn config(choices: &mut impl Choices) -> Config {
    let mut ucarp = UCarp::default();
    ucarp.dead_ratio = NonZeroU8::new(choices.one_of(&[3, 1, 5])).expect("not 0");
    ucarp.tie_order = choices.one_of(&[TieOrder::LittleEndian, TieOrder::BigEndian]);
    ucarp.at_start = choices.one_of(&[AtStart::Release, AtStart::Neutral]);
    let dialect = choices.one_of(&[
        Dialect::FreeBsd(FreeBsd::From14),
        Dialect::FreeBsd(FreeBsd::From10To13),
        Dialect::OpenBsd(OpenBsd::Since2025),
        Dialect::OpenBsd(OpenBsd::Before2025),
        Dialect::UCarp(ucarp),
        Dialect::Vrrp(vrrp::Vrrp::Rfc9568),
        Dialect::Vrrp(vrrp::Vrrp::FreeBsd15),
    ]);
    let mut config = Config::strict(vhid(), dialect, 77);
    config.settings = settings(choices);
    if config.validate().is_err() {
        config.settings.advbase = AdvBase::DEFAULT;
        config.settings.advskew = AdvSkew::DEFAULT;
        config.settings.priority = vrrp::Priority::DEFAULT;
        config.settings.adver_interval = vrrp::AdverInterval::DEFAULT;
    }
    config.improvements = match choices.below(3) {
        0 => Improvements::ALL,
        1 => Improvements::NONE,
        _ => {
            let mut some = Improvements::ALL;
            some.bow_out = choices.yes();
            some.drop_echoes = choices.yes();
            some.keep_state_on_address_change = choices.yes();
            some.ride_out_link_flaps = choices.yes();
            some.adaptive_dead_time = choices.yes();
            some.release_on_every_exit = choices.yes();
            some.exact_demotion = choices.yes();
            some.drop_stale_timers = choices.yes();
            some.acquire_first = choices.yes();
            some.vrrp_demotion = choices.yes();
            some
        }
    };
    config.counter = choices.one_of(&[
        CounterRule::Increasing { start: 0 },
        CounterRule::Increasing {
            start: u64::MAX - 3,
        },
        CounterRule::Random,
        CounterRule::Cookie(77),
    ]);
    let replays: &[ReplayPolicy] = match dialect {
        Dialect::Vrrp(_) => &[ReplayPolicy::Accept],
        _ => &[ReplayPolicy::Accept, ReplayPolicy::Strict],
    };
    config.replay = choices.one_of(replays);
    config.announcements = choices.one_of(&[
        Announcements::default(),
        Announcements::ONCE,
        Announcements::OPENBSD,
        Announcements::UCARP,
    ]);
    if choices.yes() {
        config.announcements.refresh = Some(choices.one_of(&[Duration::ZERO, WEEK]));
        config.announcements.spacing =
            choices.one_of(&[Spacing::Time(Duration::ZERO), Spacing::Time(WEEK)]);
    }
    config.address_grace = choices.one_of(&[Duration::from_secs(5), Duration::ZERO, WEEK]);
    config.interface = choices.one_of(&INTERFACES);
    config.unknown_link = choices.one_of(&[UnknownLink::Up, UnknownLink::Down]);
    if choices.yes() {
        config.source_v4 = Some([192, 0, 2, 5].into());
        config.source_v6 = Some([0xfe80, 0, 0, 0, 0, 0, 0, 5].into());
    }
    config
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const INTERFACES: [Interface; 4] = [
    Interface::Up,
    Interface::NoCarrier,
    Interface::Unknown,
    Interface::Down,
];

fn vhid() -> Vhid {
    Vhid::new(1).expect("1 is a vhid")
}

fn byte(choices: &mut impl Choices) -> u8 {
    u8::try_from(choices.below(256)).expect("below 256")
}

/// Settings that some dialects refuse are among them.
fn settings(choices: &mut impl Choices) -> Settings {
    let mut settings = Settings::default();
    settings.advbase = AdvBase::new(choices.one_of(&[1, 0, 2, 3, 254, 255]));
    settings.advskew = AdvSkew::from_wire(byte(choices));
    settings.priority = priority(choices);
    settings.adver_interval = interval(choices);
    settings.preempt = choices.yes();
    settings.senderr_demotion = choices.one_of(&[240, 0, 1, Settings::MAX_DEMOTION]);
    settings.ifdown_demotion = choices.one_of(&[240, 0, 1, Settings::MAX_DEMOTION]);
    settings
}

/// What can be done to a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Time goes by.
    Wait(Duration),
    /// Time goes by until the deadline, and it is reported.
    Deadline,
    /// Something happens.
    Do(Input),
    /// Something happens, and the clock has gone back by so much.
    Backwards(Duration, Input),
    /// The last advertisement sent comes back.
    Echo,
}

/// Any operation.
pub(crate) fn operation(choices: &mut impl Choices) -> Operation {
    match choices.below(8) {
        0 => Operation::Wait(Duration::from_millis(choices.below(5000).into())),
        1 | 2 => Operation::Deadline,
        3 => Operation::Echo,
        4 => {
            let by = choices.one_of(&[Duration::from_nanos(1), Duration::from_secs(2), WEEK]);
            Operation::Backwards(by, input(choices))
        }
        5 if choices.below(8) == 0 => Operation::Wait(WEEK),
        _ => Operation::Do(input(choices)),
    }
}

fn input(choices: &mut impl Choices) -> Input {
    match choices.below(12) {
        0 => Input::Timeout,
        1..=3 => Input::Advertisement(heard(choices)),
        4 => Input::Interface(choices.one_of(&INTERFACES)),
        5 => Input::Addresses(AddressCount {
            v4: choices.one_of(&[1, 0, 2, u16::MAX]),
            v6: choices.one_of(&[0, 1, 2, u16::MAX]),
        }),
        6 => Input::Demotion(choices.one_of(&[0, 240, 1, -1, -300, i32::MAX, i32::MIN])),
        7 => Input::Force(choices.one_of(&[State::Master, State::Backup, State::Init])),
        8 => Input::Settings(settings(choices)),
        9 => {
            let result =
                choices.one_of(&[SendResult::Error(65), SendResult::Ok, SendResult::NoMemory]);
            Input::Sent(choices.one_of(&[Family::V4, Family::V6]), result)
        }
        10 => Input::FreshCounter(choices.below(3).into()),
        _ => match choices.below(8) {
            0 => Input::Shutdown,
            _ => Input::Source(source(choices)),
        },
    }
}

fn source(choices: &mut impl Choices) -> IpAddr {
    let last = choices.one_of(&[4, 5, 6, 7]);
    if choices.yes() {
        [192, 0, 2, last].into()
    } else {
        [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)].into()
    }
}

fn priority(choices: &mut impl Choices) -> vrrp::Priority {
    vrrp::Priority::from_wire(choices.one_of(&[100, 0, 1, 99, 101, 254, 255]))
}

fn interval(choices: &mut impl Choices) -> vrrp::AdverInterval {
    vrrp::AdverInterval::from_wire(choices.one_of(&[100, 0, 1, 99, 101, 4095]))
}

/// In either protocol, whichever the machine speaks.
fn heard(choices: &mut impl Choices) -> Received {
    if choices.yes() {
        let said = vrrp::Advertisement {
            vrid: vhid(),
            priority: priority(choices),
            interval: interval(choices),
        };
        return checked(source(choices), &said);
    }
    let said = Advertisement {
        vhid: vhid(),
        advbase: AdvBase::new(choices.one_of(&[1, 0, 2, 4, 255])),
        advskew: AdvSkew::from_wire(choices.one_of(&[0, 100, 240, 255])),
        demote: choices.one_of(&[0, 1, 255]),
        counter: choices.one_of(&[1, 2, 77, 1000, u64::MAX]),
    };
    authentic(source(choices), &said)
}

/// The only way to an authentic advertisement is to sign and verify one.
fn authentic(source: IpAddr, said: &Advertisement) -> Received {
    let auth = Authenticator::new(&Key::none(), vhid(), &[]);
    let mut bytes = [0; ADVERTISEMENT_LEN];
    auth.sign(said, &mut bytes);
    let view = View::parse(&bytes).expect("what was signed is well formed");
    let heard = auth.verify(view).expect("what was signed is authentic");
    Received::new(heard, source)
}

/// The only way to a checked advertisement is to emit and check one.
fn checked(source: IpAddr, said: &vrrp::Advertisement) -> Received {
    let ends = vrrp::Ends::to_group(source);
    let group = [Group {
        vhid: vhid(),
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    }];
    let local = vrrp::Local {
        vrrp: &group,
        ..vrrp::Local::default()
    };
    let mut buffer = [0; 64];
    let payload = said
        .emit(&[source], &ends, vrrp::Style::default(), &mut buffer)
        .expect("one address fits");
    let datagram = Datagram {
        source,
        destination: Family::of(source).group(),
        ttl: TTL,
        payload,
    };
    let heard = vrrp::check(&datagram, &local).expect("what was emitted is well formed");
    Received::new(heard, source)
}

/// A machine under observation, and what its driver knows.
#[derive(Debug)]
pub(crate) struct Observed {
    machine: Machine,
    now: Duration,
    /// The same machine, never drained; until something tells the two apart legitimately.
    late: Option<Machine>,
    last_sent: Option<(Family, Said)>,
    serves: Option<bool>,
    demotion: i64,
    lost_before: u64,
}

impl Observed {
    pub(crate) fn new(config: Config) -> Self {
        let machine = Machine::new(config).expect("a valid configuration");
        Self {
            late: Some(machine.clone()),
            machine,
            now: Duration::from_secs(1000),
            last_sent: None,
            serves: None,
            demotion: 0,
            lost_before: 0,
        }
    }

    /// Does `operation` and checks everything that must hold afterwards.
    pub(crate) fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Wait(by) => self.now += by,
            Operation::Deadline => {
                let deadline = self.machine.poll_timeout().unwrap_or(self.now);
                self.now = self.now.max(deadline);
                self.act(Input::Timeout);
            }
            Operation::Do(input) => self.act(input),
            Operation::Backwards(by, input) => {
                // The machine must have seen the later time to know that this one is earlier.
                self.act(NOTHING);
                let mut backwards = self.machine.clone();
                backwards.handle(self.now.saturating_sub(by), input);
                let mut forwards = self.machine.clone();
                forwards.handle(self.now, input);
                assert_eq!(
                    backwards, forwards,
                    "time that runs backwards is no time passed"
                );
                self.act(input);
            }
            Operation::Echo => {
                let Some((family, said)) = self.last_sent else {
                    return;
                };
                let config = self.machine.config();
                let own = match family {
                    Family::V4 => config.source_v4.map(IpAddr::from),
                    Family::V6 => config.source_v6.map(IpAddr::from),
                };
                if let Some(own) = own {
                    self.act(Input::Advertisement(match said {
                        Said::Carp(said) => authentic(own, &said),
                        Said::Vrrp(said) => checked(own, &said),
                    }));
                }
            }
        }
    }

    fn act(&mut self, input: Input) {
        self.early_timeouts_change_nothing();
        let before = self.machine.state();
        let mut copy = self.machine.clone();
        copy.handle(self.now, input);
        self.machine.handle(self.now, input);
        assert_eq!(copy, self.machine, "clones behave alike");
        if let Some(late) = &mut self.late {
            late.handle(self.now, input);
        }
        if input == Input::Timeout {
            let next = self.machine.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "no progress: {next:?}"
            );
        }
        let outputs = self.drain();
        self.protocols_fit(input, &copy, &outputs);
        self.outputs_fit(before, &outputs);
        self.timers_fit();
    }

    /// Each machine speaks its protocol, and of the other one only counts.
    fn protocols_fit(&self, input: Input, after: &Machine, outputs: &[Output]) {
        let is_vrrp = matches!(self.machine.config().dialect, Dialect::Vrrp(_));
        for output in outputs {
            if let Output::Transmit(transmit) = output {
                assert_eq!(transmit.advertisement.vrrp().is_some(), is_vrrp);
            }
        }
        let Input::Advertisement(received) = input else {
            return;
        };
        if received.said().vrrp().is_some() != is_vrrp {
            assert_eq!(after.poll_timeout(), self.machine.poll_timeout());
            let refused = |output: &Output| {
                matches!(
                    output,
                    Output::Event(Event::Refused {
                        refusal: Refusal::Protocol,
                        ..
                    })
                )
            };
            // The end screens nothing.
            assert!(outputs.iter().all(refused), "{outputs:?}");
        }
    }

    fn early_timeouts_change_nothing(&self) {
        if self
            .machine
            .poll_timeout()
            .is_some_and(|deadline| deadline <= self.now)
        {
            return;
        }
        let mut early = self.machine.clone();
        early.handle_timeout(self.now);
        let mut other = self.machine.clone();
        other.handle(self.now, NOTHING);
        assert_eq!(early, other, "an early timeout changes nothing");
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if output == Output::NeedCounter {
                let number = Input::FreshCounter(5);
                self.machine.handle(self.now, number);
                if let Some(late) = &mut self.late {
                    late.handle(self.now, number);
                }
            }
            outputs.push(output);
            assert!(outputs.len() < MOST_OUTPUTS, "outputs without end");
        }
        outputs
    }

    fn outputs_fit(&mut self, before: State, outputs: &[Output]) {
        let config = *self.machine.config();
        let state = self.machine.state();
        let sends = state == State::Master && self.machine.next_advertisement().is_some();
        let mut told = before;
        for output in outputs {
            match output {
                Output::Transmit(transmit) => {
                    let said = transmit.advertisement;
                    self.last_sent = Some((transmit.family, said));
                    let farewell = said.is_farewell()
                        || matches!(config.dialect, Dialect::UCarp(_)) && state == State::Backup;
                    assert!(sends || farewell, "{state} sends {said:?}");
                }
                Output::Announce(_) => assert!(sends, "{state} announces"),
                Output::Acquire => self.serves = Some(true),
                Output::Release => self.serves = Some(false),
                Output::Event(Event::State { from, to, .. }) => {
                    assert_eq!(*from, told, "an event was left out");
                    assert_ne!(from, to, "an event without a change");
                    told = *to;
                }
                Output::Event(Event::Refused {
                    refusal: Refusal::Echo,
                    ..
                }) => self.late = None,
                Output::Demote(demote) => self.demotion += i64::from(demote.adjustment),
                Output::Event(_) | Output::NeedCounter | Output::ForgetAddresses => {}
            }
        }
        // In strict mode an own number that comes back is known by being no greater than the
        // last one. A late machine has drawn fewer, which tells once they have wrapped to 0.
        let passed = |late: &Machine| late.counter() > self.machine.counter();
        if config.replay == ReplayPolicy::Strict && self.late.as_ref().is_some_and(passed) {
            self.late = None;
        }
        let lost = self.machine.stats().lost_events;
        assert_eq!(
            lost, self.lost_before,
            "a machine that is drained loses no event"
        );
        assert_eq!(told, state, "the events lead to the state");
        if config.improvements.release_on_every_exit {
            let serves = self.serves.unwrap_or(false);
            assert_eq!(
                serves,
                state == State::Master,
                "the address follows the role"
            );
        }
        if config.improvements.exact_demotion {
            assert!(self.demotion >= 0, "more was taken back than was given");
        }
    }

    fn timers_fit(&self) {
        let waits = [Family::V4, Family::V6].map(|family| self.machine.master_down(family));
        let advertises = self.machine.next_advertisement();
        let config = self.machine.config();
        let rfc = config.dialect == Dialect::Vrrp(vrrp::Vrrp::Rfc9568);
        let stale = !config.improvements.drop_stale_timers && !rfc;
        match self.machine.state() {
            State::Master if stale => {}
            State::Init => assert_eq!((advertises, waits), (None, [None, None])),
            State::Backup => assert_eq!(advertises, None),
            State::Master => assert_eq!(waits, [None, None]),
        }
    }

    /// A machine that is drained at the end is in the state of one that was drained at once, and
    /// its driver knows the same about the addresses.
    pub(crate) fn finish(mut self) {
        let Some(mut late) = self.late.take() else {
            return;
        };
        let facts = |machine: &Machine| {
            let waits = [Family::V4, Family::V6].map(|family| machine.master_down(family));
            let advertises = machine.next_advertisement();
            let config = *machine.config();
            (
                machine.state(),
                machine.poll_timeout(),
                advertises,
                waits,
                machine.demotion(),
                config,
            )
        };
        assert_eq!(
            facts(&late),
            facts(&self.machine),
            "draining late is only late"
        );
        let mut serves = None;
        let mut count = 0;
        let mut demotion = 0;
        while let Some(output) = late.poll_output() {
            match output {
                Output::NeedCounter => late.handle(self.now, Input::FreshCounter(6)),
                Output::Acquire => serves = Some(true),
                Output::Release => serves = Some(false),
                Output::Demote(demote) => demotion += i64::from(demote.adjustment),
                _ => {}
            }
            count += 1;
            assert!(count < MOST_OUTPUTS, "outputs without end");
        }
        assert_eq!(
            facts(&late),
            facts(&self.machine),
            "draining changes nothing"
        );
        assert_eq!(
            serves, self.serves,
            "the last word about the addresses is the same"
        );
        // Sums that do not fit are cut off, so that huge factors may differ.
        if self.demotion.abs() < 100_000 {
            assert_eq!(demotion, self.demotion, "no demotion is lost");
        }
    }
}

/// An input that does nothing but tell the time (CARP §3.4: "user sets INIT: ignored").
const NOTHING: Input = Input::Force(State::Init);

/// A configuration and what is done to a machine of it.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) config: Config,
    pub(crate) operations: Vec<Operation>,
}

/// One operation on a line.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.config)?;
        self.operations
            .iter()
            .try_for_each(|operation| writeln!(f, "{operation:?}"))
    }
}

impl Script {
    /// Any script: operations until there is nothing left to choose by.
    pub(crate) fn any(choices: &mut impl Choices) -> Self {
        let config = config(choices);
        let mut operations = Vec::new();
        while !choices.is_done() {
            operations.push(operation(choices));
        }
        Self { config, operations }
    }

    /// Does it all, and panics at the first promise that is broken.
    pub(crate) fn run(&self) {
        let mut observed = Observed::new(self.config);
        for operation in &self.operations {
            observed.step(*operation);
        }
        observed.finish();
    }
}

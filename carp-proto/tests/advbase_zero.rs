//! Base 0 as OpenBSD has it: an interval of advskew/256 s, and 1/256 s at 0/0 (CARP §1.9, §3.2),
//! alone and on a network whose clocks have steps of a millisecond.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test's helper fails"
)]

mod common;

use core::net::IpAddr;
use core::time::Duration;

use carp_proto::{
    AdvBase, AdvSkew, Advertisement, Announcements, Config, CounterRule, Dialect, Family, Input,
    OpenBsd, Output, State,
};
use common::{Host, addresses, received, saying, trace, vhid};

const REVISIONS: [OpenBsd; 2] = [OpenBsd::Before2025, OpenBsd::Since2025];
const TICK: Duration = Duration::from_millis(1);

/// Each skew, and its interval in microseconds.
const INTERVALS: [(u8, u64); 5] = [
    (0, 3_906),
    (1, 3_906),
    (2, 7_812),
    (25, 97_656),
    (26, 101_562),
];

fn strict(revision: OpenBsd, advskew: u8) -> Config {
    let mut config = Config::strict(vhid(), Dialect::OpenBsd(revision), 1);
    config.settings.advbase = AdvBase::new(0);
    config.settings.advskew = AdvSkew::new(advskew).unwrap();
    config
}

fn improved(revision: OpenBsd, advskew: u8) -> Config {
    let mut config = Config::new(vhid());
    config.dialect = Dialect::OpenBsd(revision);
    config.settings = strict(revision, advskew).settings;
    config.announcements = Announcements::ONCE;
    config
}

fn backup(config: Config) -> Host {
    let mut host = Host::new(config);
    host.send(addresses(1, 0));
    assert_eq!(host.machine.state(), State::Backup);
    host
}

fn master(config: Config) -> Host {
    let mut host = backup(config);
    host.send(Input::Force(State::Master));
    host
}

fn peer() -> IpAddr {
    "192.0.2.9".parse().unwrap()
}

fn wait(host: &Host) -> Duration {
    host.machine.master_down(Family::V4).unwrap() - host.now
}

#[test]
fn interval_and_dead_time_are_those_of_the_table() {
    for revision in REVISIONS {
        for (skew, interval) in INTERVALS {
            let interval = Duration::from_micros(interval);
            for config in [strict(revision, skew), improved(revision, skew)] {
                let host = backup(config);
                // At base 0, three skews by both revisions.
                assert_eq!(wait(&host), interval * 3, "{revision:?} 0/{skew}");
                let mut host = master(config);
                let first = host.machine.next_advertisement().unwrap();
                assert_eq!(first - host.now, interval);
                let began = host.now;
                let sent = host.run_until(began + interval * 100);
                let is_sent =
                    |(_, output): &&(Duration, Output)| matches!(output, Output::Transmit(_));
                let at: Vec<Duration> = sent.iter().filter(is_sent).map(|(at, _)| *at).collect();
                let expected = (1..=100).map(|count| began + interval * count);
                assert!(at.into_iter().eq(expected), "{revision:?} 0/{skew}");
            }
        }
    }
}

#[test]
fn a_slower_master_is_waited_for_by_its_own_interval_and_an_eighth_of_our_skew() {
    for revision in REVISIONS {
        for (ours, own) in INTERVALS {
            for (theirs, interval) in INTERVALS {
                let (own, interval) = (Duration::from_micros(own), Duration::from_micros(interval));
                let skew = if ours == 0 { Duration::ZERO } else { own };
                let said = saying(0, theirs, 0, 500);
                let mut host = backup(strict(revision, ours));
                host.hear(peer(), &said);
                assert_eq!(wait(&host), own * 3, "0/{ours} hears 0/{theirs}");
                let mut host = backup(improved(revision, ours));
                host.hear(peer(), &said);
                let expected = (own * 3).max(interval * 3 + skew / 8);
                assert_eq!(wait(&host), expected, "0/{ours} hears 0/{theirs}");
            }
        }
        // A master of a second, too.
        let mut host = backup(improved(revision, 1));
        host.hear(peer(), &saying(1, 0, 0, 500));
        assert_eq!(wait(&host), Duration::from_nanos(3_000_488_250));
    }
}

/// CARP §3.5: at base 0, an OpenBSD that does not preempt does not look how long the master will
/// be silent.
#[test]
fn a_bow_out_is_obeyed_by_who_preempts_and_by_the_improved() {
    let bow_out = saying(255, 255, 0, 500);
    for revision in REVISIONS {
        for (skew, _) in INTERVALS {
            let state = |mut config: Config, preempt| {
                config.settings.preempt = preempt;
                let mut host = backup(config);
                host.hear(peer(), &bow_out);
                host.machine.state()
            };
            assert_eq!(state(strict(revision, skew), false), State::Backup);
            assert_eq!(state(strict(revision, skew), true), State::Master);
            assert_eq!(state(improved(revision, skew), false), State::Master);
            assert_eq!(state(improved(revision, skew), true), State::Master);
        }
    }
}

#[test]
fn an_equal_master_is_given_way_to_and_the_nearest_skew_decides() {
    for revision in REVISIONS {
        for (skew, _) in INTERVALS {
            let after = |said: &Advertisement| {
                let mut host = master(improved(revision, skew));
                host.hear(peer(), said);
                host.machine.state()
            };
            assert_eq!(after(&saying(0, skew, 0, 500)), State::Backup);
            assert_eq!(after(&saying(0, skew + 1, 0, 500)), State::Master);
            if skew > 0 {
                assert_eq!(after(&saying(0, skew - 1, 0, 500)), State::Backup);
            }
        }
    }
}

/// Hosts whose clocks show whole milliseconds, and whose packets travel for one.
struct Segment {
    hosts: Vec<Host>,
    /// What arrives with the next tick: from whom, and what.
    air: Vec<(usize, Advertisement)>,
    changes: u32,
    /// Whether each of them is alive.
    alive: Vec<bool>,
}

impl Segment {
    fn new(configs: &[Config]) -> Self {
        let hosts = configs.iter().zip(1..).map(|(config, number)| {
            let mut config = *config;
            // Each host has a number of its own, or it takes the others' for an echo.
            if let CounterRule::Cookie(cookie) = &mut config.counter {
                *cookie = number;
            }
            backup(config)
        });
        Self {
            hosts: hosts.collect(),
            air: Vec::new(),
            changes: 0,
            alive: vec![true; configs.len()],
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let before = self.hosts[index].machine.state();
        for output in self.hosts[index].send(input) {
            if let Output::Transmit(transmit) = output {
                let said = transmit.advertisement.carp().expect("a machine of CARP");
                self.air.push((index, *said));
            }
        }
        self.changes += u32::from(self.hosts[index].machine.state() != before);
    }

    fn run(&mut self, time: Duration) {
        let end = self.hosts[0].now + time;
        while self.hosts[0].now < end {
            for host in &mut self.hosts {
                host.now += TICK;
            }
            for (from, said) in core::mem::take(&mut self.air) {
                let source = [192, 0, 2, u8::try_from(from).unwrap() + 1].into();
                for to in 0..self.hosts.len() {
                    if to != from && self.alive[to] {
                        self.input(to, Input::Advertisement(received(source, &said)));
                    }
                }
            }
            for index in 0..self.hosts.len() {
                let host = &self.hosts[index];
                let is_due = host.machine.poll_timeout().is_some_and(|at| at <= host.now);
                if self.alive[index] && is_due {
                    self.input(index, Input::Timeout);
                }
            }
        }
    }

    fn masters(&self) -> Vec<usize> {
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter(|(index, host)| self.alive[*index] && common::is_master(host))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Every pair of skews that differ, with each kind of host.
fn pairs() -> Vec<(u8, u8)> {
    vec![(0, 1), (1, 2), (2, 25), (25, 26), (1, 26), (0, 26)]
}

#[test]
fn a_clock_of_milliseconds_keeps_one_master_and_replaces_it_in_time() {
    for revision in REVISIONS {
        for make in [strict, improved] {
            for (better, worse) in pairs() {
                let name = format!("{revision:?} 0/{better} and 0/{worse}");
                let (first, second) = (make(revision, better), make(revision, worse));
                let mut segment = Segment::new(&[first, second]);
                segment.run(Duration::from_secs(2));
                assert_eq!(segment.masters(), [0], "{name}");
                let settled = segment.changes;
                segment.run(Duration::from_secs(20));
                assert_eq!(segment.changes, settled, "{name}: it stays so");

                // A crash: three skews, by the adaptive rule up to an eighth more, and two ticks.
                segment.alive[0] = false;
                let interval = Duration::from_micros(3_906 * u64::from(worse.max(1)) + 200);
                segment.run(interval * 25 / 8 + TICK * 2);
                assert_eq!(segment.masters(), [1], "{name}: after a crash");
                segment.run(Duration::from_secs(2));
                assert_eq!(segment.masters(), [1], "{name}");
            }
        }
    }
}

#[test]
fn a_shutdown_hands_over_within_a_tick() {
    for revision in REVISIONS {
        for (better, worse) in pairs() {
            let mut segment =
                Segment::new(&[improved(revision, better), improved(revision, worse)]);
            segment.run(Duration::from_secs(2));
            assert_eq!(segment.masters(), [0]);
            segment.input(0, Input::Shutdown);
            segment.run(TICK);
            assert_eq!(segment.masters(), [1], "0/{better} and 0/{worse}");
        }
    }
}

/// Two masters with the same skew: whoever is spoken to yields.
#[test]
fn a_tie_ends_with_one_master() {
    for revision in REVISIONS {
        for make in [strict, improved] {
            for (skew, _) in INTERVALS {
                let mut segment = Segment::new(&[make(revision, skew), make(revision, skew)]);
                segment.input(0, Input::Force(State::Master));
                segment.run(Duration::from_millis(500));
                assert_eq!(segment.masters(), [0], "0/{skew}");
                // Right after the first has spoken: two that speak at once both yield, and go on
                // so for as long as their clocks agree to the tick (CARP §3.8).
                while segment.air.is_empty() {
                    segment.run(TICK);
                }
                segment.run(TICK);
                segment.input(1, Input::Force(State::Master));
                segment.run(TICK * 2);
                assert_eq!(segment.masters(), [1], "{revision:?} 0/{skew}");
                let settled = segment.changes;
                segment.run(Duration::from_secs(5));
                assert_eq!(segment.changes, settled, "{revision:?} 0/{skew}");
            }
        }
    }
}

/// An improved host does not take over from a master that is slower than itself but works.
#[test]
fn a_slow_master_keeps_the_role_where_nobody_preempts() {
    for revision in REVISIONS {
        let mut segment = Segment::new(&[improved(revision, 1), improved(revision, 26)]);
        segment.input(1, Input::Force(State::Master));
        segment.run(Duration::from_secs(20));
        assert_eq!(segment.masters(), [1]);
        let outputs = segment.hosts[1].send(Input::Shutdown);
        assert!(trace(&outputs).contains("255/255"), "{outputs:?}");
    }
}

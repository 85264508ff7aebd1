//! How long a client goes without an answer when the better of two hosts leaves.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::time::Instant;

use super::busy::Stalls;
use super::daemons::{Carpd, Host, Keepalived, Launch, SHARED, Ucarp};
use super::probe::Prober;
use super::{Lab, Node, Process, pass, wait_for, wait_until};

/// For every takeover that should come.
const LIMIT: Duration = Duration::from_secs(20);

/// Two hosts that share the address, node 1 the better one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// `carpd` by the rules of FreeBSD, advbase 1, advskew 0 and 100.
    Carp,
    /// `carpd` by the rules of OpenBSD, advbase 0 and these values of advskew.
    FastCarp(u8, u8),
    /// `carpd` with VRRPv3 at an interval in centiseconds, priority 250 and 240.
    Vrrp(u16),
    /// `ucarp`, advbase 1, advskew 0 and 100.
    Ucarp,
    /// `keepalived` with the same.
    Keepalived(u16),
}

/// How the better host leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leave {
    /// Host and daemon are gone at once: no carrier, SIGKILL.
    Crash,
    /// SIGTERM to the daemon.
    Stop,
    /// SIGKILL to the daemon, of which the rest of the host takes no notice.
    Kill,
}

impl Display for Group {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carp => f.write_str("carpd, CARP 0/100"),
            Self::FastCarp(better, worse) => write!(f, "carpd, CARP 0 s, {better}/{worse}"),
            Self::Vrrp(interval) => write!(f, "carpd, VRRPv3 {interval} cs"),
            Self::Ucarp => f.write_str("ucarp, 0/100"),
            Self::Keepalived(interval) => write!(f, "keepalived, {interval} cs"),
        }
    }
}

impl Display for Leave {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::Stop => "polite stop",
            Self::Kill => "SIGKILL",
        })
    }
}

/// A daemon of a group.
enum Daemon {
    Carpd(Carpd),
    Other(Process),
}

impl Group {
    /// Between two advertisements of the better host.
    pub(crate) fn interval(self) -> Duration {
        match self {
            Self::Carp | Self::Ucarp => Duration::from_secs(1),
            Self::FastCarp(better, _) => Duration::from_secs(1) / 256 * better.into(),
            Self::Vrrp(interval) | Self::Keepalived(interval) => {
                Duration::from_millis(10) * interval.into()
            }
        }
    }

    /// How long the better host may be late with an advertisement, at least, before the worse one
    /// takes over: what that one waits for, less the interval that passes anyway.
    pub(crate) fn patience(self) -> Duration {
        let silence = match self {
            Self::FastCarp(_, worse) => Duration::from_secs(3) / 256 * worse.into(),
            _ => self.interval() * 3,
        };
        silence - self.interval()
    }

    fn start(self, lab: &Lab, node: u8, options: &[&str]) -> Daemon {
        let better = node == 1;
        let launch = Launch {
            options,
            ..Launch::default()
        };
        let carpd = |host: Host| Daemon::Carpd(Carpd::launch(lab, node, &[host], &launch));
        match self {
            Self::Carp => carpd(Host::new(if better { 0 } else { 100 })),
            Self::FastCarp(best, second) => carpd(Host {
                rules: "openbsd",
                advbase: 0,
                ..Host::new(if better { best } else { second })
            }),
            Self::Vrrp(interval) => carpd(Host::vrrp(if better { 250 } else { 240 }, interval)),
            Self::Ucarp => Daemon::Other(Ucarp::new(if better { 0 } else { 100 }).start(lab, node)),
            Self::Keepalived(centiseconds) => {
                let priority = if better { 250 } else { 240 };
                let keepalived = Keepalived {
                    priority,
                    centiseconds,
                };
                Daemon::Other(keepalived.start(lab, node))
            }
        }
    }
}

/// A group at work.
pub(crate) struct Rig {
    // In the order in which they must go.
    better: Option<Daemon>,
    worse: Daemon,
    prober: Prober,
    lab: Lab,
    group: Group,
    options: &'static [&'static str],
    cycle: u32,
}

/// What one departure cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) outage: Duration,
    /// The part of it that the client may have caused itself.
    pub(crate) jitter: Duration,
    /// The longest time that a thread with precedence waited for a processor meanwhile.
    pub(crate) stalled: Duration,
    /// Whether the host that left still had the address when its successor had it too.
    pub(crate) kept_address: bool,
}

impl Cost {
    /// The same if the client had always been in time and the machine had not stood still: on one
    /// that does other things, too, this is what the daemons have to answer for.
    pub(crate) fn of_daemons(self) -> Self {
        // The client is mostly late because the machine stands still.
        let of_others = self.jitter.max(self.stalled);
        Self {
            outage: self.outage.saturating_sub(of_others),
            jitter: Duration::ZERO,
            stalled: Duration::ZERO,
            ..self
        }
    }
}

impl Rig {
    /// Starts the daemons, ours with `options`, and waits until the better host is the master.
    pub(crate) fn new(lab: Lab, group: Group, options: &'static [&'static str]) -> Self {
        let prober = Prober::start(&lab, SHARED);
        let start = Instant::now();
        let better = group.start(&lab, 1, options);
        prober.await_answer(1, start, LIMIT);
        let worse = group.start(&lab, 2, options);
        Self {
            better: Some(better),
            worse,
            prober,
            lab,
            group,
            options,
            cycle: 0,
        }
    }

    /// Lets the better host leave, measures, and lets it come back.
    pub(crate) fn measure(&mut self, leave: Leave) -> Cost {
        self.settle();
        let better = self.better.take().expect("it has come back");
        let stalls = Stalls::watch();
        let since = Instant::now();
        match leave {
            Leave::Crash => {
                self.lab.unplug(1);
                better.kill();
            }
            Leave::Stop => better.stop(),
            Leave::Kill => better.kill(),
        }
        self.prober.await_answer(2, since, LIMIT);
        let kept_address = leave != Leave::Crash && self.lab.node(1).has(SHARED);
        // What is still unanswered then would be an outage after the outage.
        pass(Duration::from_millis(200));
        let outage = self.prober.longest(since);
        let stalled = stalls.longest_between(outage.from, outage.from + outage.length);

        if leave == Leave::Crash {
            self.lab.plug(1);
        }
        self.lab.node(1).clear(SHARED);
        let back = Instant::now();
        self.better = Some(self.group.start(&self.lab, 1, self.options));
        self.prober.await_answer(1, back, LIMIT);
        Cost {
            outage: outage.length,
            jitter: outage.jitter,
            stalled,
            kept_address,
        }
    }

    /// Lets nothing happen for a while, and returns what happened nevertheless.
    pub(crate) fn rest(&mut self, time: Duration) -> Rest {
        self.settle();
        let stalls = Stalls::watch();
        let monitors = [1, 2].map(|node| Monitor::start(&self.lab, node));
        let told_before = self.told();
        let since = Instant::now();
        pass(time);
        let longest = self.prober.longest(since).length;
        let told = self.told();
        let [better, worse] = monitors.map(Monitor::stop);
        let stalled = stalls.longest();
        // That the better host gets its address again and again is how it keeps it. It is also
        // how the monitor shows that it would have seen more.
        let is_ours = matches!(self.worse, Daemon::Carpd(_));
        assert!(
            !is_ours || better.added as u64 >= 2 * time.as_secs(),
            "the address was refreshed {} times in {time:?}",
            better.added
        );
        Rest {
            moves: better.removed + worse.added + worse.removed,
            told: told - told_before,
            longest,
            stalled,
        }
    }

    /// How many changes of state our daemons have told, which must be in their roles.
    fn told(&self) -> usize {
        let daemons = [
            (self.better.as_ref(), "MASTER"),
            (Some(&self.worse), "BACKUP"),
        ];
        let mut told = 0;
        for (daemon, role) in daemons {
            if let Some(Daemon::Carpd(carpd)) = daemon {
                // Whoever has lost its role has told so, or is about to.
                carpd.await_state(role, LIMIT);
                let changes = carpd.changes();
                assert!(!changes.is_empty(), "{role} is told of in the log");
                told += changes.len();
            }
        }
        told
    }

    /// Waits until the better host is the only one with the address, and then for any part of an
    /// interval: successive calls spread evenly over it.
    fn settle(&mut self) {
        wait_until("the worse host to give up the address", LIMIT, || {
            self.lab.holders(SHARED) == [1]
        });
        // The fractional parts of the multiples of the golden ratio lie nowhere close together.
        self.cycle += 1;
        let part = (f64::from(self.cycle) * 0.618_033_988_749_895).fract();
        pass(self.group.interval() * 2 + self.group.interval().mul_f64(part));
    }
}

/// What happened while nothing should.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// How often the worse host got or lost the address, or the better one lost it.
    pub(crate) moves: usize,
    /// How many changes of state our daemons told.
    pub(crate) told: usize,
    /// The longest time without an answer.
    pub(crate) longest: Duration,
    /// The longest time that a thread with precedence waited for a processor.
    pub(crate) stalled: Duration,
}

impl Rest {
    /// How often something changed, whoever noticed.
    pub(crate) fn changes(&self) -> usize {
        self.moves.max(self.told)
    }
}

/// An eye on the addresses of a host. It is shown something at the beginning and at the end, so
/// that one that is closed is no proof of anything.
struct Monitor<'l> {
    node: &'l Node,
    process: Process,
}

/// How often the shared address came to a host, and how often it went.
struct Seen {
    added: usize,
    removed: usize,
}

impl<'l> Monitor<'l> {
    fn start(lab: &'l Lab, number: u8) -> Self {
        let node = lab.node(number);
        let log = lab.unique("monitor");
        let words = ["-o", "-4", "monitor", "address"].map(ToOwned::to_owned);
        let monitor = Self {
            node,
            process: Process::start(node.namespace(), &log, "ip", &words),
        };
        monitor.show("198.51.100.1");
        monitor
    }

    /// Adds and removes an address until that is seen.
    fn show(&self, address: &str) {
        wait_for(
            LIMIT,
            || format!("{} to see {address}", self.process),
            || {
                for verb in ["add", "del"] {
                    let words = format!("addr {verb} {address}/32 dev lo");
                    self.node.namespace().ip(&words);
                }
                pass(Duration::from_millis(20));
                self.process.log().contains(address)
            },
        );
    }

    fn stop(self) -> Seen {
        self.show("198.51.100.2");
        let log = self.process.log();
        let lines = log.lines().filter(|line| line.contains(SHARED));
        let (removed, added): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains("Deleted"));
        Seen {
            added: added.len(),
            removed: removed.len(),
        }
    }
}

impl Daemon {
    fn kill(self) {
        match self {
            Self::Carpd(carpd) => carpd.kill(),
            Self::Other(process) => process.kill(),
        }
    }

    fn stop(self) {
        match self {
            Self::Carpd(carpd) => carpd.stop(),
            Self::Other(process) => {
                process.stop();
            }
        }
    }
}

/// A row of the table: who, how, and what is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) group: Group,
    pub(crate) leave: Leave,
    pub(crate) limits: Limits,
}

/// What is promised of outages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) median: Option<Duration>,
    pub(crate) p95: Option<Duration>,
    pub(crate) max: Option<Duration>,
}

impl Limits {
    /// Whether anything is promised.
    pub(crate) fn is_any(&self) -> bool {
        self.median.or(self.p95).or(self.max).is_some()
    }
}

const fn row(leave: Leave, group: Group) -> Row {
    let limits = Limits {
        median: None,
        p95: None,
        max: None,
    };
    Row {
        group,
        leave,
        limits,
    }
}

impl Row {
    const fn median(mut self, millis: u64) -> Self {
        self.limits.median = Some(Duration::from_millis(millis));
        self
    }

    const fn p95(mut self, millis: u64) -> Self {
        self.limits.p95 = Some(Duration::from_millis(millis));
        self
    }

    const fn max(mut self, millis: u64) -> Self {
        self.limits.max = Some(Duration::from_millis(millis));
        self
    }

    /// Whether what happens is so slow that others may happen at the same time.
    pub(crate) fn is_slow(&self) -> bool {
        self.leave != Leave::Stop && self.group.interval() >= Duration::from_secs(1)
    }

    /// Measures it so many times.
    pub(crate) fn run(&self, lab: Lab, runs: usize) -> Vec<Cost> {
        let mut rig = Rig::new(lab, self.group, &[]);
        (0..runs).map(|_| rig.measure(self.leave)).collect()
    }
}

/// All that is measured: ours first, then others in the same situation.
pub(crate) const ROWS: &[Row] = &[
    row(Leave::Crash, Group::Carp).median(3000).max(3410),
    row(Leave::Crash, Group::Ucarp),
    row(Leave::Crash, Group::Keepalived(100)),
    row(Leave::Kill, Group::Carp),
    row(Leave::Kill, Group::Ucarp),
    row(Leave::Kill, Group::Keepalived(100)),
    row(Leave::Stop, Group::Carp).median(3).p95(10),
    row(Leave::Stop, Group::Ucarp),
    row(Leave::Stop, Group::Keepalived(100)),
    row(Leave::Stop, Group::Keepalived(1)),
    row(Leave::Crash, Group::FastCarp(25, 26)).median(300),
    row(Leave::Crash, Group::Vrrp(10)).median(300),
    row(Leave::Crash, Group::Keepalived(10)),
    row(Leave::Crash, Group::FastCarp(1, 2)).median(31),
    row(Leave::Crash, Group::Vrrp(1)).median(31),
    row(Leave::Crash, Group::Keepalived(1)),
];

/// What some runs of a row have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) runs: usize,
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) p95: Duration,
    pub(crate) max: Duration,
    /// The worst that the client itself may have added.
    pub(crate) jitter: Duration,
    /// In how many runs both hosts had the address afterwards.
    pub(crate) kept_address: usize,
}

impl Figures {
    pub(crate) fn of(mut costs: Vec<Cost>) -> Self {
        costs.sort_unstable_by_key(|cost| cost.outage);
        // The value that so many hundredths do not exceed.
        let percentile = |hundredths: usize| {
            let rank = (costs.len() * hundredths).div_ceil(100);
            costs[rank.max(1) - 1].outage
        };
        Self {
            runs: costs.len(),
            min: percentile(0),
            median: percentile(50),
            p95: percentile(95),
            max: percentile(100),
            jitter: costs
                .iter()
                .map(|cost| cost.jitter)
                .max()
                .unwrap_or_default(),
            kept_address: costs.iter().filter(|cost| cost.kept_address).count(),
        }
    }

    /// What was promised and is not so, in words.
    pub(crate) fn broken(&self, limits: Limits) -> Vec<String> {
        let checks = [
            ("median", self.median, limits.median),
            ("p95", self.p95, limits.p95),
            ("max", self.max, limits.max),
        ];
        checks
            .into_iter()
            .filter_map(|(name, is, limit)| Some((name, is, limit.filter(|limit| is > *limit)?)))
            .map(|(name, is, limit)| format!("{name} {is:.1?} > {limit:?}"))
            .collect()
    }
}

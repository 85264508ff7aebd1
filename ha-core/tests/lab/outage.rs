//! How long a client goes without an answer when the better of two hosts leaves.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::time::Instant;

use super::daemons::{Carpd, Host, Keepalived, SHARED, Ucarp};
use super::probe::Prober;
use super::{Lab, Process, pass, wait_until};

/// For every takeover that should come.
const LIMIT: Duration = Duration::from_secs(20);

/// Two hosts that share the address, node 1 the better one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// `carpd` by the rules of FreeBSD, advbase 1, advskew 0 and 100.
    Carp,
    /// `carpd` by the rules of OpenBSD, advbase 0 and these values of advskew.
    FastCarp(u8, u8),
    /// `carpd` with VRRPv3 at an interval in centiseconds.
    Vrrp(u16),
    /// `ucarp`, advbase 1, advskew 0 and 100.
    Ucarp,
    /// `keepalived` with VRRPv3 at an interval in centiseconds.
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

    fn start(self, lab: &Lab, node: u8, options: &[&str]) -> Daemon {
        let better = node == 1;
        let carpd = |host: Host| Daemon::Carpd(Carpd::with(lab, node, &[host], "", options));
        match self {
            Self::Carp => carpd(Host::new(if better { 0 } else { 100 })),
            Self::FastCarp(best, second) => carpd(Host {
                rules: "openbsd",
                advbase: 0,
                ..Host::new(if better { best } else { second })
            }),
            Self::Vrrp(interval) => carpd(Host::vrrp(if better { 200 } else { 100 }, interval)),
            Self::Ucarp => {
                Daemon::Other(Ucarp::new(if better { 0 } else { 100 }).start(lab, node))
            }
            Self::Keepalived(centiseconds) => {
                let priority = if better { 200 } else { 100 };
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
    _worse: Daemon,
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
    /// Whether the host that left still had the address when its successor had it too.
    pub(crate) kept_address: bool,
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
            _worse: worse,
            prober,
            lab,
            group,
            options,
            cycle: 0,
        }
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Lets the better host leave, measures, and lets it come back.
    pub(crate) fn measure(&mut self, leave: Leave) -> Cost {
        self.settle();
        let better = self.better.take().expect("it has come back");
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

        if leave == Leave::Crash {
            self.lab.plug(1);
        }
        if self.lab.node(1).has(SHARED) {
            let interface = self.lab.node(1).namespace();
            // It may be about to expire.
            let _ = interface.try_ip(&format!("addr del {SHARED}/24 dev eth0"));
        }
        let back = Instant::now();
        self.better = Some(self.group.start(&self.lab, 1, self.options));
        self.prober.await_answer(1, back, LIMIT);
        Cost {
            outage: outage.length,
            jitter: outage.jitter,
            kept_address,
        }
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

/// The value below which so many hundredths of the values lie.
pub(crate) fn percentile(values: &[Duration], hundredths: usize) -> Duration {
    let mut values = values.to_vec();
    values.sort_unstable();
    let rank = (values.len() * hundredths).div_ceil(100).max(1);
    values[rank - 1]
}

//! The role moves for one reason after the other, while clients write.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::collections::BTreeMap;
use std::thread;

use nix::sys::signal::Signal;

use super::network::{Flow, Link, Net, Side};
use super::node::Settings;
use super::pair::{Mark, Pair};
use super::report::{Outages, measure, print};
use super::stolen::stolen;

use Side::{Alpha, Beta};

/// Silence after which the second node is master, at the defaults of CARP with advskew 0 and 100:
/// three intervals of its own.
const MASTER_DOWN: Duration = Duration::from_millis(3 * 1000 + 1000 * 100 / 256);
/// What may come to that before the service answers.
const TAKEOVER: Duration = Duration::from_millis(600);
/// The longest outage of a planned move.
const POLITE: Duration = Duration::from_millis(500);
/// Between two advertisements.
const INTERVAL: Duration = Duration::from_secs(1);

/// What happens.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// The active node loses its power.
    Crash,
    /// The other one does.
    StandbyCrash,
    /// had is killed on the active node, and the rest of it goes on.
    Kill,
    /// The active node loses the carrier of the service network.
    Carrier,
    /// had is told to end.
    Stop,
    /// The operator has the role move.
    SwitchOver,
    /// The better node has returned, and takes the role back.
    FailBack,
    /// The service is killed.
    ServiceCrash,
    /// The disk of the active node takes no writes any more.
    DiskError,
    /// The nodes do not hear each other on the service network.
    ServicePartition,
    /// The nodes do not reach each other on the replication network.
    ReplicationPartition,
    /// Both nodes lose their power, and come back.
    Reboot,
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Crash => "crash",
            Self::StandbyCrash => "crash of the other node",
            Self::Kill => "SIGKILL of had alone",
            Self::Carrier => "carrier loss",
            Self::Stop => "polite stop",
            Self::SwitchOver => "planned switch-over",
            Self::FailBack => "return of the better node",
            Self::ServiceCrash => "crash of the service",
            Self::DiskError => "disk error",
            Self::ServicePartition => "partition, service network",
            Self::ReplicationPartition => "partition, replication",
            Self::Reboot => "reboot of both",
        })
    }
}

impl Kind {
    /// All that an operator can bring about, those that happen most often more than once.
    const ROUND: [Self; 11] = [
        Self::SwitchOver,
        Self::Crash,
        Self::Stop,
        Self::Kill,
        Self::ServiceCrash,
        Self::Carrier,
        Self::StandbyCrash,
        Self::DiskError,
        Self::ServicePartition,
        Self::ReplicationPartition,
        Self::Reboot,
    ];

    /// The longest outage that is allowed, where there is a promise: for waiting, and for work.
    const fn limit(self) -> Option<[Duration; 2]> {
        match self {
            Self::Crash => Some([MASTER_DOWN, TAKEOVER]),
            Self::Stop | Self::SwitchOver => Some([Duration::ZERO, POLITE]),
            _ => None,
        }
    }
}

/// What was done and measured.
struct Run {
    pair: Pair,
    outages: BTreeMap<Kind, Outages>,
    /// How often the role moved.
    moves: usize,
    events: u32,
}

/// Moves the role at least so often.
pub(crate) fn run(settings: Settings, moves: usize) {
    let mut run = Run {
        pair: Pair::start(settings),
        outages: BTreeMap::new(),
        moves: 0,
        events: 0,
    };
    for kind in Kind::ROUND.into_iter().cycle() {
        run.event(kind);
        let is_round = run.events as usize % Kind::ROUND.len() == 0;
        if run.moves >= moves && (is_round || moves > 20) {
            break;
        }
    }
    let title = format!("{} failovers, {}", run.moves, settings.replication);
    print(&title, &run.outages);
    let findings = run.pair.audit();
    println!(
        "\n{} acknowledged records, {} lost; double service {} times",
        findings.acknowledged,
        findings.lost.len(),
        findings.double.len()
    );
    assert!(findings.lost.is_empty(), "{:?}", findings.lost);
    assert!(findings.double.is_empty(), "{:?}", findings.double);
    for (kind, outages) in &run.outages {
        let Some([waits, works]) = kind.limit() else {
            continue;
        };
        for measured in outages.all() {
            // On a machine that has its processors for itself nothing comes to the limit; on any
            // other work may take twice as long.
            let limit = waits + works + measured.stolen.min(works);
            let outage = measured.outage;
            assert!(outage <= limit, "{kind}: {outage:?} exceeds {limit:?}");
        }
    }
}

impl Run {
    /// Lets something happen while alpha serves, and ends when it does again.
    fn event(&mut self, kind: Kind) {
        self.events += 1;
        // Any part of the interval between two advertisements: the multiples of the golden ratio
        // lie nowhere close together.
        let part = (f64::from(self.events) * 0.618_033_988_749_895).fract();
        thread::sleep(INTERVAL.mul_f64(part));
        self.pair.await_flow();
        let mark = self.pair.mark();
        match kind {
            Kind::Crash => self.pair.crash(Alpha),
            Kind::StandbyCrash => self.pair.crash(Beta),
            Kind::Kill => self.pair.node_mut(Alpha).kill(),
            Kind::Carrier => self.carrier(false),
            Kind::Stop => self.pair.node(Alpha).signal(Signal::SIGTERM),
            Kind::SwitchOver => {
                let output = self.pair.node(Alpha).command(&["switch", "files"]);
                assert!(output.status.success(), "{output:?}");
            }
            Kind::FailBack => {}
            Kind::ServiceCrash => self.pair.node(Alpha).kill_service(),
            Kind::DiskError => self.pair.node(Alpha).disk().set_broken(true),
            Kind::ServicePartition => self.pair.network().cut(Link::Service, Flow::Both),
            Kind::ReplicationPartition => self.pair.network().cut(Link::Replication, Flow::Both),
            Kind::Reboot => {
                self.pair.crash(Alpha);
                self.pair.crash(Beta);
            }
        }
        match kind {
            Kind::ServicePartition => self.partition(kind, mark, Link::Service),
            Kind::ReplicationPartition => self.partition(kind, mark, Link::Replication),
            Kind::StandbyCrash => {
                thread::sleep(Duration::from_secs(5));
                self.note(kind, mark, Alpha);
                self.pair.boot(Beta);
                self.pair.await_service(Alpha);
            }
            Kind::Reboot => {
                thread::sleep(INTERVAL);
                self.pair.boot(Alpha);
                self.pair.boot(Beta);
                self.pair.await_answer(mark, Alpha);
                self.note(kind, mark, Alpha);
                self.moves += 1;
                self.pair.await_service(Alpha);
            }
            _ => self.there_and_back(kind, mark),
        }
    }

    /// Beta takes over; then alpha is mended and takes over in its turn.
    fn there_and_back(&mut self, kind: Kind, mark: Mark) {
        self.pair.await_answer(mark, Beta);
        self.note(kind, mark, Beta);
        self.moves += 1;
        let mark = self.pair.mark();
        match kind {
            Kind::Crash => self.pair.boot(Alpha),
            Kind::Kill => self.pair.node_mut(Alpha).start(),
            Kind::Carrier => self.carrier(true),
            Kind::Stop => {
                let node = self.pair.node_mut(Alpha);
                node.await_end();
                node.start();
            }
            Kind::DiskError => {
                self.pair.node(Alpha).disk().set_broken(false);
                self.pair.restart(Alpha);
            }
            _ => {}
        }
        self.pair.await_answer(mark, Alpha);
        self.note(Kind::FailBack, mark, Alpha);
        self.moves += 1;
        self.pair.await_service(Alpha);
    }

    /// The nodes do not reach each other in one of two ways: the role stays.
    fn partition(&mut self, kind: Kind, mark: Mark, link: Link) {
        thread::sleep(Duration::from_secs(6));
        let healed = self.pair.mark();
        self.pair.network().heal(link);
        self.pair.await_answer(healed, Alpha);
        let heard = self.pair.client(Alpha).heard_since(0);
        let mut since = heard.iter().filter(|heard| heard.at > mark.at);
        assert!(
            since.all(|heard| heard.answer.node == Alpha.id()),
            "{kind}: the role has moved"
        );
        self.pair.await_service(Alpha);
        if link == Link::Replication {
            self.note(kind, mark, Alpha);
        }
    }

    fn carrier(&self, is_up: bool) {
        self.pair.network().set_carrier(Alpha, Net::Service, is_up);
    }

    /// Takes note of the outage since then, now that `new` serves.
    fn note(&mut self, kind: Kind, mark: Mark, new: Side) {
        // What the kernel tells of it may be less than before.
        let stolen = stolen().saturating_sub(mark.stolen);
        // What is unanswered now would be an outage after the outage.
        thread::sleep(Duration::from_millis(200));
        let outage = self.pair.outage(mark);
        let measured = measure(&self.pair, outage, stolen, new);
        println!("{kind}: {:?}, stolen {stolen:?}", measured.outage);
        self.outages.entry(kind).or_default().push(measured);
    }
}

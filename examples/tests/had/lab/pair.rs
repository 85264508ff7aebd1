//! Two nodes that run, and the clients beside them.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::arbiter::Etcd;
use super::audit::{Findings, audit};
use super::client::{Client, Heard, PERIOD};
use super::disk::Disk;
use super::network::{Network, SERVICE, Side};
use super::node::{Node, Settings};
use super::stolen::stolen;
use super::wait_for;

/// How long anything may take that is not measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Everything.
pub(crate) struct Pair {
    // In the order in which they must go.
    clients: [Client; 2],
    nodes: [Node; 2],
    _arbiter: Option<Etcd>,
    network: Network,
    _dir: TempDir,
}

/// A moment of the clients: what they hear after it is later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    counts: [usize; 2],
    pub(crate) at: Instant,
    /// What had been [`stolen`] by then.
    pub(crate) stolen: Duration,
}

impl Pair {
    /// Starts everything, and waits until alpha serves and beta could.
    pub(crate) fn start(settings: Settings) -> Self {
        // In memory, as it is not the disk of this machine that is looked at.
        let dir = tempfile::Builder::new()
            .prefix("had-lab")
            .tempdir_in("/dev/shm");
        let dir = dir.expect("a directory");
        let network = Network::new();
        let arbiter = settings.arbiter.then(|| Etcd::start(&network, dir.path()));
        let [first, second] = Disk::pair(dir.path());
        let mut nodes = [
            Node::new(Side::Alpha, dir.path(), first, settings),
            Node::new(Side::Beta, dir.path(), second, settings),
        ];
        for node in &mut nodes {
            node.boot(&network);
        }
        let pair = Self {
            clients: Side::BOTH.map(|side| Client::start(&network, side)),
            nodes,
            _arbiter: arbiter,
            network,
            _dir: dir,
        };
        pair.await_service(Side::Alpha);
        pair
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn node(&self, side: Side) -> &Node {
        &self.nodes[usize::from(side.id())]
    }

    pub(crate) fn node_mut(&mut self, side: Side) -> &mut Node {
        &mut self.nodes[usize::from(side.id())]
    }

    pub(crate) fn client(&self, side: Side) -> &Client {
        &self.clients[usize::from(side.id())]
    }

    /// Cuts the power of a node.
    pub(crate) fn crash(&mut self, side: Side) {
        self.nodes[usize::from(side.id())].crash(&self.network);
    }

    /// Switches a node on again.
    pub(crate) fn boot(&mut self, side: Side) {
        self.nodes[usize::from(side.id())].boot(&self.network);
    }

    /// Ends had on a node, and starts it again.
    pub(crate) fn restart(&mut self, side: Side) {
        let node = self.node_mut(side);
        node.signal(Signal::SIGTERM);
        node.await_end();
        node.start();
    }

    /// Waits until both clients have just been answered, so that what is measured from then on is
    /// no outage of before.
    pub(crate) fn await_flow(&self) {
        let flows = |client: &Client| {
            let last = client.last();
            last.is_some_and(|last| last.at.elapsed() < 3 * PERIOD)
        };
        wait_for(
            PATIENCE,
            || "answers one after the other".to_owned(),
            || self.clients.iter().all(flows),
        );
    }

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            counts: [0, 1].map(|client: usize| self.clients[client].count()),
            at: Instant::now(),
            stolen: stolen(),
        }
    }

    /// What a client heard since then, and the last before.
    fn since(&self, mark: Mark, side: Side) -> Vec<Heard> {
        let count = mark.counts[usize::from(side.id())].saturating_sub(1);
        self.client(side).heard_since(count)
    }

    /// Waits until both clients hear from this node.
    pub(crate) fn await_answer(&self, mark: Mark, from: Side) {
        for side in Side::BOTH {
            self.await_answer_at(side, mark, from);
        }
    }

    /// Waits until a client hears from this node.
    pub(crate) fn await_answer_at(&self, side: Side, mark: Mark, from: Side) {
        wait_for(
            PATIENCE,
            || {
                let states = self.states();
                format!(
                    "{} to serve client {}: {states:?}",
                    from.name(),
                    side.name()
                )
            },
            || {
                let heard = self.since(mark, side);
                let mut new = heard.iter().filter(|heard| heard.at > mark.at);
                new.any(|heard| heard.answer.node == from.id())
            },
        );
    }

    fn states(&self) -> [String; 2] {
        Side::BOTH.map(|side| self.node(side).state())
    }

    /// Waits until this node serves, and it alone, and the other one could take over.
    pub(crate) fn await_service(&self, from: Side) {
        self.await_answer(self.mark(), from);
        let other = self.node(from.other());
        wait_for(
            PATIENCE,
            || format!("{} to be fit: {:#?}", other.side.name(), other.status()),
            || other.is_fit(),
        );
        assert_eq!(self.holders(), [from], "who has the address");
    }

    /// The nodes that have the address of the service.
    pub(crate) fn holders(&self) -> Vec<Side> {
        let has = |side: &Side| self.node(*side).has_address(SERVICE);
        Side::BOTH.into_iter().filter(has).collect()
    }

    /// The longest time between two answers since then, for the client that waited longest, and
    /// when it began.
    pub(crate) fn outage(&self, mark: Mark) -> Outage {
        let mut longest = Outage {
            length: Duration::ZERO,
            from: mark.at,
        };
        for side in Side::BOTH {
            for pair in self.since(mark, side).windows(2) {
                let length = (pair[1].at - pair[0].at).saturating_sub(PERIOD);
                if length > longest.length {
                    let from = pair[0].at;
                    longest = Outage { length, from };
                }
            }
        }
        longest
    }

    /// Everything that the clients heard.
    pub(crate) fn heard(&self) -> BTreeMap<Side, Vec<Heard>> {
        let heard = |side| (side, self.client(side).heard_since(0));
        Side::BOTH.map(heard).into()
    }

    /// Compares what was heard with the log.
    pub(crate) fn audit(&self) -> Findings {
        let heard = self.heard();
        let mut log = None;
        wait_for(
            PATIENCE,
            || "the log".to_owned(),
            || {
                log = self.client(Side::Alpha).dump().ok();
                log.is_some()
            },
        );
        audit(&heard, &log.unwrap_or_default())
    }
}

/// A time without answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) length: Duration,
    pub(crate) from: Instant,
}

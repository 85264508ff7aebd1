//! What the page and `had status` show: this node, and what is known of the others.

use serde::{Deserialize, Serialize};

use super::joint::{self, Failover, Part};
use super::snapshot::{Node, Snapshot};

/// How old what is known of another node may be before it counts as stale.
pub(crate) const STALE_MS: f64 = 5_000.0;

/// All nodes, as far as this one knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Overview {
    /// Of this form.
    pub(crate) version: u32,
    pub(crate) own: Snapshot,
    pub(crate) peers: Vec<Peer>,
    /// The last failover of each unit.
    pub(crate) failovers: Vec<Failover>,
}

/// Another node.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Peer {
    /// As it is called in this node's configuration.
    pub(crate) node: Node,
    /// What it last said.
    pub(crate) seen: Option<Seen>,
    /// Why it cannot be asked now, if it cannot.
    pub(crate) error: Option<String>,
}

/// What another node said, and when.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Seen {
    pub(crate) snapshot: Snapshot,
    pub(crate) age_ms: f64,
    /// Whether that is too long ago to be relied on.
    pub(crate) stale: bool,
    /// By how much its clock is ahead of this node's, within half of how long the answer took that
    /// told it.
    pub(crate) ahead_ms: f64,
    pub(crate) took_ms: f64,
}

impl Peer {
    /// What it said, if that was just now.
    pub(crate) fn fresh(&self) -> Option<&Snapshot> {
        let seen = self.seen.as_ref().filter(|seen| !seen.stale)?;
        Some(&seen.snapshot)
    }
}

impl Overview {
    pub(crate) fn new(own: Snapshot, peers: Vec<Peer>) -> Self {
        let failovers = own
            .units
            .iter()
            .filter_map(|unit| joint::last(&unit.name, &parts(&unit.name, &own, &peers)))
            .collect();
        Self {
            version: 1,
            own,
            peers,
            failovers,
        }
    }

    pub(crate) fn failover(&self, unit: &str) -> Option<&Failover> {
        self.failovers.iter().find(|failover| failover.unit == unit)
    }
}

fn parts<'a>(unit: &str, own: &'a Snapshot, peers: &'a [Peer]) -> Vec<Part<'a>> {
    let nodes = peers.iter().filter_map(|peer| {
        let seen = peer.seen.as_ref()?;
        Some((&seen.snapshot, seen.ahead_ms))
    });
    let part = |(node, ahead_ms): (&'a Snapshot, f64)| {
        Some(Part {
            node: &node.node.name,
            timeline: node.unit(unit)?.last.as_ref()?,
            ahead_ms,
        })
    };
    core::iter::once((own, 0.0))
        .chain(nodes)
        .filter_map(part)
        .collect()
}

//! A model of HAST's promises: what the disks of a node hold, and who follows whom.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use ha_core::failover::{
    Data, DegradedId, Grant, NodeId, NodeSet, Peer, Revision, StorageRole, StorageStatus,
};

/// How long a session lives without being heard.
pub(crate) const SESSION: Duration = Duration::from_secs(1);

/// The storage of one node. What is on the disk survives a crash.
#[derive(Debug)]
pub(crate) struct Store {
    // On the disk.
    pub(crate) log: Vec<u64>,
    /// What this node has acknowledged as primary.
    pub(crate) acknowledged: BTreeSet<u64>,
    pub(crate) inconsistent: bool,
    pub(crate) outdated: bool,
    /// The greatest fencing token that it knows.
    pub(crate) token: Option<Revision>,
    pub(crate) split: bool,
    // In memory.
    pub(crate) role: StorageRole,
    pub(crate) known: bool,
    /// On a primary: the sessions, when each was last heard, and when its synchronisation ends.
    pub(crate) sessions: BTreeMap<usize, Session>,
    /// On a secondary: the primary, and when it was last heard.
    pub(crate) follows: Option<(usize, Duration)>,
    pub(crate) pending: Vec<u64>,
    pub(crate) permit: Permit,
    wishes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) heard: Duration,
    pub(crate) syncs_until: Option<Duration>,
}

/// Whether a primary may acknowledge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Permit {
    /// All nodes have everything.
    Complete,
    /// It has asked to go on with fewer.
    Asked(DegradedId),
    /// It may, until then by its own clock.
    Granted(DegradedId, Option<Duration>),
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            log: Vec::new(),
            acknowledged: BTreeSet::new(),
            inconsistent: false,
            outdated: false,
            token: None,
            split: false,
            role: StorageRole::Init,
            known: false,
            sessions: BTreeMap::new(),
            follows: None,
            pending: Vec::new(),
            permit: Permit::Complete,
            wishes: 0,
        }
    }

    /// Forgets what is in memory.
    pub(crate) fn reboot(&mut self) {
        self.lose_role(StorageRole::Init);
        self.known = false;
    }

    pub(crate) fn lose_role(&mut self, role: StorageRole) {
        self.role = role;
        self.sessions.clear();
        self.follows = None;
        self.pending.clear();
    }

    /// On a primary: the other nodes that have everything.
    pub(crate) fn synchronised(&self) -> impl Iterator<Item = usize> {
        let synced = |(_, session): &(&usize, &Session)| session.syncs_until.is_none();
        self.sessions.iter().filter(synced).map(|(peer, _)| *peer)
    }

    /// Who has all that was acknowledged.
    pub(crate) fn current(&self, node: usize) -> NodeSet {
        self.synchronised()
            .fold(set(node), |nodes, peer| nodes.with(id(peer)))
    }

    pub(crate) fn status(&self, node: usize) -> StorageStatus {
        let data = match (self.known, self.split, self.inconsistent, self.follows) {
            (false, ..) => Data::Unknown,
            (_, true, ..) => Data::SplitBrain,
            (_, _, true, Some(_)) => Data::Synchronising { done: 1, total: 2 },
            (_, _, true, None) => Data::Inconsistent,
            (_, _, false, _) if self.outdated => Data::Outdated,
            (_, _, false, _) => Data::UpToDate,
        };
        let peer = match self.role {
            StorageRole::Primary if !self.sessions.is_empty() => Peer::Secondary,
            StorageRole::Secondary if self.follows.is_some() => Peer::Primary,
            _ => Peer::Disconnected,
        };
        let is_primary = self.role == StorageRole::Primary;
        StorageStatus {
            role: self.role,
            data,
            peer,
            current: if is_primary {
                self.current(node)
            } else {
                NodeSet::EMPTY
            },
        }
    }

    /// Asks anew to go on without those that are not current.
    pub(crate) fn wish(&mut self, node: usize) -> (DegradedId, NodeSet) {
        self.wishes += 1;
        let wish = DegradedId::new(self.wishes);
        self.permit = Permit::Asked(wish);
        (wish, self.current(node))
    }

    pub(crate) fn grant(&mut self, grant: &Grant<Duration>) {
        match self.permit {
            Permit::Asked(wish) | Permit::Granted(wish, _) if wish == grant.wish() => {
                self.permit = Permit::Granted(wish, grant.until());
            }
            _ => {}
        }
    }

    pub(crate) fn revoke(&mut self) {
        if let Permit::Granted(wish, _) = self.permit {
            self.permit = Permit::Asked(wish);
        }
    }

    /// Whether it may acknowledge what its current nodes have, when its clock shows `local`.
    pub(crate) fn may_acknowledge(&self, local: Duration) -> bool {
        self.role == StorageRole::Primary
            && match self.permit {
                Permit::Complete => true,
                Permit::Asked(_) => false,
                Permit::Granted(_, until) => until.is_none_or(|until| local < until),
            }
    }
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId::new(u8::try_from(node).unwrap()).unwrap()
}

pub(crate) fn set(node: usize) -> NodeSet {
    NodeSet::from(id(node))
}

//! How the model of the storage replicates.

use super::*;

impl World {
    pub(super) fn tell_status(&mut self, node: usize) {
        let status = self.nodes[node].store.status(node);
        self.unit(node, Input::Storage(status));
    }

    /// Asks to go on with fewer nodes, unless all are current.
    pub(super) fn ask_permission(&mut self, node: usize) {
        let count = self.nodes.len();
        let store = &mut self.nodes[node].store;
        if store.role != StorageRole::Primary {
            return;
        }
        if store.current(node).iter().count() == count {
            store.permit = Permit::Complete;
            return;
        }
        let (wish, current) = store.wish(node);
        self.counts.waits_for_grant += 1;
        self.unit(node, Input::Degraded { wish, current });
    }

    pub(super) fn tick(&mut self) {
        self.plan(TICK, Coming::Tick);
        for node in 0..self.nodes.len() {
            if self.nodes[node].unit.is_none() || self.nodes[node].asleep.is_some() {
                continue;
            }
            match self.nodes[node].store.role {
                StorageRole::Primary => self.lead(node),
                StorageRole::Secondary => self.follow(node),
                StorageRole::Init => {}
            }
        }
        for node in 0..self.nodes.len() {
            let place = &self.nodes[node];
            let serves = place.address && place.service && place.mounted && place.asleep.is_none();
            if serves && place.store.role == StorageRole::Primary {
                self.writes += 1;
                let write = self.writes;
                self.nodes[node].store.log.push(write);
                self.nodes[node].store.pending.push(write);
                self.acknowledge(node);
            }
        }
    }

    pub(super) fn follow(&mut self, node: usize) {
        let Some((leader, heard)) = self.nodes[node].store.follows else {
            return;
        };
        let leads = self.nodes[leader].store.role == StorageRole::Primary
            && self.nodes[leader].store.sessions.contains_key(&node);
        let over = if self.replicates(node, leader) {
            !leads
        } else {
            self.now > heard + SESSION
        };
        if over {
            self.nodes[node].store.follows = None;
            self.tell_status(node);
        }
    }

    pub(super) fn lead(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            if peer == node {
                continue;
            }
            let reached = self.replicates(node, peer);
            let role = self.nodes[peer].store.role;
            if reached && role == StorageRole::Primary {
                self.counts.dual_primaries += 1;
            }
            let free = match self.nodes[peer].store.follows {
                None => true,
                Some((leader, _)) => leader == node,
            };
            let follows = reached && role == StorageRole::Secondary && free;
            let session = self.nodes[node].store.sessions.get(&peer).copied();
            match session {
                Some(_) if follows && self.nodes[peer].store.follows.is_some() => {
                    self.keep(node, peer);
                }
                Some(session) if reached || self.now > session.heard + SESSION => {
                    self.drop_session(node, peer);
                }
                None if follows && self.nodes[peer].store.known => self.connect(node, peer),
                Some(_) | None => {}
            }
        }
    }

    pub(super) fn keep(&mut self, node: usize, peer: usize) {
        let now = self.now;
        self.nodes[peer].store.follows = Some((node, now));
        let Some(session) = self.nodes[node].store.sessions.get_mut(&peer) else {
            return;
        };
        session.heard = now;
        if session.syncs_until.is_some_and(|until| until <= now) {
            session.syncs_until = None;
            self.counts.synchronised += 1;
            let log = self.nodes[node].store.log.clone();
            self.nodes[peer].store.log = log;
            self.nodes[peer].store.inconsistent = false;
            self.tell_status(peer);
            self.tell_status(node);
            self.ask_permission(node);
            self.acknowledge(node);
        }
    }

    pub(super) fn drop_session(&mut self, node: usize, peer: usize) {
        let session = self.nodes[node].store.sessions.remove(&peer);
        if session.is_some_and(|session| session.syncs_until.is_none()) {
            self.ask_permission(node);
        }
        self.tell_status(node);
    }

    /// Who has the current data (HAST §5.3), reduced to what matters here.
    pub(super) fn connect(&mut self, node: usize, peer: usize) {
        // A mixture of old and new is given to nobody.
        if self.nodes[node].store.inconsistent {
            return;
        }
        let lacks = |world: &Self, a: usize, b: usize| {
            let there: BTreeSet<_> = world.nodes[b].store.log.iter().collect();
            let mine = &world.nodes[a].store;
            mine.log
                .iter()
                .any(|w| mine.acknowledged.contains(w) && !there.contains(w))
        };
        let (ahead, behind) = (lacks(self, node, peer), lacks(self, peer, node));
        let broken = self.nodes[peer].store.inconsistent;
        // The secondary knows a later holder of the record: this primary is a former one.
        let former = self.nodes[peer].store.token > self.nodes[node].store.token;
        if behind && !broken || former {
            self.nodes[node].store.outdated = true;
            if ahead {
                self.counts.split_brains += u64::from(!self.nodes[node].store.split);
                self.nodes[node].store.split = true;
                self.nodes[peer].store.split = true;
                self.tell_status(peer);
            }
            self.tell_status(node);
            return;
        }
        let equal = self.nodes[node].store.log == self.nodes[peer].store.log && !broken;
        let until = self.now + self.random.millis(300..4000);
        let session = Session {
            heard: self.now,
            syncs_until: Some(if equal { self.now } else { until }),
        };
        self.nodes[node].store.sessions.insert(peer, session);
        self.nodes[peer].store.follows = Some((node, self.now));
        self.nodes[peer].store.inconsistent |= !equal;
        self.nodes[peer].store.outdated = false;
        self.nodes[peer].store.token = self.nodes[node].store.token;
        self.tell_status(peer);
        self.tell_status(node);
        self.keep(node, peer);
    }

    /// Whether every node that is to have what is acknowledged says that it has it.
    pub(super) fn is_confirmed(&self, node: usize) -> bool {
        self.nodes[node].store.synchronised().all(|peer| {
            let follows = self.nodes[peer].store.follows;
            self.replicates(node, peer) && follows.is_some_and(|(to, _)| to == node)
        })
    }

    /// Gives what waits to the nodes that are current, and acknowledges it if it may.
    pub(super) fn acknowledge(&mut self, node: usize) {
        let local = self.local(node);
        let store = &self.nodes[node].store;
        if store.pending.is_empty() || store.role != StorageRole::Primary {
            return;
        }
        if !self.is_confirmed(node) {
            return;
        }
        let peers: Vec<usize> = store.synchronised().collect();
        for peer in peers {
            let log = &self.nodes[node].store.log;
            let len = self.nodes[peer].store.log.len().min(log.len());
            let rest = log[len..].to_vec();
            self.nodes[peer].store.log.extend(rest);
            let same = self.nodes[node].store.log.len() == self.nodes[peer].store.log.len();
            self.always(same, "who is current has everything");
        }
        if let Permit::Granted(_, Some(until)) = self.nodes[node].store.permit {
            self.counts.expired_grants += u64::from(local >= until);
        }
        if !self.nodes[node].store.may_acknowledge(local) {
            return;
        }
        let boot = self.nodes[node].boot;
        if self.last_writer != Some((node, boot)) {
            let has: BTreeSet<_> = self.nodes[node].store.log.iter().collect();
            let whole = self.acknowledged.iter().all(|write| has.contains(write));
            self.diverged |= !whole;
            let may = self.kind == Kind::NoArbiter;
            self.always(
                whole || may,
                "who acknowledges has all that was acknowledged",
            );
            self.last_writer = Some((node, boot));
        }
        let pending = core::mem::take(&mut self.nodes[node].store.pending);
        self.counts.acknowledged += pending.len() as u64;
        self.nodes[node].store.acknowledged.extend(&pending);
        self.acknowledged.extend(pending);
    }
}

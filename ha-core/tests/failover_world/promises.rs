//! What must hold, always and in the end.

use super::*;

impl World {
    pub(super) fn check(&mut self) {
        let mut writers = 0;
        for node in 0..self.nodes.len() {
            let place = &self.nodes[node];
            if place.unit.is_none() || place.asleep.is_some() {
                continue;
            }
            let primary = place.store.role == StorageRole::Primary;
            let orphan = place.service && !(primary && place.mounted);
            let unserved = place.address && !(place.service && primary);
            let may = place.store.may_acknowledge(self.local(node)) && self.is_confirmed(node);
            let writes = place.service && may;
            writers += u32::from(writes && place.address);
            self.nodes[node].orphaned = since(self.nodes[node].orphaned, orphan, self.now);
            self.nodes[node].unserved = since(self.nodes[node].unserved, unserved, self.now);
            self.counts.without_storage += u64::from(orphan);
            // The longest way: a step is given up, then each way to undo the address and the
            // service is, then the node is fenced or tries again.
            let limit = self.now.saturating_sub(Duration::from_secs(60));
            let in_time = |since: Option<Duration>| since.is_none_or(|since| since > limit);
            let place = &self.nodes[node];
            let (service, address) = (in_time(place.orphaned), in_time(place.unserved));
            self.always(service, "no service outlives its storage");
            self.always(address, "no address outlives its service");
        }
        if self.kind == Kind::Arbiter(OnLoss::Release) {
            let is_active = |node: &&Node| {
                let unit = node.unit.as_ref();
                node.asleep.is_none() && unit.is_some_and(|unit| unit.state() == State::Active)
            };
            let active = self.nodes.iter().filter(is_active).count();
            self.always(
                active <= 1,
                "the former holder stops before the next one begins",
            );
        }
        if self.kind != Kind::NoArbiter {
            self.always(writers <= 1, "at most one node acknowledges writes");
        }
    }

    /// Ends all faults, waits, and looks whether all is well.
    pub(crate) fn heal(&mut self) {
        self.chaos = false;
        self.cut.clear();
        self.cut_off.clear();
        self.apart = false;
        for node in 0..self.nodes.len() {
            self.plan(Duration::ZERO, Coming::Boot(node));
            let boot = self.nodes[node].boot;
            self.plan(Duration::from_secs(1), Coming::Recover { node, boot });
            self.plan(Duration::from_secs(1), Coming::Resume { node, boot });
        }
        for _ in 0..40 {
            self.run_for(Duration::from_secs(3));
            if self.is_calm() {
                break;
            }
        }
        let split = self.nodes.iter().any(|node| node.store.split);
        let acknowledged = self.acknowledged.len();
        self.run_for(Duration::from_secs(5));
        let active: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].address && self.nodes[*node].service)
            .collect();
        if split || self.diverged {
            self.always(split, "what diverged is detected at the next contact");
            self.always(active.len() <= 1, "at most one node serves in the end");
            return;
        }
        self.always(active.len() == 1, "exactly one node serves in the end");
        self.always(
            self.acknowledged.len() > acknowledged,
            "writes go on in the end",
        );
        let has: BTreeSet<_> = self.nodes[active[0]].store.log.iter().collect();
        let whole = self.acknowledged.iter().all(|write| has.contains(write));
        self.always(whole, "nothing that was acknowledged is lost");
        for node in 0..self.nodes.len() {
            let role = self.nodes[node].store.role;
            let primary = role == StorageRole::Primary;
            self.always(
                primary == (node == active[0]),
                "one node is primary in the end",
            );
            let unit = self.nodes[node].unit.as_ref().unwrap();
            let calm = matches!(unit.state(), State::Active | State::Standby);
            let causes = unit.causes().count();
            self.always(calm && causes == 0, "nobody is demoted in the end");
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        let calm = |node: &Node| {
            node.unit.as_ref().is_some_and(|unit| {
                let state = matches!(unit.state(), State::Active | State::Standby);
                state && unit.causes().count() == 0 && node.asleep.is_none()
            })
        };
        let actives = self.nodes.iter().filter(|node| node.address).count();
        actives == 1 && self.nodes.iter().all(calm)
    }

    /// Begins the faults.
    pub(crate) fn disturb(&mut self) {
        self.chaos = true;
        let after = self.random.millis(0..20_000);
        self.plan(after, Coming::Fault);
    }

    pub(super) fn note(&mut self, node: usize, text: String) {
        if self.log.len() == 120 {
            self.log.pop_front();
        }
        self.log
            .push_back(format!("{:9.3} {node} {text}", self.now.as_secs_f64()));
    }

    pub(super) fn always(&self, holds: bool, promise: &str) {
        if !holds {
            for line in &self.log {
                eprintln!("{line}");
            }
            panic!(
                "seed {} ({:?}) at {:?}: not so: {promise}",
                self.seed, self.kind, self.now
            );
        }
    }
}

fn since(since: Option<Duration>, holds: bool, now: Duration) -> Option<Duration> {
    holds.then(|| since.unwrap_or(now))
}

//! Two or three nodes, the store, and all that can happen to them next.

use alloc::vec::Vec;

use super::super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

fn id(node: usize) -> NodeId {
    NodeId::new(u8::try_from(node).unwrap()).unwrap()
}

fn settings() -> Arbitration {
    Arbitration {
        ttl: 5 * SECOND,
        stop_early: SECOND,
        interval: SECOND,
        patience: SECOND,
        on_loss: crate::failover::OnLoss::Release,
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Node {
    claim: Claim<Duration>,
    awake: bool,
    /// Whether the addresses are here.
    wanted: bool,
    /// The leader: whom it goes on without, if anybody is missing, and until when it may.
    wish: Option<NodeSet>,
    granted: Option<Duration>,
    /// Whether it has set the record to what it says already, so that nothing late does.
    has_settled: bool,
}

impl Node {
    fn new(node: usize) -> Self {
        Self {
            claim: Claim::new(settings(), id(node)),
            awake: true,
            wanted: true,
            wish: None,
            granted: None,
            has_settled: false,
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct World {
    pub(super) now: Duration,
    nodes: Vec<Node>,
    /// Whether node 0 is cut from the others.
    cut: bool,
    stored: Option<(Revision, Record)>,
    revisions: u64,
    /// The request of each node that is on its way, and those that nobody waits for.
    asked: Vec<Option<Request>>,
    late: Vec<Query>,
    /// Whether anything was acknowledged, and who has all of it.
    acknowledged: bool,
    whole: NodeSet,
    /// What may still go wrong, and how often the link may still change.
    faults: u8,
    changes: u8,
    scope: Scope,
}

/// Which of all faults there are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Scope {
    All,
    /// Requests of the first holder that happen late while it is connected, and that it stops
    /// running for good while it is not.
    Late,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    LoseRequest(usize),
    DelayRequest(usize),
    LoseAnswer(usize),
    Crash(usize),
    Pause(usize),
}

#[derive(Default, Debug)]
pub(super) struct Sometimes {
    pub(super) alone: u64,
    pub(super) together: u64,
    pub(super) taken_over: u64,
    pub(super) late_swaps: u64,
    pub(super) woke_too_late: u64,
    pub(super) settled: u64,
}

impl World {
    fn new(count: usize, cut: bool, faults: u8, changes: u8) -> Self {
        let mut world = Self {
            now: SECOND,
            nodes: (0..count).map(Node::new).collect(),
            cut,
            stored: None,
            revisions: 0,
            asked: (0..count).map(|_| None).collect(),
            late: Vec::new(),
            acknowledged: false,
            whole: NodeSet::ALL,
            faults,
            changes,
            scope: Scope::All,
        };
        // All were there once.
        let all = (0..count).fold(NodeSet::EMPTY, |set, node| set.with(id(node)));
        world.revisions = 1;
        world.stored = Some((
            Revision::new(1),
            Record {
                generation: 1,
                up_to_date: all,
                holder: None,
                ttl: settings().ttl,
            },
        ));
        world
    }

    /// One of them holds the record and has acknowledged something.
    pub(super) fn started(count: usize, cut: bool, faults: u8, changes: u8) -> Self {
        let mut world = Self::new(count, cut, faults, changes);
        let mut seen = Sometimes::default();
        while !world.acknowledged {
            assert!(world.now < 20 * SECOND, "nobody acknowledges anything");
            if !(0..count).any(|node| world.carry(node, &mut seen)) {
                world.tick(&mut seen);
            }
        }
        world
    }

    pub(super) fn within(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        let linked = a == b || !(self.cut && (a == 0 || b == 0));
        linked && self.nodes[a].awake && self.nodes[b].awake
    }

    fn leads(&self, node: usize) -> bool {
        let until = self.nodes[node].claim.until();
        until.is_some_and(|until| self.now < until)
    }

    /// The nodes that follow this one.
    fn current(&self, node: usize) -> NodeSet {
        (0..self.nodes.len())
            .filter(|peer| *peer == node || self.reaches(node, *peer) && !self.leads(*peer))
            .fold(NodeSet::EMPTY, |set, peer| set.with(id(peer)))
    }

    fn store(&mut self, query: Query) -> Answer {
        match query {
            Query::Swap { expected, record } if expected == self.stored.map(|(r, _)| r) => {
                self.revisions += 1;
                let revision = Revision::new(self.revisions);
                self.stored = Some((revision, record));
                Answer::Swapped(revision)
            }
            Query::Read | Query::Swap { .. } => Answer::Current(self.stored),
        }
    }

    /// What follows from what a node knows: as the machine does it, in short.
    fn advance(&mut self, node: usize) {
        let count = self.nodes.len();
        if !self.nodes[node].awake {
            return;
        }
        let leads = self.leads(node);
        let current = self.current(node);
        let place = &mut self.nodes[node];
        if leads {
            let whole = current.iter().count() == count;
            let new = (!whole).then_some(current);
            if place.wish != new {
                (place.wish, place.granted) = (new, None);
            }
            // Who follows is synchronised at once.
            self.whole = if self.whole.contains(id(node)) {
                self.whole.union(current)
            } else {
                NodeSet::from_bits(self.whole.bits() & !current.bits())
            };
        } else {
            (place.wish, place.granted) = (None, None);
        }
        let place = &mut self.nodes[node];
        let want = match (place.wanted, leads) {
            (false, _) => Want::Free,
            (true, false) => Want::Hold {
                up_to_date: None,
                force: Force::No,
            },
            (true, true) => {
                let recorded = place.claim.record().map(|record| record.up_to_date);
                let all = recorded.map(|recorded| recorded.union(current));
                Want::Hold {
                    up_to_date: place.wish.or(all),
                    force: Force::No,
                }
            }
        };
        let recorded = place.claim.record().copied();
        if let Some(request) = place.claim.ask(self.now, want) {
            if let Some(given_up) = self.asked[node].replace(request) {
                self.late.push(given_up.query);
            }
            let again = recorded.is_some_and(|recorded| match request.query {
                Query::Swap { record, .. } => record == recorded,
                Query::Read => false,
            });
            place.has_settled = again && place.wish.is_some() && place.claim.doubt.is_some();
        }
        if let (Some(wish), Some(until)) = (place.wish, place.claim.until()) {
            if place.claim.says(wish) {
                place.granted = Some(until);
            }
        }
    }

    /// Carries a node's request to the store and the answer back.
    fn carry(&mut self, node: usize, seen: &mut Sometimes) -> bool {
        if !self.nodes[node].awake {
            return false;
        }
        let Some(request) = self.asked[node].take() else {
            return false;
        };
        let answer = self.store(request.query);
        let now = self.now;
        self.nodes[node].claim.on_answer(now, request.id, answer);
        self.settle(seen);
        true
    }

    /// Whoever may acknowledge does, once.
    fn write(&mut self, seen: &mut Sometimes) {
        let mut writers = 0;
        for node in 0..self.nodes.len() {
            if !self.nodes[node].awake || !self.leads(node) {
                continue;
            }
            let current = self.current(node);
            let may = match (self.nodes[node].wish, self.nodes[node].granted) {
                (None, _) => current.iter().count() == self.nodes.len(),
                (Some(wish), Some(until)) => wish == current && self.now < until,
                (Some(_), None) => false,
            };
            if !may {
                continue;
            }
            writers += 1;
            assert!(
                self.whole.contains(id(node)),
                "node {node} acknowledges without what was acknowledged: {self:#?}"
            );
            let alone = current.iter().count() == 1;
            seen.alone += u64::from(alone);
            seen.together += u64::from(!alone);
            seen.taken_over += u64::from(node != 0 && self.acknowledged);
            self.acknowledged = true;
            self.whole = current;
        }
        assert!(writers <= 1, "two nodes acknowledge: {self:#?}");
    }

    /// Lets a second pass for all that are awake.
    fn tick(&mut self, seen: &mut Sometimes) {
        self.now += SECOND;
        for node in 0..self.nodes.len() {
            if self.nodes[node].awake {
                let now = self.now;
                self.nodes[node].claim.expire(now);
                self.nodes[node].claim.on_timeout(now);
            }
        }
        self.settle(seen);
    }

    fn settle(&mut self, seen: &mut Sometimes) {
        for node in 0..self.nodes.len() {
            self.advance(node);
        }
        self.write(seen);
    }

    fn suffer(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::LoseRequest(node) => return self.asked[node].take().is_some(),
            Fault::DelayRequest(node) => {
                let Some(request) = self.asked[node] else {
                    return false;
                };
                if request.query == Query::Read {
                    return false;
                }
                self.asked[node] = None;
                self.late.push(request.query);
            }
            Fault::LoseAnswer(node) => {
                let Some(request) = self.asked[node].take() else {
                    return false;
                };
                self.store(request.query);
            }
            Fault::Crash(node) => {
                self.nodes[node] = Node::new(node);
                if let Some(request) = self.asked[node].take() {
                    self.late.push(request.query);
                }
            }
            Fault::Pause(node) => {
                if !core::mem::replace(&mut self.nodes[node].awake, false) {
                    return false;
                }
            }
        }
        true
    }

    /// What can go wrong now.
    fn faults(&self) -> Vec<Fault> {
        let all = |node| {
            [
                Fault::LoseRequest(node),
                Fault::DelayRequest(node),
                Fault::LoseAnswer(node),
                Fault::Crash(node),
                Fault::Pause(node),
            ]
        };
        match self.scope {
            Scope::All => (0..self.nodes.len()).flat_map(all).collect(),
            Scope::Late if self.cut => alloc::vec![Fault::Pause(0)],
            Scope::Late => alloc::vec![Fault::DelayRequest(0)],
        }
    }

    /// What comes next: without a fault, and with each.
    pub(super) fn next(&self, seen: &mut Sometimes) -> Vec<Self> {
        let mut next = Vec::new();
        for node in 0..self.nodes.len() {
            let mut world = self.clone();
            if world.carry(node, seen) {
                next.push(world);
            }
        }
        // Time passes when all is said, or lost.
        if next.is_empty() {
            let mut world = self.clone();
            world.tick(seen);
            next.push(world);
        }
        for late in 0..self.late.len() {
            let mut world = self.clone();
            let query = world.late.remove(late);
            let before = world.stored;
            world.store(query);
            seen.late_swaps += u64::from(world.stored != before);
            next.push(world);
        }
        let wakes = |node: &usize| !self.nodes[*node].awake && self.scope == Scope::All;
        for node in (0..self.nodes.len()).filter(wakes) {
            let mut world = self.clone();
            let place = &mut world.nodes[node];
            place.awake = true;
            seen.woke_too_late += u64::from(place.claim.until().is_some_and(|t| t <= self.now));
            // The first thing that it hears need not be that time has passed.
            place.claim.expire(self.now);
            world.advance(node);
            world.write(seen);
            next.push(world);
        }
        if self.changes > 0 {
            let mut world = self.clone();
            world.changes -= 1;
            world.cut = !world.cut;
            world.settle(seen);
            next.push(world);
        }
        if self.faults > 0 {
            for fault in self.faults() {
                let mut world = self.clone();
                world.faults -= 1;
                if world.suffer(fault) {
                    world.settle(seen);
                    next.push(world);
                }
            }
        }
        seen.settled += u64::from(self.nodes.iter().any(|node| node.has_settled));
        next
    }
}

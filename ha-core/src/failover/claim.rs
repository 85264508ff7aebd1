//! One node's part in the arbitration: what it knows of the record, and for how long it holds it.

#[cfg(test)]
mod explore;
#[cfg(test)]
mod tests;

use core::ops::Add;
use core::time::Duration;

use super::arbiter::{
    Answer, Arbitration, Denial, Expiry, Force, Query, Record, Request, RequestId, Revision,
};
use super::config::MAX_TIME;
use super::storage::{NodeId, NodeSet};

/// What the machine wants of the record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Want {
    /// To know what it says.
    Look,
    /// The same, and not to be the holder.
    Free,
    /// To be the holder; and that these are up to date, if it wants to change that.
    Hold {
        up_to_date: Option<NodeSet>,
        force: Force,
    },
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum View {
    /// Never seen, or a swap may have changed it.
    Unknown,
    Absent,
    Known(Revision, Record),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Flight<T> {
    id: RequestId,
    /// The revision that the record must have, and what is set.
    swap: Option<(Option<Revision>, Record)>,
    sent: T,
    ends: T,
}

/// Whether the latest request was answered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reach {
    NotAsked,
    Answered,
    Silent,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Claim<T> {
    settings: Arbitration,
    node: NodeId,
    view: View,
    /// The last revision that was seen.
    token: Option<Revision>,
    /// The last revision seen under another holder, when its time ends, and whether it has.
    foreign: Option<(Revision, Option<T>)>,
    /// Whether another holder was seen to renew.
    rival_lives: bool,
    /// When this node's time as the holder ends.
    until: Option<T>,
    flight: Option<Flight<T>>,
    /// The revision that an unanswered swap expects. While the record has it, that swap may still
    /// happen: a request can wait on its way for longer than anybody waits for the answer.
    doubt: Option<Option<Revision>>,
    /// When to ask next; `None` if that time has come.
    next: Option<T>,
    reach: Reach,
    requests: u64,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Claim<T> {
    pub(super) fn new(settings: Arbitration, node: NodeId) -> Self {
        Self {
            settings,
            node,
            view: View::Unknown,
            token: None,
            foreign: None,
            rival_lives: false,
            until: None,
            flight: None,
            doubt: None,
            next: None,
            reach: Reach::NotAsked,
            requests: 0,
        }
    }

    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Until when this node is the holder.
    pub(super) fn until(&self) -> Option<T> {
        self.until
    }

    /// The fencing token; also while it is not known what the record says now.
    pub(super) fn token(&self) -> Option<Revision> {
        self.token
    }

    /// What the record says, if nothing may have changed it since.
    pub(super) fn record(&self) -> Option<&Record> {
        match &self.view {
            View::Known(_, record) => Some(record),
            View::Unknown | View::Absent => None,
        }
    }

    /// Whether the record is certain to name these nodes at most, and this node as the holder.
    pub(super) fn says(&self, up_to_date: NodeSet) -> bool {
        let is_writing = self.flight.is_some_and(|flight| flight.swap.is_some());
        let says = |record: &Record| {
            record.holder == Some(self.node) && record.up_to_date.is_subset(up_to_date)
        };
        !is_writing && self.doubt.is_none() && self.record().is_some_and(says)
    }

    /// Whether another node holds it, and has shown that it lives.
    pub(super) fn rival(&self) -> Option<NodeId> {
        let holder = self.record()?.holder?;
        (holder != self.node && self.rival_lives).then_some(holder)
    }

    /// Whether the record is known not to name this node, or the arbiter does not answer.
    pub(super) fn is_released(&self) -> bool {
        let is_free = match self.view {
            View::Unknown => false,
            View::Absent => true,
            View::Known(_, record) => record.holder != Some(self.node),
        };
        let is_silent = self.reach == Reach::Silent && self.next.is_some();
        self.flight.is_none() && (is_free || is_silent)
    }

    /// Has it ask at once.
    pub(super) fn hurry(&mut self) {
        self.next = None;
        self.rival_lives = false;
    }

    /// What is to be asked now to come nearer to what is wanted.
    pub(super) fn ask(&mut self, now: T, want: Want) -> Option<Request> {
        if self.flight.is_some() {
            return None;
        }
        let query = self.query(want)?;
        self.requests += 1;
        let id = RequestId(self.requests);
        let swap = match query {
            Query::Read => None,
            Query::Swap { expected, record } => Some((expected, record)),
        };
        if swap.is_some_and(|(_, record)| record.holder != Some(self.node)) {
            // From now on others may be the holder, whatever becomes of the answer.
            self.until = None;
        }
        self.flight = Some(Flight {
            id,
            swap,
            sent: now,
            ends: now + self.settings.patience,
        });
        Some(Request { id, query })
    }

    fn query(&self, want: Want) -> Option<Query> {
        let due = self.next.is_none();
        let read = due.then_some(Query::Read);
        let (expected, stored) = match &self.view {
            // Nothing is written over what was never read.
            View::Unknown => return read,
            View::Absent => (None, None),
            View::Known(revision, record) => (Some(*revision), Some(record)),
        };
        let is_holder = stored.is_some_and(|record| record.holder == Some(self.node));
        let record = match want {
            Want::Free if is_holder => Record {
                holder: None,
                ..*stored?
            },
            Want::Free | Want::Look => return read,
            Want::Hold { up_to_date, force } => {
                let taken = self.take(stored, force);
                let Ok(mut record) = taken else { return read };
                if let (true, Some(stored)) = (is_holder && self.until.is_some(), stored) {
                    record.generation = stored.generation;
                }
                record.up_to_date = up_to_date.unwrap_or(record.up_to_date);
                let says_it = self.until.is_some() && stored == Some(&record);
                // In doubt it is written once more: the former swap then finds another revision.
                if says_it && !due && self.doubt.is_none() {
                    return None;
                }
                record
            }
        };
        // After a failure, not before the next time.
        let again = self.reach == Reach::Silent && !due;
        (!again).then_some(Query::Swap { expected, record })
    }

    fn take(&self, stored: Option<&Record>, force: Force) -> Result<Record, Denial> {
        let expiry = match self.foreign {
            Some((_, None)) => Expiry::Expired,
            Some((_, Some(_))) | None => Expiry::Running,
        };
        Record::take(stored, self.node, expiry, force, self.settings.ttl)
    }

    /// Why the record cannot be taken, as far as is known.
    pub(super) fn denial(&self, force: Force) -> Option<Denial> {
        let stored = match &self.view {
            View::Unknown => return None,
            View::Absent => None,
            View::Known(_, record) => Some(record),
        };
        self.take(stored, force).err()
    }

    /// Takes an answer; one that nobody waits for is refused.
    pub(super) fn on_answer(&mut self, now: T, id: RequestId, answer: Answer) -> bool {
        let Some(flight) = self.flight.filter(|flight| flight.id == id) else {
            return false;
        };
        self.flight = None;
        match (answer, flight.swap) {
            (Answer::Unavailable, _) | (Answer::Swapped(_), None) => self.on_silence(now, flight),
            (Answer::Current(current), _) => self.observe(now, current),
            (Answer::Swapped(revision), Some((_, record))) => {
                self.see(revision, record);
                (self.foreign, self.doubt) = (None, None);
                let ours = record.holder == Some(self.node);
                // Counted from the question, because the others may count from then on.
                let time = record.ttl.saturating_sub(self.settings.stop_early);
                self.until = ours
                    .then(|| flight.sent + time)
                    .filter(|until| *until > now);
                self.answered(now);
            }
        }
        true
    }

    fn answered(&mut self, now: T) {
        self.reach = Reach::Answered;
        self.next = Some(now + self.settings.interval);
    }

    fn on_silence(&mut self, now: T, flight: Flight<T>) {
        if let Some((expected, _)) = flight.swap {
            self.view = View::Unknown;
            self.doubt = Some(expected);
        }
        self.reach = Reach::Silent;
        self.next = Some(now + self.settings.interval);
    }

    fn observe(&mut self, now: T, current: Option<(Revision, Record)>) {
        self.answered(now);
        let revision = current.map(|(revision, _)| revision);
        self.doubt = self.doubt.filter(|expected| *expected == revision);
        let Some((revision, record)) = current else {
            (self.view, self.foreign, self.until) = (View::Absent, None, None);
            return;
        };
        self.see(revision, record);
        match record.holder {
            Some(holder) if holder == self.node => self.foreign = None,
            None => (self.foreign, self.until) = (None, None),
            Some(_) => {
                self.until = None;
                match self.foreign {
                    Some((seen, _)) if seen == revision => {}
                    seen => {
                        self.rival_lives |= seen.is_some();
                        self.foreign = Some((revision, Some(now + record.ttl.min(MAX_TIME))));
                    }
                }
            }
        }
    }

    fn see(&mut self, revision: Revision, record: Record) {
        self.view = View::Known(revision, record);
        self.token = Some(revision);
    }

    /// Takes note that time has passed: whatever is heard first after a pause, this node's time as
    /// the holder may be over.
    pub(super) fn expire(&mut self, now: T) {
        self.until = self.until.filter(|until| *until > now);
    }

    pub(super) fn on_timeout(&mut self, now: T) {
        if let Some(flight) = self.flight.filter(|flight| flight.ends <= now) {
            self.flight = None;
            self.on_silence(now, flight);
        }
        if let Some((_, ends)) = &mut self.foreign {
            *ends = ends.filter(|ends| *ends > now);
        }
        self.next = self.next.filter(|next| *next > now);
    }

    pub(super) fn poll_timeout(&self) -> Option<T> {
        let asking = match self.flight {
            Some(flight) => Some(flight.ends),
            None => self.next,
        };
        let foreign = self.foreign.and_then(|(_, ends)| ends);
        [asking, self.until, foreign].into_iter().flatten().min()
    }
}

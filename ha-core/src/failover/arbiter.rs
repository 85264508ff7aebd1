//! The arbiter's record, and who may write it.
//!
//! There is one record for each unit, in a store that can compare and set. It says who holds the
//! unit and who is up to date. Three rules follow from it:
//!
//! 1. A node becomes primary only while the record names it as the holder.
//! 2. Before a write is acknowledged that some nodes lack, the record says that they lack it; so
//!    a node that lacks something acknowledged cannot become the holder.
//! 3. The holder counts its time from when it *asked* for it, the others from when they *saw* the
//!    record change, each by its own monotonic clock; so it ends earlier for the holder. Clocks
//!    need not agree on the time, only on its pace, to within [`Arbitration::stop_early`].
//! 4. A swap that is not answered may have happened, or may happen yet: until the record has
//!    another revision than the one it replaces. So after one, nothing is concluded from a record
//!    that still has the old revision; it is set again first, be it to what it says.
//!
//! The rules know nodes, not processes: at most one process at a time may act as a node.

use core::time::Duration;

use super::storage::{NodeId, NodeSet, Unfit};

/// The number that the store gave to the record's last change. It grows with every change, so it can
/// serve as a fencing token: what carries a smaller one than was seen before comes from a former
/// holder.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(u64);

impl Revision {
    /// Takes the store's number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What the arbiter keeps for a unit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "adapters store these four")]
pub struct Record {
    /// How often the unit was taken.
    pub generation: u64,
    /// The nodes that have all that was acknowledged: all, if the unit has no storage.
    pub up_to_date: NodeSet,
    /// Who holds the unit.
    pub holder: Option<NodeId>,
    /// For how long after the last change of the record.
    pub ttl: Duration,
}

/// Whether the holder's time is over, as seen from another node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is or it is not")]
pub enum Expiry {
    /// The record has changed within its time.
    Running,
    /// It has not.
    Expired,
}

/// Whether the operator takes the risk.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is taken or not")]
pub enum Force {
    /// No: only what is known to be up to date is served.
    No,
    /// Yes: what others have acknowledged may be lost.
    Yes,
}

/// Why a node may not take the record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "the rules have these two")]
pub enum Denial {
    /// Another node holds it. Nothing overrides that.
    #[error("node {0} holds the arbiter's record")]
    Held(NodeId),
    /// This node lacks something that was acknowledged.
    #[error(transparent)]
    Unfit(Unfit),
}

impl Record {
    /// Returns the record by which `node` takes the unit, given what the store has.
    ///
    /// ```
    /// use core::time::Duration;
    /// use ha_core::failover::{Denial, Expiry, Force, NodeId, Record};
    ///
    /// let (a, b) = (NodeId::new(0)?, NodeId::new(1)?);
    /// let ttl = Duration::from_secs(10);
    /// let first = Record::take(None, a, Expiry::Running, Force::No, ttl)?;
    /// assert_eq!(first.up_to_date, a.into());
    /// let denied = Record::take(Some(&first), b, Expiry::Running, Force::Yes, ttl);
    /// assert_eq!(denied, Err(Denial::Held(a)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Denial`] if it may not.
    pub fn take(
        stored: Option<&Self>,
        node: NodeId,
        expiry: Expiry,
        force: Force,
        ttl: Duration,
    ) -> Result<Self, Denial> {
        let Some(stored) = stored else {
            return Ok(Self {
                generation: 1,
                up_to_date: node.into(),
                holder: Some(node),
                ttl,
            });
        };
        if let (Some(holder), Expiry::Running) = (stored.holder, expiry) {
            if holder != node {
                return Err(Denial::Held(holder));
            }
        }
        let up_to_date = match (stored.up_to_date.contains(node), force) {
            (true, Force::No | Force::Yes) => stored.up_to_date,
            // From now on this node's data are the data.
            (false, Force::Yes) => node.into(),
            (false, Force::No) => {
                return Err(Denial::Unfit(Unfit::Record {
                    up_to_date: stored.up_to_date,
                }));
            }
        };
        Ok(Self {
            generation: stored.generation.saturating_add(1),
            up_to_date,
            holder: Some(node),
            ttl,
        })
    }
}

/// What it means that the holder cannot renew the record in time because the arbiter is not
/// reached. That another node has taken it ends the holder's role in any case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the operator chooses one of them")]
pub enum OnLoss {
    /// The role is kept, and so are the grants. Two nodes may serve; they cannot both acknowledge
    /// writes, unless the operator forces one.
    Keep,
    /// The role is kept while all writes go to a connected peer, too.
    KeepWhilePeerAgrees,
    /// The role is released.
    Release,
}

/// How a node deals with the arbiter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Arbitration {
    /// For how long a record is held.
    pub ttl: Duration,
    /// How long before that the holder's own time ends: more than the difference of pace of two
    /// clocks within the ttl. The demotion begins then, so what it takes should be in it, too.
    pub stop_early: Duration,
    /// How long after an answer the record is renewed, or read by those who do not hold it.
    pub interval: Duration,
    /// How long an answer is waited for.
    pub patience: Duration,
    /// What losing the arbiter means.
    pub on_loss: OnLoss,
}

/// 15 seconds, of which the last 5 are not used; renewed every 3 seconds.
impl Default for Arbitration {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(15),
            stop_early: Duration::from_secs(5),
            interval: Duration::from_secs(3),
            patience: Duration::from_secs(2),
            on_loss: OnLoss::Release,
        }
    }
}

/// Names a request, so that a late answer is not taken for that of another one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub(super) u64);

/// Something to ask the arbiter, and to answer by
/// [`Input::Arbiter`](super::Input::Arbiter).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Which.
    pub id: RequestId,
    /// What.
    pub query: Query,
}

/// What the arbiter is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an adapter must know each")]
pub enum Query {
    /// To tell the record: [`Answer::Current`].
    Read,
    /// To set it, if it still has this revision, or there still is none: [`Answer::Swapped`], or
    /// [`Answer::Current`] if it has another.
    Swap {
        /// The revision that it must have.
        expected: Option<Revision>,
        /// What is set.
        record: Record,
    },
}

/// What the arbiter says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an adapter gives one of these")]
pub enum Answer {
    /// The record as it is, or that there is none. The answer to a swap only if nothing was set.
    Current(Option<(Revision, Record)>),
    /// It was set, and has this revision now.
    Swapped(Revision),
    /// Nothing is known; a swap may or may not have happened.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(9);
    const A: NodeId = match NodeId::new(0) {
        Ok(node) => node,
        Err(_) => panic!(),
    };
    const B: NodeId = match NodeId::new(1) {
        Ok(node) => node,
        Err(_) => panic!(),
    };

    #[test]
    fn every_rule_of_taking_the_record() {
        let both = NodeSet::from(A).with(B);
        let record = |holder, up_to_date| Record {
            generation: 4,
            up_to_date,
            holder,
            ttl: TTL,
        };
        let taken = |up_to_date| {
            Ok(Record {
                generation: 5,
                up_to_date,
                holder: Some(B),
                ttl: TTL,
            })
        };
        let held = Err(Denial::Held(A));
        let alone = NodeSet::from(A);
        let unfit = Err(Denial::Unfit(Unfit::Record { up_to_date: alone }));
        for (holder, up_to_date, expiry, force, result) in [
            (None, both, Expiry::Running, Force::No, taken(both)),
            (None, alone, Expiry::Running, Force::No, unfit),
            (None, alone, Expiry::Running, Force::Yes, taken(B.into())),
            (Some(A), both, Expiry::Running, Force::No, held),
            (Some(A), both, Expiry::Running, Force::Yes, held),
            (Some(A), both, Expiry::Expired, Force::No, taken(both)),
            (Some(A), alone, Expiry::Expired, Force::No, unfit),
            (Some(A), alone, Expiry::Expired, Force::Yes, taken(B.into())),
            (Some(B), both, Expiry::Running, Force::No, taken(both)),
        ] {
            let stored = record(holder, up_to_date);
            assert_eq!(Record::take(Some(&stored), B, expiry, force, TTL), result);
        }
    }
}

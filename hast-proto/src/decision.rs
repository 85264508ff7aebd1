//! Who has the current data: the table, and the counters it is drawn from (HAST §5).
//!
//! When a primary meets a secondary, the secondary compares the counters of the two crosswise
//! and says which way to copy, and how much. [`decide`] is that table. [`PrimaryCounters`] is
//! how a primary's counters live, by a stricter rule than the original's.
//!
//! # The rule
//!
//! "localcnt" says how often a node began to write alone, "remotecnt" which "localcnt" of the
//! peer it has heard of. The original counts a beginning only if its "localcnt" equals the
//! "remotecnt" that the peer told *to this worker*, and takes 0 for that if the peer has told
//! nothing yet. So a node with a "localcnt" of 1 that is promoted and writes alone does not
//! count it, and its writes are overwritten when the other returns, without a word
//! (HAST §5.5, hole 1).
//!
//! Here the first write acknowledged without the peer is counted after each start, after each
//! lost connection and after each synchronisation, whatever the peer has told; and the new
//! value is greater than anything the peer has told. A real peer notices nothing: it compares,
//! and larger values compare as those by the original's rule should.
//!
//! # Who gives way
//!
//! A node that was primary and wrote nothing alone has counted nothing. So it is no split brain
//! when it meets one that did: rows 4 and 6 make it the target, and no operator is asked.
//!
//! Row 7 is what remains: both have counted. Even then one of them may provably have nothing of
//! its own, because the peer has got everything and only the agreement on that was cut short.
//! What proves it, see [`Changes::of`]. Such a node gives way by itself ([`GiveWay`]), if its peer
//! is of this crate, too; everything else waits for an operator:
//!
//! | the secondary | the primary | what happens |
//! |---|---|---|
//! | has no changes | whatever it has | row 10: the secondary becomes the target |
//! | may have some | has none | row 11: the primary becomes the target |
//! | may have some | may have some | row 7: a split brain |
//!
//! Whoever gives way takes back its count, on disk, before the session begins: its "localcnt"
//! becomes the "remotecnt" of the other. So it stays the target, by rows 4 to 6, if the session
//! is cut short; and what it writes later counts again.

#![warn(clippy::arithmetic_side_effects)]

use crate::consistency::Consistency;
use crate::message::Refusal;
use crate::types::{Counters, ResourceId, Role, SyncSource};

/// What one node brings to the decision.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the table has these inputs")]
pub struct Party {
    /// The resource's identity, if the node has one.
    pub resource_id: Option<ResourceId>,
    /// The node's two counters.
    pub counters: Counters,
}

/// Whether a node says that the resource is new to it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the pair is there or not")]
pub enum Virgin {
    /// The pair "virgin" is there.
    Yes,
    /// It is not.
    #[default]
    No,
}

impl From<bool> for Virgin {
    fn from(present: bool) -> Self {
        if present { Self::Yes } else { Self::No }
    }
}

/// Whether a node that has counted may have changes that its peer lacks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it may or it does not")]
pub enum Changes {
    /// It may: nothing of it is discarded but by an operator.
    #[default]
    Possible,
    /// It provably has none.
    None,
}

impl Changes {
    /// Tells what the provider of a node proves. There are no changes if all of this holds:
    ///
    /// - The data are [`Consistent`](Consistency::Consistent): they, the map and the counters
    ///   belong together.
    /// - No extent is marked. A primary marks an extent before it writes there, and takes the
    ///   mark away when both nodes have it on disk; so everything has been copied that it wrote
    ///   alone.
    /// - The block was written last by a primary. A secondary forgets its marks as soon as the
    ///   primary has them, and may still be the only one that has the data: a session in which
    ///   it is the source begins with a block that says so.
    ///
    /// Counters alone prove nothing here: both have counted, or they would not be asked. And the
    /// proof holds for what this crate has written, and flushed to the disk at once; a real `hastd`
    /// clears the map of a secondary without a trace.
    #[must_use]
    pub fn of(consistency: Consistency, map: &[u8], previous_role: Role) -> Self {
        let proven = consistency == Consistency::Consistent
            && map.iter().all(|octet| *octet == 0)
            && previous_role == Role::Primary;
        match proven {
            true => Self::None,
            false => Self::Possible,
        }
    }
}

/// Whether a node that provably has no changes ends a split brain by itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum GiveWay {
    /// It becomes the target of the synchronisation.
    #[default]
    Unchanged,
    /// It waits for an operator, as a real node does.
    Never,
}

impl GiveWay {
    /// What a node says of itself: one that never gives way does not say that it could.
    #[must_use]
    pub const fn admit(self, changes: Changes) -> Changes {
        match self {
            Self::Unchanged => changes,
            Self::Never => Changes::Possible,
        }
    }
}

/// What the secondary sends along as its map.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum MapChoice {
    /// None: nothing was ever written.
    None,
    /// The one on its disk: only what is marked on either node is copied.
    OnDisk,
    /// One with every bit set: everything is copied. There is no other way to ask for that
    /// (HAST §5.6).
    Full,
}

/// The row of the table that applied (HAST §5.3), by which a decision can be explained.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the table has these rows")]
pub enum Rule {
    /// 1: the secondary is new and so is the resource.
    BothNew = 1,
    /// 2: the secondary is new, the resource is not.
    SecondaryNew = 2,
    /// 3: the two belong to different resources.
    OtherResource = 3,
    /// 4: the secondary wrote alone, the primary did not.
    SecondaryAhead = 4,
    /// 5: neither wrote alone.
    Even = 5,
    /// 6: the primary wrote alone, the secondary did not.
    PrimaryAhead = 6,
    /// 7: both wrote alone.
    SplitBrain = 7,
    /// 8: the secondary wrote alone, and the primary has lost count.
    PrimaryLostCount = 8,
    /// 9: the secondary, or both, have lost count.
    SecondaryLostCount = 9,
    /// 10, which the original does not have: both have counted, and the secondary provably has no
    /// changes.
    SecondaryUnchanged = 10,
    /// 11, which the original does not have: both have counted, and the primary provably has no
    /// changes.
    PrimaryUnchanged = 11,
}

impl Rule {
    /// Returns the number of the row.
    #[must_use]
    pub const fn row(self) -> u8 {
        self as u8
    }
}

/// What a secondary answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it agrees or it does not")]
pub enum Decision {
    /// The session begins.
    Synchronise(Synchronise),
    /// It does not, and the operator must see to it.
    Refuse(Disagreement),
}

/// How a session begins.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Synchronise {
    /// Why.
    pub rule: Rule,
    /// Which node has the current data: "syncsrc".
    pub source: SyncSource,
    /// What is sent along.
    pub map: MapChoice,
    /// Whether the answer has the pair "virgin".
    pub virgin: Virgin,
    /// The identity to take over and to store before answering; the inner `None` is the 0 of a
    /// primary that has none.
    pub adopt: Option<Option<ResourceId>>,
    /// The counters to take over and to store before answering, if the secondary gives way.
    pub counters: Option<Counters>,
}

/// Why a secondary refuses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the table refuses in two rows")]
pub enum Disagreement {
    /// The two belong to different resources.
    ResourceIdMismatch {
        /// The primary's.
        primary: Option<ResourceId>,
        /// The secondary's.
        secondary: ResourceId,
    },
    /// Both wrote alone. The event "split-brain" is raised.
    SplitBrain,
}

impl Disagreement {
    /// Returns the row of the table.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::ResourceIdMismatch { .. } => Rule::OtherResource,
            Self::SplitBrain => Rule::SplitBrain,
        }
    }
}

/// What is sent to the primary.
impl From<Disagreement> for Refusal {
    fn from(disagreement: Disagreement) -> Self {
        match disagreement {
            Disagreement::ResourceIdMismatch { primary, secondary } => Self::ResourceIdMismatch {
                primary: ResourceId::stored(primary),
                secondary: secondary.get(),
            },
            Disagreement::SplitBrain => Self::SplitBrain,
        }
    }
}

/// Why a secondary cannot decide.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// It wrote alone before it ever met a peer, or its metadata are damaged. To take the
    /// primary's data would overwrite those writes without a word, as the original does, which
    /// keeps such a count in memory only; found on disk, it dies of it. So this node must be
    /// made primary, or created anew.
    #[error("localcnt {local} without a resuid: written to before it ever met a peer")]
    CountedWithoutId {
        /// The secondary's "localcnt".
        local: u64,
    },
}

/// Decides what a secondary answers to a primary (HAST §5.3).
///
/// ```
/// use hast_proto::decision::{Decision, Disagreement, Party, Virgin, decide};
/// use hast_proto::{Counters, ResourceId};
///
/// let resource_id = ResourceId::new(0x0123_4567_89ab_cdef);
/// let wrote_alone = Party {
///     resource_id,
///     counters: Counters { local: 1, remote: 0 },
/// };
/// let decision = decide(wrote_alone, wrote_alone, Virgin::No)?;
/// assert_eq!(decision, Decision::Refuse(Disagreement::SplitBrain));
/// # Ok::<(), hast_proto::decision::DecisionError>(())
/// ```
///
/// # Errors
///
/// [`DecisionError::CountedWithoutId`] if the secondary has writes but no identity: it must
/// refuse.
pub fn decide(secondary: Party, primary: Party, virgin: Virgin) -> Result<Decision, DecisionError> {
    let Some(secondary_id) = secondary.resource_id else {
        let local = secondary.counters.local;
        if local != 0 {
            return Err(DecisionError::CountedWithoutId { local });
        }
        let (rule, map) = match virgin {
            Virgin::Yes => (Rule::BothNew, MapChoice::None),
            Virgin::No => (Rule::SecondaryNew, MapChoice::Full),
        };
        return Ok(Decision::Synchronise(Synchronise {
            rule,
            source: SyncSource::Primary,
            map,
            virgin: Virgin::Yes,
            adopt: Some(primary.resource_id),
            counters: None,
        }));
    };
    // Between nodes that have met "virgin" means nothing.
    if primary.resource_id != Some(secondary_id) {
        return Ok(Decision::Refuse(Disagreement::ResourceIdMismatch {
            primary: primary.resource_id,
            secondary: secondary_id,
        }));
    }
    let rule = compare(secondary.counters, primary.counters);
    let (source, map) = match rule {
        Rule::SplitBrain => return Ok(Decision::Refuse(Disagreement::SplitBrain)),
        Rule::SecondaryAhead => (SyncSource::Secondary, MapChoice::OnDisk),
        Rule::PrimaryLostCount => (SyncSource::Secondary, MapChoice::Full),
        Rule::Even | Rule::PrimaryAhead => (SyncSource::Primary, MapChoice::OnDisk),
        _ => (SyncSource::Primary, MapChoice::Full),
    };
    Ok(Decision::Synchronise(Synchronise {
        rule,
        source,
        map,
        virgin: Virgin::No,
        adopt: None,
        counters: None,
    }))
}

/// Decides as [`decide`] does between two nodes of this crate, of which one gives way if it
/// provably has no changes. [`GiveWay::admit`] has been asked on both.
///
/// ```
/// use hast_proto::decision::{Changes, Decision, Party, Rule, Virgin, reunite};
/// use hast_proto::{Counters, ResourceId, SyncSource};
///
/// let resource_id = ResourceId::new(0x0123_4567_89ab_cdef);
/// let counters = Counters { local: 1, remote: 0 };
/// let counted = Party { resource_id, counters };
/// let changes = (Changes::Possible, Changes::None);
/// let Decision::Synchronise(agreed) = reunite(counted, counted, Virgin::No, changes)? else {
///     unreachable!();
/// };
/// assert_eq!((agreed.rule, agreed.source), (Rule::PrimaryUnchanged, SyncSource::Secondary));
/// # Ok::<(), hast_proto::decision::DecisionError>(())
/// ```
///
/// # Errors
///
/// As [`decide`].
pub fn reunite(
    secondary: Party,
    primary: Party,
    virgin: Virgin,
    (secondary_changes, primary_changes): (Changes, Changes),
) -> Result<Decision, DecisionError> {
    let decision = decide(secondary, primary, virgin)?;
    if decision != Decision::Refuse(Disagreement::SplitBrain) {
        return Ok(decision);
    }
    let (rule, source, counters) = match (secondary_changes, primary_changes) {
        (Changes::None, _) => {
            let counters = yielded(secondary.counters, primary.counters);
            (
                Rule::SecondaryUnchanged,
                SyncSource::Primary,
                Some(counters),
            )
        }
        (Changes::Possible, Changes::None) => (Rule::PrimaryUnchanged, SyncSource::Secondary, None),
        (Changes::Possible, Changes::Possible) => return Ok(decision),
    };
    Ok(Decision::Synchronise(Synchronise {
        rule,
        source,
        map: MapChoice::OnDisk,
        virgin: Virgin::No,
        adopt: None,
        counters,
    }))
}

/// The counters of a node that gives way to another: as if it had counted nothing that the other
/// has not heard of.
const fn yielded(own: Counters, peer: Counters) -> Counters {
    Counters {
        local: peer.remote,
        remote: own.remote,
    }
}

/// Rows 4 to 9: each node's "localcnt" against the other's "remotecnt".
fn compare(secondary: Counters, primary: Counters) -> Rule {
    use core::cmp::Ordering::{Equal, Greater, Less};

    let secondary_wrote = secondary.local.cmp(&primary.remote);
    let primary_wrote = primary.local.cmp(&secondary.remote);
    match (secondary_wrote, primary_wrote) {
        (Greater, Equal) => Rule::SecondaryAhead,
        (Equal, Equal) => Rule::Even,
        (Equal, Greater) => Rule::PrimaryAhead,
        (Greater, Greater) => Rule::SplitBrain,
        (Greater, Less) => Rule::PrimaryLostCount,
        (Less, _) | (Equal, Less) => Rule::SecondaryLostCount,
    }
}

/// Why a primary cannot accept a secondary's answer. The original dies of each (HAST §5.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A new secondary cannot have the current data.
    #[error("virgin, but syncsrc is secondary")]
    VirginSource,
    /// A new secondary cannot have counted.
    #[error("virgin, but localcnt is {local}")]
    VirginLocal {
        /// Its "localcnt".
        local: u64,
    },
    /// A new secondary cannot have heard of a write that was none.
    #[error("virgin, but remotecnt is {remote} where this node has localcnt 0")]
    VirginRemote {
        /// Its "remotecnt".
        remote: u64,
    },
    /// A new secondary has nothing, and this node's own data are not complete.
    #[error("virgin, where only the peer can have everything")]
    VirginNeeded,
    /// Both have counted, so that the peer cannot be the source; and this node has not said that
    /// it gives way, or has written since.
    #[error("syncsrc is secondary where localcnt is {local} and the peer has heard of {remote}")]
    WroteAlone {
        /// This node's "localcnt".
        local: u64,
        /// The peer's "remotecnt".
        remote: u64,
    },
    /// The counter that the peer claims leaves none that is greater.
    #[error("remotecnt {remote} of the peer leaves no greater counter")]
    Exhausted {
        /// Its "remotecnt".
        remote: u64,
    },
}

/// A primary's counters, from its start on.
///
/// Whatever returns counters wants them on disk before what caused it goes on.
///
/// ```
/// use hast_proto::Counters;
/// use hast_proto::decision::PrimaryCounters;
///
/// let mut counters = PrimaryCounters::new(Counters { local: 1, remote: 0 });
/// // The first write without the peer counts, the second belongs to the same absence.
/// assert_eq!(counters.wrote_alone()?, Some(Counters { local: 2, remote: 0 }));
/// assert_eq!(counters.wrote_alone()?, None);
/// # Ok::<(), hast_proto::decision::CounterExhausted>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PrimaryCounters {
    own: Counters,
    /// The peer's, as it told them last.
    peer: Option<Counters>,
    /// Whether the present absence of the peer was counted.
    counted: bool,
}

/// A counter that cannot grow any more, after 2^64 absences or because it was damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("localcnt has reached its end: the write must not be acknowledged")]
#[non_exhaustive]
pub struct CounterExhausted;

impl PrimaryCounters {
    /// Takes the counters as found on disk, when a node becomes primary.
    #[must_use]
    pub const fn new(stored: Counters) -> Self {
        Self {
            own: stored,
            peer: None,
            counted: false,
        }
    }

    /// Returns the counters.
    #[must_use]
    pub const fn get(&self) -> Counters {
        self.own
    }

    /// A write is about to be acknowledged which the peer does not have: it is not there, or
    /// has lost or refused it. Returns the counters if they have changed; they must be on disk
    /// before the acknowledgement (HAST §14.46).
    ///
    /// # Errors
    ///
    /// [`CounterExhausted`], if the absence cannot be counted. The write must fail then.
    pub fn wrote_alone(&mut self) -> Result<Option<Counters>, CounterExhausted> {
        if self.counted {
            return Ok(None);
        }
        let heard = self.peer.map_or(0, |peer| peer.remote);
        let local = self.own.local.max(heard).checked_add(1);
        self.own.local = local.ok_or(CounterExhausted)?;
        self.counted = true;
        Ok(Some(self.own))
    }

    /// The secondary has answered with its counters. Returns this node's if they have changed;
    /// they must be on disk before the session begins.
    ///
    /// A new secondary that meets a node which has counted nothing makes it count 1, so that a
    /// later meeting with another new one is no agreement (HAST §5.4).
    ///
    /// # Errors
    ///
    /// [`AnswerError`], if the answer contradicts itself; nothing is changed then.
    pub fn connected(
        &mut self,
        peer: Counters,
        source: SyncSource,
        virgin: Virgin,
    ) -> Result<Option<Counters>, AnswerError> {
        let remote = peer.remote;
        if remote == u64::MAX {
            return Err(AnswerError::Exhausted { remote });
        }
        let mut changed = None;
        if virgin == Virgin::Yes {
            if source != SyncSource::Primary {
                return Err(AnswerError::VirginSource);
            }
            if peer.local != 0 {
                return Err(AnswerError::VirginLocal { local: peer.local });
            }
            if self.own.local == 0 {
                if remote != 0 {
                    return Err(AnswerError::VirginRemote { remote });
                }
                self.own.local = 1;
                changed = Some(self.own);
            }
        }
        self.peer = Some(peer);
        Ok(changed)
    }

    /// This node gives way to the peer, as it told its counters last. Returns the counters, which
    /// must be on disk before the session begins.
    pub fn give_way(&mut self) -> Counters {
        if let Some(peer) = self.peer {
            self.own = yielded(self.own, peer);
        }
        self.own
    }

    /// The connection is lost: the next write without the peer counts again.
    pub fn disconnected(&mut self) {
        self.counted = false;
    }

    /// Everything was copied, and the connection still stands: the two nodes agree. Returns the
    /// counters if they have changed. They return to the peer's, as the original's do
    /// (HAST §14.45).
    pub fn synchronised(&mut self) -> Option<Counters> {
        let peer = self.peer?;
        let agreed = Counters {
            local: peer.remote,
            remote: peer.local,
        };
        self.counted = false;
        let changed = self.own != agreed;
        self.own = agreed;
        changed.then_some(agreed)
    }
}

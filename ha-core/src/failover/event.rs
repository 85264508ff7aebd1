//! What goes into the machine, what comes out of it, and why.

use core::fmt;

use carp_proto::State as Role;

use super::arbiter::{Answer, Denial, Request, RequestId, Revision};
use super::health::{CheckId, Health};
use super::plan::{Action, StepId};
use super::storage::{NodeId, NodeSet, StorageStatus, Unfit};

/// The state of a unit on this node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the state table covers each of them"
)]
pub enum State {
    /// Nothing is done and nothing is left to undo.
    Standby,
    /// Waiting to become the holder of the arbiter's record.
    Acquiring,
    /// The plan is being done.
    Promoting,
    /// All of it is done.
    Active,
    /// Before a planned demotion: services finish their work.
    Draining,
    /// The plan is being undone, whatever of it was done.
    Demoting,
    /// All is undone; the arbiter's record is being given back.
    Releasing,
    /// Something could not be undone.
    Stuck,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Standby,
        Self::Acquiring,
        Self::Promoting,
        Self::Active,
        Self::Draining,
        Self::Demoting,
        Self::Releasing,
        Self::Stuck,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Standby => "standby",
            Self::Acquiring => "acquiring",
            Self::Promoting => "promoting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Demoting => "demoting",
            Self::Releasing => "releasing",
            Self::Stuck => "stuck",
        })
    }
}

/// A group of addresses by its number, counted from 0 to [`Config::groups`](super::Config).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId(u16);

impl GroupId {
    /// Names the group with this number.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Returns the number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names one run of a step.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RunId(pub(super) u64);

/// Names one wish of the storage to go on with fewer nodes; the storage's choice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DegradedId(u64);

impl DegradedId {
    /// Takes the storage's number; each wish has another.
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

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the state table covers each of them"
)]
pub enum Input {
    /// The deadline of `poll_timeout` has come. Early or repeated ones do nothing.
    Timeout,
    /// The role of a group of addresses is now this. It is a wish, not a permission.
    Address {
        /// Which group.
        group: GroupId,
        /// Its role by CARP or VRRP.
        role: Role,
    },
    /// The storage says this about itself.
    Storage(StorageStatus),
    /// The storage is primary, and some nodes lack what it writes: it was made primary, or has
    /// lost a node. It acknowledges nothing that they lack before it has an [`Output::Grant`] of
    /// this name. The wish ends with a status in which a node is current that it left out, and a
    /// grant ends with its wish; if others still are not, there must be a new one. Wishes and
    /// statuses are handed in in the order in which they became true.
    Degraded {
        /// The wish.
        wish: DegradedId,
        /// The nodes that will have all that is acknowledged, this one included.
        current: NodeSet,
    },
    /// A run has ended, by itself or because it was cancelled.
    Ended {
        /// Which.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// A health check has looked.
    Health {
        /// Which.
        check: CheckId,
        /// What it found.
        result: Health,
    },
    /// The arbiter answers.
    Arbiter {
        /// What it was asked.
        request: RequestId,
        /// What it says.
        answer: Answer,
    },
    /// The operator commands.
    Command(Command),
}

/// How a run ended, as the driver sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a driver gives one of these")]
pub enum Outcome {
    /// What was to be done is done.
    Done,
    /// It is not, and nothing of it still runs.
    Failed {
        /// The exit status or error number, for the operator.
        code: i32,
    },
    /// It was cancelled, and nothing of it still runs.
    Cancelled,
}

/// What an operator can command.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the state table covers each of them"
)]
pub enum Command {
    /// To take the role: the addresses are asked for, and hold-downs end.
    Promote,
    /// The same, even if the storage is not up to date; what others have acknowledged may be
    /// lost. A node that holds the arbiter's record is respected nevertheless.
    Force,
    /// To give the role to another node at once, without draining.
    Demote,
    /// To give it to another node that is up to date, after draining.
    SwitchOver,
    /// To be out of service until [`Command::Resume`]: drained, demoted, and never promoted.
    Maintenance,
    /// Back into service.
    Resume,
    /// To drain, demote and end. After [`Output::Ended`] the machine does nothing more.
    Shutdown,
}

/// Something the driver must do, in the order in which it is polled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output<T> {
    /// Tell the operator.
    Event(Event<T>),
    /// Begin this, and report by [`Input::Ended`].
    Begin(Run<T>),
    /// End this run, by force if need be; report when nothing of it is left.
    Cancel(RunId),
    /// Demote this node by this much for this cause.
    Demote {
        /// Why.
        cause: Cause,
        /// By how much (CARP §4.1).
        amount: i32,
    },
    /// Take that demotion back.
    Restore(Cause),
    /// Make this group BACKUP, so that another node takes it at once.
    StepDown(GroupId),
    /// Make this group MASTER, if it can be.
    TakeOver(GroupId),
    /// Ask the arbiter. A waiting request is replaced by a newer one.
    Arbiter(Request),
    /// The storage may go on.
    Grant(Grant<T>),
    /// Former grants are void at once.
    Revoke,
    /// Everything is undone, and the machine does nothing more.
    Ended,
}

/// A run of a step.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Run<T> {
    /// Its name.
    pub id: RunId,
    /// The step; `None` to fence this node.
    pub step: Option<StepId>,
    /// What to do.
    pub action: Action,
    /// When it will be cancelled.
    pub deadline: T,
    /// The fencing token, if there is an arbiter. A storage that is made primary tells it to its
    /// secondaries, and a secondary that knows a greater one refuses: that primary is a former
    /// one, and outdated.
    pub token: Option<Revision>,
}

/// The permission to acknowledge writes that some nodes lack. Only the machine can make one, and
/// does when the arbiter's record says so.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Grant<T> {
    pub(super) wish: DegradedId,
    pub(super) until: Option<T>,
}

impl<T: Copy> Grant<T> {
    /// Returns which wish it answers; it is void for any other.
    #[must_use]
    pub fn wish(&self) -> DegradedId {
        self.wish
    }

    /// Returns from when on nothing may be acknowledged any more, if there is an end. A later
    /// grant for the same wish prolongs it.
    #[must_use]
    pub fn until(&self) -> Option<T> {
        self.until
    }
}

/// Why this node is demoted. Each cause counts once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Cause {
    /// It has started, and cleans up or waits to hear the others.
    Start,
    /// Its storage is not up to date, or it does not know.
    Storage,
    /// Since this node started its storage has not met a peer, nor was the node active, and there
    /// is no arbiter: others may have written since. It does not keep from promotion, only from
    /// taking the addresses from a node that has them: when there is none, it is promoted.
    Unmet,
    /// A health check fails. It is withheld on an active node while nobody else is in touch with its
    /// storage, as whoever took over would lack what this node acknowledges.
    Health(CheckId),
    /// A promotion has failed.
    Failed,
    /// It gave the role away, and waits for somebody to take it.
    Left,
    /// The operator has taken it out of service.
    Maintenance,
    /// The arbiter is not reached, or is with another node.
    Arbiter,
    /// Something cannot be undone, or a step that was given up has not ended.
    Stuck,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Storage => f.write_str("storage"),
            Self::Unmet => f.write_str("has not met its peer since it started"),
            Self::Health(check) => write!(f, "check {}", check.index()),
            Self::Failed => f.write_str("promotion failed"),
            Self::Left => f.write_str("role given away"),
            Self::Maintenance => f.write_str("maintenance"),
            Self::Arbiter => f.write_str("arbiter"),
            Self::Stuck => f.write_str("stuck"),
        }
    }
}

/// Something an operator may want to know. Instants come in pairs, so that it can be told how
/// long each thing took.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Event<T> {
    /// The state changed.
    State {
        /// The former state.
        from: State,
        /// The present one.
        to: State,
        /// Why.
        reason: Reason,
        /// When the former state began.
        since: T,
        /// When it ended.
        at: T,
    },
    /// A run has ended, or was given up.
    Step {
        /// The step; `None` for fencing this node.
        step: Option<StepId>,
        /// What was done.
        action: Action,
        /// When it began.
        began: T,
        /// When it ended.
        ended: T,
        /// How.
        ending: Ending,
    },
    /// A step is left out because one that it needs was.
    LeftOut(StepId),
    /// This node is wanted, but is not promoted; told when the reason changes.
    NotPromoted(Blocked),
    /// A command was refused.
    Refused {
        /// Which.
        command: Command,
        /// Why.
        refusal: Refusal,
    },
    /// What was handed in names something that there is not, or is not awaited any more.
    Unknown(Unknown),
    /// The storage reports a split brain. Nothing is discarded.
    SplitBrain,
    /// The arbiter is lost, and the role is kept by choice.
    KeptWithoutArbiter,
    /// A planned demotion has given the role away, but nobody took it.
    NobodyTookOver,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "operators are told each")]
pub enum Ending {
    /// It is done.
    Done,
    /// It failed, with this code.
    Failed(i32),
    /// It was cancelled because its time was over.
    TimedOut,
    /// It was cancelled because something else became more important.
    Cancelled,
    /// It did not end when it was cancelled. It is not begun again before it has.
    GivenUp,
}

/// Something handed in that names nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the inputs have these names")]
pub enum Unknown {
    /// A group of addresses.
    Group(GroupId),
    /// A run.
    Run(RunId),
    /// A health check.
    Check(CheckId),
    /// A request to the arbiter.
    Request(RequestId),
}

/// Why the state changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The machine has started, and undoes what a former one may have left.
    Start,
    /// The addresses are here, and nothing prevents it.
    Wanted,
    /// The arbiter's record is held.
    Held,
    /// All steps are done.
    Done,
    /// All that can be drained is.
    Drained,
    /// Everything is undone.
    Undone,
    /// The record is given back, or will expire.
    Released,
    /// The addresses are not all here any more.
    AddressLost,
    /// The storage is not primary any more.
    StorageLost,
    /// The storage is not secondary though this node is not promoted; it is made so.
    StorageStrayed,
    /// Something prevents it now.
    Blocked(Blocked),
    /// Another node has taken the arbiter's record.
    RecordTaken,
    /// The record could not be renewed in time.
    RecordLost,
    /// A step failed.
    Failed(StepId),
    /// A health check failed, and another node is up to date.
    Health(CheckId),
    /// The operator commanded it.
    Command(Command),
    /// Something cannot be undone.
    Stuck,
    /// It is time to try again.
    Again,
}

/// Why this node is not promoted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Blocked {
    /// The addresses are not all here.
    #[error("the addresses are not here")]
    Address,
    /// They are not here for long enough.
    #[error("the addresses are not here for long enough")]
    Settling,
    /// A hold-down.
    #[error("held down: {0}")]
    Hold(Cause),
    /// Out of service.
    #[error("out of service")]
    Maintenance,
    /// The machine ends.
    #[error("shutting down")]
    Shutdown,
    /// The storage is not fit.
    #[error(transparent)]
    Storage(Unfit),
    /// [`Cause::Unmet`], and the addresses are not here; or a command to promote, where only the
    /// one to force would do.
    #[error("it has not met its peer since it started")]
    Unmet,
    /// A connected peer still is primary.
    #[error("a peer is primary")]
    PeerPrimary,
    /// A run was given up and has not ended.
    #[error("a former step still runs")]
    StepRuns,
    /// The arbiter's record is with another node.
    #[error("node {0} holds the arbiter's record")]
    Held(NodeId),
}

impl From<Denial> for Blocked {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Held(node) => Self::Held(node),
            Denial::Unfit(unfit) => Self::Storage(unfit),
        }
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This node has no role to give away, or cannot take one.
    #[error("this node is {0}")]
    NotActive(State),
    /// No other node is up to date.
    #[error("no other node is up to date")]
    NobodyElse,
    /// Something prevents the promotion.
    #[error(transparent)]
    Blocked(Blocked),
    /// The machine has ended or is about to.
    #[error("shutting down")]
    Shutdown,
}

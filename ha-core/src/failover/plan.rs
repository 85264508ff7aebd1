//! What a promotion does and how it is undone, as data.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::config::MAX_TIME;

/// The most steps of a plan: a node with more than that is several units.
pub const MAX_STEPS: usize = 64;

/// A step by its place in the list that [`Plan::new`] was given.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StepId(u16);

impl StepId {
    /// Names the step at `index`, counted from 0.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Returns the place.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a step is about. The order is that in which steps run that do not need each other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum StepKind {
    /// To make sure that no other node can write. Success means that none can; a hook that
    /// finds the peer to have let go returns at once.
    FencePeer,
    /// The storage is primary here; at most one in a plan.
    StorageRole,
    /// The storage's device has appeared.
    Device,
    /// The file system is sound.
    Check,
    /// The file system is mounted.
    Mount,
    /// A service runs.
    Service,
    /// The service addresses are served and announced. These steps come after all that do not
    /// need them.
    Address,
}

impl StepKind {
    /// Returns what has to be done.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::FencePeer => Action::FencePeer,
            Self::StorageRole => Action::SetPrimary,
            Self::Device => Action::WaitForDevice,
            Self::Check => Action::Check,
            Self::Mount => Action::Mount,
            Self::Service => Action::Start,
            Self::Address => Action::Announce,
        }
    }

    /// Returns whether `action` can undo a step of this kind.
    #[must_use]
    pub const fn is_undone_by(self, action: Action) -> bool {
        match self {
            Self::FencePeer | Self::Device | Self::Check => false,
            Self::StorageRole => matches!(action, Action::SetSecondary),
            Self::Mount => matches!(
                action,
                Action::Unmount | Action::KillAndUnmount | Action::ForceUnmount
            ),
            Self::Service => matches!(action, Action::Stop | Action::Kill),
            Self::Address => matches!(action, Action::Withdraw),
        }
    }

    /// Whether it leaves something behind that must be undone.
    const fn must_be_undone(self) -> bool {
        match self {
            Self::FencePeer | Self::Device | Self::Check => false,
            Self::StorageRole | Self::Mount | Self::Service | Self::Address => true,
        }
    }
}

/// What the driver does for a step.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Action {
    /// Makes sure that no other node can write.
    FencePeer,
    /// Makes the storage primary here.
    SetPrimary,
    /// Makes the storage secondary here; done when nothing can be written here any more.
    SetSecondary,
    /// Waits until the storage's device has appeared.
    WaitForDevice,
    /// Checks the file system, and repairs what can be repaired without a decision.
    Check,
    /// Mounts the file system.
    Mount,
    /// Unmounts it, which fails while it is used.
    Unmount,
    /// Ends all processes that use the file system, then unmounts it.
    KillAndUnmount,
    /// Unmounts it while it is used.
    ForceUnmount,
    /// Starts the service; done when it serves.
    Start,
    /// Lets the service finish its work and take no more.
    Drain,
    /// Stops the service; done when none of its processes is left.
    Stop,
    /// Kills the service.
    Kill,
    /// Serves the addresses and tells the neighbours.
    Announce,
    /// Ceases to serve the addresses.
    Withdraw,
    /// Makes sure that this node cannot write: it is switched off or restarted. The last
    /// resort, when something cannot be undone.
    FenceSelf,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FencePeer => "fence the peer",
            Self::SetPrimary => "become primary",
            Self::SetSecondary => "become secondary",
            Self::WaitForDevice => "wait for the device",
            Self::Check => "check",
            Self::Mount => "mount",
            Self::Unmount => "unmount",
            Self::KillAndUnmount => "kill users and unmount",
            Self::ForceUnmount => "force unmount",
            Self::Start => "start",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Announce => "announce",
            Self::Withdraw => "withdraw",
            Self::FenceSelf => "fence this node",
        })
    }
}

/// Whether a step may be done again without having been undone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is harmless or not")]
pub enum Repeat {
    /// It may.
    Harmless,
    /// It must be undone first.
    AfterUndo,
}

/// What a promotion does when a step of it failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the state table covers each of them"
)]
pub enum OnFailure {
    /// Undoes everything, and lets another node try.
    RollBack,
    /// Tries again some times, then rolls back. Only for steps whose repetition is harmless.
    Retry {
        /// How often.
        times: u8,
        /// How long after the failure.
        pause: Duration,
    },
    /// Goes on without it and without those that need it. It is undone like one that is done,
    /// because half of it may be there.
    Skip,
}

/// What a demotion does when nothing undoes a step. In either case this node is fenced at the
/// end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the state table covers each of them"
)]
pub enum IfStuck {
    /// Touches nothing that came before it: the storage is not taken from under a file system
    /// in use.
    Halt,
    /// Undoes what came before it nevertheless.
    GoOn,
}

/// One way to undo a step.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what to do, and how long it may take"
)]
pub struct Attempt {
    /// What to do. It must be harmless when there is nothing to undo, and when repeated.
    pub action: Action,
    /// How long it may take.
    pub deadline: Duration,
}

/// One step of a promotion.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What people call it.
    pub name: String,
    /// What it is about.
    pub kind: StepKind,
    /// The steps that must be done before it.
    pub needs: Vec<StepId>,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// What follows when it failed.
    pub on_failure: OnFailure,
    /// What undoes it, each tried when the one before it has failed: the gentlest first.
    pub undo: Vec<Attempt>,
    /// What follows when none of them did.
    pub if_stuck: IfStuck,
    /// How long it may take to drain it before a planned demotion, if it can be.
    pub drain: Option<Duration>,
}

impl Step {
    /// Makes a step with the usual deadlines and ways to undo it.
    #[must_use]
    pub fn new(kind: StepKind, name: &str) -> Self {
        let attempt = |action, secs| Attempt {
            action,
            deadline: Duration::from_secs(secs),
        };
        let (secs, undo) = match kind {
            StepKind::FencePeer => (30, vec![]),
            StepKind::StorageRole => (30, vec![attempt(Action::SetSecondary, 30)]),
            StepKind::Device => (10, vec![]),
            StepKind::Check => (300, vec![]),
            StepKind::Mount => (
                30,
                vec![
                    attempt(Action::Unmount, 10),
                    attempt(Action::KillAndUnmount, 10),
                    attempt(Action::ForceUnmount, 10),
                ],
            ),
            StepKind::Service => (
                30,
                vec![attempt(Action::Stop, 10), attempt(Action::Kill, 5)],
            ),
            StepKind::Address => (5, vec![attempt(Action::Withdraw, 5)]),
        };
        Self {
            name: name.into(),
            kind,
            needs: vec![],
            deadline: Duration::from_secs(secs),
            repeat: Repeat::Harmless,
            on_failure: OnFailure::RollBack,
            undo,
            if_stuck: match kind {
                // The address must not keep a node from letting go of its storage.
                StepKind::Address => IfStuck::GoOn,
                StepKind::FencePeer
                | StepKind::StorageRole
                | StepKind::Device
                | StepKind::Check
                | StepKind::Mount
                | StepKind::Service => IfStuck::Halt,
            },
            drain: None,
        }
    }

    /// Has it run after the step at `index` of the list.
    #[must_use]
    pub fn after(mut self, index: u16) -> Self {
        self.needs.push(StepId::new(index));
        self
    }
}

/// Why a list of steps is not a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There are more than [`MAX_STEPS`].
    #[error("{count} steps where at most {MAX_STEPS} are possible")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A step needs one that is not in the list.
    #[error("step {step} needs step {needs}, which there is not")]
    Missing {
        /// The step.
        step: StepId,
        /// What it needs.
        needs: StepId,
    },
    /// Steps need each other in a circle.
    #[error("step {step} needs itself, directly or by way of others")]
    Circle {
        /// One of them.
        step: StepId,
    },
    /// The storage has more than one role.
    #[error("step {step} is another storage role")]
    SecondRole {
        /// The second.
        step: StepId,
    },
    /// Nothing undoes a step that leaves something behind.
    #[error("nothing undoes step {step}")]
    NotUndone {
        /// The step.
        step: StepId,
    },
    /// A step is to be undone by something that cannot undo it.
    #[error("'{action}' does not undo step {step}")]
    Foreign {
        /// The step.
        step: StepId,
        /// What does not undo it.
        action: Action,
    },
    /// A step is tried again though its repetition is not harmless.
    #[error("step {step} is tried again, but must not be repeated")]
    Repeated {
        /// The step.
        step: StepId,
    },
    /// Something is given more time than [`MAX_TIME`].
    #[error("step {step} has a time of {value:?}, and {MAX_TIME:?} is the longest")]
    TooLong {
        /// The step.
        step: StepId,
        /// The time.
        value: Duration,
    },
    /// Something is given no time.
    #[error("step {step} has a deadline of zero")]
    NoTime {
        /// The step.
        step: StepId,
    },
}

/// Steps in an order in which each comes after those that it needs.
///
/// ```
/// use ha_core::failover::{Plan, Step, StepKind};
///
/// let plan = Plan::new(vec![
///     Step::new(StepKind::Service, "database").after(2),
///     Step::new(StepKind::Address, "address"),
///     Step::new(StepKind::Mount, "/srv").after(3),
///     Step::new(StepKind::StorageRole, "shared"),
/// ])?;
/// let names: Vec<&str> = plan.steps().map(|(_, step)| step.name.as_str()).collect();
/// assert_eq!(names, ["shared", "/srv", "database", "address"]);
/// # Ok::<(), ha_core::failover::PlanError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    order: Vec<StepId>,
}

impl Plan {
    /// Puts the steps in order.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if there is none, or if a step says something that cannot be.
    pub fn new(steps: Vec<Step>) -> Result<Self, PlanError> {
        if steps.len() > MAX_STEPS {
            return Err(PlanError::TooMany { count: steps.len() });
        }
        let mut has_role = false;
        for (step, id) in steps.iter().zip((0..).map(StepId)) {
            check(step, id, steps.len())?;
            if step.kind == StepKind::StorageRole && core::mem::replace(&mut has_role, true) {
                return Err(PlanError::SecondRole { step: id });
            }
        }
        let order = sort(&steps)?;
        Ok(Self { steps, order })
    }

    /// Returns the steps in the order in which a promotion does them.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = (StepId, &Step)> {
        self.order
            .iter()
            .filter_map(|id| self.get(*id).map(|step| (*id, step)))
    }

    /// Returns a step.
    #[must_use]
    pub fn get(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.index())
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

fn check(step: &Step, id: StepId, count: usize) -> Result<(), PlanError> {
    if let Some(needs) = step.needs.iter().find(|needs| needs.index() >= count) {
        return Err(PlanError::Missing {
            step: id,
            needs: *needs,
        });
    }
    if step.kind.must_be_undone() && step.undo.is_empty() {
        return Err(PlanError::NotUndone { step: id });
    }
    let foreign = |attempt: &&Attempt| !step.kind.is_undone_by(attempt.action);
    if let Some(attempt) = step.undo.iter().find(foreign) {
        return Err(PlanError::Foreign {
            step: id,
            action: attempt.action,
        });
    }
    if step.repeat == Repeat::AfterUndo && matches!(step.on_failure, OnFailure::Retry { .. }) {
        return Err(PlanError::Repeated { step: id });
    }
    let pause = match step.on_failure {
        OnFailure::Retry { pause, .. } => Some(pause),
        OnFailure::RollBack | OnFailure::Skip => None,
    };
    let attempts = step.undo.iter().map(|attempt| attempt.deadline);
    let deadlines = || attempts.clone().chain([step.deadline]).chain(step.drain);
    if deadlines().any(|time| time.is_zero()) {
        return Err(PlanError::NoTime { step: id });
    }
    if let Some(value) = deadlines().chain(pause).find(|time| *time > MAX_TIME) {
        return Err(PlanError::TooLong { step: id, value });
    }
    Ok(())
}

/// Sorts by need, then by kind, then as listed.
fn sort(steps: &[Step]) -> Result<Vec<StepId>, PlanError> {
    let mut order: Vec<StepId> = Vec::with_capacity(steps.len());
    while order.len() < steps.len() {
        let left = || {
            (0..)
                .map(StepId)
                .zip(steps)
                .filter(|(id, _)| !order.contains(id))
        };
        let ready = |(_, step): &(StepId, &Step)| step.needs.iter().all(|id| order.contains(id));
        match left()
            .filter(ready)
            .min_by_key(|(id, step)| (step.kind, *id))
        {
            Some((id, _)) => order.push(id),
            None => {
                // All that are left wait for each other.
                let step = left().map(|(id, _)| id).next().unwrap_or(StepId(0));
                return Err(PlanError::Circle { step });
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(steps: Vec<Step>) -> PlanError {
        Plan::new(steps).unwrap_err()
    }

    #[test]
    fn every_fault_is_named() {
        let step = StepId(0);
        let service = || Step::new(StepKind::Service, "s");
        assert_eq!(
            error(vec![service(); MAX_STEPS + 1]),
            PlanError::TooMany { count: 65 }
        );
        let needs = StepId(7);
        assert_eq!(
            error(vec![service().after(7)]),
            PlanError::Missing { step, needs }
        );
        let circle = vec![service().after(1), service().after(0)];
        assert_eq!(error(circle), PlanError::Circle { step });
        let role = || Step::new(StepKind::StorageRole, "r");
        let second = PlanError::SecondRole { step: StepId(1) };
        assert_eq!(error(vec![role(), role()]), second);
        let mut bad = service();
        bad.undo.clear();
        assert_eq!(error(vec![bad]), PlanError::NotUndone { step });
        let mut bad = service();
        bad.undo[0].action = Action::Unmount;
        let action = Action::Unmount;
        assert_eq!(error(vec![bad]), PlanError::Foreign { step, action });
        let mut bad = service();
        bad.repeat = Repeat::AfterUndo;
        bad.on_failure = OnFailure::Retry {
            times: 1,
            pause: Duration::ZERO,
        };
        assert_eq!(error(vec![bad]), PlanError::Repeated { step });
        let mut bad = service();
        bad.drain = Some(Duration::ZERO);
        assert_eq!(error(vec![bad]), PlanError::NoTime { step });
        let value = Duration::MAX;
        let mut bad = service();
        bad.deadline = value;
        assert_eq!(error(vec![bad]), PlanError::TooLong { step, value });
        let mut bad = service();
        bad.on_failure = OnFailure::Retry {
            times: 1,
            pause: value,
        };
        assert_eq!(error(vec![bad]), PlanError::TooLong { step, value });
    }
}

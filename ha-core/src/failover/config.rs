//! What an operator chooses.

use alloc::vec::Vec;
use core::time::Duration;

use super::arbiter::Arbitration;
use super::health::HealthCheck;
use super::plan::{Plan, StepKind};
use super::storage::NodeId;

/// The longest time that anything is given: a year, so that no instant is out of range.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long a node refrains from something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Holds {
    /// After the start, before it may take over. At boot a node is master before it hears the
    /// others (HAST §10.3).
    pub start: Duration,
    /// How long it must have been master.
    pub settle: Duration,
    /// After a promotion that failed.
    pub failed: Duration,
    /// After it gave the role away, so that another one has the time to take it.
    pub left: Duration,
    /// How long a command to force is in force, if the addresses do not come here.
    pub force: Duration,
    /// Before it tries again to undo what could not be undone.
    pub stuck: Duration,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(10),
            settle: Duration::ZERO,
            failed: Duration::from_secs(60),
            left: Duration::from_secs(10),
            force: Duration::from_secs(30),
            stuck: Duration::from_secs(30),
        }
    }
}

/// The configuration of a [`Failover`](super::Failover).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// How many groups of addresses move together. The node is wanted when it is master of all,
    /// so all must prefer the nodes in the same order, and preempt: groups that stay divided
    /// between two nodes keep both from promotion.
    pub groups: u16,
    /// What a promotion does. With a step of [`StepKind::StorageRole`] the storage is looked at
    /// before.
    pub plan: Plan,
    /// The health checks.
    pub checks: Vec<HealthCheck>,
    /// How long it refrains from something.
    pub holds: Holds,
    /// By how much each cause demotes this node (CARP §4.1).
    pub demotion: i32,
    /// How long a step may go on after it was cancelled, before it is given up.
    pub grace: Duration,
    /// How long it may take to fence this node, if something does.
    pub fence_self: Option<Duration>,
    /// The arbiter, if there is one.
    pub arbitration: Option<Arbitration>,
}

/// Why a configuration cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no group, so nothing ever wants this node.
    #[error("groups: 0 where at least one is needed")]
    NoGroup,
    /// There are too many health checks.
    #[error("checks: {count} where at most 65536 are possible")]
    TooManyChecks {
        /// How many.
        count: usize,
    },
    /// A cause of demotion does not demote.
    #[error("demotion: {value} where a positive number is needed")]
    Demotion {
        /// The number.
        value: i32,
    },
    /// A time is zero that must not be.
    #[error("{field}: zero")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A time is longer than [`MAX_TIME`].
    #[error("{field}: {value:?} where {MAX_TIME:?} is the longest time")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The time.
        value: Duration,
    },
    /// The holder of the record would have no time.
    #[error("stop_early: {stop_early:?} is not less than the ttl of {ttl:?}")]
    StopEarly {
        /// How much earlier the holder stops.
        stop_early: Duration,
        /// The time that it has.
        ttl: Duration,
    },
    /// The holder's time would be over before it can renew the record.
    #[error("interval: with the patience, {total:?} is not less than the holder's {time:?}")]
    Interval {
        /// The interval and the patience.
        total: Duration,
        /// What the holder has.
        time: Duration,
    },
}

impl Config {
    /// Makes a configuration for one group, without checks and without an arbiter.
    #[must_use]
    pub fn new(node: NodeId, plan: Plan) -> Self {
        Self {
            node,
            groups: 1,
            plan,
            checks: Vec::new(),
            holds: Holds::default(),
            demotion: 240,
            grace: Duration::from_secs(5),
            fence_self: None,
            arbitration: None,
        }
    }

    pub(super) fn has_storage(&self) -> bool {
        self.plan
            .steps()
            .any(|(_, step)| step.kind == StepKind::StorageRole)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.groups == 0 {
            return Err(ConfigError::NoGroup);
        }
        if self.checks.len() > 1 << 16 {
            let count = self.checks.len();
            return Err(ConfigError::TooManyChecks { count });
        }
        if self.demotion <= 0 {
            let value = self.demotion;
            return Err(ConfigError::Demotion { value });
        }
        let arbitration = self.arbitration.unwrap_or_default();
        let may_be_zero = [
            ("holds.start", self.holds.start),
            ("holds.settle", self.holds.settle),
            ("holds.force", self.holds.force),
        ];
        let must_not = [
            ("grace", self.grace),
            ("fence_self", self.fence_self.unwrap_or(self.grace)),
            ("holds.failed", self.holds.failed),
            ("holds.left", self.holds.left),
            ("holds.stuck", self.holds.stuck),
            ("arbitration.ttl", arbitration.ttl),
            ("arbitration.stop_early", arbitration.stop_early),
            ("arbitration.interval", arbitration.interval),
            ("arbitration.patience", arbitration.patience),
        ];
        if let Some((field, _)) = must_not.iter().find(|(_, value)| value.is_zero()) {
            return Err(ConfigError::Zero { field });
        }
        let mut all = may_be_zero.into_iter().chain(must_not);
        if let Some((field, value)) = all.find(|(_, value)| *value > MAX_TIME) {
            return Err(ConfigError::TooLong { field, value });
        }
        let Arbitration {
            ttl, stop_early, ..
        } = arbitration;
        let Some(time) = ttl.checked_sub(stop_early).filter(|time| !time.is_zero()) else {
            return Err(ConfigError::StopEarly { stop_early, ttl });
        };
        let total = arbitration.interval.saturating_add(arbitration.patience);
        if total >= time {
            return Err(ConfigError::Interval { total, time });
        }
        Ok(())
    }
}

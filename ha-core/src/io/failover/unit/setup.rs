//! What a unit is made of.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::vec::Vec;

use super::super::check::Check;
use super::super::election::Election;
use super::super::part::{Fence, Part};
use super::asking::Asking;
use crate::failover::{Config, ConfigError, MAX_TIME, NodeId, Plan, PlanError, Step, StepId};

/// More checks than that look at the same things twice. Each may be a reason for demotion, of
/// which a driver has [`MAX_DEMOTIONS`](crate::io::MAX_DEMOTIONS) for all units.
pub(super) const MAX_CHECKS: usize = 32;

/// What a [`Unit`](super::Unit) is made of.
#[derive(Debug)]
pub struct UnitSetup {
    pub(super) name: Arc<str>,
    /// What the machine is configured with: the plan and the number of groups are those that were
    /// given, and may not be changed; checks, arbiter and fence are set by the methods.
    pub config: Config,
    pub(super) parts: Vec<Part>,
    pub(super) checks: Vec<Check>,
    pub(super) election: Voting,
    pub(super) fence_self: Option<Part>,
    pub(super) asking: Asking,
    /// How long a shutdown may take: two minutes unless it is changed.
    pub shutdown: Duration,
    /// How many events are kept for a slow reader, at least: 256 unless it is changed.
    pub events: usize,
}

/// An election, which says nothing about itself.
pub(super) struct Voting(pub(super) Arc<dyn Election>);

impl core::fmt::Debug for Voting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Election")
    }
}

/// Why a setup cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitSetupError {
    /// The steps are no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A step is given a part of another kind.
    #[error("step {step} is of another kind than what carries it out")]
    Part {
        /// The step.
        step: StepId,
    },
    /// The plan is not the one that was given.
    #[error("{steps} steps, and {parts} parts to carry them out")]
    Changed {
        /// How many steps there are.
        steps: usize,
        /// How many parts.
        parts: usize,
    },
    /// There are too many checks.
    #[error("{count} checks where at most {MAX_CHECKS} are possible")]
    TooManyChecks {
        /// How many.
        count: usize,
    },
    /// A check has no time, or more than [`MAX_TIME`].
    #[error("check {index}: an interval or a limit of zero, or of more than {MAX_TIME:?}")]
    CheckTime {
        /// The check, counted from 0.
        index: usize,
    },
    /// Two checks have the same name, by which this node is demoted for them.
    #[error("check {index}: another one has the same name")]
    CheckName {
        /// The second, counted from 0.
        index: usize,
    },
    /// The number of groups is not that of the protocol.
    #[error("groups: {config} where the protocol has {protocol}")]
    Groups {
        /// What is configured.
        config: u16,
        /// How many there are.
        protocol: usize,
    },
    /// This node is to be fenced, but nothing does it.
    #[error("fence_self: a time, but nothing that does it")]
    NoFence,
    /// There is an arbiter to ask, but none that answers.
    #[error("arbitration: settings, but no arbiter")]
    NoArbiter,
    /// The protocol has too many groups of addresses.
    #[error("{count} groups of addresses where at most 65535 are possible")]
    TooManyGroups {
        /// How many.
        count: usize,
    },
}

impl UnitSetup {
    /// A unit of this name on this node: its steps, each with what carries it out, and the
    /// protocol that decides where its addresses are. The name is for people, and for the reasons
    /// of its demotions; each unit has another.
    ///
    /// # Errors
    ///
    /// [`UnitSetupError::Plan`], [`UnitSetupError::Part`] and [`UnitSetupError::TooManyGroups`].
    pub fn new(
        name: &str,
        node: NodeId,
        steps: Vec<(Step, Part)>,
        election: impl Election + 'static,
    ) -> Result<Self, UnitSetupError> {
        let (steps, parts): (Vec<Step>, Vec<Part>) = steps.into_iter().unzip();
        let count = election.roles().borrow().len();
        let mut config = Config::new(node, Plan::new(steps)?);
        config.groups =
            u16::try_from(count).map_err(|_| UnitSetupError::TooManyGroups { count })?;
        let setup = Self {
            name: name.into(),
            config,
            parts,
            checks: Vec::new(),
            election: Voting(Arc::new(election)),
            fence_self: None,
            asking: Asking::nobody(),
            shutdown: Duration::from_secs(120),
            events: 256,
        };
        setup.fits()?;
        Ok(setup)
    }

    /// Adds a health check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Has this fence this node when something cannot be undone, within `limit`.
    #[must_use]
    pub fn fence_self(mut self, limit: Duration, fence: impl Fence + 'static) -> Self {
        self.config.fence_self = Some(limit);
        self.fence_self = Some(Part::FencePeer(Arc::new(fence)));
        self
    }

    /// Has this arbiter decide who holds the unit. To be called within a tokio runtime.
    #[cfg(feature = "arbiter")]
    #[must_use]
    pub fn arbiter(
        mut self,
        settings: crate::failover::Arbitration,
        arbiter: impl crate::io::arbiter::Arbiter + 'static,
    ) -> Self {
        self.config.arbitration = Some(settings);
        self.asking = Asking::spawn(arbiter);
        self
    }

    /// Whether each step is carried out by something of its kind.
    fn fits(&self) -> Result<(), UnitSetupError> {
        let (steps, parts) = (self.config.plan.len(), self.parts.len());
        if steps != parts {
            return Err(UnitSetupError::Changed { steps, parts });
        }
        for (step, config) in self.config.plan.steps() {
            let part = self.parts.get(step.index());
            if part.is_none_or(|part| part.kind() != config.kind) {
                return Err(UnitSetupError::Part { step });
            }
        }
        Ok(())
    }

    /// Puts the checks into the configuration, and looks whether all fits together.
    pub(super) fn complete(&mut self) -> Result<(), UnitSetupError> {
        self.fits()?;
        let count = self.checks.len();
        if count > MAX_CHECKS {
            return Err(UnitSetupError::TooManyChecks { count });
        }
        let has_time = |check: &Check| {
            [check.interval, check.limit]
                .iter()
                .all(|time| !time.is_zero() && *time <= MAX_TIME)
        };
        if let Some(index) = self.checks.iter().position(|check| !has_time(check)) {
            return Err(UnitSetupError::CheckTime { index });
        }
        let mut names = BTreeSet::new();
        let is_news = |check: &Check| names.insert(check.health.name.clone());
        if let Some(index) = self.checks.iter().map(is_news).position(|is_news| !is_news) {
            return Err(UnitSetupError::CheckName { index });
        }
        let (config, protocol) = (self.config.groups, self.election.0.roles().borrow().len());
        if usize::from(config) != protocol {
            return Err(UnitSetupError::Groups { config, protocol });
        }
        if self.shutdown > MAX_TIME {
            let value = self.shutdown;
            return Err(ConfigError::TooLong {
                field: "shutdown",
                value,
            }
            .into());
        }
        if self.config.fence_self.is_some() && self.fence_self.is_none() {
            return Err(UnitSetupError::NoFence);
        }
        if self.config.arbitration.is_some() && !self.asking.is_anybody() {
            return Err(UnitSetupError::NoArbiter);
        }
        let names = self.checks.iter().map(|check| check.health.clone());
        self.config.checks = names.collect();
        Ok(())
    }
}

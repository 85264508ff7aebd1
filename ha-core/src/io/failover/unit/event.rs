//! What a unit tells about.

use core::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::super::events::EventStream;
use super::super::check::CheckError;
use super::super::election::ElectionError;
use super::super::job::StepError;
use crate::failover::{Action, Ending, Event, Turn};

/// Something an operator may want to know, and when it happened. `Display` is a line for a log,
/// without the time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnitEvent {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: UnitEventKind,
}

impl fmt::Display for UnitEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UnitEventKind {
    /// The machine has something to say.
    Machine {
        /// What.
        event: Event<Instant>,
        /// The name of the step that it is about, if it is about one.
        step: Option<Arc<str>>,
    },
    /// A step failed. The machine tells of it, too, and when it began.
    Failed {
        /// The name of the step.
        step: Arc<str>,
        /// What was to be done.
        action: Action,
        /// Why.
        error: Arc<StepError>,
    },
    /// This node was demoted for this reason, as far as the machine is concerned.
    Demoted {
        /// The reason, as the protocol of the addresses knows it.
        reason: Arc<str>,
        /// By how much.
        amount: i32,
    },
    /// That was taken back.
    Restored {
        /// The reason.
        reason: Arc<str>,
    },
    /// The protocol of the addresses does not do what it is told. Told once until it does.
    NotElected {
        /// What it was told: the reason of a demotion, or what is to become of a group.
        order: Arc<str>,
        /// Why.
        error: Arc<ElectionError>,
    },
    /// A health check changed its mind.
    Health {
        /// Its name.
        check: Arc<str>,
        /// How.
        turn: Turn,
        /// Why, if it fell.
        error: Option<Arc<CheckError>>,
    },
    /// The arbiter did not answer. Told once until it does.
    #[cfg(feature = "arbiter")]
    NoAnswer {
        /// Why.
        error: Arc<crate::io::arbiter::ArbiterError>,
    },
}

impl fmt::Display for UnitEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { event, step } => line(f, event, step.as_deref().unwrap_or("this node")),
            Self::Failed {
                step,
                action,
                error,
            } => write!(f, "{step}: {action} failed: {error}"),
            Self::Demoted { reason, amount } => write!(f, "demoted by {amount} ({reason})"),
            Self::Restored { reason } => write!(f, "no longer demoted ({reason})"),
            Self::NotElected { order, error } => write!(f, "{order}: not done: {error}"),
            Self::Health { check, turn, error } => match (turn, error) {
                (Turn::Rose, _) => write!(f, "check {check}: well"),
                (Turn::Fell, Some(error)) => write!(f, "check {check}: not well: {error}"),
                (Turn::Fell, None) => write!(f, "check {check}: not well"),
            },
            #[cfg(feature = "arbiter")]
            Self::NoAnswer { error } => write!(f, "the arbiter does not answer: {error}"),
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, event: &Event<Instant>, step: &str) -> fmt::Result {
    match event {
        Event::State {
            from,
            to,
            reason,
            since,
            at,
        } => {
            let took = at.saturating_duration_since(*since);
            write!(f, "{from} -> {to} after {took:?} ({reason:?})")
        }
        Event::Step {
            action,
            began,
            ended,
            ending,
            ..
        } => {
            let took = ended.saturating_duration_since(*began);
            match ending {
                Ending::Done => write!(f, "{step}: {action} done in {took:?}"),
                Ending::Failed(code) => {
                    write!(f, "{step}: {action} failed with {code} in {took:?}")
                }
                Ending::TimedOut => write!(f, "{step}: {action} timed out after {took:?}"),
                Ending::Cancelled => write!(f, "{step}: {action} cancelled after {took:?}"),
                Ending::GivenUp => write!(f, "{step}: {action} given up after {took:?}"),
            }
        }
        Event::LeftOut(_) => write!(f, "{step}: left out"),
        Event::NotPromoted(blocked) => write!(f, "not promoted: {blocked}"),
        Event::Refused { command, refusal } => write!(f, "{command:?} refused: {refusal}"),
        Event::Unknown(unknown) => write!(f, "no such thing: {unknown:?}"),
        Event::SplitBrain => f.write_str("split brain"),
        Event::KeptWithoutArbiter => f.write_str("the arbiter is lost, and the role is kept"),
        Event::NobodyTookOver => f.write_str("nobody took over"),
    }
}

/// The events of a unit, which keeps [`UnitSetup::events`](super::UnitSetup) for a reader.
pub type UnitEvents = EventStream<UnitEvent>;

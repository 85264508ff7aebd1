//! What happens, one JSON object a line: when, to what, what, and why. `operating.md` names the fields.

use core::fmt;

use ha_core::failover::{
    Action, Blocked, Cause, CheckId, Command, Ending, Event, Reason, StepId, StepKind, Turn,
};
use ha_core::io::failover::{UnitEvent, UnitEventKind};
use serde::Serialize;
use tokio::time::Instant;

use super::moment::{Clock, Stamp, ms};
use super::snapshot::State;
use super::told_carp::CarpTold;
use super::told_hast::HastTold;

/// One line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line<'a> {
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// To what it happened.
    #[serde(flatten)]
    pub(crate) subject: Subject<'a>,
    #[serde(flatten)]
    pub(crate) told: Told<'a>,
}

/// To what something happens: a field of the same name.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject<'a> {
    /// A unit, by its name.
    Unit(&'a str),
    /// A virtual host, as `VHID@INTERFACE`, or an interface.
    Host(&'a str),
    /// A resource of HAST, by its name.
    Resource(&'a str),
    /// This node, by its name.
    Node(&'a str),
}

/// What happened: the field `event`, and what belongs to it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Told<'a> {
    Unit(&'a UnitTold),
    Carp(CarpTold),
    Hast(HastTold),
    Node(NodeTold),
}

/// What this program does.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum NodeTold {
    /// It runs.
    Started,
    /// It ends.
    Ending,
    /// The operator commands something by the control socket.
    Commanded { command: String, unit: String },
    /// What this node has changed alone is not discarded, or not known to be.
    NotDiscarded { unit: String, reason: String },
    /// Who ordered a discard has gone: it is given up, unless all was saved already.
    DiscardLeft { unit: String },
    /// A door is open: `page` or `status`.
    Listening { door: String, address: String },
    /// It cannot be opened, which is tried again and again.
    NotListening {
        door: String,
        address: String,
        reason: String,
    },
    /// Events were lost because too many came at once.
    Lost { events: u64 },
}

/// What happens to a unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum UnitTold {
    /// Its state has changed.
    State {
        from: State,
        to: State,
        reason: String,
        /// For how long it was in the former state.
        took_ms: f64,
    },
    /// A step has ended.
    StepFinished {
        step: String,
        action: &'static str,
        result: Ended,
        /// The exit status or error number, if it failed with one.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        took_ms: f64,
    },
    /// Why a step has failed. When it began and ended is told by `step-finished`.
    StepFailed {
        step: String,
        action: &'static str,
        reason: String,
    },
    /// A step is left out because what it needs was.
    StepLeftOut { step: String },
    /// The unit is wanted here, but not promoted.
    NotPromoted { reason: String },
    /// A command was refused.
    Refused {
        command: &'static str,
        reason: String,
    },
    /// Two nodes have written alone.
    SplitBrain,
    /// The arbiter is lost, and the role is kept by choice.
    KeptWithoutArbiter,
    /// The role was given away, and nobody took it.
    NobodyTookOver,
    /// This node is demoted.
    Demoted { reason: String, amount: i32 },
    /// It is not any more.
    Restored { reason: String },
    /// CARP does not do what it is told.
    NotElected { order: String, reason: String },
    /// A health check has changed its mind.
    Health {
        check: String,
        good: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The arbiter does not answer.
    NoAnswer { reason: String },
    /// Something that this program does not know.
    Other { text: String },
}

/// How a step has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    Done,
    Failed,
    TimedOut,
    Cancelled,
    /// It did not end, and is not waited for.
    GivenUp,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::GivenUp => "given up",
        })
    }
}

/// What the numbers of a unit's machine stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnitNames {
    /// Its name.
    pub(crate) unit: String,
    /// The steps in the order of a promotion.
    pub(crate) steps: Vec<(StepId, String, StepKind)>,
    /// The health checks by their numbers.
    pub(crate) checks: Vec<String>,
}

impl UnitNames {
    pub(crate) fn step(&self, id: StepId) -> String {
        let found = self.steps.iter().find(|(other, ..)| *other == id);
        found.map_or_else(|| format!("step {id}"), |(_, name, _)| name.clone())
    }

    fn check(&self, id: CheckId) -> String {
        let name = self.checks.get(id.index()).cloned();
        name.unwrap_or_else(|| id.index().to_string())
    }

    /// Why this node is demoted.
    pub(crate) fn cause(&self, cause: Cause) -> String {
        match cause {
            Cause::Health(check) => format!("check {}", self.check(check)),
            other => other.to_string(),
        }
    }

    /// Why this node is not promoted.
    pub(crate) fn blocked(&self, blocked: Blocked) -> String {
        match blocked {
            Blocked::Hold(cause) => format!("held down: {}", self.cause(cause)),
            other => other.to_string(),
        }
    }

    /// Why the state has changed.
    fn reason(&self, reason: Reason) -> String {
        match reason {
            Reason::Start => "start".to_owned(),
            Reason::Wanted => "the addresses are here".to_owned(),
            Reason::Held => "the arbiter's record is held".to_owned(),
            Reason::Done => "all steps are done".to_owned(),
            Reason::Drained => "all is drained".to_owned(),
            Reason::Undone => "everything is undone".to_owned(),
            Reason::Released => "the arbiter's record is given back".to_owned(),
            Reason::AddressLost => "the addresses have gone".to_owned(),
            Reason::StorageLost => "the storage is not primary any more".to_owned(),
            Reason::StorageStrayed => "the storage is not secondary".to_owned(),
            Reason::Blocked(blocked) => self.blocked(blocked),
            Reason::RecordTaken => "another node has taken the arbiter's record".to_owned(),
            Reason::RecordLost => "the arbiter's record could not be renewed".to_owned(),
            Reason::Failed(step) => format!("step {} failed", self.step(step)),
            Reason::Health(check) => format!("check {} failed", self.check(check)),
            Reason::Command(command) => format!("command {}", word(command)),
            Reason::Stuck => "something cannot be undone".to_owned(),
            Reason::Again => "tried again".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// What a command is called on the command line.
pub(crate) const fn word(command: Command) -> &'static str {
    match command {
        Command::Promote => "promote",
        Command::Force => "force",
        Command::Demote => "demote",
        Command::SwitchOver => "switch",
        Command::Maintenance => "maintenance",
        Command::Resume => "resume",
        Command::Shutdown => "shutdown",
    }
}

/// What an action is called.
pub(crate) const fn action(action: Action) -> &'static str {
    match action {
        Action::FencePeer => "fence-peer",
        Action::SetPrimary => "become-primary",
        Action::SetSecondary => "become-secondary",
        Action::WaitForDevice => "wait-for-device",
        Action::Check => "check",
        Action::Mount => "mount",
        Action::Unmount => "unmount",
        Action::KillAndUnmount => "kill-and-unmount",
        Action::ForceUnmount => "force-unmount",
        Action::Start => "start",
        Action::Drain => "drain",
        Action::Stop => "stop",
        Action::Kill => "kill",
        Action::Announce => "announce",
        Action::Withdraw => "withdraw",
        Action::FenceSelf => "fence-self",
    }
}

/// What a unit tells. When it was is the stamp's; a step's and a state's beginning are told by
/// how long it took.
pub(crate) fn unit(event: &UnitEvent, names: &UnitNames, clock: &Clock) -> (Stamp, UnitTold) {
    let told = match &event.kind {
        UnitEventKind::Machine { event, step } => machine(event, step.as_deref(), names),
        UnitEventKind::Failed {
            step,
            action: what,
            error,
        } => UnitTold::StepFailed {
            step: step.to_string(),
            action: action(*what),
            reason: error.to_string(),
        },
        UnitEventKind::Demoted { reason, amount } => UnitTold::Demoted {
            reason: reason.to_string(),
            amount: *amount,
        },
        UnitEventKind::Restored { reason } => UnitTold::Restored {
            reason: reason.to_string(),
        },
        UnitEventKind::NotElected { order, error } => UnitTold::NotElected {
            order: order.to_string(),
            reason: error.to_string(),
        },
        UnitEventKind::Health { check, turn, error } => UnitTold::Health {
            check: check.to_string(),
            good: *turn == Turn::Rose,
            reason: error.as_ref().map(ToString::to_string),
        },
        UnitEventKind::NoAnswer { error } => UnitTold::NoAnswer {
            reason: error.to_string(),
        },
        other => UnitTold::Other {
            text: other.to_string(),
        },
    };
    let at = match &event.kind {
        // The machine's own time, which is that of the input that caused it.
        UnitEventKind::Machine {
            event: Event::State { at, .. } | Event::Step { ended: at, .. },
            ..
        } => *at,
        _ => event.at,
    };
    (clock.stamp(at), told)
}

fn machine(event: &Event<Instant>, step: Option<&str>, names: &UnitNames) -> UnitTold {
    let name = || step.unwrap_or("this node").to_owned();
    match event {
        Event::State {
            from,
            to,
            reason,
            since,
            at,
        } => UnitTold::State {
            from: (*from).into(),
            to: (*to).into(),
            reason: names.reason(*reason),
            took_ms: ms(at.saturating_duration_since(*since)),
        },
        Event::Step {
            action: what,
            began,
            ended,
            ending,
            ..
        } => {
            let (result, code) = match ending {
                Ending::Done => (Ended::Done, None),
                Ending::Failed(code) => (Ended::Failed, Some(*code)),
                Ending::TimedOut => (Ended::TimedOut, None),
                Ending::Cancelled => (Ended::Cancelled, None),
                Ending::GivenUp => (Ended::GivenUp, None),
            };
            UnitTold::StepFinished {
                step: name(),
                action: action(*what),
                result,
                code,
                took_ms: ms(ended.saturating_duration_since(*began)),
            }
        }
        Event::LeftOut(step) => UnitTold::StepLeftOut {
            step: names.step(*step),
        },
        Event::NotPromoted(blocked) => UnitTold::NotPromoted {
            reason: names.blocked(*blocked),
        },
        Event::Refused { command, refusal } => UnitTold::Refused {
            command: word(*command),
            reason: refusal.to_string(),
        },
        Event::SplitBrain => UnitTold::SplitBrain,
        Event::KeptWithoutArbiter => UnitTold::KeptWithoutArbiter,
        Event::NobodyTookOver => UnitTold::NobodyTookOver,
        Event::Unknown(unknown) => UnitTold::Other {
            text: format!("no such thing: {unknown:?}"),
        },
        other => UnitTold::Other {
            text: format!("{other:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::moment::Wall;
    use super::*;

    fn names() -> UnitNames {
        UnitNames {
            unit: "files".to_owned(),
            steps: vec![(StepId::new(0), "/srv".to_owned(), StepKind::Mount)],
            checks: vec!["http".to_owned()],
        }
    }

    fn line(told: &UnitTold) -> Value {
        let stamp = Stamp {
            at: Wall(1_763_756_419_042),
            monotonic_ms: 1500.25,
        };
        let (subject, told) = (Subject::Unit("files"), Told::Unit(told));
        serde_json::to_value(Line {
            stamp,
            subject,
            told,
        })
        .unwrap()
    }

    #[test]
    fn a_line_tells_when_what_and_why() {
        let now = Instant::now();
        let event = Event::State {
            from: ha_core::failover::State::Active,
            to: ha_core::failover::State::Draining,
            reason: Reason::Health(CheckId::new(0)),
            since: now,
            at: now + core::time::Duration::from_millis(20),
        };
        assert_eq!(
            line(&machine(&event, None, &names())),
            json!({
                "at": "2025-11-21T20:20:19.042Z",
                "monotonic_ms": 1500.25,
                "unit": "files",
                "event": "state",
                "from": "active",
                "to": "draining",
                "reason": "check http failed",
                "took_ms": 20.0,
            })
        );
        let event = Event::Step {
            step: Some(StepId::new(0)),
            action: Action::KillAndUnmount,
            began: now,
            ended: now + core::time::Duration::from_millis(3),
            ending: Ending::Failed(16),
        };
        let told = line(&machine(&event, Some("/srv"), &names()));
        assert_eq!(told["event"], "step-finished");
        assert_eq!(
            (&told["step"], &told["action"], &told["result"]),
            (&json!("/srv"), &json!("kill-and-unmount"), &json!("failed"))
        );
        assert_eq!((&told["code"], &told["took_ms"]), (&json!(16), &json!(3.0)));
    }

    #[test]
    fn numbers_of_the_machine_have_names() {
        let names = names();
        let hold = Blocked::Hold(Cause::Health(CheckId::new(0)));
        let told = machine(&Event::NotPromoted(hold), None, &names);
        assert_eq!(line(&told)["reason"], "held down: check http");
        let told = machine(&Event::LeftOut(StepId::new(0)), None, &names);
        assert_eq!(line(&told)["step"], "/srv");
        let maintenance = Reason::Command(Command::Maintenance);
        assert_eq!(
            names.reason(maintenance),
            super::super::timeline::BY_MAINTENANCE
        );
        // Not there: the number.
        assert_eq!(names.step(StepId::new(7)), "step 7");
        assert_eq!(names.cause(Cause::Health(CheckId::new(7))), "check 7");
        assert_eq!(
            line(&machine(&Event::SplitBrain, None, &names))["event"],
            "split-brain"
        );
    }
}

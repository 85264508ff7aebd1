//! The last time a unit was taken or given away on this node: what was done, from when to when,
//! how it ended, and why. One timeline for each unit is kept, and one that is under way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::events::{Ended, UnitTold};
use super::moment::{Stamp, Wall, round};
use super::snapshot::{Standing, State};

/// As many runs as a plan of 64 steps has, there and back, some of them repeated. What comes
/// after them is counted.
const MAX_RUNS: usize = 256;
/// Why a unit goes out of service, in the words of [`UnitNames`](super::events::UnitNames).
pub(crate) const BY_MAINTENANCE: &str = "command maintenance";
/// A node that was master of the addresses for longer than this before it began was not waiting
/// to begin.
const LONGEST_WAIT_MS: f64 = 60_000.0;

/// What a unit did between two states of rest. Times are milliseconds since it began.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Timeline {
    pub(crate) began: Stamp,
    pub(crate) kind: Kind,
    /// Why it was begun.
    pub(crate) cause: String,
    /// How it ended; nothing while it is under way.
    pub(crate) end: Option<End>,
    /// The states that it went through, and what was before the first.
    pub(crate) phases: Vec<Phase>,
    /// What was done, in the order in which it ended.
    pub(crate) runs: Vec<Run>,
    /// How many runs more there were than are kept.
    pub(crate) runs_left_out: u32,
}

/// What a timeline is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The role was to be taken.
    Taking,
    /// It was given away.
    Giving,
    /// What a former process may have left was undone.
    Cleaning,
}

/// How a timeline ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct End {
    pub(crate) at_ms: f64,
    pub(crate) state: State,
    pub(crate) reason: String,
}

/// A state that was gone through, or `silence` and `waiting`: no master was heard, and being
/// master was not enough yet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Phase {
    pub(crate) what: String,
    pub(crate) began_ms: f64,
    pub(crate) ended_ms: f64,
}

/// One run of a step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) step: String,
    pub(crate) action: String,
    pub(crate) began_ms: f64,
    pub(crate) ended_ms: f64,
    pub(crate) result: Ended,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Its share of the whole, in percent; nothing while it is under way.
    #[serde(default)]
    pub(crate) share: f64,
}

impl Timeline {
    /// Whether the role was taken, and is had now.
    pub(crate) fn has_taken(&self) -> bool {
        let end = self.end.as_ref().map(|end| end.state);
        self.kind == Kind::Taking && end == Some(State::Active)
    }

    /// When the first step of it began that ends a service: draining is not one.
    pub(crate) fn first_undone_ms(&self) -> Option<f64> {
        let ends = |run: &&Run| is_undoing(&run.action);
        self.runs.iter().find(ends).map(|run| run.began_ms)
    }

    /// For how long it lasted, as far as is known.
    pub(crate) fn lasted_ms(&self) -> f64 {
        let runs = self.runs.iter().map(|run| run.ended_ms);
        let phases = self.phases.iter().map(|phase| phase.ended_ms);
        let end = self.end.as_ref().map(|end| end.at_ms);
        runs.chain(phases).chain(end).fold(0.0, f64::max)
    }

    fn since_began(&self, stamp: Stamp) -> f64 {
        round(stamp.monotonic_ms - self.began.monotonic_ms)
    }
}

/// Whether an action takes back what a promotion has done.
pub(crate) fn is_undoing(action: &str) -> bool {
    matches!(
        action,
        "become-secondary"
            | "unmount"
            | "kill-and-unmount"
            | "force-unmount"
            | "stop"
            | "kill"
            | "withdraw"
    )
}

/// Listens to one unit.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    under_way: Option<Timeline>,
    last: Option<Timeline>,
    standings: BTreeMap<String, Standing>,
    /// Since when this node is master of the addresses, and for how long it heard nobody before.
    master: Option<(Stamp, Option<f64>)>,
    /// Why a run failed whose end was not told yet.
    failure: Option<(String, &'static str, String)>,
    /// Whether the last command was to go out of service.
    maintenance: bool,
}

impl Collector {
    /// The timeline under way, or the last one.
    pub(crate) fn timeline(&self) -> Option<&Timeline> {
        self.under_way.as_ref().or(self.last.as_ref())
    }

    /// How a step stands.
    pub(crate) fn standing(&self, step: &str) -> Standing {
        self.standings.get(step).copied().unwrap_or_default()
    }

    /// Whether the unit is on its way out of service.
    pub(crate) const fn goes_out_of_service(&self) -> bool {
        self.maintenance && self.under_way.is_some()
    }

    /// A virtual host of the unit has become master, after that many milliseconds in which no
    /// master was heard, if that is why.
    pub(crate) fn became_master(&mut self, at: Stamp, silence_ms: Option<f64>) {
        self.master = Some((at, silence_ms));
    }

    /// A virtual host of the unit is not master any more.
    pub(crate) fn lost_master(&mut self) {
        self.master = None;
    }

    /// Takes note of what the unit tells. Returns the timeline that ended by it.
    pub(crate) fn hear(&mut self, at: Stamp, told: &UnitTold) -> Option<&Timeline> {
        match told {
            UnitTold::State {
                from,
                to,
                reason,
                took_ms,
            } => return self.moved(at, *from, *to, reason, *took_ms),
            UnitTold::StepFinished {
                step,
                action,
                result,
                took_ms,
                ..
            } => self.ran(at, step, action, *result, *took_ms),
            UnitTold::StepFailed {
                step,
                action,
                reason,
            } => self.failed(step, action, reason),
            UnitTold::StepLeftOut { step } => {
                self.standings.insert(step.clone(), Standing::LeftOut);
            }
            _ => {}
        }
        None
    }

    fn moved(
        &mut self,
        at: Stamp,
        from: State,
        to: State,
        reason: &str,
        took_ms: f64,
    ) -> Option<&Timeline> {
        self.maintenance = match reason {
            BY_MAINTENANCE => true,
            _ if to.is_moving() => self.maintenance,
            _ => false,
        };
        if from.is_moving() {
            // The first is the clean-up after the start, whose beginning nobody told.
            let mut timeline = self.under_way.take().unwrap_or_else(|| Timeline {
                began: before(at, took_ms),
                ..begin(at, Kind::Cleaning, "start")
            });
            let now = timeline.since_began(at);
            timeline.phases.push(Phase {
                what: from.to_string(),
                began_ms: round((now - took_ms).max(0.0)),
                ended_ms: now,
            });
            self.under_way = Some(timeline);
        }
        if to.is_moving() {
            if self.under_way.is_none() {
                self.under_way = Some(self.open(at, from, reason));
            }
            return None;
        }
        if to == State::Standby {
            // What needs no undoing, such as a check, does not count any more either.
            for standing in self.standings.values_mut() {
                *standing = Standing::Undone;
            }
        }
        let mut timeline = self.under_way.take()?;
        let at_ms = timeline.since_began(at);
        timeline.end = Some(End {
            at_ms,
            state: to,
            reason: reason.to_owned(),
        });
        for run in &mut timeline.runs {
            run.share = share(run.ended_ms - run.began_ms, at_ms);
        }
        if timeline.kind == Kind::Cleaning {
            return None;
        }
        Some(self.last.insert(timeline))
    }

    /// Opens a timeline; that of a node that takes the role goes back to the last sign of life
    /// of the one before.
    fn open(&self, at: Stamp, from: State, reason: &str) -> Timeline {
        let kind = match from {
            State::Standby => Kind::Taking,
            _ => Kind::Giving,
        };
        let mut timeline = begin(at, kind, reason);
        let Some((master, silence_ms)) = self.master.filter(|_| kind == Kind::Taking) else {
            return timeline;
        };
        let waited = round(at.monotonic_ms - master.monotonic_ms);
        if !(0.0..=LONGEST_WAIT_MS).contains(&waited) {
            return timeline;
        }
        let silence = silence_ms.unwrap_or_default();
        if silence > 0.0 {
            timeline.cause = "no master was heard".to_owned();
        }
        timeline.began = before(at, waited + silence);
        let phases = [
            ("silence", 0.0, silence),
            ("waiting", silence, silence + waited),
        ];
        for (what, began_ms, ended_ms) in phases {
            if ended_ms > began_ms {
                timeline.phases.push(Phase {
                    what: what.to_owned(),
                    began_ms: round(began_ms),
                    ended_ms: round(ended_ms),
                });
            }
        }
        timeline
    }

    fn ran(&mut self, at: Stamp, step: &str, action: &str, result: Ended, took_ms: f64) {
        let standing = match (result, is_undoing(action)) {
            (Ended::Done, _) if action == "drain" => self.standing(step),
            (Ended::Done, false) => Standing::Done,
            (Ended::Done, true) => Standing::Undone,
            _ => Standing::Failed,
        };
        self.standings.insert(step.to_owned(), standing);
        let failure = self.failure.take();
        let reason = failure
            .filter(|(failed, what, _)| failed == step && *what == action)
            .map(|(.., reason)| reason);
        // Before the first change of state, the clean-up after the start.
        let timeline = self.under_way.get_or_insert_with(|| Timeline {
            began: before(at, took_ms),
            ..begin(at, Kind::Cleaning, "start")
        });
        if timeline.runs.len() >= MAX_RUNS {
            timeline.runs_left_out = timeline.runs_left_out.saturating_add(1);
            return;
        }
        let ended_ms = timeline.since_began(at);
        timeline.runs.push(Run {
            step: step.to_owned(),
            action: action.to_owned(),
            began_ms: round((ended_ms - took_ms).max(0.0)),
            ended_ms,
            result,
            reason,
            share: 0.0,
        });
    }

    /// Whether why a run failed or that it has ended is told first is not promised.
    fn failed(&mut self, step: &str, action: &'static str, reason: &str) {
        let runs = self.under_way.as_mut().map(|timeline| &mut timeline.runs);
        let last = runs.and_then(|runs| runs.last_mut());
        let told = last.filter(|run| {
            let same = run.step == step && run.action == action;
            same && run.result != Ended::Done && run.reason.is_none()
        });
        match told {
            Some(run) => run.reason = Some(reason.to_owned()),
            None => self.failure = Some((step.to_owned(), action, reason.to_owned())),
        }
    }
}

fn begin(at: Stamp, kind: Kind, cause: &str) -> Timeline {
    Timeline {
        began: at,
        kind,
        cause: cause.to_owned(),
        end: None,
        phases: Vec::new(),
        runs: Vec::new(),
        runs_left_out: 0,
    }
}

fn before(at: Stamp, ms: f64) -> Stamp {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "milliseconds, none below zero"
    )]
    let wall = Wall(at.at.0.saturating_sub(ms.max(0.0).round() as u64));
    Stamp {
        at: wall,
        monotonic_ms: round(at.monotonic_ms - ms),
    }
}

/// A part of a whole in percent, to a tenth; of nothing, there is none.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    match whole > 0.0 {
        true => (part / whole * 1e3).round() / 10.0,
        false => 0.0,
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers"
)]
pub(crate) mod tests {
    use super::*;

    /// This many milliseconds after the start of a program, which began at this second.
    pub(crate) fn at(monotonic_ms: f64) -> Stamp {
        let wall = 1_700_000_000_000.0 + monotonic_ms;
        Stamp {
            at: Wall(wall as u64),
            monotonic_ms,
        }
    }

    pub(crate) fn moved(from: State, to: State, reason: &str, took_ms: f64) -> UnitTold {
        UnitTold::State {
            from,
            to,
            reason: reason.to_owned(),
            took_ms,
        }
    }

    pub(crate) fn ran(step: &str, action: &'static str, took_ms: f64) -> UnitTold {
        UnitTold::StepFinished {
            step: step.to_owned(),
            action,
            result: Ended::Done,
            code: None,
            took_ms,
        }
    }

    fn failed(step: &str, action: &'static str, took_ms: f64) -> [UnitTold; 2] {
        let finished = UnitTold::StepFinished {
            step: step.to_owned(),
            action,
            result: Ended::Failed,
            code: Some(16),
            took_ms,
        };
        let why = UnitTold::StepFailed {
            step: step.to_owned(),
            action,
            reason: "busy".to_owned(),
        };
        [finished, why]
    }

    /// The unit is wanted here, after so long in standby.
    fn wanted(took_ms: f64) -> UnitTold {
        let reason = "the addresses are here";
        moved(State::Standby, State::Promoting, reason, took_ms)
    }

    /// Everything is undone, after so long.
    fn undone(took_ms: f64) -> UnitTold {
        let reason = "everything is undone";
        moved(State::Demoting, State::Standby, reason, took_ms)
    }

    /// What a node tells that takes over from one that has died.
    pub(crate) fn takes_over() -> Collector {
        let mut unit = Collector::default();
        unit.hear(at(10.0), &ran("address", "withdraw", 10.0));
        assert_eq!(unit.hear(at(20.0), &undone(20.0)), None);
        assert_eq!(unit.timeline(), None);
        unit.became_master(at(9400.0), Some(3400.0));
        unit.hear(at(9500.0), &wanted(9380.0));
        unit.hear(at(9600.0), &ran("files", "become-primary", 100.0));
        unit.hear(at(9850.0), &ran("/srv", "mount", 250.0));
        unit.hear(at(9900.0), &ran("address", "announce", 50.0));
        let done = moved(State::Promoting, State::Active, "all steps are done", 400.0);
        assert!(
            unit.hear(at(9900.0), &done)
                .is_some_and(Timeline::has_taken)
        );
        unit
    }

    #[test]
    fn a_takeover_begins_with_the_silence_before_it() {
        let unit = takes_over();
        let timeline = unit.timeline().unwrap();
        assert_eq!(timeline.kind, Kind::Taking);
        assert_eq!(timeline.cause, "no master was heard");
        assert_eq!(timeline.began, at(6000.0));
        let phases: Vec<_> = timeline
            .phases
            .iter()
            .map(|phase| (phase.what.as_str(), phase.began_ms, phase.ended_ms))
            .collect();
        assert_eq!(
            phases,
            [
                ("silence", 0.0, 3400.0),
                ("waiting", 3400.0, 3500.0),
                ("promoting", 3500.0, 3900.0)
            ]
        );
        let runs: Vec<_> = timeline
            .runs
            .iter()
            .map(|run| (run.step.as_str(), run.began_ms, run.ended_ms, run.share))
            .collect();
        assert_eq!(
            runs,
            [
                ("files", 3500.0, 3600.0, 2.6),
                ("/srv", 3600.0, 3850.0, 6.4),
                ("address", 3850.0, 3900.0, 1.3)
            ]
        );
        let end = timeline.end.as_ref().unwrap();
        assert_eq!((end.at_ms, end.state), (3900.0, State::Active));
        assert_eq!(timeline.first_undone_ms(), None);
        assert_eq!(unit.standing("/srv"), Standing::Done);
        assert_eq!(unit.standing("nothing"), Standing::Unknown);
    }

    #[test]
    fn a_role_given_away_tells_when_the_service_ended_and_what_failed() {
        let mut unit = takes_over();
        let drained = moved(State::Active, State::Draining, "command maintenance", 100.0);
        unit.hear(at(10_000.0), &drained);
        assert!(unit.goes_out_of_service());
        unit.hear(at(10_200.0), &ran("web", "drain", 200.0));
        unit.hear(
            at(10_200.0),
            &moved(State::Draining, State::Demoting, "all is drained", 200.0),
        );
        unit.hear(at(10_210.0), &ran("address", "withdraw", 10.0));
        // In either order.
        for told in failed("/srv", "unmount", 40.0) {
            unit.hear(at(10_250.0), &told);
        }
        assert_eq!(unit.standing("/srv"), Standing::Failed);
        for told in failed("/srv", "kill-and-unmount", 40.0).iter().rev() {
            unit.hear(at(10_290.0), told);
        }
        unit.hear(at(10_300.0), &ran("/srv", "force-unmount", 10.0));
        let timeline = unit
            .hear(at(10_300.0), &undone(100.0))
            .expect("it has ended");
        assert_eq!(timeline.kind, Kind::Giving);
        assert_eq!(timeline.first_undone_ms(), Some(200.0));
        assert_eq!(timeline.lasted_ms(), 300.0);
        let why: Vec<_> = timeline
            .runs
            .iter()
            .map(|run| run.reason.as_deref())
            .collect();
        assert_eq!(why, [None, None, Some("busy"), Some("busy"), None]);
        assert!(!timeline.has_taken());
        assert!(!unit.goes_out_of_service());
        for step in ["/srv", "files", "address"] {
            assert_eq!(unit.standing(step), Standing::Undone, "{step}");
        }
    }

    #[test]
    fn who_was_master_long_before_was_not_waiting() {
        let mut unit = Collector::default();
        unit.became_master(at(0.0), None);
        let begins = wanted(0.0);
        unit.hear(at(LONGEST_WAIT_MS + 1.0), &begins);
        assert_eq!(unit.timeline().unwrap().began, at(LONGEST_WAIT_MS + 1.0));
        // Nor is one who is not master.
        let mut unit = Collector::default();
        unit.became_master(at(0.0), Some(3000.0));
        unit.lost_master();
        unit.hear(at(5.0), &begins);
        assert_eq!(unit.timeline().unwrap().began, at(5.0));
    }

    #[test]
    fn a_step_that_is_tried_without_end_fills_nothing_up() {
        let mut unit = Collector::default();
        let begins = wanted(0.0);
        unit.hear(at(0.0), &begins);
        for count in 0..MAX_RUNS + 9 {
            unit.hear(at(count as f64), &ran("/srv", "mount", 0.5));
        }
        let timeline = unit.timeline().unwrap();
        assert_eq!(timeline.runs.len(), MAX_RUNS);
        assert_eq!(timeline.runs_left_out, 9);
        assert_eq!(timeline.end, None);
        assert_eq!(timeline.lasted_ms(), 255.0);
    }
}

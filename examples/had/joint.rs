//! The last failover of a unit as all nodes saw it, on one axis of time: how one gave the role
//! away, how another took it, and for how long the service was away.

use serde::{Deserialize, Serialize};

use super::events::Ended;
use super::moment::{Wall, round};
use super::timeline::{Kind, Timeline, share};

/// How long before the role was taken it may have been given away for that.
const LONGEST_GAP_MS: f64 = 60_000.0;

/// One node's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) node: &'a str,
    pub(crate) timeline: &'a Timeline,
    /// By how much the clock of that node is ahead of this one's.
    pub(crate) ahead_ms: f64,
}

impl Part<'_> {
    /// When it began by the clock of this node.
    fn began(&self) -> f64 {
        self.timeline.began.at.ms_since(Wall(0)) - self.ahead_ms
    }

    fn ended(&self) -> f64 {
        self.began() + self.timeline.lasted_ms()
    }
}

/// A failover. Times are milliseconds since it began.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Failover {
    pub(crate) unit: String,
    pub(crate) began: Wall,
    pub(crate) cause: String,
    /// Who gave the role away, as far as is known.
    pub(crate) from: Option<String>,
    /// Who took it, or tried to.
    pub(crate) to: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) lasted_ms: f64,
    /// For how long nobody served; nothing if nobody does yet.
    pub(crate) away_ms: Option<f64>,
    pub(crate) spans: Vec<Span>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    UnderWay,
    /// Some node serves.
    Taken,
    /// The role was given away, and nobody is known to have taken it.
    Given,
    Failed,
}

impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::UnderWay => "under way",
            Self::Taken => "taken",
            Self::Given => "given away",
            Self::Failed => "failed",
        })
    }
}

/// Something that took time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Span {
    pub(crate) node: String,
    /// The step; nothing where the node waited for others.
    pub(crate) step: Option<String>,
    /// What was done, or `silence`, `waiting`, `acquiring` and `releasing`.
    pub(crate) what: String,
    pub(crate) began_ms: f64,
    pub(crate) ended_ms: f64,
    pub(crate) result: Ended,
    pub(crate) reason: Option<String>,
    /// Its share of the whole, in percent.
    pub(crate) share: f64,
}

/// Puts together what belongs together of what the nodes tell of a unit.
pub(crate) fn last(unit: &str, parts: &[Part<'_>]) -> Option<Failover> {
    let newest = |kind| {
        let of_kind = parts.iter().filter(move |part| part.timeline.kind == kind);
        of_kind.max_by(|a, b| a.began().total_cmp(&b.began()))
    };
    match (newest(Kind::Giving), newest(Kind::Taking)) {
        (None, None) => None,
        (Some(given), None) => Some(join(unit, Some(given), None)),
        (None, Some(taken)) => Some(join(unit, None, Some(taken))),
        (Some(given), Some(taken)) => Some({
            let belong = given.node != taken.node
                && given.began() <= taken.ended()
                && taken.began() - given.ended() <= LONGEST_GAP_MS;
            match belong {
                true => join(unit, Some(given), Some(taken)),
                false if given.began() > taken.began() => join(unit, Some(given), None),
                false => join(unit, None, Some(taken)),
            }
        }),
    }
}

fn join(unit: &str, given: Option<&Part<'_>>, taken: Option<&Part<'_>>) -> Failover {
    let parts = || given.into_iter().chain(taken);
    let began = parts().map(Part::began).fold(f64::INFINITY, f64::min);
    let ended = parts().map(Part::ended).fold(began, f64::max);
    let lasted_ms = round(ended - began);
    let mut spans: Vec<Span> = parts()
        .flat_map(|part| spans(part, part.began() - began, lasted_ms))
        .collect();
    spans.sort_by(|a, b| a.began_ms.total_cmp(&b.began_ms));
    let serves = taken.filter(|part| part.timeline.has_taken());
    // Where nobody gave it away, whoever had it has died: from its last sign of life on.
    let leaves = given.and_then(|part| {
        let undone = part.timeline.first_undone_ms()?;
        Some(part.began() + undone)
    });
    let away = serves.map(|part| part.ended() - leaves.unwrap_or_else(|| part.began()));
    let outcome = match (serves, taken.or(given)) {
        (Some(_), _) => Outcome::Taken,
        (None, Some(part)) if part.timeline.end.is_none() => Outcome::UnderWay,
        (None, _) if taken.is_some() => Outcome::Failed,
        (None, _) => Outcome::Given,
    };
    let name = |part: Option<&Part<'_>>| part.map(|part| part.node.to_owned());
    let first = given.or(taken);
    Failover {
        unit: unit.to_owned(),
        began: wall(began),
        cause: first.map_or_else(String::new, |part| part.timeline.cause.clone()),
        from: name(given),
        to: name(taken),
        outcome,
        lasted_ms,
        away_ms: away.map(|ms| round(ms.max(0.0))),
        spans,
    }
}

/// What took time on a node, `shift` milliseconds after the whole began.
fn spans(part: &Part<'_>, shift: f64, whole_ms: f64) -> Vec<Span> {
    let span = |step: Option<&str>, what: &str, began_ms: f64, ended_ms: f64| Span {
        node: part.node.to_owned(),
        step: step.map(str::to_owned),
        what: what.to_owned(),
        began_ms: round(shift + began_ms),
        ended_ms: round(shift + ended_ms),
        result: Ended::Done,
        reason: None,
        share: share(ended_ms - began_ms, whole_ms),
    };
    let waits = |what: &str| matches!(what, "silence" | "waiting" | "acquiring" | "releasing");
    let phases = part.timeline.phases.iter();
    let waiting = phases
        .filter(|phase| waits(&phase.what))
        .map(|phase| span(None, &phase.what, phase.began_ms, phase.ended_ms));
    let steps = part.timeline.runs.iter().map(|run| Span {
        result: run.result,
        reason: run.reason.clone(),
        ..span(Some(&run.step), &run.action, run.began_ms, run.ended_ms)
    });
    waiting.chain(steps).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds, none below zero"
)]
fn wall(ms: f64) -> Wall {
    Wall(ms.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::State;
    use super::super::timeline::Collector;
    use super::super::timeline::tests::{at, moved, ran, takes_over};
    use super::*;

    /// Gives the role away, from 9300 to 9450 milliseconds.
    fn gives_away() -> Collector {
        let mut unit = Collector::default();
        let command = "command switch";
        unit.hear(
            at(9300.0),
            &moved(State::Active, State::Draining, command, 0.0),
        );
        unit.hear(at(9320.0), &ran("web", "drain", 20.0));
        let drained = moved(State::Draining, State::Demoting, "all is drained", 20.0);
        unit.hear(at(9320.0), &drained);
        unit.hear(at(9420.0), &ran("web", "stop", 100.0));
        unit.hear(at(9450.0), &ran("files", "become-secondary", 30.0));
        let undone = moved(
            State::Demoting,
            State::Standby,
            "everything is undone",
            130.0,
        );
        unit.hear(at(9450.0), &undone);
        unit
    }

    fn part<'a>(node: &'a str, unit: &'a Collector, ahead_ms: f64) -> Part<'a> {
        Part {
            node,
            timeline: unit.timeline().unwrap(),
            ahead_ms,
        }
    }

    #[test]
    fn after_a_crash_the_silence_counts() {
        let taken = takes_over();
        let failover = last("files", &[part("beta", &taken, 0.0)]).unwrap();
        assert_eq!(failover.outcome, Outcome::Taken);
        assert_eq!(
            (failover.from, failover.to),
            (None, Some("beta".to_owned()))
        );
        assert_eq!(failover.away_ms, Some(3900.0));
        assert_eq!(failover.lasted_ms, 3900.0);
        let spans: Vec<_> = failover
            .spans
            .iter()
            .map(|span| (span.what.as_str(), span.share))
            .collect();
        assert_eq!(
            spans,
            [
                ("silence", 87.2),
                ("waiting", 2.6),
                ("become-primary", 2.6),
                ("mount", 6.4),
                ("announce", 1.3)
            ]
        );
    }

    #[test]
    fn a_switch_over_is_put_together_of_both_nodes() {
        let (given, mut taken) = (gives_away(), Collector::default());
        // By a clock that is two seconds ahead.
        taken.became_master(at(11_430.0), None);
        let wanted = moved(
            State::Standby,
            State::Promoting,
            "the addresses are here",
            0.0,
        );
        taken.hear(at(11_460.0), &wanted);
        taken.hear(at(11_500.0), &ran("files", "become-primary", 40.0));
        let done = moved(State::Promoting, State::Active, "all steps are done", 40.0);
        taken.hear(at(11_500.0), &done);
        let parts = [part("alpha", &given, 0.0), part("beta", &taken, 2000.0)];
        let failover = last("files", &parts).unwrap();
        assert_eq!(failover.cause, "command switch");
        assert_eq!(failover.from.as_deref(), Some("alpha"));
        assert_eq!(failover.to.as_deref(), Some("beta"));
        // From the stop, not from the drain: 9320 to 9500.
        assert_eq!(failover.away_ms, Some(180.0));
        assert_eq!(failover.lasted_ms, 200.0);
        let spans: Vec<_> = failover
            .spans
            .iter()
            .map(|span| (&*span.node, &*span.what, span.began_ms, span.ended_ms))
            .collect();
        assert_eq!(
            spans,
            [
                ("alpha", "drain", 0.0, 20.0),
                ("alpha", "stop", 20.0, 120.0),
                ("alpha", "become-secondary", 120.0, 150.0),
                ("beta", "waiting", 130.0, 160.0),
                ("beta", "become-primary", 160.0, 200.0)
            ]
        );
    }

    #[test]
    fn what_is_long_ago_or_on_one_node_does_not_belong_together() {
        assert_eq!(last("files", &[]), None);
        let (given, taken) = (gives_away(), takes_over());
        let alone = last("files", &[part("alpha", &given, 0.0)]).unwrap();
        assert_eq!((alone.outcome, alone.away_ms), (Outcome::Given, None));
        // Taken an hour before.
        let parts = [part("alpha", &given, 0.0), part("beta", &taken, 3.6e6)];
        assert_eq!(last("files", &parts).unwrap().to, None);
        // Taken an hour later.
        let parts = [part("alpha", &given, 0.0), part("beta", &taken, -3.6e6)];
        assert_eq!(last("files", &parts).unwrap().from, None);
        let parts = [part("beta", &given, 0.0), part("beta", &taken, 0.0)];
        assert_eq!(last("files", &parts).unwrap().to, None);
    }

    #[test]
    fn a_failover_that_failed_or_goes_on_says_so() {
        let mut unit = Collector::default();
        let wanted = moved(
            State::Standby,
            State::Promoting,
            "the addresses are here",
            0.0,
        );
        unit.hear(at(0.0), &wanted);
        let going = last("files", &[part("beta", &unit, 0.0)]).unwrap();
        assert_eq!((going.outcome, going.away_ms), (Outcome::UnderWay, None));
        unit.hear(
            at(5.0),
            &moved(State::Promoting, State::Demoting, "step /srv failed", 5.0),
        );
        let undone = moved(State::Demoting, State::Standby, "everything is undone", 2.0);
        unit.hear(at(7.0), &undone);
        let failed = last("files", &[part("beta", &unit, 0.0)]).unwrap();
        assert_eq!((failed.outcome, failed.away_ms), (Outcome::Failed, None));
    }
}

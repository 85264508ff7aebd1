//! What outages consist of: the steps of the nodes, from their events, and what is left.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use serde_json::Value;

use super::network::Side;
use super::pair::{Outage, Pair};

/// One outage and what it consists of.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) outage: Duration,
    /// For how long the host of this machine kept its processors from work while it was waited for.
    pub(crate) stolen: Duration,
    /// How long each step was done within it.
    pub(crate) steps: BTreeMap<Part, Duration>,
}

/// A part of an outage, in the order in which they are shown.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Part {
    /// Whether the node that served before did it, or the one that does now.
    is_new: bool,
    action: String,
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let node = if self.is_new { "new" } else { "old" };
        write!(f, "{node}: {}", self.action)
    }
}

/// Looks up what the nodes did in an outage after which `new` serves.
pub(crate) fn measure(pair: &Pair, outage: Outage, stolen: Duration, new: Side) -> Measured {
    let (wall, now) = (SystemTime::now(), Instant::now());
    let begin = wall - now.duration_since(outage.from);
    let window = [begin, begin + outage.length];
    let mut steps = BTreeMap::new();
    for side in Side::BOTH {
        for event in pair.node(side).events() {
            let Some((action, span)) = step(&event) else {
                continue;
            };
            let (from, to) = (span[0].max(window[0]), span[1].min(window[1]));
            let Ok(inside) = to.duration_since(from) else {
                continue;
            };
            let is_new = side == new;
            *steps.entry(Part { is_new, action }).or_default() += inside;
        }
    }
    Measured {
        outage: outage.length,
        stolen,
        steps,
    }
}

/// What a step did, from when to when.
fn step(event: &Value) -> Option<(String, [SystemTime; 2])> {
    if event["event"] != "step-finished" {
        return None;
    }
    let ended = humantime::parse_rfc3339(event["at"].as_str()?).ok()?;
    let took = Duration::try_from_secs_f64(event["took_ms"].as_f64()? / 1e3).ok()?;
    let name = format!("{} {}", event["action"].as_str()?, event["step"].as_str()?);
    Some((name, [ended - took, ended]))
}

/// All outages of a kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages {
    all: Vec<Measured>,
}

impl Outages {
    pub(crate) fn push(&mut self, measured: Measured) {
        self.all.push(measured);
    }

    pub(crate) fn all(&self) -> &[Measured] {
        &self.all
    }

    /// The most that was stolen while one was waited for, in milliseconds.
    fn most_stolen(&self) -> u128 {
        let stolen = self.all.iter().map(|measured| measured.stolen);
        stolen.max().unwrap_or_default().as_millis()
    }

    /// Milliseconds at this part of all, counted from the shortest.
    fn quantile(&self, part: usize) -> u128 {
        let mut lengths: Vec<_> = self.all.iter().map(|measured| measured.outage).collect();
        lengths.sort();
        let at = ((lengths.len() * part).div_ceil(100)).saturating_sub(1);
        lengths.get(at).map_or(0, Duration::as_millis)
    }

    /// The mean time of each part, and of what no step takes.
    fn parts(&self) -> Vec<(String, f64)> {
        let count = self.all.len() as f64;
        let mut parts: BTreeMap<&Part, f64> = BTreeMap::new();
        let mut rest = 0.0;
        for measured in &self.all {
            rest += measured.outage.as_secs_f64();
            for (part, time) in &measured.steps {
                *parts.entry(part).or_default() += time.as_secs_f64();
                rest -= time.as_secs_f64();
            }
        }
        let parts = parts
            .into_iter()
            .map(|(part, time)| (part.to_string(), time));
        let rest = ("elect, notice, connect".to_owned(), rest);
        [rest]
            .into_iter()
            .chain(parts)
            .map(|(part, time)| (part, time / count * 1e3))
            .collect()
    }
}

/// A table: a line for each kind, with the most that was stolen while one of its outages was waited for;
/// and below it the mean share of each step.
pub(crate) fn print<K: Display>(title: &str, kinds: &BTreeMap<K, Outages>) {
    println!("\n{title}: outages seen by the clients, in milliseconds\n");
    println!(
        "| {:<28} | {:>4} | {:>6} | {:>6} | {:>6} | {:>6} | {:>6} |",
        "event", "runs", "min", "median", "p95", "max", "stolen"
    );
    println!(
        "|{:-<30}|{:->6}|{:->8}|{:->8}|{:->8}|{:->8}|{:->8}|",
        "", ":", ":", ":", ":", ":", ":"
    );
    for (kind, outages) in kinds {
        println!(
            "| {:<28} | {:>4} | {:>6} | {:>6} | {:>6} | {:>6} | {:>6} |",
            kind.to_string(),
            outages.all.len(),
            outages.quantile(1),
            outages.quantile(50),
            outages.quantile(95),
            outages.quantile(100),
            outages.most_stolen()
        );
    }
    println!("\nThe mean share of each step, in milliseconds:\n");
    for (kind, outages) in kinds {
        println!("{kind}");
        let parts = outages.parts();
        let total: f64 = parts.iter().map(|(_, time)| time).sum();
        for (part, time) in parts.iter().filter(|(_, time)| *time >= 0.5) {
            println!("    {time:>7.1}  {:>3.0} %  {part}", time / total * 100.0);
        }
    }
}

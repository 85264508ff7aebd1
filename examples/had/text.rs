//! The status for people at a terminal.

use core::fmt::{self, Write};

use super::admit::plain;
use super::joint::{Failover, Outcome};
use super::overview::{Overview, Peer};
use super::snapshot::{Data, Differing, Resource, Snapshot, Split, Standing, State, Storage, Unit};

/// How wide the column of steps may be.
const WIDEST: usize = 60;

/// All nodes, and the last failover of each unit.
pub(crate) fn status(overview: &Overview) -> String {
    let mut text = String::new();
    // Nothing fails that writes to a string.
    let _ = write_status(&mut text, overview);
    text
}

/// One failover.
pub(crate) fn last(last: &Failover) -> String {
    let mut text = String::new();
    // Nothing fails that writes to a string.
    let _ = failover(&mut text, last);
    text
}

fn write_status(out: &mut String, overview: &Overview) -> fmt::Result {
    node(out, &overview.own, "")?;
    for peer in &overview.peers {
        writeln!(out)?;
        match &peer.seen {
            Some(seen) => {
                let age = duration(seen.age_ms);
                let stale = if seen.stale { ", STALE" } else { "" };
                node(out, &seen.snapshot, &format!(", {age} ago{stale}"))?;
            }
            None => writeln!(out, "{}: nothing is known", plain(&peer.node.name))?,
        }
        if let Peer {
            error: Some(error), ..
        } = peer
        {
            line(out, "asked", &plain(error))?;
        }
    }
    for last in &overview.failovers {
        writeln!(out)?;
        failover(out, last)?;
    }
    Ok(())
}

fn node(out: &mut String, snapshot: &Snapshot, age: &str) -> fmt::Result {
    let name = plain(&snapshot.node.name);
    writeln!(out, "{name} (node {}){age}", snapshot.node.id)?;
    let demotion = &snapshot.demotion;
    if demotion.level != 0 {
        let reasons = demotion.reasons.iter();
        let reasons = list(reasons.map(|it| format!("{} by {}", plain(&it.name), it.amount)));
        line(out, "demoted", &format!("by {}: {reasons}", demotion.level))?;
    }
    for (door, reason) in &snapshot.closed {
        let text = format!("{} at {}", plain(door), plain(reason));
        line(out, "NOT OPEN", &text)?;
    }
    for one in &snapshot.units {
        unit(out, one)?;
    }
    Ok(())
}

fn unit(out: &mut String, unit: &Unit) -> fmt::Result {
    let service = if unit.maintenance {
        ", out of service"
    } else {
        ""
    };
    writeln!(out, "  {}: {}{service}", plain(&unit.name), unit.state)?;
    if let Some(blocked) = &unit.blocked {
        line(out, "not active", &plain(blocked))?;
    }
    if !unit.causes.is_empty() {
        let causes = unit.causes.iter().map(|cause| plain(cause));
        line(out, "demoted", &list(causes))?;
    }
    for group in &unit.addresses {
        let addresses = list(group.addresses.iter().map(ToString::to_string));
        let serving = match (&group.failed, group.serving.is_empty()) {
            (Some(effect), _) => format!(", {} FAILED", plain(effect)),
            (None, true) => String::new(),
            (None, false) => ", served here".to_owned(),
        };
        let (interface, role) = (plain(&group.interface), plain(&group.role));
        let vhid = group.vhid;
        let text = format!("{addresses}: {role} of {vhid}@{interface}{serving}");
        line(out, "address", &text)?;
    }
    if let Some(storage) = &unit.storage {
        line(out, "storage", &stored(storage))?;
        let resource = storage.resource.as_ref();
        if let Some(split) = resource.and_then(|resource| resource.split) {
            line(out, "SPLIT BRAIN", &told_split(split))?;
        }
    }
    if unit.state != State::Standby {
        for step in &unit.steps {
            let standing = match step.standing {
                Standing::Unknown => "not known",
                Standing::Done => "done",
                Standing::Undone => "undone",
                Standing::Failed => "FAILED",
                Standing::LeftOut => "LEFT OUT",
            };
            line(
                out,
                "step",
                &format!("{} {}: {standing}", step.kind, plain(&step.name)),
            )?;
        }
    }
    for running in &unit.running {
        let how = match (running.cancelled, running.left_ms) {
            (true, _) => "cancelled, and has not ended".to_owned(),
            (false, left) => format!("{} left", duration(left.max(0.0))),
        };
        let (step, action) = (plain(&running.step), plain(&running.action));
        line(out, "running", &format!("{step}: {action}, {how}"))?;
    }
    for check in &unit.checks {
        let verdict = if check.good { "well" } else { "NOT WELL" };
        let error = match &check.error {
            Some(error) => format!(" ({})", plain(error)),
            None => String::new(),
        };
        line(
            out,
            "check",
            &format!("{}: {verdict}{error}", plain(&check.name)),
        )?;
    }
    Ok(())
}

fn stored(storage: &Storage) -> String {
    let peer = match storage.peer.as_str() {
        "disconnected" => "no peer connected".to_owned(),
        role => format!("peer {}", plain(role)),
    };
    let waits = if storage.waits {
        ", waits for the arbiter"
    } else {
        ""
    };
    let role = plain(&storage.role);
    let mut text = format!("{role}, {}, {peer}{waits}", storage.data);
    if let Data::Synchronising { done, total } = storage.data {
        let _ = write!(text, " ({} of {})", size(done), size(total));
    }
    if let Some(resource) = &storage.resource {
        text.push_str(&replicated(resource));
    }
    text
}

fn replicated(resource: &Resource) -> String {
    let (replication, remote) = (plain(&resource.replication), plain(&resource.remote));
    let mut text = format!("; {replication} to {remote}");
    // Nothing fails that writes to a string.
    let _ = match (resource.copying, resource.in_sync) {
        (Some(copying), _) => {
            let left = match copying.estimate_ms {
                Some(ms) => format!(", about {}", duration(ms)),
                None => String::new(),
            };
            let to = if copying.from_peer {
                "here"
            } else {
                "to the peer"
            };
            write!(text, ", copying {to}: {} left{left}", size(copying.left))
        }
        (None, Some(true)) => write!(text, ", in sync"),
        (None, Some(false)) => write!(text, ", NOT in sync, {} to copy", size(resource.to_copy)),
        (None, None) => Ok(()),
    };
    text
}

fn told_split(split: Split) -> String {
    let differing = |it: Differing| format!("{} extents ({})", it.extents, size(it.octets));
    let there = split
        .there
        .map_or_else(|| "not known".to_owned(), differing);
    let here = differing(split.here);
    format!(" marked here: {here}; on the other node: {there}")
}

fn failover(out: &mut String, last: &Failover) -> fmt::Result {
    let side = |word, node: &Option<String>| match node {
        Some(node) => format!(" {word} {}", plain(node)),
        None => String::new(),
    };
    let nodes = side("from", &last.from) + &side("to", &last.to);
    let away = match last.away_ms {
        Some(ms) => format!(", {} without service", duration(ms)),
        None => String::new(),
    };
    let (unit, outcome, cause) = (plain(&last.unit), last.outcome, plain(&last.cause));
    writeln!(out, "{unit}: last failover{nodes}: {outcome}{away}")?;
    if last.outcome != Outcome::UnderWay {
        line(out, "lasted", &duration(last.lasted_ms))?;
    }
    line(out, "began", &format!("{} ({cause})", last.began))?;
    let names = last.spans.iter().map(|span| {
        let step = span.step.as_deref().map(plain);
        let name = step.map_or(String::new(), |step| format!("{step}: "));
        format!("{}: {name}{}", plain(&span.node), plain(&span.what))
    });
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    // A name that is longer than any of ours stands out, and makes no other line long.
    let width = width.unwrap_or_default().min(WIDEST);
    for (span, name) in last.spans.iter().zip(names) {
        let took = duration(span.ended_ms - span.began_ms);
        let result = match (&span.reason, span.result) {
            (Some(reason), result) => format!("  {result}: {}", plain(reason)),
            (None, super::events::Ended::Done) => String::new(),
            (None, result) => format!("  {result}"),
        };
        writeln!(
            out,
            "    {name:width$}  {took:>8}  {:>5.1} %{result}",
            span.share
        )?;
    }
    Ok(())
}

fn line(out: &mut String, name: &str, text: &str) -> fmt::Result {
    writeln!(out, "    {name:<11}{text}")
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// A time in the unit in which people would say it.
pub(crate) fn duration(ms: f64) -> String {
    match ms {
        ..1.0 => format!("{ms:.2} ms"),
        ..1e3 => format!("{ms:.0} ms"),
        ..100e3 => format!("{:.2} s", ms / 1e3),
        ..7200e3 => format!("{:.0} min", ms / 60e3),
        _ => format!("{:.1} h", ms / 3600e3),
    }
}

/// An amount of data in the unit in which people would say it.
#[expect(clippy::cast_precision_loss, reason = "for looking at")]
pub(crate) fn size(octets: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if octets < 1024 {
        return format!("{octets} B");
    }
    let mut size = octets as f64;
    let mut unit = "B";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_status_is_told_line_by_line() {
        let text = status(&fixture::overview());
        let expected = include_str!("fixture/status.txt");
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_split_brain_is_told_with_what_an_operator_decides_by() {
        let mut overview = fixture::overview();
        let storage = overview.own.units[0].storage.as_mut().unwrap();
        let differing = |extents| Differing {
            extents,
            octets: u64::from(extents) << 21,
        };
        let (here, there) = (differing(3), None);
        let resource = storage.resource.as_mut().unwrap();
        resource.split = Some(Split { here, there });
        let text = status(&overview);
        let line = "SPLIT BRAIN marked here: 3 extents (6.0 MiB); on the other node: not known";
        assert!(text.contains(line), "{text}");
        let there = Some(differing(8));
        let told = told_split(Split { here, there });
        assert!(told.ends_with("on the other node: 8 extents (16.0 MiB)"));
    }

    #[test]
    fn what_moves_a_cursor_does_not_reach_the_terminal() {
        let mut overview = fixture::overview();
        overview.own.node.name = "a\u{1b}[2Jb\n".to_owned();
        let text = status(&overview);
        assert!(text.starts_with("a?[2Jb? (node 0)\n"), "{text}");
    }

    #[test]
    fn times_and_sizes_are_as_people_say_them() {
        let times = [0.25, 12.4, 3400.0, 600e3, 36e6].map(duration);
        assert_eq!(times, ["0.25 ms", "12 ms", "3.40 s", "10 min", "10.0 h"]);
        let sizes = [17, 4096, 1 << 30, (5 << 40) / 2, u64::MAX].map(size);
        assert_eq!(sizes, ["17 B", "4.0 KiB", "1.0 GiB", "2.5 TiB", "16.0 EiB"]);
    }
}

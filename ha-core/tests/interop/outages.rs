//! What the benchmark `outages` measures, with fewer runs.

use core::time::Duration;

use crate::SECONDS;
use crate::network::Lab;
use crate::network::busy::Busy;
use crate::network::outage::{Cost, Figures, Group, ROWS, Rig};

/// The hosts leave at times that are spread evenly over an interval, so that even the median of
/// a few says something.
const RUNS: usize = 5;

/// Checks the rows that promise something and are as slow as that.
fn check(slow: bool) {
    for row in ROWS
        .iter()
        .filter(|row| row.limits.is_any() && row.is_slow() == slow)
    {
        let costs = row.run(Lab::alone(2), RUNS);
        println!(
            "{}, {}: {:?}",
            row.leave,
            row.group,
            Figures::of(costs.clone())
        );
        let figures = Figures::of(costs.into_iter().map(Cost::of_daemons).collect());
        let broken = figures.broken(row.limits);
        assert!(
            broken.is_empty(),
            "{}, {}: {broken:?}",
            row.leave,
            row.group
        );
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn slow_outages_are_as_short_as_promised() {
    check(true);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn fast_outages_are_as_short_as_promised() {
    check(false);
}

/// Lets a group rest, in which nothing may change.
fn rest(mut rig: Rig, group: Group, time: Duration) {
    let rest = rig.rest(time);
    println!("{group}: {rest:?}");
    assert_eq!(rest.changes(), 0, "{group}: {rest:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_changes_in_a_minute_at_rest() {
    let group = Group::Carp;
    rest(Rig::new(Lab::new(2), group, &[]), group, SECONDS * 60);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_changes_in_a_minute_at_rest_with_intervals_of_100_ms() {
    let group = Group::FastCarp(25, 26);
    rest(Rig::new(Lab::new(2), group, &[]), group, SECONDS * 60);
}

/// One group after the other, with six busy loops. The benchmark has them for a minute each, those
/// with the shortest intervals also at rest: here they would notice what other tests do.
///
/// A virtual machine may stand still for longer than a backup waits. No daemon can keep its role
/// then; such a time says nothing, and another one is watched.
#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_changes_on_busy_processors() {
    const TRIES: usize = 10;
    for group in [
        Group::Carp,
        Group::FastCarp(25, 26),
        Group::FastCarp(1, 2),
        Group::Vrrp(1),
    ] {
        let kept = (0..TRIES).any(|_| {
            let mut rig = Rig::new(Lab::alone(2), group, &[]);
            let _busy = Busy::start();
            let rest = rig.rest(SECONDS * 10);
            println!("{group}: {rest:?}");
            assert!(
                rest.changes() == 0 || rest.stalled >= group.patience(),
                "{group}, which bears {:?}: {rest:?}",
                group.patience()
            );
            rest.changes() == 0
        });
        assert!(
            kept,
            "{group}: the machine stood still in {TRIES} of {TRIES} runs"
        );
    }
}

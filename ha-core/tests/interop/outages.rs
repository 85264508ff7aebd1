//! What the benchmark `outages` measures, with fewer runs.

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

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_changes_at_rest() {
    let mut rig = Rig::new(Lab::new(2), Group::FastCarp(25, 26), &[]);
    let (changes, _) = rig.rest(SECONDS * 60);
    assert_eq!(changes, 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_changes_on_busy_processors() {
    let mut rig = Rig::new(Lab::alone(2), Group::FastCarp(25, 26), &[]);
    let _busy = Busy::start();
    let (changes, _) = rig.rest(SECONDS * 10);
    assert_eq!(changes, 0);
}

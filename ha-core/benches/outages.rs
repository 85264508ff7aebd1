//! How long a client goes without an answer when the host leaves that it talks to: `carpd` of
//! this project beside `ucarp` and `keepalived`, in network namespaces on this machine.
//!
//!     cargo bench -p ha-core --all-features --bench outages
//!
//! Needs Linux, root, `ucarp` and `keepalived`, a quiet machine, and half an hour. To make it
//! shorter, set `OUTAGE_RUNS=3`, or name what is wanted: `-- crash`, `-- ucarp`, `-- stability`.
//! An outage is the time between the last question before the event that was answered and the
//! first one after it, at one question per millisecond; `client` is the most that the client added
//! to one by being late itself.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "waiting for daemons is limited")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that fails stops the program"
)]

#[path = "../tests/network/mod.rs"]
#[allow(dead_code, reason = "what the benchmark does not use, the tests do")]
mod network;

use core::time::Duration;
use std::process::ExitCode;
use std::{env, thread};

use network::Lab;
use network::busy::Busy;
use network::outage::{Figures, Group, ROWS, Rig, Row};

/// The groups whose roles must stay as they are, and how long for each run of the others.
const STABLE: [Group; 4] = [
    Group::Carp,
    Group::FastCarp(25, 26),
    Group::FastCarp(1, 2),
    Group::Vrrp(1),
];
const REST: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let runs = env::var("OUTAGE_RUNS").map_or(20, |runs| runs.parse().expect("a number of runs"));
    // `cargo bench` adds `--bench`.
    let words: Vec<_> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let rows = ROWS
        .iter()
        .filter(|row| is_wanted(&format!("{}, {}", row.leave, row.group)));
    let mut met = true;
    println!(
        "{:<12} {:<26} {:>4} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "event", "who", "runs", "min", "median", "p95", "max", "client"
    );
    let (slow, fast): (Vec<_>, Vec<_>) = rows.partition(|row| row.is_slow());
    // Seconds are not disturbed by a few more milliseconds of work: up to three at a time.
    for rows in slow.chunks(3) {
        let figures: Vec<_> = thread::scope(|scope| {
            let start = |row: &&'static Row| {
                let row = *row;
                scope.spawn(move || row.run(Lab::new(2), runs))
            };
            let threads: Vec<_> = rows.iter().map(start).collect();
            let figures = threads.into_iter().map(|thread| thread.join());
            figures
                .map(|costs| Figures::of(costs.expect("a row")))
                .collect()
        });
        for (row, figures) in rows.iter().zip(figures) {
            met &= print(row, &figures);
        }
    }
    for row in fast {
        met &= print(row, &Figures::of(row.run(Lab::new(2), runs)));
    }
    let rest = REST * u32::try_from(runs).expect("a small number");
    let wanted = |group: &&Group| is_wanted(&format!("stability, {group}"));
    for (number, group) in STABLE.iter().filter(wanted).enumerate() {
        if number == 0 {
            println!("\nrole changes in {rest:?}, and the longest time without an answer");
        }
        met &= stability(*group, rest);
    }
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints how often roles change that should not. Returns whether it is never where that is
/// promised: with the priority that `carpd` takes by itself.
fn stability(group: Group, rest: Duration) -> bool {
    let mut met = true;
    for options in [&[][..], &["--realtime", "0"]] {
        let mut rig = Rig::new(Lab::new(2), group, options);
        let (at_rest, longest_at_rest) = rig.rest(rest);
        let busy = Busy::start();
        let (under_load, longest_under_load) = rig.rest(rest);
        drop(busy);
        met &= !options.is_empty() || (at_rest == 0 && under_load == 0);
        println!(
            "{:<26} {:<14} at rest {at_rest}, {longest_at_rest:.1?}; \
             six busy loops {under_load}, {longest_under_load:.1?}",
            group.to_string(),
            options.join(" ")
        );
    }
    met
}

/// Prints a row. Returns whether it is as promised.
fn print(row: &Row, figures: &Figures) -> bool {
    let broken = figures.broken(row.limits);
    let verdict = match (row.limits.is_any(), broken.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "met".to_owned(),
        (true, false) => format!("NOT MET: {}", broken.join(", ")),
    };
    let kept = match figures.kept_address {
        0 => String::new(),
        kept => format!("both had the address in {kept}"),
    };
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    println!(
        "{:<12} {:<26} {:>4} {:>10} {:>10} {:>10} {:>10} {:>10}  {verdict}{kept}",
        row.leave.to_string(),
        row.group.to_string(),
        figures.runs,
        millis(figures.min),
        millis(figures.median),
        millis(figures.p95),
        millis(figures.max),
        millis(figures.jitter),
    );
    broken.is_empty()
}

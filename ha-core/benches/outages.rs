//! How long a client goes without an answer when the host leaves that it talks to: `carpd` of
//! this project beside `ucarp` and `keepalived`, in network namespaces on this machine.
//!
//!     cargo bench -p ha-core --all-features --bench outages
//!
//! Needs Linux, root, `ucarp` and `keepalived`, a quiet machine, and about 15 minutes;
//! `OUTAGE_RUNS=3` makes it shorter. An outage is the time between the last question before the
//! event that was answered and the first one after it, at one question per millisecond.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "waiting for daemons is limited")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that fails stops the program"
)]

#[path = "../tests/lab/mod.rs"]
#[allow(dead_code, reason = "what the benchmark does not use, the tests do")]
mod lab;

use core::time::Duration;
use std::process::ExitCode;
use std::{env, thread};

use lab::Lab;
use lab::busy::Busy;
use lab::outage::{Figures, Group, ROWS, Rig, Row};

/// How long the roles must stay as they are.
const REST: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let runs = env::var("OUTAGE_RUNS").map_or(20, |runs| runs.parse().expect("a number of runs"));
    println!(
        "{:<12} {:<26} {:>4} {:>10} {:>10} {:>10} {:>10} {:>8}  promised",
        "event", "who", "runs", "min", "median", "p95", "max", "client"
    );
    let mut met = true;
    let (slow, fast): (Vec<_>, Vec<_>) = ROWS.iter().partition(|row| row.is_slow());
    // Seconds are not disturbed by a few more milliseconds of work: up to three at a time.
    for rows in slow.chunks(3) {
        let figures: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = rows
                .iter()
                .map(|row: &&Row| scope.spawn(|| row.run(Lab::new(2), runs)))
                .collect();
            let figures = threads.into_iter().map(|thread| thread.join());
            figures.map(|figures| figures.expect("figures")).collect()
        });
        for (row, figures) in rows.iter().zip(figures) {
            met &= print(row, &figures);
        }
    }
    for row in fast {
        met &= print(row, &row.run(Lab::new(2), runs));
    }

    println!("\nrole changes, and the longest time without an answer, in {REST:?}");
    for group in [
        Group::Carp,
        Group::FastCarp(25, 26),
        Group::FastCarp(1, 2),
        Group::Vrrp(1),
    ] {
        for options in [&[][..], &["--realtime", "10"]] {
            let mut rig = Rig::new(Lab::new(2), group, options);
            let rest = rig.rest(REST);
            let busy = Busy::start();
            let load = rig.rest(REST);
            drop(busy);
            let group = group.to_string();
            let options = options.join(" ");
            println!("{group:<26} {options:<14} at rest {rest:?}, six busy loops {load:?}");
        }
    }
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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
        "{:<12} {:<26} {:>4} {:>10} {:>10} {:>10} {:>10} {:>8}  {verdict}{kept}",
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

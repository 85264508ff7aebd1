//! The laboratory and what is tried in it.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test waits for processes and fails by a panic"
)]

mod apart;
mod arbiter;
mod audit;
mod client;
mod disk;
mod failovers;
#[allow(
    dead_code,
    unused_imports,
    reason = "neither `main` nor the unit tests of had are run here"
)]
#[path = "../../../had/main.rs"]
mod had;
#[allow(
    dead_code,
    unused_imports,
    reason = "neither `main` nor the unit tests of an example are run here"
)]
#[path = "../../../hast_extents.rs"]
mod hast_extents;
mod machine;
#[path = "../../../../ha-core/tests/network/namespace.rs"]
mod namespace;
mod network;
mod node;
mod pair;
mod partitions;
mod report;
mod service;
mod split_brain;
mod stolen;

use core::time::Duration;
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};

use self::node::Settings;

/// How often something is done, unless the environment says otherwise.
const FAILOVERS: usize = 12;
const PARTITIONS: usize = 6;

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("init") => return machine::init(),
        Some("had") => return had::start(env::args_os().skip(1)),
        Some(word) if word.starts_with("service") => return service::main(&words),
        _ => {}
    }
    let mut trials = audit::trials();
    for replication in ["fullsync", "memsync"] {
        let settings = Settings {
            replication,
            arbiter: false,
        };
        let count = count("HAD_FAILOVERS", FAILOVERS);
        trials.push(trial(&format!("failovers_{replication}"), move || {
            failovers::run(settings, count);
        }));
    }
    let settings = Settings {
        replication: "fullsync",
        arbiter: false,
    };
    trials.push(trial("a_node_that_starts_apart_waits", move || {
        apart::run(settings);
    }));
    for loser in network::Side::BOTH {
        let name = format!("a_split_brain_is_found_and_{}_gives_way", loser.name());
        trials.push(trial(&name, move || {
            split_brain::run(settings, loser);
        }));
    }
    let settings = Settings {
        arbiter: true,
        ..settings
    };
    let count = count("HAD_PARTITIONS", PARTITIONS);
    trials.push(trial("partitions_with_etcd", move || {
        partitions::run(settings, count);
    }));
    let mut arguments = Arguments::from_args();
    // They measure, so they do it one after the other.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn count(variable: &str, usual: usize) -> usize {
    let count = env::var(variable).ok();
    count.map_or(usual, |count| count.parse().expect("a number"))
}

/// A test that fails by a panic, and needs root.
fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let test = move || {
        test();
        Ok(())
    };
    Trial::test(name, test).with_ignored_flag(true)
}

/// Waits until something is so, and panics with what `why` says if that takes too long.
fn wait_for(limit: Duration, why: impl FnOnce() -> String, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        if begin.elapsed() > limit {
            panic!("waited {limit:?} in vain for {}", why());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

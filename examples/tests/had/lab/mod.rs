//! The laboratory and what is tried in it.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test waits for processes and fails by a panic"
)]

mod client;
mod machine;
#[path = "../../../../ha-core/tests/network/namespace.rs"]
mod namespace;
mod network;
mod service;

use core::time::Duration;
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("init") => return machine::init(),
        Some(word) if word.starts_with("service") => return service::main(&words),
        _ => {}
    }
    let trials = vec![trial("smoke", smoke)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
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

fn smoke() {
    use machine::Machine;
    use network::{Flow, Link, Network, Side};
    use std::process::Command;
    let network = Network::new();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let alpha = Machine::boot(&network, Side::Alpha);
    let beta = Machine::boot(&network, Side::Beta);
    let me = env::current_exe().unwrap();
    let log = dir.path().join("log");
    let act = |machine: &Machine, words: &[&str]| {
        let mut command = Command::new(&me);
        command.args(words);
        if words[0] == "service-start" {
            command.arg(&log);
        }
        let out = machine.run(command);
        eprintln!("{out:?}");
    };
    alpha.namespace().ip("addr add 192.0.2.100/24 dev eth0");
    act(&alpha, &["service-start", "0"]);
    let client = client::Client::start(&network, Side::Alpha);
    let other = client::Client::start(&network, Side::Beta);
    eprintln!("{}", network.debug());
    let counts = |what: &str| {
        eprintln!("{what} {} {}", client.count(), other.count());
        thread::sleep(Duration::from_secs(1));
    };
    counts("start");
    network.cut(Link::Service, Flow::Both);
    counts("cut");
    network.heal(Link::Service);
    counts("healed");
    act(&alpha, &["service-stop"]);
    counts("stopped");
    let mut ps = Command::new("ps");
    ps.arg("ax");
    eprintln!("{}", String::from_utf8_lossy(&alpha.run(ps).stdout));
    alpha.crash(&network);
    beta.namespace().ip("addr add 192.0.2.100/24 dev eth0");
    act(&beta, &["service-start", "1"]);
    counts("moved");
    counts("end");
    eprintln!("{:?} {}", client.last(), client.dump().unwrap().len());
}

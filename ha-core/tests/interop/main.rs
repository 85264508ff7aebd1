#![expect(clippy::disallowed_methods, reason = "waiting for daemons is limited")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this is how a test fails"
)]

#[path = "../lab/mod.rs"]
#[allow(dead_code, reason = "what the tests do not use, the benchmark does")]
mod lab;

use lab::Lab;
use lab::outage::{Group, Leave, Rig};

#[test]
#[ignore = "x"]
fn dev() {
    for (g,l) in [(Group::Ucarp, Leave::Crash), (Group::Ucarp, Leave::Stop), (Group::Ucarp, Leave::Kill),
      (Group::Keepalived(100), Leave::Crash), (Group::Keepalived(10), Leave::Crash), (Group::Keepalived(1), Leave::Crash), (Group::Keepalived(1), Leave::Stop), (Group::Keepalived(100), Leave::Kill)] {
        let mut rig = Rig::new(Lab::new(2), g, &[]);
        for _ in 0..2 { eprintln!("{g} {l} {:?}", rig.measure(l)); }
    }
}

//! Two nodes in virtual time: seeded faults of network, disks and power, and what must never
//! happen whatever they are.
//!
//! `HAST_SEED=17 cargo test -p hast-proto --test simulation -- --nocapture one_seed` shows one
//! run; `HAST_SEEDS=100000` makes the long test longer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/world.rs"]
mod world;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use world::{Seen, World};

/// Runs a world to its end, and checks what holds there.
fn simulate(world: &mut World) {
    world.run();
    // Both data areas are equal, and hold what was promised.
    let [a, b] = &world.nodes;
    for (sector, (left, right)) in a.disk.view.iter().zip(&b.disk.view).enumerate() {
        assert_eq!(left, right, "sector {sector} differs at the end");
        assert!(
            world.client.may_be(sector, *left),
            "sector {sector} holds {left} at the end, which was not promised"
        );
    }
    world.part_and_meet();
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    let seeds = environment("HAST_SEEDS").unwrap_or(1000);
    let mut seen = Seen::default();
    let mut total = [0; 4];
    for seed in 0..seeds {
        let mut world = World::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| simulate(&mut world)));
        assert!(result.is_ok(), "seed {seed}: HAST_SEED={seed} shows it");
        for (what, count) in world.seen.0 {
            *seen.0.entry(what).or_default() += count;
        }
        let client = &world.client;
        for (sum, count) in total.iter_mut().zip([
            client.acknowledged,
            client.failed,
            client.read,
            client.read_failed,
        ]) {
            *sum += count;
        }
    }
    println!("acknowledged, failed, read, not read: {total:?}\n{seen:#?}");
    // Each "never" above has a "sometimes": what takes long to come up only in a long run.
    let often = [
        "attached",
        "attempt failed",
        "connected",
        "discard: crash before the file was whole",
        "discarded",
        "copy done",
        "copy failed",
        "copy from the peer",
        "copy to the peer",
        "failover",
        "local failed, peer complete",
        "local failed, peer incomplete",
        "local read failed",
        "local write failed",
        "marks checked",
        "network cut",
        "nobody wrote alone",
        "one wrote alone",
        "peer closed",
        "peer error",
        "peer silent",
        "primary restarted",
        "roles swapped",
        "secondary killed",
        "secondary lost power",
        "split brain told",
        "the primary gave way",
        "the secondary gave way",
        "torn frame",
        "wants to go on alone",
    ];
    let seldom = [
        "copy interrupted",
        "discard: crash before the mark",
        "discard: crash behind the counters",
        "discard: crash behind the mark",
        "disk operation given up",
        "refused",
        "roles swapped while copying",
        "session taken over",
    ];
    let expected = match seeds {
        0..1000 => Vec::new(),
        1000..20_000 => often.to_vec(),
        _ => [&often[..], &seldom[..]].concat(),
    };
    for what in expected {
        assert!(seen.0.contains_key(what), "{what} never happened");
    }
    assert!(total[0] > total[1] * 10, "most writes succeed: {total:?}");
}

#[test]
fn one_seed() {
    let Some(seed) = environment("HAST_SEED") else {
        return;
    };
    let mut world = World::new(seed);
    world.traced = true;
    let result = catch_unwind(AssertUnwindSafe(|| simulate(&mut world)));
    for line in &world.trace {
        println!("{line}");
    }
    assert!(result.is_ok());
}

#[test]
fn one_seed_is_one_world() {
    let trace = |seed| {
        let mut world = World::new(seed);
        world.traced = true;
        simulate(&mut world);
        assert!(!world.trace.is_empty());
        world.trace
    };
    for seed in 0..3 {
        assert_eq!(trace(seed), trace(seed));
    }
}

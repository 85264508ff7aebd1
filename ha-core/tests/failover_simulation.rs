//! Seeded worlds: nodes whose address is decided by CARP's machines on a simulated network, whose
//! storage is a model of HAST, and whose services are moved by [`Failover`]; with partitions,
//! crashes at every step, nodes that do not run for a while, steps that are slow, fail or hang,
//! storage that fails, an arbiter that is not reached or does late what it was asked, operators who
//! command, and clocks of different time and pace.
//!
//! One seed is one world. A failure names its seed and prints what went before:
//!
//! ```sh
//! SIM_SEED=7 cargo test -p ha-core --test failover_simulation
//! ```
//!
//! `SIM_SEEDS` is how many seeds are tried.
//!
//! [`Failover`]: ha_core::failover::Failover

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

mod failover_world;

use core::time::Duration;

use failover_world::{Counts, World};

/// How many worlds there are, and how many are lived through side by side.
const SEEDS: u64 = 1200;
const THREADS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn live(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run_for(Duration::from_secs(15));
    world.disturb();
    world.run_for(Duration::from_secs(45));
    world.heal();
    world
}

type Sometimes = (&'static str, fn(&Counts) -> u64);

/// What must happen in some world, or the promises are not put to the test.
const SOMETIMES: [Sometimes; 32] = [
    ("a write was acknowledged", |c| c.acknowledged),
    ("a node was promoted", |c| c.failovers),
    ("nodes were cut from each other", |c| c.partitions),
    ("a split brain was found", |c| c.split_brains),
    ("two primaries met", |c| c.dual_primaries),
    (
        "a node started that did not reach the active storage",
        |c| c.boots_apart,
    ),
    ("storage waited for a grant", |c| c.waits_for_grant),
    ("storage was allowed to go on alone", |c| c.granted),
    ("a grant ended while writes waited", |c| c.expired_grants),
    ("a step failed", |c| c.step_failures),
    ("a step was given up", |c| c.given_up),
    ("a promotion was rolled back", |c| c.rollbacks),
    ("a demotion escalated", |c| c.escalations),
    ("a node was fenced", |c| c.fenced),
    ("a node was stuck", |c| c.stuck),
    ("a node switched over", |c| c.switch_overs),
    ("unfit storage was not promoted", |c| c.refused_unfit),
    ("the record kept a node from promotion", |c| {
        c.refused_record
    }),
    ("a node waited for a primary peer", |c| c.waits_for_peer),
    ("the storage was lost", |c| c.storage_lost),
    ("a service outlived its storage for a moment", |c| {
        c.without_storage
    }),
    ("a health check gave the role away", |c| c.polite_health),
    ("a record was lost", |c| c.record_lost),
    ("a record was taken", |c| c.record_taken),
    ("a role was kept without the arbiter", |c| c.kept),
    ("a run was cut short", |c| c.cut_short),
    ("a packet was forged", |c| c.forged),
    ("garbage was handed in", |c| c.stale),
    ("a node was synchronised", |c| c.synchronised),
    ("a swap happened when nobody waited for it", |c| {
        c.late_swaps
    }),
    ("a node did not run for a while", |c| c.pauses),
    ("a node woke up active after its time", |c| c.woke_too_late),
];

/// Lives through all worlds, and returns what happened in each.
fn live_through(seeds: u64, only: Option<u64>) -> Vec<Counts> {
    let part = |first: u64| {
        (first..seeds)
            .step_by(usize::try_from(THREADS).unwrap())
            .map(|seed| live(seed).counts)
            .collect::<Vec<_>>()
    };
    if let Some(seed) = only {
        return vec![live(seed).counts];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|first| scope.spawn(move || part(first)))
            .collect();
        let parts = threads.into_iter().map(|thread| thread.join().unwrap());
        parts.flatten().collect()
    })
}

#[test]
fn the_promises_hold_in_every_world() {
    let only = number("SIM_SEED");
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let counts = live_through(seeds, only);
    let sum = |field: &dyn Fn(&Counts) -> u64| counts.iter().map(field).sum::<u64>();
    let mut never = Vec::new();
    for (what, field) in SOMETIMES {
        println!("{:>9} {what}", sum(&field));
        if sum(&field) == 0 {
            never.push(what);
        }
    }
    let states: Vec<u64> = (0..8).map(|s| sum(&|c| c.crashes_in[s])).collect();
    let actions: Vec<u64> = (0..11).map(|a| sum(&|c| c.crashes_during[a])).collect();
    println!("crashes in each state: {states:?}, in each step: {actions:?}");
    if only.is_none() && seeds >= SEEDS {
        assert_eq!(never, Vec::<&str>::new(), "these never happened");
        assert!(
            states.iter().all(|n| *n > 0),
            "no crash in a state: {states:?}"
        );
        assert!(
            actions.iter().all(|n| *n > 0),
            "no crash in a step: {actions:?}"
        );
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..8 {
        assert_eq!(live(seed).digest, live(seed).digest);
    }
}

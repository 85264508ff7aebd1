//! Every order of what can happen to two and three nodes and a store, to a stated depth, and some
//! orders much further: requests and answers that are lost, requests that happen long after nobody
//! waits for them, nodes that crash, that stop running and wake up later, and links between nodes
//! that go and come.
//!
//! Around each node's [`Claim`](super::Claim) is the least that makes its promise mean something: a storage that
//! asks to go on without a node that is gone, is granted that, and acknowledges; a node becomes
//! primary as soon as it may.

mod world;

use alloc::vec::Vec;
use core::hash::{Hash as _, Hasher as _};
use core::time::Duration;
use std::collections::HashSet;
use std::hash::DefaultHasher;

use world::{SECOND, Scope, Sometimes, World};

/// Visits every world that can be reached within the time.
fn explore(start: World, end: Duration, seen: &mut Sometimes) -> usize {
    let mut known = HashSet::new();
    let mut open = Vec::new();
    open.push(start);
    while let Some(world) = open.pop() {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        if world.now < end && known.insert(hasher.finish()) {
            open.extend(world.next(seen));
        }
    }
    known.len()
}

const WALKS: u64 = 500;

/// How many nodes, whether they are cut from each other, how much may go wrong of what, how often
/// the link may change, and for how long they are looked at.
const STARTS: [(usize, bool, u8, Scope, u8, u32); 4] = [
    (2, true, 1, Scope::All, 2, 5),
    (2, false, 1, Scope::All, 1, 7),
    (3, false, 1, Scope::All, 0, 6),
    (2, true, 2, Scope::Late, 2, 11),
];

/// SplitMix64: a few lines, and the same everywhere.
struct Random(u64);

impl Random {
    fn index(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// Tells which walk it was that failed.
struct Walk(u64);

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("on walk {}", self.0);
        }
    }
}

/// Goes one way at random, much further than every way can be gone.
fn walk(seed: u64, seen: &mut Sometimes) {
    let _tell = Walk(seed);
    let mut random = Random(seed);
    let count = 2 + random.index(2);
    let mut world = World::started(count, random.index(2) == 0, 8, 6);
    for _ in 0..120 {
        let mut next = world.next(seen);
        // Mostly what comes without a fault, which is the first.
        let choice = if random.index(3) > 0 {
            0
        } else {
            random.index(next.len())
        };
        world = next.swap_remove(choice);
    }
}

#[test]
fn no_order_of_events_lets_two_nodes_acknowledge_or_loses_what_was() {
    let mut seen = Sometimes::default();
    let mut worlds = 0;
    for (count, cut, faults, scope, changes, seconds) in STARTS {
        let start = World::started(count, cut, faults, changes).within(scope);
        let end = start.now + seconds * SECOND;
        worlds += explore(start, end, &mut seen);
        std::println!("{worlds} worlds");
    }
    for seed in 0..WALKS {
        walk(seed, &mut seen);
    }
    std::println!("{worlds} worlds, {seen:?}");
    let Sometimes {
        alone,
        together,
        taken_over,
        late_swaps,
        woke_too_late,
        settled,
    } = seen;
    assert!(worlds > 10_000);
    for (what, times) in [
        ("a node acknowledged alone", alone),
        ("nodes acknowledged together", together),
        ("another node took over", taken_over),
        ("a swap happened late", late_swaps),
        ("a node woke up too late", woke_too_late),
        ("a swap was repeated to settle another", settled),
    ] {
        assert!(times > 0, "{what}: never");
    }
}

//! What a request allocates in the machines of a session: the nodes of the trees in which it is
//! pending, and nothing with each request; a READ of the device one list of its parts.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use bytes::Bytes;
use hast_proto::message::{Reply, Request};
use hast_proto::{Length, Offset, Payload, Replication, Sequence};

#[path = "../benches/machines/pair.rs"]
mod pair;

use pair::{Pair, Wire};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates on its own ones.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged. Counting allocates nothing: the
// cell is initialised at compile time and has no destructor.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises about `memory` are those that `System` asks for.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Layout) {
        // SAFETY: `pointer` came from `System` with this `memory`.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: u64 = 100;

fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    let before = COUNT.get();
    for _ in 0..ROUNDS {
        work();
    }
    COUNT.get() - before
}

#[test]
fn a_write_allocates_hardly_more_than_once_in_both_machines_together() {
    let data = Bytes::from(vec![5; 4096]);
    let (mut down, mut up) = (Wire::requests(), Wire::replies());
    let sequence = Sequence::new(2).unwrap();
    for depth in [1_u64, 32, 250] {
        // They are kept as long as they are pending in the machines.
        let mut frames = Vec::with_capacity(1000);
        let messages = allocations(|| {
            frames.clear();
            for _ in 0..depth {
                let write = Request::Write {
                    sequence,
                    offset: Offset::ZERO,
                    length: Length::new(4096),
                    memsync: false,
                    payload: Payload::plain(data.clone()).unwrap(),
                };
                frames.push(down.request(&write));
            }
            for _ in 0..depth {
                up.reply(&Reply::Done { sequence });
            }
        });
        let mut pair = Pair::new(Replication::Fullsync);
        let all = allocations(|| {
            for block in 0..depth {
                pair.write(block * 4096, data.clone());
            }
            pair.settle();
        });
        assert_eq!(pair.completed, (ROUNDS + 1) * depth);
        let machines = all.saturating_sub(messages);
        println!("depth {depth}: {messages} for messages, {machines} beside them");
        let most = ROUNDS * depth * 3 / 2;
        assert!(machines <= most, "{machines} at depth {depth}");
    }
}

#[test]
fn a_read_allocates_the_list_of_its_parts() {
    let mut pair = Pair::new(Replication::Fullsync);
    let reads = allocations(|| {
        for block in 0..32 {
            pair.read(block * 4096, 4096);
        }
        pair.settle();
    });
    assert!(reads <= ROUNDS * 32 * 3 / 2, "{reads}");
}

//! An allocator that counts: what some work allocates, and the most it holds at once.

#![allow(dead_code, reason = "each test uses a part")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates on its own ones.
    static TIMES: Cell<usize> = const { Cell::new(0) };
    static OCTETS: Cell<usize> = const { Cell::new(0) };
    // Below 0 where this thread frees what another has allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// No allocation has more octets than an `isize` holds.
fn signed(octets: usize) -> isize {
    isize::try_from(octets).unwrap_or(isize::MAX)
}

fn took(octets: usize) {
    TIMES.set(TIMES.get() + 1);
    OCTETS.set(OCTETS.get() + octets);
    HELD.set(HELD.get() + signed(octets));
    PEAK.set(PEAK.get().max(HELD.get()));
}

fn gave(octets: usize) {
    HELD.set(HELD.get() - signed(octets));
}

// SAFETY: every call goes to the system's allocator unchanged. Counting allocates nothing: the
// cells are initialised at compile time and have no destructor.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there for a moment, unless the system can do better.
        took(size);
        gave(layout.size());
        // SAFETY: `pointer` came from `System` with this `layout`; `size` is the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: `pointer` came from `System` with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What some work has allocated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Allocated {
    /// How often, growing included.
    pub(crate) times: usize,
    /// The octets of all allocations together.
    pub(crate) octets: usize,
    /// The most octets that it held at once.
    pub(crate) peak: usize,
}

pub(crate) fn allocated<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    let (times, octets, held) = (TIMES.get(), OCTETS.get(), HELD.get());
    PEAK.set(held);
    let result = work();
    let allocated = Allocated {
        times: TIMES.get() - times,
        octets: OCTETS.get() - octets,
        peak: (PEAK.get() - held).unsigned_abs(),
    };
    (result, allocated)
}

#[test]
fn the_counter_counts() {
    let counted = |times, octets, peak| Allocated {
        times,
        octets,
        peak,
    };
    let (octets, one) = allocated(|| vec![0_u8; 1000]);
    assert_eq!((octets.len(), one), (1000, counted(1, 1000, 1000)));
    let ((), apart) = allocated(|| {
        drop(vec![1_u8; 300]);
        drop(vec![2_u8; 200]);
    });
    assert_eq!(apart, counted(2, 500, 300));
    let (_, grown) = allocated(|| {
        let mut grown = Vec::<u8>::with_capacity(100);
        grown.reserve_exact(1000);
        grown
    });
    assert_eq!(grown, counted(2, 1100, 1100));
    assert_eq!(allocated(|| {}).1, counted(0, 0, 0));
}

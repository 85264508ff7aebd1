//! Neither packets nor timers make the driver allocate: counted, on a network of memory.

#![expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[expect(dead_code, reason = "only the setup is needed here")]
mod memory;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::net::IpAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::alloc::System;
use std::io;
use std::sync::{Arc, Mutex};

use ha_core::carp_proto::{ADVERTISEMENT_LEN, Datagram, Family, GROUP_V4, State, TTL};
use ha_core::io::{Driver, Transport};
use memory::{Notes, advertisement, setup};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates on its own ones.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged. Counting allocates nothing: the
// cell is initialised at compile time and has no destructor.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this `layout`, as `alloc` has no other.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A transport that keeps nothing: it gives out one packet when told to, and counts its own.
#[derive(Clone, Default)]
struct Air(Arc<Mutex<Port>>);

#[derive(Default)]
struct Port {
    packet: Option<[u8; ADVERTISEMENT_LEN]>,
    waker: Option<Waker>,
    sent: u32,
}

impl Transport for Air {
    fn carries(&self, _: Family) -> bool {
        true
    }

    fn source(&self, _: Family) -> Option<IpAddr> {
        None
    }

    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        let mut port = self.0.lock().unwrap();
        let Some(packet) = port.packet.take() else {
            port.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let payload = &mut buffer[..ADVERTISEMENT_LEN];
        payload.copy_from_slice(&packet);
        Poll::Ready(Ok(Some(Datagram {
            source: IpAddr::from([10, 0, 0, 99]),
            destination: GROUP_V4.into(),
            ttl: TTL,
            payload,
        })))
    }

    fn try_send(&mut self, _: Family, _: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().sent += 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn packets_and_timers_allocate_nothing() {
    let air = Air::default();
    let mut driver = Driver::default();
    let segment = driver.add_segment(air.clone());
    driver
        .add(segment, setup(1, 100, &Notes::default()))
        .unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.run());
    sleep(SECOND / 2).await;

    // A backup that hears its master.
    let heard = advertisement(1, 0);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        sleep(SECOND).await;
        let mut port = air.0.lock().unwrap();
        port.packet = Some(heard);
        port.waker.take().unwrap().wake();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(handle.status().await.unwrap().hosts[0].state, State::Backup);

    // A master, when its announcements are over: effects are futures in boxes.
    sleep(20 * SECOND).await;
    assert_eq!(handle.status().await.unwrap().hosts[0].state, State::Master);
    let (before, sent) = (ALLOCATIONS.get(), air.0.lock().unwrap().sent);
    sleep(20 * SECOND).await;
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(air.0.lock().unwrap().sent >= sent + 14);
}

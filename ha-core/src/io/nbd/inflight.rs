//! Requests that a device has not answered yet, polled where their connection is.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::vec::Vec;

type Work<'d, T> = Pin<Box<dyn Future<Output = T> + Send + 'd>>;

/// Futures in slots. Each slot has a waker of its own, which is made once; only those that were
/// woken are polled.
pub(super) struct InFlight<'d, T> {
    slots: Vec<Slot<'d, T>>,
    free: Vec<usize>,
    /// Those that were woken and are polled now.
    turn: Vec<usize>,
    woken: Arc<Woken>,
}

struct Slot<'d, T> {
    work: Option<Work<'d, T>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What was woken since it was looked at last.
#[derive(Default)]
struct Woken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each slot at most once.
    slots: Vec<usize>,
    task: Option<Waker>,
}

/// Rings for one slot.
struct Bell {
    slot: usize,
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut state = self.woken.lock();
            state.slots.push(self.slot);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<'d, T> InFlight<'d, T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            turn: Vec::new(),
            woken: Arc::default(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins `work`. What it comes to, if it comes to that at once.
    pub(super) fn begin(&mut self, work: impl Future<Output = T> + Send + 'd) -> Option<T> {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let bell = Arc::new(Bell {
                slot,
                rung: AtomicBool::new(false),
                woken: Arc::clone(&self.woken),
            });
            let waker = Waker::from(Arc::clone(&bell));
            self.slots.push(Slot {
                work: None,
                bell,
                waker,
            });
            slot
        });
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.work = Some(Box::pin(work));
        }
        self.poll_slot(slot)
    }

    /// Polls those that were woken and hands what they have come to to `ended`. The task is woken
    /// when there are more.
    pub(super) fn poll(&mut self, cx: &Context<'_>, mut ended: impl FnMut(T)) {
        {
            let mut state = self.woken.lock();
            // What wakes itself while it is polled has its turn next time.
            core::mem::swap(&mut state.slots, &mut self.turn);
            if !matches!(&state.task, Some(task) if task.will_wake(cx.waker())) {
                state.task = Some(cx.waker().clone());
            }
        }
        while let Some(slot) = self.turn.pop() {
            if let Some(result) = self.poll_slot(slot) {
                ended(result);
            }
        }
    }

    fn poll_slot(&mut self, number: usize) -> Option<T> {
        let slot = self.slots.get_mut(number)?;
        // Before it is polled: what wakes it while it is polled rings again.
        slot.bell.rung.store(false, Ordering::Release);
        // Nothing is in it if it was woken once more than needed.
        let work = slot.work.as_mut()?;
        let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(&slot.waker)) else {
            return None;
        };
        slot.work = None;
        self.free.push(number);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use core::future::{poll_fn, ready};

    use tokio::sync::oneshot;

    use super::*;

    /// What one of them comes to.
    async fn next<T>(work: &mut InFlight<'_, T>) -> T {
        let mut result = None;
        poll_fn(|cx| {
            work.poll(cx, |ended| result = Some(ended));
            result.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    #[tokio::test]
    async fn what_is_ready_is_returned_at_once_and_the_rest_in_the_order_in_which_it_ends() {
        let mut work = InFlight::new();
        assert_eq!(work.begin(ready(Ok(1))), Some(Ok(1)));
        let (first, wait_first) = oneshot::channel();
        let (second, wait_second) = oneshot::channel();
        assert_eq!(work.begin(wait_first), None);
        assert_eq!(work.begin(wait_second), None);
        assert_eq!(work.len(), 2);
        let ended = tokio::spawn(async move {
            second.send(3).unwrap();
            tokio::task::yield_now().await;
            first.send(2).unwrap();
        });
        for expected in [3, 2] {
            assert_eq!(next(&mut work).await, Ok(expected));
        }
        ended.await.unwrap();
        assert_eq!(work.len(), 0);
        // Slots are used again.
        for number in 0..10 {
            assert_eq!(work.begin(ready(Ok(number))), Some(Ok(number)));
        }
        assert_eq!(work.slots.len(), 2);
    }

    #[tokio::test]
    async fn waking_more_often_than_needed_does_no_harm() {
        let mut work = InFlight::new();
        let (go, wait) = oneshot::channel::<u8>();
        let mut wait = Box::pin(wait);
        let restless = poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            wait.as_mut().poll(cx)
        });
        assert_eq!(work.begin(restless), None);
        go.send(9).unwrap();
        assert_eq!(next(&mut work).await, Ok(9));
        poll_fn(|cx| {
            work.poll(cx, |_| panic!("it has ended already"));
            Poll::Ready(())
        })
        .await;
    }
}

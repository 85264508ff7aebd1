//! How much data the requests of a server may hold.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one connection holds of the memory of all, in octets; given back when it ends.
pub(super) struct Share {
    all: Arc<Semaphore>,
    held: u32,
    most: u32,
    /// Of that, what is given back when everything that was to be sent has been sent.
    sending: u32,
    /// A place in the queue, for the request that is next.
    waiting: Option<Granted>,
}

type Granted = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

impl Share {
    pub(super) fn new(all: Arc<Semaphore>, most: u32) -> Self {
        Self {
            all,
            held: 0,
            most,
            sending: 0,
            waiting: None,
        }
    }

    /// Takes `octets` for the next request, if the connection may have them and they are there.
    /// To be asked for again if not; `cx` is woken when others have given back enough.
    pub(super) fn take(&mut self, octets: u32, cx: &mut Context<'_>) -> bool {
        let sum = self
            .held
            .checked_add(octets)
            .filter(|sum| *sum <= self.most);
        let Some(sum) = sum else {
            return false;
        };
        if self.waiting.is_none() {
            if let Ok(permit) = self.all.try_acquire_many(octets) {
                permit.forget();
                self.held = sum;
                return true;
            }
        }
        let all = &self.all;
        let waiting = self.waiting.get_or_insert_with(|| {
            let all = Arc::clone(all);
            Box::pin(async move { all.acquire_many_owned(octets).await.ok() })
        });
        let Poll::Ready(granted) = waiting.as_mut().poll(cx) else {
            return false;
        };
        self.waiting = None;
        // It is never closed.
        let Some(permit) = granted else {
            return false;
        };
        permit.forget();
        self.held = sum;
        true
    }

    /// Gives back what a request had that is done.
    pub(super) fn give_back(&mut self, octets: u32) {
        self.held -= octets;
        self.all.add_permits(octets as usize);
    }

    /// Gives it back later, as its data have to be sent first.
    pub(super) fn give_back_when_sent(&mut self, octets: u32) {
        self.sending += octets;
    }

    /// Everything has been sent.
    pub(super) fn sent(&mut self) {
        if self.sending > 0 {
            self.give_back(self.sending);
            self.sending = 0;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.add_permits(self.held as usize);
    }
}

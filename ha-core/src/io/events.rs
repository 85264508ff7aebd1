//! Events, as those read them who want to know.

use core::fmt;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events from the moment they were asked for, in order.
///
/// Nobody waits for a reader: one that falls behind by more than whoever tells them keeps loses
/// the oldest, and [`lost`](Self::lost) counts them. A clone begins with the next event.
pub struct EventStream<E> {
    receiver: broadcast::Receiver<E>,
    lost: u64,
}

impl<E: Clone> EventStream<E> {
    pub(super) const fn new(receiver: broadcast::Receiver<E>) -> Self {
        Self { receiver, lost: 0 }
    }

    /// Those of somebody who has ended: none.
    pub(super) fn none() -> Self {
        let (_, receiver) = broadcast::channel(1);
        Self::new(receiver)
    }

    /// Waits for the next event; `None` when whoever tells them has ended.
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<E> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(count)) => self.lost = self.lost.saturating_add(count),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns how many events were lost because they were not read in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

impl<E: Clone> Clone for EventStream<E> {
    fn clone(&self) -> Self {
        Self::new(self.receiver.resubscribe())
    }
}

impl<E> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

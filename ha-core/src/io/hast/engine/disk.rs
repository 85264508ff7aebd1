//! Disk operations on their way.

use core::task::{Context, Poll};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use hast_proto::{DiskOperation, Errno, OperationId};
use tokio::task::JoinSet;

use super::super::provider::Store;
use super::Done;

/// How many octets are written or read in one pass: more would keep the peer's answers waiting.
const PASS: usize = 256 * 1024;

/// How many operations are under way at most: enough for the threads of a file, and a disk's queue.
/// What waits here can be left undone when a primary ends, so that a slow disk is soon at rest.
const UNDER_WAY: usize = 32;

/// Whose operation it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ticket {
    Machine(OperationId),
    Door,
}

/// Operations that wait for the next pass, and those under way.
#[derive(Default)]
pub(super) struct Disk {
    waiting: VecDeque<(Ticket, DiskOperation)>,
    running: usize,
}

impl Disk {
    pub(super) fn push(&mut self, ticket: Ticket, operation: DiskOperation) {
        self.waiting.push_back((ticket, operation));
    }

    /// How many have not ended.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len().saturating_add(self.running)
    }

    /// Notes that one has ended which [`run`](Self::run) had not.
    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Takes back what has not begun and need not be done any more: operations on the data.
    pub(super) fn give_up(&mut self) -> Vec<Ticket> {
        let waiting = self.waiting.drain(..);
        let (data, kept): (VecDeque<_>, VecDeque<_>) = waiting.partition(|it| it.1.is_of_data());
        self.waiting = kept;
        data.into_iter().map(|(ticket, _)| ticket).collect()
    }

    /// Begins what waits, in order, and returns what has ended at once. What has not tells the
    /// task by [`Done::Disk`].
    pub(super) fn run(
        &mut self,
        cx: &mut Context<'_>,
        store: Option<&Arc<Store>>,
        tasks: &mut JoinSet<Done>,
    ) -> Vec<(Ticket, Result<Bytes, Errno>)> {
        let mut ended = Vec::new();
        let mut octets = 0_usize;
        while octets < PASS && self.running < UNDER_WAY {
            let Some((ticket, operation)) = self.waiting.pop_front() else {
                break;
            };
            octets = octets.saturating_add(size(&operation));
            let Some(store) = store.map(Arc::clone) else {
                ended.push((ticket, Err(Errno::ENXIO)));
                continue;
            };
            let mut future = Box::pin(async move { store.operate(operation).await });
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => ended.push((ticket, result)),
                Poll::Pending => {
                    self.running = self.running.saturating_add(1);
                    tasks.spawn(async move { Done::Disk(ticket, future.await) });
                }
            }
        }
        ended
    }

    /// Whether something waits for another pass, and not for the end of what is under way.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() && self.running < UNDER_WAY
    }
}

fn size(operation: &DiskOperation) -> usize {
    match operation {
        DiskOperation::Read { length, .. } => length.to_usize().unwrap_or(usize::MAX),
        DiskOperation::Write { data, .. } | DiskOperation::StoreMap { data, .. } => data.len(),
        DiskOperation::Delete { .. }
        | DiskOperation::Flush
        | DiskOperation::StoreMetadata(_)
        | DiskOperation::StoreConsistency(_) => 4096,
    }
}

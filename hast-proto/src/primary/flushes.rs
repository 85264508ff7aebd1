//! Flushes: the device's and the machine's own (HAST §6.8).

use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::peer::Asked;
use super::{LocalCopy, Part, Primary, Purpose, RequestId, is_unsupported};
use crate::disk::DiskOperation;
use crate::message::Request;
use crate::types::Errno;

/// A FLUSH, on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flush {
    /// The device's, or `None` for one of the machine's own.
    pub(super) request: Option<RequestId>,
    local: Part,
    remote: Part,
    /// Whether it was held because the peer was lost.
    again: bool,
    /// Whether marks wait for it.
    settles: bool,
    /// Whether the synchronisation ends with it.
    ends_copy: bool,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// What was acknowledged is on the local disk's side of the queue already, and on the
    /// connection before the flush, so that nothing is to be waited for.
    pub(super) fn on_flush(&mut self, request: Option<RequestId>) {
        if request.is_some() {
            self.stats.flushes = self.stats.flushes.saturating_add(1);
        }
        match request {
            Some(request) if self.holds() => self.held_flushes.push(request),
            _ => {
                self.flush(request, false);
            }
        }
    }

    pub(super) fn flush(&mut self, request: Option<RequestId>, ends_copy: bool) -> u64 {
        let key = self.key();
        let settles = self.map.settle();
        let mut flush = Flush {
            request,
            local: Part::Absent,
            remote: Part::Absent,
            again: false,
            settles,
            ends_copy,
        };
        if self.has_disk() {
            flush.local = Part::Pending;
            self.operate(Purpose::Flush(key), DiskOperation::Flush);
        }
        if self.peer.is_up() {
            flush.remote = Part::Pending;
            self.ask(Asked::Flush { key }, |sequence| Request::Flush { sequence });
        }
        self.flushes.insert(key, flush);
        self.advance_flush(key);
        key
    }

    /// Flushes if many marks wait for it, so that they do not pile up under a user who never
    /// does. After one that has failed it waits a while.
    pub(super) fn flush_if_many(&mut self, now: T) {
        let mut flushes = self.flushes.values();
        let under_way = flushes.any(|flush| flush.request.is_none() || flush.settles);
        let (unsettled, keep) = (self.map.unsettled_extents(), self.keep_dirty().get());
        if under_way || unsettled <= keep {
            self.settle_at = None;
            return;
        }
        if self.settle_at.is_none() {
            self.settle_at = Some(now + self.config.settle_delay);
        }
        let too_many = unsettled > self.config.max_unsettled.max(keep);
        let failed = self.flush_after.is_some_and(|after| now < after);
        let due = self.settle_at.is_some_and(|at| at <= now);
        if (too_many || due) && !failed {
            self.settle_at = None;
            self.flush(None, false);
        }
    }

    /// Returns when a flush of the machine's own is due.
    pub(super) fn flush_due(&self) -> Option<T> {
        let at = self.settle_at?;
        Some(self.flush_after.map_or(at, |after| at.max(after)))
    }

    /// Begins the flushes that waited for the peer.
    pub(super) fn release_flushes(&mut self) {
        for request in core::mem::take(&mut self.held_flushes) {
            let key = self.flush(Some(request), false);
            if let Some(flush) = self.flushes.get_mut(&key) {
                flush.again = true;
            }
        }
    }

    /// What the flushes on their way were to settle is not what it was.
    pub(super) fn settle_nothing(&mut self) {
        for flush in self.flushes.values_mut() {
            flush.settles = false;
        }
    }

    pub(super) fn on_local_flush(&mut self, now: T, key: u64, result: Result<Bytes, Errno>) {
        let Some(flush) = self.flushes.get_mut(&key) else {
            return;
        };
        let result = result.map(|_| ());
        flush.local = part(result);
        if flush.local == Part::Failed {
            self.stats.flush_errors = self.stats.flush_errors.saturating_add(1);
            self.fail_local(now, result.err().unwrap_or(Errno::EIO));
        }
        self.advance_flush(key);
    }

    pub(super) fn on_remote_flush(&mut self, key: u64, result: Result<(), Errno>) {
        if let Some(flush) = self.flushes.get_mut(&key) {
            flush.remote = part(result);
        }
        self.advance_flush(key);
    }

    fn advance_flush(&mut self, key: u64) {
        let Some(&flush) = self.flushes.get(&key) else {
            return;
        };
        if flush.local == Part::Pending || flush.remote == Part::Pending {
            return;
        }
        self.flushes.remove(&key);
        let both = flush.local == Part::Done && flush.remote != Part::Failed;
        if flush.settles {
            self.map.settled(both);
            self.flush_after = match both {
                true => None,
                false => self.now.map(|now| now + self.config.copy_retry),
            };
        }
        let refused = flush.remote == Part::Failed && self.peer.is_up();
        if refused && self.copy == LocalCopy::Current {
            // A disk that fails a flush may have dropped what it was to write, and need not fail
            // the next.
            self.map.peer_lost();
            self.settle_nothing();
            let _ = self.may_go_alone();
            let _ = self.count_absence();
            self.copy_later();
        }
        if let Some(request) = flush.request {
            let done = match self.copy {
                LocalCopy::Current => flush.local == Part::Done,
                LocalCopy::Catching => flush.local == Part::Done && flush.remote == Part::Done,
                LocalCopy::Failed { complete } => complete && flush.remote == Part::Done,
            };
            match done {
                true => self.complete(request, Ok(alloc::vec::Vec::new())),
                false if self.holds() && !flush.again => self.held_flushes.push(request),
                false => self.complete(request, Err(Errno::EIO)),
            }
        }
        if flush.ends_copy {
            self.on_copy_flushed(both && flush.remote == Part::Done);
        }
    }
}

/// A disk that knows no flush has nothing to flush.
fn part(result: Result<(), Errno>) -> Part {
    match result {
        Ok(()) => Part::Done,
        Err(error) if is_unsupported(error) => Part::Done,
        Err(_) => Part::Failed,
    }
}

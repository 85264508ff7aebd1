//! Device writes and deletes: when they may go to the disks, and what becomes of them there
//! (HAST §6.2).

use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::peer::Asked;
use super::{Alone, Event, LocalCopy, Part, Primary, Purpose, RequestId, State, is_unsupported};
use crate::disk::DiskOperation;
use crate::message::Request;
use crate::payload::Payload;
use crate::range::Range;
use crate::types::{Errno, Replication};

/// A WRITE or DELETE of the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Write {
    request: RequestId,
    pub(super) range: Range,
    /// `None` for a DELETE.
    pub(super) data: Option<Bytes>,
    /// When it is acknowledged, as it was when it was issued.
    pub(super) mode: Replication,
    pub(super) issued: bool,
    /// How many earlier ones that overlap are in its way.
    blockers: usize,
    pub(super) local: Part,
    pub(super) remote: Part,
    /// Requests to the peer that are not answered.
    remote_left: u32,
    /// Those of them without memsync's first answer.
    pub(super) received_left: u32,
    /// One of them has failed.
    pub(super) missed: bool,
    /// Whether it was issued before, to a peer that was lost.
    pub(super) again: bool,
    /// The version of the metadata that must be on disk before the acknowledgement.
    pub(super) counted: Option<u64>,
    pub(super) answer: Option<Result<(), Errno>>,
}

impl Write {
    pub(super) const fn request(&self) -> RequestId {
        self.request
    }

    /// Whether it was acknowledged before the peer had it even in memory.
    pub(super) fn is_ahead(&self) -> bool {
        self.is_acknowledged() && self.mode == Replication::Async
    }

    /// Whether it waits, on the local disk, for the peer or for going on without.
    pub(super) fn waits_alone(&self) -> bool {
        let is_here = self.issued && self.answer.is_none() && self.local == Part::Done;
        is_here && matches!(self.remote, Part::Absent | Part::Failed)
    }

    /// Whether it was acknowledged before the peer had it on disk.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.answer == Some(Ok(())) && self.remote == Part::Pending
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    pub(super) fn on_write(&mut self, request: RequestId, range: Range, data: Option<Bytes>) {
        let count = match data {
            Some(_) => &mut self.stats.writes,
            None => &mut self.stats.deletes,
        };
        *count = count.saturating_add(1);
        self.octets = self
            .octets
            .saturating_add(data.as_ref().map_or(0, Bytes::len));
        self.enqueue(request, range, data);
    }

    /// Puts a write behind all that overlap.
    fn enqueue(&mut self, request: RequestId, range: Range, data: Option<Bytes>) -> u64 {
        let key = self.key();
        let blockers = self.blocking.overlapping(range).count();
        self.blocking.insert(key, range);
        if blockers == 0 {
            self.ready.insert(key);
        }
        let write = Write {
            request,
            range,
            data,
            mode: self.config.replication,
            issued: false,
            blockers,
            local: Part::Absent,
            remote: Part::Absent,
            remote_left: 0,
            received_left: 0,
            missed: false,
            again: false,
            counted: None,
            answer: None,
        };
        self.writes.insert(key, write);
        key
    }

    /// Takes a write back that has failed because the peer was lost, to issue it anew; but only
    /// once.
    pub(super) fn take_back(&mut self, key: u64) {
        let Some(write) = self.writes.remove(&key) else {
            return;
        };
        let key = self.enqueue(write.request, write.range, write.data);
        // Its extents are marked already.
        self.local.marking.insert(key);
        if let Some(write) = self.writes.get_mut(&key) {
            write.again = true;
        }
    }

    /// Issues every write that waits for nothing any more.
    pub(super) fn issue_writes(&mut self) {
        // HAST §1.6: not before the first attempt has ended; and while a session opens, the
        // counters that it was agreed by must not change.
        if self.held_until.is_some() || self.peer.is_opening() {
            return;
        }
        // Nothing is written beside a disk that lacks something before the mark says so.
        if self.local.waits_for_mark() && !self.local.mark_failed {
            return;
        }
        let mut next = 0;
        while let Some(&key) = self.ready.range(next..).next() {
            next = key.saturating_add(1);
            let Some(range) = self.writes.get(&key).map(|write| write.range) else {
                continue;
            };
            if self.copying.overlaps(range) {
                continue;
            }
            self.ready.remove(&key);
            if self.mark(key, range) {
                self.issue(key);
            }
        }
    }

    /// A write is on the local disk, or will never be: it is in nobody's way any more.
    fn unblock(&mut self, key: u64, range: Range) {
        self.blocking.remove(key, range);
        for later in self.blocking.overlapping(range) {
            if let Some(write) = self.writes.get_mut(&later) {
                write.blockers = write.blockers.saturating_sub(1);
                if write.blockers == 0 {
                    self.ready.insert(later);
                }
            }
        }
    }

    /// Marks the extents of a write; returns whether the marks are on disk. If not, it waits in
    /// `marking` until [`remark`](Self::remark).
    fn mark(&mut self, key: u64, range: Range) -> bool {
        if !self.local.marking.contains(&key) {
            // Within the data, and no window is so large that the count overflows.
            let started = self.map.write_started(range.offset, range.length);
            debug_assert!(started.is_ok(), "{started:?}");
        }
        let extents = self.map.touched(range.offset, range.length);
        let is_covered = extents.is_ok_and(|extents| self.local.stored.covers(extents));
        if is_covered || !self.has_disk() {
            self.local.marking.remove(&key);
            return true;
        }
        self.local.marking.insert(key);
        self.local.map_is_due = true;
        false
    }

    /// Looks again at the writes that wait for their marks.
    pub(super) fn remark(&mut self) {
        let writes = &self.writes;
        // One that was taken back may have to wait for others, too.
        let unblocked = |key: &u64| writes.get(key).is_some_and(|write| write.blockers == 0);
        let marking = self.local.marking.iter().copied();
        self.ready.extend(marking.filter(unblocked));
    }

    fn issue(&mut self, key: u64) {
        let (memsync, has_disk) = (self.peer.has_memsync(), self.has_disk());
        let deletes = self
            .writes
            .get(&key)
            .is_some_and(|write| write.data.is_none());
        let replication = match (self.config.replication, self.config.alone) {
            (Replication::Async, Alone::Asked) => Replication::Memsync,
            (replication, _) => replication,
        };
        let mode = match (self.copy, replication) {
            // HAST §1.3: what a version-1 peer does not know.
            (LocalCopy::Current, Replication::Memsync) if !memsync => Replication::Fullsync,
            // HAST §3.1: there is no "received" for a DELETE.
            (LocalCopy::Current, Replication::Memsync) if deletes => Replication::Fullsync,
            (LocalCopy::Current, mode) => mode,
            // Only the peer has everything, so that what it has not written is not there.
            (LocalCopy::Catching | LocalCopy::Failed { .. }, _) => Replication::Fullsync,
        };
        let Some(write) = self.writes.get_mut(&key) else {
            return;
        };
        write.issued = true;
        write.mode = mode;
        let (range, data) = (write.range, write.data.clone());
        if has_disk {
            write.local = Part::Pending;
            let operation = match data.clone() {
                Some(data) => DiskOperation::Write {
                    offset: range.offset,
                    data,
                },
                None => DiskOperation::Delete {
                    offset: range.offset,
                    length: range.length,
                },
            };
            self.operate(Purpose::Write(key), operation);
        } else {
            self.unblock(key, range);
        }
        // What cannot be acknowledged is written nowhere: there is no disk to mark it on.
        let useful = match self.copy {
            LocalCopy::Current | LocalCopy::Catching => true,
            LocalCopy::Failed { complete } => complete && self.local.is_marked(),
        };
        if self.peer.is_up() && useful {
            self.issue_remote(key, range, data, mode);
        }
        self.advance_write(key);
    }

    pub(super) fn issue_remote(
        &mut self,
        key: u64,
        range: Range,
        data: Option<Bytes>,
        mode: Replication,
    ) {
        let memsync = mode == Replication::Memsync && data.is_some();
        let mut parts = 0_u32;
        match data {
            None => {
                parts = 1;
                self.ask(Asked::Write { key }, |sequence| Request::Delete {
                    sequence,
                    offset: range.offset,
                    length: range.length,
                });
            }
            Some(mut data) => {
                let mut offset = range.offset;
                while !data.is_empty() {
                    let len = data.len().min(self.request_len());
                    let part = Range::new(offset, crate::Length::new(len as u64));
                    offset = crate::Offset::new(part.end());
                    let Some(payload) = Payload::plain(data.split_to(len)) else {
                        break;
                    };
                    parts = parts.saturating_add(1);
                    let asked = if memsync {
                        Asked::Memsync { key }
                    } else {
                        Asked::Write { key }
                    };
                    self.ask(asked, |sequence| Request::Write {
                        sequence,
                        offset: part.offset,
                        length: part.length,
                        memsync,
                        payload,
                    });
                }
            }
        }
        if let Some(write) = self.writes.get_mut(&key) {
            write.remote = Part::Pending;
            write.remote_left = parts;
            write.received_left = if memsync { parts } else { 0 };
        }
    }

    pub(super) fn request_len(&self) -> usize {
        usize::try_from(self.config.request_size.get()).unwrap_or(usize::MAX)
    }

    pub(super) fn on_local_write(&mut self, now: T, key: u64, result: Result<Bytes, Errno>) {
        let Some(write) = self.writes.get_mut(&key) else {
            return;
        };
        let result = done(write, result.map(|_| ()));
        write.local = if result.is_ok() {
            Part::Done
        } else {
            Part::Failed
        };
        let (deletes, range) = (write.data.is_none(), write.range);
        self.unblock(key, range);
        if let Err(error) = result {
            let count = if deletes {
                &mut self.stats.delete_errors
            } else {
                &mut self.stats.write_errors
            };
            *count = count.saturating_add(1);
            if self.copy == LocalCopy::Current && self.map.to_copy() != 0 {
                // No copy is complete but this one: all of it is worth more than this block, which
                // is answered for with an error, and stays marked.
                self.event(Event::LocalWriteFailed(error));
            } else {
                // HAST §6.2: the original takes the write for done if the peer has it, and reads
                // the old data afterwards.
                self.fail_local(now, error);
            }
        }
        self.advance_write(key);
    }

    /// The peer has the data in memory.
    pub(super) fn on_received(&mut self, key: u64) {
        if let Some(write) = self.writes.get_mut(&key) {
            write.received_left = write.received_left.saturating_sub(1);
        }
        self.advance_write(key);
    }

    /// The peer has done one of the requests of a write, or has failed it, or is lost.
    pub(super) fn on_remote_write(&mut self, key: u64, result: Result<(), Errno>) {
        let Some(write) = self.writes.get_mut(&key) else {
            return;
        };
        write.remote_left = write.remote_left.saturating_sub(1);
        write.missed |= done(write, result).is_err();
        if write.remote_left == 0 {
            write.remote = match write.missed {
                false => Part::Done,
                true => Part::Failed,
            };
        }
        self.advance_write(key);
    }

    /// Answers a write if that can be, and forgets it if both sides are through with it.
    pub(super) fn advance_write(&mut self, key: u64) {
        let Some(write) = self.writes.get(&key) else {
            return;
        };
        if !write.issued {
            return;
        }
        let range = write.range;
        // What the peer has in memory it writes also when it is about to be promoted.
        let promised = self.state == State::Leaving && write.mode == Replication::Memsync;
        let lost = write.answer == Some(Ok(())) && write.remote == Part::Failed && !promised;
        if matches!(write.remote, Part::Absent | Part::Failed)
            || matches!(write.local, Part::Absent | Part::Failed)
        {
            // Before the acknowledgement, and before the pending mark goes.
            self.lacks(range);
        }
        if lost && self.copy == LocalCopy::Current {
            // Acknowledged, and perhaps not there: as good as written alone. Nobody waits for it,
            // but whoever watches has to know.
            let _ = self.may_go_alone();
            let _ = self.count_absence();
        }
        self.answer(key);
        let Some(write) = self.writes.get(&key) else {
            return;
        };
        if write.answer.is_none() || write.local == Part::Pending || write.remote == Part::Pending {
            return;
        }
        let on_both = (write.local, write.remote) == (Part::Done, Part::Done);
        self.octets = self
            .octets
            .saturating_sub(write.data.as_ref().map_or(0, Bytes::len));
        self.writes.remove(&key);
        if on_both {
            // Before the pending mark goes: it may be in a write cache.
            let unsettled = self.map.unsettle(range.offset, range.length);
            debug_assert!(unsettled.is_ok(), "{unsettled:?}");
        }
        let completed = self.map.write_completed(range.offset, range.length);
        debug_assert!(completed.is_ok(), "{completed:?}");
    }

    /// An extent was copied to the peer: with it perhaps the last of what a write waited for that
    /// the peer had missed.
    pub(super) fn reached(&mut self) {
        if self.copy != LocalCopy::Current {
            return;
        }
        let waiting = self.writes.iter().filter(|(_, write)| {
            let Range { offset, length } = write.range;
            write.waits_alone() && !self.map.differs_within(offset, length)
        });
        let waiting: Vec<u64> = waiting.map(|(key, _)| *key).collect();
        for key in waiting {
            if let Some(write) = self.writes.get_mut(&key) {
                write.remote = Part::Done;
            }
            self.advance_write(key);
        }
    }

    /// The nodes differ in a range from now on.
    pub(super) fn lacks(&mut self, range: Range) {
        let marked = self.map.needs_sync(range.offset, range.length);
        debug_assert!(marked.is_ok(), "{marked:?}");
        self.copy_later();
    }

    /// The peer is lost, and with it perhaps what was in its write cache: what it has done of
    /// writes that are not done here counts no more.
    pub(super) fn forget_remote_writes(&mut self) {
        for write in self.writes.values_mut() {
            if write.remote == Part::Done {
                write.remote = Part::Failed;
            }
        }
        self.advance_all_writes();
    }

    /// Looks at all writes again, after something has changed that all depend on.
    pub(super) fn advance_all_writes(&mut self) {
        let mut after = None;
        loop {
            let from = after.map_or(0, |after: u64| after.saturating_add(1));
            let Some((&key, _)) = self.writes.range(from..).next() else {
                return;
            };
            after = Some(key);
            self.advance_write(key);
        }
    }

    /// Whether no write is on its way to a disk or an acknowledgement. What waits for the peer, or
    /// for going on without, stays where it is.
    pub(super) fn writes_are_quiet(&self) -> bool {
        let mut writes = self.writes.values();
        writes
            .all(|write| !write.issued || self.config.alone == Alone::Asked && write.waits_alone())
    }
}

/// A disk that deletes nothing has done what it was asked for: what was deleted may be anything.
fn done(write: &Write, result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(error) if write.data.is_none() && is_unsupported(error) => Ok(()),
        result => result,
    }
}

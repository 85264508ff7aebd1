//! Device reads: from whom they may be answered (HAST §6.2, §6.4).

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::peer::Asked;
use super::{Event, LocalCopy, Primary, Purpose, RequestId};
use crate::disk::DiskOperation;
use crate::message::Request;
use crate::range::Range;
use crate::types::{Errno, Length, Offset};

/// A READ of the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Read {
    request: RequestId,
    range: Range,
    /// Whether it waits for an attempt to end.
    held: bool,
    tried_local: bool,
    tried_remote: bool,
    /// Whether it was held because the peer was lost.
    again: bool,
    /// What the peer has sent; a part is empty until it is there.
    parts: Vec<Bytes>,
    parts_left: usize,
    /// Why the last try failed.
    error: Errno,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    pub(super) fn on_read(&mut self, request: RequestId, range: Range) {
        self.stats.reads = self.stats.reads.saturating_add(1);
        let held = self.held_until.is_some();
        let key = self.key();
        self.octets = self.octets.saturating_add(octets(range));
        let read = Read {
            request,
            range,
            held,
            tried_local: false,
            tried_remote: false,
            again: false,
            parts: Vec::new(),
            parts_left: 0,
            error: Errno::EIO,
        };
        self.reads.insert(key, read);
        if !held {
            self.route(key);
        }
    }

    pub(super) fn route_held_reads(&mut self) {
        let held: Vec<u64> = self
            .reads
            .iter_mut()
            .filter_map(|(key, read)| core::mem::take(&mut read.held).then_some(*key))
            .collect();
        for key in held {
            self.route(key);
        }
    }

    /// Sends a read to where the data are current.
    fn route(&mut self, key: u64) {
        let Some(read) = self.reads.get(&key) else {
            return;
        };
        let (range, error, again) = (read.range, read.error, read.again);
        let local = !read.tried_local && self.is_current_here(range);
        let remote = !read.tried_remote && self.is_current_there(range);
        if local {
            self.operate(
                Purpose::Read(key),
                DiskOperation::Read {
                    offset: range.offset,
                    length: range.length,
                },
            );
        } else if remote {
            self.read_remotely(key, range);
        } else if self.peer.is_opening() || (self.holds() && !again) {
            // Who has the data is known, and may be there in a moment.
            if let Some(read) = self.reads.get_mut(&key) {
                read.held = true;
                read.again = true;
                read.tried_remote = false;
            }
        } else {
            self.finish_read(key, Err(error));
        }
    }

    /// Whether the local copy of a range is what was acknowledged last.
    fn is_current_here(&self, range: Range) -> bool {
        match self.copy {
            LocalCopy::Current => true,
            LocalCopy::Catching => !self.map.differs_within(range.offset, range.length),
            LocalCopy::Failed { .. } => false,
        }
    }

    /// Whether the peer can be asked, and has what was acknowledged last.
    fn is_current_there(&self, range: Range) -> bool {
        self.peer.is_up()
            && match self.copy {
                LocalCopy::Catching | LocalCopy::Failed { complete: true } => true,
                LocalCopy::Current | LocalCopy::Failed { complete: false } => {
                    !self.map.differs_within(range.offset, range.length)
                }
            }
    }

    fn read_remotely(&mut self, key: u64, range: Range) {
        let step = self.request_len();
        let step_len = step as u64;
        let parts = range.length.get().div_ceil(step_len.max(1));
        let parts = usize::try_from(parts).unwrap_or(usize::MAX);
        if let Some(read) = self.reads.get_mut(&key) {
            read.tried_remote = true;
            read.parts = vec![Bytes::new(); parts];
            read.parts_left = parts;
        }
        let mut start = range.offset.get();
        for part in 0..parts {
            let length = Length::new(step_len.min(range.end().saturating_sub(start)));
            let asked = Asked::Read { key, part, length };
            let offset = Offset::new(start);
            self.ask(asked, |sequence| Request::Read {
                sequence,
                offset,
                length,
            });
            start = start.saturating_add(length.get());
        }
    }

    pub(super) fn on_local_read(&mut self, key: u64, result: Result<Bytes, Errno>) {
        let Some(read) = self.reads.get_mut(&key) else {
            return;
        };
        read.tried_local = true;
        let range = read.range;
        match result {
            Ok(data) if Length::of(&data) == range.length => {
                // It may have become stale while it was read, or be known for it.
                if self.is_current_here(range) {
                    self.finish_read(key, Ok(vec![data]));
                } else {
                    self.route(key);
                }
            }
            result => {
                let error = result.err().unwrap_or(Errno::EIO);
                read.error = error;
                self.stats.read_errors = self.stats.read_errors.saturating_add(1);
                self.event(Event::LocalReadFailed(error));
                self.route(key);
            }
        }
    }

    /// A part has come from the peer, or will not.
    pub(super) fn on_remote_read(&mut self, key: u64, part: usize, result: Result<Bytes, Errno>) {
        let Some(read) = self.reads.get_mut(&key) else {
            return;
        };
        read.parts_left = read.parts_left.saturating_sub(1);
        match result {
            Ok(data) => {
                if let Some(place) = read.parts.get_mut(part) {
                    *place = data;
                }
            }
            Err(_) => read.parts.clear(),
        }
        if read.parts_left != 0 {
            return;
        }
        if read.parts.is_empty() {
            self.route(key);
        } else {
            let parts = core::mem::take(&mut read.parts);
            self.finish_read(key, Ok(parts));
        }
    }

    fn finish_read(&mut self, key: u64, result: Result<Vec<Bytes>, Errno>) {
        if let Some(read) = self.reads.remove(&key) {
            self.octets = self.octets.saturating_sub(octets(read.range));
            self.complete(read.request, result);
        }
    }

    /// Fails every read, at the end.
    pub(super) fn fail_reads(&mut self, error: Errno) {
        while let Some((key, _)) = self.reads.first_key_value() {
            self.finish_read(*key, Err(error));
        }
    }
}

fn octets(range: Range) -> usize {
    range.length.to_usize().unwrap_or(usize::MAX)
}

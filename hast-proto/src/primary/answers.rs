//! When a write is acknowledged (HAST §6.3), and what must be on disk before (HAST §5.5).

use core::ops::Add;
use core::time::Duration;

use super::writes::Write;
use super::{LocalCopy, Part, Primary};
use crate::types::{Errno, Replication};

/// Whether a write can be answered.
enum Verdict {
    Wait,
    Ok,
    /// The peer lacks it, so that the counter must be on disk first.
    Alone,
    /// The local disk lacks everything, so that the mark must be there first.
    Marked,
    Failed,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// Answers a write, if that can be.
    pub(super) fn answer(&mut self, key: u64) {
        let Some(write) = self.writes.get(&key) else {
            return;
        };
        if write.answer.is_some() {
            return;
        }
        let (verdict, again, local) = (self.verdict(write), write.again, write.local);
        let result = match verdict {
            Verdict::Wait => return,
            Verdict::Ok => Ok(()),
            Verdict::Alone if !self.may_go_alone() => return,
            Verdict::Alone => match self.count(key) {
                Ok(version) if self.local.has_stored(version) => Ok(()),
                Ok(_) => return,
                Err(error) => Err(error),
            },
            Verdict::Marked if self.local.is_marked() => Ok(()),
            Verdict::Marked if self.local.mark_failed => Err(Errno::EIO),
            Verdict::Marked => return,
            Verdict::Failed if self.holds() && !again => {
                // Not before its end on the local disk, where it must not meet itself.
                if local != Part::Pending {
                    self.take_back(key);
                }
                return;
            }
            Verdict::Failed => Err(Errno::EIO),
        };
        let Some(write) = self.writes.get_mut(&key) else {
            return;
        };
        write.answer = Some(result);
        let (request, range) = (write.request(), write.range);
        if result.is_err() {
            // Who knows which side has it.
            self.lacks(range);
        }
        self.complete(request, result.map(|()| alloc::vec::Vec::new()));
    }

    /// HAST §6.3, where it is right; and right where it is not.
    fn verdict(&self, write: &Write) -> Verdict {
        match self.copy {
            LocalCopy::Current => match (write.local, write.remote, write.mode) {
                (Part::Pending, _, _) => Verdict::Wait,
                // Issued while there was no disk.
                (Part::Absent | Part::Failed, _, _) => Verdict::Failed,
                (Part::Done, Part::Done, _) => Verdict::Ok,
                (Part::Done, Part::Absent | Part::Failed, _) => Verdict::Alone,
                // It has failed in part, and is a write without the peer when it has ended.
                (Part::Done, Part::Pending, _) if write.missed => Verdict::Wait,
                (Part::Done, Part::Pending, Replication::Fullsync) => Verdict::Wait,
                (Part::Done, Part::Pending, Replication::Async) => Verdict::Ok,
                (Part::Done, Part::Pending, Replication::Memsync) => match write.received_left {
                    0 => Verdict::Ok,
                    _ => Verdict::Wait,
                },
            },
            LocalCopy::Catching => match (write.local, write.remote) {
                (Part::Pending, _) | (_, Part::Pending) => Verdict::Wait,
                (Part::Done, Part::Done) => Verdict::Ok,
                // Issued before the disk was attached again: it is copied with all the rest.
                (_, Part::Done) => Verdict::Marked,
                (_, Part::Absent | Part::Failed) => Verdict::Failed,
            },
            LocalCopy::Failed { complete } => match write.remote {
                Part::Pending => Verdict::Wait,
                Part::Done if complete => Verdict::Marked,
                Part::Done | Part::Absent | Part::Failed => Verdict::Failed,
            },
        }
    }

    /// Counts that this node writes alone; returns the version of the metadata that says so.
    fn count(&mut self, key: u64) -> Result<u64, Errno> {
        if let Some(version) = self.writes.get(&key).and_then(|write| write.counted) {
            return Ok(version);
        }
        self.count_absence()?;
        let version = self.local.version();
        if let Some(write) = self.writes.get_mut(&key) {
            write.counted = Some(version);
        }
        Ok(version)
    }

    pub(super) fn count_absence(&mut self) -> Result<(), Errno> {
        match self.counters.wrote_alone() {
            Ok(None) => Ok(()),
            Ok(Some(counters)) => {
                self.local.metadata.counters = counters;
                self.store_metadata();
                Ok(())
            }
            Err(_) => Err(Errno::EIO),
        }
    }
}

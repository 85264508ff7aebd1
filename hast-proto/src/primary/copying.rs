//! The synchronisation: extents that differ are copied, step by step, from whoever has the
//! current data (HAST §6.7).

use alloc::collections::BTreeMap;
use core::num::NonZeroU64;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::peer::Asked;
use super::{Event, LocalCopy, Primary, Purpose};
use crate::activemap::{Agree, Step, StepOutcome};
use crate::consistency::Consistency;
use crate::disk::DiskOperation;
use crate::message::{Progress, Request};
use crate::payload::Payload;
use crate::range::Range;
use crate::types::{Errno, Length};

/// How late a step may begin and the rate still be made up for. Timers are late by a millisecond
/// or so; what takes longer is a slow disk or peer, and no reason to hurry afterwards.
const LATE: Duration = Duration::from_millis(20);

/// Where the synchronisation is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Off,
    /// Steps are handed out.
    Walking,
    /// All are copied, and are being flushed.
    Settling,
    /// Both nodes have everything, and the counters are on their way to disk; then the mark of
    /// the one that was copied to goes.
    Sealing,
}

/// A step on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Moving {
    step: Step,
    range: Range,
    /// Whether the session for which it was begun is over: the next one may copy the other way.
    is_stale: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Copying<T> {
    phase: Phase,
    steps: BTreeMap<u64, Moving>,
    /// A step that waits for a write that overlaps.
    blocked: Option<Step>,
    /// When the next step is due, by the rate; that may have passed.
    due: Option<T>,
    /// Whether that is waited for.
    paced: bool,
    /// When to try again what has failed.
    retry_at: Option<T>,
    /// What the secondary was told last.
    told: Option<Progress>,
}

impl<T: Copy> Copying<T> {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Off,
            steps: BTreeMap::new(),
            blocked: None,
            due: None,
            paced: false,
            retry_at: None,
            told: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<T> {
        match self.phase {
            Phase::Walking => self.due.filter(|_| self.paced),
            Phase::Off => self.retry_at,
            Phase::Settling | Phase::Sealing => None,
        }
    }

    /// Whether the secondary was told last that the nodes agree.
    pub(super) fn is_agreed(&self) -> bool {
        self.told == Some(Progress::Agreed)
    }

    /// Whether a step overlaps that is on its way, or waits to be: otherwise blocks that are
    /// written all the time would never be copied.
    pub(super) fn overlaps(&self, range: Range) -> bool {
        let blocked = self.blocked.iter();
        let blocked = blocked.map(|step| Range::new(step.offset, step.length));
        let mut steps = self.steps.values().map(|step| step.range).chain(blocked);
        steps.any(|step| step.overlaps(range))
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// Begins to copy what differs; if nothing does, the nodes only agree on that.
    pub(super) fn begin_copying(&mut self) {
        if !self.peer.is_up() {
            return;
        }
        self.copying.retry_at = None;
        // HAST §5.5: the secondary cannot know whether it is complete.
        match (self.copy, self.map.to_copy()) {
            // It is told when that is on both disks.
            (LocalCopy::Current, 0) => {}
            (LocalCopy::Current | LocalCopy::Failed { complete: false }, _) => {
                self.tell(Progress::Copying);
            }
            (LocalCopy::Catching | LocalCopy::Failed { complete: true }, _) => {
                self.tell(Progress::Agreed);
            }
        }
        if !self.has_disk() {
            return;
        }
        self.map.rewind();
        self.copying.phase = Phase::Walking;
        let extents = self.map.to_copy();
        if extents != 0 {
            let from_peer = self.copy == LocalCopy::Catching;
            self.event(Event::CopyStarted { extents, from_peer });
        }
    }

    /// Something differs that no walk may visit: a new one begins after a while.
    pub(super) fn copy_later(&mut self) {
        if !self.peer.is_up() {
            return;
        }
        if self.copy == LocalCopy::Current {
            self.tell(Progress::Copying);
        }
        if self.copying.retry_at.is_none() {
            self.copying.retry_at = self.now.map(|now| now + self.config.copy_retry);
        }
    }

    pub(super) fn tell(&mut self, progress: Progress) {
        if self.copying.told != Some(progress) {
            self.copying.told = Some(progress);
            self.send(Request::Progress(progress));
        }
    }

    /// The session is over, or the disk is not used any more.
    pub(super) fn abort_copying(&mut self) {
        if !self.peer.is_up() {
            self.copying.told = None;
        }
        self.copying.blocked = None;
        self.copying.retry_at = None;
        self.copying.due = None;
        self.copying.paced = false;
        for moving in self.copying.steps.values_mut() {
            moving.is_stale = true;
        }
        // Sealing of this node's own copy needs nobody else.
        if matches!(self.copying.phase, Phase::Walking | Phase::Settling) {
            self.copying.phase = Phase::Off;
            let extents = self.map.to_copy();
            if extents != 0 {
                self.event(Event::CopyInterrupted { extents });
            }
        }
        // Steps on their way belong to a walk of before from now on.
        self.map.rewind();
    }

    /// Does whatever the synchronisation can do by now.
    pub(super) fn advance_copying(&mut self, now: T) {
        match self.copying.phase {
            Phase::Off => {
                if self.copying.retry_at.is_some_and(|retry| retry <= now) {
                    self.begin_copying();
                    self.walk(now);
                }
            }
            Phase::Walking => self.walk(now),
            Phase::Settling => {}
            Phase::Sealing => self.seal(),
        }
    }

    /// Hands out as many steps as may be on their way.
    fn walk(&mut self, now: T) {
        if self.copying.phase != Phase::Walking {
            return;
        }
        if self.copying.paced && self.copying.due.is_some_and(|due| due > now) {
            return;
        }
        self.copying.paced = false;
        if self.copy == LocalCopy::Catching && !self.local.is_doubtful() {
            // Nothing is overwritten before the mark is on disk, which goes on from there.
            return;
        }
        // HAST §12.3: device requests come first.
        let busy = !self.writes.is_empty() || !self.reads.is_empty();
        let window = match busy {
            true => self.config.copy_window_busy,
            false => self.config.copy_window,
        };
        while self.copying.steps.len() < window.max(1) {
            let next = self.copying.blocked.take();
            let Some(step) = next.or_else(|| self.map.next_step(self.config.request_size)) else {
                if self.copying.steps.is_empty() {
                    self.end_walk(now);
                }
                return;
            };
            let range = Range::new(step.offset, step.length);
            // What waits for the peer, on the local disk, is waiting for this very step.
            let mut writes = self.writes.values().filter(|write| write.issued);
            let locked = writes.any(|write| write.range.overlaps(range) && !write.waits_alone())
                || self.copying.overlaps(range);
            if locked {
                self.copying.blocked = Some(step);
                return;
            }
            self.begin_step(step, range);
            if let Some(rate) = self.config.copy_rate {
                // A timer that rings late makes it no slower: the steps missed follow at once.
                let due = self.copying.due.filter(|due| *due + LATE >= now);
                let due = due.unwrap_or(now) + duration(range.length, rate);
                self.copying.due = Some(due);
                self.copying.paced = due > now;
                if self.copying.paced {
                    return;
                }
            }
        }
    }

    fn begin_step(&mut self, step: Step, range: Range) {
        let key = self.key();
        let (offset, length) = (range.offset, range.length);
        let moving = Moving {
            step,
            range,
            is_stale: false,
        };
        self.copying.steps.insert(key, moving);
        match self.copy {
            LocalCopy::Catching => {
                self.ask(Asked::CopyRead { key, length }, |sequence| Request::Read {
                    sequence,
                    offset,
                    length,
                })
            }
            LocalCopy::Current | LocalCopy::Failed { .. } => {
                self.operate(
                    Purpose::CopyRead(key),
                    DiskOperation::Read { offset, length },
                );
            }
        }
    }

    /// A step was read, here or there, or could not be.
    pub(super) fn on_copy_read(&mut self, key: u64, result: Result<Bytes, Errno>) {
        let Some(moving) = self.copying.steps.get(&key) else {
            return;
        };
        let (range, is_stale) = (moving.range, moving.is_stale);
        let data = match result {
            Ok(data) if Length::of(&data) == range.length => data,
            result => {
                if self.copy == LocalCopy::Current {
                    self.stats.read_errors = self.stats.read_errors.saturating_add(1);
                    let error = result.err().unwrap_or(Errno::EIO);
                    self.event(Event::LocalReadFailed(error));
                }
                self.end_step(key, StepOutcome::Failed);
                return;
            }
        };
        let (offset, length) = (range.offset, range.length);
        match self.copy {
            _ if is_stale => self.end_step(key, StepOutcome::Failed),
            LocalCopy::Catching => {
                self.operate(
                    Purpose::CopyWrite(key),
                    DiskOperation::Write { offset, data },
                );
            }
            LocalCopy::Current if self.peer.is_up() => match Payload::plain(data) {
                Some(payload) => self.ask(Asked::CopyWrite { key }, |sequence| Request::Write {
                    sequence,
                    offset,
                    length,
                    // HAST §3.1: never of the synchronisation.
                    memsync: false,
                    payload,
                }),
                None => self.end_step(key, StepOutcome::Failed),
            },
            LocalCopy::Current | LocalCopy::Failed { .. } => {
                self.end_step(key, StepOutcome::Failed)
            }
        }
    }

    /// A step was written by the peer, or could not be.
    pub(super) fn on_copy_written(&mut self, key: u64, result: Result<(), Errno>) {
        let outcome = match result {
            Ok(()) => StepOutcome::Copied,
            Err(_) => StepOutcome::Failed,
        };
        self.end_step(key, outcome);
    }

    /// A step was written here, or could not be.
    pub(super) fn on_local_copy_written(&mut self, now: T, key: u64, result: Result<Bytes, Errno>) {
        let result = result.map(|_| ());
        self.on_copy_written(key, result);
        if let Err(error) = result {
            self.stats.write_errors = self.stats.write_errors.saturating_add(1);
            self.fail_local(now, error);
        }
    }

    fn end_step(&mut self, key: u64, outcome: StepOutcome) {
        let Some(moving) = self.copying.steps.remove(&key) else {
            return;
        };
        let Moving {
            step,
            range,
            is_stale,
        } = moving;
        if outcome == StepOutcome::Copied {
            self.stats.copied = self.stats.copied.saturating_add(range.length.get());
            // Before the mark goes: it may be in a write cache.
            let unsettled = self.map.unsettle(range.offset, range.length);
            debug_assert!(unsettled.is_ok(), "{unsettled:?}");
        }
        if is_stale {
            // Its walk is over; and the map may be another one, that counts walks anew.
            return;
        }
        let finished = self.map.step_done(step, outcome);
        match finished.map(|finished| finished.agree) {
            Some(Agree::Yes) => self.reached(),
            Some(Agree::StepFailed) => self.copy_later(),
            Some(Agree::WriteMissed) | None => {}
        }
    }

    fn end_walk(&mut self, now: T) {
        let extents = self.map.to_copy();
        if extents == 0 {
            self.copying.phase = Phase::Settling;
            self.flush(None, true);
        } else {
            self.event(Event::CopyFailed { extents });
            self.copying.phase = Phase::Off;
            self.copying.retry_at = Some(now + self.config.copy_retry);
        }
    }

    /// What was copied is on both disks, or may not be.
    pub(super) fn on_copy_flushed(&mut self, flushed: bool) {
        if self.copying.phase != Phase::Settling || !self.peer.is_up() {
            return;
        }
        if !flushed {
            self.copying.phase = Phase::Off;
            self.copying.retry_at = self.now.map(|now| now + self.config.copy_retry);
            return;
        }
        if self.map.to_copy() != 0 {
            self.begin_copying();
            return;
        }
        // HAST §14.45: the counters return to the secondary's values.
        if let Some(counters) = self.counters.synchronised() {
            self.local.metadata.counters = counters;
            self.store_metadata();
        }
        self.copying.retry_at = None;
        self.local.map_is_due = true;
        self.copying.phase = Phase::Sealing;
        self.seal();
    }

    /// Ends a synchronisation when the counters are on disk: until then a crash of this node
    /// would make two that agree look as if both had written alone. Then the mark of the node
    /// that was copied to goes.
    fn seal(&mut self) {
        let catching = self.copy == LocalCopy::Catching;
        let possible = match self.copy {
            LocalCopy::Current => self.peer.is_up(),
            LocalCopy::Catching => !self.local.mark_failed,
            LocalCopy::Failed { .. } => false,
        };
        if !possible || self.map.to_copy() != 0 {
            self.copying.phase = Phase::Off;
            if catching {
                self.want_mark(Consistency::Inconsistent);
            }
            if self.has_disk() {
                self.copy_later();
            }
            return;
        }
        if !self.local.has_stored_all() {
            return;
        }
        if catching {
            if self.local.mark_wanted() != Consistency::Consistent {
                self.want_mark(Consistency::Consistent);
            }
            if !self.local.mark_is_stored() {
                return;
            }
            self.copy = LocalCopy::Current;
        } else {
            self.tell(Progress::Agreed);
        }
        self.copying.phase = Phase::Off;
        self.event(Event::CopyDone);
        self.advance_all_writes();
    }
}

/// How long so many octets take at a rate.
fn duration(length: Length, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(length.get()).saturating_mul(1_000_000_000) / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

//! The end: everything pending fails, what was acknowledged reaches the peer, and the disk comes
//! to rest.
//!
//! What the disk has not begun of a failed write may be left undone, as in a crash: its extents are
//! marked.

use core::ops::Add;
use core::time::Duration;

use super::{LocalCopy, Loss, Output, Primary, State, Write};
use crate::types::Errno;

/// How long acknowledged writes may take to reach the peer. A change of roles waits for it.
const LEAVE: Duration = Duration::from_secs(1);

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    pub(super) fn on_stop(&mut self, now: T) {
        // HAST §6.10: pending requests get ENXIO.
        let writes = core::mem::take(&mut self.writes);
        for (key, write) in writes {
            if write.is_acknowledged() {
                self.writes.insert(key, write);
            } else if write.answer.is_none() {
                self.complete(write.request(), Err(Errno::ENXIO));
            }
        }
        self.blocking.clear();
        self.ready.clear();
        self.fail_reads(Errno::ENXIO);
        let flushes = core::mem::take(&mut self.flushes);
        for request in flushes.values().filter_map(|flush| flush.request) {
            self.complete(request, Err(Errno::ENXIO));
        }
        for request in core::mem::take(&mut self.held_flushes) {
            self.complete(request, Err(Errno::ENXIO));
        }
        self.octets = 0;
        self.abort_copying();
        self.state = State::Leaving;
        self.leave_at = Some(now + LEAVE);
    }

    /// Leaves the peer when it has what was acknowledged, or time is up; then waits for the
    /// counter, if it has not.
    pub(super) fn leave(&mut self, now: T) {
        let in_time = self.leave_at.is_some_and(|at| now < at);
        if !self.writes.is_empty() && self.peer.is_up() && in_time {
            return;
        }
        self.leave_at = None;
        let lost = self.writes.values().any(Write::is_ahead);
        if lost && self.copy == LocalCopy::Current {
            // As good as written alone: the other node may be promoted without them.
            let _ = self.count_absence();
        }
        self.writes.clear();
        self.asked.clear();
        self.lose(now, Loss::Stopped);
        if !self.local.is_storing_metadata() {
            self.state = State::Stopping;
            self.stop_if_idle();
        }
    }

    pub(super) fn stop_if_idle(&mut self) {
        if self.operations.is_empty() && self.state == State::Stopping {
            self.state = State::Stopped;
            self.outputs.push_back(Output::Stopped);
        }
    }
}

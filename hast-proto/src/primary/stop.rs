//! The end: everything pending fails, and the disk comes to rest.

use core::ops::Add;
use core::time::Duration;

use super::{Loss, Output, Primary, State};
use crate::types::Errno;

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    pub(super) fn on_stop(&mut self, now: T) {
        // HAST §6.10: pending requests get ENXIO.
        let writes = core::mem::take(&mut self.writes);
        for write in writes.values().filter(|write| !write.answered) {
            self.complete(write.request(), Err(Errno::ENXIO));
        }
        self.blocking.clear();
        self.ready.clear();
        self.fail_reads(Errno::ENXIO);
        let flushes = core::mem::take(&mut self.flushes);
        for request in flushes.values().filter_map(|flush| flush.request) {
            self.complete(request, Err(Errno::ENXIO));
        }
        self.asked.clear();
        self.octets = 0;
        self.state = State::Stopping;
        self.lose(now, Loss::Stopped);
        self.stop_if_idle();
    }

    pub(super) fn stop_if_idle(&mut self) {
        if self.operations.is_empty() && self.state == State::Stopping {
            self.state = State::Stopped;
            self.outputs.push_back(Output::Stopped);
        }
    }
}

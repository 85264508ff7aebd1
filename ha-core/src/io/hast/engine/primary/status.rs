//! How a primary is.

use core::time::Duration;

use hast_proto::control::Queues;
use tokio::time::Instant;

use super::super::super::resource::{CopyProgress, PrimaryStatus};
use super::{Copying, PrimarySide, WISH_BITS};

impl PrimarySide {
    pub(in super::super) fn is_connected(&self) -> bool {
        self.machine.is_connected()
    }

    /// Octets in dirty extents, as `hastctl` shows them.
    pub(in super::super) fn dirty(&self) -> u64 {
        self.machine.map().dirty().get()
    }

    pub(in super::super) fn status(&self, now: Instant) -> PrimaryStatus {
        let machine = &self.machine;
        let (map, stats) = (machine.map(), machine.stats());
        let extent = u64::from(map.layout().extent_size().get());
        let to_copy = u64::from(map.to_copy()).saturating_mul(extent);
        let session = self.session.as_ref();
        PrimaryStatus {
            metadata: machine.metadata().clone(),
            copy: machine.copy(),
            in_sync: machine.is_in_sync(),
            peer: session.map(|session| session.peer),
            stats,
            wish: machine.wish().map(|wish| (self.term << WISH_BITS) + wish.0),
            held: self.held.len(),
            to_copy,
            copying: self
                .copying
                .map(|copying| progress(copying, now, stats.copied, to_copy)),
            queues: Queues {
                idle: 0,
                local: self.disk.pending() as u64,
                send: session.map_or(0, |session| session.unsent() as u64),
                receive: session.map_or(0, |session| session.unanswered),
                done: 0,
            },
        }
    }
}

fn progress(copying: Copying, now: Instant, copied: u64, left: u64) -> CopyProgress {
    let since = now.saturating_duration_since(copying.since);
    let copied = copied.saturating_sub(copying.copied_before);
    let nanoseconds = since.as_nanos().saturating_mul(left.into());
    let estimate = nanoseconds.checked_div(copied.into());
    CopyProgress {
        copied,
        left,
        since,
        estimate: estimate.map(|nanos| Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))),
        from_peer: copying.from_peer,
    }
}

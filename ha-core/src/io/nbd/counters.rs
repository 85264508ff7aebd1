//! What a server counts.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::nbd::Command;

/// What a server has counted since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections there are now, those in their handshake included.
    pub connections: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were turned away because there were too many.
    pub turned_away: u64,
    /// Connections that have ended with an error of any kind.
    pub broken: u64,
    /// READ requests.
    pub reads: u64,
    /// WRITE requests.
    pub writes: u64,
    /// FLUSH requests.
    pub flushes: u64,
    /// TRIM requests.
    pub trims: u64,
    /// WRITE_ZEROES requests.
    pub zeroes: u64,
    /// BLOCK_STATUS requests.
    pub statuses: u64,
    /// Octets of READ requests.
    pub octets_read: u64,
    /// Octets of WRITE requests.
    pub octets_written: u64,
    /// Requests that were not done because of what they are.
    pub refused: u64,
    /// Requests that the device has failed to do.
    pub failed: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connections: Count,
    pub(super) accepted: Count,
    pub(super) turned_away: Count,
    pub(super) broken: Count,
    reads: Count,
    writes: Count,
    flushes: Count,
    trims: Count,
    zeroes: Count,
    statuses: Count,
    octets_read: Count,
    octets_written: Count,
    pub(super) refused: Count,
    pub(super) failed: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn take_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    pub(super) fn request(&self, command: &Command) {
        let count = match command {
            Command::Read { length, .. } => {
                self.octets_read.add(u64::from(*length));
                &self.reads
            }
            Command::Write { data, .. } => {
                self.octets_written.add(data.len() as u64);
                &self.writes
            }
            Command::Flush => &self.flushes,
            Command::Trim { .. } => &self.trims,
            Command::WriteZeroes { .. } => &self.zeroes,
            Command::Status { .. } => &self.statuses,
        };
        count.add(1);
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            connections: self.connections.get(),
            accepted: self.accepted.get(),
            turned_away: self.turned_away.get(),
            broken: self.broken.get(),
            reads: self.reads.get(),
            writes: self.writes.get(),
            flushes: self.flushes.get(),
            trims: self.trims.get(),
            zeroes: self.zeroes.get(),
            statuses: self.statuses.get(),
            octets_read: self.octets_read.get(),
            octets_written: self.octets_written.get(),
            refused: self.refused.get(),
            failed: self.failed.get(),
        }
    }
}

//! The requests of a session, and which of them may be executed now.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use crate::disk::{DiskOperation, OperationId};
use crate::range::Range;
use crate::types::{Length, Offset, Sequence};

/// What a request wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Work {
    Read { offset: Offset, length: Length },
    Write { offset: Offset, data: Bytes },
    Delete { offset: Offset, length: Length },
    Flush,
}

impl Work {
    pub(super) const fn writes(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Delete { .. })
    }

    fn range(&self) -> Option<Range> {
        match self {
            Self::Read { offset, length } | Self::Delete { offset, length } => {
                Some(Range::new(*offset, *length))
            }
            Self::Write { offset, data } => Some(Range::new(*offset, Length::of(data))),
            Self::Flush => None,
        }
    }

    /// The memory that it holds until it is answered.
    fn octets(&self) -> usize {
        match self {
            Self::Read { length, .. } => length.to_usize().unwrap_or(usize::MAX),
            Self::Write { data, .. } => data.len(),
            Self::Delete { .. } | Self::Flush => 0,
        }
    }

    /// Whether it must not be executed before `earlier`, which has arrived before it.
    fn must_follow(&self, earlier: &Self) -> bool {
        match (self.range(), earlier.range()) {
            (Some(own), Some(other)) => (self.writes() || earlier.writes()) && own.overlaps(other),
            // A flush covers what was received before it; nothing waits for one.
            (None, Some(_)) => earlier.writes(),
            (_, None) => false,
        }
    }
}

/// A request that is to be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Job {
    pub(super) sequence: Sequence,
    pub(super) work: Work,
    running: bool,
}

impl Job {
    pub(super) const fn new(sequence: Sequence, work: Work) -> Self {
        Self {
            sequence,
            work,
            running: false,
        }
    }

    fn operation(&self) -> DiskOperation {
        match &self.work {
            Work::Read { offset, length } => DiskOperation::Read {
                offset: *offset,
                length: *length,
            },
            Work::Write { offset, data } => DiskOperation::Write {
                offset: *offset,
                data: data.clone(),
            },
            Work::Delete { offset, length } => DiskOperation::Delete {
                offset: *offset,
                length: *length,
            },
            Work::Flush => DiskOperation::Flush,
        }
    }
}

/// The requests in the order of their arrival, which is that of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    jobs: BTreeMap<OperationId, Job>,
    /// How many are not running.
    waiting: usize,
    octets: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn push(&mut self, id: OperationId, job: Job) {
        self.octets = self.octets.saturating_add(job.work.octets());
        self.waiting = self.waiting.saturating_add(1);
        self.jobs.insert(id, job);
    }

    /// Takes out a request that was executed.
    pub(super) fn finish(&mut self, id: OperationId) -> Option<Job> {
        if !self.jobs.get(&id)?.running {
            return None;
        }
        let job = self.jobs.remove(&id)?;
        self.octets = self.octets.saturating_sub(job.work.octets());
        Some(job)
    }

    /// Starts what depends on nothing before it; writes only if they are `allowed`.
    pub(super) fn start(
        &mut self,
        allowed: bool,
        mut emit: impl FnMut(OperationId, DiskOperation),
    ) {
        let mut after = None;
        while self.waiting != 0 {
            let ready = self.jobs.iter().find(|(id, job)| {
                after.is_none_or(|after| **id > after)
                    && !job.running
                    && (allowed || !job.work.writes())
                    && !self.depends(**id, &job.work)
            });
            let Some((&id, _)) = ready else {
                return;
            };
            after = Some(id);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.running = true;
                self.waiting = self.waiting.saturating_sub(1);
                emit(id, job.operation());
            }
        }
    }

    fn depends(&self, id: OperationId, work: &Work) -> bool {
        let mut earlier = self.jobs.range(..id);
        earlier.any(|(_, earlier)| work.must_follow(&earlier.work))
    }

    /// Forgets what nobody waits for any more: reads and flushes that are not running.
    pub(super) fn drop_reads(&mut self) {
        self.retain(|job| job.running || job.work.writes());
    }

    /// Forgets writes that are not running and never may.
    pub(super) fn drop_writes(&mut self) {
        self.retain(|job| job.running || !job.work.writes());
    }

    fn retain(&mut self, keep: impl Fn(&Job) -> bool) {
        self.jobs.retain(|_, job| keep(job));
        self.waiting = self.jobs.values().filter(|job| !job.running).count();
        self.octets = self.jobs.values().map(|job| job.work.octets()).sum();
    }
}

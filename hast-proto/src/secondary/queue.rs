//! The requests of a session, and which of them may be executed now.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::disk::{DiskOperation, OperationId};
use crate::range::{Range, Ranges};
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

    /// Whether the two must keep their order where they overlap.
    const fn conflicts(&self, other: &Self) -> bool {
        self.writes() || other.writes()
    }

    fn operation(&self) -> DiskOperation {
        match self {
            Self::Read { offset, length } => DiskOperation::Read {
                offset: *offset,
                length: *length,
            },
            Self::Write { offset, data } => DiskOperation::Write {
                offset: *offset,
                data: data.clone(),
            },
            Self::Delete { offset, length } => DiskOperation::Delete {
                offset: *offset,
                length: *length,
            },
            Self::Flush => DiskOperation::Flush,
        }
    }
}

/// A request that is to be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Job {
    pub(super) sequence: Sequence,
    pub(super) work: Work,
    running: bool,
    /// How many earlier ones it must follow because they overlap.
    blockers: usize,
}

impl Job {
    pub(super) const fn new(sequence: Sequence, work: Work) -> Self {
        Self {
            sequence,
            work,
            running: false,
            blockers: 0,
        }
    }
}

/// Requests that wait for no other one. Writes may have to wait for the mark.
#[derive(Clone, Debug, Default)]
struct Ready {
    writes: VecDeque<OperationId>,
    others: VecDeque<OperationId>,
}

impl Ready {
    fn push(&mut self, id: OperationId, work: &Work) {
        if work.writes() {
            self.writes.push_back(id);
        } else {
            self.others.push_back(id);
        }
    }
}

/// The requests in the order of their arrival, which is that of their numbers.
///
/// One that overlaps an earlier one, where one of the two writes, follows it; a flush follows
/// every write that was received before it. Nothing else waits for anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    jobs: BTreeMap<OperationId, Job>,
    /// Where they read or write.
    ranges: Ranges,
    /// Those that write.
    writes: BTreeSet<OperationId>,
    /// Flushes that are not ready.
    flushes: VecDeque<OperationId>,
    ready: Ready,
    octets: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn push(&mut self, id: OperationId, mut job: Job) {
        self.octets = self.octets.saturating_add(job.work.octets());
        match job.work.range() {
            None if job.running => {}
            None => self.flushes.push_back(id),
            Some(range) => {
                job.blockers = self.conflicting(&job.work, range);
                self.ranges.insert(id.get(), range);
                if job.work.writes() {
                    self.writes.insert(id);
                }
                if job.blockers == 0 && !job.running {
                    self.ready.push(id, &job.work);
                }
            }
        }
        self.jobs.insert(id, job);
    }

    /// Takes out a request that was executed.
    pub(super) fn finish(&mut self, id: OperationId) -> Option<Job> {
        if !self.jobs.get(&id)?.running {
            return None;
        }
        let job = self.jobs.remove(&id)?;
        self.octets = self.octets.saturating_sub(job.work.octets());
        self.writes.remove(&id);
        if let Some(range) = job.work.range() {
            self.ranges.remove(id.get(), range);
            for later in self.ranges.overlapping(range).map(OperationId::new) {
                let Some(waiting) = self.jobs.get_mut(&later) else {
                    continue;
                };
                if later > id && waiting.work.conflicts(&job.work) {
                    waiting.blockers = waiting.blockers.saturating_sub(1);
                    if waiting.blockers == 0 {
                        self.ready.push(later, &waiting.work);
                    }
                }
            }
        }
        Some(job)
    }

    /// Starts what waits for nothing any more; writes only if they are `allowed`.
    pub(super) fn start(
        &mut self,
        allowed: bool,
        mut emit: impl FnMut(OperationId, DiskOperation),
    ) {
        while let Some(flush) = self.flushes.front() {
            if self.writes.first().is_some_and(|write| write < flush) {
                break;
            }
            self.ready.others.extend(self.flushes.pop_front());
        }
        let writes = if allowed { self.ready.writes.len() } else { 0 };
        let writes = self.ready.writes.drain(..writes);
        for id in self.ready.others.drain(..).chain(writes) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.running = true;
                emit(id, job.work.operation());
            }
        }
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
        for (id, job) in core::mem::take(self).jobs {
            if keep(&job) {
                self.push(id, job);
            }
        }
    }

    /// Returns how many requests are in the way of a later one.
    fn conflicting(&self, work: &Work, range: Range) -> usize {
        let overlapping = self.ranges.overlapping(range).map(OperationId::new);
        overlapping
            .filter_map(|id| self.jobs.get(&id))
            .filter(|earlier| work.conflicts(&earlier.work))
            .count()
    }
}

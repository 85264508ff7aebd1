//! A record in memory.

use std::boxed::Box;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Arbiter, ArbiterError};
use crate::failover::{Answer, Query, Record, Revision};

/// A record in memory. Its clones share it: each node of a test gets one.
#[derive(Clone, Debug, Default)]
pub struct MemoryArbiter {
    stored: Arc<Mutex<Option<(Revision, Record)>>>,
}

impl MemoryArbiter {
    /// Begins without a record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Arbiter for MemoryArbiter {
    async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, changed) = apply(*stored, query);
        *stored = changed;
        Ok(answer)
    }
}

/// What a store answers that has this record, and what it has then.
pub(super) fn apply(
    stored: Option<(Revision, Record)>,
    query: Query,
) -> (Answer, Option<(Revision, Record)>) {
    let revision = stored.map(|(revision, _)| revision);
    match query {
        Query::Swap { expected, record } if expected == revision => {
            let next = revision.map_or(1, |revision| revision.get().saturating_add(1));
            let next = Revision::new(next);
            (Answer::Swapped(next), Some((next, record)))
        }
        Query::Read | Query::Swap { .. } => (Answer::Current(stored), stored),
    }
}

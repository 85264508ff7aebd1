//! The steps that run, each in a task of its own.

use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use tokio::task::{self, JoinSet};

use super::super::clock::sleep;
use super::super::job::{Cancel, Job, StepError};
use super::super::part::Part;
use super::handle::Running;
use crate::failover::{Action, Outcome, RunId, StepKind};

/// What ran, and how it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) run: RunId,
    pub(super) step: Arc<str>,
    pub(super) action: Action,
    /// Whether the storage may be another now.
    pub(super) concerns_storage: bool,
    pub(super) result: Result<(), StepError>,
}

impl Ended {
    pub(super) fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(()) => Outcome::Done,
            Err(StepError::Cancelled) => Outcome::Cancelled,
            Err(error) => Outcome::Failed { code: error.code() },
        }
    }
}

#[derive(Debug)]
struct Entry {
    task: task::Id,
    run: RunId,
    job: Job,
    cancel: Cancel,
    kind: StepKind,
}

/// Their tasks are aborted when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Steps {
    tasks: JoinSet<Result<(), StepError>>,
    entries: Vec<Entry>,
}

impl Steps {
    pub(super) fn begin(&mut self, run: RunId, part: Part, job: Job, cancel: Cancel) {
        let kind = part.kind();
        let order = job.clone();
        let task = self.tasks.spawn(async move { part.perform(&order).await });
        self.entries.push(Entry {
            task: task.id(),
            run,
            job,
            cancel,
            kind,
        });
    }

    pub(super) fn cancel(&self, run: RunId) {
        for entry in self.entries.iter().filter(|entry| entry.run == run) {
            entry.cancel.cancel();
        }
    }

    /// Waits until one has ended; for ever if none runs.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, result))) => (id, result),
                Some(Err(error)) => (error.id(), Err(StepError::Panicked)),
                None => core::future::pending().await,
            };
            let place = self.entries.iter().position(|entry| entry.task == id);
            if let Some(entry) = place.map(|place| self.entries.swap_remove(place)) {
                return Ended {
                    run: entry.run,
                    step: entry.job.step,
                    action: entry.job.action,
                    concerns_storage: entry.kind == StepKind::StorageRole,
                    result,
                };
            }
        }
    }

    pub(super) fn running(&self) -> Vec<Running> {
        let running = |entry: &Entry| Running {
            step: entry.job.step.clone(),
            action: entry.job.action,
            deadline: entry.job.deadline,
            cancelled: entry.job.is_cancelled(),
        };
        self.entries.iter().map(running).collect()
    }

    /// Ends all of them: politely, and those that have not ended by then by dropping them.
    pub(super) async fn end(&mut self, grace: Duration) {
        for entry in &self.entries {
            entry.cancel.cancel();
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = sleep(grace) => {}
        }
        self.tasks.shutdown().await;
        self.entries.clear();
    }
}

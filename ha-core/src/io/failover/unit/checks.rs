//! The health checks, each in a task of its own.

use std::sync::Arc;
use std::vec::Vec;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::super::super::clock;
use super::super::check::{Check, CheckError, Probe, When};
use super::super::clock::sleep;
use crate::failover::{CheckId, Health, State};

/// How many results wait to be taken before those who look have to.
const RESULTS: usize = 32;

/// What a look found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) check: CheckId,
    pub(super) result: Result<(), CheckError>,
}

impl Found {
    pub(super) fn health(&self) -> Health {
        match self.result {
            Ok(()) => Health::Good,
            Err(_) => Health::Bad,
        }
    }
}

/// Their tasks are aborted when this is dropped.
#[derive(Debug)]
pub(super) struct Checks {
    tasks: JoinSet<()>,
    results: mpsc::Receiver<Found>,
    state: watch::Sender<State>,
}

impl Checks {
    pub(super) fn spawn(checks: Vec<Check>, state: State) -> Self {
        let (sender, results) = mpsc::channel(RESULTS);
        let (publish, state) = watch::channel(state);
        let mut tasks = JoinSet::new();
        for (check, id) in checks.into_iter().zip((0..).map(CheckId::new)) {
            let looker = Looker {
                id,
                check,
                state: state.clone(),
                results: sender.clone(),
            };
            tasks.spawn(looker.look_on());
        }
        Self {
            tasks,
            results,
            state: publish,
        }
    }

    /// Takes note of the state, on which it depends which checks are made.
    pub(super) fn set_state(&self, state: State) {
        self.state.send_if_modified(|known| {
            let is_news = *known != state;
            *known = state;
            is_news
        });
    }

    /// Waits for a result; for ever if there is no check.
    pub(super) async fn next(&mut self) -> Found {
        match self.results.recv().await {
            Some(found) => found,
            None => core::future::pending().await,
        }
    }

    pub(super) async fn end(&mut self) {
        self.tasks.shutdown().await;
    }
}

struct Looker {
    id: CheckId,
    check: Check,
    state: watch::Receiver<State>,
    results: mpsc::Sender<Found>,
}

impl Looker {
    /// Looks until the unit has ended.
    async fn look_on(mut self) {
        loop {
            match self.check.when {
                When::Always => {
                    self.look().await;
                    sleep(self.check.interval).await;
                }
                When::Active { forgive } => {
                    if self.state.wait_for(is_active).await.is_err() {
                        return;
                    }
                    self.look_while_active().await;
                    // What was found has led to this, and cannot be found again from here.
                    tokio::select! {
                        biased;
                        _ = self.state.wait_for(is_active) => continue,
                        () = sleep(forgive) => {}
                    }
                    self.forgive().await;
                }
            }
        }
    }

    async fn look_while_active(&mut self) {
        let mut state = self.state.clone();
        let looks = async {
            loop {
                // What it looks at has only just begun to run.
                sleep(self.check.interval).await;
                self.look().await;
            }
        };
        tokio::select! {
            biased;
            _ = state.wait_for(|state| !is_active(state)) => {}
            () = looks => {}
        }
    }

    async fn look(&self) {
        let limit = self.check.limit;
        // A task of its own, in which a probe may panic.
        let mut probe = JoinSet::new();
        probe.spawn(watch_over(self.check.probe.clone()));
        let result = match clock::within(limit, probe.join_next()).await {
            Some(Some(Ok(result))) => result,
            Some(Some(Err(_)) | None) => Err(CheckError::Panicked),
            None => Err(CheckError::TimedOut { limit }),
        };
        self.say(result).await;
        // The next look begins when nothing is left of this one.
        probe.shutdown().await;
    }

    /// Says that all is well, as often as it takes.
    async fn forgive(&self) {
        for _ in 0..self.check.health.rise.get() {
            self.say(Ok(())).await;
        }
    }

    async fn say(&self, result: Result<(), CheckError>) {
        let check = self.id;
        // The unit may be gone; then this task is aborted soon.
        let _ = self.results.send(Found { check, result }).await;
    }
}

async fn watch_over(probe: Arc<dyn Probe>) -> Result<(), CheckError> {
    probe.look().await
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what `wait_for` hands over"
)]
fn is_active(state: &State) -> bool {
    *state == State::Active
}

//! What a step is asked to do, and how it fails.

use core::future::pending;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::command::CommandError;
#[cfg(target_os = "linux")]
use super::mount::MountError;
use crate::failover::{Action, Revision, StepKind};

/// What a step is asked to do: one run of one action.
///
/// Whoever carries it out must end when it is [cancelled](Self::cancelled), as soon as nothing of
/// it runs any more. A run that does not end is given up by the machine after a while, but
/// nothing else can take its place before it has ended.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to do.
    pub action: Action,
    /// The name of the step.
    pub step: Arc<str>,
    /// When it will be cancelled.
    pub deadline: Instant,
    /// The fencing token, if there is an arbiter.
    pub token: Option<Revision>,
    cancelled: watch::Receiver<bool>,
}

impl Job {
    /// Makes a job and the switch that cancels it. A job whose switch is dropped is never
    /// cancelled.
    #[must_use]
    pub fn new(
        action: Action,
        step: &str,
        deadline: Instant,
        token: Option<Revision>,
    ) -> (Self, Cancel) {
        let (cancel, cancelled) = watch::channel(false);
        let job = Self {
            action,
            step: step.into(),
            deadline,
            token,
            cancelled,
        };
        (job, Cancel(cancel))
    }

    /// Waits until the job is cancelled.
    pub async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Returns whether the job is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Runs `future`, which leaves nothing behind when it is dropped, until it ends or the job is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// Those of the future, and [`StepError::Cancelled`].
    pub async fn unless_cancelled<T>(
        &self,
        future: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        tokio::select! {
            biased;
            result = future => result,
            () = self.cancelled() => Err(StepError::Cancelled),
        }
    }
}

/// Cancels a [`Job`].
#[derive(Debug)]
pub struct Cancel(watch::Sender<bool>);

impl Cancel {
    /// Cancels it; to do so again changes nothing.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

/// Why a step was not done. Nothing of it still runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Something of the system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file system could not be mounted or unmounted.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A service is not in the state in which it should be.
    #[error("unit {unit} is {state}")]
    Unit {
        /// The unit of systemd.
        unit: Arc<str>,
        /// What systemd says about it.
        state: Box<str>,
    },
    /// No step of this kind is done or undone so.
    #[error("'{action}' is nothing for {kind:?}")]
    Foreign {
        /// The kind.
        kind: StepKind,
        /// What was asked of it.
        action: Action,
    },
    /// What carried it out panicked.
    #[error("it panicked")]
    Panicked,
    /// Something else, of an embedding program.
    #[error(transparent)]
    Other(Box<dyn core::error::Error + Send + Sync>),
}

impl StepError {
    /// Returns the exit status or error number; -1 if there is none.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Command(error) => error.code(),
            Self::Io(error) => error.raw_os_error().unwrap_or(-1),
            #[cfg(target_os = "linux")]
            Self::Mount(error) => error.code(),
            Self::Cancelled
            | Self::Unit { .. }
            | Self::Foreign { .. }
            | Self::Panicked
            | Self::Other(_) => -1,
        }
    }
}

//! Commanding a running unit, and asking what it does.

use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::State as Role;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use super::super::check::CheckError;
use super::super::part::StorageReport;
use super::UnitError;
use super::event::{UnitEvent, UnitEvents};
use crate::failover::{Action, Blocked, Cause, Command, Health, Preview, Refusal, State};

pub(super) type Reply<T> = oneshot::Sender<T>;

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Order {
    Command(Command, Reply<Result<(), Refusal>>),
    Preview(Command, Reply<Box<Preview>>),
    Status(Reply<UnitStatus>),
    Shutdown(Reply<Result<(), UnitError>>),
}

/// Why a unit does not do what it was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitCommandError {
    /// The machine refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The unit has ended.
    #[error("the unit has ended")]
    Ended,
}

/// Commands a running [`Unit`](super::Unit); clones command the same one.
///
/// A command is begun when it returns. What comes of it is told by events.
#[derive(Clone, Debug)]
pub struct UnitHandle {
    orders: mpsc::Sender<Order>,
    /// Weak, so that the events end with the unit.
    events: broadcast::WeakSender<UnitEvent>,
}

impl UnitHandle {
    pub(super) fn new(
        orders: mpsc::Sender<Order>,
        events: broadcast::WeakSender<UnitEvent>,
    ) -> Self {
        Self { orders, events }
    }

    /// Returns the events from now on; of a unit that has ended there are none.
    #[must_use]
    pub fn events(&self) -> UnitEvents {
        match self.events.upgrade() {
            Some(events) => UnitEvents::new(events.subscribe()),
            None => UnitEvents::none(),
        }
    }

    /// Gives a command. To end, use [`shutdown`](Self::shutdown), which waits for it.
    ///
    /// # Errors
    ///
    /// [`UnitCommandError::Refused`] with the reason, and when the unit has ended.
    pub async fn command(&self, command: Command) -> Result<(), UnitCommandError> {
        let answer = self.ask(|reply| Order::Command(command, reply)).await?;
        Ok(answer?)
    }

    /// Tells what a command would do, if all steps succeeded. Nothing is changed.
    ///
    /// # Errors
    ///
    /// When the unit has ended.
    pub async fn preview(&self, command: Command) -> Result<Preview, UnitCommandError> {
        let preview = self.ask(|reply| Order::Preview(command, reply)).await?;
        Ok(*preview)
    }

    /// Returns everything there is to know at this moment.
    ///
    /// # Errors
    ///
    /// When the unit has ended.
    pub async fn status(&self) -> Result<UnitStatus, UnitCommandError> {
        self.ask(Order::Status).await
    }

    /// Drains, demotes and ends the unit. Returns when that is done, or when its time is over.
    ///
    /// # Errors
    ///
    /// [`UnitError::Unfinished`] if not everything could be undone in time; the unit has ended
    /// all the same. [`UnitError::Ended`] if it had ended before.
    pub async fn shutdown(&self) -> Result<(), UnitError> {
        match self.ask(Order::Shutdown).await {
            Ok(result) => result,
            Err(_) => Err(UnitError::Ended),
        }
    }

    /// Waits until the unit has ended, in whatever way.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, UnitCommandError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.send(order(reply)).await;
        sent.map_err(|_| UnitCommandError::Ended)?;
        answer.await.map_err(|_| UnitCommandError::Ended)
    }
}

/// What a unit is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnitStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The state of its machine.
    pub state: State,
    /// The roles of its groups of addresses.
    pub roles: Arc<[Role]>,
    /// What its storage says, if it has some.
    pub storage: Option<StorageReport>,
    /// Why this node is not promoted, if it is not.
    pub blocked: Option<Blocked>,
    /// For what this node is demoted.
    pub causes: Vec<Cause>,
    /// What runs: one step, and those that were given up and have not ended.
    pub running: Vec<Running>,
    /// Its health checks.
    pub checks: Vec<CheckStatus>,
    /// How many events of the machine were lost.
    pub lost_events: u64,
}

/// A step that runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// Its name.
    pub step: Arc<str>,
    /// What is being done.
    pub action: Action,
    /// When it will be cancelled, or was to be.
    pub deadline: Instant,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// A health check of a [`UnitStatus`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it counts as well.
    pub verdict: Health,
    /// Why the last look was not well, if it was not.
    pub error: Option<Arc<CheckError>>,
}

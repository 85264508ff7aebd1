//! The loop that runs a failover machine.

mod asking;
mod checks;
mod engine;
mod event;
mod handle;
mod setup;
mod steps;
mod storage;
mod voter;

use core::pin::pin;
use core::time::Duration;
use std::vec::Vec;

use tokio::sync::{broadcast, mpsc};

use self::engine::Engine;
pub use self::event::{UnitEvent, UnitEventKind, UnitEvents};
use self::handle::Order;
pub use self::handle::{CheckStatus, Running, UnitCommandError, UnitHandle, UnitStatus};
pub use self::setup::{UnitSetup, UnitSetupError};
use super::super::clock;
use crate::failover::State;

/// How many commands wait to be carried out before those who give them have to.
const COMMANDS: usize = 32;
/// How many inputs are taken in a row while the machine's deadline is over.
const INPUTS_PER_TURN: u32 = 64;

/// Runs a [`Failover`](crate::failover::Failover): hands it what happens, and has done what it
/// says. The runtime must have I/O and time enabled.
///
/// # What it promises
///
/// - **No step runs twice at once**, whatever happens. A step that is cancelled is waited for,
///   and its processes are killed if they do not end by themselves.
/// - **Nothing waits for a step, a check, the arbiter or the protocol of the addresses**: each
///   runs in a task of its own. One that panics has failed.
/// - **What happened before a deadline is known before it.** Inputs are taken before the machine
///   is told that time has passed, up to a bound.
/// - **What is level is read as level.** Roles and storage are handed in as they are now, after
///   each step of the storage again, and demotions are given to the protocol until it has them.
/// - **Everything is bounded**: commands, events, captured output, and the threads of checks.
///
/// # When it ends
///
/// [`UnitHandle::shutdown`] drains, demotes and ends. This node stays demoted for the reason
/// `NAME: ended` then, as nothing here could serve, until a unit of the same name begins.
///
/// If the future of [`run`](Self::run) is dropped, that is a crash of the unit: what is mounted
/// stays mounted, and what is served is served. Child processes of steps and checks are killed;
/// the next start finds the rest and undoes it.
#[derive(Debug)]
pub struct Unit {
    engine: Engine,
    shutdown: Duration,
    orders: mpsc::Receiver<Order>,
    handle: UnitHandle,
    events: UnitEvents,
}

/// How a unit ended other than well.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not everything could be undone within the time for a shutdown. Steps that still ran were
    /// ended; what they were to undo is still there.
    #[error("the unit was {state} when the time for its shutdown was over")]
    Unfinished {
        /// In which state.
        state: State,
    },
    /// It had ended before.
    #[error("the unit has ended already")]
    Ended,
}

impl Unit {
    /// Makes a unit of a setup. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`UnitSetupError`], which says what is wrong.
    pub fn new(setup: UnitSetup) -> Result<Self, UnitSetupError> {
        let (sender, orders) = mpsc::channel(COMMANDS);
        // The channel panics on 0 and on what cannot be rounded up to a power of two.
        let (events, receiver) = broadcast::channel(setup.events.clamp(1, 1 << 20));
        let handle = UnitHandle::new(sender, events.downgrade());
        let shutdown = setup.shutdown;
        Ok(Self {
            engine: Engine::new(setup, events)?,
            shutdown,
            orders,
            handle,
            events: UnitEvents::new(receiver),
        })
    }

    /// Returns a handle to command the unit by.
    #[must_use]
    pub fn handle(&self) -> UnitHandle {
        self.handle.clone()
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> UnitEvents {
        self.events.clone()
    }

    /// Runs until [`UnitHandle::shutdown`] is called and done. A unit whose handles are all
    /// dropped goes on.
    ///
    /// # Errors
    ///
    /// [`UnitError::Unfinished`], as the shutdown.
    pub async fn run(self) -> Result<(), UnitError> {
        let Self {
            mut engine,
            shutdown,
            mut orders,
            handle,
            events,
        } = self;
        // These two would keep the channels open for ever.
        drop((handle, events));
        let mut waiting = Vec::new();
        let mut ends_at = None;
        let mut commanded = true;
        let mut inputs = 0;
        let mut alarm = pin!(clock::alarm());
        engine.start();
        let result = loop {
            if engine.has_ended() {
                break Ok(());
            }
            if ends_at.is_some_and(|end| end <= clock::now()) {
                let state = engine.state();
                break Err(UnitError::Unfinished { state });
            }
            let deadlines = [engine.deadline(), ends_at];
            let deadline = deadlines.into_iter().flatten().min();
            if let Some(deadline) = deadline {
                alarm.as_mut().reset(deadline);
            }
            inputs += 1;
            if inputs > INPUTS_PER_TURN {
                inputs = 0;
                engine.on_time();
            }
            tokio::select! {
                biased;
                order = orders.recv(), if commanded => match order {
                    Some(Order::Shutdown(reply)) => {
                        waiting.push(reply);
                        engine.shut_down();
                        ends_at = ends_at.or_else(|| Some(clock::now() + shutdown));
                    }
                    Some(order) => engine.obey(order),
                    None => commanded = false,
                },
                () = engine.wait() => {}
                () = alarm.as_mut(), if deadline.is_some() => {
                    inputs = 0;
                    engine.on_time();
                }
            }
        };
        engine.finish().await;
        for reply in waiting {
            // Whoever asked may be gone.
            let _ = reply.send(result);
        }
        result
    }
}

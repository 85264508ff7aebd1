//! What decisions do to the machine underneath.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use carp_proto::{Dialect, Family, MacAddr, Vhid};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::clock;
use super::{CommandError, HostId};

/// How long an effect that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How this machine serves the shared addresses of one virtual host.
///
/// The driver runs the effects of each virtual host one after the other, in the order in which
/// they were decided, in a task of their own: a slow one delays neither advertisements nor
/// other virtual hosts. One that was decided but not begun is left out when a later decision
/// makes it pointless. Of two that change the addresses only the later is run, so each must be
/// right whatever went before: the first call may be a `release`, and an `acquire` may follow
/// an `acquire`.
///
/// An effect that exceeds [`Limits::effect`](super::Limits::effect) is dropped where it waits,
/// and counts as failed. An `acquire` or `release` that failed is tried again after a second,
/// until it succeeds or a later decision takes its place; meanwhile nothing is announced.
///
/// Code that blocks must go to [`spawn_blocking`](tokio::task::spawn_blocking), and must bound
/// itself below that limit: nothing stops a blocking thread, so one that outlives its effect
/// goes on beside the next one, and may undo it.
///
/// The trait is meant for the attribute of the crate `async-trait`, which is found here as well:
///
/// ```
/// use std::io;
/// use ha_core::carp_proto::Family;
/// use ha_core::io::{Effects, Service, async_trait};
///
/// struct Log;
///
/// #[async_trait]
/// impl Effects for Log {
///     async fn acquire(&mut self, service: &Service) -> io::Result<()> {
///         println!("serving {:?}", service.addresses);
///         Ok(())
///     }
///
///     async fn release(&mut self, service: &Service) -> io::Result<()> {
///         println!("no longer serving {:?}", service.addresses);
///         Ok(())
///     }
///
///     async fn announce(&mut self, _: &Service, family: Family) -> io::Result<()> {
///         println!("here I am, over {family}");
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Effects: Send {
    /// Serves exactly these addresses: those that are not served yet are added, those that
    /// are no longer in the list are removed.
    ///
    /// # Errors
    ///
    /// Whatever prevents it. The driver tells about it in an event and tries again after a
    /// second; the role is kept.
    async fn acquire(&mut self, service: &Service) -> io::Result<()>;

    /// Ceases to serve the addresses.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    async fn release(&mut self, service: &Service) -> io::Result<()>;

    /// Tells the neighbours by which host the addresses of `family` are reached now.
    ///
    /// # Errors
    ///
    /// Whatever prevents it. The driver tells about it in an event.
    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()>;
}

/// What is served.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Service {
    /// The group.
    pub vhid: Vhid,
    /// Whose rules it follows.
    pub dialect: Dialect,
    /// Its shared addresses at the time of the decision.
    pub addresses: Arc<[IpAddr]>,
}

impl Service {
    /// Returns the virtual MAC address by which the addresses of `family` are to be reached.
    #[must_use]
    pub fn mac(&self, family: Family) -> MacAddr {
        self.dialect.mac(self.vhid, family)
    }
}

/// One of the methods of [`Effects`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the methods of the trait")]
pub enum Effect {
    /// [`Effects::acquire`].
    Acquire,
    /// [`Effects::release`].
    Release,
    /// [`Effects::announce`].
    Announce(Family),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire => f.write_str("acquire"),
            Self::Release => f.write_str("release"),
            Self::Announce(family) => write!(f, "announce {family}"),
        }
    }
}

/// The effects of one virtual host that were decided and not yet done: at most one change of
/// the addresses and one announcement of each family.
#[derive(Debug)]
pub(super) struct Pending {
    waiting: VecDeque<Effect>,
    running: Option<Effect>,
    /// The change of the addresses that failed, and when it is tried again. What waits are
    /// announcements, which wait for that, too.
    retry: Option<(Effect, Instant)>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(3),
            running: None,
            retry: None,
        }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        if !matches!(effect, Effect::Announce(_)) {
            self.retry = None;
        }
        match effect {
            Effect::Acquire => self.waiting.retain(|e| matches!(e, Effect::Announce(_))),
            // Nothing may be announced any more, either.
            Effect::Release => self.waiting.clear(),
            Effect::Announce(_) => self.waiting.retain(|e| *e != effect),
        }
        self.waiting.push_back(effect);
    }

    /// Takes what can be begun now.
    pub(super) fn begin(&mut self) -> Option<Effect> {
        if self.running.is_some() || self.retry.is_some() {
            return None;
        }
        self.running = self.waiting.pop_front();
        self.running
    }

    /// Takes note that what ran has ended, and tells what that was.
    pub(super) fn end(&mut self) -> Option<Effect> {
        self.running.take()
    }

    /// Has an effect that failed tried again, unless a later decision replaces it or it was
    /// but an announcement.
    pub(super) fn fail(&mut self, now: Instant, effect: Effect) {
        let is_announcement = |e: &Effect| matches!(e, Effect::Announce(_));
        if !is_announcement(&effect) && self.waiting.iter().all(is_announcement) {
            self.retry = Some((effect, now + RETRY));
        }
    }

    /// When an effect that failed is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry.map(|(_, at)| at)
    }

    /// Makes an effect ready to be begun again.
    pub(super) fn retry(&mut self) {
        if let Some((effect, _)) = self.retry.take() {
            self.waiting.push_front(effect);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is left but to try again.
    pub(super) fn is_failing(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether the addresses are still to be released.
    pub(super) fn is_releasing(&self) -> bool {
        let retried = self.retry.map(|(effect, _)| effect);
        self.running == Some(Effect::Release)
            || retried == Some(Effect::Release)
            || self.waiting.contains(&Effect::Release)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.running.is_some()) + usize::from(self.retry.is_some())
    }
}

/// An order to the task that owns the effects of a virtual host.
#[derive(Debug)]
pub(super) enum Order {
    /// To do something.
    Do(Job),
    /// To drop the effects, and to tell when that is done.
    End(oneshot::Sender<Result<(), CommandError>>),
}

/// An effect to be done.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) effect: Effect,
    pub(super) service: Service,
}

/// What became of a job.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) host: HostId,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// It ended by itself or by the time limit.
    Ended {
        effect: Effect,
        took: Duration,
        result: io::Result<()>,
    },
    /// It panicked, and its task ends.
    Panicked,
}

/// The task that owns the effects of a virtual host; it ends with the host.
pub(super) async fn work(
    host: HostId,
    mut effects: Box<dyn Effects>,
    mut orders: mpsc::Receiver<Order>,
    reports: mpsc::UnboundedSender<Report>,
    limit: Duration,
) {
    let mut sentinel = Sentinel {
        host,
        reports,
        busy: false,
    };
    while let Some(order) = orders.recv().await {
        let Job { effect, service } = match order {
            Order::Do(job) => job,
            Order::End(reply) => {
                drop(effects);
                // Whoever asked may be gone.
                let _ = reply.send(Ok(()));
                return;
            }
        };
        sentinel.busy = true;
        let began = clock::now();
        let run = async {
            match effect {
                Effect::Acquire => effects.acquire(&service).await,
                Effect::Release => effects.release(&service).await,
                Effect::Announce(family) => effects.announce(&service, family).await,
            }
        };
        let result = clock::within(limit, run)
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let took = clock::now().saturating_duration_since(began);
        sentinel.busy = false;
        sentinel.report(Outcome::Ended {
            effect,
            took,
            result,
        });
    }
}

/// Reports a panic, which unwinds through it.
struct Sentinel {
    host: HostId,
    reports: mpsc::UnboundedSender<Report>,
    busy: bool,
}

impl Sentinel {
    fn report(&self, outcome: Outcome) {
        // Fails only if the driver is gone.
        let _ = self.reports.send(Report {
            host: self.host,
            outcome,
        });
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if self.busy {
            self.report(Outcome::Panicked);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn all(pending: &mut Pending) -> Vec<Effect> {
        core::iter::from_fn(|| {
            let effect = pending.begin();
            pending.end();
            effect
        })
        .collect()
    }

    #[test]
    fn effects_run_one_at_a_time_in_order() {
        let mut pending = Pending::new();
        pending.push(Effect::Acquire);
        pending.push(Effect::Announce(Family::V4));
        assert_eq!(pending.begin(), Some(Effect::Acquire));
        assert_eq!(pending.begin(), None);
        pending.end();
        assert_eq!(pending.begin(), Some(Effect::Announce(Family::V4)));
        pending.end();
        assert!(pending.is_idle());
    }

    #[test]
    fn nothing_is_announced_after_a_release() {
        let mut pending = Pending::new();
        pending.push(Effect::Acquire);
        pending.push(Effect::Announce(Family::V4));
        pending.push(Effect::Announce(Family::V6));
        pending.push(Effect::Release);
        assert!(pending.is_releasing());
        assert_eq!(all(&mut pending), [Effect::Release]);
    }

    #[test]
    fn what_failed_is_retried_before_anything_is_announced_unless_it_is_replaced() {
        let now = clock::now();
        let mut pending = Pending::new();
        pending.push(Effect::Acquire);
        pending.push(Effect::Announce(Family::V4));
        assert_eq!(pending.begin(), Some(Effect::Acquire));
        assert_eq!(pending.end(), Some(Effect::Acquire));
        pending.fail(now, Effect::Acquire);
        assert_eq!((pending.begin(), pending.len()), (None, 2));
        assert_eq!(pending.retry_at(), Some(now + RETRY));
        pending.retry();
        assert_eq!(
            all(&mut pending),
            [Effect::Acquire, Effect::Announce(Family::V4)]
        );

        pending.fail(now, Effect::Release);
        assert!(pending.is_releasing());
        pending.push(Effect::Acquire);
        assert!(!pending.is_releasing());
        pending.fail(now, Effect::Release);
        assert_eq!(all(&mut pending), [Effect::Acquire]);
        pending.fail(now, Effect::Announce(Family::V4));
        assert!(pending.is_idle());
    }

    #[test]
    fn however_much_is_decided_little_waits() {
        let mut pending = Pending::new();
        for _ in 0..100 {
            pending.push(Effect::Release);
            pending.push(Effect::Announce(Family::V6));
            pending.push(Effect::Acquire);
            pending.push(Effect::Announce(Family::V4));
        }
        assert_eq!(pending.len(), 3);
        assert_eq!(
            all(&mut pending),
            [
                Effect::Announce(Family::V6),
                Effect::Acquire,
                Effect::Announce(Family::V4)
            ]
        );
    }
}

//! What the listening sockets and the resources of a node share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

#[cfg(feature = "tls")]
use super::event::OpeningError;
use super::event::{Event, EventKind, Events};
#[cfg(feature = "tls")]
use super::tls::{Identity, Refusal};

/// How many connections a node has not used since it was made, by the reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct NodeStats {
    /// They were not from the `remote` of any resource.
    pub strangers: u64,
    /// There were too many from one address.
    pub too_many: u64,
    /// They did not say in time what they are for.
    pub no_opening: u64,
    /// They were for a resource that is not configured.
    pub not_configured: u64,
    /// The handshake of HAST has refused them.
    pub refused: u64,
    /// The handshake of TLS has failed, on either side.
    pub tls_failed: u64,
    /// They were plain, for a resource that is replicated in TLS only.
    pub tls_missing: u64,
    /// They were in TLS, for a resource that is replicated without, or where a node has no
    /// certificate.
    pub tls_unwanted: u64,
    /// Their certificate was another node's, or not for the resource.
    pub tls_certificate: u64,
}

/// What they share; clones share the same.
#[derive(Clone)]
pub(super) struct Shared {
    events: broadcast::Sender<Event>,
    stats: Arc<Mutex<NodeStats>>,
    #[cfg(feature = "tls")]
    identity: Arc<Mutex<Option<Identity>>>,
}

impl Shared {
    pub(super) fn new(events: usize) -> Self {
        let (events, _) = broadcast::channel(events.max(1));
        Self {
            events,
            stats: Arc::default(),
            #[cfg(feature = "tls")]
            identity: Arc::default(),
        }
    }

    /// Tells an event, and counts it if it is a refusal.
    pub(super) fn tell(&self, event: Event) {
        let refusal = lock(&self.stats).count(&event.kind);
        if let Some(reason) = refusal {
            tell_figure(reason);
        }
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(super) fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    pub(super) fn stats(&self) -> NodeStats {
        *lock(&self.stats)
    }

    /// Who this node is.
    #[cfg(feature = "tls")]
    pub(super) fn identity(&self) -> Option<Identity> {
        lock(&self.identity).clone()
    }

    #[cfg(feature = "tls")]
    pub(super) fn set_identity(&self, identity: Option<Identity>) {
        *lock(&self.identity) = identity;
    }
}

#[cfg(feature = "metrics")]
fn tell_figure(reason: &'static str) {
    metrics::counter!("hast_refusals_total", "reason" => reason).increment(1);
}

#[cfg(not(feature = "metrics"))]
const fn tell_figure(_reason: &'static str) {}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds it can panic half-way through a change.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeStats {
    /// Counts an event, if it is a refusal, and returns what it is counted as.
    fn count(&mut self, kind: &EventKind) -> Option<&'static str> {
        let (count, reason) = match kind {
            EventKind::Stranger(_) => (&mut self.strangers, "stranger"),
            EventKind::TooManyConnections(_) => (&mut self.too_many, "too-many"),
            #[cfg(feature = "tls")]
            EventKind::NoOpening {
                error: OpeningError::Tls(reason),
                ..
            }
            | EventKind::Unproven { reason, .. } => match reason {
                Refusal::Handshake(_) => (&mut self.tls_failed, "tls-failed"),
                Refusal::Plain => (&mut self.tls_missing, "tls-missing"),
                Refusal::Unwanted | Refusal::NoIdentity => (&mut self.tls_unwanted, "tls-unwanted"),
                Refusal::Name { .. } | Refusal::Resource { .. } => {
                    (&mut self.tls_certificate, "tls-certificate")
                }
            },
            EventKind::NoOpening { .. } => (&mut self.no_opening, "no-opening"),
            EventKind::NotConfigured { .. } => (&mut self.not_configured, "not-configured"),
            EventKind::Refused { .. } => (&mut self.refused, "refused"),
            _ => return None,
        };
        *count = count.saturating_add(1);
        Some(reason)
    }
}

//! What a driver tells about.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use carp_proto::{DemotionReason, Discard, Family, Vhid};
use tokio::time::Instant;

use super::effects::Effect;
use super::events::EventStream;
use super::{HostId, SegmentId};

/// Something an operator may want to know, and when it happened. `Display` is a line for a log,
/// without the time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A virtual host changed its state, or has something else to say. That it
    /// [refused](carp_proto::Event::Refused) something is told at most once a second, while
    /// [`Stats`](carp_proto::Stats) count the echoes and replays.
    Protocol {
        /// Which one.
        host: HostId,
        /// Its group.
        vhid: Vhid,
        /// What it says.
        event: carp_proto::Event,
    },
    /// The demotion level changed.
    Demotion {
        /// What was added to it.
        adjustment: i32,
        /// What it is now.
        level: i32,
        /// Why.
        cause: DemotionCause,
    },
    /// An effect was done.
    Done {
        /// For which virtual host.
        host: HostId,
        /// Its group.
        vhid: Vhid,
        /// What was done.
        effect: Effect,
        /// How long it took.
        took: Duration,
    },
    /// An effect failed, or exceeded its time. The virtual host keeps its role; what changes
    /// the addresses is tried again after a second.
    Failed {
        /// For which virtual host.
        host: HostId,
        /// Its group.
        vhid: Vhid,
        /// What failed.
        effect: Effect,
        /// Why.
        error: Arc<io::Error>,
    },
    /// The effects of a virtual host panicked. It takes part no longer, as this machine cannot
    /// serve its addresses.
    Panicked {
        /// Which one.
        host: HostId,
        /// Its group.
        vhid: Vhid,
    },
    /// An advertisement could not be sent; told once until one of that family can be sent
    /// again.
    NotSent {
        /// Whose.
        host: HostId,
        /// Its group.
        vhid: Vhid,
        /// By which family.
        family: Family,
        /// Why.
        error: Arc<io::Error>,
    },
    /// A packet was discarded; told at most once a second for each segment, while
    /// [`Stats`](carp_proto::Stats) count all of them.
    Discarded {
        /// Where it was received.
        segment: SegmentId,
        /// Its source address.
        source: IpAddr,
        /// Why.
        discard: Discard,
    },
    /// Packets could not be read. The driver tries again after a second.
    NotReceived {
        /// Where.
        segment: SegmentId,
        /// Why.
        error: Arc<io::Error>,
    },
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { vhid, event, .. } => write!(f, "vhid {vhid}: {event}"),
            // The kernel's log line, less its prefix (CARP §3.4.2).
            Self::Demotion {
                adjustment,
                level,
                cause,
            } => {
                write!(f, "demoted by {adjustment} to {level} ({cause})")
            }
            Self::Done {
                vhid, effect, took, ..
            } => {
                write!(f, "vhid {vhid}: {effect} done in {took:?}")
            }
            Self::Failed {
                vhid,
                effect,
                error,
                ..
            } => {
                write!(f, "vhid {vhid}: {effect} failed: {error}")
            }
            Self::Panicked { vhid, .. } => write!(f, "vhid {vhid}: its effects panicked"),
            Self::NotSent {
                vhid,
                family,
                error,
                ..
            } => {
                write!(
                    f,
                    "vhid {vhid}: no advertisement sent over {family}: {error}"
                )
            }
            Self::Discarded {
                segment,
                source,
                discard,
            } => {
                write!(
                    f,
                    "segment {segment}: discarded a packet from {source}: {discard}"
                )
            }
            Self::NotReceived { segment, error } => {
                write!(f, "segment {segment}: cannot receive: {error}")
            }
        }
    }
}

/// Why the demotion level changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DemotionCause {
    /// A virtual host noticed trouble, or its end.
    Protocol {
        /// Which one.
        host: HostId,
        /// Why.
        reason: DemotionReason,
    },
    /// The operator's reason of this name was given, changed or withdrawn.
    Named(Arc<str>),
}

impl fmt::Display for DemotionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { reason, .. } => reason.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The events of a driver, which keeps [`Limits::events`](super::Limits::events) for a reader.
pub type Events = EventStream<Event>;

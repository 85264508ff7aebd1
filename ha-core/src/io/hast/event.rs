//! What a node tells.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::sync::Arc;

use hast_proto::control::SplitBrain;
use hast_proto::discard::Discarded;
use hast_proto::handshake::Refusing;
use hast_proto::hooks::HookEvent;
use hast_proto::{Errno, ResourceName, Role, Version, decision, primary, secondary};

use super::super::events::EventStream;
use super::provider::ProviderError;

/// Something that has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// To which resource; `None` for what concerns the listening sockets.
    pub resource: Option<ResourceName>,
    /// What.
    pub kind: EventKind,
    /// What a program configured by `exec` is told, if anything (HAST §10.1).
    pub hook: Option<HookEvent>,
}

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// The role has changed.
    Role {
        /// From this one.
        old: Role,
        /// To this one.
        new: Role,
    },
    /// A primary tells.
    Primary(primary::Event),
    /// The address of the peer cannot be found, or no connection be made to it.
    Unreachable {
        /// The address, if it is known.
        address: Option<SocketAddr>,
        /// Why.
        error: Arc<io::Error>,
    },
    /// A secondary's session has begun.
    SessionBegun {
        /// The primary's address.
        peer: SocketAddr,
        /// The version negotiated.
        version: Version,
        /// Why it was decided so.
        rule: decision::Rule,
    },
    /// A secondary's session tells.
    Secondary(secondary::Event),
    /// It has ended.
    SessionEnded(secondary::End),
    /// A peer was refused.
    Refused {
        /// The peer.
        peer: SocketAddr,
        /// Why.
        reason: Refusing,
    },
    /// A connection, of either direction, was not used for want of proof.
    #[cfg(feature = "tls")]
    Unproven {
        /// The peer.
        peer: SocketAddr,
        /// Why.
        reason: super::tls::Refusal,
    },
    /// A peer asked for a resource that is not configured.
    NotConfigured {
        /// The peer.
        peer: SocketAddr,
        /// What it asked for.
        resource: ResourceName,
    },
    /// A connection was closed because it is not from the `remote` of any resource.
    Stranger(IpAddr),
    /// A connection was closed because it said nothing useful in time.
    NoOpening {
        /// The peer.
        peer: SocketAddr,
        /// What is wrong.
        error: OpeningError,
    },
    /// There were too many connections that had said nothing yet.
    TooManyConnections(IpAddr),
    /// No connection could be accepted.
    NotAccepted(Arc<io::Error>),
    /// Both nodes have written alone, and neither gives way. It is told when it is found, and when
    /// the figures change.
    SplitBrain {
        /// The peer.
        peer: Option<SocketAddr>,
        /// What each of them has.
        found: SplitBrain,
    },
    /// What this node had changed alone was saved, and is discarded.
    Discarded(Discarded),
    /// Whoever had ordered a discard went before the file was whole: nothing is discarded.
    DiscardGivenUp,
    /// The provider could not be opened.
    Provider(Arc<ProviderError>),
    /// The metadata block was torn, and the half of it that is whole was taken; see
    /// [`provider`](super::provider).
    Recovered,
    /// The metadata block could not be written when a peer's identity was to be adopted.
    NotAdopted(Errno),
}

/// Why the first message on a connection is none.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// It did not come in time.
    #[error("nothing was said in time")]
    TimedOut,
    /// The connection has ended.
    #[error("connection closed")]
    Closed,
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] hast_proto::frame::FrameError),
    /// What came is no opening.
    #[error(transparent)]
    Message(#[from] hast_proto::message::MessageError),
    /// It was to come in TLS.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] super::tls::Refusal),
}

impl Event {
    pub(super) fn of(resource: &ResourceName, kind: EventKind, hook: Option<HookEvent>) -> Self {
        let resource = Some(resource.clone());
        Self {
            resource,
            kind,
            hook,
        }
    }

    pub(super) const fn of_node(kind: EventKind) -> Self {
        Self {
            resource: None,
            kind,
            hook: None,
        }
    }
}

/// The events of a node, which keeps [`NodeLimits::events`](super::NodeLimits::events) for a reader.
pub type Events = EventStream<Event>;

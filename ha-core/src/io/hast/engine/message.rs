//! What the task of a resource is told.

use core::net::{IpAddr, SocketAddr};
use std::boxed::Box;
use std::vec::Vec;

use bytes::Bytes;
use hast_proto::Errno;
use hast_proto::discard::Discarded;
use hast_proto::handshake::Access;
use hast_proto::handshake::connecting::Which;
use hast_proto::message::Opening;
use hast_proto::primary::{DeviceRequest, Provider, SessionId};
use tokio::sync::oneshot;

use super::super::channel::Proof;
use super::super::event::EventKind;
use super::super::link::Link;
use super::super::provider::{Opened, ProviderError};
use super::super::resource::{AttachError, Command};
use super::super::split::DiscardError;
use super::disk::Ticket;

/// What others tell the task.
pub(in super::super) enum Message {
    Command(Command),
    Call(Call),
    Incoming(Box<Incoming>),
    /// Somebody unknown has knocked: resolve names again.
    Resolve,
}

/// A request of the device.
pub(in super::super) struct Call {
    /// Which time of being primary the device is of.
    pub(in super::super) term: u64,
    pub(in super::super) request: DeviceRequest,
    pub(in super::super) reply: oneshot::Sender<Result<Vec<Bytes>, Errno>>,
}

/// A connection that wants this resource.
pub(in super::super) struct Incoming {
    pub(in super::super) link: Link,
    pub(in super::super) peer: SocketAddr,
    pub(in super::super) proof: Proof,
    pub(in super::super) opening: Opening,
    pub(in super::super) access: Access,
}

/// Something that was begun has ended.
pub(super) enum Done {
    Disk(Ticket, Result<Bytes, Errno>),
    Opened(Result<Opened, ProviderError>),
    Attached(
        Result<Opened, ProviderError>,
        oneshot::Sender<Result<(), AttachError>>,
    ),
    Reloaded(Result<Provider, ProviderError>),
    Dialled(SessionId, Which, Result<(Link, SocketAddr), Box<EventKind>>),
    Resolved(Vec<IpAddr>),
    Discarded(
        Result<Discarded, DiscardError>,
        oneshot::Sender<Result<Discarded, DiscardError>>,
    ),
    Closed,
}

impl Call {
    /// Answers that there is no such device any more.
    pub(super) fn refuse(self) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Err(Errno::ENXIO));
    }
}

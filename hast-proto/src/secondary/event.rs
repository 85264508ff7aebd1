//! What goes into a secondary's session, what comes out of it, and what can be chosen.

use core::time::Duration;

use bytes::Bytes;

use crate::consistency::Consistency;
use crate::disk::{DiskOperation, OperationId};
use crate::frame::{Frame, FrameError};
use crate::layout::Layout;
use crate::message::{Reply, RequestError};
use crate::payload::PayloadError;
use crate::types::{Errno, Length, SectorSize, SyncSource};

/// What a session needs to know.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a session needs these")]
pub struct Config {
    /// The layout of the provider.
    pub layout: Layout,
    /// Its sectors.
    pub sector: SectorSize,
    /// The longest READ or WRITE that is accepted: 1 MiB unless memory is short.
    pub max_transfer: Length,
    /// How many requests may be executed or waiting. A real primary has 256 at most.
    pub max_requests: usize,
    /// How many octets they may hold together; one request is always accepted.
    pub max_octets: usize,
    /// After how much silence the peer is taken for dead. The original waits 20 s (HAST §7.3).
    pub timeout: Duration,
    /// After how long without a synchronisation write a *real* primary is taken to have
    /// finished; `None`: never.
    pub settle: Option<Duration>,
    /// Who has the current data, by the handshake.
    pub source: SyncSource,
    /// The mark, as it is on disk.
    pub consistency: Consistency,
    /// Whether the activemap stays as it is, so that a discard finds what this node alone has.
    /// Otherwise the first request clears it.
    pub keep_map: bool,
}

impl Config {
    /// Takes what is usual for the rest.
    #[must_use]
    pub const fn new(layout: Layout, source: SyncSource, consistency: Consistency) -> Self {
        Self {
            layout,
            sector: SectorSize::DEFAULT,
            max_transfer: Length::MAX_TRANSFER_13,
            max_requests: 1024,
            max_octets: 32 << 20,
            timeout: Duration::from_secs(20),
            settle: Some(Duration::from_secs(20)),
            source,
            consistency,
            keep_map: false,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum Input {
    /// The deadline of `poll_timeout` has come.
    Timeout,
    /// The handshake is over.
    Start,
    /// A frame was received on the first connection. Do not read more while
    /// [`is_full`](super::Secondary::is_full).
    Frame(Frame),
    /// What was received there is no frame.
    Invalid(FrameError),
    /// One of the two connections has ended.
    Closed,
    /// A disk operation has ended: with the data of a READ, or with no octets.
    Disk(OperationId, Result<Bytes, Errno>),
    /// The role is to change, or a new session is to begin.
    Stop,
}

/// Something the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Do this, and report by [`Input::Disk`].
    Disk(OperationId, DiskOperation),
    /// Send this on the second connection. Data are neither compressed nor checksummed yet: see
    /// [`Reply::sealed`].
    Reply(Reply),
    /// Close both connections.
    Close,
    /// Nothing is being executed any more, and nothing comes out after this.
    Ended(End),
    /// Tell the operator.
    Event(Event),
}

/// What an operator may want to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A request was refused.
    Refused(RequestError),
    /// The local disk has failed a request.
    DiskError(Errno),
    /// The mark was stored.
    Consistency(Consistency),
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// A connection has ended.
    #[error("connection closed")]
    Closed,
    /// The peer was silent for too long.
    #[error("peer silent for too long")]
    Silent,
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// What was received is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What was received is no request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The data of a WRITE are not what it says.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A request was handed in while the machine was full.
    #[error("more requests than allowed")]
    Overrun,
    /// The mark cannot be stored, so that nothing may be written.
    #[error("mark not stored: {0}")]
    Mark(Errno),
}

/// What was counted since the session began (HAST §9.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// READs executed.
    pub reads: u64,
    /// WRITEs executed.
    pub writes: u64,
    /// DELETEs executed.
    pub deletes: u64,
    /// FLUSHes executed.
    pub flushes: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests that the disk failed.
    pub errors: u64,
}

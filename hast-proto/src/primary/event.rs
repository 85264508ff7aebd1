//! What goes into a primary, what comes out of it, and what can be chosen.

use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::time::Duration;

use bytes::Bytes;

use crate::conf::RequestSize;
use crate::consistency::Consistency;
use crate::decision::{AnswerError, GiveWay};
use crate::disk::{DiskOperation, OperationId};
use crate::frame::{Frame, FrameError};
use crate::handshake::{Failure, Identity, Session};
use crate::message::{MessageError, Request};
use crate::metadata::Metadata;
use crate::payload::PayloadError;
use crate::types::{Errno, Length, Offset, Replication, ResourceId, SectorSize, Sequence, Version};

/// What an operator chooses.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "these can be chosen")]
pub struct Config {
    /// When a write is acknowledged.
    pub replication: Replication,
    /// The sectors of the provider.
    pub sector: SectorSize,
    /// The most octets of data in a request to the peer; larger ones are split.
    pub request_size: RequestSize,
    /// After how much silence the peer is taken for dead. Half of it without a sign of life, it
    /// is asked for one, by a READ of a sector: it never answers a keepalive. A request may not
    /// remain the oldest without an answer for longer either.
    pub timeout: Duration,
    /// After how long without a request a keepalive is sent. A real secondary waits 20 s.
    pub keepalive: Duration,
    /// How long to wait between attempts to connect.
    pub reconnect: Duration,
    /// How long requests wait at the start for the first attempt to end: whoever served them at
    /// once might serve stale data, or write against a peer that has newer ones. A peer that says
    /// that it is primary still is waited for again and again, until `timeout` is over. They wait
    /// as long when the peer is lost while only it has everything.
    pub first_contact: Duration,
    /// How many device requests may be pending; 1 to 65,535.
    pub max_requests: usize,
    /// How many octets of data they may hold together; one request is always accepted.
    pub max_octets: usize,
    /// How many steps of the synchronisation may be on their way.
    pub copy_window: usize,
    /// The same while device requests are pending.
    pub copy_window_busy: usize,
    /// How many octets are copied in a second; `None`: as many as possible.
    pub copy_rate: Option<NonZeroU64>,
    /// After how long a synchronisation of which steps have failed is tried again.
    pub copy_retry: Duration,
    /// How long a mark that is not needed any more may stay on disk.
    pub map_delay: Duration,
    /// After how long the machine flushes by itself when more extents than "keepdirty" are marked
    /// only because what was written there may still be in a write cache.
    pub settle_delay: Duration,
    /// With how many of them it does not wait so long. The more there may be, the more is copied
    /// when the peer was lost, or after a crash; and the fewer flushes does it take to write here
    /// and there.
    pub max_unsettled: u32,
    /// Whether there is a peer at all: looked at when it starts.
    pub partner: Partner,
    /// Whether this node gives way to a secondary of this crate if both have counted, and this
    /// one provably has no changes.
    pub give_way: GiveWay,
    /// Whether it may acknowledge writes that the peer lacks.
    pub alone: Alone,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replication: Replication::Fullsync,
            sector: SectorSize::DEFAULT,
            request_size: RequestSize::DEFAULT,
            timeout: Duration::from_secs(20),
            keepalive: Duration::from_secs(10),
            reconnect: Duration::from_secs(10),
            first_contact: Duration::from_secs(2),
            max_requests: 256,
            max_octets: 32 << 20,
            copy_window: 32,
            copy_window_busy: 4,
            copy_rate: None,
            copy_retry: Duration::from_secs(10),
            map_delay: Duration::from_secs(1),
            settle_delay: Duration::from_secs(5),
            // 2 GiB of extents of the usual size.
            max_unsettled: 1024,
            partner: Partner::Configured,
            give_way: GiveWay::default(),
            alone: Alone::Free,
        }
    }
}

/// Whether a resource has a peer (`remote none`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it has one or it has none")]
pub enum Partner {
    /// It has one.
    Configured,
    /// It has none.
    None,
}

/// Whether writes may be acknowledged that the peer lacks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "somebody is asked or nobody is")]
pub enum Alone {
    /// Always. That both nodes did so is found out when they meet again.
    #[default]
    Free,
    /// After [`Event::WantsAlone`] only, as long as [`Input::Permit`] says, or as soon as the peer has
    /// those writes. `Async` is as `Memsync` then, for the peer would always lack something.
    Asked,
}

/// The number of a wish to go on alone, which the machine never uses twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct WishId(pub u64);

/// What is on a provider.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a provider has these")]
pub struct Provider {
    /// The metadata block.
    pub metadata: Metadata,
    /// The activemap: all that is reserved for it.
    pub map: Bytes,
    /// The mark. Unless it is [`Consistency::Consistent`], everything is copied
    /// from the peer: as long as that has not been asked, nobody knows what is missing here.
    pub consistency: Consistency,
}

/// The driver's number for a device request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct RequestId(pub u64);

/// The machine's number for a session or an attempt at one, which it never uses twice. What
/// comes with an old one is ignored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub(super) u64);

/// What the user of the device wants. Offsets count from the start of the data.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a device has these four")]
pub enum DeviceRequest {
    /// Read.
    Read {
        /// Where.
        offset: Offset,
        /// How much.
        length: Length,
    },
    /// Write.
    Write {
        /// Where.
        offset: Offset,
        /// What.
        data: Bytes,
    },
    /// Forget.
    Delete {
        /// Where.
        offset: Offset,
        /// How much.
        length: Length,
    },
    /// Make durable whatever was acknowledged before.
    Flush,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum Input {
    /// The deadline of `poll_timeout` has come.
    Timeout,
    /// The role is primary from now on.
    Start,
    /// The device is used.
    Request(RequestId, DeviceRequest),
    /// A disk operation has ended: with the data of a READ, or with no octets.
    Disk(OperationId, Result<Bytes, Errno>),
    /// The handshake needs the identity; this random one is taken if there is none yet.
    Identify(SessionId, ResourceId),
    /// The handshake has succeeded.
    Session(SessionId, Session),
    /// It has failed.
    ConnectFailed(SessionId, Failure),
    /// A frame was received on the second connection.
    Frame(SessionId, Frame),
    /// What was received there is no frame.
    Invalid(SessionId, FrameError),
    /// A connection has ended.
    Closed(SessionId),
    /// The local disk works again, or has been replaced, and this is on it. The end of every
    /// operation given out before has been told. A replacement is refused if the peer lacks
    /// anything: then it must be the disk that failed.
    Attach(Provider),
    /// The operator has changed these.
    Configure(Config),
    /// The peer may lack what is acknowledged: for good, or for so long from now on. A later one
    /// for the same wish takes its place; for any other wish it is void.
    Permit(WishId, Option<Duration>),
    /// What was permitted is not any more.
    Revoke,
    /// The role is to change. Operations [of the data](DiskOperation::is_of_data) that have not
    /// begun need not be done any more: nothing was acknowledged on their strength. Report them as
    /// failed.
    Stop,
}

/// Something the driver must do.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Do this, and report by [`Input::Disk`].
    Disk(OperationId, DiskOperation),
    /// Run a [`PrimaryHandshake`](crate::PrimaryHandshake) with this version in its first header,
    /// and report by [`Input::Session`] or [`Input::ConnectFailed`].
    Connect(SessionId, Version),
    /// The answer to [`Input::Identify`].
    Identity(SessionId, Identity),
    /// Send this on the first connection. Data are neither compressed nor checksummed yet: see
    /// [`Request::sealed`].
    Send(SessionId, Request),
    /// Close both connections, or give up the attempt.
    Disconnect(SessionId),
    /// The device's request has been done, with the data of a READ in order, or it has failed.
    Completed(RequestId, Result<Vec<Bytes>, Errno>),
    /// Tell the operator.
    Event(Event),
    /// No disk operation is on its way any more, and nothing comes out after this.
    Stopped,
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A session has begun ("connect").
    Connected(Version),
    /// It has ended ("disconnect").
    Disconnected(Loss),
    /// An attempt has failed.
    ConnectFailed(Failure),
    /// An attempt was given up: this node wrote alone while it was made, or the answer
    /// contradicts itself. The next is made at once, or after the usual time.
    GivenUp(Option<AnswerError>),
    /// Both have counted, and this node, which has no changes, has taken its count back: it
    /// becomes the target of the synchronisation.
    GaveWay,
    /// So many extents are to be copied ("syncstart").
    CopyStarted {
        /// Extents.
        extents: u32,
        /// Whether to this node.
        from_peer: bool,
    },
    /// The nodes agree ("syncdone"; also if there was nothing to copy).
    CopyDone,
    /// The connection was lost before that ("syncintr").
    CopyInterrupted {
        /// Extents that still differ.
        extents: u32,
    },
    /// Steps have failed; their extents stay marked, and are tried again.
    CopyFailed {
        /// Extents that still differ.
        extents: u32,
    },
    /// The local disk has failed a READ; the peer was asked if it can be.
    LocalReadFailed(Errno),
    /// The local disk has failed a WRITE or DELETE while the peer lacked something: that request
    /// was answered with an error, and its extents are copied to the peer. The disk is still used,
    /// as nobody else has everything.
    LocalWriteFailed(Errno),
    /// The local disk has failed, and is not used any more: a WRITE or DELETE that the peer makes up
    /// for, a step of the synchronisation, a FLUSH, or what is kept beside the data.
    LocalFailed {
        /// How.
        error: Errno,
        /// Whether the peer has everything, so that the service goes on.
        complete: bool,
    },
    /// The local disk is used again.
    Attached {
        /// Whether everything is copied to it.
        from_peer: bool,
    },
    /// What was to be attached does not fit, or has not what the peer lacks, or nothing had
    /// failed.
    AttachRefused,
    /// The peer has failed a request.
    PeerError(Errno),
    /// The mark is kept.
    Consistency(Consistency),
    /// Writes wait for the permission to acknowledge what the peer lacks, or the peer may lack
    /// something that was acknowledged. See [`Primary::wish`](super::Primary::wish).
    WantsAlone(WishId),
}

/// Why a session has ended (HAST §6.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// A connection has ended.
    #[error("connection closed")]
    Closed,
    /// The peer was silent for too long.
    #[error("peer silent for too long")]
    Silent,
    /// The peer has answered, but not the request that has waited longest, for too long.
    #[error("request unanswered for too long")]
    Unanswered,
    /// What was received is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What was received is no reply.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The data of a READ are not what was asked for.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A reply to nothing that was asked, or of the wrong kind.
    #[error("unexpected reply to {sequence:?}")]
    Unexpected {
        /// Its number.
        sequence: Option<Sequence>,
    },
    /// It was stopped.
    #[error("stopped")]
    Stopped,
    /// The mark cannot be kept, or the map not be written.
    #[error("local disk failed")]
    Local,
}

/// What was counted since the start (HAST §9.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// READs taken over.
    pub reads: u64,
    /// WRITEs taken over.
    pub writes: u64,
    /// DELETEs taken over.
    pub deletes: u64,
    /// FLUSHes taken over.
    pub flushes: u64,
    /// Writes of the map.
    pub map_writes: u64,
    /// READs that the local disk has failed.
    pub read_errors: u64,
    /// WRITEs that it has failed.
    pub write_errors: u64,
    /// DELETEs that it has failed.
    pub delete_errors: u64,
    /// FLUSHes that it has failed.
    pub flush_errors: u64,
    /// Octets copied by the synchronisation.
    pub copied: u64,
}

/// How the local copy stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum LocalCopy {
    /// It has everything.
    Current,
    /// The peer has everything; extents that differ are stale here.
    Catching,
    /// The disk is not used.
    Failed {
        /// Whether the peer has everything.
        complete: bool,
    },
}

//! A primary: device requests in, disk and network operations out; completions in, answers out
//! (HAST §6).
//!
//! ```text
//!                 told that the peer is the source          everything copied,
//!                 +----------------------------------+      and the mark gone
//!                 |                                  v
//!            +---------+                        +----------+
//!       ---> | current | <--------------------- | catching |
//!            +---------+                        +----------+
//!                 |            attached              |  ^
//!      disk fails |           (the peer lacks)       |  |  attached (the peer has all)
//!                 v                 ^                v  |
//!            +-----------------------------------------------+
//!            |                     failed                    |
//!            +-----------------------------------------------+
//! ```
//!
//! That is the *local copy*. Beside it there is the *peer*:
//!
//! ```text
//!  waiting --> connecting --> opening --> up --> waiting ...
//! ```
//!
//! # The state table: who answers what
//!
//! | request | current, no peer | current, peer up | catching, peer up | failed, peer up and complete | otherwise |
//! |---|---|---|---|---|---|
//! | READ | local | local; if that fails, the peer, unless it lacks the extent | local if the extent is copied, else the peer | the peer | fails |
//! | WRITE, DELETE: goes to | local | both | both | the peer | nobody |
//! | WRITE: is acknowledged after | local, the mark, the counter | fullsync: both. memsync: local, and "received". async: local | both, whatever the mode | the peer, and the mark [`Incomplete`](crate::Consistency::Incomplete) | fails |
//! | FLUSH | local | both, of which local must succeed | both, of which the peer must succeed | the peer | fails |
//!
//! "Disk fails" is: a write while the peer is complete, or a flush, or what is kept beside the
//! data. A write that fails while the peer lacks something fails alone, and its extents are copied:
//! there is no better copy to go on with.
//!
//! "Otherwise" is: no complete copy can be reached. Requests fail then, with `EIO`; no request
//! is answered from stale data, and none waits without limit. But when the peer is lost that has
//! everything, they wait for [`first_contact`](Config::first_contact), in which it may be back.
//!
//! # The state table: inputs
//!
//! | input | idle | running | stopping | stopped |
//! |---|---|---|---|---|
//! | `Start` | connect; running | - | - | - |
//! | `Request` | `ENXIO` | taken over; `EAGAIN` if [full](Primary::is_full), `EINVAL` if out of range | `ENXIO` | `ENXIO` |
//! | `Disk` | - | goes on with what it was for | counted; the last one: stopped | - |
//! | `Identify` | - | connecting: answer, when it is on disk | - | - |
//! | `Session` | `Disconnect` | connecting: opening; else `Disconnect` | `Disconnect` | `Disconnect` |
//! | `ConnectFailed` | - | connecting: waiting | - | - |
//! | `Frame`, `Invalid`, `Closed` | - | up: reply taken, or waiting; opening: waiting | the same, for what was acknowledged | - |
//! | `Attach` | - | failed: current or catching; else refused | - | - |
//! | `Configure` | from now on | the same | the same | the same |
//! | `Permit` | - | for the present wish: what waits for it is acknowledged | - | - |
//! | `Revoke` | - | what the peer lacks is not acknowledged any more | the same | - |
//! | `Timeout` | - | whatever is due | the peer is left without it | - |
//! | `Stop` | stopped | everything pending fails with `ENXIO`; stopping | - | - |
//!
//! "Stopping" first waits, for a second at most, until the peer has written what was acknowledged
//! before, as it is with memsync and async: the other node may be about to be promoted. If the
//! peer does not answer in time, what it may not even have in memory counts as written alone, so
//! that it is found out.
//!
//! # Order: what must be on disk before what
//!
//! - **The mark of an extent before a write to it**, on either side: after a crash nobody knows
//!   which of the two has it. That holds for a second write, too, that finds its extent marked
//!   by a map still on its way (HAST §4.6).
//! - **The mark before the acknowledgement** of a write that either side lacks: it is the same
//!   mark, which stays. In the original four kinds of writes lose it (HAST §14.51).
//! - **The counter before the first acknowledgement** of a write that the peer lacks, after each
//!   start and each disconnection: otherwise two nodes that both wrote alone look alike
//!   (HAST §5.5, hole 1).
//! - **The permission to go on alone before that**, where somebody is to be asked
//!   ([`Alone::Asked`]): what is acknowledged then, the peer lacks.
//! - **The merged map before the session**: the secondary forgets its own at the first request.
//! - **The mark before the first block is copied to this node ("inconsistent"), and before the
//!   first acknowledgement that only the peer's disk can honour ("incomplete")**: after a crash
//!   the local data look healthy. It goes when data and counters are on disk, in this order.
//! - **The counters before the peer hears that the nodes agree**, and takes its own mark away.
//! - **A flush on both nodes before an extent's mark goes**: a power failure undoes what was only
//!   in a write cache. The same flush ends a synchronisation.
//! - **Nothing is written while a session opens**: the secondary has decided by the counters that
//!   it was sent. If they have changed since, it is asked again.
//!
//! # Ranges
//!
//! A write waits for an earlier one that overlaps until that is on the local disk; on the
//! connection the two keep their order. A step of the synchronisation and a write that overlap
//! exclude each other. Nothing else waits for anything.

#![warn(clippy::wildcard_enum_match_arm)]

mod alone;
mod answers;
mod copying;
mod event;
mod flushes;
mod local;
mod opening;
mod peer;
mod reads;
mod stop;
mod writes;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use self::alone::Permission;
use self::copying::Copying;
pub use self::event::{
    Alone, Config, DeviceRequest, Event, Input, LocalCopy, Loss, Output, Partner, Provider,
    RequestId, SessionId, Stats, WishId,
};
use self::flushes::Flush;
use self::local::Local;
use self::peer::{Asked, Peer};
use self::reads::Read;
use self::writes::Write;
use crate::activemap::{ActiveMap, MapTooShort};
use crate::consistency::Consistency;
use crate::decision::PrimaryCounters;
use crate::disk::{DiskOperation, OperationId};
use crate::layout::KeepDirty;
use crate::metadata::Metadata;
use crate::range::{Range, Ranges};
use crate::types::{Errno, Length, Sequence};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    Running,
    /// Acknowledged writes are on their way to the peer, or the counter to disk.
    Leaving,
    /// Disk operations are on their way.
    Stopping,
    Stopped,
}

/// What a disk operation is for. The numbers are those of the machine's own requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Write(u64),
    Read(u64),
    Flush(u64),
    CopyRead(u64),
    CopyWrite(u64),
    Map,
    Metadata(u64),
    Mark(Consistency),
}

/// How one of the two sides stands with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// It is not asked.
    Absent,
    Pending,
    Done,
    Failed,
}

/// A primary. See the [module's documentation](self).
///
/// Call [`poll_output`](Self::poll_output) until it returns `None` after every
/// [`handle`](Self::handle), and [`handle_timeout`](Self::handle_timeout) no later than
/// [`poll_timeout`](Self::poll_timeout) says.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use hast_proto::primary::{
///     Config, DeviceRequest, Input, Output, Partner, Primary, Provider, RequestId,
/// };
/// use hast_proto::{
///     Consistency, DiskOperation, ExtentSize, KeepDirty, Layout, Length, Metadata, Offset,
///     ResourceName, SectorSize,
/// };
///
/// let media = Length::new(1 << 30);
/// let layout = Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT)?;
/// let provider = Provider {
///     metadata: Metadata::create(ResourceName::new("shared")?, layout, KeepDirty::DEFAULT),
///     map: Bytes::from(vec![0; 512]),
///     consistency: Consistency::Consistent,
/// };
/// // No peer, so that a write needs the map and the counter before it is acknowledged.
/// let config = Config { partner: Partner::None, ..Config::default() };
/// let mut primary = Primary::<Duration>::new(config, provider)?;
/// primary.handle(Duration::ZERO, Input::Start);
/// let (offset, data) = (Offset::new(0), Bytes::from_static(&[7; 512]));
/// let write = DeviceRequest::Write { offset, data };
/// primary.handle(Duration::ZERO, Input::Request(RequestId(1), write));
/// let mut order = Vec::new();
/// while let Some(output) = primary.poll_output() {
///     match output {
///         Output::Disk(id, operation) => {
///             order.push(match operation {
///                 DiskOperation::StoreMap { .. } => "map",
///                 DiskOperation::Write { .. } => "data",
///                 DiskOperation::StoreMetadata(_) => "counter",
///                 other => unreachable!("{other:?}"),
///             });
///             primary.handle(Duration::ZERO, Input::Disk(id, Ok(Bytes::new())));
///         }
///         Output::Completed(RequestId(1), Ok(_)) => order.push("acknowledged"),
///         other => println!("{other:?}"),
///     }
/// }
/// assert_eq!(order, ["map", "data", "counter", "acknowledged"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Primary<T> {
    config: Config,
    state: State,
    copy: LocalCopy,
    local: Local<T>,
    map: ActiveMap,
    counters: PrimaryCounters,
    peer: Peer<T>,
    /// Whether requests wait for an attempt to end, and until when at the latest.
    held_until: Option<T>,
    /// The same for a peer that lives, and has asked to wait.
    patient_until: Option<T>,
    writes: BTreeMap<u64, Write>,
    /// Those of them that are not on the local disk, and so in the way of later ones.
    blocking: Ranges,
    /// Those that may be issued as soon as their extents are marked, and no step is in the way.
    ready: BTreeSet<u64>,
    reads: BTreeMap<u64, Read>,
    flushes: BTreeMap<u64, Flush>,
    /// Flushes that wait for the peer.
    held_flushes: Vec<RequestId>,
    /// When the machine flushes by itself, as many marks wait for it.
    settle_at: Option<T>,
    /// Not before this: the last flush has failed.
    flush_after: Option<T>,
    octets: usize,
    copying: Copying<T>,
    operations: BTreeMap<OperationId, Purpose>,
    asked: BTreeMap<Sequence, Asked>,
    /// Since when the oldest of them is the oldest.
    waiting_since: Option<T>,
    next_operation: OperationId,
    next_key: u64,
    next_sequence: Sequence,
    next_session: u64,
    /// Until when to wait for acknowledged writes to reach the peer, after the stop.
    leave_at: Option<T>,
    now: Option<T>,
    permission: Permission<T>,
    next_wish: u64,
    /// Whether something was put off while a session opened.
    defers_alone: bool,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// Makes a primary of what is on its provider; it waits for [`Input::Start`].
    ///
    /// # Errors
    ///
    /// [`MapTooShort`] if not every extent has a bit.
    pub fn new(config: Config, provider: Provider) -> Result<Self, MapTooShort> {
        let Provider {
            metadata,
            map,
            consistency,
        } = provider;
        let active = load_map(&metadata, &map, consistency)?;
        Ok(Self {
            config,
            state: State::Idle,
            copy: match consistency {
                Consistency::Consistent => LocalCopy::Current,
                Consistency::Inconsistent | Consistency::Incomplete => LocalCopy::Catching,
            },
            counters: PrimaryCounters::new(metadata.counters),
            local: Local::new(metadata, &map, consistency),
            map: active,
            peer: Peer::new(),
            held_until: None,
            patient_until: None,
            writes: BTreeMap::new(),
            blocking: Ranges::default(),
            ready: BTreeSet::new(),
            reads: BTreeMap::new(),
            flushes: BTreeMap::new(),
            held_flushes: Vec::new(),
            settle_at: None,
            flush_after: None,
            octets: 0,
            copying: Copying::new(),
            operations: BTreeMap::new(),
            asked: BTreeMap::new(),
            waiting_since: None,
            next_operation: OperationId::FIRST,
            next_key: 0,
            // HAST §15.5: a request of the device never has number 1.
            next_sequence: Sequence::SYNCHRONISATION.next(),
            next_session: 0,
            leave_at: None,
            now: None,
            permission: Permission::Together,
            next_wish: 0,
            defers_alone: false,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        })
    }

    /// Takes note of something that happened at `now`.
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        match (self.state, input) {
            (State::Idle, Input::Start) => {
                self.state = State::Running;
                if self.config.partner == Partner::Configured {
                    self.held_until = Some(now + self.config.first_contact);
                    self.patient_until = Some(now + self.config.timeout);
                    self.connect(now);
                }
            }
            (State::Running, Input::Configure(config)) => {
                self.config = config;
                // What waited for a permission may need none any more.
                self.advance_all_writes();
            }
            (_, Input::Configure(config)) => self.config = config,
            (State::Running, Input::Request(id, request)) => self.on_request(id, request),
            (_, Input::Request(id, _)) => self.complete(id, Err(Errno::ENXIO)),
            (State::Running | State::Leaving | State::Stopping, Input::Disk(id, result)) => {
                if let Some(purpose) = self.operations.remove(&id) {
                    self.on_disk(now, purpose, result);
                }
            }
            (State::Running, Input::Identify(id, fresh)) => self.on_identify(id, fresh),
            (State::Running, Input::Session(id, session)) => self.on_session(id, session),
            (_, Input::Session(id, _)) => self.outputs.push_back(Output::Disconnect(id)),
            (State::Running, Input::ConnectFailed(id, failure)) => {
                self.on_connect_failed(now, id, failure);
            }
            (State::Running | State::Leaving, Input::Frame(id, frame)) => {
                self.on_frame(now, id, &frame);
            }
            (State::Running | State::Leaving, Input::Invalid(id, error)) => {
                self.on_loss(now, id, error.into());
            }
            (State::Running | State::Leaving, Input::Closed(id)) => {
                self.on_loss(now, id, Loss::Closed);
            }
            (State::Running, Input::Attach(provider)) => self.on_attach(provider),
            (State::Running, Input::Timeout) => self.on_timeout(now),
            (State::Running, Input::Permit(wish, time)) => self.on_permit(now, wish, time),
            (_, Input::Revoke) => self.on_revoke(),
            (State::Idle | State::Running, Input::Stop) => self.on_stop(now),
            (State::Running, Input::Start)
            | (State::Leaving | State::Stopping | State::Stopped, Input::Start | Input::Stop)
            | (State::Idle | State::Stopped, Input::Disk(..))
            | (
                State::Idle | State::Leaving | State::Stopping | State::Stopped,
                Input::Timeout
                | Input::Identify(..)
                | Input::ConnectFailed(..)
                | Input::Attach(_)
                | Input::Permit(..),
            )
            | (
                State::Idle | State::Stopping | State::Stopped,
                Input::Frame(..) | Input::Invalid(..) | Input::Closed(_),
            ) => {}
        }
        match self.state {
            State::Running => self.pump(now),
            State::Leaving => self.leave(now),
            State::Stopping => self.stop_if_idle(),
            State::Idle | State::Stopped => {}
        }
    }

    /// As [`handle`](Self::handle) with [`Input::Timeout`].
    pub fn handle_timeout(&mut self, now: T) {
        self.handle(now, Input::Timeout);
    }

    /// Returns the next thing to do, or `None` if nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<T> {
        match self.state {
            State::Running => {}
            State::Leaving => return self.leave_at,
            State::Idle | State::Stopping | State::Stopped => return None,
        }
        [
            self.peer.deadline(&self.config),
            self.overdue_at(),
            self.held_until,
            self.local.store_map_at,
            self.flush_due(),
            self.copying.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether no further device request is taken before one is completed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let flushes = self.flushes.values().filter(|it| it.request.is_some());
        let flushes = flushes.count() + self.held_flushes.len();
        let pending = self.writes.len() + self.reads.len() + flushes;
        // The map counts the writes of an extent in 16 bits.
        let most = self.config.max_requests.clamp(1, u16::MAX.into());
        pending >= most || self.octets >= self.config.max_octets.max(1)
    }

    /// Returns how the local copy stands.
    #[must_use]
    pub const fn copy(&self) -> LocalCopy {
        self.copy
    }

    /// Whether a session is up: "complete" in `hastctl status`.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.peer.is_up()
    }

    /// Whether the peer has everything that was acknowledged, and both nodes know it, so that
    /// either may be promoted: "in sync"
    /// beyond what "complete" says (HAST §7.4).
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.copy == LocalCopy::Current
            && self.peer.is_up()
            && self.copying.is_agreed()
            && self.map.to_copy() == 0
            && self.local.has_stored_all()
            && !self.writes.values().any(Write::is_ahead)
    }

    /// Returns the map of extents, for what `hastctl list` shows.
    #[must_use]
    pub const fn map(&self) -> &ActiveMap {
        &self.map
    }

    /// Returns the metadata block, with all changes, whether they are on disk or not.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.local.metadata
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    fn on_request(&mut self, id: RequestId, request: DeviceRequest) {
        if self.is_full() {
            self.complete(id, Err(Errno::EAGAIN));
            return;
        }
        let range = match &request {
            DeviceRequest::Read { offset, length } | DeviceRequest::Delete { offset, length } => {
                Some(Range::new(*offset, *length))
            }
            DeviceRequest::Write { offset, data } => Some(Range::new(*offset, Length::of(data))),
            DeviceRequest::Flush => None,
        };
        if range.is_some_and(|range| !self.is_valid(range)) {
            self.complete(id, Err(Errno::EINVAL));
            return;
        }
        match (request, range) {
            (DeviceRequest::Read { .. }, Some(range)) => self.on_read(id, range),
            (DeviceRequest::Write { data, .. }, Some(range)) => {
                self.on_write(id, range, Some(data));
            }
            (DeviceRequest::Delete { .. }, Some(range)) => self.on_write(id, range, None),
            (_, _) => self.on_flush(Some(id)),
        }
    }

    fn is_valid(&self, range: Range) -> bool {
        let sector = self.config.sector;
        self.map.touched(range.offset, range.length).is_ok()
            && sector.divides(range.offset.get())
            && sector.divides(range.length.get())
    }

    fn on_disk(&mut self, now: T, purpose: Purpose, result: Result<Bytes, Errno>) {
        match (self.state, purpose) {
            (State::Running, _) | (State::Leaving, Purpose::Metadata(_)) => {}
            _ => return,
        }
        match purpose {
            Purpose::Write(key) => self.on_local_write(now, key, result),
            Purpose::Read(key) => self.on_local_read(key, result),
            Purpose::Flush(key) => self.on_local_flush(now, key, result),
            Purpose::CopyRead(key) => self.on_copy_read(key, result),
            Purpose::CopyWrite(key) => self.on_local_copy_written(now, key, result),
            Purpose::Map => self.on_map_stored(now, result),
            Purpose::Metadata(version) => self.on_metadata_stored(now, version, result),
            Purpose::Mark(mark) => self.on_mark_stored(now, mark, result),
        }
    }

    fn on_timeout(&mut self, now: T) {
        let due = |deadline: Option<T>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.held_until) {
            self.release();
        }
        if due(self.local.store_map_at) {
            self.local.store_map_at = None;
            self.local.map_is_due = true;
        }
        self.on_peer_timeout(now);
    }

    /// Does whatever can be done by now.
    fn pump(&mut self, now: T) {
        self.advance_opening(now);
        self.issue_writes();
        self.advance_copying(now);
        self.flush_if_many(now);
        self.store_map(now);
        self.advance_alone();
    }

    /// Lets go the requests that waited for an attempt.
    fn release(&mut self) {
        self.held_until = None;
        self.route_held_reads();
        self.release_flushes();
    }

    fn complete(&mut self, id: RequestId, result: Result<Vec<Bytes>, Errno>) {
        self.outputs.push_back(Output::Completed(id, result));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn key(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        key
    }

    /// Gives a disk operation out.
    fn operate(&mut self, purpose: Purpose, operation: DiskOperation) {
        let id = self.next_operation.take();
        self.operations.insert(id, purpose);
        self.outputs.push_back(Output::Disk(id, operation));
    }

    /// Whether the local disk is used at all.
    const fn has_disk(&self) -> bool {
        matches!(self.copy, LocalCopy::Current | LocalCopy::Catching)
    }

    const fn keep_dirty(&self) -> KeepDirty {
        keep_dirty(&self.local.metadata)
    }
}

/// Whether a disk says that it knows no such request; GEOM and files say it differently
/// (HAST §6.8).
fn is_unsupported(error: Errno) -> bool {
    error == Errno::EOPNOTSUPP || error == Errno::ENOTTY
}

/// What the block says of recently written extents, or the default where it says nonsense.
const fn keep_dirty(metadata: &Metadata) -> KeepDirty {
    match KeepDirty::from_stored(metadata.keep_dirty) {
        Ok(keep) => keep,
        Err(_) => KeepDirty::DEFAULT,
    }
}

/// Makes the map of what is on disk; of data that are a mixture everything is to be copied.
fn load_map(
    metadata: &Metadata,
    map: &[u8],
    consistency: Consistency,
) -> Result<ActiveMap, MapTooShort> {
    let (layout, keep) = (metadata.layout, keep_dirty(metadata));
    let mut active = ActiveMap::from_disk(layout, keep, map)?;
    if consistency != Consistency::Consistent {
        active.merge(&alloc::vec![0xff; map.len()])?;
    }
    Ok(active)
}

//! One session of a secondary: requests in, disk operations out; completions in, replies out
//! (HAST §7).
//!
//! ```text
//!  +------+  Start   +------+  closed, silent, invalid, stopped  +--------+       +-------+
//!  | idle | -------> | open | ---------------------------------> | ending | ----> | ended |
//!  +------+          +------+                                    +--------+       +-------+
//!                                       writes that were received are still executed
//! ```
//!
//! # The state table
//!
//! | input | idle | open | ending | ended |
//! |---|---|---|---|---|
//! | `Start` | open | - | - | - |
//! | `Frame`, valid READ, DELETE, FLUSH | - | execute, then reply | - | - |
//! | `Frame`, valid WRITE | - | with memsync reply "received"; execute, then reply | - | - |
//! | `Frame`, keepalive | - | it was heard | - | - |
//! | `Frame`, progress | - | store the mark, if it is another | - | - |
//! | `Frame`, refused by HAST §7.2 | - | reply `EINVAL`, tell | - | - |
//! | `Frame`, worse | - | ending | - | - |
//! | `Invalid`, `Closed`, `Stop` | ended | ending | - | - |
//! | `Timeout`, silent too long | - | ending | - | - |
//! | `Timeout`, settled | - | store the mark | - | - |
//! | `Disk`, of a request | - | reply, start what waited for it | start what waited for it | - |
//! | `Disk`, mark stored | - | start what waited for it | the same | - |
//! | `Disk`, mark not stored | - | ending; writes that wait for it are dropped | the same | - |
//! | `Disk`, map cleared or not | - | if not: again with the next request | - | - |
//!
//! "Ending" becomes "ended", with [`Output::Ended`], as soon as nothing is being executed; only
//! then may another session begin or the role change, as until then the disk changes.
//!
//! # Order
//!
//! - Requests that overlap are executed in the order of their arrival, if one of them writes:
//!   the original has one thread for its disk, and primaries rely on it. A FLUSH waits for all
//!   writes received before it. Nothing else waits for anything.
//! - The mark [`Inconsistent`](Consistency::Inconsistent) is on disk before the first write of a
//!   session that synchronises: a crash between the two would leave a mixture that looks
//!   healthy (HAST §5.5, hole 2).
//! - The activemap is cleared by the first request, after the mark: by then the primary has
//!   stored what it has merged (HAST §14.38). Where nobody could be asked for that afterwards, it
//!   stays: see [`Config::keep_map`].
//! - Writes that were received are executed even if the connection is gone: "received" has
//!   allowed the primary to acknowledge them.
//!
//! # When the mark is taken away
//!
//! A primary of this crate says so, with [`Request::Progress`]. A real one says nothing: then
//! all is taken for copied when it has sent none of its synchronisation's writes, which have
//! number 1, for [`Config::settle`], and none of them has failed.

#![warn(clippy::wildcard_enum_match_arm)]

mod event;
mod queue;

use alloc::collections::VecDeque;
use alloc::vec;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

pub use self::event::{Config, End, Event, Input, Output, Stats};
use self::queue::{Job, Queue, Work};
use crate::consistency::Consistency;
use crate::disk::{DiskOperation, OperationId};
use crate::frame::Frame;
use crate::message::{Bounds, Progress, Reply, Request};
use crate::payload::Payload;
use crate::types::{Errno, Length, Sequence, SyncSource};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    Open,
    Ending(End),
    Ended,
}

/// How the mark stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Mark {
    stored: Consistency,
    /// What is on its way.
    storing: Option<(OperationId, Consistency)>,
    wanted: Consistency,
    /// Whether the primary says how the synchronisation stands.
    told: bool,
    /// Whether a real primary was taken to have finished.
    settled: bool,
    /// Whether a write of its synchronisation has failed.
    failed: bool,
}

/// How the clearing of the map stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Clearing {
    /// It waits for a request.
    NotYet,
    Due,
    UnderWay(OperationId),
    Done,
}

/// One session of a secondary. See the [module's documentation](self).
///
/// ```
/// use std::time::Duration;
/// use bytes::BytesMut;
/// use hast_proto::frame::{Decoder, Encoder, Phase};
/// use hast_proto::message::{Reply, Request};
/// use hast_proto::secondary::{Config, Input, Output, Secondary};
/// use hast_proto::{
///     Consistency, DiskOperation, ExtentSize, Layout, Length, SectorSize, Sequence, SyncSource,
///     Version,
/// };
///
/// let media = Length::new(1 << 30);
/// let layout = Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT)?;
/// let config = Config::new(layout, SyncSource::Primary, Consistency::Consistent);
/// let mut secondary = Secondary::<Duration>::new(config);
/// secondary.handle(Duration::ZERO, Input::Start);
///
/// let sequence = Sequence::new(17)?;
/// let flush = Request::Flush { sequence };
/// let wire = flush.encode(Version::V2, &mut Encoder::new()).concat();
/// let frame = Decoder::new(Phase::Request).decode(&mut BytesMut::from(&wire[..]))?;
/// secondary.handle(Duration::ZERO, Input::Frame(frame.unwrap()));
/// while let Some(output) = secondary.poll_output() {
///     match output {
///         Output::Disk(id, DiskOperation::Flush) => {
///             secondary.handle(Duration::ZERO, Input::Disk(id, Ok(Default::default())));
///         }
///         Output::Reply(reply) => assert_eq!(reply, Reply::Done { sequence }),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Secondary<T> {
    config: Config,
    state: State,
    queue: Queue,
    next: OperationId,
    heard: bool,
    mark: Mark,
    clearing: Clearing,
    silent_at: Option<T>,
    settled_at: Option<T>,
    now: Option<T>,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Secondary<T> {
    /// Makes a session, which waits for [`Input::Start`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let stored = config.consistency;
        Self {
            config,
            state: State::Idle,
            queue: Queue::default(),
            next: OperationId::FIRST,
            heard: false,
            mark: Mark {
                stored,
                storing: None,
                wanted: stored,
                told: false,
                settled: false,
                failed: false,
            },
            clearing: Clearing::NotYet,
            silent_at: None,
            settled_at: None,
            now: None,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes note of something that happened at `now`.
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        match (self.state, input) {
            (State::Ended, _) => {}
            (State::Idle, Input::Start) => {
                self.state = State::Open;
                self.silent_at = Some(now + self.config.timeout);
                // A real primary that has nothing to copy sends nothing of the kind.
                if self.mark.wanted != Consistency::Consistent
                    && self.config.source == SyncSource::Primary
                {
                    self.settled_at = self.config.settle.map(|settle| now + settle);
                }
            }
            (State::Open, Input::Frame(frame)) => {
                self.silent_at = Some(now + self.config.timeout);
                self.on_frame(now, &frame);
            }
            (State::Open, Input::Timeout) => self.on_timeout(now),
            (State::Open | State::Idle, Input::Closed) => self.end(End::Closed),
            (State::Open | State::Idle, Input::Invalid(error)) => self.end(error.into()),
            (State::Open | State::Idle, Input::Stop) => self.end(End::Stopped),
            (State::Open | State::Ending(_), Input::Disk(id, result)) => {
                // Who is not listened to cannot be heard.
                if self.is_full() {
                    self.silent_at = Some(now + self.config.timeout);
                }
                self.on_disk(id, result);
            }
            (State::Idle, Input::Timeout | Input::Frame(_) | Input::Disk(..))
            | (State::Open, Input::Start)
            | (
                State::Ending(_),
                Input::Timeout
                | Input::Start
                | Input::Frame(_)
                | Input::Invalid(_)
                | Input::Closed
                | Input::Stop,
            ) => {}
        }
        self.end_if_idle();
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
            State::Open => self.silent_at.into_iter().chain(self.settled_at).min(),
            State::Idle | State::Ending(_) | State::Ended => None,
        }
    }

    /// Whether no further frame may be handed in before an operation has ended.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.config.max_requests.max(1)
            || self.queue.octets() >= self.config.max_octets.max(1)
    }

    /// Returns how many requests are being executed or wait for it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Returns the mark as it is on disk.
    #[must_use]
    pub const fn consistency(&self) -> Consistency {
        self.mark.stored
    }

    /// Returns how the data here are by what the primary has sent, or `None` before it has sent
    /// anything but a FLUSH: until then this node may lack what was acknowledged and not know. The
    /// mark may still be on its way to the disk.
    #[must_use]
    pub const fn heard(&self) -> Option<Consistency> {
        if self.heard {
            Some(self.mark.wanted)
        } else {
            None
        }
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    fn on_frame(&mut self, now: T, frame: &Frame) {
        if self.is_full() {
            self.end(End::Overrun);
            return;
        }
        let bounds = Bounds {
            data_size: self.config.layout.data_len(),
            sector_size: self.config.sector,
            max_transfer: self.config.max_transfer,
        };
        let decoded = bounds.decode(frame);
        // Before what it copies a real primary may send a FLUSH. In a keepalive it says that it has
        // had nothing to do for a while.
        self.heard |= !matches!(decoded, Ok(Request::Flush { .. }) | Err(_));
        match decoded {
            Ok(Request::Keepalive) => {}
            Ok(Request::Progress(progress)) => self.on_progress(progress),
            Ok(request) => self.on_request(now, request),
            Err(error) => {
                self.stats.refused = self.stats.refused.saturating_add(1);
                self.outputs.push_back(Output::Event(Event::Refused(error)));
                match error.reply() {
                    Some(reply) => self.outputs.push_back(Output::Reply(reply)),
                    None => self.end(error.into()),
                }
            }
        }
    }

    fn on_request(&mut self, now: T, request: Request) {
        let (sequence, work) = match request {
            Request::Read {
                sequence,
                offset,
                length,
            } => (sequence, Work::Read { offset, length }),
            Request::Write {
                sequence,
                offset,
                length,
                memsync,
                payload,
            } => {
                // HAST §14.28: the data are of the length that the request says, or the peer
                // is broken.
                let data = match payload.open(length) {
                    Ok(data) => data,
                    Err(error) => {
                        self.end(error.into());
                        return;
                    }
                };
                if memsync {
                    let received = Reply::Received { sequence };
                    self.outputs.push_back(Output::Reply(received));
                }
                (sequence, Work::Write { offset, data })
            }
            Request::Delete {
                sequence,
                offset,
                length,
            } => (sequence, Work::Delete { offset, length }),
            Request::Flush { sequence } => (sequence, Work::Flush),
            Request::Keepalive | Request::Progress(_) => return,
        };
        self.note_synchronisation(now, sequence, &work);
        if self.clearing == Clearing::NotYet && !self.config.keep_map {
            self.clearing = Clearing::Due;
        }
        self.clear_map();
        let id = self.next.take();
        self.queue.push(id, Job::new(sequence, work));
        self.run();
    }

    /// Wants the mark if this may be the beginning of a synchronisation by a real primary, which
    /// does not tell.
    fn note_synchronisation(&mut self, now: T, sequence: Sequence, work: &Work) {
        if self.mark.told || !work.writes() || self.config.source == SyncSource::Secondary {
            return;
        }
        let step = sequence == Sequence::SYNCHRONISATION;
        if step || !self.mark.settled {
            if self.mark.wanted == Consistency::Consistent || step {
                self.settled_at = self.config.settle.map(|settle| now + settle);
            }
            self.mark.settled = false;
            self.want(Consistency::Inconsistent);
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        self.mark.told = true;
        self.settled_at = None;
        // Also of one that was the source when the session began: it may have missed a write
        // since.
        self.want(match progress {
            Progress::Copying => Consistency::Inconsistent,
            Progress::Agreed => Consistency::Consistent,
        });
    }

    fn on_timeout(&mut self, now: T) {
        if self.silent_at.is_some_and(|deadline| deadline <= now) {
            if self.is_full() {
                self.silent_at = Some(now + self.config.timeout);
            } else {
                self.end(End::Silent);
            }
        } else if self.settled_at.is_some_and(|deadline| deadline <= now) {
            self.settled_at = None;
            if !self.mark.failed {
                self.mark.settled = true;
                self.want(Consistency::Consistent);
            }
        }
    }

    fn on_disk(&mut self, id: OperationId, result: Result<Bytes, Errno>) {
        if self.clearing == Clearing::UnderWay(id) {
            self.clearing = match result {
                Ok(_) => Clearing::Done,
                Err(_) => Clearing::NotYet,
            };
        } else if let Some((_, consistency)) = self.mark.storing.take_if(|it| it.0 == id) {
            match result {
                Ok(_) => {
                    self.mark.stored = consistency;
                    let event = Event::Consistency(consistency);
                    self.outputs.push_back(Output::Event(event));
                    self.store_mark();
                    self.clear_map();
                }
                Err(error) => {
                    self.end(End::Mark(error));
                    self.queue.drop_writes();
                }
            }
        } else if let Some(job) = self.queue.finish(id) {
            self.finish(job, result);
        }
        self.run();
    }

    /// Replies to a request that was executed.
    fn finish(&mut self, job: Job, result: Result<Bytes, Errno>) {
        let Job { sequence, work, .. } = job;
        let count = match &work {
            Work::Read { .. } => &mut self.stats.reads,
            Work::Write { .. } => &mut self.stats.writes,
            Work::Delete { .. } => &mut self.stats.deletes,
            Work::Flush => &mut self.stats.flushes,
        };
        *count = count.saturating_add(1);
        let reply = match (work, result) {
            (Work::Read { length, .. }, Ok(data)) => match Payload::plain(data.clone()) {
                Some(payload) if Length::of(&data) == length => {
                    Ok(Reply::Data { sequence, payload })
                }
                _ => Err(Errno::EIO),
            },
            (Work::Write { .. } | Work::Delete { .. } | Work::Flush, Ok(_)) => {
                Ok(Reply::Done { sequence })
            }
            (_, Err(error)) => Err(error),
        };
        let reply = reply.unwrap_or_else(|error| {
            self.stats.errors = self.stats.errors.saturating_add(1);
            self.mark.failed |= sequence == Sequence::SYNCHRONISATION;
            self.outputs
                .push_back(Output::Event(Event::DiskError(error)));
            Reply::Failed {
                sequence: Some(sequence),
                received: false,
                error,
            }
        });
        if self.state == State::Open {
            self.outputs.push_back(Output::Reply(reply));
        }
    }

    /// Starts every request that waits for nothing any more.
    fn run(&mut self) {
        let Mark {
            stored,
            storing,
            wanted,
            ..
        } = self.mark;
        let marked = wanted == Consistency::Consistent
            || (stored != Consistency::Consistent && storing.is_none());
        let outputs = &mut self.outputs;
        self.queue.start(marked, |id, operation| {
            outputs.push_back(Output::Disk(id, operation));
        });
    }

    fn want(&mut self, consistency: Consistency) {
        self.mark.wanted = consistency;
        self.store_mark();
    }

    fn store_mark(&mut self) {
        let Mark { stored, wanted, .. } = self.mark;
        if self.mark.storing.is_none() && stored != wanted {
            let id = self.next.take();
            self.mark.storing = Some((id, wanted));
            let store = DiskOperation::StoreConsistency(wanted);
            self.outputs.push_back(Output::Disk(id, store));
        }
    }

    /// HAST §14.38: the first request of a session clears the map, and neither the handshake
    /// nor a keepalive does.
    fn clear_map(&mut self) {
        let waits = self.mark.storing.is_some();
        if self.state != State::Open || self.clearing != Clearing::Due || waits {
            return;
        }
        let layout = &self.config.layout;
        let octets = layout.map_len().to_usize().unwrap_or(usize::MAX);
        let id = self.next.take();
        self.clearing = Clearing::UnderWay(id);
        let clear = DiskOperation::StoreMap {
            offset: layout.map_offset(),
            data: vec![0; octets].into(),
        };
        self.outputs.push_back(Output::Disk(id, clear));
    }

    fn end(&mut self, end: End) {
        if matches!(self.state, State::Open | State::Idle) {
            self.state = State::Ending(end);
            self.outputs.push_back(Output::Close);
            self.queue.drop_reads();
        }
    }

    fn end_if_idle(&mut self) {
        let busy = self.queue.len() != 0
            || self.mark.storing.is_some()
            || matches!(self.clearing, Clearing::UnderWay(_));
        if let (State::Ending(end), false) = (self.state, busy) {
            self.state = State::Ended;
            self.outputs.push_back(Output::Ended(end));
        }
    }
}

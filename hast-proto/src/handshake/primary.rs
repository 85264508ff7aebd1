//! The primary's side: one attempt.

use alloc::collections::VecDeque;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::Session;
use crate::decision::{Changes, Virgin};
use crate::frame::{Frame, FrameError};
use crate::layout::Layout;
use crate::message::{
    Accepted, FirstAnswer, FirstStep, Map, MapError, MessageError, Opening, Refusal, Refused,
    Reunion, SecondAnswer, SecondStep,
};
use crate::payload::PayloadError;
use crate::types::{Counters, ExtentSize, Length, ResourceId, ResourceName, Token, Version};

/// What an attempt needs to know.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an attempt needs these")]
pub struct Config {
    /// Which resource.
    pub resource: ResourceName,
    /// The layout, of which the peer's must have the same sizes.
    pub layout: Layout,
    /// The version in the header of the first message: 1 before the first handshake, and then
    /// what was negotiated last (HAST §1.3).
    pub header: Version,
    /// How long each state may take.
    pub timeout: Duration,
}

/// One of the two connections.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two connections")]
pub enum Which {
    /// The one that carries requests later.
    First,
    /// The one that carries replies later.
    Second,
}

/// Who the primary is, at the moment of the second step.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the second step has these")]
pub struct Identity {
    /// The resource's identifier, which is on disk.
    pub resource_id: ResourceId,
    /// Whether it was made for this very step.
    pub virgin: Virgin,
    /// The counters, as they are on disk.
    pub counters: Counters,
    /// Whether there may be changes that the peer lacks; if not, this node gives way.
    pub changes: Changes,
    /// The activemap: a secondary of this crate is told it.
    pub map: Bytes,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum Input {
    /// The deadline of `poll_timeout` has come.
    Timeout,
    /// Begin.
    Start,
    /// A connection that was asked for is there.
    Connected(Which),
    /// A frame was received.
    Frame(Which, Frame),
    /// What was received is no frame.
    Invalid(Which, FrameError),
    /// A connection could not be made, or has ended.
    Closed(Which),
    /// The answer to [`Output::NeedIdentity`].
    Identity(Identity),
}

/// Something the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Connect to the secondary.
    Connect(Which),
    /// Send this, with this version in the header.
    Send(Which, Version, Opening),
    /// Answer with [`Input::Identity`].
    NeedIdentity,
    /// Both have counted, and nobody gives way: tell the operator. The peer's activemap, if it has
    /// told that. [`Failed`](Self::Failed) follows.
    SplitBrain(Option<Bytes>),
    /// The session may begin: hand it to the primary.
    Established(Session),
    /// It may not: close both connections.
    Failed(Failure),
}

/// Why an attempt has failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The secondary refuses.
    #[error("refused: {}", .0.reason)]
    Refused(Refused),
    /// A state has taken too long.
    #[error("timed out")]
    TimedOut,
    /// A connection could not be made, or has ended.
    #[error("{0:?} connection closed")]
    Closed(Which),
    /// What was received is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What was received is not the message due.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message was received where none is due.
    #[error("a message on the {0:?} connection where none is due")]
    Unexpected(Which),
    /// The data areas have different lengths.
    #[error("data size {own} here and {peer} there")]
    DataSize {
        /// Ours.
        own: Length,
        /// The peer's.
        peer: Length,
    },
    /// The extents have different sizes.
    #[error("extent size {own} here and {peer} there")]
    ExtentSize {
        /// Ours.
        own: ExtentSize,
        /// The peer's.
        peer: ExtentSize,
    },
    /// The secondary's map has not a bit for every extent.
    #[error("map of {have} octets where {need} are needed")]
    Map {
        /// Its octets.
        have: Length,
        /// Those needed.
        need: Length,
    },
    /// The secondary's map is damaged.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Short { have, need } => Self::Map { have, need },
            MapError::Payload(error) => Self::Payload(error),
        }
    }
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Idle,
    Connecting,
    Greeting,
    Joining(Agreed),
    Introducing(Agreed),
    Deciding { version: Version, sent: Sent },
    Over,
}

/// What the first answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Agreed {
    version: Version,
    token: Token,
    reunion: bool,
}

/// What the second step has said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sent {
    resource_id: ResourceId,
    counters: Counters,
}

/// One attempt of a primary to begin a session. See the [module's documentation](super).
///
/// ```
/// use std::time::Duration;
/// use hast_proto::handshake::PrimaryHandshake;
/// use hast_proto::handshake::connecting::{Config, Input, Output, Which};
/// use hast_proto::{ExtentSize, Layout, Length, ResourceName, SectorSize, Version};
///
/// let media = Length::new(1 << 30);
/// let mut attempt = PrimaryHandshake::<Duration>::new(Config {
///     resource: ResourceName::new("shared")?,
///     layout: Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT)?,
///     header: Version::V1,
///     timeout: Duration::from_secs(20),
/// });
/// attempt.handle(Duration::ZERO, Input::Start);
/// assert_eq!(attempt.poll_output(), Some(Output::Connect(Which::First)));
/// assert_eq!(attempt.poll_timeout(), Some(Duration::from_secs(20)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrimaryHandshake<T> {
    config: Config,
    state: State,
    deadline: Option<T>,
    now: Option<T>,
    outputs: VecDeque<Output>,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> PrimaryHandshake<T> {
    /// Makes an attempt, which waits for [`Input::Start`].
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Idle,
            deadline: None,
            now: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes note of something that happened at `now`.
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        match (self.state, input) {
            (State::Idle, Input::Start) => {
                self.enter(now, State::Connecting, Output::Connect(Which::First));
            }
            (State::Over, _) | (State::Idle, _) | (_, Input::Start) => {}
            (_, Input::Timeout) => {
                if self.deadline.is_some_and(|deadline| deadline <= now) {
                    self.fail(Failure::TimedOut);
                }
            }
            (_, Input::Closed(which)) => self.fail(Failure::Closed(which)),
            (_, Input::Invalid(_, error)) => self.fail(error.into()),
            (State::Connecting, Input::Connected(Which::First)) => {
                let opening = Opening::First(FirstStep {
                    resource: self.config.resource.clone(),
                    version: Some(Version::NEWEST.get()),
                });
                let send = Output::Send(Which::First, self.config.header, opening);
                self.enter(now, State::Greeting, send);
            }
            (State::Greeting, Input::Frame(Which::First, frame)) => {
                match FirstAnswer::decode(&frame) {
                    Ok(FirstAnswer::Welcome(welcome)) => {
                        let joining = State::Joining(Agreed {
                            version: welcome.settled(),
                            token: welcome.token,
                            reunion: welcome.reunion,
                        });
                        self.enter(now, joining, Output::Connect(Which::Second));
                    }
                    Ok(FirstAnswer::Refused(refused)) => self.fail(Failure::Refused(refused)),
                    Err(error) => self.fail(error.into()),
                }
            }
            (State::Joining(agreed), Input::Connected(Which::Second)) => {
                let introducing = State::Introducing(agreed);
                self.enter(now, introducing, Output::NeedIdentity);
            }
            (State::Introducing(agreed), Input::Identity(identity)) => {
                self.introduce(now, agreed, identity);
            }
            (State::Deciding { version, sent }, Input::Frame(Which::First, frame)) => {
                match self.check(version, sent, &frame) {
                    Ok(session) => self.finish(Output::Established(session)),
                    Err(failure) => self.fail(failure),
                }
            }
            // HAST §14.12: refusals of the second step come on the second connection, where
            // the original does not listen.
            (
                State::Introducing { .. } | State::Deciding { .. },
                Input::Frame(Which::Second, frame),
            ) => match FirstAnswer::decode(&frame) {
                Ok(FirstAnswer::Refused(refused)) => self.fail(Failure::Refused(refused)),
                Ok(FirstAnswer::Welcome(_)) => self.fail(Failure::Unexpected(Which::Second)),
                Err(error) => self.fail(error.into()),
            },
            (_, Input::Frame(which, _)) => self.fail(Failure::Unexpected(which)),
            (_, Input::Connected(_) | Input::Identity(_)) => {}
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
    pub const fn poll_timeout(&self) -> Option<T> {
        self.deadline
    }

    fn enter(&mut self, now: T, state: State, output: Output) {
        self.state = state;
        self.deadline = Some(now + self.config.timeout);
        self.outputs.push_back(output);
    }

    /// Takes the second step.
    fn introduce(&mut self, now: T, agreed: Agreed, identity: Identity) {
        let Identity {
            resource_id,
            virgin,
            counters,
            changes,
            map,
        } = identity;
        let opening = Opening::Second(SecondStep {
            resource: self.config.resource.clone(),
            token: agreed.token,
            virgin: virgin == Virgin::Yes,
            resource_id: Some(resource_id),
            counters,
            // A real secondary would leave the map in its socket.
            reunion: agreed.reunion.then(|| Reunion {
                changes,
                map: Map::for_opening(map),
            }),
        });
        let version = agreed.version;
        let sent = Sent {
            resource_id,
            counters,
        };
        let deciding = State::Deciding { version, sent };
        let send = Output::Send(Which::Second, version, opening);
        self.enter(now, deciding, send);
    }

    fn finish(&mut self, output: Output) {
        self.state = State::Over;
        self.deadline = None;
        self.outputs.push_back(output);
    }

    fn fail(&mut self, failure: Failure) {
        self.finish(Output::Failed(failure));
    }

    /// The primary's checks on the second answer, in the original's order (HAST §1.5).
    fn check(&mut self, version: Version, sent: Sent, frame: &Frame) -> Result<Session, Failure> {
        let Accepted {
            standing,
            virgin,
            source,
            map,
        } = match SecondAnswer::decode(frame)? {
            SecondAnswer::Accepted(accepted) => accepted,
            SecondAnswer::Refused { refused, map, .. } => {
                if refused.reason == Refusal::SplitBrain {
                    // What cannot be read of it is only for the operator to know.
                    let map = map.and_then(|map| map.open_for(&self.config.layout).ok());
                    self.outputs.push_back(Output::SplitBrain(map));
                }
                return Err(Failure::Refused(refused));
            }
        };
        let layout = &self.config.layout;
        if standing.data_size != layout.data_len() {
            return Err(Failure::DataSize {
                own: layout.data_len(),
                peer: standing.data_size,
            });
        }
        if standing.extent_size != layout.extent_size() {
            return Err(Failure::ExtentSize {
                own: layout.extent_size(),
                peer: standing.extent_size,
            });
        }
        let map = map.map(|map| map.open_for(layout)).transpose()?;
        Ok(Session {
            version,
            sent: sent.counters,
            resource_id: sent.resource_id,
            peer: standing.counters,
            source,
            virgin: virgin.into(),
            map,
        })
    }
}

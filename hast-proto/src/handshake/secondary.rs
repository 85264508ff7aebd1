//! The secondary's side: the door of one resource.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use crate::consistency::Consistency;
use crate::decision::{
    self, Changes, Decision, DecisionError, Disagreement, GiveWay, MapChoice, Party, Rule,
    Synchronise,
};
use crate::message::{
    Accepted, FirstAnswer, FirstStep, Map, Opening, Refusal, Refused, SecondAnswer, SecondStep,
    Standing, Welcome,
};
use crate::metadata::Metadata;
use crate::payload::Payload;
use crate::types::{Role, SyncSource, Token, Version};

/// What an operator chooses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "these can be chosen")]
pub struct Config {
    /// How long a first connection may wait for its second step, and how long `Prepare` and
    /// `StoreMetadata` may take together. The original waits 20 s for any message.
    pub timeout: Duration,
    /// How many first connections may be half open; the oldest makes room. At least 1 counts.
    pub half_open: usize,
    /// Whether this node gives way to a primary of this crate if both have counted, and this one
    /// provably has no changes.
    pub give_way: GiveWay,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            half_open: 4,
            give_way: GiveWay::default(),
        }
    }
}

/// The driver's number for a connection, which it never uses twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct Connection(pub u64);

/// Whether the peer's address is the `remote` of this resource (HAST §1.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is or it is not")]
pub enum Access {
    /// It is.
    Allowed,
    /// It is not.
    Denied,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum Input {
    /// The deadline of `poll_timeout` has come.
    Timeout,
    /// The resource has this role now; it begins as [`Role::Init`].
    Role(Role),
    /// The first message on a connection, which names this resource.
    Opening {
        /// The connection.
        connection: Connection,
        /// The message.
        opening: Opening,
        /// Whether the peer may.
        access: Access,
        /// Sixteen random octets, fresh for every opening.
        token: Token,
    },
    /// The answer to [`Output::Prepare`]: no session runs, none of its disk operations is on its
    /// way, and this is on the disk.
    Ready {
        /// The metadata block.
        metadata: Metadata,
        /// The activemap: all that is reserved for it.
        map: Bytes,
        /// The mark.
        consistency: Consistency,
    },
    /// The other answer to [`Output::Prepare`]: it cannot be, for the reason given.
    Unavailable(Box<str>),
    /// What became of [`Output::StoreMetadata`].
    Stored(Result<(), crate::Errno>),
    /// A connection has ended.
    Closed(Connection),
}

/// Something the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Send the answer to a first step, or a refusal of either.
    Answer(Connection, FirstAnswer),
    /// Send the answer to a second step, on the first connection. Its map is neither compressed
    /// nor checksummed yet: see [`SecondAnswer::sealed`].
    Decide(Connection, Version, SecondAnswer),
    /// Close the connection, as soon as what was to be sent is sent.
    Close(Connection),
    /// End the running session, if there is one, wait for its disk operations, and answer with
    /// [`Input::Ready`] or [`Input::Unavailable`].
    Prepare,
    /// Write the metadata, durably, and answer with [`Input::Stored`].
    StoreMetadata(Metadata),
    /// The session begins.
    Established(Established),
    /// Tell the operator: somebody was refused.
    Refused(Connection, Refusing),
    /// Tell the operator: both have counted, and nobody gives way.
    /// [`Refused`](Self::Refused) follows.
    SplitBrain {
        /// The peer's connection.
        connection: Connection,
        /// This node's activemap, as it is on disk.
        map: Bytes,
        /// The peer's, if it has told that.
        peer: Option<Bytes>,
    },
}

/// A session that begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Established {
    /// The connection that carries requests.
    pub first: Connection,
    /// The connection that carries replies.
    pub second: Connection,
    /// The version negotiated.
    pub version: Version,
    /// Which row of the table applied.
    pub rule: Rule,
    /// Who has the current data.
    pub source: SyncSource,
    /// Whether this node's activemap stays as it is in the session: for
    /// [`Config::keep_map`](crate::secondary::Config::keep_map). So it is when this node is the
    /// source for a real primary, which may go on alone before it has copied everything, and tells
    /// nobody what it lacks then.
    pub keep_map: bool,
}

/// Why an opening was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusing {
    /// The peer was told why.
    #[error("{0}")]
    Told(Refusal),
    /// The two wrote alone before they ever met.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// Another second step is being answered.
    #[error("another handshake is being completed")]
    Busy,
    /// It has taken too long.
    #[error("timed out")]
    TimedOut,
}

/// A first connection whose second step is awaited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct HalfOpen<T> {
    connection: Connection,
    version: Version,
    token: Token,
    deadline: T,
}

/// A second step on its way to the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Completing<T> {
    first: Connection,
    second: Connection,
    version: Version,
    step: SecondStep,
    deadline: T,
    /// The answer, if it waits for the metadata.
    decided: Option<Decided>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Decided {
    synchronise: Synchronise,
    answer: SecondAnswer,
}

/// The secondary's side of the handshake. See the [module's documentation](super).
///
/// ```
/// use std::time::Duration;
/// use hast_proto::handshake::{Access, Connection, SecondaryHandshake};
/// use hast_proto::handshake::accepting::{Config, Input, Output};
/// use hast_proto::message::{FirstAnswer, FirstStep, Opening};
/// use hast_proto::{ResourceName, Role, Token};
///
/// let mut door = SecondaryHandshake::<Duration>::new(Config::default());
/// door.handle(Duration::ZERO, Input::Role(Role::Secondary));
/// let opening = Opening::First(FirstStep {
///     resource: ResourceName::new("shared")?,
///     version: Some(2),
/// });
/// let (connection, token) = (Connection(1), Token::new([7; 16]));
/// let access = Access::Allowed;
/// door.handle(Duration::ZERO, Input::Opening { connection, opening, access, token });
/// let Some(Output::Answer(_, FirstAnswer::Welcome(welcome))) = door.poll_output() else {
///     unreachable!();
/// };
/// assert_eq!(welcome.token, token);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SecondaryHandshake<T> {
    config: Config,
    role: Role,
    half_open: Vec<HalfOpen<T>>,
    completing: Option<Completing<T>>,
    /// Whether `StoreMetadata` is on its way, perhaps for a second step that was given up.
    storing: bool,
    now: Option<T>,
    outputs: VecDeque<Output>,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> SecondaryHandshake<T> {
    /// Makes a door, which refuses everybody until it hears that the role is secondary.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            role: Role::Init,
            half_open: Vec::new(),
            completing: None,
            storing: false,
            now: None,
            outputs: VecDeque::new(),
        }
    }

    /// Changes whether this node gives way, from the next handshake on.
    pub const fn set_give_way(&mut self, give_way: GiveWay) {
        self.config.give_way = give_way;
    }

    /// Takes note of something that happened at `now`.
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        match input {
            Input::Timeout => self.on_timeout(now),
            Input::Role(role) => self.on_role(role),
            Input::Opening {
                connection,
                opening,
                access,
                token,
            } => match (self.admit(access), opening) {
                (Err(refusal), _) => self.refuse(connection, refusal),
                (Ok(()), Opening::First(step)) => self.on_first(now, connection, &step, token),
                (Ok(()), Opening::Second(step)) => self.on_second(now, connection, step),
            },
            Input::Ready {
                metadata,
                map,
                consistency,
            } => self.on_ready(metadata, &map, consistency),
            Input::Unavailable(reason) => {
                if let Some(completing) = self.preparing() {
                    self.refuse_second(completing, None, Refusal::NoHeader(reason));
                }
            }
            Input::Stored(result) => self.on_stored(result),
            Input::Closed(connection) => self.on_closed(connection),
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
        let half_open = self.half_open.iter().map(|half| half.deadline);
        let completing = self.completing.iter().map(|completing| completing.deadline);
        half_open.chain(completing).min()
    }

    /// Checks 6 and 7 of HAST §1.4; those before are the driver's, who finds the resource.
    fn admit(&self, access: Access) -> Result<(), Refusal> {
        match (access, self.role) {
            (Access::Denied, _) => Err(Refusal::NoAccess),
            (Access::Allowed, Role::Secondary) => Ok(()),
            (Access::Allowed, role) => Err(Refusal::Role(role)),
        }
    }

    fn on_first(&mut self, now: T, connection: Connection, step: &FirstStep, token: Token) {
        // A driver whose random numbers repeat must not open the door to somebody else.
        if self.half_open.iter().any(|half| half.token == token) {
            self.outputs.push_back(Output::Close(connection));
            return;
        }
        if self.half_open.len() >= self.config.half_open.max(1) {
            let oldest = self.half_open.remove(0);
            self.outputs.push_back(Output::Close(oldest.connection));
        }
        let version = Version::settle(step.version);
        self.half_open.push(HalfOpen {
            connection,
            version,
            token,
            deadline: now + self.config.timeout,
        });
        let welcome = Welcome {
            version: Some(version),
            token,
            reunion: true,
        };
        let answer = FirstAnswer::Welcome(welcome);
        self.outputs.push_back(Output::Answer(connection, answer));
    }

    fn on_second(&mut self, now: T, second: Connection, step: SecondStep) {
        let position = self
            .half_open
            .iter()
            .position(|half| half.token == step.token);
        let Some(position) = position else {
            self.refuse(second, Refusal::WrongToken);
            return;
        };
        // Used once, whatever comes of it.
        let half = self.half_open.remove(position);
        if self.completing.is_some() || self.storing {
            let refusing = Output::Refused(half.connection, Refusing::Busy);
            self.outputs.push_back(refusing);
            self.close(half.connection, second);
            return;
        }
        self.completing = Some(Completing {
            first: half.connection,
            second,
            version: half.version,
            step,
            deadline: now + self.config.timeout,
            decided: None,
        });
        self.outputs.push_back(Output::Prepare);
    }

    fn on_ready(&mut self, mut metadata: Metadata, map: &Bytes, consistency: Consistency) {
        let Some(mut completing) = self.preparing() else {
            return;
        };
        let standing = Standing {
            data_size: metadata.layout.data_len(),
            extent_size: metadata.layout.extent_size(),
            counters: metadata.counters,
        };
        let own = Party {
            resource_id: metadata.resource_id,
            counters: metadata.counters,
        };
        let step = &completing.step;
        let peer = Party {
            resource_id: step.resource_id,
            counters: step.counters,
        };
        let decided = match &step.reunion {
            None => decision::decide(own, peer, step.virgin.into()),
            Some(reunion) => {
                let changes = Changes::of(consistency, map, metadata.previous_role);
                let changes = (self.config.give_way.admit(changes), reunion.changes);
                decision::reunite(own, peer, step.virgin.into(), changes)
            }
        };
        let synchronise = match decided {
            Ok(Decision::Synchronise(synchronise)) => synchronise,
            Ok(Decision::Refuse(Disagreement::SplitBrain)) => {
                self.refuse_split_brain(completing, standing, &metadata, map);
                return;
            }
            Ok(Decision::Refuse(disagreement)) => {
                self.refuse_second(completing, Some(standing), disagreement.into());
                return;
            }
            Err(error) => {
                let refusing = Output::Refused(completing.first, error.into());
                self.outputs.push_back(refusing);
                let text = Refusal::Other(alloc::format!("{error}").into());
                self.send_refusal(&completing, Some(standing), text, None);
                return;
            }
        };
        // HAST §5.5, hole 2: a mixture of old and new data is no source for anybody.
        if synchronise.source == SyncSource::Secondary && consistency != Consistency::Consistent {
            let text = Refusal::Other("Data are inconsistent.".into());
            self.refuse_second(completing, Some(standing), text);
            return;
        }
        let standing = Standing {
            counters: synchronise.counters.unwrap_or(standing.counters),
            ..standing
        };
        let answer = SecondAnswer::Accepted(Accepted {
            standing,
            virgin: synchronise.virgin == decision::Virgin::Yes,
            source: synchronise.source,
            map: match consistency {
                Consistency::Consistent | Consistency::Inconsistent => {
                    choose_map(synchronise.map, map)
                }
                Consistency::Incomplete => choose_map(MapChoice::Full, map),
            },
        });
        let decided = Decided {
            synchronise,
            answer,
        };
        let before = metadata.clone();
        if let Some(resource_id) = synchronise.adopt {
            metadata.resource_id = resource_id;
            metadata.previous_role = Role::Secondary;
        }
        metadata.counters = standing.counters;
        if synchronise.source == SyncSource::Secondary {
            // The session clears the map; so a map without marks proves nothing from here on:
            // see `Changes::of`.
            metadata.previous_role = Role::Secondary;
        }
        if metadata == before && synchronise.adopt.is_none() {
            self.establish(&completing, decided);
        } else {
            completing.decided = Some(decided);
            self.completing = Some(completing);
            self.storing = true;
            self.outputs.push_back(Output::StoreMetadata(metadata));
        }
    }

    fn on_stored(&mut self, result: Result<(), crate::Errno>) {
        self.storing = false;
        let Some(mut completing) = self.completing.take() else {
            return;
        };
        let Some(decided) = completing.decided.take() else {
            self.completing = Some(completing);
            return;
        };
        match result {
            Ok(()) => self.establish(&completing, decided),
            Err(error) => {
                let reason = alloc::format!("{error}").into();
                self.refuse_second(completing, None, Refusal::NoHeader(reason));
            }
        }
    }

    fn establish(&mut self, completing: &Completing<T>, decided: Decided) {
        let Decided {
            synchronise,
            answer,
        } = decided;
        let (first, version) = (completing.first, completing.version);
        let is_real = completing.step.reunion.is_none();
        self.outputs
            .push_back(Output::Decide(first, version, answer));
        self.outputs.push_back(Output::Established(Established {
            first,
            second: completing.second,
            version,
            rule: synchronise.rule,
            source: synchronise.source,
            keep_map: is_real && synchronise.source == SyncSource::Secondary,
        }));
    }

    /// Takes the second step for which `Prepare` is on its way.
    fn preparing(&mut self) -> Option<Completing<T>> {
        self.completing
            .take_if(|completing| completing.decided.is_none())
    }

    fn on_role(&mut self, role: Role) {
        self.role = role;
        if role != Role::Secondary {
            for half in self.half_open.drain(..) {
                self.outputs.push_back(Output::Close(half.connection));
            }
            if let Some(completing) = self.completing.take() {
                self.close(completing.first, completing.second);
            }
        }
    }

    fn on_timeout(&mut self, now: T) {
        let outputs = &mut self.outputs;
        self.half_open.retain(|half| {
            let keep = half.deadline > now;
            if !keep {
                let refused = Output::Refused(half.connection, Refusing::TimedOut);
                outputs.extend([refused, Output::Close(half.connection)]);
            }
            keep
        });
        if let Some(late) = self.completing.take_if(|late| late.deadline <= now) {
            let refused = Output::Refused(late.first, Refusing::TimedOut);
            self.outputs.push_back(refused);
            self.close(late.first, late.second);
        }
    }

    fn on_closed(&mut self, connection: Connection) {
        self.half_open.retain(|half| half.connection != connection);
        let ended = self
            .completing
            .take_if(|it| it.first == connection || it.second == connection);
        if let Some(ended) = ended {
            self.close(ended.first, ended.second);
        }
    }

    /// Refuses an opening on the connection on which it came.
    fn refuse(&mut self, connection: Connection, refusal: Refusal) {
        let answer = FirstAnswer::Refused(Refused::from(refusal.clone()));
        self.outputs.extend([
            Output::Refused(connection, Refusing::Told(refusal)),
            Output::Answer(connection, answer),
            Output::Close(connection),
        ]);
    }

    /// Refuses a second step, on the first connection.
    fn refuse_second(
        &mut self,
        completing: Completing<T>,
        standing: Option<Standing>,
        refusal: Refusal,
    ) {
        let told = Refusing::Told(refusal.clone());
        self.outputs
            .push_back(Output::Refused(completing.first, told));
        self.send_refusal(&completing, standing, refusal, None);
    }

    /// Both have counted. A primary of this crate and this node's operator are told by how much.
    fn refuse_split_brain(
        &mut self,
        completing: Completing<T>,
        standing: Standing,
        metadata: &Metadata,
        map: &Bytes,
    ) {
        let first = completing.first;
        let reunion = completing.step.reunion.as_ref();
        // One that cannot be read is none: it is only for the operator to know.
        let peer = reunion.and_then(|it| it.map.as_ref()?.open_for(&metadata.layout).ok());
        // It has to leave before the connection is closed: no more than an opening may have.
        let own = reunion.and_then(|_| Map::for_opening(map.clone()));
        self.outputs.push_back(Output::SplitBrain {
            connection: first,
            map: map.clone(),
            peer,
        });
        let refusal = Refusal::SplitBrain;
        let told = Refusing::Told(refusal.clone());
        self.outputs.push_back(Output::Refused(first, told));
        self.send_refusal(&completing, Some(standing), refusal, own);
    }

    fn send_refusal(
        &mut self,
        completing: &Completing<T>,
        standing: Option<Standing>,
        refusal: Refusal,
        map: Option<Map>,
    ) {
        let answer = SecondAnswer::Refused {
            standing,
            refused: refusal.into(),
            map,
        };
        let decide = Output::Decide(completing.first, completing.version, answer);
        self.outputs.push_back(decide);
        self.close(completing.first, completing.second);
    }

    fn close(&mut self, first: Connection, second: Connection) {
        self.outputs
            .extend([Output::Close(first), Output::Close(second)]);
    }
}

/// Makes the map that goes with the answer.
fn choose_map(choice: MapChoice, on_disk: &Bytes) -> Option<Map> {
    let octets = match choice {
        MapChoice::None => return None,
        MapChoice::OnDisk => on_disk.clone(),
        MapChoice::Full => alloc::vec![0xff; on_disk.len()].into(),
    };
    let size = u32::try_from(octets.len()).ok()?;
    Map::new(size, Payload::plain(octets)?)
}

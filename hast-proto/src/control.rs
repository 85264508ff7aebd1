//! The control protocol between `hastctl` and `hastd` (HAST §9.5).
//!
//! One request and one answer on each connection, then `hastd` closes it. Nothing authenticates
//! the caller but the permissions of the socket's file.
//!
//! ```
//! use bytes::BytesMut;
//! use hast_proto::ResourceName;
//! use hast_proto::control::{ControlRequest, Resources};
//! use hast_proto::frame::{Decoder, Encoder, Phase};
//!
//! let request = ControlRequest::Status(Resources::All);
//! let segments = request.encode(&mut Encoder::new());
//!
//! let mut received = BytesMut::from(&segments.concat()[..]);
//! let frame = Decoder::new(Phase::Control).decode(&mut received)?.unwrap();
//! assert_eq!(ControlRequest::decode(&frame), Ok(request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{List, LookupError, Name, Text, Typed, Value, Writer};
use crate::types::{
    Checksum, Compression, Excerpt, NumberError, Replication, ResourceName, ResourceNameError,
    Role, UnknownWord, Version,
};

const CMD: Name<'static> = Name::literal("cmd");
const ROLE: Name<'static> = Name::literal("role");
const ERROR: Name<'static> = Name::literal("error");

const SET_ROLE: u8 = 1;
const STATUS: u8 = 2;
/// The name that stands for every resource.
const ALL: &str = "all";

/// What `hastd` cannot do, and says so by a number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the last variant holds what is not known"
)]
pub enum ControlFault {
    /// 1: there is no such resource.
    NoEntry,
    /// 2: the request makes no sense.
    Invalid,
    /// 3: there is no memory; never used.
    NoMemory,
    /// 4: there is no such command.
    Unimplemented,
    /// Another number, as that of the error with which a worker could not be asked.
    Other(i16),
}

impl ControlFault {
    /// Takes the number in "error"; `None` for 0, which is success.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::NoEntry,
            2 => Self::Invalid,
            3 => Self::NoMemory,
            4 => Self::Unimplemented,
            code => Self::Other(code),
        })
    }

    /// Returns the number in "error".
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::NoEntry => 1,
            Self::Invalid => 2,
            Self::NoMemory => 3,
            Self::Unimplemented => 4,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for ControlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry => f.write_str("no such resource"),
            Self::Invalid => f.write_str("invalid request"),
            Self::NoMemory => f.write_str("no memory"),
            Self::Unimplemented => f.write_str("unknown command"),
            Self::Other(code) => write!(f, "error {code}"),
        }
    }
}

/// The resources that a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "all or some")]
pub enum Resources {
    /// Every one that is configured.
    All,
    /// Those named, at least one. A name "all" at the front means [`All`](Self::All) to the
    /// receiver, so that a resource of that name cannot be asked for alone.
    Named(Vec<ResourceName>),
}

/// What `hastctl` asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum ControlRequest {
    /// Change the role of the resources.
    SetRole(Role, Resources),
    /// Say how they are.
    Status(Resources),
}

/// Why a request of the control protocol is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// "cmd" is missing, 0, or has the wrong type: the connection is closed without an answer.
    #[error("no command")]
    NoCommand,
    /// There is no such command.
    #[error("unknown command {code}")]
    Command {
        /// The value of "cmd".
        code: u8,
    },
    /// A pair is missing or has the wrong type.
    #[error("{field} is {error}")]
    Field {
        /// The pair's name, without the number behind it.
        field: &'static str,
        /// What is wrong with it.
        error: LookupError,
    },
    /// A number is out of range.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// A name is no name of a resource.
    #[error(transparent)]
    Resource(#[from] ResourceNameError),
    /// A word is none of those that its field has.
    #[error(transparent)]
    Word(#[from] UnknownWord),
}

impl ControlError {
    /// Returns the fault that `hastd` answers to such a request, or `None` if it closes the
    /// connection.
    #[must_use]
    pub const fn fault(&self) -> Option<ControlFault> {
        match self {
            Self::NoCommand => None,
            Self::Command { .. } => Some(ControlFault::Unimplemented),
            _ => Some(ControlFault::Invalid),
        }
    }
}

impl ControlRequest {
    /// Reads a request. `hastd` notices an unknown command only when there is a resource to do it
    /// to; here it is noticed at once, with the same answer.
    ///
    /// # Errors
    ///
    /// [`ControlError`], which knows [the answer](ControlError::fault).
    pub fn decode(frame: &Frame) -> Result<Self, ControlError> {
        let pairs = Index::new(frame.list());
        let code = pairs.get::<u8>("cmd").unwrap_or(0);
        if code == 0 {
            return Err(ControlError::NoCommand);
        }
        let resources = Resources::read(&pairs)?;
        match code {
            SET_ROLE => {
                let role = pairs.required("role", "role")?;
                Ok(Self::SetRole(Role::from_code(role)?, resources))
            }
            STATUS => Ok(Self::Status(resources)),
            code => Err(ControlError::Command { code }),
        }
    }

    /// Writes the request.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        encoder.message(Version::NEWEST, None, |list| match self {
            Self::SetRole(role, resources) => {
                list.push(CMD, Value::U8(SET_ROLE));
                list.push(ROLE, Value::U8(role.code()));
                resources.write(list);
            }
            Self::Status(resources) => {
                list.push(CMD, Value::U8(STATUS));
                resources.write(list);
            }
        })
    }
}

impl Resources {
    fn read(pairs: &Index<'_>) -> Result<Self, ControlError> {
        let first: Text<'_> = pairs.required("resource", "resource0")?;
        if first.as_bytes() == ALL.as_bytes() {
            return Ok(Self::All);
        }
        let mut names = Vec::new();
        while let Some(name) = pairs.resource(names.len())? {
            names.push(name);
        }
        Ok(Self::Named(names))
    }

    fn write(&self, list: &mut Writer<'_>) {
        match self {
            Self::All => push(list, "resource", 0, text(ALL)),
            Self::Named(names) => {
                for (number, name) in names.iter().enumerate() {
                    push(list, "resource", number, text(name.as_str()));
                }
            }
        }
    }
}

/// What `hastd` answers: for each resource what was asked for, or why not, and perhaps a fault of
/// the whole, which may follow some answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the protocol has these two parts"
)]
pub struct ControlAnswer<T> {
    /// The resources in the order asked for.
    pub resources: Vec<(ResourceName, Result<T, ControlFault>)>,
    /// A fault that is not one resource's.
    pub fault: Option<ControlFault>,
}

/// The answer to [`ControlRequest::SetRole`]: the roles *before* the change.
pub type RoleAnswer = ControlAnswer<Role>;
/// The answer to [`ControlRequest::Status`].
pub type StatusAnswer = ControlAnswer<ResourceStatus>;

/// How a resource is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct ResourceStatus {
    /// The name of the device under `/dev/hast`.
    pub provider: Box<str>,
    /// The local component.
    pub local: Box<str>,
    /// The peer's address.
    pub remote: Box<str>,
    /// The address that connections come from, if configured.
    pub source: Option<Box<str>>,
    /// The mode configured; a session may have fallen back to fullsync.
    pub replication: Replication,
    /// The checksum configured.
    pub checksum: Checksum,
    /// The compression configured.
    pub compression: Compression,
    /// The role.
    pub role: Role,
    /// What its worker says, if it has one.
    pub worker: Option<Worker>,
}

/// What a worker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct Worker {
    /// Its process, not 0.
    pub pid: i32,
    /// Whether it is connected.
    pub connection: Connection,
    /// The octets in dirty extents.
    pub dirty: u64,
    /// The size of an extent in octets.
    pub extent_size: u32,
    /// How many extents are kept dirty.
    pub keep_dirty: u32,
    /// What it has done.
    pub statistics: Statistics,
    /// What waits in its queues.
    pub queues: Queues,
}

/// Whether a worker is connected. It says nothing about synchronisation (HAST §7.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Connection {
    /// Both connections are open.
    Complete,
    /// They are not.
    Degraded,
}

impl Connection {
    /// Returns the word of `hastctl status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Degraded => "degraded",
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a worker has done since it started.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these nine")]
pub struct Statistics {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Deletes.
    pub deletes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes of the activemap.
    pub activemap_updates: u64,
    /// Reads that failed locally.
    pub read_errors: u64,
    /// Writes that failed locally.
    pub write_errors: u64,
    /// Deletes that failed locally.
    pub delete_errors: u64,
    /// Flushes that failed locally.
    pub flush_errors: u64,
}

/// How many requests are in each queue of a worker.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these five")]
pub struct Queues {
    /// Free ones.
    pub idle: u64,
    /// Ones that wait for the local disk.
    pub local: u64,
    /// Ones that wait to be sent.
    pub send: u64,
    /// Ones that wait for the peer's reply.
    pub receive: u64,
    /// Ones that wait to be handed back.
    pub done: u64,
}

impl ControlAnswer<Role> {
    /// Reads the answer to [`ControlRequest::SetRole`].
    ///
    /// # Errors
    ///
    /// [`ControlError`] if a pair is missing, has the wrong type, or holds what it cannot.
    pub fn decode(frame: &Frame) -> Result<Self, ControlError> {
        Self::read(frame, |pairs, number| pairs.word("role", number))
    }

    /// Writes the answer.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        self.write(encoder, |role, number, list| {
            push(list, "role", number, text(role.as_str()));
        })
    }
}

impl ControlAnswer<ResourceStatus> {
    /// Reads the answer to [`ControlRequest::Status`].
    ///
    /// # Errors
    ///
    /// [`ControlError`] if a pair is missing, has the wrong type, or holds what it cannot.
    pub fn decode(frame: &Frame) -> Result<Self, ControlError> {
        Self::read(frame, ResourceStatus::read)
    }

    /// Writes the answer.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        self.write(encoder, ResourceStatus::write)
    }
}

impl<T> ControlAnswer<T> {
    /// The answer to a request that is refused as a whole.
    #[must_use]
    pub const fn refused(fault: ControlFault) -> Self {
        Self {
            resources: Vec::new(),
            fault: Some(fault),
        }
    }

    fn read(
        frame: &Frame,
        read: impl Fn(&Index<'_>, usize) -> Result<T, ControlError>,
    ) -> Result<Self, ControlError> {
        let pairs = Index::new(frame.list());
        let mut resources = Vec::new();
        while let Some(name) = pairs.resource(resources.len())? {
            let number = resources.len();
            let answer = match pairs.fault("error", &numbered("error", number))? {
                Some(fault) => Err(fault),
                None => Ok(read(&pairs, number)?),
            };
            resources.push((name, answer));
        }
        let fault = pairs.fault("error", "error")?;
        Ok(Self { resources, fault })
    }

    fn write(&self, encoder: &mut Encoder, write: impl Fn(&T, usize, &mut Writer<'_>)) -> Segments {
        encoder.message(Version::NEWEST, None, |list| {
            for (number, (name, answer)) in self.resources.iter().enumerate() {
                push(list, "resource", number, text(name.as_str()));
                match answer {
                    Ok(answer) => write(answer, number, list),
                    Err(fault) => push(list, "error", number, Value::I16(fault.code())),
                }
            }
            // A list without pairs is none: hastctl dies of one. To say that there is no fault is
            // to say nothing.
            if self.fault.is_some() || self.resources.is_empty() {
                let code = self.fault.map_or(0, ControlFault::code);
                list.push(ERROR, Value::I16(code));
            }
        })
    }
}

impl ResourceStatus {
    fn read(pairs: &Index<'_>, number: usize) -> Result<Self, ControlError> {
        Ok(Self {
            provider: pairs.string("provname", number)?,
            local: pairs.string("localpath", number)?,
            remote: pairs.string("remoteaddr", number)?,
            source: match pairs.string("sourceaddr", number) {
                Ok(source) => Some(source),
                Err(ControlError::Field {
                    error: LookupError::Missing,
                    ..
                }) => None,
                Err(error) => return Err(error),
            },
            replication: pairs.word("replication", number)?,
            checksum: pairs.word("checksum", number)?,
            compression: pairs.word("compression", number)?,
            role: pairs.word("role", number)?,
            worker: match pairs.number("workerpid", number)? {
                0 => None,
                pid => Some(Worker::read(pid, pairs, number)?),
            },
        })
    }

    fn write(&self, number: usize, list: &mut Writer<'_>) {
        let mut word = |field, word| push(list, field, number, text(word));
        word("provname", &self.provider);
        word("localpath", &self.local);
        word("remoteaddr", &self.remote);
        if let Some(source) = &self.source {
            word("sourceaddr", source);
        }
        word("replication", self.replication.as_str());
        word("checksum", self.checksum.as_str());
        word("compression", self.compression.as_str());
        word("role", self.role.as_str());
        let pid = self.worker.map_or(0, |worker| worker.pid);
        push(list, "workerpid", number, Value::I32(pid));
        if let Some(worker) = &self.worker {
            worker.write(number, list);
        }
    }
}

impl Worker {
    fn read(pid: i32, pairs: &Index<'_>, number: usize) -> Result<Self, ControlError> {
        let status: Text<'_> = pairs.required("status", &numbered("status", number))?;
        let mut worker = Self {
            pid,
            connection: match status.as_bytes() {
                b"complete" => Connection::Complete,
                b"degraded" => Connection::Degraded,
                word => return Err(unknown("status", word).into()),
            },
            dirty: pairs.number("dirty", number)?,
            extent_size: pairs.number("extentsize", number)?,
            keep_dirty: pairs.number("keepdirty", number)?,
            statistics: Statistics::default(),
            queues: Queues::default(),
        };
        for (field, counter) in worker.counters() {
            *counter = pairs.number(field, number)?;
        }
        Ok(worker)
    }

    fn write(&self, number: usize, list: &mut Writer<'_>) {
        push(list, "status", number, text(self.connection.as_str()));
        push(list, "dirty", number, Value::U64(self.dirty));
        push(list, "extentsize", number, Value::U32(self.extent_size));
        push(list, "keepdirty", number, Value::U32(self.keep_dirty));
        let mut worker = *self;
        for (field, counter) in worker.counters() {
            push(list, field, number, Value::U64(*counter));
        }
    }

    /// The counters with their names, in the order in which they are sent.
    fn counters(&mut self) -> [(&'static str, &mut u64); 14] {
        let Self {
            statistics, queues, ..
        } = self;
        [
            ("stat_read", &mut statistics.reads),
            ("stat_write", &mut statistics.writes),
            ("stat_delete", &mut statistics.deletes),
            ("stat_flush", &mut statistics.flushes),
            ("stat_activemap_update", &mut statistics.activemap_updates),
            ("stat_read_error", &mut statistics.read_errors),
            ("stat_write_error", &mut statistics.write_errors),
            ("stat_delete_error", &mut statistics.delete_errors),
            ("stat_flush_error", &mut statistics.flush_errors),
            ("idle_queue_size", &mut queues.idle),
            ("local_queue_size", &mut queues.local),
            ("send_queue_size", &mut queues.send),
            ("recv_queue_size", &mut queues.receive),
            ("done_queue_size", &mut queues.done),
        ]
    }
}

/// The pairs of a list by name, the first of each. An answer about many resources has thousands
/// of pairs, and looking each of them up from the front would take a time with their square.
struct Index<'a>(BTreeMap<Name<'a>, Value<'a>>);

impl<'a> Index<'a> {
    fn new(list: List<'a>) -> Self {
        let mut pairs = BTreeMap::new();
        for pair in list {
            pairs.entry(pair.name).or_insert(pair.value);
        }
        Self(pairs)
    }

    fn get<T: Typed<'a>>(&self, name: &str) -> Result<T, LookupError> {
        let value = Name::new(name.as_bytes())
            .ok()
            .and_then(|name| self.0.get(&name))
            .ok_or(LookupError::Missing)?;
        T::from_value(*value).ok_or_else(|| LookupError::WrongType {
            wanted: T::TYPE,
            found: value.kind(),
        })
    }

    fn required<T: Typed<'a>>(&self, field: &'static str, name: &str) -> Result<T, ControlError> {
        self.get(name)
            .map_err(|error| ControlError::Field { field, error })
    }

    /// The name of the resource with this number; `None` if the list has no more.
    fn resource(&self, number: usize) -> Result<Option<ResourceName>, ControlError> {
        match self.required::<Text<'_>>("resource", &numbered("resource", number)) {
            Ok(name) => Ok(Some(ResourceName::from_bytes(name.as_bytes())?)),
            Err(ControlError::Field {
                error: LookupError::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fault(&self, field: &'static str, name: &str) -> Result<Option<ControlFault>, ControlError> {
        match self.get(name) {
            Ok(code) => Ok(ControlFault::from_code(code)),
            Err(LookupError::Missing) => Ok(None),
            Err(error) => Err(ControlError::Field { field, error }),
        }
    }

    fn number<T: Typed<'a>>(&self, field: &'static str, number: usize) -> Result<T, ControlError> {
        self.required(field, &numbered(field, number))
    }

    fn string(&self, field: &'static str, number: usize) -> Result<Box<str>, ControlError> {
        let text: Text<'_> = self.number(field, number)?;
        Ok(String::from_utf8_lossy(text.as_bytes()).into())
    }

    fn word<T: core::str::FromStr<Err = UnknownWord>>(
        &self,
        field: &'static str,
        number: usize,
    ) -> Result<T, ControlError> {
        let text: Text<'_> = self.number(field, number)?;
        let word = text
            .to_str()
            .ok_or_else(|| unknown(field, text.as_bytes()))?;
        Ok(word.parse()?)
    }
}

fn unknown(field: &'static str, word: &[u8]) -> UnknownWord {
    let word = Excerpt::new(word);
    UnknownWord { field, word }
}

fn numbered(field: &str, number: usize) -> String {
    format!("{field}{number}")
}

fn push(list: &mut Writer<'_>, field: &str, number: usize, value: Value<'_>) {
    // The longest field and the longest number have some forty octets, none of them NUL.
    if let Ok(name) = Name::new(numbered(field, number).as_bytes()) {
        list.push(name, value);
    }
}

fn text(text: &str) -> Value<'_> {
    Value::String(Text::until_nul(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Decoder, Phase};
    use bytes::BytesMut;

    fn receive(segments: &Segments) -> Frame {
        let mut buffer = BytesMut::from(&segments.concat()[..]);
        let frame = Decoder::new(Phase::Control).decode(&mut buffer);
        frame.unwrap().unwrap()
    }

    fn request(pairs: &[(&'static str, Value<'_>)]) -> Result<ControlRequest, ControlError> {
        let segments = Encoder::new().message(Version::V2, None, |list| {
            for (name, value) in pairs {
                list.push(Name::literal(name), *value);
            }
        });
        ControlRequest::decode(&receive(&segments))
    }

    fn names(names: &[&str]) -> Resources {
        Resources::Named(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn names_end_at_the_first_missing_number() {
        let status = ("cmd", Value::U8(2));
        let gap = request(&[status, ("resource0", text("a")), ("resource2", text("c"))]);
        assert_eq!(gap, Ok(ControlRequest::Status(names(&["a"]))));
        let all = request(&[status, ("resource0", text("all")), ("resource1", text("b"))]);
        assert_eq!(all, Ok(ControlRequest::Status(Resources::All)));
        let later = request(&[("resource1", text("all")), ("resource0", text("a")), status]);
        assert_eq!(later, Ok(ControlRequest::Status(names(&["a", "all"]))));
    }

    #[test]
    fn each_fault_has_its_answer() {
        let shared = ("resource0", text("shared"));
        let fault = |pairs: &[_]| request(pairs).unwrap_err().fault();
        let role = |role| ("role", Value::U8(role));
        // Closed without an answer.
        assert_eq!(fault(&[shared]), None);
        assert_eq!(fault(&[("cmd", Value::U8(0)), shared]), None);
        assert_eq!(fault(&[("cmd", Value::U16(1)), shared]), None);
        let invalid = Some(ControlFault::Invalid);
        assert_eq!(fault(&[("cmd", Value::U8(2))]), invalid);
        assert_eq!(
            fault(&[("cmd", Value::U8(2)), ("resource0", Value::U8(1))]),
            invalid
        );
        assert_eq!(fault(&[("cmd", Value::U8(1)), shared]), invalid);
        assert_eq!(fault(&[("cmd", Value::U8(1)), role(0), shared]), invalid);
        assert_eq!(fault(&[("cmd", Value::U8(1)), role(4), shared]), invalid);
        let unknown = Some(ControlFault::Unimplemented);
        assert_eq!(fault(&[("cmd", Value::U8(3)), shared]), unknown);
    }

    #[test]
    fn an_answer_may_have_faults_of_its_parts_and_of_the_whole() {
        let answer = RoleAnswer {
            resources: [
                ("a".parse().unwrap(), Ok(Role::Primary)),
                ("b".parse().unwrap(), Err(ControlFault::NoEntry)),
            ]
            .into(),
            fault: Some(ControlFault::Other(60)),
        };
        let segments = answer.encode(&mut Encoder::new());
        assert_eq!(RoleAnswer::decode(&receive(&segments)), Ok(answer));
        let refused = StatusAnswer::refused(ControlFault::Invalid);
        let segments = refused.encode(&mut Encoder::new());
        assert_eq!(StatusAnswer::decode(&receive(&segments)), Ok(refused));
    }

    #[test]
    fn an_answer_about_many_resources_is_read_in_a_moment() {
        let resources = (0..800_usize).map(|number| {
            let status = ResourceStatus {
                provider: format!("provider{number}").into(),
                local: "/dev/da0".into(),
                remote: "tcp://192.0.2.1".into(),
                source: None,
                replication: Replication::Memsync,
                checksum: Checksum::None,
                compression: Compression::Hole,
                role: Role::Primary,
                worker: Some(Worker {
                    pid: 1234,
                    connection: Connection::Complete,
                    dirty: 0,
                    extent_size: 2_097_152,
                    keep_dirty: 64,
                    statistics: Statistics::default(),
                    queues: Queues::default(),
                }),
            };
            (format!("name{number}").parse().unwrap(), Ok(status))
        });
        let answer = StatusAnswer {
            resources: resources.collect(),
            fault: None,
        };
        let segments = answer.encode(&mut Encoder::new());
        assert_eq!(StatusAnswer::decode(&receive(&segments)), Ok(answer));
    }
}

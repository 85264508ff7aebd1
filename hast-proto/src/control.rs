//! The control protocol between `hastctl` and `hastd` (HAST §9.5).
//!
//! One request and one answer on each connection, then `hastd` closes it. Nothing authenticates
//! the caller but the permissions of the socket's file.
//!
//! Reading a message takes up to sixteen times the memory of its list, which is at most
//! [`MAX_CONTROL_LIST`](crate::frame::MAX_CONTROL_LIST) octets long.
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

mod answer;
mod discard;
mod pairs;
mod status;

pub use answer::{ControlAnswer, RoleAnswer, StatusAnswer};
pub use discard::{DiscardAnswer, DiscardOrder, DiscardOutcome};
pub use status::{Connection, Differing, Queues, ResourceStatus, SplitBrain, Statistics, Worker};

use alloc::vec::Vec;
use core::fmt;

use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{LookupError, Name, Text, Value, Writer};
use crate::types::{NumberError, ResourceName, ResourceNameError, Role, UnknownWord, Version};
use pairs::{Index, push, text};

const CMD: Name<'static> = Name::literal("cmd");
const ROLE: Name<'static> = Name::literal("role");

const SET_ROLE: u8 = 1;
const STATUS: u8 = 2;
/// A command of this crate; far from those that the original may get.
const DISCARD: u8 = 100;
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
#[expect(clippy::exhaustive_enums, reason = "whoever answers needs all of them")]
pub enum ControlRequest {
    /// Change the role of the resources.
    SetRole(Role, Resources),
    /// Say how they are.
    Status(Resources),
    /// Discard what this node has changed alone: a command of this crate.
    Discard(DiscardOrder),
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
        if code == DISCARD {
            return Ok(Self::Discard(DiscardOrder::read(&pairs)?));
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
            Self::Discard(order) => {
                list.push(CMD, Value::U8(DISCARD));
                order.write(list);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Decoder, Phase};
    use crate::types::{Checksum, Compression, Replication};
    use alloc::format;
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
    fn a_discard_and_its_outcomes_come_back() {
        let order = DiscardOrder {
            resource: "shared".parse().unwrap(),
            file: "/root/lost".into(),
            node: "hasta".into(),
            force: true,
        };
        let discard = ControlRequest::Discard(order);
        let segments = discard.encode(&mut Encoder::new());
        assert_eq!(ControlRequest::decode(&receive(&segments)), Ok(discard));
        let lacks_file = request(&[("cmd", Value::U8(DISCARD)), ("resource0", text("a"))]);
        assert_eq!(lacks_file.unwrap_err().fault(), Some(ControlFault::Invalid));
        let done = DiscardOutcome::Done {
            extents: 3,
            octets: 5 << 20,
            with_peer: true,
        };
        let answer = DiscardAnswer {
            resources: [
                ("a".parse().unwrap(), Ok(done)),
                (
                    "b".parse().unwrap(),
                    Ok(DiscardOutcome::Refused("no".into())),
                ),
                ("c".parse().unwrap(), Err(ControlFault::NoEntry)),
            ]
            .into(),
            fault: None,
        };
        let segments = answer.encode(&mut Encoder::new());
        assert_eq!(DiscardAnswer::decode(&receive(&segments)), Ok(answer));
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
                split_brain: None,
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

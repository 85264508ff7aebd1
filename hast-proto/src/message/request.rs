//! What a primary asks for on the first connection (HAST §3.1), and the checks on it (HAST §7.2).

use super::Reply;
use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{List, LookupError, Name, Typed, Value};
use crate::payload::{Payload, PayloadError, Sealer};
use crate::types::{Errno, Length, NumberError, Offset, SectorSize, Sequence, Version};

const CMD: Name<'static> = Name::literal("cmd");
const SEQ: Name<'static> = Name::literal("seq");
const OFFSET: Name<'static> = Name::literal("offset");
const LENGTH: Name<'static> = Name::literal("length");
const MEMSYNC: Name<'static> = Name::literal("memsync");
const INSYNC: Name<'static> = Name::literal("insync");

const READ: u8 = 1;
const WRITE: u8 = 2;
const DELETE: u8 = 3;
const FLUSH: u8 = 4;
const KEEPALIVE: u8 = 5;

/// A request. Offsets count from the start of the data area.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these five")]
pub enum Request {
    /// Read.
    Read {
        /// Its number.
        sequence: Sequence,
        /// Where.
        offset: Offset,
        /// How much; not 0.
        length: Length,
    },
    /// Write.
    Write {
        /// Its number.
        sequence: Sequence,
        /// Where.
        offset: Offset,
        /// How much; not 0, and the length with which to [`open`](Payload::open) the payload.
        length: Length,
        /// Whether an answer is wanted as soon as the data are in memory, beside the one when
        /// they are on disk.
        memsync: bool,
        /// The data.
        payload: Payload,
    },
    /// Forget: what is there may become anything.
    Delete {
        /// Its number.
        sequence: Sequence,
        /// Where.
        offset: Offset,
        /// How much; not 0.
        length: Length,
    },
    /// Make durable what has been written.
    Flush {
        /// Its number.
        sequence: Sequence,
    },
    /// Nothing; a sign of life, never answered (HAST §6.9).
    Keepalive,
    /// A keepalive that says how the synchronisation stands: an extension of this crate, which
    /// a real secondary takes for any other keepalive.
    Progress(Progress),
}

/// How the synchronisation of a secondary stands, which the protocol does not tell it (HAST §16.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the nodes agree or they do not")]
pub enum Progress {
    /// Data are being copied to the secondary: what it has is a mixture.
    Copying,
    /// The nodes agree, and what the secondary has is on its disk.
    Agreed,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// "cmd" is 0 or names no request.
    #[error("unknown command {code}")]
    Command {
        /// The value.
        code: u8,
    },
    /// A pair is missing or has the wrong type.
    #[error("{field} is {error}")]
    Field {
        /// The pair's name.
        field: &'static str,
        /// What is wrong with it.
        error: LookupError,
    },
    /// "seq" or "length" is 0.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// A READ or WRITE is longer than this side can take.
    #[error("length {length} where at most {max} is possible")]
    TooLong {
        /// The length asked for.
        length: Length,
        /// The longest possible.
        max: Length,
    },
    /// "offset" or "length" is no whole number of sectors.
    #[error("{field} {value} is no multiple of sectors of {sector}")]
    Unaligned {
        /// The pair's name.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The sector size.
        sector: SectorSize,
    },
    /// The request reaches beyond the data area, or beyond all numbers.
    #[error("{length} octets from {offset} on where the data end at {data_size}")]
    PastEnd {
        /// Where it begins.
        offset: Offset,
        /// How much it asks for.
        length: Length,
        /// The octets of the data area.
        data_size: Length,
    },
    /// The payload is missing, is there where none is due, or is described in a way that nobody
    /// understands.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// A request that is refused, with as much of it as a reply needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("request refused: {fault}")]
#[non_exhaustive]
pub struct RequestError {
    /// Why.
    pub fault: RequestFault,
    /// The request's number, if it has one.
    pub sequence: Option<Sequence>,
    /// Whether it asked for memsync's two answers.
    pub memsync: bool,
}

impl RequestError {
    /// Returns the reply that an original secondary gives, always `EINVAL`; or `None` if the
    /// fault is one of those that end the session.
    ///
    /// The original gives the reply to an unknown command up in the middle, and so dies of one;
    /// and it reads no payload of a request that it refuses, so that its stream falls out of
    /// step. Here the payload has been taken with the frame, and the session can go on.
    #[must_use]
    pub fn reply(&self) -> Option<Reply> {
        match self.fault {
            RequestFault::Command { .. }
            | RequestFault::Field { field: "cmd", .. }
            | RequestFault::Payload(_) => None,
            _ => Some(Reply::Failed {
                sequence: self.sequence,
                received: self.memsync,
                error: Errno::EINVAL,
            }),
        }
    }
}

impl Request {
    /// Reads a request: the checks 1 to 6 of HAST §7.2, in their order, and those on the payload
    /// that need no data. A secondary makes all checks with [`Bounds::decode`].
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the first check that fails.
    pub fn decode(frame: &Frame) -> Result<Self, RequestError> {
        Self::read(frame, None)
    }

    fn read(frame: &Frame, bounds: Option<&Bounds>) -> Result<Self, RequestError> {
        let list = frame.list();
        let refuse = |fault, sequence| RequestError {
            fault,
            sequence,
            memsync: false,
        };
        // 1. A command.
        let code = field(list, "cmd").map_err(|fault| refuse(fault, None))?;
        if code == 0 {
            return Err(refuse(RequestFault::Command { code }, None));
        }
        if code == KEEPALIVE {
            // Whatever else it carries.
            return match Payload::none(frame.payload()) {
                Ok(()) => Ok(match list.get::<u8>("insync") {
                    Ok(0) => Self::Progress(Progress::Copying),
                    Ok(1) => Self::Progress(Progress::Agreed),
                    _ => Self::Keepalive,
                }),
                Err(error) => Err(refuse(error.into(), None)),
            };
        }
        // 2. A number.
        let sequence = field(list, "seq")
            .and_then(|number| Ok(Sequence::new(number)?))
            .map_err(|fault| refuse(fault, None))?;
        // 3. One that exists.
        if !(READ..=FLUSH).contains(&code) {
            return Err(refuse(RequestFault::Command { code }, Some(sequence)));
        }
        // Read before the other checks, so that it is in a refusal, too.
        let memsync = code == WRITE && list.contains("memsync");
        Self::read_rest(frame, bounds, code, sequence, memsync).map_err(|fault| RequestError {
            fault,
            sequence: Some(sequence),
            memsync,
        })
    }

    fn read_rest(
        frame: &Frame,
        bounds: Option<&Bounds>,
        code: u8,
        sequence: Sequence,
        memsync: bool,
    ) -> Result<Self, RequestFault> {
        let list = frame.list();
        if code == FLUSH {
            Payload::none(frame.payload())?;
            return Ok(Self::Flush { sequence });
        }
        // 4 to 6. Where, and how much, at least something.
        let offset = Offset::new(field(list, "offset")?);
        let length = Length::new(field(list, "length")?);
        if length.is_zero() {
            return Err(RequestFault::Number(NumberError::Range {
                field: "length",
                value: 0,
                min: 1,
                max: u64::MAX,
            }));
        }
        // 7 to 10.
        if let Some(bounds) = bounds {
            bounds.check_range(code, offset, length)?;
        }
        if code == WRITE {
            let payload = Payload::receive(list, frame.payload().clone())?;
            return Ok(Self::Write {
                sequence,
                offset,
                length,
                memsync,
                payload,
            });
        }
        Payload::none(frame.payload())?;
        Ok(if code == READ {
            Self::Read {
                sequence,
                offset,
                length,
            }
        } else {
            Self::Delete {
                sequence,
                offset,
                length,
            }
        })
    }

    /// Compresses and checksums its data, if it has any and they are plain.
    #[must_use]
    pub fn sealed(self, sealer: &mut Sealer) -> Self {
        match self {
            Self::Write {
                sequence,
                offset,
                length,
                memsync,
                payload,
            } => Self::Write {
                sequence,
                offset,
                length,
                memsync,
                payload: payload.sealed(sealer),
            },
            other => other,
        }
    }

    /// Writes the request; `version` is that of the session. To a version-1 peer, no write is to
    /// ask for memsync.
    #[must_use]
    pub fn encode(&self, version: Version, encoder: &mut Encoder) -> Segments {
        let payload = match self {
            Self::Write { payload, .. } => Some(payload),
            Self::Read { .. }
            | Self::Delete { .. }
            | Self::Flush { .. }
            | Self::Keepalive
            | Self::Progress(_) => None,
        };
        encoder.message(version, payload, |list| {
            list.push(CMD, Value::U8(self.code()));
            if let Some(sequence) = self.sequence() {
                // HAST §3.1: a flush is about everything from 0 on, 0 octets long.
                let (offset, length) = self.range().unwrap_or_default();
                list.push(SEQ, Value::U64(sequence.get()));
                list.push(OFFSET, Value::U64(offset.get()));
                list.push(LENGTH, Value::U64(length.get()));
            }
            if matches!(self, Self::Write { memsync: true, .. }) {
                list.push(MEMSYNC, Value::U8(1));
            }
            if let Self::Progress(progress) = self {
                list.push(INSYNC, Value::U8((*progress == Progress::Agreed).into()));
            }
        })
    }

    /// Returns its number, which a keepalive has not.
    #[must_use]
    pub const fn sequence(&self) -> Option<Sequence> {
        match self {
            Self::Read { sequence, .. }
            | Self::Write { sequence, .. }
            | Self::Delete { sequence, .. }
            | Self::Flush { sequence } => Some(*sequence),
            Self::Keepalive | Self::Progress(_) => None,
        }
    }

    /// Returns what part of the data area it is about.
    #[must_use]
    pub const fn range(&self) -> Option<(Offset, Length)> {
        match self {
            Self::Read { offset, length, .. }
            | Self::Write { offset, length, .. }
            | Self::Delete { offset, length, .. } => Some((*offset, *length)),
            Self::Flush { .. } | Self::Keepalive | Self::Progress(_) => None,
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Read { .. } => READ,
            Self::Write { .. } => WRITE,
            Self::Delete { .. } => DELETE,
            Self::Flush { .. } => FLUSH,
            Self::Keepalive | Self::Progress(_) => KEEPALIVE,
        }
    }
}

/// What a secondary can do: the rest of its checks (HAST §7.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the original has these three")]
pub struct Bounds {
    /// The octets of the data area.
    pub data_size: Length,
    /// What offsets and lengths must be multiples of: the sectors of this node's provider, which
    /// the peer may not have (HAST §4.7).
    pub sector_size: SectorSize,
    /// The longest READ or WRITE.
    pub max_transfer: Length,
}

impl Bounds {
    /// Reads a request and makes all checks of HAST §7.2, in their order. Unlike in the original,
    /// offset and length must not wrap around when added.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the first check that fails.
    pub fn decode(&self, frame: &Frame) -> Result<Request, RequestError> {
        Request::read(frame, Some(self))
    }

    /// Makes the checks 7 to 10 on a request, as a primary may before it sends it.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the first check that fails.
    pub fn check(&self, request: &Request) -> Result<(), RequestError> {
        let Some((offset, length)) = request.range() else {
            return Ok(());
        };
        self.check_range(request.code(), offset, length)
            .map_err(|fault| RequestError {
                fault,
                sequence: request.sequence(),
                memsync: matches!(request, Request::Write { memsync: true, .. }),
            })
    }

    fn check_range(&self, code: u8, offset: Offset, length: Length) -> Result<(), RequestFault> {
        // 7. A delete may be of any length.
        if code != DELETE && length > self.max_transfer {
            let max = self.max_transfer;
            return Err(RequestFault::TooLong { length, max });
        }
        // 8 and 9.
        for (field, value) in [("offset", offset.get()), ("length", length.get())] {
            if !self.sector_size.divides(value) {
                let sector = self.sector_size;
                return Err(RequestFault::Unaligned {
                    field,
                    value,
                    sector,
                });
            }
        }
        // 10.
        match offset.checked_add(length) {
            Some(end) if end.get() <= self.data_size.get() => Ok(()),
            _ => Err(RequestFault::PastEnd {
                offset,
                length,
                data_size: self.data_size,
            }),
        }
    }
}

fn field<'a, T: Typed<'a>>(list: List<'a>, field: &'static str) -> Result<T, RequestFault> {
    list.get(field)
        .map_err(|error| RequestFault::Field { field, error })
}

//! What a secondary answers on the second connection (HAST §3.2, §3.3).

use super::{MessageError, optional, required};
use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{Name, Value};
use crate::payload::{Payload, Sealer};
use crate::types::{Errno, Sequence, Version};

const SEQ: Name<'static> = Name::literal("seq");
const RECEIVED: Name<'static> = Name::literal("received");
const ERROR: Name<'static> = Name::literal("error");

/// A reply to a request. Replies come in any order; a memsync write has two, and a keepalive none.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these four")]
pub enum Reply {
    /// The first of the two answers to a memsync write: its data are in the secondary's memory.
    Received {
        /// The request's number.
        sequence: Sequence,
    },
    /// A WRITE, DELETE or FLUSH has been done, or there is nothing in the answer to a READ.
    Done {
        /// The request's number.
        sequence: Sequence,
    },
    /// What a READ has read; [`Payload::open`] it with the length asked for (HAST §3.4).
    Data {
        /// The request's number.
        sequence: Sequence,
        /// The data.
        payload: Payload,
    },
    /// The request failed.
    Failed {
        /// The request's number; `None` (0 on the wire) if it had none.
        sequence: Option<Sequence>,
        /// Whether the reply takes the place of both answers to a memsync write: an original
        /// secondary says so of a write that it has refused. The last of two answers does not.
        received: bool,
        /// Why.
        error: Errno,
    },
}

impl Reply {
    /// Reads a reply. An "error" of 0 is none.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if "seq" is missing or is 0 in a success, if a pair has the wrong type,
    /// or if there is a payload where no data can be.
    pub fn decode(frame: &Frame) -> Result<Self, MessageError> {
        let list = frame.list();
        let number = required(list, "seq")?;
        let error = optional(list, "error")?.and_then(Errno::from_wire);
        let received = list.contains("received");
        if error.is_some() || received {
            Payload::none(frame.payload())?;
        }
        if let Some(error) = error {
            let sequence = Sequence::new(number).ok();
            return Ok(Self::Failed {
                sequence,
                received,
                error,
            });
        }
        let sequence = Sequence::new(number)?;
        if received {
            return Ok(Self::Received { sequence });
        }
        if frame.payload().is_empty() {
            return Ok(Self::Done { sequence });
        }
        let payload = Payload::receive(list, frame.payload().clone())?;
        Ok(Self::Data { sequence, payload })
    }

    /// Writes the reply; `version` is that of the session.
    #[must_use]
    pub fn encode(&self, version: Version, encoder: &mut Encoder) -> Segments {
        let payload = match self {
            Self::Data { payload, .. } => Some(payload),
            Self::Received { .. } | Self::Done { .. } | Self::Failed { .. } => None,
        };
        encoder.message(version, payload, |list| {
            let sequence = self.sequence().map_or(0, Sequence::get);
            list.push(SEQ, Value::U64(sequence));
            match self {
                Self::Done { .. } | Self::Data { .. } => {}
                Self::Received { .. } => {
                    list.push(RECEIVED, Value::I8(1));
                }
                Self::Failed {
                    received, error, ..
                } => {
                    if *received {
                        list.push(RECEIVED, Value::I8(1));
                    }
                    list.push(ERROR, Value::I16(error.to_wire()));
                }
            }
        })
    }

    /// Compresses and checksums its data, if it has any and they are plain.
    #[must_use]
    pub fn sealed(self, sealer: &mut Sealer) -> Self {
        match self {
            Self::Data { sequence, payload } => {
                let payload = payload.sealed(sealer);
                Self::Data { sequence, payload }
            }
            other => other,
        }
    }

    /// Returns the number of the request that it answers.
    #[must_use]
    pub const fn sequence(&self) -> Option<Sequence> {
        match self {
            Self::Received { sequence } | Self::Done { sequence } | Self::Data { sequence, .. } => {
                Some(*sequence)
            }
            Self::Failed { sequence, .. } => *sequence,
        }
    }
}

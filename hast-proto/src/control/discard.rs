//! The command to discard what a node has changed alone: one of this crate, which the original
//! does not know.

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;

use super::pairs::{Index, push, text};
use super::{ControlAnswer, ControlError};
use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{LookupError, Text, Value, Writer};
use crate::types::ResourceName;

/// What is to be discarded. It is saved to a file on hastd's host before.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the command has these pairs")]
pub struct DiscardOrder {
    /// The resource.
    pub resource: ResourceName,
    /// The path of the file, which must not exist. hastd takes no other than an absolute one.
    pub file: Box<str>,
    /// The name of the node, for the file.
    pub node: Box<str>,
    /// Whether to do it without a split brain.
    pub force: bool,
}

/// What has become of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it was done or it was not")]
pub enum DiscardOutcome {
    /// It was done.
    Done {
        /// The extents that were saved.
        extents: u32,
        /// Their octets.
        octets: u64,
        /// Whether those are among them which the peer has changed.
        with_peer: bool,
    },
    /// It was not, for this reason.
    Refused(Box<str>),
}

/// The answer to [`ControlRequest::Discard`](super::ControlRequest::Discard).
pub type DiscardAnswer = ControlAnswer<DiscardOutcome>;

impl DiscardOrder {
    pub(super) fn read(pairs: &Index<'_>) -> Result<Self, ControlError> {
        let name: Text<'_> = pairs.required("resource", "resource0")?;
        Ok(Self {
            resource: ResourceName::from_bytes(name.as_bytes())?,
            file: pairs.string("file", 0)?,
            node: pairs.string("node", 0)?,
            force: pairs.get::<u8>("force0").is_ok_and(|force| force != 0),
        })
    }

    pub(super) fn write(&self, list: &mut Writer<'_>) {
        push(list, "resource", 0, text(self.resource.as_str()));
        push(list, "file", 0, text(&self.file));
        push(list, "node", 0, text(&self.node));
        push(list, "force", 0, Value::U8(self.force.into()));
    }
}

impl ControlAnswer<DiscardOutcome> {
    /// Reads the answer to [`ControlRequest::Discard`](super::ControlRequest::Discard).
    ///
    /// # Errors
    ///
    /// [`ControlError`] if a pair is missing, has the wrong type, or holds what it cannot.
    pub fn decode(frame: &Frame) -> Result<Self, ControlError> {
        Self::read(frame, |pairs, number| {
            match pairs.string("refused", number) {
                Ok(reason) => return Ok(DiscardOutcome::Refused(reason)),
                Err(ControlError::Field {
                    error: LookupError::Missing,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
            Ok(DiscardOutcome::Done {
                extents: pairs.number("extents", number)?,
                octets: pairs.number("octets", number)?,
                with_peer: pairs.number::<u8>("withpeer", number)? != 0,
            })
        })
    }

    /// Writes the answer.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        self.write(encoder, |outcome, number, list| match outcome {
            DiscardOutcome::Done {
                extents,
                octets,
                with_peer,
            } => {
                push(list, "extents", number, Value::U32(*extents));
                push(list, "octets", number, Value::U64(*octets));
                push(list, "withpeer", number, Value::U8((*with_peer).into()));
            }
            DiscardOutcome::Refused(reason) => push(list, "refused", number, text(reason)),
        })
    }
}

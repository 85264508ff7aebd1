//! What `hastd` answers to a request (HAST §9.5).

#![warn(clippy::arithmetic_side_effects)]

use alloc::vec::Vec;

use super::pairs::{Index, numbered, push, text};
use super::{ControlError, ControlFault, ResourceStatus};
use crate::frame::{Encoder, Frame, Segments};
use crate::nv::{Name, Value, Writer};
use crate::types::{ResourceName, Role, Version};

const ERROR: Name<'static> = Name::literal("error");

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

/// The answer to [`ControlRequest::SetRole`](super::ControlRequest::SetRole): the roles *before* the
/// change.
pub type RoleAnswer = ControlAnswer<Role>;
/// The answer to [`ControlRequest::Status`](super::ControlRequest::Status).
pub type StatusAnswer = ControlAnswer<ResourceStatus>;

impl ControlAnswer<Role> {
    /// Reads the answer to [`ControlRequest::SetRole`](super::ControlRequest::SetRole).
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
    /// Reads the answer to [`ControlRequest::Status`](super::ControlRequest::Status).
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

    pub(super) fn read(
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

    pub(super) fn write(
        &self,
        encoder: &mut Encoder,
        write: impl Fn(&T, usize, &mut Writer<'_>),
    ) -> Segments {
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

//! Why a secondary turns a primary away, as the text that is sent (HAST §1.4, §1.5).

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use super::{MessageError, optional};
use crate::nv::{List, Name, Text, Value, Writer};
use crate::types::Role;

const ERRMSG: Name<'static> = Name::literal("errmsg");
const WAIT: Name<'static> = Name::literal("wait");

/// Why the secondary does not go on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such resource.
    NotConfigured,
    /// The peer's address is not the `remote` of this resource.
    NoAccess,
    /// The node is not secondary for the resource, but what is named here.
    Role(Role),
    /// The second step's token is not the one given out in the first.
    WrongToken,
    /// Both nodes have changes that the other has not (HAST §5.3).
    SplitBrain,
    /// The nodes hold different resources of the same name.
    ResourceIdMismatch {
        /// What the primary said.
        primary: u64,
        /// What the secondary has.
        secondary: u64,
    },
    /// The answer could not be made, for the reason given.
    NoHeader(Box<str>),
    /// The answer could not be sent, for the reason given.
    NotSent(Box<str>),
    /// Another text, as the peer sent it: it may hold line ends and control characters, so that
    /// it is to be escaped where that matters.
    Other(Box<str>),
}

/// The beginnings and ends of texts with something in between.
const ROLE: (&str, &str) = (
    "Remote node acts as ",
    " for the resource and not as secondary.",
);
const RESOURCE_ID: (&str, &str) = ("Resource unique ID mismatch (primary=", ").");
const NO_HEADER: (&str, &str) = ("Remote node was unable to prepare return header: ", ".");
const NOT_SENT: (&str, &str) = ("Remote node was unable to send response: ", ".");

/// The text that a real primary compares, to raise its split-brain event.
const SPLIT_BRAIN: &str = "Split-brain condition!";

impl Refusal {
    /// Understands the text of "errmsg". What is not one of the known texts is kept as it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "Resource not configured." => return Self::NotConfigured,
            "No access to the resource." => return Self::NoAccess,
            "Token doesn't match." => return Self::WrongToken,
            SPLIT_BRAIN => return Self::SplitBrain,
            _ => {}
        }
        let between = |(start, end)| text.strip_prefix(start)?.strip_suffix(end);
        let role = || Some(Self::Role(between(ROLE)?.parse().ok()?));
        let resource_id = || {
            let (primary, secondary) = between(RESOURCE_ID)?.split_once(", secondary=")?;
            Some(Self::ResourceIdMismatch {
                primary: number(primary)?,
                secondary: number(secondary)?,
            })
        };
        let no_header = || Some(Self::NoHeader(between(NO_HEADER)?.into()));
        let not_sent = || Some(Self::NotSent(between(NOT_SENT)?.into()));
        role()
            .or_else(resource_id)
            .or_else(no_header)
            .or_else(not_sent)
            .unwrap_or_else(|| Self::Other(text.into()))
    }
}

/// A number as the original writes it: digits, no zero in front.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (middle, (start, end)): (&dyn fmt::Display, _) = match self {
            Self::NotConfigured => return f.write_str("Resource not configured."),
            Self::NoAccess => return f.write_str("No access to the resource."),
            Self::WrongToken => return f.write_str("Token doesn't match."),
            Self::SplitBrain => return f.write_str(SPLIT_BRAIN),
            Self::ResourceIdMismatch { primary, secondary } => {
                let (start, end) = RESOURCE_ID;
                return write!(f, "{start}{primary}, secondary={secondary}{end}");
            }
            Self::Other(text) => return f.write_str(text),
            Self::Role(role) => (role, ROLE),
            Self::NoHeader(reason) => (reason, NO_HEADER),
            Self::NotSent(reason) => (reason, NOT_SENT),
        };
        write!(f, "{start}{middle}{end}")
    }
}

/// A refusal as it is sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the protocol has these two pairs"
)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// Whether it is worth trying again soon: the secondary is primary as well, and may be about
    /// to give that up (HAST §1.6).
    pub wait: bool,
}

impl Refused {
    /// Takes the pairs of a refusal, if the list is one.
    pub(super) fn read(list: List<'_>) -> Result<Option<Self>, MessageError> {
        let Some(text) = optional::<Text<'_>>(list, "errmsg")? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(text.as_bytes());
        Ok(Some(Self {
            reason: Refusal::parse(&text),
            wait: list.contains("wait"),
        }))
    }

    pub(super) fn write(&self, list: &mut Writer<'_>) {
        let text = self.reason.to_string();
        list.push(ERRMSG, Value::String(Text::until_nul(&text)));
        if self.wait {
            list.push(WAIT, Value::U8(1));
        }
    }
}

impl From<Refusal> for Refused {
    /// Asks to wait where the original does: if the node is primary itself.
    fn from(reason: Refusal) -> Self {
        let wait = reason == Refusal::Role(Role::Primary);
        Self { reason, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_understood_and_written_alike() {
        for (text, refusal) in [
            ("Resource not configured.", Refusal::NotConfigured),
            ("No access to the resource.", Refusal::NoAccess),
            (
                "Remote node acts as init for the resource and not as secondary.",
                Refusal::Role(Role::Init),
            ),
            (
                "Remote node acts as primary for the resource and not as secondary.",
                Refusal::Role(Role::Primary),
            ),
            ("Token doesn't match.", Refusal::WrongToken),
            ("Split-brain condition!", Refusal::SplitBrain),
            (
                "Resource unique ID mismatch (primary=18446744073709551615, secondary=7).",
                Refusal::ResourceIdMismatch {
                    primary: u64::MAX,
                    secondary: 7,
                },
            ),
            (
                "Remote node was unable to prepare return header: Cannot allocate memory.",
                Refusal::NoHeader("Cannot allocate memory".into()),
            ),
            (
                "Remote node was unable to send response: Broken pipe.",
                Refusal::NotSent("Broken pipe".into()),
            ),
        ] {
            assert_eq!(Refusal::parse(text), refusal);
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_kept() {
        for text in [
            "",
            "Split-brain condition",
            "Remote node acts as king for the resource and not as secondary.",
            "Resource unique ID mismatch (primary=01, secondary=2).",
            "Resource unique ID mismatch (primary=+1, secondary=2).",
            "Resource unique ID mismatch (primary=18446744073709551616, secondary=2).",
        ] {
            assert_eq!(Refusal::parse(text), Refusal::Other(text.into()));
            assert_eq!(Refusal::parse(text).to_string(), text);
        }
    }

    #[test]
    fn only_a_primary_asks_to_wait() {
        assert!(Refused::from(Refusal::Role(Role::Primary)).wait);
        assert!(!Refused::from(Refusal::Role(Role::Init)).wait);
        assert!(!Refused::from(Refusal::WrongToken).wait);
    }
}

//! The version of the protocol (HAST §1.3).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

use super::NumberError;

/// The version of the protocol between two peers (HAST §1.3).
///
/// Version 2 adds memsync to version 1, and nothing else.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a third version would be another protocol"
)]
pub enum Version {
    /// FreeBSD 8 and 9, and the first frame of every conversation.
    V1,
    /// FreeBSD 10 and later.
    #[default]
    V2,
}

impl Version {
    /// The newest one.
    pub const NEWEST: Self = Self::V2;

    /// Takes the octet at the start of a frame, which may be 0, 1 or 2 whatever was negotiated;
    /// 0 counts as 1.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] above 2.
    pub const fn from_header(octet: u8) -> Result<Self, NumberError> {
        match octet {
            0 | 1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err(NumberError::Range {
                field: "version",
                value: octet as u64,
                min: 0,
                max: 2,
            }),
        }
    }

    /// Returns the version that a secondary settles for when a primary offers this number:
    /// the lesser of the offer and 2, where no offer and 0 count as 1.
    #[must_use]
    pub const fn settle(offer: Option<u8>) -> Self {
        match offer {
            None | Some(0 | 1) => Self::V1,
            Some(_) => Self::V2,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Whether the peer knows memsync's two answers.
    #[must_use]
    pub const fn has_memsync(self) -> bool {
        matches!(self, Self::V2)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_settled_as_the_original_does() {
        assert_eq!(Version::settle(None), Version::V1);
        assert_eq!(Version::settle(Some(0)), Version::V1);
        assert_eq!(Version::settle(Some(1)), Version::V1);
        assert_eq!(Version::settle(Some(2)), Version::V2);
        assert_eq!(Version::settle(Some(255)), Version::V2);
        assert_eq!(Version::from_header(0), Ok(Version::V1));
        assert!(matches!(
            Version::from_header(3),
            Err(NumberError::Range { value: 3, .. })
        ));
    }
}

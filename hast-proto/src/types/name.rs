//! The name of a resource.

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

/// The name of a resource, the same on both nodes: 1 to 254 octets of UTF-8 without NUL.
///
/// `hast.conf` allows fewer characters (HAST §8.1); here is only what the protocol can carry.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResourceName(Box<str>);

/// Why a text is no name of a resource.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceNameError {
    /// It is empty or longer than [`ResourceName::MAX_LEN`].
    #[error("resource name of {len} octets where 1 to 254 are allowed")]
    Length {
        /// Its octets.
        len: usize,
    },
    /// It contains NUL.
    #[error("resource name with NUL at position {position}")]
    Nul {
        /// Where, counted from 0.
        position: usize,
    },
    /// It is not UTF-8, as every name is that `hast.conf` can express.
    #[error("resource name that is not UTF-8 from position {position} on")]
    Utf8 {
        /// Where, counted from 0.
        position: usize,
    },
}

impl ResourceName {
    /// The longest name, in octets (HAST §0).
    pub const MAX_LEN: usize = 254;

    /// Takes `name` as the name of a resource.
    ///
    /// # Errors
    ///
    /// [`ResourceNameError`] if it is empty, too long, or contains NUL.
    pub fn new(name: &str) -> Result<Self, ResourceNameError> {
        let len = name.len();
        if len == 0 || len > Self::MAX_LEN {
            return Err(ResourceNameError::Length { len });
        }
        match name.bytes().position(|octet| octet == 0) {
            Some(position) => Err(ResourceNameError::Nul { position }),
            None => Ok(Self(name.into())),
        }
    }

    /// Takes a name as received.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ResourceNameError::Utf8`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, ResourceNameError> {
        // The length first: what is too long is not even read.
        if name.len() > Self::MAX_LEN {
            return Err(ResourceNameError::Length { len: name.len() });
        }
        match core::str::from_utf8(name) {
            Ok(name) => Self::new(name),
            Err(error) => Err(ResourceNameError::Utf8 {
                position: error.valid_up_to(),
            }),
        }
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ResourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceName {
    type Err = ResourceNameError;

    fn from_str(name: &str) -> Result<Self, ResourceNameError> {
        Self::new(name)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_protocol_can_carry() {
        assert_eq!(ResourceName::new("shared").unwrap().as_str(), "shared");
        assert_eq!(
            ResourceName::new(""),
            Err(ResourceNameError::Length { len: 0 })
        );
        let long = "x".repeat(255);
        assert_eq!(
            ResourceName::new(&long),
            Err(ResourceNameError::Length { len: 255 })
        );
        assert_eq!(
            ResourceName::new("a\0b"),
            Err(ResourceNameError::Nul { position: 1 })
        );
        let error = ResourceNameError::Utf8 { position: 1 };
        assert_eq!(ResourceName::from_bytes(b"a\xff"), Err(error));
    }
}

//! What tells requests, resources and sessions apart (HAST §1.4, §3.1, §5.2).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;
use core::num::NonZeroU64;

use super::NumberError;

/// The number of a request, which its replies repeat; never 0 (HAST §3.1).
///
/// Synchronisation requests of a real peer all carry 1, so that a secondary must not depend on it
/// being unique, and a primary should give 1 to no request of a device (HAST §15.5).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sequence(NonZeroU64);

impl Sequence {
    /// The number that a real primary gives to every synchronisation request.
    pub const SYNCHRONISATION: Self = Self(NonZeroU64::MIN);

    /// Makes a number of a request.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] if it is 0.
    pub const fn new(number: u64) -> Result<Self, NumberError> {
        match NonZeroU64::new(number) {
            Some(number) => Ok(Self(number)),
            None => Err(NumberError::Range {
                field: "seq",
                value: 0,
                min: 1,
                max: u64::MAX,
            }),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the number after this one; after the last comes 1 again.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self(NonZeroU64::MIN),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier that a primary draws for a resource when the two nodes first meet; never 0, for
/// 0 on the wire and on disk means that there is none yet (HAST §5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResourceId(NonZeroU64);

impl ResourceId {
    /// Takes the number as stored; `None` is what 0 means.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the number as it is stored: 0 for none.
    #[must_use]
    pub fn stored(id: Option<Self>) -> u64 {
        id.map_or(0, Self::get)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two counters of a node by which the synchronisation source is found: changes made here
/// without the peer, and changes of the peer that this node has heard of (HAST §5.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these two")]
pub struct Counters {
    /// "localcnt".
    pub local: u64,
    /// "remotecnt".
    pub remote: u64,
}

/// The random octets that tie a primary's second connection to its first (HAST §1.4).
///
/// They are sent in clear, so they are no proof of anything else; comparing takes the same time
/// wherever they differ all the same. There is no default value, as the original has one and
/// dies of it (HAST §12.2).
#[derive(Clone, Copy)]
pub struct Token([u8; Self::LEN]);

impl Token {
    /// The number of octets.
    pub const LEN: usize = 16;

    /// Takes fresh random octets, or those received.
    #[must_use]
    pub const fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// Returns the octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0);
        differences.fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_never_zero_and_wraps_to_one() {
        let error = NumberError::Range {
            field: "seq",
            value: 0,
            min: 1,
            max: u64::MAX,
        };
        assert_eq!(Sequence::new(0), Err(error));
        assert_eq!(
            Sequence::new(u64::MAX).unwrap().next(),
            Sequence::SYNCHRONISATION
        );
        assert_eq!(Sequence::new(7).unwrap().next().get(), 8);
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::new(*b"0123456789abcdef");
        assert_eq!(std::format!("{token:?}"), "Token(..)");
        assert_eq!(token, Token::new(*token.as_bytes()));
        assert_ne!(token, Token::new(*b"0123456789abcdee"));
    }
}

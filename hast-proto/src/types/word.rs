//! Words that are not understood.

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

/// A word that names none of the choices of its field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("unknown {field} {word}")]
#[non_exhaustive]
pub struct UnknownWord {
    /// The field's name as the protocol spells it.
    pub field: &'static str,
    /// The word.
    pub word: Excerpt,
}

/// The start of a text that is not understood, to be shown in a message. It is as long as any
/// word that would be understood, so that nothing a peer sends makes an error large.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Excerpt {
    octets: [u8; Self::MAX_LEN],
    len: u8,
    is_cut: bool,
}

impl Excerpt {
    /// The octets that are kept.
    pub const MAX_LEN: usize = 16;

    /// Takes the start of a text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut octets = [0; Self::MAX_LEN];
        let mut len = 0;
        for (to, from) in octets.iter_mut().zip(text) {
            *to = *from;
            len = u8::saturating_add(len, 1);
        }
        Self {
            octets,
            len,
            is_cut: text.len() > Self::MAX_LEN,
        }
    }

    /// Returns the octets that were kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_cut { "..." } else { "" };
        write!(f, "\"{}{end}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

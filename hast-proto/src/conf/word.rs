//! The words a configuration can hold (HAST §8.1).

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// The longest name of a resource or a provider, in octets (HAST §0).
pub const MAX_NAME_LEN: usize = 254;

/// The longest address or path, in octets (HAST §0).
pub const MAX_TEXT_LEN: usize = 1023;

/// The words with a meaning of their own, which therefore cannot be used as names.
///
/// Those of this crate's own directives are not among them: they mean something only where a
/// directive is expected, so that every name FreeBSD's parser takes stays usable.
pub(super) const KEYWORDS: [&str; 24] = [
    "async",
    "checksum",
    "compression",
    "control",
    "crc32",
    "exec",
    "fullsync",
    "hole",
    "listen",
    "local",
    "lzf",
    "memsync",
    "metaflush",
    "name",
    "none",
    "off",
    "on",
    "pidfile",
    "remote",
    "replication",
    "resource",
    "sha256",
    "source",
    "timeout",
];

/// Text that stands in a configuration as one word: at least one and at most `MAX` letters,
/// digits and characters of `.-_/:[]`, neither a keyword nor digits only.
///
/// There are no quotes, so other text, for example a path with a blank in it, cannot be
/// configured at all (HAST §8.1).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Word<const MAX: usize>(String);

/// A network or socket address as text. What it means, [`Endpoint`](super::Endpoint) says.
pub type Address = Word<MAX_TEXT_LEN>;
/// A path in the file system.
pub type Path = Word<MAX_TEXT_LEN>;
/// How an `on` section names a node: by host name, its first label, UUID or host id.
pub type NodeName = Word<MAX_TEXT_LEN>;
/// The name of a resource, of a provider or of the peer in its certificate.
pub type Name = Word<MAX_NAME_LEN>;

impl<const MAX: usize> Word<MAX> {
    /// Makes a word of `text`.
    ///
    /// # Errors
    ///
    /// [`WordError`], if `text` cannot stand in a configuration.
    pub fn new(text: impl Into<String>) -> Result<Self, WordError> {
        let text = text.into();
        if text.len() > MAX {
            let len = text.len();
            return Err(WordError::TooLong { len, max: MAX });
        }
        if let Some(character) = text.chars().find(|&c| !is_word_character(c)) {
            return Err(WordError::Character { character });
        }
        match text.as_str() {
            "" => Err(WordError::Empty),
            word if is_keyword(word) => Err(WordError::Keyword),
            word if is_number(word) => Err(WordError::Digits),
            _ => Ok(Self(text)),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> AsRef<str> for Word<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Word<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> FromStr for Word<MAX> {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::new(text)
    }
}

/// Why a text cannot stand in a configuration as a name, an address or a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WordError {
    /// There is nothing.
    #[error("a word of no characters")]
    Empty,
    /// It is longer than its field allows.
    #[error("{len} octets where at most {max} are allowed")]
    TooLong {
        /// Its octets.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// It holds a character that no word can hold.
    #[error("{character:?} cannot be written in hast.conf")]
    Character {
        /// The first such character.
        character: char,
    },
    /// It is one of the configuration's own words.
    #[error("the word has a meaning of its own in hast.conf")]
    Keyword,
    /// It consists of digits only and so would be read as a number.
    #[error("a word of digits only is a number")]
    Digits,
}

/// Returns whether a word can hold `character` (HAST §8.1, STR).
pub(super) const fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '.' | '-' | '_' | '/' | ':' | '[' | ']')
}

/// Returns whether `word` has a meaning of its own.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// Returns whether `word` is read as a number.
pub(super) fn is_number(word: &str) -> bool {
    word.bytes().all(|octet| octet.is_ascii_digit())
}

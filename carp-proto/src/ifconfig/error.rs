//! What is wrong with the words of an operator.

use core::fmt;

use crate::text::Position;
use crate::types::OutOfRange;

/// What is wrong with the words of an operator, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("word {}, column {}: {fault}", at.word, at.column)]
#[non_exhaustive]
pub struct WordsError<'a> {
    /// Where the fault is.
    pub at: Position,
    /// What it is.
    pub fault: WordsFault<'a>,
}

/// A fault in the words of an operator.
///
/// A `text` is what was written. It is withheld (`None`) where it may be a piece of a
/// passphrase: after the word `pass`, and in a word that begins with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsFault<'a> {
    /// There is no vhid.
    #[error("vhid is missing")]
    NoVhid,
    /// Another word stands where vhid must.
    #[error("{} stands where vhid is expected", Shown(*text))]
    NotVhid {
        /// The word.
        text: Option<&'a str>,
    },
    /// The word is neither known nor an address.
    #[error("{} is neither known nor an address", Shown(*text))]
    Unknown {
        /// The word.
        text: Option<&'a str>,
    },
    /// The word occurs again, or together with one that sets the same.
    #[error("{word} is given twice")]
    Duplicate {
        /// What is set twice: one of `ifconfig`'s words, `family` or `address`.
        word: &'static str,
    },
    /// The value of a word is missing.
    #[error("{word} is without a value")]
    NoValue {
        /// The word.
        word: &'static str,
    },
    /// The address that a word is about is missing.
    #[error("{word} is without an address")]
    NoAddress {
        /// The word.
        word: &'static str,
    },
    /// A value is not a decimal number of at most 32 bits.
    #[error("{word}: {} is no number", Shown(*text))]
    Number {
        /// The word whose value it is.
        word: &'static str,
        /// The value.
        text: Option<&'a str>,
    },
    /// A number is not allowed.
    #[error("{0}")]
    Range(OutOfRange),
    /// The passphrase holds a NUL, at which `ifconfig` would end it.
    #[error("pass: NUL in the passphrase")]
    Nul,
    /// The state is none.
    #[error("state: {} is neither master, backup nor init", Shown(*text))]
    State {
        /// The value.
        text: Option<&'a str>,
    },
    /// The value is no address of the word's family, or the unspecified one.
    #[error("{word}: {} is no address for it", Shown(*text))]
    Address {
        /// The word.
        word: &'static str,
        /// The value.
        text: Option<&'a str>,
    },
}

/// A text in an error message, in quotes and with control characters escaped.
struct Shown<'a>(Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "{text:?}"),
            None => f.write_str("a word not shown here"),
        }
    }
}

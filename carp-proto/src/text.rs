//! A text as words with their places, and the numbers among them.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::ops::RangeInclusive;

use crate::types::OutOfRange;

/// The place of a word, or of one that is missing at the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// Which word it is, counted from 1.
    pub word: usize,
    /// Its first byte, counted from 1.
    pub column: usize,
}

/// The words that are left.
pub(crate) struct Input<'a> {
    rest: &'a str,
    next: Position,
    hiding: bool,
}

/// A word and its place. It has no `Debug`, for it may be a passphrase.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// The text, unless it may be a piece of a passphrase.
    pub(crate) shown: Option<&'a str>,
    pub(crate) at: Position,
}

impl<'a> Input<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut input = Self {
            rest: text,
            next: Position { word: 1, column: 1 },
            hiding: false,
        };
        input.skip_blanks();
        input
    }

    /// Takes the next word, if there is one.
    pub(crate) fn next(&mut self) -> Option<Word<'a>> {
        let len = self
            .rest
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(self.rest.len());
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .filter(|(text, _)| !text.is_empty())?;
        let hidden = self.hiding || text.starts_with("pass");
        let word = Word {
            text,
            shown: (!hidden).then_some(text),
            at: self.next,
        };
        self.rest = rest;
        self.next.word = self.next.word.saturating_add(1);
        self.next.column = self.next.column.saturating_add(len);
        self.skip_blanks();
        Some(word)
    }

    /// Withholds all further words from messages, as they may be pieces of a passphrase.
    pub(crate) fn hide(&mut self) {
        self.hiding = true;
    }

    /// Returns the place of the next word, or of the end.
    pub(crate) fn position(&self) -> Position {
        self.next
    }

    /// Returns what follows the words taken so far.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest.trim_ascii_start();
        let blanks = self.rest.len().saturating_sub(rest.len());
        self.next.column = self.next.column.saturating_add(blanks);
        self.rest = rest;
    }
}

/// Why a text is no number within bounds.
pub(crate) enum NumberFault {
    Rubbish,
    Range(OutOfRange),
}

/// Reads a decimal number within the bounds; `field` is what it stands for.
pub(crate) fn number<T: Into<u32> + TryFrom<u32>>(
    text: &str,
    field: &'static str,
    bounds: RangeInclusive<T>,
) -> Result<T, NumberFault> {
    // The standard parser would take a sign, too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberFault::Rubbish);
    }
    let value = text.parse().map_err(|_| NumberFault::Rubbish)?;
    let (min, max) = bounds.into_inner();
    let (min, max) = (min.into(), max.into());
    let range = OutOfRange {
        field,
        value,
        min,
        max,
    };
    if !(min..=max).contains(&value) {
        return Err(NumberFault::Range(range));
    }
    T::try_from(value).map_err(|_| NumberFault::Range(range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn each_word_has_its_place() {
        let mut input = Input::new(" one \tt\u{e4}o\n\nthree ");
        let words: Vec<_> = core::iter::from_fn(|| input.next())
            .map(|word| (word.text, word.at.word, word.at.column))
            .collect();
        assert_eq!(words, [("one", 1, 2), ("t\u{e4}o", 2, 7), ("three", 3, 13)]);
        let end = Position {
            word: 4,
            column: 19,
        };
        assert_eq!((input.position(), input.rest()), (end, ""));
    }

    #[test]
    fn words_of_a_passphrase_are_withheld() {
        let mut input = Input::new("user password pass secret");
        assert_eq!(input.next().unwrap().shown, Some("user"));
        assert_eq!(input.next().unwrap().shown, None);
        assert_eq!(input.next().unwrap().shown, None);
        input.hide();
        assert_eq!(input.next().unwrap().shown, None);
    }

    #[test]
    fn a_number_is_digits_within_bounds() {
        assert!(matches!(number("0012", "n", 12u8..=12), Ok(12)));
        for rubbish in ["", "+1", "-1", "1 ", "0x1", "1.0", "4294967296"] {
            let fault = number(rubbish, "n", 0u16..=u16::MAX);
            assert!(matches!(fault, Err(NumberFault::Rubbish)), "{rubbish:?}");
        }
        let fault = number("65536", "n", 1u16..=u16::MAX);
        let expected = OutOfRange {
            field: "n",
            value: 65536,
            min: 1,
            max: 65535,
        };
        assert!(matches!(fault, Err(NumberFault::Range(range)) if range == expected));
    }
}

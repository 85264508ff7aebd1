//! A configuration as words and braces, each with its place (HAST §8.1).

use core::fmt;

use super::error::{ConfError, ConfFault, Hint};
use super::word::{is_number, is_word_character};

/// A place in a configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Position {
    /// The line, counted from 1. FreeBSD's messages count from 0.
    pub line: usize,
    /// The octet within its line, counted from 1; a tab is one.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What stands at a place.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) at: Position,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind<'a> {
    /// A keyword or a string; the grammar tells them apart.
    Word(&'a str),
    /// Digits.
    Number(&'a str),
    /// `{`
    Open,
    /// `}`
    Close,
    /// The end of the file.
    End,
}

/// What is left of a configuration.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
    at: Position,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            at: Position { line: 1, column: 1 },
        }
    }

    /// Takes the next token; at the end it is [`Kind::End`], as often as asked.
    pub(super) fn next(&mut self) -> Result<Token<'a>, ConfError> {
        self.skip_blanks();
        let at = self.at;
        let kind = match self.rest.first() {
            None => Kind::End,
            Some(b'{') => {
                self.take(1);
                Kind::Open
            }
            Some(b'}') => {
                self.take(1);
                Kind::Close
            }
            Some(_) => match self.word() {
                Some(word) if is_number(word) => Kind::Number(word),
                Some(word) => Kind::Word(word),
                None => return Err(self.unknown_character()),
            },
        };
        Ok(Token { kind, at })
    }

    /// Skips blanks, line ends and comments. Unlike FreeBSD's scanner it takes a carriage
    /// return for a blank, and a `#` for a comment on an unfinished last line too
    /// (HAST §8.1 calls what happens there an accident).
    fn skip_blanks(&mut self) {
        while let Some(&octet) = self.rest.first() {
            match octet {
                b'\n' => {
                    self.take(1);
                    self.at.line = self.at.line.saturating_add(1);
                    self.at.column = 1;
                }
                b' ' | b'\t' | b'\r' => {
                    self.take(1);
                }
                b'#' => {
                    let comment = self.rest.iter().take_while(|&&octet| octet != b'\n');
                    let len = comment.count();
                    self.take(len);
                }
                _ => return,
            }
        }
    }

    /// Takes the longest word, if there is any.
    fn word(&mut self) -> Option<&'a str> {
        let word = self
            .rest
            .iter()
            .take_while(|&&o| is_word_character(o.into()));
        let len = word.count();
        let text = core::str::from_utf8(self.take(len)).ok();
        text.filter(|text| !text.is_empty())
    }

    /// Takes `len` octets of one line, or what is left.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.at.column = self.at.column.saturating_add(taken.len());
        taken
    }

    fn unknown_character(&self) -> ConfError {
        let start = self.rest.get(..self.rest.len().min(4)).unwrap_or_default();
        let valid = match core::str::from_utf8(start) {
            Ok(text) => text,
            Err(error) => start
                .get(..error.valid_up_to())
                .and_then(|valid| core::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        };
        let character = valid.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
        let hint = match character {
            '"' | '\'' => Some(Hint::NoQuotes),
            ';' | ',' => Some(Hint::NoSeparators),
            '=' => Some(Hint::NoEqualsSign),
            _ => None,
        };
        ConfError::at(self.at, ConfFault::Character { character, hint })
    }
}

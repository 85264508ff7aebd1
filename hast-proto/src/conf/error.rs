//! What is wrong with a configuration, where, and what to do about it (HAST §8.4).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::directive::{Directive, Scope, Takes};
use super::scan::{Kind, Position};

/// What is wrong with a configuration, and where. The first fault ends the reading, as in the
/// original, whose lines count from 0 (HAST §8.4); here they count from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{fault}", Before(*at))]
#[non_exhaustive]
pub struct ConfError {
    /// Where the fault is: at the offending word, or at the closing brace of a resource that
    /// lacks something. `None` if the configuration was not read from text.
    pub at: Option<Position>,
    /// What it is.
    pub fault: ConfFault,
}

impl ConfError {
    pub(super) const fn at(at: Position, fault: ConfFault) -> Self {
        Self {
            at: Some(at),
            fault,
        }
    }

    /// Returns the word at which reading ended, as FreeBSD shows it behind "near": empty at
    /// the end of the file, and `None` if the fault is none of syntax.
    #[must_use]
    pub fn near(&self) -> Option<&str> {
        match &self.fault {
            ConfFault::Unexpected { found, .. } => Some(found.as_str()),
            _ => None,
        }
    }

    /// Returns the message as compilers print it: `hast.conf:3:9: what is wrong`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { file, error: self }
    }
}

struct Before(Option<Position>);

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "{at}: "),
            None => Ok(()),
        }
    }
}

struct InFile<'a> {
    file: &'a str,
    error: &'a ConfError,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        if let Some(Position { line, column }) = self.error.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.error.fault)
    }
}

/// A fault in a configuration: those of the original (HAST §8.4), told apart more finely.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfFault {
    /// Something stands where the grammar wants something else.
    #[error("{found} where {expected} is expected{}", Shown(*hint))]
    Unexpected {
        /// What stands there.
        found: Found,
        /// What should.
        expected: Expected,
        /// What was probably meant.
        hint: Option<Hint>,
    },
    /// A character that means nothing outside comments.
    #[error("the character {character:?} means nothing here{}", Shown(*hint))]
    Character {
        /// The character; U+FFFD for an octet that is none.
        character: char,
        /// What to do about it.
        hint: Option<Hint>,
    },
    /// A number is not allowed.
    #[error("{directive} {text} is outside {min}..={max}")]
    Number {
        /// The directive.
        directive: Directive,
        /// The number as it stands there.
        text: String,
        /// The least number allowed.
        min: u32,
        /// The greatest number allowed.
        max: u32,
    },
    /// A number must be a power of two and is not.
    #[error("{directive} {number} is no power of two")]
    PowerOfTwo {
        /// The directive.
        directive: Directive,
        /// The number.
        number: u32,
    },
    /// A name, an address or a path is too long.
    #[error("{directive}: {len} octets where at most {max} are allowed")]
    TooLong {
        /// The directive.
        directive: Directive,
        /// Its octets.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Two resources have the same name.
    #[error("resource {resource} is configured more than once{}", First(*first))]
    Duplicate {
        /// The resource.
        resource: String,
        /// Where the earlier one stands, if they were read from text.
        first: Option<Position>,
    },
    /// A resource has no `on` section for this node.
    #[error(
        "resource {resource} has no `on` section for this node, which is called {}",
        List(names)
    )]
    NoSection {
        /// The resource.
        resource: String,
        /// The names by which this node can be meant.
        names: Vec<String>,
    },
    /// A resource has no `remote` in an `on` section for this node.
    #[error(
        "resource {resource} has no `remote` for this node; if it has no peer say `remote none`"
    )]
    NoRemote {
        /// The resource.
        resource: String,
    },
    /// A resource has no `local` for this node.
    #[error("resource {resource} has no `local` for this node")]
    NoLocal {
        /// The resource.
        resource: String,
    },
    /// TLS is wanted but something for it is not configured.
    #[error("resource {resource} wants `tls on`, but this node has no `{directive}`")]
    NoIdentity {
        /// The resource.
        resource: String,
        /// What is missing.
        directive: Directive,
    },
    /// The text is longer than any sensible configuration.
    #[error("{len} octets where at most {max} are read")]
    TooLarge {
        /// Its octets.
        len: usize,
        /// The limit.
        max: usize,
    },
}

/// What stands at a place of a configuration. Of long words the beginning.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Found {
    /// A word.
    Word(String),
    /// A number.
    Number(String),
    /// `{`
    OpeningBrace,
    /// `}`
    ClosingBrace,
    /// The end of the file.
    End,
}

impl Found {
    /// The most octets of a word that are shown.
    pub const MAX_LEN: usize = 80;

    /// Returns it as it stands there; empty at the end of the file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Word(text) | Self::Number(text) => text,
            Self::OpeningBrace => "{",
            Self::ClosingBrace => "}",
            Self::End => "",
        }
    }
}

impl From<Kind<'_>> for Found {
    fn from(kind: Kind<'_>) -> Self {
        match kind {
            Kind::Word(text) => Self::Word(shortened(text)),
            Kind::Number(text) => Self::Number(shortened(text)),
            Kind::Open => Self::OpeningBrace,
            Kind::Close => Self::ClosingBrace,
            Kind::End => Self::End,
        }
    }
}

/// Returns the beginning of `text`, which is ASCII.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(Found::MAX_LEN).collect()
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) => write!(f, "`{text}`"),
            Self::Number(text) => write!(f, "the number `{text}`"),
            Self::OpeningBrace => f.write_str("`{`"),
            Self::ClosingBrace => f.write_str("`}`"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

/// What the grammar wants at a place of a configuration (HAST §8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expected {
    /// A directive of this section; inside braces also the closing one.
    Directive(Scope),
    /// What a directive takes.
    Value(Directive),
    /// The opening brace of a section.
    OpeningBrace,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directive(Scope::Global) => f.write_str("a directive"),
            Self::Directive(scope) => write!(f, "a directive of {scope} or `}}`"),
            Self::Value(directive) => write!(f, "{} for `{directive}`", directive.takes()),
            Self::OpeningBrace => f.write_str("`{`"),
        }
    }
}

/// What was probably meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// A directive written nearly so.
    Like(Directive),
    /// The directive exists, but belongs elsewhere.
    BelongsIn(Directive),
    /// A keyword cannot be a name.
    Keyword,
    /// A name needs a character that is no digit.
    Digits,
    /// A number has no unit or sign.
    PlainNumber,
    /// `exec` takes no arguments.
    NoArguments,
    /// `none` is for `remote` only; leave the directive out.
    LeaveOut,
    /// The directive is of another program (HAST §8.4).
    HastMon,
    /// A value may be missing before this.
    ValueMissing,
    /// A brace too many, or a section that was not opened.
    ExtraBrace,
    /// A section was not closed.
    BraceMissing,
    /// Text stands without quotes.
    NoQuotes,
    /// Nothing stands between directives but blanks.
    NoSeparators,
    /// Nothing stands between a directive and its value but blanks.
    NoEqualsSign,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Like(directive) => write!(f, "did you mean `{directive}`?"),
            Self::BelongsIn(directive) => {
                write!(f, "`{directive}` belongs in ")?;
                for (i, scope) in directive.scopes().iter().enumerate() {
                    write!(f, "{}{scope}", if i == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::Keyword => f.write_str("a keyword cannot be a name"),
            Self::Digits => f.write_str("a name cannot be digits only"),
            Self::PlainNumber => f.write_str("only digits, without sign or unit"),
            Self::NoArguments => f.write_str("`exec` takes a path without arguments"),
            Self::LeaveOut => f.write_str("leave the directive out instead"),
            Self::HastMon => f.write_str("this directive is of hastmon, another program"),
            Self::ValueMissing => f.write_str("is the value missing?"),
            Self::ExtraBrace => f.write_str("nothing is open here"),
            Self::BraceMissing => f.write_str("is a `}` missing?"),
            Self::NoQuotes => f.write_str("text stands without quotes"),
            Self::NoSeparators => f.write_str("only blanks stand between directives"),
            Self::NoEqualsSign => f.write_str("a value follows its directive after a blank"),
        }
    }
}

/// A hint behind a message.
struct Shown(Option<Hint>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

struct First(Option<Position>);

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, ", first at {at}"),
            None => Ok(()),
        }
    }
}

/// Names with commas.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Which hint fits a thing that stands where the value of `directive` is expected.
pub(super) fn hint_for_value(directive: Directive, found: Kind<'_>) -> Option<Hint> {
    match (directive.takes(), found) {
        (_, Kind::Open | Kind::Close | Kind::End) => Some(Hint::ValueMissing),
        (Takes::OneOf(_), _) => None,
        (Takes::Number, Kind::Word(word)) if Directive::from_word(word).is_some() => {
            Some(Hint::ValueMissing)
        }
        (Takes::Number, _) => Some(Hint::PlainNumber),
        (Takes::Name | Takes::Section, Kind::Number(_)) => Some(Hint::Digits),
        (_, Kind::Number(_)) => None,
        (Takes::Name | Takes::Section, Kind::Word(_)) => Some(Hint::Keyword),
        (_, Kind::Word("none")) => Some(Hint::LeaveOut),
        (_, Kind::Word(word)) => Directive::from_word(word).map(|_| Hint::ValueMissing),
    }
}

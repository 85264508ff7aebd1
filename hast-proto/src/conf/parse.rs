//! From text to statements, by the grammar of HAST §8.2.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::directive::{Directive, Scope, Takes};
use super::error::{ConfError, ConfFault, Expected, Hint, hint_for_value, shortened};
use super::scan::{Kind, Position, Scanner, Token};
use super::value::{
    AddressOrNone, DeviceSetting, Node, NodeSetting, PeerSetting, RequestSize, ResourceNode,
    ResourceSetting, Switch, Timeout,
};
use super::word::{Address, NodeName, Word, WordError};
use super::{File, MAX_LEN, Resource, ResourceStatement, Statement};
use crate::types::NumberError;

/// Reads a whole file.
pub(super) fn file(text: &[u8]) -> Result<File, ConfError> {
    if text.len() > MAX_LEN {
        return Err(ConfError {
            at: None,
            fault: ConfFault::TooLarge {
                len: text.len(),
                max: MAX_LEN,
            },
        });
    }
    let mut parser = Parser {
        scanner: Scanner::new(text),
        names: BTreeMap::new(),
        last: None,
        closed: Position { line: 1, column: 1 },
    };
    let mut statements = Vec::new();
    while let Some(directive) = parser.directive(Scope::Global)? {
        statements.push(match directive {
            Directive::On => Statement::Node(parser.node()?),
            Directive::Resource => Statement::Resource(parser.resource()?),
            other => match parser.node_setting(other)? {
                Some(setting) => Statement::NodeSetting(setting),
                None => Statement::ResourceSetting(parser.resource_setting(other)?),
            },
        });
    }
    Ok(File { statements })
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    /// Where each resource's name stands.
    names: BTreeMap<&'a str, Position>,
    /// The directive before this one, for hints.
    last: Option<Directive>,
    /// The closing brace taken last.
    closed: Position,
}

impl<'a> Parser<'a> {
    /// Takes the word of a directive, or `None` at the end of the section, which is a brace
    /// or, at the global level, the end of the file.
    fn directive(&mut self, scope: Scope) -> Result<Option<Directive>, ConfError> {
        let Token { kind, at } = self.scanner.next()?;
        let hint = match kind {
            Kind::End if scope == Scope::Global => return Ok(None),
            Kind::Close if scope != Scope::Global => {
                self.last = None;
                self.closed = at;
                return Ok(None);
            }
            Kind::Word(word) => match Directive::from_word(word) {
                Some(directive) if directive.scopes().contains(&scope) => {
                    self.last = Some(directive);
                    return Ok(Some(directive));
                }
                Some(directive) => Some(Hint::BelongsIn(directive)),
                None => self.hint_for_word(word),
            },
            Kind::End => Some(Hint::BraceMissing),
            Kind::Open | Kind::Close => Some(Hint::ExtraBrace),
            Kind::Number(_) => None,
        };
        Err(unexpected(kind, at, Expected::Directive(scope), hint))
    }

    fn hint_for_word(&self, word: &str) -> Option<Hint> {
        if self.last == Some(Directive::Exec) {
            return Some(Hint::NoArguments);
        }
        if word == "friendly" {
            return Some(Hint::HastMon);
        }
        Directive::like(word).map(Hint::Like)
    }

    fn open(&mut self) -> Result<(), ConfError> {
        match self.scanner.next()? {
            Token {
                kind: Kind::Open, ..
            } => Ok(()),
            Token { kind, at } => Err(unexpected(kind, at, Expected::OpeningBrace, None)),
        }
    }

    /// Takes a word that is no keyword, or, if `directive` takes it, `none`.
    fn string(&mut self, directive: Directive) -> Result<(Option<&'a str>, Position), ConfError> {
        let Token { kind, at } = self.scanner.next()?;
        match kind {
            Kind::Word("none") if directive.takes() == Takes::AddressOrNone => Ok((None, at)),
            Kind::Word(word) if !super::word::is_keyword(word) => Ok((Some(word), at)),
            other => {
                let hint = hint_for_value(directive, other);
                Err(unexpected(other, at, Expected::Value(directive), hint))
            }
        }
    }

    /// Takes a name, an address or a path.
    fn word<const MAX: usize>(&mut self, directive: Directive) -> Result<Word<MAX>, ConfError> {
        let (text, at) = self.string(directive)?;
        word(directive, text.unwrap_or("none"), at)
    }

    fn address_or_none(&mut self, directive: Directive) -> Result<AddressOrNone, ConfError> {
        match self.string(directive)? {
            (None, _) => Ok(AddressOrNone::None),
            (Some(text), at) => word(directive, text, at).map(AddressOrNone::Address),
        }
    }

    /// Takes a decimal number, which `make` may still refuse.
    fn number<T>(
        &mut self,
        directive: Directive,
        (min, max): (u32, u32),
        make: impl FnOnce(u32) -> Result<T, NumberError>,
    ) -> Result<T, ConfError> {
        let Token { kind, at } = self.scanner.next()?;
        let Kind::Number(text) = kind else {
            let hint = hint_for_value(directive, kind);
            return Err(unexpected(kind, at, Expected::Value(directive), hint));
        };
        let outside = || ConfFault::Number {
            directive,
            text: shortened(text),
            min,
            max,
        };
        // What 32 bits do not hold is outside every range.
        let number = text.parse().map_err(|_| ConfError::at(at, outside()))?;
        make(number).map_err(|error| {
            ConfError::at(
                at,
                match error {
                    NumberError::PowerOfTwo { .. } => ConfFault::PowerOfTwo { directive, number },
                    _ => outside(),
                },
            )
        })
    }

    /// Takes one of the words that `directive` takes.
    fn choice<T>(
        &mut self,
        directive: Directive,
        choose: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfError> {
        let Token { kind, at } = self.scanner.next()?;
        let chosen = match kind {
            Kind::Word(word) => choose(word),
            _ => None,
        };
        chosen.ok_or_else(|| {
            let hint = hint_for_value(directive, kind);
            unexpected(kind, at, Expected::Value(directive), hint)
        })
    }

    fn switch(&mut self, directive: Directive) -> Result<Switch, ConfError> {
        self.choice(directive, |word| match word {
            "on" => Some(Switch::On),
            "off" => Some(Switch::Off),
            _ => None,
        })
    }

    /// Takes the value of a directive of nodes, or nothing if it is another one.
    fn node_setting(&mut self, directive: Directive) -> Result<Option<NodeSetting>, ConfError> {
        let make: fn(Address) -> NodeSetting = match directive {
            Directive::Control => NodeSetting::Control,
            Directive::PidFile => NodeSetting::PidFile,
            Directive::Listen => NodeSetting::Listen,
            Directive::TlsCertificate => NodeSetting::TlsCertificate,
            Directive::TlsKey => NodeSetting::TlsKey,
            Directive::TlsAuthority => NodeSetting::TlsAuthority,
            _ => return Ok(None),
        };
        self.word(directive).map(make).map(Some)
    }

    /// Takes the value of a directive of resources.
    fn resource_setting(&mut self, directive: Directive) -> Result<ResourceSetting, ConfError> {
        Ok(match directive {
            Directive::Replication => {
                ResourceSetting::Replication(self.choice(directive, |word| word.parse().ok())?)
            }
            Directive::Checksum => {
                ResourceSetting::Checksum(self.choice(directive, |word| word.parse().ok())?)
            }
            Directive::Compression => {
                ResourceSetting::Compression(self.choice(directive, |word| word.parse().ok())?)
            }
            Directive::Timeout => {
                let range = (Timeout::MIN.get(), Timeout::MAX.get());
                ResourceSetting::Timeout(self.number(directive, range, Timeout::new)?)
            }
            Directive::RequestSize => {
                let range = (RequestSize::MIN.get(), RequestSize::MAX.get());
                ResourceSetting::RequestSize(self.number(directive, range, RequestSize::new)?)
            }
            Directive::Exec => ResourceSetting::Exec(self.word(directive)?),
            Directive::Arbiter => ResourceSetting::Arbiter(self.address_or_none(directive)?),
            Directive::Tls => ResourceSetting::Tls(self.switch(directive)?),
            // The callers have taken out all others.
            _ => ResourceSetting::MetaFlush(self.switch(directive)?),
        })
    }

    fn device_setting(&mut self, directive: Directive) -> Result<Option<DeviceSetting>, ConfError> {
        match directive {
            Directive::Name => self.word(directive).map(DeviceSetting::Name).map(Some),
            Directive::Local => self.word(directive).map(DeviceSetting::Local).map(Some),
            _ => Ok(None),
        }
    }

    fn node(&mut self) -> Result<Node, ConfError> {
        let name: NodeName = self.word(Directive::On)?;
        self.open()?;
        let mut settings = Vec::new();
        while let Some(directive) = self.directive(Scope::Node)? {
            settings.extend(self.node_setting(directive)?);
        }
        Ok(Node { name, settings })
    }

    fn resource(&mut self) -> Result<Resource, ConfError> {
        let (text, at) = self.string(Directive::Resource)?;
        let text = text.unwrap_or("none");
        let name = word(Directive::Resource, text, at)?;
        if let Some(first) = self.names.insert(text, at) {
            let (resource, first) = (text.into(), Some(first));
            return Err(ConfError::at(at, ConfFault::Duplicate { resource, first }));
        }
        self.open()?;
        let mut statements = Vec::new();
        while let Some(directive) = self.directive(Scope::Resource)? {
            statements.push(match directive {
                Directive::On => ResourceStatement::Node(self.resource_node()?),
                other => match self.device_setting(other)? {
                    Some(setting) => ResourceStatement::Device(setting),
                    None => ResourceStatement::Setting(self.resource_setting(other)?),
                },
            });
        }
        let end = Some(self.closed);
        Ok(Resource {
            name,
            statements,
            end,
        })
    }

    fn resource_node(&mut self) -> Result<ResourceNode, ConfError> {
        let name: NodeName = self.word(Directive::On)?;
        self.open()?;
        let mut settings = Vec::new();
        while let Some(directive) = self.directive(Scope::ResourceNode)? {
            settings.push(match directive {
                Directive::Remote => PeerSetting::Remote(self.address_or_none(directive)?),
                Directive::Source => PeerSetting::Source(self.word(directive)?),
                Directive::TlsPeer => PeerSetting::TlsPeer(self.word(directive)?),
                other => match self.device_setting(other)? {
                    Some(setting) => PeerSetting::Device(setting),
                    // What is left is `metaflush`.
                    None => PeerSetting::MetaFlush(self.switch(other)?),
                },
            });
        }
        Ok(ResourceNode { name, settings })
    }
}

/// Makes a value of a word that was found at `at`.
fn word<const MAX: usize>(
    directive: Directive,
    text: &str,
    at: Position,
) -> Result<Word<MAX>, ConfError> {
    Word::new(text).map_err(|error| {
        // The scanner has seen to all but the length.
        debug_assert!(matches!(error, WordError::TooLong { .. }), "{error}");
        ConfError::at(
            at,
            ConfFault::TooLong {
                directive,
                len: text.len(),
                max: MAX,
            },
        )
    })
}

fn unexpected(kind: Kind<'_>, at: Position, expected: Expected, hint: Option<Hint>) -> ConfError {
    ConfError::at(
        at,
        ConfFault::Unexpected {
            found: kind.into(),
            expected,
            hint,
        },
    )
}

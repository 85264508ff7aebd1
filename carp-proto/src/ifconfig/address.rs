//! The words about a shared address.

use core::fmt;
use core::net::IpAddr;

use super::{WordsError, WordsFault, once};
use crate::text::Word;
use crate::types::Family;

/// A shared address, and what is to be done with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct SharedAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix: up to 32 for IPv4, up to 128 for IPv6.
    pub prefix_len: Option<u8>,
    /// What is to be done.
    pub change: AddressChange,
}

impl SharedAddress {
    /// `address` alone.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            prefix_len: None,
            change: AddressChange::Set,
        }
    }
}

impl fmt::Display for SharedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            family_word(Family::of(self.address)),
            self.address
        )?;
        if let Some(len) = self.prefix_len {
            write!(f, "/{len}")?;
        }
        f.write_str(match self.change {
            AddressChange::Set => "",
            AddressChange::Add => " alias",
            AddressChange::Remove => " -alias",
        })
    }
}

/// What is to be done with an address.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "ifconfig has two words, or none")]
pub enum AddressChange {
    /// No word: it becomes the interface's address.
    #[default]
    Set,
    /// `alias`: it is added to the interface's addresses.
    Add,
    /// `-alias`: it is removed; with its last address a group ends.
    Remove,
}

/// The words about the shared address, which may stand apart: `inet vhid 1 alias ADDRESS`.
#[derive(Default)]
pub(super) struct Place<'a> {
    family: Option<(Family, Word<'a>)>,
    change: Option<(AddressChange, Word<'a>)>,
    address: Option<(IpAddr, Option<u8>, Word<'a>)>,
}

impl<'a> Place<'a> {
    /// Takes `word` if it is about the address.
    pub(super) fn read(&mut self, word: Word<'a>) -> Result<bool, WordsError<'a>> {
        match word.text {
            "inet" => once(&mut self.family, (Family::V4, word), word, "family")?,
            "inet6" => once(&mut self.family, (Family::V6, word), word, "family")?,
            "alias" => once(&mut self.change, (AddressChange::Add, word), word, "alias")?,
            "-alias" => once(
                &mut self.change,
                (AddressChange::Remove, word),
                word,
                "alias",
            )?,
            text => {
                let (address, len) = match text.split_once('/') {
                    Some((address, len)) => (address, Some(len)),
                    None => (text, None),
                };
                let Ok(address) = address.parse::<IpAddr>() else {
                    return Ok(false);
                };
                let max = if address.is_ipv4() { 32 } else { 128 };
                let len = len
                    .map(|len| word.number_of(len, "prefix length", 0..=max))
                    .transpose()
                    .map_err(|fault| word.fault(fault))?;
                once(&mut self.address, (address, len, word), word, "address")?;
            }
        }
        Ok(true)
    }

    /// Puts the words together.
    pub(super) fn finish(self) -> Result<Option<SharedAddress>, WordsError<'a>> {
        let Some((address, prefix_len, at)) = self.address else {
            let lonely = |word: Word<'a>, name| word.fault(WordsFault::NoAddress { word: name });
            return match (self.family, self.change) {
                (Some((family, word)), _) => Err(lonely(word, family_word(family))),
                (None, Some((AddressChange::Remove, word))) => Err(lonely(word, "-alias")),
                (None, Some((_, word))) => Err(lonely(word, "alias")),
                (None, None) => Ok(None),
            };
        };
        match self.family {
            Some((family, _)) if family != Family::of(address) => {
                let word = family_word(family);
                Err(at.fault(WordsFault::Address {
                    word,
                    text: at.shown,
                }))
            }
            _ => {
                let change = self.change.map(|(change, _)| change).unwrap_or_default();
                Ok(Some(SharedAddress {
                    address,
                    prefix_len,
                    change,
                }))
            }
        }
    }
}

const fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}

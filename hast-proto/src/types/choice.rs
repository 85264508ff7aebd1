//! Fields that have a few values, each with a word and some with a number (HAST §0).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;
use core::str::FromStr;

use super::{Excerpt, NumberError, UnknownWord};

/// What a node is for a resource (HAST §5.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Role {
    /// Neither: the daemon does nothing with the resource.
    #[default]
    Init,
    /// It serves the device and sends its writes to the other.
    Primary,
    /// It takes the other's writes.
    Secondary,
}

impl Role {
    /// Takes the number of the control protocol.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] unless it is 1, 2 or 3.
    pub const fn from_code(code: u8) -> Result<Self, NumberError> {
        match code {
            1 => Ok(Self::Init),
            2 => Ok(Self::Primary),
            3 => Ok(Self::Secondary),
            _ => Err(NumberError::Range {
                field: "role",
                value: code as u64,
                min: 1,
                max: 3,
            }),
        }
    }

    /// Returns the number of the control protocol.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Init => 1,
            Self::Primary => 2,
            Self::Secondary => 3,
        }
    }

    /// Returns the word of `hastctl`, which is also in the metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

/// Which node has the current data (HAST §5.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two nodes")]
pub enum SyncSource {
    /// The primary: what it marked dirty is written to the secondary.
    Primary,
    /// The secondary: the primary reads from there what is marked dirty.
    Secondary,
}

impl SyncSource {
    /// Takes the number in "syncsrc".
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] unless it is 1 or 2.
    pub const fn from_code(code: u8) -> Result<Self, NumberError> {
        match code {
            1 => Ok(Self::Primary),
            2 => Ok(Self::Secondary),
            _ => Err(NumberError::Range {
                field: "syncsrc",
                value: code as u64,
                min: 1,
                max: 2,
            }),
        }
    }

    /// Returns the number in "syncsrc".
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Primary => 1,
            Self::Secondary => 2,
        }
    }

    /// Returns a word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

impl fmt::Display for SyncSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When the writer is told that its write is done (HAST §6.3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Replication {
    /// Both disks have it.
    Fullsync,
    /// The local disk has it, and the peer's memory.
    #[default]
    Memsync,
    /// The local disk has it.
    Async,
}

impl Replication {
    /// Returns the word of `hast.conf`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fullsync => "fullsync",
            Self::Memsync => "memsync",
            Self::Async => "async",
        }
    }
}

/// What protects a payload against corruption on its way (HAST §3.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Checksum {
    /// Nothing but TCP.
    #[default]
    None,
    /// CRC-32 as in Ethernet and zlib, 4 octets.
    Crc32,
    /// SHA-256, 32 octets.
    Sha256,
}

impl Checksum {
    /// Returns the word of `hast.conf` and of the pair "checksum".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha256",
        }
    }
}

/// How a payload is made smaller (HAST §3.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three")]
pub enum Compression {
    /// Not at all.
    None,
    /// A payload of zeros becomes its length.
    #[default]
    Hole,
    /// As `Hole`, and others by LZF where that saves enough.
    Lzf,
}

impl Compression {
    /// Returns the word of `hast.conf` and of the pair "compression".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hole => "hole",
            Self::Lzf => "lzf",
        }
    }
}

/// Words in the order of their choices, for reading and writing.
fn choose<T: Copy>(field: &'static str, word: &str, all: &[(&str, T)]) -> Result<T, UnknownWord> {
    all.iter()
        .find(|(name, _)| *name == word)
        .map(|&(_, choice)| choice)
        .ok_or_else(|| UnknownWord {
            field,
            word: Excerpt::new(word.as_bytes()),
        })
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Init, Self::Primary, Self::Secondary];
        choose("role", word, &all.map(|role| (role.as_str(), role)))
    }
}

impl FromStr for Replication {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Fullsync, Self::Memsync, Self::Async];
        choose("replication", word, &all.map(|mode| (mode.as_str(), mode)))
    }
}

impl FromStr for Checksum {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::None, Self::Crc32, Self::Sha256];
        choose("checksum", word, &all.map(|kind| (kind.as_str(), kind)))
    }
}

impl FromStr for Compression {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::None, Self::Hole, Self::Lzf];
        choose("compression", word, &all.map(|kind| (kind.as_str(), kind)))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn words_and_numbers_of_the_choices_agree() {
        for role in [Role::Init, Role::Primary, Role::Secondary] {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(Role::from_code(role.code()), Ok(role));
        }
        for source in [SyncSource::Primary, SyncSource::Secondary] {
            assert_eq!(SyncSource::from_code(source.code()), Ok(source));
        }
        assert!(Role::from_code(0).is_err() && Role::from_code(4).is_err());
        assert!(SyncSource::from_code(0).is_err() && SyncSource::from_code(3).is_err());
        for mode in [
            Replication::Fullsync,
            Replication::Memsync,
            Replication::Async,
        ] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for kind in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for kind in [Compression::None, Compression::Hole, Compression::Lzf] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "md5".parse::<Checksum>().unwrap_err();
        assert_eq!(error.to_string(), "unknown checksum \"md5\"");
        let error = "\u{1}longer than any word".parse::<Role>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown role \"\\x01longer than any...\""
        );
    }
}

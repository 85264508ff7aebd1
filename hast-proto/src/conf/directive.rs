//! The directives, where each may stand and what it takes (HAST §8.3).

use core::fmt;

/// A section of a configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these four levels")]
pub enum Scope {
    /// Outside all braces.
    Global,
    /// In an `on` section outside any resource.
    Node,
    /// In a `resource` section.
    Resource,
    /// In an `on` section of a resource.
    ResourceNode,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "the global level",
            Self::Node => "an `on` section outside resources",
            Self::Resource => "a `resource` section",
            Self::ResourceNode => "an `on` section of a resource",
        })
    }
}

/// What a directive takes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Takes {
    /// An address.
    Address,
    /// The word `none` or an address.
    AddressOrNone,
    /// A path.
    Path,
    /// A name.
    Name,
    /// A decimal number.
    Number,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A name and a section in braces.
    Section,
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an address"),
            Self::AddressOrNone => f.write_str("an address or `none`"),
            Self::Path => f.write_str("a path"),
            Self::Name | Self::Section => f.write_str("a name"),
            Self::Number => f.write_str("a number"),
            Self::OneOf(words) => {
                for (i, word) in words.iter().enumerate() {
                    let before = match i {
                        0 => "",
                        _ if i.saturating_add(1) == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}`{word}`")?;
                }
                Ok(())
            }
        }
    }
}

/// A directive of the configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Directive {
    /// `control`
    Control,
    /// `pidfile`
    PidFile,
    /// `listen`
    Listen,
    /// `replication`
    Replication,
    /// `checksum`
    Checksum,
    /// `compression`
    Compression,
    /// `timeout`
    Timeout,
    /// `exec`
    Exec,
    /// `metaflush`
    MetaFlush,
    /// `on`
    On,
    /// `resource`
    Resource,
    /// `name`
    Name,
    /// `local`
    Local,
    /// `remote`
    Remote,
    /// `source`
    Source,
    /// `tls`, an extension
    Tls,
    /// `tlscert`, an extension
    TlsCertificate,
    /// `tlskey`, an extension
    TlsKey,
    /// `tlsca`, an extension
    TlsAuthority,
    /// `tlspeer`, an extension
    TlsPeer,
    /// `arbiter`, an extension
    Arbiter,
    /// `requestsize`, an extension
    RequestSize,
}

impl Directive {
    /// All of them, those of FreeBSD first.
    pub const ALL: [Self; 22] = [
        Self::Control,
        Self::PidFile,
        Self::Listen,
        Self::Replication,
        Self::Checksum,
        Self::Compression,
        Self::Timeout,
        Self::Exec,
        Self::MetaFlush,
        Self::On,
        Self::Resource,
        Self::Name,
        Self::Local,
        Self::Remote,
        Self::Source,
        Self::Tls,
        Self::TlsCertificate,
        Self::TlsKey,
        Self::TlsAuthority,
        Self::TlsPeer,
        Self::Arbiter,
        Self::RequestSize,
    ];

    /// Returns the directive's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::PidFile => "pidfile",
            Self::Listen => "listen",
            Self::Replication => "replication",
            Self::Checksum => "checksum",
            Self::Compression => "compression",
            Self::Timeout => "timeout",
            Self::Exec => "exec",
            Self::MetaFlush => "metaflush",
            Self::On => "on",
            Self::Resource => "resource",
            Self::Name => "name",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Source => "source",
            Self::Tls => "tls",
            Self::TlsCertificate => "tlscert",
            Self::TlsKey => "tlskey",
            Self::TlsAuthority => "tlsca",
            Self::TlsPeer => "tlspeer",
            Self::Arbiter => "arbiter",
            Self::RequestSize => "requestsize",
        }
    }

    /// Returns where the directive may stand.
    #[must_use]
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Control
            | Self::PidFile
            | Self::Listen
            | Self::TlsCertificate
            | Self::TlsKey
            | Self::TlsAuthority => &[Scope::Global, Scope::Node],
            Self::Replication
            | Self::Checksum
            | Self::Compression
            | Self::Timeout
            | Self::Exec
            | Self::Tls
            | Self::Arbiter
            | Self::RequestSize => &[Scope::Global, Scope::Resource],
            Self::MetaFlush => &[Scope::Global, Scope::Resource, Scope::ResourceNode],
            Self::On => &[Scope::Global, Scope::Resource],
            Self::Resource => &[Scope::Global],
            Self::Name | Self::Local => &[Scope::Resource, Scope::ResourceNode],
            Self::Remote | Self::Source | Self::TlsPeer => &[Scope::ResourceNode],
        }
    }

    /// Returns what the directive takes.
    #[must_use]
    pub const fn takes(self) -> Takes {
        match self {
            Self::Control | Self::Listen | Self::Source => Takes::Address,
            Self::PidFile
            | Self::Exec
            | Self::Local
            | Self::TlsCertificate
            | Self::TlsKey
            | Self::TlsAuthority => Takes::Path,
            Self::Replication => Takes::OneOf(&["fullsync", "memsync", "async"]),
            Self::Checksum => Takes::OneOf(&["none", "crc32", "sha256"]),
            Self::Compression => Takes::OneOf(&["none", "hole", "lzf"]),
            Self::Timeout | Self::RequestSize => Takes::Number,
            Self::MetaFlush | Self::Tls => Takes::OneOf(&["on", "off"]),
            Self::On | Self::Resource => Takes::Section,
            Self::Name | Self::TlsPeer => Takes::Name,
            Self::Remote | Self::Arbiter => Takes::AddressOrNone,
        }
    }

    /// Returns whether FreeBSD's parser does not know the directive: it refuses a file that
    /// has it, with a syntax error at this very word.
    #[must_use]
    pub const fn is_extension(self) -> bool {
        matches!(
            self,
            Self::Tls
                | Self::TlsCertificate
                | Self::TlsKey
                | Self::TlsAuthority
                | Self::TlsPeer
                | Self::Arbiter
                | Self::RequestSize
        )
    }

    /// Returns the directive whose word is `word`, which is compared with regard to case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// Returns the directive that was probably meant by `word`: the same in another case, or
    /// one that a slip of the finger away.
    pub(super) fn like(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| word.eq_ignore_ascii_case(known.word()))
            .or_else(|| {
                Self::ALL
                    .into_iter()
                    .find(|known| is_slip(known.word(), word))
            })
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Returns whether `typed` is `word`, of at least five letters, with one letter wrong,
/// missing, too many, or two neighbours exchanged.
fn is_slip(word: &str, typed: &str) -> bool {
    let (word, typed) = (word.as_bytes(), typed.as_bytes());
    if word.len() < 5 || word.len().abs_diff(typed.len()) > 1 {
        return false;
    }
    let same = word.iter().zip(typed).take_while(|(a, b)| a == b).count();
    let after = |text: &[u8], skip: usize| -> alloc::vec::Vec<u8> {
        text.iter()
            .skip(same.saturating_add(skip))
            .copied()
            .collect()
    };
    let exchanged = || {
        let mut pair = after(typed, 0);
        if pair.len() >= 2 {
            pair.swap(0, 1);
        }
        pair
    };
    after(word, 1) == after(typed, 1)
        || after(word, 1) == after(typed, 0)
        || after(word, 0) == after(typed, 1)
        || after(word, 0) == exchanged()
}

//! What a configuration says of a virtual host: its addresses, its secret, and whose rules it
//! follows.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::str::FromStr;
use std::path::Path;

use ha_core::carp_proto::vrrp::Vrrp;
use ha_core::carp_proto::{Dialect, FreeBsd, Key, OpenBsd, UCarp};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::read;

/// How much of a file of a passphrase is read.
const MAX_PASSPHRASE_FILE: u64 = 512;

/// A shared address, and how long its prefix is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shared {
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// `ADDRESS/LENGTH`, or an address alone, which then is a prefix of its own.
impl FromStr for Shared {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{text:?} is not an address"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match length.map(u8::from_str) {
            None => longest,
            Some(Ok(length)) if (1..=longest).contains(&length) => length,
            Some(_) => {
                return Err(format!(
                    "the prefix length of {text:?} is outside 1..={longest}"
                ));
            }
        };
        if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            return Err(format!("{address} cannot be shared"));
        }
        Ok(Self {
            address,
            prefix_len,
        })
    }
}

/// What the hosts of a group share as a secret. It is wiped when dropped and never shown.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes what peers take, which is no more than 19 bytes: BSD's `ifconfig` would cut off
    /// the rest without a word, and ucarp refuse to start.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, String> {
        match bytes.len() {
            0..=Key::PASSPHRASE_LEN => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            length => Err(format!(
                "the passphrase has {length} bytes, and peers take {} at most",
                Key::PASSPHRASE_LEN
            )),
        }
    }

    /// Makes the first line of a file a passphrase.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read::octets(path, MAX_PASSPHRASE_FILE)?;
        Self::first_line(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Takes the first line of a text.
    fn first_line(text: &[u8]) -> Result<Self, String> {
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn key(&self) -> Key {
        Key::from_passphrase(&self.0)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A string, whose text no error shows.
pub(crate) fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(Zeroizing::new(text))),
        other => Err(serde::de::Error::custom(format!(
            "the passphrase is not a string but of type {}",
            other.type_str()
        ))),
    }
}

/// Whose rules are followed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rules {
    #[default]
    Freebsd,
    Freebsd10,
    Openbsd,
    OpenbsdOld,
    Ucarp,
    Vrrp,
    VrrpFreebsd,
}

impl Rules {
    /// The rules of VRRP, if it is that.
    pub(crate) fn vrrp(self) -> Option<Vrrp> {
        match self {
            Self::Vrrp => Some(Vrrp::Rfc9568),
            Self::VrrpFreebsd => Some(Vrrp::FreeBsd15),
            _ => None,
        }
    }

    /// The rules as the machine knows them; `dead_ratio` is for those of ucarp.
    pub(crate) fn dialect(self, dead_ratio: Option<NonZeroU8>) -> Dialect {
        match self {
            Self::Freebsd10 => Dialect::FreeBsd(FreeBsd::From10To13),
            Self::Openbsd => Dialect::OpenBsd(OpenBsd::Since2025),
            Self::OpenbsdOld => Dialect::OpenBsd(OpenBsd::Before2025),
            Self::Ucarp => {
                let mut ucarp = UCarp::default();
                ucarp.dead_ratio = dead_ratio.unwrap_or(ucarp.dead_ratio);
                Dialect::UCarp(ucarp)
            }
            Self::Freebsd => Dialect::FreeBsd(FreeBsd::From14),
            Self::Vrrp => Dialect::Vrrp(Vrrp::Rfc9568),
            Self::VrrpFreebsd => Dialect::Vrrp(Vrrp::FreeBsd15),
        }
    }
}

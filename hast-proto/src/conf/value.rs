//! What the directives set.

use core::fmt;
use core::time::Duration;

use super::word::{Address, Name, NodeName, Path};
use crate::types::{Checksum, Compression, NumberError, Replication};

/// The seconds a connection may take to answer: 1 to 2147483647 (HAST §8.3).
///
/// FreeBSD narrows larger numbers to 32 bits, so that 4294967297 is one second there. Here
/// they are refused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timeout(u32);

impl Timeout {
    /// What holds unless configured: 20 seconds.
    pub const DEFAULT: Self = Self(20);
    /// The shortest one.
    pub const MIN: Self = Self(1);
    /// The longest one, as FreeBSD keeps it in a signed 32-bit number.
    pub const MAX: Self = Self(i32::MAX.unsigned_abs());

    /// Makes a timeout of whole seconds.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub const fn new(seconds: u32) -> Result<Self, NumberError> {
        if seconds < Self::MIN.0 || seconds > Self::MAX.0 {
            return Err(NumberError::Range {
                field: "timeout",
                value: seconds as u64,
                min: Self::MIN.0 as u64,
                max: Self::MAX.0 as u64,
            });
        }
        Ok(Self(seconds))
    }

    /// Returns the seconds.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl Default for Timeout {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most octets of data in one request that this node sends: a power of two from
/// 4 KiB to 1 MiB, of the directive `requestsize`.
///
/// Nothing in the handshake tells what the peer takes (HAST §13), so it is to be configured.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestSize(u32);

impl RequestSize {
    /// What holds unless configured, and what every peer takes: 128 KiB.
    pub const DEFAULT: Self = Self(128 * 1024);
    /// The least one, a page and the largest common sector: 4 KiB.
    pub const MIN: Self = Self(4 * 1024);
    /// The greatest one, which FreeBSD 13 and later take on 64-bit machines: 1 MiB.
    pub const MAX: Self = Self(1024 * 1024);

    /// Makes a request size.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX), and
    /// [`NumberError::PowerOfTwo`] if it is no power of two.
    pub const fn new(octets: u32) -> Result<Self, NumberError> {
        if octets < Self::MIN.0 || octets > Self::MAX.0 {
            return Err(NumberError::Range {
                field: "requestsize",
                value: octets as u64,
                min: Self::MIN.0 as u64,
                max: Self::MAX.0 as u64,
            });
        }
        if !octets.is_power_of_two() {
            return Err(NumberError::PowerOfTwo {
                field: "requestsize",
                value: octets as u64,
            });
        }
        Ok(Self(octets))
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for RequestSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for RequestSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a switch has two positions")]
pub enum Switch {
    /// `on`
    On,
    /// `off`
    Off,
}

impl Switch {
    /// Returns whether it is on.
    #[must_use]
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "on" } else { "off" })
    }
}

/// An address, or the word `none`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these two")]
pub enum AddressOrNone {
    /// `none`
    None,
    /// An address.
    Address(Address),
}

impl AddressOrNone {
    /// Returns the address, if there is one.
    #[must_use]
    pub const fn address(&self) -> Option<&Address> {
        match self {
            Self::None => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for AddressOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What concerns a node as a whole, at the global level or for one node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NodeSetting {
    /// `control`: where the daemon takes orders.
    Control(Address),
    /// `pidfile`: where the daemon writes its process id.
    PidFile(Path),
    /// `listen`: where the daemon takes connections of primaries.
    Listen(Address),
    /// `tlscert`, an extension: this node's certificate.
    TlsCertificate(Path),
    /// `tlskey`, an extension: this node's private key.
    TlsKey(Path),
    /// `tlsca`, an extension: the authorities that vouch for peers.
    TlsAuthority(Path),
}

/// What concerns resources, all of them at the global level or one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResourceSetting {
    /// `replication`: when a write is done.
    Replication(Replication),
    /// `checksum`: what protects the data sent.
    Checksum(Checksum),
    /// `compression`: how the data sent is made smaller.
    Compression(Compression),
    /// `timeout`: when a silent peer is given up.
    Timeout(Timeout),
    /// `exec`: what is run at every event.
    Exec(Path),
    /// `metaflush`: whether the local disk is told to flush its cache after metadata.
    MetaFlush(Switch),
    /// `tls`, an extension: whether the connections are inside mutual TLS.
    Tls(Switch),
    /// `arbiter`, an extension: a service that must grant the role of primary; `none` takes
    /// back those given so far.
    Arbiter(AddressOrNone),
    /// `requestsize`, an extension: the largest request sent.
    RequestSize(RequestSize),
}

/// Where a resource's data are and how its device is called, on all nodes or one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DeviceSetting {
    /// `name`: the device's name under `/dev/hast`.
    Name(Name),
    /// `local`: the provider below.
    Local(Path),
}

/// What is said in an `on` section of a resource.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PeerSetting {
    /// `name` or `local`.
    Device(DeviceSetting),
    /// `remote`: the other node, seen from this one.
    Remote(AddressOrNone),
    /// `source`: the address to connect from.
    Source(Address),
    /// `metaflush`, for this node.
    MetaFlush(Switch),
    /// `tlspeer`, an extension: the name that the peer's certificate must bear.
    TlsPeer(Name),
}

/// A section `on NAME { ... }` outside resources.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the grammar has nothing more")]
pub struct Node {
    /// Which node is meant.
    pub name: NodeName,
    /// What is set, in order.
    pub settings: alloc::vec::Vec<NodeSetting>,
}

/// A section `on NAME { ... }` of a resource.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the grammar has nothing more")]
pub struct ResourceNode {
    /// Which node is meant.
    pub name: NodeName,
    /// What is set, in order.
    pub settings: alloc::vec::Vec<PeerSetting>,
}

//! What an operator chooses for a resource.

use core::time::Duration;
use std::boxed::Box;

use hast_proto::conf::{DEFAULT_PORT, ResourceConfig};
use hast_proto::decision::GiveWay;
use hast_proto::{Checksum, Compression, primary};

use super::address::{AddressError, NetAddress};

/// The configuration of one resource on one node.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The name of its device, for the status only.
    pub device: Box<str>,
    /// What is below, for the status only.
    pub local: Box<str>,
    /// The other node; `None` if there is none, which is looked at when a role begins.
    /// Connections come only from there.
    pub remote: Option<NetAddress>,
    /// The address to connect from, if it matters.
    pub source: Option<NetAddress>,
    /// Who the peer must prove to be, in TLS; `None` if the connections are plain. See
    /// [`tls`](super::tls).
    #[cfg(feature = "tls")]
    pub tls: Option<super::tls::PeerName>,
    /// What protects the data that are sent.
    pub checksum: Checksum,
    /// How the data that are sent are made smaller.
    pub compression: Compression,
    /// Whether metadata and map are flushed to the disk after each write of them. Without, they
    /// survive the end of the program, but not a loss of power, and this node never gives way.
    pub metaflush: bool,
    /// What a primary does. Its `timeout` is that of the secondary and of connections, too; its
    /// `sector` and `partner` are not looked at, but taken from the provider and from `remote`.
    pub primary: primary::Config,
    /// How long a change of the role may take.
    pub role_change: Duration,
}

impl Settings {
    /// Takes what is usual for all but the names.
    #[must_use]
    pub fn new(device: &str, local: &str) -> Self {
        Self {
            device: device.into(),
            local: local.into(),
            remote: None,
            source: None,
            #[cfg(feature = "tls")]
            tls: None,
            checksum: Checksum::None,
            compression: Compression::Hole,
            metaflush: true,
            primary: primary::Config {
                // 400 MiB/s at a round trip of 10 ms are 4 MiB on the wire, and as much again
                // in queues and on disks.
                copy_window: 96,
                ..primary::Config::default()
            },
            role_change: Duration::from_secs(2),
        }
    }

    /// Whether this node gives way to its peer if it provably has no changes. Marks that a loss of
    /// power may have undone prove nothing.
    pub(super) const fn give_way(&self) -> GiveWay {
        match self.metaflush {
            true => self.primary.give_way,
            false => GiveWay::Never,
        }
    }

    /// Whether the peer is the same, reached in the same way.
    pub(super) fn is_same_peer(&self, other: &Self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls != other.tls {
            return false;
        }
        self.remote == other.remote && self.source == other.source
    }
}

/// Why a configuration makes no settings.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// An address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// `tlspeer`, or what stands for it, is no name.
    #[cfg(feature = "tls")]
    #[error("`tlspeer`: {0}")]
    PeerName(#[from] super::tls::PeerNameError),
    /// `tls` is on, for which this program has no feature.
    #[error("`tls`: this program was built without it")]
    NoTls,
}

impl TryFrom<&ResourceConfig> for Settings {
    type Error = SettingsError;

    fn try_from(config: &ResourceConfig) -> Result<Self, SettingsError> {
        let mut settings = Self::new(config.provider.as_str(), config.local.as_str());
        let parse =
            |address: &hast_proto::conf::Address, port| NetAddress::parse(address.as_str(), port);
        settings.remote = config
            .remote
            .as_ref()
            .map(|remote| parse(remote, DEFAULT_PORT))
            .transpose()?;
        settings.source = config
            .source
            .as_ref()
            .map(|source| parse(source, 0))
            .transpose()?;
        #[cfg(feature = "tls")]
        if config.tls.is_on() {
            settings.tls = peer_name(config, settings.remote.as_ref())?;
        }
        #[cfg(not(feature = "tls"))]
        if config.tls.is_on() {
            return Err(SettingsError::NoTls);
        }
        settings.checksum = config.checksum;
        settings.compression = config.compression;
        settings.metaflush = config.metaflush.is_on();
        settings.primary.replication = config.replication;
        settings.primary.request_size = config.request_size;
        settings.primary.timeout = Duration::from_secs(config.timeout.get().into());
        Ok(settings)
    }
}

/// Returns who the peer must prove to be: `tlspeer`, or the host in `remote`. Without a peer
/// nobody can be.
#[cfg(feature = "tls")]
fn peer_name(
    config: &ResourceConfig,
    remote: Option<&NetAddress>,
) -> Result<Option<super::tls::PeerName>, super::tls::PeerNameError> {
    use super::tls::PeerName;

    let given = config.tls_peer.as_ref();
    let name = given.map(|name| PeerName::parse(name.as_str()));
    let host = || remote.map(|remote| PeerName::parse(&remote.host()));
    name.or_else(host).transpose()
}

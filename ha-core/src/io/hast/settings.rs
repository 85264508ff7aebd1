//! What an operator chooses for a resource.

use core::time::Duration;
use std::boxed::Box;

use hast_proto::conf::{DEFAULT_PORT, ResourceConfig};
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
    /// What protects the data that are sent.
    pub checksum: Checksum,
    /// How the data that are sent are made smaller.
    pub compression: Compression,
    /// Whether metadata and map are flushed to the disk after each write of them. Without, they
    /// survive the end of the program, but not a loss of power.
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
}

impl TryFrom<&ResourceConfig> for Settings {
    type Error = AddressError;

    fn try_from(config: &ResourceConfig) -> Result<Self, AddressError> {
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
        settings.checksum = config.checksum;
        settings.compression = config.compression;
        settings.metaflush = config.metaflush.is_on();
        settings.primary.replication = config.replication;
        settings.primary.request_size = config.request_size;
        settings.primary.timeout = Duration::from_secs(config.timeout.get().into());
        Ok(settings)
    }
}

//! What runs on this node.

use std::sync::Arc;

use ha_core::io::HostId;
use ha_core::io::failover::UnitHandle;
use ha_core::io::hast::Resource;

/// A unit at work, for whoever asks or commands it.
#[derive(Clone, Debug)]
pub(crate) struct UnitRuntime {
    pub(crate) name: Arc<str>,
    pub(crate) unit: UnitHandle,
    /// Its replicated storage, if it has some.
    pub(crate) resource: Option<Resource>,
    /// Its groups of addresses, in the order of the file.
    pub(crate) groups: Vec<GroupRuntime>,
}

/// A group of addresses at work.
#[derive(Clone, Debug)]
pub(crate) struct GroupRuntime {
    /// The virtual host in the status of the driver.
    pub(crate) host: HostId,
    pub(crate) interface: Arc<str>,
    /// The addresses with the lengths of their prefixes.
    pub(crate) addresses: Vec<(core::net::IpAddr, u8)>,
}

//! How the virtual hosts of an interface are reached.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use ha_core::carp_proto::vrrp::Vrrp;
use ha_core::carp_proto::{Family, UnknownLink, Vhid};
use ha_core::io::linux::{EthernetSource, GroupOptions, Multicast, TransportOptions};
use serde::Deserialize;

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Interface {
    /// Whether a master's advertisements come from the virtual MAC address.
    pub(crate) virtual_mac: bool,
    /// Whether advertisements go out as Ethernet broadcasts (`ucarp -M`).
    pub(crate) broadcast: bool,
    /// The IPv4 group, if not the usual one (`ucarp --mcast`).
    pub(crate) group: Option<Ipv4Addr>,
    /// Source addresses of advertisements, one of a family; otherwise those of the interface.
    pub(crate) sources: Vec<IpAddr>,
    /// What a link is taken for that does not say whether it is up.
    pub(crate) unknown_link: UnknownLink,
    /// Whether it does not matter that there is no carrier (`ucarp -S`).
    pub(crate) ignore_carrier: bool,
}

impl Default for Interface {
    fn default() -> Self {
        Self {
            virtual_mac: true,
            broadcast: false,
            group: None,
            sources: Vec::new(),
            unknown_link: UnknownLink::Up,
            ignore_carrier: false,
        }
    }
}

/// The same as a file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawInterface {
    pub(crate) name: String,
    #[serde(default = "yes")]
    virtual_mac: bool,
    #[serde(default)]
    source: Vec<IpAddr>,
    #[serde(default)]
    unknown_link: RawLink,
    #[serde(default)]
    ignore_carrier: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawLink {
    #[default]
    Up,
    Down,
}

/// The default of what is on unless it is turned off.
pub(crate) fn yes() -> bool {
    true
}

impl From<RawInterface> for Interface {
    fn from(raw: RawInterface) -> Self {
        Self {
            virtual_mac: raw.virtual_mac,
            sources: raw.source,
            unknown_link: match raw.unknown_link {
                RawLink::Up => UnknownLink::Up,
                RawLink::Down => UnknownLink::Down,
            },
            ignore_carrier: raw.ignore_carrier,
            ..Self::default()
        }
    }
}

/// How the hosts of an interface are reached: all that its transport has to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reach {
    pub(crate) interface: Interface,
    /// Those of the addresses that are shared there.
    pub(crate) families: Vec<Family>,
    /// Of the groups that are not reached by multicast alone, or not by CARP's.
    pub(crate) groups: BTreeMap<Vhid, Group>,
}

/// How one group is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Group {
    pub(crate) multicast: bool,
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) protocol: Option<Vrrp>,
}

impl Reach {
    /// What the transport is told.
    pub(crate) fn options(&self) -> TransportOptions {
        let mut options = TransportOptions::default();
        options.group_v4 = self.interface.group.unwrap_or(options.group_v4);
        options.families.clone_from(&self.families);
        for source in &self.interface.sources {
            match source {
                IpAddr::V4(source) => options.source_v4 = Some(*source),
                IpAddr::V6(source) => options.source_v6 = Some(*source),
            }
        }
        let plain = Group {
            multicast: true,
            peers: Vec::new(),
            protocol: None,
        };
        options.group = group_options(&self.interface, &plain);
        let groups = self.groups.iter();
        options.groups = groups
            .map(|(vhid, group)| (*vhid, group_options(&self.interface, group)))
            .collect();
        options
    }
}

fn group_options(interface: &Interface, group: &Group) -> GroupOptions {
    let mut options = GroupOptions::default();
    options.multicast = match (group.multicast, interface.broadcast) {
        (false, _) => Multicast::Off,
        (true, true) => Multicast::Broadcast,
        (true, false) => Multicast::On,
    };
    options.peers.clone_from(&group.peers);
    options.ethernet_source = match (interface.virtual_mac, group.protocol) {
        (false, _) => EthernetSource::Interface,
        (true, Some(Vrrp::Rfc9568)) => EthernetSource::Rfc9568,
        (true, _) => EthernetSource::Virtual,
    };
    options
}

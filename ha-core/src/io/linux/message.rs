//! The few messages of rtnetlink that are needed, as requests and as what they tell.

use core::net::IpAddr;
use core::num::NonZeroU32;
use std::string::ToString;
use std::vec::Vec;

use carp_proto::{Interface, InterfaceName, MacAddr};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage, MacVlanMode, State,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::rtnl::Request;

/// The lifetime of what stays.
const FOREVER: u32 = u32::MAX;

/// An address and where it is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) device: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

/// Adds an address, or gives it a new lifetime if it is there.
pub(super) fn add_address(place: Place, lifetime: Option<NonZeroU32>, routed: bool) -> Request {
    let mut message = address_message(place);
    let mut flags = AddressFlags::Nodad;
    let is_single = place.prefix == bits(place.address);
    if !routed || (is_single && place.address.is_ipv6()) {
        flags |= AddressFlags::Noprefixroute;
    }
    let mut cache = CacheInfo::default();
    cache.ifa_valid = lifetime.map_or(FOREVER, NonZeroU32::get);
    // Connections of this machine to others had better not come from an address that moves.
    // FreeBSD prefers others, too (CARP §5.2); IPv4 knows no such preference.
    cache.ifa_preferred = if place.address.is_ipv6() {
        0
    } else {
        cache.ifa_valid
    };
    message.attributes.extend([
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(cache),
    ]);
    (
        RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

/// Adds an address only if it is not there.
pub(super) fn add_new_address(place: Place, lifetime: Option<NonZeroU32>, routed: bool) -> Request {
    let (message, _) = add_address(place, lifetime, routed);
    (message, NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes an address that has just this length of its prefix.
pub(super) fn remove_place(place: Place) -> Request {
    (RouteNetlinkMessage::DelAddress(address_message(place)), 0)
}

/// Removes an address: one of IPv4, of those that are there with prefixes of several lengths,
/// the first; one of IPv6 if its prefix has this length.
pub(super) fn remove_address(place: Place) -> Request {
    let mut message = address_message(place);
    if place.address.is_ipv4() {
        message.attributes.truncate(1);
    }
    (RouteNetlinkMessage::DelAddress(message), 0)
}

/// Asks for one IPv6 address, whatever the length of its prefix.
pub(super) fn address_at(place: Place) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(address_message(place))
}

fn address_message(place: Place) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match place.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = place.prefix;
    message.header.index = place.device;
    message.header.scope = match place.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message.attributes = [
        AddressAttribute::Local(place.address),
        AddressAttribute::Address(place.address),
    ]
    .into();
    message
}

/// The length of an address in bits.
pub(super) fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

pub(super) fn all_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

pub(super) fn all_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

pub(super) fn link_named(name: InterfaceName) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.as_str().to_string()));
    RouteNetlinkMessage::GetLink(message)
}

pub(super) fn add_macvlan(name: InterfaceName, parent: u32, mac: MacAddr) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = [
        LinkAttribute::IfName(name.as_str().to_string()),
        LinkAttribute::Link(parent),
        LinkAttribute::Address(mac.0.into()),
        LinkAttribute::LinkInfo(
            [
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(
                    // In the private mode the interface below would not hear another master
                    // that sends from the same MAC.
                    [InfoMacVlan::Mode(MacVlanMode::Bridge)].into(),
                )),
            ]
            .into(),
        ),
    ]
    .into();
    (
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

pub(super) fn switch_link(index: u32, is_up: bool) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if is_up {
        message.header.flags = LinkFlags::Up;
    }
    (RouteNetlinkMessage::SetLink(message), 0)
}

pub(super) fn remove_link(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    (RouteNetlinkMessage::DelLink(message), 0)
}

/// What is known of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LinkState {
    pub(super) index: u32,
    pub(super) name: Option<InterfaceName>,
    pub(super) mac: Option<MacAddr>,
    pub(super) state: Interface,
    /// The interface below, if this is a macvlan.
    pub(super) macvlan_on: Option<u32>,
}

impl LinkState {
    pub(super) fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: None,
            mac: None,
            state: Interface::Down,
            macvlan_on: None,
        };
        let mut operational = State::Unknown;
        let mut below = None;
        let mut is_macvlan = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = InterfaceName::new(name).ok(),
                LinkAttribute::Address(mac) => {
                    link.mac = mac.as_slice().try_into().ok().map(MacAddr);
                }
                LinkAttribute::OperState(state) => operational = *state,
                LinkAttribute::Link(index) => below = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    is_macvlan = infos.contains(&LinkInfo::Kind(InfoKind::MacVlan));
                }
                _ => {}
            }
        }
        let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        link.mac = link.mac.filter(|_| is_ethernet);
        link.state = interface(message.header.flags, operational);
        link.macvlan_on = below.filter(|_| is_macvlan);
        link
    }
}

/// CARP §9.26: an interface whose driver does not tell about its carrier is up, as far as Linux
/// knows; whether it counts as such is for the virtual host to say.
fn interface(flags: LinkFlags, operational: State) -> Interface {
    if !flags.contains(LinkFlags::Up) {
        return Interface::Down;
    }
    let has_carrier = flags.contains(LinkFlags::LowerUp);
    match operational {
        State::Up => Interface::Up,
        State::Unknown if has_carrier => Interface::Unknown,
        _ => Interface::NoCarrier,
    }
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct AddressState {
    pub(super) place: Place,
    /// Whether it can be sent from: not tentative, and no duplicate.
    pub(super) is_usable: bool,
}

impl AddressState {
    pub(super) fn of(message: &AddressMessage) -> Option<Self> {
        let attribute = |find: fn(&AddressAttribute) -> Option<IpAddr>| {
            message.attributes.iter().find_map(find)
        };
        // On a point-to-point link the other attribute is the peer's.
        let local = attribute(|a| match a {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            attribute(|a| match a {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        })?;
        let flags = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
        let is_usable = flags.is_none_or(|flags| {
            !flags.intersects(unusable) || flags.contains(AddressFlags::Optimistic)
        });
        Some(Self {
            place: Place {
                device: message.header.index,
                address,
                prefix: message.header.prefix_len,
            },
            is_usable,
        })
    }

    pub(super) fn all(messages: &[RouteNetlinkMessage]) -> Vec<Self> {
        let parse = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewAddress(message) => Self::of(message),
            _ => None,
        };
        messages.iter().filter_map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_an_interface_is_that_of_flags_and_carrier() {
        let up = LinkFlags::Up;
        let carrier = LinkFlags::Up | LinkFlags::LowerUp;
        assert_eq!(interface(LinkFlags::LowerUp, State::Up), Interface::Down);
        assert_eq!(interface(carrier, State::Up), Interface::Up);
        assert_eq!(interface(carrier, State::Unknown), Interface::Unknown);
        assert_eq!(interface(up, State::Unknown), Interface::NoCarrier);
        assert_eq!(interface(up, State::Down), Interface::NoCarrier);
        assert_eq!(interface(up, State::LowerLayerDown), Interface::NoCarrier);
        assert_eq!(interface(carrier, State::Dormant), Interface::NoCarrier);
    }
}

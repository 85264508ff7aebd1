//! An interface with the virtual MAC on top of another, so that the MAC moves with the address.

use std::format;

use carp_proto::{Family, InterfaceName, MacAddr, Vhid};
use libc::{EEXIST, ENODEV};
use netlink_packet_route::RouteNetlinkMessage;

use super::message::{self, LinkState};
use super::rtnl::Rtnl;
use super::{Action, Leftover, LinuxError, MacvlanOptions, sysctl};

/// A macvlan interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Macvlan {
    pub(super) index: u32,
    pub(super) name: InterfaceName,
    pub(super) mac: MacAddr,
}

/// Parameters of the interface below as they were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Below {
    arp_ignore: Option<u32>,
    arp_announce: Option<u32>,
}

impl Macvlan {
    /// Makes the interface anew, and leaves it down. One that is left from before is removed,
    /// with all that is on it, or taken over as it is.
    pub(super) fn open(
        rtnl: &mut Rtnl,
        vhid: Vhid,
        options: &MacvlanOptions,
        leftover: Leftover,
        parent: (InterfaceName, u32),
    ) -> Result<Self, LinuxError> {
        let (below, index) = parent;
        let name = match options.name {
            Some(name) => name,
            // At most 4 + 3 + 1 + 7 bytes up to number 9,999,999.
            None => InterfaceName::new(&format!("carp{vhid}.{index}"))
                .map_err(|_| LinuxError::NoInterface { interface: below })?,
        };
        let mac = options.mac.unwrap_or_else(|| vhid.mac());
        let failed = |action, source| LinuxError::Link {
            action,
            interface: name,
            source,
        };
        if let Some(link) = link(rtnl, name)? {
            if link.macvlan_on != Some(index) {
                return Err(LinuxError::NotOurMacvlan {
                    interface: name,
                    parent: below,
                });
            }
            if leftover == Leftover::Keep && link.mac == Some(mac) {
                let index = link.index;
                return Ok(Self { index, name, mac });
            }
            rtnl.order(message::remove_link(link.index))?
                .map_err(|source| failed(Action::Remove, source))?;
        }
        let made = rtnl.order(message::add_macvlan(name, index, mac))?;
        made.map_err(|source| match source.raw_os_error() {
            Some(EEXIST) => LinuxError::NotOurMacvlan {
                interface: name,
                parent: below,
            },
            _ => failed(Action::Add, source),
        })?;
        let link = link(rtnl, name)?.ok_or(LinuxError::NoInterface { interface: name })?;
        let macvlan = Self {
            index: link.index,
            name,
            mac,
        };
        macvlan.set_parameters()?;
        Ok(macvlan)
    }

    fn set_parameters(&self) -> Result<(), LinuxError> {
        // Only for its own address it answers, not for those of other interfaces.
        sysctl::write(Family::V4, self.name, "arp_ignore", 1)?;
        // Its addresses do not depend on each other.
        sysctl::write(Family::V4, self.name, "promote_secondaries", 1)?;
        // Answers leave by the interface below, where the network is.
        sysctl::write(Family::V4, self.name, "rp_filter", 2)?;
        // No address but the shared ones, neither a link-local one nor by a router's word.
        sysctl::write(Family::V6, self.name, "addr_gen_mode", 1)?;
        sysctl::write(Family::V6, self.name, "accept_ra", 0)
    }

    pub(super) fn switch(&self, rtnl: &mut Rtnl, is_up: bool) -> Result<(), LinuxError> {
        let result = rtnl.order(message::switch_link(self.index, is_up))?;
        match result {
            // Gone with the interface below.
            Err(error) if !is_up && error.raw_os_error() == Some(ENODEV) => Ok(()),
            result => result.map_err(|source| LinuxError::Link {
                action: Action::Switch,
                interface: self.name,
                source,
            }),
        }
    }

    pub(super) fn remove(&self, rtnl: &mut Rtnl) {
        // Whatever prevents it, nobody is left to be told.
        let _ = rtnl.order(message::remove_link(self.index));
    }
}

impl Below {
    /// Has the interface below say nothing by ARP about the addresses above it, with its own
    /// MAC.
    pub(super) fn set(interface: InterfaceName) -> Result<Self, LinuxError> {
        let raise = |name, value| {
            let before = sysctl::read(Family::V4, interface, name)?;
            if before.is_some_and(|before| before < value) {
                sysctl::write(Family::V4, interface, name, value)?;
                return Ok(before);
            }
            Ok(None)
        };
        Ok(Self {
            // It answers for its own addresses only,
            arp_ignore: raise("arp_ignore", 1)?,
            // and asks as nobody but itself.
            arp_announce: raise("arp_announce", 2)?,
        })
    }

    pub(super) fn restore(self, interface: InterfaceName) {
        let values = [
            ("arp_ignore", self.arp_ignore),
            ("arp_announce", self.arp_announce),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                // Whatever prevents it, nobody is left to be told.
                let _ = sysctl::write(Family::V4, interface, name, value);
            }
        }
    }
}

/// Asks for an interface.
pub(super) fn link(rtnl: &mut Rtnl, name: InterfaceName) -> Result<Option<LinkState>, LinuxError> {
    let answer = rtnl.ask(message::link_named(name))?;
    Ok(match answer {
        Some(RouteNetlinkMessage::NewLink(message)) => Some(LinkState::of(&message)),
        _ => None,
    })
}

//! What is known of one interface, shared by all who deal with it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use carp_proto::{Family, Interface, InterfaceName, MacAddr, Vhid};
use socket2::Socket;

use super::macvlan::{Below, Macvlan};
use super::message::{AddressState, LinkState, Place, bits};
use super::promote::Promoting;
use super::socket::{SocketSetup, Sockets};
use super::{MacvlanOptions, ReceiveStats};

/// An interface, by its name.
#[derive(Debug)]
pub(super) struct Card {
    name: InterfaceName,
    /// Whether new sockets wait to be taken over; asked for each packet.
    has_fresh_sockets: AtomicBool,
    facts: Mutex<Facts>,
}

/// What may change.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its number; 0 while it does not exist.
    pub(super) index: u32,
    pub(super) mac: MacAddr,
    pub(super) state: Interface,
    /// The addresses that are not shared, in the kernel's order.
    pub(super) own: Vec<IpAddr>,
    /// The virtual hosts whose addresses are put on it.
    pub(super) hosts: BTreeMap<Vhid, HostFacts>,
    /// What a transport had opened, to open it again.
    pub(super) setup: Option<Arc<SocketSetup>>,
    fresh: Option<Sockets>,
    /// What the macvlans on it changed.
    pub(super) below: Option<Below>,
    /// What the shared addresses on itself changed.
    pub(super) promoting: Option<Promoting>,
    /// By which announcements are sent.
    pub(super) packet: Option<Arc<Socket>>,
    source_v4: Source,
    source_v6: Source,
    stats: ReceiveStats,
}

/// From where packets of a family are sent.
#[derive(Clone, Copy, Debug)]
struct Source {
    address: IpAddr,
    /// Whether it is no shared one, so that receivers can tell us from others.
    is_own: bool,
}

/// The addresses of one virtual host.
#[derive(Debug)]
pub(super) struct HostFacts {
    /// All that are or were shared, with the lengths of their prefixes.
    pub(super) prefixes: BTreeMap<IpAddr, u8>,
    pub(super) lifetime: Option<NonZeroU32>,
    pub(super) macvlan: Option<Macvlan>,
    /// How to make that again.
    pub(super) macvlan_options: Option<MacvlanOptions>,
    /// What is served now, with the lengths of the prefixes that it was added with.
    pub(super) served: BTreeMap<IpAddr, u8>,
    /// Whether it was decided to serve no longer, though it may not be done yet.
    pub(super) is_leaving: bool,
    /// What somebody else added and is known.
    pub(super) foreign: BTreeSet<IpAddr>,
}

impl HostFacts {
    /// Where an address of this host is to be, on an interface of this number.
    pub(super) fn place(&self, index: u32, address: IpAddr) -> Place {
        Place {
            device: self.device(index),
            address,
            prefix: self.prefix(address),
        }
    }

    /// Where an address of this host was put, whatever was chosen since.
    pub(super) fn served_at(&self, index: u32, address: IpAddr) -> Place {
        let place = self.place(index, address);
        let prefix = self.served.get(&address).copied();
        Place {
            prefix: prefix.unwrap_or(place.prefix),
            ..place
        }
    }

    pub(super) fn prefix(&self, address: IpAddr) -> u8 {
        let known = self.prefixes.get(&address).copied();
        known.unwrap_or_else(|| bits(address))
    }

    /// Where addresses of `wanted` are with other lengths than they are to have.
    pub(super) fn outdated(&self, index: u32, wanted: &[IpAddr]) -> Vec<Place> {
        let served = self.served.iter().map(|(address, prefix)| Place {
            device: self.device(index),
            address: *address,
            prefix: *prefix,
        });
        served
            .filter(|p| wanted.contains(&p.address) && p.prefix != self.prefix(p.address))
            .collect()
    }

    /// The number of the interface that has the addresses.
    pub(super) fn device(&self, index: u32) -> u32 {
        self.macvlan.as_ref().map_or(index, |macvlan| macvlan.index)
    }

    /// Whether the interface has a route to the whole prefix.
    pub(super) fn is_routed(&self) -> bool {
        self.macvlan.is_none()
    }

    /// What is to be kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = IpAddr> {
        let kept = (!self.is_leaving).then_some(&self.served);
        kept.into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// Whether an address is to be kept.
    pub(super) fn keeps(&self, address: IpAddr) -> bool {
        !self.is_leaving && self.served.contains_key(&address)
    }
}

impl Card {
    pub(super) fn new(name: InterfaceName) -> Self {
        let mut facts = Facts {
            index: 0,
            mac: MacAddr([0; 6]),
            state: Interface::Down,
            own: Vec::new(),
            hosts: BTreeMap::new(),
            setup: None,
            fresh: None,
            below: None,
            promoting: None,
            packet: None,
            source_v4: Source::none(Family::V4),
            source_v6: Source::none(Family::V6),
            stats: ReceiveStats::default(),
        };
        facts.choose_sources();
        Self {
            name,
            has_fresh_sockets: AtomicBool::new(false),
            facts: Mutex::new(facts),
        }
    }

    pub(super) fn name(&self) -> InterfaceName {
        self.name
    }

    /// Locks what is known, for a moment.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        // Nothing that is done under the lock leaves it half done.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> u32 {
        self.facts().index
    }

    /// From where to send, by IP and by Ethernet.
    pub(super) fn source_and_mac(&self, family: Family) -> (IpAddr, MacAddr) {
        let facts = self.facts();
        (facts.source(family).address, facts.mac)
    }

    pub(super) fn own_source(&self, family: Family) -> Option<IpAddr> {
        let source = self.facts().source(family);
        source.is_own.then_some(source.address)
    }

    pub(super) fn offer(&self, sockets: Sockets) {
        self.facts().fresh = Some(sockets);
        self.has_fresh_sockets.store(true, Ordering::Release);
    }

    pub(super) fn take_fresh_sockets(&self) -> Option<Sockets> {
        if !self.has_fresh_sockets.load(Ordering::Acquire) {
            return None;
        }
        self.has_fresh_sockets.store(false, Ordering::Release);
        self.facts().fresh.take()
    }

    /// Takes note of what a new transport opened.
    pub(super) fn set_setup(&self, setup: Arc<SocketSetup>) {
        self.facts().setup = Some(setup);
        drop(self.take_fresh_sockets());
    }

    /// Forgets what a transport opened, unless another came after it; returns sockets that it
    /// has not taken over.
    pub(super) fn retire(&self, setup: &Arc<SocketSetup>) -> Option<Sockets> {
        let mut facts = self.facts();
        let is_last = facts.setup.as_ref().is_some_and(|s| Arc::ptr_eq(s, setup));
        if !is_last {
            return None;
        }
        facts.setup = None;
        facts.fresh.take()
    }

    pub(super) fn count(&self, stats: ReceiveStats) {
        self.facts().stats = stats;
    }

    pub(super) fn stats(&self) -> ReceiveStats {
        self.facts().stats
    }
}

impl Facts {
    /// Takes note of what the kernel says of the interface.
    pub(super) fn set_link(&mut self, link: &LinkState) {
        self.index = link.index;
        self.state = link.state;
        if let Some(mac) = link.mac {
            self.mac = mac;
        }
    }

    /// Takes note of all addresses of the machine.
    pub(super) fn set_addresses(&mut self, all: &[AddressState]) {
        let shared: BTreeSet<IpAddr> = self
            .hosts
            .values()
            .flat_map(|host| host.prefixes.keys().copied())
            .collect();
        self.own = all
            .iter()
            .filter(|a| a.place.device == self.index && a.is_usable)
            .map(|a| a.place.address)
            .filter(|address| !shared.contains(address))
            .collect();
        self.choose_sources();
    }

    /// Forgets a virtual host; returns its macvlan.
    pub(super) fn forget(&mut self, vhid: Vhid) -> Option<Macvlan> {
        let gone = self.hosts.remove(&vhid)?;
        self.choose_sources();
        if gone.macvlan_options.is_none() && !gone.served.is_empty() {
            // What it leaves behind runs out, and must not take others along then.
            if let Some(promoting) = &mut self.promoting {
                promoting.leave();
            }
        }
        gone.macvlan
    }

    /// Takes what is to be restored as nobody needs it any more.
    pub(super) fn take_unneeded(&mut self) -> (Option<Below>, Option<Promoting>) {
        let needs = |on_macvlan: bool| {
            let mut hosts = self.hosts.values();
            hosts.any(|host| host.macvlan_options.is_some() == on_macvlan)
        };
        let (below, promoting) = (!needs(true), !needs(false));
        (
            below.then(|| self.below.take()).flatten(),
            promoting.then(|| self.promoting.take()).flatten(),
        )
    }

    /// Chooses from where to send (CARP §1.2.1).
    pub(super) fn choose_sources(&mut self) {
        // Of a host that is shared, it is no longer an own address.
        let hosts = &self.hosts;
        self.own
            .retain(|a| !hosts.values().any(|host| host.prefixes.contains_key(a)));
        self.source_v4 = self.choose_source(Family::V4);
        self.source_v6 = self.choose_source(Family::V6);
    }

    fn choose_source(&self, family: Family) -> Source {
        let is_of = |address: &IpAddr| Family::of(*address) == family;
        let is_link_local =
            |address: &IpAddr| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        let own = |test: &dyn Fn(&IpAddr) -> bool| self.own.iter().copied().find(test);
        // VRRP wants a link-local source (CARP §9.50), CARP takes any.
        if let Some(address) = own(&|a| is_of(a) && is_link_local(a)).or_else(|| own(&is_of)) {
            return Source {
                address,
                is_own: true,
            };
        }
        let mut served = self.hosts.values().flat_map(|host| host.served.keys());
        match served.find(|address| is_of(address)) {
            Some(address) => Source {
                address: *address,
                is_own: false,
            },
            None => Source::none(family),
        }
    }

    fn source(&self, family: Family) -> Source {
        match family {
            Family::V4 => self.source_v4,
            Family::V6 => self.source_v6,
        }
    }

    /// A link-local address from which announcements can be sent.
    pub(super) fn link_local(&self) -> Option<Ipv6Addr> {
        self.own.iter().find_map(|address| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
            _ => None,
        })
    }
}

impl Source {
    /// CARP §9.24: a host without an own address sends from none.
    fn none(family: Family) -> Self {
        let address = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            address,
            is_own: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host(addresses: &[&str]) -> HostFacts {
        HostFacts {
            prefixes: addresses.iter().map(|a| (ip(a), 24)).collect(),
            lifetime: None,
            macvlan: None,
            macvlan_options: None,
            served: BTreeMap::new(),
            is_leaving: false,
            foreign: BTreeSet::new(),
        }
    }

    fn there(addresses: &[&str]) -> Vec<AddressState> {
        let state = |address: &&str| AddressState {
            place: Place {
                device: 7,
                address: ip(address),
                prefix: 24,
            },
            is_usable: true,
        };
        addresses.iter().map(state).collect()
    }

    #[test]
    fn the_source_is_the_first_address_that_is_not_shared() {
        let card = Card::new(InterfaceName::new("eth0").unwrap());
        let chosen = |family| card.source_and_mac(family).0;
        assert_eq!(chosen(Family::V4), ip("0.0.0.0"));
        assert_eq!(card.own_source(Family::V4), None);
        card.facts().index = 7;

        // Somebody else's only: then a shared one serves, if it is here.
        let vhid = Vhid::new(1).unwrap();
        card.facts().hosts.insert(vhid, host(&["192.0.2.1"]));
        card.facts().set_addresses(&there(&["192.0.2.1"]));
        assert_eq!(chosen(Family::V4), ip("0.0.0.0"));
        if let Some(host) = card.facts().hosts.get_mut(&vhid) {
            host.served.insert(ip("192.0.2.1"), 24);
        }
        card.facts().choose_sources();
        assert_eq!(chosen(Family::V4), ip("192.0.2.1"));
        assert_eq!(card.own_source(Family::V4), None);

        let all = there(&[
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "2001:db8::2",
            "fe80::2",
        ]);
        card.facts().set_addresses(&all);
        assert_eq!(card.own_source(Family::V4), Some(ip("192.0.2.2")));
        assert_eq!(card.own_source(Family::V6), Some(ip("fe80::2")));
        card.facts().set_addresses(&all[..4]);
        assert_eq!(card.own_source(Family::V6), Some(ip("2001:db8::2")));
    }
}

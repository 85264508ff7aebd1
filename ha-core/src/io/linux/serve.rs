//! What the worker does about the addresses of virtual hosts.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{
    ARP_FRAME_LEN, Family, GratuitousArp, InterfaceName, NA_FRAME_LEN, Router, UnsolicitedNa, Vhid,
};
use libc::{EADDRNOTAVAIL, EEXIST, ENODEV};
use netlink_packet_route::RouteNetlinkMessage;

use super::card::{Card, HostFacts};
use super::macvlan::Macvlan;
use super::message::{self, AddressState, LinkState, Place, bits};
use super::rtnl::{Request, Rtnl};
use super::{Action, Leftover, LinuxError, sysctl};

/// Has exactly the addresses `wanted` on the interface.
pub(super) fn acquire(
    rtnl: &mut Rtnl,
    card: &Card,
    vhid: Vhid,
    wanted: &[IpAddr],
) -> Result<(), LinuxError> {
    raise(rtnl, card, vhid)?;
    let (add, remove, other) = with(card, vhid, |index, host| {
        let stale = host.served.keys().filter(|a| !wanted.contains(a));
        let add: Vec<Request> = wanted.iter().map(|a| addition(host, index, *a)).collect();
        let remove: Vec<IpAddr> = stale.copied().collect();
        (add, remove, host.outdated(index, wanted))
    });
    // IPv6 has an address but once, so the old one has to go first.
    let (v6, v4): (Vec<Place>, _) = other.into_iter().partition(|p| p.address.is_ipv6());
    rtnl.execute(v6.into_iter().map(message::remove_place).collect())?;
    let errors = rtnl.execute(add)?;
    rtnl.execute(v4.into_iter().map(message::remove_place).collect())?;
    with(card, vhid, |_, host| {
        let is_there = |at: &usize| !errors.iter().any(|(failed, _)| failed == at);
        for (_, address) in wanted.iter().enumerate().filter(|(at, _)| is_there(at)) {
            let prefix = host.prefix(*address);
            host.served.insert(*address, prefix);
        }
    });
    withdraw(rtnl, card, vhid, &remove)?;
    first(errors, wanted, card.name(), Action::Add)
}

/// Has none of the addresses on the interface, whoever added them.
pub(super) fn release(rtnl: &mut Rtnl, card: &Card, vhid: Vhid) -> Result<(), LinuxError> {
    let (all, macvlan) = with(card, vhid, |_, host| {
        let all: Vec<IpAddr> = host.prefixes.keys().copied().collect();
        (all, host.macvlan)
    });
    let withdrawn = withdraw(rtnl, card, vhid, &all);
    // Whatever was left on it is out of reach then.
    let switched = macvlan.map_or(Ok(()), |macvlan| macvlan.switch(rtnl, false));
    withdrawn.and(switched)
}

/// Removes some addresses, whatever the lengths of their prefixes; those that are not there are
/// removed already.
fn withdraw(
    rtnl: &mut Rtnl,
    card: &Card,
    vhid: Vhid,
    addresses: &[IpAddr],
) -> Result<(), LinuxError> {
    let mut places: Vec<(usize, Place)> = with(card, vhid, |index, host| {
        let places = addresses.iter().map(|a| host.place(index, *a));
        places.enumerate().collect()
    });
    let mut errors = Vec::new();
    // Once for each length that a prefix may have, and as often as it takes to be sure.
    for _ in 0..=bits(Ipv4Addr::UNSPECIFIED.into()) + 1 {
        if places.is_empty() {
            break;
        }
        let requests = places.iter().map(|(_, p)| message::remove_address(*p));
        let mut answers = rtnl.execute(requests.collect())?.into_iter().peekable();
        let mut again = Vec::new();
        for (at, (which, place)) in places.into_iter().enumerate() {
            match answers.next_if(|(failed, _)| *failed == at) {
                Some((_, error)) => match error.raw_os_error() {
                    Some(EADDRNOTAVAIL) => again.extend(
                        elsewhere(rtnl, place)?
                            .filter(|there| there.prefix != place.prefix)
                            .map(|there| (which, there)),
                    ),
                    Some(ENODEV) => {}
                    _ => errors.push((which, error)),
                },
                // There may be another one.
                None if place.address.is_ipv4() => again.push((which, place)),
                None => {}
            }
        }
        places = again;
    }
    with(card, vhid, |_, host| {
        for (at, address) in addresses.iter().enumerate() {
            if !errors.iter().any(|(failed, _)| *failed == at) {
                host.served.remove(address);
            }
        }
    });
    first(errors, addresses, card.name(), Action::Remove)
}

/// Where an IPv6 address is that is not there with the prefix that it was looked for.
fn elsewhere(rtnl: &mut Rtnl, place: Place) -> Result<Option<Place>, LinuxError> {
    if place.address.is_ipv4() {
        return Ok(None);
    }
    Ok(match rtnl.ask(message::address_at(place))? {
        Some(RouteNetlinkMessage::NewAddress(message)) => {
            AddressState::of(&message).map(|state| state.place)
        }
        _ => None,
    })
}

/// Lengthens the lifetimes of all that is served.
pub(super) fn refresh(rtnl: &mut Rtnl, cards: &[Arc<Card>]) -> Result<(), LinuxError> {
    let mut requests = Vec::new();
    let mut places = Vec::new();
    for card in cards {
        let facts = card.facts();
        for host in facts.hosts.values().filter(|h| h.lifetime.is_some()) {
            for address in host.kept() {
                let place = host.served_at(facts.index, address);
                let routed = host.is_routed();
                requests.push(message::add_address(place, host.lifetime, routed));
                places.push((address, card.name()));
            }
        }
    }
    let errors = rtnl.execute(requests)?;
    match errors.into_iter().next() {
        Some((at, source)) => {
            let place = places.get(at).copied();
            let unknown = LinuxError::Netlink {
                call: "answer",
                source: io::ErrorKind::InvalidData.into(),
            };
            Err(
                place.map_or(unknown, |(address, interface)| LinuxError::Address {
                    action: Action::Refresh,
                    address,
                    interface,
                    source,
                }),
            )
        }
        None => Ok(()),
    }
}

/// Adds and announces an address again that somebody removed; whether it was still to be
/// served.
pub(super) fn restore(
    rtnl: &mut Rtnl,
    card: &Card,
    vhid: Vhid,
    address: IpAddr,
) -> Result<bool, LinuxError> {
    let is_kept = {
        let facts = card.facts();
        let host = facts.hosts.get(&vhid);
        facts.index != 0 && host.is_some_and(|host| host.keeps(address))
    };
    if !is_kept {
        return Ok(false);
    }
    raise(rtnl, card, vhid)?;
    let request = with(card, vhid, |index, host| {
        let place = host.served_at(index, address);
        Some(message::add_new_address(
            place,
            host.lifetime,
            host.is_routed(),
        ))
    });
    let errors = rtnl.execute(request.into_iter().collect())?;
    let is_there = |(_, error): &(usize, io::Error)| error.raw_os_error() == Some(EEXIST);
    if errors.iter().any(is_there) {
        return Ok(false);
    }
    first(errors, &[address], card.name(), Action::Add)?;
    announce(card, vhid, &[address], Family::of(address))?;
    Ok(true)
}

/// Tells the neighbours where the addresses of a family are now, those that are still served.
pub(super) fn announce(
    card: &Card,
    vhid: Vhid,
    addresses: &[IpAddr],
    family: Family,
) -> Result<(), LinuxError> {
    let name = card.name();
    let (packet, hardware, link_local, kept) = {
        let facts = card.facts();
        let host = facts.hosts.get(&vhid);
        let is_kept = |address: &IpAddr| host.is_some_and(|host| host.keeps(*address));
        let of_family = addresses
            .iter()
            .copied()
            .filter(|a| Family::of(*a) == family);
        let kept: Vec<IpAddr> = of_family.filter(is_kept).collect();
        let macvlan = host.and_then(|host| host.macvlan);
        // Without a macvlan the kernel answers with the interface's own MAC, so that is the
        // one to tell.
        let hardware = macvlan.map_or(facts.mac, |macvlan| macvlan.mac);
        (facts.packet.clone(), hardware, facts.link_local(), kept)
    };
    let packet = packet.ok_or(LinuxError::NoInterface { interface: name })?;
    if kept.is_empty() {
        return Ok(());
    }
    // One that cannot be announced is no reason to keep the others back.
    let mut result = Ok(());
    let router = match family {
        Family::V6 => router(name).unwrap_or_else(|error| {
            result = Err(error);
            Router::No
        }),
        Family::V4 => Router::No,
    };
    for address in kept {
        let sent = match address {
            IpAddr::V4(address) => {
                let mut frame = [0; ARP_FRAME_LEN];
                GratuitousArp::new(address, hardware).emit(&mut frame);
                packet.send(&frame)
            }
            IpAddr::V6(address) => {
                let source = link_local.unwrap_or(address);
                let mut frame = [0; NA_FRAME_LEN];
                let mut announcement = UnsolicitedNa::new(address, hardware, source);
                announcement.router = router;
                announcement.emit_frame(&mut frame);
                packet.send(&frame)
            }
        };
        let sent = sent.map_err(|source| LinuxError::Address {
            action: Action::Announce,
            address,
            interface: name,
            source,
        });
        let sent = sent.map(drop);
        result = result.and(sent);
    }
    result
}

/// A host that forwards must say so, or its neighbours cease to route by it (RFC 4861 §7.2.5).
fn router(interface: InterfaceName) -> Result<Router, LinuxError> {
    let forwards = sysctl::read(Family::V6, interface, "forwarding")?;
    Ok(match forwards {
        None | Some(0) => Router::No,
        Some(_) => Router::Yes,
    })
}

/// Has the macvlan of a virtual host up, if it is to have one.
fn raise(rtnl: &mut Rtnl, card: &Card, vhid: Vhid) -> Result<(), LinuxError> {
    let (macvlan, options) = with(card, vhid, |_, host| {
        (host.macvlan, host.macvlan_options.clone())
    });
    let (Some(macvlan), Some(options)) = (macvlan, options) else {
        return Ok(());
    };
    if let Err(LinuxError::Link { source, .. }) = macvlan.switch(rtnl, true) {
        if source.raw_os_error() != Some(ENODEV) {
            return Err(LinuxError::Link {
                action: Action::Switch,
                interface: macvlan.name,
                source,
            });
        }
        // Somebody deleted it, or the interface below was recreated.
        let parent = (card.name(), card.index());
        let macvlan = Macvlan::open(rtnl, vhid, &options, Leftover::Remove, parent)?;
        macvlan.switch(rtnl, true)?;
        with(card, vhid, |_, host| host.macvlan = Some(macvlan));
    }
    Ok(())
}

fn addition(host: &HostFacts, index: u32, address: IpAddr) -> Request {
    let place = host.place(index, address);
    message::add_address(place, host.lifetime, host.is_routed())
}

/// The first error, with the address it is about.
fn first(
    errors: Vec<(usize, io::Error)>,
    addresses: &[IpAddr],
    interface: InterfaceName,
    action: Action,
) -> Result<(), LinuxError> {
    for (at, source) in errors {
        if let Some(address) = addresses.get(at) {
            return Err(LinuxError::Address {
                action,
                address: *address,
                interface,
                source,
            });
        }
    }
    Ok(())
}

/// Looks at or changes a virtual host, and chooses sources anew. One that is gone has nothing.
fn with<T: Default>(card: &Card, vhid: Vhid, f: impl FnOnce(u32, &mut HostFacts) -> T) -> T {
    let mut facts = card.facts();
    let index = facts.index;
    let result = facts.hosts.get_mut(&vhid).map(|host| f(index, host));
    facts.choose_sources();
    result.unwrap_or_default()
}

/// What a look at the kernel brought to light.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Shared addresses that somebody else added.
    pub(super) foreign: Vec<(InterfaceName, IpAddr)>,
    /// Addresses that are served but not there.
    pub(super) missing: Vec<(Arc<Card>, Vhid, IpAddr)>,
    /// Why there may be more than was seen, if so.
    pub(super) unreadable: Option<LinuxError>,
}

/// Looks at all addresses of the machine.
pub(super) fn inspect(rtnl: &mut Rtnl, cards: &[Arc<Card>]) -> Result<Findings, LinuxError> {
    let dump = rtnl.dump(&message::all_addresses())?;
    let all = AddressState::all(&dump.messages);
    // Before anything is locked, as those who send packets wait for the lock.
    let there = all.iter().map(|a| (a.place.device, a.place.address));
    let there: BTreeSet<(u32, IpAddr)> = there.collect();
    let mut findings = Findings {
        unreadable: dump.unreadable,
        ..Findings::default()
    };
    for card in cards {
        let mut facts = card.facts();
        facts.set_addresses(&all);
        let index = facts.index;
        for (vhid, host) in &mut facts.hosts {
            inspect_host(&there, index, host, card, *vhid, &mut findings);
        }
    }
    Ok(findings)
}

fn inspect_host(
    there: &BTreeSet<(u32, IpAddr)>,
    index: u32,
    host: &mut HostFacts,
    card: &Arc<Card>,
    vhid: Vhid,
    findings: &mut Findings,
) {
    let device = host.device(index);
    let is_at = |device: u32, address: IpAddr| there.contains(&(device, address));
    let kept = host.kept().filter(|address| !is_at(device, *address));
    let missing = kept.map(|address| (card.clone(), vhid, address));
    findings.missing.extend(missing);
    let is_foreign = |address: &IpAddr| {
        let is_here = is_at(device, *address) || is_at(index, *address);
        is_here && !host.served.contains_key(address)
    };
    let foreign = host.prefixes.keys().copied().filter(is_foreign).collect();
    let known = core::mem::replace(&mut host.foreign, foreign);
    let new = host.foreign.difference(&known);
    findings.foreign.extend(new.map(|a| (card.name(), *a)));
}

/// Asks for the state of all interfaces, and tells why some are missing, if so.
pub(super) fn links(rtnl: &mut Rtnl) -> Result<(Vec<LinkState>, Option<LinuxError>), LinuxError> {
    let answers = rtnl.dump(&message::all_links())?;
    let parse = |answer: &RouteNetlinkMessage| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(LinkState::of(message)),
        _ => None,
    };
    let links = answers.messages.iter().filter_map(parse).collect();
    Ok((links, answers.unreadable))
}

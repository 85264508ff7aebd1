//! What the worker does about the addresses of virtual hosts.

use core::net::IpAddr;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{
    ARP_FRAME_LEN, Family, GratuitousArp, InterfaceName, NA_FRAME_LEN, Router, UnsolicitedNa, Vhid,
};
use libc::{EADDRNOTAVAIL, ENODEV};
use netlink_packet_route::RouteNetlinkMessage;

use super::card::{Card, HostFacts};
use super::macvlan::Macvlan;
use super::message::{self, AddressState, LinkState};
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
    let (add, remove) = with(card, vhid, |index, host| {
        let stale = host.served.iter().filter(|a| !wanted.contains(a));
        let add: Vec<Request> = wanted.iter().map(|a| addition(host, index, *a)).collect();
        let remove: Vec<IpAddr> = stale.copied().collect();
        (add, remove)
    });
    let errors = rtnl.execute(add)?;
    with(card, vhid, |_, host| {
        let is_there = |at: &usize| !errors.iter().any(|(failed, _)| failed == at);
        let there = wanted.iter().enumerate().filter(|(at, _)| is_there(at));
        host.served.extend(there.map(|(_, address)| *address));
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
    withdraw(rtnl, card, vhid, &all)?;
    match macvlan {
        Some(macvlan) => macvlan.switch(rtnl, false),
        None => Ok(()),
    }
}

/// Removes some addresses; those that are not there are removed already.
fn withdraw(
    rtnl: &mut Rtnl,
    card: &Card,
    vhid: Vhid,
    addresses: &[IpAddr],
) -> Result<(), LinuxError> {
    let requests = with(card, vhid, |index, host| {
        let places = addresses.iter().map(|a| host.place(index, *a));
        places.map(message::remove_address).collect::<Vec<_>>()
    });
    let mut errors = rtnl.execute(requests)?;
    errors.retain(|(_, error)| !matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | ENODEV)));
    with(card, vhid, |_, host| {
        for (at, address) in addresses.iter().enumerate() {
            if !errors.iter().any(|(failed, _)| *failed == at) {
                host.served.remove(address);
            }
        }
    });
    first(errors, addresses, card.name(), Action::Remove)
}

/// Lengthens the lifetimes of all that is served.
pub(super) fn refresh(rtnl: &mut Rtnl, cards: &[Arc<Card>]) -> Result<(), LinuxError> {
    let mut requests = Vec::new();
    let mut places = Vec::new();
    for card in cards {
        let facts = card.facts();
        for host in facts.hosts.values().filter(|h| h.lifetime.is_some()) {
            for address in host.kept() {
                requests.push(addition(host, facts.index, address));
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
        facts.index != 0 && host.is_some_and(|host| host.kept().any(|a| a == address))
    };
    if !is_kept {
        return Ok(false);
    }
    raise(rtnl, card, vhid)?;
    let request = with(card, vhid, |index, host| {
        Some(addition(host, index, address))
    });
    let errors = rtnl.execute(request.into_iter().collect())?;
    first(errors, &[address], card.name(), Action::Add)?;
    announce(card, vhid, &[address], Family::of(address))?;
    Ok(true)
}

/// Tells the neighbours where the addresses of a family are now.
pub(super) fn announce(
    card: &Card,
    vhid: Vhid,
    addresses: &[IpAddr],
    family: Family,
) -> Result<(), LinuxError> {
    let name = card.name();
    let (packet, hardware, link_local) = {
        let facts = card.facts();
        let macvlan = facts.hosts.get(&vhid).and_then(|host| host.macvlan);
        // Without a macvlan the kernel answers with the interface's own MAC, so that is the
        // one to tell.
        let hardware = macvlan.map_or(facts.mac, |macvlan| macvlan.mac);
        (facts.packet.clone(), hardware, facts.link_local())
    };
    let packet = packet.ok_or(LinuxError::NoInterface { interface: name })?;
    let router = match family {
        Family::V6 => router(name)?,
        Family::V4 => Router::No,
    };
    for address in addresses.iter().filter(|a| Family::of(**a) == family) {
        let sent = match *address {
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
        sent.map_err(|source| LinuxError::Address {
            action: Action::Announce,
            address: *address,
            interface: name,
            source,
        })?;
    }
    Ok(())
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
}

/// Looks at all addresses of the machine.
pub(super) fn inspect(rtnl: &mut Rtnl, cards: &[Arc<Card>]) -> Result<Findings, LinuxError> {
    let all = AddressState::all(&rtnl.dump(&message::all_addresses())?);
    let mut findings = Findings::default();
    for card in cards {
        let mut facts = card.facts();
        facts.set_addresses(&all);
        let index = facts.index;
        for (vhid, host) in &mut facts.hosts {
            inspect_host(&all, index, host, card, *vhid, &mut findings);
        }
    }
    Ok(findings)
}

fn inspect_host(
    all: &[AddressState],
    index: u32,
    host: &mut HostFacts,
    card: &Arc<Card>,
    vhid: Vhid,
    findings: &mut Findings,
) {
    let device = host.device(index);
    let is_at = |device: u32, address: IpAddr| {
        let mut places = all.iter().map(|state| state.place);
        places.any(|place| place.device == device && place.address == address)
    };
    let kept = host.kept().filter(|address| !is_at(device, *address));
    let missing = kept.map(|address| (card.clone(), vhid, address));
    findings.missing.extend(missing);
    let is_foreign = |address: &IpAddr| {
        let is_here = is_at(device, *address) || is_at(index, *address);
        is_here && !host.served.contains(address)
    };
    let foreign = host.prefixes.keys().copied().filter(is_foreign).collect();
    let known = core::mem::replace(&mut host.foreign, foreign);
    let new = host.foreign.difference(&known);
    findings.foreign.extend(new.map(|a| (card.name(), *a)));
}

/// Asks for the state of all interfaces.
pub(super) fn links(rtnl: &mut Rtnl) -> Result<Vec<LinkState>, LinuxError> {
    let answers = rtnl.dump(&message::all_links())?;
    let parse = |answer: &RouteNetlinkMessage| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(LinkState::of(message)),
        _ => None,
    };
    Ok(answers.iter().filter_map(parse).collect())
}

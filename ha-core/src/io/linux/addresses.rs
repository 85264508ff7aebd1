//! The shared addresses of one virtual host, as effects.

use core::net::IpAddr;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use async_trait::async_trait;
use carp_proto::{Family, Vhid};
use libc::{EADDRNOTAVAIL, ENODEV};

use super::card::{Card, HostFacts};
use super::event::LinuxEvent;
use super::macvlan::{Below, Macvlan};
use super::message::{self, AddressState, bits};
use super::network::Shared;
use super::promote::Promoting;
use super::rtnl::Rtnl;
use super::{Action, AddressOptions, Leftover, LinuxError, serve, socket};
use crate::io::{Effects, Service};

/// The shared addresses of one virtual host on an interface, and their announcements.
///
/// Made by [`Nic::effects`](super::Nic::effects). Where the addresses have a finite lifetime,
/// [`Network::keep`](super::Network::keep) must run, or they are gone a moment after they were
/// added.
///
/// A program that does more than that when it takes over wraps this in effects of its own.
///
/// # What is announced
///
/// By gratuitous ARP the MAC from which the kernel answers requests: that of the macvlan if
/// there is one, otherwise the interface's own, as UCarp does (CARP §5.1). With the virtual MAC
/// neighbours would be told of one that nobody here listens to. The same goes for neighbour
/// advertisements, which also say whether this host is a router.
///
/// # When it is dropped
///
/// The macvlan is deleted, and the kernel parameters that were raised are restored. Addresses
/// that are still served are left to their lifetimes.
#[derive(Debug)]
pub struct Addresses {
    shared: Arc<Shared>,
    card: Arc<Card>,
    vhid: Vhid,
}

impl Addresses {
    pub(super) async fn open(
        shared: Arc<Shared>,
        card: Arc<Card>,
        vhid: Vhid,
        options: AddressOptions,
    ) -> Result<Self, LinuxError> {
        let host = HostFacts {
            prefixes: checked(&options.prefixes)?,
            lifetime: options.lifetime,
            macvlan: None,
            macvlan_options: options.macvlan,
            served: BTreeMap::new(),
            is_leaving: false,
            foreign: BTreeSet::new(),
        };
        // Those that were dropped a moment ago are forgotten before this is done.
        shared.worker.run(|_| Ok(())).await?;
        if card.facts().hosts.contains_key(&vhid) {
            return Err(LinuxError::Taken {
                interface: card.name(),
                vhid,
            });
        }
        card.facts().hosts.insert(vhid, host);
        // From here on, dropping it puts all in order again.
        let addresses = Self {
            shared: shared.clone(),
            card: card.clone(),
            vhid,
        };
        let leftover = options.leftover;
        let Prepared {
            removed,
            unpromoted,
        } = shared
            .worker
            .run(move |rtnl| prepare(rtnl, &card, vhid, leftover))
            .await?;
        if let Some(error) = unpromoted {
            let error = Arc::new(error);
            shared.teller.tell(LinuxEvent::Failed { error });
        }
        for address in removed {
            shared.teller.tell(LinuxEvent::Leftover {
                interface: addresses.card.name(),
                address,
            });
        }
        Ok(addresses)
    }

    /// Chooses how long the prefixes of these addresses are when they are added next. Those
    /// that are there with another length are replaced then.
    ///
    /// # Errors
    ///
    /// [`LinuxError::Prefix`].
    pub fn set_prefixes(&mut self, prefixes: &[(IpAddr, u8)]) -> Result<(), LinuxError> {
        let prefixes = checked(prefixes)?;
        if let Some(host) = self.card.facts().hosts.get_mut(&self.vhid) {
            host.prefixes.extend(prefixes);
        }
        Ok(())
    }

    /// Takes note at once of what was decided, though doing it may have to wait.
    fn decide(&self, service: &Service, is_leaving: bool) {
        if let Some(host) = self.card.facts().hosts.get_mut(&self.vhid) {
            host.is_leaving = is_leaving;
            for address in &*service.addresses {
                let all = bits(*address);
                host.prefixes.entry(*address).or_insert(all);
            }
        }
    }
}

#[async_trait]
impl Effects for Addresses {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        self.decide(service, false);
        let (card, vhid, wanted) = (self.card.clone(), self.vhid, service.addresses.clone());
        let job = move |rtnl: &mut Rtnl| serve::acquire(rtnl, &card, vhid, &wanted);
        Ok(self.shared.worker.run(job).await?)
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        self.decide(service, true);
        let (card, vhid) = (self.card.clone(), self.vhid);
        let job = move |rtnl: &mut Rtnl| serve::release(rtnl, &card, vhid);
        Ok(self.shared.worker.run(job).await?)
    }

    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()> {
        let (card, vhid, all) = (self.card.clone(), self.vhid, service.addresses.clone());
        let job = move |_: &mut Rtnl| serve::announce(&card, vhid, &all, family);
        Ok(self.shared.worker.run(job).await?)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        // At once, so that its place is free; what is to be done about it comes before whatever
        // takes the place.
        let macvlan = self.card.facts().forget(self.vhid);
        let card = self.card.clone();
        self.shared.worker.post(move |rtnl| {
            if let Some(macvlan) = macvlan {
                macvlan.remove(rtnl);
            }
            restore_parameters(&card);
        });
    }
}

fn checked(prefixes: &[(IpAddr, u8)]) -> Result<BTreeMap<IpAddr, u8>, LinuxError> {
    let long = prefixes
        .iter()
        .find(|(address, prefix)| *prefix > bits(*address));
    match long {
        Some(&(address, prefix)) => Err(LinuxError::Prefix { address, prefix }),
        None => Ok(prefixes.iter().copied().collect()),
    }
}

/// Restores the parameters of an interface that nobody needs any more.
fn restore_parameters(card: &Card) {
    let (below, promoting) = card.facts().take_unneeded();
    if let Some(below) = below {
        below.restore(card.name());
    }
    if let Some(promoting) = promoting {
        promoting.restore(card.name());
    }
}

/// What came of opening effects.
struct Prepared {
    /// The addresses that were left over.
    removed: Vec<IpAddr>,
    /// Why other addresses are not safe from the removal of ours.
    unpromoted: Option<LinuxError>,
}

/// Opens what is needed and removes what is left over.
fn prepare(
    rtnl: &mut Rtnl,
    card: &Card,
    vhid: Vhid,
    leftover: Leftover,
) -> Result<Prepared, LinuxError> {
    let name = card.name();
    let index = card.index();
    if card.facts().packet.is_none() {
        let packet = socket::packet(name, index)?;
        card.facts().packet = Some(Arc::new(packet));
    }
    let options = {
        let facts = card.facts();
        let host = facts.hosts.get(&vhid);
        host.and_then(|host| host.macvlan_options.clone())
    };
    let mut prepared = Prepared {
        removed: Vec::new(),
        unpromoted: None,
    };
    let is_first = card.facts().promoting.is_none();
    if options.is_none() && is_first {
        let (promoting, error) = Promoting::set(name);
        card.facts().promoting = Some(promoting);
        prepared.unpromoted = error;
    }
    if leftover == Leftover::Remove {
        prepared.removed = remove_leftovers(rtnl, card, vhid)?;
    }
    if let Some(options) = options {
        let macvlan = Macvlan::open(rtnl, vhid, &options, leftover, (name, index))?;
        let mut facts = card.facts();
        let host = facts.hosts.get_mut(&vhid);
        let is_wanted = host.map(|host| host.macvlan = Some(macvlan)).is_some();
        drop(facts);
        if !is_wanted {
            // Whoever wanted it is gone already, and could not remove it.
            macvlan.remove(rtnl);
            return Ok(prepared);
        }
        let is_first = card.facts().below.is_none();
        if is_first {
            let below = Below::set(name)?;
            card.facts().below = Some(below);
        }
    }
    Ok(prepared)
}

/// Removes shared addresses from the interface itself, with whatever prefix they are there.
fn remove_leftovers(rtnl: &mut Rtnl, card: &Card, vhid: Vhid) -> Result<Vec<IpAddr>, LinuxError> {
    let all = AddressState::all(&rtnl.dump(&message::all_addresses())?.messages);
    let mut leftovers: Vec<_> = all.iter().map(|state| state.place).collect();
    {
        let facts = card.facts();
        let host = facts.hosts.get(&vhid);
        leftovers.retain(|place| {
            let is_shared = host.is_some_and(|host| host.prefixes.contains_key(&place.address));
            place.device == facts.index && is_shared
        });
    }
    for place in &leftovers {
        let result = rtnl.order(message::remove_place(*place))?;
        match result {
            Err(error) if matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | ENODEV)) => {}
            result => result.map_err(|source| LinuxError::Address {
                action: Action::Remove,
                address: place.address,
                interface: card.name(),
                source,
            })?,
        }
    }
    card.facts().set_addresses(&all);
    Ok(leftovers.iter().map(|place| place.address).collect())
}

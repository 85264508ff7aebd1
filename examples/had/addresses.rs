//! The addresses of all units: interfaces, and a virtual host for each group, whose addresses are
//! served only when its unit says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use ha_core::carp_proto::{self, Family, Interface as Link, InterfaceName, Vhid};
use ha_core::io::failover::AddressGate;
use ha_core::io::linux::{AddressOptions, MacvlanOptions, Network, Nic};
use ha_core::io::{Handle, HostId, SegmentId, Setup, increasing_from_clock};

use super::config::{Carp, Config};
use super::reach::{Group, Interface, Reach};
use super::{passphrase, vhosts};

/// The interfaces that are used.
#[derive(Debug)]
pub(crate) struct Interfaces {
    open: BTreeMap<String, (Nic, SegmentId)>,
    settings: BTreeMap<String, Interface>,
}

/// A group of addresses at work.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) host: HostId,
    pub(crate) interface: String,
    /// What serves its addresses.
    pub(crate) gate: Arc<AddressGate>,
}

impl Interfaces {
    /// Opens each interface that a group is on.
    pub(crate) async fn open(
        config: &Config,
        network: &Network,
        driver: &Handle,
    ) -> Result<Self, String> {
        let sections = config.interfaces.iter().map(|section| section.get_ref());
        let settings = sections.map(|section| (section.name.clone(), section.clone().into()));
        let settings: BTreeMap<String, Interface> = settings.collect();
        let mut open = BTreeMap::new();
        for carp in config.units.iter().flat_map(|unit| &unit.carp) {
            let name = carp.get_ref().interface.get_ref();
            if open.contains_key(name) {
                continue;
            }
            let fail = |error: &dyn core::fmt::Display| format!("interface {name}: {error}");
            let known = InterfaceName::new(name).map_err(|error| fail(&error))?;
            let nic = network.interface(known).await;
            let nic = nic.map_err(|error| fail(&error))?;
            let interface = settings.get(name).cloned().unwrap_or_default();
            let minds_carrier = !interface.ignore_carrier;
            let reach = reach(config, name, interface);
            let transport = nic.transport(reach.options()).await;
            let transport = transport.map_err(|error| fail(&error))?;
            let segment = driver.add_segment(transport).await;
            let segment = segment.map_err(|error| fail(&error))?;
            let link = if minds_carrier { nic.state() } else { Link::Up };
            let set = driver.set_interface(segment, link).await;
            set.map_err(|error| fail(&error))?;
            open.insert(name.clone(), (nic, segment));
        }
        Ok(Self { open, settings })
    }

    /// Those whose carrier counts.
    pub(crate) fn watched(&self) -> Vec<(Nic, SegmentId)> {
        let minds = |name: &&String| {
            let settings = self.settings.get(*name);
            settings.is_none_or(|settings| !settings.ignore_carrier)
        };
        let names = self.open.keys().filter(minds);
        names
            .filter_map(|name| self.open.get(name).cloned())
            .collect()
    }

    /// Adds the virtual host of a group.
    pub(crate) async fn serve(&self, carp: &Carp, driver: &Handle) -> Result<Served, String> {
        let interface = carp.interface.get_ref();
        let vhid = *carp.vhid.get_ref();
        let fail = |error: &dyn core::fmt::Display| format!("{vhid}@{interface}: {error}");
        let (nic, segment) = self
            .open
            .get(interface)
            .ok_or_else(|| fail(&"its interface is not open"))?;
        let vhid = Vhid::new(vhid).map_err(|error| fail(&error))?;
        let effects = nic.effects(vhid, options(carp)).await;
        let gate = AddressGate::new(effects.map_err(|error| fail(&error))?);

        let mut machine = carp_proto::Config::new(vhid);
        machine.dialect = vhosts::dialect(carp);
        machine.settings = vhosts::settings(carp).ok_or_else(|| fail(&"advskew"))?;
        machine.counter = increasing_from_clock();
        machine.improvements.ride_out_link_flaps = carp.hold_link;
        machine.interface_name = Some(nic.name());
        machine.interface = nic.state();
        if let Some(settings) = self.settings.get(interface) {
            machine.unknown_link = settings.unknown_link;
        }
        let key = passphrase::of(carp).map_err(|error| fail(&error))?.key();
        let shared = carp.addresses.get_ref().iter();
        let shared: Vec<_> = shared.map(|shared| shared.get_ref().address).collect();
        let setup = Setup::new(machine, key, &shared, gate.effects());
        let host = driver.add(*segment, setup).await;
        Ok(Served {
            host: host.map_err(|error| fail(&error))?,
            interface: interface.clone(),
            gate: Arc::new(gate),
        })
    }
}

/// How the groups on an interface are reached.
fn reach(config: &Config, name: &str, interface: Interface) -> Reach {
    let groups = config.units.iter().flat_map(|unit| &unit.carp);
    let groups = groups.map(|carp| carp.get_ref());
    let groups = groups.filter(|carp| carp.interface.get_ref() == name);
    let families = [Family::V4, Family::V6].into_iter().filter(|family| {
        groups.clone().any(|carp| {
            let mut shared = carp.addresses.get_ref().iter();
            shared.any(|shared| Family::of(shared.get_ref().address) == *family)
        })
    });
    let families = families.collect();
    let is_special = |carp: &&Carp| !carp.multicast.get_ref() || !carp.peers.is_empty();
    let special = groups.filter(is_special).filter_map(|carp| {
        let group = Group {
            multicast: *carp.multicast.get_ref(),
            peers: carp.peers.iter().map(|peer| *peer.get_ref()).collect(),
            protocol: None,
        };
        Some((Vhid::new(*carp.vhid.get_ref()).ok()?, group))
    });
    Reach {
        interface,
        families,
        groups: special.collect(),
    }
}

fn options(carp: &Carp) -> AddressOptions {
    let mut options = AddressOptions::default();
    let shared = carp
        .addresses
        .get_ref()
        .iter()
        .map(|shared| shared.get_ref());
    options.prefixes = shared
        .map(|shared| (shared.address, shared.prefix_len))
        .collect();
    if !carp.expire {
        options.lifetime = None;
    }
    if carp.macvlan {
        options.macvlan = Some(MacvlanOptions::default());
    }
    options
}

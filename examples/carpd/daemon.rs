//! What runs: one driver for all virtual hosts, and the steps that bring it from one
//! configuration to the next.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ha_core::carp_proto::{self, Interface as Link, InterfaceName};
use ha_core::io::linux::{
    AddressOptions, Addresses, Leftover, MacvlanOptions, Network, Nic, RawTransport,
};
use ha_core::io::{Handle, HostId, SegmentId, Setup, increasing_from_clock};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use super::config::{Config, Host, HostName, Protocol};
use super::control::Control;
use super::effects::{Owner, Serving};
use super::log::Names;
use super::reach::Reach;
use super::reload::{Failed, Plan, Present};
use super::script::{Settled, Wish};

/// How long the hosts that a new configuration no longer has may take to leave. After that
/// they go on leaving while the others begin.
const FAREWELL: Duration = Duration::from_secs(30);

/// Why a configuration is not in force, or not all of it.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Something cannot be opened; nothing has changed.
    Nothing(String),
    /// Something failed on the way.
    Partly(String),
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Nothing(error) | Self::Partly(error) => f.write_str(error),
        }
    }
}

/// What a configuration has become.
#[derive(Debug)]
pub(crate) struct Daemon {
    network: Network,
    handle: Handle,
    names: Arc<Names>,
    /// What was to be done last, and what of it could not be changed.
    config: Config,
    failed: Failed,
    segments: BTreeMap<String, (Nic, SegmentId)>,
    hosts: BTreeMap<HostName, Running>,
    control: Option<Control>,
    /// The workers that run scripts.
    workers: JoinSet<()>,
    keeper: Option<JoinHandle<()>>,
    /// Where it is told that the machine can no longer be watched.
    fatal: mpsc::Sender<String>,
}

/// A virtual host at work.
#[derive(Debug)]
struct Running {
    id: HostId,
    owner: Arc<Mutex<Owner<Addresses>>>,
    wish: Arc<Wish>,
    settled: Settled,
}

impl Daemon {
    /// One that has nothing to do yet.
    pub(crate) fn new(
        network: Network,
        handle: Handle,
        names: Arc<Names>,
        fatal: mpsc::Sender<String>,
    ) -> Self {
        Self {
            network,
            handle,
            names,
            config: Config::default(),
            failed: Failed::default(),
            segments: BTreeMap::new(),
            hosts: BTreeMap::new(),
            control: None,
            workers: JoinSet::new(),
            keeper: None,
            fatal,
        }
    }

    /// Does what another configuration wants. What is the same in both goes on undisturbed.
    ///
    /// What can fail for want of an interface or a socket is tried first, and nothing has
    /// changed if it does. What fails later is told, and the rest is done all the same.
    pub(crate) async fn apply(&mut self, to: Config) -> Result<(), Refusal> {
        let plan = Plan::new(&self.present(), &to);
        let transports = self.open_transports(&plan, &to).await;
        let transports = transports.map_err(Refusal::Nothing)?;
        let control = self.open_control(to.control.as_deref()).await;
        control.map_err(Refusal::Nothing)?;
        if plan.is_empty() {
            self.config = to;
            return Ok(());
        }
        let mut errors = Vec::new();
        self.failed = Failed::default();
        self.remove_hosts(&plan.remove_hosts, &mut errors).await;
        for name in &plan.close {
            if let Some((_, id)) = self.segments.get(name) {
                let removed = self.handle.remove_segment(*id).await;
                if note(&mut errors, name, removed).is_some() {
                    self.names.remove_segment(*id);
                    self.segments.remove(name);
                }
            }
        }
        for (name, nic, transport) in transports {
            if let Some((_, id)) = self.segments.get(&name) {
                let replaced = self.handle.replace_transport(*id, transport).await;
                if note(&mut errors, &name, replaced).is_none() {
                    self.failed.interfaces.insert(name);
                }
            } else if let Some(id) =
                note(&mut errors, &name, self.handle.add_segment(transport).await)
            {
                self.names.add_segment(id, name.clone());
                // Before there are hosts, so that none of them sees a change.
                let state = match minds_carrier(&to, &name) {
                    true => nic.state(),
                    false => Link::Up,
                };
                note(
                    &mut errors,
                    &name,
                    self.handle.set_interface(id, state).await,
                );
                self.segments.insert(name, (nic, id));
            }
        }
        self.names.set_owners(&to);
        self.config = to;
        for name in &plan.add_hosts {
            let added = self.add_host(name).await;
            note(&mut errors, name, added);
        }
        for name in &plan.change_hosts {
            let changed = self.change_host(name).await;
            if note(&mut errors, name, changed).is_none() {
                self.failed.hosts.insert(name.clone());
            }
        }
        self.keep(&mut errors).await;
        // Those whose wishes are dropped.
        while self.workers.try_join_next().is_some() {}
        match errors.as_slice() {
            [] => Ok(()),
            errors => Err(Refusal::Partly(errors.join("; "))),
        }
    }

    /// What a change starts from.
    fn present(&self) -> Present {
        Present {
            config: self.config.clone(),
            hosts: self.hosts.keys().cloned().collect(),
            interfaces: self.segments.keys().cloned().collect(),
            failed: self.failed.clone(),
        }
    }

    async fn open_transports(
        &self,
        plan: &Plan,
        to: &Config,
    ) -> Result<Vec<(String, Nic, RawTransport)>, String> {
        let mut transports = Vec::new();
        for name in plan.open.iter().chain(&plan.reopen) {
            let fail = |error: &dyn core::fmt::Display| format!("interface {name}: {error}");
            let Some(mut reach) = Reach::of(to, name) else {
                continue;
            };
            if let Some(before) = Reach::of(&self.config, name) {
                // Hosts that give up all addresses of a family still have them when the
                // transport is replaced.
                reach.keep_families(&before);
            }
            let nic = match self.segments.get(name) {
                Some((nic, _)) => nic.clone(),
                None => {
                    let name = InterfaceName::new(name).map_err(|error| fail(&error))?;
                    let nic = self.network.interface(name).await;
                    nic.map_err(|error| fail(&error))?
                }
            };
            let transport = nic.transport(reach.options()).await;
            transports.push((name.clone(), nic, transport.map_err(|error| fail(&error))?));
        }
        Ok(transports)
    }

    async fn open_control(&mut self, path: Option<&Path>) -> Result<(), String> {
        if self.control.as_ref().map(Control::path) == path {
            return Ok(());
        }
        self.control = match path {
            Some(path) => {
                let opened = Control::open(path, self.handle.clone(), self.names.clone()).await;
                Some(opened.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => None,
        };
        Ok(())
    }

    /// Has hosts leave, all at the same time, and waits for them.
    async fn remove_hosts(&mut self, names: &[HostName], errors: &mut Vec<String>) {
        let mut leaving = Vec::new();
        for name in names {
            if let Some(host) = self.hosts.remove(name) {
                let handle = self.handle.clone();
                let task = tokio::spawn(async move { handle.remove(host.id).await });
                leaving.push((name, host.id, task));
            }
        }
        for (name, id, task) in leaving {
            match tokio::time::timeout(FAREWELL, task).await {
                Ok(Ok(removed)) => _ = note(errors, name, removed),
                Ok(Err(error)) => _ = note::<()>(errors, name, Err(error)),
                Err(_) => errors.push(format!("{name}: it takes long to leave")),
            }
            self.names.remove_host(id);
            info!(host = %name, "removed");
        }
    }

    async fn add_host(&mut self, name: &HostName) -> Result<(), String> {
        let missing = || "its interface is not open".to_owned();
        let (nic, segment) = self.segments.get(&name.interface).ok_or_else(missing)?;
        let host = self.config.hosts.get(name).ok_or_else(missing)?;
        let addresses = nic.effects(name.vhid, address_options(host)).await;
        let owner = Owner::new(addresses.map_err(|error| error.to_string())?);
        let owner = Arc::new(Mutex::new(owner));

        let scripts = host.live.scripts.clone();
        let at_start = match scripts.down_at_start {
            true => host.live.ips(),
            false => Vec::new(),
        };
        let (wish, worker) = Wish::new(name.clone(), scripts, at_start);
        let (settled, wish) = (wish.settled(), Arc::new(wish));
        self.workers.spawn(worker);
        let serving = Serving::new(owner.clone(), wish.clone(), host.set_address);

        let setup = setup(self.machine(name, host, nic), host, serving);
        self.names.begin_host(name.clone());
        let id = self.handle.add(*segment, setup).await;
        let id = id.map_err(|error| error.to_string())?;
        self.names.add_host(id, name.clone(), host.dialect());
        let running = Running {
            id,
            owner,
            wish,
            settled,
        };
        self.hosts.insert(name.clone(), running);
        info!(host = %name, "added");
        Ok(())
    }

    /// The configuration of the machine of a host.
    fn machine(&self, name: &HostName, host: &Host, nic: &Nic) -> carp_proto::Config {
        let mut machine = carp_proto::Config::new(name.vhid);
        machine.dialect = host.dialect();
        machine.settings = host.live.settings();
        machine.counter = increasing_from_clock();
        machine.improvements.ride_out_link_flaps = host.hold_link;
        machine.interface_name = Some(nic.name());
        machine.interface = nic.state();
        if let Some(interface) = self.config.interfaces.get(&name.interface) {
            machine.unknown_link = interface.unknown_link;
        }
        machine
    }

    async fn change_host(&mut self, name: &HostName) -> Result<(), String> {
        let (Some(running), Some(host)) = (self.hosts.get(name), self.config.hosts.get(name))
        else {
            return Err("it is not running".to_owned());
        };
        let fail = |error: ha_core::io::CommandError| error.to_string();
        let live = &host.live;
        running.wish.set_scripts(live.scripts.clone());
        let settings = self.handle.set_settings(running.id, live.settings());
        settings.await.map_err(fail)?;
        let mut owner = running.owner.lock().await;
        let prefixes = owner.addresses.set_prefixes(&live.prefixes());
        prefixes.map_err(|error| error.to_string())?;
        drop(owner);
        let addresses = live.ips();
        let addresses = self.handle.set_addresses(running.id, &addresses);
        addresses.await.map_err(fail)?;
        info!(host = %name, "changed");
        Ok(())
    }

    /// Has the interfaces watched that there are now.
    async fn keep(&mut self, errors: &mut Vec<String>) {
        let mut watched = Vec::new();
        for (name, segment) in &self.segments {
            if minds_carrier(&self.config, name) {
                watched.push(segment.clone());
            } else {
                note(
                    errors,
                    name,
                    self.handle.set_interface(segment.1, Link::Up).await,
                );
            }
        }
        let keeping = self.network.keep(self.handle.clone(), watched);
        let fatal = self.fatal.clone();
        let keeper = tokio::spawn(async move {
            if let Err(error) = keeping.await {
                // If it is full, that is told already.
                let _ = fatal.try_send(error.to_string());
            }
        });
        if let Some(former) = self.keeper.replace(keeper) {
            former.abort();
        }
    }

    /// Ends: masters release their addresses and bow out; then the last scripts are waited
    /// for, which are limited in time themselves.
    pub(crate) async fn shut_down(mut self) -> Result<(), String> {
        self.control = None;
        let ended = self.handle.shutdown().await;
        // All of this the driver has done, unless it crashed.
        for (name, running) in &self.hosts {
            let released = running.owner.lock().await.release_rest().await;
            if let Err(error) = released {
                warn!(host = %name, %error, "addresses are left behind");
            }
            running.wish.up_for(&[]);
        }
        for running in self.hosts.values_mut() {
            running.settled.wait().await;
        }
        drop(self.hosts);
        while self.workers.join_next().await.is_some() {}
        ended.map_err(|error| error.to_string())
    }
}

fn minds_carrier(config: &Config, name: &str) -> bool {
    let interface = config.interfaces.get(name);
    interface.is_none_or(|interface| !interface.ignore_carrier)
}

/// Writes an error down, with what it is about.
fn note<T>(
    errors: &mut Vec<String>,
    about: &impl core::fmt::Display,
    result: Result<T, impl core::fmt::Display>,
) -> Option<T> {
    result
        .map_err(|error| {
            warn!("{about}: {error}");
            errors.push(format!("{about}: {error}"));
        })
        .ok()
}

fn setup(
    machine: carp_proto::Config,
    host: &Host,
    serving: impl ha_core::io::Effects + 'static,
) -> Setup {
    let addresses = host.live.ips();
    match &host.protocol {
        Protocol::Carp { passphrase, .. } => {
            Setup::new(machine, passphrase.key(), &addresses, serving)
        }
        Protocol::Vrrp { checksum, .. } => {
            Setup::vrrp(machine, &addresses, serving).with_checksum(*checksum)
        }
    }
}

fn address_options(host: &Host) -> AddressOptions {
    let mut options = AddressOptions::default();
    options.prefixes = host.live.prefixes();
    if !host.expire {
        options.lifetime = None;
    }
    if !host.set_address {
        options.leftover = Leftover::Keep;
    }
    if host.macvlan {
        options.macvlan = Some(MacvlanOptions::default());
    }
    options
}

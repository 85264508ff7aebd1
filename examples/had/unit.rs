//! A unit, made of its part of the file.

use std::path::Path;
use std::sync::Arc;

use ha_core::failover::{NodeId, Step};
use ha_core::io::arbiter::etcd::{Credentials, EtcdConfig};
use ha_core::io::arbiter::{EtcdArbiter, FileArbiter};
use ha_core::io::failover::{
    self, CommandService, Lazy, Part, SystemdUnit, Unit, UnitSetup, VirtualHosts,
};
use toml::Spanned;

use super::addresses::Served;
use super::config::{self, Config, Fsck};
use super::plan::{self, Subject};
use super::storage::Stored;
use super::values::CommandLine;
use super::{command, health, password};

/// Makes a unit of what was opened for it.
pub(crate) fn make(
    config: &Config,
    unit: &config::Unit,
    election: VirtualHosts,
    groups: &[Served],
    stored: Option<&Stored>,
) -> Result<Unit, String> {
    let text = |error: &dyn core::fmt::Display| error.to_string();
    let node = NodeId::new(*config.node.id.get_ref()).map_err(|error| text(&error))?;
    let mounts = unit
        .mounts
        .iter()
        .map(|mount| file_system(unit, mount.get_ref()));
    let mounts: Vec<Arc<failover::Mount>> = mounts.collect::<Result<_, _>>()?;
    let part = |subject| -> Option<Part> {
        Some(match subject {
            Subject::Fence => {
                let fence = unit.fence.as_ref()?.get_ref().peer.as_ref()?;
                Part::FencePeer(Arc::new(command::make(fence)))
            }
            Subject::Storage => stored?.storage.clone(),
            Subject::Device => stored?.device.clone()?,
            Subject::Check(index) => Part::Check(mounts.get(index)?.clone()),
            Subject::Mount(index) => Part::Mount(mounts.get(index)?.clone()),
            Subject::Service(index) => service(unit.services.get(index)?.get_ref())?,
            Subject::Address(index) => Part::Address(groups.get(index)?.gate.clone()),
        })
    };
    let steps = plan::steps(unit).into_iter();
    let steps: Option<Vec<(Step, Part)>> = steps
        .map(|(step, subject)| Some((step, part(subject)?)))
        .collect();
    let steps = steps.ok_or("a step that nothing carries out")?;
    let setup = UnitSetup::new(unit.name.get_ref(), node, steps, election);
    let mut setup = setup.map_err(|error| text(&error))?;
    plan::settle(&mut setup.config, unit);
    if let Some(shutdown) = &unit.shutdown {
        setup.shutdown = shutdown.get_ref().0;
    }
    for check in &unit.checks {
        let reports = stored.map(|stored| stored.reports.clone());
        let check = health::check(check.get_ref(), reports);
        setup = setup.check(check.ok_or("a check that looks at nothing")?);
    }
    if let Some(fence) = unit.fence.as_ref().map(Spanned::get_ref) {
        if let Some(this) = &fence.this {
            setup = setup.fence_self(fence.deadline.get_ref().0, command::make(this));
        }
    }
    if let Some(arbiter) = unit.arbiter.as_ref().map(Spanned::get_ref) {
        setup = with_arbiter(setup, unit, arbiter)?;
    }
    Unit::new(setup).map_err(|error| text(&error))
}

fn file_system(unit: &config::Unit, mount: &config::Mount) -> Result<Arc<failover::Mount>, String> {
    let own = mount
        .device
        .as_ref()
        .map(|device| device.get_ref().as_path());
    let device: &Path = own
        .or_else(|| unit.own_device())
        .ok_or("a mount without a device")?;
    let at = mount.at.get_ref();
    let made = failover::Mount::new(device, at, &mount.kind);
    let made = made.map_err(|error| error.to_string())?;
    let made = made
        .options(&mount.options)
        .patience(mount.patience.get_ref().0)
        // Only the unit's own device is taken away from those who still use it.
        .lazy(match mount.lazy && unit.own_device() == Some(device) {
            true => Lazy::Detach,
            false => Lazy::No,
        });
    Ok(Arc::new(match &mount.fsck {
        Fsck::Usual(true) => made,
        Fsck::Usual(false) => made.check_by(None),
        Fsck::By(line) => made.check_by(Some(command::make(line))),
    }))
}

fn service(service: &config::Service) -> Option<Part> {
    if let Some(name) = &service.systemd {
        return Some(Part::Service(Arc::new(SystemdUnit::new(name.get_ref()))));
    }
    let make = |line: &Spanned<CommandLine>| command::make(line.get_ref());
    let start = make(service.start.as_ref()?);
    let start = match service.background {
        true => start.keep_leftovers(),
        false => start,
    };
    let mut made = CommandService::new(start, make(service.stop.as_ref()?));
    if let Some(kill) = &service.kill {
        made = made.killed_by(make(kill));
    }
    if let Some(drain) = &service.drain {
        made = made.drained_by(make(drain));
    }
    Some(Part::Service(Arc::new(made)))
}

fn with_arbiter(
    setup: UnitSetup,
    unit: &config::Unit,
    arbiter: &config::Arbiter,
) -> Result<UnitSetup, String> {
    let settings = plan::arbitration(arbiter);
    if let Some(file) = &arbiter.file {
        return Ok(setup.arbiter(settings, FileArbiter::new(file.get_ref())));
    }
    let endpoints = arbiter.etcd.as_ref().map(Spanned::get_ref);
    let endpoints = endpoints.into_iter().flatten().map(|text| text.0.clone());
    let mut etcd = EtcdConfig::new(endpoints.collect());
    if let Some(prefix) = &arbiter.prefix {
        etcd.prefix.clone_from(prefix.get_ref());
    }
    if let (Some(user), Some(file)) = (&arbiter.user, &arbiter.password_file) {
        let password = password::read(file.get_ref())?;
        etcd.credentials = Some(Credentials::new(user.get_ref(), &password));
    }
    let arbiter = EtcdArbiter::new(etcd, unit.name.get_ref());
    let arbiter = arbiter.map_err(|error| error.to_string())?;
    Ok(setup.arbiter(settings, arbiter))
}

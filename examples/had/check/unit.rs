//! Units: storage, file systems, services, the arbiter, and whether the machine takes them.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Component, Path};

use ha_core::failover::{ConfigError, Failover, NodeId, PlanError};
use ha_core::hast_proto::Replication;
use toml::Spanned;

use super::super::config::{Arbiter, Config, Mount, Resource, Service, Unit};
use super::super::password;
use super::super::plan::{self, ADDRESS, Subject};
use super::super::values::Seconds;
use super::{Faults, health};

pub(super) fn check(config: &Config, faults: &mut Faults) {
    let (mut names, mut resources) = (BTreeMap::new(), BTreeMap::new());
    let (mut disks, mut devices, mut mounts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for unit in &config.units {
        let name = &unit.name.get_ref().0;
        faults.unless_new(&mut names, name, unit.name.span(), || {
            format!("there is a unit {name} already")
        });
        if unit.carp.is_empty() {
            faults.hinted(
                unit.name.span(),
                format!("unit {name} has no addresses"),
                "add a [[unit.carp]]: who is its master serves the unit",
            );
        }
        if let Some(resource) = &unit.resource {
            let (span, resource) = (resource.span(), resource.get_ref());
            match unit.resource_name() {
                Err(fault) => faults.add(fault),
                Ok(name) => faults.unless_new(&mut resources, name.clone(), span.clone(), || {
                    format!("there is a resource {name} already")
                }),
            }
            faults.unless_new(&mut disks, &resource.local, span.clone(), || {
                format!("{} is another unit's", resource.local.display())
            });
            storage(config, unit, resource, faults);
        }
        if let Some(device) = &unit.device {
            let path = &device.get_ref().device;
            absolute(path, "/dev/nbd0", faults);
            faults.unless_new(&mut devices, path.get_ref(), path.span(), || {
                format!("{} is another unit's", path.get_ref().display())
            });
            positive(&device.get_ref().deadline, faults);
            if unit.resource.is_none() {
                faults.hinted(
                    device.span(),
                    format!("unit {name} has a device, but no storage"),
                    "add a [unit.resource], or name the device in its [[unit.mount]]",
                );
            }
        }
        for mount in &unit.mounts {
            let at = &mount.get_ref().at;
            faults.unless_new(&mut mounts, at.get_ref(), at.span(), || {
                format!("{} is mounted already", at.get_ref().display())
            });
            file_system(unit, mount, faults);
        }
        services(unit, faults);
        health::check(unit, faults);
        if let Some(arbiter) = &unit.arbiter {
            check_arbiter(arbiter, faults);
        }
        if let Some(fence) = &unit.fence {
            positive(&fence.get_ref().deadline, faults);
            if fence.get_ref().peer.is_none() && fence.get_ref().this.is_none() {
                let hint = "add `peer`, `self`, or both: a command";
                faults.hinted(fence.span(), "nothing is fenced", hint);
            }
        }
        machine(config, unit, faults);
    }
}

fn storage(config: &Config, unit: &Unit, resource: &Resource, faults: &mut Faults) {
    if config.hast.listen.is_empty() {
        faults.hinted(
            unit.name.span(),
            format!(
                "unit {} has storage, but no peer can reach it",
                **unit.name.get_ref()
            ),
            "add [hast] with `listen`: the address of this node on the network of the storage",
        );
    }
    if let Err(what) = config.storage_peer(resource) {
        let span = resource
            .peer
            .as_ref()
            .map_or_else(|| unit.name.span(), Spanned::span);
        let hint = "name the [[node.peer]] that has the other copy: peer = \"beta\"";
        faults.hinted(span, what, hint);
    }
    if let (Replication::Async, Some(_)) = (resource.replication(), &unit.arbiter) {
        faults.hinted(
            unit.name.span(),
            "with async the peer always lacks something, so the arbiter would let nobody take over",
            "take replication = \"memsync\" or \"fullsync\"",
        );
    }
    let (timeout, least) = (&resource.timeout, Duration::from_secs(1));
    if timeout.get_ref().0 < least {
        faults.at(timeout.span(), "the timeout is less than a second");
    }
    for time in [
        &resource.reconnect,
        &resource.role_change,
        &resource.deadline,
    ] {
        positive(time, faults);
    }
    if resource.role_change.get_ref().0 >= resource.deadline.get_ref().0 {
        faults.hinted(
            resource.role_change.span(),
            "the disk may take longer than the change of the role",
            "make role_change less than deadline",
        );
    }
}

fn file_system(unit: &Unit, mount: &Spanned<Mount>, faults: &mut Faults) {
    let (span, mount) = (mount.span(), mount.get_ref());
    let at = mount.at.get_ref();
    let is_plain = at.is_absolute()
        && at.file_name().is_some()
        && !at.components().any(|part| part == Component::ParentDir);
    if !is_plain {
        let what = format!("{at:?} is not an absolute path below \"/\"");
        faults.at(mount.at.span(), what);
    }
    match &mount.device {
        Some(device) => absolute(device, "/dev/nbd0", faults),
        None if unit.device.is_none() => faults.hinted(
            span,
            format!("what is to be mounted at {} is not said", at.display()),
            "add `device`, or a [unit.device] with the [unit.resource]",
        ),
        None => {}
    }
    positive(&mount.patience, faults);
    positive(&mount.deadline, faults);
}

fn services(unit: &Unit, faults: &mut Faults) {
    let mut names = BTreeMap::new();
    let all = || unit.services.iter().map(Spanned::get_ref);
    for service in all() {
        let name = &service.name.get_ref().0;
        if **name == *ADDRESS {
            let what = format!("{ADDRESS:?} is what services name to come after the addresses");
            faults.at(service.name.span(), what);
        }
        faults.unless_new(&mut names, name, service.name.span(), || {
            format!("there is a service {name} already")
        });
        for after in &service.after {
            let wanted = &**after.get_ref();
            if **wanted != *ADDRESS && plan::place_of(unit, wanted).is_none() {
                let others = all().map(|it| &***it.name.get_ref());
                let others = others.filter(|it| *it != &**name).chain([ADDRESS]);
                faults.unknown(after.span(), "service", wanted, others);
            }
        }
        service_commands(service, faults);
        let deadlines = [
            &service.start_deadline,
            &service.stop_deadline,
            &service.kill_deadline,
            &service.drain_deadline,
        ];
        for deadline in deadlines {
            positive(deadline, faults);
        }
    }
}

fn service_commands(service: &Service, faults: &mut Faults) {
    let name = &service.name;
    let others = [&service.start, &service.stop, &service.kill, &service.drain];
    match (&service.systemd, &service.start, &service.stop) {
        (Some(unit), ..) => {
            if let Some(other) = others.into_iter().flatten().next() {
                let what = "both a unit of systemd and a command are given";
                faults.at(other.span(), what);
            }
            if unit.get_ref().is_empty() || unit.get_ref().starts_with('-') {
                faults.at(unit.span(), "it is not the name of a unit");
            }
        }
        (None, Some(_), Some(_)) => {}
        (None, None, None) => faults.hinted(
            name.span(),
            format!("service {} is started by nothing", **name.get_ref()),
            "add systemd = \"x.service\", or `start` and `stop`: commands",
        ),
        (None, Some(start), None) => {
            let hint = "what starts a service has to be able to end it: add `stop`";
            faults.hinted(start.span(), "there is no command to stop it", hint);
        }
        (None, None, Some(stop)) => faults.at(stop.span(), "there is no command to start it"),
    }
}

fn check_arbiter(arbiter: &Spanned<Arbiter>, faults: &mut Faults) {
    let (span, arbiter) = (arbiter.span(), arbiter.get_ref());
    match (&arbiter.etcd, &arbiter.file) {
        (None, None) => {
            let hint = "add `etcd`: a list of addresses";
            faults.hinted(span, "nobody keeps the arbiter's record", hint);
        }
        (Some(_), Some(file)) => faults.at(file.span(), "both etcd and a file are given"),
        (Some(etcd), None) => {
            if etcd.get_ref().is_empty() {
                faults.at(etcd.span(), "nobody could be asked");
            }
        }
        (None, Some(file)) => absolute(file, "/var/tmp/had-record", faults),
    }
    for only in [&arbiter.prefix, &arbiter.user].into_iter().flatten() {
        if arbiter.etcd.is_none() {
            faults.at(only.span(), "this is for etcd alone");
        }
    }
    match (&arbiter.user, &arbiter.password_file) {
        (Some(user), None) => faults.hinted(
            user.span(),
            "the user has no password",
            "add password_file = \"/etc/had/etcd-password\"",
        ),
        (None, Some(file)) => faults.at(file.span(), "the password is of no user"),
        (Some(_), Some(file)) => {
            if let Err(error) = password::read(file.get_ref()) {
                let hint = "its first line is the password; who runs had has to be able to read it";
                faults.hinted(file.span(), error, hint);
            }
        }
        (None, None) => {}
    }
}

/// What the machine itself has against a unit.
fn machine(config: &Config, unit: &Unit, faults: &mut Faults) {
    let Ok(node) = NodeId::new(*config.node.id.get_ref()) else {
        return;
    };
    let machine = match plan::machine(node, unit) {
        Ok(machine) => machine,
        Err(error) => return in_plan(unit, error, faults),
    };
    let Err(error) = Failover::<Duration>::new(machine) else {
        return;
    };
    let hold = &unit.hold;
    let span = match error {
        // That is told already.
        ConfigError::NoGroup => return,
        ConfigError::Demotion { .. } => unit.demotion.as_ref().map(Spanned::span),
        ConfigError::StopEarly { .. } | ConfigError::Interval { .. } => {
            unit.arbiter.as_ref().map(Spanned::span)
        }
        ConfigError::Zero { field } | ConfigError::TooLong { field, .. } => {
            let time = match field {
                "holds.failed" => hold.failed.as_ref(),
                "holds.left" => hold.left.as_ref(),
                "holds.stuck" => hold.stuck.as_ref(),
                _ => None,
            };
            let arbiter = unit.arbiter.as_ref().filter(|_| field.starts_with("arb"));
            time.map(Spanned::span)
                .or_else(|| arbiter.map(Spanned::span))
        }
        _ => None,
    };
    faults.at(span.unwrap_or_else(|| unit.name.span()), error.to_string());
}

fn in_plan(unit: &Unit, error: PlanError, faults: &mut Faults) {
    let name = &unit.name;
    match error {
        PlanError::Circle { step } => {
            let steps = plan::steps(unit);
            let subject = steps.get(step.index()).map(|(_, subject)| *subject);
            let service = match subject {
                Some(Subject::Service(index)) => unit.services.get(index),
                _ => None,
            };
            let span = service.map(|service| service.get_ref().name.span());
            faults.hinted(
                span.unwrap_or_else(|| name.span()),
                "the service comes after itself, by way of others perhaps",
                "look at the lists `after`: they go round in a circle",
            );
        }
        // A time of zero is told where it stands.
        PlanError::NoTime { .. } => {}
        PlanError::TooMany { count } => faults.hinted(
            name.span(),
            format!("{count} steps where at most 64 are possible"),
            "make several units of it",
        ),
        error => faults.at(name.span(), error.to_string()),
    }
}

/// A time of zero is none.
pub(super) fn positive(time: &Spanned<Seconds>, faults: &mut Faults) {
    if time.get_ref().0.is_zero() {
        faults.at(time.span(), "it has no time at all");
    }
}

fn absolute(path: &Spanned<impl AsRef<Path>>, example: &str, faults: &mut Faults) {
    let shown = path.get_ref().as_ref();
    if !shown.is_absolute() {
        let what = format!("{shown:?} is not an absolute path");
        faults.hinted(
            path.span(),
            what,
            format!("write it from the root: {example:?}"),
        );
    }
}

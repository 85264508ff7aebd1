//! The storage of units: resources of HAST, and the devices that clients of NBD make of them.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use ha_core::failover::NodeId;
use ha_core::hast_proto::primary::Alone;
use ha_core::io::failover::{Exported, HastStorage, NbdExport, Part, Storage, StorageReport};
use ha_core::io::hast::{FileBacking, Node, Resource, Settings};
use tokio::sync::watch;
use tracing::warn;

use super::command;
use super::config::{self, Config, Unit};

/// How long requests wait at the start of a primary for the peer to be met: it was the peer that
/// served until now, and that is mostly gone. One that lives and is primary still says so, and is
/// waited for longer.
const FIRST_CONTACT: Duration = Duration::from_millis(250);
/// The longest time without a sign of life; the timeout is at least twice as long.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The storage of a unit, and what of it the steps of a plan need.
pub(crate) struct Stored {
    pub(crate) resource: Resource,
    pub(crate) reports: watch::Receiver<StorageReport>,
    pub(crate) storage: Part,
    /// What makes the device, if something does.
    pub(crate) device: Option<Part>,
}

/// Adds the resource of a unit to the node, in the role init.
pub(crate) fn add(
    config: &Config,
    unit: &Unit,
    resource: &config::Resource,
    node: &Node,
) -> Result<Stored, String> {
    let text = |error: &dyn core::fmt::Display| error.to_string();
    let name = unit.resource_name().map_err(|fault| fault.to_string())?;
    let backing = FileBacking::new(&resource.local);
    let added = node.add(name, settings(unit, resource), backing);
    let added = added.map_err(|error| text(&error))?;
    let this = NodeId::new(*config.node.id.get_ref()).map_err(|error| text(&error))?;
    let peer = config.storage_peer(resource).map_err(str::to_owned)?;
    let storage = HastStorage::follow(node, added.clone(), this, peer);
    let reports = storage.reports();
    let Some(device) = &unit.device else {
        return Ok(Stored {
            resource: added,
            reports,
            storage: Part::StorageRole(Arc::new(storage)),
            device: None,
        });
    };
    let export = export(config, unit, device.get_ref(), added.clone());
    let exported = Arc::new(Exported::new(storage, export));
    Ok(Stored {
        resource: added,
        reports,
        storage: Part::StorageRole(exported.clone()),
        device: Some(Part::Device(exported)),
    })
}

fn settings(unit: &Unit, resource: &config::Resource) -> Settings {
    let device = unit.own_device().unwrap_or_else(|| Path::new("-"));
    let local = resource.local.display().to_string();
    let mut settings = Settings::new(&device.display().to_string(), &local);
    settings.remote = Some(resource.remote.0.0.clone());
    settings.source = resource.source.as_ref().map(|source| source.0.0.clone());
    settings.checksum = resource.checksum.map_or(settings.checksum, |text| text.0);
    settings.compression = resource
        .compression
        .map_or(settings.compression, |text| text.0);
    settings.metaflush = resource.metaflush;
    settings.role_change = resource.role_change.get_ref().0;
    let primary = &mut settings.primary;
    primary.replication = resource.replication();
    primary.timeout = resource.timeout.get_ref().0;
    primary.keepalive = KEEPALIVE.min(primary.timeout / 3);
    primary.reconnect = resource.reconnect.get_ref().0;
    primary.first_contact = FIRST_CONTACT.min(primary.first_contact);
    if unit.arbiter.is_some() {
        primary.alone = Alone::Asked;
    }
    settings
}

fn export(config: &Config, unit: &Unit, device: &config::Device, resource: Resource) -> NbdExport {
    let name = unit.name.get_ref().to_string();
    let socket = config.node.run.get_ref().join(format!("{name}.nbd"));
    let path = device.device.get_ref();
    let export = resource.name().as_str().to_owned();
    let command = |line| {
        command::make(line)
            .env("HAD_UNIT", &name)
            .env("HAD_SOCKET", &socket)
            .env("HAD_EXPORT", &export)
            .env("HAD_DEVICE", path)
            // A client may do its work in the background.
            .keep_leftovers()
    };
    let (attach, detach) = (command(&device.attach), command(&device.detach));
    let unit = name.clone();
    NbdExport::new(resource, &socket, &export, path, attach, detach)
        .report(move |why| warn!(unit, "a client of the device was lost: {why}"))
}

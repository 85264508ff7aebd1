//! One resource: its role, its device, and the program that is told of its events.

use core::fmt;
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::io::hast::{
    AttachError, Discard, FileBacking, Node, Resource, RoleError, Settings, Side, Status,
};
use hast_proto::conf::{self, ResourceConfig};
use hast_proto::control::{Connection, ControlFault, DiscardOrder, DiscardOutcome, ResourceStatus};
use hast_proto::decision::GiveWay;
use hast_proto::hooks::HookEvent;
use hast_proto::{ResourceName, Role};
use tracing::{info, warn};

use super::devices::{self, Devices};
use super::hook::Hook;
use super::program;
use super::reload::Change;

/// How to deal with the other node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peering {
    /// How long to wait between attempts to connect.
    pub(crate) reconnect: Duration,
    /// Whether to give way to it.
    pub(crate) give_way: GiveWay,
}

/// How long a change of the role may take, of which the clients of its device may have some.
const ROLE_CHANGE: Duration = Duration::from_millis(1900);

/// A resource at work.
#[derive(Debug)]
pub(crate) struct Running {
    name: ResourceName,
    devices: Arc<Devices>,
    hook: Hook,
    /// What the command line says about the other node.
    peering: Peering,
    resource: Mutex<Resource>,
    /// What is run at events.
    exec: Mutex<Option<conf::Path>>,
    /// How it is configured. Who holds it changes the role, or what is below, and opens or closes
    /// the device; nobody else does.
    config: tokio::sync::Mutex<ResourceConfig>,
}

/// Why something was not done: what the log says, and what hastctl is told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) text: String,
    pub(crate) fault: ControlFault,
}

impl Refused {
    /// An error of the system without a number of its own: EIO.
    const OTHER: ControlFault = ControlFault::Other(5);
    const BUSY: ControlFault = ControlFault::Other(16);

    fn new(error: impl fmt::Display) -> Self {
        Self {
            text: error.to_string(),
            fault: Self::OTHER,
        }
    }
}

impl From<RoleError> for Refused {
    fn from(error: RoleError) -> Self {
        let fault = match &error {
            RoleError::DiskBusy { .. } | RoleError::Changing => Self::BUSY,
            RoleError::Ended(_) => ControlFault::NoEntry,
            _ => Self::OTHER,
        };
        Self {
            text: error.to_string(),
            fault,
        }
    }
}

impl Running {
    /// Adds a resource to the node, in the role init.
    pub(crate) fn start(
        node: &Node,
        devices: Arc<Devices>,
        config: ResourceConfig,
        hook: Hook,
        peering: Peering,
    ) -> Result<Self, Refused> {
        let name = hook.resource().clone();
        let resource = add(node, &name, &config, peering)?;
        check_exec(&config);
        info!(resource = %name, "added");
        Ok(Self {
            name,
            devices,
            hook,
            peering,
            resource: Mutex::new(resource),
            exec: Mutex::new(config.exec.clone()),
            config: tokio::sync::Mutex::new(config),
        })
    }

    pub(crate) fn name(&self) -> &ResourceName {
        &self.name
    }

    /// How it is configured, which after a failure may not be how it was to be.
    pub(crate) async fn config(&self) -> ResourceConfig {
        self.config.lock().await.clone()
    }

    /// Changes the role, and returns the one before. The device of a primary can be used when this
    /// ends well. For a primary whose local disk has failed, the same role once more means to use
    /// the disk again, or another one in its place.
    pub(crate) async fn set_role(&self, role: Role) -> Result<Role, Refused> {
        let config = self.config.lock().await;
        self.change_role(&config, role).await
    }

    async fn change_role(&self, config: &ResourceConfig, role: Role) -> Result<Role, Refused> {
        let resource = self.resource();
        if role != Role::Primary {
            // Clients see a connection that ends, and come again; not errors of their requests.
            self.devices.close(&self.name).await;
        }
        let before = resource.set_role(role).await?;
        match (before, role) {
            (_, Role::Init | Role::Secondary) => {}
            (Role::Primary, Role::Primary) => attach(&resource).await?,
            (_, Role::Primary) => self.serve(config, &resource).await?,
        }
        Ok(before)
    }

    /// Opens the device of a new primary. One that nobody can use would only keep the other node
    /// from being primary.
    async fn serve(&self, config: &ResourceConfig, resource: &Resource) -> Result<(), Refused> {
        let device = resource.device().await.map_err(Refused::new)?;
        let provider = config.provider.as_str();
        if let Err(error) = self.devices.open(&self.name, provider, device).await {
            resource.set_role(Role::Init).await?;
            let text = format!("the device cannot be served: {error}");
            return Err(Refused::new(text));
        }
        Ok(())
    }

    /// Goes on with another configuration.
    pub(crate) async fn configure(
        &self,
        node: &Node,
        new: ResourceConfig,
        change: Change,
    ) -> Result<(), Refused> {
        let mut config = self.config.lock().await;
        let settings = settings(&new, self.peering)?;
        check_exec(&new);
        lock(&self.exec).clone_from(&new.exec);
        match change {
            Change::Adjust => {
                let configured = self.resource().configure(settings).await;
                configured.map_err(Refused::new)?;
                *config = new;
            }
            Change::Restart => {
                let role = self.change_role(&config, Role::Init).await?;
                node.remove(&self.name).await?;
                let resource = add(node, &self.name, &new, self.peering)?;
                *lock(&self.resource) = resource;
                *config = new;
                self.change_role(&config, role).await?;
            }
        }
        info!(resource = %self.name, "changed");
        Ok(())
    }

    /// Takes the resource from the node.
    pub(crate) async fn remove(&self, node: &Node) -> Result<(), Refused> {
        let _config = self.config.lock().await;
        self.devices.close(&self.name).await;
        node.remove(&self.name).await?;
        info!(resource = %self.name, "removed");
        Ok(())
    }

    /// Closes the device of a resource that is primary no longer, though nobody ordered that.
    pub(crate) async fn withdraw(&self) {
        let _config = self.config.lock().await;
        if self.role().await != Some(Role::Primary) {
            self.devices.close(&self.name).await;
        }
    }

    /// Returns what hastctl shows.
    ///
    /// "complete" without dirty octets is what tells an operator that the other node may take over
    /// (HAST §7.4). So there is a dirty extent until the nodes have agreed that they are the same,
    /// which is a little later than when the last one is copied.
    pub(crate) async fn status(&self) -> Result<ResourceStatus, ControlFault> {
        let status = self.resource().status().await;
        let Status {
            mut control, side, ..
        } = status.map_err(|_| ControlFault::NoEntry)?;
        if let (Side::Primary(primary), Some(worker)) = (side, &mut control.worker) {
            if worker.connection == Connection::Complete && !primary.in_sync {
                worker.dirty = worker.dirty.max(worker.extent_size.into());
            }
        }
        Ok(control)
    }

    /// Discards what this node has changed alone. It waits for changes of the role, and they for
    /// it.
    pub(crate) async fn discard(&self, order: &DiscardOrder) -> DiscardOutcome {
        let _config = self.config.lock().await;
        let file = Path::new(&*order.file);
        if !file.is_absolute() {
            return DiscardOutcome::Refused("the path of the file is not absolute".into());
        }
        let mut discard = Discard::new(file, &order.node);
        discard.force = order.force;
        match self.resource().discard(discard).await {
            Ok(discarded) => DiscardOutcome::Done {
                extents: discarded.extents,
                octets: discarded.octets.get(),
                with_peer: discarded.with_peer,
            },
            Err(error) => DiscardOutcome::Refused(error.to_string().into()),
        }
    }

    pub(crate) async fn role(&self) -> Option<Role> {
        Some(self.status().await.ok()?.role)
    }

    /// Has the program told of an event.
    pub(crate) fn tell(&self, event: HookEvent) {
        self.hook.tell(lock(&self.exec).as_ref(), event);
    }

    fn resource(&self) -> Resource {
        lock(&self.resource).clone()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Uses the local disk again, if it has failed.
async fn attach(resource: &Resource) -> Result<(), Refused> {
    match resource.attach().await {
        Ok(()) | Err(AttachError::NotFailed) => Ok(()),
        Err(error) => Err(Refused::new(error)),
    }
}

/// Warns of a program that cannot be run. It may be there when it is needed.
fn check_exec(config: &ResourceConfig) {
    if let Some(exec) = &config.exec {
        if let Err(error) = program::check(Path::new(exec.as_str())) {
            warn!(resource = %config.name, %exec, error, "exec: it cannot be run");
        }
    }
}

fn add(
    node: &Node,
    name: &ResourceName,
    config: &ResourceConfig,
    peering: Peering,
) -> Result<Resource, Refused> {
    let settings = settings(config, peering)?;
    let backing = FileBacking::new(config.local.as_str());
    let added = node.add(name.clone(), settings, backing);
    added.map_err(Refused::new)
}

/// Makes settings of a configuration, if this program can do all that it asks for.
pub(crate) fn settings(config: &ResourceConfig, peering: Peering) -> Result<Settings, Refused> {
    // To do without would be worse than not to begin.
    if !config.arbiters.is_empty() {
        return Err(Refused::new("`arbiter`: this hastd asks none"));
    }
    let mut settings = Settings::try_from(config).map_err(Refused::new)?;
    settings.primary.reconnect = peering.reconnect;
    settings.primary.give_way = peering.give_way;
    settings.role_change = ROLE_CHANGE - devices::GRACE;
    Ok(settings)
}

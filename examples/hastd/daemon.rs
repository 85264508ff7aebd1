//! What runs: one node with all resources, and the steps that bring it from one configuration to
//! the next.

use core::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::io::hast::tls::Identity;
use ha_core::io::hast::{EventKind, Events, NetAddress, Node, NodeLimits};
use hast_proto::conf::{Config, DEFAULT_PORT, Listen, ResourceConfig};
use hast_proto::control::{
    ControlAnswer, ControlFault, ControlRequest, DiscardOrder, DiscardOutcome, Resources,
};
use hast_proto::frame::{Encoder, Segments};
use hast_proto::{ResourceName, Role};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use super::control::Control;
use super::devices::Devices;
use super::hook::Hook;
use super::options::Options;
use super::pidfile::{PidFile, PidFileError};
use super::reload::Plan;
use super::resource::Running;
use super::run::Failure;
use super::{log, systemd};

/// What is to run.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) config: Config,
    /// Who this node is, if any resource is replicated in TLS.
    pub(crate) identity: Option<Identity>,
}

/// What a configuration has become.
#[derive(Debug)]
pub(crate) struct Daemon {
    options: Arc<Options>,
    /// The addresses and the pid file that are in use; what the resources are, they know.
    config: Config,
    node: Node,
    devices: Arc<Devices>,
    resources: Arc<ResourceSet>,
    control: Control,
    pidfile: Option<PidFile>,
    /// The tasks that run hooks.
    hooks: JoinSet<()>,
    watching: JoinHandle<()>,
}

/// The resources, in the order of the configuration.
#[derive(Debug, Default)]
struct ResourceSet {
    running: Mutex<Vec<Arc<Running>>>,
}

impl ResourceSet {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Running>> {
        self.lock().clone()
    }

    fn find(&self, name: &str) -> Option<Arc<Running>> {
        let running = self.lock();
        let found = running.iter().find(|it| it.name().as_str() == name);
        found.cloned()
    }
}

impl Daemon {
    /// Begins with all resources in the role init.
    pub(crate) async fn start(options: Arc<Options>, wanted: Wanted) -> Result<Self, Failure> {
        let Wanted { config, identity } = wanted;
        let pidfile = open_pidfile(&options, &config)?;
        let node = Node::new(NodeLimits::default());
        node.set_identity(identity);
        let listening = listen(&node, &config.listen).await;
        listening.map_err(|error| Failure::new(Failure::SYSTEM, error))?;
        let devices = Devices::new(&options.devices, &options.nbd_listen).await;
        let devices = devices.map_err(|error| Failure::new(Failure::SYSTEM, error))?;
        let resources = Arc::new(ResourceSet::default());
        let control = open_control(config.control(), &resources).await;
        let control = control.map_err(|error| Failure::new(Failure::SYSTEM, error))?;
        let watching = tokio::spawn(watch(node.events(), resources.clone()));
        let mut daemon = Self {
            options,
            config,
            node,
            devices: Arc::new(devices),
            resources,
            control,
            pidfile,
            hooks: JoinSet::new(),
            watching,
        };
        for resource in daemon.config.resources.clone() {
            let added = daemon.add(resource);
            added.map_err(|error| Failure::new(Failure::CONFIGURATION, error))?;
        }
        Ok(daemon)
    }

    /// Does what another configuration wants. What is the same in both goes on undisturbed; what
    /// fails is told, and the rest is done all the same.
    pub(crate) async fn apply(&mut self, wanted: Wanted) -> Result<(), String> {
        let Wanted {
            config: to,
            identity,
        } = wanted;
        // For new connections; sessions go on with what they were begun with.
        self.node.set_identity(identity);
        let mut errors = Vec::new();
        if let Err(error) = self.move_to(&to).await {
            warn!("{error}");
            errors.push(error);
        }
        let mut present = Vec::new();
        for resource in self.resources.all() {
            present.push(resource.config().await);
        }
        let plan = Plan::new(&present, &to);
        for name in &plan.remove {
            if let Some(resource) = self.resources.find(name) {
                let removed = resource.remove(&self.node).await;
                note(&mut errors, name, removed.map_err(|refused| refused.text));
                let mut resources = self.resources.lock();
                resources.retain(|it| it.name().as_str() != name);
            }
        }
        for config in plan.add {
            let name = config.name.to_string();
            note(&mut errors, &name, self.add(config));
        }
        for (config, change) in plan.change {
            let name = config.name.to_string();
            if let Some(resource) = self.resources.find(&name) {
                let changed = resource.configure(&self.node, config, change).await;
                note(&mut errors, &name, changed.map_err(|refused| refused.text));
            }
        }
        let place = |it: &Arc<Running>| {
            let mut resources = to.resources.iter();
            resources.position(|resource| resource.name.as_str() == it.name().as_str())
        };
        self.resources.lock().sort_by_key(place);
        while self.hooks.try_join_next().is_some() {}
        match errors.as_slice() {
            [] => Ok(()),
            errors => Err(errors.join("; ")),
        }
    }

    /// Takes other addresses and another pid file. Where that fails, what there was stays.
    async fn move_to(&mut self, to: &Config) -> Result<(), String> {
        if to.control() != self.config.control() {
            self.control = open_control(to.control(), &self.resources).await?;
            self.config.control.clone_from(&to.control);
        }
        if to.listen != self.config.listen {
            listen(&self.node, &to.listen).await?;
            self.config.listen.clone_from(&to.listen);
        }
        if to.pidfile() != self.config.pidfile() && self.options.pidfile.is_none() {
            let pidfile = open_pidfile(&self.options, to).map_err(|failure| failure.text)?;
            self.pidfile = pidfile;
            self.config.pidfile.clone_from(&to.pidfile);
        }
        Ok(())
    }

    fn add(&mut self, config: ResourceConfig) -> Result<(), String> {
        let name = ResourceName::new(config.name.as_str()).map_err(|error| error.to_string())?;
        let (hook, worker) = Hook::new(name, self.options.hook_timeout());
        self.hooks.spawn(worker);
        let running = Running::start(
            &self.node,
            self.devices.clone(),
            config,
            hook,
            self.options.peering(),
        );
        let running = running.map_err(|refused| refused.text)?;
        self.resources.lock().push(Arc::new(running));
        Ok(())
    }

    /// Ends: no more orders, no more clients; then every role becomes init, and the last events
    /// are told, for which there is a limit of time.
    pub(crate) async fn shut_down(self) -> Result<(), Failure> {
        drop(self.control);
        self.devices.close_all().await;
        let ended = self.node.shutdown().await;
        // It ends when it has seen the node's last events, and the hooks end with the resources.
        drop(self.node);
        let _ = self.watching.await;
        self.resources.lock().clear();
        let mut hooks = self.hooks;
        let told = async { while hooks.join_next().await.is_some() {} };
        if timeout(self.options.hook_timeout(), told).await.is_err() {
            warn!("exec: killed, with events that are not told");
        }
        ended.map_err(|error| Failure::new(Failure::SOFTWARE, error))
    }
}

/// Writes an error down, with what it is about.
fn note(errors: &mut Vec<String>, name: &str, done: Result<(), String>) {
    if let Err(error) = done {
        warn!(resource = name, "{error}");
        errors.push(format!("resource {name}: {error}"));
    }
}

/// In the foreground there is a pid file only if one is asked for.
fn open_pidfile(options: &Options, config: &Config) -> Result<Option<PidFile>, Failure> {
    let path = match &options.pidfile {
        Some(path) => path.as_path(),
        None if options.foreground => return Ok(None),
        None => Path::new(config.pidfile()),
    };
    match PidFile::create(path) {
        Ok(file) => Ok(Some(file)),
        Err(error @ PidFileError::Running(_)) => Err(Failure::new(Failure::TEMPORARY, error)),
        Err(error) => Err(Failure::new(
            Failure::SYSTEM,
            format!("{}: {error}", path.display()),
        )),
    }
}

async fn open_control(address: &str, resources: &Arc<ResourceSet>) -> Result<Control, String> {
    let resources = resources.clone();
    let opened = Control::open(address, move |request| answer(resources.clone(), request)).await;
    opened.map_err(|error| format!("cannot take orders at {address}: {error}"))
}

async fn listen(node: &Node, listen: &Listen) -> Result<(), String> {
    let mut addresses = Vec::new();
    for text in listen.addresses() {
        addresses.push(
            resolve(text)
                .await
                .map_err(|error| format!("listen {text}: {error}"))?,
        );
    }
    let listening = match (listen, node.listen(&addresses)) {
        (_, Ok(())) => Ok(()),
        // Each of them counts only if the host has the family.
        (Listen::Default, Err(error)) => addresses
            .iter()
            .find(|address| node.listen(&[**address]).is_ok())
            .map(|_| ())
            .ok_or(error),
        (Listen::At(_), Err(error)) => Err(error),
    };
    listening.map_err(|error| error.to_string())?;
    for address in node.listening() {
        info!(%address, "listening for peers");
    }
    Ok(())
}

async fn resolve(text: &str) -> Result<SocketAddr, String> {
    let address = NetAddress::parse(text, DEFAULT_PORT).map_err(|error| error.to_string())?;
    let found = address.resolve().await.map_err(|error| error.to_string())?;
    found
        .first()
        .copied()
        .ok_or_else(|| "no address".to_owned())
}

/// Logs what happens, has the hooks told, and takes away the devices of resources that are primary
/// no longer, until the node ends.
async fn watch(mut events: Events, resources: Arc<ResourceSet>) {
    let mut lost = 0;
    while let Some(event) = events.next().await {
        if events.lost() > lost {
            warn!(lost = events.lost() - lost, "events were lost");
            lost = events.lost();
        }
        log::tell(&event);
        let name = event.resource.as_ref().map(ResourceName::as_str);
        let resource = name.and_then(|name| resources.find(name));
        if let (Some(resource), Some(hook)) = (&resource, event.hook) {
            resource.tell(hook);
        }
        if let (Some(resource), EventKind::Role { old, .. }) = (resource, event.kind) {
            if old == Role::Primary {
                tokio::spawn(async move { resource.withdraw().await });
            }
            let resources = resources.clone();
            tokio::spawn(async move { systemd::tell_roles(&roles(&resources).await).await });
        }
    }
}

async fn roles(resources: &ResourceSet) -> Vec<(String, Role)> {
    let mut roles = Vec::new();
    for resource in resources.all() {
        if let Some(role) = resource.role().await {
            roles.push((resource.name().to_string(), role));
        }
    }
    roles
}

/// Does what hastctl asks for. Once begun it is done, whether anybody waits for it or not.
async fn answer(resources: Arc<ResourceSet>, request: ControlRequest) -> Segments {
    let mut encoder = Encoder::new();
    match request {
        ControlRequest::SetRole(role, which) => {
            let change = move |resource: Arc<Running>| order(resource, role);
            each(&resources, which, change).await.encode(&mut encoder)
        }
        ControlRequest::Status(which) => {
            let ask = |resource: Arc<Running>| async move { resource.status().await };
            each(&resources, which, ask).await.encode(&mut encoder)
        }
        ControlRequest::Discard(order) => {
            let which = Resources::Named(vec![order.resource.clone()]);
            let discard = move |resource: Arc<Running>| discard(resource, order.clone());
            each(&resources, which, discard).await.encode(&mut encoder)
        }
    }
}

async fn discard(
    resource: Arc<Running>,
    order: DiscardOrder,
) -> Result<DiscardOutcome, ControlFault> {
    let name = resource.name();
    info!(resource = %name, file = %order.file, "hastctl orders a discard");
    let outcome = resource.discard(&order).await;
    if let DiscardOutcome::Refused(reason) = &outcome {
        warn!(resource = %name, %reason, "not discarded");
    }
    Ok(outcome)
}

async fn order(resource: Arc<Running>, role: Role) -> Result<Role, ControlFault> {
    let name = resource.name();
    info!(resource = %name, %role, "hastctl orders a role");
    resource.set_role(role).await.map_err(|refused| {
        warn!(resource = %name, %role, reason = refused.text, "role not changed");
        refused.fault
    })
}

/// Asks resources, all at the same time.
async fn each<T, Asking>(
    resources: &ResourceSet,
    which: Resources,
    ask: impl Fn(Arc<Running>) -> Asking,
) -> ControlAnswer<T>
where
    T: Send + 'static,
    Asking: Future<Output = Result<T, ControlFault>> + Send + 'static,
{
    let names = match which {
        Resources::All => resources.all().iter().map(|it| it.name().clone()).collect(),
        Resources::Named(names) => names,
    };
    let asked: Vec<_> = names
        .into_iter()
        .map(|name| {
            let resource = resources.find(name.as_str());
            (name, resource.map(|resource| tokio::spawn(ask(resource))))
        })
        .collect();
    let mut answer = ControlAnswer {
        resources: Vec::new(),
        fault: None,
    };
    for (name, asked) in asked {
        let result = match asked {
            // A panic is not the caller's fault, and has no number.
            Some(task) => task.await.unwrap_or(Err(ControlFault::Other(5))),
            None => Err(ControlFault::NoEntry),
        };
        answer.resources.push((name, result));
    }
    answer
}

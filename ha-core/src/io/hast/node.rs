//! One node: its listening sockets and its resources.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use hast_proto::{ResourceName, Role};
use tokio::task::AbortHandle;

use super::backing::Backing;
use super::engine::{self, Access};
use super::event::Events;
use super::listener::Listener;
use super::resource::{Resource, RoleError};
use super::settings::Settings;
use super::shared::{NodeStats, Shared};

/// What bounds a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NodeLimits {
    /// How long a connection may take to say what it is for. The original waits 20 s.
    pub opening: Duration,
    /// How many connections from one address may not have said it yet.
    pub openings: usize,
    /// How many events are kept for a reader that is behind.
    pub events: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            opening: Duration::from_secs(20),
            openings: 16,
            events: 1024,
        }
    }
}

/// Why a resource was not added.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// There is one of that name.
    #[error("there is a resource of that name")]
    Exists,
}

/// Why an address is not listened on. What was listened on before still is.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
#[non_exhaustive]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

/// A node; clones are the same one. When the last is dropped, everything stops where it is, as
/// if the program had been killed: see [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// What listening sockets and handles share.
pub(super) struct Inner {
    pub(super) limits: NodeLimits,
    pub(super) shared: Shared,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    resources: BTreeMap<ResourceName, Entry>,
    listeners: Vec<Listener>,
    /// Connections that have not said what they are for.
    openings: BTreeMap<IpAddr, usize>,
}

struct Entry {
    resource: Resource,
    access: Arc<Access>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl Node {
    /// Makes a node without resources, which listens nowhere.
    #[must_use]
    pub fn new(limits: NodeLimits) -> Self {
        let inner = Inner {
            limits,
            shared: Shared::new(limits.events),
            state: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Listens on these addresses from now on, and on no others. Those that are listened on
    /// already stay as they are.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for the first that fails; nothing has changed then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen(&self, addresses: &[SocketAddr]) -> Result<(), ListenError> {
        let mut state = self.inner.lock();
        let mut fresh = Vec::new();
        for &address in addresses {
            if !state.listeners.iter().any(|it| it.asked == address) {
                let listener = Listener::open(address, &self.inner);
                fresh.push(listener.map_err(|error| ListenError { address, error })?);
            }
        }
        state.listeners.retain(|it| addresses.contains(&it.asked));
        state.listeners.append(&mut fresh);
        Ok(())
    }

    /// Returns the addresses that are listened on, with the ports that the system has chosen.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.inner
            .lock()
            .listeners
            .iter()
            .map(|it| it.bound)
            .collect()
    }

    /// Adds a resource, in the role init.
    ///
    /// # Errors
    ///
    /// [`AddError`]
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn add(
        &self,
        name: ResourceName,
        settings: Settings,
        backing: impl Backing + 'static,
    ) -> Result<Resource, AddError> {
        let mut state = self.inner.lock();
        if state.resources.contains_key(&name) {
            return Err(AddError::Exists);
        }
        let backing: Box<dyn Backing> = Box::new(backing);
        let shared = self.inner.shared.clone();
        let (resource, access, task) = engine::spawn(name.clone(), settings, backing, shared);
        let entry = Entry {
            resource: resource.clone(),
            access,
            task,
        };
        state.resources.insert(name, entry);
        Ok(resource)
    }

    /// Removes a resource: its role becomes init, and then it is gone. What the change of the
    /// role could not do in time is given up. Without such a resource nothing happens.
    ///
    /// # Errors
    ///
    /// [`RoleError::DiskBusy`] if the provider may still be written for a while.
    pub async fn remove(&self, name: &ResourceName) -> Result<(), RoleError> {
        let entry = self.inner.lock().resources.remove(name);
        match entry {
            Some(entry) => entry.resource.set_role(Role::Init).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Returns the resource of this name.
    #[must_use]
    pub fn resource(&self, name: &ResourceName) -> Option<Resource> {
        let state = self.inner.lock();
        state.resources.get(name).map(|it| it.resource.clone())
    }

    /// Returns all resources, by name.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        let state = self.inner.lock();
        let entries = state.resources.values();
        entries.map(|it| it.resource.clone()).collect()
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.shared.events()
    }

    /// Returns how many connections were not used.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        self.inner.shared.stats()
    }

    /// Says who this node is, for connections in TLS from now on; see [`tls`](super::tls).
    #[cfg(feature = "tls")]
    pub fn set_identity(&self, identity: Option<super::tls::Identity>) {
        self.inner.shared.set_identity(identity);
    }

    /// Ends everything in order: listens no longer, and removes all resources, all at the same
    /// time.
    ///
    /// # Errors
    ///
    /// The first error of [`remove`](Self::remove).
    pub async fn shutdown(&self) -> Result<(), RoleError> {
        self.inner.lock().listeners.clear();
        let entries = core::mem::take(&mut self.inner.lock().resources);
        let mut changes = tokio::task::JoinSet::new();
        for entry in entries.into_values() {
            changes.spawn(async move { entry.resource.set_role(Role::Init).await });
        }
        let mut result = Ok(());
        while let Some(changed) = changes.join_next().await {
            if let Ok(Err(error)) = changed {
                result = result.and(Err(error));
            }
        }
        result
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds it can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more connection from an address; `false` if there are too many.
    pub(super) fn enter(&self, address: IpAddr) -> bool {
        let mut state = self.lock();
        let count = state.openings.entry(address).or_default();
        if *count >= self.limits.openings {
            return false;
        }
        *count = count.saturating_add(1);
        true
    }

    /// Counts one less.
    pub(super) fn leave(&self, address: IpAddr) {
        let mut state = self.lock();
        if let Some(count) = state.openings.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.openings.remove(&address);
            }
        }
    }

    /// Whether an address is the `remote` of any resource. If not, names are resolved again:
    /// next time it may be.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        let state = self.lock();
        let known = state.resources.values().any(|it| it.access.allows(address));
        if !known {
            for entry in state.resources.values() {
                let _ = entry.resource.messages().send(engine::Message::Resolve);
            }
        }
        known
    }

    pub(super) fn find(&self, name: &ResourceName) -> Option<(Resource, Arc<Access>)> {
        let state = self.lock();
        let entry = state.resources.get(name)?;
        Some((entry.resource.clone(), Arc::clone(&entry.access)))
    }
}

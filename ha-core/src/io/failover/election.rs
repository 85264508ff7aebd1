//! Who tells this node whether it is to serve, and is told whether it can.

use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use async_trait::async_trait;
use carp_proto::State as Role;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::driver::{CommandError, Handle, HostId};
use super::super::event::{EventKind, Events};
use crate::failover::GroupId;

/// The protocol that decides where the groups of addresses are: CARP or VRRP, here or in a
/// kernel.
///
/// # Errors
///
/// Whatever keeps it from doing so. It is tried again.
#[async_trait]
pub trait Election: Send + Sync {
    /// Returns the roles of the groups, in their order: the present ones, and each change. When
    /// the sender is gone they are taken to be lost.
    fn roles(&self) -> watch::Receiver<Arc<[Role]>>;

    /// Demotes this node by `amount` for the reason of this name, or changes the amount.
    async fn demote(&self, name: &str, amount: i32) -> Result<(), ElectionError>;

    /// Takes that back.
    async fn restore(&self, name: &str) -> Result<(), ElectionError>;

    /// Makes a group MASTER or BACKUP, as far as the protocol allows it.
    async fn force(&self, group: GroupId, role: Role) -> Result<(), ElectionError>;
}

/// Why the protocol does not do what it is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElectionError {
    /// The driver of the virtual hosts says so.
    #[error(transparent)]
    Driver(#[from] CommandError),
    /// There is no such group.
    #[error("no group {}", .group.index())]
    Group {
        /// Which.
        group: GroupId,
    },
    /// It does not answer.
    #[error("not done within {limit:?}")]
    TimedOut {
        /// How long that was waited for.
        limit: Duration,
    },
    /// Another protocol says so.
    #[error(transparent)]
    Other(Box<dyn core::error::Error + Send + Sync>),
}

/// Virtual hosts of a [`Driver`](crate::io::Driver) as the groups of a unit, one each.
///
/// Their addresses should be behind an [`AddressGate`](super::AddressGate), and they must
/// preempt, or a demotion moves nothing while this node lives.
#[derive(Debug)]
pub struct VirtualHosts {
    handle: Handle,
    hosts: Arc<[HostId]>,
    roles: watch::Receiver<Arc<[Role]>>,
    follower: JoinHandle<()>,
}

impl VirtualHosts {
    /// Follows these hosts: the first is group 0. To be called within a tokio runtime; the roles
    /// are INIT until the driver runs.
    #[must_use]
    pub fn follow(handle: Handle, hosts: &[HostId]) -> Self {
        let hosts: Arc<[HostId]> = hosts.into();
        let none: Arc<[Role]> = vec![Role::Init; hosts.len()].into();
        let (publish, roles) = watch::channel(none);
        // First the events, then the state that they change: so nothing is missed in between.
        let events = handle.events();
        let follower = tokio::spawn(follow(handle.clone(), events, hosts.clone(), publish));
        Self {
            handle,
            hosts,
            roles,
            follower,
        }
    }
}

impl Drop for VirtualHosts {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[async_trait]
impl Election for VirtualHosts {
    fn roles(&self) -> watch::Receiver<Arc<[Role]>> {
        self.roles.clone()
    }

    async fn demote(&self, name: &str, amount: i32) -> Result<(), ElectionError> {
        Ok(self.handle.demote(name, amount).await?)
    }

    async fn restore(&self, name: &str) -> Result<(), ElectionError> {
        Ok(self.handle.restore(name).await?)
    }

    async fn force(&self, group: GroupId, role: Role) -> Result<(), ElectionError> {
        let host = self.hosts.get(group.index()).copied();
        let host = host.ok_or(ElectionError::Group { group })?;
        Ok(self.handle.force(host, role).await?)
    }
}

/// Publishes the roles until the driver has ended.
async fn follow(
    handle: Handle,
    mut events: Events,
    hosts: Arc<[HostId]>,
    publish: watch::Sender<Arc<[Role]>>,
) {
    let mut roles = ask(&handle, &hosts).await;
    let mut lost = events.lost();
    publish.send_replace(roles.as_slice().into());
    while let Some(event) = events.next().await {
        if events.lost() != lost {
            // What was lost may have been a change.
            lost = events.lost();
            roles = ask(&handle, &hosts).await;
        }
        if let EventKind::Protocol {
            host,
            event: carp_proto::Event::State { to, .. },
            ..
        } = event.kind
        {
            let mut places = roles.iter_mut().zip(&*hosts);
            if let Some((place, _)) = places.find(|(_, known)| **known == host) {
                *place = to;
            }
        }
        publish.send_if_modified(|published| {
            let is_news = **published != *roles;
            if is_news {
                *published = roles.as_slice().into();
            }
            is_news
        });
    }
}

/// The present roles; of a host that there is not, and of a driver that has ended, INIT.
async fn ask(handle: &Handle, hosts: &[HostId]) -> Vec<Role> {
    let known = handle.status().await.map(|status| status.hosts);
    let known = known.unwrap_or_default();
    let role = |id: &HostId| known.iter().find(|host| host.host == *id);
    let roles = hosts
        .iter()
        .map(|id| role(id).map_or(Role::Init, |host| host.state));
    roles.collect()
}

//! A replicated resource as the storage of a unit.

use std::boxed::Box;
use std::sync::Arc;

use async_trait::async_trait;
use hast_proto::handshake::{Failure, Refusing};
use hast_proto::message::Refusal;
use hast_proto::primary::{self, LocalCopy};
use hast_proto::{Consistency, Role, SyncSource};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::hast::{
    EventKind, Node, PrimaryStatus, Resource, RoleError, SecondaryStatus, Side,
};
use super::job::{Job, StepError};
use super::part::{Storage, StorageReport};
use crate::failover::{Data, DegradedId, Grant, NodeId, NodeSet, Peer, StorageRole, StorageStatus};
use crate::io::clock::pause;

/// How often a resource is looked at though nothing is heard of it: that the nodes are in sync is
/// a state, and not an event.
const LOOK: core::time::Duration = core::time::Duration::from_millis(200);

/// A [`Resource`] as the [`Storage`] of a unit.
///
/// What it reports is what the resource says of itself:
///
/// | resource | data |
/// |---|---|
/// | primary whose disk has everything | up to date |
/// | primary that copies from its peer | synchronising |
/// | primary whose peer has everything, and is gone, or whose disk has failed | inconsistent |
/// | secondary with the mark "consistent" | up to date |
/// | secondary with the mark "inconsistent", or on its way | synchronising during a session, else inconsistent |
/// | secondary with the mark "incomplete" | outdated |
/// | either, after a peer was refused for it | split brain |
///
/// The peer is current when both nodes know that it has everything. For units with an arbiter,
/// [`Settings::primary`](crate::io::hast::Settings::primary) must say
/// [`Alone::Asked`](primary::Alone::Asked): then the wish to go on alone is told, and nothing is
/// acknowledged that the peer lacks without a grant.
///
/// HAST has no word for the arbiter's token, so the secondary does not hear of it.
#[derive(Debug)]
pub struct HastStorage {
    shared: Arc<Shared>,
    follower: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    resource: Resource,
    this: NodeId,
    peer: NodeId,
    /// What was heard and is no part of a status. It is locked while a status is taken and
    /// published, so that no older one overtakes it.
    heard: Mutex<Heard>,
    reports: watch::Sender<StorageReport>,
}

#[derive(Debug, Default)]
struct Heard {
    split_brain: bool,
    peer_is_primary: bool,
}

impl HastStorage {
    /// Follows a resource of `node` that is replicated between the nodes `this` and `peer`. To be
    /// called within a tokio runtime.
    #[must_use]
    pub fn follow(node: &Node, resource: Resource, this: NodeId, peer: NodeId) -> Self {
        let shared = Arc::new(Shared {
            resource,
            this,
            peer,
            heard: Mutex::default(),
            reports: watch::Sender::default(),
        });
        // First the events, then the status that they change.
        let follower = tokio::spawn(follow(node.events(), Arc::clone(&shared)));
        Self { shared, follower }
    }

    /// Returns the resource.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.shared.resource
    }

    async fn set_role(&self, role: Role) -> Result<(), StepError> {
        // To its end: a change that nobody waits for would go on by itself. It limits itself.
        let result = self.shared.resource.set_role(role).await;
        self.shared.look().await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => Err(StepError::Other(Box::<RoleError>::new(error))),
        }
    }
}

impl Drop for HastStorage {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[async_trait]
impl Storage for HastStorage {
    fn reports(&self) -> watch::Receiver<StorageReport> {
        self.shared.reports.subscribe()
    }

    async fn set_primary(&self, _: &Job) -> Result<(), StepError> {
        self.set_role(Role::Primary).await
    }

    async fn set_secondary(&self, _: &Job) -> Result<(), StepError> {
        self.set_role(Role::Secondary).await
    }

    fn grant(&self, grant: Grant<Instant>) {
        self.shared
            .resource
            .permit(grant.wish().get(), grant.until());
    }

    fn revoke(&self) {
        self.shared.resource.revoke();
    }
}

/// Publishes what the resource says, until its node has ended.
async fn follow(mut events: crate::io::hast::Events, shared: Arc<Shared>) {
    shared.look().await;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) if event.resource.as_ref() == Some(shared.resource.name()) => {
                    shared.heard.lock().await.take(&event.kind);
                }
                Some(_) => continue,
                None => return,
            },
            () = pause(LOOK) => {}
        }
        shared.look().await;
    }
}

impl Heard {
    fn take(&mut self, event: &EventKind) {
        match event {
            EventKind::Primary(primary::Event::Connected(_))
            | EventKind::SessionBegun { .. }
            | EventKind::Role { .. } => *self = Self::default(),
            EventKind::Primary(primary::Event::ConnectFailed(failure)) => {
                let reason = match failure {
                    Failure::Refused(refused) => Some(&refused.reason),
                    _ => None,
                };
                self.split_brain |= matches!(reason, Some(Refusal::SplitBrain));
                self.peer_is_primary = matches!(reason, Some(Refusal::Role(Role::Primary)));
            }
            EventKind::Refused { reason, .. } => {
                let is_split = matches!(reason, Refusing::Told(Refusal::SplitBrain));
                self.split_brain |= is_split;
            }
            _ => {}
        }
    }
}

impl Shared {
    /// Looks at the resource, and publishes what it says.
    async fn look(&self) {
        let heard = self.heard.lock().await;
        let Ok(status) = self.resource.status().await else {
            self.publish(StorageReport::default());
            return;
        };
        // What was heard may be behind, or have passed unheard; the resource keeps it until it is mended.
        let is_split = heard.split_brain || status.control.split_brain.is_some();
        let report = match &status.side {
            Side::Init => StorageReport::default(),
            // It is what it was until that is over.
            Side::Changing => return,
            Side::Primary(primary) => self.primary(primary, &heard, is_split),
            Side::Secondary(secondary) => secondary_report(secondary, is_split),
        };
        self.publish(report);
    }

    fn publish(&self, report: StorageReport) {
        self.reports.send_if_modified(|known| {
            let is_news = *known != report;
            *known = report;
            is_news
        });
    }

    fn primary(&self, status: &PrimaryStatus, heard: &Heard, is_split: bool) -> StorageReport {
        let data = match (status.copy, &status.copying) {
            _ if is_split => Data::SplitBrain,
            (LocalCopy::Current, _) => Data::UpToDate,
            (LocalCopy::Catching, Some(copying)) => Data::Synchronising {
                done: copying.copied,
                total: copying.copied.saturating_add(copying.left),
            },
            (LocalCopy::Catching, None) if status.peer.is_some() => Data::Synchronising {
                done: 0,
                total: status.to_copy,
            },
            (LocalCopy::Catching, None) | (LocalCopy::Failed { .. }, _) => Data::Inconsistent,
        };
        let peer = match status.peer {
            Some(_) => Peer::Secondary,
            None if heard.peer_is_primary => Peer::Primary,
            None => Peer::Disconnected,
        };
        let this = NodeSet::from(self.this);
        let current = match status.in_sync && status.wish.is_none() {
            true => this.with(self.peer),
            false => this,
        };
        StorageReport {
            status: StorageStatus {
                role: StorageRole::Primary,
                data,
                peer,
                current,
            },
            wish: status.wish.map(|wish| (DegradedId::new(wish), this)),
        }
    }
}

fn secondary_report(status: &SecondaryStatus, is_split: bool) -> StorageReport {
    let source = status.session.map(|(_, source)| source);
    // What the primary has said counts at once, before it is on disk.
    let consistency = match (status.consistency, status.heard) {
        (Consistency::Consistent, Some(heard)) => heard,
        (stored, _) => stored,
    };
    let data = match (consistency, source) {
        _ if is_split => Data::SplitBrain,
        (Consistency::Consistent, _) => Data::UpToDate,
        (Consistency::Inconsistent, Some(SyncSource::Primary)) => {
            // The primary knows how much there is to copy; here it is not known.
            Data::Synchronising { done: 0, total: 0 }
        }
        (Consistency::Inconsistent, _) => Data::Inconsistent,
        (Consistency::Incomplete, _) => Data::Outdated,
    };
    StorageReport {
        status: StorageStatus {
            role: StorageRole::Secondary,
            data,
            peer: match (source, status.heard) {
                (Some(_), Some(_)) => Peer::Primary,
                // It may have written alone before.
                (Some(_), None) => Peer::Unheard,
                (None, _) => Peer::Disconnected,
            },
            current: NodeSet::EMPTY,
        },
        wish: None,
    }
}

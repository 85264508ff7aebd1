//! What carries out the steps of a plan.

use std::boxed::Box;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::job::{Job, StepError};
use crate::failover::{
    Action, Data, DegradedId, Grant, NodeSet, Peer, StepKind, StorageRole, StorageStatus,
};

/// Makes sure that a node cannot write any more: by its power supply, its network, its storage.
///
/// Success means just that, and nothing less: a hook that merely sent the order has failed. One
/// that finds the node to have let go already returns at once.
///
/// # Errors
///
/// [`StepError`], whenever it is not certain.
#[async_trait]
pub trait Fence: Send + Sync {
    /// Fences the node.
    async fn fence(&self, job: &Job) -> Result<(), StepError>;
}

/// Replicated storage, as far as a unit has to do with it.
///
/// # Errors
///
/// [`StepError`], for whatever reason the storage has.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Returns what the storage says about itself, now and whenever it changes. When one of the
    /// methods below has ended, it says what has come of it.
    fn reports(&self) -> watch::Receiver<StorageReport>;

    /// Becomes primary. The [token](Job::token) is told to the secondaries.
    async fn set_primary(&self, job: &Job) -> Result<(), StepError>;

    /// Becomes secondary, which fails while the device is used; done when nothing can be written
    /// here any more. Harmless if it is secondary, or if it was never begun.
    async fn set_secondary(&self, job: &Job) -> Result<(), StepError>;

    /// Takes the permission to acknowledge what other nodes lack. One that is not for its present
    /// wish is void.
    fn grant(&self, grant: Grant<Instant>);

    /// Has all former permissions be void, at once.
    fn revoke(&self);
}

/// What a [`Storage`] says about itself: all of it at the same moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what the machine is told of storage"
)]
pub struct StorageReport {
    /// Its role, data and peers.
    pub status: StorageStatus,
    /// Its wish to go on with these nodes alone, until it is granted and as long as it lasts.
    /// Each wish has a name of its own.
    pub wish: Option<(DegradedId, NodeSet)>,
}

/// Nothing is known yet.
impl Default for StorageReport {
    fn default() -> Self {
        Self {
            status: StorageStatus {
                role: StorageRole::Init,
                data: Data::Unknown,
                peer: Peer::Disconnected,
                current: NodeSet::EMPTY,
            },
            wish: None,
        }
    }
}

/// A device that appears when the storage is primary.
///
/// # Errors
///
/// [`StepError`] if it does not appear.
#[async_trait]
pub trait Device: Send + Sync {
    /// Returns when the device is there.
    async fn appear(&self, job: &Job) -> Result<(), StepError>;
}

/// Something that makes a device of storage: a client of an export, such as NBD.
///
/// # Errors
///
/// [`StepError`], for whatever reason it has.
#[async_trait]
pub trait Export: Send + Sync {
    /// Makes the device. Harmless if it is there.
    async fn attach(&self, job: &Job) -> Result<(), StepError>;

    /// Takes it away, which fails while it is used. Harmless if it is not there.
    async fn detach(&self, job: &Job) -> Result<(), StepError>;
}

/// Storage whose device is made by an export: the device appears when it is attached, and is
/// taken away before the storage becomes secondary.
#[derive(Debug)]
pub struct Exported<S, E> {
    storage: S,
    export: E,
}

impl<S: Storage, E: Export> Exported<S, E> {
    /// Puts the two together.
    pub fn new(storage: S, export: E) -> Self {
        Self { storage, export }
    }
}

#[async_trait]
impl<S: Storage, E: Export> Storage for Exported<S, E> {
    fn reports(&self) -> watch::Receiver<StorageReport> {
        self.storage.reports()
    }

    async fn set_primary(&self, job: &Job) -> Result<(), StepError> {
        self.storage.set_primary(job).await
    }

    async fn set_secondary(&self, job: &Job) -> Result<(), StepError> {
        self.export.detach(job).await?;
        self.storage.set_secondary(job).await
    }

    fn grant(&self, grant: Grant<Instant>) {
        self.storage.grant(grant);
    }

    fn revoke(&self) {
        self.storage.revoke();
    }
}

#[async_trait]
impl<S: Storage, E: Export> Device for Exported<S, E> {
    async fn appear(&self, job: &Job) -> Result<(), StepError> {
        self.export.attach(job).await
    }
}

/// A file system.
///
/// # Errors
///
/// [`StepError`], for whatever reason it has.
#[async_trait]
pub trait FileSystem: Send + Sync {
    /// Checks it, and repairs what can be repaired without a decision.
    async fn check(&self, job: &Job) -> Result<(), StepError>;

    /// Mounts it. Harmless if it is mounted.
    async fn mount(&self, job: &Job) -> Result<(), StepError>;

    /// Unmounts it, which fails while it is used. Harmless if it is not mounted, as are the
    /// others below.
    async fn unmount(&self, job: &Job) -> Result<(), StepError>;

    /// Ends all processes that use it, then unmounts it.
    async fn kill_and_unmount(&self, job: &Job) -> Result<(), StepError>;

    /// Unmounts it while it is used.
    async fn force_unmount(&self, job: &Job) -> Result<(), StepError>;
}

/// Something that is to run where the role is.
///
/// # Errors
///
/// [`StepError`], for whatever reason it has.
#[async_trait]
pub trait Service: Send + Sync {
    /// Starts it; done when it serves. Harmless if it runs.
    async fn start(&self, job: &Job) -> Result<(), StepError>;

    /// Lets it finish its work and take no more.
    async fn drain(&self, job: &Job) -> Result<(), StepError> {
        let _ = job;
        Ok(())
    }

    /// Stops it; done when none of its processes is left. Harmless if it does not run.
    async fn stop(&self, job: &Job) -> Result<(), StepError>;

    /// Kills it. Harmless if it does not run.
    async fn kill(&self, job: &Job) -> Result<(), StepError>;
}

/// The service addresses.
///
/// # Errors
///
/// [`StepError`], for whatever reason it has.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// Serves them, and tells the neighbours. Harmless if that was done.
    async fn announce(&self, job: &Job) -> Result<(), StepError>;

    /// Ceases to serve them. Harmless if they are not served.
    async fn withdraw(&self, job: &Job) -> Result<(), StepError>;
}

/// What carries out one step of a plan.
#[derive(Clone)]
#[expect(
    clippy::exhaustive_enums,
    reason = "one for each kind of step, of which there are these"
)]
pub enum Part {
    /// For [`StepKind::FencePeer`], and for fencing this node.
    FencePeer(Arc<dyn Fence>),
    /// For [`StepKind::StorageRole`].
    StorageRole(Arc<dyn Storage>),
    /// For [`StepKind::Device`].
    Device(Arc<dyn Device>),
    /// For [`StepKind::Check`].
    Check(Arc<dyn FileSystem>),
    /// For [`StepKind::Mount`].
    Mount(Arc<dyn FileSystem>),
    /// For [`StepKind::Service`].
    Service(Arc<dyn Service>),
    /// For [`StepKind::Address`].
    Address(Arc<dyn Addresses>),
}

impl Part {
    /// Returns which kind of step it is for.
    #[must_use]
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::FencePeer(_) => StepKind::FencePeer,
            Self::StorageRole(_) => StepKind::StorageRole,
            Self::Device(_) => StepKind::Device,
            Self::Check(_) => StepKind::Check,
            Self::Mount(_) => StepKind::Mount,
            Self::Service(_) => StepKind::Service,
            Self::Address(_) => StepKind::Address,
        }
    }

    /// Does what the job says.
    pub(super) async fn perform(&self, job: &Job) -> Result<(), StepError> {
        match (self, job.action) {
            (Self::FencePeer(fence), Action::FencePeer | Action::FenceSelf) => {
                fence.fence(job).await
            }
            (Self::StorageRole(storage), Action::SetPrimary) => storage.set_primary(job).await,
            (Self::StorageRole(storage), Action::SetSecondary) => storage.set_secondary(job).await,
            (Self::Device(device), Action::WaitForDevice) => device.appear(job).await,
            (Self::Check(system), Action::Check) => system.check(job).await,
            (Self::Mount(system), Action::Mount) => system.mount(job).await,
            (Self::Mount(system), Action::Unmount) => system.unmount(job).await,
            (Self::Mount(system), Action::KillAndUnmount) => system.kill_and_unmount(job).await,
            (Self::Mount(system), Action::ForceUnmount) => system.force_unmount(job).await,
            (Self::Service(service), Action::Start) => service.start(job).await,
            (Self::Service(service), Action::Drain) => service.drain(job).await,
            (Self::Service(service), Action::Stop) => service.stop(job).await,
            (Self::Service(service), Action::Kill) => service.kill(job).await,
            (Self::Address(addresses), Action::Announce) => addresses.announce(job).await,
            (Self::Address(addresses), Action::Withdraw) => addresses.withdraw(job).await,
            // Only services have work to finish.
            (_, Action::Drain) => Ok(()),
            // No plan asks that of this kind.
            (_, action) => Err(StepError::Foreign {
                kind: self.kind(),
                action,
            }),
        }
    }
}

impl core::fmt::Debug for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Part").field(&self.kind()).finish()
    }
}

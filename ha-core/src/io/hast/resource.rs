//! One resource, as an operator sees it.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;

use hast_proto::control::{Queues, ResourceStatus};
use hast_proto::discard::Discarded;
use hast_proto::primary::{self, LocalCopy};
use hast_proto::{Consistency, Metadata, ResourceName, Role, SyncSource, secondary};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::block::BlockDevice;
use super::engine::Message;
use super::provider::ProviderError;
use super::settings::Settings;
use super::split::{Discard, DiscardError};

/// An order or a question.
pub(super) enum Command {
    SetRole(Role, oneshot::Sender<Result<Role, RoleError>>),
    Configure(Box<Settings>, oneshot::Sender<()>),
    Attach(oneshot::Sender<Result<(), AttachError>>),
    Discard(
        Box<Discard>,
        oneshot::Sender<Result<Discarded, DiscardError>>,
    ),
    Status(oneshot::Sender<Box<Status>>),
    Device(oneshot::Sender<Result<Arc<dyn BlockDevice>, DeviceError>>),
    /// Which wish is granted, and until when.
    Permit(u64, Option<Instant>),
    Revoke,
}

/// The resource was removed, or its node has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the resource was removed")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Ended;

/// Why a role was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// The provider cannot be used. The role is init now.
    #[error(transparent)]
    Provider(#[from] Arc<ProviderError>),
    /// The old role has ended, but what it asked of the disk has not within
    /// [`Settings::role_change`]. Nothing is served any more. The role is init as soon as the
    /// disk comes to rest: ask again then.
    #[error("{operations} operations of the disk have not ended in time")]
    DiskBusy {
        /// How many.
        operations: usize,
    },
    /// Another change is being made.
    #[error("the role is being changed already")]
    Changing,
    /// The resource was removed.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a disk was not attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The resource is not primary, or its disk has not failed.
    #[error("no local disk has failed")]
    NotFailed,
    /// What the disk was asked before it failed has not ended, so that it could still be written.
    #[error("{operations} operations of the failed disk have not ended")]
    DiskBusy {
        /// How many.
        operations: usize,
    },
    /// The provider cannot be used.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// It has another size.
    #[error("the provider's sizes are not those of the resource")]
    Refused,
    /// The resource was removed.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why there is no device.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The role is another.
    #[error("the role is {0} and not primary")]
    Role(Role),
    /// The resource was removed.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// How a resource is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What `hastctl` shows.
    pub control: ResourceStatus,
    /// The role's own part.
    pub side: Side,
}

/// What there is beside the role's name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Side {
    /// Nothing.
    Init,
    /// The role is being left, or entered.
    Changing,
    /// A primary.
    Primary(PrimaryStatus),
    /// A secondary.
    Secondary(SecondaryStatus),
}

/// How a primary is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrimaryStatus {
    /// The metadata block.
    pub metadata: Metadata,
    /// How the local copy stands.
    pub copy: LocalCopy,
    /// Whether the peer has everything that was acknowledged, and both nodes know it.
    pub in_sync: bool,
    /// The peer that the session is with.
    pub peer: Option<SocketAddr>,
    /// What was counted since the role began.
    pub stats: primary::Stats,
    /// The wish to go on without the peer, granted or not, as long as the peer lacks something: see
    /// [`Resource::permit`]. None without [`Alone::Asked`](primary::Alone::Asked).
    pub wish: Option<u64>,
    /// Requests of the device that wait to be taken over.
    pub held: usize,
    /// Octets in extents that are to be copied.
    pub to_copy: u64,
    /// The synchronisation under way.
    pub copying: Option<CopyProgress>,
    /// The depths of the queues.
    pub queues: Queues,
}

/// How a synchronisation goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Octets copied since it began.
    pub copied: u64,
    /// Octets in extents that are still to be copied.
    pub left: u64,
    /// For how long it has been going on.
    pub since: Duration,
    /// How long it will still take at the same speed; `None` as long as nothing was copied.
    pub estimate: Option<Duration>,
    /// Whether this node is copied to.
    pub from_peer: bool,
}

/// How a secondary is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecondaryStatus {
    /// The metadata block.
    pub metadata: Metadata,
    /// The mark, as it is on disk.
    pub consistency: Consistency,
    /// The primary that a session is with, and who of the two has the current data.
    pub session: Option<(SocketAddr, SyncSource)>,
    /// How the data are by what that primary has sent; `None` before it has sent anything. What
    /// could not be marked on the disk is kept until a primary says something else.
    pub heard: Option<Consistency>,
    /// What was counted since that session began.
    pub stats: secondary::Stats,
    /// Requests that are being executed, or wait for it.
    pub pending: usize,
}

/// Commands one resource; clones command the same one.
#[derive(Clone)]
pub struct Resource {
    name: ResourceName,
    messages: mpsc::UnboundedSender<Message>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resource").field(&self.name).finish()
    }
}

impl Resource {
    pub(super) const fn new(name: ResourceName, messages: mpsc::UnboundedSender<Message>) -> Self {
        Self { name, messages }
    }

    pub(super) const fn messages(&self) -> &mpsc::UnboundedSender<Message> {
        &self.messages
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(&self) -> &ResourceName {
        &self.name
    }

    /// Changes the role, and returns the one before. The old role ends first: a primary's
    /// pending requests fail, a secondary's session is closed, and the disk comes to rest.
    ///
    /// # Errors
    ///
    /// [`RoleError`], after [`Settings::role_change`] at the latest. (Opening a provider takes as
    /// long as the system takes for it.)
    pub async fn set_role(&self, role: Role) -> Result<Role, RoleError> {
        self.ask(|reply| Command::SetRole(role, reply)).await?
    }

    /// Changes the settings, in any role. A session is kept, unless it is with a peer that is no
    /// longer `remote`.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    pub async fn configure(&self, settings: Settings) -> Result<(), Ended> {
        self.ask(|reply| Command::Configure(settings.into(), reply))
            .await
    }

    /// Opens the provider again after the local disk of a primary has failed; everything it lacks
    /// is copied to it from the peer.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub async fn attach(&self) -> Result<(), AttachError> {
        self.ask(Command::Attach).await?
    }

    /// Discards what this node has changed alone: saves all that may differ to a file, durably,
    /// and makes this node the target of the next session, in which everything is copied to it.
    /// Until then nobody is served from its data. If anything fails before the file is whole,
    /// nothing is discarded; a crash at any moment leaves either everything, or the file.
    ///
    /// The resource is init or secondary. A secondary's session is ended; meanwhile peers are
    /// refused, and the role cannot be changed; then the role goes on. It takes as long as the
    /// reading and writing take, and no more memory than a few MiB.
    ///
    /// If this future is dropped before the file is whole, the discard is given up, even while the
    /// file system of the file hangs; a file that becomes whole after that has discarded nothing.
    /// Once it is whole, all is done whether this future is waited for or not.
    ///
    /// The file holds what either node has marked, if the peer has told that: then it makes the
    /// other node's data those of this one.
    ///
    /// # Errors
    ///
    /// [`DiscardError`].
    pub async fn discard(&self, order: Discard) -> Result<Discarded, DiscardError> {
        self.ask(|reply| Command::Discard(order.into(), reply))
            .await?
    }

    /// Returns how it is.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    pub async fn status(&self) -> Result<Status, Ended> {
        Ok(*self.ask(Command::Status).await?)
    }

    /// Returns the device of a primary. It is good for as long as this role lasts: after that,
    /// its requests fail with [`NotConnected`](std::io::ErrorKind::NotConnected).
    ///
    /// # Errors
    ///
    /// [`DeviceError`].
    pub async fn device(&self) -> Result<Arc<dyn BlockDevice>, DeviceError> {
        self.ask(Command::Device).await?
    }

    /// Lets a primary acknowledge what its peer lacks, for good or until then: the answer to the
    /// [`wish`](PrimaryStatus::wish) of this number, and void for any other. Without
    /// [`Alone::Asked`](primary::Alone::Asked) it changes nothing.
    pub fn permit(&self, wish: u64, until: Option<Instant>) {
        self.tell(Command::Permit(wish, until));
    }

    /// Takes back what was permitted.
    pub fn revoke(&self) {
        self.tell(Command::Revoke);
    }

    fn tell(&self, command: Command) {
        // One that was removed acknowledges nothing.
        let _ = self.messages.send(Message::Command(command));
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.messages
            .send(Message::Command(command(reply)))
            .map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

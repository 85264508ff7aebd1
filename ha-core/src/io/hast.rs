//! Replicated storage: the machines of HAST over TCP, on a provider. Feature `hast`.
//!
//! ```text
//!   whoever uses the device            operator                  the other node
//!         | BlockDevice                    | Resource                  | TCP
//!         v                                v                           v
//!   +------------------------------------------------------------------------------+
//!   | Node                                                       listening sockets |
//!   |  +---------------------------------------------+  +-----------------------+  |
//!   |  | resource "shared": one task                 |  | resource "tank": ...  |  |
//!   |  |  Primary, or a door and sessions            |  |                       |  |
//!   |  +----------------------+----------------------+  +-----------------------+  |
//!   +-------------------------|----------------------------------------------------+
//!                             v Backing: a BlockDevice with metadata, map and data
//! ```
//!
//! A [`Node`] listens, and holds resources. Each [`Resource`] has a role: init, in which its
//! provider is not even open; secondary, in which it takes a peer's writes; or primary, in which
//! it has a [`device`](Resource::device).
//!
//! # One task each
//!
//! A resource is one task. In one turn it takes all requests and frames that are there, asks its
//! machine, writes everything for the peer with one system call, and then does what the disk can
//! do at once. On a runtime of one thread, a request so goes from whoever uses the device to the
//! peer and back without waking another thread; that is the runtime to choose for speed.
//!
//! # After a split brain
//!
//! When a primary meets a secondary, and both have written alone, there is no session: both nodes
//! tell [`EventKind::SplitBrain`], with how much each has marked, and [`Status::control`] says so
//! until a session begins. Nothing is discarded by itself, but for one case: a node that
//! provably has no changes becomes the target; see [`hast_proto::decision`], and
//! [`primary::Config::give_way`](hast_proto::primary::Config::give_way) to switch that off. An
//! operator decides about everything else, with [`Resource::discard`] on the node whose changes are
//! to go. It saves them to a file first, in the form of [`hast_proto::saved`].
//!
//! # Where the mark is kept
//!
//! The mark of an unfinished synchronisation (HAST §5.5, hole 2) is in the metadata block, behind
//! the end of its list, where real implementations read nothing and write zeros; see
//! [`provider`].
//!
//! # Who is at the other end
//!
//! HAST does not know: a peer is whoever connects from the address of
//! [`Settings::remote`]. With the feature `tls`, two nodes of this crate can have both connections
//! of a session in mutual TLS; see the module `tls`.
//!
//! Whoever is not let in is an [event](Event), and is counted in [`Node::stats`].
//!
//! # Figures
//!
//! With the feature `metrics`, a resource tells these to the recorder of the crate `metrics` that
//! is installed when the resource is added, most of them once a second:
//!
//! | name | kind | what |
//! |---|---|---|
//! | `hast_request_seconds` | histogram | how long a request of the device took; by `request` |
//! | `hast_requests_total` | counter | requests taken over; by `request` |
//! | `hast_local_errors_total` | counter | requests that the local disk has failed; by `request` |
//! | `hast_map_writes_total` | counter | writes of the activemap |
//! | `hast_copied_bytes_total` | counter | octets copied by synchronisations |
//! | `hast_connected` | gauge | 1 during a session |
//! | `hast_in_sync` | gauge | 1 while the peer has everything |
//! | `hast_dirty_bytes` | gauge | octets in dirty extents |
//! | `hast_to_copy_bytes` | gauge | octets in extents that are to be copied |
//! | `hast_copy_left_seconds` | gauge | how long the synchronisation will still take |
//! | `hast_queue_depth` | gauge | requests that wait; by `queue` |
//! | `hast_split_brain` | gauge | 1 while a split brain waits for an operator |
//! | `hast_split_brain_bytes` | gauge | octets that either node has marked then; by `node` |
//!
//! All have the label `resource`. Those of a secondary are those of its session. One more counter is
//! the node's, and is told as it happens: `hast_refusals_total`, connections that were not used, by
//! `reason`.
//!
//! # Example
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use ha_core::io::block::BlockDevice;
//! # async fn example(backing: Arc<dyn BlockDevice>) -> Result<(), Box<dyn std::error::Error>> {
//! use ha_core::hast_proto::{ResourceName, Role};
//! use ha_core::io::hast::{NetAddress, Node, NodeLimits, Settings};
//!
//! let node = Node::new(NodeLimits::default());
//! node.listen(&["10.0.0.1:8457".parse()?])?;
//! let mut settings = Settings::new("shared", "/dev/da0");
//! settings.remote = Some(NetAddress::parse("tcp://10.0.0.2", 8457)?);
//! let resource = node.add(ResourceName::new("shared")?, settings, backing)?;
//! resource.set_role(Role::Primary).await?;
//! let device = resource.device().await?;
//! device.write(0, vec![7; 4096].into()).await?; // on both nodes
//! # Ok(())
//! # }
//! ```

mod address;
mod backing;
mod channel;
mod device;
mod engine;
mod event;
mod link;
mod listener;
mod node;
pub mod provider;
mod resource;
mod saved_file;
mod settings;
mod shared;
mod split;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

pub use address::{AddressError, NetAddress};
pub use backing::Backing;
#[cfg(unix)]
pub use backing::FileBacking;
pub use event::{Event, EventKind, Events, OpeningError};
pub use node::{AddError, ListenError, Node, NodeLimits};
pub use provider::{Create, Existing, ProviderError};
pub use resource::{
    AttachError, CopyProgress, DeviceError, Ended, PrimaryStatus, Resource, RoleError,
    SecondaryStatus, Side, Status,
};
pub use settings::{Settings, SettingsError};
pub use shared::NodeStats;
pub use split::{Discard, DiscardError};

//! A split brain as it was found, and the discard of one node's changes.

use core::time::Duration;
use std::boxed::Box;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hast_proto::activemap::Marked;
use hast_proto::control::{Differing, SplitBrain};
use hast_proto::{Layout, discard};

use super::provider::ProviderError;
use super::resource::Ended;

/// A split brain as it was found last, with the peer's map, which a discard needs.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) told: SplitBrain,
    pub(super) peer_map: Option<Bytes>,
}

impl Split {
    pub(super) fn new(layout: Layout, own: &[u8], peer_map: Option<Bytes>) -> Self {
        let differing = |map| Differing::of(Marked::new(layout, map));
        let local = differing(own);
        let remote = peer_map.as_deref().map(differing);
        let told = SplitBrain { local, remote };
        Self { told, peer_map }
    }
}

/// An order to discard what a node has changed alone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Discard {
    /// Where what may differ is saved first. There must be no such file.
    pub save_to: PathBuf,
    /// The name of this node, for those who read the file: 1 to 254 octets without NUL.
    pub node: Box<str>,
    /// Whether to do it although no split brain was found. This node is the target of the next
    /// session then, whoever has the current data.
    pub force: bool,
}

impl Discard {
    /// Makes an order that is not forced.
    #[must_use]
    pub fn new(save_to: impl Into<PathBuf>, node: &str) -> Self {
        Self {
            save_to: save_to.into(),
            node: node.into(),
            force: false,
        }
    }
}

/// Why a node's changes were not discarded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscardError {
    /// The resource is primary: somebody may be using the data.
    #[error("the role is primary")]
    Primary,
    /// No split brain was found since the resource was added, or it has been mended.
    #[error("no split brain was found")]
    NoSplitBrain,
    /// The role is being changed, or another discard is under way.
    #[error("the role is being changed already")]
    Changing,
    /// What the disk was asked before has not ended within [`Settings::role_change`]. The former
    /// role begins again when it has.
    ///
    /// [`Settings::role_change`]: super::Settings::role_change
    #[error("operations of the disk have not ended within {0:?}")]
    DiskBusy(Duration),
    /// Nobody waited for it any more before the file was whole. Nothing is discarded. As nobody
    /// waits, it is told by [`EventKind::DiscardGivenUp`](super::EventKind::DiscardGivenUp).
    #[error("given up")]
    GivenUp,
    /// The provider cannot be used.
    #[error(transparent)]
    Provider(Arc<ProviderError>),
    /// The file cannot be written: there is one already, there is no room, or another reason.
    /// Nothing is discarded.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: Arc<std::io::Error>,
    },
    /// The data could not be saved, or the metadata not be written.
    #[error(transparent)]
    Discard(#[from] discard::DiscardError),
    /// The resource was removed.
    #[error(transparent)]
    Ended(#[from] Ended),
}

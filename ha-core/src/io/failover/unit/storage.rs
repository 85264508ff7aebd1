//! The storage of a unit, read as it is now.

use std::sync::Arc;

use tokio::sync::watch;

use super::super::part::{Storage, StorageReport};
use crate::failover::{DegradedId, Input};

/// The storage, and what was heard of it.
pub(super) struct Watched {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) reports: watch::Receiver<StorageReport>,
    /// Its wish that was handed in last.
    wish: Option<DegradedId>,
    /// Whether it still says something.
    pub(super) speaks: bool,
}

impl core::fmt::Debug for Watched {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watched")
            .field("wish", &self.wish)
            .finish_non_exhaustive()
    }
}

impl Watched {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            reports: storage.reports(),
            storage,
            wish: None,
            speaks: true,
        }
    }

    /// What it says now, as inputs. Its wish is told once.
    pub(super) fn inputs(&mut self) -> impl Iterator<Item = Input> {
        let StorageReport { status, wish } = *self.reports.borrow_and_update();
        let known = core::mem::replace(&mut self.wish, wish.map(|(name, _)| name));
        let wish = wish.filter(|(name, _)| known != Some(*name));
        let wish = wish.map(|(wish, current)| Input::Degraded { wish, current });
        [Some(Input::Storage(status)), wish].into_iter().flatten()
    }
}

/// Waits until storage says something new, or nothing any more.
pub(super) async fn changed(watched: &mut Option<Watched>) {
    match watched {
        Some(watched) => watched.speaks = watched.reports.changed().await.is_ok(),
        None => core::future::pending().await,
    }
}

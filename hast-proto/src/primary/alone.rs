//! Going on alone: whether writes may be acknowledged that the peer lacks.
//!
//! Two nodes that do not reach each other must not both acknowledge writes. Where somebody keeps
//! watch over that ([`Alone::Asked`]), this node first asks, and acknowledges nothing that the peer
//! lacks before it was permitted. What was asked lasts until the peer has everything again.
//!
//! Writes that wait need not wait for that permission: a peer that is back is given them at once,
//! and to one that is connected and has refused some, the next walk of the synchronisation does.

use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use super::{Alone, Event, LocalCopy, Primary, WishId};
use crate::types::Replication;

/// Where this node stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Permission<T> {
    /// The peer has all that was acknowledged, as far as is known.
    Together,
    /// It has asked.
    Asking(WishId),
    /// It was permitted: for good, or until then.
    Permitted(WishId, Option<T>),
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// The wish to go on alone, permitted or not, as long as the peer lacks something.
    #[must_use]
    pub fn wish(&self) -> Option<WishId> {
        match self.permission {
            Permission::Together => None,
            Permission::Asking(wish) | Permission::Permitted(wish, _) => Some(wish),
        }
    }

    /// Whether a write may be acknowledged that the peer lacks. Asks, if that was not done.
    pub(super) fn may_go_alone(&mut self) -> bool {
        if self.config.alone == Alone::Free {
            return true;
        }
        if self.peer.is_opening() {
            // The counters that the session was agreed by must not change.
            self.defers_alone = true;
            return false;
        }
        match (self.permission, self.now) {
            (Permission::Together, _) => {
                let wish = WishId(self.next_wish);
                self.next_wish = self.next_wish.wrapping_add(1);
                self.permission = Permission::Asking(wish);
                self.event(Event::WantsAlone(wish));
                false
            }
            (Permission::Permitted(_, Some(until)), Some(now)) => now < until,
            (Permission::Permitted(_, None), _) => true,
            (Permission::Asking(_) | Permission::Permitted(..), _) => false,
        }
    }

    pub(super) fn on_permit(&mut self, now: T, wish: WishId, time: Option<Duration>) {
        if self.wish() == Some(wish) {
            self.permission = Permission::Permitted(wish, time.map(|time| now + time));
            self.advance_all_writes();
        }
    }

    pub(super) fn on_revoke(&mut self) {
        if let Permission::Permitted(wish, _) = self.permission {
            self.permission = Permission::Asking(wish);
        }
    }

    /// Gives writes that wait for a permission to the peer that is back. Their extents are not
    /// copied before they are through.
    pub(super) fn catch_up(&mut self) {
        if self.copy != LocalCopy::Current {
            return;
        }
        let waiting = self.writes.iter().filter(|(_, write)| write.waits_alone());
        let waiting: Vec<u64> = waiting.map(|(key, _)| *key).collect();
        for key in waiting {
            if let Some(write) = self.writes.get_mut(&key) {
                (write.mode, write.missed) = (Replication::Fullsync, false);
                let (range, data) = (write.range, write.data.clone());
                self.issue_remote(key, range, data, Replication::Fullsync);
            }
        }
    }

    /// Looks again at what was put off while a session opened, and whether the wish is over: when
    /// the peer has everything.
    pub(super) fn advance_alone(&mut self) {
        if self.defers_alone && !self.peer.is_opening() {
            self.defers_alone = false;
            self.advance_all_writes();
        }
        if self.permission != Permission::Together && self.is_in_sync() {
            self.permission = Permission::Together;
        }
    }
}

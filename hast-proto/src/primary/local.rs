//! The local provider beside its data: metadata, map and mark, its failure and its return.

use alloc::collections::BTreeSet;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::{Event, LocalCopy, Loss, Primary, Provider, Purpose, load_map};
use crate::activemap::Stored;
use crate::consistency::Consistency;
use crate::disk::DiskOperation;
use crate::message::Progress;
use crate::metadata::Metadata;
use crate::types::{Errno, Offset, Role};

/// What is on the provider beside the data, and what of it is certainly on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Local<T> {
    pub(super) metadata: Metadata,
    version: u64,
    stored_version: u64,
    /// What of the metadata is certainly on disk, and what is on its way there.
    stored_metadata: Metadata,
    storing_metadata: Option<Metadata>,
    pub(super) stored: Stored,
    /// Writes whose extents are marked in memory, but not on disk yet.
    pub(super) marking: BTreeSet<u64>,
    /// Whether somebody waits for the map.
    pub(super) map_is_due: bool,
    /// When the map is stored though nobody waits.
    pub(super) store_map_at: Option<T>,
    /// `None` after a try to store it that has failed.
    mark: Option<Consistency>,
    mark_wanted: Consistency,
    storing_mark: bool,
    /// Whether the last try to store the mark failed.
    pub(super) mark_failed: bool,
}

impl<T> Local<T> {
    pub(super) fn new(metadata: Metadata, map: &[u8], mark: Consistency) -> Self {
        Self {
            stored_metadata: metadata.clone(),
            metadata,
            version: 0,
            stored_version: 0,
            storing_metadata: None,
            stored: Stored::new(map.into()),
            marking: BTreeSet::new(),
            map_is_due: false,
            store_map_at: None,
            mark: Some(mark),
            mark_wanted: mark,
            storing_mark: false,
            mark_failed: false,
        }
    }

    /// The version of the metadata in memory.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn has_stored(&self, version: u64) -> bool {
        self.stored_version >= version
    }

    /// Whether they are on their way to disk. They may also wait: for the mark, or for a disk.
    pub(super) const fn is_storing_metadata(&self) -> bool {
        self.storing_metadata.is_some()
    }

    pub(super) const fn has_stored_all(&self) -> bool {
        self.has_stored(self.version)
    }

    /// Whether it is on disk, and stays there, that this disk has missed writes.
    pub(super) fn is_marked(&self) -> bool {
        self.mark_wanted == Consistency::Incomplete && self.mark_is_stored()
    }

    /// Whether it is on disk, and stays there, that the local data are not to be relied on.
    pub(super) fn is_doubtful(&self) -> bool {
        self.mark_wanted != Consistency::Consistent && self.mark_is_stored()
    }

    pub(super) const fn mark_wanted(&self) -> Consistency {
        self.mark_wanted
    }

    pub(super) fn mark_is_stored(&self) -> bool {
        self.mark == Some(self.mark_wanted) && !self.storing_mark
    }

    /// Whether the data are not to be relied on, and that is not on disk yet.
    pub(super) fn waits_for_mark(&self) -> bool {
        self.mark_wanted != Consistency::Consistent && !self.mark_is_stored()
    }

    /// Whether this is the very disk that was used last, as far as one can tell.
    fn is_same_disk(&self, provider: &Provider) -> bool {
        let new = &provider.metadata;
        let identities = [self.stored_metadata.resource_id, self.metadata.resource_id];
        // A disk that never had an identity has its counter at least, if it was written to.
        let counted = new.counters.local >= self.stored_metadata.counters.local;
        identities.contains(&new.resource_id)
            && (new.resource_id.is_some() || counted)
            && provider.consistency == Consistency::Consistent
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// Writes the metadata as they are in memory. One write is on its way at a time.
    pub(super) fn store_metadata(&mut self) {
        self.local.metadata.previous_role = Role::Primary;
        self.local.version = self.local.version.saturating_add(1);
        self.store_metadata_again();
    }

    fn store_metadata_again(&mut self) {
        let has_disk = self.has_disk();
        let local = &mut self.local;
        // Without the mark, the metadata would make a replacement look like the real thing.
        let waits = self.copy == LocalCopy::Catching && local.waits_for_mark();
        if local.storing_metadata.is_some() || local.has_stored_all() || !has_disk || waits {
            return;
        }
        let (version, metadata) = (local.version, local.metadata.clone());
        local.storing_metadata = Some(metadata.clone());
        self.operate(
            Purpose::Metadata(version),
            DiskOperation::StoreMetadata(metadata),
        );
    }

    pub(super) fn on_metadata_stored(
        &mut self,
        now: T,
        version: u64,
        result: Result<Bytes, Errno>,
    ) {
        let stored = self.local.storing_metadata.take();
        match result {
            Ok(_) => {
                self.local.stored_version = version;
                if let Some(stored) = stored {
                    self.local.stored_metadata = stored;
                }
                self.store_metadata_again();
                self.answer_identify();
                self.advance_all_writes();
            }
            Err(error) => self.fail_local(now, error),
        }
    }

    /// Writes what has changed of the map, if somebody waits for it or it has waited long
    /// enough. One write is on its way at a time; what changes meanwhile goes with the next.
    pub(super) fn store_map(&mut self, now: T) {
        if !self.has_disk() || self.local.stored.is_storing() {
            return;
        }
        let Some(range) = self.map.changed(self.config.sector) else {
            self.local.map_is_due = false;
            self.local.store_map_at = None;
            return;
        };
        if !self.local.map_is_due {
            if self.local.store_map_at.is_none() {
                self.local.store_map_at = Some(now + self.config.map_delay);
            }
            return;
        }
        self.local.map_is_due = false;
        self.local.store_map_at = None;
        let start = self.map.layout().map_offset().get();
        let offset = Offset::new(start.saturating_add(range.start as u64));
        let octets = self.map.image().get(range.clone()).unwrap_or_default();
        let data = Bytes::copy_from_slice(octets);
        self.local.stored.start(range, &data);
        self.map.written();
        self.operate(Purpose::Map, DiskOperation::StoreMap { offset, data });
    }

    pub(super) fn on_map_stored(&mut self, now: T, result: Result<Bytes, Errno>) {
        match result {
            Ok(_) => {
                self.stats.map_writes = self.stats.map_writes.saturating_add(1);
                self.local.stored.finish();
                self.remark();
            }
            Err(error) => {
                self.local.stored.fail();
                self.map.not_written();
                self.fail_local(now, error);
            }
        }
    }

    pub(super) fn want_mark(&mut self, mark: Consistency) {
        self.local.mark_wanted = mark;
        self.local.mark_failed = false;
        self.store_mark();
    }

    fn store_mark(&mut self) {
        let wanted = self.local.mark_wanted;
        if !self.local.storing_mark && self.local.mark != Some(wanted) {
            self.local.storing_mark = true;
            let store = DiskOperation::StoreConsistency(wanted);
            self.operate(Purpose::Mark(wanted), store);
        }
    }

    pub(super) fn on_mark_stored(
        &mut self,
        now: T,
        mark: Consistency,
        result: Result<Bytes, Errno>,
    ) {
        self.local.storing_mark = false;
        match result {
            Ok(_) => {
                self.local.mark = Some(mark);
                self.event(Event::Consistency(mark));
                self.store_mark();
                self.store_metadata_again();
            }
            Err(error) => {
                self.local.mark = None;
                self.local.mark_failed = true;
                if self.peer.is_opening() {
                    self.lose(now, Loss::Local);
                } else if mark != Consistency::Consistent && self.has_disk() {
                    // A disk that has just been attached: nothing may be copied to it.
                    self.fail_local(now, error);
                }
            }
        }
        self.advance_all_writes();
    }

    /// The local disk cannot be relied on any more: from now on it is not used, until something
    /// is attached.
    pub(super) fn fail_local(&mut self, now: T, error: Errno) {
        let complete = match self.copy {
            LocalCopy::Failed { .. } => return,
            // What the peer lacks is marked; what is on its way is answered by what it says.
            LocalCopy::Current => self.map.to_copy() == 0,
            LocalCopy::Catching => true,
        };
        self.copy = LocalCopy::Failed { complete };
        self.event(Event::LocalFailed { error, complete });
        self.abort_copying();
        self.remark();
        if self.peer.is_opening() {
            self.lose(now, Loss::Local);
        }
        if complete {
            // Else a restart would take the stale disk for current: the peer, which was
            // never alone, counts nothing.
            self.want_mark(Consistency::Incomplete);
            // It is the one that is complete now, whatever it was told before.
            if self.peer.is_up() {
                self.tell(Progress::Agreed);
            }
        }
        self.advance_all_writes();
    }

    pub(super) fn on_attach(&mut self, provider: Provider) {
        let (old, new) = (&self.local.metadata.layout, &provider.metadata.layout);
        let fits = old.data_len() == new.data_len() && old.extent_size() == new.extent_size();
        // What the peer lacks only the disk that has failed can have, and no replacement.
        let usable = match self.copy {
            LocalCopy::Failed { complete } => {
                (fits && (complete || self.local.is_same_disk(&provider))).then_some(complete)
            }
            LocalCopy::Current | LocalCopy::Catching => None,
        };
        let Some(complete) = usable else {
            self.event(Event::AttachRefused);
            return;
        };
        let consistency = match complete {
            true => Consistency::Incomplete,
            false => Consistency::Consistent,
        };
        let loaded = load_map(&provider.metadata, &provider.map, consistency);
        let Ok(mut map) = loaded else {
            self.event(Event::AttachRefused);
            return;
        };
        let merged = map.merge(self.map.image());
        debug_assert!(merged.is_ok(), "{merged:?}");
        for (key, write) in &self.writes {
            if write.issued || self.local.marking.contains(key) {
                let (offset, length) = (write.range.offset, write.range.length);
                let started = map.write_started(offset, length);
                debug_assert!(started.is_ok(), "{started:?}");
            }
        }
        map.not_written();
        self.map = map;
        self.settle_nothing();
        self.remark();
        let local = &mut self.local;
        local.stored = Stored::new(alloc::vec![0; provider.map.len()]);
        local.stored_metadata = provider.metadata.clone();
        local.mark = Some(provider.consistency);
        let (resource_id, counters) = (local.metadata.resource_id, local.metadata.counters);
        local.metadata = provider.metadata;
        local.metadata.resource_id = resource_id;
        local.metadata.counters = counters;
        local.map_is_due = true;
        self.copy = match complete {
            true => LocalCopy::Catching,
            false => LocalCopy::Current,
        };
        self.event(Event::Attached {
            from_peer: complete,
        });
        if complete {
            self.want_mark(Consistency::Incomplete);
        }
        self.store_metadata();
        self.begin_copying();
        self.advance_all_writes();
    }
}

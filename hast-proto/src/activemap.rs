//! Which extents differ, or may differ, between the two nodes (HAST §4.4, §4.5).
//!
//! A primary marks an extent on disk before it writes there, so that after a crash it knows
//! where the nodes may differ; and it remembers which extents the peer has missed, to copy them
//! later. [`ActiveMap`] is the bookkeeping. What is to be written and when, it says; writing is
//! the caller's.
//!
//! An extent is in one of these conditions, in each of which it is marked on disk:
//!
//! | condition | begins | ends |
//! |---|---|---|
//! | a write is pending | [`write_started`](ActiveMap::write_started) | [`write_completed`](ActiveMap::write_completed) |
//! | the nodes differ there | [`needs_sync`](ActiveMap::needs_sync), [`merge`](ActiveMap::merge), found on disk | all its steps are [`Copied`](StepOutcome::Copied) |
//! | it was written recently | `write_started` | others were written since |
//! | it may be in a write cache | [`unsettle`](ActiveMap::unsettle) | [`settled`](ActiveMap::settled) |
//!
//! The first two make it *dirty*, which is what `hastctl list` counts. The third spares most
//! writes a write of the map; the fourth outlives a power failure.
//!
//! # Where it is better than the original
//!
//! - A step of the synchronisation that fails leaves its extent marked; so does a write that the
//!   peer misses while the extent is being copied. The original forgets both (HAST §6.7).
//! - Any number of steps can be on their way, and they may end in any order.
//! - Merging the peer's map does not disturb pending writes (HAST §4.4, trap).
//! - What must be on disk first is told from what can wait, and only what has changed need be
//!   written.

#![warn(clippy::arithmetic_side_effects)]

mod bitmap;
mod marked;
mod stored;

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};

use self::bitmap::Bitmap;
pub use self::marked::Marked;
pub(crate) use self::stored::Stored;
use crate::conf::RequestSize;
use crate::layout::{KeepDirty, Layout};
use crate::types::{Length, Offset};

/// Whether the map must be written to disk.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[must_use = "an extent that is not marked on disk is forgotten in a crash"]
#[expect(clippy::exhaustive_enums, reason = "never, at any time, or first")]
pub enum MapWrite {
    /// No. If an earlier [`First`](Self::First) is still on its way to disk, the extent may be
    /// one that it marks, so that what would have waited for a map of its own waits for that.
    NotNeeded,
    /// An extent has become clean: at any time, best together with another reason.
    AnyTime,
    /// An extent is newly marked: before the write that it is marked for goes to any disk, or,
    /// if the peer has missed it, before it is acknowledged.
    First,
}

/// Why a range cannot be marked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// It is empty or not within the data.
    #[error("{length} octets at {offset} are not within {data_len}")]
    Outside {
        /// Where it begins.
        offset: Offset,
        /// Its octets.
        length: Length,
        /// The octets of data there are.
        data_len: Length,
    },
    /// More writes are pending on an extent than are counted. No window is so large.
    #[error("{max} writes are pending on extent {extent}", max = u16::MAX)]
    TooManyPending {
        /// The extent.
        extent: u32,
    },
    /// A write was completed that was never started.
    #[error("no write is pending on extent {extent}")]
    NotPending {
        /// The extent.
        extent: u32,
    },
}

/// A map that is too short for the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("map of {have} octets where {need} are needed")]
#[non_exhaustive]
pub struct MapTooShort {
    /// Its octets.
    pub have: usize,
    /// The octets with a bit for every extent.
    pub need: usize,
}

/// A piece to be copied from one node to the other.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The extent it is part of.
    pub extent: u32,
    /// Where it begins.
    pub offset: Offset,
    /// Its octets.
    pub length: Length,
    /// Which walk it belongs to.
    walk: u32,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a copy is there or it is not")]
pub enum StepOutcome {
    /// The target has the data.
    Copied,
    /// Reading or writing failed.
    Failed,
}

/// What became of an extent whose last step has ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// The extent.
    pub extent: u32,
    /// Whether the nodes agree there now. If not, it stays marked: for the next walk if a step
    /// failed, for this one if the peer missed another write meanwhile.
    pub agree: Agree,
    /// Whether the map must be written.
    pub map: MapWrite,
}

/// Whether the nodes agree on an extent after it was copied.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "they do, or for one of two reasons not"
)]
pub enum Agree {
    /// They do.
    Yes,
    /// A step failed.
    StepFailed,
    /// The peer missed a write while the extent was copied.
    WriteMissed,
}

/// An extent that is being copied.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Copying {
    /// Steps handed out and not ended.
    outstanding: u32,
    /// Whether all were handed out.
    complete: bool,
    failed: bool,
    missed: bool,
}

/// Where the walk over the extents to be copied is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Position {
    /// Nowhere: only a rewind begins a walk.
    Idle,
    /// Between extents.
    Start,
    /// In this extent, at this offset.
    In { extent: u32, next: u64 },
}

/// The map of extents of a primary. See the [module documentation](self).
///
/// ```
/// use hast_proto::activemap::{ActiveMap, MapWrite, StepOutcome};
/// use hast_proto::{ExtentSize, KeepDirty, Layout, Length, Offset, RequestSize, SectorSize};
///
/// let layout = Layout::create(
///     Length::new(1 << 30),
///     ExtentSize::DEFAULT,
///     SectorSize::DEFAULT,
/// )?;
/// let mut map = ActiveMap::new(layout, KeepDirty::DEFAULT);
/// let (at, len) = (Offset::new(0), Length::new(4096));
///
/// // A write: mark, write the map, write the data, unmark.
/// assert_eq!(map.write_started(at, len)?, MapWrite::First);
/// assert_eq!(map.changed(SectorSize::DEFAULT), Some(0..512));
/// map.written();
/// // The peer is not there.
/// let _ = map.needs_sync(at, len)?;
/// assert_eq!(map.write_completed(at, len)?, MapWrite::NotNeeded);
///
/// // It is back: everything marked is copied.
/// map.rewind();
/// while let Some(step) = map.next_step(RequestSize::DEFAULT) {
///     map.step_done(step, StepOutcome::Copied);
/// }
/// assert_eq!(map.dirty(), Length::ZERO);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ActiveMap {
    layout: Layout,
    keep: KeepDirty,
    /// Writes pending on each extent.
    pending: Vec<u16>,
    /// Extents on which any write is pending.
    busy: u32,
    /// Extents where the nodes differ.
    differ: Bitmap,
    /// Those of them that this walk has still to visit.
    to_visit: Bitmap,
    /// How many extents are dirty.
    dirty: u32,
    /// Recently written extents, the latest at the end.
    kept: Vec<u32>,
    /// The same as a set.
    is_kept: Bitmap,
    /// Extents with writes that may be in a write cache of either node.
    unsettled: Bitmap,
    /// Those of before the flush that is under way.
    settling: Bitmap,
    /// The map as it must be on disk.
    image: Vec<u8>,
    /// Which octets of it may be different there.
    changed: Option<Range<usize>>,
    /// Whether the last write of the image failed, so that no mark can be relied on.
    unknown: bool,
    position: Position,
    /// The number of the walk, by which late answers of an earlier one are known.
    walk: u32,
    copying: BTreeMap<u32, Copying>,
}

impl ActiveMap {
    /// Makes a map with nothing marked.
    #[must_use]
    pub fn new(layout: Layout, keep_dirty: KeepDirty) -> Self {
        let extents = layout.extents();
        let count = usize::try_from(extents).unwrap_or(usize::MAX);
        let octets = layout.map_len().to_usize().unwrap_or(usize::MAX);
        Self {
            layout,
            keep: keep_dirty,
            pending: vec![0; count],
            busy: 0,
            differ: Bitmap::new(extents),
            to_visit: Bitmap::new(extents),
            dirty: 0,
            kept: Vec::new(),
            is_kept: Bitmap::new(extents),
            unsettled: Bitmap::new(extents),
            settling: Bitmap::new(extents),
            image: vec![0; octets],
            changed: None,
            unknown: false,
            position: Position::Idle,
            walk: 0,
            copying: BTreeMap::new(),
        }
    }

    /// Makes a map of what was found on disk: all that is marked there is to be copied.
    ///
    /// # Errors
    ///
    /// [`MapTooShort`] if not every extent has a bit.
    pub fn from_disk(
        layout: Layout,
        keep_dirty: KeepDirty,
        disk: &[u8],
    ) -> Result<Self, MapTooShort> {
        let mut map = Self::new(layout, keep_dirty);
        map.merge(disk)?;
        // It is on disk already, but for bits that mean nothing.
        map.changed = None;
        Ok(map)
    }

    /// Marks a range because it is about to be written.
    ///
    /// # Errors
    ///
    /// [`RangeError::Outside`], [`RangeError::TooManyPending`]; nothing is changed then.
    pub fn write_started(
        &mut self,
        offset: Offset,
        length: Length,
    ) -> Result<MapWrite, RangeError> {
        let extents = self.touched(offset, length)?;
        for extent in extents.clone() {
            if self.pending(extent) == u16::MAX {
                return Err(RangeError::TooManyPending { extent });
            }
        }
        let mut write = MapWrite::NotNeeded;
        // Of a range longer than the list only its end can stay in it.
        let keep_from = extents
            .end()
            .saturating_sub(self.keep.get().saturating_sub(1));
        for extent in extents {
            self.add_pending(extent);
            let new = if extent < keep_from {
                !self.is_kept.contains(extent)
            } else {
                self.keep(extent)
            };
            if new || self.unknown {
                write = MapWrite::First;
            }
        }
        Ok(write)
    }

    /// Takes back one mark of [`write_started`](Self::write_started), after the write has ended
    /// on both nodes. If the peer has missed it, call [`needs_sync`](Self::needs_sync) before.
    ///
    /// # Errors
    ///
    /// [`RangeError::Outside`], [`RangeError::NotPending`]; nothing is changed then.
    pub fn write_completed(
        &mut self,
        offset: Offset,
        length: Length,
    ) -> Result<MapWrite, RangeError> {
        let extents = self.touched(offset, length)?;
        for extent in extents.clone() {
            if self.pending(extent) == 0 {
                return Err(RangeError::NotPending { extent });
            }
        }
        let mut write = MapWrite::NotNeeded;
        for extent in extents {
            self.remove_pending(extent);
            if self.is_clean(extent) && !self.is_kept.contains(extent) {
                write = MapWrite::AnyTime;
            }
        }
        Ok(write)
    }

    /// Marks a range because the nodes differ there. It does not begin a walk, but one that is
    /// under way visits it.
    ///
    /// # Errors
    ///
    /// [`RangeError::Outside`]
    pub fn needs_sync(&mut self, offset: Offset, length: Length) -> Result<MapWrite, RangeError> {
        let extents = self.touched(offset, length)?;
        let mut write = MapWrite::NotNeeded;
        for extent in extents {
            if let Some(copying) = self.copying.get_mut(&extent) {
                copying.missed = true;
            }
            if self.unknown {
                write = MapWrite::First;
            }
            if self.mark_different(extent) {
                write = MapWrite::First;
                if self.position != Position::Idle {
                    self.to_visit.insert(extent);
                }
            }
        }
        Ok(write)
    }

    /// Marks what the peer's map marks, and [rewinds](Self::rewind). Bits beyond the last
    /// extent are ignored, of which a full map has many. The map must be written before the
    /// session begins (HAST §4.6).
    ///
    /// # Errors
    ///
    /// [`MapTooShort`] if not every extent has a bit.
    pub fn merge(&mut self, map: &[u8]) -> Result<(), MapTooShort> {
        let need = self.layout.used_map_len().to_usize().unwrap_or(usize::MAX);
        let have = map.len();
        let map = map.get(..need).ok_or(MapTooShort { have, need })?;
        for (index, &octet) in (0_u32..).zip(map) {
            let mut bits = octet;
            while bits != 0 {
                let extent = (index << 3) | bits.trailing_zeros();
                bits &= bits.saturating_sub(1);
                if extent < self.layout.extents() {
                    self.mark_different(extent);
                }
            }
        }
        self.rewind();
        Ok(())
    }

    /// Begins a new walk over all that is to be copied. Steps of the walk before count no more.
    pub fn rewind(&mut self) {
        self.walk = self.walk.wrapping_add(1);
        self.copying.clear();
        self.to_visit.clone_from(&self.differ);
        self.position = if self.differ.count() == 0 {
            Position::Idle
        } else {
            Position::Start
        };
    }

    /// Returns the next piece to copy, of at most `max` octets and within one extent, from the
    /// lowest extent on. When it returns `None` and no step is on its way, the walk has ended,
    /// and only [`rewind`](Self::rewind) begins a new one.
    ///
    /// Every step must be handed to [`step_done`](Self::step_done) once, when it has ended,
    /// unless the map is rewound first. The nodes agree when the walk has ended and
    /// [`to_copy`](Self::to_copy) is 0.
    pub fn next_step(&mut self, max: RequestSize) -> Option<Step> {
        let (extent, start) = match self.position {
            Position::Idle => return None,
            Position::In { extent, next } => (extent, next),
            Position::Start => {
                let Some(extent) = self.to_visit.lowest() else {
                    // Extents whose last steps are on their way may still come back.
                    if self.copying.is_empty() {
                        self.position = Position::Idle;
                    }
                    return None;
                };
                self.to_visit.remove(extent);
                self.copying.insert(extent, Copying::default());
                (extent, self.range(extent).start)
            }
        };
        let end = self.range(extent).end;
        let next = start.saturating_add(max.get().into()).min(end);
        let copying = self.copying.entry(extent).or_default();
        copying.outstanding = copying.outstanding.saturating_add(1);
        copying.complete = next == end;
        self.position = if copying.complete {
            Position::Start
        } else {
            Position::In { extent, next }
        };
        Some(Step {
            extent,
            offset: Offset::new(start),
            length: Length::new(next.saturating_sub(start)),
            walk: self.walk,
        })
    }

    /// Takes note that a step has ended. Returns what became of its extent if that was its last.
    /// Steps of an earlier walk are ignored.
    pub fn step_done(&mut self, step: Step, outcome: StepOutcome) -> Option<Finished> {
        if step.walk != self.walk {
            return None;
        }
        let extent = step.extent;
        let copying = self.copying.get_mut(&extent)?;
        copying.outstanding = copying.outstanding.saturating_sub(1);
        copying.failed |= outcome == StepOutcome::Failed;
        if !copying.complete || copying.outstanding != 0 {
            return None;
        }
        let Copying { failed, missed, .. } = *copying;
        self.copying.remove(&extent);
        let agree = match (failed, missed) {
            (true, _) => Agree::StepFailed,
            (false, true) => {
                self.to_visit.insert(extent);
                Agree::WriteMissed
            }
            (false, false) => Agree::Yes,
        };
        let mut map = MapWrite::NotNeeded;
        if agree == Agree::Yes {
            self.differ.remove(extent);
            if self.pending(extent) == 0 {
                self.dirty = self.dirty.saturating_sub(1);
                map = MapWrite::AnyTime;
            }
            self.refresh(extent);
        }
        Some(Finished { extent, agree, map })
    }

    /// Keeps a range marked on disk until a flush on both nodes has ended: what was written there
    /// may still be in a write cache, and a power failure of either node undo it.
    ///
    /// The original does not: it trusts a disk that says that it has written.
    ///
    /// # Errors
    ///
    /// [`RangeError::Outside`]
    pub fn unsettle(&mut self, offset: Offset, length: Length) -> Result<(), RangeError> {
        for extent in self.touched(offset, length)? {
            self.unsettled.insert(extent);
            self.refresh(extent);
        }
        Ok(())
    }

    /// Takes note that a flush begins, on both nodes. There is one at a time: if one is under
    /// way, this one does not count. Returns whether it does.
    pub fn settle(&mut self) -> bool {
        let free = self.settling.count() == 0 && self.unsettled.count() != 0;
        if free {
            core::mem::swap(&mut self.settling, &mut self.unsettled);
        }
        free
    }

    /// Takes note that the flush has ended, on both nodes, or failed on one of them.
    pub fn settled(&mut self, flushed: bool) {
        while let Some(extent) = self.settling.lowest() {
            self.settling.remove(extent);
            if !flushed {
                self.unsettled.insert(extent);
            }
            self.refresh(extent);
        }
    }

    /// The peer is lost, and with it perhaps what was in its write cache: everything that is not
    /// settled is to be copied.
    pub fn peer_lost(&mut self) {
        self.settled(false);
        while let Some(extent) = self.unsettled.lowest() {
            self.unsettled.remove(extent);
            self.mark_different(extent);
            if self.position != Position::Idle {
                self.to_visit.insert(extent);
            }
        }
    }

    /// Returns how many extents are not settled.
    #[must_use]
    pub const fn unsettled_extents(&self) -> u32 {
        self.unsettled.count().saturating_add(self.settling.count())
    }

    /// Returns whether the nodes differ on any extent that a range touches, or the range is not
    /// within the data.
    #[must_use]
    pub fn differs_within(&self, offset: Offset, length: Length) -> bool {
        match self.touched(offset, length) {
            Ok(mut extents) => self.to_copy() != 0 && extents.any(|extent| self.differs(extent)),
            Err(_) => true,
        }
    }

    /// Returns the map as it must be on disk, at the layout's `map_offset`: all of `map_len`.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Returns which octets of the [`image`](Self::image) may be different on disk, in whole
    /// sectors. The original always writes all of it.
    #[must_use]
    pub fn changed(&self, sector: crate::types::SectorSize) -> Option<Range<usize>> {
        let changed = self.changed.clone()?;
        let sector = usize::try_from(sector.get()).unwrap_or(usize::MAX);
        let start = changed
            .start
            .saturating_sub(changed.start.checked_rem(sector)?);
        let end = changed.end.checked_next_multiple_of(sector)?;
        Some(start..end.min(self.image.len()))
    }

    /// Takes note that the image, as it is now, is on its way to disk. If writing it fails, call
    /// [`not_written`](Self::not_written).
    pub fn written(&mut self) {
        self.unknown = false;
        self.changed = None;
    }

    /// Takes note that nothing is known of the map on disk, so that all of it is written next,
    /// before any write: marks of before may have been lost.
    pub fn not_written(&mut self) {
        self.unknown = true;
        self.changed = Some(0..self.image.len());
    }

    /// Returns the layout.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns "dirty" as `hastctl list` shows it: the extents with a pending write or something
    /// to copy, times their size. Those that are marked only because they were written recently
    /// do not count, so the map on disk can have more bits (HAST §4.5).
    #[must_use]
    pub fn dirty(&self) -> Length {
        let size = u64::from(self.layout.extent_size().get());
        Length::new(size.saturating_mul(self.dirty.into()))
    }

    /// Returns how many extents are dirty.
    #[must_use]
    pub const fn dirty_extents(&self) -> u32 {
        self.dirty
    }

    /// Returns how many extents are still to be copied.
    #[must_use]
    pub const fn to_copy(&self) -> u32 {
        self.differ.count()
    }

    /// Returns on how many extents writes are pending.
    #[must_use]
    pub const fn busy(&self) -> u32 {
        self.busy
    }

    /// Returns the recently written extents, the latest last.
    #[must_use]
    pub fn kept(&self) -> &[u32] {
        &self.kept
    }

    /// Returns whether the nodes differ on the extent.
    #[must_use]
    pub fn differs(&self, extent: u32) -> bool {
        self.differ.contains(extent)
    }

    /// Returns the extents that a range touches.
    pub(crate) fn touched(
        &self,
        offset: Offset,
        length: Length,
    ) -> Result<RangeInclusive<u32>, RangeError> {
        let data_len = self.layout.data_len();
        let outside = RangeError::Outside {
            offset,
            length,
            data_len,
        };
        let end = offset.checked_add(length).ok_or(outside)?.get();
        if length.is_zero() || end > data_len.get() {
            return Err(outside);
        }
        let shift = self.layout.extent_size().get().trailing_zeros();
        let extent = |octet: u64| u32::try_from(octet >> shift).map_err(|_| outside);
        Ok(extent(offset.get())?..=extent(end.saturating_sub(1))?)
    }

    /// Returns where an extent begins and ends. The last one may be short.
    fn range(&self, extent: u32) -> Range<u64> {
        let size = u64::from(self.layout.extent_size().get());
        let start = size.saturating_mul(extent.into());
        start..start.saturating_add(size).min(self.layout.data_len().get())
    }

    fn pending(&self, extent: u32) -> u16 {
        usize::try_from(extent)
            .ok()
            .and_then(|extent| self.pending.get(extent).copied())
            .unwrap_or(0)
    }

    fn pending_mut(&mut self, extent: u32) -> Option<&mut u16> {
        self.pending.get_mut(usize::try_from(extent).ok()?)
    }

    /// Whether the extent is not dirty.
    fn is_clean(&self, extent: u32) -> bool {
        self.pending(extent) == 0 && !self.differ.contains(extent)
    }

    fn add_pending(&mut self, extent: u32) {
        if self.is_clean(extent) {
            self.dirty = self.dirty.saturating_add(1);
        }
        let Some(pending) = self.pending_mut(extent) else {
            return;
        };
        let first = *pending == 0;
        *pending = pending.saturating_add(1);
        self.busy = self.busy.saturating_add(first.into());
        self.refresh(extent);
    }

    fn remove_pending(&mut self, extent: u32) {
        let Some(pending) = self.pending_mut(extent) else {
            return;
        };
        *pending = pending.saturating_sub(1);
        let last = *pending == 0;
        self.busy = self.busy.saturating_sub(last.into());
        if last && self.is_clean(extent) {
            self.dirty = self.dirty.saturating_sub(1);
        }
        self.refresh(extent);
    }

    /// Returns whether the extent was not marked as different before.
    fn mark_different(&mut self, extent: u32) -> bool {
        if self.is_clean(extent) {
            self.dirty = self.dirty.saturating_add(1);
        }
        let new = self.differ.insert(extent);
        self.refresh(extent);
        new
    }

    /// Puts an extent at the end of the list of recently written ones. Returns whether it was
    /// not there, in which case the one written longest ago may have had to make room.
    fn keep(&mut self, extent: u32) -> bool {
        if self.kept.last() == Some(&extent) {
            return false;
        }
        if self.is_kept.contains(extent) {
            self.kept.retain(|&kept| kept != extent);
            self.kept.push(extent);
            return false;
        }
        let limit = usize::try_from(self.keep.get()).unwrap_or(usize::MAX);
        let dropped = (self.kept.len() >= limit).then(|| self.kept.remove(0));
        self.kept.push(extent);
        self.is_kept.insert(extent);
        if let Some(dropped) = dropped {
            self.is_kept.remove(dropped);
            self.refresh(dropped);
        }
        self.refresh(extent);
        true
    }

    /// Brings the extent's bit in the image up to date: it is one if the extent is dirty, was
    /// written recently, or is not settled.
    fn refresh(&mut self, extent: u32) {
        let marked = !self.is_clean(extent)
            || self.is_kept.contains(extent)
            || self.unsettled.contains(extent)
            || self.settling.contains(extent);
        let bit = 1_u8 << (extent & 7);
        let index = usize::try_from(extent >> 3).unwrap_or(usize::MAX);
        let Some(octet) = self.image.get_mut(index) else {
            return;
        };
        let before = *octet;
        *octet = if marked { before | bit } else { before & !bit };
        if *octet == before {
            return;
        }
        let end = index.saturating_add(1);
        self.changed = Some(match self.changed.take() {
            Some(changed) => changed.start.min(index)..changed.end.max(end),
            None => index..end,
        });
    }
}

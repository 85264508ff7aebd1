//! Ranges of octets, and whether they overlap.

use crate::types::{Length, Offset};

/// A part of the data area. What wants the same part at the same time may have to wait (HAST §6.5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Range {
    pub(crate) offset: Offset,
    pub(crate) length: Length,
}

impl Range {
    pub(crate) const fn new(offset: Offset, length: Length) -> Self {
        Self { offset, length }
    }

    pub(crate) const fn end(self) -> u64 {
        self.offset.get().saturating_add(self.length.get())
    }

    pub(crate) const fn overlaps(self, other: Self) -> bool {
        self.offset.get() < other.end() && other.offset.get() < self.end()
    }
}

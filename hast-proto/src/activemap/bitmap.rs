//! One bit for each extent.

use alloc::vec;
use alloc::vec::Vec;

/// A set of extents. Bits that no extent has do not exist.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    /// How many are in it.
    count: u32,
    /// No word before this one has a bit set.
    first: u32,
}

impl Bitmap {
    pub(super) fn new(extents: u32) -> Self {
        let words = usize::try_from(extents.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            words: vec![0; words],
            count: 0,
            first: 0,
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, extent: u32) -> bool {
        let (word, bit) = place(extent);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Puts an extent in; returns whether it was not there.
    pub(super) fn insert(&mut self, extent: u32) -> bool {
        let (index, bit) = place(extent);
        match self.words.get_mut(index) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                self.count = self.count.saturating_add(1);
                self.first = self.first.min(extent >> 6);
                true
            }
            _ => false,
        }
    }

    /// Takes an extent out; returns whether it was there.
    pub(super) fn remove(&mut self, extent: u32) -> bool {
        let (index, bit) = place(extent);
        match self.words.get_mut(index) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                self.count = self.count.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Returns the lowest extent. What was searched in vain is not searched again.
    pub(super) fn lowest(&mut self) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let start = usize::try_from(self.first).unwrap_or(usize::MAX);
        let (skipped, word) = (0_u32..)
            .zip(self.words.get(start..)?)
            .find(|(_, word)| **word != 0)?;
        self.first = self.first.saturating_add(skipped);
        Some((self.first << 6) | word.trailing_zeros())
    }
}

/// Where an extent's bit is.
fn place(extent: u32) -> (usize, u64) {
    let word = usize::try_from(extent >> 6).unwrap_or(usize::MAX);
    (word, 1 << (extent & 63))
}

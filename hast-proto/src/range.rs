//! Ranges of octets, and what overlaps them.

use alloc::collections::BTreeMap;

use crate::types::{Length, Offset};

/// A part of the data area.
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

/// Ranges with numbers, among which those are found that overlap another one without a look at
/// all of them.
///
/// It looks at those that begin within it, or before it by less than the longest of all: few,
/// unless one is much longer than the rest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ranges {
    /// Where each ends, by where it begins and its number.
    ends: BTreeMap<(u64, u64), u64>,
    /// No range in it is longer.
    longest: u64,
}

impl Ranges {
    pub(crate) fn insert(&mut self, number: u64, range: Range) {
        self.longest = self.longest.max(range.length.get());
        self.ends.insert((range.offset.get(), number), range.end());
    }

    pub(crate) fn remove(&mut self, number: u64, range: Range) {
        self.ends.remove(&(range.offset.get(), number));
        if self.ends.is_empty() {
            self.longest = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the numbers of all that overlap `range`.
    pub(crate) fn overlapping(&self, range: Range) -> impl Iterator<Item = u64> {
        let start = range.offset.get();
        let from = (start.saturating_sub(self.longest), 0);
        self.ends
            .range(from..(range.end(), 0))
            .filter(move |(_, end)| start < **end)
            .map(|((_, number), _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_overlaps_is_found_and_nothing_else() {
        let range = |offset, length| Range::new(Offset::new(offset), Length::new(length));
        let all = [
            range(0, 8),
            range(8, 8),
            range(8, 100),
            range(40, 8),
            range(u64::MAX - 7, 8),
        ];
        let mut ranges = Ranges::default();
        for (number, range) in (0..).zip(all) {
            ranges.insert(number, range);
        }
        for asked in all
            .into_iter()
            .chain([range(7, 1), range(7, 2), range(16, 24)])
        {
            let mut found: Vec<u64> = ranges.overlapping(asked).collect();
            found.sort_unstable();
            let expected = (0..).zip(all).filter(|(_, it)| it.overlaps(asked));
            let expected: Vec<u64> = expected.map(|(number, _)| number).collect();
            assert_eq!(found, expected, "{asked:?}");
        }
        for (number, range) in (0..).zip(all) {
            ranges.remove(number, range);
        }
        assert_eq!(ranges, Ranges::default());
    }
}

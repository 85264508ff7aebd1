//! A map as it is on disk or on the wire, that is only looked at.

use crate::layout::Layout;
use crate::types::{Length, Offset};

/// Which extents a map marks. Bits that no extent has are not looked at, and bits that are missing
/// are taken for zeros.
///
/// ```
/// use hast_proto::activemap::Marked;
/// use hast_proto::{ExtentSize, Layout, Length, Offset, SectorSize};
///
/// let extent = ExtentSize::DEFAULT;
/// let layout = Layout::create(Length::new(1 << 30), extent, SectorSize::DEFAULT)?;
/// let marked = Marked::new(layout, &[0b0000_0110]);
/// assert_eq!(marked.extents(), 2);
/// assert_eq!(marked.octets(), Length::new(4 << 20));
/// let range = (Offset::new(2 << 20), Length::new(4 << 20));
/// assert_eq!(marked.range_from(0, u64::MAX), Some(range));
/// assert_eq!(marked.range_from(6 << 20, u64::MAX), None);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Marked<'a> {
    layout: Layout,
    map: &'a [u8],
}

impl<'a> Marked<'a> {
    /// Looks at a map.
    #[must_use]
    pub const fn new(layout: Layout, map: &'a [u8]) -> Self {
        Self { layout, map }
    }

    /// Whether an extent is marked.
    #[must_use]
    pub fn contains(&self, extent: u32) -> bool {
        let octet = usize::try_from(extent >> 3).ok();
        let octet = octet.and_then(|index| self.map.get(index));
        extent < self.layout.extents() && octet.is_some_and(|octet| octet >> (extent & 7) & 1 != 0)
    }

    /// Returns how many extents are marked.
    #[must_use]
    pub fn extents(&self) -> u32 {
        let marked = (0..self.layout.extents()).filter(|extent| self.contains(*extent));
        // There are not more extents than fit.
        u32::try_from(marked.count()).unwrap_or(u32::MAX)
    }

    /// Returns how many octets they have. The last extent may be a short one.
    #[must_use]
    pub fn octets(&self) -> Length {
        let size = u64::from(self.layout.extent_size().get());
        let whole = u64::from(self.extents()).saturating_mul(size);
        let last = self.layout.extents().saturating_sub(1);
        let end = u64::from(last).saturating_add(1).saturating_mul(size);
        let missing = match self.contains(last) {
            true => end.saturating_sub(self.layout.data_len().get()),
            false => 0,
        };
        Length::new(whole.saturating_sub(missing))
    }

    /// Returns what is marked first at or behind an offset, at most so many octets of it.
    #[must_use]
    pub fn range_from(&self, offset: u64, longest: u64) -> Option<(Offset, Length)> {
        let size = u64::from(self.layout.extent_size().get());
        let extents = self.layout.extents();
        let from = u32::try_from(offset.checked_div(size)?).ok()?;
        let first = (from..extents).find(|extent| self.contains(*extent))?;
        let start = u64::from(first).saturating_mul(size).max(offset);
        let mut end = u64::from(first).saturating_mul(size);
        for extent in first..extents {
            if !self.contains(extent) || end.saturating_sub(start) >= longest {
                break;
            }
            end = end.saturating_add(size);
        }
        let length = end.min(self.layout.data_len().get()).checked_sub(start)?;
        let length = length.min(longest);
        (length > 0).then_some((Offset::new(start), Length::new(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ExtentSize, SectorSize};

    /// Ten extents, of which the last is short by what stands before the data.
    fn layout() -> Layout {
        let media = Length::new(10 * 8192);
        let extent = ExtentSize::new(8192).unwrap();
        Layout::create(media, extent, SectorSize::DEFAULT).unwrap()
    }

    #[test]
    fn the_last_extent_is_as_long_as_it_is() {
        let short = layout().data_len().get() - 9 * 8192;
        let all = Marked::new(layout(), &[0xff; 512]);
        assert_eq!((all.extents(), all.octets()), (10, layout().data_len()));
        let whole = (Offset::ZERO, layout().data_len());
        assert_eq!(all.range_from(0, u64::MAX), Some(whole));
        let last = Marked::new(layout(), &[0, 2]);
        assert_eq!((last.extents(), last.octets()), (1, Length::new(short)));
        let range = (Offset::new(9 * 8192), Length::new(short));
        assert_eq!(last.range_from(0, u64::MAX), Some(range));
        assert_eq!(last.range_from(layout().data_len().get(), 1), None);
    }

    #[test]
    fn ranges_follow_each_other() {
        let marked = Marked::new(layout(), &[0b0100_0110]);
        let mut ranges = alloc::vec::Vec::new();
        let mut offset = 0;
        while let Some((start, length)) = marked.range_from(offset, u64::MAX) {
            offset = start.get() + length.get();
            ranges.push((start.get() / 8192, length.get() / 8192));
        }
        assert_eq!(ranges, [(1, 2), (6, 1)]);
        // What was read of a range in part goes on from there.
        let rest = (Offset::new(12_288), Length::new(12_288));
        assert_eq!(marked.range_from(12_288, u64::MAX), Some(rest));
        for longest in [512, 8192, 12_288] {
            let part = (Offset::new(12_288), Length::new(longest));
            assert_eq!(marked.range_from(12_288, longest), Some(part));
        }
    }

    #[test]
    fn a_map_that_is_short_or_long_marks_what_there_is() {
        assert_eq!(Marked::new(layout(), &[]).extents(), 0);
        assert_eq!(Marked::new(layout(), &[0, 0xfc]).extents(), 0);
        assert!(!Marked::new(layout(), &[0xff; 512]).contains(10));
    }
}

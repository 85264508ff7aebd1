//! Where metadata, map and data lie on a provider (HAST §4.1, §4.2).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

use crate::types::{ExtentSize, Length, NumberError, Offset, SectorSize};

/// The octets of the metadata block, at the start of the provider.
pub const BLOCK_LEN: usize = 4096;

/// The same as a length.
pub(crate) const BLOCK: Length = Length::new(4096);

/// The most extents of a resource: 128 TiB of the default size. A map in memory takes 2 octets
/// and 6 bits for each.
pub const MAX_EXTENTS: u32 = 1 << 26;

/// How many recently written extents stay marked on disk: 2 to 4096 (HAST §4.5).
///
/// 1 is refused because the original dies of it; more than 4096 would make writes slow here,
/// and is of no use.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeepDirty(u32);

impl KeepDirty {
    /// What `hastctl create` takes unless told otherwise: 64.
    pub const DEFAULT: Self = Self(64);
    /// The least one.
    pub const MIN: Self = Self(2);
    /// The greatest one.
    pub const MAX: Self = Self(4096);

    /// Makes a number of extents; 0 means [`DEFAULT`](Self::DEFAULT), as for `hastctl create`.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub const fn new(extents: u32) -> Result<Self, NumberError> {
        match extents {
            0 => Ok(Self::DEFAULT),
            2..=4096 => Ok(Self(extents)),
            _ => Err(NumberError::Range {
                field: "keepdirty",
                value: extents as u64,
                min: Self::MIN.0 as u64,
                max: Self::MAX.0 as u64,
            }),
        }
    }

    /// Takes the number in a metadata block. More than [`MAX`](Self::MAX) counts as that, which
    /// costs some writes of the map and nothing else.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] for 0 and 1, which `hastctl create` writes if told so for 1, but
    /// with which the original dies at the second extent.
    pub const fn from_stored(extents: u32) -> Result<Self, NumberError> {
        match extents {
            0 | 1 => Err(NumberError::Range {
                field: "keepdirty",
                value: extents as u64,
                min: Self::MIN.0 as u64,
                max: u32::MAX as u64,
            }),
            2..=4096 => Ok(Self(extents)),
            _ => Ok(Self::MAX),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for KeepDirty {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for KeepDirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where metadata, map and data lie on a provider, in octets:
///
/// ```text
///  0                 metadata block, 4096
///  4096              map of dirty extents, map_len
///  4096 + map_len    data, data_len         this offset is data_offset, "localoff"
/// ```
///
/// There is room for the map of all extents: whatever was computed from a media size or found
/// on disk has been checked.
///
/// The original computes the map's length in three places by three formulas, one of which can
/// make a secondary overwrite the beginning of the data. Here it is what lies between the block
/// and the data, everywhere (HAST §4.2, trap).
///
/// ```
/// use hast_proto::{ExtentSize, Layout, Length, SectorSize};
///
/// let gibibyte = Length::new(1 << 30);
/// let layout = Layout::create(gibibyte, ExtentSize::DEFAULT, SectorSize::DEFAULT)?;
/// assert_eq!(layout.data_offset().get(), 4608);
/// assert_eq!(layout.data_len().get(), 1_073_737_216);
/// assert_eq!(layout.extents(), 512);
/// # Ok::<(), hast_proto::LayoutError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Layout {
    data_len: Length,
    extent_size: ExtentSize,
    map_len: Length,
    extents: u32,
}

/// Why a provider cannot be laid out so.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The media are no whole number of sectors, so that the last piece could not be written.
    #[error("media size {media} is no multiple of the sector size {sector}")]
    Sectors {
        /// The size of the media.
        media: Length,
        /// The size of a sector.
        sector: SectorSize,
    },
    /// An extent would be less than a sector.
    #[error("extentsize {extent} is below the sector size {sector}")]
    ExtentBelowSector {
        /// The size of an extent.
        extent: ExtentSize,
        /// The size of a sector.
        sector: SectorSize,
    },
    /// Nothing is left for data.
    #[error("datasize is 0: nothing is left beside metadata and map")]
    NoData,
    /// There are more than [`MAX_EXTENTS`].
    #[error("{extents} extents where at most {MAX_EXTENTS} are allowed; take larger ones")]
    TooManyExtents {
        /// How many there would be.
        extents: u64,
    },
    /// The data begin before the map ends, or end after 2^63 octets.
    #[error("offset {offset} of the data leaves no room for a map of {map} octets, or none at all")]
    Offset {
        /// Where the data begin.
        offset: Offset,
        /// The octets of the map.
        map: u64,
    },
}

impl Layout {
    /// Lays out a new provider, or the first `media` octets of it, as `hastctl create` does.
    ///
    /// The map is computed for the media without the metadata block, before the map's own length
    /// is known; so it can be one sector longer than it needs to be (HAST §14.34).
    ///
    /// # Errors
    ///
    /// [`LayoutError`], except that the offset is always right.
    pub fn create(
        media: Length,
        extent_size: ExtentSize,
        sector: SectorSize,
    ) -> Result<Self, LayoutError> {
        if !sector.divides(media.get()) {
            return Err(LayoutError::Sectors { media, sector });
        }
        if extent_size.get() < sector.get() {
            let extent = extent_size;
            return Err(LayoutError::ExtentBelowSector { extent, sector });
        }
        let behind_block = Length::new(media.get().saturating_sub(BLOCK.get()));
        let words = extent_count(behind_block, extent_size).div_ceil(64);
        let map_len = words
            .saturating_mul(8)
            .checked_next_multiple_of(sector.get().into())
            .unwrap_or(u64::MAX);
        let data_len = Length::new(behind_block.get().saturating_sub(map_len));
        let data_offset = Offset::new(BLOCK.get().saturating_add(map_len));
        Self::new(data_len, extent_size, data_offset)
    }

    /// Takes a layout as a metadata block describes it.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NoData`], [`LayoutError::TooManyExtents`], [`LayoutError::Offset`].
    pub fn new(
        data_len: Length,
        extent_size: ExtentSize,
        data_offset: Offset,
    ) -> Result<Self, LayoutError> {
        if data_len.is_zero() {
            return Err(LayoutError::NoData);
        }
        let count = extent_count(data_len, extent_size);
        let too_many = LayoutError::TooManyExtents { extents: count };
        let extents = u32::try_from(count).map_err(|_| too_many)?;
        if extents > MAX_EXTENTS {
            return Err(too_many);
        }
        let map = u64::from(extents.div_ceil(8));
        let wrong = LayoutError::Offset {
            offset: data_offset,
            map,
        };
        let map_len = data_offset.get().checked_sub(BLOCK.get()).ok_or(wrong)?;
        let end = data_offset.checked_add(data_len).ok_or(wrong)?;
        // A map that takes more than one octet an extent is none: it bounds what is allocated.
        if map_len < map || map_len > u64::from(MAX_EXTENTS) || end.get() > i64::MAX.unsigned_abs()
        {
            return Err(wrong);
        }
        Ok(Self {
            data_len,
            extent_size,
            map_len: Length::new(map_len),
            extents,
        })
    }

    /// Returns the octets of data, "datasize".
    #[must_use]
    pub const fn data_len(&self) -> Length {
        self.data_len
    }

    /// Returns where on the provider the data begin, "localoff".
    #[must_use]
    pub const fn data_offset(&self) -> Offset {
        Offset::new(BLOCK.get().saturating_add(self.map_len.get()))
    }

    /// Returns the size of an extent. The last one may be shorter.
    #[must_use]
    pub const fn extent_size(&self) -> ExtentSize {
        self.extent_size
    }

    /// Returns how many extents there are.
    #[must_use]
    pub const fn extents(&self) -> u32 {
        self.extents
    }

    /// Returns where on the provider the map begins.
    #[must_use]
    pub const fn map_offset(&self) -> Offset {
        Offset::new(BLOCK.get())
    }

    /// Returns the octets reserved for the map; not all need be used.
    #[must_use]
    pub const fn map_len(&self) -> Length {
        self.map_len
    }

    /// Returns the octets of the map that say something.
    #[must_use]
    pub const fn used_map_len(&self) -> Length {
        Length::new(self.extents.div_ceil(8) as u64)
    }
}

/// Returns how many extents `len` octets touch.
const fn extent_count(len: Length, extent_size: ExtentSize) -> u64 {
    len.get().div_ceil(extent_size.get() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(media: u64, extent: u64, sector: u32) -> Result<Layout, LayoutError> {
        let extent = ExtentSize::new(extent).unwrap();
        Layout::create(Length::new(media), extent, SectorSize::new(sector).unwrap())
    }

    #[test]
    fn each_fault_of_a_new_layout_has_its_error() {
        assert!(matches!(
            create(1_000_000, 1 << 20, 512),
            Err(LayoutError::Sectors { .. })
        ));
        assert!(matches!(
            create(1 << 20, 512, 4096),
            Err(LayoutError::ExtentBelowSector { .. })
        ));
        assert_eq!(create(0, 1 << 20, 512), Err(LayoutError::NoData));
        assert_eq!(create(4096 + 512, 1 << 20, 512), Err(LayoutError::NoData));
        assert!(create(4096 + 1024, 1 << 20, 512).is_ok());
        let extents = ((1 << 50) - 4096 - (1 << 38)) >> 9;
        assert_eq!(
            create(1 << 50, 512, 512),
            Err(LayoutError::TooManyExtents { extents })
        );
        assert!(create(u64::MAX - 511, 1 << 30, 512).is_err());
    }

    #[test]
    fn a_map_has_room_between_block_and_data() {
        let new =
            |len, offset| Layout::new(Length::new(len), ExtentSize::DEFAULT, Offset::new(offset));
        let wrong = |offset, map| {
            Err(LayoutError::Offset {
                offset: Offset::new(offset),
                map,
            })
        };
        assert_eq!(new(1 << 30, 4096 + 63), wrong(4096 + 63, 64));
        assert_eq!(new(1 << 30, 4096 + 64).unwrap().map_len(), Length::new(64));
        assert_eq!(new(512, 100), wrong(100, 1));
        assert_eq!(new(512, 1 << 40), wrong(1 << 40, 1));
        assert_eq!(new(0, 4608), Err(LayoutError::NoData));
        assert!(matches!(
            new(u64::MAX, 4608),
            Err(LayoutError::TooManyExtents { .. })
        ));
    }

    #[test]
    fn keepdirty_is_two_or_more() {
        assert_eq!(KeepDirty::new(0), Ok(KeepDirty::DEFAULT));
        assert!(KeepDirty::new(1).is_err() && KeepDirty::new(4097).is_err());
        assert!(KeepDirty::from_stored(0).is_err() && KeepDirty::from_stored(1).is_err());
        assert_eq!(KeepDirty::from_stored(2), Ok(KeepDirty::MIN));
        assert_eq!(KeepDirty::from_stored(u32::MAX), Ok(KeepDirty::MAX));
    }
}

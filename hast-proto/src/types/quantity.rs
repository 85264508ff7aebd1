//! Positions and sizes (HAST §0, §4.2).

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

use super::NumberError;

/// A position in octets, counted from the start of the data area unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Offset(u64);

impl Offset {
    /// The first octet.
    pub const ZERO: Self = Self(0);

    /// Makes a position.
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// Returns the octets before this position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position `length` further on, if there is one: the sum must not wrap, as a
    /// real secondary lets it (HAST §7.2).
    #[must_use]
    pub const fn checked_add(self, length: Length) -> Option<Self> {
        match self.0.checked_add(length.0) {
            Some(octets) => Some(Self(octets)),
            None => None,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of octets.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Length(u64);

impl Length {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest request that every peer takes: 128 KiB (HAST §0, MAXPHYS).
    pub const MAX_TRANSFER: Self = Self(128 * 1024);
    /// The largest request that a 64-bit FreeBSD 13 or later sends and takes: 1 MiB.
    pub const MAX_TRANSFER_13: Self = Self(1024 * 1024);

    /// Makes a number of octets.
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// Takes the length of something in memory.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        // No address space of more than 64 bits is supported.
        Self(bytes.len() as u64)
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the octets as a size in memory, or `None` where memory cannot be so large.
    #[must_use]
    pub fn to_usize(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// Returns the sum, if a `u64` holds it.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(octets) => Some(Self(octets)),
            None => None,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The size of an extent in octets: a power of two up to 1 GiB (HAST §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtentSize(u32);

impl ExtentSize {
    /// What `hastctl create` takes unless told otherwise, 2 MiB.
    pub const DEFAULT: Self = Self(2 * 1024 * 1024);
    /// The largest one. The original keeps it in a signed 32-bit number, so that the next power
    /// of two would be negative.
    pub const MAX: Self = Self(1 << 30);

    /// Makes an extent size.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] if it is 0 or above [`MAX`](Self::MAX), and
    /// [`NumberError::PowerOfTwo`] if it is no power of two, with which the original aborts.
    pub const fn new(octets: u64) -> Result<Self, NumberError> {
        if octets == 0 || octets > Self::MAX.0 as u64 {
            return Err(NumberError::Range {
                field: "extentsize",
                value: octets,
                min: 1,
                max: Self::MAX.0 as u64,
            });
        }
        if !octets.is_power_of_two() {
            return Err(NumberError::PowerOfTwo {
                field: "extentsize",
                value: octets,
            });
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most MAX, as just checked"
        )]
        Ok(Self(octets as u32))
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for ExtentSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for ExtentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sector size of a provider in octets: a power of two (HAST §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SectorSize(u32);

impl SectorSize {
    /// What a regular file has, and most disks: 512.
    pub const DEFAULT: Self = Self(512);

    /// Makes a sector size.
    ///
    /// # Errors
    ///
    /// [`NumberError::PowerOfTwo`] if it is no power of two.
    pub const fn new(octets: u32) -> Result<Self, NumberError> {
        if octets.is_power_of_two() {
            return Ok(Self(octets));
        }
        Err(NumberError::PowerOfTwo {
            field: "sectorsize",
            value: octets as u64,
        })
    }

    /// Returns the octets.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether `octets` is a whole number of sectors.
    #[must_use]
    pub const fn divides(self, octets: u64) -> bool {
        // A size is never 0, so that there always is a mask.
        octets & (self.0.saturating_sub(1) as u64) == 0
    }
}

impl Default for SectorSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_does_not_wrap() {
        let last = Offset::new(u64::MAX - 511);
        assert_eq!(last.checked_add(Length::new(512)), None);
        assert_eq!(
            last.checked_add(Length::new(511)),
            Some(Offset::new(u64::MAX))
        );
        assert_eq!(Length::new(u64::MAX).checked_add(Length::new(1)), None);
    }

    #[test]
    fn an_extent_is_a_power_of_two_up_to_a_gibibyte() {
        assert_eq!(ExtentSize::new(1 << 30), Ok(ExtentSize::MAX));
        assert!(matches!(
            ExtentSize::new(0),
            Err(NumberError::Range { value: 0, .. })
        ));
        assert!(matches!(
            ExtentSize::new(1 << 31),
            Err(NumberError::Range { .. })
        ));
        assert!(matches!(
            ExtentSize::new(3 << 20),
            Err(NumberError::PowerOfTwo { .. })
        ));
        assert!(matches!(
            SectorSize::new(0),
            Err(NumberError::PowerOfTwo { value: 0, .. })
        ));
        assert!(SectorSize::DEFAULT.divides(1024) && !SectorSize::DEFAULT.divides(1000));
    }
}

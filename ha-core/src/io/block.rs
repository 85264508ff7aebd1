//! Block devices: what is read and written by offset.
//!
//! A [`BlockDevice`] is what lies below replicated storage, what replicated storage looks like to
//! whoever uses it, and what an export serves.

#[cfg(unix)]
mod disk;
#[cfg(unix)]
mod file;
mod memory;
#[cfg(unix)]
mod pool;
#[cfg(unix)]
mod raw;

use core::num::NonZeroU32;
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(unix)]
pub use disk::{DiskFile, DiskOptions};
#[cfg(unix)]
pub use file::FileDevice;
pub use memory::MemoryDevice;

/// The size of a device, and what it likes to be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a device has these")]
pub struct Geometry {
    /// In octets; a multiple of `block`.
    pub size: u64,
    /// Offsets and lengths are multiples of this: a power of two.
    pub block: NonZeroU32,
    /// The length at which requests are best; a power of two, at least `block`.
    pub preferred: NonZeroU32,
    /// The longest READ or WRITE; a multiple of `block`. DISCARD and "write zeroes" may be
    /// longer.
    pub longest: NonZeroU32,
}

impl Geometry {
    /// Whether `length` octets from `offset` lie within the device and are whole blocks.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if not.
    pub fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return invalid("outside the device");
        }
        let mask = u64::from(self.block.get()) - 1;
        if (offset | length) & mask != 0 {
            return invalid("not whole blocks");
        }
        Ok(())
    }
}

/// A part of a device, and whether anything is stored there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a part has these")]
pub struct Extent {
    /// In octets; not 0.
    pub length: u64,
    /// Nothing is stored there; it reads as zeroes.
    pub hole: bool,
}

impl Extent {
    /// A part where something may be stored.
    #[must_use]
    pub const fn data(length: u64) -> Self {
        Self {
            length,
            hole: false,
        }
    }

    /// A part where nothing is stored.
    #[must_use]
    pub const fn hole(length: u64) -> Self {
        Self { length, hole: true }
    }
}

/// What becomes of the room where zeroes are written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is given back or it is not")]
pub enum Room {
    /// It stays reserved, so that a later write there does not fail for want of it.
    Keep,
    /// It may be given back.
    GiveBack,
}

/// Something that is read and written by offset, by any number of users at the same time.
///
/// Requests that are under way at the same time may be done in any order, in part, and even mixed
/// up where they overlap; who needs an order waits. A write that has ended is seen by every read
/// begun after that, and survives a loss of power once a [`flush`](Self::flush) begun after that
/// has ended.
///
/// A future that is dropped before its end takes nothing back: what it asked for may still
/// happen.
///
/// # Errors
///
/// All methods report what the device reports, as the operating system numbers it where it can be
/// said so; [`io::ErrorKind::InvalidInput`] for what lies outside the device, is not aligned, or is
/// too long; and [`io::ErrorKind::NotConnected`] from a device that is not in use any more.
#[async_trait]
pub trait BlockDevice: Send + Sync {
    /// Returns its size and limits. They do not change.
    fn geometry(&self) -> Geometry;

    /// Reads `length` octets from `offset`, in as many pieces as they came in.
    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>>;

    /// Writes `data` at `offset`.
    async fn write(&self, offset: u64, data: Bytes) -> io::Result<()>;

    /// Writes `data` at `offset` and makes it durable; what was written before need not be.
    ///
    /// A device that knows no such write flushes everything, as this does by default.
    async fn write_durably(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.write(offset, data).await?;
        self.flush().await
    }

    /// Makes durable every write that has ended.
    async fn flush(&self) -> io::Result<()>;

    /// Forgets `length` octets from `offset`: what is read there afterwards may be anything, but
    /// stays the same until it is written.
    async fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Writes `length` zeroes at `offset`.
    async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()>;

    /// Tells where something is stored in `length` octets from `offset`, from the first octet
    /// on. It may tell of less than `length`, but never of nothing unless that is 0.
    ///
    /// A device that does not know says, as this does by default, that all is data.
    async fn extents(&self, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
        self.geometry().check(offset, length)?;
        Ok(Vec::from([Extent::data(length)]))
    }
}

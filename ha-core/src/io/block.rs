//! Block devices: what is read and written by offset.
//!
//! A [`BlockDevice`] is what lies below replicated storage, what replicated storage looks like to
//! whoever uses it, and what an export serves.

use core::num::NonZeroU32;
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;

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

    /// Makes durable every write that has ended.
    async fn flush(&self) -> io::Result<()>;

    /// Forgets `length` octets from `offset`: what is read there afterwards may be anything, but
    /// stays the same until it is written.
    async fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Writes `length` zeroes at `offset`.
    async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()>;
}

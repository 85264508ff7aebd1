//! A block device in memory.

use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};

use super::{BlockDevice, Extent, Geometry, Room};

/// Memory is taken in pieces of this many octets, where something is written first.
const PIECE: usize = 64 * 1024;

/// A [`BlockDevice`] that forgets everything when it is dropped: for tests, and to try things
/// out. It takes memory only where it is written.
pub struct MemoryDevice {
    geometry: Geometry,
    /// By the number of the piece.
    pieces: Mutex<BTreeMap<u64, Box<[u8; PIECE]>>>,
}

impl fmt::Debug for MemoryDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDevice")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl MemoryDevice {
    /// A device of `size` octets in blocks of 512, all zeroes. What `size` exceeds a multiple of
    /// 512 by is left out.
    #[must_use]
    pub fn new(size: u64) -> Self {
        const fn octets(count: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(count - 1)
        }
        Self {
            geometry: Geometry {
                size: size - size % 512,
                block: octets(512),
                preferred: octets(4096),
                longest: octets(32 << 20),
            },
            pieces: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Box<[u8; PIECE]>>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self, offset: u64, length: u64) -> io::Result<()> {
        self.geometry.check(offset, length)?;
        let mut pieces = self.lock();
        for part in parts(offset, length) {
            if part.range == (0..PIECE) {
                pieces.remove(&part.number);
            } else if let Some(piece) = pieces.get_mut(&part.number) {
                piece.get_mut(part.range).unwrap_or_default().fill(0);
            }
        }
        Ok(())
    }
}

/// What of a request lies in one piece.
struct Part {
    number: u64,
    /// Within the piece.
    range: Range<usize>,
}

fn parts(offset: u64, length: u64) -> impl Iterator<Item = Part> {
    let piece = PIECE as u64;
    let end = offset + length;
    (offset / piece..end.div_ceil(piece)).map(move |number| {
        let begin = number * piece;
        // Neither is more than a piece.
        let within = |at: u64| usize::try_from((at - begin).min(piece)).unwrap_or(PIECE);
        Part {
            number,
            range: within(offset.max(begin))..within(end),
        }
    })
}

#[async_trait]
impl BlockDevice for MemoryDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>> {
        self.geometry.check(offset, u64::from(length))?;
        let pieces = self.lock();
        let mut data = BytesMut::with_capacity(length as usize);
        for part in parts(offset, u64::from(length)) {
            match pieces.get(&part.number) {
                Some(piece) => data.extend_from_slice(piece.get(part.range).unwrap_or_default()),
                None => data.resize(data.len() + part.range.len(), 0),
            }
        }
        Ok(Vec::from([data.freeze()]))
    }

    async fn write(&self, offset: u64, mut data: Bytes) -> io::Result<()> {
        self.geometry.check(offset, data.len() as u64)?;
        let mut pieces = self.lock();
        for part in parts(offset, data.len() as u64) {
            let piece = pieces
                .entry(part.number)
                .or_insert_with(|| Box::new([0; PIECE]));
            if let Some(room) = piece.get_mut(part.range) {
                data.copy_to_slice(room);
            }
        }
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.clear(offset, length)
    }

    async fn write_zeroes(&self, offset: u64, length: u64, _: Room) -> io::Result<()> {
        self.clear(offset, length)
    }

    async fn extents(&self, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
        self.geometry.check(offset, length)?;
        let pieces = self.lock();
        let mut extents: Vec<Extent> = Vec::new();
        for part in parts(offset, length) {
            let hole = !pieces.contains_key(&part.number);
            match extents.last_mut() {
                Some(last) if last.hole == hole => last.length += part.range.len() as u64,
                _ => extents.push(Extent {
                    length: part.range.len() as u64,
                    hole,
                }),
            }
        }
        Ok(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_the_rest_is_zeroes() {
        let device = MemoryDevice::new(300_000);
        assert_eq!(device.geometry().size, 299_520);
        let data = Bytes::from_static(&[7; 1024]);
        // Half of it in the first piece.
        device.write(65_024, data.clone()).await.unwrap();
        assert_eq!(device.read(65_024, 1024).await.unwrap(), [data]);
        let (hole, stored) = (Extent::hole, Extent::data);
        assert_eq!(
            device.extents(0, 299_520).await.unwrap(),
            [stored(131_072), hole(168_448)]
        );
        device.discard(0, 65_536).await.unwrap();
        let read = device.read(65_024, 1024).await.unwrap().concat();
        assert_eq!((&read[..512], &read[512..]), (&[0; 512][..], &[7; 512][..]));
        assert_eq!(
            device.extents(512, 131_072).await.unwrap(),
            [hole(65_024), stored(65_536), hole(512)]
        );
        device.write_zeroes(65_536, 512, Room::Keep).await.unwrap();
        assert_eq!(device.read(65_024, 1024).await.unwrap().concat(), [0; 1024]);
    }

    #[tokio::test]
    async fn what_lies_outside_is_refused() {
        let device = MemoryDevice::new(1024);
        for (offset, length) in [(1024, 512), (512, 1024), (u64::MAX - 511, 512), (1, 512)] {
            let error = device.discard(offset, length).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}

//! A file or disk, or a part of one, as a block device.

use core::num::NonZeroU32;
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;

use super::disk::{DiskFile, invalid};
use super::{BlockDevice, Extent, Geometry, Room};

/// The longest READ or WRITE: what NBD clients send that have not asked.
const LONGEST: NonZeroU32 = NonZeroU32::new(32 << 20).unwrap();

/// A [`DiskFile`], or a region of it, as a [`BlockDevice`].
#[derive(Clone, Debug)]
pub struct FileDevice {
    file: DiskFile,
    base: u64,
    geometry: Geometry,
}

impl FileDevice {
    /// All of `file`, but for what its size exceeds a multiple of its block by.
    #[must_use]
    pub fn new(file: DiskFile) -> Self {
        let size = file.size() - file.size() % u64::from(file.block_size().get());
        Self::over(file, 0, size)
    }

    /// The `length` octets of `file` from `base` on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if that is not within the file, or not aligned to its
    /// block.
    pub fn region(file: DiskFile, base: u64, length: u64) -> io::Result<Self> {
        if base.checked_add(length).is_none_or(|end| end > file.size()) {
            return Err(invalid("a region that does not lie within the file"));
        }
        let mask = u64::from(file.block_size().get()) - 1;
        if (base | length) & mask != 0 {
            return Err(invalid("a region that is not aligned to the block"));
        }
        Ok(Self::over(file, base, length))
    }

    fn over(file: DiskFile, base: u64, size: u64) -> Self {
        let geometry = Geometry {
            size,
            block: file.block_size(),
            preferred: file.preferred_size(),
            longest: LONGEST,
        };
        Self {
            file,
            base,
            geometry,
        }
    }

    /// Returns the file, which may have other regions.
    #[must_use]
    pub fn file(&self) -> &DiskFile {
        &self.file
    }

    /// Where a request is in the file.
    fn locate(&self, offset: u64, length: u64) -> io::Result<u64> {
        self.geometry.check(offset, length)?;
        Ok(self.base + offset)
    }

    /// The same for what carries data.
    fn locate_data(&self, offset: u64, length: usize) -> io::Result<u64> {
        if u32::try_from(length).is_ok_and(|length| length <= self.geometry.longest.get()) {
            self.locate(offset, length as u64)
        } else {
            Err(invalid("longer than the longest request"))
        }
    }
}

#[async_trait]
impl BlockDevice for FileDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>> {
        let at = self.locate_data(offset, length as usize)?;
        Ok(Vec::from([self.file.read_at(at, length as usize).await?]))
    }

    async fn write(&self, offset: u64, data: Bytes) -> io::Result<()> {
        let at = self.locate_data(offset, data.len())?;
        self.file.write_at(at, data).await
    }

    async fn write_durably(&self, offset: u64, data: Bytes) -> io::Result<()> {
        let at = self.locate_data(offset, data.len())?;
        self.file.write_at_durably(at, data).await
    }

    async fn flush(&self) -> io::Result<()> {
        self.file.sync_data().await
    }

    async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let at = self.locate(offset, length)?;
        self.file.punch(at, length).await
    }

    async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()> {
        let at = self.locate(offset, length)?;
        self.file.write_zeroes(at, length, room).await
    }

    async fn extents(&self, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
        let at = self.locate(offset, length)?;
        self.file.extents(at, length).await
    }
}

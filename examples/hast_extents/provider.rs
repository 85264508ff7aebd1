//! What is under a resource: metadata, the map of dirty extents, and the data.

use core::ops::Range;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hast_proto::saved::MAX_PIECE;
use hast_proto::{ActiveMap, BLOCK_LEN, KeepDirty, Metadata, Offset};

use super::Result;

/// A provider that is only read.
pub(crate) struct Provider {
    file: File,
    metadata: Metadata,
    map: ActiveMap,
}

impl Provider {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let mut block = [0; BLOCK_LEN];
        file.read_exact_at(&mut block, 0)?;
        let metadata = Metadata::parse(&block)?;
        let layout = metadata.layout;
        // A layout that was read has at most 8 MiB of it.
        let mut marks = vec![0; usize::try_from(layout.used_map_len().get())?];
        file.read_exact_at(&mut marks, layout.map_offset().get())?;
        let map = ActiveMap::from_disk(layout, KeepDirty::DEFAULT, &marks)?;
        Ok(Self {
            file,
            metadata,
            map,
        })
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How many extents are marked: those in which the nodes differ, and, if the node crashed,
    /// those that were written last, which may differ.
    pub(crate) fn extents(&self) -> u32 {
        self.map.dirty_extents()
    }

    /// Where they are in the data; neighbours in one range.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let layout = self.metadata.layout;
        let mut extents = (0..layout.extents()).peekable();
        core::iter::from_fn(move || {
            let first = extents.by_ref().find(|extent| self.map.differs(*extent))?;
            let mut end = first + 1;
            while extents.next_if(|next| self.map.differs(*next)).is_some() {
                end += 1;
            }
            let size = u64::from(layout.extent_size().get());
            let end = (u64::from(end) * size).min(layout.data_len().get());
            Some(u64::from(first) * size..end)
        })
    }

    /// Reads a range of the data piece by piece.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(Offset, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let start = self.metadata.layout.data_offset().get();
        let mut buffer = Vec::with_capacity(MAX_PIECE);
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(MAX_PIECE as u64);
            buffer.resize(usize::try_from(length)?, 0);
            self.file
                .read_exact_at(&mut buffer, start + offset)
                .map_err(|error| format!("reading the data at {offset}: {error}"))?;
            each(Offset::new(offset), &buffer)?;
            offset += length;
        }
        Ok(())
    }
}

/// Writes to the device above a provider.
pub(crate) fn write_at(device: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    device.write_all_at(data, offset)
}

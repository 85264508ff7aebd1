//! What is on a provider beside the data: the metadata block, the activemap and the mark.
//!
//! # The block
//!
//! ```text
//!  0      the metadata: a name-value list, then zeros
//!  2048   "HAmark", a zero octet, the mark                     8 octets
//!  2056   CRC-32 of the 8 octets before and all after, LE      4 octets
//!  2060   a copy of the first 2036 octets of the block
//!  4096   the activemap
//! ```
//!
//! For a real `hastd` a block ends with its list, so that it ignores the second half, and writes
//! zeros there. A block without a second half is its work, and holds no mark.
//!
//! The mark is so written with the metadata, at once or not at all, and can never belong to other
//! metadata than those beside it. A real `hastd` that goes on with the provider loses it when it
//! writes the block, which it does as a secondary only to adopt an identity, and as a primary
//! when it decides for itself what its data are worth. It keeps the mark where it should have
//! ended it, if it was secondary; then everything is copied once more.
//!
//! # Torn blocks
//!
//! The list is usually shorter than a sector, and a copy of it is always in another sector. If a
//! loss of power tears the block apart, either half may be old, new, or damaged. The second half
//! proves itself by its checksum; so it is believed, and the first half only where there is none.
//! Either was whole before the write began, and the write was not reported as done; so both
//! states are right. If it is the second half that is damaged, the mark is lost, and the data are
//! taken for stale until they have been copied.

mod block;
mod create;

use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hast_proto::{
    BLOCK_LEN, BlockError, Consistency, DiskOperation, Errno, LayoutError, Metadata, NumberError,
    ResourceName, Role, SectorSize, primary,
};
use tokio::sync::Mutex;

pub use self::block::{Block, Copy};
pub use self::create::{Create, Existing, create};
use super::super::block::BlockDevice;

/// Why a provider cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The system says so.
    #[error("cannot {action} the provider: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What came of it.
        error: io::Error,
    },
    /// Its metadata block cannot be used.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// It cannot be laid out as wanted.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It has sectors of a size that cannot be.
    #[error(transparent)]
    Sector(#[from] NumberError),
    /// The data end behind the end of the provider.
    #[error("{needed} octets are needed where the provider has {size}")]
    TooSmall {
        /// Octets that the metadata speak of.
        needed: u64,
        /// Octets that there are.
        size: u64,
    },
    /// It was created for smaller sectors, so that its data cannot be read.
    #[error("the data begin at {offset} and have {length} octets, on sectors of {sector}")]
    Misaligned {
        /// Where they begin.
        offset: u64,
        /// Their octets.
        length: u64,
        /// The size of a sector.
        sector: u32,
    },
    /// It has valid metadata, which were not to be overwritten.
    #[error("it is the provider of resource {resource:?} already")]
    Exists {
        /// Of this one.
        resource: ResourceName,
    },
}

pub(super) fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> ProviderError {
    move |error| ProviderError::Io { action, error }
}

/// A provider that is open, and what was on it.
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    pub(super) provider: primary::Provider,
    pub(super) sector: SectorSize,
    /// Whether the block was torn.
    pub(super) recovered: bool,
}

/// Reads the metadata block and the mark of a provider, whichever resource it belongs to.
///
/// # Errors
///
/// [`ProviderError::Io`], [`ProviderError::Block`].
pub async fn read(device: &dyn BlockDevice) -> Result<Block, ProviderError> {
    let octets = read_all(device, 0, BLOCK_LEN).await?;
    Ok(Block::parse(&octets)?)
}

/// Opens the provider of a resource.
pub(super) async fn open(
    device: Arc<dyn BlockDevice>,
    name: &ResourceName,
    metaflush: bool,
) -> Result<Opened, ProviderError> {
    let Block {
        metadata,
        consistency,
        copy,
    } = read(&*device).await?;
    // Otherwise nothing could be stored any more.
    if block::emit(&metadata, consistency).is_none() {
        let len = BLOCK_LEN;
        return Err(BlockError::Extra { len }.into());
    }
    if metadata.resource != *name {
        let (expected, found) = (name.clone(), metadata.resource);
        return Err(BlockError::OtherResource { expected, found }.into());
    }
    let geometry = device.geometry();
    let sector = SectorSize::new(geometry.block.get())?;
    let layout = metadata.layout;
    let (offset, length) = (layout.data_offset().get(), layout.data_len().get());
    // Neither wraps: the layout was checked.
    let needed = offset.saturating_add(length);
    if needed > geometry.size {
        let size = geometry.size;
        return Err(ProviderError::TooSmall { needed, size });
    }
    if !sector.divides(offset) || !sector.divides(length) {
        let sector = sector.get();
        return Err(ProviderError::Misaligned {
            offset,
            length,
            sector,
        });
    }
    let map_len = layout.map_len().to_usize().unwrap_or(usize::MAX);
    let map = read_all(&*device, layout.map_offset().get(), map_len).await?;
    let head = Head {
        metadata: metadata.clone(),
        consistency,
    };
    Ok(Opened {
        store: Arc::new(Store {
            device,
            data_offset: offset,
            data_len: length,
            metaflush: metaflush.into(),
            head: Mutex::new(head),
        }),
        provider: primary::Provider {
            metadata,
            map,
            consistency,
        },
        sector,
        recovered: matches!(copy, Copy::Recovered | Copy::Damaged),
    })
}

/// Reads in pieces that the device takes.
async fn read_all(
    device: &dyn BlockDevice,
    offset: u64,
    length: usize,
) -> Result<Bytes, ProviderError> {
    let longest = device.geometry().longest;
    let mut octets = BytesMut::new();
    while octets.len() < length {
        let left = u32::try_from(length.saturating_sub(octets.len())).unwrap_or(u32::MAX);
        let at = offset.saturating_add(octets.len() as u64);
        let pieces = device.read(at, left.min(longest.get())).await;
        let before = octets.len();
        for piece in pieces.map_err(io_error("read"))? {
            octets.extend_from_slice(&piece);
        }
        if octets.len() == before {
            return Err(io_error("read")(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(octets.freeze())
}

/// What is in the block.
#[derive(Clone)]
struct Head {
    metadata: Metadata,
    consistency: Consistency,
}

/// Where a machine's disk operations are done.
pub(super) struct Store {
    device: Arc<dyn BlockDevice>,
    data_offset: u64,
    data_len: u64,
    metaflush: AtomicBool,
    /// The block as it is on the disk. Who holds it writes the block; so metadata and mark,
    /// which are stored for themselves, never undo each other.
    head: Mutex<Head>,
}

impl Store {
    pub(super) fn geometry(&self) -> super::super::block::Geometry {
        self.device.geometry()
    }

    pub(super) fn set_metaflush(&self, on: bool) {
        self.metaflush.store(on, Ordering::Relaxed);
    }

    /// Returns the metadata and the mark, and reads the map again.
    pub(super) async fn reload(&self) -> Result<primary::Provider, ProviderError> {
        let head = self.head.lock().await;
        let layout = head.metadata.layout;
        let map_len = layout.map_len().to_usize().unwrap_or(usize::MAX);
        let map = read_all(&*self.device, layout.map_offset().get(), map_len).await?;
        Ok(primary::Provider {
            metadata: head.metadata.clone(),
            map,
            consistency: head.consistency,
        })
    }

    /// Does what a machine asks for.
    pub(super) async fn operate(&self, operation: DiskOperation) -> Result<Bytes, Errno> {
        self.try_operate(operation)
            .await
            .map_err(|error| errno(&error))
    }

    async fn try_operate(&self, operation: DiskOperation) -> io::Result<Bytes> {
        match operation {
            DiskOperation::Read { offset, length } => {
                let at = self.locate(offset.get(), length.get())?;
                let length = u32::try_from(length.get()).map_err(|_| invalid())?;
                let mut pieces = self.device.read(at, length).await?;
                if pieces.len() > 1 {
                    return Ok(pieces.concat().into());
                }
                Ok(pieces.pop().unwrap_or_default())
            }
            DiskOperation::Write { offset, data } => {
                let at = self.locate(offset.get(), data.len() as u64)?;
                self.device.write(at, data).await?;
                Ok(Bytes::new())
            }
            DiskOperation::Delete { offset, length } => {
                let at = self.locate(offset.get(), length.get())?;
                self.device.discard(at, length.get()).await?;
                Ok(Bytes::new())
            }
            DiskOperation::Flush => {
                self.device.flush().await?;
                Ok(Bytes::new())
            }
            DiskOperation::StoreMap { offset, data } => self.store_map(offset.get(), data).await,
            DiskOperation::StoreMetadata(metadata) => {
                self.store_head(|head| head.metadata = metadata).await
            }
            DiskOperation::StoreConsistency(mark) => {
                self.store_head(|head| head.consistency = mark).await
            }
        }
    }

    /// Where a range of the data is on the provider. The machines ask for nothing else; should
    /// one ever do, it is not the metadata that it overwrites.
    fn locate(&self, offset: u64, length: u64) -> io::Result<u64> {
        let end = offset.checked_add(length).ok_or_else(invalid)?;
        if end > self.data_len {
            return Err(invalid());
        }
        Ok(self.data_offset.saturating_add(offset))
    }

    async fn store_map(&self, mut offset: u64, mut data: Bytes) -> io::Result<Bytes> {
        let end = offset.checked_add(data.len() as u64).ok_or_else(invalid)?;
        if offset < BLOCK_LEN as u64 || end > self.data_offset {
            return Err(invalid());
        }
        let longest = self.device.geometry().longest.get() as usize;
        let durably = self.metaflush.load(Ordering::Relaxed);
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(longest));
            let len = piece.len() as u64;
            // And nothing else: the map would wait for all data in the cache.
            match durably {
                true => self.device.write_durably(offset, piece).await?,
                false => self.device.write(offset, piece).await?,
            }
            offset = offset.saturating_add(len);
        }
        Ok(Bytes::new())
    }

    async fn store_head(&self, change: impl FnOnce(&mut Head) + Send) -> io::Result<Bytes> {
        let mut head = self.head.lock().await;
        let mut changed = head.clone();
        change(&mut changed);
        let block = block::emit(&changed.metadata, changed.consistency).ok_or_else(invalid)?;
        let flushes = self.metaflush.load(Ordering::Relaxed);
        if flushes && has_counted(&head, &changed) {
            // Writes wait for it, and all data that are in the cache are much.
            self.device.write_durably(0, block).await?;
        } else {
            self.device.write(0, block).await?;
            // With all data: a real primary ends a synchronisation without a flush.
            if flushes {
                self.device.flush().await?;
            }
        }
        // What has failed may still be on the disk; it is written again with the next change.
        *head = changed;
        Ok(Bytes::new())
    }
}

/// Whether a primary has counted that it writes alone, and nothing else: that says nothing of what
/// was written before (HAST §5.5).
fn has_counted(old: &Head, new: &Head) -> bool {
    let (before, after) = (&old.metadata, &new.metadata);
    let mut counted = before.clone();
    counted.counters.local = after.counters.local;
    counted.previous_role = after.previous_role;
    after.previous_role == Role::Primary
        && after.counters.local > before.counters.local
        && *after == counted
        && new.consistency == old.consistency
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

/// The protocol's number for what the system reports.
fn errno(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        #[cfg(target_os = "freebsd")]
        Some(number) => Errno::from_freebsd(number),
        #[cfg(not(target_os = "freebsd"))]
        Some(number) => Errno::from_linux(number),
        None => match error.kind() {
            io::ErrorKind::InvalidInput => Errno::EINVAL,
            io::ErrorKind::NotConnected => Errno::ENXIO,
            io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
            _ => Errno::EIO,
        },
    }
}

#[cfg(test)]
mod tests {
    use hast_proto::{ExtentSize, KeepDirty, Layout, Length};

    use super::*;

    #[test]
    fn only_a_primary_that_counts_needs_no_flush_of_the_data() {
        let media = Length::new(1 << 30);
        let layout = Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT).unwrap();
        let name = ResourceName::new("shared").unwrap();
        let mut old = Head {
            metadata: Metadata::create(name, layout, KeepDirty::DEFAULT),
            consistency: Consistency::Consistent,
        };
        old.metadata.previous_role = Role::Secondary;
        let mut counted = old.clone();
        counted.metadata.previous_role = Role::Primary;
        counted.metadata.counters.local = 1;
        assert!(has_counted(&old, &counted));
        let changes: [fn(&mut Head); 4] = [
            |head| head.metadata.counters.local = 0,
            |head| head.metadata.counters.remote = 1,
            |head| head.metadata.previous_role = Role::Secondary,
            |head| head.consistency = Consistency::Inconsistent,
        ];
        for change in changes {
            let mut other = counted.clone();
            change(&mut other);
            assert!(!has_counted(&old, &other));
        }
    }
}

//! Making a provider.

use bytes::Bytes;
use hast_proto::{
    BLOCK_LEN, BlockError, Consistency, ExtentSize, KeepDirty, Layout, Length, Metadata,
    ResourceName, SectorSize,
};

use super::super::super::block::{BlockDevice, Room};
use super::{ProviderError, block, io_error, read};

/// How a provider is laid out: the options of `hastctl create`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Create {
    /// The size of an extent.
    pub extent_size: ExtentSize,
    /// How many recently written extents stay marked.
    pub keep_dirty: KeepDirty,
    /// How many octets of the provider are used; `None`: all.
    pub media: Option<Length>,
}

/// What to do with metadata that are there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Existing {
    /// Touch nothing if a resource has its metadata there.
    Keep,
    /// Overwrite whatever is there.
    Overwrite,
}

/// Makes a provider for a resource: metadata, and a map without a mark. Data are not touched.
///
/// If it is interrupted, there are no metadata, rather than some with a map of something else.
///
/// # Errors
///
/// [`ProviderError`]; [`ProviderError::Exists`] only if existing metadata are to be kept.
pub async fn create(
    device: &dyn BlockDevice,
    resource: ResourceName,
    options: Create,
    existing: Existing,
) -> Result<Metadata, ProviderError> {
    let geometry = device.geometry();
    let sector = SectorSize::new(geometry.block.get())?;
    let media = options.media.unwrap_or_else(|| Length::new(geometry.size));
    if media.get() > geometry.size {
        let (needed, size) = (media.get(), geometry.size);
        return Err(ProviderError::TooSmall { needed, size });
    }
    let layout = Layout::create(media, options.extent_size, sector)?;
    if existing == Existing::Keep {
        match read(device).await {
            Ok(found) => {
                let resource = found.metadata.resource;
                return Err(ProviderError::Exists { resource });
            }
            // Damaged ones are somebody's, too.
            Err(ProviderError::Block(error)) if error.is_damage() => return Err(error.into()),
            Err(ProviderError::Block(_)) => {}
            Err(other) => return Err(other),
        }
    }
    let metadata = Metadata::create(resource, layout, options.keep_dirty);
    let extra = BlockError::Extra { len: BLOCK_LEN };
    let block = block::emit(&metadata, Consistency::Consistent).ok_or(extra)?;
    let write = || io_error("write");
    let blank = Bytes::from_static(&[0; BLOCK_LEN]);
    device.write(0, blank).await.map_err(write())?;
    device.flush().await.map_err(write())?;
    let (map, map_len) = (layout.map_offset().get(), layout.map_len().get());
    let zeroed = device.write_zeroes(map, map_len, Room::Keep).await;
    zeroed.map_err(write())?;
    device.flush().await.map_err(write())?;
    device.write(0, block).await.map_err(write())?;
    device.flush().await.map_err(write())?;
    Ok(metadata)
}

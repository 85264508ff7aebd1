//! Whose extents they are.

use alloc::boxed::Box;

use sha2::{Digest as _, Sha256};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Digest, SavedError};
use crate::types::{Counters, ExtentSize, Length, ResourceId, ResourceName};

/// The octets of a header.
pub const HEADER_LEN: usize = 1024;

const MAGIC: [u8; 8] = *b"HASTSAVE";
const VERSION: u32 = 1;

/// A length, a name, and zeros.
type NameField = [u8; 256];

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Block {
    magic: [u8; 8],
    version: U32,
    extent_size: U32,
    data_len: U64,
    resource_id: U64,
    local: U64,
    remote: U64,
    saved_at: U64,
    zeros: [u8; 8],
    resource: NameField,
    node: NameField,
    more_zeros: [u8; 416],
    digest: Digest,
}

const _: () = assert!(size_of::<Block>() == HEADER_LEN, "as the form says");

/// Whose extents they are, and since when.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the form has these fields")]
pub struct Header {
    /// The resource.
    pub resource: ResourceName,
    /// The node that had them: 1 to 254 octets without NUL.
    pub node: Box<str>,
    /// The size of an extent.
    pub extent_size: ExtentSize,
    /// The octets of data that the resource has.
    pub data_len: Length,
    /// The resource's identity, if the nodes had ever met.
    pub resource_id: Option<ResourceId>,
    /// The node's counters.
    pub counters: Counters,
    /// When they were saved, in seconds since 1970; 0 if that is not known.
    pub saved_at: u64,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`SavedError`]
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, SavedError> {
        let Ok(block) = Block::ref_from_bytes(bytes) else {
            return Err(SavedError::Foreign);
        };
        if block.magic != MAGIC {
            return Err(SavedError::Foreign);
        }
        let version = block.version.get();
        if version != VERSION {
            return Err(SavedError::Version { version });
        }
        if block.digest != digest(bytes) {
            return Err(SavedError::HeaderDigest);
        }
        let is_zero = |zeros: &[u8]| zeros.iter().all(|octet| *octet == 0);
        if !is_zero(&block.zeros) || !is_zero(&block.more_zeros) {
            return Err(SavedError::Reserved);
        }
        let node = name(&block.node)?.map_err(SavedError::Node)?;
        let extent_size = u64::from(block.extent_size.get());
        Ok(Self {
            resource: name(&block.resource)?.map_err(SavedError::Resource)?,
            node: node.as_str().into(),
            extent_size: ExtentSize::new(extent_size).map_err(SavedError::ExtentSize)?,
            data_len: Length::new(block.data_len.get()),
            resource_id: ResourceId::new(block.resource_id.get()),
            counters: Counters {
                local: block.local.get(),
                remote: block.remote.get(),
            },
            saved_at: block.saved_at.get(),
        })
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// [`SavedError::Node`]
    pub fn emit(&self) -> Result<[u8; HEADER_LEN], SavedError> {
        let node = ResourceName::new(&self.node).map_err(SavedError::Node)?;
        let mut block = Block {
            magic: MAGIC,
            version: VERSION.into(),
            extent_size: self.extent_size.get().into(),
            data_len: self.data_len.get().into(),
            resource_id: ResourceId::stored(self.resource_id).into(),
            local: self.counters.local.into(),
            remote: self.counters.remote.into(),
            saved_at: self.saved_at.into(),
            zeros: [0; 8],
            resource: name_field(&self.resource),
            node: name_field(&node),
            more_zeros: [0; 416],
            digest: [0; 32],
        };
        block.digest = digest(block.as_bytes());
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(block.as_bytes());
        Ok(bytes)
    }
}

/// The digest of a header: of all but the digest itself.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    let covered = bytes.split_last_chunk::<{ size_of::<Digest>() }>();
    let (covered, _) = covered.unwrap_or((bytes, &[0; size_of::<Digest>()]));
    Sha256::digest(covered).into()
}

fn name_field(name: &ResourceName) -> NameField {
    let mut field = [0; 256];
    let name = name.as_str().as_bytes();
    if let Some((length, rest)) = field.split_first_mut() {
        // A name has at most 254 octets.
        *length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        for (place, octet) in rest.iter_mut().zip(name) {
            *place = *octet;
        }
    }
    field
}

/// What is wrong with the field, or with the name in it.
fn name(
    field: &NameField,
) -> Result<Result<ResourceName, crate::types::ResourceNameError>, SavedError> {
    let (length, rest) = field.split_first().unwrap_or((&0, &[]));
    let parts = rest.split_at_checked(usize::from(*length));
    let (name, zeros) = parts.ok_or(SavedError::Reserved)?;
    if zeros.iter().any(|octet| *octet != 0) {
        return Err(SavedError::Reserved);
    }
    Ok(ResourceName::from_bytes(name))
}

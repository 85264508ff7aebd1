//! The metadata block at the start of a provider (HAST §4.3).

#![warn(clippy::arithmetic_side_effects)]

use bytes::{Bytes, BytesMut};

use crate::layout::{BLOCK_LEN, KeepDirty, Layout, LayoutError};
use crate::nv::{List, LookupError, Name, NvError, Pair, Text, Type, Typed, Value, Writer};
use crate::types::{
    Counters, ExtentSize, Length, NumberError, Offset, ResourceId, ResourceName, ResourceNameError,
    Role,
};

/// The fields of the block, in the order of the original.
const FIELDS: [&str; 9] = [
    "resource",
    "datasize",
    "extentsize",
    "keepdirty",
    "offset",
    "resuid",
    "localcnt",
    "remotecnt",
    "prevrole",
];

/// The beginning of every block that the original writes, from its seventh octet on.
const FIRST_NAME: &[u8] = b"resource\0";

/// What the metadata block says.
///
/// The block is a name-value list, padded with zeros to [`BLOCK_LEN`]. There is no magic
/// number, no checksum and no second copy. What identifies it are its nine fields: if one is
/// missing, the block is taken for torn (HAST §4.3).
///
/// Fields that are not known here are kept and written again, where the original drops them.
///
/// ```
/// use hast_proto::{ExtentSize, KeepDirty, Layout, Length, Metadata, ResourceName, SectorSize};
///
/// let layout = Layout::create(
///     Length::new(1 << 30),
///     ExtentSize::DEFAULT,
///     SectorSize::DEFAULT,
/// )?;
/// let fresh = Metadata::create(ResourceName::new("shared")?, layout, KeepDirty::DEFAULT);
/// let block = fresh.emit();
/// assert_eq!(block.len(), 4096);
/// assert_eq!(Metadata::parse(&block)?, fresh);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// The resource that the provider belongs to.
    pub resource: ResourceName,
    /// Where things are.
    pub layout: Layout,
    /// How many recently written extents stay marked, as stored. What counts is
    /// [`KeepDirty::from_stored`] of it, and for a primary only.
    pub keep_dirty: u32,
    /// What the two nodes agreed on as the resource's identity, if they have met.
    pub resource_id: Option<ResourceId>,
    /// The two counters.
    pub counters: Counters,
    /// The role of the node that wrote the block; nothing depends on it. Init also if the word
    /// is none of the three. A demoted node does not rewrite the block, so that it still says
    /// primary (HAST §14.37).
    pub previous_role: Role,
    /// Fields not known here, in their order.
    extra: Bytes,
}

/// Why a block is not the metadata that was looked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// There are too few octets.
    #[error("{have} octets where a block has {BLOCK_LEN}")]
    Short {
        /// How many there are.
        have: usize,
    },
    /// All octets are zero: `create` was never run here.
    #[error("blank: the provider was never created")]
    Blank,
    /// None of the fields is there: something else has written this.
    #[error("foreign: this is no HAST metadata")]
    Foreign,
    /// It begins as a block does, and then is no list: a torn write, or damage.
    #[error("torn: {error}")]
    Torn {
        /// What is wrong with the list.
        error: NvError,
    },
    /// Some of the fields are there, and this one is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has another type.
    #[error("{field} is of type {found} and not {wanted}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The type it should have.
        wanted: Type,
        /// The type it has.
        found: Type,
    },
    /// The name can be none.
    #[error("resource: {0}")]
    Name(ResourceNameError),
    /// The provider belongs to another resource.
    #[error("the provider is part of resource {found:?} and not of {expected:?}")]
    OtherResource {
        /// The name looked for.
        expected: ResourceName,
        /// The name in the block.
        found: ResourceName,
    },
    /// The extent size is impossible.
    #[error("{0}")]
    ExtentSize(NumberError),
    /// The sizes contradict each other.
    #[error("{0}")]
    Layout(LayoutError),
    /// The fields not known here are so long that the block could not be written again.
    #[error("{len} octets of unknown fields where at most {max} are kept", max = Metadata::MAX_EXTRA_LEN)]
    Extra {
        /// Their octets.
        len: usize,
    },
}

impl BlockError {
    /// Returns whether something that was metadata is damaged. Otherwise there never was any,
    /// or it is another resource's: two reasons not to write here without asking.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Torn { .. }
            | Self::Missing { .. }
            | Self::WrongType { .. }
            | Self::Name(_)
            | Self::ExtentSize(_)
            | Self::Layout(_) => true,
            Self::Short { .. }
            | Self::Blank
            | Self::Foreign
            | Self::OtherResource { .. }
            | Self::Extra { .. } => false,
        }
    }
}

impl Metadata {
    /// The most octets of unknown fields that are kept: whatever values the nine fields take,
    /// they fit beside.
    pub const MAX_EXTRA_LEN: usize = BLOCK_LEN - 512;

    /// Describes a new provider, as `hastctl create` writes it.
    #[must_use]
    pub fn create(resource: ResourceName, layout: Layout, keep_dirty: KeepDirty) -> Self {
        Self {
            resource,
            layout,
            keep_dirty: keep_dirty.get(),
            resource_id: None,
            counters: Counters::default(),
            previous_role: Role::Init,
            extra: Bytes::new(),
        }
    }

    /// Reads a block: the first [`BLOCK_LEN`] octets of a provider.
    ///
    /// # Errors
    ///
    /// [`BlockError`], all but [`BlockError::OtherResource`].
    pub fn parse(block: &[u8]) -> Result<Self, BlockError> {
        let list = Self::list(block)?;
        Self::from_list(list)
    }

    /// As [`parse`](Self::parse), for the provider of a certain resource. The name is compared
    /// before the other fields are looked at, as the original does.
    ///
    /// # Errors
    ///
    /// [`BlockError`]
    pub fn parse_for(block: &[u8], resource: &ResourceName) -> Result<Self, BlockError> {
        let list = Self::list(block)?;
        let found = name(list)?;
        if found != *resource {
            let expected = resource.clone();
            return Err(BlockError::OtherResource { expected, found });
        }
        Self::from_list(list)
    }

    fn list(block: &[u8]) -> Result<List<'_>, BlockError> {
        let have = block.len();
        let block = block.get(..BLOCK_LEN).ok_or(BlockError::Short { have })?;
        if block.iter().all(|&octet| octet == 0) {
            return Err(BlockError::Blank);
        }
        let list = List::parse(block).map_err(|error| {
            let begins_well = block
                .get(6..)
                .is_some_and(|rest| rest.starts_with(FIRST_NAME));
            if begins_well {
                BlockError::Torn { error }
            } else {
                BlockError::Foreign
            }
        })?;
        if FIELDS.iter().any(|field| list.contains(field)) {
            Ok(list)
        } else {
            Err(BlockError::Foreign)
        }
    }

    fn from_list(list: List<'_>) -> Result<Self, BlockError> {
        let resource = name(list)?;
        let data_len = Length::new(field(list, "datasize")?);
        let extent_size: u32 = field(list, "extentsize")?;
        let keep_dirty = field(list, "keepdirty")?;
        let data_offset = Offset::new(field(list, "offset")?);
        let resource_id = ResourceId::new(field(list, "resuid")?);
        let counters = Counters {
            local: field(list, "localcnt")?,
            remote: field(list, "remotecnt")?,
        };
        let role: Text<'_> = field(list, "prevrole")?;
        let previous_role = [Role::Primary, Role::Secondary]
            .into_iter()
            .find(|known| known.as_str().as_bytes() == role.as_bytes())
            .unwrap_or(Role::Init);
        let extent_size = ExtentSize::new(extent_size.into()).map_err(BlockError::ExtentSize)?;
        let layout = Layout::new(data_len, extent_size, data_offset).map_err(BlockError::Layout)?;
        Ok(Self {
            resource,
            layout,
            keep_dirty,
            resource_id,
            counters,
            previous_role,
            extra: extra(list)?,
        })
    }

    /// Returns the block.
    #[must_use]
    pub fn emit(&self) -> Bytes {
        let mut block = BytesMut::with_capacity(BLOCK_LEN);
        let mut writer = Writer::new(&mut block);
        let resource = Text::until_nul(self.resource.as_str());
        let previous_role = Text::until_nul(self.previous_role.as_str());
        let layout = &self.layout;
        writer
            .push(const { Name::literal("resource") }, Value::String(resource))
            .push(
                const { Name::literal("datasize") },
                Value::U64(layout.data_len().get()),
            )
            .push(
                const { Name::literal("extentsize") },
                Value::U32(layout.extent_size().get()),
            )
            .push(
                const { Name::literal("keepdirty") },
                Value::U32(self.keep_dirty),
            )
            .push(
                const { Name::literal("offset") },
                Value::U64(layout.data_offset().get()),
            )
            .push(
                const { Name::literal("resuid") },
                Value::U64(ResourceId::stored(self.resource_id)),
            )
            .push(
                const { Name::literal("localcnt") },
                Value::U64(self.counters.local),
            )
            .push(
                const { Name::literal("remotecnt") },
                Value::U64(self.counters.remote),
            )
            .push(
                const { Name::literal("prevrole") },
                Value::String(previous_role),
            );
        block.extend_from_slice(&self.extra);
        debug_assert!(
            block.len() <= BLOCK_LEN,
            "what is kept leaves room for the rest"
        );
        block.resize(BLOCK_LEN, 0);
        block.freeze()
    }

    /// Returns the fields that are not known here.
    #[must_use]
    pub fn extra(&self) -> List<'_> {
        // The octets come from a writer.
        List::parse(&self.extra).unwrap_or(List::EMPTY)
    }
}

fn name(list: List<'_>) -> Result<ResourceName, BlockError> {
    let name: Text<'_> = field(list, "resource")?;
    ResourceName::from_bytes(name.as_bytes()).map_err(BlockError::Name)
}

fn field<'a, T: Typed<'a>>(list: List<'a>, field: &'static str) -> Result<T, BlockError> {
    list.get(field).map_err(|error| match error {
        LookupError::Missing => BlockError::Missing { field },
        LookupError::WrongType { wanted, found } => BlockError::WrongType {
            field,
            wanted,
            found,
        },
    })
}

/// Collects the fields that are not known here.
fn extra(list: List<'_>) -> Result<Bytes, BlockError> {
    let mut octets = BytesMut::new();
    let mut writer = Writer::new(&mut octets);
    for Pair { name, value } in list {
        let known = FIELDS
            .iter()
            .any(|field| field.as_bytes() == name.as_bytes());
        if !known {
            writer.push(name, value);
        }
    }
    let len = octets.len();
    if len > Metadata::MAX_EXTRA_LEN {
        return Err(BlockError::Extra { len });
    }
    Ok(octets.freeze())
}

#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod activemap;
mod checksum;
mod compression;
pub mod conf;
mod consistency;
pub mod control;
pub mod decision;
pub mod discard;
mod disk;
mod errno;
pub mod frame;
pub mod handshake;
pub mod hooks;
mod layout;
pub mod lzf;
pub mod message;
mod metadata;
pub mod nv;
mod payload;
pub mod primary;
mod range;
pub mod saved;
pub mod secondary;
pub mod status;
mod types;

/// The specification that this crate implements and its comments cite, as `HAST §3.5`.
#[cfg(doc)]
#[doc = include_str!("../docs/protocol.md")]
pub mod protocol {}

pub use activemap::ActiveMap;
pub use checksum::{ChecksumError, Digest};
pub use compression::{InflateError, LZF_THRESHOLD, is_zero};
pub use conf::RequestSize;
pub use consistency::Consistency;
pub use disk::{DiskOperation, OperationId};
pub use handshake::{PrimaryHandshake, SecondaryHandshake};
pub use layout::{BLOCK_LEN, KeepDirty, Layout, LayoutError, MAX_EXTENTS};
pub use metadata::{BlockError, Metadata};
pub use payload::{Payload, PayloadError, Sealer};
pub use primary::Primary;
pub use secondary::Secondary;
pub use types::{
    Checksum, Compression, Counters, Errno, Excerpt, ExtentSize, Length, NumberError, Offset,
    Replication, ResourceId, ResourceName, ResourceNameError, Role, SectorSize, Sequence,
    SyncSource, Token, UnknownWord, Version,
};

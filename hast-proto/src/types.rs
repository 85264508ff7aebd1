//! Numbers, names and choices that cannot be out of range (HAST §0).

mod choice;
mod identity;
mod name;
mod quantity;
mod version;
mod word;

pub use choice::{Checksum, Compression, Replication, Role, SyncSource};
pub use identity::{Counters, ResourceId, Sequence, Token};
pub use name::{ResourceName, ResourceNameError};
pub use quantity::{ExtentSize, Length, Offset, SectorSize};
pub use version::Version;
pub use word::{Excerpt, UnknownWord};

pub use crate::errno::Errno;

/// A number outside what its field allows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// The number is too small or too large.
    #[error("{field} {value} is outside {min}..={max}")]
    Range {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found or asked for.
        value: u64,
        /// The least value allowed.
        min: u64,
        /// The greatest value allowed.
        max: u64,
    },
    /// The number is below 0.
    #[error("{field} {value} is negative")]
    Negative {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found.
        value: i64,
    },
    /// The number must be a power of two and is not.
    #[error("{field} {value} is not a power of two")]
    PowerOfTwo {
        /// The field's name as the protocol spells it.
        field: &'static str,
        /// What was found or asked for.
        value: u64,
    },
}

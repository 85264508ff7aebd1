//! What the machines ask of a node's disk, of which the order matters (HAST §4.6).

use core::fmt;

use bytes::Bytes;

use crate::consistency::Consistency;
use crate::metadata::Metadata;
use crate::types::{Length, Offset};

/// The machine's number for a disk operation, by which its end is told. No machine uses one
/// twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OperationId(u64);

impl OperationId {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Takes the next number.
    pub(crate) fn take(&mut self) -> Self {
        let taken = *self;
        self.0 = self.0.wrapping_add(1);
        taken
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something to do on the local disk.
///
/// Operations may run at the same time and end in any order: the machine gives no operation out
/// before those have ended that it depends on. The end of each is told once, with the data of a
/// READ, all of them, and with no octets for anything else.
///
/// READ, WRITE and DELETE count from the start of the data area, which on the provider begins at
/// the layout's [`data_offset`](crate::Layout::data_offset). They need not be durable; what a
/// FLUSH is for, and the three that store must be by the time their end is told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum DiskOperation {
    /// Read.
    Read {
        /// Where.
        offset: Offset,
        /// How much.
        length: Length,
    },
    /// Write.
    Write {
        /// Where.
        offset: Offset,
        /// What.
        data: Bytes,
    },
    /// Forget: what is there may become anything, but it must stay the same from then on.
    Delete {
        /// Where.
        offset: Offset,
        /// How much.
        length: Length,
    },
    /// Make durable every write whose end was told before.
    Flush,
    /// Write a part of the activemap, durably.
    StoreMap {
        /// Where, from the start of the *provider*.
        offset: Offset,
        /// What, in whole sectors.
        data: Bytes,
    },
    /// Write the metadata block, durably.
    StoreMetadata(Metadata),
    /// Keep the mark, durably, wherever that is.
    StoreConsistency(Consistency),
}

impl DiskOperation {
    /// Whether it is for the data, and not for what is kept beside: a READ, WRITE, DELETE or FLUSH.
    #[must_use]
    pub const fn is_of_data(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Delete { .. } | Self::Flush => true,
            Self::StoreMap { .. } | Self::StoreMetadata(_) | Self::StoreConsistency(_) => false,
        }
    }
}

//! What a server has to offer.

use alloc::string::String;
use core::num::NonZeroU32;

use super::wire::export_flag;

/// The longest name or description of an export, in octets (NBD, String values).
pub const MAX_NAME: usize = 4096;

/// One export, as clients are told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Offer {
    /// By this a client asks for it. Empty for the one that is served to clients which name
    /// none.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// In octets.
    pub size: u64,
    /// Offsets and lengths are multiples of this: a power of two.
    pub block: NonZeroU32,
    /// The length at which requests are best; a power of two, at least `block`.
    pub preferred: NonZeroU32,
    /// The longest READ or WRITE; a multiple of `block`, at least `preferred`.
    pub longest: NonZeroU32,
    /// Nothing can be written.
    pub read_only: bool,
    /// Writing zeroes takes less time than writing anything else. A client that asks for that
    /// is refused where it does not.
    pub fast_zeroes: bool,
}

/// Why something cannot be offered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The name or the description is longer than the protocol allows.
    #[error("a name or description of {length} octets where at most {MAX_NAME} are allowed")]
    TooLong {
        /// Its octets.
        length: usize,
    },
    /// The name or the description contains NUL, which the protocol does not allow.
    #[error("a name or description with a NUL in it: {text:?}")]
    Nul {
        /// The name or the description.
        text: String,
    },
    /// A block size is none.
    #[error(
        "blocks of {block}, preferred {preferred} and at most {longest} octets: the first two have \
         to be powers of two, the last a multiple of the first, and none less than the one before"
    )]
    Blocks {
        /// The smallest.
        block: u32,
        /// The preferred one.
        preferred: u32,
        /// The longest request.
        longest: u32,
    },
    /// The size is not a multiple of the block.
    #[error("{size} octets are not a multiple of blocks of {block}")]
    Size {
        /// The size.
        size: u64,
        /// The block.
        block: u32,
    },
}

impl Offer {
    /// An export called `name` of `size` octets: in blocks of 512, 4096 of them preferred, with
    /// requests of up to 32 MiB, to be read and written.
    #[must_use]
    pub fn new(name: impl Into<String>, size: u64) -> Self {
        const fn octets(count: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(count - 1)
        }
        Self {
            name: name.into(),
            description: String::new(),
            size,
            block: octets(512),
            preferred: octets(4096),
            longest: octets(32 << 20),
            read_only: false,
            fast_zeroes: false,
        }
    }

    /// Whether all of that is what the protocol allows.
    ///
    /// # Errors
    ///
    /// [`OfferError`].
    pub fn check(&self) -> Result<(), OfferError> {
        for text in [&self.name, &self.description] {
            let length = text.len();
            if length > MAX_NAME {
                return Err(OfferError::TooLong { length });
            }
            if text.contains('\0') {
                return Err(OfferError::Nul { text: text.clone() });
            }
        }
        let (block, preferred, longest) =
            (self.block.get(), self.preferred.get(), self.longest.get());
        let ordered = block <= preferred && preferred <= longest;
        let powers = block.is_power_of_two() && preferred.is_power_of_two();
        if !ordered || !powers || longest % block != 0 {
            return Err(OfferError::Blocks {
                block,
                preferred,
                longest,
            });
        }
        if self.size % u64::from(block) != 0 {
            let size = self.size;
            return Err(OfferError::Size { size, block });
        }
        Ok(())
    }

    /// The transmission flags.
    pub(super) fn flags(&self, structured: bool) -> u16 {
        // A device is flushed whole, whoever wrote to it: any number of connections will do.
        let mut flags = export_flag::HAS_FLAGS
            | export_flag::SEND_FLUSH
            | export_flag::SEND_FUA
            | export_flag::CAN_MULTI_CONN;
        if self.read_only {
            flags |= export_flag::READ_ONLY;
        } else {
            flags |= export_flag::SEND_TRIM
                | export_flag::SEND_WRITE_ZEROES
                | export_flag::SEND_FAST_ZERO;
        }
        if structured {
            flags |= export_flag::SEND_DF;
        }
        flags
    }
}

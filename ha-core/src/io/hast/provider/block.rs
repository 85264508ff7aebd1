//! The metadata block: the original's first half, and ours behind it.

use bytes::{Bytes, BytesMut};
use hast_proto::{BLOCK_LEN, BlockError, Checksum, Consistency, Digest, Metadata};

/// Where the second half begins: behind every list that this crate writes, unless a foreign one
/// has left fields of its own, and in another sector, and page of the smallest size, than the
/// first.
const SEAL: usize = 2048;
const MAGIC: [u8; 7] = *b"HAmark\0";
const MARKED: usize = 8;
const SUMMED: usize = 12;
/// How much of the first half there is room for.
const COPIED: usize = BLOCK_LEN - SEAL - SUMMED;

/// A metadata block that was read, and what stands behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Block {
    /// The metadata.
    pub metadata: Metadata,
    /// The mark; [`Consistency::Consistent`] if a real `hastd` has written the block.
    pub consistency: Consistency,
    /// How it was found.
    pub copy: Copy,
}

/// Which of the two halves counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Copy {
    /// They agree.
    Both,
    /// There is no second half: a real `hastd` has written the block.
    Foreign,
    /// The first half was not what the second one says, and is not believed: it is torn.
    Recovered,
}

impl Block {
    /// Reads a block: the first [`BLOCK_LEN`] octets of a provider.
    ///
    /// # Errors
    ///
    /// [`BlockError`], of the half that counts.
    pub fn parse(block: &[u8]) -> Result<Self, BlockError> {
        let have = block.len();
        let block = block.get(..BLOCK_LEN).ok_or(BlockError::Short { have })?;
        let (first, second) = block.split_at(SEAL);
        match unseal(second) {
            Some((consistency, copied)) => {
                let intact = first.get(..COPIED) == Some(copied);
                let mut whole = BytesMut::from(copied);
                whole.resize(BLOCK_LEN, 0);
                Ok(Self {
                    metadata: Metadata::parse(&whole)?,
                    consistency,
                    copy: if intact { Copy::Both } else { Copy::Recovered },
                })
            }
            None => Ok(Self {
                metadata: Metadata::parse(block)?,
                consistency: Consistency::Consistent,
                copy: Copy::Foreign,
            }),
        }
    }
}

/// Writes a block; `None` if foreign fields leave no room for the second half.
pub(super) fn emit(metadata: &Metadata, consistency: Consistency) -> Option<Bytes> {
    let block = metadata.emit();
    let (copied, rest) = block.split_at_checked(COPIED)?;
    if rest.iter().any(|&octet| octet != 0) {
        return None;
    }
    let mut sealed = BytesMut::with_capacity(BLOCK_LEN);
    sealed.extend_from_slice(block.get(..SEAL)?);
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&[code(consistency)]);
    sealed.extend_from_slice(&sum(sealed.get(SEAL..)?, copied));
    sealed.extend_from_slice(copied);
    Some(sealed.freeze())
}

/// Takes mark and copy out of the second half, if it is there and whole.
fn unseal(second: &[u8]) -> Option<(Consistency, &[u8])> {
    let (head, rest) = second.split_at_checked(MARKED)?;
    let (found, copied) = rest.split_at_checked(SUMMED - MARKED)?;
    let (&mark, magic) = head.split_last()?;
    let whole = magic == MAGIC && found == sum(head, copied);
    whole.then_some(())?;
    Some((decode(mark)?, copied))
}

fn sum(head: &[u8], copied: &[u8]) -> [u8; 4] {
    let summed = [head, copied].concat();
    match Digest::compute(Checksum::Crc32, &summed) {
        Some(Digest::Crc32(sum)) => sum,
        _ => [0; 4],
    }
}

const fn code(consistency: Consistency) -> u8 {
    match consistency {
        Consistency::Consistent => 1,
        Consistency::Inconsistent => 2,
        Consistency::Incomplete => 3,
    }
}

const fn decode(code: u8) -> Option<Consistency> {
    match code {
        1 => Some(Consistency::Consistent),
        2 => Some(Consistency::Inconsistent),
        3 => Some(Consistency::Incomplete),
        _ => None,
    }
}

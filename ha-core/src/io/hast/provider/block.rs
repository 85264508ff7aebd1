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
    /// The mark; [`Consistency::Consistent`] if a real `hastd` has written the block, and
    /// [`Consistency::Incomplete`] if it cannot be read.
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
    /// The second half is damaged. The first one counts, but nobody knows what the mark was: the
    /// data are not relied on.
    Damaged,
}

/// The second half of a block.
enum Second<'a> {
    Whole(Consistency, &'a [u8]),
    Damaged,
    Absent,
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
            Second::Whole(consistency, copied) => {
                let intact = first.get(..COPIED) == Some(copied);
                let mut whole = BytesMut::from(copied);
                whole.resize(BLOCK_LEN, 0);
                Ok(Self {
                    metadata: Metadata::parse(&whole)?,
                    consistency,
                    copy: if intact { Copy::Both } else { Copy::Recovered },
                })
            }
            Second::Damaged => Ok(Self {
                metadata: Metadata::parse(block)?,
                consistency: Consistency::Incomplete,
                copy: Copy::Damaged,
            }),
            Second::Absent => Ok(Self {
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

/// Takes mark and copy out of the second half.
fn unseal(second: &[u8]) -> Second<'_> {
    let split = || {
        let (head, rest) = second.split_at_checked(MARKED)?;
        let (found, copied) = rest.split_at_checked(SUMMED - MARKED)?;
        let (&mark, magic) = head.split_last()?;
        (magic == MAGIC).then_some((head, mark, found, copied))
    };
    let Some((head, mark, found, copied)) = split() else {
        return Second::Absent;
    };
    match decode(mark) {
        Some(consistency) if found == sum(head, copied) => Second::Whole(consistency, copied),
        _ => Second::Damaged,
    }
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use hast_proto::{Counters, ExtentSize, KeepDirty, Layout, Length, ResourceName, SectorSize};

    use super::*;

    fn metadata(local: u64) -> Metadata {
        let media = Length::new(1 << 30);
        let layout = Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT).unwrap();
        let name = ResourceName::new("shared").unwrap();
        let mut metadata = Metadata::create(name, layout, KeepDirty::DEFAULT);
        metadata.counters = Counters { local, remote: 3 };
        metadata
    }

    fn block(local: u64, consistency: Consistency) -> Vec<u8> {
        emit(&metadata(local), consistency).unwrap().into()
    }

    #[test]
    fn what_is_written_is_read() {
        for consistency in [
            Consistency::Consistent,
            Consistency::Inconsistent,
            Consistency::Incomplete,
        ] {
            let read = Block::parse(&block(7, consistency)).unwrap();
            assert_eq!(read.metadata, metadata(7));
            assert_eq!(read.consistency, consistency);
            assert_eq!(read.copy, Copy::Both);
        }
    }

    #[test]
    fn a_real_hastd_reads_the_list_and_what_it_writes_has_no_mark() {
        let ours = block(7, Consistency::Inconsistent);
        assert_eq!(Metadata::parse(&ours).unwrap(), metadata(7));
        let theirs = metadata(8).emit();
        let read = Block::parse(&theirs).unwrap();
        assert_eq!(read.metadata.counters.local, 8);
        assert_eq!(read.consistency, Consistency::Consistent);
        assert_eq!(read.copy, Copy::Foreign);
    }

    #[test]
    fn a_block_torn_between_any_sectors_is_one_of_the_two() {
        let old = block(1, Consistency::Inconsistent);
        let new = block(2, Consistency::Consistent);
        for torn in 0..=255_u8 {
            let mut mixed = old.clone();
            for sector in (0..8).filter(|sector| torn & (1 << sector) != 0) {
                let sector = sector * 512..(sector + 1) * 512;
                mixed[sector.clone()].copy_from_slice(&new[sector]);
            }
            let read = Block::parse(&mixed).unwrap();
            let known = match read.metadata.counters.local {
                1 => (metadata(1), Consistency::Inconsistent),
                _ => (metadata(2), Consistency::Consistent),
            };
            assert_eq!((read.metadata, read.consistency), known, "{torn:08b}");
        }
    }

    #[test]
    fn rubbish_in_the_first_half_is_not_believed() {
        let mut torn = block(1, Consistency::Incomplete);
        torn[..512].fill(0xa5);
        let read = Block::parse(&torn).unwrap();
        assert_eq!(read.metadata, metadata(1));
        assert_eq!(read.consistency, Consistency::Incomplete);
        assert_eq!(read.copy, Copy::Recovered);
    }

    #[test]
    fn what_is_no_block_says_what_it_is() {
        assert_eq!(Block::parse(&[0; 4096]), Err(BlockError::Blank));
        assert_eq!(Block::parse(&[b'x'; 4096]), Err(BlockError::Foreign));
        let have = 512;
        assert_eq!(Block::parse(&[0; 512]), Err(BlockError::Short { have }));
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_not_taken_for_none() {
        let whole = block(1, Consistency::Inconsistent);
        for at in SEAL..BLOCK_LEN {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            // The first half is whole; it says nothing of the mark, which a real `hastd` would
            // not have left there.
            let read = Block::parse(&damaged).unwrap();
            assert_eq!(read.metadata, metadata(1));
            let (mark, copy) = match at - SEAL < MAGIC.len() {
                true => (Consistency::Consistent, Copy::Foreign),
                false => (Consistency::Incomplete, Copy::Damaged),
            };
            assert_eq!((read.consistency, read.copy), (mark, copy), "{at}");
        }
    }
}

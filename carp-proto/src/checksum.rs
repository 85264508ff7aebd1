//! The Internet checksum (RFC 1071).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

/// Sums `bytes` as big-endian 16-bit words in one's complement; an odd last byte counts as
/// the high half of a word.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(4);
    let mut rest = [0; 4];
    for (place, byte) in rest.iter_mut().zip(words.remainder()) {
        *place = *byte;
    }
    let total: u64 = words
        .filter_map(|word| word.try_into().ok())
        .chain([rest])
        .map(|word| u64::from(u32::from_be_bytes(word)))
        .sum();
    fold(total)
}

/// Adds two sums.
pub(crate) fn add(a: u16, b: u16) -> u16 {
    let total = u32::from(a).wrapping_add(u32::from(b));
    fold(u64::from(total))
}

/// Carries what exceeds 16 bits back in.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "two halves of a number never exceed it"
)]
fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or_default()
}

/// Whether a sum over bytes that include their checksum field is right.
pub(crate) fn is_valid(sum: u16) -> bool {
    sum == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
    }

    proptest! {
        #[test]
        fn word_by_word_gives_the_same(bytes: Vec<u8>) {
            let mut total = 0u32;
            for pair in bytes.chunks(2) {
                let low = pair.get(1).copied().unwrap_or(0);
                total += u32::from(u16::from_be_bytes([pair[0], low]));
                total = (total & 0xffff) + (total >> 16);
            }
            prop_assert_eq!(u32::from(sum(&bytes)), total);
        }
    }
}

//! HMAC-SHA1 over a fixed prefix and a 64-bit counter, in two block compressions.
//!
//! Every advertisement of a virtual host is authenticated over the same bytes but for the
//! counter at the end (CARP §1.5). Key and prefix are therefore folded once into two SHA-1
//! states and a last block that is complete but for the counter; a packet then costs one
//! compression for that block and one for the outer hash. `hmac::Hmac` reaches the same
//! number of compressions but spends half as much again on buffering; the tests hold this
//! module against it.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use sha1::block_api::compress;
use zerocopy::transmute;
use zeroize::Zeroize;

/// SHA-1's block, in bytes.
const BLOCK: usize = 64;
/// A block as the eight words in which the counter is inserted.
type Words = [u64; 8];
/// SHA-1's chaining value.
type State = [u32; 5];

/// FIPS 180-4 §5.3.1.
const INITIAL: State = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// An authenticator as SHA-1 leaves it: five words.
pub(crate) type Tag = [u32; 5];

/// A key and a prefix, ready for counters.
///
/// It stands for the key, so it is wiped when dropped and shows nothing in `Debug`.
#[derive(Clone)]
pub(crate) struct Prefix {
    inner: State,
    outer: State,
    /// The last block of the inner message, padded, the counter's bytes zero.
    tail: Words,
    /// All ones where the counter's bytes belong.
    counter_mask: Words,
    /// The second half of tail and mask, when padding or counter spill into another block.
    spill: Option<(Words, Words)>,
    /// By how many bits the counter is turned so that its bytes meet the mask.
    turn: u32,
}

/// Collects the prefix, compressing every full block.
pub(crate) struct Builder {
    inner: State,
    outer: State,
    block: [u8; BLOCK],
    filled: usize,
    total: u64,
}

impl Builder {
    /// Starts with `key`, which RFC 2104 pads with zeros to a block.
    pub(crate) fn new(key: &[u8; 20]) -> Self {
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = INITIAL;
            compress(&mut state, core::slice::from_ref(&block));
            block.zeroize();
            state
        };
        Self {
            inner: keyed(0x36),
            outer: keyed(0x5c),
            block: [0; BLOCK],
            filled: 0,
            total: 64,
        }
    }

    /// Appends bytes to the prefix.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the prefix is configuration, far from 2^64 bytes"
    )]
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.block.get_mut(self.filled) {
                *place = byte;
            }
            self.filled += 1;
            self.total += 1;
            if self.filled == BLOCK {
                compress(&mut self.inner, &[self.block]);
                self.filled = 0;
            }
        }
    }

    /// Lays out the last one or two blocks with a hole for the counter.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "at most two blocks, see below"
    )]
    pub(crate) fn finish(self) -> Prefix {
        // Two blocks always hold what is left: at most 63 bytes, the counter, one byte of
        // padding and the length.
        let mut tail = [0u8; 2 * BLOCK];
        let mut mask = [0u8; 2 * BLOCK];
        let end = self.filled + 8;
        let bits = (self.total + 8) * 8;
        let last = if end + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        for (place, byte) in tail.iter_mut().zip(self.block.iter().take(self.filled)) {
            *place = *byte;
        }
        for byte in mask.iter_mut().take(end).skip(self.filled) {
            *byte = 0xff;
        }
        for byte in tail.iter_mut().skip(end).take(1) {
            *byte = 0x80;
        }
        for (place, byte) in tail.iter_mut().skip(last - 8).zip(bits.to_be_bytes()) {
            *place = byte;
        }
        let [tail, spill]: [Words; 2] = transmute!(tail);
        let [counter_mask, spill_mask]: [Words; 2] = transmute!(mask);
        let turn = u32::try_from(self.filled % 8).unwrap_or_default() * 8;
        Prefix {
            inner: self.inner,
            outer: self.outer,
            tail,
            counter_mask,
            spill: (last > BLOCK).then_some((spill, spill_mask)),
            turn,
        }
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
        self.block.zeroize();
    }
}

impl Prefix {
    /// Computes the authenticator for `counter`.
    #[inline]
    pub(crate) fn tag(&self, counter: u64) -> Tag {
        // The counter is merged into whole words, all of which are stored, because a
        // narrow store into a block that the compression then loads in wide pieces costs
        // more than this does.
        let counter = counter.rotate_right(self.turn).to_be();
        let mut inner = self.inner;
        compress(
            &mut inner,
            &[merge(&self.tail, &self.counter_mask, counter)],
        );
        if let Some((tail, mask)) = &self.spill {
            compress(&mut inner, &[merge(tail, mask, counter)]);
        }
        let [a, b, c, d, e] = inner.map(u32::to_be);
        // The inner hash, one bit of padding, and the length of 64 + 20 bytes.
        let padding = 0x80u32.to_le();
        let length = 672u32.to_be();
        let last: [u8; BLOCK] =
            transmute!([a, b, c, d, e, padding, 0, 0, 0, 0, 0, 0, 0, 0, 0, length]);
        let mut outer = self.outer;
        compress(&mut outer, &[last]);
        outer
    }
}

/// The two states are as good as the key; the rest is no secret.
impl Drop for Prefix {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// Puts the counter's bytes where the mask has ones.
#[inline]
fn merge(tail: &Words, mask: &Words, counter: u64) -> [u8; BLOCK] {
    let mut words = [0u64; 8];
    for ((word, tail), mask) in words.iter_mut().zip(tail).zip(mask) {
        *word = tail | (mask & counter);
    }
    transmute!(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha1::Sha1;
    use std::vec::Vec;

    fn ours(key: &[u8; 20], prefix: &[u8], counter: u64) -> Vec<u8> {
        let mut builder = Builder::new(key);
        builder.update(prefix);
        builder
            .finish()
            .tag(counter)
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .collect()
    }

    fn reference(key: &[u8; 20], prefix: &[u8], counter: u64) -> Vec<u8> {
        let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
        mac.update(prefix);
        mac.update(&counter.to_be_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    #[test]
    fn every_prefix_length_agrees_with_the_hmac_crate() {
        let prefix: Vec<u8> = (0..=255).collect();
        for len in 0..prefix.len() {
            let counter = 0x0123_4567_89ab_cdef;
            assert_eq!(
                ours(&[7; 20], &prefix[..len], counter),
                reference(&[7; 20], &prefix[..len], counter),
                "prefix of {len} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn any_key_prefix_and_counter_agree_with_the_hmac_crate(
            key: [u8; 20],
            prefix in proptest::collection::vec(any::<u8>(), 0..400),
            counter: u64,
        ) {
            prop_assert_eq!(ours(&key, &prefix, counter), reference(&key, &prefix, counter));
        }
    }
}

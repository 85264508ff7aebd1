//! LZF, the byte format of Marc Lehmann's compressor (HAST §3.5).
//!
//! A stream is a row of instructions, each introduced by an octet:
//!
//! ```text
//!  000LLLLL            L + 1 literal octets follow (1 to 32)
//!  LLLooooo o          L = 1 to 6: copy L + 2 octets (3 to 8)
//!  111ooooo X o        copy X + 9 octets (9 to 264)
//! ```
//!
//! where the thirteen bits `o` plus one are how far back the copy begins, and a copy may overlap
//! what it writes: distance 1 repeats the last octet.
//!
//! Any valid stream is taken by every peer, so the compressor here is free to find its matches as
//! it likes. It is greedy, as the original, but looks less closely where there is little to gain.

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use alloc::vec;

use crate::types::Errno;

/// Why octets are no LZF stream, or not the one announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LzfError {
    /// The stream ends within an instruction.
    #[error("stream of {len} octets ends within an instruction")]
    Truncated {
        /// The octets of the stream.
        len: usize,
    },
    /// A copy begins before the output does.
    #[error("copy from {distance} octets back where {written} are written")]
    Distance {
        /// How far back.
        distance: usize,
        /// How many octets there are.
        written: usize,
    },
    /// The stream yields more than there is room for.
    #[error("more than {room} octets of output")]
    TooLong {
        /// The octets of the output buffer.
        room: usize,
    },
    /// The stream yields less than announced.
    #[error("{written} octets of output where {expected} are announced")]
    TooShort {
        /// How many it yields.
        written: usize,
        /// How many were announced.
        expected: usize,
    },
}

impl LzfError {
    /// Returns the error number of the original's decompressor.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::TooLong { .. } => Errno::E2BIG,
            Self::Truncated { .. } | Self::Distance { .. } | Self::TooShort { .. } => Errno::EINVAL,
        }
    }
}

/// The longest row of literals.
const MAX_LITERALS: usize = 32;
/// The shortest copy that is made. The format has one of three octets, too: what it saves is lost
/// again when the literals go on after it.
const MIN_MATCH: usize = 4;
/// The longest copy.
const MAX_MATCH: usize = 264;
/// The farthest a copy reaches back.
const MAX_DISTANCE: usize = 8192;
/// How many octets without a copy one octet that was saved makes up for.
const GAIN: usize = 2;
/// Short copies are made of so many octets at once where there is room.
const STRIDE: usize = 8;

/// Writes what `stream` says to the front of `output` and returns how much that is.
///
/// Nothing is allocated and nothing is written past the end of `output`.
///
/// # Errors
///
/// [`LzfError`] if the stream is cut short, reaches back before its start, or yields more than
/// `output` holds.
pub fn decompress(stream: &[u8], output: &mut [u8]) -> Result<usize, LzfError> {
    let truncated = LzfError::Truncated { len: stream.len() };
    let too_long = LzfError::TooLong { room: output.len() };
    let mut input = stream;
    let mut written = 0_usize;
    while let Some((&control, rest)) = input.split_first() {
        let top = usize::from(control >> 5);
        let low = usize::from(control & 0x1f);
        if top == 0 {
            let len = low.wrapping_add(1);
            let end = written.wrapping_add(len);
            // The usual case in one move of constant size; what it writes beyond `len` is
            // overwritten by what follows.
            if let (Some(from), Some(to)) = (
                rest.first_chunk::<MAX_LITERALS>(),
                output
                    .get_mut(written..)
                    .and_then(<[u8]>::first_chunk_mut::<MAX_LITERALS>),
            ) {
                *to = *from;
            } else {
                let from = rest.get(..len).ok_or(truncated)?;
                output
                    .get_mut(written..end)
                    .ok_or(too_long)?
                    .copy_from_slice(from);
            }
            input = rest.get(len..).ok_or(truncated)?;
            written = end;
            continue;
        }
        let (len, rest) = match (top, rest) {
            (7, [more, rest @ ..]) => (usize::from(*more).wrapping_add(9), rest),
            (7, []) => return Err(truncated),
            (top, rest) => (top.wrapping_add(2), rest),
        };
        let (&next, rest) = rest.split_first().ok_or(truncated)?;
        let distance = (low << 8 | usize::from(next)).wrapping_add(1);
        let from = written
            .checked_sub(distance)
            .ok_or(LzfError::Distance { distance, written })?;
        // At most 264 more than what is in memory already.
        let end = written.wrapping_add(len);
        copy(output, from, written, len).ok_or(too_long)?;
        input = rest;
        written = end;
    }
    Ok(written)
}

/// Writes what `stream` says to `output`, which it must fill.
///
/// # Errors
///
/// As [`decompress`], and [`LzfError::TooShort`].
pub fn decompress_exact(stream: &[u8], output: &mut [u8]) -> Result<(), LzfError> {
    let written = decompress(stream, output)?;
    let expected = output.len();
    if written != expected {
        return Err(LzfError::TooShort { written, expected });
    }
    Ok(())
}

/// Copies `len` octets within `output`, octet by octet as it were: what has just been written may
/// be read again. `None` if they do not fit.
#[inline]
fn copy(output: &mut [u8], from: usize, to: usize, len: usize) -> Option<()> {
    let distance = to.wrapping_sub(from);
    let end = to.wrapping_add(len);
    // In strides where source and destination of one do not overlap, if all of them fit.
    if distance >= STRIDE && end.checked_add(STRIDE)? <= output.len() {
        let window = output.get_mut(from..end.wrapping_add(STRIDE))?;
        let mut at = 0_usize;
        while at < len {
            let stride: [u8; STRIDE] = *window.get(at..)?.first_chunk()?;
            *window
                .get_mut(at.wrapping_add(distance)..)?
                .first_chunk_mut()? = stride;
            at = at.wrapping_add(STRIDE);
        }
        return Some(());
    }
    let window = output.get_mut(from..end)?;
    if distance == 1 {
        let (&mut octet, rest) = window.split_first_mut()?;
        rest.fill(octet);
        return Some(());
    }
    // Each round doubles what can be copied in one piece.
    let mut done = distance;
    while done < window.len() {
        let piece = done.min(window.len().wrapping_sub(done));
        window.copy_within(..piece, done);
        done = done.wrapping_add(piece);
    }
    Some(())
}

/// Finds repetitions. It holds a table of 64 KiB, which one makes once and uses for many blocks.
#[derive(Clone)]
pub struct Compressor {
    /// Where four octets of a hash were seen last, counted on through all blocks.
    seen: Box<[u32]>,
    /// What a position in the present block is counted from; all before belongs to former blocks.
    base: u32,
}

/// The bits of a hash.
const HASH_BITS: u32 = 14;

impl Compressor {
    /// Makes the table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seen: vec![0; 1 << HASH_BITS].into_boxed_slice(),
            base: 1,
        }
    }

    /// Compresses `input` to the front of `output` and returns the octets written, or `None` if
    /// `output` does not hold them, or `input` has 2 GiB or more.
    pub fn compress(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let len = u32::try_from(input.len())
            .ok()
            .filter(|len| *len < 1 << 31)?;
        let base = self.start(len);
        let mut sink = Sink { output, written: 0 };
        let mut literals = 0_usize;
        let mut at = 0_usize;
        let mut misses = 0_usize;
        while let Some(&octets) = input.get(at..).and_then(<[u8]>::first_chunk) {
            let here = base.wrapping_add(u32::try_from(at).ok()?);
            let slot = self.seen.get_mut(hash(octets))?;
            let before = core::mem::replace(slot, here);
            // Entries of former blocks are below `base`, and so out of reach.
            let distance = here.wrapping_sub(before) as usize;
            let found = if before >= base && distance <= MAX_DISTANCE {
                at.checked_sub(distance)
                    .map(|from| common(input, from, at))
                    .filter(|len| *len >= MIN_MATCH)
            } else {
                None
            };
            let Some(len) = found else {
                // The longer nothing is found, the larger the steps: what cannot be compressed
                // should not cost much.
                at = at.wrapping_add(1).wrapping_add(misses >> 6);
                misses = misses.wrapping_add(1);
                continue;
            };
            sink.literals(input.get(literals..at)?)?;
            sink.copy(len, distance)?;
            // A short copy here and there, as in most data that cannot be compressed, is no reason
            // to look at every octet again.
            misses = misses.saturating_sub(len.wrapping_sub(2).wrapping_mul(GAIN));
            at = at.wrapping_add(len);
            literals = at;
            self.remember(input, at.wrapping_sub(2), base);
        }
        sink.literals(input.get(literals..)?)?;
        Some(sink.written)
    }

    /// Begins a block of `len` octets and returns what its positions are counted from.
    fn start(&mut self, len: u32) -> u32 {
        if self.base.checked_add(len).is_none() {
            self.seen.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base = base.saturating_add(len);
        base
    }

    /// Notes where the four octets at `at` are: the end of a match often begins another.
    fn remember(&mut self, input: &[u8], at: usize, base: u32) {
        let octets = input.get(at..).and_then(<[u8]>::first_chunk);
        if let (Some(&octets), Ok(at)) = (octets, u32::try_from(at)) {
            if let Some(slot) = self.seen.get_mut(hash(octets)) {
                *slot = base.wrapping_add(at);
            }
        }
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Where four octets go in the table.
fn hash(octets: [u8; MIN_MATCH]) -> usize {
    let word = u32::from_le_bytes(octets);
    // Fibonacci hashing: the top bits of the product depend on all octets.
    (word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// How many octets at `from` and at `to`, later, are the same, up to the longest copy.
fn common(input: &[u8], from: usize, to: usize) -> usize {
    let (Some(before), Some(here)) = (input.get(from..), input.get(to..)) else {
        return 0;
    };
    let here = here.get(..MAX_MATCH).unwrap_or(here);
    let mut len = 0_usize;
    let words = before.chunks_exact(8).zip(here.chunks_exact(8));
    for (before, here) in words {
        let (Ok(before), Ok(here)) = (before.try_into(), here.try_into()) else {
            break;
        };
        let differences = u64::from_le_bytes(before) ^ u64::from_le_bytes(here);
        if differences != 0 {
            return len.wrapping_add((differences.trailing_zeros() >> 3) as usize);
        }
        len = len.wrapping_add(8);
    }
    let rest = before.iter().zip(here).skip(len);
    len.wrapping_add(rest.take_while(|(before, here)| before == here).count())
}

/// Where instructions are written.
struct Sink<'a> {
    output: &'a mut [u8],
    written: usize,
}

impl Sink<'_> {
    fn literals(&mut self, octets: &[u8]) -> Option<()> {
        // What does not fit, as a whole block that cannot be compressed, is not copied in vain.
        let room = self.output.len().checked_sub(self.written)?;
        room.checked_sub(octets.len())?
            .checked_sub(octets.len().div_ceil(MAX_LITERALS))?;
        for row in octets.chunks(MAX_LITERALS) {
            let len = u8::try_from(row.len().wrapping_sub(1)).ok()?;
            self.put(&[len])?;
            self.put(row)?;
        }
        Some(())
    }

    fn copy(&mut self, len: usize, distance: usize) -> Option<()> {
        let back = u16::try_from(distance.wrapping_sub(1)).ok()?;
        let [high, low] = back.to_be_bytes();
        match u8::try_from(len.wrapping_sub(2))
            .ok()
            .filter(|len| *len < 7)
        {
            Some(len) => self.put(&[len << 5 | high, low]),
            None => {
                let more = u8::try_from(len.wrapping_sub(9)).ok()?;
                self.put(&[0xe0 | high, more, low])
            }
        }
    }

    fn put(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.written.checked_add(octets.len())?;
        self.output
            .get_mut(self.written..end)?
            .copy_from_slice(octets);
        self.written = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn there_and_back(compressor: &mut Compressor, data: &[u8]) -> usize {
        let mut stream = vec![0; data.len().saturating_mul(2)];
        let len = compressor.compress(data, &mut stream).unwrap();
        let mut output = vec![0xee; data.len()];
        assert_eq!(decompress_exact(&stream[..len], &mut output), Ok(()));
        assert_eq!(output, data);
        len
    }

    /// Octets in which no three come twice.
    fn noise(len: usize) -> Vec<u8> {
        let words = (0_u32..).flat_map(|n| n.wrapping_mul(0x9e37_79b1).to_be_bytes());
        words.take(len).collect()
    }

    #[test]
    fn positions_are_counted_on_until_they_are_exhausted() {
        let mut compressor = Compressor::new();
        compressor.base = u32::MAX - 700;
        let data = noise(256).repeat(2);
        let len = there_and_back(&mut compressor, &data);
        assert_eq!(compressor.base, u32::MAX - 700 + 512);
        // The next block does not fit any more: all begins anew, and nothing old is found.
        assert_eq!(there_and_back(&mut compressor, &data), len);
        assert_eq!(compressor.base, 513);
    }

    #[test]
    fn little_gain_is_not_looked_for_at_every_octet() {
        // In each 512 octets a row of zeros, as it is in what a benchmark writes.
        let mut data = noise(128 * 1024);
        for line in data.chunks_mut(512) {
            line[..9].fill(0);
        }
        let mut compressor = Compressor::new();
        let mut stream = vec![0; data.len().saturating_mul(2)];
        let len = compressor.compress(&data, &mut stream).unwrap();
        assert!(len > data.len(), "nothing was to be gained");
        // Positions that were looked at are noted in the table, each in a slot of its own but
        // for a few.
        let looked_at = compressor.seen.iter().filter(|seen| **seen != 0).count();
        assert!(looked_at < data.len() / 16, "{looked_at}");
    }

    #[test]
    fn a_gain_is_found_again_after_noise() {
        let mut data = noise(4096);
        let alone = there_and_back(&mut Compressor::new(), &data);
        data.extend(b"What comes again and again. ".iter().cycle().take(4096));
        let len = there_and_back(&mut Compressor::new(), &data);
        assert!(len < alone + 512, "{len} of {}", data.len());
    }

    #[test]
    fn copies_reach_as_far_back_as_the_format_allows() {
        let lens = [MAX_DISTANCE, MAX_DISTANCE.saturating_add(1)].map(|distance| {
            // The same octets twice, so far apart.
            let mut data = noise(64);
            data.resize(distance, 0);
            data.extend_from_within(..64);
            there_and_back(&mut Compressor::new(), &data)
        });
        assert!(lens[0].saturating_add(50) < lens[1], "{lens:?}");
    }

    #[test]
    fn copies_are_as_long_as_the_format_allows() {
        for len in [3, 4, 8, 9, 10, 264, 265, 266, 267, 268, 528, 1000] {
            there_and_back(&mut Compressor::new(), &vec![7; len]);
            let mut data = noise(len);
            data.extend_from_within(..);
            there_and_back(&mut Compressor::new(), &data);
        }
        // One literal, then 264 at once.
        assert_eq!(there_and_back(&mut Compressor::new(), &[7; 265]), 2 + 3);
    }

    #[test]
    fn copies_of_every_distance_and_length_overlap_as_octet_by_octet() {
        for distance in 1..=40_usize {
            for len in 3..=80_usize {
                let start = noise(distance);
                let mut expected = start.clone();
                for at in 0..len {
                    expected.push(expected[at]);
                }
                // Exactly full, and with room for whole strides.
                for room in [0, 100] {
                    let mut output = start.clone();
                    output.resize(distance + len + room, 0xee);
                    assert_eq!(copy(&mut output, 0, distance, len), Some(()));
                    assert_eq!(output[..distance + len], expected, "{distance} {len}");
                }
            }
        }
    }
}

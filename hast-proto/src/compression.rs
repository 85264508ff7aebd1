//! Payloads of zeros, and how a payload is made smaller and larger again (HAST §3.5).

#![warn(clippy::arithmetic_side_effects)]

use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::frame::MAX_MAP;
use crate::lzf::{Compressor, LzfError, decompress_exact};
use crate::types::{Compression, Length};

/// Blocks of this size and smaller are never given to LZF.
pub const LZF_THRESHOLD: usize = 1024;
/// What LZF must save, at least, not counting the length in front of the stream.
const LZF_SAVING: usize = 1024;
/// The longest data that are compressed or inflated: the longest activemap, which no request comes
/// near. A hole of four octets may claim 4 GiB, and so may the length in its request.
pub(crate) const MAX_INFLATED: usize = MAX_MAP;
/// After a block that LZF did not make smaller, so many are given to it in samples only, unless
/// there is something to save in one of them: what cannot be compressed mostly comes in rows.
const SAMPLED: u8 = 15;
/// The octets of a sample.
const SAMPLE: usize = 512;
/// What must be saved of one, at least.
const SAMPLE_SAVING: usize = SAMPLE / 16;
/// The most samples of a block.
const SAMPLES: usize = 8;
/// The fewest octets of a block to a sample.
const SAMPLED_PART: usize = 4096;
/// The octets of the original length, in front of an LZF stream or instead of zeros.
const SIZE_LEN: usize = 4;

/// Why a payload cannot be inflated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InflateError {
    /// A hole is not four octets.
    #[error("hole of {len} octets where {SIZE_LEN} are expected")]
    HoleSize {
        /// Its octets.
        len: usize,
    },
    /// There is no LZF stream behind the original length, or not even that.
    #[error("{len} octets where more than {SIZE_LEN} are needed for lzf")]
    NoStream {
        /// The payload's octets.
        len: usize,
    },
    /// The original length is one that is never given to LZF.
    #[error("lzf of {size} octets where only more than {LZF_THRESHOLD} are compressed")]
    BelowThreshold {
        /// The length announced.
        size: u32,
    },
    /// The data are not as long as the request says. The original accepts less and leaves the
    /// rest of its buffer as it was.
    #[error("{found} octets of data where {expected} are expected")]
    Length {
        /// The length of the data, announced or received.
        found: u64,
        /// The length that the request or the map has.
        expected: u64,
    },
    /// The data would be longer than anything that is ever compressed, whatever was expected.
    #[error("{len} octets of data where at most {MAX_INFLATED} are inflated")]
    TooLong {
        /// The length announced and expected.
        len: u64,
    },
    /// The stream is invalid.
    #[error(transparent)]
    Lzf(#[from] LzfError),
}

/// Whether all octets are zero.
#[must_use]
pub fn is_zero(data: &[u8]) -> bool {
    // What is not zero mostly shows at its start; then whole pieces that the compiler turns into
    // vector instructions, each with one test at its end.
    let mut pieces = data.chunks_exact(256);
    pieces.all(|piece| {
        let words = piece
            .chunks_exact(8)
            .map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
        words.fold(0, |sum, word| sum | word) == 0
    }) && pieces.remainder().iter().all(|octet| *octet == 0)
}

/// Data after compression, and by which algorithm; [`Compression::None`] where it did not pay.
pub(crate) struct Deflated {
    pub(crate) algorithm: Compression,
    pub(crate) octets: Bytes,
}

/// The compressor's table and a place for its output, which outlive a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    compressor: Compressor,
    stream: Vec<u8>,
    /// Of how many blocks samples may still say that nothing is to be saved.
    sampled: u8,
}

impl Workspace {
    /// Whether a block is like the last one, of which nothing was saved, as far as samples tell.
    fn passes_over(&mut self, data: &[u8]) -> bool {
        let Some(left) = self.sampled.checked_sub(1) else {
            return false;
        };
        self.sampled = left;
        let mut stream = [0; SAMPLE - SAMPLE_SAVING];
        let part = (data.len() / SAMPLES).max(SAMPLED_PART);
        data.chunks(part)
            .filter_map(|part| part.get(..SAMPLE))
            .all(|sample| self.compressor.compress(sample, &mut stream).is_none())
    }
}

/// Compresses `data` as the original chooses: zeros become a hole under either algorithm, LZF is
/// tried above 1024 octets and used if it saves as many. It is not tried where the last block and
/// samples of this one make it look hopeless. Data that stay as they are are not copied.
pub(crate) fn deflate(
    wanted: Compression,
    data: Bytes,
    workspace: Option<&mut Workspace>,
) -> Deflated {
    let deflated = match (wanted, u32::try_from(data.len())) {
        (Compression::None, _) | (_, Err(_) | Ok(0)) => None,
        // Nobody here would inflate it again.
        _ if data.len() > MAX_INFLATED => None,
        (_, Ok(size)) if is_zero(&data) => Some(Deflated {
            algorithm: Compression::Hole,
            octets: Bytes::copy_from_slice(&size.to_le_bytes()),
        }),
        (Compression::Hole, _) => None,
        (Compression::Lzf, Ok(size)) => {
            workspace.and_then(|workspace| try_lzf(size, &data, workspace))
        }
    };
    deflated.unwrap_or(Deflated {
        algorithm: Compression::None,
        octets: data,
    })
}

/// Gives a block to LZF, if it is long enough and the last one does not make it look hopeless.
fn try_lzf(size: u32, data: &[u8], workspace: &mut Workspace) -> Option<Deflated> {
    if data.len() <= LZF_THRESHOLD || workspace.passes_over(data) {
        return None;
    }
    let deflated = deflate_lzf(size, data, workspace);
    workspace.sampled = if deflated.is_some() { 0 } else { SAMPLED };
    deflated
}

fn deflate_lzf(size: u32, data: &[u8], workspace: &mut Workspace) -> Option<Deflated> {
    let room = data.len().checked_sub(LZF_SAVING)?;
    let Workspace {
        compressor, stream, ..
    } = workspace;
    let room = SIZE_LEN.checked_add(room)?;
    if stream.len() < room {
        stream.resize(room, 0);
    }
    let (prefix, output) = stream
        .get_mut(..room)?
        .split_first_chunk_mut::<SIZE_LEN>()?;
    *prefix = size.to_le_bytes();
    let len = compressor.compress(data, output)?;
    let octets = stream.get(..SIZE_LEN.checked_add(len)?)?;
    Some(Deflated {
        algorithm: Compression::Lzf,
        octets: Bytes::copy_from_slice(octets),
    })
}

/// Restores the data, which must be of the length `expected`: nothing is allocated before that is
/// known, and nothing longer ever. Data that were not compressed are not copied.
pub(crate) fn inflate(
    algorithm: Compression,
    payload: &Bytes,
    expected: Length,
) -> Result<Bytes, InflateError> {
    match algorithm {
        Compression::None => {
            exactly(Length::of(payload), expected)?;
            Ok(payload.clone())
        }
        Compression::Hole => {
            let Ok(size) = payload.as_ref().try_into().map(u32::from_le_bytes) else {
                return Err(InflateError::HoleSize { len: payload.len() });
            };
            Ok(vec![0; inflated_len(size, expected)?].into())
        }
        Compression::Lzf => {
            let len = payload.len();
            let (size, stream) = payload
                .split_first_chunk::<SIZE_LEN>()
                .filter(|(_, stream)| !stream.is_empty())
                .ok_or(InflateError::NoStream { len })?;
            let size = u32::from_le_bytes(*size);
            if size as usize <= LZF_THRESHOLD {
                return Err(InflateError::BelowThreshold { size });
            }
            let mut data = vec![0; inflated_len(size, expected)?];
            decompress_exact(stream, &mut data)?;
            Ok(data.into())
        }
    }
}

/// Checks the length that a payload announces, before memory is taken for it.
fn inflated_len(size: u32, expected: Length) -> Result<usize, InflateError> {
    exactly(Length::new(size.into()), expected)?;
    let too_long = InflateError::TooLong { len: size.into() };
    let len = usize::try_from(size).map_err(|_| too_long)?;
    if len > MAX_INFLATED {
        return Err(too_long);
    }
    Ok(len)
}

/// Checks that the length is the one expected.
fn exactly(found: Length, expected: Length) -> Result<(), InflateError> {
    if found == expected {
        return Ok(());
    }
    Err(InflateError::Length {
        found: found.get(),
        expected: expected.get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_found_wherever_they_end() {
        for len in [0, 1, 7, 8, 255, 256, 257, 4096] {
            let mut data = vec![0_u8; len];
            assert!(is_zero(&data), "{len}");
            for at in 0..len {
                data[at] = 1;
                assert!(!is_zero(&data), "{len} {at}");
                data[at] = 0;
            }
        }
    }

    #[test]
    fn lzf_is_used_above_its_threshold_and_if_it_saves_enough() {
        let mut workspace = Workspace::default();
        let mut chosen = |data: &[u8]| {
            let data = Bytes::copy_from_slice(data);
            let deflated = deflate(Compression::Lzf, data.clone(), Some(&mut workspace));
            let expected = Length::of(&data);
            assert_eq!(
                inflate(deflated.algorithm, &deflated.octets, expected),
                Ok(data)
            );
            (deflated.algorithm, deflated.octets.len())
        };
        assert_eq!(chosen(&[0; 512]), (Compression::Hole, 4));
        assert_eq!(chosen(&[0xff; 1024]), (Compression::None, 1024));
        assert_eq!(chosen(&[0xff; 1032]), (Compression::None, 1032));
        assert_eq!(chosen(&[0xff; 4096]).0, Compression::Lzf);
    }

    /// Octets of which nothing is to be saved.
    fn noise(len: usize) -> Vec<u8> {
        let words = (0_u32..).flat_map(|n| n.wrapping_mul(0x9e37_79b1).to_be_bytes());
        words.take(len).collect()
    }

    #[test]
    fn what_samples_do_not_show_is_tried_all_the_same_before_long() {
        let mut workspace = Workspace::default();
        let mut chosen = |data: &Vec<u8>| {
            let data = Bytes::copy_from_slice(data);
            deflate(Compression::Lzf, data, Some(&mut workspace)).algorithm
        };
        for len in [4096, 1 << 20] {
            // Twice the same, farther apart than a sample is long.
            let hidden = noise(2048).repeat(len / 2048);
            assert_eq!(chosen(&hidden), Compression::Lzf);
            assert_eq!(chosen(&noise(len)), Compression::None);
            for _ in 0..SAMPLED {
                assert_eq!(chosen(&hidden), Compression::None);
            }
            // And from then on, as it was worth while.
            assert_eq!(chosen(&hidden), Compression::Lzf);
            assert_eq!(chosen(&hidden), Compression::Lzf);
        }
    }

    #[test]
    fn what_samples_show_is_compressed_at_once() {
        let mut workspace = Workspace::default();
        let mut chosen = |data: &Vec<u8>| {
            let data = Bytes::copy_from_slice(data);
            deflate(Compression::Lzf, data, Some(&mut workspace)).algorithm
        };
        for len in [4096, 5000, 128 * 1024, 1 << 20] {
            let mut data = noise(len);
            for round in 0..100 {
                assert_eq!(chosen(&data), Compression::None, "{len} {round}");
            }
            data[..len / 2].fill(b'-');
            assert_eq!(chosen(&data), Compression::Lzf, "{len}");
        }
    }

    #[test]
    fn raw_data_are_not_copied() {
        let data = Bytes::from_static(b"some data");
        let deflated = deflate(Compression::Hole, data.clone(), None);
        assert_eq!(deflated.octets.as_ptr(), data.as_ptr());
        let inflated = inflate(Compression::None, &data, Length::of(&data)).unwrap();
        assert_eq!(inflated.as_ptr(), data.as_ptr());
    }

    #[test]
    fn each_fault_has_its_error() {
        let (hole, lzf) = (Compression::Hole, Compression::Lzf);
        let error = |algorithm, payload: &'static [u8], expected| {
            inflate(
                algorithm,
                &Bytes::from_static(payload),
                Length::new(expected),
            )
            .unwrap_err()
        };
        assert_eq!(
            error(hole, &[0, 2, 0], 512),
            InflateError::HoleSize { len: 3 }
        );
        let wrong = |found, expected| InflateError::Length { found, expected };
        assert_eq!(error(hole, &[0, 1, 0, 0], 512), wrong(256, 512));
        assert_eq!(error(hole, &[0xff; 4], 512), wrong(0xffff_ffff, 512));
        assert_eq!(error(Compression::None, b"ab", 3), wrong(2, 3));
        assert_eq!(
            error(lzf, &[0, 8, 0, 0], 2048),
            InflateError::NoStream { len: 4 }
        );
        // Neither four octets nor the request that claims as much take 4 GiB.
        let (huge, len) = (u64::from(u32::MAX), u64::from(u32::MAX));
        let too_long = InflateError::TooLong { len };
        assert_eq!(error(hole, &[0xff; 4], huge), too_long);
        assert_eq!(error(lzf, &[0xff; 5], huge), too_long);
        let small = InflateError::BelowThreshold { size: 1024 };
        assert_eq!(error(lzf, &[0, 4, 0, 0, 0, 1], 1024), small);
        assert_eq!(error(lzf, &[0, 16, 0, 0, 0, 1], 2048), wrong(4096, 2048));
        let short = LzfError::TooShort {
            written: 1,
            expected: 2048,
        };
        assert_eq!(
            error(lzf, &[0, 8, 0, 0, 0, 1], 2048),
            InflateError::Lzf(short)
        );
    }
}

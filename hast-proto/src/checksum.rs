//! The checksum over a payload as it is on the wire, that is, after compression (HAST §3.5).

#![warn(clippy::arithmetic_side_effects)]

use sha2::{Digest as _, Sha256};

use crate::types::Checksum;

/// A checksum's value: the contents of the pair "hash".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Digest {
    /// CRC-32, little-endian as every peer in practice sends it.
    Crc32([u8; 4]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// Why a checksum does not vouch for a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// "hash" has not the length of the algorithm's values.
    #[error("hash of {len} octets where {algorithm} has {expected}")]
    HashSize {
        /// The algorithm that "checksum" names.
        algorithm: Checksum,
        /// The octets of "hash".
        len: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The payload has another checksum.
    #[error("{algorithm} of the payload differs from its hash")]
    Mismatch {
        /// The algorithm.
        algorithm: Checksum,
    },
}

impl Digest {
    /// Computes the checksum of `payload`, or `None` for [`Checksum::None`].
    #[must_use]
    pub fn compute(algorithm: Checksum, payload: &[u8]) -> Option<Self> {
        match algorithm {
            Checksum::None => None,
            Checksum::Crc32 => Some(Self::Crc32(crc32fast::hash(payload).to_le_bytes())),
            Checksum::Sha256 => Some(Self::Sha256(Sha256::digest(payload).into())),
        }
    }

    /// Takes the contents of the pair "hash"; `None` for [`Checksum::None`].
    ///
    /// # Errors
    ///
    /// [`ChecksumError::HashSize`] if they are not as long as the algorithm's values.
    pub fn from_bytes(algorithm: Checksum, hash: &[u8]) -> Result<Option<Self>, ChecksumError> {
        let wrong = |expected| ChecksumError::HashSize {
            algorithm,
            len: hash.len(),
            expected,
        };
        match algorithm {
            Checksum::None => Ok(None),
            Checksum::Crc32 => match hash.try_into() {
                Ok(hash) => Ok(Some(Self::Crc32(hash))),
                Err(_) => Err(wrong(4)),
            },
            Checksum::Sha256 => match hash.try_into() {
                Ok(hash) => Ok(Some(Self::Sha256(hash))),
                Err(_) => Err(wrong(32)),
            },
        }
    }

    /// Checks that `payload` has this checksum.
    ///
    /// # Errors
    ///
    /// [`ChecksumError::Mismatch`] if it has another.
    pub fn verify(&self, payload: &[u8]) -> Result<(), ChecksumError> {
        let algorithm = self.algorithm();
        if Self::compute(algorithm, payload) == Some(*self) {
            Ok(())
        } else {
            Err(ChecksumError::Mismatch { algorithm })
        }
    }

    /// Returns the algorithm, never [`Checksum::None`].
    #[must_use]
    pub const fn algorithm(&self) -> Checksum {
        match self {
            Self::Crc32(_) => Checksum::Crc32,
            Self::Sha256(_) => Checksum::Sha256,
        }
    }

    /// Returns the contents of the pair "hash".
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Crc32(hash) => hash,
            Self::Sha256(hash) => hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_usual_one_little_endian() {
        let digest = Digest::compute(Checksum::Crc32, b"123456789").unwrap();
        assert_eq!(digest, Digest::Crc32([0x26, 0x39, 0xf4, 0xcb]));
        assert_eq!(digest.verify(b"123456789"), Ok(()));
        let error = ChecksumError::Mismatch {
            algorithm: Checksum::Crc32,
        };
        assert_eq!(digest.verify(b"123456780"), Err(error));
    }

    #[test]
    fn a_hash_has_its_algorithms_length() {
        let error = |algorithm, len, expected| {
            Err(ChecksumError::HashSize {
                algorithm,
                len,
                expected,
            })
        };
        let (crc32, sha256) = (Checksum::Crc32, Checksum::Sha256);
        assert_eq!(Digest::from_bytes(crc32, &[0; 32]), error(crc32, 32, 4));
        assert_eq!(Digest::from_bytes(sha256, &[0; 4]), error(sha256, 4, 32));
        assert_eq!(Digest::from_bytes(Checksum::None, &[]), Ok(None));
        let digest = Digest::from_bytes(sha256, &[7; 32]).unwrap().unwrap();
        assert_eq!(digest.as_bytes(), [7; 32]);
    }
}

//! The file that extents are saved to before they are discarded.
//!
//! After a split brain somebody decides whose changes are lost (HAST §5.3, row 7). What the losing
//! node alone has is saved to a file first, which can be listed, verified and restored from. Here
//! is its form; reading the provider and writing the file is the caller's.
//!
//! # The form
//!
//! Numbers are little-endian. A [`Header`] of [`HEADER_LEN`] octets, then pieces in the order of
//! their offsets, then the end:
//!
//! ```text
//!  header   0  "HASTSAVE"         8  version: 1      12  extent size     16  octets of data
//!          24  resource id       32  local counter   40  remote counter
//!          48  seconds since 1970                    56  zeros
//!          64  length of the name of the resource, name, zeros
//!         320  length of the name of the node, name, zeros
//!         576  zeros                                992  SHA-256 of what precedes
//!
//!  piece    0  offset             8  length          12  kind: 1, 2 or 3
//!          16  SHA-256 of the digest before it, octets 0 to 15, and the data
//!          48  data, if the kind is 1
//! ```
//!
//! | kind | offset | length |
//! |---|---|---|
//! | 1: data | in the data area of the resource | octets that follow |
//! | 2: zeros | in the data area of the resource | octets that were all zero, and do not follow |
//! | 3: the end | octets in all pieces | 0 |
//!
//! Each digest covers the one before it, the first that of the header. So a file that was cut,
//! mixed up or put together from several is found out; and whoever only lists a file can go from
//! head to head without reading the data.
//!
//! # Writing and reading
//!
//! Nothing is ever longer than [`MAX_PIECE`], so a buffer of that is enough for any file.
//!
//! ```
//! use hast_proto::saved::{Encoder, HEADER_LEN, Header, Next, PIECE_HEAD_LEN, Reader};
//! use hast_proto::{Counters, ExtentSize, Length, Offset, ResourceName};
//!
//! let header = Header {
//!     resource: ResourceName::new("shared")?,
//!     node: "hasta".into(),
//!     extent_size: ExtentSize::DEFAULT,
//!     data_len: Length::new(1 << 30),
//!     resource_id: None,
//!     counters: Counters { local: 3, remote: 1 },
//!     saved_at: 1_700_000_000,
//! };
//! let (mut encoder, mut file) = Encoder::new(&header)?;
//! let (head, data) = encoder.piece(Offset::new(4096), b"changed here")?;
//! file.extend_from_slice(&head);
//! file.extend_from_slice(data);
//! file.extend_from_slice(&encoder.finish());
//!
//! let (block, rest) = file.split_first_chunk::<HEADER_LEN>().ok_or("too short")?;
//! let mut reader = Reader::new(block)?;
//! assert_eq!(reader.header(), &header);
//! let (head, rest) = rest.split_first_chunk::<PIECE_HEAD_LEN>().ok_or("too short")?;
//! let Next::Data(piece) = reader.next(head)? else { panic!("no data") };
//! let (data, rest) = rest.split_at(piece.length());
//! piece.verify(data)?;
//! let end = rest.first_chunk().ok_or("too short")?;
//! assert_eq!(reader.next(end)?, Next::End { octets: 12 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::arithmetic_side_effects)]

mod header;
mod piece;

use crate::types::{NumberError, ResourceNameError};

pub use header::{HEADER_LEN, Header};
pub use piece::{Encoder, MAX_PIECE, Next, PIECE_HEAD_LEN, Piece, Reader};

/// The value of SHA-256.
type Digest = [u8; 32];

/// Why something is no such file, or cannot become one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// It does not begin as such a file does.
    #[error("this is no file of saved extents")]
    Foreign,
    /// It is of a version that is not known here.
    #[error("version {version} where 1 is known")]
    Version {
        /// The version.
        version: u32,
    },
    /// The header is damaged.
    #[error("the header differs from its digest")]
    HeaderDigest,
    /// Something in the header is not zero that must be.
    #[error("the header has more in it than is known")]
    Reserved,
    /// The extent size is impossible.
    #[error("{0}")]
    ExtentSize(NumberError),
    /// The name of the resource can be none.
    #[error("{0}")]
    Resource(ResourceNameError),
    /// The name of the node can be none; what is wrong is said as for a resource.
    #[error("node: {0}")]
    Node(ResourceNameError),
    /// A piece has no length, or too much.
    #[error("piece of {length} octets at {offset} where 1 to {MAX_PIECE} are possible")]
    Length {
        /// Where it begins.
        offset: u64,
        /// Its octets.
        length: u64,
    },
    /// A piece is not behind the one before it, or not within the data.
    #[error("piece of {length} octets at {offset} where it must lie between {least} and {most}")]
    Place {
        /// Where it begins.
        offset: u64,
        /// Its octets.
        length: u64,
        /// Where the one before it ends.
        least: u64,
        /// Where the data end.
        most: u64,
    },
    /// What comes next is no kind of piece.
    #[error("kind {kind} where 1, 2 and 3 are known")]
    Kind {
        /// The kind.
        kind: u32,
    },
    /// A piece is damaged, or does not belong here.
    #[error("the piece at {offset} differs from its digest")]
    PieceDigest {
        /// Where it begins.
        offset: u64,
    },
    /// The end says that there was more or less.
    #[error("the end tells of {told} octets where there were {found}")]
    Total {
        /// What the end says.
        told: u64,
        /// What there was.
        found: u64,
    },
    /// Something follows the end.
    #[error("something follows the end")]
    AfterEnd,
}

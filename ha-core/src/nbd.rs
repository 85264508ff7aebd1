//! The server's side of [NBD], the network block device protocol, without I/O. Feature `nbd`.
//!
//! A connection is two machines, one after the other. Octets come in, in any slicing; answers
//! and requests come out.
//!
//! ```text
//!            octets                               octets
//!              v                                    v
//!        +-----------+   a client has chosen   +----------+  requests   device
//!        | Handshake | ----------------------> | Requests | ----------> read, write, ...
//!        +-----------+       [Agreed]          +----------+                 |
//!              v                                                            v
//!     answers to options                       +----------+           what came of them
//!                        octets, data  <------ | Replies  | <---------------+
//!                        not copied            +----------+
//! ```
//!
//! It is what the specification calls a fixed newstyle server without TLS. Citations as "NBD,
//! Option types" are of headings in [the specification][NBD].
//!
//! | part | what is known | what is refused |
//! |---|---|---|
//! | options | `EXPORT_NAME`, `ABORT`, `LIST`, `INFO`, `GO`, `STRUCTURED_REPLY`, `LIST_META_CONTEXT` and `SET_META_CONTEXT` with `base:allocation` | `STARTTLS`, `EXTENDED_HEADERS` and all others, by `ERR_UNSUP` |
//! | requests | `READ`, `WRITE`, `FLUSH`, `TRIM`, `WRITE_ZEROES`, `BLOCK_STATUS`, `DISC` | `CACHE`, `RESIZE` and all others, by `EINVAL` |
//! | request flags | `FUA`, `NO_HOLE`, `DF`, `REQ_ONE`, `FAST_ZERO` | `PAYLOAD_LEN` and all others, by `EINVAL` |
//!
//! A peer can neither make them panic nor take memory that [`Requests::next`] was not allowed to
//! take.
//!
//! [NBD]: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md

mod handshake;
mod offer;
mod options;
mod reply;
mod request;
mod requests;
mod wire;

pub use handshake::{Agreed, Handshake, HandshakeError, MAX_OPTIONS, Turn};
pub use offer::{MAX_NAME, Offer, OfferError};
pub use reply::{Failure, Piece, Replies};
pub use request::{Command, Refusal, Request};
pub use requests::{HEADER_LEN, Next, RequestError, Requests};
pub use wire::ErrorCode;

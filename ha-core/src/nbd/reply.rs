//! Replies, as octets to be sent; data among them are not copied (NBD, Simple reply message and
//! Structured reply chunk message).

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::request::Refusal;
use super::wire::{
    ALLOCATION_ID, ErrorCode, SIMPLE_REPLY, STATE_HOLE, STATE_ZERO, STRUCTURED_REPLY, chunk,
};

/// The most a message says of a failure, in octets.
const MAX_MESSAGE: usize = 512;

/// Why a request has failed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these")]
pub struct Failure {
    /// For the client.
    pub code: ErrorCode,
    /// For people; those of clients who agreed on structured replies.
    pub message: String,
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        Self {
            code: why.code(),
            message: why.to_string(),
        }
    }
}

/// A part of what was read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these")]
pub enum Piece {
    /// Data.
    Data(Bytes),
    /// So many zeroes that are not stored.
    Hole(u32),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Hole(length) => *length as usize,
        }
    }
}

/// What is to be sent, in the order in which it was put in; a [`Buf`] to be sent from.
#[derive(Debug)]
pub struct Replies {
    structured: bool,
    /// Closed pieces, none of them empty.
    queue: VecDeque<Bytes>,
    /// Their octets.
    queued: usize,
    /// What follows them: headers, which are still added to.
    open: BytesMut,
}

impl Replies {
    /// For a client with which structured replies were agreed on, or not.
    #[must_use]
    pub fn new(structured: bool) -> Self {
        Self {
            structured,
            queue: VecDeque::new(),
            queued: 0,
            open: BytesMut::new(),
        }
    }

    /// The request is done. Not for READ and BLOCK_STATUS.
    pub fn done(&mut self, cookie: u64) {
        self.simple(0, cookie);
    }

    /// The request is not done.
    pub fn failed(&mut self, cookie: u64, failure: &Failure) {
        let code = failure.code as u32;
        if !self.structured {
            self.simple(code, cookie);
            return;
        }
        let mut end = failure.message.len().min(MAX_MESSAGE);
        while !failure.message.is_char_boundary(end) {
            end -= 1;
        }
        let message = failure.message.get(..end).unwrap_or_default();
        self.chunk(chunk::DONE, chunk::ERROR, cookie, 6 + message.len());
        self.open.put_u32(code);
        // At most `MAX_MESSAGE`.
        self.open
            .put_u16(u16::try_from(message.len()).unwrap_or(u16::MAX));
        self.open.put_slice(message.as_bytes());
    }

    /// What was read from `offset` on: as much as was asked for, in order; as one piece if
    /// `whole` is set, or if the client knows no pieces.
    pub fn data(&mut self, cookie: u64, offset: u64, whole: bool, pieces: Vec<Piece>) {
        let length = pieces.iter().map(Piece::len).sum();
        if !self.structured {
            self.simple(0, cookie);
        } else if length == 0 {
            self.chunk(chunk::DONE, chunk::NONE, cookie, 0);
        } else if whole {
            self.chunk(chunk::DONE, chunk::OFFSET_DATA, cookie, 8 + length);
            self.open.put_u64(offset);
        } else {
            self.pieces(cookie, offset, length, pieces);
            return;
        }
        for piece in pieces {
            match piece {
                Piece::Data(data) => self.push(data),
                Piece::Hole(zeroes) => self.open.put_bytes(0, zeroes as usize),
            }
        }
    }

    /// A chunk for each of `pieces`, which have `left` octets.
    fn pieces(&mut self, cookie: u64, mut offset: u64, mut left: usize, pieces: Vec<Piece>) {
        for piece in pieces.into_iter().filter(|piece| piece.len() > 0) {
            let length = piece.len();
            left -= length;
            let flags = if left == 0 { chunk::DONE } else { 0 };
            match piece {
                Piece::Data(data) => {
                    self.chunk(flags, chunk::OFFSET_DATA, cookie, 8 + length);
                    self.open.put_u64(offset);
                    self.push(data);
                }
                Piece::Hole(zeroes) => {
                    self.chunk(flags, chunk::OFFSET_HOLE, cookie, 12);
                    self.open.put_u64(offset);
                    self.open.put_u32(zeroes);
                }
            }
            offset += length as u64;
        }
    }

    /// Where something is stored: lengths, not 0, and whether there is a hole.
    pub fn status(&mut self, cookie: u64, extents: &[(u32, bool)]) {
        let length = 4 + 8 * extents.len();
        self.chunk(chunk::DONE, chunk::BLOCK_STATUS, cookie, length);
        self.open.put_u32(ALLOCATION_ID);
        for &(length, hole) in extents {
            self.open.put_u32(length);
            let state = if hole { STATE_HOLE | STATE_ZERO } else { 0 };
            self.open.put_u32(state);
        }
    }

    fn simple(&mut self, code: u32, cookie: u64) {
        self.open.put_u32(SIMPLE_REPLY);
        self.open.put_u32(code);
        self.open.put_u64(cookie);
    }

    fn chunk(&mut self, flags: u16, kind: u16, cookie: u64, length: usize) {
        self.open.put_u32(STRUCTURED_REPLY);
        self.open.put_u16(flags);
        self.open.put_u16(kind);
        self.open.put_u64(cookie);
        // No request is longer than 4 GiB, and what is sent with an offset is 32 MiB at most.
        self.open.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if !self.open.is_empty() {
            self.queued += self.open.len();
            self.queue.push_back(self.open.split().freeze());
        }
        self.queued += data.len();
        self.queue.push_back(data);
    }
}

impl Buf for Replies {
    fn remaining(&self) -> usize {
        self.queued + self.open.len()
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&self.open, |front| front)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let pieces = self.queue.iter().map(|piece| &**piece);
        let open = Some(&*self.open).filter(|open| !open.is_empty());
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.chain(open)) {
            *slice = std::io::IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.queue.front_mut() {
            let passed = count.min(front.len());
            front.advance(passed);
            self.queued -= passed;
            count -= passed;
            if !front.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        self.open.advance(count);
    }
}

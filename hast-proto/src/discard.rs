//! A node's changes are discarded by command: they are saved first (HAST §5.3, row 7).
//!
//! After a split brain somebody decides whose changes are lost. On that node, which serves nobody
//! and has no session meanwhile, [`Discard`] reads what may differ, has it written to a file in
//! the form of [`saved`](crate::saved), and only then makes the node the target of the next
//! session.
//!
//! ```text
//!  reading <-> writing --> publishing --> marking --> counting --> ended
//!     |           |             |            |            |          ^
//!     +-----------+-------------+------------+------------+----------+
//!                           any failure
//! ```
//!
//! # The state table
//!
//! | state | input | if it is well |
//! |---|---|---|
//! | writing | `Written` | read the next piece; or write the end; or publish |
//! | reading | `Disk`, with as many octets as were asked for | write them |
//! | publishing | `Published` | store the mark [`Incomplete`](Consistency::Incomplete) |
//! | marking | `Disk` | store the counters |
//! | counting | `Disk` | end |
//! | ended | any | - |
//!
//! Any other input does nothing; a failure ends it.
//!
//! # What is saved
//!
//! All extents that either node has marked, if the peer has told its map: then the file over the
//! peer's data is this node's data, to the last octet. Without the peer's map those that this node
//! has marked: all that it has changed.
//!
//! # Order
//!
//! - The file is whole, under its name and on its disk, before anything is discarded.
//! - The mark goes before the counters. From then on nobody is served from these data, and
//!   everything is copied from the peer; if the counters are not stored any more, the nodes still
//!   find a split brain, and the command can be repeated.
//! - A crash before the mark leaves everything as it was, and perhaps a file.
//!
//! Without a count of its own this node is the target whatever the peer has counted, by rows 4 to
//! 9: of a primary of any kind, and if it is made primary itself.

#![warn(clippy::wildcard_enum_match_arm)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::activemap::Marked;
use crate::consistency::Consistency;
use crate::disk::DiskOperation;
use crate::metadata::Metadata;
use crate::primary::Provider;
use crate::saved::{Encoder, Header, MAX_PIECE, SavedError};
use crate::types::{Errno, Length, Offset, Role};

/// What is to be known.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a discard needs these")]
pub struct Config {
    /// The name of this node, for the file.
    pub node: Box<str>,
    /// The time in seconds since 1970, for the file; 0 if it is not known.
    pub saved_at: u64,
    /// The peer's activemap, if it has told that.
    pub peer_map: Option<Bytes>,
    /// The most octets to read at a time, a multiple of the sectors; at most [`MAX_PIECE`] counts.
    pub piece: usize,
}

/// Something that has ended, which an output has asked for. One is under way at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the state table covers each")]
pub enum Input {
    /// [`Output::Disk`]: with the data of a READ, or with no octets.
    Disk(Result<Bytes, Errno>),
    /// [`Output::Write`].
    Written(Result<(), Errno>),
    /// [`Output::Publish`].
    Published(Result<(), Errno>),
}

/// Something to do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Do this on the provider.
    Disk(DiskOperation),
    /// Append these to the file, one after the other.
    Write([Bytes; 2]),
    /// The file is complete: make it durable, with its name.
    Publish,
    /// It is over. Nothing comes after this.
    Ended(Result<Discarded, DiscardError>),
}

/// What was saved, and is discarded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Discarded {
    /// Extents.
    pub extents: u32,
    /// Their octets.
    pub octets: Length,
    /// Whether the peer's map was known, so that those are among them which the peer has changed.
    pub with_peer: bool,
}

/// Why nothing is discarded, or perhaps not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscardError {
    /// Data could not be read. Nothing is discarded.
    #[error("the data at {offset} cannot be read: {error}")]
    Read {
        /// Where.
        offset: Offset,
        /// Why.
        error: Errno,
    },
    /// Too few data were read. Nothing is discarded.
    #[error("{have} octets were read at {offset} where {need} were asked for")]
    Short {
        /// Where.
        offset: Offset,
        /// How many there were.
        have: usize,
        /// How many were asked for.
        need: usize,
    },
    /// The file could not be written: there is no room, perhaps. Nothing is discarded.
    #[error("the file cannot be written: {0}")]
    Write(Errno),
    /// The file could not be made durable. Nothing is discarded.
    #[error("the file cannot be made durable: {0}")]
    Publish(Errno),
    /// The metadata could not be written. The file is whole. Whether this node is the target of
    /// the next session nobody knows: try again, with another file.
    #[error("the file is whole, but the metadata cannot be written: {0}")]
    Store(Errno),
    /// The file cannot have such contents. Nothing is discarded.
    #[error(transparent)]
    Saved(#[from] SavedError),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Writing,
    Reading { offset: Offset, need: usize },
    Publishing,
    Marking,
    Counting,
    Ended,
}

/// A discard under way. See the [module's documentation](self).
///
/// Time plays no part in it: whoever is asked for something may take as long as it takes.
#[derive(Clone, Debug)]
pub struct Discard {
    metadata: Metadata,
    /// What is marked on either node.
    map: Box<[u8]>,
    piece: usize,
    state: State,
    /// `None` when the end is written.
    encoder: Option<Encoder>,
    /// Up to where the data have been saved.
    done: u64,
    outcome: Discarded,
    outputs: VecDeque<Output>,
}

impl Discard {
    /// Begins with what is on the provider.
    ///
    /// # Errors
    ///
    /// [`SavedError::Node`]
    pub fn new(config: Config, provider: Provider) -> Result<Self, SavedError> {
        let Provider { metadata, map, .. } = provider;
        let header = Header {
            resource: metadata.resource.clone(),
            node: config.node,
            extent_size: metadata.layout.extent_size(),
            data_len: metadata.layout.data_len(),
            resource_id: metadata.resource_id,
            counters: metadata.counters,
            saved_at: config.saved_at,
        };
        let (encoder, head) = Encoder::new(&header)?;
        let mut map: Box<[u8]> = map.as_ref().into();
        let peer = config.peer_map.iter().flatten();
        for (own, peer) in map.iter_mut().zip(peer) {
            *own |= peer;
        }
        let marked = Marked::new(metadata.layout, &map);
        let outcome = Discarded {
            extents: marked.extents(),
            octets: marked.octets(),
            with_peer: config.peer_map.is_some(),
        };
        Ok(Self {
            metadata,
            map,
            piece: config.piece.clamp(1, MAX_PIECE),
            state: State::Writing,
            encoder: Some(encoder),
            done: 0,
            outcome,
            outputs: [Output::Write([head.into(), Bytes::new()])].into(),
        })
    }

    /// Takes note of something that has ended.
    pub fn handle(&mut self, input: Input) {
        match (self.state, input) {
            (State::Writing, Input::Written(Ok(()))) => self.advance(),
            (State::Writing, Input::Written(Err(error))) => self.fail(DiscardError::Write(error)),
            (State::Reading { offset, need }, Input::Disk(Ok(data))) => {
                self.write(offset, need, data);
            }
            (State::Reading { offset, .. }, Input::Disk(Err(error))) => {
                self.fail(DiscardError::Read { offset, error });
            }
            (State::Publishing, Input::Published(Ok(()))) => {
                let mark = DiskOperation::StoreConsistency(Consistency::Incomplete);
                self.enter(State::Marking, Output::Disk(mark));
            }
            (State::Publishing, Input::Published(Err(error))) => {
                self.fail(DiscardError::Publish(error));
            }
            (State::Marking, Input::Disk(Ok(_))) => {
                let mut metadata = self.metadata.clone();
                metadata.counters.local = 0;
                metadata.previous_role = Role::Secondary;
                let store = DiskOperation::StoreMetadata(metadata);
                self.enter(State::Counting, Output::Disk(store));
            }
            (State::Counting, Input::Disk(Ok(_))) => {
                let outcome = self.outcome;
                self.enter(State::Ended, Output::Ended(Ok(outcome)));
            }
            (State::Marking | State::Counting, Input::Disk(Err(error))) => {
                self.fail(DiscardError::Store(error));
            }
            (State::Writing, Input::Disk(_) | Input::Published(_))
            | (State::Reading { .. }, Input::Written(_) | Input::Published(_))
            | (State::Publishing, Input::Disk(_) | Input::Written(_))
            | (State::Marking | State::Counting, Input::Written(_) | Input::Published(_))
            | (State::Ended, Input::Disk(_) | Input::Written(_) | Input::Published(_)) => {}
        }
    }

    /// Returns the next thing to do, or `None` if nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Goes on after something was written.
    fn advance(&mut self) {
        let Some(encoder) = self.encoder.take() else {
            self.enter(State::Publishing, Output::Publish);
            return;
        };
        let marked = Marked::new(self.metadata.layout, &self.map);
        let next = marked.range_from(self.done, self.piece as u64);
        let Some((offset, length)) = next else {
            let end = Bytes::copy_from_slice(&encoder.finish());
            self.enter(State::Writing, Output::Write([end, Bytes::new()]));
            return;
        };
        self.encoder = Some(encoder);
        // Not more than a piece.
        let need = length.to_usize().unwrap_or(usize::MAX);
        let read = DiskOperation::Read { offset, length };
        self.enter(State::Reading { offset, need }, Output::Disk(read));
    }

    fn write(&mut self, offset: Offset, need: usize, data: Bytes) {
        let have = data.len();
        if have != need {
            self.fail(DiscardError::Short { offset, have, need });
            return;
        }
        let Some(encoder) = &mut self.encoder else {
            return;
        };
        match encoder.piece(offset, &data) {
            Ok((head, written)) => {
                let data = match written.is_empty() {
                    true => Bytes::new(),
                    false => data.clone(),
                };
                let head = Bytes::copy_from_slice(&head);
                self.done = offset.get().saturating_add(have as u64);
                self.enter(State::Writing, Output::Write([head, data]));
            }
            Err(error) => self.fail(error.into()),
        }
    }

    fn enter(&mut self, state: State, output: Output) {
        self.state = state;
        self.outputs.push_back(output);
    }

    fn fail(&mut self, error: DiscardError) {
        self.enter(State::Ended, Output::Ended(Err(error)));
    }
}

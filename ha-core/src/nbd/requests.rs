//! Requests out of a stream of octets in any slicing (NBD, Request message).
//!
//! ```text
//!  offset  size
//!  0       4     magic
//!  4       2     flags
//!  6       2     command
//!  8       8     cookie
//!  16      8     offset
//!  24      4     length
//!  28            data, if it is a WRITE
//! ```
//!
//! Data are not copied, but for the front of those that arrived together with their header and do
//! not fit into the memory there.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, BytesMut};

use super::handshake::Agreed;
use super::offer::Offer;
use super::request::{Command, Header, Refusal, Request, Terms};

/// The octets of a request's header.
pub const HEADER_LEN: usize = 28;

/// Memory into which headers and short data are received together.
const CHUNK: usize = 64 * 1024;
/// Data that are longer get memory of their own.
const SHORT: usize = 32 * 1024;
/// Memory with less room than this is not received into again.
const ROOM: usize = 16 * 1024;

/// Octets that are no request: where the next one begins, nobody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// They do not begin like one.
    #[error("a request that begins with {magic:#010x}")]
    Magic {
        /// The first octets.
        magic: u32,
    },
}

/// What has been received.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else")]
pub enum Next {
    /// Nothing complete: receive more.
    Receive,
    /// A request for which there is no memory at the moment, to be asked for again.
    Wait,
    /// A request.
    Request(Request),
    /// A request that is not done.
    Refused {
        /// By this the client will know the reply.
        cookie: u64,
        /// Why not.
        why: Refusal,
    },
    /// The client takes its leave. Nothing follows.
    Disconnect,
}

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests {
    terms: Terms,
    chunk: BytesMut,
    state: State,
    /// The last data were long, and so may the next ones be: a header is received alone, so that
    /// they can go where they will stay.
    alone: bool,
}

#[derive(Debug)]
enum State {
    Header,
    /// There is no memory yet for the data that this one has or wants.
    Admission(Header, Command),
    /// Data that go to `chunk`.
    Short(Header, u64),
    /// Data that go to memory of their own.
    Long(Header, u64, BytesMut),
    /// Data of a request that is not done.
    Skip {
        header: Header,
        why: Refusal,
        left: u32,
    },
    /// The client has taken its leave.
    Over,
}

impl Requests {
    /// Requests to `offer` from a client with whom `agreed` was agreed on; `received` is what has
    /// been received of them already.
    #[must_use]
    pub fn new(offer: &Offer, agreed: Agreed, received: BytesMut) -> Self {
        Self {
            terms: Terms::new(offer, agreed.structured, agreed.allocation),
            chunk: received,
            state: State::Header,
            alone: false,
        }
    }

    /// Returns the memory to receive into; it has room for one octet at least.
    pub fn room(&mut self) -> Limit<&mut BytesMut> {
        match &mut self.state {
            State::Long(header, _, data) => {
                let missing = header.length as usize - data.len();
                data.limit(missing)
            }
            State::Header if self.alone && self.chunk.len() < HEADER_LEN => {
                let missing = HEADER_LEN - self.chunk.len();
                make_room(&mut self.chunk, missing);
                (&mut self.chunk).limit(missing)
            }
            State::Short(header, _) => {
                let missing = (header.length as usize).saturating_sub(self.chunk.len());
                make_room(&mut self.chunk, missing.max(ROOM));
                let room = self.chunk.capacity() - self.chunk.len();
                (&mut self.chunk).limit(room)
            }
            _ => {
                make_room(&mut self.chunk, ROOM);
                let room = self.chunk.capacity() - self.chunk.len();
                (&mut self.chunk).limit(room)
            }
        }
    }

    /// Whether what has been received ends within a request.
    #[must_use]
    pub fn within(&self) -> bool {
        match self.state {
            State::Header => !self.chunk.is_empty(),
            State::Over => false,
            _ => true,
        }
    }

    /// Returns the next request, if it has been received.
    ///
    /// Before memory is taken for data of a READ or WRITE, `admit` is asked whether there is
    /// room for so many octets. Where it says yes, the request will come out, or the connection
    /// end.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; the connection is of no use any more.
    pub fn next(&mut self, mut admit: impl FnMut(u32) -> bool) -> Result<Next, RequestError> {
        loop {
            match core::mem::replace(&mut self.state, State::Header) {
                State::Over => {
                    self.state = State::Over;
                    return Ok(Next::Disconnect);
                }
                State::Header => {
                    let Some((magic, header)) = Header::parse(&self.chunk) else {
                        return Ok(Next::Receive);
                    };
                    if !Header::known(magic) {
                        return Err(RequestError::Magic { magic });
                    }
                    self.chunk.advance(HEADER_LEN);
                    self.state = self.begin(header);
                }
                State::Admission(header, command) => {
                    if header.carries_data() && !admit(header.length) {
                        self.state = State::Admission(header, command);
                        return Ok(Next::Wait);
                    }
                    let Command::Write { offset, .. } = command else {
                        return Ok(request(header, command));
                    };
                    self.state = self.data(header, offset);
                }
                State::Short(header, offset) => {
                    let length = header.length as usize;
                    if self.chunk.len() < length {
                        self.state = State::Short(header, offset);
                        return Ok(Next::Receive);
                    }
                    let data = self.chunk.split_to(length).freeze();
                    return Ok(request(header, Command::Write { offset, data }));
                }
                State::Long(header, offset, data) => {
                    if data.len() < header.length as usize {
                        self.state = State::Long(header, offset, data);
                        return Ok(Next::Receive);
                    }
                    let data = data.freeze();
                    return Ok(request(header, Command::Write { offset, data }));
                }
                State::Skip { header, why, left } => {
                    let here = u32::try_from(self.chunk.len()).unwrap_or(u32::MAX);
                    let passed = here.min(left);
                    self.chunk.advance(passed as usize);
                    let left = left - passed;
                    if left > 0 {
                        self.state = State::Skip { header, why, left };
                        return Ok(Next::Receive);
                    }
                    return Ok(Next::Refused {
                        cookie: header.cookie,
                        why,
                    });
                }
            }
        }
    }

    /// What a header leads to.
    fn begin(&self, header: Header) -> State {
        if header.is_farewell() {
            return State::Over;
        }
        match header.check(&self.terms) {
            Ok(command) => State::Admission(header, command),
            Err(why) => State::Skip {
                header,
                why,
                left: header.payload(),
            },
        }
    }

    /// Where data go.
    fn data(&mut self, header: Header, offset: u64) -> State {
        let length = header.length as usize;
        self.alone = length > SHORT;
        if !self.alone || self.chunk.len() >= length {
            return State::Short(header, offset);
        }
        let mut data = BytesMut::with_capacity(length);
        data.extend_from_slice(&self.chunk);
        self.chunk.clear();
        State::Long(header, offset, data)
    }
}

fn request(header: Header, command: Command) -> Next {
    Next::Request(Request {
        cookie: header.cookie,
        command,
        durable: header.durable(),
    })
}

/// Makes room for `missing` octets more, in one piece with what is there.
fn make_room(chunk: &mut BytesMut, missing: usize) {
    if chunk.capacity() - chunk.len() >= missing {
        return;
    }
    let size = CHUNK.max(chunk.len() + missing);
    // The same memory again, unless data in it are still in use.
    if !chunk.try_reclaim(size - chunk.len()) {
        let mut fresh = BytesMut::with_capacity(size);
        fresh.extend_from_slice(chunk);
        *chunk = fresh;
    }
}

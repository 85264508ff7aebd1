//! The handshake: a client finds out what there is and chooses (NBD, Handshake phase).
//!
//! ```text
//!   state     octets                    answer                        next
//!   Greeted   flags, known              -                             Options
//!             flags, unknown            -                             over
//!   Options   EXPORT_NAME, known        size and flags                chosen
//!             EXPORT_NAME, unknown      -                             over
//!             ABORT                     ACK                           over
//!             LIST                      SERVER for each, ACK          Options
//!             INFO                      INFO.., ACK                   Options
//!             GO                        INFO.., ACK                   chosen
//!             STRUCTURED_REPLY          ACK                           Options
//!             LIST_, SET_META_CONTEXT   META_CONTEXT.., ACK           Options
//!             any other                 ERR_UNSUP                     Options
//!             data that say nothing     ERR_INVALID                   Options
//!             an export that is none    ERR_UNKNOWN                   Options
//!             data too long to be kept  ERR_TOO_BIG                   Skip, then Options
//! ```

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::borrow::Borrow;

use bytes::{Buf, BufMut, BytesMut};

use super::offer::{MAX_NAME, Offer};
use super::options::{ContextRequest, InfoRequest, acknowledge, refuse, reply};
use super::wire::{
    ALLOCATION, ALLOCATION_ID, Fields, GREETING, OPTION, answer, handshake_flag, option,
};

/// The most options that a client may send. Real ones send fewer than ten.
pub const MAX_OPTIONS: u32 = 1000;
/// The longest data of an option that are looked at: two strings and some numbers.
const MAX_DATA: u32 = 16 * 1024;
/// The octets in front of them.
const OPTION_HEADER: usize = 16;
/// What follows size and flags for clients that do not say they can do without.
const ZEROES: usize = 124;

/// Why a handshake cannot go on: there is no answer, and the connection is to be closed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client has set flags that the protocol does not have.
    #[error("client flags {flags:#x}, of which only 0x3 are known")]
    Flags {
        /// All of them.
        flags: u32,
    },
    /// What should be an option does not begin as one.
    #[error("an option that begins with {magic:#018x}")]
    Magic {
        /// Its first octets.
        magic: u64,
    },
    /// A client that is not "fixed newstyle" can be given no answer to any option but
    /// `EXPORT_NAME`.
    #[error("option {option} of a client that does not understand answers")]
    NotFixed {
        /// The option type.
        option: u32,
    },
    /// `EXPORT_NAME`, which can only be answered by success, names nothing that there is.
    #[error("there is no export {name:?}")]
    UnknownExport {
        /// The name, if it is one.
        name: String,
    },
    /// The client has sent more options than [`MAX_OPTIONS`].
    #[error("more than {MAX_OPTIONS} options")]
    TooManyOptions,
}

/// What client and server have agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "this is agreed on")]
pub struct Agreed {
    /// The index of the offer.
    pub offer: usize,
    /// READ is answered in chunks, and failures in words.
    pub structured: bool,
    /// The client may ask for `base:allocation`.
    pub allocation: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to do")]
pub enum Turn {
    /// Receive more.
    Receive,
    /// Send the answers, then go on with what has been received.
    Send,
    /// Send the answers, then close the connection, as the client wants it.
    Close,
    /// Send the answers. The requests begin.
    Chosen(Agreed),
}

/// The server's side of the handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    state: State,
    /// Whether the client understands answers, and has no use for padding.
    fixed: bool,
    no_zeroes: bool,
    structured: bool,
    /// The name of the export whose allocation the client wants to know.
    allocation: Option<String>,
    options: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Greeted,
    Options,
    /// Within the data of an option that is too long.
    Skip {
        option: u32,
        left: u32,
    },
}

impl Handshake {
    /// Begins a handshake, whose greeting goes to `out`.
    #[must_use]
    pub fn begin(out: &mut BytesMut) -> Self {
        out.put_u64(GREETING);
        out.put_u64(OPTION);
        out.put_u16(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        Self {
            state: State::Greeted,
            fixed: false,
            no_zeroes: false,
            structured: false,
            allocation: None,
            options: 0,
        }
    }

    /// Takes one step with what has been received, `input`; the answer is appended to `out`.
    ///
    /// To be called again and again. `out` should be sent before the next step, so that a client
    /// which does not read cannot make it grow. After [`Turn::Chosen`] what is left of `input`
    /// belongs to the requests.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]; the connection is of no use any more.
    pub fn step<O: Borrow<Offer>>(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        offers: &[O],
    ) -> Result<Turn, HandshakeError> {
        match self.state {
            State::Greeted => self.flags(input),
            State::Options => self.option(input, out, offers),
            State::Skip { option, left } => Ok(self.skip(option, left, input, out)),
        }
    }

    fn flags(&mut self, input: &mut BytesMut) -> Result<Turn, HandshakeError> {
        let Ok(flags) = input.try_get_u32() else {
            return Ok(Turn::Receive);
        };
        let has = |flag: u16| flags & u32::from(flag) != 0;
        if flags & !u32::from(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES) != 0 {
            return Err(HandshakeError::Flags { flags });
        }
        self.fixed = has(handshake_flag::FIXED_NEWSTYLE);
        self.no_zeroes = has(handshake_flag::NO_ZEROES);
        self.state = State::Options;
        Ok(Turn::Send)
    }

    /// Passes over data that are too long to be kept.
    fn skip(&mut self, option: u32, left: u32, input: &mut BytesMut, out: &mut BytesMut) -> Turn {
        let passed = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
        input.advance(passed as usize);
        let left = left - passed;
        if left > 0 {
            self.state = State::Skip { option, left };
            return Turn::Receive;
        }
        self.state = State::Options;
        refuse(
            out,
            option,
            answer::TOO_BIG,
            "more data than any option has",
        );
        Turn::Send
    }

    fn option<O: Borrow<Offer>>(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        offers: &[O],
    ) -> Result<Turn, HandshakeError> {
        let mut header = Fields(input);
        let (Some(magic), Some(option), Some(length)) = (header.u64(), header.u32(), header.u32())
        else {
            return Ok(Turn::Receive);
        };
        if magic != OPTION {
            return Err(HandshakeError::Magic { magic });
        }
        if !self.fixed && option != option::EXPORT_NAME {
            return Err(HandshakeError::NotFixed { option });
        }
        if length > MAX_DATA && option != option::EXPORT_NAME {
            input.advance(OPTION_HEADER);
            self.count()?;
            self.state = State::Skip {
                option,
                left: length,
            };
            return Ok(Turn::Send);
        }
        if length as usize > MAX_NAME && option == option::EXPORT_NAME {
            let name = String::new();
            return Err(HandshakeError::UnknownExport { name });
        }
        let Some(data) = header.octets(length as usize) else {
            return Ok(Turn::Receive);
        };
        self.count()?;
        let turn = self.answer(option, data, out, offers);
        input.advance(OPTION_HEADER + length as usize);
        turn
    }

    fn count(&mut self) -> Result<(), HandshakeError> {
        self.options += 1;
        if self.options > MAX_OPTIONS {
            return Err(HandshakeError::TooManyOptions);
        }
        Ok(())
    }

    fn answer<O: Borrow<Offer>>(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut BytesMut,
        offers: &[O],
    ) -> Result<Turn, HandshakeError> {
        match option {
            option::EXPORT_NAME => return self.export_name(data, out, offers),
            option::ABORT => {
                acknowledge(out, option);
                return Ok(Turn::Close);
            }
            option::INFO | option::GO => return Ok(self.info(option, data, out, offers)),
            option::LIST | option::STRUCTURED_REPLY if !data.is_empty() => {
                refuse(out, option, answer::INVALID, "an option that has no data");
            }
            option::LIST => {
                for offer in offers {
                    list(out, offer.borrow());
                }
                acknowledge(out, option);
            }
            option::STRUCTURED_REPLY => {
                self.structured = true;
                acknowledge(out, option);
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.contexts(option, data, out, offers);
            }
            _ => refuse(out, option, answer::UNSUPPORTED, "no such option here"),
        }
        Ok(Turn::Send)
    }

    fn export_name<O: Borrow<Offer>>(
        &mut self,
        data: &[u8],
        out: &mut BytesMut,
        offers: &[O],
    ) -> Result<Turn, HandshakeError> {
        let name = core::str::from_utf8(data).unwrap_or_default();
        let found = find(offers, name).filter(|_| name.len() == data.len());
        let Some((index, offer)) = found else {
            let name = name.to_owned();
            return Err(HandshakeError::UnknownExport { name });
        };
        out.put_u64(offer.size);
        out.put_u16(offer.flags(self.structured));
        if !self.no_zeroes {
            out.put_bytes(0, ZEROES);
        }
        Ok(Turn::Chosen(self.agreed(index, offer)))
    }

    fn info<O: Borrow<Offer>>(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut BytesMut,
        offers: &[O],
    ) -> Turn {
        let Some(request) = InfoRequest::parse(data) else {
            refuse(out, option, answer::INVALID, "a request that is none");
            return Turn::Send;
        };
        let Some((index, offer)) = find(offers, request.name) else {
            refuse(out, option, answer::UNKNOWN, "no such export");
            return Turn::Send;
        };
        request.answer(option, offer, self.structured, out);
        acknowledge(out, option);
        if option == option::GO {
            Turn::Chosen(self.agreed(index, offer))
        } else {
            Turn::Send
        }
    }

    fn contexts<O: Borrow<Offer>>(
        &mut self,
        option: u32,
        data: &[u8],
        out: &mut BytesMut,
        offers: &[O],
    ) {
        let sets = option == option::SET_META_CONTEXT;
        if sets {
            // Also if this one fails, the selection before it is gone.
            self.allocation = None;
        }
        let Some(request) = ContextRequest::parse(data) else {
            refuse(out, option, answer::INVALID, "a request that is none");
            return;
        };
        if !self.structured {
            refuse(out, option, answer::INVALID, "without structured replies");
            return;
        }
        if find(offers, request.name).is_none() {
            refuse(out, option, answer::UNKNOWN, "no such export");
            return;
        }
        let lists = !sets && (request.no_query || request.all_of_base);
        if request.allocation || lists {
            // In a list they have no number.
            let id = if sets { ALLOCATION_ID } else { 0 };
            reply(out, option, answer::META_CONTEXT, |out| {
                out.put_u32(id);
                out.put_slice(ALLOCATION.as_bytes());
            });
        }
        if sets && request.allocation {
            self.allocation = Some(request.name.to_owned());
        }
        acknowledge(out, option);
    }

    fn agreed(&self, index: usize, offer: &Offer) -> Agreed {
        Agreed {
            offer: index,
            structured: self.structured,
            // What was selected for another export does not count.
            allocation: self.allocation.as_ref() == Some(&offer.name),
        }
    }
}

fn find<'o, O: Borrow<Offer>>(offers: &'o [O], name: &str) -> Option<(usize, &'o Offer)> {
    let mut named = offers.iter().map(Borrow::borrow).enumerate();
    named.find(|(_, offer): &(usize, &Offer)| offer.name == name)
}

/// Tells the name of one export, and its description.
fn list(out: &mut BytesMut, offer: &Offer) {
    reply(out, option::LIST, answer::SERVER, |out| {
        // Names are shorter than `MAX_NAME`.
        out.put_u32(u32::try_from(offer.name.len()).unwrap_or(0));
        out.put_slice(offer.name.as_bytes());
        out.put_slice(offer.description.as_bytes());
    });
}

//! What a client asks for, and what is not done (NBD, Request types).

use bytes::Bytes;

use super::offer::Offer;
use super::wire::{ErrorCode, Fields, REQUEST, command, command_flag};

/// A request that the export can do: within its size, in whole blocks, not too long.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a request has these")]
pub struct Request {
    /// By this the client will know the reply.
    pub cookie: u64,
    /// What is to be done.
    pub command: Command,
    /// What it writes has to be durable before it is answered.
    pub durable: bool,
}

/// What is to be done. Offsets and lengths are in octets.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these")]
pub enum Command {
    /// Read.
    Read {
        /// From where.
        offset: u64,
        /// How much; may be 0.
        length: u32,
        /// The data have to come in one piece.
        whole: bool,
    },
    /// Write.
    Write {
        /// Where.
        offset: u64,
        /// What; may be empty.
        data: Bytes,
    },
    /// Make durable every write that was answered.
    Flush,
    /// Forget what is there.
    Trim {
        /// From where.
        offset: u64,
        /// How much; may be 0.
        length: u32,
    },
    /// Write zeroes.
    WriteZeroes {
        /// From where.
        offset: u64,
        /// How much; may be 0.
        length: u32,
        /// The room must not be given back.
        keep: bool,
    },
    /// Tell where something is stored.
    Status {
        /// From where.
        offset: u64,
        /// How much; not 0.
        length: u32,
        /// Only up to the first change.
        one: bool,
    },
}

/// Why a request is not done. The connection goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such command, or it was not agreed on.
    #[error("there is no command {command}")]
    Command {
        /// Its number.
        command: u16,
    },
    /// The command does not have such flags.
    #[error("command {command} does not have the flags {flags:#x}")]
    Flags {
        /// Its number.
        command: u16,
        /// Those that it does not have.
        flags: u16,
    },
    /// The export is read-only.
    #[error("the export is read-only")]
    ReadOnly,
    /// It reaches beyond the end. Where `write` is set, it would have written there.
    #[error("{length} octets from {offset} are more than the {size} of the export")]
    Outside {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
        /// The size of the export.
        size: u64,
        /// Whether it would have written.
        write: bool,
    },
    /// It is not made of whole blocks.
    #[error("{length} octets from {offset} are not whole blocks of {block}")]
    Unaligned {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
        /// The block.
        block: u32,
    },
    /// It is longer than the longest request.
    #[error("{length} octets at once where at most {max} are allowed")]
    TooLong {
        /// How much.
        length: u32,
        /// The limit.
        max: u32,
        /// Whether a read was to come in one piece, which has an error of its own.
        whole: bool,
    },
    /// The status of no octets was asked for.
    #[error("a length of 0")]
    Empty,
    /// Zeroes are written no quicker than other data.
    #[error("zeroes are written no quicker than other data here")]
    NotFast,
}

impl Refusal {
    /// Returns what the client is told (NBD, Error values).
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::ReadOnly => ErrorCode::NotPermitted,
            Self::Outside { write: true, .. } => ErrorCode::NoSpace,
            Self::TooLong { whole: true, .. } => ErrorCode::Overflow,
            Self::NotFast => ErrorCode::NotSupported,
            _ => ErrorCode::Invalid,
        }
    }
}

/// The header of a request, as it is on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) flags: u16,
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Header {
    /// The magic number that was found and the header, if the octets suffice.
    pub(super) fn parse(octets: &[u8]) -> Option<(u32, Self)> {
        let mut fields = Fields(octets);
        let magic = fields.u32()?;
        let header = Self {
            flags: fields.u16()?,
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u32()?,
        };
        Some((magic, header))
    }

    /// Whether the magic number is that of a request.
    pub(super) const fn known(magic: u32) -> bool {
        magic == REQUEST
    }

    /// Whether the client takes its leave.
    pub(super) const fn is_farewell(&self) -> bool {
        self.command == command::DISCONNECT
    }

    /// The octets of data that follow the header, whether the request is done or not.
    pub(super) const fn payload(&self) -> u32 {
        if self.command == command::WRITE {
            self.length
        } else {
            0
        }
    }

    /// Whether data go one way or the other.
    pub(super) const fn carries_data(&self) -> bool {
        matches!(self.command, command::READ | command::WRITE)
    }

    /// Whether it has to be durable before it is answered.
    pub(super) const fn durable(&self) -> bool {
        self.has(command_flag::FUA)
    }

    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// What is to be done; a write gets its data, which are not there yet, later.
    pub(super) fn check(&self, terms: &Terms) -> Result<Command, Refusal> {
        let flags = match self.command {
            command::READ if terms.structured => command_flag::DF,
            command::WRITE_ZEROES => command_flag::NO_HOLE | command_flag::FAST_ZERO,
            command::BLOCK_STATUS => command_flag::REQ_ONE,
            _ => 0,
        };
        let command = self.command;
        let flags = self.flags & !(flags | command_flag::FUA);
        let (offset, length) = (self.offset, self.length);
        let checked = match command {
            command::READ => Command::Read {
                offset,
                length,
                whole: self.has(command_flag::DF),
            },
            command::WRITE => Command::Write {
                offset,
                data: Bytes::new(),
            },
            // Offset and length are reserved; old clients send what they like.
            command::FLUSH => Command::Flush,
            command::TRIM => Command::Trim { offset, length },
            command::WRITE_ZEROES => Command::WriteZeroes {
                offset,
                length,
                keep: self.has(command_flag::NO_HOLE),
            },
            command::BLOCK_STATUS if terms.allocation => Command::Status {
                offset,
                length,
                one: self.has(command_flag::REQ_ONE),
            },
            command => return Err(Refusal::Command { command }),
        };
        if flags != 0 {
            return Err(Refusal::Flags { command, flags });
        }
        if checked != Command::Flush {
            self.check_range(terms)?;
        }
        if command == command::BLOCK_STATUS && length == 0 {
            return Err(Refusal::Empty);
        }
        if self.has(command_flag::FAST_ZERO) && !terms.fast_zeroes {
            return Err(Refusal::NotFast);
        }
        Ok(checked)
    }

    fn check_range(&self, terms: &Terms) -> Result<(), Refusal> {
        let (offset, length, size) = (self.offset, self.length, terms.size);
        let write = matches!(
            self.command,
            command::WRITE | command::TRIM | command::WRITE_ZEROES
        );
        if write && terms.read_only {
            return Err(Refusal::ReadOnly);
        }
        if offset
            .checked_add(u64::from(length))
            .is_none_or(|end| end > size)
        {
            return Err(Refusal::Outside {
                offset,
                length,
                size,
                // To forget what is not there needs no space.
                write: write && self.command != command::TRIM,
            });
        }
        let block = terms.block;
        let mask = u64::from(block) - 1;
        if (offset | u64::from(length)) & mask != 0 {
            return Err(Refusal::Unaligned {
                offset,
                length,
                block,
            });
        }
        if self.carries_data() && length > terms.longest {
            return Err(Refusal::TooLong {
                length,
                max: terms.longest,
                whole: self.has(command_flag::DF),
            });
        }
        Ok(())
    }
}

/// What requests are held against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Terms {
    size: u64,
    block: u32,
    longest: u32,
    read_only: bool,
    fast_zeroes: bool,
    pub(super) structured: bool,
    allocation: bool,
}

impl Terms {
    pub(super) fn new(offer: &Offer, structured: bool, allocation: bool) -> Self {
        Self {
            size: offer.size,
            block: offer.block.get(),
            longest: offer.longest.get(),
            read_only: offer.read_only,
            fast_zeroes: offer.fast_zeroes,
            structured,
            allocation,
        }
    }
}

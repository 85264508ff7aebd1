//! Requests, done by a device.

use std::borrow::ToOwned;
use std::io::{self, ErrorKind};
use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;

use crate::io::block::{BlockDevice, Room};
use crate::nbd::{Command, ErrorCode, Failure, Piece, Replies, Request};

/// The length from which on zeroes are worth being found: to send them takes longer.
const SPARSE: u32 = 4096;

/// What has become of a request.
pub(super) struct Outcome {
    cookie: u64,
    /// The octets of its data, for which there is memory.
    pub(super) admitted: u32,
    result: io::Result<Answer>,
}

enum Answer {
    Done,
    Data {
        offset: u64,
        whole: bool,
        pieces: Vec<Piece>,
    },
    Status(Vec<(u32, bool)>),
}

impl Outcome {
    /// Whether the device has failed.
    pub(super) fn is_failure(&self) -> bool {
        self.result.is_err()
    }

    /// Whether its data have to be sent yet.
    pub(super) fn has_data(&self) -> bool {
        matches!(self.result, Ok(Answer::Data { .. }))
    }

    /// Puts the reply into the queue.
    pub(super) fn reply(self, replies: &mut Replies) {
        let cookie = self.cookie;
        match self.result {
            Ok(Answer::Done) => replies.done(cookie),
            Ok(Answer::Data {
                offset,
                whole,
                pieces,
            }) => replies.data(cookie, offset, whole, pieces),
            Ok(Answer::Status(extents)) => replies.status(cookie, &extents),
            Err(error) => replies.failed(cookie, &failure(&error)),
        }
    }
}

/// Does what is asked for. With `sparse`, a reader is told of zeroes instead of being sent them.
pub(super) async fn perform(device: &dyn BlockDevice, request: Request, sparse: bool) -> Outcome {
    let admitted = match &request.command {
        Command::Read { length, .. } => *length,
        // Requests are no longer than their header can say.
        Command::Write { data, .. } => u32::try_from(data.len()).unwrap_or(u32::MAX),
        _ => 0,
    };
    Outcome {
        cookie: request.cookie,
        admitted,
        result: answer(device, request.command, request.durable, sparse).await,
    }
}

async fn answer(
    device: &dyn BlockDevice,
    command: Command,
    durable: bool,
    sparse: bool,
) -> io::Result<Answer> {
    let writes = match command {
        Command::Read {
            offset,
            length,
            whole,
        } => {
            let pieces = read(device, offset, length, sparse && !whole).await?;
            return Ok(Answer::Data {
                offset,
                whole,
                pieces,
            });
        }
        Command::Status {
            offset,
            length,
            one,
        } => return status(device, offset, length, one).await,
        Command::Flush => {
            device.flush().await?;
            return Ok(Answer::Done);
        }
        Command::Write { data, .. } if data.is_empty() => false,
        Command::Write { offset, data } => {
            device.write(offset, data).await?;
            true
        }
        Command::Trim { length: 0, .. } | Command::WriteZeroes { length: 0, .. } => false,
        Command::Trim { offset, length } => {
            device.discard(offset, u64::from(length)).await?;
            true
        }
        Command::WriteZeroes {
            offset,
            length,
            keep,
        } => {
            let room = if keep { Room::Keep } else { Room::GiveBack };
            device.write_zeroes(offset, u64::from(length), room).await?;
            true
        }
    };
    if writes && durable {
        device.flush().await?;
    }
    Ok(Answer::Done)
}

async fn read(
    device: &dyn BlockDevice,
    offset: u64,
    length: u32,
    sparse: bool,
) -> io::Result<Vec<Piece>> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let parts = device.read(offset, length).await?;
    // The client counts on it, and would take what follows for data.
    if parts.iter().map(Bytes::len).sum::<usize>() != length as usize {
        return Err(io::Error::other("the device has read another length"));
    }
    let piece = |part: Bytes| match u32::try_from(part.len()) {
        Ok(length) if sparse && length >= SPARSE && is_zero(&part) => Piece::Hole(length),
        _ => Piece::Data(part),
    };
    Ok(parts.into_iter().map(piece).collect())
}

/// Whether there is nothing but zeroes. That takes no time where something else comes soon.
fn is_zero(data: &[u8]) -> bool {
    data.chunks(1024)
        .all(|chunk| chunk.iter().fold(0, |seen, octet| seen | octet) == 0)
}

async fn status(
    device: &dyn BlockDevice,
    offset: u64,
    length: u32,
    one: bool,
) -> io::Result<Answer> {
    let mut extents = extents(device, offset, length).await?;
    if one {
        extents.truncate(1);
    }
    if extents.is_empty() {
        return Err(io::Error::other("the device tells nothing of its extents"));
    }
    Ok(Answer::Status(extents))
}

/// The extents of no more than `length` octets; neighbours differ.
async fn extents(
    device: &dyn BlockDevice,
    offset: u64,
    length: u32,
) -> io::Result<Vec<(u32, bool)>> {
    let mut found: Vec<(u32, bool)> = Vec::new();
    let mut left = length;
    for extent in device.extents(offset, u64::from(length)).await? {
        let octets = u32::try_from(extent.length).unwrap_or(u32::MAX).min(left);
        left -= octets;
        match found.last_mut() {
            _ if octets == 0 => {}
            Some((last, hole)) if *hole == extent.hole => *last += octets,
            _ => found.push((octets, extent.hole)),
        }
    }
    Ok(found)
}

/// What the client is told of an error (NBD, Error values).
fn failure(error: &io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorCode::NotPermitted,
        ErrorKind::OutOfMemory => ErrorCode::NoMemory,
        ErrorKind::InvalidInput => ErrorCode::Invalid,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            ErrorCode::NoSpace
        }
        ErrorKind::Unsupported => ErrorCode::NotSupported,
        ErrorKind::NotConnected => ErrorCode::ShuttingDown,
        _ => ErrorCode::Io,
    };
    let message = match code {
        // What it says beyond that is nothing to the client.
        ErrorCode::ShuttingDown => "the device is not in use at the moment".to_owned(),
        _ => error.to_string(),
    };
    Failure { code, message }
}

//! A client's octets played to the machines of the NBD core, in any slicing.

use bytes::{BufMut, BytesMut};
use ha_core::nbd::{
    Agreed, Command, Failure, Handshake, HandshakeError, Next, Offer, Piece, Replies, RequestError,
    Requests, Turn,
};

/// What became of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It has said no more.
    Quiet,
    /// It has left.
    Left,
    /// It has broken the protocol while it chose.
    Handshake(HandshakeError),
    /// It has broken the protocol after that.
    Request(RequestError),
}

/// All that the server saw and said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Transcript {
    pub(crate) answers: Vec<u8>,
    pub(crate) agreed: Option<Agreed>,
    pub(crate) requests: Vec<Next>,
    pub(crate) end: End,
}

/// Two exports: one that may be written, and a small one that may not.
pub(crate) fn offers() -> [Offer; 2] {
    let mut small = Offer::new("small", 4096);
    small.description = "read-only".into();
    small.read_only = true;
    let mut large = Offer::new("", 1 << 40);
    large.longest = large
        .longest
        .min(large.preferred.saturating_mul(large.preferred));
    [large, small]
}

/// Plays a whole connection.
pub(crate) fn play<'o>(octets: impl IntoIterator<Item = &'o [u8]>) -> Transcript {
    let offers = offers();
    let mut octets = octets.into_iter();
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let mut handshake = Handshake::begin(&mut out);
    let agreed = loop {
        match handshake.step(&mut input, &mut out, &offers) {
            Ok(Turn::Receive) => match octets.next() {
                Some(more) => input.extend_from_slice(more),
                None => break Err(End::Quiet),
            },
            Ok(Turn::Send) => {}
            Ok(Turn::Close) => break Err(End::Left),
            Ok(Turn::Chosen(agreed)) => break Ok(agreed),
            Err(error) => break Err(End::Handshake(error)),
        }
    };
    let answers = out.to_vec();
    match agreed {
        Err(end) => Transcript {
            answers,
            agreed: None,
            requests: Vec::new(),
            end,
        },
        Ok(agreed) => {
            let (requests, end) = play_requests(&offers, agreed, input, octets);
            Transcript {
                answers,
                agreed: Some(agreed),
                requests,
                end,
            }
        }
    }
}

/// Plays what follows the handshake.
pub(crate) fn play_requests<'o>(
    offers: &[Offer],
    agreed: Agreed,
    received: BytesMut,
    octets: impl IntoIterator<Item = &'o [u8]>,
) -> (Vec<Next>, End) {
    let offer = &offers[agreed.offer];
    let mut requests = Requests::new(offer, agreed, received);
    let mut octets = octets.into_iter();
    let mut piece: &[u8] = &[];
    let mut seen = Vec::new();
    let mut admitted = 0;
    let mut denied = false;
    loop {
        let next = requests.next(|octets| {
            assert!(
                octets <= offer.longest.get(),
                "more than the longest request"
            );
            // Every other question is answered by no, and has to be asked again.
            denied = !denied;
            if denied {
                return false;
            }
            admitted = octets;
            true
        });
        match next {
            Err(error) => return (seen, End::Request(error)),
            Ok(Next::Disconnect) => return (seen, End::Left),
            Ok(Next::Wait) => assert!(requests.within(), "waits for nothing"),
            Ok(Next::Receive) => {
                while piece.is_empty() {
                    let Some(more) = octets.next() else {
                        return (seen, End::Quiet);
                    };
                    piece = more;
                }
                let mut room = requests.room();
                let count = room.remaining_mut().min(piece.len());
                assert!(count > 0, "no room to receive into");
                let (front, rest) = piece.split_at(count);
                room.put_slice(front);
                piece = rest;
            }
            Ok(next) => {
                if let Next::Request(request) = &next {
                    is_possible(offer, agreed, &request.command, admitted);
                    admitted = 0;
                }
                seen.push(next);
            }
        }
    }
}

/// A request that came out can be done.
fn is_possible(offer: &Offer, agreed: Agreed, command: &Command, admitted: u32) {
    let (offset, length, writes, data) = match command {
        Command::Read { offset, length, .. } => (*offset, u64::from(*length), false, true),
        Command::Write { offset, data } => (*offset, data.len() as u64, true, true),
        Command::Flush => (0, 0, false, false),
        Command::Trim { offset, length } | Command::WriteZeroes { offset, length, .. } => {
            (*offset, u64::from(*length), true, false)
        }
        Command::Status { offset, length, .. } => {
            assert!(
                agreed.allocation && *length > 0,
                "a status nobody agreed on"
            );
            (*offset, u64::from(*length), false, false)
        }
    };
    let block = u64::from(offer.block.get());
    assert!(offset + length <= offer.size, "outside the export");
    assert_eq!((offset | length) % block, 0, "not whole blocks");
    assert!(!writes || !offer.read_only, "writes to what is read-only");
    let needed = if data { length } else { 0 };
    assert_eq!(u64::from(admitted), needed, "memory for its data");
}

/// Answers `requests` with what `choice` gives, and checks that all is sent as it was put in.
pub(crate) fn answer(requests: &[Next], structured: bool, mut choice: impl FnMut() -> u8) {
    let mut replies = Replies::new(structured);
    let mut expected = 0;
    for next in requests {
        match next {
            Next::Refused { cookie, why } => {
                let failure = Failure::from(*why);
                let message = failure.message.len().min(512);
                expected += if structured { 26 + message } else { 16 };
                replies.failed(*cookie, &failure);
            }
            Next::Request(request) => match request.command {
                Command::Read {
                    offset,
                    length,
                    whole,
                } => {
                    let length = length.min(1 << 16);
                    let hole = length.min(u32::from(choice()) * 512);
                    let data = bytes::Bytes::from(vec![choice(); (length - hole) as usize]);
                    expected += match (structured, whole) {
                        (false, _) => 16 + length as usize,
                        (true, _) if length == 0 => 20,
                        (true, true) => 28 + length as usize,
                        (true, false) => {
                            32 * usize::from(hole > 0)
                                + (28 + data.len()) * usize::from(!data.is_empty())
                        }
                    };
                    let pieces = vec![Piece::Hole(hole), Piece::Data(data)];
                    replies.data(request.cookie, offset, whole, pieces);
                }
                Command::Status { length, .. } => {
                    expected += 32;
                    replies.status(request.cookie, &[(length, choice() & 1 == 0)]);
                }
                _ => {
                    expected += 16;
                    replies.done(request.cookie);
                }
            },
            _ => {}
        }
    }
    sends(replies, expected, choice);
}

fn sends(mut replies: Replies, expected: usize, mut choice: impl FnMut() -> u8) {
    use bytes::Buf;

    assert_eq!(replies.remaining(), expected, "octets to be sent");
    let mut sent = 0;
    while replies.has_remaining() {
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let filled = replies.chunks_vectored(&mut slices);
        let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(filled > 0 && slices[..filled].iter().all(|slice| !slice.is_empty()));
        assert_eq!(replies.chunk(), &*slices[0]);
        let count = 1 + usize::from(choice()) * 99 % offered;
        replies.advance(count.min(offered));
        sent += count.min(offered);
        assert_eq!(replies.remaining(), expected - sent);
    }
}

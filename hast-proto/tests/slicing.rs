//! Every cut of a stream decodes the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/wire.rs"]
mod wire;

use bytes::Bytes;
use hast_proto::frame::{Encoder, Frame, FrameError, Phase};
use hast_proto::message::Request;
use hast_proto::{Checksum, Compression, Length, Offset, Sealer, Sequence, Version};

/// Requests of every kind, some with payload.
fn stream() -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut stream = Vec::new();
    let sequence = Sequence::new(7).unwrap();
    let (offset, length) = (Offset::new(4096), Length::new(600));
    let mut requests = vec![
        Request::Keepalive,
        Request::Progress(hast_proto::message::Progress::Agreed),
        Request::Progress(hast_proto::message::Progress::Copying),
        Request::Flush { sequence },
        Request::Read {
            sequence,
            offset,
            length,
        },
    ];
    for compression in [Compression::None, Compression::Hole] {
        for fill in [0, 7] {
            let data = Bytes::from(vec![fill; 600]);
            let payload = Sealer::new(compression, Checksum::Crc32)
                .seal(data)
                .unwrap();
            requests.push(Request::Write {
                sequence,
                offset,
                length,
                memsync: fill == 0,
                payload,
            });
        }
    }
    requests.push(Request::Delete {
        sequence,
        offset,
        length,
    });
    for request in requests {
        stream.extend_from_slice(&request.encode(Version::V2, &mut encoder).concat());
    }
    stream
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<(), FrameError>) {
    wire::decode_frames(&[Phase::Request], pieces)
}

#[test]
fn one_octet_at_a_time_is_as_good_as_all_at_once() {
    let stream = stream();
    let whole = decode([&stream[..]]);
    assert_eq!((whole.0.len(), whole.1), (10, Ok(())));
    for size in 1..=64 {
        assert_eq!(decode(stream.chunks(size)), whole, "pieces of {size}");
    }
}

#[test]
fn every_pair_of_cuts_decodes_the_same() {
    let stream = stream();
    let whole = decode([&stream[..]]);
    for first in 0..=stream.len() {
        let (start, rest) = stream.split_at(first);
        for second in [0, 1, 5, 6, 27, 100, 600] {
            let (middle, end) = rest.split_at(second.min(rest.len()));
            assert_eq!(decode([start, middle, end]), whole, "{first} + {second}");
        }
    }
}

#[test]
fn a_stream_that_ends_early_is_truncated_unless_between_frames() {
    let stream = stream();
    let mut complete = 0;
    for len in 0..=stream.len() {
        let (frames, end) = decode([&stream[..len]]);
        match end {
            Ok(()) => complete += 1,
            Err(error) => {
                assert!(matches!(error, FrameError::Truncated { missing } if missing > 0))
            }
        }
        assert!(frames.len() <= 10);
    }
    // Before the first frame and after each.
    assert_eq!(complete, 11);
}

#[test]
fn an_error_is_the_same_however_it_arrives() {
    let mut stream = stream();
    let at = stream.len();
    stream.extend_from_slice(&[
        2, 22, 0, 0, 0, 0x12, 4, 1, 0, 0, 0, b'c', b'm', b'd', 0, 0, 0, 0,
    ]);
    stream.extend_from_slice(&[0; 32]);
    let whole = decode([&stream[..]]);
    assert!(matches!(whole.1, Err(FrameError::List(_))));
    assert_eq!(whole.0.len(), 10);
    for cut in at..stream.len() {
        let (start, end) = stream.split_at(cut);
        assert_eq!(decode([start, end]), whole, "{cut}");
    }
}

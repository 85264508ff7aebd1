//! What HAST puts on the wire: lists, frames, messages of each phase, payloads.

use core::ops::Range;

use bytes::{Bytes, BytesMut};
use hast_proto::control::{ControlRequest, RoleAnswer, StatusAnswer};
use hast_proto::frame::{Decoder, Encoder, Frame, FrameError, Phase, Segments};
use hast_proto::lzf::{Compressor, decompress};
use hast_proto::message::{Bounds, FirstAnswer, Opening, Reply, Request, SecondAnswer};
use hast_proto::nv::{List, ListBuf, Value, Writer};
use hast_proto::{Checksum, Compression, Length, Payload, Sealer, SectorSize, Version, is_zero};

/// The largest data that a body inflates: larger ones only take time.
const MAX_DATA: u64 = 1 << 20;

/// Any bytes as a list.
///
/// Nothing panics; a valid list is written again as an equal one of the same length, and cut short
/// within a pair it is valid no more; each name finds its first pair (HAST §2.2).
pub fn hast_nv(data: &[u8]) {
    let parsed = List::parse(data);
    let owned = ListBuf::parse(Bytes::copy_from_slice(data));
    assert_eq!(parsed, owned.as_ref().map(ListBuf::as_list).map_err(|e| *e));
    let Ok(list) = parsed else {
        return;
    };
    let octets = list.as_bytes();
    assert!(octets.len() == data.len() || data[octets.len()] == 0);
    let mut written = BytesMut::new();
    let mut ends = vec![0];
    for pair in list {
        Writer::new(&mut written).push(pair.name, pair.value);
        ends.push(written.len());
        if let Ok(name) = core::str::from_utf8(pair.name.as_bytes()) {
            let first = list.pairs().find(|first| first.name == pair.name);
            let expected = first.filter(|_| !name.is_empty()).map(|first| first.value);
            assert_eq!(list.find(name), expected);
            let is_u64 = matches!(expected, Some(Value::U64(_)));
            assert_eq!(list.get::<u64>(name).is_ok(), is_u64);
            assert_eq!(list.contains(name), expected.is_some());
        }
    }
    assert_eq!(written.len(), octets.len());
    assert_eq!(List::parse(&written), Ok(list));
    // The length of a pair tells where it ends, so only there a list may.
    for len in (0..octets.len()).take(512) {
        assert_eq!(List::parse(&octets[..len]).is_ok(), ends.contains(&len));
    }
}

/// A phase, a pattern of slices, and a stream.
///
/// Nothing panics; frames and the error at the end are the same however the stream is sliced; each
/// payload is where it was received, if all was received at once (HAST §2.1).
pub fn hast_frame(data: &[u8]) {
    let [phase, seed, stream @ ..] = data else {
        return;
    };
    let phase = PHASES[usize::from(*phase) % PHASES.len()];
    let mut buffer = BytesMut::from(stream);
    let room = buffer.as_ptr_range();
    let mut decoder = Decoder::new(phase);
    let mut frames = Vec::new();
    let end = loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(frame)) => {
                let payload = frame.payload();
                assert!(payload.is_empty() || room.contains(&payload.as_ptr()));
                frames.push(frame);
            }
            Ok(None) => break decoder.finish(&buffer),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(sliced(phase, *seed, stream), (frames.clone(), end));
    for frame in frames {
        let written = frame.encode(&mut Encoder::new());
        assert_eq!(received(phase, &written), Ok(frame));
    }
}

const PHASES: [Phase; 5] = [
    Phase::Opening,
    Phase::Answer,
    Phase::Request,
    Phase::Reply,
    Phase::Control,
];

/// Decodes a stream in slices whose lengths a generator draws.
fn sliced(phase: Phase, seed: u8, stream: &[u8]) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(phase);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    let mut state = u32::from(seed) | 0x100;
    let mut rest = stream;
    loop {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        if rest.is_empty() {
            return (frames, decoder.finish(&buffer));
        }
        assert!(decoder.wanted() > 0, "something is always wanted");
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if state & 0x8000 == 0 { 8 } else { 256 };
        let len = rest.len().min(1 + (state >> 16) as usize % most);
        let (slice, others) = rest.split_at(len);
        buffer.extend_from_slice(slice);
        rest = others;
    }
}

/// A written frame, received in one piece.
fn received(phase: Phase, segments: &Segments) -> Result<Frame, FrameError> {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let mut decoder = Decoder::new(phase);
    let frame = decoder.decode(&mut buffer)?;
    decoder.finish(&buffer)?;
    frame.ok_or(FrameError::Truncated { missing: 0 })
}

/// A frame around the list in `data`; after a zero that ends it comes the payload, which is cut or
/// filled up to the length that the list gives it.
fn frame(phase: Phase, data: &[u8]) -> Option<Frame> {
    let list = List::parse(data).ok()?;
    let len = list.get::<u32>("size").unwrap_or(0);
    let len = usize::try_from(len).ok().filter(|len| *len <= 1 << 17)?;
    let mut payload = data
        .get(list.as_bytes().len() + 1..)
        .unwrap_or(&[])
        .to_vec();
    payload.resize(len, 0);
    let segments = Encoder::new().encode(Version::V2, list, payload.into())?;
    received(phase, &segments).ok()
}

/// Opens a payload with lengths around the right one: no other works.
fn open(payload: &Payload, length: Length) -> Option<Bytes> {
    let around: Range<u64> = length.get().saturating_sub(1)..length.get().saturating_add(2);
    let mut opened = around
        .filter(|length| *length <= MAX_DATA)
        .filter_map(|length| {
            let data = payload.open(Length::new(length)).ok()?;
            assert_eq!(Length::of(&data), Length::new(length));
            Some(data)
        });
    let data = opened.next();
    assert!(opened.next().is_none(), "data of one length only");
    data
}

/// A list, and a payload, as the first message on a connection (HAST §1.4, §1.5).
///
/// In this and the other messages nothing panics, and what is understood is written as something
/// that is understood alike.
pub fn hast_opening(data: &[u8]) {
    let Some(frame) = frame(Phase::Opening, data) else {
        return;
    };
    if let Ok(message) = Opening::decode(&frame) {
        let written = message.encode(Version::V1, &mut Encoder::new());
        let again = received(Phase::Opening, &written).expect("what was written is a frame");
        assert_eq!(Opening::decode(&again), Ok(message));
    }
}

/// A list, and a payload, as either answer of a handshake (HAST §1.4, §1.5).
pub fn hast_answer(data: &[u8]) {
    let Some(frame) = frame(Phase::Answer, data) else {
        return;
    };
    if let Ok(message) = FirstAnswer::decode(&frame) {
        let written = message.encode(&mut Encoder::new());
        let again = received(Phase::Answer, &written).expect("what was written is a frame");
        assert_eq!(FirstAnswer::decode(&again), Ok(message));
    }
    if let Ok(message) = SecondAnswer::decode(&frame) {
        let written = message.encode(Version::V2, &mut Encoder::new());
        let again = received(Phase::Answer, &written).expect("what was written is a frame");
        let map = match &message {
            SecondAnswer::Accepted(accepted) => accepted.map.as_ref(),
            SecondAnswer::Refused { map, .. } => map.as_ref(),
        };
        if let Some(map) = map.filter(|map| map.size().get() <= MAX_DATA) {
            let opened = map.open(map.size());
            assert!(opened.is_err() || opened.is_ok_and(|map| !map.is_empty()));
        }
        assert_eq!(SecondAnswer::decode(&again), Ok(message));
    }
}

/// A list, and a payload, as a request (HAST §3.1, §7.2).
///
/// What is within bounds is a request, ends within the data, and is refused by no check alone; a
/// refusal can be sent.
pub fn hast_request(data: &[u8]) {
    let Some(frame) = frame(Phase::Request, data) else {
        return;
    };
    let bounds = Bounds {
        data_size: Length::new(1 << 30),
        sector_size: SectorSize::DEFAULT,
        max_transfer: Length::MAX_TRANSFER_13,
    };
    let bounded = bounds.decode(&frame);
    match Request::decode(&frame) {
        Ok(request) => {
            assert_eq!(
                bounds.check(&request).err(),
                bounded.as_ref().err().copied()
            );
            if let (Ok(_), Some((offset, length))) = (&bounded, request.range()) {
                let end = offset.checked_add(length).expect("within bounds");
                assert!(end.get() <= bounds.data_size.get());
            }
            if let Request::Write {
                length, payload, ..
            } = &request
            {
                open(payload, *length);
            }
            let written = request.encode(Version::V2, &mut Encoder::new());
            let again = received(Phase::Request, &written).expect("what was written is a frame");
            assert_eq!(Request::decode(&again), Ok(request));
        }
        Err(error) => {
            assert!(bounded.is_err());
            if let Some(reply) = error.reply() {
                assert_eq!(reply.sequence(), error.sequence);
                let written = reply.encode(Version::V2, &mut Encoder::new());
                let again = received(Phase::Reply, &written).expect("what was written is a frame");
                assert_eq!(Reply::decode(&again), Ok(reply));
            }
        }
    }
}

/// A list, and a payload, as a reply (HAST §3.2).
pub fn hast_reply(data: &[u8]) {
    let Some(frame) = frame(Phase::Reply, data) else {
        return;
    };
    if let Ok(reply) = Reply::decode(&frame) {
        if let Reply::Data { payload, .. } = &reply {
            // What a payload announces is in its first octets, if it is compressed.
            let announced = payload
                .wire_bytes()
                .first_chunk()
                .map_or(0, |n| u32::from_le_bytes(*n));
            open(payload, Length::new(announced.into()));
            open(payload, Length::of(payload.wire_bytes()));
        }
        let written = reply.encode(Version::V2, &mut Encoder::new());
        let again = received(Phase::Reply, &written).expect("what was written is a frame");
        assert_eq!(Reply::decode(&again), Ok(reply));
    }
}

/// A list as any message of the control protocol (HAST §9.5).
pub fn hast_control(data: &[u8]) {
    let Some(frame) = frame(Phase::Control, data) else {
        return;
    };
    let encoder = &mut Encoder::new();
    let again = |written| received(Phase::Control, &written).expect("what was written is a frame");
    match ControlRequest::decode(&frame) {
        Ok(request) => {
            let written = again(request.encode(encoder));
            assert_eq!(ControlRequest::decode(&written), Ok(request));
        }
        Err(error) => {
            if let Some(fault) = error.fault() {
                let answer = StatusAnswer::refused(fault);
                assert_eq!(
                    StatusAnswer::decode(&again(answer.encode(encoder))),
                    Ok(answer)
                );
            }
        }
    }
    if let Ok(answer) = RoleAnswer::decode(&frame) {
        assert_eq!(
            RoleAnswer::decode(&again(answer.encode(encoder))),
            Ok(answer)
        );
    }
    if let Ok(answer) = StatusAnswer::decode(&frame) {
        assert_eq!(
            StatusAnswer::decode(&again(answer.encode(encoder))),
            Ok(answer)
        );
    }
}

/// Room for the output, and a stream of LZF, which are also data to be compressed.
///
/// The output is what the format's description says, octet by octet; what is compressed is
/// decompressed to the same, whatever the compressor has seen before (HAST §3.5).
pub fn hast_lzf(data: &[u8]) {
    let [low, high, stream @ ..] = data else {
        return;
    };
    let room = usize::from(u16::from_le_bytes([*low, *high]));
    let mut output = vec![0xee; room];
    let written = decompress(stream, &mut output).ok();
    assert_eq!(
        written.map(|len| &output[..len]),
        plainly(stream, room).as_deref()
    );
    let mut compressor = Compressor::new();
    let mut compressed = vec![0; stream.len() + stream.len() / 32 + 1];
    for _ in 0..2 {
        let len = compressor
            .compress(stream, &mut compressed)
            .expect("room for literals");
        let mut output = vec![0; stream.len()];
        assert_eq!(
            decompress(&compressed[..len], &mut output),
            Ok(stream.len())
        );
        assert_eq!(output, stream);
        if let Some(short) = len.checked_sub(1) {
            assert_eq!(compressor.compress(stream, &mut compressed[..short]), None);
        }
    }
}

/// LZF as its description reads, one octet at a time.
fn plainly(stream: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut input = stream.iter().copied().map(usize::from);
    let mut output = Vec::new();
    while let Some(control) = input.next() {
        let mut len = (control >> 5) + 2;
        if control < 32 {
            for _ in 0..=control {
                output.push(u8::try_from(input.next()?).ok()?);
            }
        } else {
            if len == 9 {
                len += input.next()?;
            }
            let distance = ((control & 31) << 8 | input.next()?) + 1;
            for _ in 0..len {
                output.push(*output.get(output.len().checked_sub(distance)?)?);
            }
        }
        if output.len() > room {
            return None;
        }
    }
    Some(output)
}

/// How data are to be sealed, and the data, of which an octet may be set in a field of zeros.
///
/// Zeros and nothing else become a hole; what is sealed opens to the same, with its own length
/// only; what is not smaller is sent from where it is (HAST §3.5).
pub fn hast_hole(data: &[u8]) {
    let [how, at, len, data @ ..] = data else {
        return;
    };
    let compression =
        [Compression::None, Compression::Hole, Compression::Lzf][usize::from(*how) % 3];
    let checksum = [Checksum::None, Checksum::Crc32, Checksum::Sha256][usize::from(*how) / 3 % 3];
    let mut zeros = vec![0; usize::from(*len) * 16];
    if let Some(octet) = zeros.get_mut(usize::from(*at) * 16) {
        *octet = how >> 6;
    }
    let mut sealer = Sealer::new(compression, checksum);
    for data in [data.to_vec(), zeros] {
        let zero = data.iter().all(|octet| *octet == 0);
        assert_eq!(is_zero(&data), zero);
        let data = Bytes::from(data);
        let Some(payload) = sealer.seal(data.clone()) else {
            assert!(data.is_empty());
            continue;
        };
        let hole = zero && compression != Compression::None;
        assert_eq!(payload.compression() == Compression::Hole, hole);
        if payload.compression() == Compression::None {
            assert_eq!(payload.wire_bytes().as_ptr(), data.as_ptr());
        } else if !hole {
            assert!(payload.wire_bytes().len() + 1020 <= data.len());
        }
        assert_eq!(open(&payload, Length::of(&data)), Some(data));
    }
}

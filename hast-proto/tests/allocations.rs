//! What decoding and encoding allocate, counted: no payload octet is copied, and nobody makes a
//! decoder take more memory than its limits.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

#[path = "common/counting.rs"]
mod counting;

use bytes::{Buf, Bytes, BytesMut};
use counting::allocated;
use hast_proto::control::{
    Connection, ControlFault, ControlRequest, ResourceStatus, Resources, RoleAnswer, StatusAnswer,
    Worker,
};
use hast_proto::frame::{
    Decoder, Encoder, Frame, HEADER_LEN, MAX_CONTROL_LIST, MAX_LIST, MAX_MAP, MAX_OPENING,
    MAX_PAYLOAD, Phase, Segments,
};
use hast_proto::lzf::decompress;
use hast_proto::message::{
    Accepted, FirstAnswer, FirstStep, Map, Opening, Progress, Refusal, Refused, Reply, Request,
    SecondAnswer, SecondStep, Standing, Welcome,
};
use hast_proto::nv::{List, Name, Text, Value, Writer};
use hast_proto::{
    Checksum, Compression, Counters, Errno, ExtentSize, Length, Offset, Payload, Replication,
    ResourceId, ResourceName, Role, Sealer, Sequence, SyncSource, Token, Version,
};

const BLOCK: usize = 128 * 1024;

fn write(number: u64, data: Bytes) -> Request {
    Request::Write {
        sequence: Sequence::new(number).unwrap(),
        offset: Offset::new(number << 17),
        length: Length::of(&data),
        memsync: true,
        payload: Payload::plain(data).unwrap(),
    }
}

/// The payload of a WRITE, opened.
fn open(decoder: &mut Decoder, buffer: &mut BytesMut) -> Option<Bytes> {
    let frame = decoder.decode(buffer).unwrap()?;
    let Ok(Request::Write {
        length, payload, ..
    }) = Request::decode(&frame)
    else {
        panic!("{frame:?}");
    };
    Some(payload.open(length).unwrap())
}

#[test]
fn writes_received_in_one_buffer_are_opened_where_they_are() {
    let mut encoder = Encoder::new();
    let mut buffer = BytesMut::new();
    let mut expected = Vec::new();
    for number in 1..=16 {
        let data = Bytes::from(vec![0x5a; BLOCK]);
        let segments = write(number, data).encode(Version::V2, &mut encoder);
        buffer.extend_from_slice(&segments.header);
        buffer.extend_from_slice(&segments.list);
        expected.push(buffer.len());
        buffer.extend_from_slice(&segments.payload);
    }
    let start = buffer.as_ptr();
    let mut decoder = Decoder::new(Phase::Request);
    let (blocks, allocated) = allocated(|| {
        let mut blocks = Vec::with_capacity(16);
        while let Some(block) = open(&mut decoder, &mut buffer) {
            blocks.push(block);
        }
        blocks
    });
    assert_eq!(blocks.len(), 16);
    for (block, offset) in blocks.iter().zip(expected) {
        assert_eq!(
            block.as_ptr(),
            start.wrapping_add(offset),
            "the payload has been moved"
        );
        assert_eq!(block.len(), BLOCK);
    }
    // The vector, and what shares the buffer among its slices.
    assert!(allocated.octets < 2048, "{allocated:?}");
}

#[test]
fn a_reader_that_takes_what_is_wanted_never_sees_a_payload_moved() {
    let mut encoder = Encoder::new();
    let mut stream = BytesMut::new();
    for number in 1..=16 {
        let data = Bytes::from(vec![0x5a; BLOCK]);
        for segment in write(number, data).encode(Version::V2, &mut encoder) {
            stream.extend_from_slice(&segment);
        }
    }
    let mut stream = stream.freeze();
    let mut decoder = Decoder::new(Phase::Request);
    let mut buffer = BytesMut::new();
    let mut blocks = 0;
    // Where each reading of a payload began, as a socket would have been told to put it.
    let mut written_at = None;
    while stream.has_remaining() {
        match open(&mut decoder, &mut buffer) {
            Some(block) => {
                assert_eq!(
                    Some(block.as_ptr()),
                    written_at,
                    "the payload has been moved"
                );
                blocks += 1;
                written_at = None;
            }
            None => {
                // A socket gives a piece of what is wanted.
                let piece = decoder.wanted().min(32_768);
                assert!(
                    buffer.capacity() >= buffer.len() + decoder.wanted() || piece <= HEADER_LEN
                );
                let taken = stream.copy_to_bytes(piece.min(stream.len()));
                buffer.extend_from_slice(&taken);
                if decoder.wanted() > MAX_LIST && written_at.is_none() {
                    written_at = Some(buffer.as_ptr());
                }
            }
        }
    }
    assert!(open(&mut decoder, &mut buffer).is_some());
    assert_eq!(blocks, 15);
}

#[test]
fn writes_are_sent_from_where_they_are() {
    let data = Bytes::from(vec![0x5a; BLOCK]);
    let mut encoder = Encoder::new();
    let (_, allocated) = allocated(|| {
        for number in 1..=1000 {
            let request = write(number, data.clone());
            let segments = request.encode(Version::V2, &mut encoder);
            assert_eq!(segments.payload.as_ptr(), data.as_ptr());
        }
    });
    // One buffer of some kilobytes for all headers and lists, as each is dropped when sent.
    assert!(allocated.octets < 64 * 1024, "{allocated:?}");
}

#[test]
fn decompressing_allocates_nothing() {
    let mut output = vec![0; 4096];
    let stream = [&[0, 0x41][..], &[0xe0, 0xff, 0].repeat(15)].concat();
    let (written, allocated) = allocated(|| decompress(&stream, &mut output));
    assert_eq!(written, Ok(1 + 15 * 264));
    assert_eq!(allocated.times, 0);
}

/// A header, and then a list that says so much payload follows.
fn boast(size: u32) -> Vec<u8> {
    let mut octets = vec![2, 22, 0, 0, 0, 6, 5, 4, 0, 0, 0];
    octets.extend_from_slice(b"size\0\0\0\0");
    octets.extend_from_slice(&size.to_le_bytes());
    octets.extend_from_slice(&[0; 4]);
    octets
}

#[test]
fn no_length_from_the_wire_takes_more_memory_than_its_limit() {
    for (phase, list, payload) in [
        (Phase::Opening, MAX_LIST, MAX_OPENING),
        (Phase::Answer, MAX_LIST, MAX_MAP),
        (Phase::Request, MAX_LIST, MAX_PAYLOAD),
        (Phase::Reply, MAX_LIST, MAX_PAYLOAD),
        (Phase::Control, MAX_CONTROL_LIST, 0),
    ] {
        for power in 0..32 {
            for size in [1_u32 << power, (1 << power) - 1, u32::MAX - power] {
                let mut header = vec![2];
                header.extend_from_slice(&size.to_le_bytes());
                for (octets, limit) in [(header, list), (boast(size), payload.max(list))] {
                    let mut buffer = BytesMut::from(&octets[..]);
                    let mut decoder = Decoder::new(phase);
                    let (_, allocated) = allocated(|| decoder.decode(&mut buffer).is_ok());
                    // Room for the limit beside what was there, and what shares a buffer.
                    let most = limit + 256;
                    assert!(allocated.peak <= most, "{phase:?} {size} {allocated:?}");
                    if size as usize > limit {
                        assert!(allocated.peak < 256, "{phase:?} {size} {allocated:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_length_inside_a_payload_takes_more_memory_than_expected() {
    for (compression, len) in [("hole", 4), ("lzf", 5), ("lzf", 64)] {
        for announced in [0, 1, 511, 512, 513, 2048, 1 << 20, u32::MAX] {
            for expected in [512, 2048] {
                let mut octets = announced.to_le_bytes().to_vec();
                octets.resize(len, 0);
                let payload = received(compression, &octets);
                let (_, allocated) = allocated(|| payload.open(Length::new(expected)).is_ok());
                let expected = usize::try_from(expected).unwrap();
                assert!(
                    allocated.octets <= expected + 64,
                    "{announced} {allocated:?}"
                );
                if announced as usize != expected {
                    assert_eq!(allocated.times, 0, "{announced}");
                }
            }
        }
    }
}

/// A payload as a peer may send it.
fn received(compression: &str, octets: &[u8]) -> Payload {
    let mut list = BytesMut::new();
    let mut writer = Writer::new(&mut list);
    let mut push = |name: &str, value| {
        writer.push(Name::new(name.as_bytes()).unwrap(), value);
    };
    push("seq", Value::U64(1));
    push(
        "compression",
        Value::String(Text::new(compression.as_bytes()).unwrap()),
    );
    push("size", Value::U32(u32::try_from(octets.len()).unwrap()));
    let list = List::parse(&list).unwrap();
    let segments = Encoder::new()
        .encode(Version::V2, list, Bytes::copy_from_slice(octets))
        .unwrap();
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let frame = Decoder::new(Phase::Reply)
        .decode(&mut buffer)
        .unwrap()
        .unwrap();
    match Reply::decode(&frame).unwrap() {
        Reply::Data { payload, .. } => payload,
        other => panic!("{other:?}"),
    }
}

/// A frame as received, with room in its list for nothing more: what a message leaves is taken by
/// a pair that it does not know.
fn filled(phase: Phase, message: &Segments) -> Frame {
    let mut list = BytesMut::from(&message.list[..]);
    let room = phase.limits().list - list.len();
    // One more pair: 6 octets, a name of 8, and a text of as many eights as there is room for.
    if let Some(eights @ 1..) = room.checked_sub(14).map(|room| room / 8) {
        let text = vec![b'x'; eights * 8 - 1];
        let text = Value::String(Text::new(&text).unwrap());
        Writer::new(&mut list).push(Name::new(b"x").unwrap(), text);
    }
    assert!(list.len() > phase.limits().list - 22);
    let list = List::parse(&list).unwrap();
    let segments = Encoder::new()
        .encode(Version::V2, list, message.payload.clone())
        .unwrap();
    frame(phase, &segments)
}

fn frame(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let mut decoder = Decoder::new(phase);
    decoder.decode(&mut buffer).unwrap().unwrap()
}

/// The most that reading a message holds at once, the message included.
fn peak<T, E: core::fmt::Debug>(decode: impl FnOnce() -> Result<T, E>) -> usize {
    let (message, allocated) = allocated(decode);
    assert!(message.is_ok(), "{:?}", message.err());
    allocated.peak
}

/// A text with which a list that is so long without it is as long as lists may be.
fn longest_text(without: usize) -> String {
    "x".repeat((MAX_LIST - without) / 8 * 8 + 7)
}

const SEQUENCE: Sequence = Sequence::SYNCHRONISATION;

#[test]
fn an_opening_takes_no_more_memory_than_its_name() {
    let resource = ResourceName::new(&"n".repeat(ResourceName::MAX_LEN)).unwrap();
    for opening in [
        Opening::First(FirstStep {
            resource: resource.clone(),
            version: Some(2),
        }),
        Opening::Second(SecondStep {
            resource,
            token: Token::new([7; 16]),
            virgin: true,
            resource_id: ResourceId::new(u64::MAX),
            counters: Counters::default(),
            reunion: None,
        }),
    ] {
        let message = opening.encode(Version::V2, &mut Encoder::new());
        let frame = filled(Phase::Opening, &message);
        assert_eq!(Opening::decode(&frame), Ok(opening));
        assert_eq!(peak(|| Opening::decode(&frame)), ResourceName::MAX_LEN);
    }
}

fn standing() -> Standing {
    Standing {
        data_size: Length::new(1 << 48),
        extent_size: ExtentSize::MAX,
        counters: Counters::default(),
    }
}

#[test]
fn a_consent_takes_no_memory() {
    let encoder = &mut Encoder::new();
    let welcome = FirstAnswer::Welcome(Welcome {
        version: Some(Version::V2),
        token: Token::new([7; 16]),
        reunion: false,
    });
    let frame = filled(Phase::Answer, &welcome.encode(encoder));
    assert_eq!(peak(|| FirstAnswer::decode(&frame)), 0);
    let mut sealer = Sealer::new(Compression::None, Checksum::Crc32);
    let map = sealer.seal(vec![7; MAX_MAP].into()).unwrap();
    let size = u32::try_from(MAX_MAP).unwrap();
    let accepted = SecondAnswer::Accepted(Accepted {
        standing: standing(),
        virgin: true,
        source: SyncSource::Secondary,
        map: Map::new(size, map),
    });
    let frame = filled(Phase::Answer, &accepted.encode(Version::V2, encoder));
    assert_eq!(SecondAnswer::decode(&frame), Ok(accepted));
    assert_eq!(peak(|| SecondAnswer::decode(&frame)), 0);
}

#[test]
fn a_refusal_takes_no_more_memory_than_its_frame() {
    let encoder = &mut Encoder::new();
    let refused = |text: &str, wait| Refused {
        reason: Refusal::parse(text),
        wait,
    };
    let first = |text: &str| FirstAnswer::Refused(refused(text, true));
    let second = |text: &str| SecondAnswer::Refused {
        standing: Some(standing()),
        refused: refused(text, false),
        map: None,
    };
    for start in ["", "Remote node was unable to send response: "] {
        let text = longest_text(first("").encode(encoder).list.len());
        let text = format!("{start}{}.", &text[start.len() + 1..]);
        let frame = filled(Phase::Answer, &first(&text).encode(encoder));
        assert_eq!(FirstAnswer::decode(&frame), Ok(first(&text)));
        assert!(peak(|| FirstAnswer::decode(&frame)) <= text.len());

        let text = longest_text(second("").encode(Version::V2, encoder).list.len());
        let text = format!("{start}{}.", &text[start.len() + 1..]);
        let frame = filled(Phase::Answer, &second(&text).encode(Version::V2, encoder));
        assert_eq!(SecondAnswer::decode(&frame), Ok(second(&text)));
        assert!(peak(|| SecondAnswer::decode(&frame)) <= text.len());
    }
    // Each octet that is no text becomes three.
    let mut list = BytesMut::new();
    let text = vec![0xff; MAX_LIST - 22];
    let text = Value::String(Text::new(&text).unwrap());
    Writer::new(&mut list).push(Name::new(b"errmsg").unwrap(), text);
    let list = List::parse(&list).unwrap();
    let segments = encoder.encode(Version::V2, list, Bytes::new()).unwrap();
    let frame = frame(Phase::Answer, &segments);
    let most = peak(|| FirstAnswer::decode(&frame));
    assert!(most <= 8 * MAX_LIST, "{most}");
}

#[test]
fn requests_and_replies_take_no_memory() {
    let encoder = &mut Encoder::new();
    let length = Length::new(MAX_PAYLOAD as u64);
    let offset = Offset::new(1 << 40);
    let mut sealer = Sealer::new(Compression::None, Checksum::Sha256);
    let payload = sealer.seal(vec![7; MAX_PAYLOAD].into()).unwrap();
    for request in [
        Request::Read {
            sequence: SEQUENCE,
            offset,
            length,
        },
        Request::Write {
            sequence: SEQUENCE,
            offset,
            length,
            memsync: true,
            payload: payload.clone(),
        },
        Request::Delete {
            sequence: SEQUENCE,
            offset,
            length,
        },
        Request::Flush { sequence: SEQUENCE },
        Request::Keepalive,
        Request::Progress(Progress::Agreed),
    ] {
        let frame = filled(Phase::Request, &request.encode(Version::V2, encoder));
        assert_eq!(Request::decode(&frame).as_ref(), Ok(&request));
        assert_eq!(peak(|| Request::decode(&frame)), 0, "{request:?}");
    }
    for reply in [
        Reply::Received { sequence: SEQUENCE },
        Reply::Done { sequence: SEQUENCE },
        Reply::Data {
            sequence: SEQUENCE,
            payload,
        },
        Reply::Failed {
            sequence: Some(SEQUENCE),
            received: true,
            error: Errno::EIO,
        },
    ] {
        let frame = filled(Phase::Reply, &reply.encode(Version::V2, encoder));
        assert_eq!(Reply::decode(&frame).as_ref(), Ok(&reply));
        assert_eq!(peak(|| Reply::decode(&frame)), 0, "{reply:?}");
    }
}

/// The longest message of the control protocol about so many resources as fit.
fn longest(encode: impl Fn(usize) -> Segments) -> Frame {
    let len = |count| encode(count).list.len();
    let mut count = MAX_CONTROL_LIST / (len(2) - len(1));
    // Their numbers get longer.
    while len(count) > MAX_CONTROL_LIST {
        count = (count * MAX_CONTROL_LIST / len(count)).min(count - 1);
    }
    let frame = frame(Phase::Control, &encode(count));
    assert!(frame.list().as_bytes().len() > MAX_CONTROL_LIST * 9 / 10);
    frame
}

/// Checks the documented limit: sixteen octets for each of the longest list.
fn assert_bounded<T, E: core::fmt::Debug>(
    what: &str,
    frame: &Frame,
    decode: impl FnOnce(&Frame) -> Result<T, E>,
) {
    let most = peak(|| decode(frame));
    let list = frame.list().as_bytes().len();
    println!("{what}: {most} octets for a list of {list}");
    assert!(most <= 16 * list, "{what}: {most} for {list}");
}

fn names(count: usize) -> impl Iterator<Item = ResourceName> {
    let name = ResourceName::new("n").unwrap();
    core::iter::repeat_n(name, count)
}

#[test]
fn control_messages_take_sixteen_times_their_list_at_most() {
    let encoder = Encoder::new;
    let request = |request: fn(Resources) -> ControlRequest| {
        longest(|count| request(Resources::Named(names(count).collect())).encode(&mut encoder()))
    };
    let frame = request(|names| ControlRequest::SetRole(Role::Secondary, names));
    assert_bounded("order", &frame, ControlRequest::decode);
    let frame = request(ControlRequest::Status);
    assert_bounded("question", &frame, ControlRequest::decode);

    for (what, role) in [
        ("roles", Ok(Role::Init)),
        ("no roles", Err(ControlFault::NoEntry)),
    ] {
        let frame = longest(|count| {
            let answer = RoleAnswer {
                resources: names(count).map(|name| (name, role)).collect(),
                fault: Some(ControlFault::Other(60)),
            };
            answer.encode(&mut encoder())
        });
        assert_bounded(what, &frame, RoleAnswer::decode);
    }

    let status = |text: &str, worker| ResourceStatus {
        provider: text.into(),
        local: text.into(),
        remote: text.into(),
        source: Some(text.into()),
        replication: Replication::Fullsync,
        checksum: Checksum::None,
        compression: Compression::Hole,
        role: Role::Secondary,
        worker,
        split_brain: None,
    };
    let worker = Worker {
        pid: i32::MAX,
        connection: Connection::Degraded,
        dirty: u64::MAX,
        extent_size: u32::MAX,
        keep_dirty: u32::MAX,
        statistics: Default::default(),
        queues: Default::default(),
    };
    for (what, status) in [
        ("faults", Err(ControlFault::NoEntry)),
        ("idle resources", Ok(status("", None))),
        ("resources", Ok(status("", Some(worker)))),
        ("long paths", Ok(status(&"p".repeat(1023), Some(worker)))),
    ] {
        let frame = longest(|count| {
            let answer = StatusAnswer {
                resources: names(count).map(|name| (name, status.clone())).collect(),
                fault: None,
            };
            answer.encode(&mut encoder())
        });
        assert_bounded(what, &frame, StatusAnswer::decode);
    }

    // As many pairs as fit, none of which means anything.
    let mut list = BytesMut::new();
    Writer::new(&mut list).push(Name::new(b"error").unwrap(), Value::I16(0));
    for number in 0..MAX_CONTROL_LIST / 22 - 1 {
        let name = format!("{number:x}");
        Writer::new(&mut list).push(Name::new(name.as_bytes()).unwrap(), Value::U8(0));
    }
    let list = List::parse(&list).unwrap();
    let segments = Encoder::new().encode(Version::V2, list, Bytes::new());
    let frame = self::frame(Phase::Control, &segments.unwrap());
    assert_bounded("strange pairs", &frame, StatusAnswer::decode);
}

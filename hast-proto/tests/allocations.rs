//! What decoding and encoding allocate, counted: no payload octet is copied, and nobody makes a
//! decoder take more memory than its limits.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use bytes::{Buf, Bytes, BytesMut};
use hast_proto::control::{ControlRequest, StatusAnswer};
use hast_proto::frame::{
    Decoder, Encoder, HEADER_LEN, MAX_CONTROL_LIST, MAX_LIST, MAX_MAP, MAX_PAYLOAD, Phase,
};
use hast_proto::lzf::decompress;
use hast_proto::message::{FirstAnswer, Opening, Reply, Request, SecondAnswer};
use hast_proto::{Length, Offset, Payload, Sequence, Version};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates on its own ones.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static OCTETS: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    OCTETS.set(OCTETS.get() + size);
    LARGEST.set(LARGEST.get().max(size));
}

// SAFETY: every call goes to the system's allocator unchanged. Counting allocates nothing: the
// cells are initialised at compile time and have no destructor.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: `pointer` came from `System` with this `layout`; `size` is the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What some work has allocated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Allocated {
    times: usize,
    octets: usize,
    largest: usize,
}

fn allocated<T>(work: impl FnOnce() -> T) -> (T, Allocated) {
    LARGEST.set(0);
    let (times, octets) = (ALLOCATIONS.get(), OCTETS.get());
    let result = work();
    let allocated = Allocated {
        times: ALLOCATIONS.get() - times,
        octets: OCTETS.get() - octets,
        largest: LARGEST.get(),
    };
    (result, allocated)
}

#[test]
fn the_counter_counts() {
    let (octets, allocated) = allocated(|| vec![0_u8; 1000]);
    assert_eq!(
        (octets.len(), allocated.times, allocated.largest),
        (1000, 1, 1000)
    );
}

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
        (Phase::Opening, MAX_LIST, 0),
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
                    assert!(allocated.largest <= most, "{phase:?} {size} {allocated:?}");
                    if size as usize > limit {
                        assert!(allocated.largest < 256, "{phase:?} {size} {allocated:?}");
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
    use hast_proto::nv::{List, Name, Text, Value, Writer};
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

#[test]
fn messages_take_no_more_memory_than_their_frames() {
    // The longest control request: names of one octet, as many as the limit allows.
    let mut list = BytesMut::new();
    let mut writer = hast_proto::nv::Writer::new(&mut list);
    use hast_proto::nv::{List, Name, Text, Value};
    writer.push(Name::new(b"cmd").unwrap(), Value::U8(2));
    for number in 0.. {
        let name = format!("resource{number}");
        writer.push(
            Name::new(name.as_bytes()).unwrap(),
            Value::String(Text::new(b"x").unwrap()),
        );
        if number * 30 > MAX_CONTROL_LIST - 200 {
            break;
        }
    }
    assert!(list.len() <= MAX_CONTROL_LIST && list.len() > MAX_CONTROL_LIST / 2);
    let list = List::parse(&list).unwrap();
    let segments = Encoder::new()
        .encode(Version::V2, list, Bytes::new())
        .unwrap();
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let frame = Decoder::new(Phase::Control)
        .decode(&mut buffer)
        .unwrap()
        .unwrap();
    let (_, taken) = allocated(|| ControlRequest::decode(&frame).is_ok());
    assert!(taken.largest <= 2 * MAX_CONTROL_LIST, "{taken:?}");
    let (_, taken) = allocated(|| StatusAnswer::decode(&frame).is_ok());
    assert!(taken.largest <= 2 * MAX_CONTROL_LIST, "{taken:?}");
    // The others keep at most a name or a text of the list.
    let (_, taken) = allocated(|| {
        let _ = Opening::decode(&frame).is_ok();
        let _ = FirstAnswer::decode(&frame).is_ok();
        let _ = SecondAnswer::decode(&frame).is_ok();
        let _ = Request::decode(&frame).is_ok();
        let _ = Reply::decode(&frame).is_ok();
    });
    assert!(taken.octets <= 1024, "{taken:?}");
}

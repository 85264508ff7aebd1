//! What requests and payloads cost on their way, each beside its floor in the same run: copying
//! the octets once, the checksum alone, the `lzf` crate.
//!
//! `cargo bench -p hast-proto` prints the time of each and, at the end, octets per second and the
//! ratios to the floors, measured in turn. With `--features std`, CRC-32 finds the CPU's own
//! instructions at run time.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use core::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use hast_proto::frame::{Decoder, Encoder, Phase};
use hast_proto::lzf::{Compressor, decompress_exact};
use hast_proto::message::Request;
use hast_proto::{
    Checksum, Compression, Digest, Length, Offset, Payload, Sealer, Sequence, Version, is_zero,
};
use sha2::Digest as _;

const SMALL: usize = 4096;
const LARGE: usize = 128 * 1024;

/// Octets in which nothing repeats.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes().first().copied().unwrap_or(0)
    };
    core::iter::repeat_with(next).take(len).collect()
}

/// Log lines, of which a quarter is compressed away or kept, as on a real disk.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 128);
    let noise = noise(len);
    for (line, word) in noise.chunks(8).enumerate() {
        let word: String = word.iter().map(|octet| format!("{octet:02x}")).collect();
        text.extend_from_slice(
            format!(
                "Nov 21 09:18:{:02} nodeA hastd[1234]: request {word} done\n",
                line % 60
            )
            .as_bytes(),
        );
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text
}

fn write(data: Bytes) -> Request {
    Request::Write {
        sequence: Sequence::new(17).unwrap(),
        offset: Offset::new(1 << 20),
        length: Length::of(&data),
        memsync: true,
        payload: Payload::plain(data).unwrap(),
    }
}

/// A frame as received, to be decoded again and again without copying its payload: the buffer is
/// put together from its two halves after each round.
struct Received {
    buffer: BytesMut,
    decoder: Decoder,
}

impl Received {
    fn new(data: &[u8], rounds: usize) -> Self {
        let segments = write(Bytes::copy_from_slice(data)).encode(Version::V2, &mut Encoder::new());
        let mut buffer = BytesMut::new();
        for _ in 0..rounds {
            for segment in segments.as_slices() {
                buffer.extend_from_slice(segment);
            }
        }
        let decoder = Decoder::new(Phase::Request);
        Self { buffer, decoder }
    }

    /// Decodes the next request and opens its payload, which is not compressed.
    fn next(&mut self) -> Option<Bytes> {
        let frame = self.decoder.decode(&mut self.buffer).unwrap()?;
        match Request::decode(&frame).unwrap() {
            Request::Write {
                length, payload, ..
            } => Some(payload.open(length).unwrap()),
            _ => None,
        }
    }
}

/// What is measured: a name, the octets of one call, and the call.
type Case<'a> = (&'static str, usize, Box<dyn FnMut() + 'a>);

/// Every case; a floor stands before those that are compared with it.
fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'static>> = Vec::new();
    for (floor, encode, len) in [
        ("floor: copy 4 KiB", "encode a 4 KiB WRITE", SMALL),
        ("floor: copy 128 KiB", "encode a 128 KiB WRITE", LARGE),
    ] {
        let data = noise(len);
        let mut copy = vec![0; len];
        cases.push((
            floor,
            len,
            Box::new({
                let data = data.clone();
                move || black_box(&mut copy).copy_from_slice(black_box(&data))
            }),
        ));
        let mut encoder = Encoder::new();
        let data = Bytes::from(data);
        cases.push((
            encode,
            len,
            Box::new(move || {
                drop(black_box(
                    write(data.clone()).encode(Version::V2, &mut encoder),
                ))
            }),
        ));
    }
    let data = noise(LARGE);
    let crc = data.clone();
    cases.push((
        "floor: crc32fast, 128 KiB",
        LARGE,
        Box::new(move || {
            black_box(crc32fast::hash(black_box(&crc)));
        }),
    ));
    let crc = data.clone();
    cases.push((
        "crc32, 128 KiB",
        LARGE,
        Box::new(move || {
            black_box(Digest::compute(Checksum::Crc32, black_box(&crc)));
        }),
    ));
    let sha = data.clone();
    cases.push((
        "floor: sha2, 128 KiB",
        LARGE,
        Box::new(move || {
            black_box(sha2::Sha256::digest(black_box(&sha)));
        }),
    ));
    let sha = data.clone();
    cases.push((
        "sha256, 128 KiB",
        LARGE,
        Box::new(move || {
            black_box(Digest::compute(Checksum::Sha256, black_box(&sha)));
        }),
    ));
    lzf_cases(&mut cases);
    let zeros = vec![0_u8; LARGE];
    let mut copy = vec![0; LARGE];
    cases.push((
        "floor: copy 128 KiB of zeros",
        LARGE,
        Box::new({
            let zeros = zeros.clone();
            move || black_box(&mut copy).copy_from_slice(black_box(&zeros))
        }),
    ));
    let mut sealer = Sealer::new(Compression::Hole, Checksum::None);
    let sealed = Bytes::from(zeros.clone());
    cases.push((
        "hole detection, 128 KiB of zeros",
        LARGE,
        Box::new(move || {
            black_box(is_zero(black_box(&zeros)));
        }),
    ));
    cases.push((
        "seal 128 KiB of zeros as a hole",
        LARGE,
        Box::new(move || drop(black_box(sealer.seal(sealed.clone())))),
    ));
    cases
}

fn lzf_cases(cases: &mut Vec<Case<'static>>) {
    for (names, data) in [
        (
            [
                "floor: lzf crate, decompress text",
                "decompress text, 128 KiB",
                "floor: lzf crate, compress text",
                "compress text, 128 KiB",
            ],
            text(LARGE),
        ),
        (
            [
                "floor: lzf crate, decompress sparse",
                "decompress sparse, 128 KiB",
                "floor: lzf crate, compress sparse",
                "compress sparse, 128 KiB",
            ],
            // A quarter of each block is data, the rest zeros.
            noise(LARGE)
                .chunks(4096)
                .flat_map(|block| block.iter().take(1024).copied().chain([0; 3072]))
                .collect(),
        ),
    ] {
        let [theirs_down, ours_down, theirs_up, ours_up] = names;
        // The same stream for both.
        let stream = lzf::compress(&data).unwrap();
        let theirs = stream.clone();
        cases.push((
            theirs_down,
            LARGE,
            Box::new(move || drop(black_box(lzf::decompress(black_box(&theirs), LARGE)))),
        ));
        let mut output = vec![0; LARGE];
        cases.push((
            ours_down,
            LARGE,
            Box::new(move || decompress_exact(black_box(&stream), &mut output).unwrap()),
        ));
        let theirs = data.clone();
        cases.push((
            theirs_up,
            LARGE,
            Box::new(move || drop(black_box(lzf::compress(black_box(&theirs))))),
        ));
        let mut compressor = Compressor::new();
        let mut output = vec![0; LARGE];
        cases.push((
            ours_up,
            LARGE,
            Box::new(move || {
                black_box(compressor.compress(black_box(&data), &mut output));
            }),
        ));
    }
    let data = noise(LARGE);
    let theirs = data.clone();
    cases.push((
        "floor: lzf crate, compress noise",
        LARGE,
        Box::new(move || drop(black_box(lzf::compress(black_box(&theirs))))),
    ));
    let mut compressor = Compressor::new();
    let mut output = vec![0; LARGE - 1024];
    cases.push((
        "compress noise, 128 KiB",
        LARGE,
        Box::new(move || {
            black_box(compressor.compress(black_box(&data), &mut output));
        }),
    ));
}

/// Nanoseconds to decode one request of a stream that has been received, payload opened.
fn decode(len: usize) -> f64 {
    const ROUNDS: u32 = 64;
    let data = noise(len);
    let mut best = f64::MAX;
    for _ in 0..200 {
        let mut received = Received::new(&data, ROUNDS as usize);
        let start = Instant::now();
        while let Some(data) = received.next() {
            black_box(data);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    best
}

/// The least time of a call, over runs taken in turn, so that the machine's speed drifts for all
/// of them alike.
fn summary() {
    let mut cases = cases();
    let mut best = vec![f64::MAX; cases.len()];
    for _ in 0..40 {
        for ((_, _, call), best) in cases.iter_mut().zip(&mut best) {
            let calls = 20_u32;
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(calls);
            *best = best.min(each);
        }
    }
    println!("\n{:40} {:>12} {:>10}  x floor", "", "ns", "GB/s");
    let mut floor = f64::MAX;
    for ((name, len, _), each) in cases.iter().zip(&best) {
        if name.starts_with("floor") {
            floor = *each;
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let speed = *len as f64 / each;
        println!("{name:40} {each:12.1} {speed:10.2}  {:.2}", each / floor);
    }
    for (name, len) in [
        ("decode a 4 KiB WRITE", SMALL),
        ("decode a 128 KiB WRITE", LARGE),
    ] {
        println!("{name:40} {:12.1}", decode(len));
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("wire");
    for (name, len, mut call) in cases() {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| bencher.iter(&mut call));
    }
    group.finish();
    criterion.final_summary();
    summary();
}

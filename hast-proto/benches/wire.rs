//! What requests and payloads cost on their way, each beside its floor in the same run: copying
//! the octets once, the checksum alone, the `lzf` crate, the LZF library in C.
//!
//! `cargo bench -p hast-proto --bench wire` prints times and octets per second, and fails if a
//! promise is broken. Each case and its floor take turns, and what is compared are medians over
//! all turns, so that the machine's speed drifts for both of them alike. Where that speed is not
//! known, as on a busy machine, `-- --relative` checks only the promises that are about a floor.
//!
//! With `--features std`, CRC-32 finds the CPU's own instructions at run time. With
//! `RUSTFLAGS='--cfg liblzf'`, LZF is compared with the library in C, too, which must be there.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::cast_precision_loss, reason = "all numbers are small")]

#[cfg(liblzf)]
#[path = "wire/liblzf.rs"]
mod liblzf;

use core::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hast_proto::frame::{Decoder, Encoder, Phase};
use hast_proto::lzf::{Compressor, decompress_exact};
use hast_proto::message::Request;
use hast_proto::{
    Checksum, Compression, Digest, Length, Offset, Payload, Sealer, Sequence, Version, is_zero,
};
use sha2::Digest as _;

const SMALL: usize = 4096;
const LARGE: usize = 128 * 1024;

/// How often each case takes its turn.
const TURNS: usize = 101;

/// Does something often and returns the nanoseconds of one time.
type Run = Box<dyn FnMut() -> f64>;

/// Calls a function so often that reading the clock does not matter.
fn calls(call: impl FnMut() + 'static) -> Run {
    repeated(20, call)
}

/// Calls a function that takes long once, so that a busy machine seldom interrupts it.
fn one_call(call: impl FnMut() + 'static) -> Run {
    repeated(1, call)
}

fn repeated(times: u32, mut call: impl FnMut() + 'static) -> Run {
    Box::new(move || {
        let start = Instant::now();
        for _ in 0..times {
            call();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
    })
}

/// What a case must not exceed.
#[derive(Clone, Copy, Debug)]
enum Promise {
    /// It takes no longer than its floor.
    NotSlower,
    /// It takes at most so many nanoseconds more than its floor.
    Beyond(f64),
    /// It takes at most so many nanoseconds.
    Time(f64),
    /// It treats at least so many gigabytes per second.
    Speed(f64),
}

/// Something measured beside its floor.
struct Case {
    name: &'static str,
    /// The octets treated at a time.
    len: usize,
    run: Run,
    floor_name: &'static str,
    floor: Run,
    promises: &'static [Promise],
}

/// Medians, in nanoseconds but for the ratio.
struct Measured {
    time: f64,
    floor: f64,
    /// What the case takes more than its floor in the same turn.
    beyond: f64,
    /// What the case takes of its floor's time in the same turn.
    ratio: f64,
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Case {
    fn measure(&mut self) -> Measured {
        let turns: Vec<(f64, f64)> = (0..TURNS)
            .map(|turn| {
                // Neither is always the one that finds the caches as the other left them.
                if turn % 2 == 0 {
                    let floor = (self.floor)();
                    ((self.run)(), floor)
                } else {
                    let time = (self.run)();
                    (time, (self.floor)())
                }
            })
            .collect();
        let of = |number: fn(&(f64, f64)) -> f64| median(turns.iter().map(number).collect());
        Measured {
            time: of(|(time, _)| *time),
            floor: of(|(_, floor)| *floor),
            beyond: of(|(time, floor)| time - floor),
            ratio: of(|(time, floor)| time / floor),
        }
    }

    fn print(&self, measured: &Measured) {
        let speed = |time| self.len as f64 / time;
        println!(
            "{:34} {:10.0} {:8.2}   {:22} {:10.0} {:8.2}   {:6.2}",
            self.name,
            measured.time,
            speed(measured.time),
            self.floor_name,
            measured.floor,
            speed(measured.floor),
            measured.ratio,
        );
    }
}

impl Promise {
    const fn is_relative(self) -> bool {
        matches!(self, Self::NotSlower)
    }

    fn is_kept(self, case: &Case, measured: &Measured) -> bool {
        match self {
            Self::NotSlower => measured.ratio <= 1.0,
            Self::Beyond(most) => measured.beyond <= most,
            Self::Time(most) => measured.time <= most,
            Self::Speed(least) => case.len as f64 / measured.time >= least,
        }
    }
}

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

/// A quarter of each block is data, the rest zeros.
fn sparse(len: usize) -> Vec<u8> {
    noise(len)
        .chunks(4096)
        .flat_map(|block| block.iter().take(1024).copied().chain([0; 3072]))
        .collect()
}

fn write(payload: Payload, length: Length) -> Request {
    Request::Write {
        sequence: Sequence::new(17).unwrap(),
        offset: Offset::new(1 << 20),
        length,
        memsync: true,
        payload,
    }
}

/// Copies data once.
fn copy(data: Vec<u8>) -> impl FnMut() {
    let mut to = vec![0; data.len()];
    move || black_box(&mut to).copy_from_slice(black_box(&data))
}

/// A function of data that stay the same.
fn of<T>(data: Vec<u8>, function: impl Fn(&[u8]) -> T) -> impl FnMut() {
    move || {
        black_box(function(black_box(&data)));
    }
}

fn encoding(name: &'static str, len: usize) -> Case {
    let data = Bytes::from(noise(len));
    let mut encoder = Encoder::new();
    let copied = data.to_vec();
    Case {
        name,
        len,
        run: calls(move || {
            let request = write(Payload::plain(data.clone()).unwrap(), Length::of(&data));
            drop(black_box(request.encode(Version::V2, &mut encoder)));
        }),
        floor_name: "copy",
        floor: calls(copy(copied)),
        promises: &[],
    }
}

/// A stream of WRITEs as it is received.
struct Stream {
    octets: Vec<u8>,
    data: Vec<u8>,
}

impl Stream {
    /// So many that reading the clock does not matter.
    const WRITES: u32 = 16;

    fn new(len: usize, checksum: Checksum) -> Self {
        let data = noise(len);
        let mut sealer = Sealer::new(Compression::None, checksum);
        let payload = sealer.seal(data.clone().into()).unwrap();
        let frame = write(payload, Length::of(&data)).encode(Version::V2, &mut Encoder::new());
        let octets = frame.concat().repeat(Self::WRITES as usize);
        Self { octets, data }
    }

    /// Decodes and opens every WRITE of a stream that has just been received. Receiving it is not
    /// counted.
    fn decoding(self) -> Run {
        Box::new(move || {
            let mut buffer = BytesMut::from(&self.octets[..]);
            let mut decoder = Decoder::new(Phase::Request);
            let start = Instant::now();
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                if let Request::Write {
                    length, payload, ..
                } = Request::decode(&frame).unwrap()
                {
                    black_box(payload.open(length).unwrap());
                }
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(Self::WRITES)
        })
    }

    /// Does something with each payload of a stream that has just been received.
    fn payloads(self, mut function: impl FnMut(&[u8]) + 'static) -> Run {
        let frame_len = self.octets.len() / Self::WRITES as usize;
        let list_len = frame_len - self.data.len();
        Box::new(move || {
            let buffer = BytesMut::from(&self.octets[..]);
            let start = Instant::now();
            for frame in buffer.chunks_exact(frame_len) {
                function(black_box(frame.get(list_len..).unwrap()));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(Self::WRITES)
        })
    }
}

fn decoding(
    name: &'static str,
    len: usize,
    checksum: Checksum,
    promises: &'static [Promise],
) -> Case {
    let stream = || Stream::new(len, checksum);
    let mut to = vec![0; len];
    let (floor_name, floor) = match checksum {
        Checksum::None => (
            "copy",
            stream().payloads(move |data| black_box(&mut to).copy_from_slice(data)),
        ),
        Checksum::Crc32 => (
            "crc32fast",
            stream().payloads(|data| {
                black_box(crc32fast::hash(data));
            }),
        ),
        Checksum::Sha256 => (
            "sha2",
            stream().payloads(|data| {
                black_box(sha2::Sha256::digest(data));
            }),
        ),
    };
    Case {
        name,
        len,
        run: stream().decoding(),
        floor_name,
        floor,
        promises,
    }
}

/// Decompresses into a buffer that is made for it, as the floor does.
fn decompressing(name: &'static str, data: &[u8]) -> Case {
    let stream = lzf::compress(data).unwrap();
    let len = data.len();
    Case {
        name,
        len,
        run: one_call(of(stream.clone(), move |stream| {
            let mut output = vec![0; len];
            decompress_exact(stream, &mut output).unwrap();
            output
        })),
        floor_name: "lzf crate",
        floor: one_call(of(stream, move |stream| {
            lzf::decompress(stream, len).unwrap()
        })),
        promises: &[Promise::NotSlower],
    }
}

/// Compresses into a buffer that is made for it, as the floor does. Ours keeps its table.
fn compressing(name: &'static str, data: Vec<u8>) -> Case {
    let len = data.len();
    let floor = data.clone();
    let mut compressor = Compressor::new();
    Case {
        name,
        len,
        run: one_call(move || {
            let mut output = vec![0; len];
            black_box(compressor.compress(black_box(&data), &mut output));
            black_box(output);
        }),
        floor_name: "lzf crate",
        floor: one_call(of(floor, lzf::compress)),
        promises: &[],
    }
}

/// What a request may cost: a microsecond.
const REQUEST: f64 = 1000.0;

fn cases() -> Vec<Case> {
    let zeros = || vec![0; LARGE];
    let mut sealer = Sealer::new(Compression::Hole, Checksum::None);
    let sealed = Bytes::from(zeros());
    let cases = vec![
        encoding("encode a 4 KiB WRITE", SMALL),
        encoding("encode a 128 KiB WRITE", LARGE),
        decoding(
            "decode a 4 KiB WRITE",
            SMALL,
            Checksum::None,
            &[Promise::Time(REQUEST)],
        ),
        // What was copied would take longer.
        decoding(
            "decode a 128 KiB WRITE",
            LARGE,
            Checksum::None,
            &[Promise::Time(REQUEST), Promise::NotSlower],
        ),
        decoding(
            "decode 4 KiB with crc32",
            SMALL,
            Checksum::Crc32,
            &[Promise::Beyond(REQUEST)],
        ),
        decoding(
            "decode 128 KiB with crc32",
            LARGE,
            Checksum::Crc32,
            &[Promise::Beyond(REQUEST)],
        ),
        decoding(
            "decode 4 KiB with sha256",
            SMALL,
            Checksum::Sha256,
            &[Promise::Beyond(REQUEST)],
        ),
        decoding("decode 128 KiB with sha256", LARGE, Checksum::Sha256, &[]),
        Case {
            name: "crc32, 128 KiB",
            len: LARGE,
            run: calls(of(noise(LARGE), |data| {
                Digest::compute(Checksum::Crc32, data)
            })),
            floor_name: "crc32fast",
            floor: calls(of(noise(LARGE), crc32fast::hash)),
            promises: &[],
        },
        Case {
            name: "sha256, 128 KiB",
            len: LARGE,
            run: one_call(of(noise(LARGE), |data| {
                Digest::compute(Checksum::Sha256, data)
            })),
            floor_name: "sha2",
            floor: one_call(of(noise(LARGE), |data| sha2::Sha256::digest(data))),
            promises: &[],
        },
        decompressing("decompress text, 128 KiB", &text(LARGE)),
        decompressing("decompress sparse data, 128 KiB", &sparse(LARGE)),
        compressing("compress text, 128 KiB", text(LARGE)),
        compressing("compress sparse data, 128 KiB", sparse(LARGE)),
        compressing("compress noise, 128 KiB", noise(LARGE)),
        Case {
            name: "find a hole of 128 KiB",
            len: LARGE,
            run: calls(of(zeros(), is_zero)),
            floor_name: "copy",
            floor: calls(copy(zeros())),
            promises: &[Promise::Speed(10.0), Promise::NotSlower],
        },
        Case {
            name: "seal 128 KiB of zeros as a hole",
            len: LARGE,
            run: calls(move || drop(black_box(sealer.seal(sealed.clone())))),
            floor_name: "copy",
            floor: calls(copy(zeros())),
            promises: &[],
        },
    ];
    #[cfg(liblzf)]
    let cases = cases.into_iter().chain(liblzf::cases()).collect();
    cases
}

fn main() -> ExitCode {
    let only_relative = std::env::args().any(|argument| argument == "--relative");
    println!(
        "{:34} {:>10} {:>8}   {:22} {:>10} {:>8}   {:>6}",
        "", "ns", "GB/s", "floor", "ns", "GB/s", "x floor"
    );
    let mut broken = 0;
    for mut case in cases() {
        let measured = case.measure();
        case.print(&measured);
        for promise in case.promises {
            if (promise.is_relative() || !only_relative) && !promise.is_kept(&case, &measured) {
                println!("BROKEN: {promise:?}, {:.0} ns beyond", measured.beyond);
                broken += 1;
            }
        }
    }
    if broken != 0 {
        println!("{broken} promises are broken");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

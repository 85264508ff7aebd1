//! Sessions recorded between two daemons: every octet of every connection is decoded, agrees with
//! the recording's own description, is understood as the message due, and is written again as the
//! same octets, but for the padding behind names.
//!
//! The project keeps as many as fit; the environment variable `HAST_SESSIONS` names a directory
//! with more.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "common/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::BytesMut;
use hast_proto::frame::{Decoder, Encoder, Frame, FrameError, Phase, Segments};
use hast_proto::message::{
    Bounds, FirstAnswer, MessageError, Opening, Reply, Request, SecondAnswer,
};
use hast_proto::{Checksum, Compression, Digest, Length, SectorSize, Sequence, Version};
use serde_json::Value as Json;
use wire::{
    assert_counted, decode_frames, directory, frames, hex, load, sessions, str_of,
    without_name_padding,
};

/// What was seen over all sessions, so that a test that reaches nothing fails.
#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    frames: usize,
    octets: usize,
    openings: usize,
    answers: usize,
    refusals: usize,
    requests: usize,
    refused_requests: usize,
    replies: usize,
    failures: usize,
    payloads: usize,
    data: u64,
    kinds: BTreeSet<&'static str>,
}

/// One direction of one connection.
struct Stream<'a> {
    session: &'a Path,
    name: String,
    octets: Vec<u8>,
    described: &'a [Json],
}

impl Stream<'_> {
    fn at(&self, number: usize) -> String {
        format!("{} {} frame {number}", self.session.display(), self.name)
    }

    /// Decodes all frames and compares them with the description.
    fn decode(&self, phases: &[Phase], seen: &mut Seen) -> Vec<Frame> {
        let mut start = 0;
        let mut all = Vec::new();
        for (number, (frame, end)) in frames(phases, &self.octets).into_iter().enumerate() {
            let at = self.at(number);
            let described = &self.described[number];
            assert_eq!(described["off"], start, "{at}");
            assert_eq!(pairs(&frame), described["nv"], "{at}");
            if let Some(sha256) = described["payload_sha256"].as_str() {
                let digest = Digest::compute(Checksum::Sha256, frame.payload()).unwrap();
                assert_eq!(hex(digest.as_bytes()), sha256, "{at}");
            }
            let original = &self.octets[start..end];
            self.compare(number, &frame.encode(&mut Encoder::new()), original);
            seen.frames += 1;
            start = end;
            all.push(frame);
        }
        assert_eq!(
            all.len(),
            self.described.len(),
            "{} {}",
            self.session.display(),
            self.name
        );
        seen.octets += start;
        all
    }

    /// Compares octets written with those received.
    fn compare(&self, number: usize, written: &Segments, original: &[u8]) {
        let at = self.at(number);
        let list = 5 + written.list.len();
        assert_eq!(hex(&written.header), hex(&original[..5]), "{at}");
        assert_eq!(
            written.list,
            without_name_padding(&original[5..list]),
            "{at}"
        );
        assert_eq!(written.payload, original[list..], "{at}");
    }

    /// Compares a message written with the one received.
    fn compare_typed(&self, number: usize, written: &Segments, frame: &Frame) {
        let original = frame.encode(&mut Encoder::new());
        assert_eq!(*written, original, "{}", self.at(number));
    }
}

/// A list as the recordings describe it.
fn pairs(frame: &Frame) -> Json {
    let list = wire::describe(frame.list());
    let pairs = list.as_array().unwrap().iter().map(|pair| {
        let kind = str_of(pair, "type").replace("_array", "[]");
        let value = match pair["value"].as_str() {
            Some(number) if kind.contains("int") && !kind.contains("[]") => {
                serde_json::from_str(number).unwrap()
            }
            _ => pair["value"].clone(),
        };
        Json::from(vec![pair["name"].clone(), kind.into(), value])
    });
    pairs.collect()
}

/// What the recordings of a scripted client hold on purpose.
fn is_scripted(session: &Path) -> bool {
    session.ends_with("bad-requests")
}

fn check_session(session: &Path, seen: &mut Seen) {
    let file = load(&session.join("messages.json"));
    let description = load(&session.join("session.json"));
    let described = &file["messages"];
    let mut refused = Vec::new();
    let mut failures = Vec::new();
    // The lengths asked for by READs, for the replies on the other connection.
    let mut reads: BTreeMap<Sequence, Vec<Length>> = BTreeMap::new();
    for connection in description["connections"].as_array().unwrap() {
        let number = &connection["n"];
        let stream = |direction: &str| {
            let name = format!("conn{number}.{direction}");
            Stream {
                session,
                octets: std::fs::read(session.join(format!("{name}.bin"))).unwrap(),
                described: described[&name].as_array().unwrap(),
                name,
            }
        };
        let (client, server) = (stream("c2s"), stream("s2c"));
        seen.connections += 1;
        if client.octets[0] > 2 {
            // The original has closed the connection without an answer.
            let mut buffer = BytesMut::from(&client.octets[..]);
            let error = Decoder::new(Phase::Opening)
                .decode(&mut buffer)
                .unwrap_err();
            assert_eq!(error, FrameError::Version { version: 3 });
            assert!(server.octets.is_empty());
            seen.kinds.insert("unknown version");
            continue;
        }
        let sent = client.decode(&[Phase::Opening, Phase::Request], seen);
        match Opening::decode(&sent[0]) {
            Ok(opening @ Opening::First(_)) => {
                let written = opening.encode(sent[0].version(), &mut Encoder::new());
                client.compare_typed(0, &written, &sent[0]);
                seen.openings += 1;
                check_answers(&server, seen);
                check_requests(&client, &sent, &mut refused, &mut reads, seen);
            }
            Ok(opening @ Opening::Second(_)) => {
                let written = opening.encode(sent[0].version(), &mut Encoder::new());
                client.compare_typed(0, &written, &sent[0]);
                seen.openings += 1;
                assert_eq!(sent.len(), 1, "nothing more on a second connection");
                check_replies(&server, &mut failures, &mut reads, seen);
            }
            Err(error) => {
                assert_eq!(error, MessageError::Token { len: 8 });
                assert!(session.ends_with("wrong-token") && server.octets.is_empty());
                seen.kinds.insert("short token");
            }
        }
    }
    if is_scripted(session) {
        assert_eq!(
            refused, failures,
            "each refused request has the original's reply"
        );
    }
}

fn check_answers(server: &Stream<'_>, seen: &mut Seen) {
    let answers = server.decode(&[Phase::Answer], seen);
    let Some(first) = answers.first() else {
        return;
    };
    let answer = FirstAnswer::decode(first).unwrap();
    let written = answer.encode(&mut Encoder::new());
    server.compare_typed(0, &written, first);
    seen.answers += 1;
    let FirstAnswer::Welcome(welcome) = answer else {
        seen.refusals += 1;
        assert_eq!(answers.len(), 1, "nothing follows a refusal");
        return;
    };
    if let Some(second) = answers.get(1) {
        let answer = SecondAnswer::decode(second).unwrap();
        let written = answer.encode(second.version(), &mut Encoder::new());
        server.compare_typed(1, &written, second);
        assert_eq!(second.version(), welcome.settled());
        seen.answers += 1;
        match answer {
            SecondAnswer::Accepted(accepted) => {
                if let Some(map) = accepted.map {
                    let octets = map.open(map.size()).unwrap();
                    assert_eq!(Length::of(&octets), map.size());
                    seen.kinds.insert("map");
                }
            }
            SecondAnswer::Refused { standing, .. } => {
                assert!(standing.is_some());
                seen.refusals += 1;
            }
        }
    }
    assert!(answers.len() <= 2);
}

fn check_requests(
    client: &Stream<'_>,
    sent: &[Frame],
    refused: &mut Vec<Reply>,
    reads: &mut BTreeMap<Sequence, Vec<Length>>,
    seen: &mut Seen,
) {
    // What the secondary of the scripted session has.
    let bounds = is_scripted(client.session).then(|| Bounds {
        data_size: Length::new(1_043_968),
        sector_size: SectorSize::DEFAULT,
        max_transfer: Length::MAX_TRANSFER,
    });
    for (number, frame) in sent.iter().enumerate().skip(1) {
        let at = client.at(number);
        seen.requests += 1;
        let request = match &bounds {
            None => Request::decode(frame).unwrap(),
            Some(bounds) => match bounds.decode(frame) {
                Ok(request) => request,
                Err(error) => {
                    refused.push(error.reply().unwrap());
                    seen.refused_requests += 1;
                    continue;
                }
            },
        };
        seen.kinds.insert(match &request {
            Request::Read { .. } => "read",
            Request::Write { memsync: true, .. } => "memsync write",
            Request::Write { .. } => "write",
            Request::Delete { .. } => "delete",
            Request::Flush { .. } => "flush",
            Request::Keepalive => "keepalive",
            Request::Progress(_) => "progress",
        });
        let written = request.encode(frame.version(), &mut Encoder::new());
        if bounds.is_none() {
            client.compare_typed(number, &written, frame);
        } else {
            // Pairs in another order, unknown ones, or too many: the meaning is the same.
            let mut buffer = BytesMut::from(&written.concat()[..]);
            let again = Decoder::new(Phase::Request)
                .decode(&mut buffer)
                .unwrap()
                .unwrap();
            assert_eq!(Request::decode(&again), Ok(request.clone()), "{at}");
        }
        match request {
            Request::Write {
                length, payload, ..
            } => {
                let data = payload.open(length).unwrap();
                assert_eq!(Length::of(&data), length, "{at}");
                seen.payloads += 1;
                seen.data += length.get();
                seen.kinds.insert(match payload.compression() {
                    Compression::None => "raw",
                    Compression::Hole => "hole",
                    Compression::Lzf => "lzf",
                });
                if let Some(digest) = payload.digest() {
                    seen.kinds.insert(digest.algorithm().as_str());
                }
            }
            Request::Read {
                sequence, length, ..
            } => reads.entry(sequence).or_default().push(length),
            _ => {}
        }
    }
}

fn check_replies(
    server: &Stream<'_>,
    failures: &mut Vec<Reply>,
    reads: &mut BTreeMap<Sequence, Vec<Length>>,
    seen: &mut Seen,
) {
    let replies = server.decode(&[Phase::Reply], seen);
    if let Some(first) = replies
        .first()
        .filter(|frame| frame.list().contains("errmsg"))
    {
        let refusal = FirstAnswer::decode(first).unwrap();
        assert!(matches!(refusal, FirstAnswer::Refused(_)));
        server.compare_typed(0, &refusal.encode(&mut Encoder::new()), first);
        seen.refusals += 1;
        seen.kinds.insert("refusal on a second connection");
        return;
    }
    for (number, frame) in replies.iter().enumerate() {
        let reply = Reply::decode(frame).unwrap();
        let written = reply.encode(frame.version(), &mut Encoder::new());
        server.compare_typed(number, &written, frame);
        seen.replies += 1;
        match reply {
            Reply::Received { .. } => drop(seen.kinds.insert("received")),
            Reply::Done { .. } => drop(seen.kinds.insert("done")),
            Reply::Data { sequence, payload } => {
                let length = reads.get_mut(&sequence).unwrap().remove(0);
                let data = payload.open(length).unwrap();
                assert_eq!(Length::of(&data), length);
                seen.payloads += 1;
                seen.data += length.get();
                seen.kinds.insert("data");
            }
            failed @ Reply::Failed { .. } => {
                seen.failures += 1;
                failures.push(failed);
            }
        }
    }
}

#[test]
fn every_recorded_session_is_read_and_written_alike() {
    let mut seen = Seen::default();
    let sessions = sessions();
    for session in &sessions {
        check_session(session, &mut seen);
    }
    println!("{seen:#?}");
    assert_counted("sessions", sessions.len(), 20);
    assert_counted("connections", seen.connections, 68);
    assert_counted("frames", seen.frames, 523);
    assert_counted("octets", seen.octets, 3_164_680);
    assert_counted("openings", seen.openings, 66);
    assert_counted("answers", seen.answers, 64);
    assert_counted("refusals", seen.refusals, 17);
    assert_counted("requests", seen.requests, 180);
    assert_counted("requests refused", seen.refused_requests, 10);
    assert_counted("replies", seen.replies, 210);
    assert_counted("failures", seen.failures, 12);
    assert_counted("payloads", seen.payloads, 149);
    for kind in [
        "read",
        "write",
        "memsync write",
        "delete",
        "flush",
        "keepalive",
        "received",
        "done",
        "data",
        "map",
        "raw",
        "hole",
        "lzf",
        "crc32",
        "short token",
        "unknown version",
    ] {
        assert!(seen.kinds.contains(kind), "no {kind} in any session");
    }
    // No session in the project has it, but one of the larger ones.
    if sessions
        .iter()
        .any(|path| path.ends_with("checksum-sha256"))
    {
        assert!(seen.kinds.contains("sha256"));
    }
}

/// A small generator with a period long enough for cutting streams.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// What a recorded stream carries, phase by phase, of which only the server's needs a look at the
/// client's first frame: a token marks a second connection.
fn phases(session: &Path, stream: &str) -> &'static [Phase] {
    let (connection, direction) = stream.split_once('.').unwrap();
    if direction == "c2s.bin" {
        return &[Phase::Opening, Phase::Request];
    }
    let client = std::fs::read(session.join(format!("{connection}.c2s.bin"))).unwrap();
    let (opening, _) = decode_frames(&[Phase::Opening, Phase::Request], [&client[..]]);
    match opening.first() {
        Some(opening) if opening.list().contains("token") => &[Phase::Reply],
        _ => &[Phase::Answer],
    }
}

/// Pieces of a stream, some of which are as short as a pair and some as long as a payload.
fn slices(stream: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random(seed);
    let mut rest = stream;
    let mut slices = Vec::new();
    while !rest.is_empty() {
        let most = [3, 40, 4000, 200_000][random.below(4)];
        let (slice, others) = rest.split_at(rest.len().min(1 + random.below(most)));
        slices.push(slice);
        rest = others;
    }
    slices
}

#[test]
fn every_session_decodes_the_same_in_random_slices() {
    const SEEDS: u64 = 8;
    let (mut streams, mut all_slices) = (0, 0);
    for (number, session) in sessions().iter().enumerate() {
        for entry in std::fs::read_dir(session).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !(name.starts_with("conn") && name.ends_with(".bin")) {
                continue;
            }
            let stream = std::fs::read(&path).unwrap();
            let phases = phases(session, name);
            let whole = decode_frames(phases, [&stream[..]]);
            for seed in 1..=SEEDS {
                let slices = slices(&stream, seed * 1_000 + number as u64 + 1);
                all_slices += slices.len();
                let sliced = decode_frames(phases, slices);
                assert_eq!(sliced, whole, "{} seed {seed}", path.display());
            }
            // Wherever a phase begins, it is met in the middle of a piece and at its end.
            if stream.len() < 10_000 {
                for size in 1..=64 {
                    let sliced = decode_frames(phases, stream.chunks(size));
                    assert_eq!(sliced, whole, "{} in pieces of {size}", path.display());
                }
            }
            streams += 1;
        }
    }
    println!("{all_slices} slices");
    assert_counted("streams sliced", streams, 136);
}

#[test]
fn a_session_says_which_version_it_has() {
    let session = directory().join("hast-sessions/version-mismatch");
    let stream = std::fs::read(session.join("conn4.s2c.bin")).unwrap();
    let answers = frames(&[Phase::Answer], &stream);
    assert!(
        answers
            .iter()
            .all(|(frame, _)| frame.version() == Version::V1)
    );
}

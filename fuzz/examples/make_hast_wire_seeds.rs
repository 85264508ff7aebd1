//! Makes the seeds of the targets of `hast_wire` anew from the test vectors of hast-proto:
//!
//! ```sh
//! cargo run -p carp-fuzz --example make_hast_wire_seeds
//! ```
//!
//! `hast_nv`: every list, valid or not. `hast_frame`: every frame and message behind a phase and a
//! pattern of slices. `hast_opening`, `hast_answer`, `hast_request`, `hast_reply`, `hast_control`:
//! list, zero and payload of each such message, payloads that are to be refused among them;
//! `hast_opening` has those of the recorded sessions, too. `hast_lzf`: streams, and what is to be compressed.
//! `hast_hole`: each way to seal with a little data.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool that stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The largest seed: what repeats itself for longer teaches nothing.
const MAX_SEED: usize = 1500;

type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = root.join("../hast-proto/tests/vectors");
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(vectors.join(name)).expect("a readable file");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut seeds = Seeds::new();
    lists(&read("hast-nv.json"), &mut seeds);
    messages(&read("hast-messages.json"), &mut seeds);
    let compression = read("hast-compression.json");
    for case in list(&compression["receive"]) {
        message("hast_request", &hex(&case["wire_hex"]), &mut seeds);
    }
    for case in list(&read("hast-checksum.json")["receive"]) {
        message("hast_reply", &hex(&case["wire_hex"]), &mut seeds);
    }
    streams(&compression, &mut seeds);
    openings(&vectors.join("hast-sessions"), &mut seeds);
    for how in 0..9 {
        for (at, len, data) in [
            (0, 8, &b"data"[..]),
            (255, 255, &[0; 24]),
            (3, 200, &[7; 80]),
        ] {
            let seed = [&[how | 0x40, at, len], data].concat();
            seeds.entry("hast_hole").or_default().insert(seed);
        }
    }
    for (name, seeds) in seeds {
        let folder = root.join("seeds").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a writable folder");
        let seeds = seeds.iter().filter(|seed| seed.len() <= MAX_SEED);
        for (index, seed) in seeds.clone().enumerate() {
            fs::write(folder.join(format!("{index:03}")), seed).expect("a writable folder");
        }
        let bytes: usize = seeds.clone().map(Vec::len).sum();
        println!("{name}: {} seeds, {bytes} bytes", seeds.count());
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let digits = text.as_bytes().chunks(2);
    let octets = digits.map(|pair| {
        let pair = core::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("digits")
    });
    octets.collect()
}

/// A message of a phase, and the same as a frame; the target's phases have the order of the names.
fn message(name: &'static str, wire: &[u8], seeds: &mut Seeds) {
    let names = [
        "hast_opening",
        "hast_answer",
        "hast_request",
        "hast_reply",
        "hast_control",
    ];
    let phase = names
        .iter()
        .position(|other| *other == name)
        .expect("a phase");
    let phase = u8::try_from(phase).expect("five phases");
    let seed = [&[phase, 7], wire].concat();
    seeds.entry("hast_frame").or_default().insert(seed);
    let len = u32::from_le_bytes(wire[1..5].try_into().expect("four octets")) as usize;
    let (list, payload) = wire[5..].split_at(len);
    let seed = [list, &[0], payload].concat();
    seeds.entry(name).or_default().insert(seed);
    seeds.entry("hast_nv").or_default().insert(list.to_vec());
}

fn lists(file: &Value, seeds: &mut Seeds) {
    for name in ["encode", "decode", "malformed", "lookup"] {
        let octets = list(&file[name]).map(|case| hex(&case["hex"]));
        seeds.entry("hast_nv").or_default().extend(octets);
    }
    let frames = list(&file["frame"]).map(|case| [vec![2, 3], hex(&case["hex"])].concat());
    seeds.entry("hast_frame").or_default().extend(frames);
}

fn messages(file: &Value, seeds: &mut Seeds) {
    for case in list(&file["messages"]) {
        let opening = case["id"].as_str().is_some_and(|id| id.starts_with("hs"));
        let name = match case["from"].as_str().expect("a sender") {
            "primary" if opening => "hast_opening",
            "secondary" if opening => "hast_answer",
            "primary" => "hast_request",
            "secondary" => "hast_reply",
            _ => "hast_control",
        };
        message(name, &hex(&case["wire_hex"]), seeds);
    }
}

fn streams(file: &Value, seeds: &mut Seeds) {
    let seeds = seeds.entry("hast_lzf").or_default();
    for case in list(&file["lzf_decode"]) {
        let room = case["output_limit"].to_string();
        let room: u16 = room.trim_matches('"').parse().expect("a small number");
        seeds.insert([&room.to_le_bytes()[..], &hex(&case["stream_hex"])].concat());
    }
    for case in list(&file["cases"]) {
        // Behind the original length comes the stream.
        let payload = hex(&case["results"]["lzf"]["payload_hex"]);
        let stream = payload.get(4..).unwrap_or_default();
        seeds.insert([&[0xff, 0x7f], stream].concat());
    }
}

/// What a primary says first in each recorded session.
fn openings(sessions: &Path, seeds: &mut Seeds) {
    for session in fs::read_dir(sessions).expect("the sessions") {
        for connection in 1..=4 {
            let name = format!("conn{connection}.c2s.bin");
            let Ok(stream) = fs::read(session.as_ref().expect("a session").path().join(name))
            else {
                continue;
            };
            let len = u32::from_le_bytes(stream[1..5].try_into().expect("four octets")) as usize;
            message("hast_opening", &stream[..5 + len], seeds);
        }
    }
}

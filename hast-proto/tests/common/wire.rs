//! Reading the vector files and recorded sessions.

#![allow(dead_code, reason = "each test uses a part")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "this is how a test fails"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use hast_proto::frame::{Decoder, Frame, FrameError, Phase};
use hast_proto::nv::{Array, List, Name, Text, Value, Writer};
use serde_json::{Value as Json, json};

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

pub(crate) fn load(path: &Path) -> Json {
    let octets = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&octets).unwrap()
}

/// The directory that the environment names, of more recorded sessions.
fn more_sessions() -> Option<PathBuf> {
    std::env::var_os("HAST_SESSIONS").map(PathBuf::from)
}

/// The recorded sessions in the project, and those in the directory that the environment names,
/// each once.
pub(crate) fn sessions() -> Vec<PathBuf> {
    let own = directory().join("hast-sessions");
    let mut sessions = BTreeMap::new();
    for folder in [own].into_iter().chain(more_sessions()) {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sessions.insert(path.file_name().unwrap().to_owned(), path);
            }
        }
    }
    sessions.into_values().collect()
}

/// The recorded sessions, each with its own description.
pub(crate) fn described_sessions() -> Vec<(PathBuf, Json)> {
    let describe = |path: PathBuf| {
        let description = load(&path.join("session.json"));
        (path, description)
    };
    sessions().into_iter().map(describe).collect()
}

/// Prints how many there were in all sessions, and checks it: as many as the project's own have,
/// or at least that if there are others beside them.
pub(crate) fn assert_counted(what: &str, found: usize, own: usize) {
    println!("{found} {what}");
    match more_sessions() {
        None => assert_eq!(found, own, "{what}"),
        Some(_) => assert!(found >= own, "{found} {what}, {own} of them here"),
    }
}

/// The cases of one list of a vector file.
pub(crate) fn cases(file: &str, list: &str) -> Vec<Json> {
    let file = load(&directory().join(file));
    file[list].as_array().unwrap().clone()
}

pub(crate) fn str_of<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {case}"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(crate) fn hex_of(case: &Json, field: &str) -> Vec<u8> {
    unhex(str_of(case, field))
}

/// A number, which the files write as text.
pub(crate) fn number<T: core::str::FromStr<Err: core::fmt::Debug>>(value: &Json) -> T {
    match value {
        Json::String(text) => text.parse().unwrap(),
        number => number.to_string().parse().unwrap(),
    }
}

/// A large input as the files describe it.
pub(crate) fn input(description: &Json) -> Vec<u8> {
    let length = || number(&description["length"]);
    match str_of(description, "kind") {
        "hex" => hex_of(description, "hex"),
        "repeat" => {
            let octets = hex_of(description, "octets");
            octets.iter().copied().cycle().take(length()).collect()
        }
        "lcg" => {
            let mut state: u32 = number(&description["seed"]);
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            core::iter::repeat_with(next).take(length()).collect()
        }
        "concat" => {
            let parts = description["parts"].as_array().unwrap();
            parts.iter().flat_map(input).collect()
        }
        kind => panic!("unknown kind {kind}"),
    }
}

/// Each character is an octet.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

/// Encodes pairs as the files describe them.
pub(crate) fn encode(pairs: &Json) -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut writer = Writer::new(&mut buffer);
    for pair in pairs.as_array().unwrap() {
        push(
            &mut writer,
            str_of(pair, "name"),
            str_of(pair, "type"),
            &pair["value"],
        );
    }
    buffer
}

fn push(writer: &mut Writer<'_>, name: &str, kind: &str, value: &Json) {
    let name = latin1(name);
    let name = Name::new(&name).unwrap();
    // The octets of an array, each element little-endian.
    fn elements<T: core::str::FromStr<Err: core::fmt::Debug>, const N: usize>(
        value: &Json,
        octets: impl Fn(T) -> [u8; N],
    ) -> Vec<u8> {
        let values = value.as_array().unwrap();
        values
            .iter()
            .flat_map(|value| octets(number(value)))
            .collect()
    }
    let octets;
    writer.push(
        name,
        match kind {
            "int8" => Value::I8(number(value)),
            "uint8" => Value::U8(number(value)),
            "int16" => Value::I16(number(value)),
            "uint16" => Value::U16(number(value)),
            "int32" => Value::I32(number(value)),
            "uint32" => Value::U32(number(value)),
            "int64" => Value::I64(number(value)),
            "uint64" => Value::U64(number(value)),
            "string" => {
                octets = latin1(value.as_str().unwrap());
                Value::String(Text::new(&octets).unwrap())
            }
            "int8_array" => {
                octets = unhex(value.as_str().unwrap());
                Value::I8Array(Array::new(&octets).unwrap())
            }
            "uint8_array" => {
                octets = unhex(value.as_str().unwrap());
                Value::U8Array(Array::new(&octets).unwrap())
            }
            "int16_array" => {
                octets = elements(value, i16::to_le_bytes);
                Value::I16Array(Array::new(&octets).unwrap())
            }
            "uint16_array" => {
                octets = elements(value, u16::to_le_bytes);
                Value::U16Array(Array::new(&octets).unwrap())
            }
            "int32_array" => {
                octets = elements(value, i32::to_le_bytes);
                Value::I32Array(Array::new(&octets).unwrap())
            }
            "uint32_array" => {
                octets = elements(value, u32::to_le_bytes);
                Value::U32Array(Array::new(&octets).unwrap())
            }
            "int64_array" => {
                octets = elements(value, i64::to_le_bytes);
                Value::I64Array(Array::new(&octets).unwrap())
            }
            "uint64_array" => {
                octets = elements(value, u64::to_le_bytes);
                Value::U64Array(Array::new(&octets).unwrap())
            }
            kind => panic!("unknown type {kind}"),
        },
    );
}

/// Describes a list as the files do.
pub(crate) fn describe(list: List<'_>) -> Json {
    let text = |octets: &[u8]| {
        octets
            .iter()
            .map(|octet| char::from(*octet))
            .collect::<String>()
    };
    let numbers = |numbers: &mut dyn Iterator<Item = String>| json!(numbers.collect::<Vec<_>>());
    let describe = |value| match value {
        Value::I8(number) => json!(number.to_string()),
        Value::U8(number) => json!(number.to_string()),
        Value::I16(number) => json!(number.to_string()),
        Value::U16(number) => json!(number.to_string()),
        Value::I32(number) => json!(number.to_string()),
        Value::U32(number) => json!(number.to_string()),
        Value::I64(number) => json!(number.to_string()),
        Value::U64(number) => json!(number.to_string()),
        Value::I8Array(array) => json!(hex(array.as_bytes())),
        Value::U8Array(array) => json!(hex(array.as_bytes())),
        Value::I16Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::U16Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::I32Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::U32Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::I64Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::U64Array(array) => numbers(&mut array.iter().map(|n| n.to_string())),
        Value::String(string) => json!(text(string.as_bytes())),
    };
    let pairs = list.pairs().map(|pair| {
        json!({
            "name": text(pair.name.as_bytes()),
            "type": pair.value.kind().name(),
            "value": describe(pair.value),
        })
    });
    pairs.collect()
}

/// The only frame in `octets`.
pub(crate) fn frame(phase: Phase, octets: &[u8]) -> Result<Frame, FrameError> {
    let mut buffer = BytesMut::from(octets);
    let mut decoder = Decoder::new(phase);
    let frame = decoder.decode(&mut buffer)?;
    decoder.finish(&buffer)?;
    Ok(frame.unwrap())
}

/// Decodes a stream that arrives in pieces, of which each frame begins the next phase, the last
/// one for good. Returns each frame with how many octets had arrived and were not used yet.
pub(crate) fn decode<'a>(
    phases: &[Phase],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(Frame, usize)>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(phases[0]);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push((frame, buffer.len())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
            if let Some(phase) = phases.get(frames.len()) {
                decoder.enter(*phase);
            }
        }
    }
    (frames, decoder.finish(&buffer))
}

/// The same without what was left at each frame.
pub(crate) fn decode_frames<'a>(
    phases: &[Phase],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Result<(), FrameError>) {
    let (frames, end) = decode(phases, pieces);
    (frames.into_iter().map(|(frame, _)| frame).collect(), end)
}

/// All frames of a stream that is received in one piece, and where each of them ends.
pub(crate) fn frames(phases: &[Phase], stream: &[u8]) -> Vec<(Frame, usize)> {
    let (frames, end) = decode(phases, [stream]);
    end.unwrap();
    let ended = |(frame, left)| (frame, stream.len() - left);
    frames.into_iter().map(ended).collect()
}

/// A list as received, with zeros where real senders leave what their memory held: behind names.
pub(crate) fn without_name_padding(list: &[u8]) -> Bytes {
    let mut clean = BytesMut::from(list);
    let mut at = 0;
    while at < list.len() {
        let name_size = usize::from(list[at + 1]);
        let data_size = u32::from_le_bytes(list[at + 2..at + 6].try_into().unwrap()) as usize;
        let data = at + 6 + name_size.next_multiple_of(8);
        clean[at + 6 + name_size..data].fill(0);
        at = data + data_size.next_multiple_of(8);
    }
    clean.freeze()
}

//! Lists, frames, messages, payloads and LZF streams of the original, both ways where there are
//! two: what they say is read, what is read is written back to the same octets, and what is wrong
//! is refused for the right reason.
//!
//! `vectors/README.md` describes the files and their origins.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "common/wire.rs"]
mod wire;

use bytes::Bytes;
use hast_proto::control::{ControlRequest, RoleAnswer, StatusAnswer};
use hast_proto::frame::{Encoder, Frame, FrameError, MAX_LIST, Phase, Segments};
use hast_proto::hooks::HookEvent;
use hast_proto::lzf::{LzfError, decompress};
use hast_proto::message::{
    Bounds, FirstAnswer, MessageError, Opening, Reply, Request, RequestError, RequestFault,
    SecondAnswer,
};
use hast_proto::nv::{List, ListBuf, LookupError, NvError, Text, Type};
use hast_proto::{
    Checksum, ChecksumError, Compression, Digest, Errno, Excerpt, InflateError, Length,
    NumberError, Offset, Payload, PayloadError, Sealer, SectorSize, Sequence,
};
use serde_json::Value as Json;
use wire::{cases, describe, encode, frame, hex, hex_of, input, number, str_of};

#[test]
fn lists_are_encoded_and_decoded_alike() {
    let cases = cases("hast-nv.json", "encode");
    for case in &cases {
        let name = str_of(case, "name");
        let octets = hex_of(case, "hex");
        assert_eq!(hex(&encode(&case["pairs"])), str_of(case, "hex"), "{name}");
        let list = List::parse(&octets).unwrap();
        assert_eq!(describe(list), case["pairs"], "{name}");
        assert_eq!(list.as_bytes(), octets, "{name}");
    }
    println!("{} lists both ways", cases.len());
    assert_eq!(cases.len(), 43);
}

#[test]
fn lists_that_no_sender_makes_are_decoded_too() {
    let cases = cases("hast-nv.json", "decode");
    for case in &cases {
        let name = str_of(case, "name");
        let octets = hex_of(case, "hex");
        let list = List::parse(&octets).unwrap();
        assert_eq!(describe(list), case["pairs"], "{name}");
        let dropped = octets.len() - list.as_bytes().len();
        assert_eq!(dropped, number::<usize>(&case["dropped_tail"]), "{name}");
    }
    println!("{} unusual lists", cases.len());
    assert_eq!(cases.len(), 12);
}

/// What is wrong with each of the malformed lists.
fn nv_fault(name: &str) -> NvError {
    let truncated = |at, need, have| NvError::Truncated { at, need, have };
    let size = |kind, size| NvError::DataSize { at: 0, kind, size };
    match name {
        "truncated_by_one" => truncated(0, 22, 21),
        "truncated_no_data" => truncated(0, 22, 14),
        "truncated_inside_name" => truncated(0, 14, 9),
        "truncated_7_bytes" => truncated(0, 8, 7),
        "truncated_8_bytes" => truncated(0, 14, 8),
        "missing_data_padding" => truncated(0, 22, 15),
        "second_pair_truncated" => truncated(22, 22, 18),
        "type_18" => NvError::Type { at: 0, code: 18 },
        "type_127" => NvError::Type { at: 0, code: 127 },
        "type_0_with_order_flag" => NvError::Type { at: 0, code: 0 },
        "namesize_0" => NvError::Name { at: 0, size: 0 },
        "namesize_too_short" => NvError::Name { at: 0, size: 3 },
        "namesize_too_long" => NvError::Name { at: 0, size: 5 },
        "namesize_255_past_end" => truncated(0, 262, 22),
        "name_not_terminated" | "name_embedded_nul" => NvError::Name { at: 0, size: 4 },
        "dsize_0_scalar" => size(Type::U8, 0),
        "dsize_0_array" => size(Type::U8Array, 0),
        "dsize_0_string" => size(Type::String, 0),
        "u8_dsize_2" => size(Type::U8, 2),
        "i16_dsize_1" => size(Type::I16, 1),
        "u32_dsize_8" => size(Type::U32, 8),
        "u64_dsize_4" => size(Type::U64, 4),
        "u64_dsize_9" => size(Type::U64, 9),
        "u16_array_odd" => size(Type::U16Array, 3),
        "u32_array_6" => size(Type::U32Array, 6),
        "u64_array_12" => size(Type::U64Array, 12),
        "string_not_terminated" | "string_embedded_nul" => NvError::String { at: 0 },
        "array_dsize_0x7fffffff" => truncated(0, 14 + 0x8000_0000, 22),
        "array_dsize_0xfffffff8" => truncated(0, 14 + 0xffff_fff8, 22),
        // Where the original wraps around.
        "string_dsize_0xffffffff"
        | "u8_array_dsize_0xffffffff_then_zero"
        | "u16_array_dsize_0xfffffffa_then_zero" => truncated(0, 14 + 0x1_0000_0000, 22),
        name => panic!("unknown case {name}"),
    }
}

#[test]
fn malformed_lists_are_refused_for_the_right_reason() {
    let cases = cases("hast-nv.json", "malformed");
    for case in &cases {
        let name = str_of(case, "name");
        let octets = hex_of(case, "hex");
        assert_eq!(List::parse(&octets), Err(nv_fault(name)), "{name}");
        assert!(ListBuf::parse(octets.into()).is_err(), "{name}");
    }
    println!("{} malformed lists", cases.len());
    assert_eq!(cases.len(), 34);
}

#[test]
fn names_are_looked_up_as_in_the_original() {
    let cases = cases("hast-nv.json", "lookup");
    for case in &cases {
        let octets = hex_of(case, "hex");
        let list = List::parse(&octets).unwrap();
        let name = str_of(case, "lookup_name");
        let number = |found: Result<u64, LookupError>| {
            (Json::from(found.unwrap_or(0).to_string()), found.err())
        };
        let (result, error) = match str_of(case, "lookup_type") {
            "exists" => (list.contains(name).into(), None),
            "uint8" => number(list.get::<u8>(name).map(u64::from)),
            "uint16" => number(list.get::<u16>(name).map(u64::from)),
            "string" => {
                let text = list.get::<Text<'_>>(name);
                let found = text.ok().and_then(Text::to_str).map(str::to_owned);
                (found.into(), text.err())
            }
            kind => panic!("unknown type {kind}"),
        };
        assert_eq!(result, case["result"], "{case}");
        let after = error.map_or("none", |error| error.errno().name());
        assert_eq!(after, str_of(case, "list_error_after"), "{case}");
    }
    println!("{} lookups", cases.len());
    assert_eq!(cases.len(), 9);
}

#[test]
fn frames_are_told_apart() {
    let cases = cases("hast-nv.json", "frame");
    for case in &cases {
        let name = str_of(case, "name");
        let too_long = |len| FrameError::ListTooLong { len, max: MAX_LIST };
        let expected = match name {
            "version3" => Some(FrameError::Version { version: 3 }),
            "version255" => Some(FrameError::Version { version: 255 }),
            "size0" => Some(FrameError::EmptyList),
            "header_only_4_bytes" => Some(FrameError::Truncated { missing: 1 }),
            "body_short" => Some(FrameError::Truncated { missing: 12 }),
            "body_invalid_nv" => Some(FrameError::List(NvError::Type { at: 0, code: 18 })),
            "size_big_endian_by_mistake" => Some(too_long(0x1600_0000)),
            "size_0xffffffff" => Some(too_long(u32::MAX)),
            _ => None,
        };
        let decoded = frame(Phase::Request, &hex_of(case, "hex"));
        assert_eq!(decoded.as_ref().err(), expected.as_ref(), "{name}");
        assert_eq!(str_of(case, "expect") == "ok", decoded.is_ok(), "{name}");
        if let Ok(frame) = decoded {
            assert_eq!(frame.list().get::<u8>("cmd"), Ok(1), "{name}");
        }
    }
    println!("{} frames", cases.len());
    assert_eq!(cases.len(), 12);
}

/// Reads a message as what it is and writes it again; `None` for those between a daemon and its
/// own workers, which have no type: they never leave the host (HAST §9.5).
fn rewrite(case: &Json, frame: &Frame) -> Option<Segments> {
    let version = frame.version();
    let encoder = &mut Encoder::new();
    let id = str_of(case, "id");
    Some(match (str_of(case, "from"), str_of(case, "connection")) {
        ("primary", _) if id.starts_with("hs") => {
            Opening::decode(frame).unwrap().encode(version, encoder)
        }
        ("primary", "first") => Request::decode(frame).unwrap().encode(version, encoder),
        ("secondary", _) if id.starts_with("hs1") || id == "hs2_error_token" => {
            FirstAnswer::decode(frame).unwrap().encode(encoder)
        }
        ("secondary", "first") => SecondAnswer::decode(frame)
            .unwrap()
            .encode(version, encoder),
        ("secondary", "second") => Reply::decode(frame).unwrap().encode(version, encoder),
        ("hastctl" | "snmp_hast", _) => ControlRequest::decode(frame).unwrap().encode(encoder),
        ("hastd", "control") if id.starts_with("ctl_status") => {
            StatusAnswer::decode(frame).unwrap().encode(encoder)
        }
        ("hastd", "control") => RoleAnswer::decode(frame).unwrap().encode(encoder),
        _ => return None,
    })
}

/// Pairs by name.
fn sorted(pairs: Json) -> Vec<Json> {
    let mut pairs = pairs.as_array().unwrap().clone();
    pairs.sort_by_key(|pair| str_of(pair, "name").to_owned());
    pairs
}

fn phase(case: &Json) -> Phase {
    let opening = str_of(case, "id").starts_with("hs");
    match (str_of(case, "from"), str_of(case, "connection")) {
        ("primary", _) if opening => Phase::Opening,
        ("secondary", _) if opening => Phase::Answer,
        ("primary", _) => Phase::Request,
        ("secondary", _) => Phase::Reply,
        _ => Phase::Control,
    }
}

#[test]
fn messages_are_read_and_written_alike() {
    let cases = cases("hast-messages.json", "messages");
    let (mut untyped, mut events) = (0, 0);
    for case in &cases {
        let id = str_of(case, "id");
        let octets = hex_of(case, "wire_hex");
        let frame = frame(phase(case), &octets).unwrap();
        assert_eq!(describe(frame.list()), case["pairs"], "{id}");
        assert_eq!(hex(frame.payload()), str_of(case, "payload_hex"), "{id}");
        assert_eq!(frame.encode(&mut Encoder::new()).concat(), octets, "{id}");
        match rewrite(case, &frame) {
            // The other order is read, but ours is hastctl's.
            Some(written) if id == "ctl_snmp_role" => {
                let list = List::parse(&written.list).unwrap();
                assert_eq!(
                    sorted(describe(list)),
                    sorted(case["pairs"].clone()),
                    "{id}"
                );
                assert_eq!(hex(&written.header), str_of(case, "header_hex"), "{id}");
                assert!(written.payload.is_empty(), "{id}");
            }
            Some(written) => {
                assert_eq!(hex(&written.header), str_of(case, "header_hex"), "{id}");
                assert_eq!(hex(&written.list), str_of(case, "nv_hex"), "{id}");
                assert_eq!(hex(&written.payload), str_of(case, "payload_hex"), "{id}");
            }
            None => {
                // Of these, only what hooks are told has a meaning outside the daemon.
                if let Ok(code) = frame.list().get("event") {
                    let event = HookEvent::from_code(code).unwrap();
                    let word = id.strip_prefix("event_").unwrap().replace('_', "-");
                    assert_eq!(event.word(), word);
                    assert_eq!(event.code(), Some(code));
                    events += 1;
                }
                untyped += 1;
            }
        }
    }
    println!(
        "{} messages, {untyped} of them between a daemon and its workers, {events} of which are \
         events",
        cases.len()
    );
    assert_eq!((cases.len(), untyped, events), (77, 11, 6));
}

/// The payload of a WRITE, a READ's reply, or the answer to the second step.
fn payload_of(case: &Json, frame: &Frame) -> Option<(Option<Length>, Payload)> {
    match phase(case) {
        Phase::Request => match Request::decode(frame).unwrap() {
            Request::Write {
                length, payload, ..
            } => Some((Some(length), payload)),
            _ => None,
        },
        Phase::Reply => match Reply::decode(frame).unwrap() {
            Reply::Data { payload, .. } => Some((None, payload)),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn payloads_are_opened_and_sealed_as_by_the_original() {
    let (mut opened, mut sealed) = (0, 0);
    for case in cases("hast-messages.json", "messages") {
        let id = str_of(&case, "id");
        if case["data"].is_null() {
            continue;
        }
        let data = Bytes::from(input(&case["data"]));
        assert_eq!(data.len(), number::<usize>(&case["data_length"]), "{id}");
        let frame = frame(phase(&case), &hex_of(&case, "wire_hex")).unwrap();
        if phase(&case) == Phase::Answer {
            let Ok(SecondAnswer::Accepted(accepted)) = SecondAnswer::decode(&frame) else {
                panic!("{id}");
            };
            let map = accepted.map.unwrap();
            assert_eq!(map.size(), Length::of(&data), "{id}");
            assert_eq!(map.open(map.size()), Ok(data.clone()), "{id}");
            opened += 1;
        } else {
            let (length, payload) = payload_of(&case, &frame).unwrap();
            assert_eq!(
                length.unwrap_or_else(|| Length::of(&data)),
                Length::of(&data),
                "{id}"
            );
            assert_eq!(payload.open(Length::of(&data)), Ok(data.clone()), "{id}");
            opened += 1;
        }
        let compression = str_of(&case, "compression").parse().unwrap();
        let checksum = str_of(&case, "checksum").parse().unwrap();
        let payload = Sealer::new(compression, checksum)
            .seal(data.clone())
            .unwrap();
        if payload.compression() == Compression::Lzf {
            // Another compressor may find other matches.
            assert_eq!(payload.open(Length::of(&data)), Ok(data), "{id}");
        } else {
            assert_eq!(
                hex(payload.wire_bytes()),
                str_of(&case, "payload_hex"),
                "{id}"
            );
        }
        sealed += 1;
    }
    println!("{opened} payloads opened, {sealed} sealed");
    assert_eq!((opened, sealed), (22, 22));
}

#[test]
fn data_are_compressed_as_by_the_original() {
    let cases = cases("hast-compression.json", "cases");
    let mut count = 0;
    let (mut ours, mut theirs) = (0, 0);
    for case in &cases {
        let data = Bytes::from(input(&case["input"]));
        let sha256 = |octets: &[u8]| {
            hex(Digest::compute(Checksum::Sha256, octets)
                .unwrap()
                .as_bytes())
        };
        assert_eq!(sha256(&data), str_of(case, "input_sha256"));
        for (algorithm, expected) in case["results"].as_object().unwrap() {
            let name = format!("{} {algorithm}", str_of(case, "name"));
            let mut sealer = Sealer::new(algorithm.parse().unwrap(), Checksum::None);
            let payload = sealer.seal(data.clone()).unwrap();
            let field = match payload.compression() {
                Compression::None => None,
                algorithm => Some(algorithm.as_str()),
            };
            assert_eq!(field, expected["compression_field"].as_str(), "{name}");
            let size: usize = number(&expected["size_field"]);
            if field == Some("lzf") {
                ours += payload.wire_bytes().len();
                theirs += size;
            } else {
                assert_eq!(payload.wire_bytes().len(), size, "{name}");
                let expected = str_of(expected, "payload_sha256");
                assert_eq!(sha256(payload.wire_bytes()), expected, "{name}");
            }
            let reply = Reply::Data {
                sequence: Sequence::SYNCHRONISATION,
                payload: payload.clone(),
            };
            let segments = reply.encode(Default::default(), &mut Encoder::new());
            let list = List::parse(&segments.list).unwrap();
            let names = list
                .pairs()
                .map(|pair| Json::from(core::str::from_utf8(pair.name.as_bytes()).unwrap()));
            assert_eq!(
                names.collect::<Json>(),
                expected["nv_names_in_order"],
                "{name}"
            );
            assert_eq!(payload.open(Length::of(&data)), Ok(data.clone()), "{name}");
            count += 1;
        }
    }
    println!(
        "{count} results of {} inputs; LZF {ours} octets, the original's {theirs}",
        cases.len()
    );
    assert_eq!((cases.len(), count), (24, 72));
}

#[test]
fn lzf_streams_are_decoded() {
    let cases = cases("hast-compression.json", "lzf_decode");
    for case in &cases {
        let name = str_of(case, "name");
        let room = number(&case["output_limit"]);
        let stream = hex_of(case, "stream_hex");
        let mut output = vec![0xee; room];
        let decoded = decompress(&stream, &mut output);
        let truncated = LzfError::Truncated { len: stream.len() };
        let expected = match name {
            "output_one_short" | "literal_past_output" => Some(LzfError::TooLong { room }),
            "literal_past_input"
            | "backref_missing_low_offset"
            | "backref_long_missing_len"
            | "backref_long_missing_offset" => Some(truncated),
            "backref_before_start" => Some(LzfError::Distance {
                distance: 6,
                written: 1,
            }),
            "backref_first" => Some(LzfError::Distance {
                distance: 1,
                written: 0,
            }),
            _ => None,
        };
        assert_eq!(decoded.err(), expected, "{name}");
        assert_eq!(decoded.is_ok(), str_of(case, "expect") == "ok", "{name}");
        match decoded {
            Ok(written) => assert_eq!(
                hex(&output[..written]),
                str_of(case, "output_hex"),
                "{name}"
            ),
            Err(error) => assert_eq!(error.errno().name(), str_of(case, "real_errno"), "{name}"),
        }
    }
    println!("{} LZF streams", cases.len());
    assert_eq!(cases.len(), 15);
}

#[test]
fn wrong_compression_is_refused_for_the_right_reason() {
    let cases = cases("hast-compression.json", "receive");
    for case in &cases {
        let name = str_of(case, "name");
        let frame = frame(Phase::Request, &hex_of(case, "wire_hex")).unwrap();
        assert_eq!(hex(frame.payload()), str_of(case, "payload_hex"), "{name}");
        let expected = Length::new(number(&case["receiver_buffer"]));
        let opened = match Request::decode(&frame) {
            Ok(Request::Write {
                length, payload, ..
            }) => {
                assert_eq!(length, expected, "{name}");
                payload.open(length)
            }
            Err(RequestError {
                fault: RequestFault::Payload(error),
                ..
            }) => Err(error),
            other => panic!("{name}: {other:?}"),
        };
        let length = |found| InflateError::Length {
            found,
            expected: expected.get(),
        };
        let fault = match name {
            "hole_ok" => None,
            "hole_size_3" => Some(InflateError::HoleSize { len: 3 }),
            "hole_size_5" => Some(InflateError::HoleSize { len: 5 }),
            "hole_larger_than_buffer" => Some(length(1024)),
            "hole_zero" => Some(length(0)),
            "hole_shorter_than_length" => Some(length(256)),
            "lzf_size_4" => Some(InflateError::NoStream { len: 4 }),
            "lzf_origsize_1024" => Some(InflateError::BelowThreshold { size: 1024 }),
            "lzf_stream_short_output" => Some(length(2048)),
            "lzf_stream_bad_reference" => Some(length(2048)),
            "raw_larger_than_buffer" | "raw_shorter_than_length" => {
                Some(length(frame.payload().len() as u64))
            }
            "unknown_algorithm" | "empty_algorithm_string" => {
                let word = Excerpt::new(case["compression_field"].as_str().unwrap().as_bytes());
                let error = PayloadError::UnknownCompression { word };
                assert_eq!(opened, Err(error), "{name}");
                continue;
            }
            name => panic!("unknown case {name}"),
        };
        assert_eq!(
            opened.clone().err(),
            fault.map(PayloadError::Inflate),
            "{name}"
        );
        assert_eq!(opened.is_ok(), str_of(case, "expect") == "ok", "{name}");
        // With the length that these two announce, the stream itself is looked at.
        let stream = match name {
            "lzf_stream_short_output" => LzfError::TooShort {
                written: 1,
                expected: 2048,
            },
            "lzf_stream_bad_reference" => LzfError::Distance {
                distance: 1,
                written: 0,
            },
            _ => continue,
        };
        let Ok(Request::Write { payload, .. }) = Request::decode(&frame) else {
            panic!("{name}");
        };
        let error = PayloadError::Inflate(InflateError::Lzf(stream));
        assert_eq!(payload.open(Length::new(2048)), Err(error), "{name}");
    }
    println!("{} compressed payloads received", cases.len());
    assert_eq!(cases.len(), 14);
}

#[test]
fn checksums_are_those_of_the_original() {
    let cases = cases("hast-checksum.json", "cases");
    for case in &cases {
        let data = input(&case["input"]);
        let hash = |algorithm| hex(Digest::compute(algorithm, &data).unwrap().as_bytes());
        assert_eq!(hash(Checksum::Crc32), str_of(case, "crc32_hash_hex"));
        assert_eq!(hash(Checksum::Sha256), str_of(case, "sha256_hash_hex"));
    }
    println!("{} inputs, each with two checksums", cases.len());
    assert_eq!(cases.len(), 8);
}

#[test]
fn wrong_checksums_are_refused_for_the_right_reason() {
    let cases = cases("hast-checksum.json", "receive");
    for case in &cases {
        let name = str_of(case, "name");
        let frame = frame(Phase::Reply, &hex_of(case, "wire_hex")).unwrap();
        assert_eq!(describe(frame.list()), case["pairs"], "{name}");
        let length = match name {
            "checksum_over_compressed_octets" | "checksum_over_uncompressed_octets" => 4096,
            _ => 64,
        };
        let opened = match Reply::decode(&frame) {
            Ok(Reply::Data { payload, .. }) => payload.open(Length::new(length)),
            Err(MessageError::Payload(error)) => Err(error),
            other => panic!("{name}: {other:?}"),
        };
        let mismatch = |algorithm| PayloadError::Checksum(ChecksumError::Mismatch { algorithm });
        let size = |algorithm, len, expected| {
            PayloadError::Checksum(ChecksumError::HashSize {
                algorithm,
                len,
                expected,
            })
        };
        let unknown = |word: &str| PayloadError::UnknownChecksum {
            word: Excerpt::new(word.as_bytes()),
        };
        let hash = |error| PayloadError::Field {
            field: "hash",
            error,
        };
        let expected = match name {
            "crc32_big_endian_hash" | "crc32_mismatch" | "checksum_over_uncompressed_octets" => {
                Some(mismatch(Checksum::Crc32))
            }
            "sha256_mismatch" => Some(mismatch(Checksum::Sha256)),
            "hash_missing" => Some(hash(LookupError::Missing)),
            "hash_wrong_type" => Some(hash(LookupError::WrongType {
                wanted: Type::U8Array,
                found: Type::U32,
            })),
            "hash_wrong_size_for_crc32" => Some(size(Checksum::Crc32, 32, 4)),
            "hash_wrong_size_for_sha256" => Some(size(Checksum::Sha256, 4, 32)),
            "unknown_algorithm" => Some(unknown("md5")),
            "algorithm_none_is_unknown" => Some(unknown("none")),
            _ => None,
        };
        assert_eq!(opened.clone().err(), expected, "{name}");
        assert_eq!(opened.is_ok(), str_of(case, "expect") == "ok", "{name}");
    }
    println!("{} checksummed payloads received", cases.len());
    assert_eq!(cases.len(), 15);
}

/// A frame of the pairs, with data where a WRITE has some.
fn request_frame(pairs: &Json) -> Frame {
    let mut list = encode(pairs);
    let view = List::parse(&list).unwrap();
    let length = view.get::<u64>("length").unwrap_or(0);
    let is_write = view.get::<u8>("cmd") == Ok(2);
    let mut payload = Bytes::new();
    if is_write && length != 0 {
        payload = vec![0; length as usize].into();
        let size = payload.len().to_string();
        let size = serde_json::json!([{ "name": "size", "type": "uint32", "value": size }]);
        list.extend_from_slice(&encode(&size));
    }
    let list = List::parse(&list).unwrap();
    let segments = Encoder::new().encode(Default::default(), list, payload);
    frame(Phase::Request, &segments.unwrap().concat()).unwrap()
}

fn request_fault(name: &str, bounds: &Bounds) -> RequestFault {
    let missing = |field| RequestFault::Field {
        field,
        error: LookupError::Missing,
    };
    let wrong = |field, wanted, found| RequestFault::Field {
        field,
        error: LookupError::WrongType { wanted, found },
    };
    let zero = |field| {
        RequestFault::Number(NumberError::Range {
            field,
            value: 0,
            min: 1,
            max: u64::MAX,
        })
    };
    let unaligned = |field, value| RequestFault::Unaligned {
        field,
        value,
        sector: bounds.sector_size,
    };
    let past = |offset, length| RequestFault::PastEnd {
        offset: Offset::new(offset),
        length: Length::new(length),
        data_size: bounds.data_size,
    };
    let too_long = |length| RequestFault::TooLong {
        length: Length::new(length),
        max: bounds.max_transfer,
    };
    match name {
        "cmd_missing" => missing("cmd"),
        "cmd_zero" => RequestFault::Command { code: 0 },
        "cmd_6" => RequestFault::Command { code: 6 },
        "cmd_255" => RequestFault::Command { code: 255 },
        "cmd_wrong_type" => wrong("cmd", Type::U8, Type::U16),
        "seq_missing" | "flush_seq_missing" => missing("seq"),
        "seq_zero" => zero("seq"),
        "seq_wrong_type" => wrong("seq", Type::U64, Type::U32),
        "offset_missing" => missing("offset"),
        "length_missing" => missing("length"),
        "offset_wrong_type" => wrong("offset", Type::U64, Type::I64),
        "length_zero" | "write_length_zero" | "delete_length_zero" => zero("length"),
        "read_too_long" | "write_too_long" => too_long(131_584),
        "write_1m_against_128k" => too_long(1 << 20),
        "offset_unaligned" => unaligned("offset", 100),
        "length_unaligned" | "delete_unaligned" => unaligned("length", 100),
        "offset_unaligned_4096" => unaligned("offset", 512),
        "length_unaligned_4096" => unaligned("length", 512),
        "past_end" => past(1_043_456, 1024),
        "at_end" => past(1_043_968, 512),
        "far_past_end" => past(1 << 63, 512),
        "offset_plus_length_wraps" => past(u64::MAX - 511, 1024),
        "offset_wraps_read" => past(u64::MAX - 511, 512),
        name => panic!("unknown case {name}"),
    }
}

#[test]
fn requests_are_checked_as_by_the_original() {
    let (mut accepted, mut refused, mut refused_here) = (0, 0, 0);
    for case in &cases("hast-decisions.json", "request_check") {
        let name = str_of(case, "name");
        let bounds = Bounds {
            data_size: Length::new(number(&case["datasize"])),
            sector_size: SectorSize::new(number(&case["sectorsize"])).unwrap(),
            max_transfer: Length::new(number(&case["max_io"])),
        };
        let request = bounds.decode(&request_frame(&case["pairs"]));
        let sequence: u64 = number(&case["reply_seq"]);
        if str_of(case, "expect") == "ok" {
            let request = request.unwrap();
            let parsed = &case["parsed"];
            assert_eq!(
                request.sequence().map_or(0, Sequence::get),
                sequence,
                "{name}"
            );
            assert_eq!(sequence, number::<u64>(&parsed["seq"]), "{name}");
            let (offset, length) = request.range().unwrap_or_default();
            assert_eq!(offset.get(), number::<u64>(&parsed["offset"]), "{name}");
            assert_eq!(length.get(), number::<u64>(&parsed["length"]), "{name}");
            let (command, memsync) = match request {
                Request::Read { .. } => (1, false),
                Request::Write { memsync, .. } => (2, memsync),
                Request::Delete { .. } => (3, false),
                Request::Flush { .. } => (4, false),
                Request::Keepalive | Request::Progress(_) => (5, false),
            };
            assert_eq!(command, number::<u8>(&parsed["cmd"]), "{name}");
            assert_eq!(Json::from(memsync), parsed["memsync"], "{name}");
            assert_eq!(bounds.check(&request), Ok(()), "{name}");
            accepted += 1;
        } else {
            // Sums that wrap around, which the original does not notice.
            let stricter = !case["real"].is_null();
            assert_eq!(number::<i32>(&case["error"]), if stricter { 0 } else { 22 });
            *if stricter {
                &mut refused_here
            } else {
                &mut refused
            } += 1;

            let error = request.unwrap_err();
            assert_eq!(error.fault, request_fault(name, &bounds), "{name}");
            assert_eq!(error.sequence.map_or(0, Sequence::get), sequence, "{name}");
            match error.reply() {
                // The original's thread for replies dies of these.
                None => assert!(name.starts_with("cmd_"), "{name}"),
                Some(reply) => {
                    let expected = Reply::Failed {
                        sequence: Sequence::new(sequence).ok(),
                        received: false,
                        error: Errno::EINVAL,
                    };
                    assert_eq!(reply, expected, "{name}");
                }
            }
        }
    }
    println!(
        "{accepted} requests accepted, {refused} refused, {refused_here} accepted by the original"
    );
    assert_eq!((accepted, refused, refused_here), (19, 26, 2));
}

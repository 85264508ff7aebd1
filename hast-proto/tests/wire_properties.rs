//! Properties: what is written is read again, what is read is written again, no octets make
//! anything panic, and the `lzf` crate agrees.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is how a test fails"
)]

use bytes::{Bytes, BytesMut};
use hast_proto::control::{
    Connection, ControlFault, ControlRequest, Differing, Queues, ResourceStatus, Resources,
    RoleAnswer, SplitBrain, Statistics, StatusAnswer, Worker,
};
use hast_proto::decision::Changes;
use hast_proto::frame::{Decoder, Encoder, Frame, Phase, Segments};
use hast_proto::lzf::{Compressor, decompress, decompress_exact};
use hast_proto::message::{
    Accepted, Bounds, FirstAnswer, FirstStep, Map, Opening, Refusal, Refused, Reply, Request,
    Reunion, SecondAnswer, SecondStep, Standing, Welcome,
};
use hast_proto::nv::{Array, List, Name, Text, Value, Writer};
use hast_proto::{
    Checksum, Compression, Counters, Errno, ExtentSize, Length, Offset, Payload, Replication,
    ResourceId, ResourceName, Role, Sealer, SectorSize, Sequence, SyncSource, Token, Version,
    is_zero,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn receive(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let frame = Decoder::new(phase).decode(&mut buffer).unwrap();
    assert!(buffer.is_empty());
    frame.unwrap()
}

/// A value as octets that own themselves: type code, then data without a string's NUL.
fn any_value() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (1..=17u8).prop_flat_map(|code| {
        let element = match code {
            17 => 1,
            code => 1 << ((code - 1) % 8 / 2),
        };
        let count = match code {
            1..=8 => 1..=1,
            9..=16 => 1..=9,
            _ => 0..=40,
        };
        vec(any::<u8>(), count).prop_map(move |octets| {
            let octets = octets.iter().flat_map(|octet| vec![*octet; element]);
            match code {
                17 => (code, octets.filter(|octet| *octet != 0).collect()),
                _ => (code, octets.collect()),
            }
        })
    })
}

fn value(code: u8, data: &[u8]) -> Value<'_> {
    match code {
        1 => Value::I8(i8::from_le_bytes(data.try_into().unwrap())),
        2 => Value::U8(u8::from_le_bytes(data.try_into().unwrap())),
        3 => Value::I16(i16::from_le_bytes(data.try_into().unwrap())),
        4 => Value::U16(u16::from_le_bytes(data.try_into().unwrap())),
        5 => Value::I32(i32::from_le_bytes(data.try_into().unwrap())),
        6 => Value::U32(u32::from_le_bytes(data.try_into().unwrap())),
        7 => Value::I64(i64::from_le_bytes(data.try_into().unwrap())),
        8 => Value::U64(u64::from_le_bytes(data.try_into().unwrap())),
        9 => Value::I8Array(Array::new(data).unwrap()),
        10 => Value::U8Array(Array::new(data).unwrap()),
        11 => Value::I16Array(Array::new(data).unwrap()),
        12 => Value::U16Array(Array::new(data).unwrap()),
        13 => Value::I32Array(Array::new(data).unwrap()),
        14 => Value::U32Array(Array::new(data).unwrap()),
        15 => Value::I64Array(Array::new(data).unwrap()),
        16 => Value::U64Array(Array::new(data).unwrap()),
        _ => Value::String(Text::new(data).unwrap()),
    }
}

fn any_sequence() -> impl Strategy<Value = Sequence> {
    (1..=u64::MAX).prop_map(|number| Sequence::new(number).unwrap())
}

fn any_name() -> impl Strategy<Value = ResourceName> {
    "[a-zA-Z0-9._:/-]{1,60}".prop_map(|name| ResourceName::new(&name).unwrap())
}

/// Zeros, noise, and what repeats.
fn any_data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (1..5000_usize).prop_map(|len| vec![0; len]),
        vec(any::<u8>(), 1..3000),
        (vec(any::<u8>(), 1..200), 1..60_usize).prop_map(|(piece, times)| piece.repeat(times)),
        vec(prop_oneof![Just(0), 97..=100u8], 1..9000),
    ]
}

fn any_payload() -> impl Strategy<Value = (Vec<u8>, Payload)> {
    let compression = select(&[Compression::None, Compression::Hole, Compression::Lzf]);
    let checksum = select(&[Checksum::None, Checksum::Crc32, Checksum::Sha256]);
    (any_data(), compression, checksum).prop_map(|(data, compression, checksum)| {
        let payload = Sealer::new(compression, checksum).seal(data.clone().into());
        (data, payload.unwrap())
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let fields = (
        any_sequence(),
        any::<u64>().prop_map(Offset::new),
        1..=u64::MAX,
    );
    (0..5u8, fields, any_payload(), any::<bool>()).prop_map(
        |(kind, (sequence, offset, length), (data, payload), memsync)| {
            let length = Length::new(length);
            match kind {
                0 => Request::Read {
                    sequence,
                    offset,
                    length,
                },
                1 => Request::Write {
                    sequence,
                    offset,
                    length: Length::of(&data),
                    memsync,
                    payload,
                },
                2 => Request::Delete {
                    sequence,
                    offset,
                    length,
                },
                3 => Request::Flush { sequence },
                _ => Request::Keepalive,
            }
        },
    )
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let error = (1..=97_i16).prop_map(|number| Errno::from_wire(number).unwrap());
    prop_oneof![
        any_sequence().prop_map(|sequence| Reply::Received { sequence }),
        any_sequence().prop_map(|sequence| Reply::Done { sequence }),
        (any_sequence(), any_payload())
            .prop_map(|(sequence, (_, payload))| Reply::Data { sequence, payload }),
        (option::of(any_sequence()), any::<bool>(), error).prop_map(
            |(sequence, received, error)| Reply::Failed {
                sequence,
                received,
                error,
            }
        ),
    ]
}

fn any_counters() -> impl Strategy<Value = Counters> {
    any::<(u64, u64)>().prop_map(|(local, remote)| Counters { local, remote })
}

fn any_map() -> impl Strategy<Value = Map> {
    any_payload()
        .prop_map(|(data, payload)| Map::new(u32::try_from(data.len()).unwrap(), payload).unwrap())
}

fn any_reunion() -> impl Strategy<Value = Reunion> {
    let changes = select(&[Changes::Possible, Changes::None]);
    (changes, option::of(any_map())).prop_map(|(changes, map)| Reunion { changes, map })
}

fn any_opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        (any_name(), option::of(any::<u8>()))
            .prop_map(|(resource, version)| Opening::First(FirstStep { resource, version })),
        (
            any_name(),
            any::<([u8; 16], bool, u64)>(),
            any_counters(),
            option::of(any_reunion())
        )
            .prop_map(
                |(resource, (token, virgin, id), counters, reunion)| Opening::Second(SecondStep {
                    resource,
                    token: Token::new(token),
                    virgin,
                    resource_id: ResourceId::new(id),
                    counters,
                    reunion,
                })
            ),
    ]
}

fn any_refused() -> impl Strategy<Value = Refused> {
    let role = select(&[Role::Init, Role::Primary, Role::Secondary]);
    let reason = prop_oneof![
        Just(Refusal::NotConfigured),
        Just(Refusal::NoAccess),
        Just(Refusal::WrongToken),
        Just(Refusal::SplitBrain),
        role.prop_map(Refusal::Role),
        any::<(u64, u64)>()
            .prop_map(|(primary, secondary)| Refusal::ResourceIdMismatch { primary, secondary }),
        "[a-z]{0,30}".prop_map(|reason| Refusal::NoHeader(reason.into())),
        "[a-z]{0,30}".prop_map(|reason| Refusal::NotSent(reason.into())),
        "[a-z]{0,30}".prop_map(|text| Refusal::Other(text.into())),
    ];
    (reason, any::<bool>()).prop_map(|(reason, wait)| Refused { reason, wait })
}

fn any_standing() -> impl Strategy<Value = Standing> {
    (0..=u64::MAX >> 1, 0..=30_u32, any_counters()).prop_map(
        |(data_size, extent_size, counters)| Standing {
            data_size: Length::new(data_size),
            extent_size: ExtentSize::new(1 << extent_size).unwrap(),
            counters,
        },
    )
}

fn any_second_answer() -> impl Strategy<Value = SecondAnswer> {
    let source = select(&[SyncSource::Primary, SyncSource::Secondary]);
    prop_oneof![
        (any_standing(), any::<bool>(), source, option::of(any_map())).prop_map(
            |(standing, virgin, source, map)| SecondAnswer::Accepted(Accepted {
                standing,
                virgin,
                source,
                map,
            })
        ),
        (option::of(any_standing()), any_refused()).prop_map(|(standing, refused)| {
            SecondAnswer::Refused {
                standing,
                refused,
                map: None,
            }
        }),
        (option::of(any_standing()), any::<bool>(), any_map()).prop_map(|(standing, wait, map)| {
            SecondAnswer::Refused {
                standing,
                refused: Refused {
                    reason: Refusal::SplitBrain,
                    wait,
                },
                map: Some(map),
            }
        }),
    ]
}

fn any_fault() -> impl Strategy<Value = ControlFault> {
    any::<i16>().prop_filter_map("0 is none", ControlFault::from_code)
}

fn any_differing() -> impl Strategy<Value = Differing> {
    any::<(u32, u64)>().prop_map(|(extents, octets)| Differing { extents, octets })
}

fn any_worker() -> impl Strategy<Value = Worker> {
    (
        any::<(u64, u32, u32)>(),
        any::<[u64; 9]>(),
        any::<[u64; 5]>(),
        1..i32::MAX,
    )
        .prop_map(|((dirty, extent_size, keep_dirty), s, q, pid)| Worker {
            pid,
            connection: match pid % 2 {
                0 => Connection::Complete,
                _ => Connection::Degraded,
            },
            dirty,
            extent_size,
            keep_dirty,
            statistics: Statistics {
                reads: s[0],
                writes: s[1],
                deletes: s[2],
                flushes: s[3],
                activemap_updates: s[4],
                read_errors: s[5],
                write_errors: s[6],
                delete_errors: s[7],
                flush_errors: s[8],
            },
            queues: Queues {
                idle: q[0],
                local: q[1],
                send: q[2],
                receive: q[3],
                done: q[4],
            },
        })
}

fn any_status() -> impl Strategy<Value = ResourceStatus> {
    let text = "[ -~]{0,40}";
    (
        text,
        text,
        text,
        option::of(text),
        0..3_u8,
        option::of(any_worker()),
        option::of((any_differing(), option::of(any_differing()))),
    )
        .prop_map(
            |(provider, local, remote, source, choice, worker, split)| ResourceStatus {
                provider: provider.into(),
                local: local.into(),
                remote: remote.into(),
                source: source.map(Into::into),
                replication: [
                    Replication::Fullsync,
                    Replication::Memsync,
                    Replication::Async,
                ][usize::from(choice)],
                checksum: [Checksum::None, Checksum::Crc32, Checksum::Sha256][usize::from(choice)],
                compression: [Compression::None, Compression::Hole, Compression::Lzf]
                    [usize::from(choice)],
                role: [Role::Init, Role::Primary, Role::Secondary][usize::from(choice)],
                worker,
                split_brain: split.map(|(local, remote)| SplitBrain { local, remote }),
            },
        )
}

proptest! {
    #[test]
    fn a_list_written_is_the_list_read(
        pairs in vec((vec(1..=255u8, 0..=254), any_value()), 0..8),
    ) {
        let mut octets = BytesMut::new();
        let mut writer = Writer::new(&mut octets);
        for (name, (code, data)) in &pairs {
            writer.push(Name::new(name).unwrap(), value(*code, data));
        }
        let list = List::parse(&octets).unwrap();
        prop_assert_eq!(list.as_bytes().len(), octets.len());
        let read = list.pairs().map(|pair| (pair.name, pair.value));
        let expected = pairs.iter().map(|(name, (code, data))| {
            (Name::new(name).unwrap(), value(*code, data))
        });
        prop_assert!(read.eq(expected));
        // Cut anywhere within a pair, it is no list.
        for len in 1..octets.len().min(64) {
            let cut = List::parse(&octets[..len]);
            prop_assert!(cut.is_err() || octets.len() > len && cut.unwrap().as_bytes().len() == len);
        }
    }

    #[test]
    fn a_list_read_is_the_list_written(octets in vec(prop_oneof![
        3 => Just(0), 2 => 0..=18u8, 1 => any::<u8>(),
    ], 0..200)) {
        if let Ok(list) = List::parse(&octets) {
            let mut written = BytesMut::new();
            let mut writer = Writer::new(&mut written);
            for pair in list {
                writer.push(pair.name, pair.value);
            }
            prop_assert_eq!(List::parse(&written), Ok(list));
            prop_assert_eq!(written.len(), list.as_bytes().len());
        }
    }

    #[test]
    fn requests_come_back(request in any_request()) {
        let segments = request.encode(Version::V2, &mut Encoder::new());
        let frame = receive(Phase::Request, &segments);
        prop_assert_eq!(Request::decode(&frame), Ok(request));
        prop_assert_eq!(frame.encode(&mut Encoder::new()), segments);
    }

    #[test]
    fn a_request_within_bounds_ends_within_the_data(
        request in any_request(), size in any::<u64>(), sector in 0..=20u32,
    ) {
        let bounds = Bounds {
            data_size: Length::new(size),
            sector_size: SectorSize::new(1 << sector).unwrap(),
            max_transfer: Length::MAX_TRANSFER,
        };
        let frame = receive(Phase::Request, &request.encode(Version::V2, &mut Encoder::new()));
        prop_assert_eq!(bounds.check(&request).is_ok(), bounds.decode(&frame).is_ok());
        if let (Ok(()), Some((offset, length))) = (bounds.check(&request), request.range()) {
            prop_assert!(offset.get().checked_add(length.get()).unwrap() <= size);
            prop_assert!(bounds.sector_size.divides(offset.get() | length.get()));
        }
    }

    #[test]
    fn replies_come_back(reply in any_reply(), first in any::<bool>()) {
        let version = if first { Version::V1 } else { Version::V2 };
        let segments = reply.encode(version, &mut Encoder::new());
        let frame = receive(Phase::Reply, &segments);
        prop_assert_eq!(frame.version(), version);
        prop_assert_eq!(Reply::decode(&frame), Ok(reply));
        prop_assert_eq!(frame.encode(&mut Encoder::new()), segments);
    }

    #[test]
    fn handshakes_come_back(
        opening in any_opening(), refused in any_refused(), second in any_second_answer(),
        token in any::<[u8; 16]>(), reunion in any::<bool>(),
        version in select(&[None, Some(Version::V1), Some(Version::V2)]),
    ) {
        let encoder = &mut Encoder::new();
        let frame = receive(Phase::Opening, &opening.encode(Version::V1, encoder));
        prop_assert_eq!(Opening::decode(&frame), Ok(opening));
        let welcome = Welcome { version, token: Token::new(token), reunion };
        for first in [FirstAnswer::Refused(refused), FirstAnswer::Welcome(welcome)] {
            let frame = receive(Phase::Answer, &first.encode(encoder));
            prop_assert_eq!(FirstAnswer::decode(&frame), Ok(first));
        }
        let frame = receive(Phase::Answer, &second.encode(Version::V2, encoder));
        prop_assert_eq!(SecondAnswer::decode(&frame), Ok(second));
    }

    #[test]
    fn control_messages_come_back(
        names in vec(any_name().prop_filter("all is all", |name| name.as_str() != "all"), 1..5),
        statuses in vec(prop_oneof![any_status().prop_map(Ok), any_fault().prop_map(Err)], 5),
        fault in option::of(any_fault()),
    ) {
        let encoder = &mut Encoder::new();
        let named = Resources::Named(names.clone());
        for request in [
            ControlRequest::Status(Resources::All),
            ControlRequest::Status(named.clone()),
            ControlRequest::SetRole(Role::Init, Resources::All),
            ControlRequest::SetRole(Role::Primary, named),
        ] {
            let frame = receive(Phase::Control, &request.encode(encoder));
            prop_assert_eq!(ControlRequest::decode(&frame), Ok(request));
        }
        let roles = names.iter().cloned().zip(statuses.iter().map(|status| match status {
            Ok(status) => Ok(status.role),
            Err(fault) => Err(*fault),
        }));
        let answer = RoleAnswer { resources: roles.collect(), fault };
        let frame = receive(Phase::Control, &answer.encode(encoder));
        prop_assert_eq!(RoleAnswer::decode(&frame), Ok(answer));
        let answer = StatusAnswer { resources: names.into_iter().zip(statuses).collect(), fault };
        let frame = receive(Phase::Control, &answer.encode(encoder));
        prop_assert_eq!(StatusAnswer::decode(&frame), Ok(answer));
    }

    #[test]
    fn payloads_are_opened_with_their_length_only((data, payload) in any_payload(), off in 1..9u64) {
        let length = Length::of(&data);
        prop_assert_eq!(payload.open(length), Ok(Bytes::from(data)));
        prop_assert!(payload.open(Length::new(length.get() + off)).is_err());
        prop_assert!(payload.open(Length::new(length.get().saturating_sub(off))).is_err());
    }

    #[test]
    fn zeros_are_holes_and_nothing_else_is(mut data in any_data(), at in any::<usize>()) {
        prop_assert_eq!(is_zero(&data), data.iter().all(|octet| *octet == 0));
        let at = at % data.len();
        data[at] = data[at].max(1);
        prop_assert!(!is_zero(&data));
    }

    #[test]
    fn what_is_compressed_is_what_the_lzf_crate_decompresses(datas in vec(any_data(), 1..4)) {
        // One compressor for all, so that what it has seen before must not matter.
        let mut compressor = Compressor::new();
        for data in datas {
            let mut stream = vec![0; data.len() + data.len() / 32 + 1];
            let len = compressor.compress(&data, &mut stream).unwrap();
            prop_assert_eq!(lzf::decompress(&stream[..len], data.len()).unwrap(), &data[..]);
            let mut output = vec![0; data.len()];
            prop_assert_eq!(decompress_exact(&stream[..len], &mut output), Ok(()));
            prop_assert_eq!(&output, &data);
            // One octet less is not enough, and is not exceeded.
            stream[len - 1..].fill(0xee);
            prop_assert_eq!(compressor.compress(&data, &mut stream[..len - 1]), None);
            prop_assert!(stream[len - 1..].iter().all(|octet| *octet == 0xee));
        }
    }

    #[test]
    fn what_the_lzf_crate_compresses_is_decompressed(data in any_data()) {
        if let Ok(stream) = lzf::compress(&data) {
            let mut output = vec![0; data.len()];
            prop_assert_eq!(decompress_exact(&stream, &mut output), Ok(()));
            prop_assert_eq!(&output, &data);
            let mut short = vec![0; data.len() - 1];
            prop_assert!(decompress(&stream, &mut short).is_err());
        }
    }

    #[test]
    fn any_stream_decompresses_to_what_the_lzf_crate_says(
        stream in vec(prop_oneof![0..=40u8, any::<u8>()], 1..300), room in 0..3000usize,
    ) {
        let mut output = vec![0xee; room];
        match (decompress(&stream, &mut output), lzf::decompress(&stream, room)) {
            (Ok(len), Ok(theirs)) => prop_assert_eq!(&output[..len], &theirs[..]),
            (ours, theirs) => prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", ours),
        }
    }

    #[test]
    fn no_octets_make_anything_panic(octets in vec(any::<u8>(), 0..300)) {
        for phase in [
            Phase::Opening, Phase::Answer, Phase::Request, Phase::Reply, Phase::Control,
        ] {
            let mut decoder = Decoder::new(phase);
            let mut buffer = BytesMut::from(&octets[..]);
            while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
                let _ = Opening::decode(&frame);
                let _ = FirstAnswer::decode(&frame);
                let _ = SecondAnswer::decode(&frame);
                let _ = Request::decode(&frame);
                let _ = Reply::decode(&frame);
                let _ = ControlRequest::decode(&frame);
                let _ = RoleAnswer::decode(&frame);
                let _ = StatusAnswer::decode(&frame);
            }
            let _ = decoder.finish(&buffer);
        }
    }
}

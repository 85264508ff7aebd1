//! The NBD core: what it answers, and that the slicing of octets makes no difference.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod nbd_client;
mod nbd_script;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ha_core::nbd::{
    Agreed, Command, ErrorCode, HandshakeError, MAX_OPTIONS, Next, Offer, OfferError, Refusal,
    Request, RequestError,
};
use nbd_client::*;
use nbd_script::{End, Transcript, answer, offers, play, play_requests};
use proptest::prelude::*;

const STRUCTURED: Agreed = Agreed {
    offer: 0,
    structured: true,
    allocation: true,
};
const SIMPLE: Agreed = Agreed {
    offer: 0,
    structured: false,
    allocation: false,
};

/// The octets of a client that sends `flags` and then `options`.
fn client(flags: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = flags.to_be_bytes().to_vec();
    options.iter().for_each(|option| octets.put_slice(option));
    octets
}

/// What the server says to them after its greeting.
fn played(octets: &[u8]) -> (Vec<u8>, Transcript) {
    let transcript = play([octets]);
    assert_eq!(&transcript.answers[..18], b"NBDMAGICIHAVEOPT\0\x03");
    (transcript.answers[18..].to_vec(), transcript)
}

/// The answers to options: option, type, data.
fn answers(octets: &[u8]) -> (Vec<(u32, u32, Vec<u8>)>, Transcript) {
    let (octets, transcript) = played(octets);
    let mut rest = &octets[..];
    let mut answers = Vec::new();
    while !rest.is_empty() {
        assert_eq!(rest.get_u64(), 0x3_e889_0455_65a9);
        let (option, kind, length) = (rest.get_u32(), rest.get_u32(), rest.get_u32());
        answers.push((option, kind, rest[..length as usize].to_vec()));
        rest.advance(length as usize);
    }
    (answers, transcript)
}

/// The types of the answers to one option.
fn kinds(before: &[Vec<u8>], code: u32, data: &[u8]) -> Vec<u32> {
    let mut options = before.to_vec();
    options.push(option(code, data));
    let (answers, transcript) = answers(&client(3, &options));
    assert!(matches!(transcript.end, End::Quiet | End::Left));
    let skipped = answers.len() - answers.iter().filter(|answer| answer.0 == code).count();
    answers[skipped..].iter().map(|answer| answer.1).collect()
}

#[test]
fn options_are_answered() {
    let none: &[Vec<u8>] = &[];
    let structured = &[option(STRUCTURED_REPLY, &[])][..];
    let allocation = contexts("small", &["base:allocation"]);
    let long = vec![b'x'; 20_000];
    /// Options before it, the option, its data, the types of the answers.
    type Row<'a> = (&'a [Vec<u8>], u32, &'a [u8], &'a [u32]);
    let table: &[Row<'_>] = &[
        (none, ABORT, b"", &[ACK]),
        (none, LIST, b"", &[2, 2, ACK]),
        (none, LIST, b"x", &[ERR_INVALID]),
        (none, STARTTLS, b"", &[ERR_UNSUP]),
        (none, EXTENDED_HEADERS, b"", &[ERR_UNSUP]),
        (none, 4, b"peek", &[ERR_UNSUP]),
        (none, 0, b"", &[ERR_UNSUP]),
        (none, u32::MAX, b"", &[ERR_UNSUP]),
        (none, u32::MAX, &long, &[ERR_TOO_BIG]),
        (none, STRUCTURED_REPLY, b"", &[ACK]),
        (none, STRUCTURED_REPLY, b"x", &[ERR_INVALID]),
        (none, INFO, &info("small", &[]), &[3, 3, ACK]),
        (none, INFO, &info("small", &[3, 1, 2]), &[3, 3, 3, 3, ACK]),
        // The large one has no description to tell.
        (none, INFO, &info("", &[1, 2, 99]), &[3, 3, 3, ACK]),
        (none, INFO, &info("none", &[]), &[ERR_UNKNOWN]),
        (none, INFO, b"", &[ERR_INVALID]),
        (none, INFO, &[0xff; 8], &[ERR_INVALID]),
        (
            none,
            INFO,
            &[&info("", &[])[..], b"x"].concat(),
            &[ERR_INVALID],
        ),
        (none, INFO, b"\0\0\0\x02\xff\xfe\0\0", &[ERR_INVALID]),
        (none, GO, &info("small", &[]), &[3, 3, ACK]),
        (none, GO, &info("none", &[]), &[ERR_UNKNOWN]),
        (none, GO, b"\0", &[ERR_INVALID]),
        (none, SET_META_CONTEXT, &allocation, &[ERR_INVALID]),
        (structured, SET_META_CONTEXT, &allocation, &[4, ACK]),
        (structured, SET_META_CONTEXT, b"", &[ERR_INVALID]),
        (structured, SET_META_CONTEXT, &contexts("", &[]), &[ACK]),
        (
            structured,
            SET_META_CONTEXT,
            &contexts("", &["base:"]),
            &[ACK],
        ),
        (
            structured,
            SET_META_CONTEXT,
            &contexts("", &["qemu:x"]),
            &[ACK],
        ),
        (
            structured,
            SET_META_CONTEXT,
            &contexts("none", &[]),
            &[ERR_UNKNOWN],
        ),
        (structured, LIST_META_CONTEXT, &contexts("", &[]), &[4, ACK]),
        (
            structured,
            LIST_META_CONTEXT,
            &contexts("", &["base:"]),
            &[4, ACK],
        ),
        (
            structured,
            LIST_META_CONTEXT,
            &contexts("", &["qemu:x"]),
            &[ACK],
        ),
        (
            structured,
            LIST_META_CONTEXT,
            &[0, 0, 0, 0, 255, 255, 255, 255],
            &[ERR_INVALID],
        ),
    ];
    for (before, code, data, expected) in table {
        let kinds = kinds(before, *code, data);
        assert_eq!(kinds, *expected, "option {code} with {data:x?}");
    }
}

#[test]
fn what_is_told_of_an_export_is_what_it_is() {
    let options = [option(INFO, &info("small", &[1, 2])), option(LIST, &[])];
    let (answers, _) = answers(&client(3, &options));
    let data: Vec<&[u8]> = answers.iter().map(|answer| &answer.2[..]).collect();
    assert_eq!(
        data,
        [
            // Size; flags: read-only, FLUSH, FUA, several connections.
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x01, 0x0f][..],
            &[0, 3, 0, 0, 2, 0, 0, 0, 0x10, 0, 2, 0, 0, 0],
            b"\0\x01small",
            b"\0\x02read-only",
            b"",
            b"\0\0\0\0",
            b"\0\0\0\x05smallread-only",
            b"",
        ]
    );
    // The large one may be written: TRIM, WRITE_ZEROES and FAST_ZERO, and DF in chunks.
    for (structured, flags) in [(false, 0x096d_u16), (true, 0x09ed)] {
        let before = option(STRUCTURED_REPLY, &[]);
        let before = if structured { before } else { Vec::new() };
        let (octets, transcript) = played(&client(3, &[before, option(EXPORT_NAME, b"")]));
        let agreed = transcript.agreed.unwrap();
        assert_eq!((agreed.offer, agreed.structured), (0, structured));
        let mut told = &octets[octets.len() - 10..];
        assert_eq!((told.get_u64(), told.get_u16()), (1 << 40, flags));
    }
}

#[test]
fn export_name_is_padded_for_those_who_want_it() {
    for (flags, length) in [(0, 134), (1, 134), (3, 10), (2, 10)] {
        let (octets, transcript) = played(&client(flags, &[option(EXPORT_NAME, b"small")]));
        assert_eq!(octets.len(), length);
        assert!(octets[10..].iter().all(|octet| *octet == 0));
        assert_eq!(transcript.agreed.unwrap().offer, 1);
    }
}

#[test]
fn a_handshake_that_makes_no_sense_ends() {
    let unknown = |name: &str| HandshakeError::UnknownExport { name: name.into() };
    let table = [
        (client(4, &[]), HandshakeError::Flags { flags: 4 }),
        (
            client(u32::MAX, &[]),
            HandshakeError::Flags { flags: u32::MAX },
        ),
        (
            client(3, &[vec![0; 16]]),
            HandshakeError::Magic { magic: 0 },
        ),
        (
            client(0, &[option(GO, &info("", &[]))]),
            HandshakeError::NotFixed { option: GO },
        ),
        (client(3, &[option(EXPORT_NAME, b"none")]), unknown("none")),
        (client(3, &[option(EXPORT_NAME, b"\xff")]), unknown("")),
        (
            client(3, &[option(EXPORT_NAME, &[b'x'; 5000])]),
            unknown(""),
        ),
        (
            client(3, &vec![option(99, &[]); MAX_OPTIONS as usize + 1]),
            HandshakeError::TooManyOptions,
        ),
    ];
    for (octets, error) in table {
        let transcript = play([&octets[..]]);
        assert_eq!(transcript.end, End::Handshake(error));
    }
}

#[test]
fn a_context_counts_for_the_export_that_it_was_selected_for() {
    let structured = option(STRUCTURED_REPLY, &[]);
    let select = |name| option(SET_META_CONTEXT, &contexts(name, &["base:allocation"]));
    let go = |name| option(GO, &info(name, &[]));
    let table = [
        (vec![structured.clone(), select("small"), go("small")], true),
        (vec![structured.clone(), select("small"), go("")], false),
        (vec![structured.clone(), go("small")], false),
        // The last selection counts, also if it has failed.
        (
            vec![
                structured.clone(),
                select("small"),
                select("none"),
                go("small"),
            ],
            false,
        ),
    ];
    for (options, expected) in table {
        let transcript = play([&client(3, &options)[..]]);
        assert_eq!(transcript.agreed.unwrap().allocation, expected);
    }
}

/// What comes of one request to the large export, or to the small one.
fn next(agreed: Agreed, octets: &[u8]) -> Next {
    let (mut seen, end) = play_requests(&offers(), agreed, BytesMut::new(), [octets]);
    assert_eq!((seen.len(), end), (1, End::Quiet));
    seen.remove(0)
}

#[test]
fn requests_are_understood() {
    let data = Bytes::from_static(&[5; 512]);
    let (offset, length) = (1024, 2048);
    let read = |whole| Command::Read {
        offset,
        length,
        whole,
    };
    let zeroes = |keep| Command::WriteZeroes {
        offset,
        length,
        keep,
    };
    let status = |one| Command::Status {
        offset,
        length,
        one,
    };
    let table = [
        (0, READ, read(false), false),
        (FUA, READ, read(false), true),
        (DF, READ, read(true), false),
        (FUA, FLUSH, Command::Flush, true),
        (0, TRIM, Command::Trim { offset, length }, false),
        (0, WRITE_ZEROES, zeroes(false), false),
        (NO_HOLE | FUA, WRITE_ZEROES, zeroes(true), true),
        (0, BLOCK_STATUS, status(false), false),
        (REQ_ONE, BLOCK_STATUS, status(true), false),
    ];
    for (flags, code, command, durable) in table {
        let expected = Next::Request(Request {
            cookie: u64::MAX,
            command,
            durable,
        });
        let octets = request(flags, code, u64::MAX, offset, length);
        assert_eq!(next(STRUCTURED, &octets), expected);
    }
    let expected = Next::Request(Request {
        cookie: 3,
        command: Command::Write {
            offset,
            data: data.clone(),
        },
        durable: false,
    });
    assert_eq!(next(SIMPLE, &write(3, offset, &data)), expected);
}

#[test]
fn requests_that_cannot_be_done_are_refused() {
    let small = Agreed {
        offer: 1,
        ..STRUCTURED
    };
    let end = (1 << 40) - 512;
    let too_much = 32 * 1024 * 1024;
    let table: &[(Agreed, u16, u16, u64, u32, ErrorCode)] = &[
        (SIMPLE, 0, CACHE, 0, 512, ErrorCode::Invalid),
        (SIMPLE, 0, 8, 0, 512, ErrorCode::Invalid),
        (SIMPLE, 0, u16::MAX, 0, 0, ErrorCode::Invalid),
        (SIMPLE, 0, BLOCK_STATUS, 0, 512, ErrorCode::Invalid),
        (STRUCTURED, 0, BLOCK_STATUS, 0, 0, ErrorCode::Invalid),
        (STRUCTURED, 0, BLOCK_STATUS, end, 1024, ErrorCode::Invalid),
        (SIMPLE, DF, READ, 0, 512, ErrorCode::Invalid),
        (STRUCTURED, NO_HOLE, READ, 0, 512, ErrorCode::Invalid),
        (STRUCTURED, 1 << 5, READ, 0, 512, ErrorCode::Invalid),
        (STRUCTURED, DF, TRIM, 0, 512, ErrorCode::Invalid),
        (STRUCTURED, 0, READ, 1, 512, ErrorCode::Invalid),
        (STRUCTURED, 0, READ, 0, 513, ErrorCode::Invalid),
        (STRUCTURED, 0, READ, end, 1024, ErrorCode::Invalid),
        (STRUCTURED, 0, READ, u64::MAX - 511, 512, ErrorCode::Invalid),
        (STRUCTURED, 0, READ, 0, too_much, ErrorCode::Invalid),
        (STRUCTURED, DF, READ, 0, too_much, ErrorCode::Overflow),
        (STRUCTURED, 0, TRIM, end, 1024, ErrorCode::Invalid),
        (STRUCTURED, 0, WRITE_ZEROES, end, 1024, ErrorCode::NoSpace),
        (
            STRUCTURED,
            FAST_ZERO,
            WRITE_ZEROES,
            0,
            512,
            ErrorCode::NotSupported,
        ),
        (small, 0, WRITE_ZEROES, 0, 512, ErrorCode::NotPermitted),
        (small, 0, TRIM, 0, 512, ErrorCode::NotPermitted),
    ];
    for (agreed, flags, command, offset, length, code) in table {
        let octets = request(*flags, *command, 6, *offset, *length);
        let Next::Refused { cookie: 6, why } = next(*agreed, &octets) else {
            panic!("{octets:x?} is not refused");
        };
        assert_eq!(why.code(), *code, "{why}");
    }
}

#[test]
fn the_data_of_a_refused_write_are_passed_over() {
    let small = Agreed { offer: 1, ..SIMPLE };
    let flush = request(0, FLUSH, 2, 0, 0);
    let table = [
        (small, 0, 512, ErrorCode::NotPermitted),
        (SIMPLE, 1, 512, ErrorCode::Invalid),
        (SIMPLE, 1 << 40, 70_000 - 70_000 % 512, ErrorCode::NoSpace),
        (SIMPLE, 0, 17 << 20, ErrorCode::Invalid),
    ];
    for (agreed, offset, length, code) in table {
        let mut octets = write(1, offset, &vec![0x25; length]);
        octets.extend(&flush);
        let pieces = octets.chunks(100_000);
        let (seen, end) = play_requests(&offers(), agreed, BytesMut::new(), pieces);
        assert_eq!((seen.len(), end), (2, End::Quiet));
        assert!(matches!(&seen[0], Next::Refused { cookie: 1, why } if why.code() == code));
        assert!(matches!(&seen[1], Next::Request(request) if request.cookie == 2));
    }
}

#[test]
fn octets_that_are_no_request_end_the_connection() {
    let magic = 0x2560_9512;
    let mut octets = request(0, FLUSH, 1, 0, 0);
    octets[3] = 0x12;
    let (seen, end) = play_requests(&offers(), SIMPLE, BytesMut::new(), [&octets[..]]);
    assert_eq!(
        (seen, end),
        (vec![], End::Request(RequestError::Magic { magic }))
    );
}

#[test]
fn what_follows_a_farewell_is_not_looked_at() {
    let octets = [request(0, DISC, 0, 0, 0), vec![1; 100]].concat();
    let (seen, end) = play_requests(&offers(), SIMPLE, BytesMut::new(), [&octets[..]]);
    assert_eq!((seen, end), (vec![], End::Left));
}

#[test]
fn an_offer_that_the_protocol_does_not_allow_is_none() {
    let offer = Offer::new("a", 1024);
    assert_eq!(offer.check(), Ok(()));
    let mut long = offer.clone();
    long.description = "x".repeat(4097);
    assert_eq!(long.check(), Err(OfferError::TooLong { length: 4097 }));
    let mut nul = offer.clone();
    nul.name = "a\0".into();
    assert!(matches!(nul.check(), Err(OfferError::Nul { .. })));
    let mut odd = offer.clone();
    odd.size = 1000;
    assert!(matches!(odd.check(), Err(OfferError::Size { .. })));
    let mut blocks = offer;
    blocks.preferred = 256.try_into().unwrap();
    assert!(matches!(blocks.check(), Err(OfferError::Blocks { .. })));
}

#[test]
fn refusals_say_what_is_wrong() {
    let why = Refusal::Outside {
        offset: 4096,
        length: 512,
        size: 4096,
        write: true,
    };
    let text = "512 octets from 4096 are more than the 4096 of the export";
    assert_eq!(why.to_string(), text);
}

/// Octets that a client may send: good, bad and nonsense.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just(""), Just("small"), Just("none")];
    let query = prop_oneof![Just("base:"), Just("base:allocation"), Just("qemu:")];
    let options = prop_oneof![
        (any::<u32>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(code, data)| option(code % 12, &data)),
        (
            6..8_u32,
            name.clone(),
            prop::collection::vec(0..5_u16, 0..4)
        )
            .prop_map(|(code, name, wanted)| option(code, &info(name, &wanted))),
        (9..11_u32, name.clone(), prop::collection::vec(query, 0..3))
            .prop_map(|(code, name, queries)| option(code, &contexts(name, &queries))),
        Just(option(STRUCTURED_REPLY, &[])),
        Just(option(99, &[7; 17_000])),
        name.prop_map(|name| option(EXPORT_NAME, name.as_bytes())),
    ];
    let blocks = prop_oneof![0..12_u32, Just(120), Just(200)];
    let requests = (any::<u16>(), 0..9_u16, any::<u64>(), 0..10_u64, blocks).prop_map(
        |(flags, command, cookie, block, blocks)| {
            let flags = if flags % 3 == 0 { flags % 64 } else { 0 };
            let length = blocks * 512;
            let mut octets = request(flags, command, cookie, block * 512, length);
            if command == WRITE {
                octets.resize(28 + length as usize, cookie as u8);
            }
            octets
        },
    );
    let flags = prop_oneof![9 => Just(3_u32), 1 => any::<u32>()];
    let options = prop::collection::vec(options, 0..8);
    let requests = prop::collection::vec(requests, 0..12);
    (flags, options, requests).prop_map(|(flags, options, requests)| {
        let mut octets = client(flags, &options);
        requests
            .iter()
            .for_each(|request| octets.put_slice(request));
        octets
    })
}

proptest! {
    #[test]
    fn the_slicing_makes_no_difference(
        octets in sent(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = play([&octets[..]]);
        prop_assert_eq!(&play(octets.chunks(1)), &whole);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
        cuts.sort_unstable();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([octets.len()]);
        let pieces = starts.zip(ends).map(|(start, end)| &octets[start..end]);
        prop_assert_eq!(&play(pieces), &whole);
    }

    #[test]
    fn nonsense_does_no_harm(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        play([&octets[..]]);
        play_requests(&offers(), STRUCTURED, BytesMut::new(), [&octets[..]]);
    }

    #[test]
    fn replies_are_sent_as_they_were_put_in(octets in sent(), mut seed in any::<u64>()) {
        let transcript = play([&octets[..]]);
        let structured = transcript.agreed.is_some_and(|agreed| agreed.structured);
        answer(&transcript.requests, structured, || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        });
    }
}

//! Files of saved extents: what is written is read, and what was changed is found out.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use hast_proto::saved::{
    Encoder, HEADER_LEN, Header, MAX_PIECE, Next, PIECE_HEAD_LEN, Reader, SavedError,
};
use hast_proto::{
    Counters, ExtentSize, Length, NumberError, Offset, ResourceId, ResourceName, ResourceNameError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const DATA_LEN: u64 = 1 << 24;

fn header() -> Header {
    Header {
        resource: ResourceName::new("shared").unwrap(),
        node: "hasta".into(),
        extent_size: ExtentSize::new(1 << 16).unwrap(),
        data_len: Length::new(DATA_LEN),
        resource_id: ResourceId::new(0x1234_5678_9abc_def0),
        counters: Counters {
            local: 3,
            remote: 1,
        },
        saved_at: 1_700_000_000,
    }
}

fn write(pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let (mut encoder, mut file) = Encoder::new(&header()).unwrap();
    for (offset, data) in pieces {
        let (head, data) = encoder.piece(Offset::new(*offset), data).unwrap();
        file.extend_from_slice(&head);
        file.extend_from_slice(data);
    }
    file.extend_from_slice(&encoder.finish());
    file
}

/// Why a file cannot be read.
#[derive(Debug, PartialEq)]
enum Fault {
    Cut,
    Saved(SavedError),
}

impl From<SavedError> for Fault {
    fn from(error: SavedError) -> Self {
        Self::Saved(error)
    }
}

fn read(file: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Fault> {
    let (block, mut rest) = file.split_first_chunk::<HEADER_LEN>().ok_or(Fault::Cut)?;
    let mut reader = Reader::new(block)?;
    let mut pieces = Vec::new();
    loop {
        let (head, after) = rest
            .split_first_chunk::<PIECE_HEAD_LEN>()
            .ok_or(Fault::Cut)?;
        rest = after;
        match reader.next(head)? {
            Next::Data(piece) => {
                let parts = rest.split_at_checked(piece.length()).ok_or(Fault::Cut)?;
                piece.verify(parts.0)?;
                pieces.push((piece.offset().get(), parts.0.to_vec()));
                rest = parts.1;
            }
            Next::Zeros { offset, length } => {
                pieces.push((offset.get(), vec![0; length.to_usize().unwrap()]));
            }
            Next::End { octets } => {
                let sum: usize = pieces.iter().map(|(_, data)| data.len()).sum();
                assert_eq!(octets, sum as u64);
                if let Some(head) = rest.first_chunk() {
                    reader.next(head)?;
                }
                return Ok(pieces);
            }
        }
    }
}

/// Pieces in order, with gaps between them.
fn pieces() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let data = prop_oneof![
        vec(any::<u8>(), 1..300),
        (1..300_usize).prop_map(|n| vec![0; n])
    ];
    vec((0..10_000_u64, data), 0..6).prop_map(|steps| {
        let mut end = 0;
        let place = |(gap, data): (u64, Vec<u8>)| {
            let offset = end + gap;
            end = offset + data.len() as u64;
            (offset, data)
        };
        steps.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(pieces in pieces()) {
        prop_assert_eq!(read(&write(&pieces)), Ok(pieces));
    }

    #[test]
    fn an_octet_that_was_changed_is_found(pieces in pieces(), at in any::<usize>(), by in 1..=255_u8) {
        let mut file = write(&pieces);
        let at = at % file.len();
        file[at] ^= by;
        prop_assert!(read(&file).is_err(), "octet {} by {}", at, by);
    }

    #[test]
    fn a_file_that_was_cut_is_found(pieces in pieces(), length in any::<usize>()) {
        let file = write(&pieces);
        let length = length % file.len();
        prop_assert!(read(&file[..length]).is_err());
    }

    #[test]
    fn any_octets_are_no_danger(head in any::<[u8; 32]>(), rest in any::<Vec<u8>>()) {
        let mut file = write(&[]);
        file.truncate(HEADER_LEN);
        file.extend(head);
        file.extend(rest);
        prop_assert!(read(&file).is_err());
    }
}

#[test]
fn the_form_is_what_is_written_down() {
    let mut file = write(&[(4096, b"changed".to_vec()), (8192, vec![0; 512])]);
    assert_eq!(file.len(), 1024 + 48 + 7 + 48 + 48);
    assert_eq!(&file[..12], b"HASTSAVE\x01\0\0\0");
    assert_eq!(file[64], 6);
    assert_eq!(&file[65..72], b"shared\0");
    assert_eq!(&file[320..327], b"\x05hasta\0");
    let first: [u8; 32] = Sha256::digest(&file[..992]).into();
    assert_eq!(file[992..1024], first);
    let place = [
        4096_u64.to_le_bytes().as_slice(),
        &7_u32.to_le_bytes(),
        &[1, 0, 0, 0],
    ]
    .concat();
    assert_eq!(file[1024..1040], place);
    let second = Sha256::digest([first.as_slice(), &place, b"changed"].concat());
    assert_eq!(file[1040..1072], second[..]);
    assert_eq!(&file[1072..1079], b"changed");
    let end = file.split_off(file.len() - 48);
    assert_eq!(
        end[..16],
        [&519_u64.to_le_bytes()[..], &[0, 0, 0, 0, 3, 0, 0, 0]].concat()
    );
}

#[test]
fn pieces_of_another_file_do_not_fit_in() {
    let one = write(&[(0, b"one".to_vec()), (10, b"same".to_vec())]);
    let two = write(&[(0, b"two".to_vec()), (10, b"same".to_vec())]);
    let first = HEADER_LEN + 48 + 3;
    let mixed = [&one[..first], &two[first..]].concat();
    let offset = 10;
    assert_eq!(read(&mixed), Err(SavedError::PieceDigest { offset }.into()));
}

#[test]
fn what_cannot_be_saved_is_refused_and_leaves_no_trace() {
    let (mut encoder, _) = Encoder::new(&header()).unwrap();
    let first = Offset::new(100);
    encoder.piece(first, b"first").unwrap();
    let before = encoder.clone();
    let mut refused = |offset, data: &[u8], error| {
        assert_eq!(encoder.piece(Offset::new(offset), data), Err(error));
        assert_eq!(encoder, before);
    };
    let place = |offset, length| SavedError::Place {
        offset,
        length,
        least: 105,
        most: DATA_LEN,
    };
    refused(104, b"x", place(104, 1));
    refused(DATA_LEN - 1, b"xy", place(DATA_LEN - 1, 2));
    refused(u64::MAX, b"xy", place(u64::MAX, 2));
    let empty = SavedError::Length {
        offset: 200,
        length: 0,
    };
    refused(200, b"", empty);
    let long = vec![1; MAX_PIECE + 1];
    let length = long.len() as u64;
    refused(
        200,
        &long,
        SavedError::Length {
            offset: 200,
            length,
        },
    );
    for (node, error) in [
        ("", ResourceNameError::Length { len: 0 }),
        ("a\0", ResourceNameError::Nul { position: 1 }),
    ] {
        let node = node.into();
        let error = SavedError::Node(error);
        assert_eq!(
            Encoder::new(&Header { node, ..header() }).unwrap_err(),
            error
        );
    }
}

/// Changes a header, and makes its digest right again.
fn forge(at: usize, octets: &[u8]) -> SavedError {
    let mut block = header().emit().unwrap();
    block[at..at + octets.len()].copy_from_slice(octets);
    let digest: [u8; 32] = Sha256::digest(&block[..992]).into();
    block[992..].copy_from_slice(&digest);
    Header::parse(&block).unwrap_err()
}

#[test]
fn each_fault_of_a_header_has_its_error() {
    assert_eq!(forge(0, b"X"), SavedError::Foreign);
    assert_eq!(forge(8, &[2]), SavedError::Version { version: 2 });
    assert_eq!(forge(60, &[1]), SavedError::Reserved);
    assert_eq!(forge(800, &[1]), SavedError::Reserved);
    assert_eq!(forge(100, &[1]), SavedError::Reserved, "behind the name");
    assert_eq!(
        forge(64, &[255]),
        SavedError::Resource(ResourceNameError::Length { len: 255 })
    );
    assert!(matches!(
        forge(64, &[0, 0, 0, 0, 0, 0, 0]),
        SavedError::Resource(_)
    ));
    assert!(matches!(
        forge(321, &[0xff]),
        SavedError::Node(ResourceNameError::Utf8 { .. })
    ));
    let size = forge(12, &[7, 0, 0, 0]);
    assert!(
        matches!(size, SavedError::ExtentSize(NumberError::Range { .. } | _)),
        "{size}"
    );
    let mut block = header().emit().unwrap();
    block[1000] ^= 1;
    assert_eq!(Header::parse(&block), Err(SavedError::HeaderDigest));
}

/// A head that says this, with the right digest behind the header.
fn head(offset: u64, length: u32, kind: u32) -> Result<Next, SavedError> {
    let block = header().emit().unwrap();
    let mut reader = Reader::new(&block).unwrap();
    let place = [
        &offset.to_le_bytes()[..],
        &length.to_le_bytes(),
        &kind.to_le_bytes(),
    ]
    .concat();
    let digest = Sha256::digest([&block[992..], &place].concat());
    let bytes = [&place[..], &digest[..]].concat();
    reader.next(bytes.as_slice().try_into().unwrap())
}

#[test]
fn each_fault_of_a_piece_has_its_error() {
    let zeros = head(5, 7, 2).unwrap();
    assert_eq!(
        zeros,
        Next::Zeros {
            offset: Offset::new(5),
            length: Length::new(7),
        }
    );
    assert_eq!(head(0, 0, 3), Ok(Next::End { octets: 0 }));
    assert_eq!(head(0, 1, 0), Err(SavedError::Kind { kind: 0 }));
    assert_eq!(head(0, 1, 4), Err(SavedError::Kind { kind: 4 }));
    assert_eq!(head(9, 0, 3), Err(SavedError::Total { told: 9, found: 0 }));
    for (length, kind) in [(0, 1), (0, 2), (u32::MAX, 1), (u32::MAX, 2), (1, 3)] {
        let error = head(0, length, kind).unwrap_err();
        assert!(
            matches!(error, SavedError::Length { .. }),
            "{length} {kind}"
        );
    }
    for (offset, kind) in [(DATA_LEN, 1), (DATA_LEN, 2), (u64::MAX, 1), (u64::MAX, 2)] {
        let error = head(offset, 1, kind).unwrap_err();
        assert!(matches!(error, SavedError::Place { .. }), "{offset} {kind}");
    }
    let mut file = write(&[]);
    file.extend_from_slice(&[0; 48]);
    assert_eq!(read(&file), Err(SavedError::AfterEnd.into()));
    assert_eq!(read(&file[..1060]), Err(Fault::Cut));
}

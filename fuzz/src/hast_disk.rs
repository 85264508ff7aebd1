//! What HAST keeps on disk and in its configuration.

#[expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "a broken promise ends the fuzzing run"
)]
#[path = "../../hast-proto/tests/common/map_script.rs"]
mod map_script;

use hast_proto::activemap::ActiveMap;
use hast_proto::conf::{self, File, Host};
use hast_proto::saved::{Encoder, Header, Next, PIECE_HEAD_LEN, Reader};
use hast_proto::{
    BLOCK_LEN, Counters, ExtentSize, KeepDirty, Length, Metadata, Offset, ResourceName, status,
};
use sha2::{Digest as _, Sha256};

/// Any octets as the beginning of a metadata block, zeros behind.
///
/// Nothing panics; what is read is written so that it reads the same, whatever role and counters
/// are put in; it can be shown; its layout has room for a map (HAST §4.2, §4.3).
pub fn hast_metadata(data: &[u8]) {
    let mut block = data.to_vec();
    block.resize(BLOCK_LEN.max(data.len()), 0);
    let mut metadata = match Metadata::parse(&block) {
        Ok(metadata) => metadata,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says something");
            return;
        }
    };
    assert_eq!(Metadata::parse(&metadata.emit()).as_ref(), Ok(&metadata));
    assert!(Metadata::parse_for(&block, &metadata.resource).is_ok());
    let other = ResourceName::new("\u{1}another").expect("a name");
    assert!(metadata.resource == other || Metadata::parse_for(&block, &other).is_err());

    metadata.previous_role = hast_proto::Role::Secondary;
    metadata.counters.local = u64::MAX;
    metadata.keep_dirty = u32::MAX;
    let emitted = metadata.emit();
    assert_eq!(emitted.len(), BLOCK_LEN, "it always fits");
    assert_eq!(Metadata::parse(&emitted).as_ref(), Ok(&metadata));
    let dumped = status::dump(&metadata).to_string();
    // A name may have line ends in it.
    let name = metadata.resource.as_str();
    assert!(dumped.starts_with(&format!("resource: {name}\n    datasize: ")));
    assert!(dumped.lines().count() >= 9);

    let layout = metadata.layout;
    assert!(layout.used_map_len() <= layout.map_len());
    // A map of many megabytes is no faster found wrong than a small one.
    if layout.map_len().get() <= 1 << 16 {
        let mut map = ActiveMap::new(layout, KeepDirty::DEFAULT);
        map.merge(&[0xff; 1 << 16]).expect("a bit for each extent");
        assert_eq!(map.dirty_extents(), layout.extents());
    }
}

/// Any octets as a script for a map: the first is the number of extents kept, then four for each
/// thing that happens. The map is what the plainest model says after each (HAST §4.4, §4.5).
pub fn hast_activemap(data: &[u8]) {
    let Some((keep, script)) = data.split_first() else {
        return;
    };
    map_script::run(script, 2 + u32::from(keep % 8));
}

/// Any octets as a file of saved extents, and as heads and data of one whose digests are right, so
/// that what is behind them is reached.
///
/// Nothing panics; a head that is accepted lies within the data and behind the one before it; what
/// is read is written so that it is the same file.
pub fn hast_saved(data: &[u8]) {
    let raw = data.split_first_chunk();
    let raw = raw.and_then(|(block, rest)| Some((Reader::new(block).ok()?, block, rest)));
    if let Some((mut reader, block, rest)) = raw {
        assert_eq!(reader.header().emit().as_ref(), Ok(block));
        let _ = rest.first_chunk().map(|head| reader.next(head));
    }
    let header = Header {
        resource: ResourceName::new("fuzzed").expect("a name"),
        node: "fuzz".into(),
        extent_size: ExtentSize::DEFAULT,
        data_len: Length::new(1 << 24),
        resource_id: None,
        counters: Counters::default(),
        saved_at: 0,
    };
    let (mut encoder, mut written) = Encoder::new(&header).expect("a name");
    let mut reader = Reader::new(written.first_chunk().expect("a header")).expect("a header");
    let mut file = written.clone();
    let mut digest = written[written.len() - 32..].to_vec();
    let mut rest = data;
    let mut is_canonical = true;
    while let Some((place, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(place[8..12].try_into().expect("four octets"));
        let has_data = place[12..] == [1, 0, 0, 0];
        let wanted = if has_data { length as usize } else { 0 };
        let Some((octets, after)) = after.split_at_checked(wanted) else {
            break;
        };
        rest = after;
        digest = Sha256::digest([&digest, &place[..], octets].concat()).to_vec();
        let bytes = [&place[..], &digest].concat();
        let head: &[u8; PIECE_HEAD_LEN] = bytes.first_chunk().expect("a head");
        file.extend_from_slice(head);
        file.extend_from_slice(octets);
        let piece = match reader.next(head) {
            Err(error) => {
                assert!(!error.to_string().is_empty(), "an error says something");
                return;
            }
            Ok(Next::End { .. }) => {
                written.extend_from_slice(&encoder.finish());
                assert!(!is_canonical || written == file);
                assert!(reader.next(head).is_err(), "nothing follows the end");
                return;
            }
            Ok(Next::Data(piece)) => {
                assert_eq!(piece.verify(octets), Ok(()));
                // Whoever writes has zeros as such.
                is_canonical &= octets.iter().any(|octet| *octet != 0);
                (piece.offset(), octets.to_vec())
            }
            Ok(Next::Zeros { offset, length }) => {
                let length = length.to_usize().expect("a piece is short");
                (offset, vec![0; length])
            }
        };
        let end = piece.0.checked_add(Length::of(&piece.1));
        assert!(end.is_some_and(|end| end <= Offset::new(1 << 24)));
        let (head, octets) = encoder.piece(piece.0, &piece.1).expect("it was accepted");
        written.extend_from_slice(&head);
        written.extend_from_slice(octets);
    }
    assert!(!is_canonical || written == file);
}

/// Any octets as a configuration.
///
/// Nothing panics; a fault has a place within the text and can be shown; what is read is written
/// so that it reads the same, and means the same on every node (HAST §8).
pub fn hast_conf(data: &[u8]) {
    let file = match File::parse(data) {
        Ok(file) => file,
        // Too long to be read at all: there is no place in it that is wrong.
        Err(error) if data.len() > conf::MAX_LEN => {
            assert_eq!(error.at, None);
            return;
        }
        Err(error) => {
            let at = error.at.expect("it was read from text");
            let lines = data.iter().filter(|&&octet| octet == b'\n').count() + 1;
            assert!((1..=lines).contains(&at.line), "{error}");
            assert!((1..=data.len() + 1).contains(&at.column), "{error}");
            assert!(!error.in_file("hast.conf").to_string().is_empty());
            return;
        }
    };
    let written = file.to_string();
    let again = File::parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again, file);
    assert_eq!(again.to_string(), written);
    let hosts = [
        Host::new("hasta.example.org").with_id(305_419_896),
        Host::new("hastb").with_uuid("c0ffee00-1111-2222-3333-444455556666"),
    ];
    for host in hosts {
        match (file.select(&host), again.select(&host)) {
            (Ok(one), Ok(two)) => {
                assert_eq!(one, two);
                assert_eq!(one.resources.len(), file.resources().count());
            }
            (Err(one), Err(two)) => assert_eq!(one.fault, two.fault),
            (one, two) => assert_eq!(one, two),
        }
    }
}

//! Both nodes have counted: who gives way, what is told, and what a discard does, cell by cell.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/machine.rs"]
mod machine;

use core::time::Duration;

use bytes::Bytes;
use hast_proto::decision::{
    AnswerError, Changes, Decision, Disagreement, GiveWay, Party, Rule, Virgin, decide, reunite,
};
use hast_proto::discard::{self, Discard, DiscardError};
use hast_proto::frame::{Encoder, Frame, Phase};
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::handshake::{
    Access, Connection, Established, PrimaryHandshake, SecondaryHandshake, accepting,
};
use hast_proto::message::{FirstStep, Opening, Reunion, SecondAnswer, SecondStep};
use hast_proto::primary::{self, Event, LocalCopy, Primary, Provider};
use hast_proto::saved::{HEADER_LEN, Next, PIECE_HEAD_LEN, Reader};
use hast_proto::{
    Checksum, Compression, Consistency, Counters, DiskOperation, Errno, Metadata, ResourceId, Role,
    Sealer, SyncSource, Token, Version,
};
use machine::{received, small_layout, small_metadata};

const NOW: Duration = Duration::ZERO;
const EXTENT: usize = 8192;

fn counters(local: u64, remote: u64) -> Counters {
    Counters { local, remote }
}

fn party(local: u64, remote: u64) -> Party {
    Party {
        resource_id: ResourceId::new(77),
        counters: counters(local, remote),
    }
}

fn metadata(local: u64, previous_role: Role) -> Metadata {
    let mut metadata = small_metadata();
    metadata.resource_id = ResourceId::new(77);
    metadata.counters = counters(local, 0);
    metadata.previous_role = previous_role;
    metadata
}

fn map(octet: u8) -> Bytes {
    let mut map = vec![0; 512];
    map[0] = octet;
    map.into()
}

#[test]
fn only_row_seven_asks_for_changes() {
    let all = [Changes::Possible, Changes::None];
    for local in 0..3 {
        for remote in 0..3 {
            for (primary, secondary) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (1, 2)] {
                let (own, peer) = (party(local, remote), party(primary, secondary));
                let usual = decide(own, peer, Virgin::No).unwrap();
                for changes in all.into_iter().flat_map(|own| all.map(|peer| (own, peer))) {
                    let decided = reunite(own, peer, Virgin::No, changes).unwrap();
                    if usual != Decision::Refuse(Disagreement::SplitBrain)
                        || changes == (Changes::Possible, Changes::Possible)
                    {
                        assert_eq!(decided, usual);
                        continue;
                    }
                    let Decision::Synchronise(agreed) = decided else {
                        panic!("{decided:?}");
                    };
                    let (rule, source) = match changes {
                        (Changes::None, _) => (Rule::SecondaryUnchanged, SyncSource::Primary),
                        _ => (Rule::PrimaryUnchanged, SyncSource::Secondary),
                    };
                    assert_eq!((agreed.rule, agreed.source), (rule, source));
                    // Whoever gives way stays the target, if the session is cut short.
                    let again = match agreed.counters {
                        Some(counters) => decide(Party { counters, ..own }, peer, Virgin::No),
                        None => {
                            let counters = Counters {
                                local: own.counters.remote,
                                ..peer.counters
                            };
                            decide(own, Party { counters, ..peer }, Virgin::No)
                        }
                    };
                    let Ok(Decision::Synchronise(again)) = again else {
                        panic!("{again:?}");
                    };
                    assert_eq!(again.source, source, "{own:?} {peer:?}");
                }
            }
        }
    }
}

#[test]
fn every_part_of_the_proof_is_needed() {
    let proves = |mark, map: &[u8], role| Changes::of(mark, map, role) == Changes::None;
    let (good, clean) = (Consistency::Consistent, [0; 512]);
    assert!(proves(good, &clean, Role::Primary));
    assert!(!proves(Consistency::Inconsistent, &clean, Role::Primary));
    assert!(!proves(Consistency::Incomplete, &clean, Role::Primary));
    assert!(!proves(good, &map(1), Role::Primary));
    assert!(!proves(good, &clean, Role::Secondary));
    assert!(!proves(good, &clean, Role::Init));
}

/// What a secondary with this on its disk answers to a primary that has counted once.
struct Met {
    outputs: Vec<accepting::Output>,
    stored: Option<Metadata>,
}

fn meet(
    give_way: GiveWay,
    own: (Metadata, Bytes, Consistency),
    counters: Counters,
    reunion: Option<Reunion>,
) -> Met {
    let config = accepting::Config {
        give_way,
        ..accepting::Config::default()
    };
    let mut door = SecondaryHandshake::<Duration>::new(config);
    let token = Token::new([7; 16]);
    let resource = small_metadata().resource;
    let opening = |connection, opening| accepting::Input::Opening {
        connection: Connection(connection),
        opening,
        access: Access::Allowed,
        token,
    };
    let first = FirstStep {
        resource: resource.clone(),
        version: Some(2),
    };
    let second = SecondStep {
        resource,
        token,
        virgin: false,
        resource_id: ResourceId::new(77),
        counters,
        reunion,
    };
    let (metadata, map, consistency) = own;
    let mut met = Met {
        outputs: Vec::new(),
        stored: None,
    };
    for input in [
        accepting::Input::Role(Role::Secondary),
        opening(1, Opening::First(first)),
        opening(2, Opening::Second(second)),
        accepting::Input::Ready {
            metadata,
            map,
            consistency,
        },
    ] {
        door.handle(NOW, input);
    }
    while let Some(output) = door.poll_output() {
        if let accepting::Output::StoreMetadata(metadata) = output {
            assert!(met.answer().is_none(), "stored before the answer");
            met.stored = Some(metadata);
            door.handle(NOW, accepting::Input::Stored(Ok(())));
        } else {
            met.outputs.push(output);
        }
    }
    met
}

impl Met {
    fn answer(&self) -> Option<(Version, SecondAnswer)> {
        self.outputs.iter().find_map(|output| match output {
            accepting::Output::Decide(_, version, answer) => Some((*version, answer.clone())),
            _ => None,
        })
    }

    fn rule(&self) -> Option<Rule> {
        self.established().map(|it| it.rule)
    }

    fn established(&self) -> Option<Established> {
        self.outputs.iter().find_map(|output| match output {
            accepting::Output::Established(established) => Some(*established),
            _ => None,
        })
    }

    fn told(&self) -> Option<(Bytes, Option<Bytes>)> {
        self.outputs.iter().find_map(|output| match output {
            accepting::Output::SplitBrain { map, peer, .. } => Some((map.clone(), peer.clone())),
            _ => None,
        })
    }

    fn frame(&self) -> Frame {
        let (version, answer) = self.answer().unwrap();
        let answer = answer.sealed(&mut Sealer::new(Compression::Hole, Checksum::Sha256));
        received(Phase::Answer, &answer.encode(version, &mut Encoder::new()))
    }
}

fn says(changes: Changes) -> Option<Reunion> {
    Some(Reunion { changes, map: None })
}

#[test]
fn a_secondary_gives_way_by_its_counter_and_stores_it_first() {
    let unchanged = || {
        let metadata = metadata(1, Role::Primary);
        (metadata, map(0), Consistency::Consistent)
    };
    let met = meet(
        GiveWay::Unchanged,
        unchanged(),
        counters(1, 0),
        says(Changes::Possible),
    );
    assert_eq!(met.rule(), Some(Rule::SecondaryUnchanged));
    assert_eq!(met.stored.as_ref().unwrap().counters, counters(0, 0));
    let Some((_, SecondAnswer::Accepted(accepted))) = met.answer() else {
        panic!("refused");
    };
    assert_eq!(accepted.source, SyncSource::Primary);
    assert_eq!(
        accepted.standing.counters,
        counters(0, 0),
        "as it is on disk"
    );
    // The same beside a real primary, or if it is not to give way, or not proven.
    let mut marked = unchanged();
    marked.1 = map(1);
    let mut copied_from = unchanged();
    copied_from.0.previous_role = Role::Secondary;
    let mut mixture = unchanged();
    mixture.2 = Consistency::Inconsistent;
    for (give_way, own, reunion) in [
        (GiveWay::Unchanged, unchanged(), None),
        (GiveWay::Never, unchanged(), says(Changes::Possible)),
        (GiveWay::Unchanged, marked, says(Changes::Possible)),
        (GiveWay::Unchanged, copied_from, says(Changes::Possible)),
        (GiveWay::Unchanged, mixture, says(Changes::Possible)),
    ] {
        let own_map = own.1.clone();
        let met = meet(give_way, own, counters(1, 0), reunion);
        assert_eq!((met.rule(), &met.stored), (None, &None));
        assert_eq!(met.told(), Some((own_map, None)));
    }
}

#[test]
fn a_secondary_that_is_the_source_says_so_on_disk_first() {
    // Row 4, and row 11: its map is cleared by the session, and proves nothing from then on. But a
    // real primary tells nobody what it lacks, so that the map stays.
    let own = || {
        let metadata = metadata(1, Role::Primary);
        (metadata, map(4), Consistency::Consistent)
    };
    for (peer, reunion) in [
        (counters(0, 0), None),
        (counters(0, 0), says(Changes::Possible)),
        (counters(1, 0), says(Changes::None)),
    ] {
        let is_real = reunion.is_none();
        let met = meet(GiveWay::Unchanged, own(), peer, reunion);
        let stored = met.stored.as_ref().unwrap();
        assert_eq!(stored.previous_role, Role::Secondary);
        assert_eq!(stored.counters, counters(1, 0));
        assert_eq!(met.established().unwrap().keep_map, is_real);
    }
    // Not where the primary is the source: it has merged the map, and sends what it lacks itself.
    let met = meet(GiveWay::Unchanged, own(), counters(1, 1), None);
    let established = met.established().unwrap();
    assert_eq!(established.source, SyncSource::Primary);
    assert!(!established.keep_map);
    // Not one whose data are a mixture.
    let mixture = (
        metadata(1, Role::Primary),
        map(4),
        Consistency::Inconsistent,
    );
    let met = meet(
        GiveWay::Unchanged,
        mixture,
        counters(1, 0),
        says(Changes::None),
    );
    assert_eq!((met.rule(), met.stored), (None, None));
}

/// A primary that has counted once, with this on its disk, and its attempt up to the second step.
fn attempt(
    give_way: GiveWay,
    previous_role: Role,
    marks: u8,
) -> (Primary<Duration>, PrimaryHandshake<Duration>, SecondStep) {
    let provider = Provider {
        metadata: metadata(1, previous_role),
        map: map(marks),
        consistency: Consistency::Consistent,
    };
    let config = primary::Config {
        give_way,
        ..primary::Config::default()
    };
    let mut machine = Primary::new(config, provider).unwrap();
    machine.handle(NOW, primary::Input::Start);
    let Some(primary::Output::Connect(id, header)) = machine.poll_output() else {
        panic!("no attempt");
    };
    let fresh = ResourceId::new(5).unwrap();
    machine.handle(NOW, primary::Input::Identify(id, fresh));
    let Some(primary::Output::Identity(_, identity)) = machine.poll_output() else {
        panic!("no identity");
    };
    let mut handshake = PrimaryHandshake::new(connecting::Config {
        resource: small_metadata().resource,
        layout: small_layout(),
        header,
        timeout: Duration::from_secs(20),
    });
    let welcome = hast_proto::message::FirstAnswer::Welcome(hast_proto::message::Welcome {
        version: Some(Version::V2),
        token: Token::new([7; 16]),
        reunion: true,
    });
    let welcome = received(Phase::Answer, &welcome.encode(&mut Encoder::new()));
    for input in [
        connecting::Input::Start,
        connecting::Input::Connected(Which::First),
        connecting::Input::Frame(Which::First, welcome),
        connecting::Input::Connected(Which::Second),
        connecting::Input::Identity(identity),
    ] {
        handshake.handle(NOW, input);
    }
    let step = core::iter::from_fn(|| handshake.poll_output()).find_map(|output| match output {
        connecting::Output::Send(_, version, opening @ Opening::Second(_)) => {
            // As it is on the wire.
            let frame = received(
                Phase::Opening,
                &opening.encode(version, &mut Encoder::new()),
            );
            match Opening::decode(&frame) {
                Ok(Opening::Second(step)) => Some(step),
                other => panic!("{other:?}"),
            }
        }
        _ => None,
    });
    (machine, handshake, step.unwrap())
}

#[test]
fn a_primary_tells_its_map_and_whether_it_gives_way() {
    for (give_way, role, marks, changes) in [
        (GiveWay::Unchanged, Role::Primary, 0, Changes::None),
        (GiveWay::Never, Role::Primary, 0, Changes::Possible),
        (GiveWay::Unchanged, Role::Secondary, 0, Changes::Possible),
        (GiveWay::Unchanged, Role::Primary, 9, Changes::Possible),
    ] {
        let (_, _, step) = attempt(give_way, role, marks);
        let reunion = step.reunion.unwrap();
        assert_eq!(reunion.changes, changes);
        let told = reunion.map.unwrap().open_for(&small_layout()).unwrap();
        assert_eq!(told, map(marks));
    }
}

#[test]
fn both_learn_what_the_other_has() {
    let (mut machine, mut handshake, step) = attempt(GiveWay::Unchanged, Role::Primary, 9);
    let own = (metadata(1, Role::Primary), map(6), Consistency::Consistent);
    let met = meet(GiveWay::Unchanged, own, step.counters, step.reunion);
    assert_eq!(met.told(), Some((map(6), Some(map(9)))));
    handshake.handle(NOW, connecting::Input::Frame(Which::First, met.frame()));
    let told = handshake.poll_output();
    assert_eq!(told, Some(connecting::Output::SplitBrain(Some(map(6)))));
    let failed = handshake.poll_output();
    assert!(
        matches!(failed, Some(connecting::Output::Failed(_))),
        "{failed:?}"
    );
    machine.handle(NOW, primary::Input::Stop);
}

#[test]
fn a_map_that_is_too_long_to_leave_in_time_stays_behind() {
    // Nothing makes it shorter: it is noise.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let long: Bytes = (0..512 << 10).map(|_| noise()).collect::<Vec<u8>>().into();
    let own = (
        metadata(1, Role::Primary),
        long.clone(),
        Consistency::Consistent,
    );
    let met = meet(
        GiveWay::Unchanged,
        own,
        counters(1, 0),
        says(Changes::Possible),
    );
    // The operator of this node is told all, and the peer that there is a split brain.
    assert_eq!(met.told(), Some((long, None)));
    let (version, answer) = met.answer().unwrap();
    assert!(matches!(answer, SecondAnswer::Refused { map: None, .. }));
    let length = answer.encode(version, &mut Encoder::new()).concat().len();
    assert!(length < 4096, "{length} octets");
}

#[test]
fn a_primary_gives_way_with_counter_and_mark_on_disk_before_the_session() {
    let own = || (metadata(1, Role::Primary), map(6), Consistency::Consistent);
    let (mut machine, mut handshake, step) = attempt(GiveWay::Unchanged, Role::Primary, 0);
    let met = meet(GiveWay::Unchanged, own(), step.counters, step.reunion);
    assert_eq!(met.rule(), Some(Rule::PrimaryUnchanged));
    handshake.handle(NOW, connecting::Input::Frame(Which::First, met.frame()));
    let Some(connecting::Output::Established(session)) = handshake.poll_output() else {
        panic!("no session");
    };
    let id = primary::Input::Session;
    let session_id = {
        // The first attempt of a machine.
        let mut fresh = Primary::<Duration>::new(
            primary::Config::default(),
            Provider {
                metadata: metadata(0, Role::Init),
                map: map(0),
                consistency: Consistency::Consistent,
            },
        )
        .unwrap();
        fresh.handle(NOW, primary::Input::Start);
        match fresh.poll_output() {
            Some(primary::Output::Connect(id, _)) => id,
            other => panic!("{other:?}"),
        }
    };
    machine.handle(NOW, id(session_id, session.clone()));
    let mut order = Vec::new();
    let mut events = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            primary::Output::Disk(id, operation) => {
                assert!(!machine.is_connected(), "before the session is up");
                order.push(match &operation {
                    DiskOperation::StoreMetadata(metadata) => {
                        assert_eq!(metadata.counters, counters(0, 0));
                        "counters"
                    }
                    DiskOperation::StoreConsistency(Consistency::Inconsistent) => "mark",
                    DiskOperation::StoreMap { .. } => "map",
                    other => panic!("{other:?}"),
                });
                machine.handle(NOW, primary::Input::Disk(id, Ok(Bytes::new())));
            }
            primary::Output::Event(event) => events.push(event),
            _ if machine.is_connected() => break,
            other => panic!("{other:?}"),
        }
        if machine.is_connected() {
            break;
        }
    }
    order.sort_unstable();
    assert_eq!(order, ["counters", "map", "mark"]);
    assert!(events.contains(&Event::GaveWay), "{events:?}");
    assert_eq!(machine.copy(), LocalCopy::Catching);

    // The same answer to one that may have changes is refused: it has not offered that.
    for (give_way, marks) in [(GiveWay::Never, 0), (GiveWay::Unchanged, 9)] {
        let (mut machine, _, _) = attempt(give_way, Role::Primary, marks);
        machine.handle(NOW, id(session_id, session.clone()));
        let refused =
            core::iter::from_fn(|| machine.poll_output()).find_map(|output| match output {
                primary::Output::Event(Event::GivenUp(error)) => error,
                _ => None,
            });
        let (local, remote) = (1, 0);
        assert_eq!(refused, Some(AnswerError::WroteAlone { local, remote }));
        assert_eq!(machine.copy(), LocalCopy::Current);
    }
}

fn discard(own: u8, peer: Option<u8>) -> Discard {
    let provider = Provider {
        metadata: metadata(3, Role::Primary),
        map: map(own),
        consistency: Consistency::Consistent,
    };
    let config = discard::Config {
        node: "hasta".into(),
        saved_at: 1_700_000_000,
        peer_map: peer.map(map),
        piece: 3 * 512,
    };
    Discard::new(config, provider).unwrap()
}

/// What an extent holds.
fn octet(offset: u64) -> u8 {
    u8::try_from(offset / EXTENT as u64).unwrap()
}

/// Does what a discard wants, but for the operation with this number, which fails. The words, the
/// file, and how it has ended.
fn carry_out(
    mut machine: Discard,
    fails: usize,
) -> (
    Vec<&'static str>,
    Vec<u8>,
    Result<discard::Discarded, DiscardError>,
) {
    let (mut words, mut file) = (Vec::new(), Vec::new());
    while let Some(output) = machine.poll_output() {
        let result = match words.len() == fails {
            true => Err(Errno::EIO),
            false => Ok(()),
        };
        let (word, input) = match output {
            discard::Output::Write(pieces) => {
                file.extend(pieces.concat());
                ("write", discard::Input::Written(result))
            }
            discard::Output::Publish => ("publish", discard::Input::Published(result)),
            discard::Output::Disk(DiskOperation::Read { offset, length }) => {
                assert!(length.get() <= 3 * 512);
                let data = vec![octet(offset.get()); length.to_usize().unwrap()];
                let data = result.map(|()| data.into());
                ("read", discard::Input::Disk(data))
            }
            discard::Output::Disk(DiskOperation::StoreConsistency(mark)) => {
                assert_eq!(mark, Consistency::Incomplete);
                ("mark", discard::Input::Disk(result.map(|()| Bytes::new())))
            }
            discard::Output::Disk(DiskOperation::StoreMetadata(stored)) => {
                assert_eq!(stored.counters, counters(0, 0));
                assert_eq!(stored.previous_role, Role::Secondary);
                (
                    "counters",
                    discard::Input::Disk(result.map(|()| Bytes::new())),
                )
            }
            discard::Output::Ended(ended) => {
                assert_eq!(machine.poll_output(), None);
                return (words, file, ended);
            }
            other => panic!("{other:?}"),
        };
        words.push(word);
        machine.handle(input);
    }
    panic!("it has not ended: {words:?}");
}

/// The extents in a file, and the header's counters.
fn saved(file: &[u8]) -> (Vec<u64>, Counters) {
    let (header, mut rest) = file.split_first_chunk::<HEADER_LEN>().unwrap();
    let mut reader = Reader::new(header).unwrap();
    let mut extents = Vec::new();
    loop {
        let (head, after) = rest.split_first_chunk::<PIECE_HEAD_LEN>().unwrap();
        rest = after;
        let offset = match reader.next(head).unwrap() {
            Next::Data(piece) => {
                let (data, after) = rest.split_at(piece.length());
                piece.verify(data).unwrap();
                assert!(data.iter().all(|it| *it == octet(piece.offset().get())));
                rest = after;
                piece.offset().get()
            }
            Next::Zeros { offset, .. } => offset.get(),
            Next::End { octets } => {
                assert_eq!(octets, extents.len() as u64 * EXTENT as u64);
                return (extents, reader.header().counters);
            }
        };
        let extent = offset / EXTENT as u64;
        if extents.last() != Some(&extent) {
            extents.push(extent);
        }
    }
}

#[test]
fn what_either_has_is_saved_before_anything_is_discarded() {
    for (peer, extents) in [(None, vec![0, 2]), (Some(0b1010), vec![0, 1, 2, 3])] {
        let (words, file, ended) = carry_out(discard(0b101, peer), usize::MAX);
        let discarded = ended.unwrap();
        assert_eq!(usize::try_from(discarded.extents).unwrap(), extents.len());
        assert_eq!(discarded.octets.to_usize().unwrap(), extents.len() * EXTENT);
        assert_eq!(discarded.with_peer, peer.is_some());
        assert_eq!(saved(&file), (extents, counters(3, 0)));
        assert!(
            words.ends_with(&["write", "publish", "mark", "counters"]),
            "{words:?}"
        );
    }
    let (words, file, _) = carry_out(discard(0, None), usize::MAX);
    assert_eq!(words, ["write", "write", "publish", "mark", "counters"]);
    assert_eq!(saved(&file).0, []);
}

#[test]
fn whatever_fails_ends_it_and_before_the_mark_nothing_is_discarded() {
    let (all, ..) = carry_out(discard(1, None), usize::MAX);
    for (fails, word) in all.iter().enumerate() {
        let (words, _, ended) = carry_out(discard(1, None), fails);
        assert_eq!(words, all[..=fails], "nothing comes after a failure");
        let matches = match *word {
            "read" => matches!(ended, Err(DiscardError::Read { .. })),
            "write" => ended == Err(DiscardError::Write(Errno::EIO)),
            "publish" => ended == Err(DiscardError::Publish(Errno::EIO)),
            _ => ended == Err(DiscardError::Store(Errno::EIO)),
        };
        assert!(matches, "{word}: {ended:?}");
        assert_eq!(
            words.contains(&"mark") || words.contains(&"counters"),
            matches!(*word, "mark" | "counters")
        );
    }
}

#[test]
fn every_other_cell_of_the_discard_s_table_does_nothing() {
    let inputs = [
        discard::Input::Disk(Ok(Bytes::from(vec![0; 3 * 512]))),
        discard::Input::Written(Ok(())),
        discard::Input::Published(Ok(())),
    ];
    // Writing, reading, writing (the end), publishing, marking, counting, ended.
    let path = [1, 0, 1, 1, 2, 0, 0];
    let mut machine = discard(1, None);
    let reads = EXTENT.div_ceil(3 * 512);
    let mut states = 0;
    for step in 0.. {
        while machine.poll_output().is_some() {}
        let expected = match step {
            0 => path[0],
            // A read and a write for each piece.
            step if step <= 2 * reads => usize::from(step % 2 == 0),
            step => path[(step - 2 * reads + 2).min(6)],
        };
        for (index, input) in inputs.iter().enumerate() {
            if index != expected {
                let mut copy = machine.clone();
                copy.handle(input.clone());
                assert_eq!(copy.poll_output(), None, "{input:?} in step {step}");
            }
        }
        let mut input = inputs[expected].clone();
        if let (true, discard::Input::Disk(_)) = (step <= 2 * reads, &input) {
            let left = EXTENT - (step - 1) / 2 * 3 * 512;
            input = discard::Input::Disk(Ok(vec![0; left.min(3 * 512)].into()));
        }
        machine.handle(input);
        states += 1;
        match machine.poll_output() {
            Some(discard::Output::Ended(ended)) => {
                assert!(ended.is_ok());
                break;
            }
            Some(_) => {}
            None => panic!("step {step} leads nowhere"),
        }
    }
    assert_eq!(states, 2 * reads + 5);
    for input in inputs {
        machine.handle(input);
        assert_eq!(machine.poll_output(), None);
    }
}

#[test]
fn too_little_data_is_not_taken_for_all() {
    let mut machine = discard(1, None);
    machine.poll_output();
    machine.handle(discard::Input::Written(Ok(())));
    machine.poll_output();
    machine.handle(discard::Input::Disk(Ok(Bytes::from_static(&[0; 512]))));
    let (have, need) = (512, 3 * 512);
    let offset = hast_proto::Offset::ZERO;
    let short = DiscardError::Short { offset, have, need };
    assert_eq!(
        machine.poll_output(),
        Some(discard::Output::Ended(Err(short)))
    );
}

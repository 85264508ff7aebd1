//! Properties of what lies on disk and of what is decided from it: codecs are inverse, no bytes
//! make anything panic, the map is what a plain model says, and no history of two nodes makes
//! one overwrite writes that the other alone acknowledged.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "common/map_script.rs"]
mod map_script;

use std::collections::BTreeSet;

use bytes::BytesMut;
use hast_proto::activemap::{ActiveMap, Agree, MapWrite, RangeError, StepOutcome};
use hast_proto::conf::{
    AddressOrNone, DeviceSetting, Directive, File, Host, Node, NodeSetting, PeerSetting, Resource,
    ResourceNode, ResourceSetting, ResourceStatement, Statement, Switch, Takes, Timeout, Word,
    WordError,
};
use hast_proto::decision::{
    AnswerError, CounterExhausted, Decision, Disagreement, MapChoice, Party, PrimaryCounters, Rule,
    Virgin, decide,
};
use hast_proto::nv::{Name, Value, Writer};
use hast_proto::{
    BLOCK_LEN, BlockError, Checksum, Compression, Counters, ExtentSize, KeepDirty, Layout, Length,
    Metadata, Offset, Replication, RequestSize, ResourceId, ResourceName, Role, SectorSize,
    SyncSource,
};
use map_script::{run, small_layout};
use proptest::collection::vec;
use proptest::prelude::*;

// ---------------------------------------------------------------- the metadata block

fn metadata() -> impl Strategy<Value = Metadata> {
    let sizes = (1_u64..1 << 40, 17_u32..=30, 0_u64..1 << 16);
    let name = "[a-zA-Z0-9._/:-]{1,254}";
    let role = prop_oneof![Just(Role::Init), Just(Role::Primary), Just(Role::Secondary)];
    (name, sizes, any::<(u32, u64, u64, u64)>(), role).prop_map(
        |(name, (len, shift, room), (keep_dirty, id, local, remote), role)| {
            let extent_size = ExtentSize::new(1 << shift).unwrap();
            let map = len.div_ceil(1 << shift).div_ceil(8);
            let offset = Offset::new(4096 + map + room.min((1 << 26) - map));
            let layout = Layout::new(Length::new(len), extent_size, offset).unwrap();
            let name = ResourceName::new(&name).unwrap();
            let mut metadata = Metadata::create(name, layout, KeepDirty::DEFAULT);
            metadata.keep_dirty = keep_dirty;
            metadata.resource_id = ResourceId::new(id);
            metadata.counters = Counters { local, remote };
            metadata.previous_role = role;
            metadata
        },
    )
}

/// A block with fields behind those of `metadata`, as a later version might write it.
fn extended(metadata: &Metadata, extra: &[(String, u64)]) -> Vec<u8> {
    let block = metadata.emit();
    let list = hast_proto::nv::List::parse(&block).unwrap();
    let mut octets = BytesMut::from(list.as_bytes());
    for (name, value) in extra {
        Writer::new(&mut octets).push(Name::new(name.as_bytes()).unwrap(), Value::U64(*value));
    }
    octets.resize(BLOCK_LEN, 0);
    octets.to_vec()
}

proptest! {
    #[test]
    fn a_block_says_what_was_written(metadata in metadata()) {
        let block = metadata.emit();
        prop_assert_eq!(block.len(), BLOCK_LEN);
        prop_assert_eq!(Metadata::parse(&block), Ok(metadata.clone()));
        prop_assert_eq!(Metadata::parse_for(&block, &metadata.resource), Ok(metadata));
    }

    #[test]
    fn unknown_fields_survive_a_change_of_role(
        metadata in metadata(),
        extra in vec(("[xyz][a-z]{1,20}", any::<u64>()), 0..20),
    ) {
        let block = extended(&metadata, &extra);
        let mut read = Metadata::parse(&block).unwrap();
        prop_assert_eq!(read.extra().pairs().count(), extra.len());
        read.previous_role = Role::Secondary;
        read.counters.local = u64::MAX;
        let again = Metadata::parse(&read.emit()).unwrap();
        prop_assert_eq!(&again, &read);
        for (name, _) in &extra {
            prop_assert!(again.extra().contains(name));
        }
    }

    #[test]
    fn no_octets_make_a_block_panic(block in vec(any::<u8>(), 0..BLOCK_LEN + 100)) {
        let _ = Metadata::parse(&block);
    }

    #[test]
    fn a_damaged_block_is_refused_or_reads_back(
        metadata in metadata(),
        damage in vec((0..600_usize, any::<u8>()), 1..8),
    ) {
        let mut block = metadata.emit().to_vec();
        for (at, octet) in damage {
            block[at] = octet;
        }
        if let Ok(read) = Metadata::parse(&block) {
            prop_assert_eq!(Metadata::parse(&read.emit()), Ok(read));
        }
    }

    /// A write that was torn at any octet, over a blank provider or over another block.
    #[test]
    fn a_torn_block_is_never_taken_for_a_whole_one(
        new in metadata(),
        old in proptest::option::of(metadata()),
        cut in 0..BLOCK_LEN,
    ) {
        let new = new.emit();
        let old = old.map_or_else(|| vec![0; BLOCK_LEN], |old| old.emit().to_vec());
        let block = [&new[..cut], &old[cut..]].concat();
        match Metadata::parse(&block) {
            // The nine fields are there. A mixture of two valid blocks of the same layout can
            // pass: the format has no checksum (HAST §4.3).
            Ok(read) => prop_assert_eq!(read.emit().len(), BLOCK_LEN),
            Err(error) => prop_assert!(error.is_damage() || cut < 16, "{}", error),
        }
    }

    #[test]
    fn a_new_layout_fills_the_media(
        sectors in 10_u64..1 << 36,
        sector in prop_oneof![Just(512_u32), Just(4096)],
        shift in 12_u32..=30,
    ) {
        let media = Length::new(sectors * u64::from(sector));
        let sector = SectorSize::new(sector).unwrap();
        let extent_size = ExtentSize::new(1 << shift).unwrap();
        if let Ok(layout) = Layout::create(media, extent_size, sector) {
            let end = layout.data_offset().checked_add(layout.data_len()).unwrap();
            prop_assert_eq!(end.get(), media.get());
            prop_assert!(layout.used_map_len() <= layout.map_len());
            prop_assert!(sector.divides(layout.map_len().get()));
            prop_assert!(sector.divides(layout.data_offset().get()));
            let again = Layout::new(layout.data_len(), extent_size, layout.data_offset());
            prop_assert_eq!(again, Ok(layout));
        }
    }
}

#[test]
fn each_fault_of_a_block_is_named() {
    let layout = Layout::new(Length::new(1 << 30), ExtentSize::DEFAULT, Offset::new(4608)).unwrap();
    let name = ResourceName::new("shared").unwrap();
    let metadata = Metadata::create(name.clone(), layout, KeepDirty::DEFAULT);
    let good = metadata.emit().to_vec();
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut block = good.clone();
        change(&mut block);
        Metadata::parse(&block).unwrap_err()
    };
    let at = |field: &str| {
        let name: Vec<u8> = field.bytes().chain([0]).collect();
        good.windows(name.len())
            .position(|window| window == name)
            .unwrap()
    };
    assert_eq!(
        parse(&|block| block.truncate(4095)),
        BlockError::Short { have: 4095 }
    );
    assert_eq!(parse(&|block| block.fill(0)), BlockError::Blank);
    assert_eq!(parse(&|block| block.fill(0xff)), BlockError::Foreign);
    assert!(matches!(
        parse(&|block| block[24] = 0),
        BlockError::Torn { .. }
    ));
    let missing = parse(&|block| block[at("keepdirty")] = b'K');
    assert_eq!(missing, BlockError::Missing { field: "keepdirty" });
    let other_type = parse(&|block| block[at("localcnt") - 6] = 7);
    assert!(matches!(
        other_type,
        BlockError::WrongType {
            field: "localcnt",
            ..
        }
    ));
    let not_utf8 = parse(&|block| block[24] = 0xff);
    assert!(matches!(not_utf8, BlockError::Name(_)));
    let size = at("extentsize") + 16;
    assert!(matches!(
        parse(&|block| block[size] = 1),
        BlockError::ExtentSize(_)
    ));
    let offset = at("offset") + 10 - 2;
    assert!(matches!(
        parse(&|block| block[offset + 1] = 0),
        BlockError::Layout(_)
    ));
    for error in [missing, other_type, not_utf8] {
        assert!(error.is_damage(), "{error}");
    }
    let other = ResourceName::new("other").unwrap();
    let error = Metadata::parse_for(&good, &other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the provider is part of resource \"shared\" and not of \"other\""
    );
    assert!(!error.is_damage());

    let many: Vec<(String, u64)> = (0..163).map(|n| (format!("x{n}"), n)).collect();
    let error = Metadata::parse(&extended(&metadata, &many[..])).unwrap_err();
    assert_eq!(error, BlockError::Extra { len: 3586 });
    assert!(Metadata::parse(&extended(&metadata, &many[..162])).is_ok());
}

// ---------------------------------------------------------------- the map

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_map_is_what_the_plain_model_says(script in vec(any::<u8>(), 0..800), keep in 2..6_u32) {
        run(&script, keep);
    }
}

/// The scripts reach what they are for: hundreds of extents are copied in one.
#[test]
fn a_long_script_copies_extents() {
    let mut state = 1_u32;
    let script: Vec<u8> = (0..40_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let copied = run(&script, 3);
    println!("{copied} extents copied");
    assert!(copied > 300, "{copied}");
}

#[test]
fn a_step_that_fails_leaves_its_extent_marked_for_the_next_walk() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    assert_eq!(
        map.needs_sync(Offset::new(0), Length::new(512)),
        Ok(MapWrite::First)
    );
    map.rewind();
    let step = map.next_step(RequestSize::DEFAULT).unwrap();
    let finished = map.step_done(step, StepOutcome::Failed).unwrap();
    assert_eq!(
        (finished.agree, finished.map),
        (Agree::StepFailed, MapWrite::NotNeeded)
    );
    assert_eq!(
        map.next_step(RequestSize::DEFAULT),
        None,
        "not again at once"
    );
    assert_eq!(map.to_copy(), 1);
    map.rewind();
    assert!(map.next_step(RequestSize::DEFAULT).is_some());
}

#[test]
fn a_write_missed_during_the_copy_makes_it_be_copied_again() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    let (at, len) = (Offset::new(0), Length::new(512));
    let _ = map.needs_sync(at, len).unwrap();
    map.rewind();
    let step = map.next_step(RequestSize::DEFAULT).unwrap();
    // On disk the extent is marked already.
    assert_eq!(map.needs_sync(at, len), Ok(MapWrite::NotNeeded));
    assert_eq!(
        map.next_step(RequestSize::DEFAULT),
        None,
        "the last step is on its way"
    );
    assert_eq!(
        map.step_done(step, StepOutcome::Copied).unwrap().agree,
        Agree::WriteMissed
    );
    let step = map.next_step(RequestSize::DEFAULT).unwrap();
    assert_eq!(
        map.step_done(step, StepOutcome::Copied).unwrap().agree,
        Agree::Yes
    );
    assert_eq!(map.to_copy(), 0);
}

#[test]
fn steps_of_an_earlier_walk_change_nothing() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    let _ = map.needs_sync(Offset::new(0), Length::new(512)).unwrap();
    map.rewind();
    let step = map.next_step(RequestSize::DEFAULT).unwrap();
    map.rewind();
    let before = map.clone();
    assert_eq!(map.step_done(step, StepOutcome::Copied), None);
    assert_eq!(map, before);
}

#[test]
fn a_short_map_is_refused_and_a_long_one_is_not() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    let error = map.merge(&[0xff; 5]).unwrap_err();
    assert_eq!((error.have, error.need), (5, 6));
    map.merge(&[0xff; 600]).unwrap();
    assert_eq!(map.dirty_extents(), 41);
}

#[test]
fn no_extent_counts_more_writes_than_it_can() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    let (at, len) = (Offset::new(4000), Length::new(200));
    for _ in 0..u16::MAX {
        let _ = map.write_started(Offset::new(4096), len).unwrap();
    }
    let before = map.clone();
    assert_eq!(
        map.write_started(at, len),
        Err(RangeError::TooManyPending { extent: 1 })
    );
    assert_eq!(map, before, "not even the other extent is counted");
}

// ---------------------------------------------------------------- the counters

/// One node of a history: what is on its disk, and which writes its data have.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Disk {
    id: bool,
    local: u64,
    remote: u64,
    /// Who acknowledged each, and its number.
    writes: BTreeSet<(usize, u8)>,
}

/// Two nodes, of which each may be a real one, which counts by the original's rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Pair {
    disks: [Disk; 2],
    next: u8,
    history: Vec<&'static str>,
}

fn party(disk: &Disk) -> Party {
    Party {
        resource_id: ResourceId::new(u64::from(disk.id)),
        counters: Counters {
            local: disk.local,
            remote: disk.remote,
        },
    }
}

/// A node is promoted, writes alone, and stops.
fn write_alone(pair: &mut Pair, node: usize, strict: bool) {
    let disk = &mut pair.disks[node];
    if strict {
        let mut counters = PrimaryCounters::new(party(disk).counters);
        if let Some(counters) = counters.wrote_alone().unwrap() {
            (disk.local, disk.remote) = (counters.local, counters.remote);
        }
    } else if disk.local == 0 {
        // The original: it equals what a peer that was never met in this life has told, 0.
        disk.local = 1;
    }
    disk.writes.insert((node, pair.next));
    pair.next += 1;
}

/// The node is promoted and meets the other, and everything is copied. Tells of writes that a
/// strict node had acknowledged alone and that are lost by it.
fn meet(pair: &mut Pair, primary: usize, strict: [bool; 2]) -> Option<String> {
    let secondary = 1 - primary;
    // The primary draws the identity if it has none.
    let virgin = Virgin::from(!pair.disks[primary].id);
    pair.disks[primary].id = true;
    let answer = decide(
        party(&pair.disks[secondary]),
        party(&pair.disks[primary]),
        virgin,
    );
    // A secondary that wrote alone before it ever met a peer cannot decide, and that is right.
    let Ok(Decision::Synchronise(begin)) = answer else {
        return None;
    };
    let peer = party(&pair.disks[secondary]).counters;
    let mut counters = PrimaryCounters::new(party(&pair.disks[primary]).counters);
    counters
        .connected(peer, begin.source, begin.virgin)
        .unwrap();
    counters.synchronised();
    let agreed = counters.get();
    let (from, to) = match begin.source {
        SyncSource::Primary => (primary, secondary),
        SyncSource::Secondary => (secondary, primary),
    };
    let lost = pair.disks[to].writes.difference(&pair.disks[from].writes);
    let lost: Vec<_> = lost
        .filter(|(node, _)| strict[*node] || strict == [false; 2])
        .collect();
    let lost = (!lost.is_empty())
        .then(|| format!("{lost:?} lost by {:?} after {:?}", begin.rule, pair.history));
    pair.disks[to].writes = pair.disks[from].writes.clone();
    pair.disks[secondary].id = true;
    (pair.disks[primary].local, pair.disks[primary].remote) = (agreed.local, agreed.remote);
    lost
}

/// Walks all histories of a length. Returns how many there were, and the first loss.
fn explore(depth: usize, strict: [bool; 2]) -> (usize, Option<String>) {
    let fresh = Pair {
        disks: Default::default(),
        next: 0,
        history: Vec::new(),
    };
    let (mut all, mut count, mut loss) = (vec![fresh], 0, None);
    for _ in 0..depth {
        let mut longer = Vec::new();
        for pair in all {
            for (event, name) in ["A alone", "B alone", "A meets B", "B meets A"]
                .iter()
                .enumerate()
            {
                let mut pair = pair.clone();
                pair.history.push(name);
                count += 1;
                let node = event % 2;
                if event < 2 {
                    write_alone(&mut pair, node, strict[node]);
                } else if let Some(lost) = meet(&mut pair, node, strict) {
                    loss.get_or_insert(lost);
                    continue;
                }
                longer.push(pair);
            }
        }
        all = longer;
    }
    (count, loss)
}

#[test]
fn no_history_of_two_strict_nodes_loses_an_acknowledged_write() {
    let (count, loss) = explore(8, [true, true]);
    println!("{count} histories");
    assert_eq!(loss, None);
    assert!(count > 80_000);
}

/// Whatever a real peer forgets to count, it cannot overwrite what this node has counted.
#[test]
fn no_history_of_a_strict_node_and_a_real_one_loses_a_write_of_the_strict_one() {
    for strict in [[true, false], [false, true]] {
        assert_eq!(explore(8, strict).1, None);
    }
}

/// The same walk finds the original's hole: if it did not, it would prove nothing.
#[test]
fn the_walk_finds_the_hole_of_the_original() {
    let (_, loss) = explore(8, [false, false]);
    let loss = loss.unwrap();
    println!("{loss}");
    assert!(
        loss.contains("Even") || loss.contains("PrimaryAhead"),
        "{loss}"
    );
}

#[test]
fn an_absence_is_counted_once_and_beyond_all_that_was_told() {
    let counters = |local, remote| Counters { local, remote };
    let mut primary = PrimaryCounters::new(counters(1, 0));
    assert_eq!(primary.wrote_alone(), Ok(Some(counters(2, 0))));
    assert_eq!(primary.wrote_alone(), Ok(None));
    // The peer has told of a greater one: it has lost count, or this node has.
    assert_eq!(
        primary.connected(counters(0, 7), SyncSource::Secondary, Virgin::No),
        Ok(None)
    );
    primary.disconnected();
    assert_eq!(primary.wrote_alone(), Ok(Some(counters(8, 0))));
    assert_eq!(primary.synchronised(), Some(counters(7, 0)));
    assert_eq!(primary.synchronised(), None);
    // A write that the peer refuses, while connected.
    assert_eq!(primary.wrote_alone(), Ok(Some(counters(8, 0))));
}

#[test]
fn an_answer_that_contradicts_itself_is_refused() {
    let counters = |local, remote| Counters { local, remote };
    let connect = |own, peer, source, virgin| {
        let mut primary = PrimaryCounters::new(own);
        let result = primary.connected(peer, source, virgin);
        assert!(result.is_ok() || primary == PrimaryCounters::new(own));
        result
    };
    let (zero, one) = (counters(0, 0), counters(1, 0));
    let (here, there) = (SyncSource::Primary, SyncSource::Secondary);
    assert_eq!(connect(zero, zero, here, Virgin::Yes), Ok(Some(one)));
    assert_eq!(connect(one, counters(0, 3), here, Virgin::Yes), Ok(None));
    assert_eq!(
        connect(zero, zero, there, Virgin::Yes),
        Err(AnswerError::VirginSource)
    );
    let local = Err(AnswerError::VirginLocal { local: 1 });
    assert_eq!(connect(zero, one, here, Virgin::Yes), local);
    let remote = Err(AnswerError::VirginRemote { remote: 3 });
    assert_eq!(connect(zero, counters(0, 3), here, Virgin::Yes), remote);
    let exhausted = Err(AnswerError::Exhausted { remote: u64::MAX });
    assert_eq!(
        connect(zero, counters(0, u64::MAX), here, Virgin::No),
        exhausted
    );
    let mut last = PrimaryCounters::new(counters(u64::MAX, 0));
    assert!(matches!(last.wrote_alone(), Err(CounterExhausted { .. })));
}

proptest! {
    /// The rows as the specification states them, first match wins.
    #[test]
    fn the_table_is_that_of_the_specification(
        sl in 0..4_u64, sr in 0..4_u64, pl in 0..4_u64, pr in 0..4_u64,
    ) {
        let party = |local, remote| Party {
            resource_id: ResourceId::new(9),
            counters: Counters { local, remote },
        };
        let rule = if sl > pr && sr == pl {
            Rule::SecondaryAhead
        } else if sl == pr && sr == pl {
            Rule::Even
        } else if sl == pr && sr < pl {
            Rule::PrimaryAhead
        } else if sl > pr && pl > sr {
            Rule::SplitBrain
        } else if sl > pr {
            Rule::PrimaryLostCount
        } else {
            Rule::SecondaryLostCount
        };
        match decide(party(sl, sr), party(pl, pr), Virgin::No).unwrap() {
            Decision::Synchronise(begin) => {
                prop_assert_eq!(begin.rule, rule);
                let full = matches!(rule.row(), 8 | 9);
                prop_assert_eq!(begin.map == MapChoice::Full, full);
            }
            Decision::Refuse(why) => {
                prop_assert_eq!(why, Disagreement::SplitBrain);
                prop_assert_eq!(why.rule(), rule);
            }
        }
    }
}

// ---------------------------------------------------------------- the configuration

fn word<const MAX: usize>() -> impl Strategy<Value = Word<MAX>> {
    let usable = |text: String| Word::new(text).ok();
    "[a-zA-Z0-9._/:\\[\\]-]{1,30}".prop_filter_map("a keyword or a number", usable)
}

fn switch() -> impl Strategy<Value = Switch> {
    prop_oneof![Just(Switch::On), Just(Switch::Off)]
}

fn address_or_none() -> impl Strategy<Value = AddressOrNone> {
    prop_oneof![
        Just(AddressOrNone::None),
        word().prop_map(AddressOrNone::Address)
    ]
}

fn node_setting() -> impl Strategy<Value = NodeSetting> {
    prop_oneof![
        word().prop_map(NodeSetting::Control),
        word().prop_map(NodeSetting::PidFile),
        word().prop_map(NodeSetting::Listen),
        word().prop_map(NodeSetting::TlsCertificate),
        word().prop_map(NodeSetting::TlsKey),
        word().prop_map(NodeSetting::TlsAuthority),
    ]
}

fn resource_setting() -> impl Strategy<Value = ResourceSetting> {
    let of = |words: &[&'static str]| prop::sample::select(words.to_vec());
    let size = (12..=20_u32).prop_map(|shift| RequestSize::new(1 << shift).unwrap());
    prop_oneof![
        of(&["fullsync", "memsync", "async"])
            .prop_map(|w| ResourceSetting::Replication(w.parse::<Replication>().unwrap())),
        of(&["none", "crc32", "sha256"])
            .prop_map(|w| ResourceSetting::Checksum(w.parse::<Checksum>().unwrap())),
        of(&["none", "hole", "lzf"])
            .prop_map(|w| ResourceSetting::Compression(w.parse::<Compression>().unwrap())),
        (1..=Timeout::MAX.get()).prop_map(|s| ResourceSetting::Timeout(Timeout::new(s).unwrap())),
        word().prop_map(ResourceSetting::Exec),
        switch().prop_map(ResourceSetting::MetaFlush),
        switch().prop_map(ResourceSetting::Tls),
        address_or_none().prop_map(ResourceSetting::Arbiter),
        size.prop_map(ResourceSetting::RequestSize),
    ]
}

fn device_setting() -> impl Strategy<Value = DeviceSetting> {
    prop_oneof![
        word().prop_map(DeviceSetting::Name),
        word().prop_map(DeviceSetting::Local)
    ]
}

fn peer_setting() -> impl Strategy<Value = PeerSetting> {
    prop_oneof![
        device_setting().prop_map(PeerSetting::Device),
        address_or_none().prop_map(PeerSetting::Remote),
        word().prop_map(PeerSetting::Source),
        switch().prop_map(PeerSetting::MetaFlush),
        word().prop_map(PeerSetting::TlsPeer),
    ]
}

fn resource_statement() -> impl Strategy<Value = ResourceStatement> {
    let node = (word(), vec(peer_setting(), 0..6))
        .prop_map(|(name, settings)| ResourceNode { name, settings });
    prop_oneof![
        resource_setting().prop_map(ResourceStatement::Setting),
        device_setting().prop_map(ResourceStatement::Device),
        node.prop_map(ResourceStatement::Node),
    ]
}

fn file() -> impl Strategy<Value = File> {
    let node = (word(), vec(node_setting(), 0..6))
        .prop_map(|(name, settings)| Statement::Node(Node { name, settings }));
    let resource = (word(), vec(resource_statement(), 0..6))
        .prop_map(|(name, statements)| Statement::Resource(Resource::new(name, statements)));
    let statement = prop_oneof![
        node_setting().prop_map(Statement::NodeSetting),
        resource_setting().prop_map(Statement::ResourceSetting),
        node,
        resource,
    ];
    vec(statement, 0..10).prop_map(|statements| File { statements })
}

proptest! {
    #[test]
    fn a_configuration_says_what_was_written(file in file()) {
        let mut names = BTreeSet::new();
        let unique = file.resources().all(|resource| names.insert(resource.name.clone()));
        prop_assume!(unique);
        let text = file.to_string();
        let again = File::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&again, &file);
        let host = Host::new("hasta.example.org");
        // Only the place of a fault is new.
        match (again.select(&host), file.select(&host)) {
            (Ok(one), Ok(two)) => prop_assert_eq!(one, two),
            (Err(one), Err(two)) => prop_assert_eq!(one.fault, two.fault),
            (one, two) => panic!("{one:?} {two:?}"),
        }
    }

    #[test]
    fn no_octets_make_the_parser_panic(text in vec(any::<u8>(), 0..300)) {
        let _ = File::parse(&text);
    }

    /// Words in any order, most of which are nonsense; every message can be shown.
    #[test]
    fn no_words_make_the_parser_panic(words in vec(0..40_usize, 0..30)) {
        let others = ["{", "}", "{", "}", "20", "none", "on", "off", "lzf", "a", "b\n", "# c\n"];
        let all: Vec<&str> =
            Directive::ALL.iter().map(|d| d.word()).chain(others).chain(["sha256"; 6]).collect();
        let text: String = words.iter().map(|&n| format!("{} ", all[n])).collect();
        match File::parse(text.as_bytes()) {
            Ok(file) => prop_assert_eq!(File::parse(file.to_string().as_bytes()), Ok(file)),
            Err(error) => {
                let at = error.at.unwrap();
                prop_assert!(at.line <= text.lines().count() + 1);
                prop_assert!(!error.in_file("hast.conf").to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_word_is_what_the_parser_takes_for_one(text in "[a-z0-9 ;{}.#ä-]{0,8}") {
        let line = format!("exec {text}\n");
        let same = File::parse(line.as_bytes()).is_ok_and(|file| file.to_string() == line);
        prop_assert_eq!(Word::<1023>::new(text).is_ok(), same);
    }
}

#[test]
fn each_fault_of_a_word_has_its_error() {
    let made = Word::<4>::new;
    assert_eq!(made(""), Err(WordError::Empty));
    assert_eq!(made("abcde"), Err(WordError::TooLong { len: 5, max: 4 }));
    assert_eq!(made("a b"), Err(WordError::Character { character: ' ' }));
    assert_eq!(made("lzf"), Err(WordError::Keyword));
    assert_eq!(made("123"), Err(WordError::Digits));
    assert_eq!(made("tls").unwrap().as_str(), "tls");
}

#[test]
fn every_directive_describes_itself() {
    for directive in Directive::ALL {
        assert_eq!(Directive::from_word(directive.word()), Some(directive));
        assert!(!directive.scopes().is_empty());
        if let Takes::OneOf(words) = directive.takes() {
            assert!(words.len() > 1);
        }
    }
}

/// A mark counts only if it has reached the disk: after a failure the next write must not rely on
/// one of before.
#[test]
fn after_a_failed_write_of_the_map_every_write_waits_for_another() {
    let mut map = ActiveMap::new(small_layout(), KeepDirty::DEFAULT);
    let (at, len) = (Offset::new(0), Length::new(512));
    assert_eq!(map.write_started(at, len), Ok(MapWrite::First));
    map.written();
    assert_eq!(map.write_started(at, len), Ok(MapWrite::NotNeeded));
    map.not_written();
    assert_eq!(map.changed(SectorSize::DEFAULT), Some(0..map.image().len()));
    assert_eq!(map.write_started(at, len), Ok(MapWrite::First));
    assert_eq!(map.needs_sync(at, len), Ok(MapWrite::First));
    assert_eq!(map.needs_sync(at, len), Ok(MapWrite::First));
    map.written();
    assert_eq!(map.write_started(at, len), Ok(MapWrite::NotNeeded));
    assert_eq!(map.needs_sync(at, len), Ok(MapWrite::NotNeeded));
}

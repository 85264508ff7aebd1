//! Metadata blocks, maps and decisions as FreeBSD's own code made them, both ways where there
//! are two ways.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/wire.rs"]
mod wire;

use hast_proto::activemap::{ActiveMap, Agree, MapWrite, Step, StepOutcome};
use hast_proto::decision::{Decision, DecisionError, MapChoice, Party, Virgin, decide};
use hast_proto::message::Refusal;
use hast_proto::{
    BLOCK_LEN, BlockError, Counters, ExtentSize, KeepDirty, Layout, Length, Metadata, Offset,
    RequestSize, ResourceId, ResourceName, Role, SectorSize, SyncSource,
};
use serde_json::Value;
use wire::{assert_counted, cases, described_sessions, hex_of};

fn number(value: &Value) -> u64 {
    wire::number(value)
}

fn small(value: &Value) -> u32 {
    wire::number(value)
}

fn padded(prefix: &[u8], len: usize) -> Vec<u8> {
    let mut octets = prefix.to_vec();
    octets.resize(len, 0);
    octets
}

fn resource(value: &Value) -> ResourceName {
    ResourceName::new(value.as_str().unwrap()).unwrap()
}

#[test]
fn every_block_is_written_and_read_back_octet_for_octet() {
    let cases = cases("hast-metadata.json", "write");
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let fields = &case["fields"];
        let layout = Layout::new(
            Length::new(number(&fields["datasize"])),
            ExtentSize::new(number(&fields["extentsize"])).unwrap(),
            Offset::new(number(&fields["offset"])),
        )
        .unwrap();
        let keep_dirty = KeepDirty::new(small(&fields["keepdirty"])).unwrap();
        let mut metadata = Metadata::create(resource(&fields["resource"]), layout, keep_dirty);
        metadata.resource_id = ResourceId::new(number(&fields["resuid"]));
        metadata.counters = Counters {
            local: number(&fields["localcnt"]),
            remote: number(&fields["remotecnt"]),
        };
        metadata.previous_role = case["prevrole"].as_str().unwrap().parse().unwrap();

        let expected = padded(&hex_of(case, "used_hex"), BLOCK_LEN);
        assert_eq!(metadata.emit(), expected, "{name}");
        assert_eq!(Metadata::parse(&expected), Ok(metadata), "{name}");
    }
    println!("{} blocks written and read", cases.len());
    assert_eq!(cases.len(), 6);
}

/// What is wrong with each block that must be refused.
fn fault(error: &BlockError) -> &'static str {
    match error {
        BlockError::OtherResource { .. } => "wrong_resource_name",
        BlockError::Blank => "all_zero_block",
        BlockError::Missing { field: "resource" } => "missing_resource",
        BlockError::Missing { field: "prevrole" } => "missing_prevrole",
        BlockError::Missing { field: "localcnt" } => "missing_localcnt",
        BlockError::WrongType {
            field: "datasize", ..
        } => "wrong_type_datasize",
        BlockError::Torn { .. } => "no_zero_after_list",
        BlockError::Foreign => "random_block",
        other => panic!("{other}"),
    }
}

#[test]
fn every_block_is_read_or_refused_as_it_should_be() {
    let (mut accepted, mut refused) = (0, 0);
    for case in cases("hast-metadata.json", "read") {
        let name = case["name"].as_str().unwrap();
        let len = usize::try_from(number(&case["block_length"])).unwrap();
        let block = padded(&hex_of(&case, "block_prefix_hex"), len);
        let result = Metadata::parse_for(&block, &resource(&case["resource_expected"]));
        if case["expect"] == "reject" {
            assert_eq!(fault(&result.unwrap_err()), name);
            refused += 1;
            continue;
        }
        let metadata = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        let parsed = &case["parsed"];
        let layout = metadata.layout;
        assert_eq!(
            layout.data_len().get(),
            number(&parsed["datasize"]),
            "{name}"
        );
        assert_eq!(
            layout.data_offset().get(),
            number(&parsed["localoff"]),
            "{name}"
        );
        assert_eq!(
            layout.extent_size().get(),
            small(&parsed["extentsize"]),
            "{name}"
        );
        assert_eq!(metadata.keep_dirty, small(&parsed["keepdirty"]), "{name}");
        let id = ResourceId::stored(metadata.resource_id);
        assert_eq!(id, number(&parsed["resuid"]), "{name}");
        // Which counters a role takes is the caller's business: the others stay 0 there.
        let Counters { local, remote } = metadata.counters;
        let role: Role = case["role"].as_str().unwrap().parse().unwrap();
        let of = |taken: bool, count: u64| if taken { count } else { 0 };
        let (primary, secondary) = (role != Role::Secondary, role != Role::Primary);
        assert_eq!(
            of(primary, local),
            number(&parsed["primary_localcnt"]),
            "{name}"
        );
        assert_eq!(
            of(primary, remote),
            number(&parsed["primary_remotecnt"]),
            "{name}"
        );
        assert_eq!(
            of(secondary, local),
            number(&parsed["secondary_localcnt"]),
            "{name}"
        );
        assert_eq!(
            of(secondary, remote),
            number(&parsed["secondary_remotecnt"]),
            "{name}"
        );
        let previous = match number(&parsed["previous_role"]) {
            2 => Role::Primary,
            3 => Role::Secondary,
            _ => Role::Init,
        };
        assert_eq!(metadata.previous_role, previous, "{name}");
        // Written again it says the same, unknown fields included.
        let again = Metadata::parse(&metadata.emit()).unwrap();
        assert_eq!(again, metadata, "{name}");
        assert_eq!(again.extra().is_empty(), name != "extra_field", "{name}");
        accepted += 1;
    }
    println!("{accepted} blocks read, {refused} refused");
    assert_eq!((accepted, refused), (8, 8));
}

#[test]
fn every_layout_is_what_create_computes() {
    let cases = cases("hast-metadata.json", "layout");
    for case in &cases {
        let extent_size = ExtentSize::new(number(&case["extentsize"])).unwrap();
        let sector = SectorSize::new(small(&case["sectorsize"])).unwrap();
        let media = Length::new(number(&case["mediasize"]));
        let layout = Layout::create(media, extent_size, sector).unwrap();
        assert_eq!(
            layout.map_len().get(),
            number(&case["map_octets_on_disk"]),
            "{case}"
        );
        assert_eq!(
            layout.data_offset().get(),
            number(&case["localoff"]),
            "{case}"
        );
        assert_eq!(layout.data_len().get(), number(&case["datasize"]), "{case}");
        assert_eq!(
            u64::from(layout.extents()),
            number(&case["extents"]),
            "{case}"
        );
        let words = layout.used_map_len().get().next_multiple_of(8);
        assert_eq!(words, number(&case["map_octets_used"]), "{case}");
        // The primary of the original takes less where `create` took too much.
        let from_data = words.next_multiple_of(sector.get().into());
        assert_eq!(
            from_data,
            number(&case["map_octets_from_datasize"]),
            "{case}"
        );
    }
    println!("{} layouts computed", cases.len());
    assert_eq!(cases.len(), 12);
}

/// One map under a script of the original, in which one step is on its way at a time and ends
/// when the next is asked for.
struct Script {
    map: ActiveMap,
    keep_dirty: KeepDirty,
    step: Option<Step>,
    max: RequestSize,
}

impl Script {
    fn of(case: &Value) -> Result<Self, hast_proto::NumberError> {
        let extent_size = ExtentSize::new(number(&case["extentsize"])).unwrap();
        let data_len = number(&case["datasize"]);
        let words = data_len.div_ceil(extent_size.get().into()).div_ceil(64) * 8;
        let map_len = words.next_multiple_of(number(&case["sectorsize"]));
        let offset = Offset::new(map_len + 4096);
        let layout = Layout::new(Length::new(data_len), extent_size, offset).unwrap();
        let keep_dirty = KeepDirty::new(small(&case["keepdirty"]))?;
        Ok(Self {
            map: ActiveMap::new(layout, keep_dirty),
            keep_dirty,
            step: None,
            max: RequestSize::new(small(&case["max_io"])).unwrap(),
        })
    }

    /// Does one step of the script and compares what it gives.
    fn perform(&mut self, op: &Value, at: &str) {
        let range = || {
            (
                Offset::new(number(&op["offset"])),
                Length::new(number(&op["length"])),
            )
        };
        let map_len = self.map.image().len();
        let write = match op["op"].as_str().unwrap() {
            "write_start" => {
                let (offset, length) = range();
                Some(self.map.write_started(offset, length).unwrap())
            }
            "write_complete" => {
                let (offset, length) = range();
                Some(self.map.write_completed(offset, length).unwrap())
            }
            "need_sync" => {
                let (offset, length) = range();
                Some(self.map.needs_sync(offset, length).unwrap())
            }
            "load" => {
                let disk = padded(&hex_of(op, "map_prefix_hex"), map_len);
                let layout = *self.map.layout();
                self.map = ActiveMap::from_disk(layout, self.keep_dirty, &disk).unwrap();
                None
            }
            "merge" => {
                let peer = padded(&hex_of(op, "map_prefix_hex"), map_len);
                self.map.merge(&peer).unwrap();
                None
            }
            "sync_rewind" => {
                self.map.rewind();
                self.step = None;
                None
            }
            "sync_next" => self.next(op, at),
            "disk" => {
                assert_eq!(
                    map_len,
                    usize::try_from(number(&op["disk_map_size"])).unwrap(),
                    "{at}"
                );
                let disk = padded(&hex_of(op, "disk_map_prefix_hex"), map_len);
                assert_eq!(self.map.image(), disk, "{at}");
                None
            }
            other => panic!("{other}"),
        };
        let finished = || op.get("extent_complete_flush_needed");
        let expected = op.get("flush_needed").or_else(finished);
        let needed = write.map(|write| write != MapWrite::NotNeeded);
        assert_eq!(
            needed,
            expected.map(|flush| flush.as_bool().unwrap()),
            "{at}"
        );
        assert_eq!(
            u64::from(self.map.dirty_extents()),
            number(&op["dirty_extents"]),
            "{at}"
        );
    }

    fn next(&mut self, op: &Value, at: &str) -> Option<MapWrite> {
        let finished = self
            .step
            .take()
            .and_then(|step| self.map.step_done(step, StepOutcome::Copied));
        let expected = op["finished_extent"].as_i64().unwrap();
        assert_eq!(
            finished.map_or(-1, |finished| finished.extent.into()),
            expected,
            "{at}"
        );
        assert!(
            finished.is_none_or(|finished| finished.agree == Agree::Yes),
            "{at}"
        );
        self.step = self.map.next_step(self.max);
        match &self.step {
            Some(step) => {
                assert_eq!(step.offset.get(), number(&op["offset"]), "{at}");
                assert_eq!(step.length.get(), number(&op["length"]), "{at}");
            }
            None => assert_eq!(op["offset"], "-1", "{at}"),
        }
        finished.map(|finished| finished.map)
    }
}

#[test]
fn every_script_marks_and_copies_the_extents_it_should() {
    let (mut scripts, mut steps, mut refused) = (0, 0, 0);
    for case in cases("hast-metadata.json", "activemap") {
        let name = case["name"].as_str().unwrap();
        let script = Script::of(&case);
        if case["expect"] == "reject" {
            assert_eq!(name, "keepdirty_limit_1_second_extent");
            assert!(
                script.is_err(),
                "a list of one extent, of which the original dies"
            );
            refused += 1;
            continue;
        }
        let mut script = script.unwrap();
        for (number, op) in case["steps"].as_array().unwrap().iter().enumerate() {
            script.perform(op, &format!("{name}, step {number}: {op}"));
            steps += 1;
        }
        scripts += 1;
    }
    println!("{scripts} scripts of {steps} steps, {refused} refused");
    assert_eq!((scripts, refused), (20, 1));
}

fn party(case: &Value) -> Party {
    Party {
        resource_id: ResourceId::new(number(&case["resuid"])),
        counters: Counters {
            local: number(&case["localcnt"]),
            remote: number(&case["remotecnt"]),
        },
    }
}

#[test]
fn every_decision_is_the_original_s() {
    let (mut decided, mut refused) = (0, 0);
    for case in cases("hast-decisions.json", "sync_decision") {
        let (secondary, primary) = (party(&case["secondary"]), party(&case["primary"]));
        let virgin = Virgin::from(case["primary"]["virgin"].as_bool().unwrap());
        let result = decide(secondary, primary, virgin);
        if case["expect"] == "reject" {
            assert_eq!(
                result,
                Err(DecisionError::CountedWithoutId { local: 1 }),
                "{case}"
            );
            refused += 1;
            continue;
        }
        let decision = result.unwrap();
        let known = secondary.resource_id;
        let (result, errmsg, map, virgin, id, written) = match decision {
            Decision::Synchronise(begin) => (
                match begin.source {
                    SyncSource::Primary => "sync_from_primary",
                    SyncSource::Secondary => "sync_from_secondary",
                },
                None,
                match begin.map {
                    MapChoice::None => "none",
                    MapChoice::OnDisk => "on_disk",
                    MapChoice::Full => "full",
                },
                begin.virgin == Virgin::Yes,
                begin.adopt.unwrap_or(known),
                begin.adopt.is_some(),
            ),
            Decision::Refuse(why) => {
                let refusal = Refusal::from(why);
                let word = match refusal {
                    Refusal::SplitBrain => "split_brain",
                    _ => "resuid_mismatch",
                };
                (word, Some(refusal.to_string()), "none", false, known, false)
            }
        };
        assert_eq!(case["result"], result, "{case}");
        assert_eq!(case["errmsg"].as_str(), errmsg.as_deref(), "{case}");
        assert_eq!(case["map"], map, "{case}");
        assert_eq!(case["virgin_in_reply"], virgin, "{case}");
        assert_eq!(case["split_brain_event"], result == "split_brain", "{case}");
        assert_eq!(case["worker_exits"], errmsg.is_some(), "{case}");
        assert_eq!(
            number(&case["resuid_after"]),
            ResourceId::stored(id),
            "{case}"
        );
        assert_eq!(case["metadata_written"], written, "{case}");
        decided += 1;
    }
    println!("{decided} decisions, {refused} refused");
    assert_eq!((decided, refused), (108, 1));
}

/// Blocks of a running hastd, beside what its `hastctl dump` printed of them.
#[test]
fn the_disks_of_recorded_sessions_are_read_and_dumped_as_by_the_original() {
    let (mut blocks, mut layouts) = (0, 0);
    for (path, session) in described_sessions() {
        for node in ["nodeA", "nodeB"] {
            for (file, state) in [("initial-metadata", "initial"), ("metadata", "final")] {
                let Ok(disk) = std::fs::read(path.join(format!("{file}-{node}.bin"))) else {
                    continue;
                };
                let dump = &session[state][node]["dump"];
                let metadata = Metadata::parse(&disk).unwrap();
                assert_eq!(
                    hast_proto::status::dump(&metadata).to_string(),
                    *dump,
                    "{path:?}"
                );
                assert_eq!(Metadata::parse(&metadata.emit()).as_ref(), Ok(&metadata));
                let keep_dirty = KeepDirty::from_stored(metadata.keep_dirty).unwrap();
                let map = &disk[BLOCK_LEN..];
                let map = ActiveMap::from_disk(metadata.layout, keep_dirty, map).unwrap();
                assert_eq!(map.image(), &disk[BLOCK_LEN..], "{path:?}");
                blocks += 1;
            }
            // What `create` made of the provider.
            let block = std::fs::read(path.join(format!("initial-metadata-{node}.bin")));
            let (Ok(block), Some(size)) = (block, session["provider_size"][node].as_u64()) else {
                continue;
            };
            let metadata = Metadata::parse(&block).unwrap();
            let extent_size = metadata.layout.extent_size();
            let layout = Layout::create(Length::new(size), extent_size, SectorSize::DEFAULT);
            assert_eq!(layout, Ok(metadata.layout), "{path:?}");
            layouts += 1;
        }
    }
    assert_counted("recorded disks", blocks, 72);
    assert_counted("recorded disks that are new", layouts, 36);
}

//! What reading a configuration, a block or a map allocates is bounded by named limits, whatever
//! the octets say.

#[path = "common/counting.rs"]
mod counting;

use core::hint::black_box;

use counting::allocated;
use hast_proto::activemap::{ActiveMap, StepOutcome};
use hast_proto::conf::{self, File, Host};
use hast_proto::{
    BLOCK_LEN, ExtentSize, KeepDirty, Layout, Length, MAX_EXTENTS, Metadata, Offset, RequestSize,
    ResourceName,
};

/// The most octets that were allocated at once while `work` was done.
fn peak(work: impl FnOnce()) -> usize {
    allocated(work).1.peak
}

/// How often `work` allocated.
fn allocations(work: impl FnOnce()) -> usize {
    allocated(work).1.times
}

#[test]
fn a_configuration_takes_some_tens_of_times_its_length() {
    let nodes = "on a{}".repeat(conf::MAX_LEN / 6);
    let listens = "listen a\n".repeat(conf::MAX_LEN / 9);
    let peers = format!(
        "resource r{{on a{{{}}}}}",
        "source b ".repeat(conf::MAX_LEN / 9 - 3)
    );
    let resources: String = (0..conf::MAX_LEN / 16)
        .map(|n| format!("resource r{n:x}{{}}"))
        .collect();
    for text in [&nodes, &listens, &peers, &resources] {
        let text = &text[..text.len().min(conf::MAX_LEN)];
        let peak = peak(|| {
            if let Ok(file) = File::parse(text.as_bytes()) {
                let _ = black_box(file.select(&Host::new("a")));
            }
        });
        let times = peak / text.len();
        println!("{} octets take {times} times as many", text.len());
        assert!(times < 50, "{times}");
    }
}

#[test]
fn a_block_takes_less_than_two_blocks() {
    let layout = Layout::new(Length::new(1 << 30), ExtentSize::DEFAULT, Offset::new(4608));
    let name = ResourceName::new("shared").unwrap();
    let metadata = Metadata::create(name, layout.unwrap(), KeepDirty::DEFAULT);
    let mut block = metadata.emit().to_vec();
    assert!(peak(|| drop(black_box(Metadata::parse(&block)))) < 2 * BLOCK_LEN);
    // A name of 4 GiB.
    block.splice(2..6, [0xf9, 0xff, 0xff, 0xff]);
    assert!(peak(|| drop(black_box(Metadata::parse(&block)))) < 2 * BLOCK_LEN);
}

#[test]
fn the_largest_map_takes_what_is_documented() {
    let extent_size = ExtentSize::DEFAULT;
    let data = u64::from(MAX_EXTENTS) * u64::from(extent_size.get());
    let map_len = MAX_EXTENTS / 8;
    let layout = Layout::new(
        Length::new(data),
        extent_size,
        Offset::new(4096 + u64::from(map_len)),
    );
    let layout = layout.unwrap();
    let peak = peak(|| drop(black_box(ActiveMap::new(layout, KeepDirty::DEFAULT))));
    let extents = usize::try_from(MAX_EXTENTS).unwrap();
    // Two octets and six bits for each.
    assert!(peak <= extents * 2 + extents * 6 / 8 + 4096, "{peak}");
}

#[test]
fn a_write_to_a_warm_map_allocates_nothing() {
    let layout = Layout::new(
        Length::new(1 << 40),
        ExtentSize::DEFAULT,
        Offset::new(4096 + 65536),
    );
    let mut map = ActiveMap::new(layout.unwrap(), KeepDirty::DEFAULT);
    let length = Length::new(4096);
    let write = |map: &mut ActiveMap, extent: u64| {
        let offset = Offset::new(extent << 21);
        let _ = map.write_started(offset, length).unwrap();
        let _ = map.needs_sync(offset, length).unwrap();
        let _ = map.write_completed(offset, length).unwrap();
    };
    for extent in 0..200 {
        write(&mut map, extent);
    }
    assert_eq!(
        allocations(|| (0..5000).for_each(|extent| write(&mut map, extent % 1000))),
        0
    );
    // Copying takes an entry for each extent on its way.
    map.rewind();
    let copied = allocations(|| {
        while let Some(step) = map.next_step(RequestSize::DEFAULT) {
            let _ = map.step_done(step, StepOutcome::Copied);
        }
    });
    assert!(copied <= 1000, "{copied}");
}

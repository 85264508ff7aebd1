//! The part of the map that outlives a loss of power, and ranges longer than what is kept.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/machine.rs"]
mod machine;

use hast_proto::activemap::MapWrite;
use hast_proto::{ActiveMap, KeepDirty, Length, Offset};
use machine::small_layout;

const SECTOR: Length = Length::new(512);

fn at(extent: u64) -> Offset {
    Offset::new(extent * 8192)
}

/// A map of sixteen extents of which two are kept.
fn map() -> ActiveMap {
    ActiveMap::new(small_layout(), KeepDirty::MIN)
}

/// Writes to an extent on both nodes, without a flush.
fn write(map: &mut ActiveMap, extent: u64) {
    let _ = map.write_started(at(extent), SECTOR).unwrap();
    map.unsettle(at(extent), SECTOR).unwrap();
    let _ = map.write_completed(at(extent), SECTOR).unwrap();
}

fn marked(map: &ActiveMap) -> Vec<u32> {
    let octets = (0_u32..).zip(map.image());
    octets
        .flat_map(|(index, octet)| {
            (0..8)
                .filter(move |bit| octet & (1 << bit) != 0)
                .map(move |bit| index * 8 + bit)
        })
        .collect()
}

#[test]
fn a_mark_stays_until_a_flush_that_began_after_the_write_has_ended() {
    let mut map = map();
    for extent in 0..3 {
        write(&mut map, extent);
    }
    assert_eq!(map.dirty_extents(), 0, "it is not what hastctl calls dirty");
    assert_eq!(marked(&map), [0, 1, 2], "the first is not kept any more");
    assert!(map.settle());
    assert!(!map.settle(), "one flush at a time");
    map.unsettle(at(0), SECTOR).unwrap();
    map.settled(true);
    assert_eq!(marked(&map), [0, 1, 2], "written after the flush began");
    assert!(map.settle());
    map.settled(false);
    assert_eq!(marked(&map), [0, 1, 2], "the flush failed");
    assert!(map.settle());
    map.settled(true);
    assert_eq!(marked(&map), [1, 2], "what is kept");
    assert!(!map.settle(), "nothing is left");
}

#[test]
fn what_is_not_settled_differs_when_the_peer_is_lost() {
    let mut map = map();
    write(&mut map, 3);
    assert!(map.settle());
    write(&mut map, 5);
    map.peer_lost();
    assert_eq!(map.unsettled_extents(), 0);
    assert_eq!(map.to_copy(), 2);
    assert!(map.differs(3) && map.differs(5));
    assert!(map.differs_within(at(2), Length::new(3 * 8192)));
    assert!(!map.differs_within(at(0), Length::new(3 * 8192)));
    // The flush of before means nothing any more.
    map.settled(true);
    assert_eq!(marked(&map), [3, 5]);
}

#[test]
fn of_a_long_range_only_the_end_is_kept() {
    let mut map = map();
    let all = Length::new(16 * 8192);
    assert_eq!(map.write_started(at(0), all).unwrap(), MapWrite::First);
    assert_eq!(map.kept(), [14, 15]);
    assert_eq!(marked(&map).len(), 16);
    let _ = map.write_completed(at(0), all).unwrap();
    assert_eq!(marked(&map), [14, 15]);
}

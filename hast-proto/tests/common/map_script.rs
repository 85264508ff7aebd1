//! A map under a script, beside the plainest model of it: sets and lists.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hast_proto::activemap::{ActiveMap, Agree, MapWrite, RangeError, Step, StepOutcome};
use hast_proto::{ExtentSize, KeepDirty, Layout, Length, Offset, RequestSize, SectorSize};

/// What can happen to a map.
#[derive(Clone, Debug)]
enum Op {
    Start(u64, u64),
    /// The n-th of the pending writes completes.
    Complete(usize),
    NeedsSync(u64, u64),
    Merge(Vec<u8>),
    Rewind,
    Next(u32),
    /// The n-th of the steps on their way ends.
    Done(usize, bool),
    Restart,
}

/// The octets of data.
const DATA: u64 = 40 * 4096 + 512;

impl Op {
    /// Takes four octets for something that happens.
    fn of([what, one, two, three]: [u8; 4]) -> Self {
        let range = || (u64::from(one) * 512 * 2, (1 + u64::from(two % 20)) * 512);
        match what % 25 {
            0..=3 => Self::Start(range().0, range().1),
            4..=7 => Self::Complete(one.into()),
            8 | 9 => Self::NeedsSync(range().0, range().1),
            10 => Self::Merge(vec![one, two, three, one ^ two, two ^ three, three]),
            11 => Self::Rewind,
            12..=17 => Self::Next(12 + u32::from(one % 3)),
            18..=23 => Self::Done(one.into(), two % 10 != 0),
            _ => Self::Restart,
        }
    }
}

/// The plainest model: sets and lists.
#[derive(Default)]
struct Model {
    pending: BTreeMap<u64, u32>,
    differ: BTreeSet<u64>,
    /// Latest at the front.
    kept: VecDeque<u64>,
}

impl Model {
    fn dirty(&self) -> BTreeSet<u64> {
        self.pending.keys().chain(&self.differ).copied().collect()
    }

    fn image(&self, len: usize) -> Vec<u8> {
        let mut image = vec![0; len];
        for extent in self.dirty().into_iter().chain(self.kept.iter().copied()) {
            image[extent as usize / 8] |= 1 << (extent % 8);
        }
        image
    }
}

fn extents(at: u64, len: u64) -> RangeInclusive<u64> {
    at / 4096..=(at + len - 1) / 4096
}

/// 40 extents of 4 KiB and a piece.
pub(crate) fn small_layout() -> Layout {
    let extent_size = ExtentSize::new(4096).unwrap();
    Layout::new(Length::new(DATA), extent_size, Offset::new(4096 + 512)).unwrap()
}

/// Runs a script of four octets for each step against map and model, which must agree after
/// each. Returns how many extents were copied.
pub(crate) fn run(script: &[u8], keep: u32) -> usize {
    let layout = small_layout();
    let keep_dirty = KeepDirty::new(keep).unwrap();
    let mut map = ActiveMap::new(layout, keep_dirty);
    let mut model = Model::default();
    let mut writes: Vec<(u64, u64)> = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    // Octets of each extent copied in this walk, and whether all went well.
    let mut copied: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
    let mut disk = vec![0; 512];
    let mut finished = 0;
    for octets in script.chunks_exact(4) {
        let op = &Op::of([octets[0], octets[1], octets[2], octets[3]]);
        let mut first = false;
        match op {
            Op::Start(at, len) => {
                let (offset, length) = (Offset::new(*at), Length::new(*len));
                let result = map.write_started(offset, length);
                if at + len > DATA {
                    assert!(matches!(result, Err(RangeError::Outside { .. })));
                    continue;
                }
                writes.push((*at, *len));
                let mut inserted = false;
                for extent in extents(*at, *len) {
                    *model.pending.entry(extent).or_default() += 1;
                    inserted |= !model.kept.contains(&extent);
                    model.kept.retain(|&kept| kept != extent);
                    model.kept.push_front(extent);
                    model.kept.truncate(keep as usize);
                }
                assert_eq!(result == Ok(MapWrite::First), inserted);
                first = true;
            }
            Op::Complete(n) if writes.is_empty() => {
                let (at, len) = (Offset::new(*n as u64 % 40 * 4096), Length::new(512));
                let result = map.write_completed(at, len);
                assert!(matches!(result, Err(RangeError::NotPending { .. })));
            }
            Op::Complete(n) => {
                let (at, len) = writes.swap_remove(n % writes.len());
                let result = map
                    .write_completed(Offset::new(at), Length::new(len))
                    .unwrap();
                let mut unmarked = false;
                for extent in extents(at, len) {
                    let left = model.pending.get_mut(&extent).unwrap();
                    *left -= 1;
                    if *left == 0 {
                        model.pending.remove(&extent);
                    }
                    let marked = model.dirty().contains(&extent) || model.kept.contains(&extent);
                    unmarked |= !marked;
                }
                assert_eq!(result == MapWrite::AnyTime, unmarked);
            }
            Op::NeedsSync(at, len) => {
                let result = map.needs_sync(Offset::new(*at), Length::new(*len));
                if at + len > DATA {
                    assert!(result.is_err());
                    continue;
                }
                let before = model.differ.len();
                model.differ.extend(extents(*at, *len));
                let more = model.differ.len() > before;
                assert_eq!(result.unwrap() == MapWrite::First, more);
                for extent in extents(*at, *len) {
                    if let Some((_, well)) = copied.get_mut(&(extent as u32)) {
                        *well = false;
                    }
                }
                first = true;
            }
            Op::Merge(peer) => {
                map.merge(peer).unwrap();
                let bits = (0..41).filter(|n| peer[*n as usize / 8] >> (n % 8) & 1 == 1);
                model.differ.extend(bits);
                (steps, copied) = (Vec::new(), BTreeMap::new());
                first = true;
            }
            Op::Rewind => {
                map.rewind();
                (steps, copied) = (Vec::new(), BTreeMap::new());
            }
            Op::Next(shift) => {
                let Some(step) = map.next_step(RequestSize::new(1 << shift).unwrap()) else {
                    continue;
                };
                assert!(model.differ.contains(&u64::from(step.extent)));
                assert_eq!(step.offset.get() / 4096, u64::from(step.extent));
                assert!(step.offset.get() + step.length.get() <= DATA);
                copied.entry(step.extent).or_insert((0, true));
                steps.push(step);
            }
            Op::Done(n, ok) => {
                if steps.is_empty() {
                    continue;
                }
                let step = steps.swap_remove(n % steps.len());
                let entry = copied.get_mut(&step.extent).unwrap();
                entry.0 += step.length.get();
                entry.1 &= ok;
                let (octets, well) = *entry;
                let outcome = if *ok {
                    StepOutcome::Copied
                } else {
                    StepOutcome::Failed
                };
                let whole = 4096.min(DATA - u64::from(step.extent) * 4096);
                let end = map.step_done(step.clone(), outcome);
                assert_eq!(end.is_some(), octets == whole);
                if let Some(end) = end {
                    copied.remove(&step.extent);
                    assert_eq!(end.agree == Agree::Yes, well);
                    if well {
                        model.differ.remove(&u64::from(step.extent));
                        finished += 1;
                    }
                }
            }
            Op::Restart => {
                // What is on disk is at least what is marked: after a crash nothing is lost.
                let marked = model.image(512);
                assert!(
                    marked
                        .iter()
                        .zip(&disk)
                        .all(|(marked, disk)| marked & !disk == 0)
                );
                map = ActiveMap::from_disk(layout, keep_dirty, &disk).unwrap();
                model = Model::default();
                model.differ = (0..41)
                    .filter(|n| disk[*n as usize / 8] >> (n % 8) & 1 == 1)
                    .collect();
                (writes, steps, copied) = (Vec::new(), Vec::new(), BTreeMap::new());
            }
        }
        assert_eq!(map.image(), model.image(512), "{op:?}");
        assert_eq!(u64::from(map.dirty_extents()), model.dirty().len() as u64);
        assert_eq!(map.dirty().get(), model.dirty().len() as u64 * 4096);
        assert_eq!(map.to_copy() as usize, model.differ.len());
        assert_eq!(map.busy() as usize, model.pending.len());
        assert!(
            map.kept()
                .iter()
                .rev()
                .map(|&n| u64::from(n))
                .eq(model.kept.iter().copied())
        );
        // Write to disk what must be there first; else only now and then.
        if first || finished % 3 == 0 {
            if let Some(changed) = map.changed(SectorSize::DEFAULT) {
                disk[changed.clone()].copy_from_slice(&map.image()[changed]);
                map.written();
            }
            assert_eq!(disk, map.image(), "nothing else had changed");
        }
    }
    // Everything can be copied in the end.
    map.rewind();
    while let Some(step) = map.next_step(RequestSize::DEFAULT) {
        map.step_done(step, StepOutcome::Copied);
    }
    assert_eq!(map.to_copy(), 0);
    finished
}

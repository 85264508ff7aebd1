//! The user of the device, who remembers what was promised.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hast_proto::primary::{DeviceRequest, RequestId};
use hast_proto::{Errno, Length, Offset};

use crate::disk::{SECTOR, Value, octets, values};
use crate::random::Random;

/// A request that is not completed.
#[derive(Clone, Debug)]
enum Pending {
    Read {
        start: usize,
        count: usize,
        /// What each sector may hold, from when it began.
        may_be: Vec<BTreeSet<Value>>,
    },
    Write {
        start: usize,
        count: usize,
        value: Value,
        begun: u64,
    },
    Flush,
}

#[derive(Clone, Debug)]
pub struct Client {
    /// What each sector may hold. One value, unless writes are pending or have failed.
    may_be: Vec<BTreeSet<Value>>,
    /// When each write ended, in steps of this client.
    ended: BTreeMap<Value, u64>,
    pending: BTreeMap<RequestId, (u64, Pending)>,
    next: u64,
    step: u64,
    pub acknowledged: u64,
    pub failed: u64,
    pub read: u64,
    pub read_failed: u64,
}

impl Client {
    pub fn new(sectors: usize) -> Self {
        Self {
            may_be: vec![BTreeSet::from([0]); sectors],
            ended: BTreeMap::from([(0, 0)]),
            pending: BTreeMap::new(),
            next: 1,
            step: 1,
            acknowledged: 0,
            failed: 0,
            read: 0,
            read_failed: 0,
        }
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The oldest request's beginning.
    pub fn oldest(&self) -> Option<u64> {
        self.pending.values().map(|(since, _)| *since).min()
    }

    pub fn request(&mut self, now: u64, random: &mut Random) -> (RequestId, DeviceRequest) {
        let sectors = self.may_be.len() as u64;
        let count = match random.below(10) {
            0 => random.between(16, 33),
            1..5 => 1,
            _ => random.between(1, 9),
        };
        // Some places are hot, so that requests overlap.
        let start = if random.chance(50) {
            random.below(24)
        } else {
            random.below(sectors - count)
        };
        let (start, count) = (
            usize::try_from(start).unwrap(),
            usize::try_from(count).unwrap(),
        );
        match random.below(20) {
            0..5 => self.read(now, start, count),
            5 => self.flush(now),
            6 => self.write(now, start, count, true),
            _ => self.write(now, start, count, false),
        }
    }

    pub fn flush(&mut self, now: u64) -> (RequestId, DeviceRequest) {
        (self.add(now, Pending::Flush), DeviceRequest::Flush)
    }

    pub fn read(&mut self, now: u64, start: usize, count: usize) -> (RequestId, DeviceRequest) {
        let may_be = self.may_be[start..start + count].to_vec();
        let id = self.add(
            now,
            Pending::Read {
                start,
                count,
                may_be,
            },
        );
        let read = DeviceRequest::Read {
            offset: Offset::new((start * SECTOR) as u64),
            length: Length::new((count * SECTOR) as u64),
        };
        (id, read)
    }

    fn write(
        &mut self,
        now: u64,
        start: usize,
        count: usize,
        delete: bool,
    ) -> (RequestId, DeviceRequest) {
        // A deleted sector of these disks is zero, and that it may be at any time then.
        let value = if delete { 0 } else { self.next };
        if delete {
            self.ended.remove(&0);
        }
        for sector in &mut self.may_be[start..start + count] {
            sector.insert(value);
        }
        // A read that is under way may see it, even if it is overwritten before the read ends.
        for (_, pending) in self.pending.values_mut() {
            if let Pending::Read {
                start: from,
                may_be,
                ..
            } = pending
            {
                for (sector, values) in (*from..).zip(may_be) {
                    if (start..start + count).contains(&sector) {
                        values.insert(value);
                    }
                }
            }
        }
        let begun = self.step;
        let id = self.add(
            now,
            Pending::Write {
                start,
                count,
                value,
                begun,
            },
        );
        let offset = Offset::new((start * SECTOR) as u64);
        let request = if delete {
            let length = Length::new((count * SECTOR) as u64);
            DeviceRequest::Delete { offset, length }
        } else {
            let data = octets(&vec![value; count]);
            DeviceRequest::Write { offset, data }
        };
        (id, request)
    }

    fn add(&mut self, now: u64, pending: Pending) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        self.pending.insert(id, (now, pending));
        id
    }

    pub fn completed(&mut self, id: RequestId, result: Result<Vec<Bytes>, Errno>) {
        self.step += 1;
        let (_, pending) = self.pending.remove(&id).expect("completed once");
        match (pending, result) {
            (Pending::Flush, _) => {}
            (Pending::Read { .. }, Err(_)) => self.read_failed += 1,
            (
                Pending::Read {
                    start,
                    count,
                    may_be,
                },
                Ok(parts),
            ) => {
                self.read += 1;
                let read: Vec<Value> = parts.iter().flat_map(|part| values(part)).collect();
                assert_eq!(read.len(), count, "as much as was asked for");
                for (index, value) in read.into_iter().enumerate() {
                    let now = &self.may_be[start + index];
                    assert!(
                        may_be[index].contains(&value) || now.contains(&value),
                        "sector {} holds {value}, where {:?} or {now:?} was promised",
                        start + index,
                        may_be[index],
                    );
                }
            }
            (Pending::Write { value, .. }, Err(_)) => {
                self.failed += 1;
                if value != 0 {
                    self.ended.insert(value, self.step);
                }
            }
            (
                Pending::Write {
                    start,
                    count,
                    value,
                    begun,
                },
                Ok(_),
            ) => {
                self.acknowledged += 1;
                if value != 0 {
                    self.ended.insert(value, self.step);
                }
                for sector in &mut self.may_be[start..start + count] {
                    // What had ended before this began is overwritten.
                    sector.retain(|other| {
                        let ended = self.ended.get(other);
                        *other == value || ended.is_none_or(|ended| *ended > begun)
                    });
                }
                self.end_delete(value);
            }
        }
    }

    /// Zeros that no pending delete may write any more are ordinary again.
    fn end_delete(&mut self, value: Value) {
        let deletes = self
            .pending
            .values()
            .any(|(_, pending)| matches!(pending, Pending::Write { value: 0, .. }));
        if value == 0 && !deletes {
            self.ended.insert(0, self.step);
        }
    }

    /// Everything pending fails, because the primary is gone.
    pub fn abandon(&mut self) {
        let pending: Vec<RequestId> = self.pending.keys().copied().collect();
        for id in pending {
            self.completed(id, Err(Errno::ENXIO));
        }
    }

    /// Whether a value may be in a sector now that nothing is pending.
    pub fn may_be(&self, sector: usize, value: Value) -> bool {
        self.may_be[sector].contains(&value)
    }
}

//! A disk with a write cache that takes its time, and can lose power.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use hast_proto::{Consistency, DiskOperation, Errno, Metadata};

use crate::random::Random;

pub const SECTOR: usize = 512;

/// What a sector holds: the number of the write that wrote it.
pub type Value = u64;

/// Makes the octets of sectors.
pub fn octets(values: &[Value]) -> Bytes {
    let mut octets = BytesMut::with_capacity(values.len() * SECTOR);
    for value in values {
        octets.extend_from_slice(&value.to_le_bytes());
        octets.resize(octets.len() + SECTOR - 8, value.to_le_bytes()[0]);
    }
    octets.freeze()
}

pub fn values(octets: &[u8]) -> Vec<Value> {
    assert_eq!(octets.len() % SECTOR, 0);
    let value = |sector: &[u8]| u64::from_le_bytes(sector[..8].try_into().unwrap());
    octets.chunks(SECTOR).map(value).collect()
}

/// An operation that has been given to the disk.
#[derive(Clone, Debug)]
struct Running {
    operation: DiskOperation,
    /// Writes that had ended when a flush began.
    covers: u64,
}

#[derive(Clone, Debug)]
pub struct Disk {
    pub metadata: Metadata,
    pub map: Vec<u8>,
    pub mark: Consistency,
    /// What a read sees.
    pub view: Vec<Value>,
    /// What a loss of power leaves.
    durable: Vec<Value>,
    /// Writes of each sector since, in their order, with their numbers.
    cache: BTreeMap<usize, Vec<(u64, Value)>>,
    running: BTreeMap<u64, Running>,
    written: u64,
    /// Operations that will fail.
    pub fail_writes: u32,
    pub fail_reads: u32,
}

impl Disk {
    pub fn new(metadata: Metadata) -> Self {
        let sectors = metadata.layout.data_len().to_usize().unwrap() / SECTOR;
        Self {
            map: vec![0; metadata.layout.map_len().to_usize().unwrap()],
            metadata,
            mark: Consistency::Consistent,
            view: vec![0; sectors],
            durable: vec![0; sectors],
            cache: BTreeMap::new(),
            running: BTreeMap::new(),
            written: 0,
            fail_writes: 0,
            fail_reads: 0,
        }
    }

    pub fn begin(&mut self, ticket: u64, operation: DiskOperation) {
        let covers = self.written;
        self.running.insert(ticket, Running { operation, covers });
    }

    /// Leaves an operation on the data undone; false if it is none.
    pub fn give_up(&mut self, ticket: u64) -> bool {
        let of_data = |running: &Running| running.operation.is_of_data();
        let found = self.running.get(&ticket).is_some_and(of_data);
        found && self.running.remove(&ticket).is_some()
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    fn put(&mut self, sector: usize, value: Value) {
        self.view[sector] = value;
        self.written += 1;
        let version = (self.written, value);
        self.cache.entry(sector).or_default().push(version);
    }

    fn harden(&mut self, covers: u64) {
        for (sector, versions) in &mut self.cache {
            if let Some((_, value)) = versions.iter().rev().find(|(number, _)| *number <= covers) {
                self.durable[*sector] = *value;
            }
            versions.retain(|(number, _)| *number > covers);
        }
        self.cache.retain(|_, versions| !versions.is_empty());
    }

    /// Ends an operation, if power has not.
    pub fn end(&mut self, ticket: u64) -> Option<Result<Bytes, Errno>> {
        let Running { operation, covers } = self.running.remove(&ticket)?;
        let writes = !matches!(operation, DiskOperation::Read { .. });
        let fails = if writes {
            &mut self.fail_writes
        } else {
            &mut self.fail_reads
        };
        // What the nodes know of each other is kept: that it cannot be is no matter of the data.
        let may_fail = matches!(
            operation,
            DiskOperation::Read { .. }
                | DiskOperation::Write { .. }
                | DiskOperation::Delete { .. }
                | DiskOperation::StoreMap { .. }
        );
        if may_fail && *fails > 0 {
            *fails -= 1;
            return Some(Err(Errno::EIO));
        }
        let mut result = Bytes::new();
        match operation {
            DiskOperation::Read { offset, length } => {
                let start = usize::try_from(offset.get()).unwrap() / SECTOR;
                let count = length.to_usize().unwrap() / SECTOR;
                result = octets(&self.view[start..start + count]);
            }
            DiskOperation::Flush => self.harden(covers),
            operation => {
                let all = usize::MAX;
                self.apply(&operation, |_| true);
                let _ = all;
            }
        }
        Some(Ok(result))
    }

    /// Does as much of an operation as `sectors` says.
    fn apply(&mut self, operation: &DiskOperation, mut sectors: impl FnMut(usize) -> bool) {
        match operation {
            DiskOperation::Write { offset, data } => {
                let start = usize::try_from(offset.get()).unwrap() / SECTOR;
                for (index, value) in values(data).into_iter().enumerate() {
                    if sectors(index) {
                        self.put(start + index, value);
                    }
                }
            }
            DiskOperation::Delete { offset, length } => {
                let start = usize::try_from(offset.get()).unwrap() / SECTOR;
                for index in 0..length.to_usize().unwrap() / SECTOR {
                    if sectors(index) {
                        self.put(start + index, 0);
                    }
                }
            }
            DiskOperation::StoreMap { offset, data } => {
                let start = usize::try_from(offset.get()).unwrap() - hast_proto::BLOCK_LEN;
                for (index, chunk) in data.chunks(SECTOR).enumerate() {
                    if sectors(index) {
                        let at = start + index * SECTOR;
                        self.map[at..at + chunk.len()].copy_from_slice(chunk);
                    }
                }
            }
            DiskOperation::StoreMetadata(metadata) => {
                if sectors(0) {
                    self.metadata = metadata.clone();
                }
            }
            DiskOperation::StoreConsistency(mark) => {
                if sectors(0) {
                    self.mark = *mark;
                }
            }
            DiskOperation::Read { .. } | DiskOperation::Flush => {}
        }
    }

    /// The process is gone: what was on its way is done, in part, or not at all.
    pub fn kill(&mut self, random: &mut Random) {
        for (_, running) in core::mem::take(&mut self.running) {
            match random.below(3) {
                0 => {}
                1 => self.apply(&running.operation, |_| true),
                _ => self.apply(&running.operation, |_| random.chance(50)),
            }
        }
    }

    /// Power is gone: of what was in the cache, each sector is some version of it.
    pub fn lose_power(&mut self, random: &mut Random) {
        self.kill(random);
        for (sector, versions) in core::mem::take(&mut self.cache) {
            let kept = random.below(versions.len() as u64 + 1);
            if kept > 0 {
                let (_, value) = versions[usize::try_from(kept).unwrap() - 1];
                self.durable[sector] = value;
            }
        }
        self.view.clone_from(&self.durable);
    }
}

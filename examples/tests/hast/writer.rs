//! Clients that write a known pattern, and remember what was acknowledged.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::nbd::Client;

pub(crate) const BLOCK: usize = 4096;
const SECTOR: usize = 512;
/// How many clients write at the same time, each to blocks of its own.
const CLIENTS: usize = 4;

/// What was written to each block.
#[derive(Debug)]
pub(crate) struct Ledger {
    blocks: Vec<Block>,
    seed: AtomicU64,
}

/// The versions of a block count from 1; 0 is what was there before.
#[derive(Debug, Default)]
struct Block {
    /// The last one that was sent at all.
    sent: AtomicU64,
    /// What can be there: the last one that was acknowledged or read, or a later one.
    least: AtomicU64,
    most: AtomicU64,
}

impl Ledger {
    /// Of blocks that are spread over a device of this size, so that they lie in many extents.
    pub(crate) fn new(blocks: usize, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            seed: AtomicU64::new(seed),
        })
    }

    fn offset(&self, size: u64, block: usize) -> u64 {
        let step = (size / self.blocks.len() as u64) / BLOCK as u64 * BLOCK as u64;
        step * block as u64
    }

    /// How many writes were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        let sent = self.blocks.iter().map(|it| it.sent.load(Ordering::SeqCst));
        sent.sum()
    }

    /// Writes one more version of a block.
    fn write(&self, client: &mut Client, block: usize) -> io::Result<()> {
        let record = &self.blocks[block];
        let version = record.sent.fetch_add(1, Ordering::SeqCst) + 1;
        record.most.store(version, Ordering::SeqCst);
        let offset = self.offset(client.size(), block);
        client.write(offset, &pattern(block, version))?;
        record.least.store(version, Ordering::SeqCst);
        Ok(())
    }

    /// Begins to write, until it is stopped or the device fails.
    pub(crate) fn start(self: &Arc<Self>, socket: &Path) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..CLIENTS).map(|number| {
            let (ledger, stop) = (self.clone(), stop.clone());
            let socket: PathBuf = socket.to_owned();
            let mut random = Random(self.seed.fetch_add(1, Ordering::SeqCst));
            thread::spawn(move || {
                let mut client = Client::connect(&socket, "shared")?;
                while !stop.load(Ordering::SeqCst) {
                    let own = ledger.blocks.len() / CLIENTS;
                    let block = random.below(own as u64) as usize * CLIENTS + number;
                    ledger.write(&mut client, block)?;
                }
                Ok(())
            })
        });
        Writers {
            threads: threads.collect(),
            stop,
        }
    }

    /// Reads everything back: each block has its last acknowledged version, or a later one that
    /// was sent and not answered. What was read must be read again from now on: a lost write does
    /// not come back.
    pub(crate) fn check(&self, socket: &Path) {
        let mut client = Client::connect(socket, "shared").expect("the device");
        for (number, block) in self.blocks.iter().enumerate() {
            let offset = self.offset(client.size(), number);
            let data = client.read(offset, BLOCK as u32).expect("what was written");
            let least = block.least.load(Ordering::SeqCst);
            let most = block.most.load(Ordering::SeqCst);
            let found: Vec<_> = data
                .chunks(SECTOR)
                .map(|sector| match version(number, sector) {
                    Some(found) if (least..=most).contains(&found) => found,
                    found => panic!(
                        "block {number}: {found:?} where {least} was acknowledged and {most} sent"
                    ),
                })
                .collect();
            // One that was not answered may be there in part.
            block
                .least
                .store(found.iter().copied().min().unwrap_or(0), Ordering::SeqCst);
            block
                .most
                .store(found.iter().copied().max().unwrap_or(0), Ordering::SeqCst);
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Writers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Ends them; whether the device worked to the end for all of them.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let ended: Vec<_> = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        ended.into_iter().collect()
    }
}

/// Each sector says which block and version it is, in a way that compresses half.
fn pattern(block: usize, version: u64) -> Vec<u8> {
    let mut random = Random(version.wrapping_mul(0x9e37_79b9).wrapping_add(block as u64));
    let mut data = Vec::with_capacity(BLOCK);
    for _ in 0..BLOCK / SECTOR {
        data.extend((block as u64).to_le_bytes());
        data.extend(version.to_le_bytes());
        let noise: Vec<u8> = (0..30).flat_map(|_| random.next().to_le_bytes()).collect();
        data.extend(noise);
        data.resize(data.len().next_multiple_of(SECTOR), 0);
    }
    data
}

/// Which version a sector is; what nobody has written yet is version 0.
fn version(block: usize, sector: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u64::from_le_bytes(sector[at..at + 8].try_into().ok()?));
    let version = number(8)?;
    if sector.iter().all(|&octet| octet == 0) {
        return Some(0);
    }
    let whole = pattern(block, version);
    whole
        .chunks(SECTOR)
        .any(|it| it == sector)
        .then_some(version)
}

/// Numbers that look random and come again with the seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

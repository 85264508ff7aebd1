//! A disk in memory that fails, or hangs, when it is told to.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ha_core::io::async_trait;
use ha_core::io::block::{BlockDevice, Geometry, MemoryDevice, Room};
use tokio::sync::watch;

pub(crate) struct Disk {
    below: MemoryDevice,
    /// Whether writes of data fail.
    failing: AtomicBool,
    /// Whether everything waits.
    hanging: watch::Sender<bool>,
    pub(crate) writes: AtomicU64,
}

/// The system's number for an I/O error.
pub(crate) const EIO: i32 = 5;

impl Disk {
    pub(crate) fn new(size: u64) -> Arc<Self> {
        Arc::new(Self {
            below: MemoryDevice::new(size),
            failing: AtomicBool::new(false),
            hanging: watch::Sender::new(false),
            writes: AtomicU64::new(0),
        })
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    pub(crate) fn hang(&self, hanging: bool) {
        self.hanging.send_replace(hanging);
    }

    /// All octets from `offset` on, past all faults.
    pub(crate) async fn contents(&self, offset: u64) -> Vec<u8> {
        let size = self.below.geometry().size;
        let mut all = Vec::new();
        let mut at = offset;
        while at < size {
            let length = u32::try_from((size - at).min(1 << 20)).unwrap();
            for piece in self.below.read(at, length).await.unwrap() {
                all.extend_from_slice(&piece);
            }
            at += u64::from(length);
        }
        all
    }

    async fn pass(&self) -> io::Result<()> {
        let mut hanging = self.hanging.subscribe();
        let _ = hanging.wait_for(|hanging| !hanging).await;
        if self.failing.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }
}

#[async_trait]
impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>> {
        self.pass().await?;
        self.below.read(offset, length).await
    }

    async fn write(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.pass().await?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.below.write(offset, data).await
    }

    async fn flush(&self) -> io::Result<()> {
        self.pass().await?;
        self.below.flush().await
    }

    async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.pass().await?;
        self.below.discard(offset, length).await
    }

    async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()> {
        self.pass().await?;
        self.below.write_zeroes(offset, length, room).await
    }
}

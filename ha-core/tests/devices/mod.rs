//! Devices for tests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use ha_core::io::async_trait;
use ha_core::io::block::{BlockDevice, Extent, Geometry, MemoryDevice, Room};
use tokio::sync::Semaphore;

/// A device in memory that fails, and waits, as a test wants it.
pub(crate) struct FaultyDevice {
    pub(crate) memory: MemoryDevice,
    /// The error of every request from now on.
    fault: Mutex<Option<io::ErrorKind>>,
    /// Requests that may be done; others wait.
    pub(crate) permits: Semaphore,
    pub(crate) flushes: AtomicU64,
    /// Requests under way now, and the most there were.
    pub(crate) under_way: AtomicU64,
    pub(crate) most: AtomicU64,
}

impl FaultyDevice {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            memory: MemoryDevice::new(size),
            fault: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS / 2),
            flushes: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            most: AtomicU64::new(0),
        }
    }

    /// Has all requests fail from now on, or none.
    pub(crate) fn fail(&self, fault: Option<io::ErrorKind>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Has requests wait from now on until there are [`permits`](Self::permits) again.
    pub(crate) fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    async fn pass(&self) -> io::Result<()> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match *self.fault.lock().unwrap() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl BlockDevice for FaultyDevice {
    fn geometry(&self) -> Geometry {
        self.memory.geometry()
    }

    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>> {
        self.pass().await?;
        self.memory.read(offset, length).await
    }

    async fn write(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.pass().await?;
        self.memory.write(offset, data).await
    }

    async fn flush(&self) -> io::Result<()> {
        self.pass().await?;
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.pass().await?;
        self.memory.discard(offset, length).await
    }

    async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()> {
        self.pass().await?;
        self.memory.write_zeroes(offset, length, room).await
    }

    async fn extents(&self, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
        self.pass().await?;
        self.memory.extents(offset, length).await
    }
}

//! Files and disks, read and written by offset.

use core::num::{NonZeroU32, NonZeroUsize};
use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use rustix::fs::{FlockOperation, OFlags};

use super::pool::Pool;
use super::raw::{self, Zeroing};
use super::{Extent, Room};

/// What is at most done in the thread that asks for it, in octets. Longer requests copy long
/// enough for another thread to be worth its while.
const INLINE: usize = 128 * 1024;

/// How a file or disk is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DiskOptions {
    /// Only for reading.
    pub read_only: bool,
    /// Past the page cache (`O_DIRECT`). All offsets and lengths are then multiples of the
    /// block, which is 4096 octets for a regular file.
    pub direct: bool,
    /// Not together with anybody else who wants it for himself: a disk that is mounted is
    /// refused by the system, a file that another program opened this way by a lock. The error
    /// is [`io::ErrorKind::ResourceBusy`] or [`io::ErrorKind::WouldBlock`].
    pub exclusive: bool,
    /// The most threads that wait for the disk at the same time. They start when they are
    /// needed first. A replicated resource gives its disk at most 32 operations at a time.
    pub threads: NonZeroUsize,
}

impl Default for DiskOptions {
    /// For reading and writing, through the page cache, shared, 16 threads.
    fn default() -> Self {
        const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
        Self {
            read_only: false,
            direct: false,
            exclusive: false,
            threads: THREADS,
        }
    }
}

/// A regular file or a disk that is open; clones are the same one.
///
/// Requests under way at the same time may be done in any order. What the page cache or memory
/// can do at once is done in the calling thread (`RWF_NOWAIT`), everything else in a few threads
/// of its own, so that no request ever holds up the runtime.
///
/// # Errors
///
/// All methods report what the system reports, with its number;
/// [`io::ErrorKind::InvalidInput`] for what lies outside the file or, with
/// [`direct`](DiskOptions::direct), is not aligned; [`io::ErrorKind::UnexpectedEof`] if the file
/// was cut shorter since it was opened.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use bytes::Bytes;
/// use ha_core::io::block::{DiskFile, DiskOptions};
///
/// # let path = std::env::temp_dir().join(format!("ha-core-disk-{}", std::process::id()));
/// std::fs::write(&path, [0; 8192])?;
/// let disk = DiskFile::open(&path, DiskOptions::default())?;
/// disk.write_at_durably(512, Bytes::from_static(b"kept")).await?;
/// assert_eq!(disk.read_at(512, 4).await?, "kept");
/// assert_eq!(disk.size(), 8192);
/// # std::fs::remove_file(&path)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DiskFile {
    disk: Arc<Disk>,
    pool: Arc<Pool>,
}

/// What the threads share.
#[derive(Debug)]
struct Disk {
    file: File,
    size: u64,
    block: NonZeroU32,
    preferred: NonZeroU32,
    direct: bool,
    regular: bool,
    /// Lies in memory: making it durable does nothing.
    in_memory: bool,
    /// Whether the system can read, and write, without waiting. What it once said it cannot is
    /// not asked for again.
    reads_now: AtomicBool,
    writes_now: AtomicBool,
    zeroing: Zeroing,
}

impl DiskFile {
    /// Opens the file or disk at `path`, which must exist. Its size is that of now.
    ///
    /// # Errors
    ///
    /// What the system reports; [`io::ErrorKind::InvalidInput`] for anything but a regular file
    /// or a disk.
    pub fn open(path: impl AsRef<Path>, options: DiskOptions) -> io::Result<Self> {
        let mut flags = OFlags::empty();
        if options.direct {
            flags |= raw::DIRECT;
        }
        let path = path.as_ref();
        let kind = path.metadata()?.file_type();
        // To open a pipe might take for ever.
        if !kind.is_file() && !kind.is_block_device() {
            return Err(invalid("neither a regular file nor a disk"));
        }
        // Without O_CREAT this has a meaning for disks only.
        if options.exclusive && kind.is_block_device() {
            flags |= OFlags::EXCL;
        }
        let flags = i32::try_from(flags.bits()).map_err(|_| invalid("flags that are none"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(!options.read_only)
            .custom_flags(flags)
            .open(path)?;
        let metadata = file.metadata()?;
        let regular = metadata.is_file();
        if options.exclusive {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        }
        // Of a disk, the system tells where its name is, and that is in memory.
        let in_memory = regular && raw::in_memory(&file);
        let (size, logical) = if regular {
            (metadata.len(), if options.direct { 4096 } else { 512 })
        } else {
            (file.seek(SeekFrom::End(0))?, raw::logical_block(&file)?)
        };
        let block = block_size(u64::from(logical))?;
        let preferred = block_size(metadata.blksize().clamp(4096, 1 << 20))?.max(block);
        Ok(Self {
            disk: Arc::new(Disk {
                file,
                size,
                block,
                preferred,
                direct: options.direct,
                regular,
                in_memory,
                reads_now: AtomicBool::new(!options.direct),
                writes_now: AtomicBool::new(!options.direct),
                zeroing: Zeroing::default(),
            }),
            pool: Arc::new(Pool::new(options.threads.get())),
        })
    }

    /// Returns its octets.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.disk.size
    }

    /// Returns the octets that are written at once: those of a sector of the disk, 512 for a
    /// regular file. Offsets and lengths need to be multiples of it only with
    /// [`direct`](DiskOptions::direct).
    #[must_use]
    pub fn block_size(&self) -> NonZeroU32 {
        self.disk.block
    }

    /// Returns the length at which requests are best, in octets.
    #[must_use]
    pub fn preferred_size(&self) -> NonZeroU32 {
        self.disk.preferred
    }

    /// Reads `length` octets from `offset`.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if let Some(read) = self.try_read_now(offset, length) {
            return read;
        }
        self.disk.check(offset, length as u64)?;
        if self.disk.direct {
            return self
                .run(move |disk| raw::read_directly(&disk.file, offset, length))
                .await;
        }
        // Memory comes from this thread, to which it goes back: allocators that keep it apart for
        // each thread would have the system clear it every time.
        let memory = Vec::with_capacity(length);
        self.run(move |disk| raw::read(&disk.file, offset, length, memory))
            .await
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        if let Some(written) = self.try_write_now(offset, &data) {
            return written;
        }
        self.disk.check(offset, data.len() as u64)?;
        self.run(move |disk| raw::write(&disk.file, offset, &data, disk.direct))
            .await
    }

    /// Writes `data` at `offset` and makes it durable, and nothing else that was written before.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn write_at_durably(&self, offset: u64, data: Bytes) -> io::Result<()> {
        if self.disk.in_memory {
            return self.write_at(offset, data).await;
        }
        self.disk.check(offset, data.len() as u64)?;
        self.run(move |disk| raw::write_durably(&disk.file, offset, &data, disk.direct))
            .await
    }

    /// Makes durable everything whose write has ended (`fdatasync`).
    ///
    /// # Errors
    ///
    /// See [`DiskFile`]. After an error nobody knows what of it is durable; trying again would
    /// say that all is well.
    pub async fn sync_data(&self) -> io::Result<()> {
        if self.disk.in_memory {
            return raw::sync(&self.disk.file);
        }
        self.run(|disk| raw::sync(&disk.file)).await
    }

    /// Gives back the room of `length` octets from `offset`, where the file system or disk can do
    /// that; does nothing where it cannot. What was there reads as zeroes afterwards, or as
    /// before.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.check(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        self.run(move |disk| disk.zeroing.punch(&disk.file, offset, length).map(|_| ()))
            .await
    }

    /// Writes `length` zeroes at `offset`, in the quickest way there is.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn write_zeroes(&self, offset: u64, length: u64, room: Room) -> io::Result<()> {
        self.disk.check(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        self.run(move |disk| disk.zeroing.zero(&disk.file, offset, length, room))
            .await
    }

    /// Tells where `length` octets from `offset` are stored and where there is nothing, which
    /// reads as zeroes. It may tell of less than that, but of one octet at least.
    ///
    /// # Errors
    ///
    /// See [`DiskFile`].
    pub async fn extents(&self, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
        self.disk.check(offset, length)?;
        if !self.disk.regular {
            return Ok(Vec::from([Extent::data(length)]));
        }
        self.run(move |disk| raw::extents(&disk.file, offset, length))
            .await
    }

    /// Reads `length` octets from `offset` if that can be done without waiting; `None` if not.
    pub fn try_read_now(&self, offset: u64, length: usize) -> Option<io::Result<Bytes>> {
        if length > INLINE || !self.disk.reads_now.load(Ordering::Relaxed) {
            return None;
        }
        if let Err(error) = self.disk.check(offset, length as u64) {
            return Some(Err(error));
        }
        if self.disk.in_memory {
            let memory = Vec::with_capacity(length);
            return Some(raw::read(&self.disk.file, offset, length, memory));
        }
        now(&self.disk.reads_now, || {
            raw::read_now(&self.disk.file, offset, length)
        })
    }

    /// Writes `data` at `offset` if that can be done without waiting; `None` if not, and then
    /// some of it may have been written.
    pub fn try_write_now(&self, offset: u64, data: &[u8]) -> Option<io::Result<()>> {
        if data.len() > INLINE || !self.disk.writes_now.load(Ordering::Relaxed) {
            return None;
        }
        if let Err(error) = self.disk.check(offset, data.len() as u64) {
            return Some(Err(error));
        }
        // File systems in memory never wait, but know no way to say so.
        if self.disk.in_memory {
            return Some(raw::write(&self.disk.file, offset, data, false));
        }
        now(&self.disk.writes_now, || {
            raw::write_now(&self.disk.file, offset, data)
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = Arc::clone(&self.disk);
        self.pool.run(move || job(&disk)).await
    }
}

impl Disk {
    fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.size) {
            return Err(invalid("outside the file"));
        }
        let mask = u64::from(self.block.get()) - 1;
        if self.direct && (offset | length) & mask != 0 {
            return Err(invalid("not aligned to the block"));
        }
        Ok(())
    }
}

/// Does what must not wait, and remembers in `possible` when the system knows no way to.
fn now<T>(
    possible: &AtomicBool,
    action: impl FnOnce() -> io::Result<Option<T>>,
) -> Option<io::Result<T>> {
    match action() {
        Ok(done) => done.map(Ok),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        // The other way will tell.
        Err(error) if raw::inapplicable(&error) => None,
        Err(error) if raw::unsupported(&error) => {
            possible.store(false, Ordering::Relaxed);
            None
        }
        Err(error) => Some(Err(error)),
    }
}

fn block_size(octets: u64) -> io::Result<NonZeroU32> {
    u32::try_from(octets)
        .ok()
        .filter(|size| size.is_power_of_two())
        .and_then(NonZeroU32::new)
        .ok_or_else(|| invalid("a block whose size is not a power of two"))
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

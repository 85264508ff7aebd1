//! The system calls behind a file or disk. All may wait but those that end in `_now`.

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom;
use rustix::io::{Errno, retry_on_intr};

use super::{Extent, Room};

#[cfg(target_os = "linux")]
pub(super) const DIRECT: rustix::fs::OFlags = rustix::fs::OFlags::DIRECT;
#[cfg(not(target_os = "linux"))]
pub(super) const DIRECT: rustix::fs::OFlags = rustix::fs::OFlags::empty();

/// Where memory for [`DIRECT`] begins.
const ALIGN: usize = 4096;

/// The most extents told of at once.
const EXTENTS: usize = 128;

/// Zeroes, for whatever has no better way to write them.
#[repr(align(4096))]
struct Zeroes([u8; 256 * 1024]);
static ZEROES: Zeroes = Zeroes([0; 256 * 1024]);

/// Whether the system has no such function, or not for this file.
pub(super) fn unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

/// Whether that is so for this request, and may not be for others.
pub(super) fn inapplicable(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

/// The size of a disk's sector.
#[cfg(target_os = "linux")]
pub(super) fn logical_block(file: &File) -> io::Result<u32> {
    Ok(rustix::fs::ioctl_blksszget(file)?)
}

/// The size of a disk's sector: what all of them can do.
#[cfg(not(target_os = "linux"))]
pub(super) fn logical_block(_: &File) -> io::Result<u32> {
    Ok(4096)
}

/// Whether the file lies in memory, where making it durable means nothing and takes no time.
#[cfg(target_os = "linux")]
pub(super) fn in_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|found| {
        // Its type differs from one architecture to the next.
        let kind = u64::try_from(found.f_type).unwrap_or(0) & 0xffff_ffff;
        [TMPFS, RAMFS].contains(&kind)
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn in_memory(_: &File) -> bool {
    false
}

/// Reads all of it if nothing has to be waited for.
#[cfg(target_os = "linux")]
pub(super) fn read_now(file: &File, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
    use rustix::io::{ReadWriteFlags, preadv2};

    let mut data = BytesMut::zeroed(length);
    let read = retry_on_intr(|| {
        let buffers = &mut [io::IoSliceMut::new(&mut data)];
        preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT)
    })?;
    Ok((read == length).then(|| data.freeze()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_now(_: &File, _: u64, _: usize) -> io::Result<Option<Bytes>> {
    Err(Errno::OPNOTSUPP.into())
}

/// Writes all of it if nothing has to be waited for.
#[cfg(target_os = "linux")]
pub(super) fn write_now(file: &File, offset: u64, data: &[u8]) -> io::Result<Option<()>> {
    use rustix::io::ReadWriteFlags;

    let written = write_with(file, offset, data, ReadWriteFlags::NOWAIT)?;
    Ok((written == data.len()).then_some(()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_now(_: &File, _: u64, _: &[u8]) -> io::Result<Option<()>> {
    Err(Errno::OPNOTSUPP.into())
}

/// Reads `length` octets into `memory`, which is empty.
pub(super) fn read(
    file: &File,
    offset: u64,
    length: usize,
    mut memory: Vec<u8>,
) -> io::Result<Bytes> {
    while memory.len() < length {
        let from = offset + memory.len() as u64;
        let read = retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut memory), from))?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    // The allocator may have given more room than was asked for.
    memory.truncate(length);
    Ok(memory.into())
}

/// The same past the page cache.
pub(super) fn read_directly(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut memory = aligned(length);
    file.read_exact_at(&mut memory, offset)?;
    Ok(memory.freeze())
}

pub(super) fn write(file: &File, offset: u64, data: &[u8], direct: bool) -> io::Result<()> {
    if direct && data.as_ptr().align_offset(ALIGN) != 0 {
        let mut copy = aligned(data.len());
        copy.copy_from_slice(data);
        return file.write_all_at(&copy, offset);
    }
    file.write_all_at(data, offset)
}

/// Writes and makes durable.
#[cfg(target_os = "linux")]
pub(super) fn write_durably(file: &File, offset: u64, data: &[u8], direct: bool) -> io::Result<()> {
    use rustix::io::ReadWriteFlags;

    if !direct {
        match write_with(file, offset, data, ReadWriteFlags::DSYNC) {
            Ok(written) if written == data.len() => return Ok(()),
            // An old kernel knows the call and not the flag; what else is invalid is so again below.
            Err(error) if !unsupported(&error) && error.kind() != ErrorKind::InvalidInput => {
                return Err(error);
            }
            _ => {}
        }
    }
    write(file, offset, data, direct)?;
    sync(file)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_durably(file: &File, offset: u64, data: &[u8], direct: bool) -> io::Result<()> {
    write(file, offset, data, direct)?;
    sync(file)
}

#[cfg(target_os = "linux")]
fn write_with(
    file: &File,
    offset: u64,
    data: &[u8],
    flags: rustix::io::ReadWriteFlags,
) -> io::Result<usize> {
    let buffers = &[io::IoSlice::new(data)];
    Ok(retry_on_intr(|| {
        rustix::io::pwritev2(file, buffers, offset, flags)
    })?)
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fdatasync(file))?)
}

/// Finds out where there is data, from `offset` on.
pub(super) fn extents(file: &File, offset: u64, length: u64) -> io::Result<Vec<Extent>> {
    let end = offset + length;
    let mut extents = Vec::new();
    let mut at = offset;
    while at < end && extents.len() < EXTENTS {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            // Nothing but a hole up to the end of the file.
            Err(Errno::NXIO) => end,
            // Nobody knows.
            Err(Errno::OPNOTSUPP | Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        if data > at {
            extents.push(Extent::hole(data - at));
            at = data;
            continue;
        }
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => hole.min(end),
            _ => end,
        };
        extents.push(Extent::data(hole - at));
        at = hole;
    }
    Ok(extents)
}

/// Memory that begins where `O_DIRECT` wants it to.
fn aligned(length: usize) -> BytesMut {
    let mut memory = BytesMut::zeroed(length + ALIGN);
    memory.advance(memory.as_ptr().align_offset(ALIGN));
    memory.truncate(length);
    memory
}

/// Which ways there are to write zeroes; one that the file lacks is not tried again.
#[derive(Debug)]
pub(super) struct Zeroing {
    punches: AtomicBool,
    ranges: AtomicBool,
}

impl Default for Zeroing {
    fn default() -> Self {
        Self {
            punches: AtomicBool::new(cfg!(target_os = "linux")),
            ranges: AtomicBool::new(cfg!(target_os = "linux")),
        }
    }
}

impl Zeroing {
    /// Gives back the room, if possible; whether it was.
    pub(super) fn punch(&self, file: &File, offset: u64, length: u64) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            attempt(&self.punches, || {
                rustix::fs::fallocate(file, mode, offset, length)
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (file, offset, length);
            Ok(self.punches.load(Ordering::Relaxed))
        }
    }

    /// Makes it zeroes and keeps the room, if the file system has a way; whether it has.
    fn range(&self, file: &File, offset: u64, length: u64) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;
            let mode = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
            attempt(&self.ranges, || {
                rustix::fs::fallocate(file, mode, offset, length)
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (file, offset, length);
            Ok(self.ranges.load(Ordering::Relaxed))
        }
    }

    pub(super) fn zero(&self, file: &File, offset: u64, length: u64, room: Room) -> io::Result<()> {
        if room == Room::GiveBack && self.punch(file, offset, length)? {
            return Ok(());
        }
        if self.range(file, offset, length)? {
            return Ok(());
        }
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let count = ZEROES
                .0
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            file.write_all_at(ZEROES.0.get(..count).unwrap_or_default(), at)?;
            at += count as u64;
        }
        Ok(())
    }
}

/// Calls `call` unless it turned out to be in vain before.
#[cfg(target_os = "linux")]
fn attempt(possible: &AtomicBool, call: impl Fn() -> rustix::io::Result<()>) -> io::Result<bool> {
    if !possible.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let Err(error) = retry_on_intr(call) else {
        return Ok(true);
    };
    let error = error.into();
    if unsupported(&error) {
        possible.store(false, Ordering::Relaxed);
    } else if !inapplicable(&error) {
        return Err(error);
    }
    Ok(false)
}

//! Files as block devices.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ha_core::io::block::{BlockDevice, DiskFile, DiskOptions, Extent, FileDevice, Room};

const SIZE: u64 = 8 << 20;

/// A file of zeroes that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("ha-core-disk-{}-{number}", std::process::id()));
        File::create_new(&path).unwrap().set_len(SIZE).unwrap();
        Self(path)
    }

    fn open(&self, change: impl FnOnce(&mut DiskOptions)) -> DiskFile {
        let mut options = DiskOptions::default();
        change(&mut options);
        DiskFile::open(&self.0, options).unwrap()
    }

    /// How many octets are stored.
    fn stored(&self) -> u64 {
        fs::metadata(&self.0).unwrap().blocks() * 512
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Folders on file systems of different kinds, in memory and on a disk.
fn folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(env!("CARGO_TARGET_TMPDIR"))];
    folders.extend(
        [PathBuf::from("/dev/shm")]
            .into_iter()
            .filter(|path| path.is_dir()),
    );
    folders
}

fn data(length: usize, seed: u8) -> Bytes {
    (0..length)
        .map(|at| (at / 512) as u8 ^ at as u8 ^ seed)
        .collect()
}

#[tokio::test]
async fn what_is_written_is_read() {
    for folder in folders() {
        let scratch = Scratch::new(&folder);
        let disk = scratch.open(|_| {});
        assert_eq!((disk.size(), disk.block_size().get()), (SIZE, 512));
        // Short and long ones take different ways, and so does what is made durable.
        for (offset, length) in [(0, 1), (513, 4096), (70_000, 65_536), (1 << 20, 3 << 20)] {
            let written = data(length, 1);
            disk.write_at(offset, written.clone()).await.unwrap();
            assert_eq!(disk.read_at(offset, length).await.unwrap(), written);
            let written = data(length, 2);
            disk.write_at_durably(offset, written.clone())
                .await
                .unwrap();
            assert_eq!(disk.read_at(offset, length).await.unwrap(), written);
            let stored = fs::read(&scratch.0).unwrap();
            assert_eq!(stored[offset as usize..][..length], written);
        }
        disk.sync_data().await.unwrap();
    }
}

#[tokio::test]
async fn many_requests_are_under_way_at_the_same_time() {
    for folder in folders() {
        let scratch = Scratch::new(&folder);
        let disk = scratch.open(|_| {});
        let tasks: Vec<_> = (0..64_u8)
            .map(|number| {
                let disk = disk.clone();
                tokio::spawn(async move {
                    let (offset, written) = (u64::from(number) << 17, data(1 << 17, number));
                    disk.write_at(offset, written.clone()).await.unwrap();
                    disk.sync_data().await.unwrap();
                    assert_eq!(disk.read_at(offset, 1 << 17).await.unwrap(), written);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_in_memory_is_read_and_written_at_once() {
    let Some(folder) = folders()
        .into_iter()
        .find(|path| path.starts_with("/dev/shm"))
    else {
        return;
    };
    let scratch = Scratch::new(&folder);
    let disk = scratch.open(|_| {});
    // Kernels before 6.6 do not know how.
    if let Some(written) = disk.try_write_now(4096, &data(4096, 3)) {
        written.unwrap();
        assert_eq!(
            disk.try_read_now(4096, 4096).unwrap().unwrap(),
            data(4096, 3)
        );
    }
    assert!(
        disk.try_read_now(0, 1 << 20).is_none(),
        "too long to be done at once"
    );
    let outside = disk.try_read_now(SIZE, 1).unwrap().unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn room_is_given_back_and_told_of() {
    for folder in folders() {
        let scratch = Scratch::new(&folder);
        let disk = scratch.open(|_| {});
        disk.write_at(0, data(SIZE as usize, 9)).await.unwrap();
        disk.sync_data().await.unwrap();
        assert_eq!(disk.extents(0, SIZE).await.unwrap(), [Extent::data(SIZE)]);
        let full = scratch.stored();
        // Nothing is given back, and nothing is learnt from that.
        disk.punch(0, 0).await.unwrap();
        disk.write_zeroes(SIZE, 0, Room::GiveBack).await.unwrap();
        disk.punch(1 << 20, 1 << 20).await.unwrap();
        disk.write_zeroes(4 << 20, 1 << 20, Room::GiveBack)
            .await
            .unwrap();
        let zeroes = vec![0; 1 << 20];
        for offset in [1 << 20, 4 << 20] {
            assert_eq!(disk.read_at(offset, 1 << 20).await.unwrap(), zeroes);
        }
        if cfg!(target_os = "linux") {
            assert!(scratch.stored() <= full - (2 << 20));
            let mib = |count: u64| count << 20;
            let (data, hole) = (
                |count| Extent::data(mib(count)),
                |count| Extent::hole(mib(count)),
            );
            let all = [data(1), hole(1), data(2), hole(1), data(3)];
            assert_eq!(disk.extents(0, SIZE).await.unwrap(), all);
            assert_eq!(
                disk.extents(mib(1) + 4096, mib(1)).await.unwrap(),
                [Extent::hole(mib(1) - 4096), Extent::data(4096)]
            );
            disk.punch(0, SIZE).await.unwrap();
            assert_eq!(disk.extents(512, 1024).await.unwrap(), [Extent::hole(1024)]);
        }
    }
}

#[tokio::test]
async fn zeroes_that_keep_their_room_are_zeroes_too() {
    for folder in folders() {
        let scratch = Scratch::new(&folder);
        let disk = scratch.open(|_| {});
        disk.write_at(0, data(SIZE as usize, 9)).await.unwrap();
        // Not whole blocks of any file system.
        disk.write_zeroes(1000, 3_000_001, Room::Keep)
            .await
            .unwrap();
        let read = disk.read_at(0, SIZE as usize).await.unwrap();
        let mut expected = data(SIZE as usize, 9).to_vec();
        expected[1000..3_001_001].fill(0);
        assert_eq!(read, expected);
        assert!(scratch.stored() >= SIZE);
    }
}

#[tokio::test]
async fn a_region_is_a_device_of_its_own() {
    let scratch = Scratch::new(&folders()[0]);
    let disk = scratch.open(|_| {});
    let device = FileDevice::region(disk.clone(), 1 << 20, 2 << 20).unwrap();
    let geometry = device.geometry();
    assert_eq!((geometry.size, geometry.block.get()), (2 << 20, 512));
    device.write(512, data(512, 4)).await.unwrap();
    device.flush().await.unwrap();
    assert_eq!(device.read(512, 512).await.unwrap(), [data(512, 4)]);
    assert_eq!(
        disk.read_at((1 << 20) + 512, 512).await.unwrap(),
        data(512, 4)
    );
    device.write_durably(1024, data(512, 5)).await.unwrap();
    assert_eq!(device.read(1024, 512).await.unwrap(), [data(512, 5)]);
    let error = device.write_durably(2 << 20, data(512, 5)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    device.discard(0, 2 << 20).await.unwrap();
    device.write_zeroes(512, 512, Room::Keep).await.unwrap();
    assert_eq!(
        disk.read_at((1 << 20) + 512, 512).await.unwrap(),
        [0; 512][..]
    );
    for (offset, length) in [
        (2 << 20, 512),
        ((2 << 20) - 512, 1024),
        (1, 512),
        (u64::MAX - 511, 512),
    ] {
        let error = device.read(offset, length).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = device.extents(offset, u64::from(length)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for (base, length) in [(SIZE, 512), (1, 512), (0, 513), (u64::MAX - 511, 512)] {
        let error = FileDevice::region(disk.clone(), base, length).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn what_is_not_whole_blocks_is_left_out() {
    let scratch = Scratch::new(&folders()[0]);
    File::options()
        .write(true)
        .open(&scratch.0)
        .unwrap()
        .set_len(1000)
        .unwrap();
    let device = FileDevice::new(scratch.open(|_| {}));
    assert_eq!(device.geometry().size, 512);
    assert_eq!(device.file().size(), 1000);
}

#[tokio::test]
async fn errors_are_those_of_the_system() {
    let scratch = Scratch::new(&folders()[0]);
    let missing = DiskFile::open("/nonexistent/file", DiskOptions::default()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let folder = DiskFile::open("/dev/null", DiskOptions::default()).unwrap_err();
    assert_eq!(folder.kind(), ErrorKind::InvalidInput);
    // A pipe is not even opened: that would wait for a writer.
    let pipe = scratch.0.with_extension("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut options = DiskOptions::default();
    options.read_only = true;
    let refused = DiskFile::open(&pipe, options).unwrap_err();
    fs::remove_file(pipe).unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let disk = scratch.open(|options| options.read_only = true);
    let error = disk.write_at(0, data(512, 0)).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(9), "EBADF");
    // The file is cut while it is open.
    let disk = scratch.open(|_| {});
    File::create(&scratch.0).unwrap();
    for length in [512, 1 << 20] {
        let error = disk.read_at(0, length).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_is_at_the_end_is_still_inside() {
    let scratch = Scratch::new(&folders()[0]);
    let disk = scratch.open(|_| {});
    disk.write_at(SIZE - 2, data(2, 0)).await.unwrap();
    for (offset, length) in [(SIZE - 1, 2), (SIZE, 1), (u64::MAX, 1)] {
        let outside = disk.write_at(offset, data(length, 0)).await.unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::InvalidInput);
        let outside = disk
            .write_at_durably(offset, data(length, 0))
            .await
            .unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::InvalidInput);
    }
}

/// A file as a disk of the kernel, which goes at the end.
#[cfg(target_os = "linux")]
struct Loop(String);

#[cfg(target_os = "linux")]
impl Loop {
    fn over(file: &Path) -> Self {
        let mut command = std::process::Command::new("losetup");
        let made = command.args(["--find", "--show"]).arg(file).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        Self(String::from_utf8(made.stdout).unwrap().trim().into())
    }
}

#[cfg(target_os = "linux")]
impl Drop for Loop {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("losetup");
        let _ = command.arg("--detach").arg(&self.0).status();
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
#[ignore = "needs root, and a kernel with loop devices"]
async fn a_disk_is_what_its_kernel_says() {
    let scratch = Scratch::new(&folders()[0]);
    let device = Loop::over(&scratch.0);
    for direct in [false, true] {
        let mut options = DiskOptions::default();
        (options.exclusive, options.direct) = (true, direct);
        let disk = DiskFile::open(&device.0, options).unwrap();
        assert_eq!((disk.size(), disk.block_size().get()), (SIZE, 512));
        // Durable means in the file underneath, not in the memory of the disk.
        let written = data(8192, u8::from(direct) + 1);
        disk.write_at_durably(1024, written.clone()).await.unwrap();
        assert_eq!(fs::read(&scratch.0).unwrap()[1024..9216], written);
        disk.write_at(512, data(512, 7)).await.unwrap();
        disk.sync_data().await.unwrap();
        assert_eq!(fs::read(&scratch.0).unwrap()[512..1024], data(512, 7));
        assert_eq!(disk.read_at(1024, 8192).await.unwrap(), written);
        assert_eq!(disk.extents(0, SIZE).await.unwrap(), [Extent::data(SIZE)]);
        disk.punch(0, 4096).await.unwrap();
        disk.write_zeroes(4096, 8192, Room::GiveBack).await.unwrap();
        assert_eq!(disk.read_at(4096, 8192).await.unwrap(), [0; 8192][..]);
        disk.write_zeroes(0, SIZE, Room::Keep).await.unwrap();
        assert_eq!(disk.read_at(512, 512).await.unwrap(), [0; 512][..]);
    }
}

#[tokio::test]
async fn only_one_can_have_it_for_himself() {
    let scratch = Scratch::new(&folders()[0]);
    let first = scratch.open(|options| options.exclusive = true);
    let mut options = DiskOptions::default();
    options.exclusive = true;
    let second = DiskFile::open(&scratch.0, options).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::WouldBlock);
    drop(first);
    DiskFile::open(&scratch.0, options).unwrap();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn past_the_page_cache_everything_is_whole_blocks() {
    for folder in folders() {
        let scratch = Scratch::new(&folder);
        let mut options = DiskOptions::default();
        options.direct = true;
        // Some file systems cannot.
        let Ok(disk) = DiskFile::open(&scratch.0, options) else {
            continue;
        };
        assert_eq!(disk.block_size().get(), 4096);
        for length in [4096, 1 << 20] {
            // One that is not aligned in memory.
            let written = data(length + 1, 6).slice(1..);
            disk.write_at(8192, written.clone()).await.unwrap();
            disk.write_at_durably(8192, written.clone()).await.unwrap();
            assert_eq!(disk.read_at(8192, length).await.unwrap(), written);
        }
        disk.write_zeroes(8192, 4096, Room::Keep).await.unwrap();
        assert_eq!(disk.read_at(8192, 4096).await.unwrap(), [0; 4096][..]);
        let error = disk.read_at(512, 4096).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

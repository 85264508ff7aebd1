//! The disk of a node: a loop device on a file in memory, which survives the node.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use ha_core::io::block::{DiskFile, DiskOptions, FileDevice};
use ha_core::io::hast::provider::{self, Create, Existing};

/// The name of the resource, and of the unit.
pub(crate) const NAME: &str = "files";
/// How large a disk is.
const SIZE: u64 = 48 << 20;

/// A disk.
pub(crate) struct Disk {
    file: PathBuf,
    device: String,
    /// Where the data begin.
    offset: u64,
}

impl Disk {
    /// The disks of two nodes: a resource with an empty file system, the same on both.
    pub(crate) fn pair(dir: &Path) -> [Self; 2] {
        let disks = ["alpha.disk", "beta.disk"].map(|name| Self::new(&dir.join(name)));
        let offset = disks[0].offset;
        assert_eq!(offset, disks[1].offset, "where the data begin");
        let (image, size) = (dir.join("image"), SIZE - offset);
        let file = File::create(&image).expect("a file");
        file.set_len(size).expect("a file");
        // A small journal: the disk is small.
        tool(
            "mkfs.ext4",
            &["-q", "-J", "size=4", &image.display().to_string()],
        );
        let mut octets = Vec::new();
        let mut file = File::open(&image).expect("a file");
        file.read_to_end(&mut octets).expect("a file system");
        for disk in &disks {
            let device = File::options().write(true).open(&disk.device);
            let mut device = device.expect("a disk");
            device.seek(SeekFrom::Start(offset)).expect("a disk");
            device.write_all(&octets).expect("a disk");
            device.sync_all().expect("a disk");
        }
        disks
    }

    fn new(path: &Path) -> Self {
        let file = File::create(path).expect("a file");
        file.set_len(SIZE).expect("a file");
        let words = ["--find", "--show", &path.display().to_string()];
        let device = tool("losetup", &words).trim().to_owned();
        Self {
            file: path.to_owned(),
            offset: create(&device),
            device,
        }
    }

    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// What of the resource is on it.
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut device = File::open(&self.device).expect("a disk");
        device.seek(SeekFrom::Start(self.offset)).expect("a disk");
        let mut octets = Vec::new();
        device.read_to_end(&mut octets).expect("data");
        octets
    }

    /// Has each write fail from now on, or not any more.
    pub(crate) fn set_broken(&self, is_broken: bool) {
        let state = if is_broken { "--setro" } else { "--setrw" };
        tool("blockdev", &[state, &self.device]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The kernel gives the same device to the next one, as it is.
        for (program, word) in [("blockdev", "--setrw"), ("losetup", "--detach")] {
            let _ = Command::new(program).args([word, &self.device]).status();
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Writes the metadata of the resource, and returns where its data begin.
fn create(device: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let disk = DiskFile::open(device, DiskOptions::default()).expect("a disk");
        let (disk, name) = (FileDevice::new(disk), NAME.parse().expect("a name"));
        let made = provider::create(&disk, name, Create::default(), Existing::Overwrite).await;
        made.expect("metadata").layout.data_offset().get()
    })
}

/// Runs a program that must succeed, and returns what it prints.
pub(crate) fn tool(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

//! What is mounted where, as the kernel tells it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use rustix::fs::{Dev, makedev};

/// More than any sane table has: some hundred thousand mounts.
const MAX_TABLE: u64 = 64 << 20;

/// A mount, as far as it matters here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mounted {
    /// The device, as `stat` tells it of what is on it.
    pub(super) device: Dev,
    /// Which directory of the file system is mounted: `/`, unless it is a bind mount.
    pub(super) root: PathBuf,
    pub(super) target: PathBuf,
    pub(super) is_read_only: bool,
}

/// All mounts that the calling thread sees, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Vec<Mounted>);

impl Table {
    pub(super) fn read() -> io::Result<Self> {
        let mut text = Vec::new();
        let file = File::open("/proc/thread-self/mountinfo")?;
        file.take(MAX_TABLE).read_to_end(&mut text)?;
        Ok(Self::parse(&text))
    }

    /// Reads a table. Lines that say nothing of this form are left out.
    fn parse(text: &[u8]) -> Self {
        let lines = text.split(|octet| *octet == b'\n');
        Self(lines.filter_map(parse_line).collect())
    }

    /// What is seen at `target`: what was mounted there last.
    pub(super) fn at(&self, target: &Path) -> Option<&Mounted> {
        self.0.iter().rev().find(|mount| mount.target == target)
    }

    /// What is mounted at or below `target`, the last first.
    pub(super) fn below(&self, target: &Path) -> impl Iterator<Item = &Mounted> {
        let below = move |mount: &&Mounted| mount.target.starts_with(target);
        self.0.iter().rev().filter(below)
    }

    /// Where else than at or below `target` a device is mounted.
    pub(super) fn elsewhere(&self, device: Dev, target: &Path) -> Option<&Mounted> {
        let mut mounts = self.0.iter();
        mounts.find(|mount| mount.device == device && !mount.target.starts_with(target))
    }
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|octet| *octet == b' ');
    let device = fields.nth(2)?;
    let device = core::str::from_utf8(device).ok()?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    // Those of the mount, and behind the dash, kind and source those of the file system, which
    // becomes read-only when it finds itself damaged.
    let options = fields.next()?;
    let of_system = fields.skip_while(|field| *field != b"-").nth(3)?;
    let is_read_only = |options| {
        let options = String::from_utf8_lossy(options);
        options.split(',').any(|option| option == "ro")
    };
    Some(Mounted {
        device: makedev(major.parse().ok()?, minor.parse().ok()?),
        root,
        target,
        is_read_only: is_read_only(options) || is_read_only(of_system),
    })
}

/// Puts back what the kernel writes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut octets = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let value = digits
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match value {
            Some(octet) => {
                octets.push(octet);
                rest = more.get(3..).unwrap_or_default();
            }
            None => {
                octets.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(octets).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 7:0 / /srv ro,noatime - ext4 /dev/loop0 rw
31 30 0:25 / /srv/a\\040b rw - tmpfs tmpfs ro
32 22 7:0 /sub /srv rw - ext4 /dev/loop0 rw
33 22 7:1 / /srvx rw - ext4 /dev/loop1 rw
nonsense
34 22 7:x / /y rw - ext4 /dev/loop1 rw
";

    #[test]
    fn a_table_is_read_and_asked() {
        let table = Table::parse(TEXT);
        assert_eq!(table.0.len(), 5);
        let top = table.at(Path::new("/srv")).unwrap();
        assert_eq!((top.device, top.is_read_only), (makedev(7, 0), false));
        assert_eq!(top.root, Path::new("/sub"), "the last one is seen");
        let below: Vec<_> = table.below(Path::new("/srv")).map(|m| &m.target).collect();
        assert_eq!(below.len(), 3, "/srvx is not below /srv");
        assert_eq!(below[1], Path::new("/srv/a b"));
        assert!(table.at(Path::new("/srv/a b")).unwrap().is_read_only);
        assert!(table.elsewhere(makedev(7, 0), Path::new("/srv")).is_none());
        assert!(table.elsewhere(makedev(7, 1), Path::new("/srv")).is_some());
    }

    #[test]
    fn an_escape_that_is_none_is_left_as_it_is() {
        assert_eq!(unescape(b"a\\134b"), Path::new("a\\b"));
        assert_eq!(unescape(b"a\\9"), Path::new("a\\9"));
        assert_eq!(unescape(b"\\"), Path::new("\\"));
        assert_eq!(unescape(b"\\777"), Path::new("\\777"));
    }
}

//! `hast_extents` on a provider as a node leaves it after a split brain.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[expect(dead_code, reason = "an example's `main` is not called by its test")]
#[path = "../hast_extents.rs"]
mod hast_extents;

use std::fs;
use std::path::Path;

use clap::Parser;
use hast_extents::Options;
use hast_proto::{
    Counters, ExtentSize, KeepDirty, Layout, Length, Metadata, ResourceId, ResourceName, SectorSize,
};
use tempfile::TempDir;

const EXTENT: usize = 1 << 16;
/// Half an extent is left at the end.
const EXTENTS: usize = 40;

/// A directory with a provider in it, and the data that it has.
struct Lab {
    directory: TempDir,
    data: Vec<u8>,
}

impl Lab {
    /// These extents are marked; extent 3 is all zero.
    fn new(dirty: &[usize]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let media = 4096 + 512 + EXTENT * EXTENTS - EXTENT / 2;
        let layout = Layout::create(
            Length::new(media as u64),
            ExtentSize::new(EXTENT as u64).unwrap(),
            SectorSize::DEFAULT,
        )
        .unwrap();
        let name = ResourceName::new("shared").unwrap();
        let mut metadata = Metadata::create(name, layout, KeepDirty::DEFAULT);
        metadata.counters = Counters {
            local: 3,
            remote: 1,
        };
        metadata.resource_id = ResourceId::new(77);
        let mut data: Vec<u8> = (0..EXTENT * EXTENTS - EXTENT / 2)
            .map(|at| u8::try_from(at / 1000 % 251).unwrap() ^ u8::try_from(at % 256).unwrap())
            .collect();
        data[3 * EXTENT..4 * EXTENT].fill(0);
        let mut provider = metadata.emit().to_vec();
        provider.resize(usize::try_from(layout.data_offset().get()).unwrap(), 0);
        for extent in dirty {
            provider[4096 + extent / 8] |= 1 << (extent % 8);
        }
        provider.extend_from_slice(&data);
        fs::write(directory.path().join("provider"), provider).unwrap();
        Self { directory, data }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let is_file = |word: &&str| self.directory.path().join(word).exists() || word.contains('.');
        let words = words.iter().map(|word| {
            let path = Some(word).filter(|word| is_file(word));
            path.map_or_else(|| (*word).to_owned(), |name| self.path(name))
        });
        let program = ["hast_extents".to_owned()].into_iter().chain(words);
        let options = Options::try_parse_from(program).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        hast_extents::run(&options, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn save(&self) {
        let saved = self.run(&["save", "provider", "lost.hast", "--node", "hasta"]);
        assert!(saved.is_ok(), "{saved:?}");
    }

    /// An image of the device in which every octet is another.
    fn image(&self) -> Vec<u8> {
        let image = self.data.iter().map(|octet| !octet).collect::<Vec<_>>();
        fs::write(self.path("image.img"), &image).unwrap();
        image
    }

    fn image_now(&self) -> Vec<u8> {
        fs::read(self.path("image.img")).unwrap()
    }
}

#[test]
fn both_sides_can_tell_what_they_have_changed() {
    let lab = Lab::new(&[1, 2, 3, 39]);
    let report = lab.run(&["report", "provider"]).unwrap();
    let words: Vec<_> = report.lines().map(str::trim).collect();
    assert_eq!(words[0], "resource shared");
    assert_eq!(words[1], "counters local 3 remote 1");
    let row = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row(words[2]), ["65536", "196608"]);
    assert_eq!(
        row(words[3]),
        ["2555904", "32768"],
        "the last one is shorter"
    );
    assert_eq!(words[4], "4 extents of 65536 may differ, 229376 octets");
    assert_eq!(words.len(), 5);
    let unchanged = Lab::new(&[]).run(&["report", "provider"]).unwrap();
    assert!(unchanged.contains("can give way without loss"));
}

#[test]
fn what_was_saved_is_listed_shown_and_restored() {
    let lab = Lab::new(&[1, 3, 39]);
    lab.save();
    let list = lab.run(&["list", "lost.hast"]).unwrap();
    for wanted in [
        "node hasta",
        "resource id 77",
        "65536 zeros",
        "163840 octets",
    ] {
        assert!(list.contains(wanted), "{wanted}: {list}");
    }
    assert_eq!(
        lab.run(&["verify", "lost.hast"]).unwrap(),
        "whole: 163840 octets\n"
    );
    let shown = lab.run(&["show", "lost.hast", "65536", "2"]).unwrap();
    let data = &lab.data[EXTENT..];
    assert_eq!(
        shown,
        format!("{EXTENT:016x}  {:02x} {:02x}\n", data[0], data[1])
    );
    let mut image = lab.image();
    let restored = lab.run(&["restore", "lost.hast", "image.img"]).unwrap();
    assert_eq!(restored, "restored 163840 octets\n");
    for extent in [1, 3, 39] {
        let range = extent * EXTENT..((extent + 1) * EXTENT).min(image.len());
        image[range.clone()].copy_from_slice(&lab.data[range]);
    }
    assert_eq!(lab.image_now(), image, "that, and nothing else");
}

#[test]
fn a_part_is_restored_alone() {
    let lab = Lab::new(&[1, 3]);
    lab.save();
    let mut image = lab.image();
    let words = [
        "restore",
        "lost.hast",
        "image.img",
        "--from",
        "65530",
        "--length",
        "100",
    ];
    assert_eq!(lab.run(&words).unwrap(), "restored 94 octets\n");
    image[EXTENT..EXTENT + 94].copy_from_slice(&lab.data[EXTENT..EXTENT + 94]);
    assert_eq!(lab.image_now(), image);
    let words = [
        "restore",
        "lost.hast",
        "image.img",
        "--from",
        "0",
        "--length",
        "100",
    ];
    assert!(lab.run(&words).unwrap_err().contains("nothing of that"));
}

#[test]
fn a_damaged_file_restores_nothing() {
    let lab = Lab::new(&[1, 3, 39]);
    lab.save();
    let mut file = fs::read(lab.path("lost.hast")).unwrap();
    // In the data of the last piece.
    let at = file.len() - 48 - 100;
    file[at] ^= 1;
    fs::write(lab.path("bad.hast"), &file).unwrap();
    let image = lab.image();
    let error = lab.run(&["restore", "bad.hast", "image.img"]).unwrap_err();
    assert!(error.contains("differs from its digest"), "{error}");
    assert_eq!(lab.image_now(), image);
    assert!(lab.run(&["verify", "bad.hast"]).is_err());
    file.truncate(at);
    fs::write(lab.path("cut.hast"), &file).unwrap();
    for command in ["list", "verify"] {
        assert!(lab.run(&[command, "cut.hast"]).is_err(), "{command}");
    }
    file = fs::read(lab.path("lost.hast")).unwrap();
    file.push(0);
    fs::write(lab.path("long.hast"), &file).unwrap();
    let error = lab.run(&["list", "long.hast"]).unwrap_err();
    assert!(error.contains("follows the end"), "{error}");
}

#[test]
fn nothing_is_overwritten_by_mistake() {
    let lab = Lab::new(&[1]);
    lab.save();
    let again = ["save", "provider", "lost.hast", "--node", "hasta"];
    assert!(lab.run(&again).unwrap_err().contains("exists"));
    let before = fs::read(lab.path("provider")).unwrap();
    let error = lab.run(&["restore", "lost.hast", "provider"]).unwrap_err();
    assert!(error.contains("bypasses the replication"), "{error}");
    assert_eq!(fs::read(lab.path("provider")).unwrap(), before);
    assert!(Path::new(&lab.path("lost.hast")).exists());
    for other in ["lost.hast", "none.img"] {
        assert!(lab.run(&["report", other]).is_err(), "{other}");
    }
}

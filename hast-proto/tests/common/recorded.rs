//! Recorded sessions as scripts for the machines.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hast_proto::{BLOCK_LEN, Checksum, Digest, DiskOperation, Errno, Metadata, Offset};
use serde_json::Value as Json;

use crate::wire::{hex, load, number, str_of};

/// One recorded session.
pub(crate) struct Session {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) json: Json,
}

impl Session {
    pub(crate) fn load(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            json: load(&path.join("session.json")),
        }
    }

    /// The octets of one direction of a connection.
    pub(crate) fn stream(&self, connection: u64, direction: &str) -> Vec<u8> {
        std::fs::read(self.path.join(format!("conn{connection}.{direction}.bin"))).unwrap()
    }

    /// The connections that one node made to the other: their numbers and when.
    pub(crate) fn connections(&self, via: &str) -> Vec<(u64, f64)> {
        let all = self.json["connections"].as_array().unwrap().iter();
        all.filter(|connection| connection["via"] == via)
            .map(|connection| {
                let at = connection["opened_at"].as_f64().unwrap();
                (number(&connection["n"]), at)
            })
            .collect()
    }

    /// Whether a connection is a second one.
    pub(crate) fn has_token(&self, connection: u64) -> bool {
        let octets = self.stream(connection, "c2s");
        let frames = crate::wire::frames(&[hast_proto::frame::Phase::Opening], &octets);
        frames
            .first()
            .is_some_and(|(frame, _)| frame.list().contains("token"))
    }

    pub(crate) fn operations(&self) -> &[Json] {
        self.json["operations"].as_array().unwrap()
    }

    /// The operations on a node whose name begins so, before a moment.
    pub(crate) fn orders<'a>(
        &'a self,
        node: &'a str,
        start: &'a str,
        before: f64,
    ) -> impl Iterator<Item = &'a Json> {
        self.operations().iter().filter(move |operation| {
            operation["node"] == node
                && str_of(operation, "op").starts_with(start)
                && operation["t"].as_f64().unwrap() < before
        })
    }

    pub(crate) fn config(&self, node: &str, field: &str) -> String {
        let value = &self.json["config"][format!("node{node}")][field];
        value.as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn final_sha256(&self, node: &str) -> Option<&str> {
        self.json["final"][format!("node{node}")]["data_sha256"].as_str()
    }

    /// What a node's provider held at the start: metadata, map, and the data.
    pub(crate) fn provider(&self, node: &str) -> Option<Provider> {
        let file = format!("initial-metadata-node{node}.bin");
        let head = std::fs::read(self.path.join(file)).ok()?;
        let size: usize = number(&self.json["provider_size"][format!("node{node}")]);
        let mut octets = head;
        let start = octets.len();
        octets.resize(size, 0);
        let earlier = self.json["prehistory_not_recorded"].as_array().unwrap();
        let mut created = earlier.iter().chain(self.operations()).filter(|operation| {
            operation["node"] == node && str_of(operation, "op").starts_with("create")
        });
        if let Some(fill) = created
            .next_back()
            .map(|created| &created["data_area_fill"])
        {
            if fill.is_object() {
                let data = payload(fill, size - start);
                octets[start..].copy_from_slice(&data);
            }
        }
        let mut provider = Provider { octets };
        for write in earlier
            .iter()
            .filter(|operation| operation["node"] == node && operation["op"] == "write")
        {
            let data = payload(&write["payload"], number(&write["length"]));
            provider.write(Offset::new(number(&write["offset"])), &data);
        }
        Some(provider)
    }
}

/// The payloads of the recordings.
pub(crate) fn payload(description: &Json, len: usize) -> Vec<u8> {
    let seed: u64 = number(&description["seed"]);
    let random = |len: usize| -> Vec<u8> {
        let block = |index: usize| {
            let text = format!("hast-oracle:{seed}:{index}");
            let digest = Digest::compute(Checksum::Sha256, text.as_bytes()).unwrap();
            digest.as_bytes().to_vec()
        };
        let mut octets: Vec<u8> = (0..len.div_ceil(32)).flat_map(block).collect();
        octets.truncate(len);
        octets
    };
    let text = |len: usize| -> Vec<u8> {
        let mut octets = Vec::new();
        for line in 0.. {
            if octets.len() >= len {
                break;
            }
            let text = format!(
                "resource {seed} line {line:08} the quick brown fox jumps over the lazy dog\n"
            );
            octets.extend_from_slice(text.as_bytes());
        }
        octets.truncate(len);
        octets
    };
    match str_of(description, "kind") {
        "zero" => vec![0; len],
        "prng" => random(len),
        "text" => text(len),
        "mixed" => {
            let (words, noise) = (text(len), random(len));
            let mut octets = vec![0; len];
            for (index, octet) in octets.iter_mut().enumerate() {
                match index % 4096 {
                    0..1024 => *octet = words[index],
                    1024..2048 => *octet = noise[index],
                    _ => {}
                }
            }
            octets
        }
        kind => {
            let octet = kind.strip_prefix("byte:").unwrap();
            vec![u8::from_str_radix(octet, 16).unwrap(); len]
        }
    }
}

/// A provider that does everything at once, and deletes nothing, as in the recordings.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) octets: Vec<u8>,
}

impl Provider {
    pub(crate) fn metadata(&self) -> Metadata {
        Metadata::parse(&self.octets[..BLOCK_LEN]).unwrap()
    }

    pub(crate) fn data_start(&self) -> usize {
        usize::try_from(self.metadata().layout.data_offset().get()).unwrap()
    }

    pub(crate) fn map(&self) -> Bytes {
        Bytes::copy_from_slice(&self.octets[BLOCK_LEN..self.data_start()])
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.octets[self.data_start()..]
    }

    pub(crate) fn sha256(&self) -> String {
        hex(Digest::compute(Checksum::Sha256, self.data())
            .unwrap()
            .as_bytes())
    }

    pub(crate) fn store(&mut self, metadata: &Metadata) {
        self.octets[..BLOCK_LEN].copy_from_slice(&metadata.emit());
    }

    pub(crate) fn write(&mut self, offset: Offset, data: &[u8]) {
        let start = self.data_start() + usize::try_from(offset.get()).unwrap();
        self.octets[start..start + data.len()].copy_from_slice(data);
    }

    /// Does an operation; flushing as the recording's disks could.
    pub(crate) fn execute(
        &mut self,
        operation: &DiskOperation,
        flush: Result<(), Errno>,
    ) -> Result<Bytes, Errno> {
        let nothing = Bytes::new();
        match operation {
            DiskOperation::Read { offset, length } => {
                let start = self.data_start() + usize::try_from(offset.get()).unwrap();
                let end = start + length.to_usize().unwrap();
                return Ok(Bytes::copy_from_slice(&self.octets[start..end]));
            }
            DiskOperation::Write { offset, data } => self.write(*offset, data),
            DiskOperation::Delete { .. } | DiskOperation::StoreConsistency(_) => {}
            DiskOperation::Flush => return flush.map(|()| nothing),
            DiskOperation::StoreMap { offset, data } => {
                let start = usize::try_from(offset.get()).unwrap();
                assert!(start >= BLOCK_LEN && start + data.len() <= self.data_start());
                self.octets[start..start + data.len()].copy_from_slice(data);
            }
            DiskOperation::StoreMetadata(metadata) => self.store(metadata),
        }
        Ok(nothing)
    }
}

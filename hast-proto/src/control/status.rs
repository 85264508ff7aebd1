//! How a resource is, as `hastd` tells it (HAST §9.5).

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use core::fmt;

use super::ControlError;
use super::pairs::{Index, numbered, push, text, unknown};
use crate::activemap::Marked;
use crate::nv::{LookupError, Text, Value, Writer};
use crate::types::{Checksum, Compression, Replication, Role};

/// How a resource is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct ResourceStatus {
    /// The name of the device under `/dev/hast`.
    pub provider: Box<str>,
    /// The local component.
    pub local: Box<str>,
    /// The peer's address.
    pub remote: Box<str>,
    /// The address that connections come from, if configured.
    pub source: Option<Box<str>>,
    /// The mode configured; a session may have fallen back to fullsync.
    pub replication: Replication,
    /// The checksum configured.
    pub checksum: Checksum,
    /// The compression configured.
    pub compression: Compression,
    /// The role.
    pub role: Role,
    /// What its worker says, if it has one.
    pub worker: Option<Worker>,
    /// A split brain that waits for an operator: told by this crate's, not by the original's.
    pub split_brain: Option<SplitBrain>,
}

/// That both nodes have written alone, and which of them has how much.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there are two nodes")]
pub struct SplitBrain {
    /// What this node has.
    pub local: Differing,
    /// What its peer has; `None` if it does not tell, as a real `hastd`.
    pub remote: Option<Differing>,
}

/// How much is marked on a node: what it has changed alone, and what it has written last, which
/// may differ.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Differing {
    /// Extents.
    pub extents: u32,
    /// Their octets.
    pub octets: u64,
}

impl Differing {
    /// Counts what a map marks.
    #[must_use]
    pub fn of(marked: Marked<'_>) -> Self {
        Self {
            extents: marked.extents(),
            octets: marked.octets().get(),
        }
    }

    fn read(
        pairs: &Index<'_>,
        extents: &'static str,
        octets: &'static str,
        number: usize,
    ) -> Result<Option<Self>, ControlError> {
        match pairs.number(extents, number) {
            Ok(count) => Ok(Some(Self {
                extents: count,
                octets: pairs.number(octets, number)?,
            })),
            Err(ControlError::Field {
                error: LookupError::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl SplitBrain {
    fn read(pairs: &Index<'_>, number: usize) -> Result<Option<Self>, ControlError> {
        let local = Differing::read(pairs, "splitextents", "splitoctets", number)?;
        let remote = Differing::read(pairs, "peersplitextents", "peersplitoctets", number)?;
        Ok(local.map(|local| Self { local, remote }))
    }

    fn write(&self, number: usize, list: &mut Writer<'_>) {
        let Self { local, remote } = self;
        push(list, "splitextents", number, Value::U32(local.extents));
        push(list, "splitoctets", number, Value::U64(local.octets));
        if let Some(remote) = remote {
            push(list, "peersplitextents", number, Value::U32(remote.extents));
            push(list, "peersplitoctets", number, Value::U64(remote.octets));
        }
    }
}

/// What a worker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct Worker {
    /// Its process, not 0.
    pub pid: i32,
    /// Whether it is connected.
    pub connection: Connection,
    /// The octets in dirty extents.
    pub dirty: u64,
    /// The size of an extent in octets.
    pub extent_size: u32,
    /// How many extents are kept dirty.
    pub keep_dirty: u32,
    /// What it has done.
    pub statistics: Statistics,
    /// What waits in its queues.
    pub queues: Queues,
}

/// Whether a worker is connected. It says nothing about synchronisation (HAST §7.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Connection {
    /// Both connections are open.
    Complete,
    /// They are not.
    Degraded,
}

impl Connection {
    /// Returns the word of `hastctl status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Degraded => "degraded",
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a worker has done since it started.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these nine")]
pub struct Statistics {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Deletes.
    pub deletes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes of the activemap.
    pub activemap_updates: u64,
    /// Reads that failed locally.
    pub read_errors: u64,
    /// Writes that failed locally.
    pub write_errors: u64,
    /// Deletes that failed locally.
    pub delete_errors: u64,
    /// Flushes that failed locally.
    pub flush_errors: u64,
}

/// How many requests are in each queue of a worker.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these five")]
pub struct Queues {
    /// Free ones.
    pub idle: u64,
    /// Ones that wait for the local disk.
    pub local: u64,
    /// Ones that wait to be sent.
    pub send: u64,
    /// Ones that wait for the peer's reply.
    pub receive: u64,
    /// Ones that wait to be handed back.
    pub done: u64,
}

impl ResourceStatus {
    pub(super) fn read(pairs: &Index<'_>, number: usize) -> Result<Self, ControlError> {
        Ok(Self {
            provider: pairs.string("provname", number)?,
            local: pairs.string("localpath", number)?,
            remote: pairs.string("remoteaddr", number)?,
            source: match pairs.string("sourceaddr", number) {
                Ok(source) => Some(source),
                Err(ControlError::Field {
                    error: LookupError::Missing,
                    ..
                }) => None,
                Err(error) => return Err(error),
            },
            replication: pairs.word("replication", number)?,
            checksum: pairs.word("checksum", number)?,
            compression: pairs.word("compression", number)?,
            role: pairs.word("role", number)?,
            worker: match pairs.number("workerpid", number)? {
                0 => None,
                pid => Some(Worker::read(pid, pairs, number)?),
            },
            split_brain: SplitBrain::read(pairs, number)?,
        })
    }

    pub(super) fn write(&self, number: usize, list: &mut Writer<'_>) {
        let mut word = |field, word| push(list, field, number, text(word));
        word("provname", &self.provider);
        word("localpath", &self.local);
        word("remoteaddr", &self.remote);
        if let Some(source) = &self.source {
            word("sourceaddr", source);
        }
        word("replication", self.replication.as_str());
        word("checksum", self.checksum.as_str());
        word("compression", self.compression.as_str());
        word("role", self.role.as_str());
        let pid = self.worker.map_or(0, |worker| worker.pid);
        push(list, "workerpid", number, Value::I32(pid));
        if let Some(worker) = &self.worker {
            worker.write(number, list);
        }
        if let Some(split) = &self.split_brain {
            split.write(number, list);
        }
    }
}

impl Worker {
    fn read(pid: i32, pairs: &Index<'_>, number: usize) -> Result<Self, ControlError> {
        let status: Text<'_> = pairs.required("status", &numbered("status", number))?;
        let mut worker = Self {
            pid,
            connection: match status.as_bytes() {
                b"complete" => Connection::Complete,
                b"degraded" => Connection::Degraded,
                word => return Err(unknown("status", word).into()),
            },
            dirty: pairs.number("dirty", number)?,
            extent_size: pairs.number("extentsize", number)?,
            keep_dirty: pairs.number("keepdirty", number)?,
            statistics: Statistics::default(),
            queues: Queues::default(),
        };
        for (field, counter) in worker.counters() {
            *counter = pairs.number(field, number)?;
        }
        Ok(worker)
    }

    fn write(&self, number: usize, list: &mut Writer<'_>) {
        push(list, "status", number, text(self.connection.as_str()));
        push(list, "dirty", number, Value::U64(self.dirty));
        push(list, "extentsize", number, Value::U32(self.extent_size));
        push(list, "keepdirty", number, Value::U32(self.keep_dirty));
        let mut worker = *self;
        for (field, counter) in worker.counters() {
            push(list, field, number, Value::U64(*counter));
        }
    }

    /// The counters with their names, in the order in which they are sent.
    fn counters(&mut self) -> [(&'static str, &mut u64); 14] {
        let Self {
            statistics, queues, ..
        } = self;
        [
            ("stat_read", &mut statistics.reads),
            ("stat_write", &mut statistics.writes),
            ("stat_delete", &mut statistics.deletes),
            ("stat_flush", &mut statistics.flushes),
            ("stat_activemap_update", &mut statistics.activemap_updates),
            ("stat_read_error", &mut statistics.read_errors),
            ("stat_write_error", &mut statistics.write_errors),
            ("stat_delete_error", &mut statistics.delete_errors),
            ("stat_flush_error", &mut statistics.flush_errors),
            ("idle_queue_size", &mut queues.idle),
            ("local_queue_size", &mut queues.local),
            ("send_queue_size", &mut queues.send),
            ("recv_queue_size", &mut queues.receive),
            ("done_queue_size", &mut queues.done),
        ]
    }
}

//! How a resource is, for operators.

use std::process;

use hast_proto::KeepDirty;
use hast_proto::control::{Connection, Queues, ResourceStatus, Statistics, Worker};
use tokio::time::Instant;

use super::super::resource::{Side, Status};
use super::{Engine, Stage};

impl Engine {
    pub(super) fn status(&self, now: Instant) -> Status {
        let settings = &self.common.settings;
        let side = match &self.stage {
            _ if self.change.is_some() || self.discarding.is_some() => Side::Changing,
            Stage::Init => Side::Init,
            Stage::Primary(side) => Side::Primary(side.status(now)),
            Stage::Secondary(side) => Side::Secondary(side.status()),
        };
        let text = |address: &super::super::address::NetAddress| address.as_str().into();
        let remote = settings.remote.as_ref();
        Status {
            control: ResourceStatus {
                provider: settings.device.clone(),
                local: settings.local.clone(),
                remote: remote.map_or_else(|| "none".into(), text),
                source: settings.source.as_ref().map(text),
                replication: settings.primary.replication,
                checksum: settings.checksum,
                compression: settings.compression,
                role: self.role,
                worker: self.worker(&side),
                split_brain: self.common.split.as_ref().map(|split| split.told),
            },
            side,
        }
    }

    /// The part that a worker of the original would tell: it has one for a primary, and for a
    /// secondary during a session.
    fn worker(&self, side: &Side) -> Option<Worker> {
        // The number of a process is positive.
        let pid = i32::try_from(process::id()).unwrap_or(i32::MAX);
        let connection = |up| match up {
            true => Connection::Complete,
            false => Connection::Degraded,
        };
        match (side, &self.stage) {
            (Side::Primary(status), Stage::Primary(side)) => {
                let (stats, metadata) = (&status.stats, &status.metadata);
                let keep_dirty = KeepDirty::from_stored(metadata.keep_dirty).unwrap_or_default();
                Some(Worker {
                    pid,
                    connection: connection(side.is_connected()),
                    dirty: side.dirty(),
                    extent_size: metadata.layout.extent_size().get(),
                    keep_dirty: keep_dirty.get(),
                    statistics: Statistics {
                        reads: stats.reads,
                        writes: stats.writes,
                        deletes: stats.deletes,
                        flushes: stats.flushes,
                        activemap_updates: stats.map_writes,
                        read_errors: stats.read_errors,
                        write_errors: stats.write_errors,
                        delete_errors: stats.delete_errors,
                        flush_errors: stats.flush_errors,
                    },
                    queues: status.queues,
                })
            }
            (Side::Secondary(status), Stage::Secondary(side)) => {
                status.session?;
                let stats = &status.stats;
                Some(Worker {
                    pid,
                    connection: connection(side.is_connected()),
                    dirty: 0,
                    extent_size: status.metadata.layout.extent_size().get(),
                    keep_dirty: 0,
                    statistics: Statistics {
                        reads: stats.reads,
                        writes: stats.writes,
                        deletes: stats.deletes,
                        flushes: stats.flushes,
                        ..Statistics::default()
                    },
                    queues: Queues {
                        local: status.pending as u64,
                        ..Queues::default()
                    },
                })
            }
            _ => None,
        }
    }
}

//! What is run at an event, and what the SNMP module counts (HAST §10.1, §10.5).

#![warn(clippy::arithmetic_side_effects)]

use alloc::vec;
use alloc::vec::Vec;

use crate::control::{Connection, Queues, ResourceStatus, Statistics, Worker};
use crate::types::{NumberError, Replication, ResourceName, Role};

/// Something that the program configured by `exec` is told of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the original has these seven")]
pub enum HookEvent {
    /// The role was changed by order, on either kind of node. Not: because of a failure.
    Role {
        /// The role before.
        old: Role,
        /// The role now.
        new: Role,
    },
    /// A session was established, told on both nodes.
    Connect,
    /// It was lost, told on both nodes.
    Disconnect,
    /// A synchronisation with something to do begins, told on the primary.
    SyncStart,
    /// It has ended, and something was copied.
    SyncDone,
    /// It was interrupted.
    SyncInterrupted,
    /// Both nodes have written alone, told on both at every attempt to connect.
    SplitBrain,
}

impl HookEvent {
    /// Takes the number by which a worker of the original tells its parent.
    ///
    /// # Errors
    ///
    /// [`NumberError::Range`] unless it is 1 to 6: changes of the role have none.
    pub const fn from_code(code: u8) -> Result<Self, NumberError> {
        match code {
            1 => Ok(Self::Connect),
            2 => Ok(Self::Disconnect),
            3 => Ok(Self::SyncStart),
            4 => Ok(Self::SyncDone),
            5 => Ok(Self::SyncInterrupted),
            6 => Ok(Self::SplitBrain),
            _ => Err(NumberError::Range {
                field: "event",
                value: code as u64,
                min: 1,
                max: 6,
            }),
        }
    }

    /// Returns that number; a change of the role has none.
    #[must_use]
    pub const fn code(self) -> Option<u8> {
        match self {
            Self::Role { .. } => None,
            Self::Connect => Some(1),
            Self::Disconnect => Some(2),
            Self::SyncStart => Some(3),
            Self::SyncDone => Some(4),
            Self::SyncInterrupted => Some(5),
            Self::SplitBrain => Some(6),
        }
    }

    /// Returns the word that the program gets.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::SyncStart => "syncstart",
            Self::SyncDone => "syncdone",
            Self::SyncInterrupted => "syncintr",
            Self::SplitBrain => "split-brain",
        }
    }

    /// Returns all arguments, the program's path as configured first.
    ///
    /// No shell is involved, nothing is added to the environment, and there is nothing to read
    /// on standard input. FreeBSD 10 and earlier give the last component of the path first.
    ///
    /// ```
    /// use hast_proto::hooks::HookEvent;
    /// use hast_proto::{ResourceName, Role};
    ///
    /// let event = HookEvent::Role { old: Role::Init, new: Role::Primary };
    /// let resource = ResourceName::new("shared")?;
    /// assert_eq!(
    ///     event.arguments("/usr/local/sbin/hook", &resource)?,
    ///     ["/usr/local/sbin/hook", "role", "shared", "init", "primary"]
    /// );
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommandTooLong`], if they have more than [`MAX_COMMAND_LEN`] octets with a blank
    /// between them; the original does not run such a command.
    pub fn arguments<'a>(
        self,
        program: &'a str,
        resource: &'a ResourceName,
    ) -> Result<Vec<&'a str>, CommandTooLong> {
        let mut arguments = vec![program, self.word(), resource.as_str()];
        if let Self::Role { old, new } = self {
            arguments.extend([old.as_str(), new.as_str()]);
        }
        let blanks = arguments.len().saturating_sub(1);
        let len = arguments
            .iter()
            .map(|argument| argument.len())
            .fold(blanks, usize::saturating_add);
        if len > MAX_COMMAND_LEN {
            return Err(CommandTooLong { len });
        }
        Ok(arguments)
    }
}

/// The longest command line, in octets: the original keeps it in 1024, the final NUL included.
pub const MAX_COMMAND_LEN: usize = 1023;

/// A command line that is too long to be run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("exec: a command line of {len} octets where at most {MAX_COMMAND_LEN} are run")]
#[non_exhaustive]
pub struct CommandTooLong {
    /// Its octets.
    pub len: usize,
}

/// The SNMP scalar "hastConfigFile", read only: enterprises.12325.1.220.1.1 (HAST §10.5). It holds
/// the path of the configuration, which only the program that has read it knows.
pub const CONFIG_FILE: [u32; 11] = [1, 3, 6, 1, 4, 1, 12325, 1, 220, 1, 1];

/// The SNMP table of resources: enterprises.12325.1.220.1.2. A row is `TABLE.1.COLUMN.INDEX`.
pub const TABLE: [u32; 11] = [1, 3, 6, 1, 4, 1, 12325, 1, 220, 1, 2];

/// A column of the table of resources that FreeBSD's SNMP module shows (HAST §10.5).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "the table has these 27")]
pub enum Column {
    /// The number of the resource, from 1 in the order of the configuration.
    Index = 1,
    /// Its name.
    Name = 2,
    /// Its role: init 1, primary 2, secondary 3. Setting it changes the role.
    Role = 3,
    /// The name of its device.
    ProvName = 4,
    /// The local component.
    LocalPath = 5,
    /// The octets of an extent.
    ExtentSize = 6,
    /// How many extents stay marked.
    KeepDirty = 7,
    /// The peer's address.
    RemoteAddr = 8,
    /// The address to connect from.
    SourceAddr = 9,
    /// The mode: fullsync 0, memsync 1, async 2.
    Replication = 10,
    /// Complete 0, degraded 1, neither -1.
    Status = 11,
    /// The octets in dirty extents, though it is described as extents.
    Dirty = 12,
    /// Reads.
    Reads = 13,
    /// Writes.
    Writes = 14,
    /// Deletes.
    Deletes = 15,
    /// Flushes.
    Flushes = 16,
    /// Writes of the map.
    ActivemapUpdates = 17,
    /// Reads that failed locally.
    ReadErrors = 18,
    /// Writes that failed locally.
    WriteErrors = 19,
    /// Deletes that failed locally.
    DeleteErrors = 20,
    /// Flushes that failed locally.
    FlushErrors = 21,
    /// The process of the worker.
    WorkerPid = 22,
    /// Requests that wait for the local disk.
    LocalQueue = 23,
    /// Requests that wait to be sent.
    SendQueue = 24,
    /// Requests that wait for the peer's reply.
    RecvQueue = 25,
    /// Requests that wait to be handed back.
    DoneQueue = 26,
    /// Requests that are free.
    IdleQueue = 27,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the table has these kinds")]
pub enum ColumnValue<'a> {
    /// Text.
    Octets(&'a str),
    /// A number that may be negative.
    Integer(i64),
    /// A counter of 64 bits.
    Counter(u64),
    /// A level.
    Gauge(u64),
}

impl Column {
    /// All of them, in order.
    pub const ALL: [Self; 27] = [
        Self::Index,
        Self::Name,
        Self::Role,
        Self::ProvName,
        Self::LocalPath,
        Self::ExtentSize,
        Self::KeepDirty,
        Self::RemoteAddr,
        Self::SourceAddr,
        Self::Replication,
        Self::Status,
        Self::Dirty,
        Self::Reads,
        Self::Writes,
        Self::Deletes,
        Self::Flushes,
        Self::ActivemapUpdates,
        Self::ReadErrors,
        Self::WriteErrors,
        Self::DeleteErrors,
        Self::FlushErrors,
        Self::WorkerPid,
        Self::LocalQueue,
        Self::SendQueue,
        Self::RecvQueue,
        Self::DoneQueue,
        Self::IdleQueue,
    ];

    /// Returns the column's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the object's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Index => "hastResourceIndex",
            Self::Name => "hastResourceName",
            Self::Role => "hastResourceRole",
            Self::ProvName => "hastResourceProvName",
            Self::LocalPath => "hastResourceLocalPath",
            Self::ExtentSize => "hastResourceExtentSize",
            Self::KeepDirty => "hastResourceKeepDirty",
            Self::RemoteAddr => "hastResourceRemoteAddr",
            Self::SourceAddr => "hastResourceSourceAddr",
            Self::Replication => "hastResourceReplication",
            Self::Status => "hastResourceStatus",
            Self::Dirty => "hastResourceDirty",
            Self::Reads => "hastResourceReads",
            Self::Writes => "hastResourceWrites",
            Self::Deletes => "hastResourceDeletes",
            Self::Flushes => "hastResourceFlushes",
            Self::ActivemapUpdates => "hastResourceActivemapUpdates",
            Self::ReadErrors => "hastResourceReadErrors",
            Self::WriteErrors => "hastResourceWriteErrors",
            Self::DeleteErrors => "hastResourceDeleteErrors",
            Self::FlushErrors => "hastResourceFlushErrors",
            Self::WorkerPid => "hastResourceWorkerPid",
            Self::LocalQueue => "hastResourceLocalQueue",
            Self::SendQueue => "hastResourceSendQueue",
            Self::RecvQueue => "hastResourceRecvQueue",
            Self::DoneQueue => "hastResourceDoneQueue",
            Self::IdleQueue => "hastResourceIdleQueue",
        }
    }
}

/// One row of the table: a resource and how it is.
///
/// ```
/// # use hast_proto::control::ResourceStatus;
/// use hast_proto::ResourceName;
/// use hast_proto::hooks::{Column, ColumnValue, Row};
///
/// # let status = ResourceStatus {
/// #     provider: "shared".into(),
/// #     local: "/dev/da0".into(),
/// #     remote: "tcp://10.0.0.2".into(),
/// #     source: None,
/// #     replication: Default::default(),
/// #     checksum: Default::default(),
/// #     compression: Default::default(),
/// #     role: Default::default(),
/// #     worker: None,
/// #     split_brain: None,
/// # };
/// let row = Row { index: 1, name: &ResourceName::new("shared")?, status: &status };
/// assert_eq!(row.value(Column::Replication), ColumnValue::Integer(1));
/// assert_eq!(row.value(Column::Status), ColumnValue::Integer(-1));
/// # Ok::<(), hast_proto::ResourceNameError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a row is of these")]
pub struct Row<'a> {
    /// The number of the resource, from 1.
    pub index: u32,
    /// Its name.
    pub name: &'a ResourceName,
    /// How it is.
    pub status: &'a ResourceStatus,
}

impl<'a> Row<'a> {
    /// Returns what a column holds. Without a worker its numbers are 0.
    #[must_use]
    pub fn value(&self, column: Column) -> ColumnValue<'a> {
        let Self { status, name, .. } = *self;
        let worker = status.worker.as_ref();
        let of = |number: fn(&Worker) -> u64| worker.map_or(0, number);
        let statistic = |number: fn(&Statistics) -> u64| {
            ColumnValue::Counter(worker.map_or(0, |worker| number(&worker.statistics)))
        };
        let queue = |number: fn(&Queues) -> u64| {
            ColumnValue::Gauge(worker.map_or(0, |worker| number(&worker.queues)))
        };
        match column {
            Column::Index => ColumnValue::Integer(self.index.into()),
            Column::Name => ColumnValue::Octets(name.as_str()),
            Column::Role => ColumnValue::Integer(status.role.code().into()),
            Column::ProvName => ColumnValue::Octets(&status.provider),
            Column::LocalPath => ColumnValue::Octets(&status.local),
            Column::ExtentSize => {
                ColumnValue::Integer(worker.map_or(0, |worker| worker.extent_size.into()))
            }
            Column::KeepDirty => {
                ColumnValue::Integer(worker.map_or(0, |worker| worker.keep_dirty.into()))
            }
            Column::RemoteAddr => ColumnValue::Octets(&status.remote),
            Column::SourceAddr => ColumnValue::Octets(status.source.as_deref().unwrap_or_default()),
            Column::Replication => ColumnValue::Integer(match status.replication {
                Replication::Fullsync => 0,
                Replication::Memsync => 1,
                Replication::Async => 2,
            }),
            Column::Status => ColumnValue::Integer(match worker.map(|worker| worker.connection) {
                Some(Connection::Complete) => 0,
                Some(Connection::Degraded) => 1,
                None => -1,
            }),
            Column::Dirty => ColumnValue::Counter(of(|worker| worker.dirty)),
            Column::Reads => statistic(|counted| counted.reads),
            Column::Writes => statistic(|counted| counted.writes),
            Column::Deletes => statistic(|counted| counted.deletes),
            Column::Flushes => statistic(|counted| counted.flushes),
            Column::ActivemapUpdates => statistic(|counted| counted.activemap_updates),
            Column::ReadErrors => statistic(|counted| counted.read_errors),
            Column::WriteErrors => statistic(|counted| counted.write_errors),
            Column::DeleteErrors => statistic(|counted| counted.delete_errors),
            Column::FlushErrors => statistic(|counted| counted.flush_errors),
            Column::WorkerPid => ColumnValue::Integer(worker.map_or(0, |worker| worker.pid.into())),
            Column::LocalQueue => queue(|queues| queues.local),
            Column::SendQueue => queue(|queues| queues.send),
            Column::RecvQueue => queue(|queues| queues.receive),
            Column::DoneQueue => queue(|queues| queues.done),
            Column::IdleQueue => queue(|queues| queues.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_word_and_its_number() {
        let words = [
            "connect",
            "disconnect",
            "syncstart",
            "syncdone",
            "syncintr",
            "split-brain",
        ];
        for (code, word) in (1..).zip(words) {
            let event = HookEvent::from_code(code).unwrap();
            assert_eq!((event.code(), event.word()), (Some(code), word));
        }
        assert!(HookEvent::from_code(0).is_err() && HookEvent::from_code(7).is_err());
        let (old, new) = (Role::Primary, Role::Init);
        assert_eq!(HookEvent::Role { old, new }.code(), None);
    }

    #[test]
    fn arguments_are_those_of_the_specification() {
        let shared = ResourceName::new("shared").unwrap();
        let (old, new) = (Role::Primary, Role::Secondary);
        assert_eq!(
            HookEvent::Role { old, new }
                .arguments("/h", &shared)
                .unwrap(),
            ["/h", "role", "shared", "primary", "secondary"]
        );
        assert_eq!(
            HookEvent::SplitBrain.arguments("/h", &shared).unwrap(),
            ["/h", "split-brain", "shared"]
        );
    }

    #[test]
    fn a_command_of_1024_octets_is_not_run() {
        let shared = ResourceName::new("shared").unwrap();
        let rest = " connect shared".len();
        let program = "/".repeat(1023 - rest);
        assert!(HookEvent::Connect.arguments(&program, &shared).is_ok());
        let program = "/".repeat(1024 - rest);
        let error = HookEvent::Connect.arguments(&program, &shared).unwrap_err();
        assert_eq!(error, CommandTooLong { len: 1024 });
    }

    /// A resource of which no two columns hold the same.
    fn status() -> ResourceStatus {
        ResourceStatus {
            provider: "provider".into(),
            local: "/dev/local".into(),
            remote: "tcp://remote".into(),
            source: Some("tcp://source".into()),
            replication: Replication::Async,
            checksum: Default::default(),
            compression: Default::default(),
            role: Role::Secondary,
            split_brain: None,
            worker: Some(Worker {
                pid: 22,
                connection: Connection::Degraded,
                dirty: 12,
                extent_size: 6,
                keep_dirty: 7,
                statistics: Statistics {
                    reads: 13,
                    writes: 14,
                    deletes: 15,
                    flushes: 16,
                    activemap_updates: 17,
                    read_errors: 18,
                    write_errors: 19,
                    delete_errors: 20,
                    flush_errors: 21,
                },
                queues: Queues {
                    local: 23,
                    send: 24,
                    receive: 25,
                    done: 26,
                    idle: 27,
                },
            }),
        }
    }

    #[test]
    fn each_column_has_its_number_its_name_and_what_belongs_there() {
        use ColumnValue::{Counter, Gauge, Integer, Octets};
        let status = status();
        let name = ResourceName::new("shared").unwrap();
        let row = Row {
            index: 5,
            name: &name,
            status: &status,
        };
        // The numbers in the row above are those of the columns, where they can be chosen.
        let expected = [
            ("Index", Integer(5)),
            ("Name", Octets("shared")),
            ("Role", Integer(3)),
            ("ProvName", Octets("provider")),
            ("LocalPath", Octets("/dev/local")),
            ("ExtentSize", Integer(6)),
            ("KeepDirty", Integer(7)),
            ("RemoteAddr", Octets("tcp://remote")),
            ("SourceAddr", Octets("tcp://source")),
            ("Replication", Integer(2)),
            ("Status", Integer(1)),
            ("Dirty", Counter(12)),
            ("Reads", Counter(13)),
            ("Writes", Counter(14)),
            ("Deletes", Counter(15)),
            ("Flushes", Counter(16)),
            ("ActivemapUpdates", Counter(17)),
            ("ReadErrors", Counter(18)),
            ("WriteErrors", Counter(19)),
            ("DeleteErrors", Counter(20)),
            ("FlushErrors", Counter(21)),
            ("WorkerPid", Integer(22)),
            ("LocalQueue", Gauge(23)),
            ("SendQueue", Gauge(24)),
            ("RecvQueue", Gauge(25)),
            ("DoneQueue", Gauge(26)),
            ("IdleQueue", Gauge(27)),
        ];
        let columns = (1..).zip(Column::ALL).zip(expected);
        for ((number, column), (name, value)) in columns {
            assert_eq!(column.number(), number);
            assert_eq!(column.name().strip_prefix("hastResource"), Some(name));
            assert_eq!(row.value(column), value, "{name}");
        }
    }

    #[test]
    fn a_resource_without_a_worker_has_a_row_too() {
        let status = ResourceStatus {
            source: None,
            worker: None,
            ..status()
        };
        let row = Row {
            index: 1,
            name: &ResourceName::new("shared").unwrap(),
            status: &status,
        };
        assert_eq!(row.value(Column::SourceAddr), ColumnValue::Octets(""));
        assert_eq!(row.value(Column::Status), ColumnValue::Integer(-1));
        for column in &Column::ALL[11..] {
            let value = row.value(*column);
            let zero = matches!(
                value,
                ColumnValue::Integer(0) | ColumnValue::Counter(0) | ColumnValue::Gauge(0)
            );
            assert!(zero, "{column:?}: {value:?}");
        }
    }
}

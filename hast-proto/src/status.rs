//! What `hastctl` prints, to the last blank (HAST §9.2 to §9.4).
//!
//! Each function returns a value whose `Display` is the text, every line ended.

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;

use crate::control::{ControlAnswer, Differing, Queues, ResourceStatus, Statistics, StatusAnswer};
use crate::metadata::Metadata;
use crate::types::ResourceId;

/// Returns the text of `hastctl status`: a header and one line for each resource; nothing if
/// there is no resource.
///
/// ```
/// use hast_proto::ResourceName;
/// use hast_proto::control::{ControlFault, StatusAnswer};
/// use hast_proto::status::status;
///
/// let answer = StatusAnswer {
///     resources: vec![(ResourceName::new("nosuch")?, Err(ControlFault::NoEntry))],
///     fault: None,
/// };
/// assert_eq!(
///     status(&answer).to_string(),
///     "Name\tStatus\t Role\t\tComponents\nnosuch\tERR1\n"
/// );
/// # Ok::<(), hast_proto::ResourceNameError>(())
/// ```
pub fn status(answer: &StatusAnswer) -> impl fmt::Display + '_ {
    Brief(answer)
}

/// Returns the text of `hastctl list`: all that is known of each resource.
pub fn list(answer: &StatusAnswer) -> impl fmt::Display + '_ {
    Long(answer)
}

/// Returns the text of `hastctl dump` for one resource: what its metadata block says.
///
/// ```
/// use hast_proto::status::dump;
/// use hast_proto::{ExtentSize, KeepDirty, Layout, Length, Metadata, ResourceName, SectorSize};
///
/// let layout = Layout::create(Length::new(1 << 30), ExtentSize::DEFAULT, SectorSize::DEFAULT)?;
/// let fresh = Metadata::create(ResourceName::new("shared")?, layout, KeepDirty::DEFAULT);
/// let text = dump(&fresh).to_string();
/// assert!(text.starts_with("resource: shared\n    datasize: 1073737216 (1.0GB)\n"));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn dump(metadata: &Metadata) -> impl fmt::Display + '_ {
    Dump(metadata)
}

/// Returns the status with which `hastctl` exits after an answer: the number of the first
/// resource's error, 70 for an error of the whole, or 0 (HAST §9.1).
#[must_use]
pub fn exit_status<T>(answer: &ControlAnswer<T>) -> i32 {
    /// A fault in the software, says `sysexits.h`.
    const EX_SOFTWARE: i32 = 70;

    if answer.fault.is_some() {
        return EX_SOFTWARE;
    }
    let mut faults = answer
        .resources
        .iter()
        .filter_map(|(_, result)| result.as_ref().err());
    faults.next().map_or(0, |fault| fault.code().into())
}

/// A number of octets in at most four characters and "B", as `hastctl` prints it in brackets:
/// divided by 1024 until it is below 1000, with one decimal below 10.
///
/// ```
/// use hast_proto::status::Octets;
///
/// for (octets, text) in [
///     (0, "0B"),
///     (999, "999B"),
///     (1000, "1.0KB"),
///     (131_072, "128KB"),
///     (10_485_760, "10MB"),
/// ] {
///     assert_eq!(Octets(octets).to_string(), text);
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct Octets(pub u64);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Like the C library, each division forgets the remainder of the one before.
        let (mut whole, mut rest) = (self.0, 0_u64);
        for prefix in ["", "K", "M", "G", "T", "P", "E"] {
            let tenths = rounded(rest.saturating_mul(10)).saturating_add(whole.saturating_mul(10));
            let shown = whole.saturating_add(rounded(rest));
            if !prefix.is_empty() && tenths < 100 {
                let (units, tenths) = (tenths.div_euclid(10), tenths.rem_euclid(10));
                return write!(f, "{units}.{tenths}{prefix}B");
            }
            if shown < 1000 {
                return write!(f, "{shown}{prefix}B");
            }
            (whole, rest) = (whole >> 10, whole & 1023);
        }
        // 64 bits hold less than 1000 of the last prefix.
        write!(f, "{}B", self.0)
    }
}

/// Returns `octets` divided by 1024, rounded to the nearest, halves up.
const fn rounded(octets: u64) -> u64 {
    octets.saturating_add(512) >> 10
}

struct Brief<'a>(&'a StatusAnswer);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.resources.is_empty() {
            f.write_str("Name\tStatus\t Role\t\tComponents\n")?;
        }
        for (name, result) in &self.0.resources {
            match result {
                Ok(status) => {
                    let connection = status
                        .worker
                        .map_or("-", |worker| worker.connection.as_str());
                    let ResourceStatus {
                        role,
                        local,
                        remote,
                        ..
                    } = status;
                    writeln!(f, "{name}\t{connection:<9}{role:<15}{local}\t{remote}")?;
                }
                Err(fault) => writeln!(f, "{name}\tERR{}", fault.code())?,
            }
        }
        Ok(())
    }
}

struct Long<'a>(&'a StatusAnswer);

impl fmt::Display for Long<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, result) in &self.0.resources {
            writeln!(f, "{name}:")?;
            match result {
                Ok(status) => Details(status).fmt(f)?,
                Err(fault) => writeln!(f, "  error: {}", fault.code())?,
            }
        }
        Ok(())
    }
}

struct Details<'a>(&'a ResourceStatus);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let worker = status.worker.as_ref();
        let extent_size = worker.map_or(0, |worker| worker.extent_size);
        let dirty = worker.map_or(0, |worker| worker.dirty);
        writeln!(f, "  role: {}", status.role)?;
        writeln!(f, "  provname: {}", status.provider)?;
        writeln!(f, "  localpath: {}", status.local)?;
        writeln!(
            f,
            "  extentsize: {extent_size} ({})",
            Octets(extent_size.into())
        )?;
        writeln!(
            f,
            "  keepdirty: {}",
            worker.map_or(0, |worker| worker.keep_dirty)
        )?;
        writeln!(f, "  remoteaddr: {}", status.remote)?;
        if let Some(source) = &status.source {
            writeln!(f, "  sourceaddr: {source}")?;
        }
        writeln!(f, "  replication: {}", status.replication)?;
        if let Some(split) = &status.split_brain {
            let extents = split.local.extents;
            let here = Octets(split.local.octets);
            write!(f, "  splitbrain: {extents} extents ({here}) here, ")?;
            match split.remote {
                Some(Differing { extents, octets }) => {
                    writeln!(f, "{extents} extents ({}) there", Octets(octets))?;
                }
                None => writeln!(f, "unknown there")?,
            }
        }
        if let Some(worker) = worker {
            writeln!(f, "  status: {}", worker.connection)?;
            writeln!(f, "  workerpid: {}", worker.pid)?;
        }
        writeln!(f, "  dirty: {dirty} ({})", Octets(dirty))?;
        let statistics = worker.map_or_else(Statistics::default, |worker| worker.statistics);
        let queues = worker.map_or_else(Queues::default, |worker| worker.queues);
        writeln!(f, "  statistics:")?;
        writeln!(f, "    reads: {}", statistics.reads)?;
        writeln!(f, "    writes: {}", statistics.writes)?;
        writeln!(f, "    deletes: {}", statistics.deletes)?;
        writeln!(f, "    flushes: {}", statistics.flushes)?;
        writeln!(f, "    activemap updates: {}", statistics.activemap_updates)?;
        writeln!(
            f,
            "    local errors: read: {}, write: {}, delete: {}, flush: {}",
            statistics.read_errors,
            statistics.write_errors,
            statistics.delete_errors,
            statistics.flush_errors
        )?;
        writeln!(
            f,
            "    queues: local: {}, send: {}, recv: {}, done: {}, idle: {}",
            queues.local, queues.send, queues.receive, queues.done, queues.idle
        )
    }
}

struct Dump<'a>(&'a Metadata);

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = self.0;
        let layout = &metadata.layout;
        let (data_len, extent_size) = (layout.data_len().get(), layout.extent_size().get());
        writeln!(f, "resource: {}", metadata.resource)?;
        writeln!(f, "    datasize: {data_len} ({})", Octets(data_len))?;
        writeln!(
            f,
            "    extentsize: {extent_size} ({})",
            Octets(extent_size.into())
        )?;
        writeln!(f, "    keepdirty: {}", metadata.keep_dirty)?;
        writeln!(f, "    localoff: {}", layout.data_offset())?;
        writeln!(
            f,
            "    resuid: {}",
            ResourceId::stored(metadata.resource_id)
        )?;
        writeln!(f, "    localcnt: {}", metadata.counters.local)?;
        writeln!(f, "    remotecnt: {}", metadata.counters.remote)?;
        writeln!(f, "    prevrole: {}", metadata.previous_role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Connection, ControlFault, Worker};
    use crate::types::{Checksum, Compression, Counters, Replication, ResourceName, Role};
    use crate::{ExtentSize, KeepDirty, Layout, Length, SectorSize};
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn resource(role: Role, local: &str, worker: Option<Worker>) -> ResourceStatus {
        ResourceStatus {
            provider: "shared".into(),
            local: local.into(),
            remote: "tcp://10.0.0.2".into(),
            source: None,
            replication: Replication::Memsync,
            checksum: Checksum::None,
            compression: Compression::Hole,
            role,
            split_brain: None,
            worker,
        }
    }

    fn worker(connection: Connection) -> Worker {
        Worker {
            pid: 1234,
            connection,
            dirty: 4_194_304,
            extent_size: 2_097_152,
            keep_dirty: 64,
            statistics: Statistics {
                reads: 10,
                writes: 20,
                flushes: 3,
                activemap_updates: 4,
                ..Statistics::default()
            },
            queues: Queues {
                idle: 255,
                ..Queues::default()
            },
        }
    }

    fn answer<const N: usize>(
        resources: [(&str, Result<ResourceStatus, ControlFault>); N],
    ) -> StatusAnswer {
        StatusAnswer {
            resources: Vec::from(resources)
                .into_iter()
                .map(|(name, result)| (ResourceName::new(name).unwrap(), result))
                .collect(),
            fault: None,
        }
    }

    /// HAST §9.2.
    #[test]
    fn status_is_the_text_of_the_specification() {
        let (complete, degraded) = (worker(Connection::Complete), worker(Connection::Degraded));
        let answer = answer([
            (
                "shared",
                Ok(resource(Role::Primary, "/dev/da0", Some(complete))),
            ),
            (
                "tank",
                Ok(resource(Role::Primary, "/dev/da1", Some(degraded))),
            ),
            ("logs", Ok(resource(Role::Secondary, "/dev/da2", None))),
            ("old", Ok(resource(Role::Init, "/dev/da3", None))),
            ("nosuch", Err(ControlFault::NoEntry)),
        ]);
        let expected = [
            "Name\tStatus\t Role\t\tComponents\n",
            "shared\tcomplete primary        /dev/da0\ttcp://10.0.0.2\n",
            "tank\tdegraded primary        /dev/da1\ttcp://10.0.0.2\n",
            "logs\t-        secondary      /dev/da2\ttcp://10.0.0.2\n",
            "old\t-        init           /dev/da3\ttcp://10.0.0.2\n",
            "nosuch\tERR1\n",
        ];
        assert_eq!(status(&answer).to_string(), expected.concat());
        assert_eq!(exit_status(&answer), 1);
    }

    #[test]
    fn no_resource_prints_nothing() {
        let answer = answer([]);
        assert_eq!(status(&answer).to_string(), "");
        assert_eq!(list(&answer).to_string(), "");
        assert_eq!(exit_status(&answer), 0);
        assert_eq!(
            exit_status(&StatusAnswer::refused(ControlFault::Invalid)),
            70
        );
    }

    /// HAST §9.3.
    #[test]
    fn list_is_the_text_of_the_specification() {
        let mut shared = resource(
            Role::Primary,
            "/dev/da0",
            Some(worker(Connection::Complete)),
        );
        shared.source = Some("tcp://10.0.0.1".into());
        let answer = answer([
            ("shared", Ok(shared)),
            ("nosuch", Err(ControlFault::NoEntry)),
        ]);
        let expected = "\
shared:
  role: primary
  provname: shared
  localpath: /dev/da0
  extentsize: 2097152 (2.0MB)
  keepdirty: 64
  remoteaddr: tcp://10.0.0.2
  sourceaddr: tcp://10.0.0.1
  replication: memsync
  status: complete
  workerpid: 1234
  dirty: 4194304 (4.0MB)
  statistics:
    reads: 10
    writes: 20
    deletes: 0
    flushes: 3
    activemap updates: 4
    local errors: read: 0, write: 0, delete: 0, flush: 0
    queues: local: 0, send: 0, recv: 0, done: 0, idle: 255
nosuch:
  error: 1
";
        assert_eq!(list(&answer).to_string(), expected);
    }

    #[test]
    fn list_without_a_worker_has_zeros_and_fewer_lines() {
        let answer = answer([("old", Ok(resource(Role::Init, "/dev/da3", None)))]);
        let text = list(&answer).to_string();
        assert!(
            text.contains("  extentsize: 0 (0B)\n  keepdirty: 0\n"),
            "{text}"
        );
        assert!(text.contains("  dirty: 0 (0B)\n"), "{text}");
        assert!(text.contains("done: 0, idle: 0\n"), "{text}");
        assert!(
            !text.contains("status:") && !text.contains("workerpid"),
            "{text}"
        );
    }

    /// HAST §9.4.
    #[test]
    fn dump_is_the_text_of_the_specification() {
        let layout = Layout::create(
            Length::new(1 << 30),
            ExtentSize::DEFAULT,
            SectorSize::DEFAULT,
        );
        let name = ResourceName::new("shared").unwrap();
        let mut metadata = Metadata::create(name, layout.unwrap(), KeepDirty::DEFAULT);
        metadata.resource_id = ResourceId::new(0x0123_4567_89ab_cdef);
        metadata.counters = Counters::default();
        metadata.previous_role = Role::Primary;
        let expected = "\
resource: shared
    datasize: 1073737216 (1.0GB)
    extentsize: 2097152 (2.0MB)
    keepdirty: 64
    localoff: 4608
    resuid: 81985529216486895
    localcnt: 0
    remotecnt: 0
    prevrole: primary
";
        assert_eq!(dump(&metadata).to_string(), expected);
    }

    #[test]
    fn octets_are_rounded_to_four_characters() {
        let shown = |octets: u64| Octets(octets).to_string();
        let cases: [(u64, &str); 18] = [
            (0, "0B"),
            (512, "512B"),
            (999, "999B"),
            (1000, "1.0KB"),
            (1024, "1.0KB"),
            (1075, "1.0KB"),
            (1076, "1.1KB"),
            (10_188, "9.9KB"),
            (10_189, "10KB"),
            (131_072, "128KB"),
            (1_023_487, "999KB"),
            (1_023_488, "1.0MB"),
            (2_097_152, "2.0MB"),
            (10_485_760, "10MB"),
            (1_073_737_216, "1.0GB"),
            (1_099_511_558_144, "1.0TB"),
            (1 << 50, "1.0PB"),
            (u64::MAX, "16EB"),
        ];
        for (octets, text) in cases {
            assert_eq!(shown(octets), text, "{octets}");
        }
        let longest = (0..64)
            .map(|bit| shown(u64::MAX >> bit))
            .max_by_key(String::len);
        assert_eq!(longest.unwrap().len(), 5);
    }
}

//! What hastctl prints with `--json`: an object with a list of resources.

use hast_proto::control::{
    ControlAnswer, ControlFault, Differing, DiscardAnswer, DiscardOutcome, Queues, ResourceStatus,
    RoleAnswer, SplitBrain, Statistics, StatusAnswer, Worker,
};
use hast_proto::{Metadata, ResourceId};
use serde_json::{Value, json};

/// `hastctl role`: the roles before.
pub(crate) fn role(answer: &RoleAnswer) -> Value {
    document(answer, |role| json!({ "before": role.as_str() }))
}

/// `hastctl status` and `hastctl list`.
pub(crate) fn status(answer: &StatusAnswer) -> Value {
    document(answer, resource)
}

/// `hastctl discard`.
pub(crate) fn discard(answer: &DiscardAnswer) -> Value {
    document(answer, |outcome| match outcome {
        DiscardOutcome::Done {
            extents,
            octets,
            with_peer,
        } => json!({ "saved": { "extents": extents, "octets": octets, "peer": with_peer } }),
        DiscardOutcome::Refused(reason) => json!({ "refused": &**reason }),
    })
}

/// `hastctl dump` and `hastctl create`, of one resource.
pub(crate) fn metadata(metadata: &Metadata) -> Value {
    let layout = &metadata.layout;
    json!({
        "name": metadata.resource.as_str(),
        "datasize": layout.data_len().get(),
        "extentsize": layout.extent_size().get(),
        "keepdirty": metadata.keep_dirty,
        "localoff": layout.data_offset().get(),
        "resuid": ResourceId::stored(metadata.resource_id),
        "localcnt": metadata.counters.local,
        "remotecnt": metadata.counters.remote,
        "prevrole": metadata.previous_role.as_str(),
    })
}

/// What went wrong with one provider: the status, and why.
pub(crate) fn failed(name: &str, status: u8, text: &str) -> Value {
    json!({ "name": name, "error": { "code": status, "text": text } })
}

fn document<T>(answer: &ControlAnswer<T>, one: impl Fn(&T) -> Value) -> Value {
    let resources = answer.resources.iter().map(|(name, result)| {
        let mut value = match result {
            Ok(result) => one(result),
            Err(fault) => json!({ "error": error(*fault) }),
        };
        if let Value::Object(fields) = &mut value {
            fields.insert("name".to_owned(), name.as_str().into());
        }
        value
    });
    json!({
        "resources": resources.collect::<Vec<_>>(),
        "error": answer.fault.map(error),
    })
}

fn error(fault: ControlFault) -> Value {
    json!({ "code": fault.code(), "text": fault.to_string() })
}

fn resource(status: &ResourceStatus) -> Value {
    json!({
        "role": status.role.as_str(),
        "provname": &*status.provider,
        "localpath": &*status.local,
        "remoteaddr": &*status.remote,
        "sourceaddr": status.source.as_deref(),
        "replication": status.replication.as_str(),
        "checksum": status.checksum.as_str(),
        "compression": status.compression.as_str(),
        "worker": status.worker.as_ref().map(worker),
        "splitbrain": status.split_brain.map(split_brain),
    })
}

fn split_brain(split: SplitBrain) -> Value {
    let differing = |it: Differing| json!({ "extents": it.extents, "octets": it.octets });
    json!({ "local": differing(split.local), "remote": split.remote.map(differing) })
}

fn worker(worker: &Worker) -> Value {
    json!({
        "pid": worker.pid,
        "status": worker.connection.as_str(),
        "dirty": worker.dirty,
        "extentsize": worker.extent_size,
        "keepdirty": worker.keep_dirty,
        "statistics": statistics(&worker.statistics),
        "queues": queues(&worker.queues),
    })
}

fn statistics(statistics: &Statistics) -> Value {
    json!({
        "reads": statistics.reads,
        "writes": statistics.writes,
        "deletes": statistics.deletes,
        "flushes": statistics.flushes,
        "activemap_updates": statistics.activemap_updates,
        "read_errors": statistics.read_errors,
        "write_errors": statistics.write_errors,
        "delete_errors": statistics.delete_errors,
        "flush_errors": statistics.flush_errors,
    })
}

fn queues(queues: &Queues) -> Value {
    json!({
        "local": queues.local,
        "send": queues.send,
        "recv": queues.receive,
        "done": queues.done,
        "idle": queues.idle,
    })
}

#[cfg(test)]
mod tests {
    use hast_proto::control::Connection;
    use hast_proto::{
        ExtentSize, KeepDirty, Layout, Length, Replication, ResourceName, Role, SectorSize,
    };

    use super::*;

    #[test]
    fn a_status_is_told_by_the_words_of_the_text() {
        let shared = ResourceStatus {
            provider: "shared".into(),
            local: "/dev/da0".into(),
            remote: "tcp://10.0.0.2".into(),
            source: None,
            replication: Replication::Memsync,
            checksum: hast_proto::Checksum::Crc32,
            compression: hast_proto::Compression::Hole,
            role: Role::Primary,
            split_brain: Some(SplitBrain {
                local: Differing {
                    extents: 2,
                    octets: 4096,
                },
                remote: None,
            }),
            worker: Some(Worker {
                pid: 7,
                connection: Connection::Complete,
                dirty: 4096,
                extent_size: 2048,
                keep_dirty: 64,
                statistics: Statistics::default(),
                queues: Queues::default(),
            }),
        };
        let name = |name: &str| ResourceName::new(name).unwrap();
        let answer = StatusAnswer {
            resources: vec![
                (name("shared"), Ok(shared)),
                (name("nosuch"), Err(ControlFault::NoEntry)),
            ],
            fault: None,
        };
        let document = status(&answer);
        let shared = &document["resources"][0];
        assert_eq!(shared["name"], "shared");
        assert_eq!(shared["role"], "primary");
        assert_eq!(shared["checksum"], "crc32");
        assert_eq!(shared["sourceaddr"], Value::Null);
        assert_eq!(
            shared["splitbrain"],
            json!({ "local": { "extents": 2, "octets": 4096 }, "remote": null })
        );
        assert_eq!(shared["worker"]["status"], "complete");
        assert_eq!(shared["worker"]["statistics"]["writes"], 0);
        let nosuch = &document["resources"][1];
        assert_eq!(nosuch["name"], "nosuch");
        assert_eq!(
            nosuch["error"],
            json!({ "code": 1, "text": "no such resource" })
        );
        assert_eq!(document["error"], Value::Null);
        let refused = status(&StatusAnswer::refused(ControlFault::Other(5)));
        assert_eq!(refused["error"]["code"], 5);
    }

    #[test]
    fn metadata_are_told_by_the_words_of_the_text() {
        let media = Length::new(1 << 30);
        let layout = Layout::create(media, ExtentSize::DEFAULT, SectorSize::DEFAULT).unwrap();
        let fresh = Metadata::create(
            ResourceName::new("shared").unwrap(),
            layout,
            KeepDirty::DEFAULT,
        );
        let document = metadata(&fresh);
        assert_eq!(document["name"], "shared");
        assert_eq!(document["datasize"], 1_073_737_216);
        assert_eq!(document["localoff"], 4608);
        assert_eq!(document["prevrole"], "init");
    }
}

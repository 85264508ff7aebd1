//! What FreeBSD's `hastctl` printed in the recorded sessions, taken apart and printed again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use hast_proto::ResourceName;
use hast_proto::control::{Connection, Queues, ResourceStatus, Statistics, StatusAnswer, Worker};
use hast_proto::status::{list, status};
use serde_json::Value;
use wire::{assert_counted, described_sessions};

/// The pairs of status and list that were printed at the same moment.
fn printed() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (_, session) in described_sessions() {
        collect(&session, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let text = |key| fields.get(key).and_then(Value::as_str).map(String::from);
            if let (Some(status), Some(list)) = (text("status"), text("list")) {
                found.push((status, list));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The words and numbers of one resource in a text of `list`.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> (ResourceName, Self) {
        let (name, rest) = text.split_once(":\n").unwrap();
        let mut fields = BTreeMap::new();
        for line in rest.lines() {
            let (key, value) = line.trim().split_once(':').unwrap();
            match key {
                "local errors" | "queues" => {
                    for part in value.split(", ") {
                        let (key, value) = part.trim().split_once(": ").unwrap();
                        fields.insert(key, value);
                    }
                }
                key => {
                    fields.insert(key, value.trim());
                }
            }
        }
        (ResourceName::new(name).unwrap(), Self(fields))
    }

    fn text(&self, key: &str) -> &'a str {
        self.0.get(key).unwrap_or_else(|| panic!("{key}"))
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).split(' ').next().unwrap().parse().unwrap()
    }

    fn status(&self) -> ResourceStatus {
        let worker = self.0.contains_key("workerpid").then(|| Worker {
            pid: self.text("workerpid").parse().unwrap(),
            connection: match self.text("status") {
                "complete" => Connection::Complete,
                _ => Connection::Degraded,
            },
            dirty: self.number("dirty"),
            extent_size: self.number("extentsize").try_into().unwrap(),
            keep_dirty: self.number("keepdirty").try_into().unwrap(),
            statistics: Statistics {
                reads: self.number("reads"),
                writes: self.number("writes"),
                deletes: self.number("deletes"),
                flushes: self.number("flushes"),
                activemap_updates: self.number("activemap updates"),
                read_errors: self.number("read"),
                write_errors: self.number("write"),
                delete_errors: self.number("delete"),
                flush_errors: self.number("flush"),
            },
            queues: Queues {
                idle: self.number("idle"),
                local: self.number("local"),
                send: self.number("send"),
                receive: self.number("recv"),
                done: self.number("done"),
            },
        });
        ResourceStatus {
            provider: self.text("provname").into(),
            local: self.text("localpath").into(),
            remote: self.text("remoteaddr").into(),
            source: self.0.get("sourceaddr").map(|&source| source.into()),
            replication: self.text("replication").parse().unwrap(),
            checksum: Default::default(),
            compression: Default::default(),
            role: self.text("role").parse().unwrap(),
            split_brain: None,
            worker,
        }
    }
}

#[test]
fn what_the_original_printed_is_printed_again() {
    let mut count = 0;
    for (status_text, list_text) in printed() {
        let (name, fields) = Fields::of(&list_text);
        let answer = StatusAnswer {
            resources: vec![(name, Ok(fields.status()))],
            fault: None,
        };
        assert_eq!(list(&answer).to_string(), list_text);
        assert_eq!(status(&answer).to_string(), status_text);
        count += 1;
    }
    assert_counted("texts of status and list", count, 36);
}

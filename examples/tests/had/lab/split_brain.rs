//! Without an arbiter nothing prevents both nodes from serving when they do not reach each other at
//! all. That is found out when they do again, and nothing is thrown away.

use core::time::Duration;
use std::fs;
use std::thread;

use super::network::{Flow, Link, Side};
use super::node::Settings;
use super::pair::{PATIENCE, Pair};
use super::service::Record;
use super::wait_for;

/// How long the nodes have to do something about it that they should not.
const TEMPTATION: Duration = Duration::from_secs(5);

pub(crate) fn run(settings: Settings) {
    let pair = Pair::start(settings);
    let links = [Link::Service, Link::Replication];
    let mark = pair.mark();
    for link in links {
        pair.network().cut(link, Flow::Both);
    }
    for side in Side::BOTH {
        pair.await_answer_at(side, mark, side);
    }
    let last = Side::BOTH.map(|side| (side, pair.client(side).last()));
    for link in links {
        pair.network().heal(link);
    }
    let finds = |side: &Side| {
        let status = pair.node(*side).status().unwrap_or_default();
        status["storage"]["data"] == "split-brain"
    };
    wait_for(
        PATIENCE,
        || "the split brain to be found".to_owned(),
        || Side::BOTH.iter().any(finds),
    );
    thread::sleep(TEMPTATION);
    assert!(Side::BOTH.iter().any(finds), "somebody has to decide");
    for (side, heard) in last {
        let heard = heard.expect("an answer");
        assert_eq!(heard.answer.node, side.id(), "who served {}", side.name());
        let disk = fs::read(pair.node(side).disk().device()).expect("a disk");
        let (stream, number) = (side.id(), heard.number);
        let record = Record { stream, number }.octets();
        assert!(
            disk.windows(Record::LEN).any(|octets| octets == record),
            "what {} has acknowledged is on its disk",
            side.name()
        );
    }
}

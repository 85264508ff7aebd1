//! Without an arbiter nothing prevents both nodes from serving when they do not reach each other at
//! all. That is found out when they do again, and nothing is thrown away before the operator says so,
//! and then not before it is saved.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::thread;

use clap::Parser as _;

use super::disk::NAME;
use super::hast_extents;
use super::network::{Flow, Link, Side};
use super::node::Settings;
use super::pair::{PATIENCE, Pair};
use super::service::Record;
use super::wait_for;

/// How long the nodes have to do something about it that they should not.
const TEMPTATION: Duration = Duration::from_secs(5);

pub(crate) fn run(settings: Settings, loser: Side) {
    let pair = Pair::start(settings);
    let links = [Link::Service, Link::Replication];
    let mark = pair.mark();
    for link in links {
        pair.network().cut(link, Flow::Both);
    }
    for side in Side::BOTH {
        pair.await_answer_at(side, mark, side);
        // That may be a record which both have, and whose acknowledgement alone was lost.
        let number = || pair.client(side).last().map(|heard| heard.number);
        let first = number();
        wait_for(
            PATIENCE,
            || format!("{} to acknowledge more", side.name()),
            || number() > first,
        );
    }
    let last = Side::BOTH.map(|side| (side, pair.client(side).last()));
    for link in links {
        pair.network().heal(link);
    }
    let finds = |side: &Side| is_split(&pair, *side);
    wait_for(
        PATIENCE,
        || "the split brain to be found".to_owned(),
        || Side::BOTH.iter().any(finds),
    );
    thread::sleep(TEMPTATION);
    assert!(Side::BOTH.iter().any(finds), "somebody has to decide");
    let last = last.map(|(side, heard)| {
        let heard = heard.expect("an answer");
        assert_eq!(heard.answer.node, side.id(), "who served {}", side.name());
        let (stream, number) = (side.id(), heard.number);
        let record = Record { stream, number }.octets();
        let disk = pair.node(side).disk().data();
        assert!(
            holds(&disk, &record),
            "what {} has acknowledged is on its disk",
            side.name()
        );
        record
    });
    discard(&pair, loser, &last[usize::from(loser.id())]);
}

fn is_split(pair: &Pair, side: Side) -> bool {
    let status = pair.node(side).status().unwrap_or_default();
    status["storage"]["data"] == "split-brain"
}

fn holds(octets: &[u8], record: &[u8]) -> bool {
    octets.windows(record.len()).any(|part| part == record)
}

/// Orders a discard; the exit status, and what was said.
fn order(pair: &Pair, side: Side, file: &Path) -> (Option<i32>, String) {
    let words = ["discard", NAME, "--save", text(file)];
    let output = pair.node(side).command(&words);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into())
}

/// One node gives way: what it alone has acknowledged is in the file.
fn discard(pair: &Pair, loser: Side, lost: &[u8]) {
    let (node, other) = (pair.node(loser), pair.node(loser.other()));
    for node in [node, other] {
        let told = || node.status().unwrap_or_default()["storage"]["resource"]["split"].clone();
        wait_for(
            PATIENCE,
            || format!("{} to tell what both have: {}", node.side.name(), told()),
            || told()["there"]["extents"].as_u64() > Some(0),
        );
    }
    let file = node.path("lost.hast");
    let (code, said) = order(pair, Side::Alpha, &file);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the role is primary"), "{said}");
    if loser == Side::Alpha {
        give_way(pair);
    }
    fs::write(&file, "somebody's").expect("a file");
    let (code, said) = order(pair, loser, &file);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), b"somebody's");
    fs::remove_file(&file).expect("a file");
    assert!(is_split(pair, loser), "nothing is discarded");

    let (code, said) = order(pair, loser, &file);
    assert_eq!(code, Some(0), "{said}\n{}", node.log());
    assert!(said.contains("of either node"), "{said}");
    wait_for(
        PATIENCE,
        || format!("the nodes to be in sync: {:#?}", other.status()),
        || {
            let status = other.status().unwrap_or_default();
            status["storage"]["resource"]["in_sync"] == true
        },
    );
    assert!(!Side::BOTH.iter().any(|side| is_split(pair, *side)));
    let pause = |paused| Side::BOTH.map(|side| pair.client(side).pause(paused));
    pause(true);
    // What is under way is written soon, also by the file system.
    wait_for(
        PATIENCE,
        || "the same data on both disks".to_owned(),
        || node.disk().data() == other.disk().data(),
    );
    pause(false);
    assert!(!holds(&node.disk().data(), lost), "it is the other's data");
    let told = |name: &str| node.events().iter().any(|event| event["event"] == name);
    for event in [
        "hast-split-brain",
        "commanded",
        "not-discarded",
        "hast-discarded",
    ] {
        assert!(told(event), "{event}");
    }
    restore(pair, loser, &file, lost);

    // It can be trusted with the role again.
    let (node, words) = match loser {
        Side::Alpha => (node, ["resume", NAME]),
        Side::Beta => (other, ["switch", NAME]),
    };
    pair.await_answer(pair.mark(), loser.other());
    let output = node.command(&words);
    assert!(output.status.success(), "{output:?}");
    pair.await_service(loser);
}

/// Beta takes the role, with what it has, from alpha, which serves what is to be discarded.
fn give_way(pair: &Pair) {
    let (alpha, beta) = (pair.node(Side::Alpha), pair.node(Side::Beta));
    let output = alpha.command(&["maintenance", NAME]);
    assert!(output.status.success(), "{output:?}");
    wait_for(
        PATIENCE,
        || format!("alpha to stand by: {:#?}", alpha.status()),
        || alpha.state() == "standby",
    );
    let mark = pair.mark();
    let output = beta.command(&["force", NAME]);
    assert!(output.status.success(), "{output:?}");
    pair.await_answer(mark, Side::Beta);
}

/// What was saved is listed, and is what was lost.
fn restore(pair: &Pair, loser: Side, file: &Path, lost: &[u8]) {
    let list = extents("list", file);
    let (node, resource) = (format!("node {}", loser.name()), format!("resource {NAME}"));
    assert!(list.contains(&node) && list.contains(&resource), "{list}");
    assert!(extents("verify", file).starts_with("whole: "));
    let image = pair.node(loser).path("image");
    fs::write(&image, pair.node(loser).disk().data()).expect("an image");
    run_extents(&["hast_extents", "restore", text(file), text(&image)]);
    let restored = fs::read(&image).expect("an image");
    assert!(holds(&restored, lost), "what was lost is restored");
}

fn extents(command: &str, file: &Path) -> String {
    run_extents(&["hast_extents", command, text(file)])
}

fn run_extents(words: &[&str]) -> String {
    let options = hast_extents::Options::try_parse_from(words).expect("arguments");
    let mut out = Vec::new();
    hast_extents::run(&options, &mut out).expect("a file that is whole");
    String::from_utf8(out).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

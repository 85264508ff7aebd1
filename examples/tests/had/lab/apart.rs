//! Without an arbiter, with a network of its own for the replication, which is dead: a node that
//! starts does not know that its data are old, and leaves the role to the one that serves. When
//! there is none, it serves.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::network::{Flow, Link, Side};
use super::node::Settings;
use super::pair::{Mark, PATIENCE, Pair};
use super::wait_for;

use Side::{Alpha, Beta};

/// What a node says that has not met the other one.
const UNMET: &str = "has not met its peer since it started";
/// How long the better node has to take the role that it should not: several times what it waits
/// for after its start.
const TEMPTATION: Duration = Duration::from_secs(15);
/// Between two answers of a service that goes on, on a host that has much to do.
const PAUSE: Duration = Duration::from_secs(5);

pub(crate) fn run(settings: Settings) {
    let mut pair = Pair::start(settings);
    returns_to_a_service(&mut pair);
    returns_to_nobody(&mut pair);
    let findings = pair.audit();
    println!(
        "{} acknowledged records, {} lost; double service {} times",
        findings.acknowledged,
        findings.lost.len(),
        findings.double.len()
    );
    assert!(findings.lost.is_empty(), "{:?}", findings.lost);
    assert!(findings.double.is_empty(), "{:?}", findings.double);
}

/// The better node crashes, and starts while the other one serves.
fn returns_to_a_service(pair: &mut Pair) {
    let mark = pair.mark();
    pair.crash(Alpha);
    pair.await_answer(mark, Beta);
    pair.network().cut(Link::Replication, Flow::Both);
    pair.boot(Alpha);
    await_unmet(pair, Alpha);
    // It does nothing else at a command that is not to lose anything.
    let promoted = pair.node(Alpha).command(&["promote", "files"]);
    assert_eq!(promoted.status.code(), Some(3), "{promoted:?}");
    let refused = String::from_utf8_lossy(&promoted.stderr);
    assert!(refused.contains(UNMET), "{refused}");
    stays_alone(pair, Beta);
    let status = pair.node(Alpha).status().expect("a node that runs");
    let says = |value: &Value| value.as_str().is_some_and(|text| text.contains(UNMET));
    assert!(says(&status["blocked"]), "{status:#}");
    let told = |event: &Value| event["event"] == "demoted" && says(&event["reason"]);
    assert!(pair.node(Alpha).events().iter().any(told), "it tells why");

    let healed = pair.mark();
    pair.network().heal(Link::Replication);
    // Brought up to date, it is the better one again.
    pair.await_answer(healed, Alpha);
    pair.await_service(Alpha);
}

/// Both crash, and one of them starts alone, and then the other.
fn returns_to_nobody(pair: &mut Pair) {
    pair.await_flow();
    pair.crash(Beta);
    pair.crash(Alpha);
    let mark = pair.mark();
    pair.network().cut(Link::Replication, Flow::Both);
    pair.boot(Alpha);
    pair.await_answer(mark, Alpha);
    pair.boot(Beta);
    await_unmet(pair, Beta);
    stays_alone(pair, Alpha);
    pair.network().heal(Link::Replication);
    pair.await_service(Alpha);
}

fn await_unmet(pair: &Pair, side: Side) {
    let node = pair.node(side);
    wait_for(
        PATIENCE,
        || {
            format!(
                "{} to wait for the other: {:#?}",
                side.name(),
                node.status()
            )
        },
        || {
            let status = node.status().unwrap_or_default();
            status["state"] == "standby" && status["causes"] == serde_json::json!([UNMET])
        },
    );
}

/// For a while this node serves without a break, and nobody else does.
fn stays_alone(pair: &Pair, side: Side) {
    pair.await_flow();
    let (mark, begin) = (pair.mark(), Instant::now());
    while begin.elapsed() < TEMPTATION {
        assert_eq!(pair.holders(), [side], "who has the address");
        let other = pair.node(side.other());
        assert_eq!(other.state(), "standby", "{}", other.side.name());
        thread::sleep(Duration::from_millis(100));
    }
    pair.await_flow();
    for client in Side::BOTH {
        acknowledges(pair, client, side, mark);
    }
}

fn acknowledges(pair: &Pair, client: Side, side: Side, mark: Mark) {
    let heard = pair.client(client).heard_since(0);
    let mut since = heard.iter().filter(|heard| heard.at > mark.at).peekable();
    assert!(since.peek().is_some(), "nothing was acknowledged");
    assert!(
        since.all(|heard| heard.answer.is_stored && heard.answer.node == side.id()),
        "who acknowledges to client {}",
        client.name()
    );
    let outage = pair.outage(mark).length;
    assert!(outage < PAUSE, "a break of {outage:?}");
}

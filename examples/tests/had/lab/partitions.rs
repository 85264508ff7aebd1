//! With an arbiter: whoever does not reach whom, never do two nodes acknowledge.

use core::time::Duration;
use std::thread;

use super::network::{Flow, Link, Side};
use super::node::Settings;
use super::pair::{PATIENCE, Pair};
use super::wait_for;

/// Who does not reach whom.
const PARTITIONS: [&[Link]; 5] = [
    &[Link::Service, Link::Replication],
    &[Link::Arbiter(Side::Alpha)],
    &[Link::Replication],
    &[Link::Arbiter(Side::Beta)],
    &[Link::Service],
];
const FLOWS: [Flow; 3] = [Flow::Both, Flow::Forth, Flow::Back];

/// So many partitions, one after the other.
pub(crate) fn run(settings: Settings, count: usize) {
    let pair = Pair::start(settings);
    for number in 0..count {
        let links = PARTITIONS[number % PARTITIONS.len()];
        let flow = FLOWS[number % FLOWS.len()];
        // Of any length: some shorter than it takes to notice, some long enough to take over.
        let part = ((number + 1) as f64 * 0.618_033_988_749_895).fract();
        println!("{number}: {links:?} {flow:?} for {:.1} s", 10.0 * part);
        for link in links {
            pair.network().cut(*link, flow);
        }
        thread::sleep(Duration::from_secs(10).mul_f64(part));
        for link in links {
            pair.network().heal(*link);
        }
        await_service(&pair);
    }
    let findings = pair.audit();
    println!(
        "{count} partitions with etcd: {} acknowledged records, {} lost; double service {} times",
        findings.acknowledged,
        findings.lost.len(),
        findings.double.len()
    );
    assert!(findings.lost.is_empty(), "{:?}", findings.lost);
    assert!(findings.double.is_empty(), "{:?}", findings.double);
}

/// Waits until either node serves both clients, and the other one could take over.
fn await_service(pair: &Pair) {
    let states = || Side::BOTH.map(|side| pair.node(side).state());
    wait_for(
        PATIENCE,
        || {
            format!(
                "a node to serve and the other one to be fit: {:?}",
                states()
            )
        },
        || {
            let active = |side: &Side| pair.node(*side).state() == "active";
            let Some(side) = Side::BOTH.into_iter().find(active) else {
                return false;
            };
            pair.node(side.other()).is_fit() && pair.holders() == [side]
        },
    );
    let mark = pair.mark();
    for side in Side::BOTH {
        wait_for(
            PATIENCE,
            || format!("an answer to client {}: {:?}", side.name(), states()),
            || {
                pair.client(side)
                    .last()
                    .is_some_and(|last| last.at > mark.at)
            },
        );
    }
}

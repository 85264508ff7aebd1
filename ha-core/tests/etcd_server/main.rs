//! The arbiter in real etcd servers: what becomes of the record when they are killed, restarted,
//! stopped in the middle of a request and compacted; and nodes that compete for it meanwhile.
//!
//! ```sh
//! cargo test -p ha-core --features etcd --test etcd_server -- --ignored
//! ```

#![cfg(unix)]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

mod cluster;
mod competition;

use core::time::Duration;

use cluster::Cluster;
use ha_core::failover::{Answer, NodeId, NodeSet, Query, Record, Revision};
use ha_core::io::arbiter::{Arbiter, ArbiterError};
use rustix::process::Signal;

#[expect(clippy::disallowed_methods, reason = "real servers take real time")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn record(generation: u64, holder: Option<u8>, ttl: Duration) -> Record {
    Record {
        generation,
        up_to_date: NodeSet::from(node(0)),
        holder: holder.map(node),
        ttl,
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn stored(arbiter: &mut impl Arbiter) -> Option<(Revision, Record)> {
    match arbiter.ask(Query::Read).await.unwrap() {
        Answer::Current(stored) => stored,
        other => panic!("{other:?}"),
    }
}

async fn set(arbiter: &mut impl Arbiter, record: Record) -> Revision {
    let expected = stored(arbiter).await.map(|(revision, _)| revision);
    match arbiter.ask(Query::Swap { expected, record }).await.unwrap() {
        Answer::Swapped(revision) => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn the_record_is_kept_through_kills_and_compactions() {
    let mut etcd = Cluster::start(1);
    etcd.ready().await;
    let mut arbiter = etcd.arbiter();
    assert_eq!(stored(&mut arbiter).await, None);
    let mut last = set(&mut arbiter, record(1, Some(0), LONG)).await;
    for generation in 2..6 {
        let revision = set(&mut arbiter, record(generation, Some(0), LONG)).await;
        assert!(revision > last);
        last = revision;
        etcd.etcdctl(&["compact", "--physical", &revision.get().to_string()]);
        let current = Some((revision, record(generation, Some(0), LONG)));
        assert_eq!(stored(&mut arbiter).await, current);
        etcd.kill(0);
        assert!(arbiter.ask(Query::Read).await.is_err());
        etcd.launch(0);
        etcd.ready().await;
        assert_eq!(stored(&mut arbiter).await, current, "also the lease");
        // Who expects what was compacted finds another revision, as ever.
        let old = Query::Swap {
            expected: Some(Revision::new(2)),
            record: record(9, Some(1), LONG),
        };
        let told = arbiter.ask(old).await.unwrap();
        assert!(
            generation == 2 || told == Answer::Current(current),
            "{told:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_holder_that_does_not_renew_is_none_after_its_time_and_the_record_stays() {
    let etcd = Cluster::start(1);
    etcd.ready().await;
    let mut arbiter = etcd.arbiter();
    let ttl = Duration::from_secs(3);
    let revision = set(&mut arbiter, record(1, Some(0), ttl)).await;
    // Renewed in time, it stays longer than one lease lasts.
    for generation in 2..5 {
        pass(Duration::from_millis(1500)).await;
        assert_eq!(stored(&mut arbiter).await.unwrap().1.holder, Some(node(0)));
        set(&mut arbiter, record(generation, Some(0), ttl)).await;
    }
    pass(Duration::from_millis(2500)).await;
    let (held, kept) = stored(&mut arbiter).await.unwrap();
    assert_eq!(kept.holder, Some(node(0)), "not before its time");
    pass(Duration::from_millis(3500)).await;
    let (free, kept) = stored(&mut arbiter).await.unwrap();
    assert_eq!(kept, record(4, None, ttl));
    assert_eq!(free, held, "nothing was written");
    assert!(free > revision);
    set(&mut arbiter, record(5, Some(1), ttl)).await;
    set(&mut arbiter, record(6, None, ttl)).await;
    let (_, kept) = stored(&mut arbiter).await.unwrap();
    assert_eq!(kept, record(6, None, ttl), "given back at once");
    let keys = etcd.etcdctl(&["get", "--prefix", "/ha/", "--keys-only"]);
    assert_eq!(
        keys.split_whitespace().collect::<Vec<_>>(),
        ["/ha/unit/record"]
    );
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_swap_that_is_not_answered_happens_once_or_never() {
    let etcd = Cluster::start(1);
    etcd.ready().await;
    let mut arbiter = etcd.arbiter();
    let mut generation = 1;
    let mut current = set(&mut arbiter, record(generation, None, LONG)).await;
    let mut happened = 0;
    for round in 0..10_u64 {
        etcd.pause(0, Signal::STOP);
        let late = Query::Swap {
            expected: Some(current),
            record: record(100 + round, None, LONG),
        };
        let error = arbiter.ask(late).await.unwrap_err();
        assert!(matches!(error, ArbiterError::Etcd(_)), "{error}");
        etcd.pause(0, Signal::CONT);
        // What is read first says nothing; what is set settles it.
        let (seen, _) = stored(&mut arbiter).await.unwrap();
        generation += 1;
        let next = Query::Swap {
            expected: Some(seen),
            record: record(generation, None, LONG),
        };
        let settled = match arbiter.ask(next).await.unwrap() {
            Answer::Swapped(revision) => revision,
            Answer::Current(Some((revision, told))) => {
                assert_eq!(told.generation, 100 + round, "only the late one was there");
                happened += 1;
                revision
            }
            other => panic!("{other:?}"),
        };
        happened += u32::from(seen > current);
        pass(Duration::from_millis(200)).await;
        let (revision, _) = stored(&mut arbiter).await.unwrap();
        assert_eq!(revision, settled, "it cannot happen any more");
        current = revision;
    }
    println!("{happened} of 10 swaps happened unheard");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn any_one_of_three_members_may_be_dead_or_stopped() {
    let mut etcd = Cluster::start(3);
    etcd.ready().await;
    let mut arbiter = etcd.arbiter();
    let mut generation = 0;
    for member in 0..3 {
        for dead in [true, false] {
            if dead {
                etcd.kill(member);
            } else {
                etcd.pause(member, Signal::STOP);
            }
            let mut done = false;
            // A new leader takes its time.
            for _ in 0..40 {
                generation += 1;
                let wanted = record(generation, Some(0), LONG);
                let read = arbiter.ask(Query::Read).await;
                if let Ok(Answer::Current(told)) = read {
                    let expected = told.map(|(revision, _)| revision);
                    let swap = Query::Swap {
                        expected,
                        record: wanted,
                    };
                    if matches!(arbiter.ask(swap).await, Ok(Answer::Swapped(_))) {
                        done = true;
                        break;
                    }
                }
                pass(Duration::from_millis(200)).await;
            }
            assert!(done, "member {member}, dead: {dead}");
            if dead {
                etcd.launch(member);
            } else {
                etcd.pause(member, Signal::CONT);
            }
            etcd.ready().await;
            let (_, kept) = stored(&mut arbiter).await.unwrap();
            assert_eq!(kept.generation, generation);
        }
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn who_asks_must_have_the_password_if_etcd_wants_one() {
    let etcd = Cluster::start(1);
    etcd.ready().await;
    etcd.etcdctl(&["user", "add", "root:secret"]);
    etcd.etcdctl(&["user", "grant-role", "root", "root"]);
    etcd.etcdctl(&["auth", "enable"]);
    let error = etcd.arbiter().ask(Query::Read).await.unwrap_err();
    assert!(error.to_string().contains("user name is empty"), "{error}");
    let mut wrong = etcd.arbiter_as("root", "guess");
    let error = wrong.ask(Query::Read).await.unwrap_err().to_string();
    assert!(error.contains("authentication failed"), "{error}");
    let mut right = etcd.arbiter_as("root", "secret");
    set(&mut right, record(1, Some(0), LONG)).await;
    // As after five minutes: the token is not good any more.
    etcd.etcdctl(&["--user", "root:secret", "auth", "disable"]);
    etcd.etcdctl(&["auth", "enable"]);
    set(&mut right, record(2, Some(0), LONG)).await;
    assert_eq!(stored(&mut right).await.unwrap().1.generation, 2);
}

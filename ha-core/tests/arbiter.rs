//! The arbiter's record as text, in memory and in a file, and the task that asks.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::time::Duration;

use ha_core::carp_proto::State as Role;
use ha_core::failover::{
    Answer, Arbitration, Config, Failover, GroupId, Input, MAX_TIME, NodeId, NodeSet, Output, Plan,
    Query, Record, Request, Revision, State, Step, StepKind,
};
use ha_core::io::arbiter::{
    Arbiter, ArbiterError, Asker, FileArbiter, MAX_RECORD_LEN, MemoryArbiter, RecordError,
    decode_record, encode_record,
};
use ha_core::io::async_trait;
use proptest::prelude::*;
use tokio::time::Instant;

fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn record(generation: u64, holder: Option<u8>) -> Record {
    Record {
        generation,
        up_to_date: NodeSet::from(node(0)).with(node(1)),
        holder: holder.map(node),
        ttl: Duration::from_secs(15),
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let nanos = 0..=u64::try_from(MAX_TIME.as_nanos()).unwrap();
    let holder = proptest::option::of(0..64_u8);
    (any::<u64>(), any::<u64>(), holder, nanos).prop_map(|(generation, bits, holder, nanos)| {
        Record {
            generation,
            up_to_date: NodeSet::from_bits(bits),
            holder: holder.map(node),
            ttl: Duration::from_nanos(nanos),
        }
    })
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(record in any_record()) {
        let text = encode_record(&record).unwrap();
        prop_assert!(text.len() <= MAX_RECORD_LEN);
        prop_assert_eq!(decode_record(text.as_bytes()), Ok(record));
    }

    #[test]
    fn a_record_that_was_cut_is_none(record in any_record(), part in 0.0..1.0_f64) {
        let text = encode_record(&record).unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "the part is less than one"
        )]
        let length = (text.len() as f64 * part) as usize;
        prop_assert!(decode_record(&text.as_bytes()[..length]).is_err());
    }

    #[test]
    fn whatever_is_read_is_written_again(text in any::<Vec<u8>>()) {
        if let Ok(record) = decode_record(&text) {
            let again = encode_record(&record).unwrap();
            prop_assert_eq!(decode_record(again.as_bytes()), Ok(record));
        }
    }
}

#[test]
fn each_fault_of_a_record_has_its_error() {
    let good = encode_record(&record(3, Some(1))).unwrap();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        decode_record(good.replace(from, to).as_bytes()).unwrap_err()
    };
    let value = |field, value: &str, error: RecordError| {
        let RecordError::Value {
            field: found,
            value: said,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((found, said.as_str()), (field, value));
    };
    value("format", "2", with(r#""format":1"#, r#""format":2"#));
    value("generation", "-3", with(":3,", ":-3,"));
    value("generation", "3.5", with(":3,", ":3.5,"));
    value("holder", "64", with(r#""holder":1"#, r#""holder":64"#));
    value("holder", "\"1\"", with(r#""holder":1"#, r#""holder":"1""#));
    value("up_to_date", "300", with("[0,1]", "[0,300]"));
    value("up_to_date", "7", with("[0,1]", "7"));
    let long = u64::MAX.to_string();
    value("ttl_ns", &long, with("15000000000", &long));
    assert_eq!(
        with(r#""holder":1,"#, ""),
        RecordError::Missing { field: "holder" }
    );
    let field = "pause".to_owned();
    assert_eq!(
        with(r#""holder""#, r#""pause":1,"holder""#),
        RecordError::Unknown { field }
    );
    assert!(matches!(with("{", "["), RecordError::Json { .. }));
    let len = MAX_RECORD_LEN + 1;
    assert_eq!(
        decode_record(&vec![b' '; len]),
        Err(RecordError::TooLong { len })
    );
    let ttl = MAX_TIME + Duration::from_nanos(1);
    let error = encode_record(&Record {
        ttl,
        ..record(1, None)
    });
    value("ttl_ns", "31536000000000001", error.unwrap_err());
}

/// What every store promises, between two that ask.
async fn keeps_its_promises(mut one: impl Arbiter, mut other: impl Arbiter) {
    assert_eq!(one.ask(Query::Read).await.unwrap(), Answer::Current(None));
    let first = Query::Swap {
        expected: None,
        record: record(1, Some(0)),
    };
    let Answer::Swapped(revision) = one.ask(first).await.unwrap() else {
        panic!("nobody else was there");
    };
    let current = Answer::Current(Some((revision, record(1, Some(0)))));
    assert_eq!(other.ask(first).await.unwrap(), current);
    assert_eq!(other.ask(Query::Read).await.unwrap(), current);
    let second = Query::Swap {
        expected: Some(revision),
        record: record(2, None),
    };
    let Answer::Swapped(next) = other.ask(second).await.unwrap() else {
        panic!("the revision was right");
    };
    assert!(next > revision);
    let current = Answer::Current(Some((next, record(2, None))));
    assert_eq!(one.ask(second).await.unwrap(), current);
}

#[tokio::test]
async fn a_record_in_memory() {
    let arbiter = MemoryArbiter::new();
    keeps_its_promises(arbiter.clone(), arbiter).await;
}

#[tokio::test]
async fn a_record_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    keeps_its_promises(FileArbiter::new(&path), FileArbiter::new(&path)).await;
}

/// As many as ask for the same revision: one has it.
#[tokio::test]
async fn one_of_many_has_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let tasks: Vec<_> = (0..8_u8)
        .map(|number| {
            let mut arbiter = FileArbiter::new(&path);
            tokio::spawn(async move {
                let mut had = Vec::new();
                let mut expected = None;
                for _ in 0..25 {
                    let record = record(u64::from(number), Some(number));
                    match arbiter.ask(Query::Swap { expected, record }).await.unwrap() {
                        Answer::Swapped(revision) => {
                            had.push(revision);
                            expected = Some(revision);
                        }
                        Answer::Current(current) => expected = current.map(|(r, _)| r),
                        Answer::Unavailable => panic!("a store has an answer or an error"),
                    }
                }
                had
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    let expected: Vec<_> = (1..=u64::try_from(all.len()).unwrap())
        .map(Revision::new)
        .collect();
    assert_eq!(all, expected, "each revision was had once");
}

#[tokio::test]
async fn a_file_that_is_no_record_is_an_error_and_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    for text in [
        "",
        "7",
        "00000000000000000007 {}",
        "0000000000000000000x {}",
        "\0",
    ] {
        std::fs::write(&path, text).unwrap();
        let mut arbiter = FileArbiter::new(&path);
        let error = arbiter.ask(Query::Read).await.unwrap_err();
        let swap = Query::Swap {
            expected: None,
            record: record(1, Some(0)),
        };
        assert!(arbiter.ask(swap).await.is_err(), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let mut nowhere = FileArbiter::new(directory.path().join("a/b"));
    let error = nowhere.ask(Query::Read).await.unwrap_err();
    assert!(matches!(error, ArbiterError::File(_)), "{error}");
}

/// Never answers.
struct Silent;

#[async_trait]
impl Arbiter for Silent {
    async fn ask(&mut self, _: Query) -> Result<Answer, ArbiterError> {
        core::future::pending().await
    }
}

/// Says nothing to a swap, and the record otherwise.
struct Half(MemoryArbiter);

#[async_trait]
impl Arbiter for Half {
    async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError> {
        match query {
            Query::Read => self.0.ask(query).await,
            Query::Swap { .. } => core::future::pending().await,
        }
    }
}

fn unit() -> Failover<Instant> {
    unit_of(node(0))
}

fn unit_of(node: NodeId) -> Failover<Instant> {
    let plan = Plan::new(vec![Step::new(StepKind::Service, "service")]).unwrap();
    let mut config = Config::new(node, plan);
    config.holds.start = Duration::ZERO;
    config.arbitration = Some(Arbitration::default());
    Failover::new(config).unwrap()
}

fn request(unit: &mut Failover<Instant>) -> Option<Request> {
    let mut request = None;
    while let Some(output) = unit.poll_output() {
        match output {
            Output::Arbiter(asked) => request = Some(asked),
            Output::Begin(run) => {
                let outcome = ha_core::failover::Outcome::Done;
                let run = run.id;
                unit.handle(now(), Input::Ended { run, outcome });
            }
            _ => {}
        }
    }
    request
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test drives a machine in real time"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_machine_holds_the_record_through_its_asker() {
    let mut unit = unit();
    let mut asker = Asker::spawn(MemoryArbiter::new());
    unit.handle(now(), Input::Timeout);
    let group = GroupId::new(0);
    let role = Role::Master;
    unit.handle(now(), Input::Address { group, role });
    for _ in 0..10 {
        if let Some(request) = request(&mut unit) {
            asker.ask(request);
            let reply = asker.next().await.unwrap();
            assert!(reply.result.is_ok());
            unit.handle(now(), reply.input());
        }
    }
    assert_eq!(unit.state(), State::Active);
}

/// Every answer and every step at once, until nothing is left to do.
async fn drive(unit: &mut Failover<Instant>, arbiter: &mut MemoryArbiter, input: Input) {
    unit.handle(now(), input);
    while let Some(asked) = request(unit) {
        let answer = arbiter.ask(asked.query).await.unwrap();
        let request = asked.id;
        unit.handle(now(), Input::Arbiter { request, answer });
    }
}

#[tokio::test]
async fn a_unit_without_storage_moves_to_any_node() {
    let mut arbiter = MemoryArbiter::new();
    let (mut first, mut second) = (unit(), unit_of(node(1)));
    let group = GroupId::new(0);
    let address = |role| Input::Address { group, role };
    for unit in [&mut first, &mut second] {
        drive(unit, &mut arbiter, Input::Timeout).await;
    }
    drive(&mut first, &mut arbiter, address(Role::Master)).await;
    assert_eq!(first.state(), State::Active);
    drive(&mut first, &mut arbiter, address(Role::Backup)).await;
    drive(&mut second, &mut arbiter, address(Role::Master)).await;
    assert_eq!(second.state(), State::Active);
}

#[tokio::test]
async fn a_newer_request_replaces_one_that_is_not_answered() {
    let mut unit = unit();
    let mut asker = Asker::spawn(Half(MemoryArbiter::new()));
    unit.handle(now(), Input::Timeout);
    let read = request(&mut unit).unwrap();
    asker.ask(read);
    let reply = asker.next().await.unwrap();
    unit.handle(now(), reply.input());
    let group = GroupId::new(0);
    let role = Role::Master;
    unit.handle(now(), Input::Address { group, role });
    let swap = request(&mut unit).unwrap();
    assert!(matches!(swap.query, Query::Swap { .. }));
    asker.ask(swap);
    tokio::task::yield_now().await;
    asker.ask(read);
    let reply = asker.next().await.unwrap();
    assert_eq!(reply.request, read.id);
}

#[tokio::test]
async fn an_asker_that_is_dropped_leaves_no_task() {
    let before = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    let mut unit = unit();
    unit.handle(now(), Input::Timeout);
    let asker = Asker::spawn(Silent);
    asker.ask(request(&mut unit).unwrap());
    tokio::task::yield_now().await;
    drop(asker);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let after = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(after, before);
}

//! A failover unit with parts of the test's own, and a clock that moves only when everybody
//! waits.

#![expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[expect(dead_code, reason = "a part of it is needed here")]
mod memory;
mod unit_host;

use core::num::NonZeroU16;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use ha_core::carp_proto::State as Role;
use ha_core::failover::{
    Action, Blocked, Cause, Command, Data, DegradedId, Health, HealthCheck, NodeSet, Refusal,
    State, Step, StepKind, StorageRole, Turn, Unfit,
};
use ha_core::io::Driver;
use ha_core::io::failover::{
    AddressGate, Addresses, Check, CheckError, InProcess, Job, Part, Probe, StepError, Unit,
    UnitCommandError, UnitError, UnitEventKind, UnitSetup, UnitSetupError, VirtualHosts, When,
};
use memory::{Network, Notes};
use tokio::time::{Instant, sleep};
use unit_host::{Ballot, Host, SECOND, Stage, Way, both, node, report};

fn check(rise: u16, fall: u16) -> HealthCheck {
    HealthCheck {
        name: "probe".into(),
        rise: NonZeroU16::new(rise).unwrap(),
        fall: NonZeroU16::new(fall).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_undone_first_then_done_and_undone_in_order() {
    let host = Host::start(|setup| setup);
    host.reach(State::Standby).await;
    assert_eq!(host.stage.done(), ["withdraw", "stop", "become secondary"]);
    let unmet = format!("unit: {}", Cause::Unmet);
    let told = [
        "+unit: start 240",
        "-unit: ended",
        &format!("+{unmet} 240"),
        "-unit: start",
    ];
    assert_eq!(host.ballot.told(), told);

    host.ballot.set(Role::Master);
    host.reach(State::Active).await;
    assert_eq!(host.stage.done(), ["become primary", "start", "announce"]);
    assert_eq!(*host.disk.grants.lock().unwrap(), [DegradedId::new(1)]);

    host.ballot.set(Role::Backup);
    host.reach(State::Standby).await;
    assert_eq!(host.stage.done(), ["withdraw", "stop", "become secondary"]);
    assert_eq!(host.ballot.told(), [format!("-{unmet}")]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_cancelled_and_awaited() {
    let mut host = Host::start(|setup| setup);
    host.reach(State::Standby).await;
    host.stage.done();
    host.stage.next("start", Way::Hangs(SECOND));
    let began = Instant::now();
    host.ballot.set(Role::Master);
    host.reach(State::Promoting).await;
    sleep(10 * SECOND).await;
    let running = host.handle.status().await.unwrap().running;
    assert_eq!(&*running[0].step, "service");
    assert!(!running[0].cancelled);
    host.reach(State::Standby).await;
    // 30 s for the step, one until it ends.
    assert!(began.elapsed() >= 31 * SECOND && began.elapsed() < 32 * SECOND);
    let done = [
        "become primary",
        "start cancelled",
        "stop",
        "become secondary",
    ];
    assert_eq!(host.stage.done(), done);
    let unmet = format!("unit: {}", Cause::Unmet);
    assert_eq!(
        host.ballot.told(),
        [
            "+unit: start 240",
            "-unit: ended",
            &format!("+{unmet} 240"),
            "-unit: start",
            &format!("-{unmet}"),
            &format!("+{unmet} 240"),
            "+unit: promotion failed 240",
            "BACKUP"
        ]
    );
    let mut text = String::new();
    while let Some(event) = {
        let next = tokio::time::timeout(SECOND / 1000, host.events.next());
        next.await.ok().flatten()
    } {
        text += &format!("{event}\n");
    }
    assert!(text.contains("service: start timed out after 31"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_does_not_end_is_given_up_and_not_begun_twice() {
    let host = Host::active(|setup| setup).await;
    host.stage.next("stop", Way::Hangs(60 * SECOND));
    host.ballot.set(Role::Backup);
    // The stage panics if the same thing runs twice; the kill takes its place.
    host.reach(State::Standby).await;
    let status = host.handle.status().await.unwrap();
    assert_eq!(status.running.len(), 1);
    assert!(status.running[0].cancelled);
    assert_eq!(status.causes, [Cause::Stuck]);
    host.ballot.set(Role::Master);
    sleep(SECOND).await;
    let blocked = host.handle.status().await.unwrap().blocked;
    assert_eq!(blocked, Some(Blocked::StepRuns));
    host.reach(State::Active).await;
}

#[tokio::test(start_paused = true)]
async fn what_panics_has_failed() {
    let host = Host::start(|setup| setup);
    host.reach(State::Standby).await;
    host.stage.done();
    host.stage.next("start", Way::Panics);
    host.ballot.set(Role::Master);
    sleep(SECOND).await;
    host.reach(State::Standby).await;
    assert_eq!(
        host.stage.done(),
        ["become primary", "stop", "become secondary"]
    );
    let causes = host.handle.status().await.unwrap().causes;
    assert_eq!(causes, [Cause::Unmet, Cause::Failed]);
}

#[tokio::test(start_paused = true)]
async fn this_node_is_fenced_when_a_service_cannot_be_stopped() {
    let fence = Stage::default();
    let host = Host::active(|setup| setup.fence_self(SECOND, fence.clone())).await;
    host.stage.next("stop", Way::Fails);
    host.stage.next("kill", Way::Fails);
    host.ballot.set(Role::Backup);
    host.reach(State::Stuck).await;
    assert_eq!(
        host.stage.done(),
        ["withdraw", "stop failed", "kill failed"]
    );
    assert_eq!(fence.done(), ["fence this node"]);
    assert_eq!(*host.disk.revoked.lock().unwrap(), 1);
    assert_eq!(host.ballot.told(), ["+unit: stuck 240"]);
}

#[tokio::test(start_paused = true)]
async fn storage_is_read_as_it_is() {
    let host = Host::active(|setup| setup).await;
    // A wish is told once, and granted once.
    let mut alone = report(StorageRole::Primary, Data::UpToDate, node(0).into());
    alone.wish = Some((DegradedId::new(2), node(0).into()));
    host.disk.reports.send_replace(alone);
    sleep(SECOND).await;
    host.disk.reports.send_modify(|_| {});
    sleep(SECOND).await;
    let granted = [DegradedId::new(1), DegradedId::new(2)];
    assert_eq!(*host.disk.grants.lock().unwrap(), granted);
    // It ceases to be primary.
    let lost = report(StorageRole::Init, Data::UpToDate, NodeSet::EMPTY);
    host.disk.reports.send_replace(lost);
    host.reach(State::Standby).await;
    assert_eq!(host.stage.done(), ["withdraw", "stop", "become secondary"]);
    // It is outdated: not promoted but by force.
    let outdated = report(StorageRole::Secondary, Data::Outdated, NodeSet::EMPTY);
    host.disk.reports.send_replace(outdated);
    sleep(61 * SECOND).await;
    let status = host.handle.status().await.unwrap();
    assert_eq!(status.blocked, Some(Blocked::Storage(Unfit::Outdated)));
    assert_eq!(status.causes, [Cause::Storage]);
    let refused = host.handle.command(Command::Promote).await;
    let why = Refusal::Blocked(Blocked::Storage(Unfit::Outdated));
    assert_eq!(refused, Err(UnitCommandError::Refused(why)));
    host.handle.command(Command::Force).await.unwrap();
    host.reach(State::Active).await;
}

#[tokio::test(start_paused = true)]
async fn roles_that_nobody_tells_any_more_are_lost() {
    let host = Host::active(|setup| setup).await;
    host.ballot.roles.lock().unwrap().take();
    host.reach(State::Standby).await;
    assert_eq!(&*host.handle.status().await.unwrap().roles, [Role::Init]);
    // And it goes on.
    sleep(100 * SECOND).await;
    host.handle.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_demotion_is_told_until_it_is_heard() {
    let mut host = Host::active(|setup| setup).await;
    *host.ballot.refuses.lock().unwrap() = true;
    let synced = report(StorageRole::Primary, Data::UpToDate, both());
    host.disk.reports.send_replace(synced);
    host.stage.next("drain", Way::Takes(SECOND / 2));
    sleep(SECOND).await;
    host.handle.command(Command::SwitchOver).await.unwrap();
    host.reach(State::Standby).await;
    sleep(5 * SECOND).await;
    assert_eq!(host.ballot.told(), Vec::<String>::new());
    let mut complaints = 0;
    while let Ok(Some(event)) = tokio::time::timeout(SECOND / 1000, host.events.next()).await {
        complaints += u32::from(matches!(event.kind, UnitEventKind::NotElected { .. }));
    }
    assert_eq!(complaints, 2, "one for the demotion, one for the role");
    *host.ballot.refuses.lock().unwrap() = false;
    sleep(2 * SECOND).await;
    assert_eq!(host.ballot.told(), ["+unit: role given away 240"]);
    let order = ["drain", "withdraw", "stop", "become secondary"];
    assert_eq!(host.stage.done(), order);
}

#[tokio::test(start_paused = true)]
async fn a_demotion_that_was_taken_back_meanwhile_is_not_told() {
    let host = Host::active(|setup| setup).await;
    *host.ballot.refuses.lock().unwrap() = true;
    host.handle.command(Command::Maintenance).await.unwrap();
    host.reach(State::Standby).await;
    sleep(3 * SECOND / 2).await;
    host.handle.command(Command::Resume).await.unwrap();
    sleep(SECOND / 100).await;
    *host.ballot.refuses.lock().unwrap() = false;
    sleep(3 * SECOND).await;
    assert_eq!(host.ballot.told(), ["-unit: maintenance"]);
}

#[tokio::test(start_paused = true)]
async fn a_preview_does_nothing() {
    let host = Host::active(|setup| setup).await;
    let preview = host.handle.preview(Command::Demote).await.unwrap();
    assert_eq!(preview.steps.len(), 3);
    assert_eq!(host.state().await, State::Active);
    assert_eq!(host.stage.done(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_undoes_everything_and_leaves_the_node_demoted() {
    let mut host = Host::active(|setup| setup).await;
    let (first, second) = (host.handle.clone(), host.handle.clone());
    let both = tokio::join!(first.shutdown(), second.shutdown());
    assert_eq!(both, (Ok(()), Ok(())));
    assert_eq!((&mut host.run).await.unwrap(), Ok(()));
    let order = ["drain", "withdraw", "stop", "become secondary"];
    assert_eq!(host.stage.done(), order);
    assert_eq!(host.ballot.told(), ["BACKUP", "+unit: ended 240"]);
    assert_eq!(host.handle.shutdown().await, Err(UnitError::Ended));
    host.handle.ended().await;
    assert!(host.handle.events().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_takes_too_long_says_so() {
    let change = |mut setup: UnitSetup| {
        setup.shutdown = 20 * SECOND;
        setup
    };
    let host = Host::active(change).await;
    host.stage.next("stop", Way::Hangs(1000 * SECOND));
    host.stage.next("kill", Way::Hangs(1000 * SECOND));
    let began = Instant::now();
    let unfinished = host.handle.shutdown().await.unwrap_err();
    assert!(matches!(unfinished, UnitError::Unfinished { .. }));
    assert!(began.elapsed() < 30 * SECOND, "{:?}", began.elapsed());
}

/// Looks of the test's own.
#[derive(Clone, Default)]
struct Eye {
    looks: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
    bad: Arc<AtomicU32>,
    takes: Duration,
}

#[async_trait]
impl Probe for Eye {
    async fn look(&self) -> Result<(), CheckError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        assert_eq!(
            self.at_once.fetch_add(1, Ordering::SeqCst),
            0,
            "never twice"
        );
        struct Closed(Arc<AtomicU32>);
        impl Drop for Closed {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let _closed = Closed(self.at_once.clone());
        sleep(self.takes).await;
        match self.bad.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(CheckError::NoProcess),
            _ => panic!("as the test wants it"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_counts_and_demotes() {
    let eye = Eye::default();
    let probe = eye.clone();
    let mut host = Host::start(move |setup| setup.check(Check::new(check(2, 3), probe)));
    host.reach(State::Standby).await;
    host.ballot.told();
    // A look every five seconds, three of which have to be bad; a panic is as bad.
    eye.bad.store(1, Ordering::SeqCst);
    sleep(11 * SECOND).await;
    assert_eq!(host.ballot.told(), Vec::<String>::new());
    eye.bad.store(2, Ordering::SeqCst);
    sleep(5 * SECOND).await;
    assert_eq!(host.ballot.told(), ["+unit: check probe 240"]);
    let status = host.handle.status().await.unwrap();
    assert_eq!(status.checks[0].verdict, Health::Bad);
    assert!(matches!(
        status.checks[0].error.as_deref(),
        Some(CheckError::Panicked)
    ));
    eye.bad.store(0, Ordering::SeqCst);
    sleep(10 * SECOND).await;
    assert_eq!(host.ballot.told(), ["-unit: check probe"]);
    let mut turns = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(SECOND / 1000, host.events.next()).await {
        if let UnitEventKind::Health { turn, .. } = event.kind {
            turns.push(turn);
        }
    }
    assert_eq!(turns, [Turn::Fell, Turn::Rose]);
}

#[tokio::test(start_paused = true)]
async fn looks_are_limited_and_never_overlap() {
    let eye = Eye {
        takes: 100 * SECOND,
        ..Eye::default()
    };
    let probe = eye.clone();
    let host = Host::start(move |setup| {
        setup.check(
            Check::new(check(1, 1), probe)
                .interval(SECOND)
                .limit(2 * SECOND),
        )
    });
    host.reach(State::Standby).await;
    sleep(30 * SECOND).await;
    // Two seconds each, and one between them.
    assert!((9..=11).contains(&eye.looks.load(Ordering::SeqCst)));
    let status = host.handle.status().await.unwrap();
    let error = status.checks[0].error.as_deref();
    assert!(
        matches!(error, Some(CheckError::TimedOut { .. })),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_check_of_what_runs_only_here_is_made_only_while_active_and_forgiven() {
    let eye = Eye::default();
    let probe = eye.clone();
    let forgive = 60 * SECOND;
    let host = Host::start(move |setup| {
        setup.check(Check::new(check(2, 2), probe).when(When::Active { forgive }))
    });
    host.reach(State::Standby).await;
    sleep(30 * SECOND).await;
    assert_eq!(eye.looks.load(Ordering::SeqCst), 0);
    host.ballot.set(Role::Master);
    host.reach(State::Active).await;
    // Somebody else is up to date, so that it is given away.
    let synced = report(StorageRole::Primary, Data::UpToDate, both());
    host.disk.reports.send_replace(synced);
    sleep(12 * SECOND).await;
    eye.bad.store(1, Ordering::SeqCst);
    host.ballot.told();
    host.reach(State::Standby).await;
    host.ballot.set(Role::Backup);
    let causes = host.handle.status().await.unwrap().causes;
    assert_eq!(
        causes,
        [
            Cause::Health(ha_core::failover::CheckId::new(0)),
            Cause::Left
        ]
    );
    let looks = eye.looks.load(Ordering::SeqCst);
    sleep(59 * SECOND).await;
    let causes = host.handle.status().await.unwrap().causes;
    assert_eq!(causes.len(), 1, "{causes:?}");
    sleep(2 * SECOND).await;
    assert_eq!(host.handle.status().await.unwrap().causes, []);
    assert_eq!(eye.looks.load(Ordering::SeqCst), looks);
}

#[cfg(feature = "arbiter")]
#[tokio::test(start_paused = true)]
async fn an_arbiter_that_does_not_answer_keeps_the_unit_waiting() {
    use ha_core::failover::{Answer, Arbitration, Query};
    use ha_core::io::arbiter::{Arbiter, ArbiterError, MemoryArbiter};

    /// One that can be switched off.
    struct Switch(MemoryArbiter, Arc<AtomicU32>);

    #[async_trait]
    impl Arbiter for Switch {
        async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError> {
            match self.1.load(Ordering::SeqCst) {
                0 => self.0.ask(query).await,
                _ => Err(ArbiterError::Other("as the test wants it".into())),
            }
        }
    }

    let off = Arc::new(AtomicU32::new(1));
    let arbiter = Switch(MemoryArbiter::new(), off.clone());
    let mut host = Host::start(|setup| setup.arbiter(Arbitration::default(), arbiter));
    host.reach(State::Standby).await;
    host.stage.done();
    host.ballot.set(Role::Master);
    sleep(20 * SECOND).await;
    assert_eq!(host.state().await, State::Acquiring);
    assert_eq!(host.stage.done(), Vec::<String>::new());
    assert_eq!(host.handle.status().await.unwrap().causes, [Cause::Arbiter]);
    let mut complaints = 0;
    while let Ok(Some(event)) = tokio::time::timeout(SECOND / 1000, host.events.next()).await {
        complaints += u32::from(matches!(event.kind, UnitEventKind::NoAnswer { .. }));
    }
    assert_eq!(complaints, 1);
    off.store(0, Ordering::SeqCst);
    host.reach(State::Active).await;
    // What the storage asked for was granted when the record said so.
    assert_eq!(*host.disk.grants.lock().unwrap(), [DegradedId::new(1)]);
    sleep(100 * SECOND).await;
    assert_eq!(host.state().await, State::Active);
    // Lost again, and for longer than the record lasts.
    off.store(1, Ordering::SeqCst);
    sleep(15 * SECOND).await;
    assert_ne!(host.state().await, State::Active);
    assert_eq!(host.stage.done().last().unwrap(), "become secondary");
}

/// A node of a network of memory: a virtual host, and a unit that follows it.
struct Member {
    addresses: ha_core::io::Handle,
    unit: ha_core::io::failover::UnitHandle,
    served: Notes,
    service: Arc<AtomicU32>,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Member {
    fn start(network: &Network, number: u8) -> Self {
        let served = Notes::default();
        let gate = AddressGate::new(served.clone());
        let mut driver = Driver::default();
        let segment = driver.add_segment(network.port());
        let mut config = memory::config(1, number * 50);
        config.settings.preempt = true;
        let address = [memory::SHARED];
        let setup = ha_core::io::Setup::new(config, memory::key(), &address, gate.effects());
        let host = driver.add(segment, setup).unwrap();
        let addresses = driver.handle();
        let election = VirtualHosts::follow(driver.handle(), &[host]);
        let driver = tokio::spawn(driver.run()).abort_handle();

        let service = Arc::new(AtomicU32::new(0));
        let (start, stop) = (service.clone(), service.clone());
        let in_process = InProcess::new(
            move |_| {
                start.store(1, Ordering::SeqCst);
                async { Ok(()) }
            },
            move |_| {
                stop.store(0, Ordering::SeqCst);
                async { Ok(()) }
            },
        );
        let steps = vec![
            (
                Step::new(StepKind::Service, "service"),
                Part::Service(Arc::new(in_process)),
            ),
            (
                Step::new(StepKind::Address, "address").after(0),
                Part::Address(Arc::new(gate)),
            ),
        ];
        let mut setup = UnitSetup::new("unit", node(number), steps, election).unwrap();
        setup.config.holds.start = 4 * SECOND;
        let unit = Unit::new(setup).unwrap();
        let handle = unit.handle();
        let run = tokio::spawn(unit.run()).abort_handle();
        Self {
            addresses,
            unit: handle,
            served,
            service,
            tasks: vec![driver, run],
        }
    }

    async fn state(&self) -> State {
        self.unit.status().await.unwrap().state
    }

    fn serves(&self) -> bool {
        let done = self.served.done();
        let last = done.iter().rev().find(|what| **what != "announce");
        last == Some(&"acquire")
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_and_services_move_with_the_role() {
    let network = Network::default();
    let (a, b) = (Member::start(&network, 0), Member::start(&network, 1));
    // Being master alone serves nothing.
    sleep(4 * SECOND).await;
    assert!(!a.serves() && !b.serves());
    sleep(8 * SECOND).await;
    assert_eq!(
        (a.state().await, b.state().await),
        (State::Active, State::Standby)
    );
    assert!(a.serves() && !b.serves());
    assert_eq!(a.served.done().last(), Some(&"announce"));
    assert_eq!(a.service.load(Ordering::SeqCst), 1);

    // Politely: when the other one has it, nothing is here any more.
    a.unit.command(Command::SwitchOver).await.unwrap();
    sleep(3 * SECOND).await;
    assert_eq!(
        (a.state().await, b.state().await),
        (State::Standby, State::Active)
    );
    assert!(!a.serves() && b.serves());
    assert_eq!(a.service.load(Ordering::SeqCst), 0);
    assert!(a.served.when("release") <= b.served.when("acquire"));
    // Back again, as it is the better one.
    sleep(15 * SECOND).await;
    assert_eq!(
        (a.state().await, b.state().await),
        (State::Active, State::Standby)
    );

    // Killed.
    for task in &a.tasks {
        task.abort();
    }
    sleep(5 * SECOND).await;
    assert_eq!(b.state().await, State::Active);
    assert!(b.serves());

    // Without a unit, the address is not the driver's to serve.
    b.unit.shutdown().await.unwrap();
    assert!(!b.serves());
    sleep(10 * SECOND).await;
    assert!(!b.serves());
    let status = b.addresses.status().await.unwrap();
    assert_eq!(status.reasons, [("unit: ended".into(), 240)]);
    b.addresses.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_closed_serves_nothing_however_slow_the_effects_are() {
    let served = Notes::slow_to_acquire(8 * SECOND);
    let gate = AddressGate::new(served.clone());
    let network = Network::default();
    let mut driver = Driver::default();
    let segment = driver.add_segment(network.port());
    let address = [memory::SHARED];
    let config = memory::config(1, 0);
    let setup = ha_core::io::Setup::new(config, memory::key(), &address, gate.effects());
    driver.add(segment, setup).unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.run());
    let job = |action| Job::new(action, "address", Instant::now() + SECOND, None);
    // Asked before it is master, it waits; cancelled in the middle, it may have begun.
    let (announce, cancel) = job(Action::Announce);
    let opening = gate.clone();
    let opened = tokio::spawn(async move { opening.announce(&announce).await });
    sleep(6 * SECOND).await;
    assert_eq!(handle.status().await.unwrap().hosts[0].state, Role::Master);
    cancel.cancel();
    assert!(matches!(opened.await.unwrap(), Err(StepError::Cancelled)));
    gate.withdraw(&job(Action::Withdraw).0).await.unwrap();
    assert_eq!(served.done().last(), Some(&"release"));
    let (announce, _cancel) = job(Action::Announce);
    gate.announce(&announce).await.unwrap();
    assert_eq!(
        served.done()[served.done().len() - 2..],
        ["acquire", "announce"]
    );
    gate.withdraw(&job(Action::Withdraw).0).await.unwrap();
    gate.withdraw(&job(Action::Withdraw).0).await.unwrap();
    // The driver's own effects find it closed.
    handle.shutdown().await.unwrap();
    let last = served
        .done()
        .iter()
        .rposition(|what| *what == "acquire")
        .unwrap();
    assert!(served.done()[last..].contains(&"release"));
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_cannot_be_is_refused() {
    let new = |steps| UnitSetup::new("unit", node(0), steps, Ballot::new(1)).map(drop);
    let service = || Part::Service(Arc::new(Stage::default()));
    let wrong = new(vec![(Step::new(StepKind::Address, "address"), service())]);
    assert!(
        matches!(wrong, Err(UnitSetupError::Part { .. })),
        "{wrong:?}"
    );
    let circle = new(vec![(
        Step::new(StepKind::Service, "s").after(0),
        service(),
    )]);
    assert!(matches!(circle, Err(UnitSetupError::Plan(_))), "{circle:?}");

    let error = |change: &dyn Fn(UnitSetup) -> UnitSetup| {
        let step = (Step::new(StepKind::Service, "s"), service());
        let setup = UnitSetup::new("unit", node(0), vec![step], Ballot::new(1)).unwrap();
        Unit::new(change(setup)).map(drop).unwrap_err()
    };
    let changed = error(&|mut setup| {
        setup.config.plan = ha_core::failover::Plan::new(vec![]).unwrap();
        setup
    });
    assert_eq!(changed, UnitSetupError::Changed { steps: 0, parts: 1 });
    let time = error(&|setup| {
        setup.check(Check::new(check(1, 1), Eye::default()).interval(Duration::ZERO))
    });
    assert_eq!(time, UnitSetupError::CheckTime { index: 0 });
    let many = error(&|setup| {
        (0..33).fold(setup, |setup, _| {
            setup.check(Check::new(check(1, 1), Eye::default()))
        })
    });
    assert_eq!(many, UnitSetupError::TooManyChecks { count: 33 });
    let twice = error(&|setup| {
        (0..2).fold(setup, |setup, _| {
            setup.check(Check::new(check(1, 1), Eye::default()))
        })
    });
    assert_eq!(twice, UnitSetupError::CheckName { index: 1 });
    let groups = error(&|mut setup| {
        setup.config.groups = 2;
        setup
    });
    assert_eq!(
        groups,
        UnitSetupError::Groups {
            config: 2,
            protocol: 1
        }
    );
    let fence = error(&|mut setup| {
        setup.config.fence_self = Some(SECOND);
        setup
    });
    assert_eq!(fence, UnitSetupError::NoFence);
    let arbiter = error(&|mut setup| {
        setup.config.arbitration = Some(ha_core::failover::Arbitration::default());
        setup
    });
    assert_eq!(arbiter, UnitSetupError::NoArbiter);
    let demotion = error(&|mut setup| {
        setup.config.demotion = 0;
        setup
    });
    assert!(
        matches!(demotion, UnitSetupError::Config(_)),
        "{demotion:?}"
    );
    let long = error(&|mut setup| {
        setup.shutdown = Duration::MAX;
        setup
    });
    assert!(matches!(long, UnitSetupError::Config(_)), "{long:?}");
}

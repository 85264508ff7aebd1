//! Every cell of the state table, and what leads from one state to the next.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::num::NonZeroU16;
use core::time::Duration;

use ha_core::carp_proto::State as Role;
use ha_core::failover::{
    Action, Answer, Arbitration, Blocked, Cause, CheckId, Command, Config, ConfigError, Data,
    DegradedId, Event, Failover, GroupId, Health, HealthCheck, Input, NodeId, NodeSet, OnFailure,
    OnLoss, Outcome, Output, Peer, Plan, Query, Record, Refusal, RequestId, Revision, RunId, State,
    Step, StepId, StepKind, StorageRole, StorageStatus,
};

const SECOND: Duration = Duration::from_secs(1);

fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn both() -> NodeSet {
    NodeSet::from(node(0)).with(node(1))
}

fn config() -> Config {
    let mut steps = vec![
        Step::new(StepKind::StorageRole, "role"),
        Step::new(StepKind::Service, "service").after(0),
        Step::new(StepKind::Address, "address").after(1),
    ];
    steps[1].drain = Some(SECOND);
    let mut config = Config::new(node(0), Plan::new(steps).unwrap());
    config.holds.start = Duration::ZERO;
    config.checks = vec![HealthCheck {
        name: "check".into(),
        rise: NonZeroU16::MIN,
        fall: NonZeroU16::MIN,
    }];
    config
}

fn with_arbiter(on_loss: OnLoss) -> Config {
    let mut config = config();
    let mut arbitration = Arbitration::default();
    arbitration.on_loss = on_loss;
    config.arbitration = Some(arbitration);
    config
}

/// A node whose driver is the test: it reads like a trace.
#[derive(Clone)]
struct Host {
    unit: Failover<Duration>,
    now: Duration,
    run: Option<(RunId, Action)>,
    request: Option<(RequestId, Query)>,
    stored: Option<(Revision, Record)>,
}

impl Host {
    fn new(config: Config) -> Self {
        Self {
            unit: Failover::new(config).unwrap(),
            now: SECOND,
            run: None,
            request: None,
            stored: None,
        }
    }

    /// Hands in `input`, and returns in words what comes out, events left out but for refusals.
    fn send(&mut self, input: Input) -> String {
        self.unit.handle(self.now, input);
        let mut words: Vec<String> = Vec::new();
        while let Some(output) = self.unit.poll_output() {
            words.push(match output {
                Output::Begin(run) => {
                    self.run = Some((run.id, run.action));
                    run.action.to_string()
                }
                Output::Cancel(_) => "cancel".into(),
                Output::Demote { cause, .. } => format!("+{cause}"),
                Output::Restore(cause) => format!("-{cause}"),
                Output::StepDown(_) => "step down".into(),
                Output::TakeOver(_) => "take over".into(),
                Output::Arbiter(request) => {
                    self.request = Some((request.id, request.query));
                    match request.query {
                        Query::Read => "read".into(),
                        Query::Swap { record, .. } => {
                            let holder = record
                                .holder
                                .map_or_else(|| "-".into(), |node| node.to_string());
                            format!("swap {holder} {}", record.up_to_date)
                        }
                    }
                }
                Output::Grant(grant) => format!("grant {}", grant.wish().get()),
                Output::Revoke => "revoke".into(),
                Output::Ended => "ended".into(),
                Output::Event(Event::Refused { .. }) => "refused".into(),
                Output::Event(Event::NotPromoted(_)) => "says why".into(),
                Output::Event(Event::Unknown(_)) => "unknown".into(),
                Output::Event(Event::NobodyTookOver) => "nobody".into(),
                Output::Event(_) => continue,
            });
        }
        words.join(", ")
    }

    fn end(&mut self, outcome: Outcome) -> String {
        let (run, _) = self.run.take().expect("something runs");
        self.send(Input::Ended { run, outcome })
    }

    fn role(&mut self, role: Role) -> String {
        let group = GroupId::new(0);
        self.send(Input::Address { group, role })
    }

    fn command(&mut self, command: Command) -> String {
        self.send(Input::Command(command))
    }

    fn storage(&mut self, role: StorageRole, data: Data, current: NodeSet) -> String {
        self.send(Input::Storage(StorageStatus {
            role,
            data,
            peer: Peer::Disconnected,
            current,
        }))
    }

    /// A session of the storage, in which this node follows, begins and ends.
    fn meet(&mut self) -> String {
        let session = self.send(Input::Storage(StorageStatus {
            role: StorageRole::Secondary,
            data: Data::UpToDate,
            peer: Peer::Primary,
            current: NodeSet::EMPTY,
        }));
        let end = self.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
        session + &end
    }

    /// As the arbiter that agrees.
    fn agree(&mut self) -> String {
        let (request, query) = self.request.take().expect("something is asked");
        let answer = match query {
            Query::Read => Answer::Current(self.stored),
            Query::Swap { expected, record } => {
                let next = Revision::new(expected.map_or(1, |revision| revision.get() + 1));
                self.stored = Some((next, record));
                Answer::Swapped(next)
            }
        };
        self.send(Input::Arbiter { request, answer })
    }

    fn advance(&mut self, time: Duration) -> String {
        let end = self.now + time;
        let mut words = Vec::new();
        while let Some(deadline) = self.unit.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            words.push(self.send(Input::Timeout));
        }
        self.now = end;
        words.retain(|word| !word.is_empty());
        words.join(", ")
    }

    /// Lets steps succeed and the arbiter agree until nothing is left to wait for.
    fn settle(&mut self) {
        for _ in 0..100 {
            if self.run.is_some() {
                self.end(Outcome::Done);
            } else if self.request.is_some() {
                self.agree();
            }
        }
    }

    fn standby(config: Config) -> Self {
        let mut host = Self::new(config);
        host.send(Input::Timeout);
        host.settle();
        host.meet();
        host.settle();
        assert_eq!(host.unit.state(), State::Standby);
        assert_eq!(host.unit.causes().count(), 0);
        host
    }

    fn active(config: Config) -> Self {
        let mut host = Self::standby(config);
        host.role(Role::Master);
        host.settle();
        host.storage(StorageRole::Primary, Data::UpToDate, both());
        host.settle();
        assert_eq!(host.unit.state(), State::Active);
        host
    }

    /// A node in this state, with an arbiter where the state needs one.
    fn in_state(state: State) -> Self {
        let mut host = match state {
            State::Standby => Self::standby(config()),
            State::Acquiring => {
                let mut host = Self::standby(with_arbiter(OnLoss::Release));
                host.role(Role::Master);
                host
            }
            State::Promoting => {
                let mut host = Self::standby(config());
                host.role(Role::Master);
                host.end(Outcome::Done);
                host.storage(StorageRole::Primary, Data::UpToDate, both());
                host
            }
            State::Active => Self::active(config()),
            State::Draining => {
                let mut host = Self::active(config());
                host.command(Command::SwitchOver);
                host
            }
            State::Demoting => {
                let mut host = Self::active(config());
                host.role(Role::Backup);
                host
            }
            State::Releasing => {
                let mut host = Self::active(with_arbiter(OnLoss::Release));
                host.role(Role::Backup);
                for _ in 0..3 {
                    host.end(Outcome::Done);
                }
                host
            }
            State::Stuck => {
                let mut host = Self::active(config());
                host.role(Role::Backup);
                for _ in 0..3 {
                    host.end(Outcome::Failed { code: 16 });
                }
                host
            }
        };
        assert_eq!(host.unit.state(), state);
        host.send(Input::Timeout);
        host
    }
}

/// What is handed in: a name for the table, and how.
type Deed = (&'static str, fn(&mut Host) -> String);

const DEEDS: [Deed; 16] = [
    ("Timeout", |host| host.send(Input::Timeout)),
    ("master", |host| host.role(Role::Master)),
    ("backup", |host| host.role(Role::Backup)),
    ("init", |host| host.role(Role::Init)),
    ("unfit", |host| {
        let (role, current) = match host.unit.state() {
            State::Promoting | State::Active | State::Draining => (StorageRole::Primary, both()),
            _ => (StorageRole::Secondary, NodeSet::EMPTY),
        };
        host.storage(role, Data::Outdated, current)
    }),
    ("not primary", |host| {
        host.storage(StorageRole::Init, Data::UpToDate, NodeSet::EMPTY)
    }),
    ("degraded", |host| {
        let wish = DegradedId::new(1);
        let current = node(0).into();
        host.send(Input::Degraded { wish, current })
    }),
    ("check falls", |host| {
        let (check, result) = (CheckId::new(0), Health::Bad);
        host.send(Input::Health { check, result })
    }),
    ("done", |host| match host.run {
        Some(_) => host.end(Outcome::Done),
        None => "nothing runs".into(),
    }),
    ("failed", |host| match host.run {
        Some(_) => host.end(Outcome::Failed { code: 1 }),
        None => "nothing runs".into(),
    }),
    ("arbiter", |host| match host.request {
        Some(_) => host.agree(),
        None => "nothing is asked".into(),
    }),
    ("Promote", |host| host.command(Command::Promote)),
    ("Demote", |host| host.command(Command::Demote)),
    ("SwitchOver", |host| host.command(Command::SwitchOver)),
    ("Maintenance", |host| host.command(Command::Maintenance)),
    ("Shutdown", |host| host.command(Command::Shutdown)),
];

#[test]
fn every_cell_of_the_table() {
    let mut table = String::new();
    for state in State::ALL {
        for (name, deed) in DEEDS {
            let mut host = Host::in_state(state);
            let words = deed(&mut host);
            let to = host.unit.state();
            let words = if words.is_empty() { "-" } else { &words };
            table += &format!("{state} | {name} | {to} | {words}\n");
            // The same again does not do the same again.
            if !matches!(name, "done" | "failed" | "arbiter") {
                let again = deed(&mut host);
                let begun = [
                    "primary", "start", "stop", "announce", "withdraw", "drain", "swap",
                ];
                let twice = begun.iter().any(|word| again.contains(word));
                assert!(!twice, "{state}, {name} twice: {again}");
            }
        }
    }
    let expected = include_str!("failover_table.txt");
    for (number, (is, should)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "line {}", number + 1);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

#[test]
fn a_start_undoes_everything_and_gives_no_role_away() {
    let mut host = Host::new(config());
    assert_eq!(host.send(Input::Timeout), "+start, withdraw");
    assert_eq!(host.end(Outcome::Done), "stop");
    assert_eq!(host.end(Outcome::Done), "become secondary");
    assert_eq!(host.end(Outcome::Done), "+storage, -start");
    let fit = host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
    assert_eq!(fit, format!("+{}, -storage", Cause::Unmet));
    assert_eq!(host.meet(), format!("-{}", Cause::Unmet));
}

/// A node whose storage looks well, and has not heard of any other since it started.
fn unmet(config: Config) -> Host {
    let mut host = Host::new(config);
    host.send(Input::Timeout);
    host.settle();
    host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
    host.settle();
    assert_eq!(host.unit.state(), State::Standby);
    host
}

#[test]
fn a_node_that_has_met_nobody_leaves_the_role_to_others_and_serves_when_there_are_none() {
    let mut host = unmet(config());
    assert!(host.unit.causes().eq([Cause::Unmet]));
    assert_eq!(host.unit.blocked(), Some(Blocked::Unmet));
    // For as long as another node has the addresses.
    assert_eq!(host.advance(1000 * SECOND), "");
    assert!(host.unit.causes().eq([Cause::Unmet]));
    // A peer that is gone does not keep it from serving.
    assert_eq!(
        host.role(Role::Master),
        format!("-{}, become primary", Cause::Unmet)
    );
    host.settle();
    host.storage(StorageRole::Primary, Data::UpToDate, node(0).into());
    assert_eq!(host.unit.state(), State::Active);
    // It was active: what there is to know of the data, it knows.
    host.role(Role::Backup);
    host.settle();
    host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
    assert_eq!(host.unit.state(), State::Standby);
    assert_eq!(host.unit.causes().count(), 0);
    assert_eq!(host.unit.blocked(), Some(Blocked::Address));
}

#[test]
fn a_promotion_that_fails_is_no_meeting() {
    let mut host = unmet(config());
    host.role(Role::Master);
    assert_eq!(host.end(Outcome::Done), "start");
    host.end(Outcome::Failed { code: 1 });
    host.settle();
    assert!(host.unit.causes().eq([Cause::Unmet, Cause::Failed]));
}

#[test]
fn only_a_session_is_a_meeting() {
    let mut host = unmet(config());
    // Made primary by hand, and refused by a peer that is.
    host.send(Input::Storage(StorageStatus {
        role: StorageRole::Primary,
        data: Data::UpToDate,
        peer: Peer::Primary,
        current: node(0).into(),
    }));
    host.settle();
    host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
    assert!(host.unit.causes().eq([Cause::Unmet]));
    // Followed for a moment that was too short to hear what is missing.
    host.send(Input::Storage(StorageStatus {
        role: StorageRole::Secondary,
        data: Data::UpToDate,
        peer: Peer::Unheard,
        current: NodeSet::EMPTY,
    }));
    host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
    assert!(host.unit.causes().eq([Cause::Unmet]));
    // What is known to be old counts as that alone.
    let old = host.storage(StorageRole::Secondary, Data::Outdated, NodeSet::EMPTY);
    assert_eq!(old, format!("+storage, -{}", Cause::Unmet));
}

#[test]
fn a_node_that_has_met_nobody_takes_over_at_a_command_only_by_force() {
    let mut host = unmet(config());
    assert_eq!(host.command(Command::Promote), "refused");
    let preview = host
        .unit
        .preview(host.now, Input::Command(Command::Promote));
    assert_eq!(preview.refused, Some(Refusal::Blocked(Blocked::Unmet)));
    assert_eq!(
        host.command(Command::Force),
        format!("take over, -{}", Cause::Unmet)
    );
    assert_eq!(host.role(Role::Master), "become primary");
    // If the addresses do not come, all is as before.
    let mut host = unmet(config());
    host.command(Command::Force);
    assert_eq!(host.advance(30 * SECOND), format!("+{}", Cause::Unmet));
}

#[test]
fn where_there_is_an_arbiter_or_no_storage_nobody_has_to_be_met() {
    let host = unmet(with_arbiter(OnLoss::Release));
    assert_eq!(host.unit.causes().count(), 0);
    let steps = vec![Step::new(StepKind::Address, "address")];
    let mut config = Config::new(node(0), Plan::new(steps).unwrap());
    config.holds.start = Duration::ZERO;
    let host = unmet(config);
    assert_eq!(host.unit.causes().count(), 0);
}

#[test]
fn a_failing_check_demotes_no_node_that_alone_has_the_data() {
    let bad = Input::Health {
        check: CheckId::new(0),
        result: Health::Bad,
    };
    let mut host = Host::active(config());
    host.storage(StorageRole::Primary, Data::UpToDate, node(0).into());
    assert_eq!(host.send(bad), "");
    assert_eq!(host.unit.state(), State::Active);
    assert_eq!(host.unit.health(CheckId::new(0)), Some(Health::Bad));
    // One that is in touch knows whether it has them, or this node knows that it has not.
    for (data, peer) in [
        (Data::UpToDate, Peer::Secondary),
        (
            Data::Synchronising { done: 1, total: 9 },
            Peer::Disconnected,
        ),
    ] {
        let status = |data, peer| {
            Input::Storage(StorageStatus {
                role: StorageRole::Primary,
                data,
                peer,
                current: node(0).into(),
            })
        };
        assert_eq!(
            host.send(status(data, peer)),
            "+check 0",
            "{data:?} {peer:?}"
        );
        let alone = status(Data::UpToDate, Peer::Disconnected);
        assert_eq!(host.send(alone), "-check 0");
    }
    // Another one has them now, and is to take over, politely.
    let joined = host.storage(StorageRole::Primary, Data::UpToDate, both());
    assert_eq!(joined, "drain");
    assert_eq!(host.unit.state(), State::Draining);
    // Without storage there is nothing to lack.
    let mut config = config();
    config.plan = Plan::new(vec![Step::new(StepKind::Address, "address")]).unwrap();
    let mut host = Host::standby(config);
    host.role(Role::Master);
    host.settle();
    assert_eq!(host.unit.state(), State::Active);
    assert_eq!(host.send(bad), "+check 0");
}

#[test]
fn storage_that_fails_while_active_keeps_the_node_from_the_role_for_a_while() {
    for data in [Data::Inconsistent, Data::Outdated] {
        let mut host = Host::active(config());
        let failed = host.storage(StorageRole::Primary, data, both());
        assert_eq!(failed, "withdraw");
        assert_eq!(host.end(Outcome::Done), "stop");
        assert_eq!(host.end(Outcome::Done), "become secondary");
        // A disk that has failed looks well again when nobody asks it for anything.
        host.storage(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
        assert_eq!(
            host.end(Outcome::Done),
            "+promotion failed, step down, says why"
        );
        assert_eq!(
            host.unit.blocked(),
            Some(Blocked::Hold(Cause::Failed)),
            "{data:?}"
        );
        let time = host.unit.config().holds.failed;
        assert_eq!(host.advance(time - SECOND), "");
        assert_eq!(host.advance(SECOND), "-promotion failed, become primary");
    }
}

#[test]
fn a_promotion_runs_in_order_and_a_demotion_backwards() {
    let mut host = Host::standby(config());
    assert_eq!(host.role(Role::Master), "become primary");
    assert_eq!(host.end(Outcome::Done), "start");
    assert_eq!(host.end(Outcome::Done), "announce");
    assert_eq!(host.end(Outcome::Done), "");
    assert_eq!(host.unit.state(), State::Active);
    assert_eq!(host.role(Role::Backup), "withdraw");
    assert_eq!(
        host.role(Role::Master),
        "",
        "what has begun is finished first"
    );
    assert_eq!(host.end(Outcome::Done), "stop");
    assert_eq!(host.end(Outcome::Done), "become secondary");
    assert_eq!(
        host.end(Outcome::Done),
        "become primary",
        "it is master again"
    );
}

#[test]
fn a_failing_promotion_rolls_back_and_lets_another_node_try() {
    let mut host = Host::standby(config());
    host.role(Role::Master);
    host.end(Outcome::Done);
    let failed = Outcome::Failed { code: 1 };
    assert_eq!(host.end(failed), "stop", "half of it may have started");
    assert_eq!(host.end(Outcome::Done), "become secondary");
    assert_eq!(
        host.end(Outcome::Done),
        "+promotion failed, step down, says why"
    );
    host.role(Role::Backup);
    assert_eq!(host.advance(60 * SECOND), "-promotion failed");
    assert_eq!(host.role(Role::Master), "become primary");
}

#[test]
fn a_step_is_tried_again_or_left_out_as_it_says() {
    let mut steps = vec![
        Step::new(StepKind::Service, "again"),
        Step::new(StepKind::Service, "optional"),
        Step::new(StepKind::Service, "needs it").after(1),
        Step::new(StepKind::Address, "address"),
    ];
    steps[0].on_failure = OnFailure::Retry {
        times: 1,
        pause: SECOND,
    };
    steps[1].on_failure = OnFailure::Skip;
    let mut config = Config::new(node(0), Plan::new(steps).unwrap());
    config.holds.start = Duration::ZERO;
    let mut host = Host::standby(config);
    let failed = Outcome::Failed { code: 1 };
    assert_eq!(host.role(Role::Master), "start");
    assert_eq!(host.end(failed), "");
    assert_eq!(host.advance(SECOND), "start");
    assert_eq!(host.end(Outcome::Done), "start");
    assert_eq!(
        host.end(failed),
        "announce",
        "one is left out with what needs it"
    );
    assert_eq!(host.end(Outcome::Done), "");
    assert_eq!(host.unit.state(), State::Active);
}

#[test]
fn a_step_that_hangs_is_cancelled_and_then_given_up_and_not_begun_twice() {
    let mut host = Host::standby(config());
    host.role(Role::Master);
    assert_eq!(host.advance(30 * SECOND), "cancel");
    let hung = host.run;
    assert_eq!(host.advance(5 * SECOND), "become secondary");
    assert_eq!(
        host.end(Outcome::Done),
        "revoke, +stuck",
        "it may still become primary"
    );
    assert_eq!(host.advance(30 * SECOND), "revoke");
    host.run = hung;
    assert_eq!(host.end(Outcome::Done), "");
    assert_eq!(host.advance(30 * SECOND), "become secondary", "it has");
    assert_eq!(host.end(Outcome::Done), "-stuck, step down, become primary");
}

#[test]
fn a_demotion_that_fails_escalates_and_fences_this_node_last() {
    let mut config = config();
    config.fence_self = Some(SECOND);
    let mut host = Host::active(config);
    let failed = Outcome::Failed { code: 16 };
    assert_eq!(host.role(Role::Backup), "withdraw");
    assert_eq!(host.end(failed), "stop", "the address keeps nothing else");
    assert_eq!(host.end(failed), "kill");
    assert_eq!(
        host.end(failed),
        "fence this node",
        "a role is not taken from a service"
    );
    assert_eq!(host.end(failed), "revoke, +stuck");
    assert_eq!(host.advance(30 * SECOND), "withdraw");
}

#[test]
fn a_switch_over_drains_first_and_gives_the_address_away_last() {
    let mut host = Host::active(config());
    assert_eq!(host.command(Command::SwitchOver), "drain");
    assert_eq!(host.end(Outcome::Done), "withdraw");
    assert_eq!(host.end(Outcome::Done), "stop");
    assert_eq!(host.end(Outcome::Done), "become secondary");
    assert_eq!(
        host.end(Outcome::Done),
        "+role given away, step down, says why"
    );
    let back = host.advance(10 * SECOND);
    assert_eq!(back, "nobody, -role given away, become primary");
}

#[test]
fn a_switch_over_measures_itself() {
    let mut host = Host::active(config());
    host.unit
        .handle(host.now, Input::Command(Command::SwitchOver));
    let mut steps = Vec::new();
    let mut states = Vec::new();
    while let Some(output) = host.unit.poll_output() {
        match output {
            Output::Begin(run) => {
                host.now += 2 * SECOND / 10;
                let outcome = Outcome::Done;
                host.unit.handle(
                    host.now,
                    Input::Ended {
                        run: run.id,
                        outcome,
                    },
                );
            }
            Output::Event(Event::Step { began, ended, .. }) => steps.push(ended - began),
            Output::Event(Event::State {
                from, since, at, ..
            }) => states.push((from, at - since)),
            _ => {}
        }
    }
    assert_eq!(steps, [2 * SECOND / 10; 4]);
    let demoting = (State::Demoting, 6 * SECOND / 10);
    assert_eq!(states[1..], [(State::Draining, 2 * SECOND / 10), demoting]);
}

#[test]
fn a_settling_time_and_a_hold_delay_a_promotion() {
    let mut config = config();
    config.holds.settle = SECOND;
    config.holds.start = 10 * SECOND;
    let mut host = Host::new(config);
    host.send(Input::Timeout);
    for _ in 0..3 {
        host.end(Outcome::Done);
    }
    host.meet();
    assert_eq!(host.role(Role::Master), "says why");
    assert_eq!(host.advance(9 * SECOND), "says why");
    assert_eq!(host.advance(SECOND), "-start, become primary");
}

#[test]
fn storage_that_is_not_up_to_date_is_promoted_only_by_force() {
    for data in [
        Data::Unknown,
        Data::Outdated,
        Data::Inconsistent,
        Data::Synchronising { done: 1, total: 9 },
        Data::SplitBrain,
    ] {
        let mut host = Host::standby(config());
        let unfit = host.storage(StorageRole::Secondary, data, NodeSet::EMPTY);
        assert_eq!(unfit, "+storage", "{data:?}");
        assert_eq!(host.role(Role::Master), "says why, step down", "{data:?}");
        assert_eq!(host.role(Role::Backup), "");
        assert_eq!(host.command(Command::Promote), "refused", "{data:?}");
        assert_eq!(
            host.command(Command::Force),
            "take over, -storage",
            "{data:?}"
        );
        assert_eq!(host.role(Role::Master), "become primary", "{data:?}");
    }
}

#[test]
fn a_force_that_finds_no_address_ends() {
    let mut host = Host::standby(config());
    host.storage(StorageRole::Secondary, Data::Outdated, NodeSet::EMPTY);
    host.command(Command::Force);
    assert_eq!(host.advance(30 * SECOND), "+storage");
    assert_eq!(host.role(Role::Master), "says why, step down");
}

#[test]
fn two_nodes_that_are_not_fit_do_not_toss_the_address() {
    let mut host = Host::standby(config());
    host.storage(StorageRole::Secondary, Data::Outdated, NodeSet::EMPTY);
    assert_eq!(host.role(Role::Master), "says why, step down");
    host.role(Role::Backup);
    assert_eq!(host.role(Role::Master), "");
    assert_eq!(host.advance(10 * SECOND), "step down");
}

#[test]
fn the_record_is_taken_before_the_storage_and_given_back_after_it() {
    let mut host = Host::standby(with_arbiter(OnLoss::Release));
    assert_eq!(host.role(Role::Master), "swap 0 {0}");
    assert_eq!(host.agree(), "become primary");
    assert_eq!(host.end(Outcome::Done), "start");
    let synced = host.storage(StorageRole::Primary, Data::UpToDate, both());
    assert_eq!(synced, "swap 0 {0,1}");
    host.settle();
    assert_eq!(host.unit.state(), State::Active);
    assert_eq!(host.role(Role::Backup), "withdraw");
    host.end(Outcome::Done);
    host.end(Outcome::Done);
    assert_eq!(host.end(Outcome::Done), "swap - {0,1}");
    assert_eq!(host.agree(), "");
    assert_eq!(host.unit.state(), State::Standby);
}

#[test]
fn a_write_that_the_peer_lacks_waits_for_the_record() {
    let mut host = Host::active(with_arbiter(OnLoss::Release));
    let alone = Input::Degraded {
        wish: DegradedId::new(7),
        current: node(0).into(),
    };
    assert_eq!(host.send(alone), "swap 0 {0}");
    let (request, _) = host.request.unwrap();
    assert_eq!(host.agree(), "grant 7");
    let late = Input::Arbiter {
        request,
        answer: Answer::Unavailable,
    };
    assert_eq!(host.send(late), "unknown", "an answer counts once");
    assert_eq!(host.advance(3 * SECOND), "swap 0 {0}");
    assert_eq!(host.agree(), "grant 7", "each renewal prolongs it");
}

#[test]
fn a_peer_that_comes_and_goes_while_the_record_is_written_does_not_confuse_it() {
    let mut host = Host::active(with_arbiter(OnLoss::Release));
    let alone = |number| Input::Degraded {
        wish: DegradedId::new(number),
        current: node(0).into(),
    };
    host.send(alone(1));
    host.agree();
    // Back again, and the record is to say so; gone again before it does.
    let synced = host.storage(StorageRole::Primary, Data::UpToDate, both());
    assert_eq!(synced, "swap 0 {0,1}");
    assert_eq!(host.send(alone(2)), "", "not while it is being written");
    assert_eq!(host.agree(), "swap 0 {0}");
    assert_eq!(host.agree(), "grant 2");
}

/// Hands in that nothing is known of what became of the present request.
fn silence(host: &mut Host) -> String {
    let (request, _) = host.request.take().unwrap();
    let answer = Answer::Unavailable;
    host.send(Input::Arbiter { request, answer })
}

#[test]
fn a_record_that_may_have_been_given_back_is_not_held() {
    let mut host = Host::active(with_arbiter(OnLoss::Release));
    host.role(Role::Backup);
    host.end(Outcome::Done);
    host.end(Outcome::Done);
    assert_eq!(host.end(Outcome::Done), "swap - {0,1}");
    silence(&mut host);
    assert_eq!(host.unit.state(), State::Standby);
    // Its time is not over, but another node may have taken the record since.
    assert_eq!(host.role(Role::Master), "read");
    assert_eq!(host.unit.state(), State::Acquiring);
    assert_eq!(host.agree(), "-arbiter, swap 0 {0,1}");
    assert_eq!(host.agree(), "become primary");
}

#[test]
fn a_swap_that_may_still_happen_is_overtaken_before_anything_is_granted() {
    let mut host = Host::active(with_arbiter(OnLoss::Release));
    let alone = |number| Input::Degraded {
        wish: DegradedId::new(number),
        current: node(0).into(),
    };
    host.send(alone(1));
    host.agree();
    let synced = host.storage(StorageRole::Primary, Data::UpToDate, both());
    assert_eq!(synced, "swap 0 {0,1}");
    assert_eq!(silence(&mut host), "");
    assert_eq!(host.send(alone(2)), "");
    assert_eq!(host.advance(3 * SECOND), "read");
    // The record does not say {0,1}, but the request that has it say so is still on its way.
    assert_eq!(host.agree(), "swap 0 {0}");
    assert_eq!(host.agree(), "grant 2");
}

#[test]
fn a_swap_that_has_happened_after_all_is_in_doubt_no_more() {
    let mut host = Host::active(with_arbiter(OnLoss::Release));
    host.send(Input::Degraded {
        wish: DegradedId::new(1),
        current: node(0).into(),
    });
    let (_, query) = host.request.unwrap();
    let Query::Swap { expected, record } = query else {
        panic!("{query:?} is no swap");
    };
    silence(&mut host);
    host.stored = Some((Revision::new(expected.unwrap().get() + 1), record));
    assert_eq!(host.advance(3 * SECOND), "read");
    assert_eq!(host.agree(), "grant 1");
}

#[test]
fn a_record_of_any_length_is_waited_for() {
    let mut host = Host::standby(with_arbiter(OnLoss::Release));
    let record = Record {
        generation: u64::MAX,
        up_to_date: both(),
        holder: Some(node(1)),
        ttl: Duration::MAX,
    };
    host.stored = Some((Revision::new(u64::MAX), record));
    host.advance(3 * SECOND);
    host.agree();
    host.role(Role::Master);
    assert_eq!(host.unit.state(), State::Acquiring);
}

#[test]
fn a_wish_of_a_former_role_takes_nobody_from_the_record() {
    let mut host = Host::standby(with_arbiter(OnLoss::Release));
    host.stored = Some((
        Revision::new(4),
        Record {
            generation: 3,
            up_to_date: both(),
            holder: None,
            ttl: 15 * SECOND,
        },
    ));
    host.advance(3 * SECOND);
    host.agree();
    let late = Input::Degraded {
        wish: DegradedId::new(1),
        current: node(0).into(),
    };
    assert_eq!(host.send(late), "");
    assert_eq!(host.role(Role::Master), "swap 0 {0,1}");
    assert_eq!(host.agree(), "become primary");
    assert_eq!(host.advance(3 * SECOND), "swap 0 {0,1}");
}

#[test]
fn losing_the_arbiter_means_what_was_chosen() {
    for (on_loss, alone, state) in [
        (OnLoss::Release, false, State::Demoting),
        (OnLoss::KeepWhilePeerAgrees, false, State::Active),
        (OnLoss::KeepWhilePeerAgrees, true, State::Demoting),
        (OnLoss::Keep, true, State::Active),
    ] {
        let mut host = Host::active(with_arbiter(on_loss));
        if alone {
            host.send(Input::Degraded {
                wish: DegradedId::new(1),
                current: node(0).into(),
            });
            host.agree();
        }
        host.advance(9 * SECOND);
        assert_eq!(
            host.unit.state(),
            State::Active,
            "{on_loss:?}: the time is not over"
        );
        host.advance(2 * SECOND);
        assert_eq!(host.unit.state(), state, "{on_loss:?}, alone: {alone}");
    }
}

#[test]
fn a_record_taken_by_another_node_ends_every_role() {
    for on_loss in [OnLoss::Release, OnLoss::KeepWhilePeerAgrees, OnLoss::Keep] {
        let mut host = Host::active(with_arbiter(on_loss));
        let (revision, record) = host.stored.unwrap();
        host.stored = Some((
            Revision::new(revision.get() + 5),
            Record {
                holder: Some(node(1)),
                ..record
            },
        ));
        assert_eq!(host.advance(3 * SECOND), "swap 0 {0,1}");
        let (request, _) = host.request.take().unwrap();
        let answer = Answer::Current(host.stored);
        let lost = host.send(Input::Arbiter { request, answer });
        assert_eq!(lost, "revoke, withdraw", "{on_loss:?}");
    }
}

#[test]
fn a_dead_holder_is_waited_for_by_this_nodes_own_clock() {
    let mut host = Host::standby(with_arbiter(OnLoss::Release));
    let ttl = 15 * SECOND;
    host.stored = Some((
        Revision::new(4),
        Record {
            generation: 3,
            up_to_date: both(),
            holder: Some(node(1)),
            ttl,
        },
    ));
    host.advance(3 * SECOND);
    host.agree();
    host.role(Role::Master);
    let seen = host.now;
    for _ in 0..100 {
        if matches!(host.request, Some((_, Query::Swap { .. }))) {
            break;
        }
        host.advance(SECOND / 2);
        if matches!(host.request, Some((_, Query::Read))) {
            host.agree();
        }
    }
    assert!(host.now >= seen + ttl - SECOND / 2 && host.now <= seen + ttl + SECOND);
    assert_eq!(host.agree(), "become primary");
    assert_eq!(host.stored.unwrap().1.generation, 4);
}

#[test]
fn a_peer_that_is_still_primary_is_waited_for() {
    let mut host = Host::standby(config());
    let status = |peer| {
        Input::Storage(StorageStatus {
            role: StorageRole::Secondary,
            data: Data::UpToDate,
            peer,
            current: NodeSet::EMPTY,
        })
    };
    host.send(status(Peer::Unheard));
    assert_eq!(host.role(Role::Master), "says why");
    assert_eq!(host.send(status(Peer::Primary)), "");
    assert_eq!(host.send(status(Peer::Disconnected)), "become primary");
}

#[test]
fn storage_that_strays_is_made_secondary_again_and_the_record_left_alone() {
    let mut host = Host::standby(with_arbiter(OnLoss::Release));
    let strayed = host.storage(StorageRole::Init, Data::UpToDate, NodeSet::EMPTY);
    assert_eq!(strayed, "become secondary");
    assert_eq!(host.end(Outcome::Done), "read");
    assert_eq!(host.agree(), "");
    assert_eq!(host.unit.state(), State::Standby);
}

#[test]
fn storage_that_strays_before_the_record_is_back_is_not_forgotten() {
    let mut host = Host::in_state(State::Releasing);
    let strayed = host.storage(StorageRole::Init, Data::UpToDate, NodeSet::EMPTY);
    assert_eq!(strayed, "");
    assert_eq!(host.agree(), "become secondary");
}

#[test]
fn a_node_where_a_step_still_runs_lets_others_have_the_address() {
    let mut steps = vec![
        Step::new(StepKind::Mount, "mount"),
        Step::new(StepKind::Address, "address").after(0),
    ];
    steps[0].undo.remove(0);
    let mut config = Config::new(node(0), Plan::new(steps).unwrap());
    config.holds.start = Duration::ZERO;
    let mut host = Host::standby(config);
    host.role(Role::Master);
    host.settle();
    assert_eq!(host.command(Command::Demote), "withdraw");
    assert_eq!(host.end(Outcome::Done), "kill users and unmount");
    assert_eq!(host.advance(10 * SECOND), "cancel");
    let hung = host.run;
    assert_eq!(host.advance(5 * SECOND), "force unmount");
    let demoted = host.end(Outcome::Done);
    assert_eq!(demoted, "+role given away, +stuck, step down, says why");
    // Longer than the hold-down: nobody else has come, but it is still not promoted.
    assert_eq!(
        host.advance(10 * SECOND),
        "nobody, -role given away, says why, step down"
    );
    host.run = hung;
    assert_eq!(host.end(Outcome::Cancelled), "-stuck, mount");
}

#[test]
fn maintenance_lasts_until_it_is_ended() {
    let mut host = Host::active(config());
    host.command(Command::Maintenance);
    host.settle();
    assert_eq!(host.unit.state(), State::Standby);
    assert_eq!(
        host.advance(1000 * SECOND),
        "step down, ".repeat(99) + "step down"
    );
    host.role(Role::Backup);
    assert_eq!(host.command(Command::Resume), "-maintenance");
    assert_eq!(host.role(Role::Master), "become primary");
}

#[test]
fn a_shutdown_ends_when_everything_is_undone() {
    let mut host = Host::active(config());
    assert_eq!(host.command(Command::Shutdown), "drain");
    for _ in 0..3 {
        host.end(Outcome::Done);
    }
    assert_eq!(host.end(Outcome::Done), "step down, ended");
    assert_eq!(host.role(Role::Master), "");
    assert_eq!(host.unit.poll_timeout(), None);
}

#[test]
fn a_preview_tells_what_would_be_done_and_does_nothing() {
    let host = Host::active(config());
    let before = host.unit.clone();
    let input = Input::Command(Command::SwitchOver);
    let preview = host.unit.preview(host.now, input);
    let actions = |preview: &ha_core::failover::Preview| -> Vec<Action> {
        preview.steps.iter().map(|step| step.action).collect()
    };
    let expected = [
        Action::Drain,
        Action::Withdraw,
        Action::Stop,
        Action::SetSecondary,
    ];
    assert_eq!(actions(&preview), expected);
    assert_eq!(preview.state, State::Standby);
    let preview = host
        .unit
        .preview_with(host.now, input, |run| match run.action {
            Action::Stop => Outcome::Failed { code: 1 },
            _ => Outcome::Done,
        });
    assert_eq!(actions(&preview)[2..4], [Action::Stop, Action::Kill]);
    assert_eq!(preview.steps[2].step, Some(StepId::new(1)));
    assert_eq!(host.unit, before);

    let mut host = Host::standby(config());
    host.storage(StorageRole::Secondary, Data::Outdated, NodeSet::EMPTY);
    let preview = host
        .unit
        .preview(host.now, Input::Command(Command::Promote));
    assert!(preview.refused.is_some() && preview.steps.is_empty());
    let preview = host.unit.preview(host.now, Input::Command(Command::Force));
    let expected = [Action::SetPrimary, Action::Start, Action::Announce];
    assert_eq!(actions(&preview), expected);
}

#[test]
fn all_groups_move_together() {
    let mut config = config();
    config.groups = 2;
    let mut host = Host::standby(config);
    let role = |index, role| Input::Address {
        group: GroupId::new(index),
        role,
    };
    assert_eq!(host.send(role(0, Role::Master)), "");
    assert_eq!(host.send(role(1, Role::Master)), "become primary");
    host.settle();
    assert_eq!(host.send(role(1, Role::Backup)), "withdraw");
    // The other group is let go, or each node would keep one, and none would serve.
    let mut words = String::new();
    while host.run.is_some() {
        words = host.end(Outcome::Done);
    }
    assert_eq!(host.unit.state(), State::Standby);
    assert!(words.contains("step down"), "{words}");
}

#[test]
fn who_has_lost_the_addresses_and_has_them_again_keeps_them() {
    let mut host = Host::active(config());
    assert_eq!(host.role(Role::Backup), "withdraw");
    assert!(!host.role(Role::Master).contains("step down"));
    while host.unit.state() == State::Demoting {
        assert!(!host.end(Outcome::Done).contains("step down"));
    }
    host.settle();
    assert_eq!(host.unit.state(), State::Active);
}

#[test]
fn what_names_nothing_is_told_and_changes_nothing() {
    let mut host = Host::active(config());
    let before = host.unit.clone();
    let group = GroupId::new(1);
    let role = Role::Backup;
    assert_eq!(host.send(Input::Address { group, role }), "unknown");
    let check = CheckId::new(1);
    let result = Health::Bad;
    assert_eq!(host.send(Input::Health { check, result }), "unknown");
    assert_eq!(host.unit, before);
}

#[test]
fn nobody_polls_and_nothing_grows_without_bound() {
    let mut host = Host::standby(config());
    for round in 0..10_000_u32 {
        let role = [Role::Master, Role::Backup][usize::from(round % 2 == 0)];
        let group = GroupId::new(u16::from(round % 3 == 0));
        host.unit.handle(host.now, Input::Address { group, role });
        if let Some(deadline) = host.unit.poll_timeout() {
            host.now = host.now.max(deadline);
            host.unit.handle_timeout(host.now);
        }
    }
    assert!(host.unit.lost_events() > 0);
    let waiting = core::iter::from_fn(|| host.unit.poll_output()).count();
    assert!(waiting < 400, "{waiting} outputs waited");
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let error = |change: fn(&mut Config)| {
        let mut config = with_arbiter(OnLoss::Release);
        change(&mut config);
        Failover::<Duration>::new(config).unwrap_err()
    };
    assert_eq!(error(|c| c.groups = 0), ConfigError::NoGroup);
    assert_eq!(
        error(|c| c.demotion = 0),
        ConfigError::Demotion { value: 0 }
    );
    let zero = error(|c| c.grace = Duration::ZERO);
    assert_eq!(zero, ConfigError::Zero { field: "grace" });
    let early = error(|c| c.arbitration.as_mut().unwrap().stop_early = 20 * SECOND);
    assert!(matches!(early, ConfigError::StopEarly { .. }));
    let interval = error(|c| c.arbitration.as_mut().unwrap().interval = 9 * SECOND);
    assert!(matches!(interval, ConfigError::Interval { .. }));
    let long = error(|c| c.holds.settle = Duration::MAX);
    assert!(matches!(
        long,
        ConfigError::TooLong {
            field: "holds.settle",
            ..
        }
    ));
    let many = error(|c| c.checks = vec![c.checks[0].clone(); (1 << 16) + 1]);
    assert_eq!(many, ConfigError::TooManyChecks { count: 65_537 });
}

//! What a unit does at each moment.

use std::boxed::Box;
use std::format;
use std::string::ToString;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use carp_proto::State as Role;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::super::super::clock;
use super::super::check::CheckError;
use super::super::job::Job;
use super::super::part::Part;
use super::asking::Asking;
use super::checks::{Checks, Found};
use super::event::{UnitEvent, UnitEventKind};
use super::handle::{CheckStatus, Order, UnitStatus};
use super::setup::{UnitSetup, UnitSetupError};
use super::steps::{Ended, Steps};
use super::storage::{Watched, changed};
use super::voter::{Vote, Voter};
use crate::failover::{
    Cause, CheckId, Command, Event, Failover, GroupId, Health, Input, Output, Refusal, Run, State,
    StepId, Turn,
};

/// The reason for which this node is demoted when its unit has ended.
const ENDED: &str = "ended";

#[derive(Debug)]
pub(super) struct Engine {
    name: Arc<str>,
    machine: Failover<Instant>,
    parts: Vec<Part>,
    fence_self: Option<Part>,
    steps: Steps,
    checks: Checks,
    /// What is known of each: its name, and why it is not well.
    check_status: Vec<(Arc<str>, Option<Arc<CheckError>>)>,
    voter: Voter,
    roles: watch::Receiver<Arc<[Role]>>,
    known_roles: Vec<Role>,
    /// Whether anybody tells the roles.
    elects: bool,
    storage: Option<Watched>,
    asking: Asking,
    events: broadcast::Sender<UnitEvent>,
    /// Why the command that is being carried out is refused.
    refusal: Option<Refusal>,
    has_ended: bool,
}

/// What may happen besides orders and time.
enum Happened {
    Ended(Ended),
    /// Whether they will be told again.
    Roles(bool),
    Storage,
    Found(Found),
    Answered(Input, Option<UnitEventKind>),
}

impl Engine {
    pub(super) fn new(
        mut setup: UnitSetup,
        events: broadcast::Sender<UnitEvent>,
    ) -> Result<Self, UnitSetupError> {
        setup.complete()?;
        let machine = Failover::new(setup.config)?;
        let names = setup.checks.iter().map(|check| check.health.name.as_str());
        let check_status = names.map(|name| (name.into(), None)).collect();
        let storage = setup.parts.iter().find_map(|part| match part {
            Part::StorageRole(storage) => Some(Watched::new(storage.clone())),
            _ => None,
        });
        Ok(Self {
            name: setup.name,
            checks: Checks::spawn(setup.checks, machine.state()),
            known_roles: vec![Role::Init; usize::from(machine.config().groups)],
            elects: true,
            machine,
            parts: setup.parts,
            fence_self: setup.fence_self,
            steps: Steps::default(),
            check_status,
            roles: setup.election.0.roles(),
            voter: Voter::spawn(setup.election.0, events.clone()),
            storage,
            asking: setup.asking,
            events,
            refusal: None,
            has_ended: false,
        })
    }

    pub(super) fn state(&self) -> State {
        self.machine.state()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Begins: the machine undoes what a former process may have left.
    pub(super) fn start(&mut self) {
        self.tell(Input::Timeout);
        // Not before the machine has given its own reasons.
        self.voter.tell(Vote::Restore(self.reason(ENDED)));
        self.take_report();
        self.take_roles();
    }

    pub(super) fn on_time(&mut self) {
        if self.deadline().is_some_and(|at| at <= clock::now()) {
            self.tell(Input::Timeout);
        }
    }

    pub(super) fn shut_down(&mut self) {
        // Refused only if it is about to do so anyway.
        self.tell(Input::Command(Command::Shutdown));
    }

    pub(super) fn obey(&mut self, order: Order) {
        // Whoever asked may be gone.
        match order {
            Order::Command(command, reply) => {
                self.refusal = None;
                self.tell(Input::Command(command));
                let _ = reply.send(self.refusal.take().map_or(Ok(()), Err));
            }
            Order::Preview(command, reply) => {
                let preview = self.machine.preview(clock::now(), Input::Command(command));
                let _ = reply.send(Box::new(preview));
            }
            Order::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Order::Shutdown(_) => self.shut_down(),
        }
    }

    /// Waits until something happens, and takes note of it. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn wait(&mut self) {
        let speaks = self.storage.as_ref().is_some_and(|storage| storage.speaks);
        let happened = tokio::select! {
            biased;
            ended = self.steps.next() => Happened::Ended(ended),
            _ = changed(&mut self.storage), if speaks => Happened::Storage,
            told = self.roles.changed(), if self.elects => Happened::Roles(told.is_ok()),
            (answer, news) = self.asking.next() => Happened::Answered(answer, news),
            found = self.checks.next() => Happened::Found(found),
        };
        match happened {
            Happened::Ended(ended) => self.on_ended(ended),
            Happened::Roles(elects) => {
                self.elects = elects;
                self.take_roles();
            }
            Happened::Storage => self.take_report(),
            Happened::Found(found) => self.on_found(found),
            Happened::Answered(answer, news) => {
                if let Some(news) = news {
                    self.publish(news);
                }
                self.tell(answer);
            }
        }
    }

    /// Ends what still runs, and leaves this node demoted.
    pub(super) async fn finish(&mut self) {
        self.checks.end().await;
        self.steps.end(self.machine.config().grace).await;
        let amount = self.machine.config().demotion;
        self.voter.tell(Vote::Demote(self.reason(ENDED), amount));
        self.voter.flush().await;
    }

    fn on_ended(&mut self, ended: Ended) {
        let (run, outcome) = (ended.run, ended.outcome());
        if let (Err(error), false) = (ended.result, outcome == crate::failover::Outcome::Cancelled)
        {
            self.publish(UnitEventKind::Failed {
                step: ended.step,
                action: ended.action,
                error: Arc::new(error),
            });
        }
        if !ended.concerns_storage {
            return self.tell(Input::Ended { run, outcome });
        }
        // What follows from its end follows from what has come of it. But what it was made to be
        // counts from its end on; and if it is that no more, this is the time to see it.
        self.take_report();
        self.tell(Input::Ended { run, outcome });
        self.take_report();
    }

    fn take_report(&mut self) {
        let Some(storage) = &mut self.storage else {
            return;
        };
        let inputs: Vec<Input> = storage.inputs().collect();
        for input in inputs {
            self.tell(input);
        }
    }

    fn take_roles(&mut self) {
        // When nobody tells them, nobody knows.
        let roles = match self.elects {
            true => self.roles.borrow_and_update().to_vec(),
            false => Vec::new(),
        };
        for (index, group) in (0..self.known_roles.len()).zip((0..).map(GroupId::new)) {
            let role = roles.get(index).copied().unwrap_or(Role::Init);
            let known = self.known_roles.get_mut(index);
            let is_news = known.is_some_and(|known| core::mem::replace(known, role) != role);
            if is_news {
                self.tell(Input::Address { group, role });
            }
        }
    }

    fn on_found(&mut self, found: Found) {
        let (check, result) = (found.check, found.health());
        let before = self.machine.health(check);
        let error = found.result.err().map(Arc::new);
        if let Some((_, known)) = self.check_status.get_mut(check.index()) {
            known.clone_from(&error);
        }
        self.tell(Input::Health { check, result });
        let turn = match (before, self.machine.health(check)) {
            (Some(Health::Good), Some(Health::Bad)) => Turn::Fell,
            (Some(Health::Bad), Some(Health::Good)) => Turn::Rose,
            _ => return,
        };
        let check = self.check_name(check);
        self.publish(UnitEventKind::Health { check, turn, error });
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(clock::now(), input);
        while let Some(output) = self.machine.poll_output() {
            self.act(output);
        }
        self.checks.set_state(self.machine.state());
    }

    fn act(&mut self, output: Output<Instant>) {
        match output {
            Output::Event(event) => self.on_event(event),
            Output::Begin(run) => self.begin(&run),
            Output::Cancel(run) => self.steps.cancel(run),
            Output::Demote { cause, amount } => {
                let reason = self.reason_of(cause);
                self.voter.tell(Vote::Demote(reason.clone(), amount));
                self.publish(UnitEventKind::Demoted { reason, amount });
            }
            Output::Restore(cause) => {
                let reason = self.reason_of(cause);
                self.voter.tell(Vote::Restore(reason.clone()));
                self.publish(UnitEventKind::Restored { reason });
            }
            Output::StepDown(group) => self.voter.tell(Vote::Force(group, Role::Backup)),
            Output::TakeOver(group) => self.voter.tell(Vote::Force(group, Role::Master)),
            Output::Arbiter(request) => self.asking.ask(request),
            Output::Grant(grant) => {
                if let Some(watched) = &self.storage {
                    watched.storage.grant(grant);
                }
            }
            Output::Revoke => {
                if let Some(watched) = &self.storage {
                    watched.storage.revoke();
                }
            }
            Output::Ended => self.has_ended = true,
        }
    }

    fn begin(&mut self, run: &Run<Instant>) {
        let part = match run.step {
            Some(step) => self.parts.get(step.index()),
            None => self.fence_self.as_ref(),
        };
        // A setup that was accepted has one for each.
        let Some(part) = part.cloned() else { return };
        let step = run.step.and_then(|step| self.step_name(step));
        let step = step.unwrap_or_else(|| self.name.clone());
        let (job, cancel) = Job::new(run.action, &step, run.deadline, run.token);
        self.steps.begin(run.id, part, job, cancel);
    }

    fn on_event(&mut self, event: Event<Instant>) {
        if let Event::Refused { refusal, .. } = event {
            self.refusal = Some(refusal);
        }
        let step = match event {
            Event::Step { step, .. } => step,
            Event::LeftOut(step) => Some(step),
            _ => None,
        };
        let step = step.and_then(|step| self.step_name(step));
        self.publish(UnitEventKind::Machine { event, step });
    }

    fn publish(&self, kind: UnitEventKind) {
        let at = clock::now();
        // There may be nobody who listens.
        let _ = self.events.send(UnitEvent { at, kind });
    }

    fn step_name(&self, step: StepId) -> Option<Arc<str>> {
        let step = self.machine.config().plan.get(step);
        step.map(|step| step.name.as_str().into())
    }

    fn check_name(&self, check: CheckId) -> Arc<str> {
        let known = self.check_status.get(check.index());
        known.map_or_else(|| "".into(), |(name, _)| name.clone())
    }

    /// The reason for a demotion as the protocol of the addresses knows it: it serves several
    /// units, perhaps.
    fn reason_of(&self, cause: Cause) -> Arc<str> {
        match cause {
            Cause::Health(check) => self.reason(&format!("check {}", self.check_name(check))),
            cause => self.reason(&cause.to_string()),
        }
    }

    fn reason(&self, what: &str) -> Arc<str> {
        format!("{}: {what}", self.name).into()
    }

    fn status(&self) -> UnitStatus {
        let ids = (0..).map(CheckId::new);
        let check =
            |((name, error), id): (&(Arc<str>, Option<Arc<CheckError>>), CheckId)| CheckStatus {
                name: name.clone(),
                verdict: self.machine.health(id).unwrap_or(Health::Good),
                error: error.clone(),
            };
        UnitStatus {
            name: self.name.clone(),
            state: self.machine.state(),
            roles: self.known_roles.as_slice().into(),
            storage: self
                .storage
                .as_ref()
                .map(|watched| *watched.reports.borrow()),
            blocked: self.machine.blocked(),
            causes: self.machine.causes().collect(),
            running: self.steps.running(),
            checks: self.check_status.iter().zip(ids).map(check).collect(),
            lost_events: self.machine.lost_events(),
        }
    }
}

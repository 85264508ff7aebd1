//! The machine: what happened is noted, then everything that follows from it is done.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use carp_proto::State as Role;

use super::arbiter::{Answer, Force, RequestId};
use super::claim::Claim;
use super::config::{Config, ConfigError};
use super::event::{
    Blocked, Cause, Command, DegradedId, Event, GroupId, Input, Outcome, Output, Reason, RunId,
    State, Unknown,
};
use super::health::{CheckId, Health, Tally, Turn};
use super::queue::Queue;
use super::storage::{Data, NodeSet, StorageRole, StorageStatus};
use super::work::{Ended, Overdue, Work};

/// Moves addresses, storage role, file systems and services together: it takes inputs with the
/// time at which they happened, and gives outputs and the next deadline.
///
/// `T` is the caller's monotonic instant: `std::time::Instant`, that of an async runtime, or a
/// plain `Duration` since boot.
///
/// # Driving it
///
/// Hand in [`Input::Timeout`] once: the machine starts with its first input, and first undoes
/// whatever a former process may have left. After every [`handle`](Self::handle), call
/// [`poll_output`](Self::poll_output) until it returns `None` and do what it says, in that order.
/// Call [`handle_timeout`](Self::handle_timeout) no later than
/// [`poll_timeout`](Self::poll_timeout) says. Draining late is never wrong, only late. Time that
/// runs backwards counts as no time passed.
///
/// # Example
///
/// One address and one service, without storage:
///
/// ```
/// use core::time::Duration;
/// use ha_core::carp_proto::State as Role;
/// use ha_core::failover::{
///     Action, Config, Failover, GroupId, Input, NodeId, Outcome, Output, Plan, State, Step,
///     StepKind,
/// };
///
/// let plan = Plan::new(vec![
///     Step::new(StepKind::Service, "web"),
///     Step::new(StepKind::Address, "192.0.2.1").after(0),
/// ])?;
/// let mut config = Config::new(NodeId::new(0)?, plan);
/// config.holds.start = Duration::ZERO;
/// let mut unit = Failover::<Duration>::new(config)?;
/// let mut done = Vec::new();
/// let mut drive = |unit: &mut Failover<Duration>, input| {
///     unit.handle(Duration::ZERO, input);
///     while let Some(output) = unit.poll_output() {
///         if let Output::Begin(run) = output {
///             done.push(run.action);
///             let outcome = Outcome::Done;
///             unit.handle(Duration::ZERO, Input::Ended { run: run.id, outcome });
///         }
///     }
/// };
///
/// drive(&mut unit, Input::Timeout);
/// assert_eq!(unit.state(), State::Standby);
/// drive(&mut unit, Input::Address { group: GroupId::new(0), role: Role::Master });
/// assert_eq!(unit.state(), State::Active);
/// assert_eq!(done, [Action::Withdraw, Action::Stop, Action::Start, Action::Announce]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Failover<T> {
    pub(super) config: Config,
    pub(super) state: State,
    /// When the state began; `None` before the first input.
    since: Option<T>,
    now: Option<T>,
    /// Why what is done is being undone.
    pub(super) why: Reason,
    pub(super) roles: Vec<Role>,
    /// When the addresses will have been here for long enough.
    pub(super) settles: Option<T>,
    pub(super) storage: Option<StorageStatus>,
    /// Since the start the storage has met a peer, or this node was active: what the storage says
    /// of its data is no mere memory of a former run.
    pub(super) has_met: bool,
    /// The storage ceased to be primary by itself.
    pub(super) storage_lost: bool,
    /// The storage is not secondary where it should be.
    pub(super) storage_strayed: bool,
    tallies: Vec<Tally>,
    /// What this node refrains from promotion for, and until when.
    pub(super) holds: BTreeMap<Cause, T>,
    pub(super) duty: Duty,
    /// Until when a promotion may begin at the operator's risk.
    pub(super) forced: Option<T>,
    /// Whether the present one did.
    pub(super) risk: Force,
    /// Why the role is to be given away.
    pub(super) leave: Option<Reason>,
    pub(super) work: Work<T>,
    pub(super) claim: Option<Claim<T>>,
    /// The arbiter is lost, and the role is kept.
    pub(super) kept: bool,
    pub(super) wish: Option<Wish<T>>,
    pub(super) causes: BTreeSet<Cause>,
    /// Until when this node does not decline the addresses again.
    pub(super) declines: Option<T>,
    /// Why this node was last said not to be promoted.
    pub(super) blocked: Option<Blocked>,
    pub(super) outputs: Queue<T>,
}

/// Whether the operator wants this node to take part.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Duty {
    InService,
    Maintenance,
    Ending,
    Ended,
}

/// The storage's wish to go on with fewer nodes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Wish<T> {
    pub(super) id: DegradedId,
    pub(super) current: NodeSet,
    /// What was granted last, until when.
    pub(super) granted: Option<Option<T>>,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Failover<T> {
    /// Makes a machine. It starts with its first input.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration cannot be.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let claim = |arbitration| Claim::new(arbitration, config.node);
        Ok(Self {
            state: State::Demoting,
            since: None,
            now: None,
            why: Reason::Start,
            roles: vec![Role::Init; usize::from(config.groups)],
            settles: None,
            storage: None,
            has_met: false,
            storage_lost: false,
            storage_strayed: false,
            tallies: vec![Tally::default(); config.checks.len()],
            holds: BTreeMap::new(),
            duty: Duty::InService,
            forced: None,
            risk: Force::No,
            leave: None,
            work: Work::new(&config.plan),
            claim: config.arbitration.map(claim),
            kept: false,
            wish: None,
            causes: BTreeSet::new(),
            declines: None,
            blocked: None,
            outputs: Queue::new(),
            config,
        })
    }

    /// Takes note of something that happened at `now`; the state table is in the
    /// [module's documentation](super).
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        if self.duty == Duty::Ended {
            return;
        }
        if self.since.is_none() {
            self.since = Some(now);
            self.holds
                .insert(Cause::Start, now + self.config.holds.start);
        }
        if let Some(claim) = &mut self.claim {
            claim.expire(now);
        }
        match input {
            Input::Timeout => self.on_timeout(now),
            Input::Address { group, role } => self.on_address(now, group, role),
            Input::Storage(status) => self.on_storage(status),
            Input::Degraded { wish, current } => self.on_degraded(wish, current),
            Input::Ended { run, outcome } => self.on_ended(now, run, outcome),
            Input::Health { check, result } => self.on_health(check, result),
            Input::Arbiter { request, answer } => self.on_arbiter(now, request, answer),
            Input::Command(command) => self.on_command(now, command),
        }
        self.advance(now);
    }

    /// As [`handle`](Self::handle) with [`Input::Timeout`].
    pub fn handle_timeout(&mut self, now: T) {
        self.handle(now, Input::Timeout);
    }

    /// Returns the next thing to do, or `None` if nothing is left.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<T> {
        if self.duty == Duty::Ended {
            return None;
        }
        let claim = self.claim.as_ref().and_then(Claim::poll_timeout);
        let holds = self.holds.values().copied();
        let work = self.work.poll_timeout();
        [self.settles, self.forced, self.declines, work, claim]
            .into_iter()
            .flatten()
            .chain(holds)
            .min()
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns for what this node is demoted at present.
    pub fn causes(&self) -> impl Iterator<Item = Cause> {
        self.causes.iter().copied()
    }

    /// Returns why this node is not promoted at present, if it is in standby or waits for the
    /// arbiter.
    #[must_use]
    pub fn blocked(&self) -> Option<Blocked> {
        match self.state {
            // The addresses stay away because of it, so it is what an operator wants to know.
            State::Standby if !self.is_here() && self.is_unmet() => Some(Blocked::Unmet),
            State::Standby => self.obstacle(),
            State::Acquiring => self.obstacle().or_else(|| self.denial()),
            State::Promoting
            | State::Active
            | State::Draining
            | State::Demoting
            | State::Releasing
            | State::Stuck => None,
        }
    }

    /// Returns what counts for a health check at present.
    #[must_use]
    pub fn health(&self, check: CheckId) -> Option<Health> {
        self.tallies.get(check.index()).map(Tally::verdict)
    }

    /// Returns how many events were lost because nobody polled.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.outputs.lost_events()
    }

    // What happened is noted.

    /// Only here deadlines take effect, but that of the arbiter's record.
    fn on_timeout(&mut self, now: T) {
        self.settles = self.settles.filter(|at| *at > now);
        self.forced = self.forced.filter(|at| *at > now);
        self.declines = self.declines.filter(|at| *at > now);
        let left = self.holds.contains_key(&Cause::Left);
        self.holds.retain(|_, at| *at > now);
        if left && !self.holds.contains_key(&Cause::Left) && self.is_here() {
            self.tell(Event::NobodyTookOver);
        }
        match self.work.on_timeout(now, self.config.grace) {
            Overdue::No => {}
            Overdue::Cancel(run) => self.outputs.push(Output::Cancel(run)),
            Overdue::GivenUp(ended) => self.on_end(now, ended),
        }
        if self.work.is_again(now) && self.state == State::Stuck {
            self.work.try_again();
            self.why = Reason::Again;
            self.go(now, State::Demoting, Reason::Again);
        }
        if let Some(claim) = &mut self.claim {
            claim.on_timeout(now);
        }
    }

    fn on_address(&mut self, now: T, group: GroupId, role: Role) {
        let was_here = self.is_here();
        match self.roles.get_mut(group.index()) {
            Some(place) => *place = role,
            None => return self.tell(Event::Unknown(Unknown::Group(group))),
        }
        if !self.is_here() {
            self.settles = None;
        } else if !was_here && !self.config.holds.settle.is_zero() {
            self.settles = Some(now + self.config.holds.settle);
        }
    }

    fn on_storage(&mut self, status: StorageStatus) {
        let is_primary = self.work.is_primary(&self.config.plan);
        self.storage_lost |= is_primary && status.role != StorageRole::Primary;
        self.has_met |= status.is_in_touch();
        let had_successor = self.has_successor();
        self.storage_strayed =
            status.role != StorageRole::Secondary && self.work.is_secondary(&self.config.plan);
        let was_split = self.storage.is_some_and(|old| old.data == Data::SplitBrain);
        if status.data == Data::SplitBrain && !was_split {
            self.tell(Event::SplitBrain);
        }
        // A node is up to date again that the storage wanted to go on without.
        self.wish = self
            .wish
            .filter(|wish| status.current.is_subset(wish.current));
        self.storage = Some(status);
        if self.state == State::Active && !had_successor && self.has_successor() {
            let failing = self.failing_checks().next().map(Reason::Health);
            self.leave = self.leave.or(failing);
        }
    }

    fn on_degraded(&mut self, id: DegradedId, current: NodeSet) {
        if self.work.is_secondary(&self.config.plan) {
            // Late: it was made secondary since, and acknowledges nothing. No later promotion
            // must go on without a node for this.
            return;
        }
        self.wish = Some(Wish {
            id,
            current: current.with(self.config.node),
            granted: None,
        });
    }

    fn on_ended(&mut self, now: T, run: RunId, outcome: Outcome) {
        match self.work.on_ended(now, run, outcome) {
            Some(ended) => self.on_end(now, ended),
            None => self.tell(Event::Unknown(Unknown::Run(run))),
        }
    }

    fn on_end(&mut self, now: T, ended: Ended<T>) {
        let Ended::Now { event, failed } = ended else {
            return;
        };
        self.outputs.push(event);
        let Some((step, beyond_repair)) = failed else {
            return;
        };
        if self.state != State::Promoting {
            return;
        }
        if beyond_repair || !self.work.goes_on(now, &self.config.plan, step) {
            self.demote(now, Reason::Failed(step));
        }
    }

    fn on_health(&mut self, check: CheckId, result: Health) {
        let known = self.tallies.get_mut(check.index());
        let Some((tally, config)) = known.zip(self.config.checks.get(check.index())) else {
            return self.tell(Event::Unknown(Unknown::Check(check)));
        };
        let turn = tally.count(config, result);
        // Politely, if there is somebody to take over; else it is a demotion, if at all.
        if turn == Some(Turn::Fell) && self.state == State::Active && self.has_successor() {
            self.leave = self.leave.or(Some(Reason::Health(check)));
        }
    }

    fn on_arbiter(&mut self, now: T, request: RequestId, answer: Answer) {
        let claim = self.claim.as_mut();
        if !claim.is_some_and(|claim| claim.on_answer(now, request, answer)) {
            self.tell(Event::Unknown(Unknown::Request(request)));
        }
    }

    fn on_command(&mut self, now: T, command: Command) {
        match self.refusal(command) {
            Some(refusal) => self.tell(Event::Refused { command, refusal }),
            None => match command {
                Command::Promote => self.on_promote(),
                Command::Force => {
                    self.forced = Some(now + self.config.holds.force);
                    self.on_promote();
                }
                Command::Demote | Command::SwitchOver => {
                    self.leave = Some(Reason::Command(command));
                }
                Command::Maintenance => self.duty = Duty::Maintenance,
                Command::Resume => self.duty = Duty::InService,
                Command::Shutdown => self.duty = Duty::Ending,
            },
        }
    }

    fn on_promote(&mut self) {
        self.holds.clear();
        self.settles = None;
        for (role, group) in self.roles.iter().zip((0..).map(GroupId::new)) {
            if *role != Role::Master {
                self.outputs.push(Output::TakeOver(group));
            }
        }
    }

    // What others use.

    pub(super) fn tell(&mut self, event: Event<T>) {
        self.outputs.push(Output::Event(event));
    }

    pub(super) fn go(&mut self, now: T, to: State, reason: Reason) {
        let since = self.since.replace(now).unwrap_or(now);
        let from = core::mem::replace(&mut self.state, to);
        self.tell(Event::State {
            from,
            to,
            reason,
            since,
            at: now,
        });
    }

    pub(super) fn failing_checks(&self) -> impl Iterator<Item = CheckId> {
        self.tallies
            .iter()
            .zip((0..).map(CheckId::new))
            .filter(|(tally, _)| tally.verdict() == Health::Bad)
            .map(|(_, check)| check)
    }

    pub(super) fn force(&self) -> Force {
        match self.forced {
            Some(_) => Force::Yes,
            None => self.risk,
        }
    }
}

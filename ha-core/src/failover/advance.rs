//! What follows from what is known: the state table's transitions.

use core::ops::Add;
use core::time::Duration;

use carp_proto::State as Role;

use super::arbiter::{Force, OnLoss};
use super::claim::{Claim, Want};
use super::event::{Blocked, Cause, Command, Event, Grant, GroupId, Output, Reason, Run, State};
use super::machine::{Duty, Failover};
use super::standing::Manner;
use super::storage::{NodeSet, StorageRole, Unfit};
use super::work::{Next, Start};

/// Whether there may be more to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Go {
    On,
    Wait,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Failover<T> {
    /// Does everything that can be done now. It ends, because each round changes the state or
    /// begins what has to be waited for.
    pub(super) fn advance(&mut self, now: T) {
        loop {
            self.update_causes();
            self.ask_arbiter(now);
            self.grant();
            if self.transit(now) == Go::Wait {
                return;
            }
        }
    }

    fn transit(&mut self, now: T) -> Go {
        match self.state {
            State::Standby => self.in_standby(now),
            State::Acquiring => self.in_acquiring(now),
            State::Promoting => self.in_promoting(now),
            State::Active => self.in_active(now),
            State::Draining => self.in_draining(now),
            State::Demoting => self.in_demoting(now),
            State::Releasing => self.in_releasing(now),
            State::Stuck => Go::Wait,
        }
    }

    fn in_standby(&mut self, now: T) -> Go {
        if self.duty == Duty::Ending {
            self.duty = Duty::Ended;
            self.outputs.push(Output::Ended);
            return Go::Wait;
        }
        self.leave = None;
        if self.strays() {
            self.work.stray(&self.config.plan);
            return self.demote(now, Reason::StorageStrayed);
        }
        if let Some(blocked) = self.obstacle() {
            self.tell_blocked(Some(blocked));
            self.decline(now, blocked);
            return Go::Wait;
        }
        self.blocked = None;
        self.work.turn();
        self.risk = self.force();
        self.forced = None;
        match &mut self.claim {
            Some(claim) => {
                claim.hurry();
                self.go(now, State::Acquiring, Reason::Wanted);
            }
            None => self.go(now, State::Promoting, Reason::Wanted),
        }
        Go::On
    }

    fn in_acquiring(&mut self, now: T) -> Go {
        let strays = self.strays().then_some(Reason::StorageStrayed);
        let obstacle = self.obstacle().map(Reason::Blocked);
        if let Some(reason) = strays.or(obstacle).or(self.leave) {
            self.why = reason;
            return self.release(now, reason);
        }
        if self
            .claim
            .as_ref()
            .is_some_and(|claim| claim.until().is_none())
        {
            self.tell_blocked(self.denial());
            return Go::Wait;
        }
        self.go(now, State::Promoting, Reason::Held);
        Go::On
    }

    fn in_promoting(&mut self, now: T) -> Go {
        if let Some((reason, _)) = self.must_go() {
            return self.demote(now, reason);
        }
        match self.work.next_to_do(&self.config.plan) {
            Next::Wait | Next::Stuck => Go::Wait,
            Next::Begin(start) => self.begin(now, start),
            Next::LeftOut(step) => {
                self.tell(Event::LeftOut(step));
                Go::On
            }
            Next::Nothing => {
                self.has_met = true;
                self.go(now, State::Active, Reason::Done);
                Go::On
            }
        }
    }

    fn in_active(&mut self, now: T) -> Go {
        match self.must_go() {
            None => {
                self.tell_kept();
                Go::Wait
            }
            Some((reason, Manner::AtOnce)) => self.demote(now, reason),
            Some((reason, Manner::Planned)) => {
                self.why = reason;
                self.go(now, State::Draining, reason);
                Go::On
            }
        }
    }

    fn in_draining(&mut self, now: T) -> Go {
        if let Some((reason, Manner::AtOnce)) = self.must_go() {
            return self.demote(now, reason);
        }
        match self.work.next_to_drain(&self.config.plan) {
            Next::Begin(start) => self.begin(now, start),
            Next::Wait | Next::LeftOut(_) | Next::Stuck => Go::Wait,
            Next::Nothing => {
                self.work.turn();
                self.go(now, State::Demoting, Reason::Drained);
                Go::On
            }
        }
    }

    fn in_demoting(&mut self, now: T) -> Go {
        match self.work.next_to_undo(&self.config) {
            Next::Begin(start) => self.begin(now, start),
            Next::Wait | Next::LeftOut(_) => Go::Wait,
            Next::Nothing => self.release(now, Reason::Undone),
            Next::Stuck => {
                // Whoever takes over must not find this node writing.
                self.wish = None;
                self.outputs.push(Output::Revoke);
                self.work.wait_until(now + self.config.holds.stuck);
                self.go(now, State::Stuck, Reason::Stuck);
                Go::On
            }
        }
    }

    fn in_releasing(&mut self, now: T) -> Go {
        if self
            .claim
            .as_ref()
            .is_some_and(|claim| !claim.is_released())
        {
            return Go::Wait;
        }
        self.rest(now, Reason::Released)
    }

    /// Turns to undoing everything.
    pub(super) fn demote(&mut self, now: T, reason: Reason) -> Go {
        if let Some(run) = self.work.cancel(now, self.config.grace) {
            self.outputs.push(Output::Cancel(run));
        }
        if reason == Reason::RecordTaken {
            self.wish = None;
            self.outputs.push(Output::Revoke);
        }
        self.work.turn();
        self.storage_strayed &= self.work.is_secondary(&self.config.plan);
        self.why = reason;
        self.go(now, State::Demoting, reason);
        Go::On
    }

    /// Gives the arbiter's record back, if there is one.
    fn release(&mut self, now: T, reason: Reason) -> Go {
        let Some(claim) = &mut self.claim else {
            return self.rest(now, reason);
        };
        claim.hurry();
        self.go(now, State::Releasing, reason);
        Go::On
    }

    /// Everything is undone: the role is given away, and others may have it.
    fn rest(&mut self, now: T, reason: Reason) -> Go {
        (self.leave, self.wish, self.risk) = (None, None, Force::No);
        (self.storage_lost, self.kept) = (false, false);
        let holds = &self.config.holds;
        let hold = match self.why {
            // A disk that has failed looks well again as soon as nobody asks it for anything.
            Reason::Failed(_)
            | Reason::StorageLost
            | Reason::Blocked(Blocked::Storage(Unfit::Inconsistent | Unfit::Outdated)) => {
                Some((Cause::Failed, holds.failed))
            }
            Reason::Health(_) | Reason::Command(Command::Demote | Command::SwitchOver) => {
                Some((Cause::Left, holds.left))
            }
            _ => None,
        };
        if let Some((cause, time)) = hold {
            self.holds.insert(cause, now + time);
        }
        self.go(now, State::Standby, reason);
        self.update_causes();
        // One that lost the addresses and has them again is wanted: to step down then would have
        // it lose them once more, and so on for ever.
        let lost = matches!(
            self.why,
            Reason::AddressLost | Reason::Blocked(Blocked::Address)
        );
        let returned = lost && self.is_here();
        if !returned && !matches!(self.why, Reason::Start | Reason::StorageStrayed) {
            self.step_down();
        }
        Go::On
    }

    fn begin(&mut self, now: T, start: Start) -> Go {
        let (id, deadline) = self.work.begin(now, start);
        self.outputs.push(Output::Begin(Run {
            id,
            step: start.step(),
            action: start.action,
            deadline,
            token: self.claim.as_ref().and_then(Claim::token),
        }));
        Go::Wait
    }

    /// Makes the groups BACKUP whose master this node still is.
    fn step_down(&mut self) {
        for (role, group) in self.roles.iter().zip((0..).map(GroupId::new)) {
            if *role == Role::Master {
                self.outputs.push(Output::StepDown(group));
            }
        }
    }

    /// Says once why a node that is master is not promoted.
    fn tell_blocked(&mut self, blocked: Option<Blocked>) {
        let blocked = blocked.filter(|blocked| *blocked != Blocked::Address);
        let Some(blocked) = blocked.filter(|_| blocked != self.blocked) else {
            return;
        };
        self.blocked = Some(blocked);
        self.tell(Event::NotPromoted(blocked));
    }

    /// Lets another node be master, if time alone will not change that this one is not promoted.
    /// Not too often: two nodes of this kind would toss the addresses to and fro.
    fn decline(&mut self, now: T, blocked: Blocked) {
        let for_good = matches!(
            blocked,
            Blocked::Maintenance | Blocked::Storage(_) | Blocked::StepRuns
        );
        if for_good && self.declines.is_none() {
            self.declines = Some(now + self.config.holds.left);
            self.step_down();
        }
    }

    fn tell_kept(&mut self) {
        let lost = self
            .claim
            .as_ref()
            .is_some_and(|claim| claim.until().is_none());
        if lost && !self.kept {
            self.tell(Event::KeptWithoutArbiter);
        }
        self.kept = lost;
    }

    fn update_causes(&mut self) {
        let due = self.due_causes();
        let amount = self.config.demotion;
        for cause in due.difference(&self.causes).copied() {
            self.outputs.push(Output::Demote { cause, amount });
        }
        for cause in self.causes.difference(&due).copied() {
            self.outputs.push(Output::Restore(cause));
        }
        self.causes = due;
    }

    fn ask_arbiter(&mut self, now: T) {
        let want = self.want();
        let Some(claim) = &mut self.claim else { return };
        if let Some(request) = claim.ask(now, want) {
            self.outputs.push(Output::Arbiter(request));
        }
    }

    fn want(&self) -> Want {
        match self.state {
            State::Stuck => Want::Look,
            State::Demoting if self.cleans_up() => Want::Look,
            State::Standby | State::Releasing => Want::Free,
            State::Acquiring
            | State::Promoting
            | State::Active
            | State::Draining
            | State::Demoting => Want::Hold {
                up_to_date: self.up_to_date(),
                // Once it has the record, it does not take it from anybody else.
                force: match self.state {
                    State::Acquiring => self.force(),
                    _ => Force::No,
                },
            },
        }
    }

    /// Who the record should say is up to date: fewer only when the storage asks for it, more
    /// when it says so.
    fn up_to_date(&self) -> Option<NodeSet> {
        if !self.config.has_storage() {
            // There is nothing that a node could lack.
            return Some(NodeSet::ALL);
        }
        let claim = self.claim.as_ref()?;
        claim.until()?;
        let recorded = claim.record()?.up_to_date;
        if let Some(wish) = &self.wish {
            // Nobody is declared outdated in favour of data that are not up to date themselves.
            return Some(if self.is_sound() {
                wish.current
            } else {
                recorded
            });
        }
        let status = self.storage?;
        let is_primary =
            status.role == StorageRole::Primary && self.work.is_primary(&self.config.plan);
        is_primary.then(|| recorded.union(status.current))
    }

    /// Lets the storage go on with fewer nodes, once the record says so.
    fn grant(&mut self) {
        let has_role = match self.state {
            State::Promoting | State::Active | State::Draining => true,
            State::Demoting => !self.cleans_up(),
            State::Standby | State::Acquiring | State::Releasing | State::Stuck => false,
        };
        let may = has_role && self.is_sound();
        let Some(wish) = self.wish.as_mut().filter(|_| may) else {
            return;
        };
        let until = match &self.claim {
            None => None,
            Some(claim) => {
                let Some(until) = claim.until() else { return };
                if !claim.says(wish.current) {
                    return;
                }
                let settings = self.config.arbitration;
                let keeps = settings.is_some_and(|settings| settings.on_loss == OnLoss::Keep);
                (!keeps).then_some(until)
            }
        };
        if wish.granted != Some(until) {
            wish.granted = Some(until);
            let wish = wish.id;
            self.outputs.push(Output::Grant(Grant { wish, until }));
        }
    }
}

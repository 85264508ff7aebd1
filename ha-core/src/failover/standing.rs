//! What speaks for and against having the role: computed from what is known, changing nothing.

use alloc::collections::BTreeSet;
use core::ops::Add;
use core::time::Duration;

use carp_proto::State as Role;

use super::arbiter::{Denial, Force, OnLoss};
use super::claim::{Claim, Reach};
use super::event::{Blocked, Cause, Command, Reason, Refusal, State};
use super::machine::{Duty, Failover};
use super::storage::{Data, NodeSet, Peer, Unfit};

/// How a role is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// At once.
    AtOnce,
    /// After draining.
    Planned,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Failover<T> {
    /// Whether this node is master of all groups.
    pub(super) fn is_here(&self) -> bool {
        self.roles.iter().all(|role| *role == Role::Master)
    }

    /// Whether some other node has all that was acknowledged.
    pub(super) fn has_successor(&self) -> bool {
        let this = NodeSet::from(self.config.node);
        let others = |current: NodeSet| !current.is_subset(this);
        self.storage.is_some_and(|status| others(status.current))
    }

    /// Whether nobody is in touch who may have what this node has: who took over would lack what it
    /// has acknowledged. A peer that is connected and behind knows that it is.
    fn is_last(&self) -> bool {
        let status = self.storage.filter(|_| self.config.has_storage());
        status.is_some_and(|it| it.data == Data::UpToDate && it.peer == Peer::Disconnected)
            && !self.has_successor()
    }

    /// Whether anything may be there that has to be undone before others may have the role.
    fn has_something(&self) -> bool {
        match self.state {
            State::Standby | State::Acquiring | State::Releasing | State::Stuck => false,
            State::Promoting | State::Active | State::Draining | State::Demoting => true,
        }
    }

    /// Whether what is undone was not done by this node in the role of the holder: by a former
    /// process, by somebody else, or so long ago that the record may be another's.
    pub(super) fn cleans_up(&self) -> bool {
        matches!(
            self.why,
            Reason::Start | Reason::StorageStrayed | Reason::Again
        )
    }

    /// Whether the storage has another role than this node gave it: it was restarted, or somebody
    /// changed it by hand.
    pub(super) fn strays(&self) -> bool {
        self.storage_strayed && self.config.has_storage()
    }

    /// Why this node is not promoted; it does not look at who holds the arbiter's record.
    pub(super) fn obstacle(&self) -> Option<Blocked> {
        if !self.is_here() {
            return Some(Blocked::Address);
        }
        let settling = self.settles.map(|_| Blocked::Settling);
        let hold = self.holds.keys().next().copied().map(Blocked::Hold);
        settling.or(hold).or_else(|| self.defect(self.force()))
    }

    /// What a command does not overcome by bringing the addresses here.
    fn defect(&self, force: Force) -> Option<Blocked> {
        match self.duty {
            Duty::InService => {}
            Duty::Maintenance => return Some(Blocked::Maintenance),
            Duty::Ending | Duty::Ended => return Some(Blocked::Shutdown),
        }
        if self.work.has_given_up() {
            return Some(Blocked::StepRuns);
        }
        match force {
            Force::Yes => None,
            Force::No => self
                .unfit()
                .map(Blocked::Storage)
                .or_else(|| self.primary_peer()),
        }
    }

    fn unfit(&self) -> Option<Unfit> {
        if !self.config.has_storage() {
            return None;
        }
        let Some(status) = &self.storage else {
            return Some(Unfit::Unknown);
        };
        status
            .fitness()
            .err()
            .or_else(|| match self.claim_denial() {
                Some(Denial::Unfit(unfit)) => Some(unfit),
                Some(Denial::Held(_)) | None => None,
            })
    }

    /// Whether the data look well, but are only known to have been so before this node started:
    /// since then others may have written. An arbiter's record would say so.
    pub(super) fn is_unmet(&self) -> bool {
        self.config.has_storage()
            && self.claim.is_none()
            && !self.has_met
            && self.force() == Force::No
            && self.unfit().is_none()
    }

    fn primary_peer(&self) -> Option<Blocked> {
        let status = self.storage.filter(|_| self.config.has_storage())?;
        matches!(status.peer, Peer::Primary | Peer::Unheard).then_some(Blocked::PeerPrimary)
    }

    fn claim_denial(&self) -> Option<Denial> {
        self.claim.as_ref()?.denial(self.force())
    }

    /// Why the arbiter's record is not taken.
    pub(super) fn denial(&self) -> Option<Blocked> {
        self.claim_denial().map(Blocked::from)
    }

    /// Why the role must be given up, the most urgent first.
    pub(super) fn must_go(&self) -> Option<(Reason, Manner)> {
        let urgent = if self.storage_lost {
            Some(Reason::StorageLost)
        } else if !self.is_here() {
            Some(Reason::AddressLost)
        } else if self.leave == Some(Reason::Command(Command::Demote)) {
            self.leave
        } else {
            self.lost_record().or_else(|| self.unfit_after_all())
        };
        let planned = || match self.duty {
            Duty::Ending | Duty::Ended => Some(Reason::Command(Command::Shutdown)),
            Duty::Maintenance => Some(Reason::Command(Command::Maintenance)),
            Duty::InService => self.leave,
        };
        let at_once = urgent.map(|reason| (reason, Manner::AtOnce));
        at_once.or_else(|| planned().map(|reason| (reason, Manner::Planned)))
    }

    /// Whether the data here are up to date by the storage's own account, or the operator takes
    /// the risk.
    pub(super) fn is_sound(&self) -> bool {
        let is_fit = self.storage.is_some_and(|status| status.fitness().is_ok());
        is_fit || self.risk == Force::Yes
    }

    /// A storage that turns out not to be fit: as when its synchronisation began while it was
    /// made primary, or when a former primary hears what it has missed.
    fn unfit_after_all(&self) -> Option<Reason> {
        let data = self.storage.filter(|_| self.risk == Force::No)?.data;
        let is_lost = match (self.state, data) {
            (_, Data::Outdated | Data::Inconsistent) => true,
            // That is for the operator to decide, and reads may go to the node that is copied from.
            (State::Promoting, Data::SplitBrain | Data::Synchronising { .. }) => true,
            (_, _) => false,
        };
        let unfit = self.unfit().filter(|_| is_lost)?;
        Some(Reason::Blocked(Blocked::Storage(unfit)))
    }

    fn lost_record(&self) -> Option<Reason> {
        let claim = self.claim.as_ref()?;
        if claim.until().is_some() {
            return None;
        }
        if claim.denial(Force::No).is_some() {
            return Some(Reason::RecordTaken);
        }
        let is_kept = self.state == State::Active && self.keeps_without_arbiter();
        (!is_kept).then_some(Reason::RecordLost)
    }

    /// Whether the role is kept though the record could not be renewed.
    pub(super) fn keeps_without_arbiter(&self) -> bool {
        match self.config.arbitration.map(|settings| settings.on_loss) {
            Some(OnLoss::Keep) => true,
            Some(OnLoss::KeepWhilePeerAgrees) => self.has_successor() && self.wish.is_none(),
            Some(OnLoss::Release) | None => false,
        }
    }

    /// Why a command cannot be followed.
    pub(super) fn refusal(&self, command: Command) -> Option<Refusal> {
        if self.duty == Duty::Ending {
            return Some(Refusal::Shutdown);
        }
        let has_role = matches!(
            self.state,
            State::Acquiring | State::Promoting | State::Active | State::Draining
        );
        match command {
            Command::Promote | Command::Force if self.state == State::Stuck => {
                Some(Refusal::NotActive(self.state))
            }
            // Not elected, but at the operator's word: that it is too old is for `Force`.
            Command::Promote => {
                let unmet = self.is_unmet().then_some(Blocked::Unmet);
                self.defect(Force::No).or(unmet).map(Refusal::Blocked)
            }
            Command::Force => self.defect(Force::Yes).map(Refusal::Blocked),
            Command::Demote if !has_role => Some(Refusal::NotActive(self.state)),
            Command::SwitchOver if self.state != State::Active => {
                Some(Refusal::NotActive(self.state))
            }
            Command::SwitchOver if self.config.has_storage() && !self.has_successor() => {
                Some(Refusal::NobodyElse)
            }
            Command::Demote
            | Command::SwitchOver
            | Command::Maintenance
            | Command::Resume
            | Command::Shutdown => None,
        }
    }

    /// For what this node ought to be demoted. What would let another node take over is withheld
    /// while there is something to undo: the role is given away last.
    pub(super) fn due_causes(&self) -> BTreeSet<Cause> {
        let mut causes: BTreeSet<Cause> = self.holds.keys().copied().collect();
        let is_starting = self.state == State::Demoting && self.why == Reason::Start;
        let is_leaving = self.leave.is_some()
            || matches!(self.state, State::Draining | State::Releasing)
            || self.state == State::Demoting && !is_starting;
        let is_last = self.state == State::Active && self.is_last();
        let failing = self.failing_checks().map(Cause::Health);
        let failing = failing.filter(|cause| !is_leaving || self.causes.contains(cause));
        causes.extend(failing.filter(|_| !is_last));
        if is_starting {
            causes.insert(Cause::Start);
        }
        let is_again = self.state == State::Demoting && self.why == Reason::Again;
        if self.state == State::Stuck || is_again {
            causes.insert(Cause::Stuck);
        }
        if self.has_something() {
            return causes;
        }
        if self.duty == Duty::Maintenance {
            causes.insert(Cause::Maintenance);
        }
        if self.force() == Force::No && self.unfit().is_some() {
            causes.insert(Cause::Storage);
        }
        if self.is_unmet() {
            causes.insert(Cause::Unmet);
        }
        if self.work.has_given_up() {
            causes.insert(Cause::Stuck);
        }
        let arbiter = |claim: &Claim<T>| {
            let has_rival = self.state == State::Acquiring && claim.rival().is_some();
            claim.reach() == Reach::Silent || has_rival
        };
        if self.claim.as_ref().is_some_and(arbiter) {
            causes.insert(Cause::Arbiter);
        }
        causes
    }
}

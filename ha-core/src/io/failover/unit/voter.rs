//! What the protocol of the addresses is told, in order, without anybody waiting for it.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::format;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carp_proto::State as Role;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use super::super::super::clock;
use super::super::clock::sleep;
use super::super::election::{Election, ElectionError};
use super::event::{UnitEvent, UnitEventKind};
use crate::failover::GroupId;

/// How long it may take to do as it is told.
const LIMIT: Duration = Duration::from_secs(2);
/// When what it did not do is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What it is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Vote {
    Demote(Arc<str>, i32),
    Restore(Arc<str>),
    Force(GroupId, Role),
}

impl Vote {
    /// Whether this one makes `other` pointless, if that was said before and not heard yet.
    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Demote(name, _) | Self::Restore(name),
                Self::Demote(other, _) | Self::Restore(other),
            ) => name == other,
            (Self::Force(group, _), Self::Force(other, _)) => group == other,
            (Self::Force(..), _) | (_, Self::Force(..)) => false,
        }
    }

    fn name(&self) -> Arc<str> {
        match self {
            Self::Demote(reason, _) | Self::Restore(reason) => reason.clone(),
            Self::Force(group, role) => format!("group {} to {role}", group.index()).into(),
        }
    }
}

/// The votes that wait: at most one for each reason and for each group.
#[derive(Debug, Default)]
struct Waiting {
    votes: VecDeque<Vote>,
    /// Whether one is being told.
    is_telling: bool,
}

#[derive(Debug, Default)]
struct Urn {
    waiting: Mutex<Waiting>,
    /// Told of new votes.
    more: Notify,
    /// Told when none is left.
    empty: Notify,
}

impl Urn {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // What it guards is whole at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells an [`Election`], in a task of its own that ends with this.
#[derive(Debug)]
pub(super) struct Voter {
    votes: Arc<Urn>,
    task: JoinHandle<()>,
}

impl Voter {
    pub(super) fn spawn(election: Arc<dyn Election>, events: broadcast::Sender<UnitEvent>) -> Self {
        let votes = Arc::new(Urn::default());
        let task = tokio::spawn(attend(votes.clone(), election, events));
        Self { votes, task }
    }

    pub(super) fn tell(&self, vote: Vote) {
        let mut waiting = self.votes.waiting();
        waiting.votes.retain(|other| !vote.replaces(other));
        waiting.votes.push_back(vote);
        self.votes.more.notify_one();
    }

    /// Waits until everything is told, but not for ever.
    pub(super) async fn flush(&self) {
        let flushed = async {
            loop {
                {
                    let waiting = self.votes.waiting();
                    if waiting.votes.is_empty() && !waiting.is_telling {
                        return;
                    }
                }
                self.votes.empty.notified().await;
            }
        };
        let _ = clock::within(LIMIT, flushed).await;
    }
}

impl Drop for Voter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn attend(
    votes: Arc<Urn>,
    election: Arc<dyn Election>,
    events: broadcast::Sender<UnitEvent>,
) {
    let mut failing: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut failed: VecDeque<Vote> = VecDeque::new();
    let mut again = clock::now();
    loop {
        let next = {
            let mut waiting = votes.waiting();
            let next = waiting.votes.pop_front();
            waiting.is_telling = next.is_some();
            next
        };
        let Some(vote) = next else {
            votes.empty.notify_one();
            tokio::select! {
                biased;
                () = votes.more.notified() => {}
                () = sleep(again.saturating_duration_since(clock::now())), if !failed.is_empty() => {
                    let mut waiting = votes.waiting();
                    for vote in failed.drain(..) {
                        let is_old = waiting.votes.iter().any(|newer| newer.replaces(&vote));
                        if !is_old {
                            waiting.votes.push_back(vote);
                        }
                    }
                }
            }
            continue;
        };
        failed.retain(|other| !vote.replaces(other));
        let told = clock::within(LIMIT, tell(&*election, &vote)).await;
        match told.unwrap_or_else(|| Err(ElectionError::TimedOut { limit: LIMIT })) {
            Ok(()) => {
                failing.remove(&vote.name());
            }
            Err(error) => {
                if failing.insert(vote.name()) {
                    let kind = UnitEventKind::NotElected {
                        order: vote.name(),
                        error: Arc::new(error),
                    };
                    let at = clock::now();
                    // There may be nobody who listens.
                    let _ = events.send(UnitEvent { at, kind });
                }
                // The machine says it again when a group should move; reasons it says but once.
                if !matches!(vote, Vote::Force(..)) {
                    failed.push_back(vote);
                    again = clock::now() + AGAIN;
                }
            }
        }
    }
}

async fn tell(election: &dyn Election, vote: &Vote) -> Result<(), ElectionError> {
    match vote {
        Vote::Demote(reason, amount) => election.demote(reason, *amount).await,
        Vote::Restore(reason) => election.restore(reason).await,
        Vote::Force(group, role) => election.force(*group, *role).await,
    }
}

//! How far a plan is done or undone, and the one run that does it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use super::config::Config;
use super::event::{Ending, Event, Outcome, Output, RunId};
use super::plan::{Action, IfStuck, OnFailure, Plan, StepId, StepKind};

/// How far a step is done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Progress {
    /// Nothing of it is there.
    Clean,
    /// Something of it may be there.
    Begun,
    Done,
    /// A promotion goes on without it, though something of it may be there.
    LeftOut,
    /// Nothing undoes it.
    Stuck,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Task {
    Do(StepId),
    Drain(StepId),
    Undo(StepId),
    FenceSelf,
}

impl Task {
    fn step(self) -> Option<StepId> {
        match self {
            Self::Do(step) | Self::Drain(step) | Self::Undo(step) => Some(step),
            Self::FenceSelf => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Cancelled {
    No,
    TooLate,
    NotWanted,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Running<T> {
    id: RunId,
    task: Task,
    action: Action,
    began: T,
    ends: T,
    cancelled: Cancelled,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Next {
    /// Something runs, or waits to be tried again.
    Wait,
    /// Begin this.
    Begin(Start),
    /// A step is left out.
    LeftOut(StepId),
    /// There is nothing left.
    Nothing,
    /// There is something left that cannot be done.
    Stuck,
}

/// What a run will be.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Start {
    task: Task,
    pub(super) action: Action,
    pub(super) time: Duration,
}

impl Start {
    pub(super) fn step(&self) -> Option<StepId> {
        self.task.step()
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Work<T> {
    progress: Vec<Progress>,
    drained: Vec<StepId>,
    run: Option<Running<T>>,
    /// Runs that did not end when they were cancelled: at most one for each task and action.
    given_up: Vec<(RunId, Task, Action)>,
    /// Which step is being undone, and which attempt is next.
    attempt: (Option<StepId>, usize),
    /// How often the present step has been tried again.
    tries: u8,
    /// When something is tried again.
    again: Option<T>,
    fenced: bool,
    runs: u64,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Work<T> {
    /// Something of every step may be there.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            progress: vec![Progress::Begun; plan.len()],
            drained: Vec::new(),
            run: None,
            given_up: Vec::new(),
            attempt: (None, 0),
            tries: 0,
            again: None,
            fenced: false,
            runs: 0,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<T> {
        let ends = self.run.map(|run| run.ends);
        [ends, self.again].into_iter().flatten().min()
    }

    pub(super) fn running(&self) -> Option<RunId> {
        self.run.map(|run| run.id)
    }

    pub(super) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Whether the storage is primary here, as far as steps have made it so.
    pub(super) fn is_primary(&self, plan: &Plan) -> bool {
        storage_role(plan).is_some_and(|id| self.progress_of(id) == Progress::Done)
    }

    /// Whether it is secondary, and nothing makes it primary.
    pub(super) fn is_secondary(&self, plan: &Plan) -> bool {
        storage_role(plan).is_some_and(|id| self.progress_of(id) == Progress::Clean)
    }

    /// The storage role is not what it was made to be, and has to be made so again.
    pub(super) fn stray(&mut self, plan: &Plan) {
        if let Some(id) = storage_role(plan) {
            self.set(id, Progress::Begun);
        }
    }

    fn progress_of(&self, step: StepId) -> Progress {
        let progress = self.progress.get(step.index());
        progress.copied().unwrap_or(Progress::Clean)
    }

    fn set(&mut self, step: StepId, progress: Progress) {
        if let Some(place) = self.progress.get_mut(step.index()) {
            *place = progress;
        }
    }

    fn is_given_up(&self, step: Option<StepId>, action: Action) -> bool {
        let same = |run: &(RunId, Task, Action)| run.1.step() == step && run.2 == action;
        self.given_up.iter().any(same)
    }

    /// Turns to something else: waits for nothing any more.
    pub(super) fn turn(&mut self) {
        (self.again, self.tries, self.fenced) = (None, 0, false);
        self.attempt = (None, 0);
        self.drained.clear();
    }

    /// Gives what nothing could undo another chance.
    pub(super) fn try_again(&mut self) {
        self.turn();
        for progress in &mut self.progress {
            if *progress == Progress::Stuck {
                *progress = Progress::Begun;
            }
        }
    }

    pub(super) fn wait_until(&mut self, at: T) {
        self.again = Some(at);
    }

    /// Takes note of the time, and tells whether something may be tried again now.
    pub(super) fn is_again(&mut self, now: T) -> bool {
        let again = self.again.is_some_and(|again| again <= now);
        if again {
            self.again = None;
        }
        again
    }

    /// What a promotion does next.
    pub(super) fn next_to_do(&mut self, plan: &Plan) -> Next {
        if self.run.is_some() || self.again.is_some() {
            return Next::Wait;
        }
        let open =
            |work: &Self, id| !matches!(work.progress_of(id), Progress::Done | Progress::LeftOut);
        let Some((id, step)) = plan.steps().find(|(id, _)| open(self, *id)) else {
            return Next::Nothing;
        };
        let mut needs = step.needs.iter();
        if needs.any(|needs| self.progress_of(*needs) != Progress::Done) {
            self.set(id, Progress::LeftOut);
            return Next::LeftOut(id);
        }
        Next::Begin(Start {
            task: Task::Do(id),
            action: step.kind.action(),
            time: step.deadline,
        })
    }

    /// What is drained next.
    pub(super) fn next_to_drain(&self, plan: &Plan) -> Next {
        if self.run.is_some() {
            return Next::Wait;
        }
        let next = plan.steps().rev().find_map(|(id, step)| {
            let time = step.drain?;
            let wanted = self.progress_of(id) == Progress::Done && !self.drained.contains(&id);
            wanted.then_some((id, time))
        });
        match next {
            Some((id, time)) => Next::Begin(Start {
                task: Task::Drain(id),
                action: Action::Drain,
                time,
            }),
            None => Next::Nothing,
        }
    }

    /// What a demotion does next.
    pub(super) fn next_to_undo(&mut self, config: &Config) -> Next {
        if self.run.is_some() {
            return Next::Wait;
        }
        for (id, step) in config.plan.steps().rev() {
            if self.progress_of(id) == Progress::Clean {
                continue;
            }
            if step.undo.is_empty() {
                self.set(id, Progress::Clean);
                continue;
            }
            if self.progress_of(id) != Progress::Stuck && self.attempt.0 != Some(id) {
                self.attempt = (Some(id), 0);
            }
            while self.progress_of(id) != Progress::Stuck {
                let Some(attempt) = step.undo.get(self.attempt.1) else {
                    self.set(id, Progress::Stuck);
                    break;
                };
                if !self.is_given_up(Some(id), attempt.action) {
                    return Next::Begin(Start {
                        task: Task::Undo(id),
                        action: attempt.action,
                        time: attempt.deadline,
                    });
                }
                self.attempt.1 += 1;
            }
            if step.if_stuck == IfStuck::Halt {
                break;
            }
        }
        // A step that still runs can leave something behind at any time.
        let is_doing = |run: &(RunId, Task, Action)| matches!(run.1, Task::Do(_));
        let is_clean = self.progress.iter().all(|step| *step == Progress::Clean);
        if is_clean && !self.given_up.iter().any(is_doing) {
            return Next::Nothing;
        }
        match config.fence_self {
            Some(time) if !self.fenced && !self.is_given_up(None, Action::FenceSelf) => {
                Next::Begin(Start {
                    task: Task::FenceSelf,
                    action: Action::FenceSelf,
                    time,
                })
            }
            Some(_) | None => Next::Stuck,
        }
    }

    pub(super) fn begin(&mut self, now: T, start: Start) -> (RunId, T) {
        self.runs += 1;
        let (id, ends) = (RunId(self.runs), now + start.time);
        if let Task::Do(step) = start.task {
            self.set(step, Progress::Begun);
        }
        self.run = Some(Running {
            id,
            task: start.task,
            action: start.action,
            began: now,
            ends,
            cancelled: Cancelled::No,
        });
        (id, ends)
    }

    /// Cancels what runs, unless that is undoing something.
    pub(super) fn cancel(&mut self, now: T, grace: Duration) -> Option<RunId> {
        let run = self.run.as_mut()?;
        if run.cancelled != Cancelled::No || matches!(run.task, Task::Undo(_) | Task::FenceSelf) {
            return None;
        }
        run.cancelled = Cancelled::NotWanted;
        run.ends = now + grace;
        Some(run.id)
    }

    /// Takes note of the time: cancels what runs too long, and gives up what does not end then.
    pub(super) fn on_timeout(&mut self, now: T, grace: Duration) -> Overdue<T> {
        let Some(run) = self.run.as_mut().filter(|run| run.ends <= now) else {
            return Overdue::No;
        };
        if run.cancelled == Cancelled::No {
            run.cancelled = Cancelled::TooLate;
            run.ends = now + grace;
            return Overdue::Cancel(run.id);
        }
        let run = *run;
        self.given_up.push((run.id, run.task, run.action));
        Overdue::GivenUp(self.end(now, run, Ending::GivenUp))
    }

    /// Takes note that a run has ended. `None` if there is none of this name.
    pub(super) fn on_ended(&mut self, now: T, id: RunId, outcome: Outcome) -> Option<Ended<T>> {
        if let Some(place) = self.given_up.iter().position(|run| run.0 == id) {
            // It may have come to something after that was undone.
            if let (_, Task::Do(step), _) = self.given_up.remove(place) {
                self.set(step, Progress::Begun);
            }
            return Some(Ended::Late);
        }
        let run = self.run.filter(|run| run.id == id)?;
        let ending = match (outcome, run.cancelled) {
            (Outcome::Done, _) => Ending::Done,
            (_, Cancelled::TooLate) => Ending::TimedOut,
            (_, Cancelled::NotWanted) | (Outcome::Cancelled, Cancelled::No) => Ending::Cancelled,
            (Outcome::Failed { code }, Cancelled::No) => Ending::Failed(code),
        };
        Some(self.end(now, run, ending))
    }

    fn end(&mut self, now: T, run: Running<T>, ending: Ending) -> Ended<T> {
        self.run = None;
        let failed = match run.task {
            Task::Do(step) if ending == Ending::Done => {
                self.tries = 0;
                self.set(step, Progress::Done);
                None
            }
            Task::Do(step) => Some(step),
            Task::Drain(step) => {
                self.drained.push(step);
                None
            }
            Task::Undo(step) => {
                if ending == Ending::Done {
                    self.attempt = (None, 0);
                    self.set(step, Progress::Clean);
                } else {
                    self.attempt.1 += 1;
                }
                None
            }
            Task::FenceSelf => {
                self.fenced = true;
                None
            }
        };
        let event = Event::Step {
            step: run.task.step(),
            action: run.action,
            began: run.began,
            ended: now,
            ending,
        };
        let fatal = ending == Ending::GivenUp;
        Ended::Now {
            event: Output::Event(event),
            failed: failed.map(|step| (step, fatal)),
        }
    }

    /// What follows from the failure of a step during a promotion: whether it goes on.
    pub(super) fn goes_on(&mut self, now: T, plan: &Plan, step: StepId) -> bool {
        match plan.get(step).map(|step| step.on_failure) {
            Some(OnFailure::Retry { times, pause }) if self.tries < times => {
                self.tries += 1;
                self.again = Some(now + pause);
                true
            }
            Some(OnFailure::Skip) => {
                self.set(step, Progress::LeftOut);
                true
            }
            Some(OnFailure::Retry { .. } | OnFailure::RollBack) | None => false,
        }
    }
}

fn storage_role(plan: &Plan) -> Option<StepId> {
    let mut steps = plan.steps();
    let role = steps.find(|(_, step)| step.kind == StepKind::StorageRole);
    role.map(|(id, _)| id)
}

/// What a deadline did to the run.
pub(super) enum Overdue<T> {
    No,
    Cancel(RunId),
    GivenUp(Ended<T>),
}

/// What the end of a run means.
pub(super) enum Ended<T> {
    /// It was given up before.
    Late,
    /// To be told; and the step that is not done, and whether that is beyond repair.
    Now {
        event: Output<T>,
        failed: Option<(StepId, bool)>,
    },
}

//! What a unit would do: the machine itself is asked, on a copy.

use alloc::vec::Vec;
use core::ops::Add;
use core::time::Duration;

use carp_proto::State as Role;

use super::arbiter::{Answer, Query, Revision};
use super::event::{Blocked, Cause, Event, Input, Outcome, Output, Refusal, Run, State};
use super::machine::Failover;
use super::plan::{Action, StepId};

/// More outputs than anything causes: what does not end by then goes round in circles, as when a
/// step is to be tried again without end.
const MOST_OUTPUTS: usize = 10_000;

/// What would be done.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Preview {
    /// The steps, in order.
    pub steps: Vec<Planned>,
    /// The state in which that ends, or in which something has to be waited for.
    pub state: State,
    /// Why this node would not be promoted.
    pub blocked: Option<Blocked>,
    /// Why the command would be refused.
    pub refused: Option<Refusal>,
    /// For what this node would be demoted then.
    pub causes: Vec<Cause>,
}

/// A step that would be done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Planned {
    /// Which; `None` for fencing this node.
    pub step: Option<StepId>,
    /// What would be done.
    pub action: Action,
    /// How it would end, as was assumed.
    pub outcome: Outcome,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Failover<T> {
    /// Tells what would be done if all steps succeeded at once and the arbiter agreed as far as
    /// is known. Nothing is changed.
    ///
    /// No time passes: what has to be waited for is where it ends.
    #[must_use]
    pub fn preview(&self, now: T, input: Input) -> Preview {
        self.preview_with(now, input, |_| Outcome::Done)
    }

    /// As [`preview`](Self::preview), but `assume` says how each step would end.
    ///
    /// ```no_run
    /// # use core::time::Duration;
    /// # use ha_core::failover::{Action, Command, Failover, Input, Outcome};
    /// # fn example(unit: &Failover<Duration>, now: Duration) {
    /// // What if we switched over, and the file system could not be unmounted?
    /// let preview = unit.preview_with(now, Input::Command(Command::SwitchOver), |run| {
    ///     match run.action {
    ///         Action::Unmount => Outcome::Failed { code: 16 },
    ///         _ => Outcome::Done,
    ///     }
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn preview_with(
        &self,
        now: T,
        input: Input,
        mut assume: impl FnMut(&Run<T>) -> Outcome,
    ) -> Preview {
        let mut copy = self.clone();
        while copy.poll_output().is_some() {}
        let mut preview = Preview {
            steps: Vec::new(),
            state: self.state(),
            blocked: None,
            refused: None,
            causes: Vec::new(),
        };
        copy.handle(now, input);
        for _ in 0..MOST_OUTPUTS {
            let Some(output) = copy.poll_output() else {
                // What runs already is taken to succeed.
                let Some(run) = copy.work.running() else {
                    break;
                };
                let outcome = Outcome::Done;
                copy.handle(now, Input::Ended { run, outcome });
                continue;
            };
            match output {
                Output::Begin(run) => {
                    let outcome = assume(&run);
                    preview.steps.push(Planned {
                        step: run.step,
                        action: run.action,
                        outcome,
                    });
                    copy.handle(
                        now,
                        Input::Ended {
                            run: run.id,
                            outcome,
                        },
                    );
                }
                Output::Cancel(run) => {
                    let outcome = Outcome::Cancelled;
                    copy.handle(now, Input::Ended { run, outcome });
                }
                Output::TakeOver(group) => {
                    let role = Role::Master;
                    copy.handle(now, Input::Address { group, role });
                }
                Output::StepDown(group) => {
                    let role = Role::Backup;
                    copy.handle(now, Input::Address { group, role });
                }
                Output::Arbiter(request) => {
                    let answer = match request.query {
                        Query::Read => copy.last_answer(),
                        Query::Swap { expected, .. } => {
                            let number = expected.map_or(0, Revision::get);
                            Answer::Swapped(Revision::new(number.saturating_add(1)))
                        }
                    };
                    let request = request.id;
                    copy.handle(now, Input::Arbiter { request, answer });
                }
                Output::Event(Event::Refused { refusal, .. }) => preview.refused = Some(refusal),
                Output::Event(_)
                | Output::Demote { .. }
                | Output::Restore(_)
                | Output::Grant(_)
                | Output::Revoke
                | Output::Ended => {}
            }
        }
        preview.state = copy.state();
        preview.blocked = copy.blocked();
        preview.causes = copy.causes().collect();
        preview
    }

    /// What the arbiter would tell, as far as is known.
    fn last_answer(&self) -> Answer {
        let known = self.claim.as_ref().and_then(|claim| {
            let record = claim.record()?;
            Some((claim.token()?, *record))
        });
        Answer::Current(known)
    }
}

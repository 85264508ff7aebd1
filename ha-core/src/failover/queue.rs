//! The outputs that wait to be polled: bounded, in order.

use alloc::collections::VecDeque;

use super::event::Output;

/// How many events wait at most.
const MAX_EVENTS: usize = 256;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Queue<T> {
    outputs: VecDeque<Output<T>>,
    events: usize,
    lost: u64,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self {
            outputs: VecDeque::new(),
            events: 0,
            lost: 0,
        }
    }

    pub(super) fn lost_events(&self) -> u64 {
        self.lost
    }

    /// Appends an output. A caller that never polls loses the oldest events, which are counted.
    /// Of all others few wait: runs are begun one at a time, and of what only the last word
    /// counts only the last word is kept.
    pub(super) fn push(&mut self, output: Output<T>) {
        match &output {
            Output::Event(_) => self.make_room(),
            Output::Demote { cause, .. } | Output::Restore(cause) => {
                // They alternate: one that still waits is the opposite, and the two are nothing.
                let opposite = |other: &Output<T>| match other {
                    Output::Demote { cause: other, .. } | Output::Restore(other) => other == cause,
                    _ => false,
                };
                if let Some(place) = self.outputs.iter().position(opposite) {
                    self.outputs.remove(place);
                    return;
                }
            }
            Output::StepDown(group) | Output::TakeOver(group) => {
                let group = *group;
                self.outputs.retain(|other| match other {
                    Output::StepDown(other) | Output::TakeOver(other) => *other != group,
                    _ => true,
                });
            }
            Output::Arbiter(_) => self
                .outputs
                .retain(|other| !matches!(other, Output::Arbiter(_))),
            Output::Grant(_) | Output::Revoke => self
                .outputs
                .retain(|other| !matches!(other, Output::Grant(_) | Output::Revoke)),
            Output::Begin(_) | Output::Cancel(_) | Output::Ended => {}
        }
        self.outputs.push_back(output);
    }

    fn make_room(&mut self) {
        self.events += 1;
        if self.events <= MAX_EVENTS {
            return;
        }
        let is_event = |output: &Output<T>| matches!(output, Output::Event(_));
        if let Some(oldest) = self.outputs.iter().position(is_event) {
            self.outputs.remove(oldest);
            self.events -= 1;
            self.lost += 1;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Output<T>> {
        let output = self.outputs.pop_front()?;
        if matches!(output, Output::Event(_)) {
            self.events -= 1;
        }
        Some(output)
    }
}

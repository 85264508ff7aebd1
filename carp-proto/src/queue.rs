//! The outputs that wait to be polled: few, bounded, in order.

#![warn(clippy::wildcard_enum_match_arm)]

use core::hash::{Hash, Hasher};

use crate::event::{Demote, Event};
use crate::types::{AdvBase, AdvSkew, Family};
use crate::vrrp::{AdverInterval, Priority};

/// What will become an output.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Step {
    Event(Event),
    Demote(Demote),
    Transmit(Round),
    Acquire,
    Release,
    Announce(Family),
    ForgetAddresses,
}

/// One packet to send.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Round {
    pub(crate) family: Family,
    pub(crate) content: Content,
}

/// What it says, all but the number that CARP adds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Content {
    Carp {
        advbase: AdvBase,
        advskew: AdvSkew,
        demote: u8,
    },
    Vrrp {
        priority: Priority,
        interval: AdverInterval,
    },
}

impl Round {
    /// Whether it is a bow-out.
    pub(crate) fn is_farewell(&self) -> bool {
        match self.content {
            Content::Carp { advskew, .. } => advskew == AdvSkew::BOW_OUT,
            Content::Vrrp { priority, .. } => priority == Priority::LEAVING,
        }
    }
}

/// Room for the outputs of the longest input and as many events; see [`Queue::push`].
const CAPACITY: usize = 16;
/// How many demotions wait apart before they are added up.
const MAX_DEMOTIONS: usize = 4;

/// A ring of steps.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    steps: [Option<Step>; CAPACITY],
    head: usize,
    len: usize,
    /// Events that were dropped because nobody polled.
    lost: u64,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self {
            steps: [None; CAPACITY],
            head: 0,
            len: 0,
            lost: 0,
        }
    }

    pub(crate) fn lost_events(&self) -> u64 {
        self.lost
    }

    fn place(&self, index: usize) -> usize {
        (self.head + index) % CAPACITY
    }

    pub(crate) fn front(&self) -> Option<Step> {
        self.steps.get(self.head).copied().flatten()
    }

    pub(crate) fn pop(&mut self) -> Option<Step> {
        let step = self.steps.get_mut(self.head)?.take()?;
        self.head = self.place(1);
        self.len -= 1;
        Some(step)
    }

    /// Appends a step.
    ///
    /// A caller that never polls loses the oldest events, which are counted, and nothing
    /// else: of the other steps at most four packets, two announcements, one change of the
    /// addresses, one end of grace and four demotions wait at a time, so there always is an
    /// event to drop.
    pub(crate) fn push(&mut self, step: Step) {
        match step {
            // Only the last word counts.
            Step::Acquire | Step::Release => {
                self.retain(|s| !matches!(s, Step::Acquire | Step::Release));
            }
            Step::Announce(_) | Step::ForgetAddresses => self.retain(|s| *s != step),
            Step::Demote(demote) if self.add_up(demote) => return,
            Step::Demote(_) | Step::Event(_) | Step::Transmit(_) => {}
        }
        self.make_room();
        let end = self.place(self.len);
        self.set(end, step);
    }

    /// Puts a step before all others.
    pub(crate) fn push_front(&mut self, step: Step) {
        if let Step::Demote(demote) = step {
            if self.add_up(demote) {
                return;
            }
        }
        self.make_room();
        self.head = self.place(CAPACITY - 1);
        let head = self.head;
        self.set(head, step);
    }

    fn set(&mut self, place: usize, step: Step) {
        debug_assert!(self.len < CAPACITY, "more steps than push allows");
        if let Some(slot) = self.steps.get_mut(place) {
            *slot = Some(step);
            self.len += 1;
        }
    }

    /// Merges `demote` into the last waiting demotion if too many wait already.
    fn add_up(&mut self, demote: Demote) -> bool {
        let waiting = self.iter().filter(|s| matches!(s, Step::Demote(_))).count();
        if waiting < MAX_DEMOTIONS {
            return false;
        }
        for index in (0..self.len).rev() {
            let place = self.place(index);
            if let Some(Some(Step::Demote(last))) = self.steps.get_mut(place) {
                last.adjustment = last.adjustment.saturating_add(demote.adjustment);
                last.reason = demote.reason;
                break;
            }
        }
        true
    }

    fn make_room(&mut self) {
        if self.len < CAPACITY {
            return;
        }
        let mut dropped = false;
        self.retain(|step| {
            let drop = !dropped && matches!(step, Step::Event(_));
            dropped |= drop;
            !drop
        });
        self.lost = self.lost.saturating_add(u64::from(dropped));
    }

    /// Keeps only the steps for which `keep` is true, in their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Step) -> bool) {
        for _ in 0..self.len {
            if let Some(step) = self.pop() {
                if keep(&step) {
                    let end = self.place(self.len);
                    self.set(end, step);
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Step> {
        (0..self.len).filter_map(|index| self.steps.get(self.place(index)).copied().flatten())
    }
}

/// Equal if the same steps wait in the same order, wherever the ring begins.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Queue {}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for step in self.iter() {
            step.hash(hasher);
        }
        self.len.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DemotionReason;
    use std::vec::Vec;

    #[test]
    fn a_flood_of_events_drops_the_oldest_and_nothing_else() {
        let mut queue = Queue::new();
        queue.push(Step::Acquire);
        for _ in 0..100 {
            queue.push(Step::Event(Event::LinkLost));
        }
        queue.push(Step::Event(Event::LinkRestored));
        let steps: Vec<Step> = core::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(steps.len(), CAPACITY);
        assert_eq!(steps.first(), Some(&Step::Acquire));
        assert_eq!(steps.last(), Some(&Step::Event(Event::LinkRestored)));
        assert_eq!(queue.lost_events(), 101 - 15);
    }

    #[test]
    fn demotions_that_nobody_takes_are_added_up() {
        let mut queue = Queue::new();
        let demote = |adjustment| {
            Step::Demote(Demote {
                adjustment,
                reason: DemotionReason::InterfaceDown,
            })
        };
        for adjustment in 1..=6 {
            queue.push(demote(adjustment));
        }
        let steps: Vec<Step> = core::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(steps, [demote(1), demote(2), demote(3), demote(4 + 5 + 6)]);
    }

    #[test]
    fn the_last_word_about_the_addresses_counts() {
        let mut queue = Queue::new();
        queue.push(Step::Acquire);
        queue.push(Step::Event(Event::LinkLost));
        queue.push(Step::Release);
        assert_eq!(queue.pop(), Some(Step::Event(Event::LinkLost)));
        assert_eq!(queue.pop(), Some(Step::Release));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn queues_with_the_same_steps_are_equal() {
        let mut turned = Queue::new();
        turned.push(Step::Release);
        turned.pop();
        turned.push(Step::Acquire);
        let mut straight = Queue::new();
        straight.push(Step::Acquire);
        assert_eq!(turned, straight);
        turned.push_front(Step::ForgetAddresses);
        assert_eq!(turned.front(), Some(Step::ForgetAddresses));
    }
}

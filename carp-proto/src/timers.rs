//! The deadlines of a virtual host.

use crate::types::Family;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Timer {
    /// MASTER: the next advertisement.
    Advertise,
    /// BACKUP: no advertisement of this family was heard for the dead time.
    MasterDown(Family),
    /// MASTER without carrier: the link did not come back.
    LinkHold,
    /// MASTER: the next announcement to the neighbours.
    Announce,
    /// MASTER: the rival was not heard again.
    RivalGone,
    /// The former addresses are no longer accepted.
    AddressGrace,
    /// UCarp: the deaf time after a step down.
    Deaf,
}

/// In the order in which equal deadlines fire.
const ALL: [Timer; 8] = [
    Timer::Advertise,
    Timer::MasterDown(Family::V4),
    Timer::MasterDown(Family::V6),
    Timer::LinkHold,
    Timer::Announce,
    Timer::RivalGone,
    Timer::AddressGrace,
    Timer::Deaf,
];

/// One deadline for each purpose, or none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Timers<T> {
    advertise: Option<T>,
    master_down_v4: Option<T>,
    master_down_v6: Option<T>,
    link_hold: Option<T>,
    announce: Option<T>,
    rival_gone: Option<T>,
    address_grace: Option<T>,
    deaf: Option<T>,
}

impl<T: Copy + Ord> Timers<T> {
    pub(crate) const fn new() -> Self {
        Self {
            advertise: None,
            master_down_v4: None,
            master_down_v6: None,
            link_hold: None,
            announce: None,
            rival_gone: None,
            address_grace: None,
            deaf: None,
        }
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<T> {
        match timer {
            Timer::Advertise => self.advertise,
            Timer::MasterDown(Family::V4) => self.master_down_v4,
            Timer::MasterDown(Family::V6) => self.master_down_v6,
            Timer::LinkHold => self.link_hold,
            Timer::Announce => self.announce,
            Timer::RivalGone => self.rival_gone,
            Timer::AddressGrace => self.address_grace,
            Timer::Deaf => self.deaf,
        }
    }

    fn slot(&mut self, timer: Timer) -> &mut Option<T> {
        match timer {
            Timer::Advertise => &mut self.advertise,
            Timer::MasterDown(Family::V4) => &mut self.master_down_v4,
            Timer::MasterDown(Family::V6) => &mut self.master_down_v6,
            Timer::LinkHold => &mut self.link_hold,
            Timer::Announce => &mut self.announce,
            Timer::RivalGone => &mut self.rival_gone,
            Timer::AddressGrace => &mut self.address_grace,
            Timer::Deaf => &mut self.deaf,
        }
    }

    pub(crate) fn arm(&mut self, timer: Timer, deadline: T) {
        *self.slot(timer) = Some(deadline);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    /// The earliest deadline. `Option`'s own order would prefer `None`.
    pub(crate) fn next(&self) -> Option<T> {
        ALL.iter().filter_map(|timer| self.get(*timer)).min()
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: T) -> Option<Timer> {
        let mut earliest: Option<(T, Timer)> = None;
        for timer in ALL {
            if let Some(deadline) = self.get(timer).filter(|deadline| *deadline <= now) {
                if earliest.is_none_or(|(other, _)| deadline < other) {
                    earliest = Some((deadline, timer));
                }
            }
        }
        let (_, timer) = earliest?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_fires_first_and_none_never_wins() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);
        timers.arm(Timer::Announce, 5);
        timers.arm(Timer::MasterDown(Family::V6), 3);
        timers.arm(Timer::MasterDown(Family::V4), 3);
        assert_eq!(timers.next(), Some(3));
        assert_eq!(timers.pop_due(2), None);
        assert_eq!(timers.pop_due(9), Some(Timer::MasterDown(Family::V4)));
        assert_eq!(timers.pop_due(9), Some(Timer::MasterDown(Family::V6)));
        assert_eq!(timers.pop_due(9), Some(Timer::Announce));
        assert_eq!(timers.pop_due(9), None);
    }
}

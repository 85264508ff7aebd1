//! The number in every advertisement (CARP §1.7).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

/// How a host numbers its advertisements.
///
/// The number is authenticated, so it makes every packet another; but it is no sequence
/// number: a lone FreeBSD master draws a new one at random each time, and OpenBSD repeats
/// one for ever. No peer minds which rule a host follows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "these are all the rules there are")]
pub enum CounterRule {
    /// Each number is greater than all that were sent or accepted before, the first greater
    /// than `start`. A start that grows over reboots, such as Unix time in the upper 32
    /// bits, lets peers in strict mode recognise replays ([`ReplayPolicy::Strict`]).
    ///
    /// [`ReplayPolicy::Strict`]: crate::ReplayPolicy::Strict
    Increasing {
        /// The number before the first.
        start: u64,
    },
    /// As FreeBSD, NetBSD, DragonFly and UCarp: a random number for each advertisement until
    /// one is accepted, then one more than the last sent or accepted. The machine asks for
    /// random numbers by [`Output::NeedCounter`](crate::Output::NeedCounter).
    Random,
    /// As OpenBSD: always the same number, which should be random.
    Cookie(u64),
}

/// A rule at work.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Counter {
    Increasing(u64),
    Fresh { last: u64 },
    Following(u64),
    Cookie(u64),
}

/// What is to be written into the next advertisement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Known(u64),
    Draw,
}

impl Counter {
    pub(crate) fn new(rule: CounterRule) -> Self {
        match rule {
            CounterRule::Increasing { start } => Self::Increasing(start),
            CounterRule::Random => Self::Fresh { last: 0 },
            CounterRule::Cookie(cookie) => Self::Cookie(cookie),
        }
    }

    /// The number for one advertisement, or the wish for a random one.
    pub(crate) fn next(&mut self) -> Next {
        match self {
            Self::Increasing(last) | Self::Following(last) => {
                *last = last.wrapping_add(1);
                Next::Known(*last)
            }
            Self::Cookie(cookie) => Next::Known(*cookie),
            Self::Fresh { .. } => Next::Draw,
        }
    }

    /// Notes that a number drawn at random was used.
    pub(crate) fn drawn(&mut self, number: u64) {
        if let Self::Fresh { last } = self {
            *last = number;
        }
    }

    /// Notes the number of an accepted advertisement.
    pub(crate) fn accepted(&mut self, number: u64) {
        match self {
            Self::Increasing(last) => *last = number.max(*last),
            Self::Fresh { .. } => *self = Self::Following(number),
            Self::Following(last) => *last = number,
            Self::Cookie(_) => {}
        }
    }

    /// The last number used or adopted.
    pub(crate) fn last(self) -> u64 {
        match self {
            Self::Increasing(last) | Self::Following(last) | Self::Fresh { last } => last,
            Self::Cookie(cookie) => cookie,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increasing_numbers_pass_what_was_heard_and_never_go_back() {
        let mut counter = Counter::new(CounterRule::Increasing { start: 10 });
        assert_eq!(counter.next(), Next::Known(11));
        counter.accepted(100);
        assert_eq!(counter.next(), Next::Known(101));
        counter.accepted(50);
        assert_eq!(counter.next(), Next::Known(102));
    }

    #[test]
    fn random_numbers_end_with_the_first_accepted_advertisement() {
        let mut counter = Counter::new(CounterRule::Random);
        assert_eq!(counter.next(), Next::Draw);
        counter.drawn(7);
        assert_eq!(counter.next(), Next::Draw);
        counter.accepted(u64::MAX);
        assert_eq!(counter.next(), Next::Known(0));
        counter.accepted(3);
        assert_eq!(counter.next(), Next::Known(4));
    }

    #[test]
    fn a_cookie_stays() {
        let mut counter = Counter::new(CounterRule::Cookie(5));
        counter.accepted(9);
        assert_eq!(counter.next(), Next::Known(5));
    }
}

//! Advertisements on their way out, and what their failure does to the host.

#![warn(clippy::wildcard_enum_match_arm)]

use core::ops::Add;
use core::time::Duration;

use super::{Draw, SEND_THRESHOLD, Sending, VirtualHost};
use crate::advertisement::Advertisement;
use crate::config::Config;
use crate::counter::Next;
use crate::dialect::{Dialect, FreeBsd};
use crate::event::{Demote, DemotionReason, Output, SendResult, Transmit};
use crate::queue::{Round, Step};
use crate::timers::Timer;
use crate::types::{AdvBase, AdvSkew, Family};

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_demotion(&mut self, now: T, level: i32) {
        let rises_from_none = self.demotion == 0 && level > 0;
        self.demotion = level;
        let tells = match self.config.dialect {
            // CARP §3.5: OpenBSD tells only that it is demoted at all.
            Dialect::OpenBsd(_) => rises_from_none,
            Dialect::FreeBsd(_) | Dialect::UCarp(_) => true,
        };
        if tells && !self.holds_link() {
            self.advertise(now);
        }
    }

    /// The error logic of CARP §3.4.1, and OpenBSD's of §3.5.
    pub(super) fn on_sent(&mut self, family: Family, result: SendResult) {
        let Config {
            dialect,
            settings,
            improvements,
            interface_name: interface,
            ..
        } = self.config;
        let openbsd = matches!(dialect, Dialect::OpenBsd(_));
        let factor = if openbsd {
            1
        } else {
            settings.senderr_demotion
        };
        match result {
            SendResult::NoMemory => {
                self.stats.onomem += 1;
                if self.draw != Draw::Asked {
                    // It had been polled, but does not count as sent.
                    self.stats.uncount_output(family);
                }
                // CARP §3.4.1: "skip the rest of this round".
                self.queue
                    .retain(|step| !matches!(step, Step::Transmit(round) if !round.is_farewell()));
                self.draw = Draw::NotAsked;
            }
            SendResult::Error(error) => {
                self.sending.errors = self.sending.errors.saturating_add(1);
                self.sending.successes = 0;
                if self.sending.errors == SEND_THRESHOLD {
                    self.sending.demoted = factor;
                    let reason = if openbsd {
                        DemotionReason::SendErrors(family)
                    } else {
                        DemotionReason::SendError { error, interface }
                    };
                    self.demote_now(factor, reason);
                }
            }
            SendResult::Ok if self.sending.errors == 0 => {}
            SendResult::Ok => {
                self.sending.successes += 1;
                let demoted = self.sending.errors >= SEND_THRESHOLD;
                let enough = self.sending.successes >= SEND_THRESHOLD;
                // FreeBSD 10 to 13 forget the errors at the first success, and with them
                // that they demoted the host.
                let forgets = match dialect {
                    Dialect::FreeBsd(FreeBsd::From10To13) => enough || !improvements.exact_demotion,
                    Dialect::FreeBsd(FreeBsd::From14) | Dialect::UCarp(_) => enough,
                    Dialect::OpenBsd(_) => enough || !demoted,
                };
                if demoted && enough {
                    let amount = if improvements.exact_demotion {
                        self.sending.demoted
                    } else {
                        factor
                    };
                    let reason = if openbsd {
                        DemotionReason::SendErrorsOver(family)
                    } else {
                        DemotionReason::SendOk { interface }
                    };
                    self.demote_now(amount.saturating_neg(), reason);
                }
                if forgets {
                    self.sending = Sending::default();
                }
            }
        }
    }

    pub(super) fn on_fresh_counter(&mut self, number: u64) {
        if self.draw == Draw::Asked {
            self.draw = Draw::Drawn(number);
        }
    }

    /// Sends a round and arms the timer for the next.
    pub(super) fn advertise(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        self.push_round();
        let interval = dialect.advertise_interval(&settings, self.demotion);
        self.timers.arm(Timer::Advertise, now + interval);
    }

    pub(super) fn arm_first_advertisement(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        let interval = dialect.first_interval(&settings, self.demotion);
        self.timers.arm(Timer::Advertise, now + interval);
    }

    /// Queues one advertisement for each family; a round that nobody has begun to send is
    /// replaced, since a stale advertisement is worse than none.
    pub(super) fn push_round(&mut self) {
        self.last_round = self.now;
        let Config {
            dialect, settings, ..
        } = self.config;
        let waiting = self
            .queue
            .iter()
            .filter(|s| matches!(s, Step::Transmit(_)))
            .count();
        // Of a round half sent, the other half goes out first.
        let families = self.families().count();
        let mut keep = waiting.checked_rem(families).unwrap_or(0);
        self.queue.retain(|step| {
            let round = matches!(step, Step::Transmit(_));
            let kept = !round || keep > 0;
            keep = keep.saturating_sub(usize::from(round));
            kept
        });
        let skew = dialect.effective_skew(settings.advskew, self.demotion);
        // A negative skew, which FreeBSD 10 to 13 allow, wraps on the wire (CARP §3.1).
        let skew = u8::try_from(skew.rem_euclid(256)).unwrap_or(u8::MAX);
        let round = |family| Round {
            family,
            advbase: settings.advbase,
            advskew: AdvSkew::from_wire(skew),
            demote: dialect.demote_byte(self.demotion),
        };
        for family in [Family::V4, Family::V6] {
            if self.has(family) {
                self.queue.push(Step::Transmit(round(family)));
            }
        }
    }

    /// Says farewell, `times` over (CARP §3.6).
    pub(super) fn bow_out(&mut self, times: u8) {
        for _ in 0..times {
            for family in [Family::V4, Family::V6] {
                if self.has(family) {
                    self.queue.push(Step::Transmit(Round {
                        family,
                        advbase: AdvBase::new(255),
                        advskew: AdvSkew::BOW_OUT,
                        demote: self.config.dialect.demote_byte(self.demotion),
                    }));
                }
            }
        }
    }

    pub(super) fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.addresses.v4 > 0,
            Family::V6 => self.addresses.v6 > 0,
        }
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| self.has(*family))
    }

    /// The number for the packet at hand, unless a random one must be drawn first.
    pub(super) fn number(&mut self) -> Option<u64> {
        match (self.counter.next(), self.draw) {
            (Next::Known(number), _) => Some(number),
            (Next::Draw, Draw::Drawn(number)) => {
                self.draw = Draw::NotAsked;
                self.counter.drawn(number);
                Some(number)
            }
            (Next::Draw, Draw::NotAsked | Draw::Asked) => None,
        }
    }

    pub(super) fn transmit(&mut self, round: Round, counter: u64) -> Output {
        let Round {
            family,
            advbase,
            advskew,
            demote,
        } = round;
        let vhid = self.config.vhid;
        let advertisement = Advertisement {
            vhid,
            advbase,
            advskew,
            demote,
            counter,
        };
        self.sent.remember(advertisement);
        self.stats.count_output(family);
        Output::Transmit(Transmit {
            family,
            advertisement,
        })
    }

    pub(super) fn demote(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue.push(Step::Demote(Demote { adjustment, reason }));
    }

    /// As [`demote`](Self::demote), before the rest of a round whose first packet failed.
    pub(super) fn demote_now(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue
            .push_front(Step::Demote(Demote { adjustment, reason }));
    }
}

//! Advertisements on their way out, and what their failure does to the host.

#![warn(clippy::wildcard_enum_match_arm)]

use core::ops::Add;
use core::time::Duration;

use super::{Draw, SEND_THRESHOLD, Sending, VirtualHost};
use crate::advertisement::{Advertisement, Said};
use crate::config::Config;
use crate::counter::Next;
use crate::dialect::{Dialect, FreeBsd};
use crate::event::{Demote, DemotionReason, Output, SendResult, Transmit};
use crate::queue::{Content, Round, Step};
use crate::timers::Timer;
use crate::types::{AdvBase, AdvSkew, Family};
use crate::vrrp::{self, Vrrp};

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_demotion(&mut self, now: T, level: i32) {
        let rises_from_none = self.demotion == 0 && level > 0;
        self.demotion = level;
        let tells = match self.config.dialect {
            // CARP §3.5: OpenBSD tells only that it is demoted at all.
            Dialect::OpenBsd(_) => rises_from_none,
            Dialect::FreeBsd(_) | Dialect::UCarp(_) | Dialect::Vrrp(Vrrp::FreeBsd15) => true,
            Dialect::Vrrp(Vrrp::Rfc9568) => self.config.improvements.vrrp_demotion,
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
                    Dialect::FreeBsd(FreeBsd::From14) | Dialect::UCarp(_) | Dialect::Vrrp(_) => {
                        enough
                    }
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
        self.push_each(self.content());
    }

    fn push_each(&mut self, content: Content) {
        for family in [Family::V4, Family::V6] {
            if self.has(family) {
                self.queue.push(Step::Transmit(Round { family, content }));
            }
        }
    }

    /// What we say of ourselves.
    fn content(&self) -> Content {
        let Config {
            dialect, settings, ..
        } = self.config;
        if dialect.vrrp().is_some() {
            let vrrp::Advertisement {
                priority, interval, ..
            } = self.standing();
            return Content::Vrrp { priority, interval };
        }
        let skew = dialect.effective_skew(settings.advskew, self.demotion);
        // A negative skew, which FreeBSD 10 to 13 allow, wraps on the wire (CARP §3.1).
        let skew = u8::try_from(skew.rem_euclid(256)).unwrap_or(u8::MAX);
        Content::Carp {
            advbase: settings.advbase,
            advskew: AdvSkew::from_wire(skew),
            demote: dialect.demote_byte(self.demotion),
        }
    }

    /// Says farewell, `times` over (CARP §3.6, §5.7).
    pub(super) fn bow_out(&mut self, times: u8) {
        let Config {
            dialect, settings, ..
        } = self.config;
        let content = match dialect.vrrp() {
            Some(rules) => {
                let (priority, interval) = rules.farewell(&settings);
                Content::Vrrp { priority, interval }
            }
            None => Content::Carp {
                advbase: AdvBase::new(255),
                advskew: AdvSkew::BOW_OUT,
                demote: dialect.demote_byte(self.demotion),
            },
        };
        for _ in 0..times {
            self.push_each(content);
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

    /// The advertisement at hand, unless a random number must be drawn for it first.
    pub(super) fn transmit(&mut self, round: Round) -> Option<Output> {
        let Round { family, content } = round;
        let advertisement = match content {
            Content::Carp {
                advbase,
                advskew,
                demote,
            } => Said::Carp(Advertisement {
                vhid: self.config.vhid,
                advbase,
                advskew,
                demote,
                counter: self.number()?,
            }),
            Content::Vrrp { priority, interval } => Said::Vrrp(vrrp::Advertisement {
                vrid: self.config.vhid,
                priority,
                interval,
            }),
        };
        self.sent.remember(advertisement);
        self.stats.count_output(family);
        Some(Output::Transmit(Transmit {
            family,
            advertisement,
        }))
    }

    fn number(&mut self) -> Option<u64> {
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

    pub(super) fn demote(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue.push(Step::Demote(Demote { adjustment, reason }));
    }

    /// As [`demote`](Self::demote), before the rest of a round whose first packet failed.
    pub(super) fn demote_now(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue
            .push_front(Step::Demote(Demote { adjustment, reason }));
    }
}

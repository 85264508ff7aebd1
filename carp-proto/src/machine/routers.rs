//! VRRP: what is done about advertisements heard (CARP §5.7). Who wins is decided by [`Vrrp`].

#![warn(clippy::wildcard_enum_match_arm)]

use core::cmp::Ordering;
use core::net::IpAddr;
use core::ops::Add;
use core::time::Duration;

use super::VirtualHost;
use crate::advertisement::Received;
use crate::event::{Reason, Refusal, State};
use crate::timers::Timer;
use crate::types::Family;
use crate::vrrp::{Advertisement, Checked, Contest, Priority, Reception, Tie, Vrrp};

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_vrrp(
        &mut self,
        now: T,
        state: State,
        rules: Vrrp,
        received: Received,
        heard: &Checked,
    ) {
        // FreeBSD goes by what was heard last, in any state.
        if rules == Vrrp::FreeBsd15 && !self.is_owner() && !self.is_farewell(&received) {
            self.active_interval = Some(rules.interval_of(heard));
        }
        match state {
            State::Init => {}
            State::Backup => self.on_vrrp_as_backup(now, rules, received, heard),
            State::Master => self.on_vrrp_as_master(now, rules, received, heard),
        }
    }

    fn on_vrrp_as_backup(&mut self, now: T, rules: Vrrp, received: Received, heard: &Checked) {
        if self.is_farewell(&received) && !self.may_be_master(received.source) {
            self.refuse(Refusal::NotMaster, Some(received));
            return;
        }
        let (ours, preempt) = (self.standing(), self.config.settings.preempt);
        let obeys = self.config.improvements.bow_out;
        let timer = Timer::MasterDown(received.family());
        match rules.reception(&ours, preempt, heard, obeys) {
            Reception::Overtake => {
                self.become_master(now, Reason::PreemptingSlowerMaster, Some(received));
            }
            Reception::Wait => {
                self.note_master(received.source);
                self.active_interval = Some(rules.interval_of(heard));
                let wait = rules.dead_time(&ours, self.active_interval);
                self.timers.arm(timer, now + wait);
            }
            Reception::WaitSkew => {
                self.note_master(received.source);
                let wait = rules.skew_time(&ours, self.active_interval);
                self.timers.arm(timer, now + wait);
            }
            // RFC 9568 §6.4.2: as if it had not been heard. Were its sender taken for the master,
            // the farewell of the real one would be refused.
            Reception::Ignore => {}
        }
    }

    fn on_vrrp_as_master(&mut self, now: T, rules: Vrrp, received: Received, heard: &Checked) {
        let tie = self.tie(&received);
        match rules.contest(&self.standing(), heard, tie) {
            // Who leaves is never yielded to, however short its interval.
            Contest::Yield if self.is_farewell(&received) => self.note_rival(now, received),
            Contest::Yield => {
                self.active_interval = Some(rules.interval_of(heard));
                self.give_way(now, received, None);
            }
            Contest::Hold => self.note_rival(now, received),
            Contest::Assert => {
                self.note_rival(now, received);
                // RFC 9568 §6.4.3. Without a link, nobody would hear it.
                if !self.holds_link() && !self.has_just_advertised(now) {
                    self.advertise(now);
                }
            }
        }
    }

    /// Whether the last advertisement is less than a tenth of an interval old. Anybody can send
    /// what must be answered, so that there must be a bound on the answers.
    fn has_just_advertised(&self, now: T) -> bool {
        let gap = self.config.settings.adver_interval.duration() / 10;
        self.last_round.is_some_and(|last| now < last + gap)
    }

    /// Whether it is a farewell that is understood as one beyond the rules.
    fn is_farewell(&self, received: &Received) -> bool {
        self.config.improvements.bow_out && received.said().is_farewell()
    }

    fn tie(&self, received: &Received) -> Tie {
        let family = received.family();
        if family == Family::V6 && self.has(Family::V4) {
            return Tie::Elsewhere;
        }
        let own: Option<IpAddr> = self.own_source(family);
        match own.map(|own| own.cmp(&received.source)) {
            Some(Ordering::Greater) => Tie::Ours,
            Some(Ordering::Less | Ordering::Equal) | None => Tie::Theirs,
        }
    }

    pub(super) fn is_owner(&self) -> bool {
        self.config.settings.priority == Priority::OWNER
    }

    /// What we say of ourselves, and are compared by.
    pub(super) fn standing(&self) -> Advertisement {
        let settings = self.config.settings;
        let own = settings.priority;
        let priority = if self.config.improvements.vrrp_demotion && !self.is_owner() {
            let lowered = i32::from(own.get()).saturating_sub(self.demotion);
            u8::try_from(lowered.clamp(1, 254)).map_or(own, Priority::from_wire)
        } else {
            own
        };
        Advertisement {
            vrid: self.config.vhid,
            priority,
            interval: settings.adver_interval,
        }
    }
}

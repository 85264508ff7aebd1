//! Who is master: what is done about advertisements heard, and what a change of state does.

#![warn(clippy::wildcard_enum_match_arm)]

use core::net::IpAddr;
use core::ops::Add;
use core::time::Duration;

use super::{DEAF_TIME, VirtualHost};
use crate::advertisement::{Advertisement, Received};
use crate::config::{Config, ReplayPolicy};
use crate::counter::Counter;
use crate::dialect::{Contest, Dialect, Overtake};
use crate::event::{Event, Reason, Refusal, State};
use crate::queue::Step;
use crate::timers::{Timer, Timers};
use crate::types::Family;

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_received(&mut self, now: T, state: State, received: Received) {
        let heard = *received.advertisement.advertisement();
        if let Err(refusal) = self.screen(&received) {
            self.refuse(refusal, Some(received));
            return;
        }
        // CARP §9.9: every accepted packet sets the number, in any state.
        self.counter.accepted(heard.counter);
        match state {
            State::Init => {}
            // CARP §3.7: only a UCarp is BACKUP without its interface, and looks at nothing.
            State::Backup if !self.is_up() => {}
            State::Backup => self.on_heard_as_backup(now, received, &heard),
            State::Master => self.on_heard_as_master(now, received, &heard),
        }
    }

    pub(super) fn on_heard_as_backup(&mut self, now: T, received: Received, heard: &Advertisement) {
        let Config {
            dialect,
            settings,
            improvements,
            ..
        } = self.config;
        // A bow-out is taken for what it is, whatever our patience; but only of the master.
        let farewell = improvements.bow_out && heard.interval().is_bow_out();
        if farewell && !self.may_be_master(received.source) {
            self.refuse(Refusal::NotMaster, Some(received));
            return;
        }
        let overtake = dialect
            .overtakes(&settings, self.demotion, heard)
            .or_else(|| farewell.then_some(Overtake::WillTimeOut));
        if let Some(overtake) = overtake {
            let reason = match overtake {
                Overtake::SlowerMaster => Reason::PreemptingSlowerMaster,
                Overtake::DemotedMaster => Reason::DemotedMaster,
                Overtake::WillTimeOut => Reason::MasterWillTimeOut,
            };
            self.become_master(now, reason, Some(received));
            return;
        }
        self.note_master(received.source);
        let patience = if improvements.adaptive_dead_time {
            dialect.adaptive_dead_time(&settings, heard.interval())
        } else {
            dialect.dead_time(&settings)
        };
        self.timers
            .arm(Timer::MasterDown(received.family()), now + patience);
    }

    pub(super) fn on_heard_as_master(&mut self, now: T, received: Received, heard: &Advertisement) {
        let Config {
            dialect,
            settings,
            improvements,
            ..
        } = self.config;
        let own_source = self.own_source(received.family());
        match dialect.contest(&settings, self.demotion, heard, received.source, own_source) {
            // Who leaves is never yielded to, however OpenBSD compares the demotions.
            Contest::Yield if improvements.bow_out && heard.interval().is_bow_out() => {
                self.note_rival(now, received, heard);
            }
            // A master whose link is down cannot be a backup either.
            Contest::Yield if self.holds_link() => self.interface_lost(),
            Contest::Yield => {
                self.leave_master();
                self.enter(
                    State::Backup,
                    Reason::MoreFrequentAdvertisement,
                    Some(received),
                );
                if matches!(dialect, Dialect::UCarp(_)) {
                    // CARP §3.7: the loser sends once more before its down script.
                    self.push_round();
                }
                self.note_master(received.source);
                self.start(now, Some(heard));
                self.queue.push(Step::Release);
            }
            Contest::Hold => self.note_rival(now, received, heard),
        }
    }

    /// Whether `source` is the master, or none is known. A bow-out that comes twice, or from a
    /// host that was not the master, would otherwise take the role from whoever has it.
    fn may_be_master(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => self.master_v4.is_none_or(|master| master == source),
            IpAddr::V6(source) => self.master_v6.is_none_or(|master| master == source),
        }
    }

    fn note_master(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(source) => self.master_v4 = Some(source),
            IpAddr::V6(source) => self.master_v6 = Some(source),
        }
    }

    pub(super) fn on_step_down(&mut self, now: T) {
        if self.holds_link() {
            self.interface_lost();
            return;
        }
        self.leave_master();
        self.enter(State::Backup, Reason::UserRequested, None);
        self.queue.push(Step::Release);
        if self.config.improvements.bow_out {
            self.bow_out(2);
        }
        if matches!(self.config.dialect, Dialect::UCarp(_)) {
            self.stop_master_down();
            self.timers.arm(Timer::Deaf, now + DEAF_TIME);
        } else {
            self.start(now, None);
        }
    }

    pub(super) fn on_shutdown(&mut self) {
        let was_master = self.state == State::Master;
        let can_send = was_master && !self.holds_link();
        self.leave_master();
        self.timers = Timers::new();
        self.enter(State::Init, Reason::Shutdown, None);
        self.withdraw_demotions();
        if was_master {
            self.queue.push(Step::Release);
        }
        if can_send {
            match self.config.dialect {
                _ if self.config.improvements.bow_out => self.bow_out(2),
                Dialect::OpenBsd(_) => self.bow_out(1),
                Dialect::FreeBsd(_) | Dialect::UCarp(_) => {}
            }
        }
        self.stopped = true;
    }

    pub(super) fn become_master(&mut self, now: T, reason: Reason, cause: Option<Received>) {
        if self.config.improvements.drop_stale_timers {
            self.stop_master_down();
        }
        self.timers.stop(Timer::Deaf);
        (self.master_v4, self.master_v6) = (None, None);
        // A farewell that nobody has sent yet is no longer true.
        self.queue.retain(|step| !matches!(step, Step::Transmit(_)));
        self.enter(State::Master, reason, cause);
        match self.config.dialect {
            // CARP §3.7: the up script, the announcement, then the first advertisement.
            Dialect::UCarp(_) => {
                self.queue.push(Step::Acquire);
                self.announce();
                self.push_round();
            }
            // CARP §3.5: the link state goes up, then the advertisement out.
            Dialect::OpenBsd(_) => {
                self.queue.push(Step::Acquire);
                self.push_round();
                self.announce();
            }
            Dialect::FreeBsd(_) if self.config.improvements.acquire_first => {
                self.push_round();
                self.queue.push(Step::Acquire);
                self.announce();
            }
            // CARP §3.4: "the advertisement goes out before addresses are usable".
            Dialect::FreeBsd(_) => {
                self.push_round();
                self.announce();
                self.queue.push(Step::Acquire);
            }
        }
        if matches!(self.config.dialect, Dialect::OpenBsd(_)) {
            self.stats.preempt += 1;
        }
        self.arm_first_advertisement(now);
        self.restart_announcements(now);
    }

    /// Changes the state, and tells if it really differs.
    pub(super) fn enter(&mut self, to: State, reason: Reason, cause: Option<Received>) {
        let from = self.state;
        if from != to {
            self.state = to;
            self.queue.push(Step::Event(Event::State {
                from,
                to,
                reason,
                cause,
            }));
        }
    }

    /// Drops what only a master may still send, and its timers.
    pub(super) fn leave_master(&mut self) {
        self.queue
            .retain(|step| !matches!(step, Step::Transmit(_) | Step::Announce(_)));
        self.timers.stop(Timer::Advertise);
        self.timers.stop(Timer::Announce);
        self.timers.stop(Timer::RivalGone);
        self.timers.stop(Timer::LinkHold);
        self.last_round = None;
        self.announcements_left = 0;
        self.advertisements_left = 0;
    }

    /// Arms the master-down timers of a backup: of each family with an address. `heard` is
    /// the master to wait for, if one is known.
    pub(super) fn start(&mut self, now: T, heard: Option<&Advertisement>) {
        let Config {
            dialect,
            settings,
            improvements,
            ..
        } = self.config;
        let patience = match heard {
            Some(heard) if improvements.adaptive_dead_time => {
                dialect.adaptive_dead_time(&settings, heard.interval())
            }
            _ => dialect.dead_time(&settings),
        };
        for (family, count) in [
            (Family::V4, self.addresses.v4),
            (Family::V6, self.addresses.v6),
        ] {
            if count > 0 {
                self.timers.arm(Timer::MasterDown(family), now + patience);
            } else if improvements.drop_stale_timers {
                self.timers.stop(Timer::MasterDown(family));
            }
        }
    }

    pub(super) fn stop_master_down(&mut self) {
        self.timers.stop(Timer::MasterDown(Family::V4));
        self.timers.stop(Timer::MasterDown(Family::V6));
    }

    pub(super) fn own_source(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.config.source_v4.map(IpAddr::from),
            Family::V6 => self.config.source_v6.map(IpAddr::from),
        }
    }

    /// Sorts out echoes, repetitions, and what comes in the deaf time.
    pub(super) fn screen(&mut self, received: &Received) -> Result<(), Refusal> {
        let heard = received.advertisement.advertisement();
        let from_us = self.own_source(received.family()) == Some(received.source);
        let echo = self.config.improvements.drop_echoes && from_us && self.sent.contains(heard);
        // CARP §2.2: UCarp does not even capture what comes from its own address, and OpenBSD's
        // number can only come from itself.
        let ucarp_filters = from_us && matches!(self.config.dialect, Dialect::UCarp(_));
        let own_cookie = self.counter == Counter::Cookie(heard.counter);
        // Where numbers only grow, an own one that comes back is an echo, altered or not.
        let strict = self.config.replay == ReplayPolicy::Strict
            && matches!(self.counter, Counter::Increasing(_));
        let own_number = strict && from_us && heard.counter <= self.counter.last();
        if echo || ucarp_filters || own_cookie || own_number {
            return Err(Refusal::Echo);
        }
        if self.timers.get(Timer::Deaf).is_some() {
            return Err(Refusal::Deaf);
        }
        match self.config.replay {
            ReplayPolicy::Accept => Ok(()),
            ReplayPolicy::Strict => self.sources.accept(received),
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, received: Option<Received>) {
        self.stats.count_refusal(&refusal);
        self.queue
            .push(Step::Event(Event::Refused { refusal, received }));
    }
}

//! Who is master: what is done about CARP advertisements heard, and what a change of state
//! does.

#![warn(clippy::wildcard_enum_match_arm)]

use core::net::IpAddr;
use core::ops::Add;
use core::time::Duration;

use super::{DEAF_TIME, VirtualHost};
use crate::advertisement::{Advertisement, Heard, Received, Said};
use crate::config::{Config, ReplayPolicy};
use crate::counter::Counter;
use crate::dialect::{Contest, Dialect, Overtake};
use crate::event::{Event, Reason, Refusal, State};
use crate::queue::Step;
use crate::timers::{Timer, Timers};
use crate::types::Family;
use crate::vrrp::Vrrp;

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_received(&mut self, now: T, state: State, received: Received) {
        if let Err(refusal) = self.screen(&received) {
            self.refuse(refusal, Some(received));
            return;
        }
        match (self.config.dialect, received.advertisement) {
            (Dialect::FreeBsd(_) | Dialect::OpenBsd(_) | Dialect::UCarp(_), Heard::Carp(heard)) => {
                self.on_carp(now, state, received, heard.advertisement())
            }
            (Dialect::Vrrp(rules), Heard::Vrrp(heard)) => {
                self.on_vrrp(now, state, rules, received, &heard);
            }
            // Screened.
            (Dialect::Vrrp(_), Heard::Carp(_))
            | (Dialect::FreeBsd(_) | Dialect::OpenBsd(_) | Dialect::UCarp(_), Heard::Vrrp(_)) => {}
        }
    }

    fn on_carp(&mut self, now: T, state: State, received: Received, heard: &Advertisement) {
        // CARP §9.9: every accepted packet sets the number, in any state.
        self.counter.accepted(heard.counter);
        match state {
            State::Init => {}
            // CARP §3.7: only a UCarp is BACKUP without its interface, and looks at nothing.
            State::Backup if !self.is_up() => {}
            State::Backup => self.on_heard_as_backup(now, received, heard),
            State::Master => self.on_heard_as_master(now, received, heard),
        }
    }

    fn on_heard_as_backup(&mut self, now: T, received: Received, heard: &Advertisement) {
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
        let patience = self.patience(Some(heard));
        self.timers
            .arm(Timer::MasterDown(received.family()), now + patience);
    }

    fn on_heard_as_master(&mut self, now: T, received: Received, heard: &Advertisement) {
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
                self.note_rival(now, received);
            }
            Contest::Yield => self.give_way(now, received, Some(heard)),
            Contest::Hold => self.note_rival(now, received),
        }
    }

    /// Leaves the role to whoever sent `received`; by CARP, it is `heard` who is waited for.
    pub(super) fn give_way(&mut self, now: T, received: Received, heard: Option<&Advertisement>) {
        // A master whose link is down cannot be a backup either.
        if self.holds_link() {
            self.interface_lost();
            return;
        }
        self.leave_master();
        self.enter(
            State::Backup,
            Reason::MoreFrequentAdvertisement,
            Some(received),
        );
        if matches!(self.config.dialect, Dialect::UCarp(_)) {
            // CARP §3.7: the loser sends once more before its down script.
            self.push_round();
        }
        self.note_master(received.source);
        self.start(now, heard);
        self.queue.push(Step::Release);
    }

    /// Whether `source` is the master, or none is known. A bow-out that comes twice, or from a
    /// host that was not the master, would otherwise take the role from whoever has it.
    pub(super) fn may_be_master(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(source) => self.master_v4.is_none_or(|master| master == source),
            IpAddr::V6(source) => self.master_v6.is_none_or(|master| master == source),
        }
    }

    pub(super) fn note_master(&mut self, source: IpAddr) {
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
        } else if self.config.dialect.is_rfc() {
            self.bow_out(1);
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
                Dialect::OpenBsd(_) | Dialect::Vrrp(Vrrp::Rfc9568) => self.bow_out(1),
                Dialect::FreeBsd(_) | Dialect::UCarp(_) | Dialect::Vrrp(Vrrp::FreeBsd15) => {}
            }
        }
        self.stopped = true;
    }

    pub(super) fn become_master(&mut self, now: T, reason: Reason, cause: Option<Received>) {
        if self.drops_stale_timers() {
            self.stop_master_down();
        }
        self.timers.stop(Timer::Deaf);
        self.forget_active();
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
            // RFC 9568 §6.4.2: the advertisement, then the announcements.
            Dialect::Vrrp(Vrrp::Rfc9568) => {
                self.push_round();
                self.queue.push(Step::Acquire);
                self.announce();
            }
            Dialect::FreeBsd(_) | Dialect::Vrrp(Vrrp::FreeBsd15)
                if self.config.improvements.acquire_first =>
            {
                self.push_round();
                self.queue.push(Step::Acquire);
                self.announce();
            }
            // CARP §3.4: "the advertisement goes out before addresses are usable".
            Dialect::FreeBsd(_) | Dialect::Vrrp(Vrrp::FreeBsd15) => {
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
        let patience = self.patience(heard);
        for (family, count) in [
            (Family::V4, self.addresses.v4),
            (Family::V6, self.addresses.v6),
        ] {
            if count > 0 {
                self.timers.arm(Timer::MasterDown(family), now + patience);
            } else if self.drops_stale_timers() {
                self.timers.stop(Timer::MasterDown(family));
            }
        }
    }

    /// How long a backup waits: for `heard` by CARP, for the Active last heard by VRRP.
    pub(super) fn patience(&self, heard: Option<&Advertisement>) -> Duration {
        let Config {
            dialect,
            settings,
            improvements,
            ..
        } = self.config;
        match (dialect.vrrp(), heard) {
            (Some(rules), _) => rules.dead_time(&self.standing(), self.active_interval),
            (None, Some(heard)) if improvements.adaptive_dead_time => {
                dialect.adaptive_dead_time(&settings, heard.interval())
            }
            (None, _) => dialect.dead_time(&settings),
        }
    }

    /// By the RFC a router that was the Active, or not there, waits by its own interval.
    pub(super) fn forget_active(&mut self) {
        if self.config.dialect.is_rfc() {
            self.active_interval = None;
        }
    }

    /// RFC 9568 §6.4.2: the timer of a Backup ends with that state.
    fn drops_stale_timers(&self) -> bool {
        self.config.improvements.drop_stale_timers || self.config.dialect.is_rfc()
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

    /// Sorts out the wrong protocol, echoes, repetitions, and what comes in the deaf time.
    pub(super) fn screen(&mut self, received: &Received) -> Result<(), Refusal> {
        let said = received.said();
        if said.vrrp().is_some() != self.config.dialect.vrrp().is_some() {
            return Err(Refusal::Protocol);
        }
        let from_us = self.own_source(received.family()) == Some(received.source);
        let echo = self.config.improvements.drop_echoes && from_us && self.sent.contains(&said);
        // By the RFC's rules an answer to our own would come back and be answered for ever.
        let own = from_us && self.config.dialect.is_rfc();
        if echo || own {
            return Err(Refusal::Echo);
        }
        match said {
            Said::Carp(heard) => self.screen_carp(received.source, from_us, &heard),
            Said::Vrrp(_) => Ok(()),
        }
    }

    fn screen_carp(
        &mut self,
        source: IpAddr,
        from_us: bool,
        heard: &Advertisement,
    ) -> Result<(), Refusal> {
        // CARP §2.2: UCarp does not even capture what comes from its own address, and OpenBSD's
        // number can only come from itself.
        let ucarp_filters = from_us && matches!(self.config.dialect, Dialect::UCarp(_));
        let own_cookie = self.counter == Counter::Cookie(heard.counter);
        // Where numbers only grow, an own one that comes back is an echo, altered or not.
        let strict = self.config.replay == ReplayPolicy::Strict
            && matches!(self.counter, Counter::Increasing(_));
        let own_number = strict && from_us && heard.counter <= self.counter.last();
        if ucarp_filters || own_cookie || own_number {
            return Err(Refusal::Echo);
        }
        if self.timers.get(Timer::Deaf).is_some() {
            return Err(Refusal::Deaf);
        }
        match self.config.replay {
            ReplayPolicy::Accept => Ok(()),
            ReplayPolicy::Strict => self.sources.accept(source, heard.counter),
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, received: Option<Received>) {
        self.stats.count_refusal(&refusal);
        self.queue
            .push(Step::Event(Event::Refused { refusal, received }));
    }
}

//! The state machine of one virtual host.
//!
//! ```text
//!             addresses and a running interface
//!      +------+ -----------------------------> +--------+
//!      | INIT |                                | BACKUP | <---------+
//!      +------+ <----------------------------- +--------+           |
//!         ^      interface or addresses gone       |                |
//!         |                                        | master silent, | a better or equal
//!         |      interface or addresses gone       | slow or worse  | master is heard,
//!         |      for good                          v                | or the operator
//!         |                                    +--------+           | wants it
//!         +----------------------------------- | MASTER | ----------+
//!                                              +--------+
//! ```
//!
//! # The state table
//!
//! FreeBSD's rules (CARP §3.4) with the improvements marked; OpenBSD (§3.5) and UCarp (§3.7)
//! differ where [`Dialect`] says so. "Start" means: arm the master-down timer of every family
//! that has an address.
//!
//! | input | INIT | BACKUP | MASTER |
//! |---|---|---|---|
//! | `Timeout`, master-down | - | become MASTER "master timed out" | - |
//! | `Timeout`, advertise | - | - | transmit, arm again |
//! | `Timeout`, link hold | - | - | to INIT "hardware interface down", release, demote |
//! | `Timeout`, announce or rival gone | - | - | announce |
//! | `Timeout`, address grace | forget | forget | forget |
//! | `Timeout`, deaf (UCarp) | - | start | - |
//! | `Advertisement`, an echo or replay | refused | refused | refused |
//! | `Advertisement`, better or equal | note the number | arm that family's master-down | to BACKUP "more frequent advertisement received", start, release |
//! | `Advertisement`, worse | note the number | the same, or with preemption become MASTER "preempting a slower master" | note a rival |
//! | `Advertisement`, slower than our patience | note the number | become MASTER "master will time out" | note a rival |
//! | `Interface`, runs | to BACKUP "initialization complete", start, undo the demotion | strict: by way of INIT "hardware interface up", start; improved: nothing | as in BACKUP; in a link hold: transmit, announce |
//! | `Interface`, no carrier | demote once | to INIT "hardware interface down", demote once | the same, release; improved: hold the role for one interval first |
//! | `Interface`, down | demote once | to INIT, demote once | to INIT, release, demote once |
//! | `Addresses`, some | as `Interface` | strict: by way of INIT, start; improved: arm what is new | strict: by way of INIT to BACKUP; improved: transmit, acquire, announce |
//! | `Addresses`, none | undo the demotion | to INIT, undo the demotion | the same, release |
//! | `Demotion` | - | - | transmit, arm again |
//! | `Force(MASTER)` | - | become MASTER "user requested via ifconfig" | - |
//! | `Force(BACKUP)` | - | - | to BACKUP "user requested via ifconfig", start, release; improved: bow out |
//! | `Force(INIT)` | - | - | - |
//! | `Settings` | from the next arming on | the same | the same |
//! | `Sent` | count; demote after three errors, undo after three successes | the same | the same |
//! | `Source` | note it | note it | note it |
//! | `Shutdown` | end | to INIT "shutdown", end | the same, release; improved: bow out |
//!
//! "Become MASTER" is: transmit, acquire, announce, arm the advertise timer (FreeBSD:
//! transmit, announce, acquire).

use core::net::IpAddr;
use core::ops::Add;
use core::time::Duration;

use crate::advertisement::{Advertisement, Received};
use crate::config::{
    AddressCount, Config, ConfigError, Interface, ReplayPolicy, RivalPolicy, Settings, Spacing,
    UnknownLink,
};
use crate::counter::{Counter, Next};
use crate::dialect::{AtStart, Contest, Dialect, FreeBsd, Overtake, UCarp};
use crate::event::{
    Demote, DemotionReason, Event, Input, Output, Reason, Refusal, SendResult, State, Transmit,
};
use crate::peers::{Peers, Sent};
use crate::queue::{Queue, Round, Step};
use crate::stats::Stats;
use crate::timers::{Timer, Timers};
use crate::types::{AdvBase, AdvSkew, Family};

/// How many send errors demote, and how many successes undo it (CARP §1.9).
const SEND_THRESHOLD: u32 = 3;
/// How long UCarp is deaf after a step down.
const DEAF_TIME: Duration = Duration::from_secs(3);

/// One virtual host: it takes inputs with the time at which they happened, and gives outputs
/// and the next deadline.
///
/// `T` is the caller's instant: `std::time::Instant`, that of an async runtime, or a plain
/// `Duration` since boot.
///
/// # Driving it
///
/// After every [`handle`](Self::handle), call [`poll_output`](Self::poll_output) until it
/// returns `None` and do what it says, in that order. Call
/// [`handle_timeout`](Self::handle_timeout) no later than [`poll_timeout`](Self::poll_timeout)
/// says; read what the socket holds before that, so that a paused host does not take over
/// while the master's advertisement waits in its buffer. Draining late is never wrong, only
/// late. Time that runs backwards counts as no time passed.
///
/// # Example
///
/// A lone host becomes master after three seconds and advertises at once:
///
/// ```
/// use std::time::Duration;
/// use carp_proto::{AddressCount, Config, Input, Output, State, Vhid, VirtualHost};
///
/// let mut host = VirtualHost::<Duration>::new(Config::new(Vhid::new(1)?))?;
/// host.handle(Duration::ZERO, Input::Addresses(AddressCount { v4: 1, v6: 0 }));
/// assert_eq!(host.state(), State::Backup);
///
/// let deadline = host.poll_timeout().unwrap();
/// assert_eq!(deadline, Duration::from_secs(3));
/// host.handle_timeout(deadline);
/// assert_eq!(host.state(), State::Master);
/// let sent = core::iter::from_fn(|| host.poll_output())
///     .filter(|output| matches!(output, Output::Transmit(_)))
///     .count();
/// assert_eq!(sent, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VirtualHost<T> {
    config: Config,
    state: State,
    interface: Interface,
    addresses: AddressCount,
    /// The host's demotion level.
    demotion: i32,
    /// What the interface being down has demoted the host by, if it has ("suppressed").
    suppressed: Option<i32>,
    sending: Sending,
    counter: Counter,
    /// A random number that was asked for: not asked, asked, or there.
    draw: Draw,
    /// Announcements still to come, before the refreshing ones.
    announcements_left: u8,
    /// Advertisements until the next announcement, where they are counted that way.
    advertisements_left: u8,
    stopped: bool,
    peers: Peers,
    sent: Sent,
    timers: Timers<T>,
    now: Option<T>,
    queue: Queue,
    stats: Stats,
}

/// The count of send errors and of the successes that followed (CARP §3.4.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Sending {
    errors: u32,
    successes: u32,
    /// What the errors have demoted the host by.
    demoted: i32,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Draw {
    NotAsked,
    Asked,
    Drawn(u64),
}

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    /// Makes a virtual host in INIT; the first [`Input::Addresses`] starts it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the dialect does not allow the settings.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            state: State::Init,
            interface: config.interface,
            addresses: AddressCount::default(),
            demotion: 0,
            suppressed: None,
            sending: Sending::default(),
            counter: Counter::new(config.counter),
            draw: Draw::NotAsked,
            announcements_left: 0,
            advertisements_left: 0,
            stopped: false,
            peers: Peers::new(),
            sent: Sent::new(),
            timers: Timers::new(),
            now: None,
            queue: Queue::new(),
            stats: Stats::default(),
        })
    }

    /// Takes note of something that happened at `now`; the state table is in the
    /// [module's documentation](crate::machine).
    pub fn handle(&mut self, now: T, input: Input) {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        if self.stopped {
            self.after_the_end(input);
            return;
        }
        match (self.state, input) {
            (_, Input::Timeout) => {
                while let Some(timer) = self.timers.pop_due(now) {
                    self.on_timer(now, timer);
                }
            }
            (state, Input::Advertisement(received)) => self.on_received(now, state, received),
            (_, Input::Interface(interface)) => self.on_interface(now, interface),
            (_, Input::Addresses(addresses)) => self.on_addresses(now, addresses),
            (State::Init | State::Backup, Input::Demotion(level)) => self.demotion = level,
            (State::Master, Input::Demotion(level)) => self.on_demotion(now, level),
            (State::Backup, Input::Force(State::Master)) => {
                self.become_master(now, Reason::UserRequested, None);
            }
            (State::Master, Input::Force(State::Backup)) => self.on_step_down(now),
            // CARP §3.4: ignored, as there is nothing to do or INIT cannot be left so.
            (State::Init, Input::Force(State::Init | State::Backup | State::Master))
            | (State::Backup, Input::Force(State::Init | State::Backup))
            | (State::Master, Input::Force(State::Init | State::Master)) => {}
            (_, Input::Settings(settings)) => self.on_settings(now, settings),
            (_, Input::Sent(family, result)) => self.on_sent(family, result),
            (_, Input::FreshCounter(number)) => self.on_fresh_counter(number),
            (_, Input::Source(source)) => match source {
                IpAddr::V4(source) => self.config.source_v4 = Some(source),
                IpAddr::V6(source) => self.config.source_v6 = Some(source),
            },
            (_, Input::Shutdown) => self.on_shutdown(),
        }
    }

    /// As [`handle`](Self::handle) with [`Input::Timeout`].
    pub fn handle_timeout(&mut self, now: T) {
        self.handle(now, Input::Timeout);
    }

    /// Returns the next thing to do, or `None` if nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        let step = self.queue.front()?;
        let output = match step {
            Step::Event(event) => Output::Event(event),
            Step::Demote(demote) => Output::Demote(demote),
            Step::Acquire => Output::Acquire,
            Step::Release => Output::Release,
            Step::Announce(family) => Output::Announce(family),
            Step::ForgetAddresses => Output::ForgetAddresses,
            Step::Transmit(round) => match self.number() {
                Some(counter) => self.transmit(round, counter),
                None if self.draw == Draw::NotAsked => {
                    self.draw = Draw::Asked;
                    return Some(Output::NeedCounter);
                }
                None => return None,
            },
        };
        self.queue.pop();
        Some(output)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<T> {
        self.timers.next()
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the configuration, with all changes since.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the demotion level of the host.
    #[must_use]
    pub fn demotion(&self) -> i32 {
        self.demotion
    }

    /// Returns the number last sent or adopted.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.counter.last()
    }

    /// Returns what this machine counted: sent packets, refusals, lost events.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            lost_events: self.queue.lost_events(),
            ..self.stats
        }
    }

    /// Returns when the next advertisement is due, if this is the master.
    #[must_use]
    pub fn next_advertisement(&self) -> Option<T> {
        self.timers.get(Timer::Advertise)
    }

    /// Returns when the master of `family` will be taken for dead, if this is a backup.
    #[must_use]
    pub fn master_down(&self, family: Family) -> Option<T> {
        self.timers.get(Timer::MasterDown(family))
    }

    // What happens on each input.

    /// After [`Input::Shutdown`], only what the last outputs need.
    fn after_the_end(&mut self, input: Input) {
        match input {
            Input::Sent(..) => {}
            Input::FreshCounter(number) => self.on_fresh_counter(number),
            Input::Timeout
            | Input::Advertisement(_)
            | Input::Interface(_)
            | Input::Addresses(_)
            | Input::Demotion(_)
            | Input::Force(_)
            | Input::Settings(_)
            | Input::Source(_)
            | Input::Shutdown => {}
        }
    }

    fn on_timer(&mut self, now: T, timer: Timer) {
        match (self.state, timer) {
            (State::Backup, Timer::MasterDown(_)) => {
                self.become_master(now, Reason::MasterTimedOut, None);
            }
            (State::Master, Timer::Advertise) => {
                self.advertise(now);
                self.count_down_announcement();
            }
            (State::Master, Timer::LinkHold) => self.interface_lost(),
            (State::Master, Timer::Announce) => self.on_announce(now),
            (State::Master, Timer::RivalGone) => self.on_rival_gone(now),
            (State::Backup, Timer::Deaf) => self.start(now, None),
            (_, Timer::AddressGrace) => self.queue.push(Step::ForgetAddresses),
            // Stale: the state that armed it is left.
            (State::Init | State::Master, Timer::MasterDown(_) | Timer::Deaf)
            | (
                State::Init | State::Backup,
                Timer::Advertise | Timer::LinkHold | Timer::Announce | Timer::RivalGone,
            ) => {}
        }
    }

    fn on_received(&mut self, now: T, state: State, received: Received) {
        let heard = *received.advertisement.advertisement();
        if let Err(refusal) = self.screen(&received) {
            self.refuse(refusal, Some(received));
            return;
        }
        // CARP §9.9: every accepted packet sets the number, in any state.
        self.counter.accepted(heard.counter);
        match state {
            State::Init => {}
            State::Backup => self.on_heard_as_backup(now, received, &heard),
            State::Master => self.on_heard_as_master(now, received, &heard),
        }
    }

    fn on_heard_as_backup(&mut self, now: T, received: Received, heard: &Advertisement) {
        let Config {
            dialect,
            settings,
            improvements,
            ..
        } = self.config;
        if let Some(overtake) = dialect.overtakes(&settings, self.demotion, heard) {
            let reason = match overtake {
                Overtake::SlowerMaster => Reason::PreemptingSlowerMaster,
                Overtake::DemotedMaster => Reason::DemotedMaster,
                Overtake::WillTimeOut => Reason::MasterWillTimeOut,
            };
            self.become_master(now, reason, Some(received));
            return;
        }
        let patience = if improvements.adaptive_dead_time {
            dialect.adaptive_dead_time(&settings, heard.interval())
        } else {
            dialect.dead_time(&settings)
        };
        self.timers
            .arm(Timer::MasterDown(received.family()), now + patience);
    }

    fn on_heard_as_master(&mut self, now: T, received: Received, heard: &Advertisement) {
        let Config {
            dialect, settings, ..
        } = self.config;
        let own_source = self.own_source(received.family());
        match dialect.contest(&settings, self.demotion, heard, received.source, own_source) {
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
                self.start(now, Some(heard));
                self.queue.push(Step::Release);
            }
            Contest::Hold => self.note_rival(now, received, heard),
        }
    }

    fn on_interface(&mut self, now: T, interface: Interface) {
        let was_up = self.is_up();
        self.interface = interface;
        let up = self.is_up();
        if self.holds_link() {
            match interface {
                _ if up => self.link_restored(now),
                Interface::Down => self.interface_lost(),
                Interface::Up | Interface::Unknown | Interface::NoCarrier => {}
            }
            return;
        }
        let flap = self.state == State::Master && was_up && interface != Interface::Down;
        match (up, self.config.dialect) {
            (false, _) if flap && self.config.improvements.ride_out_link_flaps => {
                self.hold_link(now);
            }
            (false, _) => self.interface_lost(),
            // CARP §3.4: the notification may be of a flap whose beginning was never seen.
            (true, Dialect::FreeBsd(_))
                if was_up && self.config.improvements.ride_out_link_flaps => {}
            (true, Dialect::FreeBsd(_)) => self.interface_found(now),
            (true, Dialect::OpenBsd(_) | Dialect::UCarp(_)) if was_up => {}
            (true, Dialect::OpenBsd(_)) => self.interface_found(now),
            (true, Dialect::UCarp(_)) => self.start(now, None),
        }
    }

    fn on_addresses(&mut self, now: T, addresses: AddressCount) {
        let before = self.addresses;
        self.addresses = addresses;
        let improved = self.config.improvements.keep_state_on_address_change;
        if addresses.is_empty() {
            if !before.is_empty() {
                self.last_address_detached();
            }
        } else if self.holds_link() {
            // The link decides first.
        } else if !self.is_up() {
            self.interface_lost();
        } else if self.state == State::Init {
            self.interface_found(now);
        } else if improved || self.openbsd_keeps(before) {
            self.addresses_changed(now, before, improved);
        } else {
            self.interface_found(now);
        }
        if before.is_empty() {
            return;
        }
        if improved && self.state != State::Init {
            self.timers
                .arm(Timer::AddressGrace, now + self.config.address_grace);
        } else {
            self.queue.push(Step::ForgetAddresses);
        }
    }

    fn on_demotion(&mut self, now: T, level: i32) {
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

    fn on_step_down(&mut self, now: T) {
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

    fn on_settings(&mut self, now: T, settings: Settings) {
        if let Err(error) = settings.validate(self.config.dialect) {
            self.refuse(Refusal::Settings(error), None);
            return;
        }
        self.config.settings = settings;
        // CARP §3.5: OpenBSD arms its timers again, the others wait for the next time.
        if matches!(self.config.dialect, Dialect::OpenBsd(_)) {
            match self.state {
                State::Init => {}
                State::Backup => self.start(now, None),
                State::Master => self.arm_first_advertisement(now),
            }
        }
    }

    /// The error logic of CARP §3.4.1, and OpenBSD's of §3.5.
    fn on_sent(&mut self, family: Family, result: SendResult) {
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
                self.queue.retain(|step| !matches!(step, Step::Transmit(_)));
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
                    Dialect::FreeBsd(FreeBsd::From10To13) => true,
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

    fn on_fresh_counter(&mut self, number: u64) {
        if self.draw == Draw::Asked {
            self.draw = Draw::Drawn(number);
        }
    }

    fn on_shutdown(&mut self) {
        let was_master = self.state == State::Master;
        let can_send = was_master && !self.holds_link();
        self.leave_master();
        self.timers = Timers::new();
        self.enter(State::Init, Reason::Shutdown, None);
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

    // Transitions.

    fn become_master(&mut self, now: T, reason: Reason, cause: Option<Received>) {
        self.stop_master_down();
        self.timers.stop(Timer::Deaf);
        self.enter(State::Master, reason, cause);
        match self.config.dialect {
            // CARP §3.7: the up script, the announcement, then the first advertisement.
            Dialect::UCarp(_) => {
                self.queue.push(Step::Acquire);
                self.announce();
                self.push_round();
            }
            Dialect::FreeBsd(_) | Dialect::OpenBsd(_) if self.config.improvements.acquire_first => {
                self.push_round();
                self.queue.push(Step::Acquire);
                self.announce();
            }
            // CARP §3.4: "the advertisement goes out before addresses are usable".
            Dialect::FreeBsd(_) | Dialect::OpenBsd(_) => {
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
    fn enter(&mut self, to: State, reason: Reason, cause: Option<Received>) {
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
    fn leave_master(&mut self) {
        self.queue
            .retain(|step| !matches!(step, Step::Transmit(_) | Step::Announce(_)));
        self.timers.stop(Timer::Advertise);
        self.timers.stop(Timer::Announce);
        self.timers.stop(Timer::RivalGone);
        self.timers.stop(Timer::LinkHold);
        self.announcements_left = 0;
        self.advertisements_left = 0;
    }

    /// Arms the master-down timers of a backup: of each family with an address. `heard` is
    /// the master to wait for, if one is known.
    fn start(&mut self, now: T, heard: Option<&Advertisement>) {
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
            }
        }
    }

    /// The interface runs and there are addresses, or one of them has changed.
    fn interface_found(&mut self, now: T) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.enter(State::Init, Reason::HardwareUp, None);
        if !self.addresses.is_empty() {
            self.enter(State::Backup, Reason::InitializationComplete, None);
            self.start(now, None);
        }
        let leftover = matches!(
            self.config.dialect,
            Dialect::UCarp(UCarp {
                at_start: AtStart::Release,
                ..
            })
        );
        if (was_master && self.releases_on_exit()) || (leftover && !was_master) {
            self.queue.push(Step::Release);
        }
        self.unsuppress();
    }

    /// The interface does not run.
    fn interface_lost(&mut self) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.stop_master_down();
        self.timers.stop(Timer::Deaf);
        if let Dialect::UCarp(_) = self.config.dialect {
            // CARP §3.7: UCarp is BACKUP, and looks again later.
            let next = if self.addresses.is_empty() {
                State::Init
            } else {
                State::Backup
            };
            self.enter(next, Reason::HardwareDown, None);
            if was_master {
                self.queue.push(Step::Release);
            }
            return;
        }
        self.enter(State::Init, Reason::HardwareDown, None);
        let freebsd_14 = Dialect::FreeBsd(FreeBsd::From14);
        let openbsd = matches!(self.config.dialect, Dialect::OpenBsd(_));
        if was_master && (self.releases_on_exit() || openbsd || self.config.dialect == freebsd_14) {
            self.queue.push(Step::Release);
        }
        if self.suppressed.is_none() {
            let (amount, reason) = if openbsd {
                (1, DemotionReason::CarpDev)
            } else {
                (
                    self.config.settings.ifdown_demotion,
                    DemotionReason::InterfaceDown,
                )
            };
            self.suppressed = Some(amount);
            self.demote(amount, reason);
        }
    }

    fn last_address_detached(&mut self) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.stop_master_down();
        self.timers.stop(Timer::Deaf);
        self.enter(State::Init, Reason::HardwareUp, None);
        if was_master && self.releases_on_exit() {
            self.queue.push(Step::Release);
        }
        if self.suppressed.is_some() {
            self.take_back_suppression(DemotionReason::VhidRemoved);
        }
    }

    /// The list changed, but the state stays.
    fn addresses_changed(&mut self, now: T, before: AddressCount, improved: bool) {
        let AddressCount { v4, v6 } = self.addresses;
        match self.state {
            State::Init => {}
            State::Backup if improved => {
                for (family, had, has) in [(Family::V4, before.v4, v4), (Family::V6, before.v6, v6)]
                {
                    let timer = Timer::MasterDown(family);
                    if has == 0 {
                        self.timers.stop(timer);
                    } else if had == 0 && self.timers.get(Timer::Deaf).is_none() {
                        self.timers.arm(
                            timer,
                            now + self.config.dialect.dead_time(&self.config.settings),
                        );
                    }
                }
            }
            // CARP §3.5: timers rearmed.
            State::Backup => self.start(now, None),
            State::Master if improved => {
                self.advertise(now);
                self.queue.push(Step::Acquire);
                self.announce();
                self.restart_announcements(now);
            }
            State::Master => self.arm_first_advertisement(now),
        }
    }

    /// CARP §3.5: an OpenBSD master stays so if addresses were only removed.
    fn openbsd_keeps(&self, before: AddressCount) -> bool {
        let now = self.addresses;
        matches!(self.config.dialect, Dialect::OpenBsd(_))
            && now.v4 <= before.v4
            && now.v6 <= before.v6
            && now != before
    }

    // The link.

    fn is_up(&self) -> bool {
        match self.interface {
            Interface::Up => true,
            Interface::Unknown => self.config.unknown_link == UnknownLink::Up,
            Interface::NoCarrier | Interface::Down => false,
        }
    }

    fn holds_link(&self) -> bool {
        self.timers.get(Timer::LinkHold).is_some()
    }

    /// Keeps the role for one interval without sending.
    fn hold_link(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        self.leave_master();
        let wait = dialect.advertise_interval(&settings, self.demotion);
        self.timers.arm(Timer::LinkHold, now + wait);
        self.queue.push(Step::Event(Event::LinkLost));
    }

    fn link_restored(&mut self, now: T) {
        self.timers.stop(Timer::LinkHold);
        self.queue.push(Step::Event(Event::LinkRestored));
        self.advertise(now);
        self.announce();
        self.restart_announcements(now);
    }

    fn unsuppress(&mut self) {
        if self.suppressed.is_some() {
            let reason = match self.config.dialect {
                Dialect::OpenBsd(_) => DemotionReason::CarpDev,
                Dialect::FreeBsd(_) | Dialect::UCarp(_) => DemotionReason::InterfaceUp,
            };
            self.take_back_suppression(reason);
        }
    }

    fn take_back_suppression(&mut self, reason: DemotionReason) {
        let Some(made) = self.suppressed.take() else {
            return;
        };
        let openbsd = matches!(self.config.dialect, Dialect::OpenBsd(_));
        // Kernels subtract the factor of the day, not what was added (CARP §4.1).
        let amount = if openbsd || self.config.improvements.exact_demotion {
            made
        } else {
            self.config.settings.ifdown_demotion
        };
        self.demote(amount.saturating_neg(), reason);
    }

    fn releases_on_exit(&self) -> bool {
        self.config.improvements.release_on_every_exit
    }

    fn demote(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue.push(Step::Demote(Demote { adjustment, reason }));
    }

    /// As [`demote`](Self::demote), before the rest of a round whose first packet failed.
    fn demote_now(&mut self, adjustment: i32, reason: DemotionReason) {
        self.queue
            .push_front(Step::Demote(Demote { adjustment, reason }));
    }

    fn stop_master_down(&mut self) {
        self.timers.stop(Timer::MasterDown(Family::V4));
        self.timers.stop(Timer::MasterDown(Family::V6));
    }

    // Sending.

    /// Sends a round and arms the timer for the next.
    fn advertise(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        self.push_round();
        let interval = dialect.advertise_interval(&settings, self.demotion);
        self.timers.arm(Timer::Advertise, now + interval);
    }

    fn arm_first_advertisement(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        let interval = dialect.first_interval(&settings, self.demotion);
        self.timers.arm(Timer::Advertise, now + interval);
    }

    /// Queues one advertisement for each family; a round that nobody has begun to send is
    /// replaced, since a stale advertisement is worse than none.
    fn push_round(&mut self) {
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
        self.queue.retain(|step| match step {
            Step::Transmit(_) => {
                let kept = keep > 0;
                keep = keep.saturating_sub(1);
                kept
            }
            _ => true,
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
    fn bow_out(&mut self, times: u8) {
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

    fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.addresses.v4 > 0,
            Family::V6 => self.addresses.v6 > 0,
        }
    }

    fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| self.has(*family))
    }

    /// The number for the packet at hand, unless a random one must be drawn first.
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

    fn transmit(&mut self, round: Round, counter: u64) -> Output {
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

    // Neighbours and rivals.

    fn announce(&mut self) {
        for family in [Family::V4, Family::V6] {
            if self.has(family) {
                self.queue.push(Step::Announce(family));
            }
        }
    }

    fn restart_announcements(&mut self, now: T) {
        self.announcements_left = self.config.announcements.repeats;
        self.schedule_announcement(now);
    }

    /// Arms the timer, or the count of advertisements, for the next announcement.
    fn schedule_announcement(&mut self, now: T) {
        let plan = self.config.announcements;
        self.timers.stop(Timer::Announce);
        self.advertisements_left = 0;
        match (self.announcements_left, plan.spacing, plan.refresh) {
            (1.., Spacing::Time(wait), _) | (0, _, Some(wait)) => {
                self.timers
                    .arm(Timer::Announce, now + wait.max(Duration::from_millis(1)));
            }
            (1.., Spacing::Advertisements(count), _) => self.advertisements_left = count.get(),
            (0, _, None) => {}
        }
    }

    fn on_announce(&mut self, now: T) {
        self.announce();
        self.announcements_left = self.announcements_left.saturating_sub(1);
        self.schedule_announcement(now);
    }

    /// The "delayed ARP" of OpenBSD and UCarp: an announcement with the n-th advertisement.
    fn count_down_announcement(&mut self) {
        if self.advertisements_left == 0 {
            return;
        }
        self.advertisements_left -= 1;
        if self.advertisements_left == 0 {
            if let Some(now) = self.now {
                self.on_announce(now);
            }
        }
    }

    fn note_rival(&mut self, now: T, received: Received, heard: &Advertisement) {
        match self.config.announcements.rival {
            RivalPolicy::Never => {}
            RivalPolicy::AtOnce => {
                self.announce();
                self.restart_announcements(now);
            }
            RivalPolicy::WhenGone => {
                let known = self.timers.get(Timer::RivalGone).is_some();
                if heard.interval().is_bow_out() {
                    // It says itself that it is gone.
                    if known {
                        self.timers.stop(Timer::RivalGone);
                        self.on_rival_gone(now);
                    }
                    return;
                }
                if !known {
                    self.queue.push(Step::Event(Event::Rival(received)));
                }
                let silence = self.config.dialect.pace(heard.interval()) * 2;
                self.timers.arm(Timer::RivalGone, now + silence);
            }
        }
    }

    fn on_rival_gone(&mut self, now: T) {
        self.queue.push(Step::Event(Event::RivalGone));
        self.announce();
        self.restart_announcements(now);
    }

    // Screening.

    fn own_source(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.config.source_v4.map(IpAddr::from),
            Family::V6 => self.config.source_v6.map(IpAddr::from),
        }
    }

    /// Sorts out echoes, repetitions, and what comes in the deaf time.
    fn screen(&mut self, received: &Received) -> Result<(), Refusal> {
        let heard = received.advertisement.advertisement();
        let from_us = self.own_source(received.family()) == Some(received.source);
        let echo = self.config.improvements.drop_echoes && from_us && self.sent.contains(heard);
        // CARP §2.2, OpenBSD's step 10: its own number can only come from itself.
        if echo || self.counter == Counter::Cookie(heard.counter) {
            return Err(Refusal::Echo);
        }
        if self.timers.get(Timer::Deaf).is_some() {
            return Err(Refusal::Deaf);
        }
        match self.config.replay {
            ReplayPolicy::Accept => Ok(()),
            ReplayPolicy::Strict => self.peers.accept(received),
        }
    }

    fn refuse(&mut self, refusal: Refusal, received: Option<Received>) {
        self.stats.count_refusal(&refusal);
        self.queue
            .push(Step::Event(Event::Refused { refusal, received }));
    }
}

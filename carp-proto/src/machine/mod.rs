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
//! | `Advertisement`, slower than our patience | note the number | become MASTER "master will time out"; improved: a bow-out of somebody else is refused | note a rival |
//! | `Interface`, runs | to BACKUP "initialization complete", start, undo the demotion | strict: by way of INIT "hardware interface up", start; improved: nothing | as in BACKUP; in a link hold: transmit, acquire, announce |
//! | `Interface`, no carrier | demote once | to INIT "hardware interface down", demote once | the same, release; improved: hold the role for one interval first |
//! | `Interface`, down | demote once | to INIT, demote once | to INIT, release, demote once |
//! | `Addresses`, some | as `Interface` | strict: by way of INIT, start; improved: arm what is new | strict: by way of INIT to BACKUP; improved: transmit, acquire, announce |
//! | `Addresses`, none | undo the demotion | to INIT, undo the demotion | the same, release |
//! | `Demotion` | - | - | transmit, arm again |
//! | `Force(MASTER)` | - | become MASTER "user requested via ifconfig" | - |
//! | `Force(BACKUP)` | - | - | to BACKUP "user requested via ifconfig", start, release; improved: bow out |
//! | `Force(BACKUP)` in a link hold | | | to INIT "hardware interface down", release, demote |
//! | `Force(INIT)` | - | - | - |
//! | `Settings` | from the next arming on | the same | the same |
//! | `Sent` | count; demote after three errors, undo after three successes | the same | the same |
//! | `Source` | note it | note it | note it |
//! | `Shutdown` | undo the demotions, end | to INIT "shutdown", undo the demotions, end | the same, release; improved: bow out |
//!
//! VRRP (CARP §5.7, RFC 9568) shares this table but for what is heard, and for what [`Vrrp`] says.
//! "Wait" means: arm that family's master-down timer, by the interval that was heard.
//!
//! | `Advertisement` | INIT | BACKUP | MASTER |
//! |---|---|---|---|
//! | of the other protocol | counted, refused | counted, refused | counted, refused |
//! | any, as the owner (255) | - | - | note a rival |
//! | RFC: from the own source | refused | refused | refused |
//! | RFC: priority 0 | - | wait for Skew_Time alone; improved: that of somebody else is refused | transmit, arm again |
//! | RFC: higher priority | - | wait | to BACKUP "more frequent advertisement received", wait, release |
//! | RFC: equal priority | - | wait | the same from a higher address; else note a rival, transmit, arm again |
//! | RFC: lower priority | - | preempting: nothing; else wait | note a rival; transmit and arm again, unless that was done within the last tenth of the interval |
//! | FreeBSD: higher, or faster | note the interval | wait; preempting, if slower: become MASTER | to BACKUP, wait, release |
//! | FreeBSD: equal | note the interval | wait | note a rival |
//! | FreeBSD: lower, or slower | note the interval | wait; preempting: become MASTER "preempting a slower master" | note a rival |
//! | FreeBSD: priority 0 | as lower; improved: nothing | as lower; improved: as the RFC | as lower; improved: note that a rival is gone |
//!
//! By the RFC, the owner becomes MASTER "owner of the addresses" where others become BACKUP; a
//! change of the address list never costs the state; and `Shutdown` and `Force(BACKUP)` transmit
//! priority 0, improved: twice. There is nothing to forget after a change of addresses.
//!
//! "Become MASTER" is: transmit, acquire, announce, arm the advertise timer (FreeBSD:
//! transmit, announce, acquire).
//!
//! [`Vrrp`]: crate::vrrp::Vrrp

#![warn(clippy::wildcard_enum_match_arm)]

mod election;
mod interface;
mod neighbours;
mod routers;
mod sending;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Add;
use core::time::Duration;

use crate::config::{AddressCount, Config, ConfigError, Interface, Settings};
use crate::counter::Counter;
use crate::dialect::Dialect;
use crate::event::{Input, Output, Reason, Refusal, State};
use crate::peers::{Sent, Sources};
use crate::queue::{Queue, Step};
use crate::stats::Stats;
use crate::timers::{Timer, Timers};
use crate::types::{Family, Vhid};

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
    /// When this master last sent; peers count their patience from then.
    last_round: Option<T>,
    /// Who was last heard as master, over IPv4 and over IPv6.
    master_v4: Option<Ipv4Addr>,
    master_v6: Option<Ipv6Addr>,
    /// VRRP: the interval of the Active in centiseconds, if one was heard.
    active_interval: Option<u16>,
    sources: Sources,
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
            last_round: None,
            master_v4: None,
            master_v6: None,
            active_interval: None,
            sources: Sources::new(),
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
            // CARP §3.7: only a UCarp is BACKUP without its interface.
            (State::Backup, Input::Force(State::Master)) if !self.is_up() => {}
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
            Step::Transmit(round) => match self.transmit(round) {
                Some(output) => output,
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

    /// Returns the group.
    #[must_use]
    pub fn vhid(&self) -> Vhid {
        self.config.vhid
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

    /// Returns when the master of `family` will be taken for dead, if this is a backup. In
    /// strict mode the deadline may be left over from an earlier state, without effect.
    #[must_use]
    pub fn master_down(&self, family: Family) -> Option<T> {
        self.timers.get(Timer::MasterDown(family))
    }

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
                // It advertises again when the link is back.
                State::Master if self.holds_link() => {}
                State::Master => self.arm_first_advertisement(now),
            }
        }
    }
}

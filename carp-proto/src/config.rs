//! What an operator chooses for one virtual host.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU8;
use core::time::Duration;

use crate::counter::CounterRule;
use crate::dialect::{Dialect, UCarp};
use crate::types::{AdvBase, AdvSkew, InterfaceName, Interval, Vhid};
use crate::vrrp::{AdverInterval, Priority, Vrrp};

/// Everything that decides how a virtual host behaves.
///
/// [`Config::new`] gives what a new installation should use, [`Config::strict`] what a given
/// implementation does to the letter. Both can be changed field by field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The group.
    pub vhid: Vhid,
    /// What can also be changed while the machine runs.
    pub settings: Settings,
    /// Whose rules are followed.
    pub dialect: Dialect,
    /// Which of the improvements are on.
    pub improvements: Improvements,
    /// How advertisements are numbered; VRRP has no numbers.
    pub counter: CounterRule,
    /// Whether repeated numbers are refused.
    pub replay: ReplayPolicy,
    /// When a master announces its addresses to the neighbours.
    pub announcements: Announcements,
    /// How long the former address set is accepted after a change; at most
    /// [`MAX_WAIT`](Self::MAX_WAIT).
    pub address_grace: Duration,
    /// The state of the interface when the machine is made.
    pub interface: Interface,
    /// What [`Interface::Unknown`] is taken for: up by default, as interfaces of a userland
    /// often do not tell; strict configurations do as their dialect.
    pub unknown_link: UnknownLink,
    /// The interface's name, for the texts of events.
    pub interface_name: Option<InterfaceName>,
    /// Our own IPv4 source address, by which echoes are recognised and the ties of UCarp and
    /// RFC 9568 are broken: by the RFC's rules it has to be known. Leave it out unless it is this host's alone: hosts that send from a shared address could take
    /// each other's advertisements for echoes of their own.
    pub source_v4: Option<Ipv4Addr>,
    /// Our own IPv6 source address, likewise.
    pub source_v6: Option<Ipv6Addr>,
}

impl Config {
    /// The longest time that can be configured anywhere, a year.
    pub const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// FreeBSD's rules with all improvements, advbase 1, advskew 0, no preemption, and
    /// numbers that increase from 0; see [`CounterRule::Increasing`] for a better start.
    #[must_use]
    pub fn new(vhid: Vhid) -> Self {
        Self {
            vhid,
            settings: Settings::default(),
            dialect: Dialect::default(),
            improvements: Improvements::ALL,
            counter: CounterRule::Increasing { start: 0 },
            replay: ReplayPolicy::Accept,
            announcements: Announcements::default(),
            address_grace: Duration::from_secs(300),
            interface: Interface::Up,
            unknown_link: UnknownLink::Up,
            interface_name: None,
            source_v4: None,
            source_v6: None,
        }
    }

    /// VRRPv3 by `rules` with all improvements, priority 100 and an interval of one second.
    /// Preemption is on by the RFC's rules and off by FreeBSD's, as each has it by default
    /// (CARP §5.7).
    #[must_use]
    pub fn vrrp(vrid: Vhid, rules: Vrrp) -> Self {
        Self {
            settings: Settings {
                preempt: rules.preempts(),
                ..Settings::default()
            },
            dialect: Dialect::Vrrp(rules),
            ..Self::new(vrid)
        }
    }

    /// The rules of `dialect` without any improvement. `cookie` is OpenBSD's constant
    /// number; the others draw random ones.
    #[must_use]
    pub fn strict(vhid: Vhid, dialect: Dialect, cookie: u64) -> Self {
        let (counter, announcements) = match dialect {
            Dialect::FreeBsd(_) => (CounterRule::Random, Announcements::ONCE),
            Dialect::OpenBsd(_) => (CounterRule::Cookie(cookie), Announcements::OPENBSD),
            Dialect::UCarp(_) => (CounterRule::Random, Announcements::UCARP),
            Dialect::Vrrp(rules) => {
                return Self {
                    improvements: Improvements::NONE,
                    announcements: Announcements::ONCE,
                    unknown_link: UnknownLink::of(dialect),
                    ..Self::vrrp(vhid, rules)
                };
            }
        };
        Self {
            dialect,
            improvements: Improvements::NONE,
            counter,
            announcements,
            unknown_link: UnknownLink::of(dialect),
            ..Self::new(vhid)
        }
    }

    /// Checks the parts against one another.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let announcements = &self.announcements;
        let spacing = match announcements.spacing {
            Spacing::Time(spacing) => Some(spacing),
            Spacing::Advertisements(_) => None,
        };
        for (field, wait) in [
            ("address_grace", Some(self.address_grace)),
            ("announcements.spacing", spacing),
            ("announcements.refresh", announcements.refresh),
        ] {
            if let Some(wait) = wait.filter(|wait| *wait > Self::MAX_WAIT) {
                return Err(ConfigError::TooLong { field, wait });
            }
        }
        if matches!(self.dialect, Dialect::Vrrp(_)) && self.replay == ReplayPolicy::Strict {
            return Err(ConfigError::Replay);
        }
        self.settings.validate(self.dialect)
    }
}

/// What can be changed while a virtual host runs; it counts from the next time a timer is
/// armed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Whole seconds between advertisements. Without meaning for VRRP.
    pub advbase: AdvBase,
    /// 1/256 seconds on top; the lower one is the better host. Without meaning for VRRP.
    pub advskew: AdvSkew,
    /// VRRP: the higher one is the better host (`vrrpprio`). Without meaning for CARP.
    pub priority: Priority,
    /// VRRP: the time between advertisements (`vrrpinterval`). Without meaning for CARP.
    pub adver_interval: AdverInterval,
    /// Whether a better host takes over from a worse master that works.
    pub preempt: bool,
    /// By how much three send errors demote (`senderr_demotion_factor`). OpenBSD: always 1.
    pub senderr_demotion: i32,
    /// By how much an interface found down demotes (`ifdown_demotion_factor`). OpenBSD:
    /// always 1.
    pub ifdown_demotion: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            advbase: AdvBase::DEFAULT,
            advskew: AdvSkew::DEFAULT,
            priority: Priority::DEFAULT,
            adver_interval: AdverInterval::DEFAULT,
            preempt: false,
            senderr_demotion: 240,
            ifdown_demotion: 240,
        }
    }
}

impl Settings {
    /// Returns the configured interval of CARP, not demoted.
    #[must_use]
    pub fn interval(&self) -> Interval {
        Interval::new(self.advbase, self.advskew)
    }

    /// The greatest amount by which one reason demotes, in either direction; kernels take any
    /// integer, and add up beyond what one holds.
    pub const MAX_DEMOTION: i32 = 1_000_000;

    /// Checks that `dialect` allows these values.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the field.
    pub fn validate(&self, dialect: Dialect) -> Result<(), ConfigError> {
        for (field, amount) in [
            ("senderr_demotion", self.senderr_demotion),
            ("ifdown_demotion", self.ifdown_demotion),
        ] {
            if !(-Self::MAX_DEMOTION..=Self::MAX_DEMOTION).contains(&amount) {
                return Err(ConfigError::Demotion { field, amount });
            }
        }
        if let Dialect::Vrrp(_) = dialect {
            return self.validate_vrrp();
        }
        match (dialect, self.advbase.get(), self.advskew.get()) {
            (_, _, 255) => Err(ConfigError::AdvSkew),
            (Dialect::FreeBsd(_), 0, _) => Err(ConfigError::AdvBase),
            (Dialect::UCarp(_), 0, 0) => Err(ConfigError::NoInterval),
            _ => Ok(()),
        }
    }

    /// Both types also hold what may occur in packets only.
    fn validate_vrrp(&self) -> Result<(), ConfigError> {
        if self.priority == Priority::LEAVING {
            return Err(ConfigError::Priority);
        }
        if self.adver_interval.get() == 0 {
            return Err(ConfigError::AdverInterval);
        }
        Ok(())
    }
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// FreeBSD wants at least one second.
    #[error("advbase 0 where FreeBSD's rules want 1 to 255")]
    AdvBase,
    /// 255 is kept for the bow-out.
    #[error("advskew 255 is outside 0..=254")]
    AdvSkew,
    /// An amount exceeds [`Settings::MAX_DEMOTION`].
    #[error("{field} of {amount} is outside -1000000..=1000000")]
    Demotion {
        /// The field.
        field: &'static str,
        /// What was asked for.
        amount: i32,
    },
    /// A time exceeds [`Config::MAX_WAIT`].
    #[error("{field} of {wait:?} where a year is the most")]
    TooLong {
        /// The field.
        field: &'static str,
        /// What was asked for.
        wait: Duration,
    },
    /// VRRP keeps 0 for who leaves.
    #[error("vrrpprio 0 is outside 1..=255")]
    Priority,
    /// VRRP wants at least one centisecond.
    #[error("vrrpinterval 0 is outside 1..=4095")]
    AdverInterval,
    /// VRRP's advertisements have no numbers by which [`ReplayPolicy::Strict`] could refuse
    /// any.
    #[error("replay Strict where VRRP has no numbers")]
    Replay,
    /// UCarp wants one of the two to be more than 0.
    #[error("advbase 0 and advskew 0 where UCarp's rules want either to be positive")]
    NoInterval,
}

/// Deviations from the kernels that peers cannot notice or cannot mind, each on its own
/// switch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Improvements {
    /// A master that leaves by shutdown or by the operator's wish says so, twice, with
    /// advbase and advskew 255, which all peers understand; otherwise they wait out their
    /// dead time (CARP §8.10). A backup obeys the bow-out of its master whatever its own
    /// advbase, and refuses that of anybody else.
    ///
    /// VRRP: says so with priority 0, twice, and a backup waits for Skew_Time then, as the RFC
    /// has it with and without this switch; without it, it is said once and taken from
    /// anybody. FreeBSD 15 takes priority 0 for an ordinary low one: a peer that preempts is
    /// master at once. For peers that do not, a master that does not preempt either adds an
    /// interval of 0.1 s, after which they wait no longer than 0.4 s.
    pub bow_out: bool,
    /// Advertisements of our own that come back are dropped; otherwise a lone master
    /// yields to itself (CARP §8.2). Needs the own source address.
    pub drop_echoes: bool,
    /// A change of the address list keeps the state; otherwise it costs a master its role
    /// (CARP §8.4). The former list is accepted for
    /// [`address_grace`](Config::address_grace): change the lists of the backups first and
    /// that of the master last, and nobody takes over.
    pub keep_state_on_address_change: bool,
    /// A master whose link comes back within one advertisement interval stays master, if
    /// it also comes back within three base intervals of the last advertisement: before
    /// that, no peer with the same advbase can have taken over. One with a lower advbase
    /// can; the first advertisement decides between the two.
    pub ride_out_link_flaps: bool,
    /// A backup waits for three intervals of the present master if that is longer than its
    /// own rule, which would make it take over from a slow but healthy master. VRRP always
    /// waits by the interval of the present master.
    pub adaptive_dead_time: bool,
    /// Addresses are released whenever the role is left; FreeBSD keeps the routes when it
    /// leaves by way of INIT (CARP §5.3).
    pub release_on_every_exit: bool,
    /// A demotion is taken back by the amount it was made of; kernels subtract the factor
    /// of the day, and a rest stays (CARP §4.1).
    pub exact_demotion: bool,
    /// A master has no master-down timers, and a backup none for a family without
    /// addresses. FreeBSD lets them run; one that is left over can make a host master that
    /// hears its master well.
    pub drop_stale_timers: bool,
    /// A new master serves its addresses before it announces them; FreeBSD announces first.
    pub acquire_first: bool,
    /// VRRP: a demotion lowers the priority, to 1 at the least, so that a demoted host gives
    /// way to peers that preempt. Neither the RFC nor FreeBSD 15 knows demotion in VRRP. The
    /// owner's priority of 255 stays.
    pub vrrp_demotion: bool,
}

impl Improvements {
    /// All of them, the default.
    pub const ALL: Self = Self {
        bow_out: true,
        drop_echoes: true,
        keep_state_on_address_change: true,
        ride_out_link_flaps: true,
        adaptive_dead_time: true,
        release_on_every_exit: true,
        exact_demotion: true,
        drop_stale_timers: true,
        acquire_first: true,
        vrrp_demotion: true,
    };

    /// None of them: what the kernels do, to the letter.
    pub const NONE: Self = Self {
        bow_out: false,
        drop_echoes: false,
        keep_state_on_address_change: false,
        ride_out_link_flaps: false,
        adaptive_dead_time: false,
        release_on_every_exit: false,
        exact_demotion: false,
        drop_stale_timers: false,
        acquire_first: false,
        vrrp_demotion: false,
    };
}

impl Default for Improvements {
    fn default() -> Self {
        Self::ALL
    }
}

/// Whether an advertisement may carry a number that its sender has used before.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbers are looked at or not")]
pub enum ReplayPolicy {
    /// It may, as kernels and UCarp do so legitimately (CARP §1.7).
    #[default]
    Accept,
    /// It may not: each source address must use greater numbers than before, and a new one
    /// greater numbers than all others. Only for groups in which every host uses
    /// [`CounterRule::Increasing`] with a start that grows over reboots. Up to
    /// [`MAX_SOURCES`](crate::MAX_SOURCES) sources are told apart.
    ///
    /// The price: a host that is not known to a receiver yet, and has not heard the others, is
    /// not heard either until it has. Where packets get through in one direction only, two
    /// masters then last longer.
    ///
    /// What remains possible: an advertisement that its receivers have not seen yet can be
    /// held back, altered and delivered later; and our own can be sent to us as if from
    /// another host, whose numbers ours are ahead of.
    Strict,
}

/// When a master announces its addresses by gratuitous ARP and neighbour advertisements,
/// besides at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Announcements {
    /// How often the first announcement is repeated.
    pub repeats: u8,
    /// How far the repetitions are apart.
    pub spacing: Spacing,
    /// After the repetitions, once in this time for ever; for switches that never see the
    /// virtual MAC otherwise (CARP §5.6).
    pub refresh: Option<Duration>,
    /// What is done about another master that gave way.
    pub rival: RivalPolicy,
}

/// The distance of two announcements.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "by time or by advertisements")]
pub enum Spacing {
    /// By the clock.
    Time(Duration),
    /// With every so-manieth advertisement, and over IPv4 only: the "delayed ARP" of OpenBSD,
    /// NetBSD and UCarp.
    Advertisements(NonZeroU8),
}

/// When a master announces again because neighbours may have learnt a rival's MAC.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "never, at once or afterwards")]
pub enum RivalPolicy {
    /// Never, as FreeBSD and OpenBSD.
    Never,
    /// Whenever the rival is heard, as UCarp.
    AtOnce,
    /// When the rival has fallen silent.
    WhenGone,
}

impl Announcements {
    /// As FreeBSD: once.
    pub const ONCE: Self = Self {
        repeats: 0,
        spacing: Spacing::Time(Duration::from_secs(1)),
        refresh: None,
        rival: RivalPolicy::Never,
    };

    /// As OpenBSD and NetBSD: again with the second advertisement that follows.
    pub const OPENBSD: Self = Self {
        repeats: 1,
        spacing: Spacing::Advertisements(NonZeroU8::MIN.saturating_add(1)),
        ..Self::ONCE
    };

    /// As UCarp: likewise, and whenever a worse master is heard.
    pub const UCARP: Self = Self {
        rival: RivalPolicy::AtOnce,
        ..Self::OPENBSD
    };
}

/// Five announcements half a second apart, and five more when a rival is gone.
impl Default for Announcements {
    fn default() -> Self {
        Self {
            repeats: 4,
            spacing: Spacing::Time(Duration::from_millis(500)),
            refresh: None,
            rival: RivalPolicy::WhenGone,
        }
    }
}

/// The state of the interface that carries a virtual host.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "administrative and link state, combined"
)]
pub enum Interface {
    /// Up, with carrier.
    Up,
    /// Up, but the driver does not tell about its carrier.
    Unknown,
    /// Up, without carrier.
    NoCarrier,
    /// Administratively down, gone, or barred from CARP (`net.inet.carp.allow` 0).
    Down,
}

/// What an unknown carrier is taken for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "up or down")]
pub enum UnknownLink {
    /// For up, as OpenBSD does.
    Up,
    /// For down, as FreeBSD does; virtual interfaces then may never leave INIT (trap 9.26).
    Down,
}

impl UnknownLink {
    /// What the implementation takes it for.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::FreeBsd(_) | Dialect::Vrrp(Vrrp::FreeBsd15) => Self::Down,
            Dialect::OpenBsd(_) | Dialect::UCarp(UCarp { .. }) | Dialect::Vrrp(Vrrp::Rfc9568) => {
                Self::Up
            }
        }
    }
}

/// How many shared addresses of each family a virtual host has.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there are two families")]
pub struct AddressCount {
    /// IPv4 addresses.
    pub v4: u16,
    /// IPv6 addresses.
    pub v6: u16,
}

impl AddressCount {
    /// Counts `addresses`.
    #[must_use]
    pub fn of(addresses: &[core::net::IpAddr]) -> Self {
        let mut count = Self::default();
        for address in addresses {
            let family = if address.is_ipv4() {
                &mut count.v4
            } else {
                &mut count.v6
            };
            *family = family.saturating_add(1);
        }
        count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.v4 == 0 && self.v6 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::OpenBsd;

    #[test]
    fn each_dialect_allows_what_its_implementation_allows() {
        let zero = Settings {
            advbase: AdvBase::new(0),
            ..Settings::default()
        };
        let bow_out = Settings {
            advskew: AdvSkew::BOW_OUT,
            ..Settings::default()
        };
        let openbsd = Dialect::OpenBsd(OpenBsd::Since2025);
        let ucarp = Dialect::UCarp(UCarp::default());
        assert_eq!(zero.validate(Dialect::default()), Err(ConfigError::AdvBase));
        assert_eq!(zero.validate(openbsd), Ok(()));
        assert_eq!(zero.validate(ucarp), Err(ConfigError::NoInterval));
        assert_eq!(bow_out.validate(openbsd), Err(ConfigError::AdvSkew));
        let skewed = Settings {
            advskew: AdvSkew::MAX,
            ..zero
        };
        assert_eq!(skewed.validate(ucarp), Ok(()));
        // Each looks at its own fields alone.
        let unfit = Settings {
            priority: Priority::LEAVING,
            adver_interval: AdverInterval::from_wire(0),
            ..Settings::default()
        };
        let no_interval = Settings {
            priority: Priority::OWNER,
            ..unfit
        };
        for rules in [Vrrp::FreeBsd15, Vrrp::Rfc9568] {
            let vrrp = Dialect::Vrrp(rules);
            assert_eq!(bow_out.validate(vrrp), Ok(()));
            assert_eq!(unfit.validate(vrrp), Err(ConfigError::Priority));
            assert_eq!(no_interval.validate(vrrp), Err(ConfigError::AdverInterval));
            let mut config = Config::vrrp(Vhid::new(1).unwrap(), rules);
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(config.settings.preempt, rules == Vrrp::Rfc9568);
            config.replay = ReplayPolicy::Strict;
            assert_eq!(config.validate(), Err(ConfigError::Replay));
        }
        assert_eq!(unfit.validate(openbsd), Ok(()));
    }
}

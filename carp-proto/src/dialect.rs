//! The rules by which the families of implementations differ.
//!
//! Everything here is a pure function of numbers; what is done about the answer stands in
//! the [machine](crate::machine).

#![warn(clippy::wildcard_enum_match_arm)]

use core::cmp::Ordering;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use crate::advertisement::Advertisement;
use crate::config::Settings;
use crate::types::{AdvSkew, Family, Interval, MacAddr, Vhid};
use crate::vrrp::Vrrp;

/// Whose rules a virtual host follows. Those of CARP all understand one another; choose the one
/// most peers follow. VRRP is a protocol of its own, without authentication.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Dialect {
    /// FreeBSD since its rewrite in release 10: demotion raises the skew (CARP §3.4).
    FreeBsd(FreeBsd),
    /// OpenBSD: demotion is a byte of its own and moves the master without preemption
    /// (CARP §3.5).
    OpenBsd(OpenBsd),
    /// UCarp: ties are broken by source address (CARP §3.7).
    UCarp(UCarp),
    /// VRRPv3 instead of CARP (CARP §5.7). What [`Settings`] say of advbase and advskew has no
    /// meaning then, nor have numbers.
    Vrrp(Vrrp),
}

impl Default for Dialect {
    fn default() -> Self {
        Self::FreeBsd(FreeBsd::From14)
    }
}

/// Releases of FreeBSD with different rules.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FreeBsd {
    /// Releases 10 to 13: a negative demotion can wrap the skew on the wire, and a demotion
    /// by send errors is never taken back.
    From10To13,
    /// Releases 14 and 15, with both mended.
    From14,
}

/// Revisions of OpenBSD with different timers (CARP §3.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpenBsd {
    /// Before July 2025: a master is dead after three base intervals and one skew.
    Before2025,
    /// Since July 2025: after three base intervals and three skews.
    Since2025,
}

/// UCarp's options that bear on the election.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct UCarp {
    /// How many base intervals of silence make a master dead (option `-r`).
    pub dead_ratio: NonZeroU8,
    /// Which of two source addresses is the lower one.
    pub tie_order: TieOrder,
    /// Whether a leftover address is released at the start (the reverse of option `-n`).
    pub at_start: AtStart,
}

impl Default for UCarp {
    fn default() -> Self {
        Self {
            dead_ratio: NonZeroU8::MIN.saturating_add(2),
            tie_order: TieOrder::LittleEndian,
            at_start: AtStart::Release,
        }
    }
}

/// How UCarp compares addresses: as native integers of their network-order bytes, so that
/// the answer depends on the machine (CARP §9.43).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two byte orders")]
pub enum TieOrder {
    /// The last byte weighs most, as on x86.
    LittleEndian,
    /// The first byte weighs most.
    BigEndian,
}

/// What UCarp does about the address before it knows its role.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is released or left alone")]
pub enum AtStart {
    /// Release it, in case an earlier run left it behind.
    Release,
    /// Leave it alone (option `-n`).
    Neutral,
}

/// What a master does about another one's advertisement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Contest {
    /// The other one is better, or equal where equals yield.
    Yield,
    /// The other one is worse and should yield.
    Hold,
}

/// Why a backup takes over on hearing an advertisement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Overtake {
    /// The advertised interval is longer than ours.
    SlowerMaster,
    /// The master is more demoted than we are.
    DemotedMaster,
    /// The advertised interval is longer than our patience.
    WillTimeOut,
}

impl Dialect {
    /// Returns the virtual MAC address of a group for `family` (CARP §1.3, §5.7). UCarp's own
    /// MASTER uses another, with 0 in the fifth byte; nobody minds.
    #[must_use]
    pub const fn mac(self, vhid: Vhid, family: Family) -> MacAddr {
        match self {
            Self::FreeBsd(_) | Self::OpenBsd(_) | Self::UCarp(_) => vhid.mac(),
            Self::Vrrp(rules) => rules.mac(vhid, family),
        }
    }

    /// The rules of VRRP, if it is spoken.
    pub(crate) const fn vrrp(self) -> Option<Vrrp> {
        match self {
            Self::FreeBsd(_) | Self::OpenBsd(_) | Self::UCarp(_) => None,
            Self::Vrrp(rules) => Some(rules),
        }
    }

    /// Whether the RFC's rules are followed.
    pub(crate) const fn is_rfc(self) -> bool {
        matches!(self, Self::Vrrp(Vrrp::Rfc9568))
    }

    /// Whether it is FreeBSD's code, whichever protocol it speaks.
    pub(crate) const fn is_freebsd(self) -> bool {
        matches!(self, Self::FreeBsd(_) | Self::Vrrp(Vrrp::FreeBsd15))
    }

    /// The demoted skew: what FreeBSD announces and compares (CARP §3.1).
    pub(crate) fn effective_skew(self, advskew: AdvSkew, demotion: i32) -> i32 {
        let plain = i32::from(advskew.get());
        let cap = i32::from(AdvSkew::DEMOTED.get());
        match self {
            // Trap 9.16: the cap applies to a high configured skew, too.
            Self::FreeBsd(FreeBsd::From10To13) => plain.saturating_add(demotion).min(cap),
            Self::FreeBsd(FreeBsd::From14) => plain.saturating_add(demotion).clamp(0, cap),
            Self::OpenBsd(_) | Self::Vrrp(_) => plain,
            Self::UCarp(_) if demotion > 0 => cap,
            Self::UCarp(_) => plain,
        }
    }

    /// The demotion byte, which OpenBSD alone sends.
    pub(crate) fn demote_byte(self, demotion: i32) -> u8 {
        match self {
            Self::OpenBsd(_) => u8::try_from(demotion.clamp(0, 255)).unwrap_or(u8::MAX),
            Self::FreeBsd(_) | Self::UCarp(_) | Self::Vrrp(_) => 0,
        }
    }

    /// CARP: our own standing in a comparison.
    pub(crate) fn standing(self, settings: &Settings, demotion: i32) -> Interval {
        Interval::with_skew(
            settings.advbase,
            self.effective_skew(settings.advskew, demotion),
        )
    }

    /// The time between two advertisements.
    pub(crate) fn advertise_interval(self, settings: &Settings, demotion: i32) -> Duration {
        match self {
            Self::FreeBsd(_) | Self::OpenBsd(_) | Self::UCarp(_) => {
                self.pace(self.standing(settings, demotion))
            }
            Self::Vrrp(_) => settings.adver_interval.duration(),
        }
    }

    /// The time to the second advertisement of a new master: not demoted, but by UCarp
    /// (trap 9.17).
    pub(crate) fn first_interval(self, settings: &Settings, demotion: i32) -> Duration {
        match self {
            Self::FreeBsd(_) | Self::OpenBsd(_) => self.pace(settings.interval()),
            Self::UCarp(_) | Self::Vrrp(_) => self.advertise_interval(settings, demotion),
        }
    }

    /// The least patience that peers with our advbase, or our interval, have.
    pub(crate) fn least_patience(self, settings: &Settings) -> Duration {
        match self {
            Self::FreeBsd(_) | Self::OpenBsd(_) | Self::UCarp(_) => {
                let least = Interval::new(settings.advbase, AdvSkew::DEFAULT);
                least.stretch(3).duration()
            }
            Self::Vrrp(_) => settings.adver_interval.duration() * 3,
        }
    }

    /// CARP: the silence after which a master is taken for dead, by our own settings alone
    /// and not demoted (CARP §3.2). VRRP's is [`Vrrp::dead_time`].
    pub(crate) fn dead_time(self, settings: &Settings) -> Duration {
        let own = settings.interval();
        match self {
            Self::FreeBsd(_) | Self::Vrrp(_) => own.stretch(3).duration(),
            Self::OpenBsd(_) if own.is_zero() => self.pace(own) * 3,
            Self::OpenBsd(OpenBsd::Before2025) if settings.advbase.get() != 0 => {
                own.stretch(3).duration()
            }
            Self::OpenBsd(_) => own.duration() * 3,
            Self::UCarp(UCarp { dead_ratio, .. }) => own.stretch(dead_ratio.get()).duration(),
        }
    }

    /// CARP: the dead time that also suits a master slower than we are: three of its intervals,
    /// and our skew, by which the better of two backups is the first. At base 0 the skew is the
    /// whole interval, and an eighth of it tells them apart as well.
    pub(crate) fn adaptive_dead_time(self, settings: &Settings, master: Interval) -> Duration {
        if master.is_bow_out() {
            // It says that it leaves, not that it will speak again in 256 seconds.
            return self.dead_time(settings);
        }
        let skew = settings.interval().stretch(0).duration();
        let lag = match settings.advbase.get() {
            0 => skew / 8,
            _ => skew,
        };
        self.dead_time(settings).max(self.pace(master) * 3 + lag)
    }

    /// The time that an interval stands for; OpenBSD reads 0/0 as 1/256 s.
    pub(crate) fn pace(self, interval: Interval) -> Duration {
        let least = Duration::from_micros(1_000_000 / 256);
        interval.duration().max(least)
    }

    /// CARP: what a master makes of `heard` from `source` (CARP §3.3 to §3.7).
    pub(crate) fn contest(
        self,
        settings: &Settings,
        demotion: i32,
        heard: &Advertisement,
        source: IpAddr,
        own_source: Option<IpAddr>,
    ) -> Contest {
        let order = self.standing(settings, demotion).cmp(&heard.interval());
        let yields = match self {
            // Trap 9.20: equal means yield.
            Self::FreeBsd(_) | Self::Vrrp(_) => order != Ordering::Less,
            Self::OpenBsd(_) => {
                let ours = self.demote_byte(demotion);
                (order != Ordering::Less && heard.demote <= ours) || heard.demote < ours
            }
            Self::UCarp(UCarp { tie_order, .. }) => match order {
                Ordering::Greater => true,
                Ordering::Less => false,
                // Without an own address to compare, equals yield as they do on BSD, since
                // two masters that both hold would never end.
                Ordering::Equal => own_source.is_none_or(|own| is_lower(source, own, tie_order)),
            },
        };
        if yields {
            Contest::Yield
        } else {
            Contest::Hold
        }
    }

    /// CARP: whether a backup takes over on hearing `heard`, and why.
    pub(crate) fn overtakes(
        self,
        settings: &Settings,
        demotion: i32,
        heard: &Advertisement,
    ) -> Option<Overtake> {
        let theirs = heard.interval();
        let standing = self.standing(settings, demotion);
        let ours = self.demote_byte(demotion);
        let preempts = settings.preempt && standing < theirs;
        // Trap 9.21: three base intervals and one skew.
        let patience = match self {
            Self::UCarp(UCarp { dead_ratio, .. }) => standing.stretch(dead_ratio.get()),
            Self::FreeBsd(_) | Self::OpenBsd(_) | Self::Vrrp(_) => standing.stretch(3),
        };
        // CARP §3.5: not by a host of base 0; UCarp knows no such exception (§3.7).
        let waits = settings.advbase.get() != 0 || matches!(self, Self::UCarp(_));
        let times_out = waits && patience < theirs;
        let overtake = match self {
            Self::OpenBsd(_) if preempts && heard.demote >= ours => Some(Overtake::SlowerMaster),
            Self::OpenBsd(_) if heard.demote > ours => Some(Overtake::DemotedMaster),
            Self::FreeBsd(_) | Self::UCarp(_) if preempts => Some(Overtake::SlowerMaster),
            Self::OpenBsd(_) | Self::FreeBsd(_) | Self::UCarp(_) | Self::Vrrp(_) => None,
        };
        overtake.or_else(|| times_out.then_some(Overtake::WillTimeOut))
    }
}

/// Whether `theirs` is the lower of two addresses by UCarp's comparison.
fn is_lower(theirs: IpAddr, ours: IpAddr, order: TieOrder) -> bool {
    let weigh = |address| match (address, order) {
        (IpAddr::V4(a), TieOrder::BigEndian) => u128::from(a.to_bits()),
        (IpAddr::V4(a), TieOrder::LittleEndian) => u128::from(a.to_bits().swap_bytes()),
        (IpAddr::V6(a), TieOrder::BigEndian) => a.to_bits(),
        (IpAddr::V6(a), TieOrder::LittleEndian) => a.to_bits().swap_bytes(),
    };
    weigh(theirs) < weigh(ours)
}

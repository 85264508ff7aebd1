//! The rules by which a VRRP router is elected, as pure functions (CARP §5.7, RFC 9568 §6).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#![warn(clippy::wildcard_enum_match_arm)]

use core::cmp::Ordering;
use core::time::Duration;

use super::{AdverInterval, Advertisement, Checked, Priority, Style};
use crate::config::Settings;
use crate::types::{Family, MacAddr, Vhid};

/// The interval of the Active that FreeBSD assumes until it has heard one.
const ASSUMED: u16 = 100;
/// The interval in the farewell to FreeBSD peers that do not preempt; see [`Vrrp::farewell`].
const HASTE: u16 = 10;

/// Whose rules a group that speaks VRRPv3 follows. RFC 9568 says Active where this crate says
/// MASTER.
///
/// | | FreeBSD 15 | RFC 9568 |
/// |---|---|---|
/// | a MASTER yields to | a higher priority or a shorter interval | a higher priority; an equal one from a higher source address |
/// | equal priorities | both stay MASTER, for ever | the higher source address wins |
/// | a worse one is heard by a MASTER | nothing | it advertises at once |
/// | a worse one is heard by a preempting BACKUP | it becomes MASTER at once | it does not count, so that the timer fires |
/// | the interval to wait by, until one was heard | 1 s | the own |
/// | reserved bits of the interval | are part of it | are not |
/// | priority 255 | hears nobody | likewise, and is MASTER from the start |
/// | priority 0 | a low priority | who says so leaves: its backups wait for Skew_Time alone |
/// | shutdown | silence | priority 0 |
/// | IPv6 MAC address | 00:00:5e:00:01:XX | 00:00:5e:00:02:XX |
///
/// A group follows one of them on all of its hosts: FreeBSD's and the RFC's agree only while
/// priorities differ, intervals are the same, and nobody leaves.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each has its place in every rule")]
pub enum Vrrp {
    /// FreeBSD 15's `carpver 3`, to the letter.
    #[default]
    FreeBsd15,
    /// RFC 9568, which keepalived and other vendors' routers follow. One machine serves both
    /// families of a group; ties are then broken by the IPv4 addresses alone, as two
    /// different answers would never end.
    Rfc9568,
}

/// What a BACKUP does about an advertisement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reception {
    /// It becomes MASTER at once.
    Overtake,
    /// It waits for the Active to fall silent.
    Wait,
    /// It waits for Skew_Time, as the Active leaves.
    WaitSkew,
    /// It does not count.
    Ignore,
}

/// What a MASTER does about another one's advertisement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Contest {
    /// It becomes BACKUP.
    Yield,
    /// It stays MASTER.
    Hold,
    /// It stays MASTER and says so at once.
    Assert,
}

/// Who wins among equal priorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tie {
    /// Our source address is the higher one.
    Ours,
    /// The other source address is the higher one, or ours is not known: two that both hold
    /// would never end.
    Theirs,
    /// The advertisements of the other family decide.
    Elsewhere,
}

impl Vrrp {
    /// How packets are written and checked unless something else is chosen. keepalived's
    /// default over IPv4 is [`Checksum::WithPseudoHeader`](super::Checksum), unlike the RFC's.
    #[must_use]
    pub const fn style(self) -> Style {
        match self {
            Self::FreeBsd15 => Style::FREEBSD_15,
            Self::Rfc9568 => Style::RFC_9568,
        }
    }

    /// Returns the virtual MAC address by which the group's addresses of `family` are reached
    /// and from which its MASTER sends (CARP §5.7).
    #[must_use]
    pub const fn mac(self, vrid: Vhid, family: Family) -> MacAddr {
        match (self, family) {
            (Self::Rfc9568, Family::V6) => MacAddr([0x00, 0x00, 0x5e, 0x00, 0x02, vrid.get()]),
            (Self::FreeBsd15, _) | (Self::Rfc9568, Family::V4) => vrid.mac(),
        }
    }

    /// Whether a better host takes over from a worse one unless told otherwise.
    pub(crate) const fn preempts(self) -> bool {
        matches!(self, Self::Rfc9568)
    }

    /// The interval that counts, in centiseconds: at least 1, as nobody is known to send 0.
    pub(crate) fn interval_of(self, heard: &Checked) -> u16 {
        let interval = match self {
            Self::FreeBsd15 => heard.reserved_and_interval(),
            Self::Rfc9568 => heard.advertisement().interval.get(),
        };
        interval.max(1)
    }

    /// The silence after which the Active is taken for dead: Active_Down_Interval. `active`
    /// is its interval in centiseconds, if one was heard.
    pub(crate) fn dead_time(self, ours: &Advertisement, active: Option<u16>) -> Duration {
        let active = self.active_interval(ours, active);
        centiseconds(active)
            .saturating_mul(3)
            .saturating_add(skew(ours.priority, active))
    }

    /// The silence after which a leaving Active is replaced: Skew_Time.
    pub(crate) fn skew_time(self, ours: &Advertisement, active: Option<u16>) -> Duration {
        skew(ours.priority, self.active_interval(ours, active))
    }

    fn active_interval(self, ours: &Advertisement, heard: Option<u16>) -> u16 {
        match (heard, self) {
            (Some(heard), _) => heard,
            (None, Self::FreeBsd15) => ASSUMED,
            (None, Self::Rfc9568) => ours.interval.get(),
        }
    }

    /// What a MASTER makes of `heard`.
    pub(crate) fn contest(self, ours: &Advertisement, heard: &Checked, tie: Tie) -> Contest {
        let theirs = heard.advertisement().priority;
        if ours.priority == Priority::OWNER {
            return Contest::Hold;
        }
        match (self, theirs.cmp(&ours.priority)) {
            (Self::FreeBsd15 | Self::Rfc9568, Ordering::Greater) => Contest::Yield,
            (Self::FreeBsd15, Ordering::Less | Ordering::Equal) => {
                if self.interval_of(heard) < ours.interval.get() {
                    Contest::Yield
                } else {
                    Contest::Hold
                }
            }
            (Self::Rfc9568, Ordering::Less) => Contest::Assert,
            (Self::Rfc9568, Ordering::Equal) => match tie {
                Tie::Ours => Contest::Assert,
                Tie::Theirs => Contest::Yield,
                Tie::Elsewhere => Contest::Hold,
            },
        }
    }

    /// What a BACKUP makes of `heard`. `obeys` is whether FreeBSD's rules are improved upon by
    /// taking priority 0 for what it means.
    pub(crate) fn reception(
        self,
        ours: &Advertisement,
        preempt: bool,
        heard: &Checked,
        obeys: bool,
    ) -> Reception {
        let theirs = heard.advertisement().priority;
        let obeys = obeys || self == Self::Rfc9568;
        let is_worse = theirs < ours.priority;
        let is_slower = self.interval_of(heard) > ours.interval.get();
        match self {
            Self::FreeBsd15 | Self::Rfc9568 if ours.priority == Priority::OWNER => {
                Reception::Ignore
            }
            Self::FreeBsd15 | Self::Rfc9568 if obeys && theirs == Priority::LEAVING => {
                Reception::WaitSkew
            }
            Self::FreeBsd15 if preempt && (is_worse || is_slower) => Reception::Overtake,
            Self::Rfc9568 if preempt && is_worse => Reception::Ignore,
            Self::FreeBsd15 | Self::Rfc9568 => Reception::Wait,
        }
    }

    /// What a MASTER says when it leaves.
    ///
    /// FreeBSD's own MASTER says nothing, and its peers take priority 0 for an ordinary low
    /// one. Those that preempt take over at once. Those that do not would wait as long as
    /// ever; they go by the interval they heard last, though, so a short one hurries them. A
    /// preempting one, which is MASTER by then, would yield to it when it comes twice. All
    /// hosts of a group preempt or none does, so the own setting decides.
    pub(crate) fn farewell(self, settings: &Settings) -> (Priority, AdverInterval) {
        let own = settings.adver_interval;
        let interval = match self {
            Self::FreeBsd15 if !settings.preempt => AdverInterval::from_wire(HASTE).min(own),
            Self::FreeBsd15 | Self::Rfc9568 => own,
        };
        (Priority::LEAVING, interval)
    }
}

fn centiseconds(count: u16) -> Duration {
    Duration::from_millis(u64::from(count).saturating_mul(10))
}

/// Skew_Time, exact to the nanosecond below.
fn skew(priority: Priority, active: u16) -> Duration {
    let steps = 256_u64.saturating_sub(priority.get().into());
    // 1 cs / 256 is 39062.5 ns.
    let halves = steps.saturating_mul(active.into()).saturating_mul(78_125);
    Duration::from_nanos(halves / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(priority: u8, interval: u16) -> Advertisement {
        Advertisement {
            vrid: Vhid::new(1).unwrap(),
            priority: Priority::from_wire(priority),
            interval: AdverInterval::from_wire(interval),
        }
    }

    #[test]
    fn the_dead_time_is_exact() {
        let wait = |rules: Vrrp, priority, own, active| {
            rules.dead_time(&ours(priority, own), active).as_nanos()
        };
        // 3 s and 156/256 s.
        assert_eq!(wait(Vrrp::Rfc9568, 100, 100, None), 3_609_375_000);
        assert_eq!(wait(Vrrp::Rfc9568, 100, 1, None), 36_093_750);
        assert_eq!(wait(Vrrp::FreeBsd15, 100, 1, None), 3_609_375_000);
        assert_eq!(wait(Vrrp::FreeBsd15, 100, 100, Some(1)), 36_093_750);
        assert_eq!(wait(Vrrp::Rfc9568, 255, 1, None), 30_039_062);
        assert_eq!(wait(Vrrp::Rfc9568, 254, 4095, None), 123_169_921_875);
        // All 16 bits, by FreeBSD's rules.
        assert_eq!(
            wait(Vrrp::FreeBsd15, 1, 100, Some(u16::MAX)),
            1_966_050_000_000 + 255 * 65_535 * 78_125 / 2
        );
    }

    #[test]
    fn each_family_has_the_mac_address_of_its_rules() {
        let vrid = Vhid::new(51).unwrap();
        assert_eq!(Vrrp::Rfc9568.mac(vrid, Family::V4), vrid.mac());
        assert_eq!(Vrrp::FreeBsd15.mac(vrid, Family::V6), vrid.mac());
        assert_eq!(
            Vrrp::Rfc9568.mac(vrid, Family::V6),
            MacAddr([0, 0, 0x5e, 0, 2, 51])
        );
    }
}

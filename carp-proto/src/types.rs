//! Numbers and names that cannot be out of range.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use crate::ip::{GROUP_V4, GROUP_V6};

/// A number outside the range its field allows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[error("{field} {value} is outside {min}..={max}")]
pub struct OutOfRange {
    /// The field's name as `ifconfig` spells it.
    pub field: &'static str,
    /// What was asked for.
    pub value: u32,
    /// The least value allowed.
    pub min: u32,
    /// The greatest value allowed.
    pub max: u32,
}

/// A virtual host id, 1 to 255: one group of hosts on one network segment.
///
/// The value 0 may occur in packets but names nobody (CARP §9.41).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Vhid(NonZeroU8);

impl Vhid {
    /// Makes a virtual host id.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if `id` is 0.
    pub const fn new(id: u8) -> Result<Self, OutOfRange> {
        match NonZeroU8::new(id) {
            Some(id) => Ok(Self(id)),
            None => Err(OutOfRange {
                field: "vhid",
                value: 0,
                min: 1,
                max: 255,
            }),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Returns the virtual MAC address 00:00:5e:00:01:VHID, which CARP uses for both
    /// families (CARP §1.3).
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, self.get()])
    }
}

impl fmt::Display for Vhid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The whole seconds between two advertisements, 0 to 255.
///
/// FreeBSD, NetBSD and DragonFly want at least 1; OpenBSD and UCarp allow 0 (CARP §9.42).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AdvBase(u8);

impl AdvBase {
    /// The kernels' default, one second.
    pub const DEFAULT: Self = Self(1);

    /// Makes a base interval of `seconds`.
    #[must_use]
    pub const fn new(seconds: u8) -> Self {
        Self(seconds)
    }

    /// Returns the seconds.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for AdvBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is added to the base interval, in 1/256 second; the lower one wins the election.
///
/// 0 to 254 can be configured; 255 occurs in a bow-out only (CARP §9.22).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AdvSkew(u8);

impl AdvSkew {
    /// The kernels' default.
    pub const DEFAULT: Self = Self(0);
    /// The highest skew that can be configured.
    pub const MAX: Self = Self(254);
    /// The skew of a bow-out, by which a master says that it leaves.
    pub const BOW_OUT: Self = Self(255);
    /// The highest skew that a demoted host announces (CARP §3.1).
    pub const DEMOTED: Self = Self(240);

    /// Makes a skew to configure.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if `skew` is 255, which is kept for the bow-out.
    pub const fn new(skew: u8) -> Result<Self, OutOfRange> {
        if skew > Self::MAX.0 {
            return Err(OutOfRange {
                field: "advskew",
                value: skew as u32,
                min: 0,
                max: 254,
            });
        }
        Ok(Self(skew))
    }

    /// Takes a skew as found in a packet, where every value may occur.
    #[must_use]
    pub const fn from_wire(skew: u8) -> Self {
        Self(skew)
    }

    /// Returns the number of 1/256 seconds.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for AdvSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a host advertises, and thereby how good it is: of two intervals the lesser is
/// the better host's (CARP §3.3).
///
/// The derived order compares seconds first and the skew second, which is how every
/// implementation compares its `timeval`s. A skew may be negative inside FreeBSD 10 to 13,
/// whose demotion can make it so.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Interval {
    seconds: u16,
    skew: i32,
}

impl Interval {
    /// The interval of `advbase` seconds and `advskew` 1/256 seconds.
    #[must_use]
    pub fn new(advbase: AdvBase, advskew: AdvSkew) -> Self {
        Self::with_skew(advbase, i32::from(advskew.get()))
    }

    /// As [`new`](Self::new), with a skew that demotion may have driven below zero.
    pub(crate) fn with_skew(advbase: AdvBase, skew: i32) -> Self {
        Self {
            seconds: u16::from(advbase.get()),
            skew,
        }
    }

    /// The same skew on top of `factor` times the seconds: "3 x advbase + advskew".
    pub(crate) fn stretch(self, factor: u8) -> Self {
        // At most 255 x 255, which a u16 holds.
        Self {
            seconds: self.seconds.saturating_mul(u16::from(factor)),
            skew: self.skew,
        }
    }

    /// Whether it is the interval of a bow-out, 255 seconds and skew 255.
    #[must_use]
    pub fn is_bow_out(self) -> bool {
        self.seconds == 255 && self.skew == i32::from(AdvSkew::BOW_OUT.get())
    }

    /// Whether it is 0 seconds and skew 0, which OpenBSD reads as 1/256 second.
    pub(crate) fn is_zero(self) -> bool {
        self.seconds == 0 && self.skew == 0
    }

    /// Returns the time it stands for, in whole microseconds as the kernels compute it
    /// (CARP §3.2): the skew's fraction of a microsecond is cut off.
    #[must_use]
    pub fn duration(self) -> Duration {
        let base = Duration::from_secs(u64::from(self.seconds));
        let skew = Duration::from_micros(u64::from(self.skew.unsigned_abs()) * 1_000_000 / 256);
        if self.skew < 0 {
            base.saturating_sub(skew)
        } else {
            base.saturating_add(skew)
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.seconds, self.skew)
    }
}

/// The family of an address or packet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "there is no third family")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns the multicast group to which advertisements of this family are sent.
    #[must_use]
    pub const fn group(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(GROUP_V4),
            Self::V6 => IpAddr::V6(GROUP_V6),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The name of an interface: 1 to 15 bytes without NUL, space or `/`, as every kernel
/// requires.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct InterfaceName {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

/// Why a text is no interface name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceNameError {
    /// The text is empty or longer than [`InterfaceName::MAX_LEN`].
    #[error("interface name of {len} bytes where 1 to 15 are allowed")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// The text holds a character that is not printable ASCII, or a `/`.
    #[error("interface name with byte {byte:#04x} at position {position}")]
    Byte {
        /// The byte.
        byte: u8,
        /// Where it stands, counted from 0.
        position: usize,
    },
}

impl InterfaceName {
    /// The longest name, in bytes (`IFNAMSIZ` less the NUL).
    pub const MAX_LEN: usize = 15;

    /// Takes `name` as an interface name.
    ///
    /// # Errors
    ///
    /// [`InterfaceNameError`] if it is empty, too long, or holds a byte that no name has.
    pub fn new(name: &str) -> Result<Self, InterfaceNameError> {
        let source = name.as_bytes();
        let error = InterfaceNameError::Length { len: source.len() };
        let len = u8::try_from(source.len()).map_err(|_| error)?;
        let mut bytes = [0; Self::MAX_LEN];
        let room = bytes
            .get_mut(..source.len())
            .filter(|room| !room.is_empty())
            .ok_or(error)?;
        if let Some((position, &byte)) = source
            .iter()
            .enumerate()
            .find(|&(_, b)| !b.is_ascii_graphic() || *b == b'/')
        {
            return Err(InterfaceNameError::Byte { byte, position });
        }
        room.copy_from_slice(source);
        Ok(Self { bytes, len })
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes are ASCII by construction, so neither step can fail.
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|name| core::str::from_utf8(name).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_computed_in_whole_microseconds() {
        let of =
            |base, skew| Interval::new(AdvBase::new(base), AdvSkew::from_wire(skew)).duration();
        // The values that CARP §3.2 lists.
        assert_eq!(of(0, 1), Duration::from_micros(3_906));
        assert_eq!(of(1, 100), Duration::from_micros(1_390_625));
        assert_eq!(of(0, 128), Duration::from_micros(500_000));
        assert_eq!(of(0, 240), Duration::from_micros(937_500));
        assert_eq!(of(0, 254), Duration::from_micros(992_187));
    }

    #[test]
    fn a_negative_skew_shortens_the_interval_and_rounds_towards_zero() {
        let interval = Interval::with_skew(AdvBase::new(1), -1);
        assert_eq!(
            interval.duration(),
            Duration::from_micros(1_000_000 - 3_906)
        );
        assert!(interval < Interval::new(AdvBase::new(1), AdvSkew::DEFAULT));
        assert_eq!(
            Interval::with_skew(AdvBase::new(1), -300).duration(),
            Duration::ZERO
        );
    }

    #[test]
    fn seconds_weigh_more_than_any_skew() {
        let slow = Interval::new(AdvBase::new(2), AdvSkew::DEFAULT);
        assert!(Interval::new(AdvBase::new(1), AdvSkew::BOW_OUT) < slow);
    }

    #[test]
    fn ranges_are_named_when_they_are_left() {
        assert_eq!(
            Vhid::new(0),
            Err(OutOfRange {
                field: "vhid",
                value: 0,
                min: 1,
                max: 255
            })
        );
        assert_eq!(
            AdvSkew::new(255),
            Err(OutOfRange {
                field: "advskew",
                value: 255,
                min: 0,
                max: 254
            })
        );
        assert!(AdvSkew::new(254).is_ok());
    }

    #[test]
    fn interface_names_are_what_kernels_accept() {
        assert_eq!(InterfaceName::new("em0.5").map(|n| n.as_str().len()), Ok(5));
        assert_eq!(
            InterfaceName::new(""),
            Err(InterfaceNameError::Length { len: 0 })
        );
        assert_eq!(
            InterfaceName::new("sixteen-bytes-16"),
            Err(InterfaceNameError::Length { len: 16 })
        );
        assert_eq!(
            InterfaceName::new("em 0"),
            Err(InterfaceNameError::Byte {
                byte: b' ',
                position: 2
            })
        );
        assert!(InterfaceName::new(core::str::from_utf8(&[b'x'; 300]).unwrap()).is_err());
    }
}

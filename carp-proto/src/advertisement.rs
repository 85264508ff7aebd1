//! What one packet says, as values.

use core::fmt;
use core::net::IpAddr;

use crate::types::{AdvBase, AdvSkew, Family, Interval, Vhid};
use crate::vrrp::{self, Checked, Priority};

/// What a host says of itself in one advertisement (CARP §1.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Advertisement {
    /// The group it is for.
    pub vhid: Vhid,
    /// The whole seconds of its interval.
    pub advbase: AdvBase,
    /// The 1/256 seconds of its interval, as demoted (FreeBSD) or as configured (OpenBSD).
    pub advskew: AdvSkew,
    /// OpenBSD's demotion counter; 0 from everybody else.
    pub demote: u8,
    /// The number that the authenticator covers.
    pub counter: u64,
}

impl Advertisement {
    /// Returns the advertised interval, by which hosts are compared.
    #[must_use]
    pub fn interval(&self) -> Interval {
        Interval::new(self.advbase, self.advskew)
    }
}

impl fmt::Display for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vhid {} advbase {} advskew {} demote {} counter {:016x}",
            self.vhid, self.advbase, self.advskew, self.demote, self.counter
        )
    }
}

/// An advertisement whose sender has proved to know the key and the addresses.
///
/// Only [`Authenticator::verify`](crate::Authenticator::verify) makes one, and the state
/// machine accepts nothing else. What is proved is narrow: key, vhid, addresses and counter.
/// advbase, advskew and demote are not covered by the authenticator (CARP §1.5.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Authentic(Advertisement);

impl Authentic {
    /// Called by `verify` alone.
    pub(crate) const fn new(advertisement: Advertisement) -> Self {
        Self(advertisement)
    }

    /// Returns what it says.
    #[must_use]
    pub const fn advertisement(&self) -> &Advertisement {
        &self.0
    }
}

/// What a host says of itself, in the protocol of its group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a group speaks one of these two")]
pub enum Said {
    /// In CARP.
    Carp(Advertisement),
    /// In VRRPv3.
    Vrrp(vrrp::Advertisement),
}

impl Said {
    /// Returns the CARP advertisement, if it is one.
    #[must_use]
    pub const fn carp(&self) -> Option<&Advertisement> {
        match self {
            Self::Carp(said) => Some(said),
            Self::Vrrp(_) => None,
        }
    }

    /// Returns the VRRP advertisement, if it is one.
    #[must_use]
    pub const fn vrrp(&self) -> Option<&vrrp::Advertisement> {
        match self {
            Self::Carp(_) => None,
            Self::Vrrp(said) => Some(said),
        }
    }

    /// Whether the sender says that it leaves: CARP's bow-out, VRRP's priority 0.
    #[must_use]
    pub fn is_farewell(&self) -> bool {
        match self {
            Self::Carp(said) => said.interval().is_bow_out(),
            Self::Vrrp(said) => said.priority == Priority::LEAVING,
        }
    }
}

/// What was heard, in the protocol of the group, and checked as well as that allows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a group speaks one of these two")]
pub enum Heard {
    /// By CARP, from somebody who knows the key.
    Carp(Authentic),
    /// By VRRPv3, from anybody.
    Vrrp(Checked),
}

impl Heard {
    /// Returns what it says.
    #[must_use]
    pub const fn said(&self) -> Said {
        match self {
            Self::Carp(heard) => Said::Carp(*heard.advertisement()),
            Self::Vrrp(heard) => Said::Vrrp(*heard.advertisement()),
        }
    }
}

impl From<Authentic> for Heard {
    fn from(heard: Authentic) -> Self {
        Self::Carp(heard)
    }
}

impl From<Checked> for Heard {
    fn from(heard: Checked) -> Self {
        Self::Vrrp(heard)
    }
}

/// An advertisement that was heard, and where it came from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Received {
    /// What was heard.
    pub advertisement: Heard,
    /// The source address of the packet, whose family is the packet's. It need not be
    /// unique, stable or different from one's own (CARP §9.24).
    pub source: IpAddr,
}

impl Received {
    /// An advertisement that came from `source`.
    #[must_use]
    pub fn new(advertisement: impl Into<Heard>, source: IpAddr) -> Self {
        Self {
            advertisement: advertisement.into(),
            source,
        }
    }

    /// Returns what it says.
    #[must_use]
    pub const fn said(&self) -> Said {
        self.advertisement.said()
    }

    /// Returns the family by which it came.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.source)
    }
}

//! What one CARP packet says, as values.

use core::fmt;
use core::net::IpAddr;

use crate::types::{AdvBase, AdvSkew, Family, Interval, Vhid};

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

/// An authentic advertisement and where it came from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Received {
    /// What was said.
    pub advertisement: Authentic,
    /// The source address of the packet, whose family is the packet's. It need not be
    /// unique, stable or different from one's own (CARP §9.24).
    pub source: IpAddr,
}

impl Received {
    /// Returns the family by which it came.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.source)
    }
}

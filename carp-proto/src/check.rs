//! The checks on a received packet, in the order of each implementation, and the counters
//! they end in (CARP §2.2).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::net::IpAddr;

use crate::auth::AuthError;
use crate::ip::{Datagram, TTL};
use crate::types::{Family, Vhid};
use crate::wire::{self, ParseError, View};

/// Why a packet is discarded: the first fault that applies, named after the kernel's
/// counter for it. Nothing but that counter changes ([`Stats::count_discard`]).
///
/// [`Stats::count_discard`]: crate::Stats::count_discard
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "these are the kernel's counters")]
pub enum Discard {
    /// The interface has no group, or vhid 0 came from one of our shared addresses.
    #[error("badif: not for this interface")]
    BadIf,
    /// The packet did not come from this network segment.
    #[error("badttl: TTL {ttl} where 255 is expected")]
    BadTtl {
        /// The TTL found.
        ttl: u8,
    },
    /// The packet is too short.
    #[error("badlen: {have} bytes are too few")]
    BadLen {
        /// Its length in bytes.
        have: usize,
    },
    /// The checksum is wrong.
    #[error("badsum: checksum {found:#06x} where {expected:#06x} is right")]
    BadSum {
        /// What the field holds.
        found: u16,
        /// What it should hold.
        expected: u16,
    },
    /// The version is not 2; VRRPv3 has 3.
    #[error("badver: version {version} is not that of the group")]
    BadVer {
        /// The version found.
        version: u8,
    },
    /// No group with this id has an address of the packet's family here.
    #[error("badvhid: vhid {vhid} is not configured here")]
    BadVhid {
        /// The vhid found.
        vhid: u8,
    },
    /// Key or shared addresses differ from the sender's, or the packet was changed.
    #[error("badauth: incorrect hash")]
    BadAuth,
}

impl From<ParseError> for Discard {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Truncated { have } => Self::BadLen { have },
            ParseError::Version { version } => Self::BadVer { version },
            ParseError::Checksum { found, expected } => Self::BadSum { found, expected },
        }
    }
}

impl From<AuthError> for Discard {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Vhid { found, .. } => Self::BadVhid { vhid: found },
            AuthError::Mismatch => Self::BadAuth,
        }
    }
}

/// In which order the checks are made. It decides only which counter a packet with several
/// faults ends in, and whether routed packets are possible.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CheckOrder {
    /// FreeBSD 10 to 13 and NetBSD.
    FreeBsd10,
    /// FreeBSD 14, without the fault of 14.0 by which no TTL was checked (trap 9.34).
    FreeBsd14,
    /// FreeBSD 15, the recommended one.
    #[default]
    FreeBsd15,
    /// OpenBSD.
    OpenBsd,
}

/// A group that takes part on an interface.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Group {
    /// Its id.
    pub vhid: Vhid,
    /// Whether it has shared IPv4 addresses; without, it takes no IPv4 packets.
    pub v4: bool,
    /// Whether it has shared IPv6 addresses.
    pub v6: bool,
    /// Which TTLs it accepts.
    pub ttl: AcceptTtl,
}

/// Whether packets may have passed a router.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "they may or may not")]
pub enum AcceptTtl {
    /// Only packets of this segment, with TTL 255.
    #[default]
    Direct,
    /// Any: the peer is unicast and may be routed. FreeBSD 14 and later do this for every
    /// unicast peer.
    Routed,
}

/// What is configured on the interface by which a packet came.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Local<'a> {
    /// Its groups.
    pub groups: &'a [Group],
    /// The shared addresses of all of them.
    pub shared: &'a [IpAddr],
}

impl Local<'_> {
    fn group(&self, vhid: u8, family: Family) -> Option<&Group> {
        self.groups.iter().find(|group| {
            group.vhid.get() == vhid
                && match family {
                    Family::V4 => group.v4,
                    Family::V6 => group.v6,
                }
        })
    }
}

/// One check.
#[derive(Clone, Copy)]
enum Check {
    /// IPv6 only: the interface has a group.
    Interface,
    /// Every packet has TTL 255.
    Ttl,
    /// There are 8 bytes, the least that any version has.
    ShortLength,
    /// There are 36 bytes.
    Length,
    Sum,
    Vhid,
    Version,
    /// TTL 255, unless the group takes routed packets.
    GroupTtl,
}

impl CheckOrder {
    const fn checks(self) -> &'static [Check] {
        use Check::{GroupTtl, Interface, Length, ShortLength, Sum, Ttl, Version, Vhid};
        match self {
            Self::FreeBsd10 => &[Interface, Ttl, Length, Sum, Vhid, Version],
            Self::FreeBsd14 => &[Interface, Length, Sum, Vhid, Version, GroupTtl],
            Self::FreeBsd15 => &[Interface, ShortLength, Version, Length, Sum, Vhid, GroupTtl],
            Self::OpenBsd => &[Interface, Ttl, Length, Sum, Vhid, Version],
        }
    }
}

/// Checks everything about a packet but its authenticator, for which
/// [`Authenticator::verify`](crate::Authenticator::verify) of the group in the view follows.
///
/// Count the packet in before, with [`Stats::count_input`](crate::Stats::count_input).
///
/// # Errors
///
/// [`Discard`], the first fault in the given order.
pub fn check<'a>(
    datagram: &Datagram<'a>,
    local: &Local<'_>,
    order: CheckOrder,
) -> Result<View<'a>, Discard> {
    for check in order.checks() {
        check.run(datagram, local)?;
    }
    Ok(View::with_length(datagram.payload)?)
}

impl Check {
    fn run(self, datagram: &Datagram<'_>, local: &Local<'_>) -> Result<(), Discard> {
        let payload = datagram.payload;
        let ttl = datagram.ttl;
        match self {
            Self::Interface if datagram.family() == Family::V6 && local.groups.is_empty() => {
                Err(Discard::BadIf)
            }
            Self::Ttl if ttl != TTL => Err(Discard::BadTtl { ttl }),
            Self::ShortLength if payload.len() < 8 => Err(Discard::BadLen {
                have: payload.len(),
            }),
            Self::Interface | Self::Ttl | Self::ShortLength => Ok(()),
            Self::Version => match payload.first().copied().map(wire::version_of) {
                Some(wire::VERSION) => Ok(()),
                Some(version) => Err(Discard::BadVer { version }),
                None => Err(Discard::BadLen { have: 0 }),
            },
            Self::Length => View::with_length(payload)
                .map(|_| ())
                .map_err(Discard::from),
            Self::Sum => Ok(View::with_length(payload)?.check_sum()?),
            Self::Vhid | Self::GroupTtl => {
                let vhid = View::with_length(payload)?.vhid();
                let routed = |group: &Group| group.ttl == AcceptTtl::Routed || ttl == TTL;
                match (self, local.group(vhid, datagram.family())) {
                    (Self::GroupTtl, Some(group)) if !routed(group) => Err(Discard::BadTtl { ttl }),
                    (_, Some(_)) => Ok(()),
                    // The loop rule: it never fires in practice, since no sender uses vhid 0.
                    (_, None) if vhid == 0 && local.shared.contains(&datagram.source) => {
                        Err(Discard::BadIf)
                    }
                    (_, None) => Err(Discard::BadVhid { vhid }),
                }
            }
        }
    }
}

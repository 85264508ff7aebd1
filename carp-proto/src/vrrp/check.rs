//! The checks on a received packet, and what passes them.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::{Advertisement, Checksum, Ends, ParseError, TYPE_ADVERTISEMENT, View, Vrrp};
use crate::check::Group;
use crate::ip::{Datagram, TTL};
use crate::types::Family;

/// An advertisement that is well formed and for a group of this host.
///
/// Only [`check`] makes one, and the state machine accepts nothing else. It proves nothing
/// about the sender: **VRRPv3 has no authentication**, so anybody who reaches the segment
/// can have written it. What needs a proof has to speak CARP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Checked {
    advertisement: Advertisement,
    reserved_and_interval: u16,
}

impl Checked {
    /// Returns what it says, the reserved bits left out.
    #[must_use]
    pub const fn advertisement(&self) -> &Advertisement {
        &self.advertisement
    }

    /// Returns the whole word of 4 reserved bits and the interval, all of which FreeBSD 15
    /// takes for centiseconds.
    #[must_use]
    pub const fn reserved_and_interval(&self) -> u16 {
        self.reserved_and_interval
    }
}

/// What is configured on the interface by which a packet came.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Local<'a> {
    /// The groups that speak VRRP. Their TTL rule does not count: VRRP is never routed.
    pub vrrp: &'a [Group],
    /// The groups that speak CARP, by which a wrong protocol is told from a foreign group.
    pub carp: &'a [Group],
    /// Whose rules are followed: the RFC also checks the type and the number of addresses.
    pub rules: Vrrp,
    /// What the checksum of an IPv4 packet must cover.
    pub checksum: Checksum,
}

/// Checks a received packet.
///
/// The order is FreeBSD 15's (CARP §2.2, §5.7): length, version, id, the protocol of that
/// id, TTL, checksum. By the RFC's rules, type and number of addresses follow. Count the
/// packet in before, with [`Stats::count_input`](crate::Stats::count_input).
///
/// # Errors
///
/// [`ParseError`], the first fault in that order; convert it into a
/// [`Discard`](crate::Discard) to count it.
pub fn check(datagram: &Datagram<'_>, local: &Local<'_>) -> Result<Checked, ParseError> {
    let ends = Ends::between(datagram.source, datagram.destination)
        .unwrap_or_else(|| Ends::to_group(datagram.source));
    let view = View::with_length(datagram.payload, ends.family())?;
    view.check_version()?;
    let vrid = view.vrid();
    let find = |groups: &[Group]| {
        let known = groups.iter().find(|group| {
            group.vhid.get() == vrid
                && match ends.family() {
                    Family::V4 => group.v4,
                    Family::V6 => group.v6,
                }
        });
        known.map(|group| group.vhid)
    };
    let group = match (find(local.vrrp), find(local.carp)) {
        (Some(group), _) => group,
        (None, Some(_)) => return Err(ParseError::CarpGroup { vrid }),
        (None, None) => return Err(ParseError::Vrid { vrid }),
    };
    if datagram.ttl != TTL {
        return Err(ParseError::Ttl { ttl: datagram.ttl });
    }
    view.check_sum(&ends, local.checksum)?;
    match (local.rules, view.message_type()) {
        (Vrrp::FreeBsd15, _) => {}
        (Vrrp::Rfc9568, TYPE_ADVERTISEMENT) => view.check_count()?,
        (Vrrp::Rfc9568, message_type) => return Err(ParseError::Type { message_type }),
    }
    Ok(Checked {
        advertisement: Advertisement {
            vrid: group,
            priority: view.priority(),
            interval: view.interval(),
        },
        reserved_and_interval: view.reserved_and_interval(),
    })
}

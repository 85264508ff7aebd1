//! How advertisements travel.

use core::net::IpAddr;
use core::task::{Context, Poll};
use std::io;

use carp_proto::{Datagram, Family};

/// A way to send advertisements to the other hosts of a network segment and to receive
/// theirs.
///
/// The methods poll and try instead of being `async`, so that a packet costs no allocation
/// and a driver can hold any number of different transports.
pub trait Transport: Send {
    /// Whether packets of `family` can be sent and received.
    fn carries(&self, family: Family) -> bool;

    /// Returns our own address of `family`, if there is one by which receivers can tell us
    /// from everybody else.
    fn source(&self, family: Family) -> Option<IpAddr>;

    /// Reads one packet into `buffer`, which holds at least 128 bytes; what is longer may be
    /// cut off.
    ///
    /// The question has to go to the socket itself, not to what a runtime remembers of its
    /// readiness: the driver asks before it lets a timer fire, and a program that was
    /// suspended must find what arrived meanwhile.
    ///
    /// Gives `None` for a packet that was read but is none of CARP's business, so that a
    /// flood of those counts towards the bound of the driver, too. A transport over which only
    /// hosts of this segment can send reports a TTL of 255.
    ///
    /// # Errors
    ///
    /// What the socket reports. The driver tells about it and tries again later.
    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>>;

    /// Sends an advertisement to everybody in the segment, without waiting: what follows the
    /// IP header, 36 bytes of CARP or up to [`vrrp::MAX_LEN`](carp_proto::vrrp::MAX_LEN) of
    /// VRRP. Its second byte is the group.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::OutOfMemory`] if there is no room
    /// for it; any other error counts towards the three that demote the host (CARP §3.4.1).
    fn try_send(&mut self, family: Family, advertisement: &[u8]) -> io::Result<()>;

    /// Returns how many packets were dropped because of where they came from.
    fn strangers(&self) -> u64 {
        0
    }
}

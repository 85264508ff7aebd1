//! One network segment: what arrives there, and who may hear it.

use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use carp_proto::vrrp::{self, Checked, Checksum, Vrrp};
use carp_proto::{
    CheckOrder, Datagram, Discard, Group, Interface, Local, Stats, VERSION, Vhid, View, check,
};
use tokio::time::Instant;

use super::super::transport::Transport;
use super::gate::Gate;
use super::host::Host;
use super::protocol::Protocol;

/// How long a transport that failed to receive is left alone.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Segment {
    pub(super) transport: Box<dyn Transport>,
    pub(super) stats: Stats,
    /// What the driver was told last about the interface, if anything.
    pub(super) interface: Option<Interface>,
    /// The groups that speak CARP, and those that speak VRRP.
    groups: Vec<Group>,
    routers: Vec<Group>,
    shared: Vec<IpAddr>,
    retry_at: Option<Instant>,
    discards: Gate,
}

impl Segment {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            stats: Stats::default(),
            interface: None,
            groups: Vec::new(),
            routers: Vec::new(),
            shared: Vec::new(),
            retry_at: None,
            discards: Gate::default(),
        }
    }

    /// Reads and sends by another transport from now on.
    pub(super) fn replace_transport(&mut self, transport: Box<dyn Transport>) {
        self.transport = transport;
        self.retry_at = None;
    }

    pub(super) fn has(&self, vhid: Vhid) -> bool {
        let mut groups = self.groups.iter().chain(&self.routers);
        groups.any(|group| group.vhid == vhid)
    }

    /// Takes note of what the virtual hosts of the segment accept now.
    pub(super) fn set_groups<'h>(&mut self, hosts: impl Iterator<Item = &'h Host>) {
        self.groups.clear();
        self.routers.clear();
        self.shared.clear();
        for host in hosts {
            let groups = match host.protocol {
                Protocol::Carp { .. } => &mut self.groups,
                Protocol::Vrrp { .. } => &mut self.routers,
            };
            groups.push(host.group());
            self.shared.extend(host.addresses.iter());
        }
    }

    /// Reads a packet, unless reading failed a moment ago.
    pub(super) fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        if self.retry_at.is_some_and(|at| now < at) {
            return Poll::Pending;
        }
        self.retry_at = None;
        let read = self.transport.poll_receive(cx, buffer);
        if let Poll::Ready(Err(_)) = read {
            self.retry_at = Some(now + RETRY);
        }
        read
    }

    /// When reading is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether a packet is to be taken for VRRP.
    pub(super) fn is_vrrp(&self, datagram: &Datagram<'_>) -> bool {
        let first = datagram.payload.first();
        !self.routers.is_empty() && first.is_some_and(|byte| byte >> 4 == vrrp::VERSION)
    }

    /// Checks everything about a CARP packet but its authenticator.
    pub(super) fn check_carp<'a>(&self, datagram: &Datagram<'a>) -> Result<View<'a>, Discard> {
        let local = Local {
            groups: &self.groups,
            shared: &self.shared,
        };
        check(datagram, &local, CheckOrder::default()).map_err(|discard| match discard {
            // The id is known, but speaks VRRP.
            Discard::BadVhid { vhid } if self.routers.iter().any(|g| g.vhid.get() == vhid) => {
                Discard::BadVer { version: VERSION }
            }
            discard => discard,
        })
    }

    /// Checks a VRRP packet, as its group wants it.
    pub(super) fn check_vrrp(
        &self,
        datagram: &Datagram<'_>,
        (rules, checksum): (Vrrp, Checksum),
    ) -> Result<Checked, Discard> {
        let local = vrrp::Local {
            vrrp: &self.routers,
            carp: &self.groups,
            rules,
            checksum,
        };
        Ok(vrrp::check(datagram, &local)?)
    }

    /// Counts a discarded packet; whether it is time to tell about one.
    pub(super) fn discard(&mut self, now: Instant, discard: Discard) -> bool {
        self.stats.count_discard(&discard);
        self.discards.opens(now)
    }
}

//! What a driver does about packets.

use core::task::{Context, Poll};
use std::sync::Arc;

use carp_proto::{Datagram, Discard, Received};
use tokio::time::Instant;

use super::super::super::clock;
use super::super::super::event::EventKind;
use super::super::SegmentId;
use super::super::host::Host;
use super::super::segment::Segment;
use super::{Engine, PACKETS_PER_TURN};

impl Engine {
    /// Reads what the transports hold, up to [`PACKETS_PER_TURN`] each. Pending if there was
    /// nothing; then the task is woken when there is.
    pub(in super::super) fn poll_packets(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<()> {
        let mut read = Poll::Pending;
        let mut next = self.segments.keys().next().copied();
        while let Some(index) = next {
            next = self
                .segments
                .range(index + 1..)
                .next()
                .map(|(index, _)| *index);
            let mut count = 0;
            let id = self.segment_id(index);
            while count < PACKETS_PER_TURN && self.poll_packet(cx, now, id).is_ready() {
                count += 1;
                read = Poll::Ready(());
            }
            self.flooded |= count == PACKETS_PER_TURN;
        }
        read
    }

    /// Whether there was more to read than a turn takes, since this was asked last.
    pub(in super::super) fn take_flooded(&mut self) -> bool {
        core::mem::take(&mut self.flooded)
    }

    /// Reads one packet and has it handled.
    fn poll_packet(&mut self, cx: &mut Context<'_>, now: Instant, id: SegmentId) -> Poll<()> {
        let Self {
            segments,
            hosts,
            buffer,
            ..
        } = self;
        let Some(segment) = segments.get_mut(&id.index) else {
            return Poll::Pending;
        };
        let datagram = match core::task::ready!(segment.poll_receive(cx, now, buffer)) {
            Ok(Some(datagram)) => datagram,
            Ok(None) => return Poll::Ready(()),
            Err(error) => {
                let error = Arc::new(error);
                self.tell(now, EventKind::NotReceived { segment: id, error });
                return Poll::Ready(());
            }
        };
        // Not when the question was asked: the program may have been suspended in between, and
        // the master would be given less time than it has.
        let now = clock::now();
        let source = datagram.source;
        segment.stats.count_input(datagram.family());
        let hosts = hosts.values_mut().filter(|host| host.segment == id);
        let heard = if segment.is_vrrp(&datagram) {
            hear_vrrp(now, segment, hosts, &datagram)
        } else {
            hear_carp(now, segment, hosts, &datagram)
        };
        match heard {
            // At once, so that the machine's queue has room for what the next one causes. What
            // is left over is for the loop.
            Ok(()) => _ = self.drain(now),
            Err(discard) => {
                if segment.discard(now, discard) {
                    self.tell(
                        now,
                        EventKind::Discarded {
                            segment: id,
                            source,
                            discard,
                        },
                    );
                }
            }
        }
        Poll::Ready(())
    }
}

/// Hands a CARP packet to the host it is for.
fn hear_carp<'h>(
    now: Instant,
    segment: &mut Segment,
    mut hosts: impl Iterator<Item = &'h mut Host>,
    datagram: &Datagram<'_>,
) -> Result<(), Discard> {
    let view = segment.check_carp(datagram)?;
    let vhid = view.vhid();
    let stranger = Discard::BadVhid { vhid };
    let host = hosts
        .find(|host| host.vhid().get() == vhid)
        .ok_or(stranger)?;
    let heard = host.protocol.auth().ok_or(stranger)?.verify(view)?;
    segment.stats.count_accepted(view);
    host.hear(now, Received::new(heard, datagram.source));
    Ok(())
}

/// Hands a VRRP packet to the host it is for.
fn hear_vrrp<'h>(
    now: Instant,
    segment: &Segment,
    mut hosts: impl Iterator<Item = &'h mut Host>,
    datagram: &Datagram<'_>,
) -> Result<(), Discard> {
    let vrid = datagram.payload.get(1).copied().unwrap_or(0);
    let host = hosts.find(|host| host.vhid().get() == vrid);
    let known = host.as_ref().and_then(|host| host.protocol.vrrp());
    let heard = segment.check_vrrp(datagram, known.unwrap_or_default())?;
    let host = host.ok_or(Discard::BadVhid { vhid: vrid })?;
    host.hear(now, Received::new(heard, datagram.source));
    Ok(())
}

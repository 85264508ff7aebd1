//! What is remembered of other hosts, and of ourselves, to tell repetitions.

use core::net::IpAddr;

use crate::advertisement::{Advertisement, Received};
use crate::event::Refusal;

/// How many source addresses strict mode keeps track of.
pub const MAX_PEERS: usize = 8;
/// How many of our own advertisements are recognised when they come back.
const MAX_SENT: usize = 8;

/// The greatest number of each source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Peers([Option<(IpAddr, u64)>; MAX_PEERS]);

impl Peers {
    pub(crate) const fn new() -> Self {
        Self([None; MAX_PEERS])
    }

    /// Accepts a number that exceeds all earlier ones of its source, and remembers it.
    pub(crate) fn accept(&mut self, received: &Received) -> Result<(), Refusal> {
        let counter = received.advertisement.advertisement().counter;
        // A source already known, or else the first free place.
        let known = self
            .0
            .iter()
            .position(|p| p.is_some_and(|(s, _)| s == received.source));
        let place = known.or_else(|| self.0.iter().position(Option::is_none));
        let slot = place
            .and_then(|place| self.0.get_mut(place))
            .ok_or(Refusal::TooManyPeers)?;
        match *slot {
            Some((_, last)) if counter <= last => Err(Refusal::Replay { counter, last }),
            _ => {
                *slot = Some((received.source, counter));
                Ok(())
            }
        }
    }
}

/// The last advertisements we sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sent {
    ring: [Option<Advertisement>; MAX_SENT],
    next: usize,
}

impl Sent {
    pub(crate) const fn new() -> Self {
        Self {
            ring: [None; MAX_SENT],
            next: 0,
        }
    }

    pub(crate) fn remember(&mut self, advertisement: Advertisement) {
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = Some(advertisement);
        }
        self.next = (self.next + 1) % MAX_SENT;
    }

    /// Whether `heard` is, to the last field, one that we sent. The caller has compared the
    /// source; number and source together are needed, because peers legitimately use the
    /// numbers we use, and hosts without an own address share the source (traps 9.24, 9.25).
    pub(crate) fn contains(&self, heard: &Advertisement) -> bool {
        self.ring.contains(&Some(*heard))
    }
}

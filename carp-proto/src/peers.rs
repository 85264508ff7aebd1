//! What is remembered of other hosts, and of ourselves, to tell repetitions.

use core::net::IpAddr;

use crate::advertisement::Said;
use crate::event::Refusal;

/// How many source addresses strict mode keeps apart; of more, the one with the lowest
/// number is forgotten.
pub const MAX_SOURCES: usize = 8;
/// How many of our own advertisements are recognised when they come back.
const MAX_SENT: usize = 8;

/// The greatest number of each source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sources([Option<(IpAddr, u64)>; MAX_SOURCES]);

impl Sources {
    pub(crate) const fn new() -> Self {
        Self([None; MAX_SOURCES])
    }

    /// Accepts a number that exceeds all earlier ones of its source, and remembers it.
    ///
    /// A source that is not known must exceed the numbers of all others: the source is not
    /// authenticated, so a copy can be sent from anywhere. Whoever joins has heard the
    /// others, or started later, and passes them.
    pub(crate) fn accept(&mut self, source: IpAddr, counter: u64) -> Result<(), Refusal> {
        let is_sender =
            |known: &Option<(IpAddr, u64)>| known.is_some_and(|(other, _)| other == source);
        let number = |known: &Option<(IpAddr, u64)>| known.map(|(_, last)| last);
        let last = match self.0.iter().find(|known| is_sender(known)) {
            Some(known) => number(known),
            None => self.0.iter().filter_map(number).max(),
        };
        if let Some(last) = last.filter(|last| counter <= *last) {
            return Err(Refusal::Replay { counter, last });
        }
        // Its own place, or else a free one, or else that of the lowest number.
        let place = self.0.iter().position(is_sender).or_else(|| {
            let lowest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| number(known));
            lowest.map(|(place, _)| place)
        });
        if let Some(slot) = place.and_then(|place| self.0.get_mut(place)) {
            *slot = Some((source, counter));
        }
        Ok(())
    }
}

/// The last advertisements we sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Sent {
    ring: [Option<Said>; MAX_SENT],
    next: usize,
}

impl Sent {
    pub(crate) const fn new() -> Self {
        Self {
            ring: [None; MAX_SENT],
            next: 0,
        }
    }

    pub(crate) fn remember(&mut self, said: Said) {
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = Some(said);
        }
        self.next = (self.next + 1) % MAX_SENT;
    }

    /// Whether `heard` is, to the last field, one that we sent. The caller has compared the
    /// source; number and source together are needed, because peers legitimately use the
    /// numbers we use, and hosts without an own address share the source (traps 9.24, 9.25).
    pub(crate) fn contains(&self, heard: &Said) -> bool {
        self.ring.contains(&Some(*heard))
    }
}

//! Counters under the kernel's names (CARP §2.1).

use core::fmt;
use core::ops::AddAssign;

use crate::check::Discard;
use crate::event::Refusal;
use crate::types::Family;
use crate::wire::View;

/// What `netstat -s -p carp` counts, and what this crate counts besides.
///
/// The numbers of several virtual hosts, or of the receiving side and a machine, are added
/// with `+=`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Packets received over IPv4.
    pub ipackets: u64,
    /// Packets received over IPv6.
    pub ipackets6: u64,
    /// Packets for an interface without CARP.
    pub badif: u64,
    /// Packets with a TTL or hop limit other than 255.
    pub badttl: u64,
    /// Packets whose header could not be brought together; always 0 here, as the kernel's
    /// memory trouble has no counterpart.
    pub hdrops: u64,
    /// Packets with a wrong checksum.
    pub badsum: u64,
    /// Packets of another version.
    pub badver: u64,
    /// Packets that are too short.
    pub badlen: u64,
    /// Packets with a wrong authenticator.
    pub badauth: u64,
    /// Packets for a group that is not configured.
    pub badvhid: u64,
    /// Never counted by anyone (trap 9.46).
    pub badaddrs: u64,
    /// Advertisements sent over IPv4, counted before the attempt.
    pub opackets: u64,
    /// Advertisements sent over IPv6.
    pub opackets6: u64,
    /// Advertisements for which there was no memory.
    pub onomem: u64,
    /// Never counted by anyone.
    pub ostates: u64,
    /// Times a backup became master under OpenBSD's rules, for any reason.
    pub preempt: u64,
    /// Not the kernel's: echoes of our own advertisements.
    pub echoes: u64,
    /// Not the kernel's: repetitions refused in strict mode.
    pub replay: u64,
    /// Not the kernel's: accepted packets with another type or authlen than 1 and 7.
    pub unusual: u64,
    /// Not the kernel's: events that were lost because nobody polled.
    pub lost_events: u64,
}

impl Stats {
    /// Counts a packet in, before any check.
    pub fn count_input(&mut self, family: Family) {
        match family {
            Family::V4 => self.ipackets += 1,
            Family::V6 => self.ipackets6 += 1,
        }
    }

    /// Counts a packet as discarded, under the first fault that applies.
    pub fn count_discard(&mut self, discard: &Discard) {
        let counter = match discard {
            Discard::BadIf => &mut self.badif,
            Discard::BadTtl { .. } => &mut self.badttl,
            Discard::BadLen { .. } => &mut self.badlen,
            Discard::BadSum { .. } => &mut self.badsum,
            Discard::BadVer { .. } => &mut self.badver,
            Discard::BadVhid { .. } => &mut self.badvhid,
            Discard::BadAuth => &mut self.badauth,
        };
        *counter += 1;
    }

    /// Counts an accepted packet, if it is unusual.
    pub fn count_accepted(&mut self, view: View<'_>) {
        self.unusual += u64::from(!view.is_usual());
    }

    pub(crate) fn count_output(&mut self, family: Family) {
        match family {
            Family::V4 => self.opackets += 1,
            Family::V6 => self.opackets6 += 1,
        }
    }

    pub(crate) fn uncount_output(&mut self, family: Family) {
        let counter = match family {
            Family::V4 => &mut self.opackets,
            Family::V6 => &mut self.opackets6,
        };
        *counter = counter.saturating_sub(1);
    }

    pub(crate) fn count_refusal(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::Echo => self.echoes += 1,
            Refusal::Replay { .. } => self.replay += 1,
            Refusal::Protocol => self.badver += 1,
            Refusal::Deaf | Refusal::NotMaster | Refusal::Settings(_) => {}
        }
    }

    /// The counters with the names of the kernel's structure, in its order; ours follow.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("ipackets", self.ipackets),
            ("ipackets6", self.ipackets6),
            ("badif", self.badif),
            ("badttl", self.badttl),
            ("hdrops", self.hdrops),
            ("badsum", self.badsum),
            ("badver", self.badver),
            ("badlen", self.badlen),
            ("badauth", self.badauth),
            ("badvhid", self.badvhid),
            ("badaddrs", self.badaddrs),
            ("opackets", self.opackets),
            ("opackets6", self.opackets6),
            ("onomem", self.onomem),
            ("ostates", self.ostates),
            ("preempt", self.preempt),
            ("loop", self.echoes),
            ("replay", self.replay),
            ("unusual", self.unusual),
            ("lost_events", self.lost_events),
        ]
        .into_iter()
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.ipackets += other.ipackets;
        self.ipackets6 += other.ipackets6;
        self.badif += other.badif;
        self.badttl += other.badttl;
        self.hdrops += other.hdrops;
        self.badsum += other.badsum;
        self.badver += other.badver;
        self.badlen += other.badlen;
        self.badauth += other.badauth;
        self.badvhid += other.badvhid;
        self.badaddrs += other.badaddrs;
        self.opackets += other.opackets;
        self.opackets6 += other.opackets6;
        self.onomem += other.onomem;
        self.ostates += other.ostates;
        self.preempt += other.preempt;
        self.echoes += other.echoes;
        self.replay += other.replay;
        self.unusual += other.unusual;
        self.lost_events += other.lost_events;
    }
}

/// The lines of `netstat -s -p carp`, with ours at the end if they are not 0.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |count: u64, one: &str, many: &str| {
            writeln!(f, "\t{count} {}", if count == 1 { one } else { many })
        };
        let received = |family| match family {
            Family::V4 => ("packet received (IPv4)", "packets received (IPv4)"),
            Family::V6 => ("packet received (IPv6)", "packets received (IPv6)"),
        };
        let (one, many) = received(Family::V4);
        line(self.ipackets, one, many)?;
        let (one, many) = received(Family::V6);
        line(self.ipackets6, one, many)?;
        line(
            self.badttl,
            "packet discarded for wrong TTL",
            "packets discarded for wrong TTL",
        )?;
        line(
            self.hdrops,
            "packet shorter than header",
            "packets shorter than header",
        )?;
        line(
            self.badsum,
            "discarded for bad checksum",
            "discarded for bad checksums",
        )?;
        line(
            self.badver,
            "discarded packet with a bad version",
            "discarded packets with a bad version",
        )?;
        line(
            self.badlen,
            "discarded because packet too short",
            "discarded because packet too short",
        )?;
        line(
            self.badauth,
            "discarded for bad authentication",
            "discarded for bad authentication",
        )?;
        line(
            self.badvhid,
            "discarded for bad vhid",
            "discarded for bad vhid",
        )?;
        line(
            self.badaddrs,
            "discarded because of a bad address list",
            "discarded because of a bad address list",
        )?;
        line(self.opackets, "packet sent (IPv4)", "packets sent (IPv4)")?;
        line(self.opackets6, "packet sent (IPv6)", "packets sent (IPv6)")?;
        line(
            self.onomem,
            "send failed due to mbuf memory error",
            "send failed due to mbuf memory error",
        )?;
        for (name, count) in self.named().skip(16).filter(|(_, count)| *count != 0) {
            writeln!(f, "\t{count} {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_counter_is_named_added_and_printed() {
        let mut stats = Stats {
            ipackets: 1,
            badauth: 2,
            echoes: 3,
            ..Stats::default()
        };
        stats += stats;
        let sum: u64 = stats.named().map(|(_, count)| count).sum();
        assert_eq!(sum, 12);
        let text = stats.to_string();
        assert!(text.starts_with("\t2 packets received (IPv4)\n"), "{text}");
        assert!(text.ends_with("\t6 loop\n"), "{text}");
        let one = Stats {
            ipackets: 1,
            ..Stats::default()
        }
        .to_string();
        assert!(one.starts_with("\t1 packet received (IPv4)\n"), "{one}");
    }
}

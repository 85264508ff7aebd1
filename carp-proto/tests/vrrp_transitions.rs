//! Every cell of VRRP's state tables (CARP §5.7, RFC 9568 §6): strict and improved, by FreeBSD 15's
//! rules and by the RFC's, and of the router that owns its addresses.
//!
//! A table is text, one row for each set of cells that behave alike, as in `transitions.rs`:
//!
//! ```text
//! place | what happens + what else ... | outputs; in; order | state and deadlines afterwards
//! ```
//!
//! Deadlines count from the moment of the input, 0.25 s after the place was reached. The host under
//! test has priority 100, an interval of 100 cs, two IPv4 addresses and one IPv6 address; its own
//! sources are 192.0.2.5 and fe80::5. A peer is at 192.0.2.9 and fe80::9.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test's helper fails"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/vrrp_tables.rs"]
mod tables;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use carp_proto::vrrp::{self, AdverInterval, Ends, Priority, Style, Vrrp};
use carp_proto::{
    AcceptTtl, Config, Datagram, Dialect, Event, Family, Group, Improvements, Input, Interface,
    InterfaceName, Output, Received, Refusal, SendResult, State, TTL, UnknownLink,
};
use common::{Host, addresses, received, saying, trace, vhid};
use proptest::prelude::*;

const QUARTER: Duration = Duration::from_millis(250);

/// What a peer says, by way of a packet: the word of reserved bits and interval is free.
fn from_peer(source: IpAddr, priority: u8, word: u16) -> Input {
    let said = vrrp::Advertisement {
        vrid: vhid(),
        priority: Priority::from_wire(priority),
        interval: AdverInterval::from_wire(word),
    };
    let ends = Ends::to_group(source);
    let mut buffer = [0; 64];
    let packet = said
        .emit(&[source], &ends, Style::default(), &mut buffer)
        .expect("one address fits");
    let mut packet = packet.to_vec();
    packet[4..6].copy_from_slice(&word.to_be_bytes());
    if let Err(vrrp::ParseError::Checksum { expected, .. }) =
        vrrp::View::parse(&packet, &ends, vrrp::Checksum::default())
    {
        packet[6..8].copy_from_slice(&expected.to_be_bytes());
    }
    let group = [Group {
        vhid: vhid(),
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    }];
    let local = vrrp::Local {
        vrrp: &group,
        ..vrrp::Local::default()
    };
    let datagram = Datagram {
        source,
        destination: Family::of(source).group(),
        ttl: TTL,
        payload: &packet,
    };
    let heard = vrrp::check(&datagram, &local).expect("a packet for the group");
    Input::Advertisement(Received::new(heard, source))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const PEER: &str = "192.0.2.9";
const PEER6: &str = "fe80::9";
const PLACES: [&str; 5] = ["new", "down", "backup", "master", "held"];

/// A host at `place`, a quarter of a second after it got there.
fn at(place: &str, config: Config) -> Host {
    let mut host = Host::new(config);
    let carrier_lost = Input::Interface(Interface::NoCarrier);
    match place {
        "new" => {}
        "down" => {
            host.send(carrier_lost);
            host.send(addresses(2, 1));
        }
        "backup" => {
            host.send(addresses(2, 1));
        }
        "master" => {
            host.send(addresses(2, 1));
            host.send(Input::Force(State::Master));
        }
        "held" => {
            host.send(addresses(2, 1));
            host.send(Input::Force(State::Master));
            host.send(carrier_lost);
        }
        place => panic!("no such place: {place}"),
    }
    host.advance(QUARTER);
    host
}

type Arrange = fn(&mut Host) -> Input;

/// What happens, and how it is brought about.
const HAPPENINGS: [(&str, Arrange); 42] = [
    ("early", |_| Input::Timeout),
    ("due", |host| {
        let due = host.machine.poll_timeout();
        host.now = due.unwrap_or(host.now + Duration::from_secs(1));
        Input::Timeout
    }),
    ("higher", |_| from_peer(ip(PEER), 200, 100)),
    ("higher over IPv6", |_| from_peer(ip(PEER6), 200, 100)),
    ("higher and slower", |_| from_peer(ip(PEER), 200, 300)),
    ("higher, reserved bits", |_| {
        from_peer(ip(PEER), 200, 0x1064)
    }),
    ("equal from above", |_| from_peer(ip(PEER), 100, 100)),
    ("equal from below", |_| from_peer(ip("192.0.2.4"), 100, 100)),
    ("equal over IPv6", |_| from_peer(ip(PEER6), 100, 100)),
    ("equal and slower", |_| from_peer(ip("192.0.2.4"), 100, 300)),
    ("lower", |_| from_peer(ip(PEER), 50, 100)),
    ("lower and faster", |_| from_peer(ip(PEER), 50, 10)),
    ("lower while demoted", |host| {
        host.send(Input::Demotion(80));
        from_peer(ip(PEER), 50, 100)
    }),
    ("leaving", |_| from_peer(ip(PEER), 0, 100)),
    ("leaving in haste", |_| from_peer(ip(PEER), 0, 10)),
    ("leaving, not master", |host| {
        host.send(from_peer(ip("192.0.2.8"), 200, 100));
        from_peer(ip(PEER), 0, 100)
    }),
    ("owner", |_| from_peer(ip(PEER), 255, 100)),
    ("interval 0", |_| from_peer(ip(PEER), 200, 0)),
    ("echo", |_| from_peer(ip("192.0.2.5"), 100, 100)),
    ("own source", |_| from_peer(ip("192.0.2.5"), 101, 99)),
    ("CARP", |_| {
        Input::Advertisement(received(ip(PEER), &saying(1, 0, 0, 1)))
    }),
    ("up", |_| Input::Interface(Interface::Up)),
    ("unknown", |_| Input::Interface(Interface::Unknown)),
    ("no carrier", |_| Input::Interface(Interface::NoCarrier)),
    ("interface down", |_| Input::Interface(Interface::Down)),
    ("add address", |_| addresses(3, 1)),
    ("remove IPv6", |_| addresses(2, 0)),
    ("no address", |_| addresses(0, 0)),
    ("demote", |_| Input::Demotion(10)),
    ("demote more", |_| Input::Demotion(500)),
    ("demote negative", |_| Input::Demotion(-500)),
    ("force INIT", |_| Input::Force(State::Init)),
    ("force BACKUP", |_| Input::Force(State::Backup)),
    ("force MASTER", |_| Input::Force(State::Master)),
    ("settings", |host| {
        let mut settings = host.machine.config().settings;
        settings.priority = Priority::new(7).unwrap();
        settings.adver_interval = AdverInterval::new(1).unwrap();
        Input::Settings(settings)
    }),
    ("bad settings", |host| {
        let mut settings = host.machine.config().settings;
        settings.priority = Priority::LEAVING;
        Input::Settings(settings)
    }),
    ("sent", |_| Input::Sent(Family::V4, SendResult::Ok)),
    ("third error", |host| {
        let failed = Input::Sent(Family::V4, SendResult::Error(65));
        host.send(failed);
        host.send(failed);
        failed
    }),
    ("no memory", |_| {
        Input::Sent(Family::V4, SendResult::NoMemory)
    }),
    ("number", |_| Input::FreshCounter(999)),
    ("source", |_| Input::Source(ip("192.0.2.77"))),
    ("shutdown", |_| Input::Shutdown),
];

type Table = BTreeMap<(&'static str, &'static str), (String, String)>;

/// Reads the rows of a table; a row of `overrides` may replace one of the table.
fn read(table: &'static str, overrides: &'static str) -> Table {
    let mut cells = Table::new();
    for (text, may_replace) in [(table, false), (overrides, true)] {
        let mut rows: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match rows.last_mut() {
                Some(row) if line.starts_with(' ') => *row += &format!(" {}", line.trim()),
                _ if line.starts_with("//") => {}
                _ => rows.push(line.to_owned()),
            }
        }
        for row in rows {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let [place, happenings, outputs, after] = columns[..] else {
                panic!("not four columns: {row}");
            };
            let place = PLACES.into_iter().find(|name| *name == place);
            let place = place.unwrap_or_else(|| panic!("no such place: {row}"));
            for word in happenings.split(" + ") {
                let known = HAPPENINGS.iter().find(|(name, _)| *name == word.trim());
                let (name, _) = known.unwrap_or_else(|| panic!("nothing is called {word:?}"));
                let cell = (outputs.to_owned(), after.to_owned());
                let former = cells.insert((place, *name), cell.clone());
                let fits = match former {
                    Some(former) => may_replace && former != cell,
                    None => !may_replace,
                };
                assert!(fits, "{name} at {place} stands in the table twice: {row}");
            }
        }
    }
    cells
}

/// Compares every cell, and gives those that differ as the rows that would be right.
fn walk(name: &str, config: Config, places: &[&'static str], table: &Table) {
    let mut differences: BTreeMap<(usize, String, String), Vec<&str>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        for (word, arrange) in HAPPENINGS {
            let mut host = at(place, config);
            let input = arrange(&mut host);
            let outputs = trace(&host.send(input));
            let cell = (outputs, host.after());
            if table.get(&(*place, word)) != Some(&cell) {
                let (outputs, after) = cell;
                let row = differences.entry((index, outputs, after)).or_default();
                row.push(word);
            }
        }
    }
    let mut text = String::new();
    for ((place, outputs, after), words) in differences {
        let place = places[place];
        text += &format!("{place} | {} | {outputs} | {after}\n", words.join(" + "));
    }
    assert!(
        text.is_empty(),
        "{name}: these rows would be right:\n{text}"
    );
    assert_eq!(table.len(), places.len() * HAPPENINGS.len(), "{name}");
}

fn with_sources(mut config: Config) -> Config {
    config.source_v4 = Some("192.0.2.5".parse().unwrap());
    config.source_v6 = Some("fe80::5".parse().unwrap());
    config.interface_name = Some(InterfaceName::new("em0").unwrap());
    config
}

fn strict(rules: Vrrp, preempt: bool) -> Config {
    let mut config = Config::strict(vhid(), Dialect::Vrrp(rules), 0);
    config.settings.preempt = preempt;
    with_sources(config)
}

fn improved(rules: Vrrp) -> Config {
    let mut config = Config::vrrp(vhid(), rules);
    config.unknown_link = UnknownLink::of(config.dialect);
    with_sources(config)
}

fn owner(mut config: Config) -> Config {
    config.settings.priority = Priority::OWNER;
    config
}

/// Strictly, no link is held.
const STRICT: &[&str] = &["new", "down", "backup", "master"];

#[test]
fn the_rfc_is_followed_in_every_cell() {
    let table = read(tables::RFC, "");
    walk("RFC", strict(Vrrp::Rfc9568, true), STRICT, &table);
}

#[test]
fn the_rfc_is_followed_without_preemption() {
    let table = read(tables::RFC, tables::RFC_WITHOUT_PREEMPTION);
    let config = strict(Vrrp::Rfc9568, false);
    walk("RFC without preemption", config, STRICT, &table);
}

#[test]
fn freebsd_15_is_followed_in_every_cell() {
    let table = read(tables::FREEBSD, "");
    walk("FreeBSD", strict(Vrrp::FreeBsd15, false), STRICT, &table);
}

#[test]
fn freebsd_15_is_followed_with_preemption() {
    let table = read(tables::FREEBSD, tables::FREEBSD_WITH_PREEMPTION);
    let config = strict(Vrrp::FreeBsd15, true);
    walk("FreeBSD with preemption", config, STRICT, &table);
}

#[test]
fn the_improved_rfc_does_what_every_row_of_its_table_says() {
    let table = read(tables::RFC_IMPROVED, "");
    walk("improved RFC", improved(Vrrp::Rfc9568), &PLACES, &table);
}

#[test]
fn the_improved_freebsd_15_does_what_every_row_of_its_table_says() {
    let table = read(tables::FREEBSD_IMPROVED, "");
    let config = improved(Vrrp::FreeBsd15);
    walk("improved FreeBSD", config, &PLACES, &table);
}

#[test]
fn the_owner_by_the_rfc_waits_for_nobody_and_yields_to_nobody() {
    let table = read(tables::RFC_OWNER, "");
    let config = owner(strict(Vrrp::Rfc9568, true));
    walk("owner by the RFC", config, STRICT, &table);
}

#[test]
fn the_owner_by_freebsd_15_hears_nobody() {
    let table = read(tables::FREEBSD_OWNER, "");
    let config = owner(strict(Vrrp::FreeBsd15, true));
    walk("owner by FreeBSD", config, STRICT, &table);
}

/// Neither machine takes the other's advertisements: it only counts.
#[test]
fn what_is_of_the_other_protocol_is_counted_and_does_nothing() {
    let vrrp_heard = || from_peer(ip(PEER), 255, 1);
    let carp_heard = || Input::Advertisement(received(ip(PEER), &saying(1, 0, 0, 1)));
    let carp = with_sources(Config::new(vhid()));
    let vrrp = improved(Vrrp::Rfc9568);
    for place in PLACES {
        for (config, input) in [(carp, vrrp_heard()), (vrrp, carp_heard())] {
            let mut host = at(place, config);
            let (after, before) = (host.after(), host.machine.stats().badver);
            let outputs = host.send(input);
            assert!(
                matches!(
                    outputs[..],
                    [Output::Event(Event::Refused {
                        refusal: Refusal::Protocol,
                        ..
                    })]
                ),
                "{outputs:?}"
            );
            assert_eq!(host.machine.stats().badver, before + 1);
            assert_eq!(host.after(), after);
        }
    }
}

#[test]
fn one_centisecond_is_an_interval() {
    for rules in [Vrrp::FreeBsd15, Vrrp::Rfc9568] {
        let mut config = improved(rules);
        config.announcements = carp_proto::Announcements::ONCE;
        config.settings.adver_interval = AdverInterval::new(1).unwrap();
        let mut host = at("master", config);
        let began = host.machine.next_advertisement().unwrap();
        let outputs = host.run_until(began + Duration::from_secs(10));
        let sent: Vec<Duration> = outputs
            .iter()
            .filter(|(_, output)| matches!(output, Output::Transmit(t) if t.family == Family::V4))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(sent.len(), 977);
        let mut steps = sent.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.all(|step| step == Duration::from_millis(10)));
    }
}

/// FreeBSD's rules stay with what was heard last, the RFC's begin anew with each start.
#[test]
fn the_interval_of_the_active_is_learnt_and_forgotten() {
    let heard = from_peer(ip(PEER), 200, 40);
    let wait = |host: &Host| host.machine.master_down(Family::V4).unwrap() - host.now;
    let exact = |interval: u64| Duration::from_nanos((3 * 256 + 156) * interval * 10_000_000 / 256);
    for (rules, afterwards) in [(Vrrp::Rfc9568, 20), (Vrrp::FreeBsd15, 40)] {
        let mut config = strict(rules, false);
        config.settings.adver_interval = AdverInterval::new(20).unwrap();
        let mut host = at("backup", config);
        host.send(heard);
        assert_eq!(wait(&host), exact(40), "{rules:?}");
        host.send(Input::Interface(Interface::Down));
        host.send(Input::Interface(Interface::Up));
        assert_eq!(wait(&host), exact(afterwards), "{rules:?}");
        host.send(Input::Force(State::Master));
        host.send(Input::Force(State::Backup));
        assert_eq!(wait(&host), exact(afterwards), "{rules:?}");
    }
    // FreeBSD assumes a second, whatever is configured.
    let mut config = strict(Vrrp::FreeBsd15, false);
    config.settings.adver_interval = AdverInterval::new(20).unwrap();
    let mut host = Host::new(config);
    host.send(addresses(1, 0));
    assert_eq!(wait(&host), exact(100));
}

/// Without an address to compare, two routers that both hold would never end.
#[test]
fn an_equal_router_is_given_way_to_if_the_own_address_is_not_known() {
    let mut config = strict(Vrrp::Rfc9568, true);
    (config.source_v4, config.source_v6) = (None, None);
    let mut host = at("master", config);
    host.send(from_peer(ip("192.0.2.1"), 100, 100));
    assert_eq!(host.machine.state(), State::Backup);
}

/// With IPv6 alone, its addresses break the ties.
#[test]
fn ties_are_broken_over_ipv6_where_there_is_no_ipv4() {
    for (peer, state) in [("fe80::4", State::Master), ("fe80::9", State::Backup)] {
        let mut host = Host::new(strict(Vrrp::Rfc9568, true));
        host.send(addresses(0, 1));
        host.send(Input::Force(State::Master));
        host.send(from_peer(ip(peer), 100, 100));
        assert_eq!(host.machine.state(), state, "{peer}");
    }
}

#[test]
fn the_switches_that_matter_to_vrrp_change_what_they_say() {
    let says = |turn_off: fn(&mut Improvements), input| {
        let mut config = improved(Vrrp::Rfc9568);
        turn_off(&mut config.improvements);
        trace(&at("master", config).send(input))
    };
    let (demoted, gone) = (Input::Demotion(30), Input::Shutdown);
    assert_eq!(says(|_| {}, demoted), "send4 p70/100; send6 p70/100");
    assert_eq!(says(|i| i.vrrp_demotion = false, demoted), "-");
    let farewell = "MASTER -> INIT (shutdown); release; send4 p0/100; send6 p0/100";
    assert_eq!(
        says(|_| {}, gone),
        format!("{farewell}; send4 p0/100; send6 p0/100")
    );
    assert_eq!(says(|i| i.bow_out = false, gone), farewell);
}

/// RFC 9568 §6.4.3 has each advertisement of lower priority answered. Anybody can send a
/// thousand of them; the answers stay few.
#[test]
fn a_flood_of_lower_priorities_is_not_answered_one_by_one() {
    let mut host = at("master", improved(Vrrp::Rfc9568));
    let mut answers = 0;
    for _ in 0..1000 {
        host.advance(Duration::from_micros(100));
        let outputs = host.send(from_peer(ip(PEER), 50, 100));
        let sends = |output: &&Output| matches!(output, Output::Transmit(_));
        answers += outputs.iter().filter(sends).count();
    }
    // A tenth of a second at an interval of one second, over both families.
    assert_eq!(answers, 2);
}

/// RFC 9568 §6.4.2: a lower priority is discarded, so its sender is not taken for the Active,
/// whose farewell still counts.
#[test]
fn a_lower_priority_does_not_hide_the_farewell_of_the_active() {
    let mut host = at("backup", improved(Vrrp::Rfc9568));
    host.send(from_peer(ip(PEER), 200, 100));
    host.send(from_peer(ip("192.0.2.66"), 50, 100));
    let said = host.now;
    host.send(from_peer(ip(PEER), 0, 100));
    // Skew_Time at priority 100.
    let skew = Duration::from_nanos(609_375_000);
    assert_eq!(host.machine.master_down(Family::V4), Some(said + skew));
}

/// What two Actives do on hearing each other: how many of them stay.
fn left_of_two(rules: Vrrp, priorities: [u8; 2], intervals: [u16; 2]) -> usize {
    let sources = ["192.0.2.5", "192.0.2.6"].map(ip);
    let after = |own: usize, other: usize| {
        let mut config = improved(rules);
        config.settings.priority = Priority::new(priorities[own]).unwrap();
        config.settings.adver_interval = AdverInterval::new(intervals[own]).unwrap();
        let mut host = Host::new(config);
        host.send(addresses(1, 0));
        host.send(Input::Source(sources[own]));
        host.send(Input::Force(State::Master));
        host.send(from_peer(
            sources[other],
            priorities[other],
            intervals[other],
        ));
        usize::from(host.machine.state() == State::Master)
    };
    after(0, 1) + after(1, 0)
}

proptest! {
    #[test]
    fn of_two_active_routers_exactly_one_gives_way_by_the_rfc(
        priorities in [1..=254_u8, 1..=254_u8],
        is_tie in any::<bool>(),
        intervals in [1..=4095_u16, 1..=4095_u16],
    ) {
        let [one, other] = priorities;
        let other = if is_tie { one } else { other };
        prop_assert_eq!(left_of_two(Vrrp::Rfc9568, [one, other], intervals), 1);
    }

    /// By FreeBSD's rules, that is so if priorities differ and intervals do not.
    #[test]
    fn of_two_freebsd_15_one_two_or_none_stays(
        priorities in [1..=254_u8, 1..=254_u8],
        intervals in [1..=4095_u16, 1..=4095_u16],
    ) {
        let [one, other] = priorities;
        let [quick, slow] = intervals;
        prop_assume!(one < other && quick < slow);
        let left = |priorities, intervals| left_of_two(Vrrp::FreeBsd15, priorities, intervals);
        prop_assert_eq!(left([one, other], [quick, quick]), 1);
        prop_assert_eq!(left([one, one], [quick, quick]), 2);
        prop_assert_eq!(left([one, other], [slow, quick]), 1);
        prop_assert_eq!(left([one, other], [quick, slow]), 0);
    }
}

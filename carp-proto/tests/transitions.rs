//! Every cell of the state tables: CARP §3.4 (FreeBSD), §3.5 (OpenBSD), §3.7 (UCarp), and of the
//! improved default configuration with each of its switches off.
//!
//! A table is text, one row for each set of cells that behave alike:
//!
//! ```text
//! place | what happens, what else ... | outputs; in; order | state and deadlines afterwards
//! ```
//!
//! Deadlines count from the moment of the input, which comes 0.25 s after the place was reached: a
//! deadline that was left alone shows that quarter, one that was armed again does not. The host
//! under test has advbase 1, advskew 100, two IPv4 addresses and one IPv6 address.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test's helper fails"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/tables.rs"]
mod tables;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use carp_proto::{
    AdvBase, AdvSkew, Config, DemotionReason, Dialect, Family, FreeBsd, Improvements, Input,
    Interface, InterfaceName, OpenBsd, Output, Reason, RivalPolicy, SendResult, State, TieOrder,
    UCarp,
};
use common::{Host, addresses, received, saying, trace, vhid};

/// Where a host is when something happens to it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    /// INIT, without any address; the interface runs.
    New,
    /// INIT, with addresses; the interface has no carrier.
    Down,
    Backup,
    Master,
    /// MASTER, within one interval of the loss of the carrier.
    Held,
    /// BACKUP, in UCarp's deaf time after a step down.
    Deaf,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Happening {
    /// `Timeout` before any deadline.
    Early,
    /// `Timeout` at the first deadline, or a second later if there is none.
    Due,
    /// `Timeout` when an advertisement is due, after the earlier deadlines have fired.
    AdvertiseDue,
    /// `Timeout` when the master-down timer of IPv4 alone is due.
    Down4Due,
    /// Likewise of IPv6.
    Down6Due,
    /// `Timeout` after an hour's sleep.
    Wake,
    /// 1/50 over IPv4, over IPv6, and with preemption on.
    Better,
    Better6,
    BetterPreempt,
    /// 1/100 from 192.0.3.4, and from 192.0.1.6; our own source is 192.0.2.5.
    EqualLowLast,
    EqualHighLast,
    EqualPreempt,
    /// 1/150.
    Worse,
    Worse6,
    WorsePreempt,
    /// 3/100: as long as our patience. 4/0: longer.
    AsSlowAsPatience,
    SlowerThanPatience,
    BowOut,
    BowOutPreempt,
    /// 1/150, while we are demoted by 200; and with preemption.
    WorseWhileDemoted,
    WorseWhileDemotedPreempt,
    /// 1/50 with a demotion byte of 3.
    BetterDemoted,
    /// 1/150 with a demotion byte of 3, and preemption.
    WorseDemotedPreempt,
    /// What we sent last, or would send, from our own address.
    Echo,
    /// A number that is OpenBSD's cookie, from somebody else: 1/50.
    Cookie,
    Up,
    Unknown,
    NoCarrier,
    InterfaceDown,
    /// 3 and 1, 1 and 1, 2 and 0, 0 and 1, 2 and 1, none.
    AddAddress,
    RemoveAddress,
    RemoveIpv6,
    RemoveIpv4,
    SameAddresses,
    NoAddress,
    Demote,
    DemoteMore,
    DemoteNegative,
    Undemote,
    ForceInit,
    ForceBackup,
    ForceMaster,
    /// Advbase 2, advskew 7.
    Settings,
    /// Advskew 255.
    BadSettings,
    SentOk,
    SentError,
    ThirdError,
    /// The first success after three errors, and the third.
    OkAfterErrors,
    ThirdOk,
    /// Three errors, a success, three errors: the last of them.
    ErrorsAgain,
    NoMemory,
    /// A random number that nobody asked for.
    Number,
    Source,
    Shutdown,
}

use Happening as H;
use Place as P;

const HAPPENINGS: [(&str, H); 54] = [
    ("early", H::Early),
    ("due", H::Due),
    ("advertise due", H::AdvertiseDue),
    ("down4 due", H::Down4Due),
    ("down6 due", H::Down6Due),
    ("wake", H::Wake),
    ("better", H::Better),
    ("better over IPv6", H::Better6),
    ("better, preempt", H::BetterPreempt),
    ("equal from 192.0.3.4", H::EqualLowLast),
    ("equal from 192.0.1.6", H::EqualHighLast),
    ("equal, preempt", H::EqualPreempt),
    ("worse", H::Worse),
    ("worse over IPv6", H::Worse6),
    ("worse, preempt", H::WorsePreempt),
    ("as slow as patience", H::AsSlowAsPatience),
    ("slower than patience", H::SlowerThanPatience),
    ("bow-out", H::BowOut),
    ("bow-out, preempt", H::BowOutPreempt),
    ("worse while demoted", H::WorseWhileDemoted),
    ("worse while demoted, preempt", H::WorseWhileDemotedPreempt),
    ("better but demoted", H::BetterDemoted),
    ("worse and demoted, preempt", H::WorseDemotedPreempt),
    ("echo", H::Echo),
    ("cookie", H::Cookie),
    ("up", H::Up),
    ("unknown", H::Unknown),
    ("no carrier", H::NoCarrier),
    ("interface down", H::InterfaceDown),
    ("add address", H::AddAddress),
    ("remove address", H::RemoveAddress),
    ("remove IPv6", H::RemoveIpv6),
    ("remove IPv4", H::RemoveIpv4),
    ("same addresses", H::SameAddresses),
    ("no address", H::NoAddress),
    ("demote", H::Demote),
    ("demote more", H::DemoteMore),
    ("demote negative", H::DemoteNegative),
    ("undemote", H::Undemote),
    ("force INIT", H::ForceInit),
    ("force BACKUP", H::ForceBackup),
    ("force MASTER", H::ForceMaster),
    ("settings", H::Settings),
    ("bad settings", H::BadSettings),
    ("sent", H::SentOk),
    ("error", H::SentError),
    ("third error", H::ThirdError),
    ("sent after errors", H::OkAfterErrors),
    ("third sent", H::ThirdOk),
    ("errors again", H::ErrorsAgain),
    ("no memory", H::NoMemory),
    ("number", H::Number),
    ("source", H::Source),
    ("shutdown", H::Shutdown),
];

const PLACES: [(&str, P); 6] = [
    ("new", P::New),
    ("down", P::Down),
    ("backup", P::Backup),
    ("master", P::Master),
    ("held", P::Held),
    ("deaf", P::Deaf),
];

/// OpenBSD's number in these tests.
const COOKIE: u64 = 77;
const OWN: &str = "192.0.2.5";
const QUARTER: Duration = Duration::from_millis(250);

/// A host at `place`, a quarter of a second after it got there.
fn at(place: Place, config: Config) -> Host {
    let mut host = Host::new(config);
    let carrier_lost = Input::Interface(Interface::NoCarrier);
    match place {
        P::New => {}
        P::Down => {
            host.send(carrier_lost);
            host.send(addresses(2, 1));
        }
        P::Backup => {
            host.send(addresses(2, 1));
        }
        P::Master | P::Held | P::Deaf => {
            host.send(addresses(2, 1));
            host.send(Input::Force(State::Master));
        }
    }
    match place {
        P::Held => {
            host.send(carrier_lost);
        }
        P::Deaf => {
            host.send(Input::Force(State::Backup));
        }
        P::New | P::Down | P::Backup | P::Master => {}
    }
    host.advance(QUARTER);
    host
}

/// Brings about what has to be so before `happening`, and returns the input that it is.
fn arrange(host: &mut Host, happening: Happening) -> Input {
    let mut settings = host.machine.config().settings;
    let peer: IpAddr = "192.0.2.9".parse().unwrap();
    let peer6: IpAddr = "fe80::9".parse().unwrap();
    let own: IpAddr = OWN.parse().unwrap();
    let hear = |from, base, skew, demote| {
        Input::Advertisement(received(from, &saying(base, skew, demote, 500)))
    };
    let failed = Input::Sent(Family::V4, SendResult::Error(65));
    let worked = Input::Sent(Family::V6, SendResult::Ok);
    match happening {
        H::Early => Input::Timeout,
        H::Due => {
            host.now = host
                .machine
                .poll_timeout()
                .unwrap_or(host.now + Duration::from_secs(1));
            Input::Timeout
        }
        H::AdvertiseDue => {
            if let Some(due) = host.machine.next_advertisement() {
                host.run_until(due - Duration::from_micros(1));
                host.now = due;
            }
            Input::Timeout
        }
        H::Down4Due | H::Down6Due => {
            let (from, family) = if happening == H::Down4Due {
                (peer6, Family::V4)
            } else {
                (peer, Family::V6)
            };
            if let Some(due) = host.machine.master_down(family) {
                if host.machine.state() == State::Backup {
                    host.hear(from, &saying(1, 50, 0, 499));
                } else {
                    // Left over, and without effect (CARP §3.4, below the table).
                    host.run_until(due - Duration::from_micros(1));
                }
                host.now = due;
            }
            Input::Timeout
        }
        H::Wake => {
            host.now += Duration::from_secs(3600);
            Input::Timeout
        }
        H::Better | H::BetterPreempt => hear(peer, 1, 50, 0),
        H::Better6 => hear(peer6, 1, 50, 0),
        H::EqualLowLast => hear("192.0.3.4".parse().unwrap(), 1, 100, 0),
        H::EqualHighLast | H::EqualPreempt => hear("192.0.1.6".parse().unwrap(), 1, 100, 0),
        H::Worse | H::WorsePreempt => hear(peer, 1, 150, 0),
        H::Worse6 => hear(peer6, 1, 150, 0),
        H::AsSlowAsPatience => hear(peer, 3, 100, 0),
        H::SlowerThanPatience => hear(peer, 4, 0, 0),
        H::BowOut | H::BowOutPreempt => hear(peer, 255, 255, 0),
        H::WorseWhileDemoted | H::WorseWhileDemotedPreempt => {
            host.send(Input::Demotion(200));
            hear(peer, 1, 150, 0)
        }
        H::BetterDemoted => hear(peer, 1, 50, 3),
        H::WorseDemotedPreempt => hear(peer, 1, 150, 3),
        H::Echo => {
            // The second packet of a master's round went out over IPv6, the first over IPv4.
            let number = host.machine.counter();
            let v4 = if number > 1 && number != COOKIE {
                number - 1
            } else {
                number
            };
            Input::Advertisement(received(own, &saying(1, 100, 0, v4)))
        }
        H::Cookie => Input::Advertisement(received(peer, &saying(1, 50, 0, COOKIE))),
        H::Up => Input::Interface(Interface::Up),
        H::Unknown => Input::Interface(Interface::Unknown),
        H::NoCarrier => Input::Interface(Interface::NoCarrier),
        H::InterfaceDown => Input::Interface(Interface::Down),
        H::AddAddress => addresses(3, 1),
        H::RemoveAddress => addresses(1, 1),
        H::RemoveIpv6 => addresses(2, 0),
        H::RemoveIpv4 => addresses(0, 1),
        H::SameAddresses => addresses(2, 1),
        H::NoAddress => addresses(0, 0),
        H::Demote => Input::Demotion(10),
        H::DemoteMore => {
            host.send(Input::Demotion(10));
            Input::Demotion(500)
        }
        H::DemoteNegative => Input::Demotion(-150),
        H::Undemote => {
            host.send(Input::Demotion(10));
            Input::Demotion(0)
        }
        H::ForceInit => Input::Force(State::Init),
        H::ForceBackup => Input::Force(State::Backup),
        H::ForceMaster => Input::Force(State::Master),
        H::Settings => {
            settings.advbase = AdvBase::new(2);
            settings.advskew = AdvSkew::new(7).unwrap();
            Input::Settings(settings)
        }
        H::BadSettings => {
            settings.advskew = AdvSkew::BOW_OUT;
            Input::Settings(settings)
        }
        H::SentOk => worked,
        H::SentError => failed,
        H::ThirdError => {
            host.send(failed);
            host.send(failed);
            failed
        }
        H::OkAfterErrors | H::ThirdOk | H::ErrorsAgain => {
            for _ in 0..3 {
                host.send(failed);
            }
            match happening {
                H::OkAfterErrors => return worked,
                H::ThirdOk => {
                    host.send(worked);
                    host.send(worked);
                    return worked;
                }
                _ => {}
            }
            host.send(worked);
            host.send(failed);
            host.send(failed);
            failed
        }
        H::NoMemory => Input::Sent(Family::V4, SendResult::NoMemory),
        H::Number => Input::FreshCounter(999),
        H::Source => Input::Source("192.0.2.77".parse().unwrap()),
        H::Shutdown => Input::Shutdown,
    }
}

/// Whether `happening` is about a host that preempts.
fn wants_preemption(happening: Happening) -> bool {
    matches!(
        happening,
        H::BetterPreempt
            | H::EqualPreempt
            | H::WorsePreempt
            | H::BowOutPreempt
            | H::WorseWhileDemotedPreempt
            | H::WorseDemotedPreempt
    )
}

/// Does `happening` to a host at `place` and writes down all that comes of it.
fn observe(config: Config, place: Place, happening: Happening) -> (String, String) {
    let mut config = config;
    config.settings.preempt = wants_preemption(happening);
    let mut host = at(place, config);
    let input = arrange(&mut host, happening);
    let outputs = host.send(input);
    (trace(&outputs), host.after())
}

/// The rows of a table, each on one line.
fn rows(table: &str) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
    {
        match rows.last_mut() {
            Some(row) if line.starts_with(' ') => *row += &format!(" {}", line.trim()),
            _ => rows.push(line.to_owned()),
        }
    }
    rows
}

type Table = BTreeMap<(Place, Happening), (String, String)>;

/// Reads the rows of a table. A row of `overrides` may replace one of the table.
fn read(table: &str, overrides: &str) -> Table {
    let mut cells = Table::new();
    for (text, may_replace) in [(table, false), (overrides, true)] {
        for row in rows(text) {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let [place, happenings, outputs, after] = columns[..] else {
                panic!("not four columns: {row}");
            };
            let (_, place) = PLACES
                .into_iter()
                .find(|(name, _)| *name == place)
                .unwrap_or_else(|| panic!("no such place: {row}"));
            for happening in happenings.split(" + ") {
                let (_, happening) = HAPPENINGS
                    .into_iter()
                    .find(|(name, _)| *name == happening.trim())
                    .unwrap_or_else(|| panic!("nothing is called {happening:?}: {row}"));
                let cell = (outputs.to_owned(), after.to_owned());
                let former = cells.insert((place, happening), cell.clone());
                let fits = if may_replace {
                    former != Some(cell)
                } else {
                    former.is_none()
                };
                assert!(
                    fits,
                    "{happening:?} at {place:?} stands in the table twice: {row}"
                );
            }
        }
    }
    cells
}

/// Compares every cell and names all that differ.
fn walk(name: &str, config: Config, places: &[Place], table: &Table) {
    let mut differences = String::new();
    for &place in places {
        for (word, happening) in HAPPENINGS {
            let (outputs, after) = observe(config, place, happening);
            match table.get(&(place, happening)) {
                None => {
                    differences += &format!("{place:?} | {word} | {outputs} | {after}\n  missing\n")
                }
                Some((o, a)) if (o, a) != (&outputs, &after) => {
                    differences += &format!(
                        "{place:?} | {word}\n  expected {o} | {a}\n  actual   {outputs} | {after}\n"
                    );
                }
                Some(_) => {}
            }
        }
    }
    assert!(differences.is_empty(), "{name}:\n{differences}");
    assert_eq!(
        table.len(),
        places.len() * HAPPENINGS.len(),
        "{name}: rows of other places"
    );
}

fn strict(dialect: Dialect) -> Config {
    let mut config = Config::strict(vhid(), dialect, COOKIE);
    config.settings.advskew = AdvSkew::new(100).unwrap();
    config.source_v4 = Some("192.0.2.5".parse().unwrap());
    config.source_v6 = Some("fe80::5".parse().unwrap());
    config.interface_name = Some(InterfaceName::new("em0").unwrap());
    config
}

fn improved(improvements: Improvements) -> Config {
    let mut config = Config::new(vhid());
    // As the strict tables have it, whose rows these share.
    config.unknown_link = carp_proto::UnknownLink::Down;
    let base = strict(config.dialect);
    config.improvements = improvements;
    config.settings = base.settings;
    config.source_v4 = base.source_v4;
    config.source_v6 = base.source_v6;
    config.interface_name = base.interface_name;
    config
}

type TurnOff = fn(&mut Improvements);

/// Each switch, how to turn it off, and the rows that this changes.
const SWITCHES: [(&str, TurnOff, &str); 9] = [
    ("bow_out", |i| i.bow_out = false, tables::WITHOUT_BOW_OUT),
    (
        "drop_echoes",
        |i| i.drop_echoes = false,
        tables::WITHOUT_DROP_ECHOES,
    ),
    (
        "keep_state_on_address_change",
        |i| i.keep_state_on_address_change = false,
        tables::WITHOUT_KEEP_STATE_ON_ADDRESS_CHANGE,
    ),
    (
        "ride_out_link_flaps",
        |i| i.ride_out_link_flaps = false,
        tables::WITHOUT_RIDE_OUT_LINK_FLAPS,
    ),
    (
        "adaptive_dead_time",
        |i| i.adaptive_dead_time = false,
        tables::WITHOUT_ADAPTIVE_DEAD_TIME,
    ),
    (
        "release_on_every_exit",
        |i| i.release_on_every_exit = false,
        tables::WITHOUT_RELEASE_ON_EVERY_EXIT,
    ),
    // Shows only when a factor changes in between, which a test below does.
    (
        "exact_demotion",
        |i| i.exact_demotion = false,
        tables::WITHOUT_EXACT_DEMOTION,
    ),
    (
        "drop_stale_timers",
        |i| i.drop_stale_timers = false,
        tables::WITHOUT_DROP_STALE_TIMERS,
    ),
    (
        "acquire_first",
        |i| i.acquire_first = false,
        tables::WITHOUT_ACQUIRE_FIRST,
    ),
];

const UCARP_PLACES: [Place; 5] = [P::New, P::Down, P::Backup, P::Master, P::Deaf];
const IMPROVED_PLACES: [Place; 5] = [P::New, P::Down, P::Backup, P::Master, P::Held];
const BSD_PLACES: [Place; 4] = [P::New, P::Down, P::Backup, P::Master];

fn ucarp(order: TieOrder) -> Dialect {
    let mut ucarp = UCarp::default();
    ucarp.tie_order = order;
    Dialect::UCarp(ucarp)
}

#[test]
fn freebsd_14_and_later_do_what_every_row_of_section_3_4_says() {
    let config = strict(Dialect::FreeBsd(FreeBsd::From14));
    walk(
        "FreeBSD 14",
        config,
        &BSD_PLACES,
        &read(tables::FREEBSD, ""),
    );
}

#[test]
fn freebsd_10_to_13_do_what_every_row_of_section_3_4_says() {
    let config = strict(Dialect::FreeBsd(FreeBsd::From10To13));
    walk(
        "FreeBSD 10",
        config,
        &BSD_PLACES,
        &read(tables::FREEBSD, tables::FREEBSD_10),
    );
}

#[test]
fn openbsd_since_2025_does_what_every_row_of_section_3_5_says() {
    let config = strict(Dialect::OpenBsd(OpenBsd::Since2025));
    walk(
        "OpenBSD since 2025",
        config,
        &BSD_PLACES,
        &read(tables::OPENBSD, ""),
    );
}

#[test]
fn openbsd_before_2025_does_what_every_row_of_section_3_5_says() {
    let config = strict(Dialect::OpenBsd(OpenBsd::Before2025));
    let table = read(tables::OPENBSD, tables::OPENBSD_BEFORE_2025);
    walk("OpenBSD before 2025", config, &BSD_PLACES, &table);
}

#[test]
fn ucarp_on_a_little_endian_machine_does_what_every_row_of_section_3_7_says() {
    let config = strict(ucarp(TieOrder::LittleEndian));
    walk(
        "UCarp, little-endian",
        config,
        &UCARP_PLACES,
        &read(tables::UCARP, ""),
    );
}

#[test]
fn ucarp_on_a_big_endian_machine_does_what_every_row_of_section_3_7_says() {
    let config = strict(ucarp(TieOrder::BigEndian));
    let table = read(tables::UCARP, tables::UCARP_BIG_ENDIAN);
    walk("UCarp, big-endian", config, &UCARP_PLACES, &table);
}

#[test]
fn the_improved_default_does_what_every_row_of_its_table_says() {
    let config = improved(Improvements::ALL);
    walk(
        "improved",
        config,
        &IMPROVED_PLACES,
        &read(tables::IMPROVED, ""),
    );
}

#[test]
fn each_improvement_that_is_off_changes_its_own_rows_and_no_other() {
    for (name, turn_off, overrides) in SWITCHES {
        let mut improvements = Improvements::ALL;
        turn_off(&mut improvements);
        let table = read(tables::IMPROVED, overrides);
        walk(name, improved(improvements), &IMPROVED_PLACES, &table);
    }
}

/// What `walk` relies on: that the list of happenings has every input, and each of them once.
#[test]
fn no_input_is_missing_from_the_tables() {
    let mut names: Vec<&str> = HAPPENINGS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), HAPPENINGS.len());
    for (index, (_, happening)) in HAPPENINGS.iter().enumerate() {
        assert_eq!(
            *happening as usize, index,
            "{happening:?} is missing, twice or out of order"
        );
    }
    // The last variant: the list ends with the enum.
    assert_eq!(HAPPENINGS.len() - 1, H::Shutdown as usize);
    for (index, (_, place)) in PLACES.iter().enumerate() {
        assert_eq!(*place as usize, index, "{place:?}");
    }

    let mut kinds = [false; 11];
    for (_, happening) in HAPPENINGS {
        let mut host = at(P::Master, improved(Improvements::ALL));
        // No wildcard: a new input is noticed by the compiler.
        kinds[match arrange(&mut host, happening) {
            Input::Timeout => 0,
            Input::Advertisement(_) => 1,
            Input::Interface(_) => 2,
            Input::Addresses(_) => 3,
            Input::Demotion(_) => 4,
            Input::Force(_) => 5,
            Input::Settings(_) => 6,
            Input::Sent(..) => 7,
            Input::FreshCounter(_) => 8,
            Input::Source(_) => 9,
            Input::Shutdown => 10,
        }] = true;
    }
    assert_eq!(kinds, [true; 11]);
}

/// Every configuration that has a table.
fn all_configs() -> Vec<Config> {
    let mut configs = vec![
        strict(Dialect::FreeBsd(FreeBsd::From14)),
        strict(Dialect::FreeBsd(FreeBsd::From10To13)),
        strict(Dialect::OpenBsd(OpenBsd::Since2025)),
        strict(Dialect::OpenBsd(OpenBsd::Before2025)),
        strict(ucarp(TieOrder::LittleEndian)),
        strict(ucarp(TieOrder::BigEndian)),
        improved(Improvements::ALL),
    ];
    for (_, turn_off, _) in SWITCHES {
        let mut improvements = Improvements::ALL;
        turn_off(&mut improvements);
        configs.push(improved(improvements));
    }
    configs
}

#[test]
fn after_shutdown_nothing_does_anything() {
    for config in all_configs() {
        for (_, place) in PLACES {
            for (word, happening) in HAPPENINGS {
                let mut host = at(place, config);
                host.send(Input::Shutdown);
                let input = arrange(&mut host, happening);
                let outputs = host.send(input);
                assert_eq!(
                    (trace(&outputs), host.after()),
                    ("-".into(), "INIT".into()),
                    "{word}"
                );
            }
        }
    }
}

/// CARP §9.9 and §9.48: in any state, and from a worse peer too; but not OpenBSD, which keeps
/// its own number (§1.7).
#[test]
fn every_accepted_advertisement_sets_the_number() {
    for config in all_configs() {
        for place in BSD_PLACES {
            for skew in [50, 100, 150] {
                let mut host = at(place, config);
                host.hear("192.0.2.9".parse().unwrap(), &saying(1, skew, 0, 500));
                let expected = match config.dialect {
                    Dialect::OpenBsd(_) => COOKIE,
                    // UCarp's loser sends once more.
                    Dialect::UCarp(_) if place == P::Master && skew == 50 => 502,
                    Dialect::UCarp(_) if place == P::Master && skew == 100 => continue,
                    // A UCarp whose interface does not run hears nothing, accepted or not.
                    Dialect::UCarp(_) if place == P::Down => continue,
                    _ => 500,
                };
                assert_eq!(
                    host.machine.counter(),
                    expected,
                    "{place:?} {:?}",
                    config.dialect
                );
            }
        }
    }
}

/// The time until the next advertisement of a master.
fn interval(host: &Host) -> Duration {
    host.machine.next_advertisement().unwrap() - host.now
}

/// CARP §3.2, §9.17.
#[test]
fn the_first_interval_of_a_demoted_master_is_not_demoted_and_the_later_ones_are() {
    let mut host = at(P::Backup, strict(Dialect::FreeBsd(FreeBsd::From14)));
    host.send(Input::Demotion(100));
    let outputs = host.send(Input::Force(State::Master));
    assert!(trace(&outputs).contains("send4 1/200 #1"), "{outputs:?}");
    assert_eq!(interval(&host), Duration::from_micros(1_390_625));
    let due = host.machine.next_advertisement().unwrap();
    host.run_until(due);
    assert_eq!(interval(&host), Duration::from_micros(1_781_250));
}

/// CARP §9.17 and §9.18: patience is one's own and never demoted.
#[test]
fn the_master_down_timer_is_not_demoted() {
    let mut host = at(P::Backup, strict(Dialect::FreeBsd(FreeBsd::From14)));
    host.send(Input::Demotion(100));
    host.hear("192.0.2.9".parse().unwrap(), &saying(1, 0, 0, 1));
    assert_eq!(host.after(), "BACKUP down4 3.390625 down6 3.140625");
}

/// CARP §9.16.
#[test]
fn a_skew_above_240_is_announced_as_240() {
    let mut config = strict(Dialect::FreeBsd(FreeBsd::From14));
    config.settings.advskew = AdvSkew::new(250).unwrap();
    let mut host = at(P::Master, config);
    let outputs = host.send(Input::Demotion(0));
    assert_eq!(
        trace(&outputs),
        "draw; send4 1/240 #3; draw; send6 1/240 #4"
    );
}

/// CARP §3.2: new settings count from the next arming on.
#[test]
fn new_settings_count_from_the_next_arming_on() {
    let mut host = at(P::Master, strict(Dialect::FreeBsd(FreeBsd::From14)));
    let input = arrange(&mut host, H::Settings);
    host.send(input);
    let due = host.machine.next_advertisement().unwrap();
    let outputs = host.run_until(due);
    assert!(
        matches!(outputs[1].1, Output::Transmit(t) if t.advertisement.carp().unwrap().advbase.get() == 2)
    );
    assert_eq!(interval(&host), Duration::from_micros(2_027_343));
}

/// CARP §3.4.1 and §3.5: what one success makes of two errors.
#[test]
fn two_errors_and_a_success_are_forgotten_by_all_but_freebsd_14() {
    let failed = Input::Sent(Family::V4, SendResult::Error(65));
    let worked = Input::Sent(Family::V4, SendResult::Ok);
    for (dialect, expected) in [
        (
            Dialect::FreeBsd(FreeBsd::From14),
            "demote +240 (send error 65 on em0)",
        ),
        (Dialect::FreeBsd(FreeBsd::From10To13), "-"),
        (Dialect::OpenBsd(OpenBsd::Since2025), "-"),
    ] {
        let mut host = at(P::Master, strict(dialect));
        for input in [failed, failed, worked] {
            assert_eq!(trace(&host.send(input)), "-");
        }
        assert_eq!(trace(&host.send(failed)), expected, "{dialect:?}");
    }
}

/// CARP §4.1: kernels subtract the factor of the day, and a rest stays.
#[test]
fn a_factor_that_changes_in_between_leaves_a_rest_unless_demotion_is_exact() {
    let mut inexact = Improvements::ALL;
    inexact.exact_demotion = false;
    for (improvements, undone) in [(inexact, -7), (Improvements::ALL, -240)] {
        let mut host = at(P::Down, improved(improvements));
        for _ in 0..3 {
            host.send(Input::Sent(Family::V4, SendResult::Error(65)));
        }
        let mut settings = host.machine.config().settings;
        settings.ifdown_demotion = 7;
        settings.senderr_demotion = 7;
        host.send(Input::Settings(settings));
        let mut outputs = host.send(Input::Interface(Interface::Up));
        for _ in 0..3 {
            outputs.extend(host.send(Input::Sent(Family::V4, SendResult::Ok)));
        }
        let demotions: Vec<i32> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Demote(demote) => Some(demote.adjustment),
                _ => None,
            })
            .collect();
        assert_eq!(demotions, [undone, undone]);
    }
}

/// CARP §3.5 and §5.1: the delayed ARP. Neighbour advertisements are not repeated.
#[test]
fn openbsd_repeats_its_arp_with_the_second_advertisement_that_follows() {
    let mut host = at(P::Master, strict(Dialect::OpenBsd(OpenBsd::Since2025)));
    let rounds = rounds_of(&mut host, 4);
    let plain = "send4 1/100 #77; send6 1/100 #77";
    assert_eq!(rounds, [plain, &format!("{plain}; arp"), plain, plain]);
}

/// CARP §3.7.
#[test]
fn ucarp_repeats_its_arp_with_the_second_advertisement_that_follows() {
    let mut config = strict(ucarp(TieOrder::LittleEndian));
    config.source_v6 = None;
    let mut host = Host::new(config);
    host.send(addresses(1, 0));
    host.send(Input::Force(State::Master));
    let rounds = rounds_of(&mut host, 4);
    let expected = [
        "draw; send4 1/100 #2",
        "draw; send4 1/100 #3; arp",
        "draw; send4 1/100 #4",
        "draw; send4 1/100 #5",
    ];
    assert_eq!(rounds, expected);
}

/// What comes out with each of the next `count` advertisements.
fn rounds_of(host: &mut Host, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            host.now = host.machine.next_advertisement().unwrap();
            trace(&host.send(Input::Timeout))
        })
        .collect()
}

/// CARP §2.1: BACKUP to MASTER transitions of any reason, on OpenBSD alone.
#[test]
fn openbsd_alone_counts_that_it_became_master() {
    for config in all_configs() {
        let host = at(P::Master, config);
        let expected = u64::from(matches!(config.dialect, Dialect::OpenBsd(_)));
        assert_eq!(host.machine.stats().preempt, expected);
        assert_eq!(host.machine.stats().opackets, 1);
        assert_eq!(host.machine.stats().opackets6, 1);
    }
}

/// CARP §3.2: "0/0: 3906 us", "advbase 0: 3 x skew", "0/0: 3 x 3906 us".
#[test]
fn openbsd_without_a_base_interval_counts_in_skews() {
    for (skew, dead, paces) in [(0, "0.011718", 3906), (10, "0.117186", 39_062)] {
        for revision in [OpenBsd::Before2025, OpenBsd::Since2025] {
            let mut config = strict(Dialect::OpenBsd(revision));
            config.settings.advbase = AdvBase::new(0);
            config.settings.advskew = AdvSkew::new(skew).unwrap();
            let mut host = Host::new(config);
            host.send(addresses(1, 0));
            assert_eq!(host.after(), format!("BACKUP down4 {dead}"));
            host.send(Input::Force(State::Master));
            assert_eq!(interval(&host), Duration::from_micros(paces));
        }
    }
}

/// CARP §3.2 and §3.7: the dead ratio counts for the timer and for the patience.
#[test]
fn ucarp_waits_for_as_many_intervals_as_its_dead_ratio_says() {
    let mut ratio = UCarp::default();
    ratio.dead_ratio = core::num::NonZeroU8::new(5).unwrap();
    let mut host = Host::new(strict(Dialect::UCarp(ratio)));
    host.send(addresses(1, 0));
    assert_eq!(host.after(), "BACKUP down4 5.390625");
    host.hear("192.0.2.9".parse().unwrap(), &saying(5, 100, 0, 1));
    assert_eq!(host.after(), "BACKUP down4 5.390625");
    host.hear("192.0.2.9".parse().unwrap(), &saying(5, 101, 0, 2));
    assert!(common::is_master(&host));
}

/// CARP §3.7: "(dead_ratio x advbase, skew) < ch", and OpenBSD alone wants advbase not to be 0.
#[test]
fn without_a_base_interval_ucarp_overtakes_a_slower_master_and_openbsd_does_not() {
    for (dialect, overtakes) in [
        (ucarp(TieOrder::LittleEndian), true),
        (Dialect::OpenBsd(OpenBsd::Since2025), false),
    ] {
        let mut config = strict(dialect);
        config.settings.advbase = AdvBase::new(0);
        let mut host = Host::new(config);
        host.send(addresses(1, 0));
        host.hear("192.0.2.9".parse().unwrap(), &saying(1, 0, 0, 1));
        assert_eq!(common::is_master(&host), overtakes, "{dialect:?}");
    }
}

/// CARP §3.7: the down script runs at the start, whatever the interface does, unless `-n`.
#[test]
fn ucarp_runs_its_down_script_at_the_start_even_without_a_carrier() {
    let mut config = strict(ucarp(TieOrder::LittleEndian));
    config.interface = Interface::NoCarrier;
    let mut host = Host::new(config);
    let mut outputs = host.send(addresses(1, 0));
    outputs.extend(host.send(Input::Interface(Interface::Up)));
    assert!(outputs.contains(&Output::Release), "{}", trace(&outputs));
}

/// CARP §3.7, option `-n`.
#[test]
fn ucarp_leaves_the_address_alone_at_the_start_if_it_is_told_to() {
    let mut neutral = UCarp::default();
    neutral.at_start = carp_proto::AtStart::Neutral;
    let mut host = Host::new(strict(Dialect::UCarp(neutral)));
    let outputs = host.send(addresses(1, 0));
    assert_eq!(trace(&outputs), "INIT -> BACKUP (initialization complete)");
}

/// CARP §8.4: nothing that was attached while the link was out is left unserved.
#[test]
fn addresses_attached_in_a_link_hold_are_served_when_the_link_returns() {
    let mut host = at(P::Held, improved(Improvements::ALL));
    let mut outputs = host.send(addresses(3, 1));
    outputs.extend(host.send(Input::Interface(Interface::Up)));
    assert!(outputs.contains(&Output::Acquire), "{}", trace(&outputs));
}

/// Announcing without a link reaches nobody; its return announces anyway (CARP §8.12).
#[test]
fn nothing_is_announced_while_the_link_is_out() {
    let peer = "192.0.2.9".parse().unwrap();
    for rival in [
        RivalPolicy::Never,
        RivalPolicy::AtOnce,
        RivalPolicy::WhenGone,
    ] {
        let mut config = improved(Improvements::ALL);
        config.announcements.rival = rival;
        let mut host = at(P::Held, config);
        let mut outputs = host.hear(peer, &saying(4, 0, 0, 1));
        outputs.extend(host.hear(peer, &saying(255, 255, 0, 2)));
        let hold_ends = host.machine.poll_timeout().unwrap();
        let later = host.run_until(hold_ends - Duration::from_micros(1));
        outputs.extend(later.into_iter().map(|(_, output)| output));
        let announces = |output: &Output| matches!(output, Output::Announce(_));
        assert!(
            !outputs.iter().any(announces),
            "{rival:?}: {}",
            trace(&outputs)
        );
    }
}

/// CARP §8.4: the former addresses are accepted for the grace period and no longer.
#[test]
fn former_addresses_are_forgotten_after_the_grace_period() {
    let mut config = improved(Improvements::ALL);
    config.address_grace = Duration::from_secs(60);
    let mut host = at(P::Backup, config);
    host.send(addresses(3, 1));
    let start = host.now;
    let outputs = host.run_until(start + Duration::from_secs(100));
    let forgotten: Vec<Duration> = outputs
        .iter()
        .filter(|(_, output)| *output == Output::ForgetAddresses)
        .map(|(at, _)| *at - start)
        .collect();
    assert_eq!(forgotten, [Duration::from_secs(60)]);
}

/// CARP §8.12: five announcements, and five again when a competing master is gone.
#[test]
fn announcements_are_repeated_after_a_takeover_and_after_a_rival() {
    let mut host = Host::new(improved(Improvements::ALL));
    host.send(addresses(1, 0));
    let mut announced = Vec::new();
    let mut note = |host: &Host, outputs: &[Output]| {
        if outputs.contains(&Output::Announce(Family::V4)) {
            announced.push(host.now.as_millis() - 10_000);
        }
    };
    let outputs = host.send(Input::Force(State::Master));
    note(&host, &outputs);
    let run = |host: &mut Host, until, note: &mut dyn FnMut(&Host, &[Output])| {
        while let Some(deadline) = host.machine.poll_timeout().filter(|d| *d <= until) {
            host.now = deadline;
            let outputs = host.send(Input::Timeout);
            note(host, &outputs);
        }
    };
    run(&mut host, Duration::from_secs(20), &mut note);
    host.now = Duration::from_secs(20);
    host.hear("192.0.2.9".parse().unwrap(), &saying(1, 128, 0, 1));
    run(&mut host, Duration::from_secs(40), &mut note);
    let expected = [
        0, 500, 1000, 1500, 2000, 13_000, 13_500, 14_000, 14_500, 15_000,
    ];
    assert_eq!(announced, expected);
}

/// CARP §8.10: a rival that bows out is gone at once.
#[test]
fn a_rival_that_bows_out_is_gone_at_once() {
    let mut host = at(P::Master, improved(Improvements::ALL));
    let peer = "192.0.2.9".parse().unwrap();
    host.hear(peer, &saying(1, 150, 0, 1));
    let outputs = host.hear(peer, &saying(255, 255, 0, 2));
    assert_eq!(trace(&outputs), "the other master is gone; arp; nd");
}

/// CARP §3.4.2: the texts of FreeBSD 11 and later.
#[test]
fn reasons_read_as_in_the_kernel_s_log() {
    let em0 = InterfaceName::new("em0").ok();
    let texts = [
        (
            Reason::InitializationComplete.to_string(),
            "initialization complete",
        ),
        (Reason::HardwareUp.to_string(), "hardware interface up"),
        (Reason::HardwareDown.to_string(), "hardware interface down"),
        (
            Reason::MoreFrequentAdvertisement.to_string(),
            "more frequent advertisement received",
        ),
        (
            Reason::PreemptingSlowerMaster.to_string(),
            "preempting a slower master",
        ),
        (
            Reason::MasterWillTimeOut.to_string(),
            "master will time out",
        ),
        (Reason::MasterTimedOut.to_string(), "master timed out"),
        (
            Reason::UserRequested.to_string(),
            "user requested via ifconfig",
        ),
        // Not the kernel's.
        (
            Reason::DemotedMaster.to_string(),
            "preempting a demoted master",
        ),
        (Reason::Shutdown.to_string(), "shutdown"),
        (DemotionReason::InterfaceDown.to_string(), "interface down"),
        (DemotionReason::InterfaceUp.to_string(), "interface up"),
        (DemotionReason::VhidRemoved.to_string(), "vhid removed"),
        (
            DemotionReason::SendError {
                error: 55,
                interface: em0,
            }
            .to_string(),
            "send error 55 on em0",
        ),
        (
            DemotionReason::SendOk { interface: em0 }.to_string(),
            "send ok on em0",
        ),
        (
            DemotionReason::SendError {
                error: 55,
                interface: None,
            }
            .to_string(),
            "send error 55",
        ),
        (
            DemotionReason::SendOk { interface: None }.to_string(),
            "send ok",
        ),
        // OpenBSD's (CARP §3.5).
        (DemotionReason::CarpDev.to_string(), "carpdev"),
        (
            DemotionReason::SendErrors(Family::V4).to_string(),
            "> snderrors",
        ),
        (
            DemotionReason::SendErrors(Family::V6).to_string(),
            "> snd6errors",
        ),
        (
            DemotionReason::SendErrorsOver(Family::V4).to_string(),
            "< snderrors",
        ),
        (
            DemotionReason::SendErrorsOver(Family::V6).to_string(),
            "< snd6errors",
        ),
    ];
    for (actual, kernel) in texts {
        assert_eq!(actual, kernel);
    }
    let mut host = at(P::Backup, strict(Dialect::default()));
    host.now = host.machine.poll_timeout().unwrap();
    let outputs = host.send(Input::Timeout);
    assert_eq!(
        common::words(&outputs[0]),
        "BACKUP -> MASTER (master timed out)"
    );
}

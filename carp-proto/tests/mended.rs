//! The smallest trace of each fault that was found and mended.

#![expect(clippy::unwrap_used, reason = "this is how a test fails")]

mod common;

use core::net::IpAddr;
use core::time::Duration;

use carp_proto::{
    AddressCount, AdvBase, AdvSkew, Advertisement, Announcements, Authenticator, Config,
    ConfigError, CounterRule, Dialect, Event, Family, Input, Interface, Key, OpenBsd, Output,
    Refusal, ReplayPolicy, SendResult, Spacing, State, UnknownLink, View,
};
use common::{Host, received, saying, vhid};

const ONE_V4: AddressCount = AddressCount { v4: 1, v6: 0 };
const NO_ADDRESS: AddressCount = AddressCount { v4: 0, v6: 0 };

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn skewed(advskew: u8) -> Config {
    let mut config = Config::new(vhid());
    config.settings.advskew = AdvSkew::new(advskew).unwrap();
    config
}

fn backup(config: Config) -> Host {
    let mut host = Host::new(config);
    host.send(Input::Addresses(ONE_V4));
    assert_eq!(host.machine.state(), State::Backup);
    host
}

fn master(config: Config) -> Host {
    let mut host = backup(config);
    host.now = host.machine.poll_timeout().unwrap();
    host.send(Input::Timeout);
    assert_eq!(host.machine.state(), State::Master);
    host
}

fn hear(host: &mut Host, from: &str, said: &Advertisement) -> Vec<Output> {
    host.send(Input::Advertisement(received(ip(from), said)))
}

fn refusal(outputs: &[Output]) -> Option<Refusal> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::Refused { refusal, .. }) => Some(*refusal),
        _ => None,
    })
}

fn sent(outputs: &[Output]) -> Vec<(u8, u8)> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Transmit(send) => send.advertisement.carp().copied(),
        _ => None,
    });
    sent.map(|said| (said.advbase.get(), said.advskew.get()))
        .collect()
}

fn demoted(outputs: &[Output]) -> i32 {
    let amounts = outputs.iter().filter_map(|output| match output {
        Output::Demote(demote) => Some(demote.adjustment),
        _ => None,
    });
    amounts.sum()
}

// Strict mode (CARP §1.7, 4).

fn strict(advskew: u8) -> Config {
    let mut config = skewed(advskew);
    config.replay = ReplayPolicy::Strict;
    config
}

#[test]
fn in_strict_mode_an_altered_copy_from_another_source_changes_nothing() {
    let mut host = master(strict(10));
    hear(&mut host, "192.0.2.2", &saying(1, 100, 0, 500));
    let outputs = hear(&mut host, "192.0.2.66", &saying(1, 0, 0, 500));
    assert_eq!(
        refusal(&outputs),
        Some(Refusal::Replay {
            counter: 500,
            last: 500
        })
    );
    assert_eq!(host.machine.state(), State::Master);
}

#[test]
fn in_strict_mode_an_altered_copy_of_our_own_is_an_echo() {
    let mut config = strict(10);
    config.source_v4 = Some([192, 0, 2, 5].into());
    let mut host = master(config);
    let counter = host.machine.counter();
    let outputs = hear(&mut host, "192.0.2.5", &saying(1, 0, 0, counter));
    assert_eq!(refusal(&outputs), Some(Refusal::Echo));
    assert_eq!(host.machine.state(), State::Master);
}

#[test]
fn in_strict_mode_made_up_sources_do_not_lock_the_master_out() {
    let mut host = backup(strict(100));
    hear(&mut host, "192.0.2.2", &saying(1, 0, 0, 500));
    for last in 100..120 {
        hear(&mut host, &format!("192.0.2.{last}"), &saying(1, 0, 0, 500));
    }
    assert_eq!(
        refusal(&hear(&mut host, "192.0.2.2", &saying(1, 0, 0, 501))),
        None
    );
}

#[test]
fn in_strict_mode_there_can_be_more_peers_than_are_told_apart() {
    let mut host = backup(strict(100));
    let mut counter = 1;
    for _ in 0..3 {
        for peer in 1..=12 {
            let said = saying(1, 0, 0, counter);
            assert_eq!(
                refusal(&hear(&mut host, &format!("192.0.2.{peer}"), &said)),
                None
            );
            counter += 1;
        }
    }
}

// The link hold (CARP §8.4).

#[test]
fn a_link_hold_ends_when_a_peer_of_the_same_base_can_have_taken_over() {
    // It advertises each 1.9375 s, so a peer has been patient that long when the link fails.
    let mut host = master(skewed(240));
    host.send(Input::Timeout);
    let last = host.now;
    host.advance(Duration::from_millis(1900));
    host.send(Input::Interface(Interface::NoCarrier));
    assert_eq!(
        host.machine.poll_timeout(),
        Some(last + Duration::from_secs(3))
    );
}

#[test]
fn new_settings_do_not_make_a_master_send_without_its_link() {
    let mut config = skewed(0);
    config.dialect = Dialect::OpenBsd(OpenBsd::Since2025);
    config.announcements = Announcements::ONCE;
    let mut host = master(config);
    host.send(Input::Interface(Interface::NoCarrier));
    let settings = host.machine.config().settings;
    host.send(Input::Settings(settings));
    assert_eq!(host.machine.next_advertisement(), None);
}

// Bow-outs (CARP §3.6, §8.10).

#[test]
fn a_bow_out_is_no_promise_to_speak_again_in_256_seconds() {
    let mut slow = skewed(0);
    slow.settings.advbase = AdvBase::new(86);
    let mut fast = skewed(100);
    fast.dialect = Dialect::OpenBsd(OpenBsd::Since2025);
    fast.settings.advbase = AdvBase::new(0);
    for config in [slow, fast] {
        let mut host = backup(config);
        hear(&mut host, "192.0.2.2", &saying(255, 255, 0, 1));
        assert_eq!(host.machine.state(), State::Master, "{config:?}");
    }
}

#[test]
fn nobody_yields_to_a_master_that_leaves() {
    let mut config = skewed(0);
    config.dialect = Dialect::OpenBsd(OpenBsd::Since2025);
    let mut host = master(config);
    host.send(Input::Demotion(1));
    hear(&mut host, "192.0.2.2", &saying(255, 255, 0, 1));
    assert_eq!(host.machine.state(), State::Master);
}

#[test]
fn the_second_copy_of_a_bow_out_takes_the_role_from_nobody() {
    let mut host = backup(skewed(100));
    hear(&mut host, "192.0.2.2", &saying(1, 0, 0, 1));
    hear(&mut host, "192.0.2.2", &saying(255, 255, 0, 2));
    assert_eq!(host.machine.state(), State::Master);
    // A better backup was as quick.
    hear(&mut host, "192.0.2.3", &saying(1, 50, 0, 3));
    assert_eq!(host.machine.state(), State::Backup);
    let outputs = hear(&mut host, "192.0.2.2", &saying(255, 255, 0, 4));
    assert_eq!(refusal(&outputs), Some(Refusal::NotMaster));
    assert_eq!(host.machine.state(), State::Backup);
}

#[test]
fn a_farewell_that_was_not_sent_is_forgotten_when_the_role_returns() {
    let mut host = master(skewed(100));
    host.machine.handle(host.now, Input::Force(State::Backup));
    // The driver is slow and has polled nothing but the first copy when it hears a worse host.
    while !matches!(host.machine.poll_output(), Some(Output::Transmit(_))) {}
    let outputs = host.send(Input::Force(State::Master));
    assert_eq!(sent(&outputs), [(1, 100)]);
}

#[test]
fn want_of_memory_does_not_cost_the_second_farewell() {
    let mut host = master(skewed(100));
    host.machine.handle(host.now, Input::Force(State::Backup));
    while !matches!(host.machine.poll_output(), Some(Output::Transmit(_))) {}
    let outputs = host.send(Input::Sent(Family::V4, SendResult::NoMemory));
    assert_eq!(sent(&outputs), [(255, 255)]);
}

// Demotion (CARP §4.4).

#[test]
fn a_virtual_host_that_ends_takes_its_demotions_back() {
    let down = [Input::Interface(Interface::Down); 1];
    let errors = [Input::Sent(Family::V4, SendResult::Error(50)); 3];
    for causes in [&down[..], &errors[..]] {
        for end in [Input::Shutdown, Input::Addresses(NO_ADDRESS)] {
            let mut host = master(skewed(0));
            let demotion: i32 = causes.iter().map(|cause| demoted(&host.send(*cause))).sum();
            assert_eq!(demotion, 240, "{causes:?}");
            assert_eq!(demoted(&host.send(end)), -240, "{end:?} after {causes:?}");
        }
    }
}

#[test]
fn a_virtual_host_without_addresses_demotes_nobody() {
    let mut host = master(skewed(0));
    host.send(Input::Addresses(NO_ADDRESS));
    assert_eq!(demoted(&host.send(Input::Interface(Interface::Down))), 0);
    // It does when it has addresses again, and takes that back.
    assert_eq!(demoted(&host.send(Input::Addresses(ONE_V4))), 240);
    assert_eq!(demoted(&host.send(Input::Addresses(NO_ADDRESS))), -240);
}

#[test]
fn demotions_that_nobody_polls_for_long_add_up_to_what_they_are() {
    let mut host = master(skewed(0));
    for _ in 0..50 {
        for result in [SendResult::Error(50), SendResult::Ok] {
            for _ in 0..3 {
                host.machine
                    .handle(host.now, Input::Sent(Family::V4, result));
            }
        }
    }
    host.machine
        .handle(host.now, Input::Sent(Family::V4, SendResult::Error(50)));
    assert_eq!(demoted(&host.send(Input::Timeout)), 0);
}

// Address changes (CARP §8.4).

#[test]
fn of_several_address_changes_the_list_of_the_others_stays_accepted() {
    let key = Key::from_passphrase(b"k");
    let lists: [&[IpAddr]; 3] = [
        &[ip("192.0.2.1")],
        &[ip("192.0.2.1"), ip("192.0.2.2")],
        &[ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3")],
    ];
    let [first, second, third] = lists;
    let peer = Authenticator::new(&key, vhid(), first);
    let mut bytes = [0; carp_proto::ADVERTISEMENT_LEN];
    peer.sign(&saying(1, 0, 0, 1), &mut bytes);
    let view = View::parse(&bytes).unwrap();

    let mut auth = Authenticator::new(&key, vhid(), first);
    auth.set_addresses(second);
    auth.set_addresses(third);
    assert!(auth.verify(view).is_ok(), "after two changes");
    let mut reversed = third.to_vec();
    reversed.reverse();
    auth.set_addresses(&reversed);
    assert!(auth.verify(view).is_ok(), "after the same list again");
}

#[test]
fn the_list_without_addresses_is_not_accepted_after_the_first_is_attached() {
    let key = Key::from_passphrase(b"k");
    let empty = Authenticator::new(&key, vhid(), &[]);
    let mut bytes = [0; carp_proto::ADVERTISEMENT_LEN];
    empty.sign(&saying(1, 0, 0, 1), &mut bytes);
    let mut auth = empty.clone();
    auth.set_addresses(&[ip("192.0.2.1")]);
    assert!(auth.verify(View::parse(&bytes).unwrap()).is_err());
}

#[test]
fn a_grace_period_that_is_over_does_not_end_the_next_one() {
    let mut config = skewed(0);
    config.address_grace = Duration::from_secs(1);
    let mut host = backup(config);
    host.send(Input::Addresses(AddressCount { v4: 2, v6: 0 }));
    host.advance(Duration::from_secs(1));
    host.machine.handle(host.now, Input::Timeout);
    // Not polled yet when the list changes again.
    let outputs = host.send(Input::Addresses(AddressCount { v4: 3, v6: 0 }));
    assert!(!outputs.contains(&Output::ForgetAddresses));
}

// Configuration.

#[test]
fn for_ever_is_refused_instead_of_overflowing() {
    let mut grace = skewed(0);
    grace.address_grace = Duration::MAX;
    let mut refresh = skewed(0);
    refresh.announcements.refresh = Some(Duration::MAX);
    let mut spacing = skewed(0);
    spacing.announcements.spacing = Spacing::Time(Duration::MAX);
    for (config, field) in [
        (grace, "address_grace"),
        (refresh, "announcements.refresh"),
        (spacing, "announcements.spacing"),
    ] {
        let wait = Duration::MAX;
        assert_eq!(config.validate(), Err(ConfigError::TooLong { field, wait }));
    }
}

#[test]
fn a_demotion_beyond_all_measure_is_refused() {
    let mut config = skewed(0);
    config.settings.ifdown_demotion = i32::MAX;
    let (field, amount) = ("ifdown_demotion", i32::MAX);
    assert_eq!(
        config.validate(),
        Err(ConfigError::Demotion { field, amount })
    );
}

#[test]
fn an_interface_that_does_not_tell_its_carrier_is_used_by_default() {
    let mut config = skewed(0);
    config.interface = Interface::Unknown;
    assert_eq!(config.unknown_link, UnknownLink::Up);
    backup(config);
}

#[test]
fn the_counter_passes_the_greatest_that_was_heard() {
    let mut config = skewed(100);
    config.counter = CounterRule::Increasing { start: 7 };
    let mut host = backup(config);
    hear(&mut host, "192.0.2.2", &saying(1, 0, 0, 900));
    host.now = host.machine.poll_timeout().unwrap();
    let outputs = host.send(Input::Timeout);
    assert!(matches!(
        outputs.iter().find(|o| matches!(o, Output::Transmit(_))),
        Some(Output::Transmit(send)) if send.advertisement.carp().unwrap().counter == 901
    ));
}

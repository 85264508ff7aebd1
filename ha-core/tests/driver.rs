//! The driver on a network of memory, with a clock that moves only when everybody waits.

#![expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[expect(dead_code, reason = "a part of it is needed here")]
mod memory;

use core::future::Future;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use ha_core::carp_proto::{
    self, AdvBase, Datagram, Family, Interface, Reason, ReplayPolicy, Settings, State, Vhid,
};
use ha_core::io::{
    CommandError, DemotionCause, Driver, DriverError, Effect, Event, EventKind, Events, Handle,
    HostId, Limits, MAX_DEMOTIONS, PACKETS_PER_TURN, Setup, SetupError, Transport,
};
use memory::{BOW_OUT, Network, Notes, Said, advertisement, config, setup};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A driver at work.
struct Node {
    handle: Handle,
    events: Events,
    host: HostId,
    run: JoinHandle<Result<(), DriverError>>,
}

impl Node {
    /// Starts a driver with one virtual host, of vhid 1.
    fn start(network: &Network, advskew: u8, effects: &Notes) -> Self {
        let mut driver = Driver::default();
        let segment = driver.add_segment(network.port());
        let host = driver.add(segment, setup(1, advskew, effects)).unwrap();
        let (handle, events) = (driver.handle(), driver.events());
        Self {
            handle,
            events,
            host,
            run: tokio::spawn(driver.run()),
        }
    }

    async fn state(&self) -> State {
        self.handle.status().await.unwrap().hosts[0].state
    }

    /// Waits for the next event that `choose` takes.
    async fn event<T>(&mut self, choose: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = self.events.next().await.expect("the driver runs");
            if let Some(chosen) = choose(&event) {
                return chosen;
            }
        }
    }

    /// Waits for a change of state.
    async fn change(&mut self) -> (Instant, State, Reason) {
        self.event(|event| match event.kind {
            EventKind::Protocol {
                event: carp_proto::Event::State { to, reason, .. },
                ..
            } => Some((event.at, to, reason)),
            _ => None,
        })
        .await
    }

    async fn becomes(&mut self, state: State) -> (Instant, Reason) {
        loop {
            let (at, to, reason) = self.change().await;
            if to == state {
                return (at, reason);
            }
        }
    }
}

/// Lets all tasks do what they can do without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn within<F: Future>(time: Duration, future: F) -> F::Output {
    tokio::time::timeout(time, future)
        .await
        .expect("it happens in time")
}

#[tokio::test(start_paused = true)]
async fn a_lone_host_becomes_master_and_serves_in_order() {
    let (network, notes) = (Network::default(), Notes::default());
    let began = Instant::now();
    let mut node = Node::start(&network, 0, &notes);
    let (at, reason) = node.becomes(State::Master).await;
    assert_eq!((at - began, reason), (3 * SECOND, Reason::MasterTimedOut));
    settle().await;
    assert_eq!(notes.done(), ["acquire", "announce"]);
    sleep(5 * SECOND / 2).await;
    let sent: Vec<_> = network
        .sent(0)
        .into_iter()
        .map(|(at, _)| at - began)
        .collect();
    assert_eq!(sent, [3 * SECOND, 4 * SECOND, 5 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_backup_takes_over_in_exactly_the_dead_time() {
    let network = Network::default();
    let mut first = Node::start(&network, 0, &Notes::default());
    let mut second = Node::start(&network, 128, &Notes::default());
    first.becomes(State::Master).await;
    sleep(Duration::from_millis(4_700)).await;

    // A crash: nothing more is done, said or released.
    first.run.abort();
    let (last, _) = *network.sent(0).last().unwrap();
    let (at, reason) = second.becomes(State::Master).await;
    assert_eq!(reason, Reason::MasterTimedOut);
    assert_eq!(at - last, Duration::from_millis(3_500));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_releases_then_bows_out_and_a_backup_takes_over_at_once() {
    let network = Network::default();
    let notes = Notes::slow_to_release(Duration::from_millis(700));
    let mut first = Node::start(&network, 0, &notes);
    let mut second = Node::start(&network, 128, &Notes::default());
    first.becomes(State::Master).await;
    sleep(SECOND).await;

    let asked = Instant::now();
    first.handle.shutdown().await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_millis(700));
    assert_eq!(first.run.await.unwrap(), Ok(()));
    assert_eq!(notes.done().last(), Some(&"release"));
    let farewells: Vec<_> = network
        .sent(0)
        .into_iter()
        .filter(|(at, _)| *at >= asked)
        .collect();
    let released = notes.when("release").unwrap();
    assert_eq!(farewells, [(released, BOW_OUT), (released, BOW_OUT)]);
    let (at, reason) = second.becomes(State::Master).await;
    assert_eq!((at, reason), (released, Reason::MasterWillTimeOut));
    // The events end with the driver, and so do commands.
    while first.events.next().await.is_some() {}
    assert_eq!(
        first.handle.status().await.unwrap_err(),
        CommandError::Ended
    );
    assert!(first.handle.events().next().await.is_none());
    assert_eq!(first.handle.shutdown().await, Err(DriverError::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_ever() {
    let network = Network::default();
    let mut limits = Limits::default();
    limits.shutdown = 2 * SECOND;
    let mut driver = Driver::new(limits);
    let segment = driver.add_segment(network.port());
    let notes = Notes::slow_to_release(9 * SECOND);
    let host = driver.add(segment, setup(1, 0, &notes)).unwrap();
    let handle = driver.handle();
    let run = tokio::spawn(driver.run());
    handle.force(host, State::Master).await.unwrap();
    settle().await;

    let asked = Instant::now();
    let unfinished = Err(DriverError::Unfinished { hosts: 1 });
    assert_eq!(handle.shutdown().await, unfinished);
    assert_eq!(asked.elapsed(), 2 * SECOND);
    assert_eq!(run.await.unwrap(), unfinished);
    assert!(network.sent(0).ends_with(&[(Instant::now(), BOW_OUT); 2]));
    sleep(20 * SECOND).await;
    assert_eq!(notes.when("release"), None, "its task has ended");
}

#[tokio::test(start_paused = true)]
async fn a_step_down_bows_out_after_the_release_unless_a_successor_is_heard() {
    let network = Network::default();
    let notes = Notes::slow_to_release(SECOND);
    let mut node = Node::start(&network, 0, &notes);
    node.handle.force(node.host, State::Master).await.unwrap();
    node.becomes(State::Master).await;
    node.handle.force(node.host, State::Backup).await.unwrap();
    sleep(SECOND / 2).await;
    assert_eq!(network.sent(0).len(), 1);
    sleep(SECOND).await;
    assert_eq!(
        network
            .sent(0)
            .iter()
            .filter(|(_, said)| *said == BOW_OUT)
            .count(),
        2
    );

    node.handle.force(node.host, State::Master).await.unwrap();
    node.handle.force(node.host, State::Backup).await.unwrap();
    network.deliver(0, &advertisement(1, 100));
    sleep(2 * SECOND).await;
    assert_eq!(
        network
            .sent(0)
            .iter()
            .filter(|(_, said)| *said == BOW_OUT)
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_the_packets_that_wait_are_read_before_the_timers() {
    let network = Network::default();
    let mut node = Node::start(&network, 0, &Notes::default());
    node.becomes(State::Backup).await;
    sleep(SECOND).await;

    // The program is suspended past its deadline of three seconds, and the master's packet
    // comes in without anybody to tell.
    network.slip_in(0, advertisement(1, 0));
    advance(4 * SECOND).await;
    settle().await;
    assert_eq!(network.reads(0), 1);
    assert_eq!(node.state().await, State::Backup);
    assert!(network.sent(0).is_empty());

    // Without one, it takes over at once.
    advance(4 * SECOND).await;
    settle().await;
    assert_eq!(node.state().await, State::Master);
}

#[tokio::test(start_paused = true)]
async fn a_flood_starves_neither_timers_nor_commands_nor_effects() {
    let (network, notes) = (Network::default(), Notes::default());
    let node = Node::start(&network, 0, &notes);
    settle().await;
    network.flood(0);
    for _ in 0..10 {
        advance(SECOND / 2).await;
        settle().await;
    }
    assert_eq!(node.state().await, State::Master);
    assert_eq!(notes.done()[0], "acquire");
    let sent: Vec<_> = network.sent(0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(sent, [sent[0], sent[0] + SECOND, sent[0] + 2 * SECOND]);
    let reads = network.reads(0);
    assert!(reads > 100 * PACKETS_PER_TURN as u64);
    assert!(node.handle.status().await.unwrap().stats().badver >= reads);
}

#[tokio::test(start_paused = true)]
async fn a_slow_effect_does_not_delay_advertisements() {
    let network = Network::default();
    let notes = Notes::slow_to_acquire(5 * SECOND);
    let mut node = Node::start(&network, 0, &notes);
    let (master, _) = node.becomes(State::Master).await;
    sleep(Duration::from_millis(5_500)).await;
    assert_eq!(notes.when("acquire"), Some(master + 5 * SECOND));
    let expected: Vec<_> = (0..6).map(|index| master + index * SECOND).collect();
    let sent: Vec<_> = network.sent(0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(sent, expected);
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_takes_too_long_is_stopped_told_and_tried_again() {
    let network = Network::default();
    let notes = Notes::slow_to_acquire(60 * SECOND);
    let mut node = Node::start(&network, 0, &notes);
    let (master, _) = node.becomes(State::Master).await;
    let (at, text) = node
        .event(|event| match &event.kind {
            EventKind::Failed { .. } => Some((event.at, event.to_string())),
            _ => None,
        })
        .await;
    assert_eq!(
        (at - master, &*text),
        (10 * SECOND, "vhid 1: acquire failed: timed out")
    );
    // What is not served is not announced.
    let again = node
        .event(|event| matches!(event.kind, EventKind::Failed { .. }).then_some(event.at))
        .await;
    assert_eq!(again - at, 11 * SECOND);
    assert!(notes.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_fails_is_tried_again_and_only_then_announced() {
    let (network, notes) = (Network::default(), Notes::default());
    notes.fail(Some("acquire"));
    let mut node = Node::start(&network, 0, &notes);
    let (master, _) = node.becomes(State::Master).await;
    sleep(SECOND * 9 / 2).await;
    assert!(notes.done().is_empty());
    let host = node.handle.status().await.unwrap().hosts.remove(0);
    assert_eq!(
        (host.state, host.serving, host.failed, host.pending_effects),
        (State::Master, None, Some(Effect::Acquire), 2)
    );

    assert_eq!(notes.fail(None), 5);
    sleep(SECOND).await;
    assert_eq!(notes.done(), ["acquire", "announce"]);
    assert_eq!(notes.when("announce"), Some(master + 5 * SECOND));
    let host = node.handle.status().await.unwrap().hosts.remove(0);
    assert_eq!(
        (host.serving.as_deref(), host.failed, host.pending_effects),
        (Some(&[memory::SHARED][..]), None, 0)
    );

    // Whatever fails, a later decision takes its place.
    notes.fail(Some("acquire"));
    let both = [memory::SHARED, "192.0.2.2".parse().unwrap()];
    node.handle.set_addresses(node.host, &both).await.unwrap();
    sleep(SECOND / 2).await;
    node.handle.force(node.host, State::Backup).await.unwrap();
    settle().await;
    assert_eq!(notes.done().last(), Some(&"release"));
    assert_eq!(notes.fail(None), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_is_tried_again_before_a_bow_out() {
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    node.becomes(State::Master).await;
    notes.fail(Some("release"));
    node.handle.force(node.host, State::Backup).await.unwrap();
    sleep(SECOND * 3 / 2).await;
    let host = node.handle.status().await.unwrap().hosts.remove(0);
    assert_eq!(host.failed, Some(Effect::Release));
    assert_eq!(host.serving.as_deref(), Some(&[memory::SHARED][..]));
    assert_eq!(bow_outs(&network), 0);
    assert_eq!(notes.fail(None), 2);
    sleep(SECOND).await;
    assert_eq!(bow_outs(&network), 2);
    assert_eq!(
        node.handle.status().await.unwrap().hosts[0]
            .serving
            .as_deref(),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_says_what_is_not_released_and_bows_out_all_the_same() {
    let not_released = Err(DriverError::NotReleased { hosts: 1 });
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    let (master, _) = node.becomes(State::Master).await;
    notes.fail(Some("release"));
    assert_eq!(node.handle.shutdown().await, not_released);
    assert_eq!(node.run.await.unwrap(), not_released);
    assert_eq!(notes.fail(None), 5);
    assert!(network.sent(0).ends_with(&[(master, BOW_OUT); 2]));

    // One that succeeds in time is as good as any.
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    node.becomes(State::Master).await;
    notes.fail(Some("release"));
    let handle = node.handle.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown().await });
    settle().await;
    assert_eq!(notes.fail(None), 1);
    assert_eq!(shutdown.await.unwrap(), Ok(()));
    assert_eq!(notes.done().last(), Some(&"release"));

    // Nobody is left to try again.
    let (network, mut notes) = (Network::default(), Notes::default());
    notes.panics = Some("release");
    let mut node = Node::start(&network, 0, &notes);
    let (master, _) = node.becomes(State::Master).await;
    assert_eq!(node.handle.shutdown().await, not_released);
    assert_eq!(master.elapsed(), Duration::ZERO);
    assert_eq!(bow_outs(&network), 2);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_crashed_is_not_said_to_be_shut_down() {
    let network = Network::default();
    let node = Node::start(&network, 0, &Notes::default());
    settle().await;
    node.run.abort();
    settle().await;
    assert_eq!(node.handle.shutdown().await, Err(DriverError::Ended));
}

/// Starts a host of this replay policy, whose releases take a second, and makes it master after
/// it has heard `advertisement(1, 100)`.
async fn master_that_heard(network: &Network, replay: ReplayPolicy) -> Node {
    let mut driver = Driver::default();
    let segment = driver.add_segment(network.port());
    let mut config = config(1, 0);
    config.replay = replay;
    let notes = Notes::slow_to_release(SECOND);
    let setup = Setup::new(config, memory::key(), &[memory::SHARED], notes);
    let host = driver.add(segment, setup).unwrap();
    let (handle, events) = (driver.handle(), driver.events());
    let node = Node {
        handle,
        events,
        host,
        run: tokio::spawn(driver.run()),
    };
    settle().await;
    network.deliver(0, &advertisement(1, 100));
    settle().await;
    node.handle.force(host, State::Master).await.unwrap();
    settle().await;
    node
}

/// How many bow-outs the first host of a network has sent.
fn bow_outs(network: &Network) -> usize {
    let sent = network.sent(0);
    sent.iter().filter(|(_, said)| *said == BOW_OUT).count()
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_take_the_place_of_a_successor() {
    for is_shutdown in [false, true] {
        let network = Network::default();
        let node = master_that_heard(&network, ReplayPolicy::Strict).await;
        let handle = node.handle.clone();
        let leaving = tokio::spawn(async move {
            if is_shutdown {
                handle.shutdown().await.unwrap();
            } else {
                handle.force(node.host, State::Backup).await.unwrap();
            }
        });
        settle().await;
        network.deliver(0, &advertisement(1, 100));
        sleep(2 * SECOND).await;
        leaving.await.unwrap();
        assert_eq!(bow_outs(&network), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_bow_out_does_not_take_the_place_of_a_successor() {
    let network = Network::default();
    let node = master_that_heard(&network, ReplayPolicy::Accept).await;
    let handle = node.handle.clone();
    let leaving = tokio::spawn(async move { handle.shutdown().await });
    settle().await;
    network.deliver(0, &memory::bow_out(1 << 40));
    settle().await;
    assert_eq!(bow_outs(&network), 0, "it still releases");
    leaving.await.unwrap().unwrap();
    assert_eq!(bow_outs(&network), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_once_a_second_and_counted_always() {
    let network = Network::default();
    let mut node = master_that_heard(&network, ReplayPolicy::Strict).await;
    node.becomes(State::Master).await;
    for _ in 0..1_000 {
        network.deliver(0, &advertisement(1, 100));
    }
    sleep(SECOND / 2).await;
    assert_eq!(node.handle.status().await.unwrap().stats().replay, 1_000);
    node.handle.shutdown().await.unwrap();
    let mut refusals = 0;
    while let Some(event) = node.events.next().await {
        refusals += u32::from(event.to_string().contains("refused"));
    }
    assert_eq!((refusals, node.events.lost()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn identities_of_another_driver_are_refused() {
    let network = Network::default();
    let (node, other) = (
        Node::start(&network, 0, &Notes::default()),
        Node::start(&network, 0, &Notes::default()),
    );
    assert_ne!(node.host, other.host);
    let unknown = Err(CommandError::Unknown);
    let handle = &node.handle;
    assert_eq!(handle.force(other.host, State::Master).await, unknown);
    assert_eq!(handle.set_addresses(other.host, &[]).await, unknown);
    let settings = Settings::default();
    assert_eq!(handle.set_settings(other.host, settings).await, unknown);
    let segment = other.handle.status().await.unwrap().segments[0].segment;
    let refused = handle.set_interface(segment, Interface::Down).await;
    assert_eq!(refused, unknown);
    let refused = Driver::default().add(segment, setup(2, 0, &Notes::default()));
    assert_eq!(refused, Err(SetupError::UnknownSegment));

    let mut one = Driver::default();
    one.add_segment(network.port());
    let refused = one.add(segment, setup(2, 0, &Notes::default()));
    assert_eq!(refused, Err(SetupError::UnknownSegment));
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_effects_panic_takes_part_no_longer() {
    let network = Network::default();
    let mut notes = Notes::default();
    notes.panics = Some("acquire");
    let mut node = Node::start(&network, 0, &notes);
    let (at, _) = node.becomes(State::Master).await;
    node.event(|event| matches!(event.kind, EventKind::Panicked { .. }).then_some(()))
        .await;
    // As with a link that is lost; it is not known yet whether it comes back.
    let (lost, reason) = node.becomes(State::Init).await;
    assert_eq!((lost, reason), (at, Reason::HardwareDown));
    assert_eq!(node.handle.status().await.unwrap().demotion, 240);
    // What it had acquired nobody knows.
    assert_eq!(
        node.handle.shutdown().await,
        Err(DriverError::NotReleased { hosts: 1 })
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_host_notices_demotes_all() {
    let (left, right) = (Network::default(), Network::default());
    let mut driver = Driver::default();
    let first = driver.add_segment(left.port());
    let second = driver.add_segment(right.port());
    driver.add(first, setup(1, 0, &Notes::default())).unwrap();
    driver.add(second, setup(2, 10, &Notes::default())).unwrap();
    let handle = driver.handle();
    let mut events = driver.events();
    tokio::spawn(driver.run());
    sleep(10 * SECOND).await;

    // The third failure in a row demotes by 240: the other host tells at once.
    left.fail_sending(0, Some(101));
    let before = right.sent(0).len();
    sleep(Duration::from_millis(2_950)).await;
    let said = |advskew| Said {
        vhid: 2,
        advbase: 1,
        advskew,
    };
    assert_eq!(right.sent(0).last().unwrap().1, said(240));
    assert!(
        right.sent(0)[before..]
            .iter()
            .any(|(_, at)| *at == said(10))
    );
    assert_eq!(handle.status().await.unwrap().demotion, 240);

    left.fail_sending(0, None);
    sleep(10 * SECOND).await;
    assert_eq!(handle.status().await.unwrap().demotion, 0);
    assert_eq!(right.sent(0).last().unwrap().1, said(10));

    // Every change was told with its reason, and the failure itself once.
    handle.shutdown().await.unwrap();
    let mut texts = Vec::new();
    while let Some(event) = events.next().await {
        if matches!(
            event.kind,
            EventKind::Demotion { .. } | EventKind::NotSent { .. }
        ) {
            texts.push(event.to_string());
        }
    }
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts[0].starts_with("vhid 1: no advertisement sent over IPv4: "),
        "{texts:?}"
    );
    assert_eq!(
        texts[1..],
        [
            "demoted by 240 to 240 (send error 101)",
            "demoted by -240 to 0 (send ok)"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_operators_reasons_for_demotion_have_names() {
    let network = Network::default();
    let mut node = Node::start(&network, 10, &Notes::default());
    node.becomes(State::Master).await;
    node.handle.demote("maintenance", 50).await.unwrap();
    node.handle.demote("no upstream", 20).await.unwrap();
    let advskew = || network.sent(0).last().unwrap().1.advskew;
    assert_eq!(advskew(), 80);
    node.handle.restore("maintenance").await.unwrap();
    assert_eq!(advskew(), 30);
    let status = node.handle.status().await.unwrap();
    assert_eq!(
        (status.demotion, status.reasons),
        (20, vec![("no upstream".into(), 20)])
    );
    let cause = node
        .event(|event| match &event.kind {
            EventKind::Demotion { cause, .. } => Some(cause.clone()),
            _ => None,
        })
        .await;
    assert_eq!(cause, DemotionCause::Named("maintenance".into()));

    for index in 1..MAX_DEMOTIONS {
        node.handle
            .demote(&format!("reason {index}"), 0)
            .await
            .unwrap();
    }
    let refused = node.handle.demote("one more", 1).await;
    assert_eq!(refused, Err(CommandError::TooManyReasons));
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_read_in_time_are_lost_and_counted() {
    let network = Network::default();
    let mut limits = Limits::default();
    limits.events = 4;
    let mut driver = Driver::new(limits);
    let segment = driver.add_segment(network.port());
    driver.add(segment, setup(1, 0, &Notes::default())).unwrap();
    let (handle, mut events) = (driver.handle(), driver.events());
    tokio::spawn(driver.run());
    for amount in 1..=10 {
        handle.demote("test", amount).await.unwrap();
    }
    let next = events.next().await.unwrap();
    assert_eq!(next.to_string(), "demoted by 1 to 7 (test)");
    // INIT -> BACKUP, and six of the demotions.
    assert_eq!(events.lost(), 7);
    assert_eq!(events.clone().lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn addresses_change_without_a_change_of_state() {
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    node.becomes(State::Master).await;
    settle().await;
    let both = [memory::SHARED, "192.0.2.2".parse().unwrap()];
    node.handle.set_addresses(node.host, &both).await.unwrap();
    settle().await;
    assert_eq!(node.state().await, State::Master);
    assert_eq!(
        notes
            .done()
            .iter()
            .filter(|done| **done == "acquire")
            .count(),
        2
    );

    // An equal master that does not know of the change yet is still understood.
    network.deliver(0, &advertisement(1, 0));
    let (_, reason) = node.becomes(State::Backup).await;
    assert_eq!(reason, Reason::MoreFrequentAdvertisement);

    let v6 = ["2001:db8::1".parse().unwrap()];
    let refused = node.handle.set_addresses(node.host, &v6).await.unwrap_err();
    assert_eq!(refused.to_string(), "the transport does not carry IPv6");
    node.handle.set_addresses(node.host, &[]).await.unwrap();
    assert_eq!(node.state().await, State::Init);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_counted_and_told_once_a_second() {
    let network = Network::default();
    let mut node = Node::start(&network, 0, &Notes::default());
    node.becomes(State::Backup).await;
    let mut forged = advertisement(1, 0);
    // Another tag, whose sum is the same.
    forged.swap(34, 32);
    forged.swap(35, 33);
    for _ in 0..10 {
        network.deliver(0, &forged);
    }
    let text = node
        .event(|event| match &event.kind {
            EventKind::Discarded { .. } => Some(event.to_string()),
            _ => None,
        })
        .await;
    assert_eq!(
        text,
        "segment 0: discarded a packet from 10.0.0.99: badauth: incorrect hash"
    );
    settle().await;
    assert_eq!(node.handle.status().await.unwrap().stats().badauth, 10);
    let (_, to, _) = within(4 * SECOND, node.change()).await;
    assert_eq!(to, State::Master);
}

#[tokio::test(start_paused = true)]
async fn commands_that_cannot_be_carried_out_are_refused() {
    let network = Network::default();
    let node = Node::start(&network, 0, &Notes::default());
    let mut other = Driver::default();
    let segments = [
        other.add_segment(network.port()),
        other.add_segment(network.port()),
    ];
    other
        .add(segments[1], setup(1, 0, &Notes::default()))
        .unwrap();
    let unknown = other
        .add(segments[1], setup(2, 0, &Notes::default()))
        .unwrap();

    let handle = &node.handle;
    let none = CommandError::Unknown;
    assert_eq!(handle.force(unknown, State::Master).await, Err(none));
    assert_eq!(
        handle.set_interface(segments[1], Interface::Down).await,
        Err(none)
    );
    let mut zero = Settings::default();
    zero.advbase = AdvBase::new(0);
    let refused = handle.set_settings(node.host, zero).await;
    assert!(
        matches!(refused, Err(CommandError::Settings(_))),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_goes_takes_its_hosts_along() {
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    node.becomes(State::Master).await;
    let segment = node.handle.status().await.unwrap().segments[0].segment;
    node.handle
        .set_interface(segment, Interface::Down)
        .await
        .unwrap();
    assert_eq!(node.state().await, State::Init);
    settle().await;
    assert_eq!(notes.done().last(), Some(&"release"));
    node.handle
        .set_interface(segment, Interface::Up)
        .await
        .unwrap();
    assert_eq!(node.state().await, State::Backup);
}

#[tokio::test]
async fn impossible_virtual_hosts_are_refused() {
    let network = Network::default();
    let mut driver = Driver::default();
    let segment = driver.add_segment(network.port());
    let notes = Notes::default();
    driver.add(segment, setup(1, 0, &notes)).unwrap();
    let vhid = Vhid::new(1).unwrap();
    assert_eq!(
        driver.add(segment, setup(1, 9, &notes)),
        Err(SetupError::Taken { vhid })
    );

    let mut bad = config(2, 0);
    bad.settings.advbase = AdvBase::new(0);
    let bad = Setup::new(bad, memory::key(), &[memory::SHARED], notes.clone());
    assert!(matches!(
        driver.add(segment, bad),
        Err(SetupError::Config(_))
    ));

    let v6 = ["2001:db8::1".parse().unwrap()];
    let v6 = Setup::new(config(2, 0), memory::key(), &v6, notes.clone());
    let family = Family::V6;
    assert_eq!(driver.add(segment, v6), Err(SetupError::Family { family }));

    let elsewhere = Driver::default().add_segment(network.port());
    let _ = driver.add_segment(network.port());
    let mut empty = Driver::default();
    assert_eq!(
        empty.add(elsewhere, setup(1, 0, &notes)),
        Err(SetupError::UnknownSegment)
    );
}

#[tokio::test(start_paused = true)]
async fn hosts_come_and_go_while_the_driver_runs() {
    let (network, notes) = (Network::default(), Notes::default());
    let mut node = Node::start(&network, 0, &notes);
    node.becomes(State::Master).await;
    let segment = node.handle.status().await.unwrap().segments[0].segment;

    // A second one starts at once, as demoted as the first, and cannot be there twice.
    node.handle.demote("test", 10).await.unwrap();
    let other = Notes::default();
    let second = node.handle.add(segment, setup(2, 0, &other)).await.unwrap();
    assert!(matches!(
        node.handle.add(segment, setup(2, 0, &other)).await,
        Err(SetupError::Taken { .. })
    ));
    node.becomes(State::Master).await;
    settle().await;
    assert_eq!(other.done(), ["acquire", "announce"]);
    let (_, said) = *network.sent(0).last().unwrap();
    assert_eq!((said.vhid, said.advskew), (2, 10));

    // The first leaves with a bow-out, and the second does not notice.
    let asked = Instant::now();
    node.handle.remove(node.host).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(notes.done().last(), Some(&"release"));
    let sent = network.sent(0);
    assert!(sent.ends_with(&[(asked, BOW_OUT), (asked, BOW_OUT)]));
    let hosts = node.handle.status().await.unwrap().hosts;
    assert_eq!((hosts.len(), hosts[0].host), (1, second));
    assert_eq!(
        node.handle.force(node.host, State::Master).await,
        Err(CommandError::Unknown)
    );
    assert_eq!(
        node.handle.remove(node.host).await,
        Err(CommandError::Unknown)
    );

    // Its group is free for another one, which is somebody else.
    let again = node.handle.add(segment, setup(1, 0, &notes)).await.unwrap();
    assert_ne!(again, node.host);
    sleep(4 * SECOND).await;
    let last: Vec<_> = network.sent(0).iter().rev().map(|(_, s)| s.vhid).collect();
    assert!(last[..2].contains(&1) && last[..2].contains(&2));
}

#[tokio::test(start_paused = true)]
async fn segments_come_and_go_while_the_driver_runs() {
    let network = Network::default();
    let mut node = Node::start(&network, 0, &Notes::default());
    node.becomes(State::Master).await;
    let first = node.handle.status().await.unwrap().segments[0].segment;
    let second = node.handle.add_segment(network.port()).await.unwrap();
    let notes = Notes::default();

    // Its interface is down before it has a host, which then waits for it.
    node.handle
        .set_interface(second, Interface::Down)
        .await
        .unwrap();
    let host = node.handle.add(second, setup(1, 0, &notes)).await.unwrap();
    sleep(4 * SECOND).await;
    let status = node.handle.status().await.unwrap();
    assert_eq!((status.hosts[1].state, status.demotion), (State::Init, 240));

    // What was told before is no news, though FreeBSD's rules make a flap of it.
    for _ in 0..3 {
        node.handle
            .set_interface(first, Interface::Up)
            .await
            .unwrap();
    }
    assert_eq!(node.state().await, State::Master);

    // Another transport, and nobody has to change its role.
    let moved = network.port();
    node.handle.replace_transport(first, moved).await.unwrap();
    assert_eq!(
        node.handle.replace_transport(second, Deaf).await,
        Err(CommandError::Family { family: Family::V4 })
    );
    sleep(2 * SECOND).await;
    assert_eq!(node.state().await, State::Master);
    assert!(!network.sent(2).is_empty());
    let sent = network.sent(0).len();
    sleep(2 * SECOND).await;
    assert_eq!(network.sent(0).len(), sent);

    assert_eq!(
        node.handle.remove_segment(second).await,
        Err(CommandError::InUse)
    );
    node.handle.remove(host).await.unwrap();
    node.handle.remove_segment(second).await.unwrap();
    let status = node.handle.status().await.unwrap();
    // What it noticed is taken back with it.
    assert_eq!((status.segments.len(), status.demotion), (1, 0));
    assert_eq!(
        node.handle.remove_segment(second).await,
        Err(CommandError::Unknown)
    );
    assert_eq!(
        node.handle.set_interface(second, Interface::Up).await,
        Err(CommandError::Unknown)
    );
    assert_eq!(
        node.handle.add(second, setup(1, 0, &notes)).await,
        Err(SetupError::UnknownSegment)
    );
    assert_eq!(status.segments[0].segment, first);

    node.handle.shutdown().await.unwrap();
    assert_eq!(
        node.handle.add(first, setup(3, 0, &notes)).await,
        Err(SetupError::Ended)
    );
}

/// A transport that carries nothing.
struct Deaf;

impl Transport for Deaf {
    fn carries(&self, _: Family) -> bool {
        false
    }

    fn source(&self, _: Family) -> Option<IpAddr> {
        None
    }

    fn poll_receive<'b>(
        &mut self,
        _: &mut Context<'_>,
        _: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        Poll::Pending
    }

    fn try_send(&mut self, _: Family, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_begins_without_hosts_and_outlives_them() {
    let (network, notes) = (Network::default(), Notes::default());
    let driver = Driver::default();
    let handle = driver.handle();
    let run = tokio::spawn(driver.run());
    let segment = handle.add_segment(network.port()).await.unwrap();
    for _ in 0..3 {
        let host = handle.add(segment, setup(1, 0, &notes)).await.unwrap();
        sleep(SECOND * 13 / 4).await;
        assert_eq!(handle.status().await.unwrap().hosts[0].state, State::Master);
        handle.remove(host).await.unwrap();
    }
    assert_eq!(
        notes.done().join(" "),
        ["acquire announce release"; 3].join(" ")
    );
    handle.shutdown().await.unwrap();
    assert_eq!(run.await.unwrap(), Ok(()));
}

//! VRRP hosts of the driver on a network of memory, alone and beside those of CARP.

#![expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[expect(dead_code, reason = "a part of it is needed here")]
mod memory;

use core::net::IpAddr;
use core::time::Duration;

use ha_core::carp_proto::vrrp::{AdverInterval, Checksum, Ends, Priority, View, Vrrp};
use ha_core::carp_proto::{self, Config, Family, Reason, State, Stats, Vhid};
use ha_core::io::{
    CommandError, Driver, EventKind, Events, Handle, HostId, Setup, SetupError, Transport,
    UdpTransport,
};
use memory::{Network, Notes, SHARED, SHARED_V6, address_of, setup};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn config(rules: Vrrp, priority: u8) -> Config {
    let mut config = Config::vrrp(Vhid::new(1).unwrap(), rules);
    config.settings.priority = Priority::new(priority).unwrap();
    config
}

fn router(rules: Vrrp, priority: u8) -> Setup {
    Setup::vrrp(config(rules, priority), &[SHARED], Notes::default())
}

/// A driver with one virtual host.
struct Node {
    handle: Handle,
    events: Events,
    host: HostId,
}

impl Node {
    fn start(transport: impl Transport + 'static, setup: Setup) -> Self {
        let mut driver = Driver::default();
        let segment = driver.add_segment(transport);
        let host = driver.add(segment, setup).unwrap();
        let (handle, events) = (driver.handle(), driver.events());
        tokio::spawn(driver.run());
        Self {
            handle,
            events,
            host,
        }
    }

    async fn state(&self) -> State {
        self.handle.status().await.unwrap().hosts[0].state
    }

    async fn stats(&self) -> Stats {
        self.handle.status().await.unwrap().segments[0].stats
    }

    /// Waits for the next change to `state`.
    async fn becomes(&mut self, state: State) -> (Instant, Reason) {
        loop {
            let next = tokio::time::timeout(60 * SECOND, self.events.next());
            let event = next.await.expect("in time").expect("the driver runs");
            if let EventKind::Protocol {
                event: carp_proto::Event::State { to, reason, .. },
                ..
            } = event.kind
            {
                if to == state {
                    return (event.at, reason);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_understood_and_the_next_router_waits_for_skew_time_alone() {
    let network = Network::default();
    let began = Instant::now();
    let mut better = Node::start(network.port(), router(Vrrp::Rfc9568, 200));
    let mut worse = Node::start(network.port(), router(Vrrp::Rfc9568, 100));
    let (at, reason) = better.becomes(State::Master).await;
    // 3 s and 56/256 s.
    assert_eq!(at - began, Duration::from_millis(3219));
    assert_eq!(reason, Reason::MasterTimedOut);
    sleep(10 * SECOND).await;
    assert_eq!(worse.state().await, State::Backup);

    let left = Instant::now();
    better.handle.shutdown().await.unwrap();
    let sent = network.packets(0);
    let priorities: Vec<u8> = sent.iter().map(|(_, bytes)| bytes[2]).collect();
    assert_eq!(priorities[priorities.len() - 3..], [200, 0, 0]);
    let (at, _) = worse.becomes(State::Master).await;
    // 156/256 s, up to the driver's millisecond.
    assert_eq!(at - left, Duration::from_millis(610));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_a_packet_of_the_family_and_of_the_rules() {
    for (rules, family, shared) in [
        (Vrrp::FreeBsd15, Family::V4, SHARED),
        (Vrrp::FreeBsd15, Family::V6, SHARED_V6),
        (Vrrp::Rfc9568, Family::V4, SHARED),
        (Vrrp::Rfc9568, Family::V6, SHARED_V6),
    ] {
        let network = Network::default();
        let mut settings = config(rules, 7);
        settings.settings.adver_interval = AdverInterval::new(20).unwrap();
        let effects = Notes::default();
        let setup = Setup::vrrp(settings, &[shared], effects.clone());
        let mut node = Node::start(network.port_of(family), setup);
        let mut other = Node::start(network.port_of(family), {
            Setup::vrrp(config(rules, 6), &[shared], effects)
        });
        let (at, _) = node.becomes(State::Master).await;
        sleep(SECOND / 2).await;
        let sent = network.packets(0);
        let after: Vec<_> = sent.iter().map(|(sent, _)| *sent - at).collect();
        let step = Duration::from_millis(200);
        assert_eq!(after, [Duration::ZERO, step, 2 * step], "{rules:?}");
        let ends = Ends::to_group(address_of(family, 0));
        let view = View::parse(&sent[0].1, &ends, rules.style().checksum).unwrap();
        assert_eq!((view.vrid(), view.priority().get()), (1, 7));
        assert_eq!(view.interval().get(), 20);
        assert!(view.addresses().eq([shared]));
        // The other one understands it.
        sleep(20 * SECOND).await;
        assert_eq!(other.state().await, State::Backup, "{rules:?} {family}");
        assert_eq!(other.stats().await.badsum, 0);
        let _ = other.becomes(State::Backup).await;
    }
}

#[tokio::test(start_paused = true)]
async fn carp_and_vrrp_share_a_segment_but_no_id() {
    let network = Network::default();
    let mut driver = Driver::default();
    let segment = driver.add_segment(network.port());
    let taken = Err(SetupError::Taken {
        vhid: Vhid::new(1).unwrap(),
    });
    driver.add(segment, router(Vrrp::Rfc9568, 100)).unwrap();
    let notes = Notes::default();
    assert_eq!(driver.add(segment, setup(1, 0, &notes)), taken);
    assert_eq!(driver.add(segment, router(Vrrp::FreeBsd15, 1)), taken);
    driver.add(segment, setup(2, 0, &notes)).unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.run());

    // A second driver whose hosts are worse, with the ids the same way round.
    let mut driver = Driver::default();
    let segment = driver.add_segment(network.port());
    driver.add(segment, setup(2, 100, &notes)).unwrap();
    driver.add(segment, router(Vrrp::Rfc9568, 50)).unwrap();
    let other = driver.handle();
    tokio::spawn(driver.run());
    sleep(20 * SECOND).await;
    let states = |status: ha_core::io::Status| {
        let hosts = status.hosts.iter();
        hosts.map(|host| (host.vhid.get(), host.state)).collect()
    };
    let ours: Vec<_> = states(handle.status().await.unwrap());
    assert_eq!(ours, [(1, State::Master), (2, State::Master)]);
    let theirs: Vec<_> = states(other.status().await.unwrap());
    assert_eq!(theirs, [(2, State::Backup), (1, State::Backup)]);
    let stats = other.status().await.unwrap().segments[0].stats;
    assert_eq!((stats.badver, stats.badvhid, stats.badauth), (0, 0, 0));
    assert!(stats.ipackets > 30);
}

#[tokio::test(start_paused = true)]
async fn an_id_in_the_wrong_protocol_is_counted_as_a_wrong_version() {
    let network = Network::default();
    let carp = Node::start(network.port(), setup(1, 0, &Notes::default()));
    let vrrp = Node::start(network.port(), router(Vrrp::Rfc9568, 100));
    sleep(10 * SECOND).await;
    for node in [&carp, &vrrp] {
        // Each is alone in its protocol.
        assert_eq!(node.state().await, State::Master);
        let stats = node.stats().await;
        assert!(stats.badver > 5, "{stats}");
        assert_eq!(stats.badver, stats.ipackets);
    }
}

#[tokio::test(start_paused = true)]
async fn the_checksum_is_that_of_the_rules_unless_another_is_chosen() {
    for (chosen, heard) in [(None, false), (Some(Checksum::WithPseudoHeader), true)] {
        let network = Network::default();
        let mut ours = router(Vrrp::Rfc9568, 100);
        if let Some(form) = chosen {
            ours = ours.with_checksum(form);
        }
        let ours = Node::start(network.port(), ours);
        let theirs = Node::start(network.port(), router(Vrrp::FreeBsd15, 200));
        sleep(10 * SECOND).await;
        assert_eq!(theirs.state().await, State::Master);
        assert_eq!(ours.state().await == State::Backup, heard);
        assert_eq!(ours.stats().await.badsum == 0, heard);
    }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_router_gives_way_to_one_that_preempts() {
    let network = Network::default();
    let mut better = Node::start(network.port(), router(Vrrp::Rfc9568, 200));
    let mut worse = Node::start(network.port(), router(Vrrp::Rfc9568, 100));
    better.becomes(State::Master).await;
    sleep(5 * SECOND).await;
    better.handle.demote("tests", 150).await.unwrap();
    worse.becomes(State::Master).await;
    sleep(SECOND).await;
    assert_eq!(better.state().await, State::Backup);
    better.handle.restore("tests").await.unwrap();
    better.becomes(State::Master).await;
    sleep(SECOND).await;
    assert_eq!(worse.state().await, State::Backup);
}

/// A transport that does not know where its packets come from.
struct Nowhere;

impl Transport for Nowhere {
    fn carries(&self, _: Family) -> bool {
        true
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        (family == Family::V4).then(|| address_of(family, 1))
    }

    fn poll_receive<'b>(
        &mut self,
        _: &mut core::task::Context<'_>,
        _: &'b mut [u8],
    ) -> core::task::Poll<std::io::Result<Option<carp_proto::Datagram<'b>>>> {
        core::task::Poll::Pending
    }

    fn try_send(&mut self, _: Family, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_refused_when_it_is_set_up() {
    let mut driver = Driver::default();
    let segment = driver.add_segment(Nowhere);
    let add = |driver: &mut Driver, setup| driver.add(segment, setup).unwrap_err();
    let notes = Notes::default;
    let rfc = || config(Vrrp::Rfc9568, 100);
    let family = Family::V6;
    assert_eq!(
        add(&mut driver, Setup::vrrp(rfc(), &[SHARED_V6], notes())),
        SetupError::NoSource { family }
    );
    let many = [SHARED; 256];
    assert_eq!(
        add(&mut driver, Setup::vrrp(rfc(), &many, notes())),
        SetupError::TooManyAddresses { count: 256 }
    );
    let carp = memory::config(1, 0);
    assert_eq!(
        add(&mut driver, Setup::vrrp(carp, &[SHARED], notes())),
        SetupError::Protocol
    );
    let keyed = Setup::new(rfc(), memory::key(), &[SHARED], notes());
    assert_eq!(add(&mut driver, keyed), SetupError::Protocol);
    // CARP needs to know no address of its own.
    driver
        .add(
            segment,
            Setup::new(memory::config(2, 0), memory::key(), &[SHARED_V6], notes()),
        )
        .unwrap();

    let host = driver.add(segment, router(Vrrp::Rfc9568, 100)).unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.run());
    let both = [SHARED, SHARED_V6];
    assert_eq!(
        handle.set_addresses(host, &both).await,
        Err(CommandError::NoSource { family })
    );
    assert_eq!(
        handle.set_addresses(host, &many).await,
        Err(CommandError::TooManyAddresses { count: 256 })
    );
    let longest = [SHARED; 255];
    handle.set_addresses(host, &longest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_longest_packet_is_sent_and_heard() {
    let network = Network::default();
    let setup = |priority| {
        let addresses = [SHARED_V6; 255];
        Setup::vrrp(
            config(Vrrp::Rfc9568, priority),
            &addresses,
            Notes::default(),
        )
    };
    let mut better = Node::start(network.port_of(Family::V6), setup(200));
    let worse = Node::start(network.port_of(Family::V6), setup(100));
    better.becomes(State::Master).await;
    sleep(10 * SECOND).await;
    assert_eq!(network.packets(0)[0].1.len(), 8 + 255 * 16);
    assert_eq!(worse.state().await, State::Backup);
    better
        .handle
        .force(better.host, State::Backup)
        .await
        .unwrap();
    assert_eq!(better.state().await, State::Backup);
}

/// With real sockets and real time, in steps of 200 ms.
#[tokio::test]
async fn vrrp_travels_in_udp_datagrams() {
    let free = |address: &str| {
        let socket = std::net::UdpSocket::bind((address, 0)).ok()?;
        socket.local_addr().ok()
    };
    let (Some(one), Some(two)) = (free("127.0.0.1"), free("127.0.0.2")) else {
        eprintln!("there is one loopback address only");
        return;
    };
    let start = |own, priority| {
        let transport = UdpTransport::bind(&[own], &[one, two]).unwrap();
        let mut config = config(Vrrp::Rfc9568, priority);
        config.settings.adver_interval = AdverInterval::new(20).unwrap();
        let setup = Setup::vrrp(config, &[SHARED], Notes::default());
        Node::start(transport, setup)
    };
    let (mut better, mut worse) = (start(one, 200), start(two, 100));
    better.becomes(State::Master).await;
    sleep(SECOND).await;
    assert_eq!(better.state().await, State::Master);
    assert_eq!(worse.state().await, State::Backup);
    let stats = worse.stats().await;
    assert!(stats.ipackets > 2 && stats.badsum == 0, "{stats}");
    better.handle.shutdown().await.unwrap();
    worse.becomes(State::Master).await;
}

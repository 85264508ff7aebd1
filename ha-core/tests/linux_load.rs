//! The Linux adapter under load: a flood of packets, and as many virtual hosts as there can be.
//!
//! ```sh
//! cargo test --release -p ha-core --all-features --test linux_load -- --ignored --nocapture
//! ```

#![cfg(target_os = "linux")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

#[allow(dead_code, reason = "shared with other tests")]
mod lab;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use ha_core::carp_proto::{
    ADVERTISEMENT_LEN, AdvBase, AdvSkew, Advertisement, Authenticator, Config, GROUP_V4, Key,
    State, Vhid,
};
use ha_core::io::linux::{AddressOptions, LinuxEvent, Network, TransportOptions};
use ha_core::io::{Driver, Limits, Setup, increasing_from_clock};
use lab::{Lab, Node, Plan, Side, addresses, block_on, eth0, until};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// One test at a time, as each wants the machine for itself.
static MACHINE: Mutex<()> = Mutex::new(());

const FLOOD: u32 = 100_000;
const SECONDS: u32 = 10;

/// The memory of this process that is in use, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The time that this process had a processor, of all its threads that still run.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Packets of all kinds that are not genuine.
fn forgeries() -> Vec<Vec<u8>> {
    let sign = |key: &[u8], id: u8| {
        let key = Key::from_passphrase(key);
        let vhid = Vhid::new(id).unwrap();
        let auth = Authenticator::new(&key, vhid, &addresses());
        let mut bytes = [0; ADVERTISEMENT_LEN];
        let advertisement = Advertisement {
            vhid,
            advbase: AdvBase::new(0),
            advskew: AdvSkew::new(0).unwrap(),
            demote: 0,
            counter: 1 << 63,
        };
        auth.sign(&advertisement, &mut bytes);
        bytes.to_vec()
    };
    let genuine = sign(b"another secret", 1);
    let mut unsummed = genuine.clone();
    unsummed[7] ^= 1;
    Vec::from([
        genuine,
        unsummed,
        sign(b"secret", 9),
        [0x21; 20].into(),
        [0x31; 8].into(),
        [0x99; 36].into(),
    ])
}

/// Sends forgeries from side B until it is told to stop; returns how many.
fn flood(lab: &Lab, stop: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    lab.spawn(Side::B, move || {
        let protocol = Some(Protocol::from(112));
        let socket = Socket::new(Domain::IPV4, Type::RAW, protocol).unwrap();
        // It hears nothing and sends what it is given.
        socket.shutdown(std::net::Shutdown::Read).ok();
        socket.set_multicast_ttl_v4(255).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket
            .set_multicast_if_v4(&Ipv4Addr::new(192, 0, 2, 3))
            .unwrap();
        let group = SockAddr::from(SocketAddr::from((GROUP_V4, 0)));
        let forgeries = forgeries();
        let begin = Instant::now();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = begin.elapsed().as_micros() as u64 * u64::from(FLOOD) / 1_000_000;
            while sent < due {
                let packet = &forgeries[sent as usize % forgeries.len()];
                let _ = socket.send_to(packet, &group);
                sent += 1;
            }
            thread::sleep(Duration::from_micros(200));
        }
        sent
    })
}

#[test]
#[ignore = "needs root: creates network namespaces; floods for 20 seconds"]
fn a_flood_neither_changes_roles_nor_delays_advertisements_nor_grows_memory() {
    let _machine = MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::new();
    let node = Node::start(&lab, Side::A, Plan::default());
    node.force(State::Master);
    until("the addresses", || lab.has_both(Side::A));

    // Advertisements of A as B hears them, told apart by their source.
    let capture = lab.capture(Side::B);
    let stop = Arc::new(AtomicBool::new(false));
    let before = resident();
    let flooding = flood(&lab, stop.clone());
    let is_ours = |frame: &[u8]| {
        frame[12..14] == [8, 0] && frame[23] == 112 && frame[26..30] == [192, 0, 2, 2]
    };
    let end = Instant::now() + Duration::from_secs(SECONDS.into());
    let mut heard = Vec::new();
    while Instant::now() < end {
        capture.next(is_ours).expect("an advertisement");
        heard.push(Instant::now());
        assert_eq!(node.state(), State::Master);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = flooding.join().unwrap();
    let after = resident();
    let gaps = heard.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().unwrap();
    let stats = block_on(node.handle.status()).unwrap().stats();
    println!(
        "{sent} packets in {SECONDS} s, {} read; longest gap {longest:?}, memory {before} to {after} KiB",
        stats.ipackets
    );
    assert!(longest < Duration::from_millis(1020), "{longest:?}");
    assert!(after < before + 4096, "{before} to {after} KiB");
    assert!(sent > u64::from(FLOOD * SECONDS) * 8 / 10, "{sent}");
    assert!(lab.has_both(Side::A));

    // A backup hears its master all the same.
    node.force(State::Backup);
    let master = Node::start(&lab, Side::B, Plan::default());
    master.force(State::Master);
    until("a backup", || node.state() == State::Backup);
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = flood(&lab, stop.clone());
    let end = Instant::now() + Duration::from_secs(SECONDS.into());
    while Instant::now() < end {
        assert_eq!(node.state(), State::Backup);
        thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    node.stop().unwrap();
    master.stop().unwrap();
}

#[test]
#[ignore = "needs root: creates network namespaces; takes 20 seconds"]
fn as_many_virtual_hosts_as_there_can_be_cost_little() {
    let shared = |id: u8| Vec::from([IpAddr::from([10, 9, 0, id])]);
    virtual_hosts(shared, 0.02);
}

#[test]
#[ignore = "needs root: creates network namespaces; takes 20 seconds"]
fn as_many_virtual_hosts_of_two_families_keep_all_their_addresses() {
    let shared = |id: u8| {
        let v6 = [0x2001, 0xdb8, 9, 0, 0, 0, 0, u16::from(id)];
        Vec::from([IpAddr::from([10, 9, 0, id]), IpAddr::from(v6)])
    };
    // Most of it is the kernel's, which looks at all addresses of IPv6 whenever one is refreshed.
    virtual_hosts(shared, 0.1);
}

/// Has side A be the master of 255 virtual hosts with these addresses each, for at most this
/// part of a core.
fn virtual_hosts(shared: fn(u8) -> Vec<IpAddr>, most: f64) {
    let _machine = MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = lab.spawn(Side::A, move || {
        block_on(async {
            let network = Network::open().unwrap();
            let events = network.events();
            let nic = network.interface(eth0()).await.unwrap();
            let mut driver = Driver::new(Limits::default());
            let transport = nic.transport(TransportOptions::default()).await.unwrap();
            let segment = driver.add_segment(transport);
            let mut hosts = Vec::new();
            for id in 1..=255 {
                let vhid = Vhid::new(id).unwrap();
                let mut config = Config::new(vhid);
                config.counter = increasing_from_clock();
                let effects = nic.effects(vhid, AddressOptions::default()).await.unwrap();
                let key = Key::from_passphrase(b"secret");
                let setup = Setup::new(config, key, &shared(id), effects);
                hosts.push(driver.add(segment, setup).unwrap());
            }
            let handle = driver.handle();
            let keeper = network.keep(handle.clone(), [(nic, segment)].into());
            let keeper = tokio::spawn(keeper);
            sender.send((handle, hosts, events)).unwrap();
            driver.run().await.unwrap();
            keeper.await.unwrap().unwrap();
        });
    });
    let (handle, hosts, mut events) = receiver.recv().unwrap();
    for host in hosts {
        block_on(handle.force(host, State::Master)).unwrap();
    }
    let count = || {
        let of = |prefix| {
            let lines = lab.ip(Side::A, &format!("-o addr show to {prefix}"));
            lines.lines().count()
        };
        of("10.9.0.0/24") + of("2001:db8:9::/64")
    };
    let all = 255 * shared(1).len();
    until("all addresses", || count() == all);
    thread::sleep(Duration::from_secs(2));
    let (before, begin) = (cpu(), Instant::now());
    thread::sleep(Duration::from_secs(10));
    let used = (cpu() - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert_eq!(count(), all);
    let status = block_on(handle.status()).unwrap();
    assert!(status.hosts.iter().all(|host| host.state == State::Master));
    println!(
        "255 masters, {all} addresses: {:.2} % of a core, {} KiB",
        used * 100.0,
        resident()
    );
    assert!(
        used < if cfg!(debug_assertions) {
            10.0 * most
        } else {
            most
        },
        "{used}"
    );
    assert!(resident() < 40 << 10);
    block_on(handle.shutdown()).unwrap();
    thread.join().unwrap();
    assert_eq!(count(), 0);
    block_on(async {
        while let Some(event) = events.next().await {
            let is_late = matches!(event, LinuxEvent::Late { .. });
            assert!(!is_late, "{event}");
        }
    });
    assert_eq!(events.lost(), 0);
}

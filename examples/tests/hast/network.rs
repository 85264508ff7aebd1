//! A peer that vanishes: between the nodes, which are in network namespaces of their own, packets
//! are dropped, and nobody tells.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::load::{Load, Work};
use super::roles::{busy, change};
use super::space::{Program, run};
use super::trial;

const SIZE: u64 = 64 << 20;
/// The configured timeout.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long writes may stand still after it.
const RESUMPTION: Duration = Duration::from_millis(50);
const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 2), Ipv4Addr::new(10, 77, 2, 2)];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in ["fullsync", "memsync"] {
        let test = move || vanishes(mode);
        trials.push(trial(format!("a_peer_that_vanishes_{mode}"), test));
    }
    trials.push(trial(
        "roles_change_in_time_when_the_peer_has_vanished",
        roles,
    ));
    let root = |trial: Trial| trial.with_kind("root").with_ignored_flag(true);
    trials.into_iter().map(root).collect()
}

/// Two hosts and a router between them.
#[derive(Debug)]
struct Network {
    hosts: [Program; 2],
    router: Program,
}

impl Network {
    fn new() -> Self {
        let own = namespace(std::process::id());
        let space = || {
            let words = ["--net", "--", "sleep", "1000000"];
            let program = Program::start("unshare", &words);
            let id = program.id();
            program.wait_until("a network namespace", || {
                namespace(id) != own
                    && fs::read_to_string(format!("/proc/{id}/comm"))
                        .is_ok_and(|it| it == "sleep\n")
            })
        };
        let network = Self {
            hosts: [space(), space()],
            router: space(),
        };
        let router = network.router.id();
        for (host, address) in network.hosts.iter().zip(HOSTS) {
            let [a, b, c, _] = address.octets();
            let (link, gateway) = (format!("p{c}"), format!("{a}.{b}.{c}.1"));
            run(
                "ip",
                &[
                    "link",
                    "add",
                    &link,
                    "netns",
                    &router.to_string(),
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    &host.id().to_string(),
                ],
            );
            ip(
                &network.router,
                &format!("addr add {gateway}/24 dev {link}"),
            );
            ip(&network.router, &format!("link set {link} up"));
            ip(host, &format!("addr add {address}/24 dev eth0"));
            ip(host, "link set lo up");
            ip(host, "link set eth0 up");
            ip(host, &format!("route add default via {gateway}"));
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        inside(&network.router, &["sh", "-c", forward]);
        network
    }

    /// Two nodes in it.
    fn cluster(&self, settings: &str) -> Cluster {
        let mut cluster = Cluster::bare(settings);
        let addresses = HOSTS.map(|host| SocketAddr::from((host, 8457)));
        cluster.place(addresses, settings);
        for (node, host) in [Ada, Bob].into_iter().zip(&self.hosts) {
            cluster.start_by(node, &["nsenter", &net(host)]);
        }
        cluster.create(SIZE);
        cluster
    }

    /// Drops all packets between the two from now on, silently.
    fn cut(&self) {
        for host in HOSTS {
            ip(&self.router, &format!("route add blackhole {host}/32"));
        }
    }

    fn mend(&self) {
        for host in HOSTS {
            ip(&self.router, &format!("route del blackhole {host}/32"));
        }
    }
}

fn namespace(process: u32) -> String {
    let link = fs::read_link(format!("/proc/{process}/ns/net"));
    link.map(|link| link.display().to_string())
        .unwrap_or_default()
}

fn net(space: &Program) -> String {
    format!("--net=/proc/{}/ns/net", space.id())
}

fn inside(space: &Program, words: &[&str]) {
    run("nsenter", &[&[&*net(space)], words].concat());
}

fn ip(space: &Program, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    inside(space, &[&["ip"], &*words].concat());
}

/// How long it took to notice, and then to go on.
#[derive(Clone, Copy, Debug)]
struct Outage {
    noticed: Duration,
    resumed: Duration,
}

fn vanishes(mode: &str) {
    let network = Network::new();
    let mut cluster = network.cluster(&format!("replication {mode} timeout {}", TIMEOUT.as_secs()));
    cluster.start_in_roles(Ada);
    let work = Work {
        clients: 4,
        depth: 8,
        octets: 4096,
    };
    let mut outages = Vec::new();
    for round in 0..3 {
        let load = Load::start(&cluster.device(Ada), work);
        wait_until("writes are acknowledged", || load.count() > 1000);
        network.cut();
        let cut = Cut::now();
        wait_until("it is noticed", || noticed(&cluster, Ada).len() > round);
        // Attempts to connect again hold nothing up either.
        thread::sleep(TIMEOUT + TIMEOUT / 2);
        let outage = cut.outage(&load, noticed(&cluster, Ada)[round]);
        eprintln!("{mode}: {outage:?}");
        outages.push(outage);
        network.mend();
        wait_until("connected again", || cluster.is_connected(Ada));
        load.stop().expect("no write fails");
        cluster.wait_until_synchronised(Ada);
    }
    for outage in &outages {
        assert!(outage.resumed <= RESUMPTION, "{outages:?}");
        assert!(outage.noticed <= TIMEOUT + RESUMPTION / 5, "{outages:?}");
    }
    cluster.check_equal();
}

/// The moment of an outage.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Instant,
    of_day: Duration,
}

impl Cut {
    fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.expect("a time after 1970");
        Self {
            at: Instant::now(),
            of_day: seconds - DAY * (seconds.as_secs() / DAY.as_secs()) as u32,
        }
    }

    fn outage(self, load: &Load, noticed: Duration) -> Outage {
        let noticed = (noticed + DAY - self.of_day).as_millis() % DAY.as_millis();
        let noticed = Duration::from_millis(noticed as u64);
        let ended = load.ended();
        let after = |at: &Instant| at.saturating_duration_since(self.at);
        let last = ended.iter().map(after).filter(|it| *it < TIMEOUT / 2).max();
        assert!(
            last.is_some_and(|last| last < TIMEOUT / 8),
            "no write was under way: {last:?}"
        );
        let first = ended.iter().map(after).find(|it| *it > TIMEOUT / 2);
        let first = first.expect("writes that go on");
        // And from then on without a pause.
        let mut before = first;
        for next in ended.iter().map(after).filter(|it| *it > first) {
            assert!(next - before < TIMEOUT / 4, "a pause after {before:?}");
            before = next;
        }
        assert!(before > TIMEOUT * 2, "nothing after {before:?}");
        Outage {
            noticed,
            resumed: first.saturating_sub(noticed),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When the log says that the peer was given up: the times of day.
fn noticed(cluster: &Cluster, node: Node) -> Vec<Duration> {
    let log = cluster.log(node);
    let lines = log.lines().filter(|line| line.contains("disconnected:"));
    lines
        .filter_map(|line| {
            let time = line.split_once('T')?.1.split_once('Z')?.0;
            let [hours, minutes, seconds] = [0, 1, 2].map(|at| time.split(':').nth(at));
            let whole = hours?.parse::<u64>().ok()? * 3600 + minutes?.parse::<u64>().ok()? * 60;
            let seconds = Duration::try_from_secs_f64(seconds?.parse().ok()?).ok()?;
            Some(Duration::from_secs(whole) + seconds)
        })
        .collect()
}

fn roles() {
    let network = Network::new();
    for mode in ["fullsync", "memsync", "async"] {
        // It is not given up meanwhile.
        let mut cluster = network.cluster(&format!("replication {mode} timeout 60"));
        cluster.start_in_roles(Ada);
        let load = busy(&cluster, Ada);
        network.cut();
        thread::sleep(Duration::from_millis(500));
        change(&cluster, Ada, "secondary");
        change(&cluster, Bob, "primary");
        assert!(load.stop().is_err(), "writes go on without a device");
        network.mend();
        cluster.wait_until_synchronised(Bob);
        cluster.check_equal();
    }
}

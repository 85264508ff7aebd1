//! `carpd` as its operator meets it: what it tells systemd and the log, what signals do, and with
//! how little it makes do.

use core::time::Duration;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::SECONDS;
use crate::network::capture::{Capture, Packet};
use crate::network::daemons::{Carpd, Host, Launch, SHARED, changes};
use crate::network::packet::Mac;
use crate::network::{Confines, Lab, pass, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(8);
/// Nobody, who owns nothing.
const NOBODY: u32 = 65534;

/// systemd, as far as a service sees it.
struct Manager {
    socket: UnixDatagram,
    /// What it was told, and when.
    told: Vec<(Instant, String)>,
}

impl Manager {
    /// Listens in a laboratory, with a queue of no more than ten messages.
    fn listen(lab: &Lab) -> Self {
        let node = lab.node(1);
        node.sysctl("unix/max_dgram_qlen", "10");
        let path = lab.file("notify");
        let socket = node
            .namespace()
            .enter(|| UnixDatagram::bind(path).expect("a socket"));
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a time limit");
        Self {
            socket,
            told: Vec::new(),
        }
    }

    /// Waits for a message in which a line begins so, and returns its number.
    fn await_line(&mut self, beginning: &str, from: usize) -> usize {
        let start = Instant::now();
        loop {
            let is_it = |(_, text): &(_, String)| text.lines().any(|l| l.starts_with(beginning));
            if let Some(at) = self.told[from..].iter().position(is_it) {
                return from + at;
            }
            assert!(
                start.elapsed() < LIMIT,
                "{beginning:?} is not in {:?}",
                &self.told[from..]
            );
            self.read();
        }
    }

    /// Reads a message, if there is one soon.
    fn read(&mut self) {
        let mut buffer = [0; 1024];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.told.push((Instant::now(), text));
            }
            // Signals of other tests interrupt it, too.
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
                "{error}"
            ),
        }
    }

    /// Reads for a while, and returns how often the watchdog was fed in it.
    fn pings(&mut self, time: Duration) -> usize {
        let from = self.told.len();
        let start = Instant::now();
        while start.elapsed() < time {
            self.read();
        }
        let told = self.told[from..].iter();
        told.filter(|(_, text)| text == "WATCHDOG=1\n").count()
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn systemd_is_told_and_not_waited_for() {
    let lab = Lab::new(1);
    let mut manager = Manager::listen(&lab);
    let path = lab.file("notify").display().to_string();
    let environment = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "600000")];
    let mut launch = Launch::default();
    launch.confines.environment = &environment;
    let carpd = Carpd::launch(&lab, 1, &[Host::new(0)], &launch);

    let ready = manager.await_line("READY=1", 0);
    let backup = manager.await_line("STATUS=1 BACKUP: 1@eth0 BACKUP", ready);
    manager.await_line("STATUS=1 MASTER: 1@eth0 MASTER", backup);

    // A ping each 200 ms, and none from a daemon that hangs.
    let pings = manager.pings(SECONDS * 2);
    assert!((7..=11).contains(&pings), "{pings} pings in 2 s");
    carpd.process().signal(Signal::SIGSTOP);
    manager.pings(SECONDS / 2);
    assert_eq!(manager.pings(SECONDS), 0);
    carpd.process().signal(Signal::SIGCONT);
    carpd.await_state("MASTER", LIMIT);

    let before = manager.told.len();
    carpd.process().signal(Signal::SIGHUP);
    let reloading = manager.await_line("RELOADING=1", before);
    let text = &manager.told[reloading].1;
    assert!(text.contains("\nMONOTONIC_USEC="), "{text:?}");
    manager.await_line("READY=1", reloading);

    // A manager that does not read costs nothing but what it is told.
    lab.await_holder(1, SHARED, LIMIT);
    let changes = carpd.changes();
    let deaf_until = Instant::now() + SECONDS * 5;
    while Instant::now() < deaf_until {
        assert_eq!(carpd.states(), ["MASTER"]);
        assert!(lab.node(1).has(SHARED));
        pass(Duration::from_millis(100));
    }
    assert_eq!(carpd.changes(), changes);
    let backlog = manager.told.len() + 11;
    while manager.told.len() < backlog {
        manager.read();
    }
    assert!(manager.pings(SECONDS * 2) >= 7);

    let before = manager.told.len();
    carpd.stop();
    manager.await_line("STOPPING=1", before);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_signal_logs_the_status() {
    let lab = Lab::new(1);
    let other = Host {
        vhid: 7,
        addresses: vec!["192.0.2.7/24".to_owned()],
        ..Host::new(20)
    };
    let carpd = Carpd::launch(&lab, 1, &[Host::new(0), other], &Launch::default());
    carpd.await_state("MASTER", LIMIT);
    lab.await_holder(1, "192.0.2.7", LIMIT);
    let before = carpd.log().len();
    carpd.process().signal(Signal::SIGUSR1);
    let dump = || carpd.log().split_off(before);
    wait_until("the last line of the dump", LIMIT, || {
        dump().contains("stats=")
    });
    let dump = dump();
    for (vhid, address, advskew) in [(1, SHARED, 0), (7, "192.0.2.7", 20)] {
        let line = dump
            .lines()
            .find(|line| line.contains(&format!("vhid={vhid} ")));
        let line = line.unwrap_or_else(|| panic!("no vhid {vhid} in\n{dump}"));
        for part in [
            "interface=eth0".to_owned(),
            "state=MASTER".to_owned(),
            format!("addresses=[{address}]"),
            format!("serving=Some([{address}])"),
            format!("advskew {advskew}"),
        ] {
            assert!(line.contains(&part), "{part} is not in {line}");
        }
    }
    assert_eq!(carpd.states(), ["MASTER", "MASTER"]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_log_gives_the_reason_of_each_change_of_state() {
    let lab = Lab::new(2);
    let json = Launch {
        options: &["--log-format", "json"],
        ..Launch::default()
    };
    let carpd = Carpd::launch(&lab, 1, &[Host::new(100)], &json);
    let mut told = 0;
    let mut tells = |expected: &str| {
        wait_for(
            LIMIT,
            || format!("{expected}, after {:?}", carpd.changes()),
            || carpd.changes().len() > told,
        );
        assert_eq!(carpd.changes()[told], expected);
        told += 1;
    };
    tells("INIT -> BACKUP (initialization complete)");
    tells("BACKUP -> MASTER (master timed out)");

    let better = Carpd::start(&lab, 2, &Host::new(0));
    tells("MASTER -> BACKUP (more frequent advertisement received)");
    better.stop();
    // By a farewell, which announces an interval that is worse than ours.
    tells("BACKUP -> MASTER (preempting a slower master)");

    carpd.process().signal(Signal::SIGUSR2);
    tells("MASTER -> BACKUP (user requested via ifconfig)");
    tells("BACKUP -> MASTER (master timed out)");

    let inside = lab.node(1).namespace();
    inside.ip("link set eth0 down");
    tells("MASTER -> INIT (hardware interface down)");
    inside.ip("link set eth0 up");
    tells("INIT -> BACKUP (initialization complete)");

    // What caused a change is named, too, in fields that a program can read.
    let lines: Vec<Value> = carpd
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let changes: Vec<_> = lines
        .iter()
        .filter(|line| line["reason"].is_string() && line["to"].is_string())
        .collect();
    assert_eq!(changes.len(), told);
    let yielding = changes[2];
    assert_eq!(yielding["host"], "1@eth0");
    assert_eq!(
        (&yielding["from"], &yielding["to"]),
        (&json!("MASTER"), &json!("BACKUP"))
    );
    assert_eq!(yielding["reason"], "more frequent advertisement received");
    assert_eq!(yielding["source"], lab.node(2).ipv4().to_string());
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn stepping_down_and_reloading_are_no_accidents() {
    let lab = Lab::new(2);
    let patient = |advskew| Host {
        preempt: false,
        ..Host::new(advskew)
    };
    let master = Carpd::start(&lab, 1, &patient(0));
    master.await_state("MASTER", LIMIT);
    let backup = Carpd::start(&lab, 2, &patient(100));
    backup.await_state("BACKUP", LIMIT);
    let changes_of_first = |carpd: &Carpd| {
        let log = carpd.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("1@eth0")).collect();
        changes(&lines.join("\n"))
    };
    // The control socket may tell a state before the log does.
    for carpd in [&master, &backup] {
        wait_until("the first change in the log", LIMIT, || {
            !changes_of_first(carpd).is_empty()
        });
    }
    let before = [&master, &backup].map(changes_of_first);
    let answers = |text: &str, times: usize| {
        for carpd in [&master, &backup] {
            wait_for(
                LIMIT,
                || format!("{text:?} {times} times in\n{}", carpd.log()),
                || carpd.log().matches(text).count() == times,
            );
        }
    };

    let capture = Capture::start(&lab);
    let own = |node: u8| lab.node(node).ipv4();
    let with_peer = |host: Host, peer: u8| Host {
        more: format!("peers = [\"{}\"]\n", own(peer)),
        ..host
    };
    let with_address = |mut host: Host| {
        host.addresses.push("192.0.2.5/24".to_owned());
        host
    };
    let other = || Host {
        vhid: 2,
        addresses: vec!["192.0.2.2/24".to_owned()],
        ..Host::new(0)
    };
    // Another pace, other peers, another address, a host more, and one less again.
    let steps: [&dyn Fn(u8, u8) -> Vec<Host>; 5] = [
        &|_, advskew| vec![patient(advskew)],
        &|peer, advskew| vec![with_peer(patient(advskew), peer)],
        &|peer, advskew| vec![with_address(with_peer(patient(advskew), peer))],
        &|peer, advskew| vec![with_address(with_peer(patient(advskew), peer)), other()],
        &|_, advskew| vec![with_address(patient(advskew))],
    ];
    for (step, number) in steps.iter().zip(1..) {
        master.reload(&step(2, 50));
        backup.reload(&step(1, 150));
        answers("the new configuration is in force", number);
        // A host that is new finds out that it is alone.
        pass(SECONDS * if number == 4 { 6 } else { 2 });
    }
    // What is wrong changes nothing.
    for carpd in [&master, &backup] {
        carpd.reload_text("[[host]]\nnonsense = true\n");
    }
    answers("the former configuration stays in force", 1);
    pass(SECONDS * 2);

    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let first: Vec<_> = recording
        .packets
        .iter()
        .filter(|packet| packet.carp().is_some_and(|view| view.vhid() == 1))
        .collect();
    assert!(first.iter().all(|packet| packet.source == own(1)));
    let to_peer = |packet: &&&Packet| packet.destination == own(2);
    let peer = first.iter().filter(to_peer).count();
    assert!(peer >= 3, "{peer} packets to the peer");
    let group: Vec<_> = first.iter().filter(|packet| !to_peer(packet)).collect();
    let longest = group.windows(2).map(|pair| pair[1].at - pair[0].at).max();
    let longest = longest.expect("two advertisements");
    // 1 s + 50/256 s, and what a busy machine adds.
    assert!(longest <= SECONDS * 14 / 10, "a pause of {longest:?}");
    let last = first.last().and_then(|packet| packet.carp());
    assert_eq!(last.unwrap().advskew().get(), 50);
    assert!(
        recording.packets.len() > first.len(),
        "the second host, too"
    );
    for (carpd, before) in [&master, &backup].into_iter().zip(before) {
        assert_eq!(changes_of_first(carpd), before);
    }
    assert_eq!(master.states(), ["MASTER"]);
    lab.await_holder(1, SHARED, SECONDS);
    lab.await_holder(1, "192.0.2.5", SECONDS);
    assert_eq!(lab.holders("192.0.2.2"), [0; 0]);

    master.process().signal(Signal::SIGUSR2);
    backup.await_state("MASTER", SECONDS * 2);
    lab.await_holder(2, SHARED, SECONDS);
    assert_eq!(master.states(), ["BACKUP"]);
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn two_capabilities_are_enough_for_a_user_who_owns_nothing() {
    /// CAP_NET_ADMIN and CAP_NET_RAW (capability.h).
    const BOTH: &str = "0000000000003000";
    let lab = Lab::new(1);
    let mut host = Host::new(0);
    host.addresses.push("2001:db8::1/64".to_owned());
    host.more = "macvlan = true\n".to_owned();
    let launch = Launch {
        confines: Confines {
            capabilities: &["net_raw", "net_admin"],
            user: Some(NOBODY),
            ..Confines::default()
        },
        ..Launch::default()
    };
    let capture = Capture::start(&lab);
    let carpd = Carpd::launch(&lab, 1, &[host], &launch);
    let status = carpd.process().proc("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
    };
    assert!(field("Uid:").split_whitespace().all(|id| id == "65534"));
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(field(set), BOTH, "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");

    carpd.await_state("MASTER", LIMIT);
    for address in [SHARED, "2001:db8::1"] {
        lab.await_holder(1, address, LIMIT);
        assert_eq!(lab.answers(address), [Mac([0, 0, 0x5e, 0, 1, 1])]);
    }
    let complaints: Vec<_> = carpd
        .log()
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains("ERROR"))
        .map(str::to_owned)
        .collect();
    assert_eq!(complaints, [""; 0]);
    carpd.stop();
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    assert_eq!(lab.holders(SHARED), [0; 0]);
}

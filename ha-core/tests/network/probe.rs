//! A client that asks the shared address once per millisecond, and how long nobody answered.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use nix::unistd::gettid;

use super::{Lab, Node, wait_for};

const PORT: u16 = 7;
/// Between two probes.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// Echo servers on all nodes, and the client.
pub(crate) struct Prober {
    log: Mutex<Log>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the client has told so far. It never waits for whoever reads: a thread without precedence
/// that holds a lock can be kept from the processor for milliseconds.
struct Log {
    notes: Receiver<Note>,
    probes: Vec<Probe>,
}

enum Note {
    Asked(Instant),
    Answered { question: u32, by: u8 },
}

/// A question, and which node answered it.
#[derive(Clone, Copy, Debug)]
struct Probe {
    sent: Instant,
    answered_by: Option<u8>,
}

/// A time without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// When the last question before was asked that was answered.
    pub(crate) from: Instant,
    /// From then to the first one after.
    pub(crate) length: Duration,
    /// The part of it that is not the daemons' doing: the client was late where it begins and
    /// ends.
    pub(crate) jitter: Duration,
}

impl Prober {
    /// Starts asking `address`.
    pub(crate) fn start(lab: &Lab, address: &str) -> Self {
        let address = address.parse().expect("an IPv4 address");
        // What the client has learnt stays as it is until somebody tells it better: neither does
        // it forget by itself, nor do packets wait for an answer to ARP and arrive late.
        let client = lab.client();
        client.sysctl("ipv4/neigh/eth0/base_reachable_time_ms", "3600000");
        client.sysctl("ipv4/neigh/eth0/delay_first_probe_time", "3600");
        client.sysctl("ipv4/neigh/eth0/unres_qlen_bytes", "0");

        let ended = Arc::new(AtomicBool::new(false));
        let mut threads: Vec<_> = lab
            .nodes()
            .iter()
            .map(|node| serve(node, address, Arc::clone(&ended)))
            .collect();
        let socket = client
            .namespace()
            .enter(|| UdpSocket::bind((client.ipv4(), 0)).expect("a socket"));
        socket.set_nonblocking(true).expect("a socket");
        let (client, notes) = mpsc::channel();
        let asking = Arc::clone(&ended);
        threads.push(thread::spawn(move || {
            hurry();
            ask(&socket, (address, PORT).into(), &client, &asking);
        }));
        Self {
            log: Mutex::new(Log {
                notes,
                probes: Vec::new(),
            }),
            ended,
            threads,
        }
    }

    /// Waits until a question that was asked after `since` has been answered by this node.
    pub(crate) fn await_answer(&self, node: u8, since: Instant, limit: Duration) {
        wait_for(
            limit,
            || format!("an answer from node {node}; the last was {:?}", self.last()),
            || {
                let probes = &self.log().probes;
                let recent = probes.iter().rev().take_while(|probe| probe.sent > since);
                let mut answers = recent.filter_map(|probe| probe.answered_by);
                answers.next() == Some(node)
            },
        );
    }

    /// Who answered last.
    pub(crate) fn last(&self) -> Option<u8> {
        let probes = &self.log().probes;
        probes.iter().rev().find_map(|probe| probe.answered_by)
    }

    /// The longest outage that ended after `since`.
    pub(crate) fn longest(&self, since: Instant) -> Outage {
        let probes = &self.log().probes;
        let mut longest = Outage {
            from: since,
            length: Duration::ZERO,
            jitter: Duration::ZERO,
        };
        let mut answered: Option<usize> = None;
        for (index, probe) in probes.iter().enumerate() {
            if probe.answered_by.is_none() {
                continue;
            }
            if let Some(before) = answered {
                let length = probe.sent - probes[before].sent;
                if probe.sent > since && length > longest.length {
                    longest = Outage {
                        from: probes[before].sent,
                        length,
                        jitter: jitter(&probes[before..=index]),
                    };
                }
            }
            answered = Some(index);
        }
        longest
    }

    /// Everything up to now.
    fn log(&self) -> MutexGuard<'_, Log> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Log { notes, probes } = &mut *log;
        for note in notes.try_iter() {
            match note {
                Note::Asked(sent) => probes.push(Probe {
                    sent,
                    answered_by: None,
                }),
                Note::Answered { question, by } => {
                    if let Some(probe) = probes.get_mut(question as usize) {
                        probe.answered_by = Some(by);
                    }
                }
            }
        }
        log
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Gives this thread precedence, so that what is measured are the daemons and not itself.
pub(crate) fn hurry() {
    let status = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &gettid().to_string()])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "a thread in a hurry"
    );
}

/// By how much the client itself has lengthened an outage that lies between the first and the last
/// of these questions: it was late with the first one that was lost, and with the last one. When
/// it is late in between, nothing becomes longer.
fn jitter(probes: &[Probe]) -> Duration {
    let late = |pair: &[Probe]| (pair[1].sent - pair[0].sent).saturating_sub(PERIOD);
    match probes.len() {
        0 | 1 => Duration::ZERO,
        2 => late(probes),
        all => late(&probes[..2]) + late(&probes[all - 2..]),
    }
}

/// Answers from the shared address with the number of the node, whenever the node has it.
fn serve(node: &Node, address: Ipv4Addr, ended: Arc<AtomicBool>) -> JoinHandle<()> {
    let socket = node.namespace().enter(|| bind_ahead(address));
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a time limit");
    let number = node.number();
    thread::spawn(move || {
        hurry();
        let mut buffer = [0; 8];
        while !ended.load(Ordering::Relaxed) {
            if let Ok((4, client)) = socket.recv_from(&mut buffer) {
                buffer[4] = number;
                // It fails when the address has just gone, as it should.
                let _ = socket.send_to(&buffer[..5], client);
            }
        }
    })
}

/// A socket on an address that the host may not have yet.
fn bind_ahead(address: Ipv4Addr) -> UdpSocket {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    setsockopt(&fd, sockopt::IpFreebind, &true).expect("a socket");
    let [a, b, c, d] = address.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, PORT)).expect("a socket");
    fd.into()
}

/// Asks once per [`PERIOD`], and tells of questions and answers.
fn ask(socket: &UdpSocket, server: SocketAddr, notes: &Sender<Note>, ended: &AtomicBool) {
    let start = Instant::now();
    let mut buffer = [0; 8];
    for number in 0_u32.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let due = start + PERIOD * number;
        let sent = Instant::now();
        if let Some(early) = due.checked_duration_since(sent) {
            thread::sleep(early);
        }
        // Nobody reads any more when the lab is taken down.
        let _ = notes.send(Note::Asked(Instant::now()));
        // It fails while the address cannot be resolved.
        let _ = socket.send_to(&number.to_be_bytes(), server);
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let [a, b, c, d, by, ..] = buffer;
            let question = u32::from_be_bytes([a, b, c, d]);
            if length == 5 {
                assert_eq!(
                    from, server,
                    "the answer comes from where the question went"
                );
                let _ = notes.send(Note::Answered { question, by });
            }
        }
    }
}

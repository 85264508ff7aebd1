//! What a daemon needs of memory: little beside the requests under way, whatever its clients and
//! its peer do. Peers that mean harm are played by the test.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hast_proto::frame::{Decoder, Encoder, Frame, Phase};
use hast_proto::message::{
    Accepted, FirstAnswer, FirstStep, Opening, Request, SecondAnswer, SecondStep, Standing, Welcome,
};

use hast_proto::{
    Counters, ExtentSize, Length, Offset, Payload, ResourceId, ResourceName, Sequence, SyncSource,
    Token, Version,
};
use libtest_mimic::Trial;

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::load::{Load, Work};
use super::trial;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 128 * MIB;
/// What a daemon may have beside requests.
const LIMIT: u64 = 64 * MIB;
/// What requests of a peer may hold in one session, in octets.
const SESSION: u64 = 32 * MIB;
/// How long a peer does its worst.
const WHILE: Duration = Duration::from_secs(3);
/// Four clients, each with 32 writes of 1 MiB under way.
const WORK: Work = Work {
    clients: 4,
    depth: 32,
    octets: MIB as usize,
};
const UNDER_WAY: u64 = WORK.clients as u64 * WORK.depth as u64 * MIB;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("memory_under_full_load_fullsync", || full_load("fullsync")),
        trial("memory_under_full_load_async", || full_load("async")),
        trial("memory_beside_visitors_that_stay", visitors),
        trial(
            "memory_beside_a_primary_that_takes_no_answers",
            deaf_primary,
        ),
        trial("memory_beside_a_primary_that_comes_again", restless_primary),
        trial(
            "memory_beside_a_secondary_that_takes_nothing",
            deaf_secondary,
        ),
    ]
}

/// The most memory that a daemon has had since it began.
fn peak(cluster: &Cluster, node: Node) -> u64 {
    let path = format!("/proc/{}/status", cluster.pid(node).as_raw_nonzero());
    let status = fs::read_to_string(path).expect("a process of ours");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = number.and_then(|it| it.parse().ok()).expect("a number");
    kib << 10
}

fn check(cluster: &Cluster, node: Node, requests: u64) {
    let peak = peak(cluster, node);
    eprintln!("{}: {} MiB at most", node.name(), peak / MIB);
    assert!(
        peak < LIMIT + requests,
        "{} MiB, of which requests may have {} MiB",
        peak / MIB,
        requests / MIB
    );
}

fn full_load(mode: &str) {
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode}"));
    cluster.start_in_roles(Ada);
    let load = Load::start(&cluster.device(Ada), WORK);
    wait_until("there is something to do", || load.count() > 200);
    thread::sleep(WHILE);
    load.stop().expect("no write fails");
    check(&cluster, Ada, UNDER_WAY);
    check(&cluster, Bob, SESSION);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn name() -> ResourceName {
    ResourceName::new("shared").expect("a name")
}

fn octets(opening: &Opening) -> Bytes {
    opening.encode(Version::V1, &mut Encoder::new()).concat()
}

fn first_step() -> Opening {
    Opening::First(FirstStep {
        resource: name(),
        version: Some(2),
    })
}

fn hear(stream: &mut TcpStream, phase: Phase) -> io::Result<Frame> {
    let mut decoder = Decoder::new(phase);
    let mut buffer = BytesMut::new();
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        buffer.extend_from_slice(&octet);
    }
}

/// Opens a session as a new primary.
fn session(secondary: SocketAddr) -> io::Result<(TcpStream, TcpStream)> {
    let mut first = TcpStream::connect(secondary)?;
    first.write_all(&octets(&first_step()))?;
    let answer = FirstAnswer::decode(&hear(&mut first, Phase::Answer)?);
    let Ok(FirstAnswer::Welcome(welcome)) = answer else {
        return Err(io::Error::other(format!("{answer:?}")));
    };
    let mut second = TcpStream::connect(secondary)?;
    let step = Opening::Second(SecondStep {
        resource: name(),
        token: welcome.token,
        virgin: true,
        resource_id: ResourceId::new(5),
        counters: Counters::default(),
        reunion: None,
    });
    second.write_all(&octets(&step))?;
    hear(&mut first, Phase::Answer)?;
    Ok((first, second))
}

/// A write of 1 MiB, and a read.
fn requests() -> [Bytes; 2] {
    let sequence = Sequence::SYNCHRONISATION.next();
    let (offset, length) = (Offset::new(0), Length::new(MIB));
    let data = Bytes::from(vec![7; MIB as usize]);
    let write = Request::Write {
        sequence,
        offset,
        length,
        memsync: true,
        payload: Payload::plain(data).expect("a payload"),
    };
    let read = Request::Read {
        sequence,
        offset,
        length,
    };
    [write, read].map(|it| it.encode(Version::V2, &mut Encoder::new()).concat())
}

/// Says something again and again, until it is not listened to any more or the time is over.
fn repeat(stream: &mut TcpStream, what: &[u8]) {
    let pause = Duration::from_millis(100);
    stream.set_write_timeout(Some(pause)).expect("a timeout");
    let end = Instant::now() + WHILE;
    let mut rest = what;
    while Instant::now() < end {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if rest.is_empty() {
            rest = what;
        }
    }
}

fn secondary() -> Cluster {
    // Zeroes are sent as they are.
    let mut cluster = Cluster::new(SIZE, "timeout 5 compression none");
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster
}

/// Connections that say nothing, half of something, or that they will go on, and then stay.
fn visitors() {
    let cluster = secondary();
    let first = octets(&first_step());
    // The longest list that there may be, of which the last octet is missing.
    let mut long = vec![2, 0, 0x10, 0, 0];
    long.resize(5 + 4095, 0);
    let mut visitors = Vec::new();
    for number in 0..600 {
        let Ok(mut stream) = TcpStream::connect(cluster.address(Bob)) else {
            continue;
        };
        let says: &[u8] = match number % 4 {
            0 => b"",
            1 => &first[..first.len() - 1],
            2 => &long,
            _ => &first,
        };
        let _ = stream.write_all(says);
        visitors.push(stream);
        if number % 100 == 99 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    check(&cluster, Bob, 0);
    drop(visitors);
    wait_until("they are forgotten", || {
        session(cluster.address(Bob)).is_ok()
    });
}

/// A session in which requests come without end, and no answer is ever taken.
fn deaf_primary() {
    for request in requests() {
        let cluster = secondary();
        let (mut first, second) = session(cluster.address(Bob)).expect("a session");
        repeat(&mut first, &request);
        check(&cluster, Bob, SESSION);
        drop((first, second));
    }
}

/// The same, but that one session is left for the next as soon as it holds something; the answers
/// of none are taken.
fn restless_primary() {
    let cluster = secondary();
    let [_, read] = requests();
    let reads = read.repeat(64);
    let mut left = Vec::new();
    let end = Instant::now() + 2 * WHILE;
    while Instant::now() < end {
        let Ok((mut first, second)) = session(cluster.address(Bob)) else {
            continue;
        };
        let _ = first.write_all(&reads);
        thread::sleep(Duration::from_millis(100));
        left.push(second);
    }
    eprintln!("{} sessions", left.len());
    assert!(left.len() > 3, "only {} sessions", left.len());
    check(&cluster, Bob, SESSION);
}

/// A secondary that agrees to everything, and then neither reads nor answers.
fn deaf_secondary() {
    let mut cluster = Cluster::bare("");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("an address");
    let there = listener.local_addr().expect("an address");
    let here = cluster.address(Ada);
    cluster.place([here, there], "replication async timeout 2");
    cluster.make_provider(Ada, SIZE);
    cluster.prepare_provider(Ada);
    cluster.start(Ada);
    let sessions = thread::spawn(move || {
        let mut sessions = Vec::new();
        let end = Instant::now() + 3 * WHILE;
        listener.set_nonblocking(true).expect("a listener");
        while Instant::now() < end {
            if let Ok(session) = agree(&listener, end) {
                sessions.push(session);
            }
        }
        sessions
    });
    cluster.role(Ada, "primary");
    let load = Load::start(&cluster.device(Ada), WORK);
    let sessions = sessions.join().expect("no panic");
    assert!(sessions.len() > 1, "{} sessions", sessions.len());
    check(&cluster, Ada, UNDER_WAY);
    load.stop().expect("no write fails");
}

fn agree(listener: &TcpListener, end: Instant) -> io::Result<(TcpStream, TcpStream)> {
    let mut first = accept(listener, end)?;
    hear(&mut first, Phase::Opening)?;
    let welcome = FirstAnswer::Welcome(Welcome {
        version: Some(Version::V2),
        token: Token::new([7; 16]),
        reunion: false,
    });
    first.write_all(&welcome.encode(&mut Encoder::new()).concat())?;
    let mut second = accept(listener, end)?;
    let Ok(Opening::Second(step)) = Opening::decode(&hear(&mut second, Phase::Opening)?) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let accepted = SecondAnswer::Accepted(Accepted {
        standing: Standing {
            data_size: Length::new(SIZE - 4608),
            extent_size: ExtentSize::DEFAULT,
            counters: step.counters,
        },
        virgin: false,
        source: SyncSource::Primary,
        map: None,
    });
    let accepted = accepted.encode(Version::V2, &mut Encoder::new()).concat();
    first.write_all(&accepted)?;
    Ok((first, second))
}

fn accept(listener: &TcpListener, end: Instant) -> io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

//! A client that sends one record after the other for as long as it runs, and takes note of every
//! acknowledgement.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::namespace::Namespace;
use super::network::{Network, SERVICE, Side};
use super::service::{self, Answer, Record};

/// Between two records.
pub(crate) const PERIOD: Duration = Duration::from_millis(5);
/// How long an answer, or a connection, may take before it is tried again. That it is short keeps
/// the measurement of an outage sharp.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a client heard of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
    pub(crate) at: Instant,
}

/// A running client.
pub(crate) struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    namespace: Arc<Namespace>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<Heard>>,
    paused: AtomicBool,
    ended: AtomicBool,
}

impl Client {
    /// Starts a client beside a node.
    pub(crate) fn start(network: &Network, side: Side) -> Self {
        let namespace = Arc::new(network.client(side));
        let shared = Arc::new(Shared::default());
        let stream = side.id();
        let (inside, notes) = (namespace.clone(), shared.clone());
        let thread = thread::spawn(move || inside.enter(|| send(stream, &notes)));
        Self {
            shared,
            thread: Some(thread),
            namespace,
        }
    }

    /// All that was heard since the first so many.
    pub(crate) fn heard_since(&self, count: usize) -> Vec<Heard> {
        let heard = self.shared.heard.lock();
        let heard = heard.unwrap_or_else(PoisonError::into_inner);
        heard.get(count..).unwrap_or_default().to_vec()
    }

    /// How much was heard.
    pub(crate) fn count(&self) -> usize {
        let heard = self.shared.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The last that was heard.
    pub(crate) fn last(&self) -> Option<Heard> {
        let heard = self.shared.heard.lock();
        heard
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .copied()
    }

    /// Sends no further records for a while, or goes on. One may still be under way.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Asks the service for its log.
    pub(crate) fn dump(&self) -> io::Result<Vec<Record>> {
        self.namespace.enter(|| {
            let mut stream = connect()?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            service::dump(&mut stream)
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "the client panicked"
        );
    }
}

fn connect() -> io::Result<TcpStream> {
    let server = SocketAddr::new(SERVICE.parse().expect("an address"), service::PORT);
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends each record until it is acknowledged, then the next.
fn send(stream: u8, notes: &Shared) {
    let mut connection = None;
    let mut due = Instant::now();
    for number in 1.. {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        while notes.paused.load(Ordering::Relaxed) && !notes.ended.load(Ordering::Relaxed) {
            thread::sleep(PERIOD);
        }
        due = due.max(Instant::now() - PERIOD) + PERIOD;
        let record = Record { stream, number };
        let answer = loop {
            if notes.ended.load(Ordering::Relaxed) {
                return;
            }
            match exchange(&mut connection, record) {
                Ok(answer) => break answer,
                Err(_) => {
                    connection = None;
                    thread::sleep(Duration::from_millis(2));
                }
            }
        };
        let mut heard = notes.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        heard.push(Heard { number, answer, at });
    }
}

fn exchange(connection: &mut Option<TcpStream>, record: Record) -> io::Result<Answer> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect()?),
    };
    stream.write_all(&record.octets())?;
    let mut answer = [0; Answer::LEN];
    stream.read_exact(&mut answer)?;
    Ok(Answer::parse(&answer))
}

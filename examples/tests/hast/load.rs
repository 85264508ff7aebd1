//! Clients that keep a node busy: each has many writes under way, and notes when they end.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::nbd::Client;
use super::writer::Random;

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) clients: usize,
    /// How many writes of each are under way.
    pub(crate) depth: usize,
    /// How long each write is.
    pub(crate) octets: usize,
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<JoinHandle<io::Result<()>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// When each write was acknowledged.
    ended: Mutex<Vec<Instant>>,
}

impl Load {
    /// Begins, and goes on until it is stopped or the device fails.
    pub(crate) fn start(socket: &Path, work: Work) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..work.clients as u64).map(|seed| {
            let (socket, shared) = (socket.to_owned(), shared.clone());
            thread::spawn(move || run(&socket, work, seed, &shared))
        });
        Self {
            clients: clients.collect(),
            shared,
        }
    }

    /// When writes were acknowledged, in order.
    pub(crate) fn ended(&self) -> Vec<Instant> {
        self.shared.ended.lock().expect("no panic").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.ended.lock().expect("no panic").len()
    }

    /// Ends the clients; whether the device worked to the end for all of them.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let clients = self.clients.into_iter();
        let ended: Vec<_> = clients.map(|it| it.join().expect("no panic")).collect();
        ended.into_iter().collect()
    }
}

fn run(socket: &Path, work: Work, seed: u64, shared: &Shared) -> io::Result<()> {
    let mut client = Client::connect(socket, "shared")?;
    let mut random = Random(seed);
    let data: Vec<u8> = (0..work.octets).map(|_| random.next() as u8).collect();
    let places = client.size() / work.octets as u64;
    let mut under_way = 0;
    loop {
        let goes_on = !shared.stop.load(Ordering::SeqCst);
        while goes_on && under_way < work.depth {
            client.begin_write(random.below(places) * work.octets as u64, &data)?;
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        client.answer()?;
        under_way -= 1;
        let mut ended = shared.ended.lock().expect("no panic");
        ended.push(Instant::now());
    }
}

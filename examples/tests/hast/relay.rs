//! A relay between the two nodes, which can be cut.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const NO_LIMIT: u64 = u64::MAX;

/// Hands on whatever comes to its address. It lives as long as the process: its thread waits for
/// connections, and takes nobody's time.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Mutex<Vec<TcpStream>>,
    is_down: AtomicBool,
    /// How many more octets are handed on before nothing is any more.
    left: AtomicU64,
}

impl Relay {
    pub(crate) fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        state.left.store(NO_LIMIT, Ordering::SeqCst);
        let relay = Self {
            address,
            state: state.clone(),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever is not there is not there for the relay's client either.
                let _ = state.join(client, target);
            }
        });
        Ok(relay)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; the next may come at once.
    pub(crate) fn cut(&self) {
        for stream in self.state.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections, and takes none until [`up`](Self::up).
    pub(crate) fn down(&self) {
        self.state.is_down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn up(&self) {
        self.state.left.store(NO_LIMIT, Ordering::SeqCst);
        self.state.is_down.store(false, Ordering::SeqCst);
    }

    /// Hands on so many octets more, and then nothing, but ends no connection: most likely
    /// within a frame.
    pub(crate) fn stall_after(&self, octets: u32) {
        self.state.left.store(octets.into(), Ordering::SeqCst);
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, target: SocketAddr) -> io::Result<()> {
        if self.is_down.load(Ordering::SeqCst) {
            return Ok(());
        }
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut open = self.open.lock().expect("no panic");
        open.push(client.try_clone()?);
        open.push(server.try_clone()?);
        drop(open);
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let state = self.clone();
            thread::spawn(move || state.copy(from, to));
        }
        Ok(())
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..self.take(count)]).is_err() {
                break;
            }
            while self.left.load(Ordering::SeqCst) == 0 && !self.is_cut(&to) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// How many of so many octets may be handed on.
    fn take(&self, count: usize) -> usize {
        let take = |left: u64| match left {
            NO_LIMIT => None,
            left => Some(left.saturating_sub(count as u64)),
        };
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
        {
            Ok(left) => count.min(left as usize),
            Err(_) => count,
        }
    }

    /// Whether a stream has been ended.
    fn is_cut(&self, stream: &TcpStream) -> bool {
        stream.peer_addr().is_err() || self.open.lock().expect("no panic").is_empty()
    }
}

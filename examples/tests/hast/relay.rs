//! A relay between the two nodes, which can be cut.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

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
    /// How many more octets are handed on before nothing is any more; negative: no limit.
    left: AtomicI64,
}

impl Relay {
    pub(crate) fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        state.left.store(-1, Ordering::SeqCst);
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
        self.state.left.store(-1, Ordering::SeqCst);
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
            let mut count = count as i64;
            if self.left.load(Ordering::SeqCst) >= 0 {
                let left = self.left.fetch_sub(count, Ordering::SeqCst).max(0);
                self.left.fetch_max(0, Ordering::SeqCst);
                count = count.min(left);
            }
            if to.write_all(&buffer[..count as usize]).is_err() {
                break;
            }
            while self.left.load(Ordering::SeqCst) == 0 && !self.is_cut(&to) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Whether a stream has been ended.
    fn is_cut(&self, stream: &TcpStream) -> bool {
        stream.peer_addr().is_err() || self.open.lock().expect("no panic").is_empty()
    }
}

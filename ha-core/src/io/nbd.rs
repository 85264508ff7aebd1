//! A server of block devices for [NBD] clients. Feature `nbd`.
//!
//! Any number of devices, each under a name, over UNIX and TCP sockets; they can be added and
//! removed while it runs. What it understands is said with the [protocol](crate::nbd).
//!
//! Whoever connects to a socket is trusted with the devices: NBD without TLS authenticates
//! nobody. Bind to a UNIX socket or to an address that only those reach who may.
//!
//! # What may go wrong
//!
//! - **The device answers [`NotConnected`](std::io::ErrorKind::NotConnected).** The client is told
//!   `ESHUTDOWN`, and the connection stays.
//! - **An export is removed.** What its clients have under way is answered, then their
//!   connections are closed. Clients that reconnect are told that there is no such export until
//!   there is one again.
//! - **The server is killed.** Nothing that was answered and flushed is lost. Clients that
//!   reconnect send again what was not answered.
//! - **A client stands still**, within a request, or with replies that it does not read: after
//!   [`Limits::stall`] it is disconnected.
//!
//! [NBD]: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md

mod connection;
mod counters;
mod export;
mod inflight;
mod listener;
mod memory;
mod perform;

use core::fmt;
use core::num::{NonZeroU32, NonZeroUsize};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::nbd::{HandshakeError, RequestError};
use connection::Connection;
pub use counters::Counters;
use counters::Tally;
use export::Entry;
pub use export::{Export, ExportError};
pub use listener::Listener;
use memory::Share;

/// How long nothing is accepted after that has failed, for want of file descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// What clients may take of the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at the same time. Who comes after that is turned away.
    pub connections: usize,
    /// Requests under way at the same time, of each connection. Each may, besides its data, keep
    /// 64 KiB from being used again.
    pub requests: NonZeroUsize,
    /// The longest READ or WRITE, in octets. Clients that do not ask may send up to 32 MiB, which
    /// is the default; if it is less, longer ones are refused.
    pub longest: NonZeroU32,
    /// The octets of the READ and WRITE requests of one connection that are under way.
    pub octets: NonZeroU32,
    /// The same of all connections.
    pub octets_in_all: NonZeroU32,
    /// How long a client may take to choose an export.
    pub handshake: Duration,
    /// How long a client may keep us waiting in the middle of something.
    pub stall: Duration,
}

impl Default for Limits {
    /// 64 connections with 128 requests each, up to 32 MiB long; 64 MiB in each connection, 256
    /// in all; 10 seconds to choose, 60 to stand still.
    fn default() -> Self {
        const fn mebi(count: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add((count << 20) - 1)
        }
        Self {
            connections: 64,
            requests: NonZeroUsize::MIN.saturating_add(127),
            longest: mebi(32),
            octets: mebi(64),
            octets_in_all: mebi(256),
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The longest request that there can be memory for.
    fn longest_request(&self) -> NonZeroU32 {
        self.longest.min(self.octets).min(self.octets_in_all)
    }
}

/// Why a connection has ended, unless it was the client who ended it properly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The client does not keep to the protocol in its handshake.
    #[error("in the handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The client does not keep to the protocol.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client has closed the connection in the middle of something.
    #[error("the client has closed the connection in the middle of a message")]
    Truncated,
    /// The client has not chosen an export in time.
    #[error("no export was chosen within {limit:?}")]
    Undecided {
        /// The limit.
        limit: Duration,
    },
    /// The client stands still in the middle of something.
    #[error("the client has stood still for {limit:?} in the middle of a message")]
    Stalled {
        /// The limit.
        limit: Duration,
    },
    /// The socket has failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// The device has panicked.
    #[error("the device has panicked")]
    Panicked,
}

/// An NBD server; clones are the same one.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use ha_core::io::block::MemoryDevice;
/// use ha_core::io::nbd::{Export, Limits, Listener, Server};
///
/// let server = Server::new(Limits::default());
/// server.add(Export::new("scratch", Arc::new(MemoryDevice::new(1 << 30))))?;
///
/// # let folder = std::env::temp_dir();
/// # let path = folder.join(format!("ha-core-nbd-{}", std::process::id()));
/// let listener = Listener::unix(&path).await?;
/// let running = tokio::spawn({
///     let server = server.clone();
///     async move { server.run(listener, |why| eprintln!("{why}")).await }
/// });
///
/// // nbdinfo "nbd+unix:///scratch?socket=..."
///
/// // Closes the connections to it, when what is under way is done.
/// server.remove("scratch").await;
/// running.abort();
/// # std::fs::remove_file(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    tally: Tally,
    exports: Mutex<Arc<[Entry]>>,
    /// Octets that requests may still take.
    memory: Arc<Semaphore>,
    /// Connections that may still be accepted.
    places: Arc<Semaphore>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.shared.limits)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without exports, which nobody reaches yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let most = limits.connections.min(Semaphore::MAX_PERMITS);
        let octets = limits.octets_in_all.get() as usize;
        let memory = Semaphore::new(octets.min(Semaphore::MAX_PERMITS));
        Self {
            shared: Arc::new(Shared {
                limits,
                tally: Tally::default(),
                exports: Mutex::new(Arc::new([])),
                memory: Arc::new(memory),
                places: Arc::new(Semaphore::new(most)),
            }),
        }
    }

    /// Offers `export` to clients from now on.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn add(&self, export: Export) -> Result<(), ExportError> {
        let exported = export.exported(&self.shared.limits)?;
        let mut exports = self.exports();
        let name = &exported.offer.name;
        if exports.iter().any(|entry| entry.0.offer.name == *name) {
            let name = name.clone();
            return Err(ExportError::Taken { name });
        }
        let added = Entry(Arc::new(exported));
        *exports = exports.iter().cloned().chain([added]).collect();
        Ok(())
    }

    /// Stops offering the export called `name`. Its connections answer what is under way and are
    /// closed; returns when they are. `false` if there is no such export.
    ///
    /// A future that is dropped before its end takes nothing back.
    pub async fn remove(&self, name: &str) -> bool {
        let removed = {
            let mut exports = self.exports();
            let found = exports.iter().find(|entry| entry.0.offer.name == name);
            let Some(removed) = found.cloned() else {
                return false;
            };
            let others = exports.iter().filter(|entry| entry.0.offer.name != name);
            *exports = others.cloned().collect();
            removed.0.closing.send_replace(true);
            removed
        };
        removed.0.closing.closed().await;
        true
    }

    /// Returns what was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.tally.counters()
    }

    /// Serves whoever connects, until the future is dropped: that breaks all connections that it
    /// has accepted. To end them properly, [`remove`](Self::remove) the exports before.
    ///
    /// `report` is told why connections have broken.
    pub async fn run(&self, listener: Listener, mut report: impl FnMut(ConnectionError)) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended.unwrap_or(Err(ConnectionError::Panicked)) {
                        report(error);
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok(stream) => self.welcome(stream, &mut connections),
                    Err(error) => {
                        report(error.into());
                        pause().await;
                    }
                },
            }
        }
    }

    /// Serves one client, over any kind of stream, until it leaves. It counts towards the
    /// limits, but is never turned away.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`].
    pub async fn serve<S>(&self, stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let tally = &self.shared.tally;
        tally.accepted.add(1);
        tally.connections.add(1);
        let _leaving = Leaving(tally);
        let result = self.attend(stream).await;
        if result.is_err() {
            tally.broken.add(1);
        }
        result
    }

    async fn attend<S>(&self, mut stream: S) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Shared {
            limits,
            tally,
            memory,
            ..
        } = &*self.shared;
        let limit = limits.handshake;
        let choice = connection::handshake(&mut stream, || Arc::clone(&self.exports()));
        #[expect(clippy::disallowed_methods, reason = "a driver waits")]
        let chosen = timeout(limit, choice)
            .await
            .map_err(|_| ConnectionError::Undecided { limit })??;
        let Some((Entry(export), agreed, received)) = chosen else {
            return Ok(());
        };
        let mut closing = export.closing.subscribe();
        let share = Share::new(Arc::clone(memory), limits.octets.get());
        Connection::new(stream, &export, agreed, received, share, limits, tally)
            .serve(async {
                // The sender lives as long as the export that is served here.
                let _ = closing.wait_for(|closing| *closing).await;
            })
            .await
    }

    /// Begins to serve a client, if there is room for another one.
    fn welcome(
        &self,
        stream: listener::Stream,
        connections: &mut JoinSet<Result<(), ConnectionError>>,
    ) {
        let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() else {
            self.shared.tally.turned_away.add(1);
            return;
        };
        let server = self.clone();
        connections.spawn(async move {
            let _place = place;
            match stream {
                listener::Stream::Tcp(stream) => server.serve(stream).await,
                #[cfg(unix)]
                listener::Stream::Unix(stream) => server.serve(stream).await,
            }
        });
    }

    fn exports(&self) -> MutexGuard<'_, Arc<[Entry]>> {
        let exports = self.shared.exports.lock();
        exports.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection out, however it ends.
struct Leaving<'a>(&'a Tally);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.connections.take_one();
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver waits")]
async fn pause() {
    sleep(PAUSE).await;
}

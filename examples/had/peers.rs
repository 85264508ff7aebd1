//! What the nodes say of themselves to each other: a node that is connected to by another one
//! writes its snapshot, one JSON object, and closes the connection. It reads nothing, so nothing
//! can be asked of it or done to it; and it answers only to the addresses of its peers.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::clients;
use super::moment::{Wall, ms, round};
use super::overview::{Overview, Peer, STALE_MS, Seen};
use super::snapshot::{Node, Snapshot};
use super::watch::Watch;

/// How many peers are answered at a time; others wait.
const CLIENTS: usize = 8;
/// How long an answer may take to be written, or to be read.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a peer is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// The longest answer: a hundred times that of an ordinary node.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The listener for the peers; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Told {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Told {
    /// Listens at an address, for those who connect from one of `peers`.
    pub(crate) async fn open(
        address: SocketAddr,
        peers: Vec<IpAddr>,
        watch: Arc<Watch>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let serving = clients::serve(listener, CLIENTS, "status for peers", move |client| {
            let ((mut client, from), watch) = (client, watch.clone());
            let known = peers.contains(&from.ip().to_canonical());
            async move {
                if !known {
                    debug!(%from, "nobody's address");
                    return Ok(());
                }
                let snapshot = watch.snapshot().await;
                let mut json = serde_json::to_vec(&snapshot)?;
                json.push(b'\n');
                timeout(PATIENCE, async {
                    client.write_all(&json).await?;
                    client.shutdown().await
                })
                .await?
            }
        });
        let task = tokio::spawn(serving);
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The other nodes, and what they last said.
#[derive(Debug, Default)]
pub(crate) struct Peers(Vec<Asked>);

/// Another node.
#[derive(Debug)]
pub(crate) struct Asked {
    node: Node,
    address: Option<SocketAddr>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What it said, and when.
    seen: Option<(Answer, Instant)>,
    error: Option<String>,
}

#[derive(Debug)]
struct Answer {
    snapshot: Snapshot,
    ahead_ms: f64,
    took_ms: f64,
}

impl Peers {
    /// These nodes, each with the address where it is asked, if it can be.
    pub(crate) fn new(nodes: Vec<(Node, Option<SocketAddr>)>) -> Self {
        let asked = nodes.into_iter().map(|(node, address)| {
            let error = match address {
                Some(_) => "not asked yet",
                None => "no address to ask it at is configured",
            };
            let known = Known {
                seen: None,
                error: Some(error.to_owned()),
            };
            Asked {
                node,
                address,
                known: Mutex::new(known),
            }
        });
        Self(asked.collect())
    }

    /// Asks all of them again and again, for ever, from this address if it matters.
    pub(crate) async fn ask(self: Arc<Self>, source: Option<IpAddr>) {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..self.0.len() {
            let peers = self.clone();
            tasks.spawn(async move {
                if let Some(peer) = peers.0.get(index) {
                    peer.ask(source).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// What is known of them.
    pub(crate) fn known(&self) -> Vec<Peer> {
        self.0.iter().map(Asked::peer).collect()
    }

    /// This node and all others.
    pub(crate) async fn overview(&self, watch: &Watch) -> Overview {
        Overview::new(watch.snapshot().await, self.known())
    }
}

impl Asked {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self) -> Peer {
        let known = self.known();
        let seen = known.seen.as_ref().map(|(answer, at)| {
            let age_ms = ms(at.elapsed());
            Seen {
                snapshot: answer.snapshot.clone(),
                age_ms,
                stale: age_ms > STALE_MS,
                ahead_ms: answer.ahead_ms,
                took_ms: answer.took_ms,
            }
        });
        Peer {
            node: self.node.clone(),
            seen,
            error: known.error.clone(),
        }
    }

    async fn ask(&self, source: Option<IpAddr>) {
        let Some(address) = self.address else {
            return;
        };
        loop {
            let answer = timeout(PATIENCE, ask(address, source)).await;
            let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            {
                let mut known = self.known();
                match answer {
                    Ok(answer) if answer.snapshot.node.id == self.node.id => {
                        known.error = None;
                        known.seen = Some((answer, Instant::now()));
                    }
                    Ok(answer) => {
                        let id = answer.snapshot.node.id;
                        known.error = Some(format!("{address}: it is node {id}"));
                    }
                    Err(error) => known.error = Some(format!("{address}: {error}")),
                }
            }
            sleep(PERIOD).await;
        }
    }
}

async fn ask(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Answer> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let (began, asked) = (Instant::now(), Wall::from(SystemTime::now()));
    let stream = socket.connect(address).await?;
    let mut text = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut text).await?;
    if text.is_empty() {
        let text = "it does not answer to this node's address";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let snapshot: Snapshot = serde_json::from_slice(&text)?;
    let took_ms = ms(began.elapsed());
    // The answer was made in the middle, as far as can be told.
    let ahead_ms = round(snapshot.stamp.at.ms_since(asked) - took_ms / 2.0);
    Ok(Answer {
        snapshot,
        ahead_ms,
        took_ms,
    })
}

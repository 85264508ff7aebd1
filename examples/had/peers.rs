//! What the nodes say of themselves to each other: a node that is connected to by another one
//! writes its snapshot, one JSON object, and closes the connection. It reads nothing, so nothing
//! can be asked of it or done to it; and it answers only to the addresses of its peers.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::admit::{self, Refused};
use super::clients;
use super::door::Door;
use super::figures::Figures;
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
/// How long the clocks are taken to be as far apart as the quickest answer told.
const MEASURE: Duration = Duration::from_secs(60);
/// The longest answer: a hundred times that of an ordinary node.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Listens at an address, for those who connect from one of `peers`.
pub(crate) async fn listen(address: SocketAddr, peers: Vec<IpAddr>, watch: Arc<Watch>) -> Door {
    let told = watch.clone();
    let serve = move |listener: TcpListener| {
        clients::serve(
            listener,
            CLIENTS,
            "status for peers",
            move |(client, from)| {
                let watch = told.clone();
                let known = peers.contains(&from.ip().to_canonical());
                async move {
                    if !known {
                        debug!(%from, "status for peers: nobody's address");
                        watch.figures.refused("peers", "stranger");
                        return Ok(());
                    }
                    timeout(PATIENCE, tell(client, &watch)).await?
                }
            },
        )
    };
    Door::open("status", address, watch, serve).await
}

async fn tell(mut client: TcpStream, watch: &Watch) -> io::Result<()> {
    let mut json = serde_json::to_vec(&watch.snapshot().await)?;
    json.push(b'\n');
    client.write_all(&json).await?;
    client.shutdown().await
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
    seen: Option<(Snapshot, Instant)>,
    /// How far its clock was ahead by the quickest answer of late, and when that was.
    offset: Option<(Offset, Instant)>,
    error: Option<String>,
}

/// Why it is not known what a peer says.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no answer within {PATIENCE:?}")]
    TimedOut,
    #[error("it does not answer to this node's address")]
    Silent,
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// By how much a clock is ahead, within half of how long the answer took that told it.
#[derive(Clone, Copy, Debug)]
struct Offset {
    ahead_ms: f64,
    took_ms: f64,
}

impl Known {
    fn note(&mut self, snapshot: Snapshot, offset: Offset) {
        let now = Instant::now();
        let is_better = |(known, at): &(Offset, Instant)| {
            offset.took_ms <= known.took_ms || now.saturating_duration_since(*at) > MEASURE
        };
        if self.offset.as_ref().is_none_or(is_better) {
            self.offset = Some((offset, now));
        }
        self.seen = Some((snapshot, now));
        self.error = None;
    }
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
                error: Some(error.to_owned()),
                ..Known::default()
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
    pub(crate) async fn ask(self: Arc<Self>, source: Option<IpAddr>, figures: Figures) {
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..self.0.len() {
            let (peers, figures) = (self.clone(), figures.clone());
            tasks.spawn(async move {
                if let Some(peer) = peers.0.get(index) {
                    peer.ask(source, &figures).await;
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
        let seen = known.seen.as_ref().zip(known.offset.as_ref());
        let seen = seen.map(|((snapshot, at), (offset, _))| {
            let age_ms = ms(at.elapsed());
            Seen {
                snapshot: snapshot.clone(),
                age_ms,
                stale: age_ms > STALE_MS,
                ahead_ms: offset.ahead_ms,
                took_ms: offset.took_ms,
            }
        });
        Peer {
            node: self.node.clone(),
            seen,
            error: known.error.clone(),
        }
    }

    async fn ask(&self, source: Option<IpAddr>, figures: &Figures) {
        let Some(address) = self.address else {
            return;
        };
        loop {
            let answer = timeout(PATIENCE, ask(address, source, &self.node)).await;
            let answer = answer.unwrap_or(Err(Unheard::TimedOut));
            if let Err(Unheard::Refused(refused)) = &answer {
                figures.refused("peer-status", refused.why());
            }
            match answer {
                Ok((snapshot, offset)) => self.known().note(snapshot, offset),
                Err(error) => self.known().error = Some(format!("{address}: {error}")),
            }
            sleep(PERIOD).await;
        }
    }
}

async fn ask(
    address: SocketAddr,
    source: Option<IpAddr>,
    node: &Node,
) -> Result<(Snapshot, Offset), Unheard> {
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
        return Err(Unheard::Silent);
    }
    let snapshot = admit::snapshot(&text, node)?;
    let took_ms = ms(began.elapsed());
    // The answer was made in the middle, as far as can be told.
    let ahead_ms = round(snapshot.stamp.at.ms_since(asked) - took_ms / 2.0);
    Ok((snapshot, Offset { ahead_ms, took_ms }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_quickest_answer_tells_how_far_the_clocks_are_apart() {
        let mut known = Known::default();
        let snapshot = fixture::overview().own;
        for (ahead_ms, took_ms, best) in [(9.0, 20.0, 9.0), (1.0, 2.0, 1.0), (5.0, 12.0, 1.0)] {
            known.note(snapshot.clone(), Offset { ahead_ms, took_ms });
            assert_eq!(known.offset.unwrap().0.ahead_ms, best);
        }
        let long_ago = Instant::now() - 2 * MEASURE;
        known.offset.as_mut().unwrap().1 = long_ago;
        let (ahead_ms, took_ms) = (5.0, 12.0);
        known.note(snapshot, Offset { ahead_ms, took_ms });
        assert_eq!(known.offset.unwrap().0.ahead_ms, 5.0);
    }
}

//! Advertisements in UDP datagrams, between hosts that know each other.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::vec::Vec;

use carp_proto::{Datagram, Family, TTL};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;

use super::transport::Transport;

/// How long a packet takes to oneself, at most.
const PROBE: Duration = Duration::from_millis(50);

/// CARP without raw sockets: needs no privileges, passes routers and clouds that know no
/// multicast, and is understood by other users of this crate only.
///
/// # Encapsulation
///
/// One datagram carries one advertisement: its 36 bytes as they would follow an IP header, and
/// nothing else. The source address of the advertisement is that of the datagram, its family
/// likewise. There is no TTL to check, so every packet counts as sent within the segment; what
/// bounds the senders instead is the list of peers. A datagram whose source, port included, is
/// not in it is dropped and [counted](Transport::strangers). The sender is still trusted for
/// nothing: its advertisement must authenticate like any other.
///
/// Each family has a socket of its own, and carries the advertisements for the shared addresses
/// of that family: a group with addresses of both needs peers of both.
///
/// Several hosts on one address, which differ in their ports, are one source to the machine:
/// [`ReplayPolicy::Strict`](carp_proto::ReplayPolicy::Strict), which keeps one number for each
/// source, needs hosts with addresses of their own.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ha_core::io::UdpTransport;
///
/// // Every host has the same list of peers; its own address is skipped.
/// let peers = ["127.0.0.1:7112".parse()?, "127.0.0.1:7113".parse()?];
/// let transport = UdpTransport::bind(&["127.0.0.1:7112".parse()?], &peers)?;
/// assert_eq!(transport.peers().count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpTransport {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
    /// Which family is asked first next time, so that neither starves the other.
    first: Family,
    strangers: u64,
    echoes: u64,
}

/// Why a UDP transport cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// No local address was given.
    #[error("no local address")]
    NoLocal,
    /// Two local addresses of one family were given.
    #[error("two local addresses of family {family}: the second is {second}")]
    TwoLocals {
        /// The family.
        family: Family,
        /// The address that is too many.
        second: SocketAddr,
    },
    /// There is no local address from which this peer could be reached.
    #[error("peer {peer} has no local address of its family")]
    Unreachable {
        /// The peer.
        peer: SocketAddr,
    },
    /// The system refuses the local address.
    #[error("cannot bind {local}: {source}")]
    Bind {
        /// The local address.
        local: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl UdpTransport {
    /// Opens a socket on each of `local`, at most one for each family, to exchange
    /// advertisements with `peers`.
    ///
    /// A peer that is one of the local addresses is skipped, so that all hosts can be given
    /// the same list. If the local address is a wildcard, that is a peer of the same port
    /// whose address is one of this machine's.
    ///
    /// Must be called in the context of a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// [`UdpError`], whose variants name the address.
    pub fn bind(local: &[SocketAddr], peers: &[SocketAddr]) -> Result<Self, UdpError> {
        let mut transport = Self {
            v4: None,
            v6: None,
            first: Family::V4,
            strangers: 0,
            echoes: 0,
        };
        if local.is_empty() {
            return Err(UdpError::NoLocal);
        }
        for local in local {
            let slot = transport.slot(Family::of(local.ip()));
            if slot.is_some() {
                let family = Family::of(local.ip());
                return Err(UdpError::TwoLocals {
                    family,
                    second: *local,
                });
            }
            let endpoint = Endpoint::bind(*local).map_err(|source| UdpError::Bind {
                local: *local,
                source,
            })?;
            *slot = Some(endpoint);
        }
        for peer in peers {
            let slot = transport.slot(Family::of(peer.ip()));
            let endpoint = slot.as_mut().ok_or(UdpError::Unreachable { peer: *peer })?;
            if !is_same(endpoint.local, *peer) && !endpoint.is_own(*peer) {
                endpoint.peers.push(*peer);
            }
        }
        Ok(transport)
    }

    /// Returns the addresses that are bound, with the ports that the system chose.
    pub fn local(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoints().map(|endpoint| endpoint.local)
    }

    /// Returns the peers, without ourselves.
    pub fn peers(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoints()
            .flat_map(|endpoint| endpoint.peers.iter().copied())
    }

    /// Returns how many datagrams of our own came back and were dropped.
    #[must_use]
    pub fn echoes(&self) -> u64 {
        self.echoes
    }

    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.v4.iter().chain(&self.v6)
    }

    fn endpoint(&self, family: Family) -> Option<&Endpoint> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    fn slot(&mut self, family: Family) -> &mut Option<Endpoint> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// Reads one datagram from either socket: its length, its source, and who that is.
    fn poll_either(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr, Sender)>> {
        let order = match self.first {
            Family::V4 => [Family::V4, Family::V6],
            Family::V6 => [Family::V6, Family::V4],
        };
        for family in order {
            let Some(endpoint) = self.endpoint(family) else {
                continue;
            };
            if let Poll::Ready(result) = endpoint.poll_receive(cx, buffer) {
                let read = result.map(|(len, from)| (len, from, endpoint.who(from)));
                let [_, other] = order;
                self.first = other;
                return Poll::Ready(read);
            }
        }
        Poll::Pending
    }
}

impl Transport for UdpTransport {
    fn carries(&self, family: Family) -> bool {
        self.endpoint(family).is_some()
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        let endpoint = self.endpoint(family)?;
        let own = endpoint.local.ip();
        // On one machine, hosts differ in their ports only.
        let shared = endpoint.peers.iter().any(|peer| peer.ip() == own);
        (!shared && !own.is_unspecified()).then_some(own)
    }

    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        let (len, from, sender) = match ready!(self.poll_either(cx, buffer)) {
            Ok(read) => read,
            // Some systems report here that an earlier datagram found nobody.
            Err(error) if is_about_a_peer(&error) => return Poll::Ready(Ok(None)),
            Err(error) => return Poll::Ready(Err(error)),
        };
        let payload = match sender {
            Sender::Peer => buffer.get(..len),
            Sender::Ourselves => {
                self.echoes = self.echoes.saturating_add(1);
                None
            }
            Sender::Stranger => {
                self.strangers = self.strangers.saturating_add(1);
                None
            }
        };
        Poll::Ready(Ok(payload.map(|payload| Datagram {
            source: from.ip(),
            // Whatever carried it, it is meant for everybody.
            destination: Family::of(from.ip()).group(),
            ttl: TTL,
            payload,
        })))
    }

    fn try_send(&mut self, family: Family, advertisement: &[u8]) -> io::Result<()> {
        match self.endpoint(family) {
            Some(endpoint) => endpoint.send(advertisement),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn strangers(&self) -> u64 {
        self.strangers
    }
}

/// Who sent a datagram.
#[derive(Clone, Copy, Debug)]
enum Sender {
    Peer,
    Ourselves,
    Stranger,
}

/// One socket.
struct Endpoint {
    /// Two handles of the same socket. By this one packets are read and sent: it always tells
    /// what the socket holds and takes, whatever the runtime believes.
    socket: UdpSocket,
    /// By this one the runtime tells when to read again.
    watch: tokio::net::UdpSocket,
    local: SocketAddr,
    peers: Vec<SocketAddr>,
}

impl Endpoint {
    fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
        if local.is_ipv6() {
            // IPv4 has a socket of its own.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        let socket = UdpSocket::from(socket);
        let watch = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            watch,
            peers: Vec::new(),
        })
    }

    /// Whether a peer is this very socket, which is bound to all addresses.
    fn is_own(&self, peer: SocketAddr) -> bool {
        let local = self.local;
        local.ip().is_unspecified() && local.port() == peer.port() && reaches_itself(peer)
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.socket.recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.watch.poll_recv_ready(cx))?;
            // Ready, the runtime believes. Reading by way of it corrects that if it is wrong.
            match self
                .watch
                .try_io(Interest::READABLE, || self.socket.recv_from(buffer))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends to all peers. One that cannot be reached is its own trouble, not a sign that this
    /// host is in any; only if nothing could be sent, it failed.
    fn send(&self, advertisement: &[u8]) -> io::Result<()> {
        let mut failure = Ok(());
        let mut sent = false;
        for peer in &self.peers {
            match self.socket.send_to(advertisement, peer) {
                Ok(_) => sent = true,
                Err(error) if is_about_a_peer(&error) => sent = true,
                Err(error) => failure = Err(error),
            }
        }
        if sent { Ok(()) } else { failure }
    }

    fn who(&self, from: SocketAddr) -> Sender {
        if is_same(self.local, from) {
            Sender::Ourselves
        } else if self.peers.iter().any(|peer| is_same(*peer, from)) {
            Sender::Peer
        } else {
            Sender::Stranger
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("local", &self.local)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

/// Whether an error tells about an earlier datagram to one of the peers, or about nothing.
fn is_about_a_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Whether an address is one of this machine's. That it can be bound does not prove it: systems
/// can be told to allow any, and those that run virtual addresses often are.
fn reaches_itself(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let probe = || {
        let socket = UdpSocket::bind(address)?;
        let local = socket.local_addr()?;
        socket.set_read_timeout(Some(PROBE))?;
        socket.send_to(&[], local)?;
        socket
            .recv_from(&mut [0])
            .map(|(_, from)| is_same(from, local))
    };
    probe().unwrap_or(false)
}

/// Compares addresses without the flow label, which says nothing about who it is.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let scope = match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) => {
            // A scope of 0 stands for any.
            let (one, other) = (one.scope_id(), other.scope_id());
            one == other || one == 0 || other == 0
        }
        _ => true,
    };
    scope && one.ip() == other.ip() && one.port() == other.port()
}

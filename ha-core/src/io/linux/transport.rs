//! Advertisements as IP packets of their own.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{Datagram, Family, InterfaceName, MacAddr, Vhid};
use libc::ENOBUFS;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{SockAddr, Socket};
use tokio::io::unix::AsyncFd;

use super::card::Card;
use super::frame::{self, Frame};
use super::network::Shared;
use super::socket::{self, SocketSetup, Sockets};
use super::{EthernetSource, GroupOptions, LinuxError, Multicast, TransportOptions};
use crate::io::Transport;

/// Holds the hop limit and the destination of a packet, and some more.
const CONTROL_LEN: usize = 128;
/// Everybody on an Ethernet.
const BROADCAST: MacAddr = MacAddr([0xff; 6]);

/// CARP as it is: packets of protocol 112 on one interface, to the multicast groups 224.0.0.18
/// and ff02::12 or to single hosts, with TTL 255 (CARP §1.2).
///
/// Made by [`Nic::transport`](super::Nic::transport). Packets to the groups are sent as whole
/// Ethernet frames, so that they can come from the virtual MAC; those to peers by way of the
/// kernel, which knows the peers' MACs. What is sent does not come back, unless the network
/// sends it back. Sending and receiving allocates nothing.
///
/// # What is received
///
/// What the groups and this machine's addresses get on the interface, from any source: who may
/// speak is decided by the key. The kernel drops what is neither CARP nor VRRP: versions other
/// than 2 and 3, and fewer than 8 bytes. Those are counted nowhere; everything else is in the
/// counters of the driver, which also checks TTLs, and in [`ReceiveStats`].
///
/// # When it is dropped
///
/// The thread closes the sockets, a moment later: the kernel may take tens of milliseconds.
///
/// # Source addresses
///
/// Chosen as by FreeBSD (CARP §1.2.1), but that IPv6 prefers link-local ones: the first address
/// that is not shared; failing that a shared one; failing that 0.0.0.0 or `::`. The choice
/// follows the interface's addresses for as long as [`Network::keep`](super::Network::keep)
/// runs.
///
/// VRRP's checksum covers the destination, where it covers any: each peer gets one of its own.
pub struct RawTransport {
    card: Arc<Card>,
    options: TransportOptions,
    v4: Option<AsyncFd<Arc<Socket>>>,
    v6: Option<AsyncFd<Arc<Socket>>>,
    packet: Arc<Socket>,
    /// Which family is asked first next time, so that neither starves the other.
    first: Family,
    frame: Box<Frame>,
    control: Box<[u8; CONTROL_LEN]>,
    stats: ReceiveStats,
    /// Behind the sockets, so that it is dropped after them.
    closing: Closing,
}

/// Holds sockets that another holds, too, to have them closed by the thread when both are
/// dropped: the kernel may take tens of milliseconds for that, which the driver does not have.
struct Closing {
    shared: Arc<Shared>,
    card: Arc<Card>,
    setup: Arc<SocketSetup>,
    sockets: Vec<Arc<Socket>>,
}

impl Closing {
    fn close(&mut self) {
        let sockets = core::mem::take(&mut self.sockets);
        self.shared.worker.post(move |_| drop(sockets));
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.close();
        if let Some(fresh) = self.card.retire(&self.setup) {
            self.shared.worker.post(move |_| drop(fresh));
        }
    }
}

/// Packets that a [`RawTransport`] read and did not hand on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// IP packets that contradict themselves, or are longer than the driver's buffer.
    pub malformed: u64,
}

impl RawTransport {
    pub(super) fn new(
        shared: Arc<Shared>,
        card: Arc<Card>,
        options: TransportOptions,
        (setup, sockets): (Arc<SocketSetup>, Sockets),
    ) -> Result<Self, LinuxError> {
        let watched = Watched::new(card.name(), sockets)?;
        Ok(Self {
            v4: watched.v4,
            v6: watched.v6,
            packet: watched.packet,
            closing: Closing {
                shared,
                card: card.clone(),
                setup,
                sockets: watched.all,
            },
            card,
            options,
            first: Family::V4,
            frame: Box::new(Frame::new()),
            control: Box::new([0; CONTROL_LEN]),
            stats: ReceiveStats::default(),
        })
    }

    pub(super) fn setup(options: &TransportOptions) -> SocketSetup {
        SocketSetup {
            v4: options.families.contains(&Family::V4),
            v6: options.families.contains(&Family::V6),
            receive_buffer: options.receive_buffer,
            group_v4: options.group_v4,
        }
    }

    fn socket(&self, family: Family) -> Option<&AsyncFd<Arc<Socket>>> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Takes over the sockets on an interface that was recreated.
    fn renew(&mut self) -> io::Result<()> {
        if let Some(sockets) = self.card.take_fresh_sockets() {
            let watched = Watched::new(self.card.name(), sockets)?;
            (self.v4, self.v6, self.packet) = (watched.v4, watched.v6, watched.packet);
            self.closing.close();
            self.closing.sockets = watched.all;
        }
        Ok(())
    }

    fn configured_source(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.options.source_v4.map(IpAddr::V4),
            Family::V6 => self.options.source_v6.map(IpAddr::V6),
        }
    }

    /// Reads one packet from either socket, and tells its length and what the socket says of
    /// it; IPv4 packets say all of that themselves.
    fn poll_either(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, Option<Ends>)>> {
        let order = match self.first {
            Family::V4 => [Family::V4, Family::V6],
            Family::V6 => [Family::V6, Family::V4],
        };
        let [_, other] = order;
        for family in order {
            let read = match (family, &self.v4, &self.v6) {
                (Family::V4, Some(socket), _) => poll_read(cx, socket, || {
                    let mut socket: &Socket = socket.get_ref();
                    socket.read(buffer).map(|len| (len, None))
                }),
                (Family::V6, _, Some(socket)) => poll_read(cx, socket, || {
                    let (len, ends) = receive(socket.get_ref(), buffer, &mut *self.control)?;
                    Ok((len, Some(ends)))
                }),
                _ => Poll::Pending,
            };
            if read.is_ready() {
                self.first = other;
                return read;
            }
        }
        Poll::Pending
    }

    /// Sends the payload of the frame to one host.
    fn send_to(&mut self, source: IpAddr, peer: IpAddr) -> io::Result<()> {
        let address = match peer {
            IpAddr::V4(_) => SocketAddr::new(peer, 0),
            IpAddr::V6(peer) => SocketAddrV6::new(peer, 0, 0, self.card.index()).into(),
        };
        let packet = self.frame.packet(source, peer, self.options.style);
        let socket = match peer {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let socket = socket.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        socket.get_ref().send_to(packet, &SockAddr::from(address))?;
        Ok(())
    }
}

impl Transport for RawTransport {
    fn carries(&self, family: Family) -> bool {
        self.socket(family).is_some()
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        self.configured_source(family)
            .or_else(|| self.card.own_source(family))
    }

    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        self.renew()?;
        let (len, ends) = ready!(self.poll_either(cx, buffer))?;
        let payload = buffer.get(..len).unwrap_or_default();
        let datagram = match ends {
            Some(ends) => Some(ends.datagram(payload)),
            None => Datagram::parse(payload).ok(),
        };
        if datagram.is_none() {
            self.stats.malformed = self.stats.malformed.saturating_add(1);
            self.card.count(self.stats);
        }
        Poll::Ready(Ok(datagram))
    }

    fn try_send(&mut self, family: Family, advertisement: &[u8]) -> io::Result<()> {
        self.renew()?;
        if !self.carries(family) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let id = advertisement.get(1).copied().unwrap_or_default();
        let vhid = Vhid::new(id).map_err(|_| io::ErrorKind::InvalidInput)?;
        if !self.frame.set_payload(advertisement) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (chosen, mac) = self.card.source_and_mac(family);
        let source = self.configured_source(family).unwrap_or(chosen);
        let mut sent = Attempt::default();
        let group = group_of(&self.options, vhid);
        let to = match family {
            Family::V4 => self.options.group_v4.into(),
            Family::V6 => family.group(),
        };
        let destination = match group.multicast {
            Multicast::On => Some(frame::group_mac(to)),
            Multicast::Broadcast => Some(BROADCAST),
            Multicast::Off => None,
        };
        if let Some(destination) = destination {
            let mac = ethernet_source(group.ethernet_source, vhid, family, mac);
            let style = self.options.style;
            let frame = self.frame.ethernet((mac, destination), (source, to), style);
            sent.note(self.packet.send(frame).map(drop));
        }
        let mut next = 0;
        // Peers are looked up one by one, as sending needs all of the transport.
        while let Some(peer) = group_of(&self.options, vhid).peers.get(next).copied() {
            next += 1;
            // All hosts can be given the same list.
            if Family::of(peer) == family && peer != source {
                let result = self.send_to(source, peer);
                sent.note(result);
            }
        }
        sent.result()
    }
}

impl fmt::Debug for RawTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTransport")
            .field("interface", &self.card.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Sockets that the runtime watches.
struct Watched {
    v4: Option<AsyncFd<Arc<Socket>>>,
    v6: Option<AsyncFd<Arc<Socket>>>,
    packet: Arc<Socket>,
    all: Vec<Arc<Socket>>,
}

impl Watched {
    fn new(interface: InterfaceName, sockets: Sockets) -> Result<Self, LinuxError> {
        let packet = Arc::new(sockets.packet);
        let mut all = Vec::from([packet.clone()]);
        let mut watch = |socket: Option<Socket>| {
            let socket = socket.map(Arc::new);
            all.extend(socket.clone());
            let watched = socket.map(socket::watched).transpose();
            watched.map_err(|source| LinuxError::Socket {
                call: "epoll_ctl",
                interface,
                source,
            })
        };
        Ok(Self {
            v4: watch(sockets.v4)?,
            v6: watch(sockets.v6)?,
            packet,
            all,
        })
    }
}

fn group_of(options: &TransportOptions, vhid: Vhid) -> &GroupOptions {
    options.groups.get(&vhid).unwrap_or(&options.group)
}

fn ethernet_source(choice: EthernetSource, vhid: Vhid, family: Family, own: MacAddr) -> MacAddr {
    match (choice, family) {
        (EthernetSource::Interface, _) => own,
        (EthernetSource::Rfc9568, Family::V6) => {
            MacAddr([0x00, 0x00, 0x5e, 0x00, 0x02, vhid.get()])
        }
        (EthernetSource::Virtual, _) | (EthernetSource::Rfc9568, Family::V4) => vhid.mac(),
    }
}

/// What became of an advertisement that goes several ways. A peer that cannot be reached is its
/// own trouble; only if nothing could be sent, it failed.
struct Attempt(io::Result<()>);

impl Default for Attempt {
    fn default() -> Self {
        // There is no way to go at all.
        Self(Err(io::ErrorKind::AddrNotAvailable.into()))
    }
}

impl Attempt {
    fn note(&mut self, result: io::Result<()>) {
        if self.0.is_err() {
            self.0 = result;
        }
    }

    fn result(self) -> io::Result<()> {
        self.0.map_err(|error| match error.raw_os_error() {
            // The queue of the interface is full (CARP §3.4.1).
            Some(ENOBUFS) => io::ErrorKind::OutOfMemory.into(),
            _ => error,
        })
    }
}

/// What a socket says of an IPv6 packet.
struct Ends {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
}

impl Ends {
    fn datagram(self, payload: &[u8]) -> Datagram<'_> {
        Datagram {
            source: self.source.into(),
            destination: self.destination.into(),
            ttl: self.hop_limit,
            payload,
        }
    }
}

/// Reads an IPv6 packet.
fn receive(socket: &Socket, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Ends)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(control), flags)?;
    let mut ends = Ends {
        source: message
            .address
            .map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
        destination: Ipv6Addr::UNSPECIFIED,
        // What the socket does not tell is no proof of anything.
        hop_limit: 0,
    };
    for note in message.cmsgs()? {
        match note {
            ControlMessageOwned::Ipv6HopLimit(limit) => {
                ends.hop_limit = u8::try_from(limit).unwrap_or_default();
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                ends.destination = info.ipi6_addr.s6_addr.into();
            }
            _ => {}
        }
    }
    Ok((message.bytes, ends))
}

/// Asks the socket itself first, and what the runtime believes of it only when it holds
/// nothing.
fn poll_read<T>(
    cx: &mut Context<'_>,
    socket: &AsyncFd<Arc<Socket>>,
    mut read: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return Poll::Ready(result),
        }
        let mut guard = ready!(socket.poll_read_ready(cx))?;
        // Ready, the runtime believes. Reading under its eyes corrects that if it is wrong.
        if let Ok(result) = guard.try_io(|_| read()) {
            return Poll::Ready(result);
        }
    }
}

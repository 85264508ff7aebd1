//! The sockets of one interface.

use core::net::Ipv4Addr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use carp_proto::{Family, GROUP_V6, InterfaceName, PROTOCOL};
use libc::{AF_PACKET, EPERM, sockaddr_ll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{
    Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type,
};
use tokio::io::unix::AsyncFd;

use super::filter;
use super::{Capability, LinuxError};

/// The priority of control traffic, which no queue of the interface delays.
const PRIORITY: u32 = 7;

/// What is opened.
#[derive(Clone, Debug)]
pub(super) struct SocketSetup {
    pub(super) v4: bool,
    pub(super) v6: bool,
    pub(super) receive_buffer: usize,
    pub(super) group_v4: Ipv4Addr,
}

/// The sockets of a transport.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) v4: Option<Socket>,
    pub(super) v6: Option<Socket>,
    pub(super) packet: Socket,
}

impl Sockets {
    /// Opens them on the interface of this name and number. Joining the groups may block.
    pub(super) fn open(
        setup: &SocketSetup,
        name: InterfaceName,
        index: u32,
    ) -> Result<Self, LinuxError> {
        let open = |family| raw(setup, family, name, index);
        Ok(Self {
            v4: setup.v4.then(|| open(Family::V4)).transpose()?,
            v6: setup.v6.then(|| open(Family::V6)).transpose()?,
            packet: packet(name, index)?,
        })
    }
}

/// A socket for packets of protocol 112, which it receives and sends with their IP headers;
/// only received IPv6 ones come without.
fn raw(
    setup: &SocketSetup,
    family: Family,
    name: InterfaceName,
    index: u32,
) -> Result<Socket, LinuxError> {
    let failed = |call| failed(name, call);
    let (domain, filter): (_, &[SockFilter]) = match family {
        Family::V4 => (Domain::IPV4, &filter::advertisements_v4()),
        Family::V6 => (Domain::IPV6, &filter::advertisements_v6()),
    };
    let protocol = Protocol::from(i32::from(PROTOCOL));
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(failed("raw socket"))?;
    // Before it is bound it hears all interfaces.
    socket
        .attach_filter(&filter::nothing())
        .map_err(failed("SO_ATTACH_FILTER"))?;
    socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
    socket
        .bind_device(Some(name.as_str().as_bytes()))
        .map_err(failed("SO_BINDTODEVICE"))?;
    socket
        .set_priority(PRIORITY)
        .map_err(failed("SO_PRIORITY"))?;
    // Beyond the system's limit for everybody.
    setsockopt(&socket, sockopt::RcvBufForce, &setup.receive_buffer)
        .map_err(io::Error::from)
        .map_err(failed("SO_RCVBUFFORCE"))?;
    match family {
        Family::V4 => {
            socket
                .set_header_included_v4(true)
                .map_err(failed("IP_HDRINCL"))?;
            socket
                .set_multicast_all_v4(false)
                .map_err(failed("IP_MULTICAST_ALL"))?;
            socket
                .join_multicast_v4_n(&setup.group_v4, &InterfaceIndexOrAddress::Index(index))
                .map_err(failed("IP_ADD_MEMBERSHIP"))?;
        }
        Family::V6 => {
            socket
                .set_header_included_v6(true)
                .map_err(failed("IPV6_HDRINCL"))?;
            socket
                .set_multicast_all_v6(false)
                .map_err(failed("IPV6_MULTICAST_ALL"))?;
            socket
                .set_recv_hoplimit_v6(true)
                .map_err(failed("IPV6_RECVHOPLIMIT"))?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
                .map_err(io::Error::from)
                .map_err(failed("IPV6_RECVPKTINFO"))?;
            socket
                .join_multicast_v6(&GROUP_V6, index)
                .map_err(failed("IPV6_ADD_MEMBERSHIP"))?;
        }
    }
    socket
        .attach_filter(filter)
        .map_err(failed("SO_ATTACH_FILTER"))?;
    Ok(socket)
}

/// A socket that sends Ethernet frames on an interface and receives nothing.
pub(super) fn packet(name: InterfaceName, index: u32) -> Result<Socket, LinuxError> {
    let failed = |call| failed(name, call);
    // Protocol 0 is what keeps it from receiving.
    let socket = Socket::new(Domain::from(AF_PACKET), Type::RAW, Some(Protocol::from(0)))
        .map_err(failed("packet socket"))?;
    socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
    socket
        .set_priority(PRIORITY)
        .map_err(failed("SO_PRIORITY"))?;
    let address = link_layer_address(index).map_err(failed("ifindex"))?;
    socket.bind(&address).map_err(failed("bind"))?;
    Ok(socket)
}

/// Has the runtime watch a socket.
#[allow(
    deprecated,
    reason = "its successor, which does the same for what owns its descriptor, is too young"
)]
pub(super) fn watched<T: AsRawFd + AsFd>(socket: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(socket)
}

/// The address by which a packet socket is bound to an interface.
#[expect(unsafe_code, reason = "socket2 knows no link-layer addresses")]
fn link_layer_address(index: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let family = u16::try_from(AF_PACKET).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address of plain numbers, no longer than the storage,
    // and valid with all bytes zero.
    let link: &mut sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = family;
    link.sll_ifindex = index;
    let len = u32::try_from(size_of::<sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage was all zero and then holds a `sockaddr_ll` of that length.
    Ok(unsafe { SockAddr::new(storage, len) })
}

/// Names the call that failed; what the process is not allowed to do by what it lacks.
fn failed(interface: InterfaceName, call: &'static str) -> impl Fn(io::Error) -> LinuxError {
    let capability = match call {
        "SO_PRIORITY" | "SO_RCVBUFFORCE" => Capability::NetAdmin,
        _ => Capability::NetRaw,
    };
    move |source| match source.raw_os_error() {
        Some(EPERM) => LinuxError::MissingCapability { capability },
        _ => LinuxError::Socket {
            call,
            interface,
            source,
        },
    }
}

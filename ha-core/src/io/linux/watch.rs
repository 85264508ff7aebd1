//! What the kernel tells of its own accord.

use std::io;
use std::os::fd::AsRawFd;
use std::vec::Vec;

use libc::{EAGAIN, ENOBUFS, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::LinuxError;
use super::filter;
use super::message::{AddressState, LinkState, Place};
use super::rtnl::{Messages, failed};
use super::socket::watched;

/// Room for what happens while the program does not read.
const RECEIVE_BUFFER: usize = 256 << 10;
/// Longer than any event.
const BUFFER_LEN: usize = 32 << 10;
/// How many events are read before they are acted on.
const CHANGES: usize = 512;

/// What changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// An interface is new or another.
    Link(LinkState),
    /// An interface was deleted.
    LinkGone(u32),
    /// An address is new or another.
    Address(Place),
    /// An address was removed.
    AddressGone(Place),
    /// There was more to tell than there was room.
    Overrun,
    /// Something that cannot be read, and may be anything.
    Unreadable,
}

/// A socket that hears of changes of interfaces and addresses.
pub(super) struct Watch {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl Watch {
    /// Begins to listen, but not to what the socket of number `port` adds.
    pub(super) fn open(port: u32) -> Result<Self, LinuxError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        socket
            .set_non_blocking(true)
            .map_err(failed("O_NONBLOCK"))?;
        SockRef::from(&socket)
            .attach_filter(&filter::not_added_by(port))
            .map_err(failed("SO_ATTACH_FILTER"))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .map_err(io::Error::from)
            .map_err(failed("SO_RCVBUFFORCE"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
            socket
                .add_membership(group)
                .map_err(failed("NETLINK_ADD_MEMBERSHIP"))?;
        }
        Ok(Self {
            socket: watched(socket).map_err(failed("epoll_ctl"))?,
            buffer: std::vec![0; BUFFER_LEN],
        })
    }

    /// Waits for changes and returns those that are there. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn changes(&mut self) -> Result<Vec<Change>, LinuxError> {
        let Self { socket, buffer } = self;
        let mut changes = Vec::new();
        loop {
            let read = socket.async_io(Interest::READABLE, |socket| {
                read_all(socket, buffer, &mut changes)
            });
            read.await.map_err(failed("recv"))?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

/// Reads what the socket holds.
fn read_all(socket: &Socket, buffer: &mut [u8], changes: &mut Vec<Change>) -> io::Result<()> {
    while changes.len() < CHANGES {
        let len = match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => len,
            Err(error) => match error as i32 {
                ENOBUFS => {
                    changes.push(Change::Overrun);
                    continue;
                }
                // What was read before counts.
                EAGAIN if !changes.is_empty() => return Ok(()),
                _ => return Err(error.into()),
            },
        };
        for (_, payload) in Messages(buffer.get(..len).unwrap_or_default()) {
            match payload {
                Ok(NetlinkPayload::InnerMessage(message)) => changes.extend(change(&message)),
                Ok(_) => {}
                Err(_) => changes.push(Change::Unreadable),
            }
        }
    }
    Ok(())
}

fn change(message: &RouteNetlinkMessage) -> Option<Change> {
    // Bridges tell about their ports by messages of the same types: a port that leaves one is
    // not deleted.
    let is_plain = |family| family == AddressFamily::Unspec;
    match message {
        RouteNetlinkMessage::NewLink(link) if is_plain(link.header.interface_family) => {
            Some(Change::Link(LinkState::of(link)))
        }
        RouteNetlinkMessage::DelLink(link) if is_plain(link.header.interface_family) => {
            Some(Change::LinkGone(link.header.index))
        }
        RouteNetlinkMessage::NewAddress(address) => {
            AddressState::of(address).map(|state| Change::Address(state.place))
        }
        RouteNetlinkMessage::DelAddress(address) => {
            AddressState::of(address).map(|state| Change::AddressGone(state.place))
        }
        _ => None,
    }
}

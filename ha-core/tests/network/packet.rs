//! Frames as they are on the wire: ARP questions, and floods of rubbish.

use core::fmt::{self, Debug, Display, Formatter};
use core::net::Ipv4Addr;
use core::str::FromStr;
use core::time::Duration;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use super::node::Node;

/// A MAC address.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    pub(crate) const BROADCAST: Self = Self([0xff; 6]);
    /// Where advertisements over IPv4 go (CARP §1.3).
    pub(crate) const GROUP: Self = Self([0x01, 0, 0x5e, 0, 0, 0x12]);
}

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Debug for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let octets: Option<Vec<u8>> = text
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16).ok())
            .collect();
        let octets = octets.and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or(())
    }
}

/// A packet socket on the interface of a host.
pub(crate) struct Wire(OwnedFd);

impl Wire {
    /// One that sends and hears all.
    pub(crate) fn open(node: &Node) -> Self {
        Self::with(node, SockProtocol::EthAll)
    }

    /// One that hears nothing, so that nothing piles up in it.
    pub(crate) fn deaf(node: &Node) -> Self {
        Self::with(node, None)
    }

    fn with(node: &Node, protocol: impl Into<Option<SockProtocol>> + Send) -> Self {
        node.namespace().enter(|| {
            let fd = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                protocol,
            )
            .expect("a packet socket");
            let address = getifaddrs()
                .expect("a list of interfaces")
                .filter(|interface| interface.interface_name == Node::INTERFACE)
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .expect("a link address");
            bind(fd.as_raw_fd(), &address).expect("the interface");
            Self(fd)
        })
    }

    /// Sends a frame. `false` if the queue of the interface is full.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => true,
            Err(Errno::ENOBUFS | Errno::EAGAIN) => false,
            Err(error) => panic!("cannot send a frame of {} bytes: {error}", frame.len()),
        }
    }

    /// The next frame, if one is there.
    fn poll(&self, buffer: &mut [u8]) -> Option<usize> {
        recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).ok()
    }
}

/// Asks by ARP for `address` and returns the MAC addresses in the answers that arrive within
/// `time`, one for each answer.
pub(crate) fn resolve(from: &Node, address: Ipv4Addr, time: Duration) -> Vec<Mac> {
    let wire = Wire::open(from);
    assert!(wire.send(&arp_request(from, address)), "an idle interface");
    let start = Instant::now();
    let mut answers = Vec::new();
    let mut buffer = [0; 128];
    while start.elapsed() < time {
        let Some(length) = wire.poll(&mut buffer) else {
            super::pass(Duration::from_millis(1));
            continue;
        };
        let frame = &buffer[..length.min(buffer.len())];
        // ARP, operation 2, from the address asked for, to us.
        let is_answer = frame.len() >= 42
            && frame[12..14] == [0x08, 0x06]
            && frame[20..22] == [0, 2]
            && frame[28..32] == address.octets()
            && frame[32..38] == from.mac().0;
        if is_answer {
            answers.push(Mac(frame[22..28].try_into().expect("6 octets")));
        }
    }
    answers
}

fn arp_request(from: &Node, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(Mac::BROADCAST, from.mac(), 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.mac().0);
    frame.extend(from.ipv4().octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An Ethernet header, to which a payload can be added.
pub(crate) fn ethernet(to: Mac, from: Mac, ether_type: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ether_type.to_be_bytes());
    frame
}

/// Sends `frames` in turn at `rate` per second for `time`. Returns how many got out.
pub(crate) fn flood(from: &Node, frames: &[Vec<u8>], rate: u32, time: Duration) -> u32 {
    let wire = Wire::deaf(from);
    let start = Instant::now();
    let mut sent = 0;
    let mut frames = frames.iter().cycle();
    loop {
        let elapsed = start.elapsed();
        if elapsed >= time {
            return sent;
        }
        let due = elapsed.as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(sent) < due {
            if !wire.send(frames.next().expect("a frame")) {
                break;
            }
            sent += 1;
        }
        super::pass(Duration::from_micros(100));
    }
}

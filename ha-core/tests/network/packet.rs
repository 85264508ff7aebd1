//! Frames as they are on the wire: questions for a neighbour, and floods of rubbish.

use core::fmt::{self, Debug, Display, Formatter};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use core::time::Duration;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind, recv, send,
    sendmmsg, socket,
};

use super::node::Node;

/// A MAC address.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    pub(crate) const BROADCAST: Self = Self([0xff; 6]);
    /// Where advertisements over IPv4 go (CARP §1.3),
    pub(crate) const GROUP: Self = Self([0x01, 0, 0x5e, 0, 0, 0x12]);
    /// and those over IPv6.
    pub(crate) const GROUP_V6: Self = Self([0x33, 0x33, 0, 0, 0, 0x12]);
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

/// Asks who has `address`, by ARP or by a neighbour solicitation, and returns the MAC addresses in
/// the answers that arrive within `time`, one for each answer.
pub(crate) fn resolve(from: &Node, address: IpAddr, time: Duration) -> Vec<Mac> {
    let wire = Wire::open(from);
    let question = match address {
        IpAddr::V4(address) => arp_request(from, address),
        IpAddr::V6(address) => neighbour_solicitation(from, address),
    };
    assert!(wire.send(&question), "an idle interface");
    let start = Instant::now();
    let mut answers = Vec::new();
    let mut buffer = [0; 128];
    while start.elapsed() < time {
        let Some(length) = wire.poll(&mut buffer) else {
            super::pass(Duration::from_millis(1));
            continue;
        };
        let frame = &buffer[..length.min(buffer.len())];
        answers.extend(match address {
            IpAddr::V4(address) => arp_answer(from, address, frame),
            IpAddr::V6(address) => neighbour_advertisement(from, address, frame),
        });
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

/// The MAC address in an answer to our ARP request.
fn arp_answer(to: &Node, address: Ipv4Addr, frame: &[u8]) -> Option<Mac> {
    // ARP, operation 2, from the address asked for, to us.
    let is_answer = frame.len() >= 42
        && frame[12..14] == [0x08, 0x06]
        && frame[20..22] == [0, 2]
        && frame[28..32] == address.octets()
        && frame[32..38] == to.mac().0;
    is_answer.then(|| Mac(frame[22..28].try_into().expect("6 octets")))
}

/// RFC 4861 §4.3: to the group that all who have an address with such an end belong to.
fn neighbour_solicitation(from: &Node, address: Ipv6Addr) -> Vec<u8> {
    const LENGTH: u8 = 32;
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        u16::from_be_bytes([0xff, a]),
        u16::from_be_bytes([b, c]),
    );
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    message.extend([1, 1]);
    message.extend(from.mac().0);
    let mut summed = Vec::from(from.ipv6().octets());
    summed.extend(group.octets());
    summed.extend([0, 0, 0, LENGTH, 0, 0, 0, 58]);
    summed.extend(&message);
    message[2..4].copy_from_slice(&checksum(&summed).to_be_bytes());

    let mut frame = ethernet(Mac([0x33, 0x33, 0xff, a, b, c]), from.mac(), 0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, LENGTH, 58, 255]);
    frame.extend(from.ipv6().octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// The MAC address in an answer to our neighbour solicitation.
fn neighbour_advertisement(to: &Node, address: Ipv6Addr, frame: &[u8]) -> Option<Mac> {
    // ICMPv6, to us, a neighbour advertisement that was asked for, of this address, with the
    // option that names its MAC address.
    let is_answer = frame.len() >= 86
        && frame[12..14] == [0x86, 0xdd]
        && frame[20] == 58
        && frame[38..54] == to.ipv6().octets()
        && frame[54] == 136
        && frame[58] & 0x40 != 0
        && frame[62..78] == address.octets()
        && frame[78..80] == [2, 1];
    is_answer.then(|| Mac(frame[80..86].try_into().expect("6 octets")))
}

/// The checksum of the Internet (RFC 1071) over an even number of octets.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("16 bits")
}

/// An Ethernet header, to which a payload can be added.
pub(crate) fn ethernet(to: Mac, from: Mac, ether_type: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ether_type.to_be_bytes());
    frame
}

/// Sends `frames` in turn from two threads, at `rate` per second altogether, for `time`. Returns
/// how many got out.
pub(crate) fn flood(from: &Node, frames: &[Vec<u8>], rate: u32, time: Duration) -> u64 {
    thread::scope(|scope| {
        let sender = || scope.spawn(|| flood_alone(from, frames, rate / 2, time));
        let senders = [sender(), sender()];
        senders
            .into_iter()
            .map(|sender| sender.join().expect("a sender"))
            .sum()
    })
}

fn flood_alone(from: &Node, frames: &[Vec<u8>], rate: u32, time: Duration) -> u64 {
    /// How many frames go into one call of the kernel at least.
    const BATCH: usize = 64;
    let wire = Wire::deaf(from);
    let batch: Vec<_> = core::iter::repeat_n(frames, BATCH.div_ceil(frames.len()))
        .flatten()
        .map(|frame| [IoSlice::new(frame)])
        .collect();
    let nowhere = vec![None; batch.len()];
    let mut headers = MultiHeaders::<()>::preallocate(batch.len(), None);
    let start = Instant::now();
    let (mut sent, mut next) = (0, 0);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= time {
            return sent;
        }
        if u128::from(sent) > elapsed.as_micros() * u128::from(rate) / 1_000_000 {
            super::pass(Duration::from_micros(100));
            continue;
        }
        let (fd, flags) = (wire.0.as_raw_fd(), MsgFlags::empty());
        match sendmmsg(fd, &mut headers, &batch[next..], &nowhere, [], flags) {
            Ok(results) => {
                let count = results.count();
                sent += u64::try_from(count).expect("a small number");
                next = (next + count) % batch.len();
            }
            // The queue of the interface is full.
            Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
            Err(error) => panic!("cannot send a batch of frames: {error}"),
        }
    }
}

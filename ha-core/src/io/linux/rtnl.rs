//! Questions and orders to rtnetlink, several in one system call.

use core::time::Duration;
use std::io;
use std::vec::Vec;

use libc::{EADDRNOTAVAIL, ENODEV, EPERM, ESTALE};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

use super::{Capability, LinuxError};

/// How many bytes of requests go into one system call.
const BATCH_LEN: usize = 32 << 10;
/// Holds the longest datagram that the kernel makes for a dump.
const BUFFER_LEN: usize = 64 << 10;
/// How long an answer may take. It is there when `send` returns, unless the kernel had no
/// memory for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a dump is begun anew because things changed under it.
const DUMPS: usize = 5;

/// A request: its message, and the flags beside those that every request has.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// A socket for requests.
pub(super) struct Rtnl {
    socket: Socket,
    port: u32,
    sequence: u32,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Rtnl {
    pub(super) fn open() -> Result<Self, LinuxError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
        let port = socket.bind_auto().map_err(failed("bind"))?.port_number();
        SockRef::from(&socket)
            .set_read_timeout(Some(PATIENCE))
            .map_err(failed("setsockopt SO_RCVTIMEO"))?;
        Ok(Self {
            socket,
            port,
            sequence: 0,
            out: Vec::with_capacity(BATCH_LEN),
            buffer: Vec::with_capacity(BUFFER_LEN),
        })
    }

    /// By which number the kernel knows this socket, and names it in the events that it causes.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Has all requests carried out, in order, and tells which of them failed and why.
    pub(super) fn execute(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Vec<(usize, io::Error)>, LinuxError> {
        let mut errors = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut requests = requests.into_iter().peekable();
        self.out.clear();
        while let Some((message, flags)) = requests.next() {
            // Only the last one of a batch is acknowledged. Those before it have been carried
            // out by then, and errors are reported always.
            let is_last = requests.peek().is_none() || self.out.len() > BATCH_LEN - 1024;
            let ack = if is_last { NLM_F_ACK } else { 0 };
            self.append(message, NLM_F_REQUEST | flags | ack);
            if is_last {
                self.send()?;
                self.out.clear();
                let last = self.sequence;
                let count = last.wrapping_sub(first);
                self.collect(last, |sequence, error| {
                    // Not what came too late for one that was given up.
                    let index = sequence.wrapping_sub(first);
                    if index <= count {
                        errors.push((usize::try_from(index).unwrap_or(usize::MAX), error));
                    }
                })?;
            }
        }
        Ok(errors)
    }

    /// Has one request carried out.
    pub(super) fn order(&mut self, request: Request) -> Result<io::Result<()>, LinuxError> {
        let errors = self.execute([request].into())?;
        Ok(match errors.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        })
    }

    /// Asks for one thing; `None` if there is no such.
    pub(super) fn ask(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, LinuxError> {
        self.out.clear();
        self.append(message, NLM_F_REQUEST);
        self.send()?;
        let sequence = self.sequence;
        let mut answer = None;
        self.receive(|header, payload| {
            if header.sequence_number != sequence {
                return Ok(false);
            }
            match payload {
                Ok(NetlinkPayload::InnerMessage(message)) => answer = Some(message),
                Ok(NetlinkPayload::Error(error))
                    if matches!(-error.raw_code(), ENODEV | EADDRNOTAVAIL) => {}
                Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                Err(error) => return Err(error),
                _ => return Ok(false),
            }
            Ok(true)
        })
        .map_err(failed("request"))?;
        Ok(answer)
    }

    /// Asks for all there is. What cannot be read of it is left out and told.
    pub(super) fn dump(&mut self, message: &RouteNetlinkMessage) -> Result<Dump, LinuxError> {
        for _ in 0..DUMPS {
            self.out.clear();
            self.append(message.clone(), NLM_F_REQUEST | NLM_F_DUMP);
            self.send()?;
            let sequence = self.sequence;
            let mut all = Dump::default();
            let mut is_consistent = true;
            self.receive(|header, payload| {
                if header.sequence_number != sequence {
                    return Ok(false);
                }
                is_consistent &= header.flags & NLM_F_DUMP_INTR == 0;
                match payload {
                    Ok(NetlinkPayload::InnerMessage(message)) => all.messages.push(message),
                    Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                    Ok(NetlinkPayload::Done(_)) => return Ok(true),
                    Ok(_) => {}
                    Err(error) => all.unreadable = Some(failed("dump")(error)),
                }
                Ok(false)
            })
            .map_err(failed("dump"))?;
            if is_consistent {
                return Ok(all);
            }
        }
        Err(failed("dump")(io::Error::from_raw_os_error(ESTALE)))
    }

    /// Reads answers until that to the request `last` is there.
    fn collect(
        &mut self,
        last: u32,
        mut on_error: impl FnMut(u32, io::Error),
    ) -> Result<(), LinuxError> {
        self.receive(|header, payload| {
            if let NetlinkPayload::Error(error) = payload? {
                if error.raw_code() != 0 {
                    on_error(header.sequence_number, error.to_io());
                }
                return Ok(header.sequence_number == last);
            }
            Ok(false)
        })
        .map_err(failed("request"))
    }

    /// Reads messages until one of them is the last.
    fn receive(
        &mut self,
        mut on_message: impl FnMut(
            NetlinkHeader,
            io::Result<NetlinkPayload<RouteNetlinkMessage>>,
        ) -> io::Result<bool>,
    ) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for (header, payload) in Messages(&self.buffer) {
                if on_message(header, payload)? {
                    return Ok(());
                }
            }
        }
    }

    /// Puts a message behind those that wait to be sent.
    fn append(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = self.out.len();
        self.out.resize(start + message.buffer_len(), 0);
        if let Some(room) = self.out.get_mut(start..) {
            message.serialize(room);
        }
    }

    fn send(&self) -> Result<(), LinuxError> {
        let kernel = SocketAddr::new(0, 0);
        self.socket
            .send_to(&self.out, &kernel, 0)
            .map_err(failed("sendto"))?;
        Ok(())
    }
}

/// What the kernel told when it was asked for all there is.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) messages: Vec<RouteNetlinkMessage>,
    /// Why something is missing, if so.
    pub(super) unreadable: Option<LinuxError>,
}

/// The messages of a datagram. One that cannot be read is told as that, with its header if that
/// much can be read; those behind it can be read all the same.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl Iterator for Messages<'_> {
    type Item = (
        NetlinkHeader,
        io::Result<NetlinkPayload<RouteNetlinkMessage>>,
    );

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let header =
            NetlinkBuffer::new_checked(self.0).and_then(|buffer| NetlinkHeader::parse(&buffer));
        let read = NetlinkMessage::deserialize(self.0);
        // Messages begin at multiples of four bytes. The check of the header has made sure that
        // its own bytes count.
        let len = header.as_ref().map_or(usize::MAX, |header| {
            (header.length as usize).next_multiple_of(4)
        });
        self.0 = self.0.get(len.max(1)..).unwrap_or_default();
        let payload = read.map(|message| message.payload);
        Some((
            header.unwrap_or_default(),
            payload.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        ))
    }
}

/// Names what failed; what the process is not allowed to do by what it lacks.
pub(super) fn failed(call: &'static str) -> impl Fn(io::Error) -> LinuxError {
    move |source| match source.raw_os_error() {
        Some(EPERM) => LinuxError::MissingCapability {
            capability: Capability::NetAdmin,
        },
        _ => LinuxError::Netlink { call, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_read_hides_none_behind_it() {
        let header = |kind: u16, sequence: u32| {
            let len = 16_u32.to_ne_bytes();
            let (kind, sequence) = (kind.to_ne_bytes(), sequence.to_ne_bytes());
            [&len[..], &kind, &[0; 2], &sequence, &[0; 4]].concat()
        };
        // An error that does not say which, nothing, and what is cut off.
        let datagram = [header(2, 7), header(1, 8), header(1, 9)[..10].to_vec()].concat();
        let read = Messages(&datagram).map(|(h, payload)| (h.sequence_number, payload.is_ok()));
        assert_eq!(
            read.collect::<Vec<_>>(),
            [(7, false), (8, true), (0, false)]
        );
    }
}

//! How do I drive a machine with only std? A socket, a deadline, and a loop; no runtime.
//!
//!     cargo run --release --example blocking_loop
//!
//! Two hosts in two threads exchange advertisements over UDP on the loopback interface. The
//! better one becomes master after three seconds, leaves after five, and the other one takes
//! over. It ends by itself after seven.

#![expect(
    clippy::disallowed_methods,
    reason = "a driver brings the time to the machine"
)]

use core::error::Error;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use carp_proto::{
    ADVERTISEMENT_LEN, AddressCount, AdvSkew, Authenticator, Config, CounterRule, Input, Key,
    Output, Received, SendResult, Vhid, View, VirtualHost,
};

/// An error that may cross from one thread to another.
type Failure = Box<dyn Error + Send + Sync>;

/// How many packets in a row are read before a deadline gets its turn, so that a flood of them
/// does not keep it from that.
const PACKETS_PER_TURN: u32 = 64;
/// How long the socket is waited for at most. Kernels are the less exact the longer the time is,
/// and to call `handle_timeout` too early does no harm.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Failure> {
    let began = Instant::now();
    let [a, b] = [0; 2].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let (a, b) = (a?, b?);
    let (to_a, to_b) = (a.local_addr()?, b.local_addr()?);
    thread::scope(|scope| {
        let first = scope.spawn(move || run("a", 0, &a, to_b, began, Duration::from_secs(5)));
        let second = scope.spawn(move || run("b", 100, &b, to_a, began, Duration::from_secs(7)));
        first.join().map_err(|_| "thread a panicked")??;
        second.join().map_err(|_| "thread b panicked")?
    })
}

/// Runs one host until `end`, counted from `began`.
fn run(
    name: &str,
    advskew: u8,
    socket: &UdpSocket,
    peer: SocketAddr,
    began: Instant,
    end: Duration,
) -> Result<(), Failure> {
    let vhid = Vhid::new(1)?;
    let shared = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    let auth = Authenticator::new(&Key::from_passphrase(b"not a secret"), vhid, &shared);
    let mut config = Config::new(vhid);
    config.settings.advskew = AdvSkew::new(advskew)?;
    // A program that is started again would take a start that grows, such as Unix time.
    config.counter = CounterRule::Increasing { start: 0 };

    // The machine knows no clock: it takes the time with each input, here as what has passed
    // since the start of the program.
    let mut machine = VirtualHost::<Duration>::new(config)?;
    machine.handle(began.elapsed(), Input::Addresses(AddressCount::of(&shared)));
    let mut buffer = [0; 64];
    let mut packets_in_a_row = 0;
    let mut ended = false;
    loop {
        // Do what the machine wants done, in its order.
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    // A machine of CARP's says nothing in VRRP.
                    let Some(said) = transmit.advertisement.carp() else {
                        continue;
                    };
                    let mut bytes = [0; ADVERTISEMENT_LEN];
                    auth.sign(said, &mut bytes);
                    let result = match socket.send_to(&bytes, peer) {
                        Ok(_) => SendResult::Ok,
                        Err(error) => SendResult::Error(error.raw_os_error().unwrap_or(0)),
                    };
                    machine.handle(began.elapsed(), Input::Sent(transmit.family, result));
                }
                Output::Event(event) => say(began, name, &event.to_string()),
                Output::Acquire => say(began, name, "would now serve 192.0.2.1"),
                Output::Release => say(began, name, "would no longer serve 192.0.2.1"),
                Output::Announce(family) => say(began, name, &format!("would announce {family}")),
                // The demotion of the whole machine, which has but one virtual host here.
                Output::Demote(demote) => {
                    let level = machine.demotion().saturating_add(demote.adjustment);
                    machine.handle(began.elapsed(), Input::Demotion(level));
                }
                // Only for a change of the addresses, and for numbers drawn at random.
                Output::ForgetAddresses | Output::NeedCounter => {}
            }
        }
        if ended {
            return Ok(());
        }

        // Wait for a packet, but not beyond the deadline. A packet that is there already comes
        // first: after a pause of this thread, that decides who is master.
        let deadline = machine.poll_timeout().unwrap_or(end).min(end);
        let patience = deadline.saturating_sub(began.elapsed()).min(PATIENCE);
        let mut read = receive(socket, patience, &mut buffer)?;
        let now = began.elapsed();
        if read.is_none() {
            // Perhaps this process was stopped while it waited. What came before `now` is there
            // by now, and what is due later than that has to wait for the next turn.
            read = receive(socket, Duration::ZERO, &mut buffer)?;
        }
        if let Some((len, from)) = read {
            let bytes = buffer.get(..len).unwrap_or_default();
            match verify(&auth, peer, from, bytes) {
                Ok(received) => machine.handle(now, Input::Advertisement(received)),
                Err(reason) => say(began, name, &reason.to_string()),
            }
            packets_in_a_row += 1;
            if packets_in_a_row < PACKETS_PER_TURN {
                continue;
            }
        }
        packets_in_a_row = 0;
        machine.handle_timeout(now);
        if now >= end {
            machine.handle(now, Input::Shutdown);
            ended = true;
        }
    }
}

/// Whether bytes are an authentic advertisement of our peer.
fn verify(
    auth: &Authenticator,
    peer: SocketAddr,
    from: SocketAddr,
    bytes: &[u8],
) -> Result<Received, Failure> {
    if from != peer {
        return Err(format!("{from} is a stranger").into());
    }
    let advertisement = auth.verify(View::parse(bytes)?)?;
    Ok(Received::new(advertisement, from.ip()))
}

/// Waits for one packet, or only looks for one; `None` if there is none in time.
fn receive(
    socket: &UdpSocket,
    patience: Duration,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, SocketAddr)>> {
    let result = if patience.is_zero() {
        socket.set_nonblocking(true)?;
        let result = socket.recv_from(buffer);
        socket.set_nonblocking(false)?;
        result
    } else {
        socket.set_read_timeout(Some(patience))?;
        socket.recv_from(buffer)
    };
    match result {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

fn say(began: Instant, name: &str, what: &str) {
    println!("{:6.3} s  {name}  {what}", began.elapsed().as_secs_f64());
}

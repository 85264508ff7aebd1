//! A long way between two nodes.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// What may be on its way in one direction: so many pieces of up to 256 KiB.
const PIECES: usize = 256;
const PIECE: usize = 256 << 10;

/// Takes connections on `from` and passes what comes through them on to `to` and back, each octet
/// so much later. It ends with the program.
pub(crate) fn start(from: SocketAddr, to: SocketAddr, later: Duration) {
    let listener = TcpListener::bind(from).expect("a port for the relay");
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("a connection");
            let Ok(far) = TcpStream::connect(to) else {
                continue;
            };
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a connection");
            }
            let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
            pass(clone(&near), clone(&far), later);
            pass(far, near, later);
        }
    });
}

/// Passes one direction on, without waiting for what was taken to arrive.
fn pass(mut from: TcpStream, mut to: TcpStream, later: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES);
    thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            match from.read(&mut piece) {
                Ok(length @ 1..) => piece.truncate(length),
                _ => return,
            }
            if sender.send((Instant::now() + later, piece)).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

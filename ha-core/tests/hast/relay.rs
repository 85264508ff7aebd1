//! What lies between the nodes: a relay that can be slow, silent, or gone.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What the relay does with octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// How much later they arrive.
    pub(crate) delay: Duration,
    /// No connection is made, and those that are there end.
    pub(crate) down: bool,
    /// Nothing is passed on any more after so many octets of a connection; nothing is closed.
    pub(crate) stall_after: Option<u64>,
}

/// A relay to one node.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    cuts: watch::Sender<u64>,
    task: tokio::task::AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub(crate) async fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Arc::new(Mutex::new(Weather::default()));
        let cuts = watch::Sender::new(0);
        let (shared, ends) = (Arc::clone(&weather), cuts.subscribe());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    Some(_) = connections.join_next() => continue,
                };
                if shared.lock().unwrap().down {
                    continue;
                }
                let (shared, mut ends) = (Arc::clone(&shared), ends.clone());
                ends.mark_unchanged();
                connections.spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        tokio::select! {
                            () = connect(near, far, shared) => {}
                            _ = ends.changed() => {}
                        }
                    }
                });
            }
        });
        Self {
            address,
            weather,
            cuts,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
        if weather.down {
            self.cut();
        }
    }

    /// Ends all connections that there are.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|number| *number += 1);
    }
}

async fn connect(near: TcpStream, far: TcpStream, weather: Arc<Mutex<Weather>>) {
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let there = pass(near_in, far_out, Arc::clone(&weather));
    let back = pass(far_in, near_out, weather);
    // The end of one way ends the other, as when a program closes its socket.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    weather: Arc<Mutex<Weather>>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let mut passed = 0_u64;
    let reading = async move {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = from.read(&mut buffer).await;
            let weather = *weather.lock().unwrap();
            let Ok(read @ 1..) = read else {
                // That the other end has gone is not passed on either.
                if weather.stall_after.is_some() {
                    core::future::pending::<()>().await;
                }
                return;
            };
            let mut octets = buffer[..read].to_vec();
            if let Some(limit) = weather.stall_after {
                octets.truncate(usize::try_from(limit.saturating_sub(passed)).unwrap());
            }
            passed += octets.len() as u64;
            let due = Instant::now() + weather.delay;
            if !octets.is_empty() && sender.send((due, octets)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, octets)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&octets).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

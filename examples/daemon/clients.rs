//! Clients of a listening socket: so many at a time, each in a task of its own. Others wait to be
//! accepted, so that nobody who connects makes this program grow.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// How long it is before the next try when no client can be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// What clients connect to.
pub(crate) trait Listener: Send {
    /// A connection, and who is at its other end.
    type Client: Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;
}

impl Listener for UnixListener {
    type Client = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(client, _)| client)
    }
}

impl Listener for TcpListener {
    type Client = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

/// Serves clients until it is dropped; those that are being served then go on to their end. `what`
/// names the socket in the log.
pub(crate) async fn serve<L: Listener, Serving>(
    listener: L,
    places: usize,
    what: &'static str,
    one: impl Fn(L::Client) -> Serving,
) where
    Serving: Future<Output = io::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(places));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok(client) => {
                let serving = one(client);
                tokio::spawn(async move {
                    // One that is slow or gone loses its answer, and nobody else notices.
                    if let Err(error) = serving.await {
                        debug!(%error, "{what}: a client was not answered");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "{what}: no client can be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn those_who_find_no_place_wait_for_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, 2, "test", |(mut client, _)| async move {
            let mut octet = [0];
            client.read_exact(&mut octet).await?;
            client.write_all(&octet).await
        }));
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"x").await.unwrap();
        let mut answer = [0];
        let soon = tokio::time::timeout(PAUSE, third.read_exact(&mut answer)).await;
        assert!(soon.is_err());
        silent.pop();
        third.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"x");
        serving.abort();
    }
}

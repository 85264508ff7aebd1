//! A TCP listener of this node that is opened as soon as that is possible: an address that is in use,
//! or not there yet, keeps nothing else from running.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use super::events::NodeTold;
use super::watch::Watch;

/// How often it is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// The listener, or what tries to open it; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    address: Arc<OnceLock<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Door {
    /// Opens it, at once if possible, and serves its clients from then on. `name` is what the
    /// operator knows it by.
    pub(crate) async fn open<Serving>(
        name: &'static str,
        at: SocketAddr,
        watch: Arc<Watch>,
        serve: impl FnOnce(TcpListener) -> Serving + Send + 'static,
    ) -> Self
    where
        Serving: Future<Output = ()> + Send,
    {
        let address = Arc::new(OnceLock::new());
        let first = bind(name, at, &watch, &address).await;
        let known = address.clone();
        let task = tokio::spawn(async move {
            let mut opened = first;
            let listener = loop {
                match opened {
                    Some(listener) => break listener,
                    None => sleep(RETRY).await,
                }
                opened = bind(name, at, &watch, &known).await;
                if opened.is_some() {
                    info!(address = %at, "listening at last: {name}");
                }
            };
            serve(listener).await;
        });
        Self { address, task }
    }

    /// Where it listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tries to listen, and tells what is new about that.
async fn bind(
    name: &'static str,
    at: SocketAddr,
    watch: &Watch,
    known: &OnceLock<SocketAddr>,
) -> Option<TcpListener> {
    let opened = TcpListener::bind(at).await;
    let opened = opened.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let door = || name.to_owned();
    match opened {
        Ok((address, listener)) => {
            // It is opened once.
            let _ = known.set(address);
            watch.door_opened(name);
            watch.tell(NodeTold::Listening {
                door: door(),
                address: address.to_string(),
            });
            Some(listener)
        }
        Err(error) => {
            let (address, reason) = (at.to_string(), error.to_string());
            if watch.door_closed(name, format!("{address}: {reason}")) {
                warn!(address, reason, "not listening yet: {name}");
                watch.tell(NodeTold::NotListening {
                    door: door(),
                    address,
                    reason,
                });
            }
            None
        }
    }
}

//! What becoming and ceasing to be master does to this machine: addresses first, then scripts.
//!
//! Where the daemon owns the addresses, they come and go at once, and the scripts follow in a
//! [worker](super::script::Wish) of their own, so that a slow one holds up neither a release
//! nor the bow-out that follows it. Where the scripts own them, a release waits for the down
//! script, since it is what releases. Announcements always come after the up script.

use core::net::IpAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use ha_core::carp_proto::Family;
use ha_core::io::{Effects, Service, async_trait};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tracing::warn;

use super::config::HostName;
use super::script::Wish;

/// How long the kernel may take for a change of addresses.
const KERNEL: Duration = Duration::from_secs(5);

/// The addresses of one virtual host, and its scripts.
pub(crate) struct Serving<A> {
    name: HostName,
    addresses: Arc<Mutex<A>>,
    wish: Arc<Wish>,
    /// Whether the daemon sets the addresses.
    set_address: bool,
    /// Announcements that wait for the up script.
    announcements: [Option<AbortHandle>; 2],
}

impl<A: Effects + 'static> Serving<A> {
    pub(crate) fn new(
        name: HostName,
        addresses: Arc<Mutex<A>>,
        wish: Arc<Wish>,
        set_address: bool,
    ) -> Self {
        Self {
            name,
            addresses,
            wish,
            set_address,
            announcements: [None, None],
        }
    }

    fn forget_announcements(&mut self) {
        for task in self.announcements.iter_mut().filter_map(Option::take) {
            task.abort();
        }
    }

    async fn set(&mut self, service: &Service, addresses: &[IpAddr]) -> io::Result<()> {
        self.forget_announcements();
        if self.set_address {
            let mut inner = self.addresses.lock().await;
            if addresses.is_empty() {
                within(inner.release(service)).await?;
            } else {
                within(inner.acquire(service)).await?;
            }
        }
        let mut settled = self.wish.up_for(addresses);
        if !self.set_address {
            settled.wait().await;
        }
        Ok(())
    }
}

#[async_trait]
impl<A: Effects + 'static> Effects for Serving<A> {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        self.set(service, &service.addresses).await
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        self.set(service, &[]).await
    }

    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()> {
        let mut settled = self.wish.settled();
        if settled.is_settled() {
            return within(self.addresses.lock().await.announce(service, family)).await;
        }
        // Not waited for here, or a release would have to wait as well.
        let (addresses, service) = (self.addresses.clone(), service.clone());
        let name = self.name.clone();
        let task = tokio::spawn(async move {
            settled.wait().await;
            let announced = within(addresses.lock().await.announce(&service, family)).await;
            if let Err(error) = announced {
                warn!(host = %name, %family, %error, "announcement failed");
            }
        });
        let [v4, v6] = &mut self.announcements;
        let waiting = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        if let Some(former) = waiting.replace(task.abort_handle()) {
            former.abort();
        }
        Ok(())
    }
}

impl<A> Drop for Serving<A> {
    fn drop(&mut self) {
        for task in self.announcements.iter_mut().filter_map(Option::take) {
            task.abort();
        }
    }
}

async fn within(change: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::timeout(KERNEL, change)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

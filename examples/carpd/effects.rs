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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Mutex as Lock;

    use ha_core::carp_proto::{Config, Key, State, Vhid};
    use ha_core::io::{Driver, Handle, HostId, Limits, Setup, UdpTransport};
    use tempfile::TempDir;

    use super::super::config::Scripts;
    use super::*;

    const SHARED: &str = "192.0.2.1";

    /// Addresses that are only written down, in the file in which the scripts write, too.
    struct Notes(Arc<Lock<std::path::PathBuf>>);

    impl Notes {
        fn note(&self, what: &str) {
            let path = self.0.lock().unwrap();
            let text = std::fs::read_to_string(&*path).unwrap_or_default();
            std::fs::write(&*path, format!("{text}{what}\n")).unwrap();
        }
    }

    #[async_trait]
    impl Effects for Notes {
        async fn acquire(&mut self, _: &Service) -> io::Result<()> {
            self.note("acquire");
            Ok(())
        }

        async fn release(&mut self, _: &Service) -> io::Result<()> {
            self.note("release");
            Ok(())
        }

        async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
            self.note("announce");
            Ok(())
        }
    }

    struct Bench {
        handle: Handle,
        host: HostId,
        folder: TempDir,
    }

    impl Bench {
        /// A driver with one host, whose up script takes half a second.
        fn start(set_address: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            let scripts = Scripts {
                up: Some(script(folder.path(), "up", "sleep 0.5; echo up")),
                down: Some(script(folder.path(), "down", "echo down")),
                ..Scripts::default()
            };
            let name: HostName = "1@eth0".parse().unwrap();
            let (wish, worker) = Wish::new(name.clone(), scripts, Vec::new());
            tokio::spawn(worker);
            let notes = Arc::new(Mutex::new(Notes(Arc::new(Lock::new(log)))));
            let serving = Serving::new(name, notes, Arc::new(wish), set_address);

            let mut driver = Driver::new(Limits::default());
            let transport = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], &[]).unwrap();
            let segment = driver.add_segment(transport);
            let mut config = Config::new(Vhid::new(1).unwrap());
            config.announcements.repeats = 0;
            let shared = [SHARED.parse().unwrap()];
            let setup = Setup::new(config, Key::none(), &shared, serving);
            let host = driver.add(segment, setup).unwrap();
            let handle = driver.handle();
            tokio::spawn(driver.run());
            Self {
                handle,
                host,
                folder,
            }
        }

        async fn become_master(&self) {
            let forced = self.handle.force(self.host, State::Master).await;
            forced.unwrap();
        }

        /// Waits until this stands in the log.
        async fn expect(&self, lines: &[&str]) {
            let mut found = Vec::new();
            for _ in 0..200 {
                let text = std::fs::read_to_string(self.folder.path().join("log"));
                let text = text.unwrap_or_default();
                found = text.lines().map(str::to_owned).collect();
                if found == lines {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(found, lines);
        }
    }

    fn script(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = folder.join(name);
        let log = folder.join("log");
        std::fs::write(
            &path,
            format!("#!/bin/sh\n{{ {text}; }} >> {}\n", log.display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn addresses_are_announced_after_the_up_script() {
        for set_address in [true, false] {
            let bench = Bench::start(set_address);
            bench.become_master().await;
            let all = ["acquire", "up", "announce"];
            bench.expect(&all[usize::from(!set_address)..]).await;
        }
    }

    #[tokio::test]
    async fn a_slow_up_script_does_not_hold_up_a_release() {
        let bench = Bench::start(true);
        bench.become_master().await;
        bench.expect(&["acquire"]).await;
        let asked = tokio::time::Instant::now();
        bench.handle.shutdown().await.unwrap();
        assert!(asked.elapsed() < Duration::from_millis(400));
        bench.expect(&["acquire", "release", "up", "down"]).await;
    }

    #[tokio::test]
    async fn where_the_scripts_own_the_address_a_release_waits_for_them() {
        let bench = Bench::start(false);
        bench.become_master().await;
        // Before the up script has ended.
        bench.handle.shutdown().await.unwrap();
        bench.expect(&["up", "down"]).await;
    }
}

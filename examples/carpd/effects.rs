//! What becoming and ceasing to be master does to this machine: addresses first, then scripts.
//!
//! Where the daemon owns the addresses, they come and go at once, and the scripts follow in a
//! [worker](super::script::Wish) of their own, so that a slow one holds up neither a release
//! nor the announcements, nor the bow-out that follows a release. Where the scripts own them,
//! both wait: announcements for the up script, which sets what they announce, and a release for
//! the down script, since it is what releases.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use ha_core::carp_proto::Family;
use ha_core::io::{Effects, Service, async_trait};
use tokio::sync::Mutex;

use super::script::Wish;

/// How long the kernel may take for a change of addresses.
const KERNEL: Duration = Duration::from_secs(5);

/// What sets the addresses of a virtual host, and what it was last told to set. The driver uses
/// it, and the daemon when the driver is no more.
#[derive(Debug)]
pub(crate) struct Owner<A> {
    pub(crate) addresses: A,
    serving: Option<Service>,
}

impl<A: Effects> Owner<A> {
    pub(crate) fn new(addresses: A) -> Self {
        Self {
            addresses,
            serving: None,
        }
    }

    async fn set(&mut self, service: &Service, is_master: bool) -> io::Result<()> {
        if is_master {
            self.serving = Some(service.clone());
            within(self.addresses.acquire(service)).await
        } else {
            within(self.addresses.release(service)).await?;
            self.serving = None;
            Ok(())
        }
    }

    /// Releases what the driver has not released.
    pub(crate) async fn release_rest(&mut self) -> io::Result<()> {
        match self.serving.clone() {
            Some(service) => self.set(&service, false).await,
            None => Ok(()),
        }
    }
}

/// The addresses of one virtual host, and its scripts.
pub(crate) struct Serving<A> {
    owner: Arc<Mutex<Owner<A>>>,
    wish: Arc<Wish>,
    /// Whether the daemon sets the addresses.
    set_address: bool,
}

impl<A: Effects + 'static> Serving<A> {
    pub(crate) fn new(owner: Arc<Mutex<Owner<A>>>, wish: Arc<Wish>, set_address: bool) -> Self {
        Self {
            owner,
            wish,
            set_address,
        }
    }

    async fn set(&mut self, service: &Service, is_master: bool) -> io::Result<()> {
        if self.set_address {
            self.owner.lock().await.set(service, is_master).await?;
        }
        let addresses = match is_master {
            true => &*service.addresses,
            false => &[],
        };
        let mut settled = self.wish.up_for(addresses);
        if self.set_address {
            return Ok(());
        }
        settled.wait().await;
        match settled.failed().as_slice() {
            [] => Ok(()),
            failed => Err(io::Error::other(format!(
                "the up script did not run to its end for {failed:?}"
            ))),
        }
    }
}

#[async_trait]
impl<A: Effects + 'static> Effects for Serving<A> {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        self.set(service, true).await
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        self.set(service, false).await
    }

    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()> {
        within(self.owner.lock().await.addresses.announce(service, family)).await
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

    use super::super::config::{HostName, Scripts};
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
        owner: Arc<Mutex<Owner<Notes>>>,
        driver: tokio::task::JoinHandle<()>,
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
            let (wish, worker) = Wish::new(name, scripts, Vec::new());
            tokio::spawn(worker);
            let owner = Owner::new(Notes(Arc::new(Lock::new(log))));
            let owner = Arc::new(Mutex::new(owner));
            let serving = Serving::new(owner.clone(), Arc::new(wish), set_address);

            let mut driver = Driver::new(Limits::default());
            let transport = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], &[]).unwrap();
            let segment = driver.add_segment(transport);
            let mut config = Config::new(Vhid::new(1).unwrap());
            config.announcements.repeats = 0;
            let shared = [SHARED.parse().unwrap()];
            let setup = Setup::new(config, Key::none(), &shared, serving);
            let host = driver.add(segment, setup).unwrap();
            let handle = driver.handle();
            let driver = tokio::spawn(async { driver.run().await.unwrap() });
            Self {
                handle,
                host,
                folder,
                owner,
                driver,
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
    async fn addresses_are_announced_as_soon_as_they_are_there() {
        for (set_address, order) in [
            (true, &["acquire", "announce", "up"][..]),
            (false, &["up", "announce"]),
        ] {
            let bench = Bench::start(set_address);
            bench.become_master().await;
            bench.expect(order).await;
        }
    }

    #[tokio::test]
    async fn an_up_script_that_owns_the_address_is_tried_until_it_runs() {
        let bench = Bench::start(false);
        let up = bench.folder.path().join("up");
        let script = std::fs::read(&up).unwrap();
        std::fs::remove_file(&up).unwrap();
        bench.become_master().await;
        let mut failed = None;
        for _ in 0..100 {
            failed = bench.handle.status().await.unwrap().hosts[0].failed;
            if failed.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(failed, Some(ha_core::io::Effect::Acquire));
        // Whole at once, as the script may be run at any time.
        let whole = bench.folder.path().join("whole");
        std::fs::write(&whole, script).unwrap();
        std::fs::set_permissions(&whole, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&whole, &up).unwrap();
        bench.expect(&["up", "announce"]).await;
    }

    #[tokio::test]
    async fn what_a_driver_leaves_behind_is_released() {
        let bench = Bench::start(true);
        bench.become_master().await;
        bench.expect(&["acquire", "announce", "up"]).await;
        bench.driver.abort();
        bench.handle.ended().await;
        bench.owner.lock().await.release_rest().await.unwrap();
        bench
            .expect(&["acquire", "announce", "up", "release"])
            .await;
        // Not twice.
        bench.owner.lock().await.release_rest().await.unwrap();
        bench
            .expect(&["acquire", "announce", "up", "release"])
            .await;
    }

    #[tokio::test]
    async fn a_slow_up_script_does_not_hold_up_a_release() {
        let bench = Bench::start(true);
        bench.become_master().await;
        bench.expect(&["acquire", "announce"]).await;
        let asked = tokio::time::Instant::now();
        bench.handle.shutdown().await.unwrap();
        assert!(asked.elapsed() < Duration::from_millis(400));
        let all = ["acquire", "announce", "release", "up", "down"];
        bench.expect(&all).await;
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

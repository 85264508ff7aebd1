//! The devices of resources that are primary, as NBD clients see them: each by a UNIX socket of its
//! own, and all of them by TCP, if that is wanted.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::io::block::BlockDevice;
use ha_core::io::hast::NetAddress;
use ha_core::io::nbd::{ConnectionError, Export, Limits, Listener, Server};
use hast_proto::ResourceName;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::socket;

/// User and group may use a device.
const MODE: u32 = 0o660;

/// The port of NBD.
const NBD_PORT: u16 = 10809;
/// How long clients are waited for whose requests are under way when a device goes. A role must
/// not last longer because the disk of a node, or its peer, does not answer.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// All devices.
#[derive(Debug)]
pub(crate) struct Devices {
    folder: PathBuf,
    /// All of them, for TCP clients.
    network: Server,
    open: Mutex<BTreeMap<ResourceName, Open>>,
    /// What serves TCP clients; it ends with this.
    _listening: JoinSet<()>,
}

/// A device that is there.
#[derive(Debug)]
struct Open {
    export: String,
    path: PathBuf,
    server: Server,
    /// What serves the clients of the socket.
    serving: JoinSet<()>,
}

impl Devices {
    /// Makes the folder for the sockets, and listens on the addresses for TCP.
    pub(crate) async fn new(folder: &Path, addresses: &[String]) -> Result<Self, String> {
        let failed = |error| format!("the folder of the devices, {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let network = Server::new(Limits::default());
        let mut listening = JoinSet::new();
        for text in addresses {
            let failed = |error: &dyn core::fmt::Display| format!("--nbd-listen {text}: {error}");
            let address = NetAddress::parse(text, NBD_PORT).map_err(|error| failed(&error))?;
            let found = address.resolve().await.map_err(|error| failed(&error))?;
            for address in found {
                let listener = Listener::tcp(address).await;
                let listener = listener.map_err(|error| failed(&error))?;
                info!(%address, "listening for NBD clients");
                serve(&mut listening, network.clone(), listener, text.clone());
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            network,
            open: Mutex::default(),
            _listening: listening,
        })
    }

    /// Offers the device of a resource, as the provider's name. If there is one of this resource
    /// already, it goes.
    pub(crate) async fn open(
        &self,
        resource: &ResourceName,
        provider: &str,
        device: Arc<dyn BlockDevice>,
    ) -> Result<(), String> {
        self.close(resource).await;
        let path = self.folder.join(provider);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let socket = socket::bind(&path, MODE).await.map_err(failed)?;
        let server = Server::new(Limits::default());
        let mut serving = JoinSet::new();
        // Whoever comes to this socket need not name it.
        for name in [provider, ""] {
            let export = Export::new(name, device.clone());
            server.add(export).map_err(|error| error.to_string())?;
        }
        if let Err(error) = self.network.add(Export::new(provider, device)) {
            // Somebody may have removed it already.
            let _ = fs::remove_file(&path);
            return Err(error.to_string());
        }
        let listener = Listener::Unix(socket);
        serve(&mut serving, server.clone(), listener, provider.to_owned());
        info!(%resource, path = %path.display(), "device opened");
        let open = Open {
            export: provider.to_owned(),
            path,
            server,
            serving,
        };
        self.lock().insert(resource.clone(), open);
        Ok(())
    }

    /// Takes the device of a resource away, if there is one: its clients get answers to what is
    /// under way, or their connections end.
    pub(crate) async fn close(&self, resource: &ResourceName) {
        let Some(open) = self.lock().remove(resource) else {
            return;
        };
        // Somebody may have removed it already.
        let _ = fs::remove_file(&open.path);
        let removing = async {
            tokio::join!(
                open.server.remove(&open.export),
                open.server.remove(""),
                self.network.remove(&open.export),
            )
        };
        if timeout(GRACE, removing).await.is_err() {
            warn!(%resource, "device closed with requests under way");
        }
        drop(open.serving);
        info!(%resource, "device closed");
    }

    /// Takes all devices away.
    pub(crate) async fn close_all(&self) {
        let resources: Vec<_> = self.lock().keys().cloned().collect();
        for resource in resources {
            self.close(&resource).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves whoever comes to a socket, and logs what becomes of them.
fn serve(tasks: &mut JoinSet<()>, server: Server, listener: Listener, socket: String) {
    let report = move |error: ConnectionError| warn!(socket, reason = %error, "NBD client lost");
    tasks.spawn(async move { server.run(listener, report).await });
}

#[cfg(test)]
mod tests {
    use ha_core::io::block::MemoryDevice;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    fn name(name: &str) -> ResourceName {
        ResourceName::new(name).unwrap()
    }

    fn memory() -> Arc<dyn BlockDevice> {
        Arc::new(MemoryDevice::new(1 << 20))
    }

    #[tokio::test]
    async fn a_device_is_there_from_opening_to_closing() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("devices");
        let devices = Devices::new(&below, &[]).await.unwrap();
        let path = below.join("disk");
        devices
            .open(&name("shared"), "disk", memory())
            .await
            .unwrap();
        // And again, as when a role is given twice.
        devices
            .open(&name("shared"), "disk", memory())
            .await
            .unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        let mut greeting = [0; 16];
        client.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT");
        devices.close(&name("shared")).await;
        assert!(!path.exists());
        assert!(UnixStream::connect(&path).await.is_err());
        devices.close(&name("shared")).await;
    }

    #[tokio::test]
    async fn two_resources_cannot_have_a_device_of_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        let devices = Devices::new(folder.path(), &[]).await.unwrap();
        devices.open(&name("a"), "disk", memory()).await.unwrap();
        let refused = devices.open(&name("b"), "disk", memory()).await;
        assert!(refused.unwrap_err().contains("disk"));
        // That of the first stays when the second goes.
        devices.close(&name("b")).await;
        assert!(
            UnixStream::connect(folder.path().join("disk"))
                .await
                .is_ok()
        );
        devices.close_all().await;
        devices.open(&name("b"), "disk", memory()).await.unwrap();
    }

    #[tokio::test]
    async fn by_tcp_there_are_all_devices() {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let devices = Devices::new(folder.path(), &[address.to_string()]).await;
        let devices = devices.unwrap();
        devices.open(&name("a"), "disk", memory()).await.unwrap();
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut greeting = [0; 18];
        client.read_exact(&mut greeting).await.unwrap();
        // Fixed newstyle; then NBD_OPT_EXPORT_NAME, which is answered only if there is one.
        client.write_all(&[0, 0, 0, 1]).await.unwrap();
        client
            .write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\x04disk")
            .await
            .unwrap();
        assert_eq!(client.read_u64().await.unwrap(), 1 << 20);
        devices.close(&name("a")).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["unix:///x", "127.0.0.1:0x", "tcp6://127.0.0.1"] {
            let refused = Devices::new(folder.path(), &[wrong.to_owned()]).await;
            assert!(refused.unwrap_err().contains(wrong), "{wrong}");
        }
    }
}

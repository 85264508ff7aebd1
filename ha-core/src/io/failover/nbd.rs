//! The device of a replicated resource, for a client of NBD on this host.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::super::clock::within;
use super::super::hast::Resource;
use super::super::nbd::{ConnectionError, Limits, Listener, Server};
use super::command::Command;
use super::job::{Job, StepError};
use super::part::{Device, Export};
use super::service::DeviceFile;

/// How long clients may take to let go of a device that goes.
const GRACE: Duration = Duration::from_millis(500);

/// The device of a primary [`Resource`], served by NBD on a UNIX socket, and made a device of
/// this host by a command.
///
/// Both commands must be harmless when there is nothing to do. The one that detaches also takes
/// away what a process has left behind that was killed, though nobody serves the device then.
///
/// ```no_run
/// # fn example(resource: ha_core::io::hast::Resource) {
/// use ha_core::io::failover::{Command, NbdExport};
///
/// let attach = Command::new("nbd-client").args(["-unix", "/run/shared.nbd", "/dev/nbd0"]);
/// let detach = Command::new("nbd-client").args(["-d", "/dev/nbd0"]);
/// let export = NbdExport::new(resource, "/run/shared.nbd", "shared", "/dev/nbd0", attach, detach);
/// # }
/// ```
pub struct NbdExport {
    resource: Resource,
    socket: PathBuf,
    export: String,
    device: DeviceFile,
    attach: Command,
    detach: Command,
    report: Arc<dyn Fn(&ConnectionError) + Send + Sync>,
    open: Mutex<Option<Open>>,
}

/// What serves the clients. They break when it is dropped.
struct Open {
    server: Server,
    serving: JoinSet<()>,
}

impl fmt::Debug for NbdExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdExport")
            .field("resource", &self.resource)
            .field("socket", &self.socket)
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}

impl NbdExport {
    /// Serves the device on the socket under the name `export`, and has `attach` make `device` of
    /// it.
    #[must_use]
    pub fn new(
        resource: Resource,
        socket: impl Into<PathBuf>,
        export: impl Into<String>,
        device: impl Into<PathBuf>,
        attach: Command,
        detach: Command,
    ) -> Self {
        Self {
            resource,
            socket: socket.into(),
            export: export.into(),
            device: DeviceFile::new(device),
            attach,
            detach,
            report: Arc::new(|_| {}),
            open: Mutex::default(),
        }
    }

    /// Has it told why connections of clients have broken.
    #[must_use]
    pub fn report(mut self, report: impl Fn(&ConnectionError) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    async fn open(&self) -> Result<Open, StepError> {
        let other = |error| StepError::Other(error);
        let device = self.resource.device().await;
        let device = device.map_err(|error| other(Box::new(error)))?;
        let server = Server::new(Limits::default());
        let export = super::super::nbd::Export::new(&self.export, device);
        let added = server.add(export);
        added.map_err(|error| other(Box::new(error)))?;
        let listener = Listener::unix(&self.socket).await?;
        let mut serving = JoinSet::new();
        let running = server.clone();
        let report = Arc::clone(&self.report);
        serving.spawn(async move { running.run(listener, |why| report(&why)).await });
        Ok(Open { server, serving })
    }
}

#[async_trait]
impl Export for NbdExport {
    async fn attach(&self, job: &Job) -> Result<(), StepError> {
        {
            let mut open = self.open.lock().await;
            if open.is_none() {
                *open = Some(self.open().await?);
            }
        }
        self.attach.run(job).await?;
        self.device.appear(job).await
    }

    async fn detach(&self, job: &Job) -> Result<(), StepError> {
        self.detach.run(job).await?;
        let Some(mut open) = self.open.lock().await.take() else {
            return Ok(());
        };
        // Its clients have gone, but for those that nobody knows of.
        within(GRACE, open.server.remove(&self.export)).await;
        open.serving.shutdown().await;
        remove(&self.socket)
    }
}

/// Removes a socket; that there is none is well.
fn remove(path: &Path) -> Result<(), StepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

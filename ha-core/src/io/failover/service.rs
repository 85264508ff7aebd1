//! Services, fences and devices of the usual kinds.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::path::PathBuf;
use std::string::String;
use std::sync::Arc;

use async_trait::async_trait;

use super::clock;
use super::command::Command;
use super::job::{Job, StepError};
use super::part::{Device, Fence, Service};

/// A service that is started and stopped by commands, as by the scripts of rc.d.
///
/// Each must be harmless when there is nothing to do. What ends with success, and what is ended
/// because its time is over, leaves nothing in its process group but what
/// [`Command::keep_leftovers`] keeps.
#[derive(Clone, Debug)]
pub struct CommandService {
    start: Command,
    stop: Command,
    drain: Option<Command>,
    kill: Option<Command>,
}

impl CommandService {
    /// A service with these two commands. Stopping it is also the way to kill it.
    #[must_use]
    pub fn new(start: Command, stop: Command) -> Self {
        Self {
            start,
            stop,
            drain: None,
            kill: None,
        }
    }

    /// Has this command let it finish its work.
    #[must_use]
    pub fn drained_by(mut self, drain: Command) -> Self {
        self.drain = Some(drain);
        self
    }

    /// Has this command kill it.
    #[must_use]
    pub fn killed_by(mut self, kill: Command) -> Self {
        self.kill = Some(kill);
        self
    }
}

#[async_trait]
impl Service for CommandService {
    async fn start(&self, job: &Job) -> Result<(), StepError> {
        self.start.run(job).await.map(drop)
    }

    async fn drain(&self, job: &Job) -> Result<(), StepError> {
        match &self.drain {
            Some(drain) => drain.run(job).await.map(drop),
            None => Ok(()),
        }
    }

    async fn stop(&self, job: &Job) -> Result<(), StepError> {
        self.stop.run(job).await.map(drop)
    }

    async fn kill(&self, job: &Job) -> Result<(), StepError> {
        let kill = self.kill.as_ref().unwrap_or(&self.stop);
        kill.run(job).await.map(drop)
    }
}

/// A unit of systemd, by the command `systemctl`, which waits for the unit.
///
/// A start that is cancelled goes on in systemd until the stop that follows takes its place.
#[derive(Clone, Debug)]
pub struct SystemdUnit {
    name: Arc<str>,
    systemctl: PathBuf,
}

impl SystemdUnit {
    /// The unit of this name, such as `postgresql.service`. systemd itself must neither enable it
    /// nor start it again after it was stopped.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            systemctl: "systemctl".into(),
        }
    }

    /// Uses this program.
    #[must_use]
    pub fn systemctl(mut self, program: impl Into<PathBuf>) -> Self {
        self.systemctl = program.into();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let command = Command::new(&self.systemctl).args(args);
        command.arg("--").arg(&*self.name)
    }

    /// What systemd says of it, in one word.
    async fn state(&self, job: &Job) -> Result<String, StepError> {
        let show = self.command(&["show", "--property=ActiveState", "--value"]);
        let said = show.run(job).await?;
        Ok(String::from_utf8_lossy(said.octets()).trim().into())
    }

    /// Has it stop, which is done when it has, whatever the command says.
    async fn halt(&self, job: &Job) -> Result<(), StepError> {
        let stopped = self.command(&["stop"]).run(job).await;
        if let Err(StepError::Cancelled) = stopped {
            return Err(StepError::Cancelled);
        }
        match self.state(job).await?.as_str() {
            "inactive" | "failed" => Ok(()),
            state => {
                stopped?;
                Err(self.is(state))
            }
        }
    }

    fn is(&self, state: &str) -> StepError {
        StepError::Unit {
            unit: self.name.clone(),
            state: state.into(),
        }
    }
}

#[async_trait]
impl Service for SystemdUnit {
    async fn start(&self, job: &Job) -> Result<(), StepError> {
        self.command(&["start"]).run(job).await?;
        match self.state(job).await?.as_str() {
            "active" | "reloading" => Ok(()),
            state => Err(self.is(state)),
        }
    }

    async fn stop(&self, job: &Job) -> Result<(), StepError> {
        self.halt(job).await
    }

    async fn kill(&self, job: &Job) -> Result<(), StepError> {
        let killed = self.command(&["kill", "--signal=SIGKILL"]).run(job).await;
        if let Err(StepError::Cancelled) = killed {
            return Err(StepError::Cancelled);
        }
        // There may have been nothing to kill. What counts is its state.
        self.halt(job).await
    }
}

/// A service of the embedding program: two functions.
///
/// The futures of both are dropped when their step is cancelled.
///
/// ```
/// use ha_core::io::failover::InProcess;
///
/// let service = InProcess::new(
///     |job| async move {
///         println!("{} at your service", job.step);
///         Ok(())
///     },
///     |_| async { Ok(()) },
/// );
/// ```
pub struct InProcess<S, T> {
    start: S,
    stop: T,
}

impl<S, T, F, G> InProcess<S, T>
where
    S: Fn(Job) -> F + Send + Sync,
    T: Fn(Job) -> G + Send + Sync,
    F: Future<Output = Result<(), StepError>> + Send,
    G: Future<Output = Result<(), StepError>> + Send,
{
    /// Puts the two together.
    pub fn new(start: S, stop: T) -> Self {
        Self { start, stop }
    }
}

impl<S, T> fmt::Debug for InProcess<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[async_trait]
impl<S, T, F, G> Service for InProcess<S, T>
where
    S: Fn(Job) -> F + Send + Sync,
    T: Fn(Job) -> G + Send + Sync,
    F: Future<Output = Result<(), StepError>> + Send,
    G: Future<Output = Result<(), StepError>> + Send,
{
    async fn start(&self, job: &Job) -> Result<(), StepError> {
        job.unless_cancelled((self.start)(job.clone())).await
    }

    async fn stop(&self, job: &Job) -> Result<(), StepError> {
        job.unless_cancelled((self.stop)(job.clone())).await
    }

    async fn kill(&self, job: &Job) -> Result<(), StepError> {
        self.stop(job).await
    }
}

/// A command that fences a node: it ends with success only when that node cannot write.
#[async_trait]
impl Fence for Command {
    async fn fence(&self, job: &Job) -> Result<(), StepError> {
        self.run(job).await.map(drop)
    }
}

/// A device that appears as a file, which is looked for ten times a second.
#[derive(Clone, Debug)]
pub struct DeviceFile {
    path: PathBuf,
}

impl DeviceFile {
    /// The device of this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn is_there(&self) -> bool {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = std::fs::metadata(&self.path).map(|found| found.file_type());
        // Disks of FreeBSD are character devices.
        kind.is_ok_and(|kind| kind.is_block_device() || kind.is_char_device())
    }
}

#[async_trait]
impl Device for DeviceFile {
    async fn appear(&self, job: &Job) -> Result<(), StepError> {
        let wait = async {
            while !self.is_there() {
                clock::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        job.unless_cancelled(wait).await
    }
}

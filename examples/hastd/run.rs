//! From the command line to the end: the signals, and what each of them means.

use core::fmt;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::process::Child;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::daemon::{Daemon, Wanted};
use super::end::End;
use super::node::{self, LoadError};
use super::options::Options;
use super::{background, identity, notify, resource};

/// How long the end waits for system calls that hang, such as those of a dead disk.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Why the program ended other than well, and the status for it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Failure {
    /// The statuses of `sysexits.h`.
    pub(crate) const USAGE: u8 = 64;
    pub(crate) const SOFTWARE: u8 = 70;
    pub(crate) const SYSTEM: u8 = 71;
    pub(crate) const TEMPORARY: u8 = 75;
    pub(crate) const CONFIGURATION: u8 = 78;

    pub(crate) fn new(status: u8, text: impl fmt::Display) -> Self {
        Self {
            status,
            text: text.to_string(),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::new(error.exit_status(), &error)
    }
}

/// Does what the command line says, until a signal ends it.
pub(crate) fn start(options: Options) -> Result<(), Failure> {
    let wanted = load(&options)?;
    if options.check {
        info!(
            resources = wanted.config.resources.len(),
            "the configuration is right"
        );
        return Ok(());
    }
    let failed = |error: io::Error| Failure::new(Failure::SOFTWARE, error);
    if options.detached {
        background::detach().map_err(failed)?;
    } else if !options.foreground {
        return background::start("daemon")
            .and_then(wait_until_ready)
            .map_err(failed)?;
    }
    // One thread: a request goes from its client to the peer and back without waking another.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ended = runtime.block_on(run(options, wanted));
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

/// Reads the configuration and the certificates, and sees to it that this program can do all that
/// is asked for.
fn load(options: &Options) -> Result<Wanted, Failure> {
    let config = node::load(&options.config, options.node.as_deref())?;
    for resource in &config.resources {
        resource::settings(resource, options.peering()).map_err(|refused| {
            let text = format!("resource {}: {}", resource.name, refused.text);
            Failure::new(Failure::CONFIGURATION, text)
        })?;
    }
    let identity = identity::load(&config);
    let identity = identity.map_err(|error| Failure::new(Failure::CONFIGURATION, error))?;
    Ok(Wanted { config, identity })
}

/// Waits until the program in the background says that it is ready, or has ended.
fn wait_until_ready(mut child: Child) -> io::Result<Result<(), Failure>> {
    let said = child.stdout.take().map(|mut stdout| stdout.read(&mut [0]));
    if matches!(said, Some(Ok(1))) {
        return Ok(Ok(()));
    }
    let status = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    let text = "it has ended in the background; the log says why";
    let status = status.unwrap_or(Failure::SOFTWARE);
    Ok(Err(Failure::new(status, text)))
}

async fn run(options: Options, wanted: Wanted) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Failure::SOFTWARE, error);
    let mut end = End::listen().map_err(failed)?;
    let mut reloads = signal(SignalKind::hangup()).map_err(failed)?;
    let options = Arc::new(options);
    let mut daemon = Daemon::start(options.clone(), wanted).await?;
    // As long as the runtime that all resources run on comes round.
    tokio::spawn(notify::watchdog(async || true));
    notify::tell(&[NotifyState::Ready]).await;
    if options.detached {
        // To whoever started this; it may be gone.
        let _ = io::stdout()
            .write_all(b".")
            .and_then(|()| io::stdout().flush());
    }
    info!("running");
    loop {
        tokio::select! {
            biased;
            () = end.wait() => break,
            _ = reloads.recv() => {
                let ended = tokio::select! {
                    biased;
                    () = end.wait() => true,
                    () = reload(&options, &mut daemon) => false,
                };
                if ended {
                    break;
                }
            }
        }
    }
    notify::tell(&[NotifyState::Stopping]).await;
    info!("ending, as a signal says");
    tokio::select! {
        ended = daemon.shut_down() => ended,
        () = end.wait() => Err(Failure::new(Failure::SOFTWARE, "ended at once by a second signal")),
    }
}

/// Reads configuration and certificates again. What is wrong changes nothing.
async fn reload(options: &Arc<Options>, daemon: &mut Daemon) {
    notify::reloading().await;
    let again = options.clone();
    // Beside the resources, which do not wait for a disk.
    let loaded = tokio::task::spawn_blocking(move || load(&again)).await;
    let loaded = match loaded {
        Ok(loaded) => loaded.map_err(|failure| failure.text),
        Err(error) => Err(error.to_string()),
    };
    match loaded {
        Ok(wanted) => match daemon.apply(wanted).await {
            Ok(()) => info!("the new configuration is in force"),
            Err(error) => error!(%error, "not all of the new configuration is in force"),
        },
        Err(error) => error!(%error, "the former configuration stays in force"),
    }
    notify::tell(&[NotifyState::Ready]).await;
}

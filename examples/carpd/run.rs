//! From the command line to the end: the signals, and what each of them means.

use core::time::Duration;
use std::sync::Arc;

use ha_core::io::linux::Network;
use ha_core::io::{Driver, Handle, Limits};
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tracing::{error, info, warn};

use super::config::Config;
use super::daemon::{Daemon, Refusal};
use super::end::End;
use super::log::{self, Names};
use super::options::Options;
use super::vhost::Rules;
use super::{background, control, notify, process, systemd};

/// Effects bound themselves: the kernel has five seconds for each change of addresses, and
/// scripts have limits of their own, one after the other. These bounds are behind those.
const BACKSTOP: Duration = Duration::from_secs(3600);

/// How long the end waits for a configuration that is just being read.
const LAST_FILE: Duration = Duration::from_secs(1);

/// Why the program ended other than well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or the configuration are wrong.
    Configuration(String),
    /// Something failed later.
    Running(String),
}

/// Does what the command line says, until a signal ends it.
pub(crate) fn start(options: &Arc<Options>) -> Result<(), Failure> {
    let config = options.load().map_err(Failure::Configuration)?;
    tell_doubts(&config);
    if options.check {
        info!(hosts = config.hosts.len(), "the configuration is right");
        return Ok(());
    }
    if options.shows_passphrase() {
        warn!("every user can see --pass in the list of processes; prefer --passfile");
    }
    let failed = |error: &dyn core::fmt::Display| Failure::Running(error.to_string());
    if let Some(facility) = options.background() {
        return background::start(facility)
            .map(drop)
            .map_err(|error| failed(&error));
    }
    if options.detached {
        background::detach().map_err(|error| failed(&error))?;
    }
    process::settle_priority(options.realtime, config.is_fast()).map_err(Failure::Running)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let ended = runtime.block_on(run(options, config));
    // A file that is read for a reload is not waited for, should its server not answer.
    runtime.shutdown_timeout(LAST_FILE);
    ended.map_err(Failure::Running)
}

fn tell_doubts(config: &Config) {
    for doubt in config.doubts() {
        warn!("{doubt}");
    }
}

async fn run(options: &Arc<Options>, config: Config) -> Result<(), String> {
    let text = |error: &dyn core::fmt::Display| error.to_string();
    let mut end = End::listen().map_err(|error| text(&error))?;
    let listen = |kind| signal(kind).map_err(|error| text(&error));
    let mut reloads = listen(SignalKind::hangup())?;
    let mut questions = listen(SignalKind::user_defined1())?;
    let mut step_downs = listen(SignalKind::user_defined2())?;
    let network = Network::open().map_err(|error| text(&error))?;
    let mut limits = Limits::default();
    limits.effect = BACKSTOP;
    limits.shutdown = BACKSTOP;
    limits.events = 1024;
    let driver = Driver::new(limits);
    let (handle, events) = (driver.handle(), driver.events());
    let names = Arc::new(Names::default());
    let changed = Arc::new(Notify::new());

    let mut running = tokio::spawn(driver.run());
    let logging = tokio::spawn({
        let (names, changed) = (names.clone(), changed.clone());
        async move { log::driver(events, &names, || changed.notify_one()).await }
    });
    tokio::spawn({
        let (events, names) = (network.events(), names.clone());
        async move { log::network(events, &names).await }
    });
    let (fatal, mut failures) = mpsc::channel(1);
    let mut daemon = Daemon::new(network, handle.clone(), names.clone(), fatal);
    if let Err(error) = daemon.apply(config).await {
        // What did begin does not stay behind.
        let _ = daemon.shut_down().await;
        return Err(error.to_string());
    }
    // The driver answers from the loop that keeps the time of the protocol.
    let driver = handle.clone();
    tokio::spawn(notify::watchdog(async move || driver.ping().await.is_ok()));
    tokio::spawn(systemd::roles(
        handle.clone(),
        changed.clone(),
        names.clone(),
    ));
    notify::tell(&[NotifyState::Ready]).await;
    changed.notify_one();
    info!("running");

    let failure = loop {
        tokio::select! {
            biased;
            () = end.wait() => break None,
            ended = &mut running => break Some(match ended {
                Ok(Ok(())) => "the driver has ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            }),
            Some(error) = failures.recv() => break Some(error),
            _ = questions.recv() => dump(&handle, &names).await,
            _ = step_downs.recv() => {
                info!("stepping down, as a signal says");
                if let Err(error) = control::step_down(&handle).await {
                    warn!(%error, "cannot step down");
                }
            }
            _ = reloads.recv() => {
                let ended = tokio::select! {
                    biased;
                    // Not held up by what takes long to leave.
                    () = end.wait() => true,
                    () = reload(options, &mut daemon) => false,
                };
                if ended {
                    break None;
                }
                changed.notify_one();
            }
        }
    };
    notify::tell(&[NotifyState::Stopping]).await;
    info!("ending");
    let ended = tokio::select! {
        ended = daemon.shut_down() => ended,
        () = end.wait() => return Err("ended at once by a second signal".to_owned()),
    };
    // It ends with the driver's events.
    let _ = logging.await;
    match failure {
        Some(failure) => Err(failure),
        None => ended,
    }
}

/// Reads the configuration again. One that is wrong changes nothing.
async fn reload(options: &Arc<Options>, daemon: &mut Daemon) {
    notify::reloading().await;
    let asked = options.realtime;
    let options = options.clone();
    // Beside the protocol, which does not wait for a disk.
    let loaded = tokio::task::spawn_blocking(move || options.load()).await;
    let loaded = loaded.unwrap_or_else(|error| Err(error.to_string()));
    if let Ok(config) = &loaded {
        tell_doubts(config);
        if let Err(error) = process::settle_priority(asked, config.is_fast()) {
            warn!(%error, "the priority stays as it is");
        }
    }
    match loaded {
        Ok(config) => match daemon.apply(config).await {
            Ok(()) => info!("the new configuration is in force"),
            Err(Refusal::Nothing(error)) => {
                error!(%error, "the former configuration stays in force");
            }
            Err(Refusal::Partly(error)) => {
                error!(%error, "not all of the new configuration is in force");
            }
        },
        Err(error) => error!(%error, "the former configuration stays in force"),
    }
    notify::tell(&[NotifyState::Ready]).await;
}

/// Logs the status, a line for each host.
async fn dump(handle: &Handle, names: &Names) {
    let Ok(status) = handle.status().await else {
        return;
    };
    info!(demotion = status.demotion, reasons = ?status.reasons, "status");
    for host in &status.hosts {
        let interface = names.segment(host.segment);
        let dialect = names.dialect(host.host);
        let [(rank, rank_value), (pace, pace_value)] = control::pace(host, dialect);
        info!(
            %interface,
            vhid = %host.vhid,
            state = %host.state,
            addresses = ?host.addresses,
            serving = ?host.serving,
            failed = ?host.failed,
            rules = ?dialect.and_then(Rules::of),
            "status, {rank} {rank_value}, {pace} {pace_value}"
        );
    }
    info!(stats = ?status.stats(), "status");
}

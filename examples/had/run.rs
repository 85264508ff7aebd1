//! From the command line to the end of a node: the signals, and what each of them means.

use core::time::Duration;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::config::Config;
use super::end::End;
use super::node::Node;
use super::notify;
use super::watch::Watch;

/// How long the end waits for what still runs in threads: a file system or a disk may hang.
const LAST_WORK: Duration = Duration::from_secs(1);
/// How often systemd is told what the units do.
const STATUS: Duration = Duration::from_secs(5);

/// Runs a node until a signal ends it.
pub(crate) fn start(config: &Config) -> Result<(), String> {
    // One thread: so a request goes from the device to the peer and back without waking another.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let ended = runtime.block_on(run(config));
    runtime.shutdown_timeout(LAST_WORK);
    ended
}

async fn run(config: &Config) -> Result<(), String> {
    let mut end = End::listen().map_err(|error| error.to_string())?;
    let mut hangups = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    let (fatal, mut failures) = mpsc::channel(1);
    let node = Node::start(config, &fatal).await?;
    // The driver answers from the loop in which everything runs.
    let driver = node.driver().clone();
    tokio::spawn(notify::watchdog(async move || driver.ping().await.is_ok()));
    let status = tokio::spawn(status(node.watch().clone()));
    notify::tell(&[NotifyState::Ready]).await;
    info!("running");

    let failure = loop {
        tokio::select! {
            biased;
            () = end.wait() => break None,
            Some(failure) = failures.recv() => break Some(failure),
            _ = hangups.recv() => {
                notify::reloading().await;
                if let Some(journal) = &node.watch().journal {
                    journal.reopen();
                }
                warn!("the configuration is read at the start only: restart to change it");
                notify::tell(&[NotifyState::Ready]).await;
            }
        }
    };
    if let Some(failure) = &failure {
        error!("{failure}");
    }
    notify::tell(&[NotifyState::Stopping]).await;
    info!("ending");
    status.abort();
    let ended = tokio::select! {
        ended = node.shut_down() => ended,
        () = end.wait() => return Err("ended at once by a second signal".to_owned()),
    };
    match failure {
        Some(failure) => Err(failure),
        None => ended,
    }
}

/// Tells systemd what each unit does: `files active, web standby`.
async fn status(watch: Arc<Watch>) {
    let mut before = String::new();
    let mut ticks = tokio::time::interval(STATUS);
    loop {
        ticks.tick().await;
        let mut line = String::new();
        for unit in &watch.units {
            if let Ok(status) = unit.handle.status().await {
                let comma = if line.is_empty() { "" } else { ", " };
                line.push_str(&format!("{comma}{} {}", status.name, status.state));
            }
        }
        if line != before {
            notify::tell(&[NotifyState::Status(&line)]).await;
            before = line;
        }
    }
}

//! Tells systemd, where it started this program.

use core::fmt::Write;
use core::time::Duration;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};

use sd_notify::NotifyState;
use tokio::net::UnixDatagram;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::warn;

/// How long systemd may leave its messages unread before one is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells something; without systemd, nobody. Meanwhile the protocol goes on.
pub(crate) async fn tell(states: &[NotifyState<'_>]) {
    let Some(manager) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let mut message = String::new();
    for state in states {
        let _ = writeln!(message, "{state}");
    }
    let sent = timeout(PATIENCE, send(&manager, &message)).await;
    let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if let Err(error) = sent {
        warn!(%error, "systemd cannot be told");
    }
}

/// Not by the crate, which would wait in the kernel, and with it the loop that keeps the time of
/// the protocol, for as long as the queue of the socket is full.
async fn send(manager: &OsStr, message: &str) -> io::Result<()> {
    let path = manager.as_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(manager)?,
    };
    let socket = StdDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    UnixDatagram::from_std(socket)?
        .send(message.as_bytes())
        .await
        .map(drop)
}

/// Pings the watchdog of systemd, if it has one for this program, for as long as what keeps the time
/// of the protocol still answers.
pub(crate) async fn watchdog(is_alive: impl AsyncFn() -> bool) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(limit / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !is_alive().await {
            return;
        }
        tell(&[NotifyState::Watchdog]).await;
    }
}

/// Tells that the configuration is read again; [`NotifyState::Ready`] ends it.
pub(crate) async fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]).await,
        Err(_) => tell(&[NotifyState::Reloading]).await,
    }
}

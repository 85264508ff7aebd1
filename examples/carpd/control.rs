//! The status socket: a client connects, sends a command in one line or nothing, and reads one
//! JSON document to the end.

use core::time::Duration;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ha_core::carp_proto::{State, Stats};
use ha_core::io::{Handle, HostStatus, Status};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::config::HostName;
use super::log::Names;

/// How many clients are served at a time; others wait.
const CLIENTS: usize = 16;
/// How long a client may take for all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command is waited for from a client that says nothing.
const SILENCE: Duration = Duration::from_millis(200);
/// The longest command.
const MAX_COMMAND: usize = 256;

/// The socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket. A file that is there is replaced only if it is a socket on which
    /// nobody answers.
    pub(crate) fn open(path: &Path, handle: Handle, names: Arc<Names>) -> io::Result<Self> {
        let listener = bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(serve(listener, handle, names)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let in_use = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        other => return other,
    };
    match Blocking::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(in_use),
    }
    // A regular file refuses connections, too.
    let is_socket = {
        use std::os::unix::fs::FileTypeExt;
        fs::symlink_metadata(path)?.file_type().is_socket()
    };
    if !is_socket {
        return Err(in_use);
    }
    fs::remove_file(path)?;
    UnixListener::bind(path)
}

async fn serve(listener: UnixListener, handle: Handle, names: Arc<Names>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let (handle, names) = (handle.clone(), names.clone());
                tokio::spawn(async move {
                    // One that is slow or gone loses its answer, and nobody else notices.
                    let _ = timeout(PATIENCE, answer(client, &handle, &names)).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "status socket");
                tokio::time::sleep(SILENCE).await;
            }
        }
    }
}

async fn answer(mut client: UnixStream, handle: &Handle, names: &Names) -> io::Result<()> {
    let reply = match read_command(&mut client).await? {
        Some(command) => match obey(&command, handle, names).await {
            Ok(document) => document,
            Err(error) => json!({ "error": error }),
        },
        None => json!({ "error": format!("a command has at most {MAX_COMMAND} bytes") }),
    };
    let mut text = reply.to_string();
    text.push('\n');
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// Reads a line; nothing is one as well, and none is too long a line.
async fn read_command(client: &mut UnixStream) -> io::Result<Option<String>> {
    let mut line = Vec::with_capacity(MAX_COMMAND);
    loop {
        let limit = if line.is_empty() { SILENCE } else { PATIENCE };
        let mut chunk = [0; MAX_COMMAND];
        let count = match timeout(limit, client.read(&mut chunk)).await {
            Ok(count) => count?,
            Err(_) => 0,
        };
        let text = chunk.get(..count).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == b'\n');
        line.extend(text.iter().take(end.unwrap_or(count)));
        if line.len() > MAX_COMMAND {
            return Ok(None);
        }
        if count == 0 || end.is_some() {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

/// A command of a client.
#[derive(Debug, Eq, PartialEq)]
enum Command {
    Status,
    Demote(String, i32),
    Restore(String),
    StepDown(Option<HostName>),
}

fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words.as_slice() {
        [] | ["status"] => Ok(Command::Status),
        ["demote", name, amount] => match amount.parse() {
            Ok(amount) => Ok(Command::Demote((*name).to_owned(), amount)),
            Err(_) => Err(format!("{amount:?} is not a number")),
        },
        ["restore", name] => Ok(Command::Restore((*name).to_owned())),
        ["stepdown"] => Ok(Command::StepDown(None)),
        ["stepdown", name] => name.parse().map(|name| Command::StepDown(Some(name))),
        _ => Err(
            "unknown command; there are: status, demote NAME AMOUNT, restore NAME, \
             stepdown [VHID@INTERFACE]"
                .to_owned(),
        ),
    }
}

async fn obey(line: &str, handle: &Handle, names: &Names) -> Result<Value, String> {
    let text = |error: ha_core::io::CommandError| error.to_string();
    let command = parse(line)?;
    if command != Command::Status {
        info!(?command, "command by the status socket");
    }
    match command {
        Command::Status => {}
        Command::Demote(name, amount) => handle.demote(&name, amount).await.map_err(text)?,
        Command::Restore(name) => handle.restore(&name).await.map_err(text)?,
        Command::StepDown(None) => step_down(handle).await?,
        Command::StepDown(Some(name)) => {
            let host = names
                .find_host(&name)
                .ok_or_else(|| format!("no host {name}"))?;
            handle.force(host, State::Backup).await.map_err(text)?;
        }
    }
    let status = handle.status().await.map_err(text)?;
    Ok(document(&status, names))
}

/// Has all masters give up their roles; a peer takes them, or they come back after the dead
/// time.
pub(crate) async fn step_down(handle: &Handle) -> Result<(), String> {
    let status = handle.status().await.map_err(|error| error.to_string())?;
    for host in status.hosts {
        if host.state == State::Master {
            let forced = handle.force(host.host, State::Backup).await;
            forced.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The status as a client reads it.
pub(crate) fn document(status: &Status, names: &Names) -> Value {
    let reasons = status.reasons.iter();
    let segments = status.segments.iter();
    json!({
        "demotion": status.demotion,
        "reasons": reasons
            .map(|(name, amount)| json!({ "name": **name, "amount": amount }))
            .collect::<Vec<_>>(),
        "hosts": status.hosts.iter().map(|host| one(host, names)).collect::<Vec<_>>(),
        "interfaces": segments
            .map(|segment| json!({
                "name": names.segment(segment.segment),
                "strangers": segment.strangers,
                "stats": stats(&segment.stats),
            }))
            .collect::<Vec<_>>(),
        "stats": stats(&status.stats()),
    })
}

fn one(host: &HostStatus, names: &Names) -> Value {
    let now = Instant::now();
    let until =
        |at: Option<Instant>| at.map(|at| (at.saturating_duration_since(now)).as_secs_f64());
    json!({
        "interface": names.segment(host.segment),
        "vhid": host.vhid.get(),
        "state": host.state.to_string(),
        "addresses": &*host.addresses,
        "serving": host.serving.as_deref(),
        "failed": host.failed.map(|effect| effect.to_string()),
        "pending_effects": host.pending_effects,
        "advbase": host.settings.advbase.get(),
        "advskew": host.settings.advskew.get(),
        "preempt": host.settings.preempt,
        "counter": format!("{:016x}", host.counter),
        "next_advertisement": until(host.next_advertisement),
        "master_down": until(host.master_down),
        "stats": stats(&host.stats),
    })
}

fn stats(stats: &Stats) -> Map<String, Value> {
    stats
        .named()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect()
}

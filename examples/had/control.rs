//! The control socket: a client writes requests, one JSON object a line, and reads an answer for
//! each, one JSON object a line. Only root may connect.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ha_core::failover::{Command, Preview};
use ha_core::io::failover::UnitCommandError;
use ha_core::io::hast::{Discard, DiscardError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::events::{NodeTold, UnitNames, action, word};
use super::overview::Overview;
use super::peers::Peers;
use super::snapshot::State;
use super::watch::{Watch, Watched};
use super::{clients, socket};

/// How many clients are served at a time; others wait.
const CLIENTS: usize = 16;
/// How long a client may take for its next request, and to take the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a client still waits for an answer that takes long.
const LOOK: Duration = Duration::from_millis(250);
/// The longest request.
const MAX_REQUEST: u64 = 4096;
/// Whoever commands a node can stop its services.
const MODE: u32 = 0o600;

/// A request: the field `command`, and what belongs to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Everything there is to know.
    Status {},
    /// To do something with a unit.
    Order { order: Order, unit: String },
    /// To tell what that would do.
    DryRun { order: Order, unit: String },
    /// To discard what this node has changed alone, after it was saved to a file. It is given up if
    /// the client goes before the file is whole.
    Discard {
        unit: String,
        /// Where to save it, as an absolute path.
        save: PathBuf,
        /// Whether to do it although no split brain was found.
        #[serde(default)]
        force: bool,
    },
}

/// What can be done with a unit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    Promote,
    Force,
    Demote,
    Switch,
    Maintenance,
    Resume,
}

impl From<Order> for Command {
    fn from(order: Order) -> Self {
        match order {
            Order::Promote => Self::Promote,
            Order::Force => Self::Force,
            Order::Demote => Self::Demote,
            Order::Switch => Self::SwitchOver,
            Order::Maintenance => Self::Maintenance,
            Order::Resume => Self::Resume,
        }
    }
}

/// An answer: one field, by which it is known.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Status(Box<Overview>),
    /// It is begun.
    Begun {},
    /// What would be done.
    Plan(Plan),
    /// It was saved, and is discarded.
    Discarded(Saved),
    Error(Fault),
}

/// What an order would do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Planned>,
    /// The state in which that ends, or in which something is waited for.
    pub(crate) state: State,
    /// Why this node would not be promoted.
    pub(crate) blocked: Option<String>,
    /// Why the order would be refused.
    pub(crate) refused: Option<String>,
    /// For what this node would be demoted then.
    pub(crate) causes: Vec<String>,
}

/// A step that would be done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Planned {
    pub(crate) step: String,
    pub(crate) action: String,
}

/// What a discard has saved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Saved {
    pub(crate) extents: u32,
    pub(crate) octets: u64,
    /// Whether what the other node has changed is among it.
    pub(crate) with_peer: bool,
}

/// Why a request is not followed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// It is no request.
    Malformed,
    /// There is no such unit.
    NoSuchUnit,
    /// The unit's machine refuses it, or its storage.
    Refused,
    /// The unit has ended.
    Ended,
}

impl FaultKind {
    /// What it is counted as.
    const fn why(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoSuchUnit => "no-such-unit",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

impl Fault {
    fn new(kind: FaultKind, text: impl ToString) -> Self {
        let text = text.to_string();
        Self { kind, text }
    }
}

impl From<DiscardError> for Fault {
    fn from(error: DiscardError) -> Self {
        match error {
            DiscardError::Ended(_) => Self::new(FaultKind::Ended, error),
            _ => Self::new(FaultKind::Refused, error),
        }
    }
}

impl From<UnitCommandError> for Fault {
    fn from(error: UnitCommandError) -> Self {
        match error {
            UnitCommandError::Refused(refusal) => Self::new(FaultKind::Refused, refusal),
            _ => Self::new(FaultKind::Ended, error),
        }
    }
}

/// The socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket. A file that is there is replaced only if it is a socket on which nobody
    /// answers.
    pub(crate) async fn open(
        path: &Path,
        watch: Arc<Watch>,
        peers: Arc<Peers>,
    ) -> io::Result<Self> {
        let listener = socket::bind(path, MODE).await?;
        let serving = clients::serve(listener, CLIENTS, "control socket", move |client| {
            let (watch, peers) = (watch.clone(), peers.clone());
            converse(client, watch, peers)
        });
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(serving),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse(client: UnixStream, watch: Arc<Watch>, peers: Arc<Peers>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut client).take(MAX_REQUEST);
        if timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let reply = match line.strip_suffix(b"\n") {
            Some(line) => match serde_json::from_slice(line) {
                Ok(request) => obey(request, &watch, &peers, client.get_ref()).await,
                Err(error) => Reply::Error(Fault::new(FaultKind::Malformed, error)),
            },
            None => Reply::Error(Fault::new(
                FaultKind::Malformed,
                format!("a request is a line of at most {MAX_REQUEST} octets"),
            )),
        };
        if let Reply::Error(fault) = &reply {
            watch.figures.refused("control", fault.kind.why());
        }
        let is_lost = line.last() != Some(&b'\n');
        let mut answer = serde_json::to_vec(&reply)?;
        answer.push(b'\n');
        timeout(PATIENCE, client.get_mut().write_all(&answer)).await??;
        if is_lost {
            // What follows is the rest of it.
            return client.get_mut().shutdown().await;
        }
    }
}

async fn obey(request: Request, watch: &Watch, peers: &Peers, client: &UnixStream) -> Reply {
    let followed = follow(request, watch, peers, client).await;
    followed.unwrap_or_else(Reply::Error)
}

async fn follow(
    request: Request,
    watch: &Watch,
    peers: &Peers,
    client: &UnixStream,
) -> Result<Reply, Fault> {
    Ok(match request {
        Request::Status {} => Reply::Status(peers.overview(watch).await.into()),
        Request::Order { order, unit: name } => {
            let unit = find(watch, &name)?;
            watch.tell(NodeTold::Commanded {
                command: word(order.into()).to_owned(),
                unit: name,
            });
            unit.handle.command(order.into()).await?;
            Reply::Begun {}
        }
        Request::DryRun { order, unit } => {
            let unit = find(watch, &unit)?;
            let preview = unit.handle.preview(order.into()).await?;
            Reply::Plan(plan(&preview, &unit.names))
        }
        Request::Discard { unit, save, force } => {
            let unit = find(watch, &unit)?;
            let mut order = Discard::new(save, &watch.node.name);
            order.force = force;
            Reply::Discarded(discard(watch, unit, order, client).await?)
        }
    })
}

fn find<'a>(watch: &'a Watch, name: &str) -> Result<&'a Watched, Fault> {
    watch.unit(name).ok_or_else(|| {
        let names: Vec<_> = watch.units.iter().map(|unit| &*unit.names.unit).collect();
        let text = format!("no unit {name:?}; there are: {}", names.join(", "));
        Fault::new(FaultKind::NoSuchUnit, text)
    })
}

/// Discards what this node has changed alone, unless the client goes before the file is whole:
/// one that is on a file system that hangs would be waited for for ever.
async fn discard(
    watch: &Watch,
    unit: &Watched,
    order: Discard,
    client: &UnixStream,
) -> Result<Saved, Fault> {
    let refused = |text: &str| Fault::new(FaultKind::Refused, text);
    let resource = unit.resource.as_ref();
    let resource = resource.ok_or_else(|| refused("the unit has no storage"))?;
    if !order.save_to.is_absolute() {
        return Err(refused("the path of the file is not absolute"));
    }
    let name = || unit.names.unit.clone();
    watch.tell(NodeTold::Commanded {
        command: "discard".to_owned(),
        unit: name(),
    });
    let outcome = tokio::select! {
        outcome = resource.discard(order) => outcome,
        () = gone(client) => {
            watch.tell(NodeTold::DiscardLeft { unit: name() });
            return Err(Fault::new(FaultKind::Ended, "the client has gone"));
        }
    };
    let discarded = outcome.inspect_err(|error| {
        watch.tell(NodeTold::NotDiscarded {
            unit: name(),
            reason: error.to_string(),
        });
    })?;
    Ok(Saved {
        extents: discarded.extents,
        octets: discarded.octets.get(),
        with_peer: discarded.with_peer,
    })
}

/// Waits until a client has closed its end: one that has only said all that it had to say still
/// waits for the answer.
async fn gone(client: &UnixStream) {
    loop {
        let ready = client.ready(Interest::WRITABLE).await;
        if ready.is_ok_and(|ready| ready.is_write_closed()) {
            return;
        }
        sleep(LOOK).await;
    }
}

fn plan(preview: &Preview, names: &UnitNames) -> Plan {
    let steps = preview.steps.iter().map(|planned| Planned {
        step: planned
            .step
            .map_or_else(|| "this node".to_owned(), |step| names.step(step)),
        action: action(planned.action).to_owned(),
    });
    let causes = preview.causes.iter();
    Plan {
        steps: steps.collect(),
        state: preview.state.into(),
        blocked: preview.blocked.map(|blocked| names.blocked(blocked)),
        refused: preview.refused.map(|refusal| refusal.to_string()),
        causes: causes.map(|cause| names.cause(*cause)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_has_only_said_all_it_had_to_say_is_still_there() {
        let (mut client, served) = UnixStream::pair().unwrap();
        client.shutdown().await.unwrap();
        timeout(4 * LOOK, gone(&served)).await.unwrap_err();
        drop(client);
        timeout(PATIENCE, gone(&served)).await.unwrap();
    }
}

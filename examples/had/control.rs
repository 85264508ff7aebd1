//! The control socket: a client writes requests, one JSON object a line, and reads an answer for
//! each, one JSON object a line. Only root may connect.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ha_core::failover::{Command, Preview};
use ha_core::io::failover::UnitCommandError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::events::{NodeTold, UnitNames, action, word};
use super::overview::Overview;
use super::peers::Peers;
use super::snapshot::State;
use super::watch::Watch;
use super::{clients, socket};

/// How many clients are served at a time; others wait.
const CLIENTS: usize = 16;
/// How long a client may take for its next request, and to take the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
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
    /// The unit's machine refuses it.
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

impl Reply {
    fn error(kind: FaultKind, text: impl ToString) -> Self {
        let text = text.to_string();
        Self::Error(Fault { kind, text })
    }
}

impl From<UnitCommandError> for Reply {
    fn from(error: UnitCommandError) -> Self {
        match error {
            UnitCommandError::Refused(refusal) => Self::error(FaultKind::Refused, refusal),
            _ => Self::error(FaultKind::Ended, error),
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
                Ok(request) => obey(request, &watch, &peers).await,
                Err(error) => Reply::error(FaultKind::Malformed, error),
            },
            None => Reply::error(
                FaultKind::Malformed,
                format!("a request is a line of at most {MAX_REQUEST} octets"),
            ),
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

async fn obey(request: Request, watch: &Watch, peers: &Peers) -> Reply {
    let (order, name, is_dry) = match request {
        Request::Status {} => return Reply::Status(peers.overview(watch).await.into()),
        Request::Order { order, unit } => (order, unit, false),
        Request::DryRun { order, unit } => (order, unit, true),
    };
    let Some(unit) = watch.unit(&name) else {
        let names: Vec<_> = watch.units.iter().map(|unit| &*unit.names.unit).collect();
        let text = format!("no unit {name:?}; there are: {}", names.join(", "));
        return Reply::error(FaultKind::NoSuchUnit, text);
    };
    if is_dry {
        return match unit.handle.preview(order.into()).await {
            Ok(preview) => Reply::Plan(plan(&preview, &unit.names)),
            Err(error) => error.into(),
        };
    }
    watch.tell(NodeTold::Commanded {
        command: word(order.into()).to_owned(),
        unit: name,
    });
    match unit.handle.command(order.into()).await {
        Ok(()) => Reply::Begun {},
        Err(error) => error.into(),
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

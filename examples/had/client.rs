//! Asks a running had, over its control socket.

use core::time::Duration;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::control::{Fault, Order, PATIENCE, Plan, Reply, Request, Saved};
use super::overview::Overview;

/// The longest answer.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Why an answer is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answers, or not in time.
    #[error("{}: {error}", .path.display())]
    Socket { path: PathBuf, error: io::Error },
    /// What answers is no had, or another version of it.
    #[error("{}: no answer of had: {error}", .path.display())]
    Answer {
        path: PathBuf,
        error: serde_json::Error,
    },
    /// It is another answer.
    #[error("{}: another answer than that to the question", .path.display())]
    Another { path: PathBuf },
    /// It does not do it.
    #[error("{}", .0.text)]
    Fault(Fault),
}

/// Where a had is asked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    path: PathBuf,
}

impl Client {
    pub(crate) fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// Asks for everything there is to know.
    pub(crate) fn status(&self) -> Result<Overview, AskError> {
        match self.ask(&Request::Status {})? {
            Reply::Status(overview) => Ok(*overview),
            other => Err(self.unexpected(other)),
        }
    }

    /// Has something be done. It is begun when this returns.
    pub(crate) fn order(&self, order: Order, unit: &str) -> Result<(), AskError> {
        let unit = unit.to_owned();
        match self.ask(&Request::Order { order, unit })? {
            Reply::Begun {} => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    /// Asks what an order would do.
    pub(crate) fn plan(&self, order: Order, unit: &str) -> Result<Plan, AskError> {
        let unit = unit.to_owned();
        match self.ask(&Request::DryRun { order, unit })? {
            Reply::Plan(plan) => Ok(plan),
            other => Err(self.unexpected(other)),
        }
    }

    /// Has what this node has changed alone saved to a file and discarded, however long that takes.
    pub(crate) fn discard(&self, unit: &str, save: &Path, force: bool) -> Result<Saved, AskError> {
        let request = Request::Discard {
            unit: unit.to_owned(),
            save: save.to_owned(),
            force,
        };
        match self.ask_for(&request, None)? {
            Reply::Discarded(saved) => Ok(saved),
            other => Err(self.unexpected(other)),
        }
    }

    fn unexpected(&self, reply: Reply) -> AskError {
        match reply {
            Reply::Error(fault) => AskError::Fault(fault),
            _ => AskError::Another {
                path: self.path.clone(),
            },
        }
    }

    fn ask(&self, request: &Request) -> Result<Reply, AskError> {
        self.ask_for(request, Some(PATIENCE))
    }

    /// Asks, and waits so long for the answer.
    fn ask_for(&self, request: &Request, patience: Option<Duration>) -> Result<Reply, AskError> {
        let path = || self.path.clone();
        let answer = self.line(request, patience);
        let answer = answer.map_err(|error| AskError::Socket {
            path: path(),
            error,
        })?;
        serde_json::from_slice(&answer).map_err(|error| AskError::Answer {
            path: path(),
            error,
        })
    }

    fn line(&self, request: &Request, patience: Option<Duration>) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut answer)?;
        Ok(answer)
    }
}

//! Commands: programs that end by themselves, or are ended.

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::boxed::Box;
use std::ffi::{OsStr, OsString};
use std::format;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::string::{String, ToString};
use std::vec::Vec;

use rustix::process::Signal;
use tokio::net::unix::pipe;

use super::super::clock;
use super::child::{Child, Leftovers};
use super::job::{Job, StepError};
use crate::failover::MAX_TIME;

/// How much of what a command writes is kept: the end of it, where errors are.
pub const MAX_OUTPUT: usize = 4096;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much is read at a time, and how often after the end: as much as a pipe holds.
const CHUNK: usize = 4096;
const CHUNKS_AFTER_END: usize = 16;

/// A program with its arguments, run without a shell.
///
/// It runs in a session and a process group of its own, in the directory `/`, with nothing to
/// read, and with an environment of `PATH` and what is [given](Self::env). As a step it is told
/// by `HA_STEP`, `HA_ACTION`, and `HA_TOKEN` (the fencing token, if there is one) what it is
/// asked.
///
/// When its time is over or its step is cancelled, its group gets SIGTERM, and after a
/// [grace](Self::grace) SIGKILL. When it has ended, what is left of its group is killed, unless
/// that is to be [kept](Self::keep_leftovers). When whoever waits for it is dropped, its group is
/// killed at once. When this process dies, however that is, the kernel kills it; processes that
/// it had started may live on then.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    limit: Option<Duration>,
    grace: Duration,
    leftovers: Leftovers,
    accepted: Vec<i32>,
}

impl Command {
    /// A program by its path, or by a name to be looked for in the usual places.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            limit: None,
            grace: Duration::from_secs(2),
            leftovers: Leftovers::default(),
            accepted: Vec::from([0]),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Limits its time, beside that of its step.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit.min(MAX_TIME));
        self
    }

    /// Chooses how long it may take to end after SIGTERM: two seconds by default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(MAX_TIME);
        self
    }

    /// Lets processes live on that are in its group when it has ended by itself: it is to start
    /// something that does not leave its group. Nothing watches over them.
    #[must_use]
    pub fn keep_leftovers(mut self) -> Self {
        self.leftovers = Leftovers::Keep;
        self
    }

    /// Has this exit status count as success, too.
    #[must_use]
    pub fn accept(mut self, code: i32) -> Self {
        self.accepted.push(code);
        self
    }

    /// Runs it for a step.
    ///
    /// # Errors
    ///
    /// [`CommandError`], and [`StepError::Cancelled`].
    pub async fn run(&self, job: &Job) -> Result<Captured, StepError> {
        let token = job.token.map(|token| token.get().to_string());
        let about = [
            ("HA_STEP", Some(job.step.to_string())),
            ("HA_ACTION", Some(job.action.to_string())),
            ("HA_TOKEN", token),
        ];
        match self.execute(&about, job.cancelled()).await? {
            Some(output) => Ok(output),
            None => Err(StepError::Cancelled),
        }
    }

    /// Runs it until it ends or `stop` does; in the latter case there is no result.
    pub(super) async fn execute(
        &self,
        about: &[(&str, Option<String>)],
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Captured>, CommandError> {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).current_dir("/");
        command.env_clear().env("PATH", PATH);
        for (name, value) in about {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let started = Child::start(command, self.leftovers).await;
        let mut child = started.map_err(|source| CommandError::NotRun {
            program: self.program.clone(),
            source,
        })?;

        let mut output = Captured::default();
        let mut open = true;
        let mut cut = Cut::No;
        let mut stop = pin!(stop);
        let mut alarm = pin!(clock::alarm());
        let mut armed = self.limit.is_some();
        if let Some(limit) = self.limit {
            alarm.as_mut().reset(clock::now() + limit);
        }
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut child.ended => break ended,
                () = stop.as_mut(), if cut == Cut::No => {
                    cut = Cut::Stopped;
                    child.signal(Signal::TERM);
                    alarm.as_mut().reset(clock::now() + self.grace);
                    armed = true;
                }
                () = alarm.as_mut(), if armed => match cut {
                    Cut::No => {
                        cut = Cut::TimedOut;
                        child.signal(Signal::TERM);
                        alarm.as_mut().reset(clock::now() + self.grace);
                    }
                    Cut::Stopped | Cut::TimedOut => {
                        child.signal(Signal::KILL);
                        armed = false;
                    }
                },
                more = output.read(&child.output), if open => open = more,
            }
        };
        output.read_rest(&child.output);
        let status = match ended {
            Ok(Ok(status)) => status,
            Ok(Err(source)) => return Err(self.lost(source)),
            Err(_) => return Err(self.lost(io::ErrorKind::BrokenPipe.into())),
        };
        match cut {
            Cut::Stopped => Ok(None),
            Cut::TimedOut => Err(CommandError::TimedOut {
                program: self.program.clone(),
                limit: self.limit.unwrap_or_default(),
                output,
            }),
            Cut::No
                if status
                    .code()
                    .is_some_and(|code| self.accepted.contains(&code)) =>
            {
                Ok(Some(output))
            }
            Cut::No => Err(CommandError::Failed {
                program: self.program.clone(),
                status,
                output,
            }),
        }
    }

    fn lost(&self, source: io::Error) -> CommandError {
        CommandError::Lost {
            program: self.program.clone(),
            source,
        }
    }
}

/// Why a command is being ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    No,
    Stopped,
    TimedOut,
}

/// The end of what a command wrote to either of its outputs, at most [`MAX_OUTPUT`] octets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captured {
    octets: Vec<u8>,
    lost: u64,
}

impl Captured {
    /// Returns the end of it.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Returns how many octets were before that.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        let excess = self.octets.len().saturating_sub(MAX_OUTPUT);
        self.octets.drain(..excess);
        self.lost = self.lost.saturating_add(excess as u64);
    }

    /// Reads what is there, or waits for more; `false` if no more will come.
    async fn read(&mut self, pipe: &pipe::Receiver) -> bool {
        pipe.readable().await.is_ok() && self.read_once(pipe)
    }

    fn read_once(&mut self, pipe: &pipe::Receiver) -> bool {
        let mut chunk = [0; CHUNK];
        match pipe.try_read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.push(chunk.get(..length).unwrap_or_default());
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Reads what is left, up to a bound: somebody who left the group may go on writing.
    fn read_rest(&mut self, pipe: &pipe::Receiver) {
        for _ in 0..CHUNKS_AFTER_END {
            let before = (self.octets.len(), self.lost);
            if !self.read_once(pipe) || before == (self.octets.len(), self.lost) {
                return;
            }
        }
    }
}

/// As one line, for a log.
impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lost > 0 {
            f.write_str("...")?;
        }
        let text = String::from_utf8_lossy(&self.octets);
        let mut lines = text.trim().lines();
        if let Some(first) = lines.next() {
            fmt::Display::fmt(&first.escape_debug(), f)?;
        }
        lines.try_for_each(|line| write!(f, " | {}", line.escape_debug()))
    }
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be run.
    #[error("{program:?} cannot be run: {source}")]
    NotRun {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended in a way that is no success.
    #[error("{program:?} ended with {status}{}", tail(.output))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        output: Captured,
    },
    /// It did not end in time, and was killed.
    #[error("{program:?} did not end within {limit:?}{}", tail(.output))]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// Its time.
        limit: Duration,
        /// What it wrote.
        output: Captured,
    },
    /// Its end could not be learnt.
    #[error("nothing is known of the end of {program:?}: {source}")]
    Lost {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CommandError {
    /// Returns the exit status, 128 more than the signal that ended it, or the error number; -1
    /// if there is none.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        match self {
            Self::NotRun { source, .. } | Self::Lost { source, .. } => {
                source.raw_os_error().unwrap_or(-1)
            }
            Self::Failed { status, .. } => status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1),
            Self::TimedOut { .. } => -1,
        }
    }
}

fn tail(output: &Captured) -> Box<str> {
    if output.octets.is_empty() {
        return Box::default();
    }
    format!(": {output}").into()
}

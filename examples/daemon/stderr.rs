//! The log. It goes to standard error, and never makes the protocol wait: lines are written by a
//! thread, and when whoever reads them falls behind, lines are lost and counted.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Who has lost lines.
const PROGRAM: &str = env!("CARGO_CRATE_NAME");
/// How many lines wait.
const LINES: usize = 1024;
/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// What the lines look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts the log. Without a filter there is that of `$RUST_LOG`, or "info".
pub(crate) fn start(filter: Option<&str>, format: LogFormat) -> Result<Stderr, String> {
    let filter = match (filter, env::var("RUST_LOG")) {
        (Some(filter), _) => EnvFilter::try_new(filter),
        (None, Ok(filter)) => EnvFilter::try_new(filter),
        (None, Err(_)) => EnvFilter::try_new("info"),
    };
    let filter = filter.map_err(|error| format!("the filter of the log: {error}"))?;
    let stderr = Stderr::start().map_err(|error| format!("the log: {error}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // Standard error is where it would complain about standard error.
        .log_internal_errors(false)
        .with_writer(stderr.clone());
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(stderr)
}

/// Where the log is written. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Stderr {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Stderr {
    /// Starts the thread.
    fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let stderr = Self { sender, lost };
        let lost = stderr.lost.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(&receiver, &lost, io::stderr()))?;
        Ok(stderr)
    }

    /// Waits until what was logged is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        if self.sender.try_send(Message::Flush(sender)).is_ok() {
            let _ = receiver.recv_timeout(FLUSH);
        }
    }
}

fn write(messages: &Receiver<Message>, lost: &AtomicU64, mut out: impl Write) {
    for message in messages {
        // There is nobody to tell if it fails.
        match message {
            Message::Line(line) => {
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(out, "{PROGRAM}: {lost} lines of the log are lost");
                }
                let _ = out.write_all(&line);
            }
            Message::Flush(done) => _ = done.send(()),
        }
    }
}

/// One line in the making; it is sent off when it is dropped.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    stderr: &'a Stderr,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = core::mem::take(&mut self.text);
        if self.stderr.sender.try_send(Message::Line(text)).is_err() {
            self.stderr.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            stderr: self,
            text: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_takes_are_lost_and_counted() {
        let (sender, receiver) = sync_channel(LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let stderr = Stderr { sender, lost };
        for number in 0..LINES + 5 {
            writeln!(stderr.make_writer(), "line {number}").unwrap();
        }
        let lost = stderr.lost.clone();
        drop(stderr);
        let mut text = Vec::new();
        write(&receiver, &lost, &mut text);
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.lines();
        let loss = format!("{PROGRAM}: 5 lines of the log are lost");
        assert_eq!(lines.next(), Some(loss.as_str()));
        assert_eq!(lines.next(), Some("line 0"));
        assert_eq!(lines.count(), LINES - 1);
    }
}

//! The file of events. Nothing waits for the disk that it is on: lines are written by a thread,
//! and when it falls behind, lines are lost, which a line tells.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;

use super::events::{Line, NodeTold, Subject, Told};
use super::moment::Clock;

/// How many lines wait.
const LINES: usize = 4096;
/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// Where events are written. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Opens the file again, which was moved away.
    Reopen,
    Flush(SyncSender<()>),
}

impl Journal {
    /// Opens a file to append to.
    pub(crate) fn open(path: &Path, clock: Clock, node: String) -> io::Result<Self> {
        let file = open(path)?;
        let (sender, receiver) = sync_channel(LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: path.to_owned(),
            file,
            clock,
            node,
            lost: lost.clone(),
        };
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.write(&receiver))?;
        Ok(Self { sender, lost })
    }

    /// Writes a line.
    pub(crate) fn write(&self, line: &Line<'_>) {
        if let Some(line) = octets(line) {
            if self.sender.try_send(Message::Line(line)).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Goes on in a new file of the same name, after the present one was moved away.
    pub(crate) fn reopen(&self) {
        // A queue that is full is told of by the lines that are lost.
        let _ = self.sender.try_send(Message::Reopen);
    }

    /// Waits until what was told is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        if self.sender.try_send(Message::Flush(sender)).is_ok() {
            let _ = receiver.recv_timeout(FLUSH);
        }
    }
}

fn octets(line: &impl Serialize) -> Option<Vec<u8>> {
    let mut octets = serde_json::to_vec(line).ok()?;
    octets.push(b'\n');
    Some(octets)
}

/// Opens the file to append to, and makes it if there is none.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Writer {
    path: PathBuf,
    file: File,
    clock: Clock,
    node: String,
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn write(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => self.line(&line),
                Message::Reopen => {
                    // What cannot be opened leaves the old one.
                    if let Ok(file) = open(&self.path) {
                        self.file = file;
                    }
                }
                Message::Flush(done) => _ = done.send(()),
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let events = self.lost.swap(0, Ordering::Relaxed);
        if events > 0 {
            let told = Line {
                stamp: self.clock.now(),
                subject: Subject::Node(&self.node),
                told: Told::Node(NodeTold::Lost { events }),
            };
            let _ = self.file.write_all(&octets(&told).unwrap_or_default());
        }
        if self.file.write_all(line).is_err() {
            // A full disk: told as soon as it is not full any more.
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_are_appended_and_go_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("events"), folder.path().join("moved"));
        let clock = Clock::start();
        let journal = Journal::open(&path, clock, "alpha".to_owned()).unwrap();
        let tell = |told| {
            journal.write(&Line {
                stamp: clock.now(),
                subject: Subject::Node("alpha"),
                told: Told::Node(told),
            });
        };
        tell(NodeTold::Started);
        journal.flush();
        fs::rename(&path, &moved).unwrap();
        journal.reopen();
        journal.lost.fetch_add(3, Ordering::Relaxed);
        tell(NodeTold::Ending);
        journal.flush();
        assert_eq!(lines(&moved)[0]["event"], "started");
        let after = lines(&path);
        assert_eq!(
            (&after[0]["event"], &after[0]["events"]),
            (&"lost".into(), &3.into())
        );
        assert_eq!(
            (&after[1]["event"], &after[1]["node"]),
            (&"ending".into(), &"alpha".into())
        );
        assert_eq!(after.len(), 2);
    }
}

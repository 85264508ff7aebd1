//! Namespaces that nobody can leave behind: they have no name, only a handle, and end with the
//! process that holds it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::panic;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with nothing in it but a loopback interface that is up, and maybe namespaces
/// of other kinds beside it.
pub(crate) struct Namespace {
    handle: File,
    /// To the thread that lives inside and starts processes there; `None` while being dropped.
    spawner: Option<Sender<Spawn>>,
    thread: Option<JoinHandle<()>>,
}

/// A request to the thread inside.
struct Spawn {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        Self::with(CloneFlags::empty())
    }

    /// The same for the processes that are started inside, which are in new namespaces of these
    /// kinds, too.
    pub(crate) fn with(others: CloneFlags) -> Self {
        let (spawner, requests) = channel();
        let (created, creation) = channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | others).expect("a namespace, which needs root");
            let handle = File::open("/proc/thread-self/ns/net").expect("a handle of the namespace");
            created.send(handle).expect("a creator who waits");
            spawn_each(&requests);
        });
        let namespace = Self {
            handle: creation.recv().expect("a namespace"),
            spawner: Some(spawner),
            thread: Some(thread),
        };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `inside` on a thread of its own in the namespace: sockets opened there stay there, and
    /// so do the files below `/proc/sys/net`.
    pub(crate) fn enter<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("the namespace");
                inside()
            });
            thread.join()
        })
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Starts a process inside. The kernel kills it if this test dies before it ends it: it does so
    /// when the *thread* ends that started the process, hence the one that stays.
    pub(crate) fn spawn(&self, command: Command) -> Child {
        let (reply, started) = channel();
        let request = Spawn { command, reply };
        let spawner = self.spawner.as_ref().expect("a thread inside");
        spawner.send(request).expect("a thread inside");
        let child = started.recv().expect("a thread inside");
        child.expect("the program is installed")
    }

    /// Runs `ip` with these words, which must succeed, and returns what it prints.
    pub(crate) fn ip(&self, words: &str) -> Vec<u8> {
        self.try_ip(words)
            .unwrap_or_else(|complaint| panic!("ip {words}: {complaint}"))
    }

    /// Runs `ip` with these words. On failure returns its complaint.
    pub(crate) fn try_ip(&self, words: &str) -> Result<Vec<u8>, String> {
        let output = self.enter(|| {
            Command::new("ip")
                .args(words.split_whitespace())
                .stdin(Stdio::null())
                .output()
                .expect("iproute2 is installed")
        });
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What `ip link` takes as the name of this namespace.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.handle.as_raw_fd())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The thread ends when nobody can ask it for anything any more.
        self.spawner = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn spawn_each(requests: &Receiver<Spawn>) {
    for mut request in requests {
        let _ = request.reply.send(request.command.spawn());
    }
}

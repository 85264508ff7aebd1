//! What needs root: mount namespaces, of which nothing is left when a test ends, and programs that
//! run in them.

use std::panic;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::cluster::wait_until;

/// Runs a test on a thread with a mount namespace of its own, in which all that it starts is, too.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace, which needs root");
        run("mount", &["--make-rprivate", "/"]);
        test();
    });
    if let Err(reason) = thread.join() {
        panic::resume_unwind(reason);
    }
}

/// Runs a program, which must end well, and returns what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A path for a command line.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// A program in the background, which ends with this at the latest.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    name: String,
}

impl Program {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self {
            child,
            name: program.to_owned(),
        }
    }

    /// Waits until what it is there for is there.
    pub(crate) fn wait_until(mut self, what: &str, mut done: impl FnMut() -> bool) -> Self {
        wait_until(what, || {
            let ended = self.child.try_wait().expect("a process of ours");
            assert_eq!(ended, None, "{} has ended", self.name);
            done()
        });
        self
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, signal);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A host: a network, mounts and processes of its own, which end with its first process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::wait::wait;

use super::namespace::Namespace;
use super::network::{Network, Side};

/// A host that runs.
pub(crate) struct Machine {
    namespace: Namespace,
    init: Child,
    side: Side,
}

impl Machine {
    /// Switches it on.
    pub(crate) fn boot(network: &Network, side: Side) -> Self {
        let namespace = Namespace::with(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID);
        network.attach(side, &namespace);
        // The kernel ends it with us.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(std::env::current_exe().expect("our own name"))
            .arg("init")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut init = namespace.spawn(command);
        let mut ready = [0; 1];
        let output = init.stdout.as_mut().expect("a pipe");
        output.read_exact(&mut ready).expect("the first process");
        Self {
            namespace,
            init,
            side,
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Starts a program there, with what it prints in a file.
    pub(crate) fn spawn(&self, mut command: Command, log: &Path) -> Child {
        let output = File::options().create(true).append(true).open(log);
        let output = output.expect("a log");
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a second handle"));
        command.stderr(output);
        self.namespace.spawn(command)
    }

    /// Runs a program there.
    pub(crate) fn run(&self, mut command: Command) -> Output {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.namespace.spawn(command);
        child.wait_with_output().expect("a child of ours")
    }

    /// Takes its carriers, so that nobody hears of its end.
    pub(crate) fn unplug(&self, network: &Network) {
        network.unplug(self.side);
    }

    /// Cuts the power: nothing of it goes on. `had` is the process that was started
    /// there and has not been waited for.
    pub(crate) fn end(mut self, had: Option<Child>) {
        // With its first process the kernel kills all others, and waits until others have waited
        // for those.
        let _ = self.init.kill();
        if let Some(mut had) = had {
            let _ = had.wait();
        }
        let _ = self.init.wait();
    }
}

/// The first process of a host.
pub(crate) fn init() -> ExitCode {
    match prepare() {
        Ok(()) => {}
        Err(error) => {
            eprintln!("init: {error}");
            return ExitCode::FAILURE;
        }
    }
    loop {
        // Orphans.
        if wait() == Err(Errno::ECHILD) {
            thread::sleep(core::time::Duration::from_millis(2));
        }
    }
}

fn prepare() -> io::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), none)?;
    io::stdout().write_all(b".")?;
    io::stdout().flush()
}

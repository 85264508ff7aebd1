//! Processes of a test: each in a group of its own, which ends with the value that stands for it.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::namespace::Namespace;
use super::wait_until;

/// The lines of a log that are shown when a test fails.
const TAIL: usize = 40;

/// A running program, with what it prints in a file.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a process has used so far, and holds now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time, in user mode and in the kernel.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) resident_kib: u64,
    /// The part of it that is no file's: pages of the program itself come when they are needed for
    /// the first time, and are nothing that it has taken.
    pub(crate) anonymous_kib: u64,
}

/// What a program may do, and what it finds in its environment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Confines<'a> {
    /// All capabilities that it can ever have: words such as `net_raw`.
    pub(crate) capabilities: &'a [&'a str],
    /// The user as whom it runs, with those capabilities from the start; root without one.
    pub(crate) user: Option<u32>,
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

impl Confines<'_> {
    /// The options of `setpriv` for it.
    fn words(&self) -> Vec<String> {
        let set = format!("-all,+{}", self.capabilities.join(",+"));
        let mut words = vec![format!("--bounding-set={set}")];
        if let Some(user) = self.user {
            words.extend([
                format!("--reuid={user}"),
                format!("--regid={user}"),
                "--clear-groups".to_owned(),
                format!("--inh-caps={set}"),
                format!("--ambient-caps={set}"),
                "--no-new-privs".to_owned(),
            ]);
        }
        words
    }
}

impl Process {
    /// Starts `program` with all that root may.
    pub(crate) fn start(
        namespace: &Namespace,
        log: &Path,
        program: impl AsRef<Path>,
        arguments: &[String],
    ) -> Self {
        Self::under(&[], &[], namespace, log, program.as_ref(), arguments)
    }

    /// Starts `program` with what these confines leave it.
    pub(crate) fn confined(
        confines: &Confines<'_>,
        namespace: &Namespace,
        log: &Path,
        program: impl AsRef<Path>,
        arguments: &[String],
    ) -> Self {
        let environment = confines.environment;
        let program = program.as_ref();
        Self::under(
            &confines.words(),
            environment,
            namespace,
            log,
            program,
            arguments,
        )
    }

    fn under(
        bounds: &[String],
        environment: &[(&str, &str)],
        namespace: &Namespace,
        log: &Path,
        program: &Path,
        arguments: &[String],
    ) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        // `setpriv` makes the kernel end the program with us, then becomes the program.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(bounds)
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .process_group(0);
        Self {
            name: format!("{} {}", program.display(), arguments.join(" ")),
            child: namespace.spawn(command),
            log: log.to_owned(),
        }
    }

    /// Sends a signal to the process and its children.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = killpg(self.group(), signal);
    }

    /// Kills the process and its children, as a crash would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        // Children that are told twice are of no use to anybody; their parent tells them.
        let _ = nix::sys::signal::kill(self.group(), Signal::SIGTERM);
        let mut status = None;
        wait_until(
            &format!("the end of {self}"),
            Duration::from_secs(10),
            || {
                status = self.child.try_wait().expect("a child of ours");
                status.is_some()
            },
        );
        status.expect("an ended process")
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// All it has printed.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).expect("a log file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn usage(&self) -> Usage {
        let stat = self.proc("stat");
        // The name of the program stands in parentheses and may hold anything. Of what follows,
        // the 12th and 13th field are utime and stime.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("clock ticks"))
            .sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).expect("the length of a tick");
        let per_second = per_second.expect("the length of a tick");
        let status = self.proc("status");
        let kib = |name: &str| {
            let mut lines = status.lines();
            let size = lines.find_map(|line| line.strip_prefix(name));
            let size = size.unwrap_or_else(|| panic!("{name} in {status}"));
            let kib = size.trim_end_matches("kB").trim().parse();
            kib.expect("a number of KiB")
        };
        Usage {
            cpu: Duration::from_secs(ticks) / u32::try_from(per_second).expect("a small number"),
            resident_kib: kib("VmRSS:"),
            anonymous_kib: kib("RssAnon:"),
        }
    }

    /// A file about the process below `/proc`.
    pub(crate) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("a living process")
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }

    fn end(&mut self) {
        // After the end of its leader the number of the group may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

impl Display for Process {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(TAIL)..);
            eprintln!("--- {self}\n{}", tail.unwrap_or_default().join("\n"));
        }
    }
}

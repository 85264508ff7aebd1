//! A child process and all that it starts.
//!
//! Each child has a thread of its own, which starts it, waits for its end, and only then ends
//! itself. The kernel kills a child whose parent's *thread* ends ([`fork`]), so none may be
//! started by a thread of the runtime, which may end at any time.
//!
//! The child leads a process group of its own, and is signalled as a group. Its number belongs to
//! it until it is waited for, so that is done under the lock under which it is signalled: no
//! signal reaches a stranger.

mod fork;

use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::string::ToString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::clock;

/// How long what was killed may take to be gone.
const LAST_WAIT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What becomes of processes that a command started and that still are in its group when it has
/// ended by itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) enum Leftovers {
    /// They are killed. A daemon that puts itself into a session of its own is not among them.
    #[default]
    Kill,
    /// They live on: they are what the command was to start.
    Keep,
}

/// Where a group is in its life.
#[derive(Clone, Copy, Debug)]
enum Life {
    ToBe,
    /// The same, but nobody waits for it any more.
    Unwanted,
    Leads(Pid),
    Over,
}

#[derive(Debug)]
struct Group(Mutex<Life>);

impl Group {
    fn life(&self) -> MutexGuard<'_, Life> {
        // What it guards is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        if let Life::Leads(leader) = *self.life() {
            // It can fail only if all of them have ended.
            let _ = kill_process_group(leader, signal);
        }
    }
}

/// A running child. When it is dropped, its group is killed.
#[derive(Debug)]
pub(super) struct Child {
    group: Arc<Group>,
    /// The end of the child, told when it is waited for and its group is dealt with.
    pub(super) ended: oneshot::Receiver<io::Result<ExitStatus>>,
    /// What it writes.
    pub(super) output: pipe::Receiver,
}

impl Child {
    /// Starts a command, with both its outputs in one pipe.
    pub(super) async fn start(mut command: Command, leftovers: Leftovers) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let output = pipe::Receiver::from_owned_fd(read)?;
        let (other, both): (OwnedFd, OwnedFd) = (write.try_clone()?, write);
        command.stdin(Stdio::null()).stdout(other).stderr(both);
        fork::prepare(&mut command);

        let group = Arc::new(Group(Mutex::new(Life::ToBe)));
        let (tell_start, started) = oneshot::channel();
        let (tell_end, ended) = oneshot::channel();
        let child = Self {
            group: group.clone(),
            ended,
            output,
        };
        thread::Builder::new()
            .name("ha-command".to_string())
            .spawn(move || {
                let spawned = command.spawn();
                // The ends of the pipe that this process has are closed with it.
                drop(command);
                let mut process = match spawned {
                    Ok(process) => process,
                    Err(error) => {
                        // Whoever waits may be gone, here and below.
                        let _ = tell_start.send(Err(error));
                        return;
                    }
                };
                let leader = Pid::from_child(&process);
                let wanted = {
                    let mut life = group.life();
                    let wanted = matches!(*life, Life::ToBe);
                    *life = Life::Leads(leader);
                    wanted
                };
                if !wanted {
                    group.signal(Signal::KILL);
                }
                let _ = tell_start.send(Ok(()));
                let is_there = wait(leader);
                let status = {
                    let mut life = group.life();
                    if leftovers == Leftovers::Kill && is_there {
                        let _ = kill_process_group(leader, Signal::KILL);
                    }
                    let status = process.wait();
                    *life = Life::Over;
                    status
                };
                if leftovers == Leftovers::Kill {
                    see_off(leader);
                }
                let _ = tell_end.send(status);
            })?;
        match started.await {
            Ok(started) => started.map(|()| child),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Signals the child and all that it started and that did not leave its group.
    pub(super) fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        {
            let mut life = self.group.life();
            if matches!(*life, Life::ToBe) {
                *life = Life::Unwanted;
            }
        }
        self.group.signal(Signal::KILL);
    }
}

/// Waits until a process has ended, and leaves its number to it. `false` if somebody else has
/// taken note of its end, as in a program that ignores SIGCHLD: then its number may be another's.
fn wait(process: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(process), options) {
            Err(Errno::INTR) => {}
            result => return result.is_ok(),
        }
    }
}

/// Waits until nothing is left of a group that was killed; but not long for a process that waits
/// for hardware.
fn see_off(group: Pid) {
    let mut waited = Duration::ZERO;
    while lives(group) && waited < LAST_WAIT {
        clock::pause(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

/// Whether a process of a group lives.
fn lives(group: Pid) -> bool {
    test_kill_process_group(group).is_ok() && !is_buried(group)
}

/// Whether all that is left of a group has ended, and only waits for a parent that takes note.
#[cfg(target_os = "linux")]
fn is_buried(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    let mut stats = processes.filter_map(|process| {
        let stat = std::fs::read(process.ok()?.path().join("stat")).ok()?;
        Some(std::string::String::from_utf8_lossy(&stat).into_owned())
    });
    let number = group.as_raw_nonzero().to_string();
    !stats.any(|stat| {
        // NUMBER (NAME) STATE PARENT GROUP ..., and the name may contain anything.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        let mut fields = fields.unwrap_or_default().split(' ');
        let has_ended = matches!(fields.next(), Some("Z" | "X") | None);
        !has_ended && fields.nth(1) == Some(number.as_str())
    })
}

#[cfg(not(target_os = "linux"))]
fn is_buried(_: Pid) -> bool {
    false
}

//! What a child does between fork and exec. The only unsafe code of the steps.
#![expect(unsafe_code, reason = "code that runs between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, setsid};

/// Has the child lead a session of its own, and be killed when its parent's thread ends, by
/// whatever cause.
pub(super) fn prepare(command: &mut Command) {
    let parent = getpid();
    // SAFETY: what runs between fork and exec makes system calls only. It takes no lock and no
    // memory: errors are numbers.
    unsafe {
        command.pre_exec(move || become_leader(parent));
    }
}

fn become_leader(parent: Pid) -> io::Result<()> {
    setsid()?;
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before it was to be heard of.
    if getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(
            rustix::io::Errno::SRCH.raw_os_error(),
        ));
    }
    Ok(())
}

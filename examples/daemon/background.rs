//! A program in the background.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Starts this program again with the same arguments and `--detached`, its log going to syslog.
/// What the new one prints can be read from the child; after that nobody reads it.
pub(crate) fn start(facility: &str) -> io::Result<Child> {
    let mut daemon = Command::new(env::current_exe()?);
    daemon
        .args(env::args_os().skip(1))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if facility != "none" {
        let mut logger = Command::new("logger")
            .args(["--tag", env!("CARGO_CRATE_NAME")])
            .args(["--priority", &format!("{facility}.info")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal sends to those in its foreground does not end the log.
            .process_group(0)
            .spawn()?;
        if let Some(pipe) = logger.stdin.take() {
            daemon.stderr(pipe);
        }
    }
    daemon.spawn()
}

/// Leaves the session of whoever started this program.
pub(crate) fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

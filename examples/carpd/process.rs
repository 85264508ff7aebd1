//! What this program does to itself before it begins: its log, its place in the background, and
//! its priority.

use std::env;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};

use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::options::{LogFormat, Options};
use super::stderr::Stderr;

/// Starts the log, on standard error.
pub(crate) fn start_log(options: &Options) -> Result<Stderr, String> {
    let filter = match (options.filter(), env::var("RUST_LOG")) {
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
    match options.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(stderr)
}

/// Starts the same program again in the background, its log going to syslog.
pub(crate) fn go_to_background(facility: &str) -> io::Result<()> {
    let mut daemon = Command::new(env::current_exe()?);
    daemon
        .args(env::args_os().skip(1))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if facility != "none" {
        let mut logger = Command::new("logger")
            .args(["--tag", "carpd", "--priority", &format!("{facility}.info")])
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
    daemon.spawn().map(drop)
}

/// Leaves the session of whoever started this program.
pub(crate) fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// What is taken where intervals are short and nothing was asked for.
const LEAST_PRIORITY: u8 = 1;

/// Takes the real-time priority that was asked for; 0 is none. If none was asked for, the least
/// one will do where intervals are short, and if the system does not allow that, the log says so.
pub(crate) fn settle_priority(asked: Option<u8>, is_fast: bool) -> Result<(), String> {
    match asked {
        Some(0) => Ok(()),
        Some(priority) => {
            run_in_real_time(priority).map_err(|error| format!("--realtime: {error}"))
        }
        None => {
            if is_fast {
                if let Err(error) = run_in_real_time(LEAST_PRIORITY) {
                    warn!(%error, "intervals are short, and a busy machine may be late");
                }
            }
            Ok(())
        }
    }
}

/// Takes a real-time priority, which scripts do not inherit. There is no safe function for
/// that, but there is chrt(1).
fn run_in_real_time(priority: u8) -> Result<(), String> {
    let output = Command::new("chrt")
        .args(["--rr", "--reset-on-fork", "--pid", &priority.to_string()])
        .arg(process::id().to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("chrt: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(said.trim().to_owned())
        }
    }
}

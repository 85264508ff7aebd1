//! The priority of this program.

use std::process::{self, Command, Stdio};

use tracing::warn;

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

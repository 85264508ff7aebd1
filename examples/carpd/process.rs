//! The priority of this program.

use std::process::{self, Command, Stdio};

/// Takes a real-time priority, which scripts do not inherit. There is no safe function for
/// that, but there is chrt(1).
pub(crate) fn run_in_real_time(priority: u8) -> Result<(), String> {
    let output = Command::new("chrt")
        .args(["--rr", "--reset-on-fork", "--pid", &priority.to_string()])
        .arg(process::id().to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("--realtime: chrt: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("--realtime: {}", said.trim()))
        }
    }
}

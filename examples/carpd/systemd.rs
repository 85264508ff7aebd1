//! What systemd is told, where it started this program.

use core::fmt::Write;
use std::sync::Arc;

use ha_core::carp_proto::State;
use ha_core::io::{Handle, Status};
use sd_notify::NotifyState;
use tokio::sync::Notify;

use super::log::Names;
use super::notify::tell;

/// The longest status line.
const MAX_STATUS: usize = 500;

/// Tells the roles in a line, whenever one may have changed.
pub(crate) async fn roles(handle: Handle, changed: Arc<Notify>, names: Arc<Names>) {
    loop {
        changed.notified().await;
        let Ok(status) = handle.status().await else {
            return;
        };
        let line = line(&status, &names);
        tell(&[NotifyState::Status(&line)]).await;
    }
}

/// `1 MASTER, 1 BACKUP: 1@eth0 MASTER, 2@eth0 BACKUP`
fn line(status: &Status, names: &Names) -> String {
    let mut line = String::new();
    for state in [State::Master, State::Backup, State::Init] {
        let count = status
            .hosts
            .iter()
            .filter(|host| host.state == state)
            .count();
        if count > 0 {
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{count} {state}");
        }
    }
    let mut separator = ": ";
    for host in &status.hosts {
        if line.len() > MAX_STATUS {
            line.push_str(", ...");
            break;
        }
        let _ = write!(
            line,
            "{separator}{} {}",
            names.host(host.host, host.vhid),
            host.state
        );
        separator = ", ";
    }
    line
}

#[cfg(test)]
mod tests {
    /// The settings of a section of the unit.
    fn section(name: &str) -> Vec<&'static str> {
        let lines = include_str!("carpd.service").lines();
        let lines = lines
            .skip_while(|line| *line != format!("[{name}]"))
            .skip(1);
        lines.take_while(|line| !line.starts_with('[')).collect()
    }

    #[test]
    fn the_unit_never_gives_up() {
        let unit = section("Unit");
        for setting in [
            "StartLimitIntervalSec=0",
            "Wants=network-online.target",
            "After=network-online.target",
        ] {
            assert!(unit.contains(&setting), "{setting}");
        }
        assert!(section("Service").contains(&"Restart=on-failure"));
    }

    #[test]
    fn the_script_for_rc_has_no_variable_of_rc_itself() {
        let script = include_str!("carpd.rc");
        let settings = script.lines().filter(|line| !line.starts_with('#'));
        let settings: Vec<_> = settings.collect();
        assert!(!settings.iter().any(|line| line.contains("carpd_flags")));
        assert!(settings.iter().any(|line| line.contains("${carpd_args}")));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/carpd/carpd.rc");
        let checked = std::process::Command::new("sh").args(["-n", path]).status();
        assert!(checked.unwrap().success());
    }
}

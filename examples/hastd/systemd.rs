//! What systemd is told, where it started this program.

use core::fmt::Write;

use hast_proto::Role;
use sd_notify::NotifyState;

use super::notify::tell;

/// The longest status line.
const MAX_STATUS: usize = 500;

/// Tells the roles.
pub(crate) async fn tell_roles(roles: &[(String, Role)]) {
    tell(&[NotifyState::Status(&line(roles))]).await;
}

/// `1 primary, 1 secondary: shared primary, tank secondary`
fn line(roles: &[(String, Role)]) -> String {
    let mut line = String::new();
    for role in [Role::Primary, Role::Secondary, Role::Init] {
        let count = roles.iter().filter(|(_, other)| *other == role).count();
        if count > 0 {
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{count} {role}");
        }
    }
    let mut separator = ": ";
    for (name, role) in roles {
        if line.len() > MAX_STATUS {
            line.push_str(", ...");
            break;
        }
        let _ = write!(line, "{separator}{name} {role}");
        separator = ", ";
    }
    line
}

#[cfg(test)]
mod tests {
    use hast_proto::conf::{File, Host};

    use super::*;

    #[test]
    fn the_roles_are_told_in_a_line() {
        let role = |name: &str, role| (name.to_owned(), role);
        assert_eq!(line(&[]), "");
        let roles = [
            role("shared", Role::Primary),
            role("logs", Role::Init),
            role("tank", Role::Primary),
        ];
        assert_eq!(
            line(&roles),
            "2 primary, 1 init: shared primary, logs init, tank primary"
        );
        let many: Vec<_> = (0..1000).map(|_| role("shared", Role::Secondary)).collect();
        assert!(line(&many).len() < 2 * MAX_STATUS);
        assert!(line(&many).ends_with(", ..."));
    }

    #[test]
    fn the_unit_never_gives_up() {
        let unit = include_str!("hastd.service");
        for setting in [
            "StartLimitIntervalSec=0",
            "Restart=on-failure",
            "Type=notify",
        ] {
            assert!(unit.lines().any(|line| line == setting), "{setting}");
        }
    }

    #[test]
    fn the_configuration_that_is_shown_is_right_on_both_nodes() {
        let file = File::parse(include_bytes!("hast.conf")).unwrap();
        assert!(file.extensions().is_empty());
        for node in ["ada", "bob.example.org"] {
            let config = file.select(&Host::new(node)).unwrap();
            assert_eq!(config.resources[0].name.as_str(), "shared");
        }
    }
}

//! What a process is allowed to do.

use std::fs;
use std::string::String;

use super::{Capability, LinuxError};

/// Checks that the calling thread has all capabilities that are needed, so that what is missing
/// is known by its name before anything is begun.
///
/// Where `/proc` cannot be read, the check is left to the system calls.
///
/// # Errors
///
/// [`LinuxError::MissingCapability`] with the first one that is missing.
pub(super) fn check() -> Result<(), LinuxError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_else(|_| String::new());
    match missing(&status) {
        Some(capability) => Err(LinuxError::MissingCapability { capability }),
        None => Ok(()),
    }
}

fn missing(status: &str) -> Option<Capability> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())?;
    [Capability::NetRaw, Capability::NetAdmin]
        .into_iter()
        .find(|capability| effective & bit(*capability) == 0)
}

fn bit(capability: Capability) -> u64 {
    match capability {
        Capability::NetAdmin => 1 << 12,
        Capability::NetRaw => 1 << 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let of = |set: &str| missing(&std::format!("Name:\tx\nCapEff:\t{set}\nCapBnd:\t0\n"));
        assert_eq!(of("0000000000003000"), None);
        assert_eq!(of("0000000000002000"), Some(Capability::NetAdmin));
        assert_eq!(of("0000000000001000"), Some(Capability::NetRaw));
        assert_eq!(of("0000000000000000"), Some(Capability::NetRaw));
        assert_eq!(missing(""), None);
    }
}

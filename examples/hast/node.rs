//! Which node this is, and what `hast.conf` means on it.

use core::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hast_proto::conf::{Config, File, Host, MAX_LEN};

/// The configuration that is read unless another one is named.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/hast.conf";

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is wrong: the place, and what is wrong there.
    Wrong(String),
}

impl LoadError {
    /// The exit status of the original: "system file missing", or "configuration error".
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Unreadable(..) => 72,
            Self::Wrong(_) => 78,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong(fault) => f.write_str(fault),
        }
    }
}

/// Reads what a configuration means on this host, or on the node `name` if one is given.
pub(crate) fn load(path: &Path, name: Option<&str>) -> Result<Config, LoadError> {
    let unreadable = |error| LoadError::Unreadable(path.to_owned(), error);
    let mut text = Vec::new();
    // One octet more than is allowed, so that a file that is too long is seen to be.
    let limit = MAX_LEN as u64 + 1;
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(limit)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    let host = name.map_or_else(this_host, Host::new);
    let config = File::parse(&text).and_then(|file| file.select(&host));
    config.map_err(|error| {
        let path = path.display().to_string();
        LoadError::Wrong(error.in_file(&path).to_string())
    })
}

/// The names of this host.
fn this_host() -> Host {
    let name = rustix::system::uname();
    let mut host = Host::new(name.nodename().to_string_lossy());
    if let Some(uuid) = uuid() {
        host = host.with_uuid(uuid);
    }
    if let Some(id) = id() {
        host = host.with_id(id);
    }
    host
}

/// The UUID of the machine, from which FreeBSD takes its `kern.hostuuid`. Linux shows it to root.
#[cfg(target_os = "linux")]
fn uuid() -> Option<String> {
    let uuid = fs::read_to_string("/sys/class/dmi/id/product_uuid").ok()?;
    Some(uuid.trim().to_owned())
}

/// What hostid(1) prints, if it has been set.
#[cfg(target_os = "linux")]
fn id() -> Option<u64> {
    let id = fs::read("/etc/hostid").ok()?;
    let id = id.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*id).into())
}

#[cfg(not(target_os = "linux"))]
fn uuid() -> Option<String> {
    sysctl("kern.hostuuid")
}

#[cfg(not(target_os = "linux"))]
fn id() -> Option<u64> {
    sysctl("kern.hostid")?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn sysctl(name: &str) -> Option<String> {
    let output = std::process::Command::new("/sbin/sysctl")
        .args(["-n", name])
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "resource shared {
        on ada { local /dev/a remote 192.0.2.2 }
        on bob { local /dev/b remote 192.0.2.1 }
    }\n";

    fn read(text: &str, name: Option<&str>) -> Result<Config, LoadError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        load(file.path(), name)
    }

    #[test]
    fn a_node_is_known_by_the_name_given_or_by_that_of_the_host() {
        let config = read(SHARED, Some("bob")).unwrap();
        assert_eq!(config.resources[0].local.as_str(), "/dev/b");
        let host = this_host();
        let here = SHARED.replace("ada", &host.name);
        let config = read(&here, None).unwrap();
        assert_eq!(config.resources[0].local.as_str(), "/dev/a");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_its_status() {
        let error = read(SHARED, Some("cyd")).unwrap_err();
        assert_eq!(error.exit_status(), 78);
        assert!(error.to_string().contains(":4:"), "{error}");
        let error = read("timeout 0\n", None).unwrap_err();
        assert!(error.to_string().contains(":1:9: "), "{error}");
        let error = read(&"#".repeat(MAX_LEN + 1), None).unwrap_err();
        assert_eq!(error.exit_status(), 78);
        let error = load(Path::new("/nonexistent/hast.conf"), None).unwrap_err();
        assert_eq!(error.exit_status(), 72);
        assert!(error.to_string().starts_with("cannot read /nonexistent/"));
    }
}

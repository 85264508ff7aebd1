//! Kernel parameters of interfaces, under `/proc/sys/net` of the calling thread's namespace.

use std::format;
use std::fs;
use std::io;
use std::string::{String, ToString};

use carp_proto::{Family, InterfaceName};

use super::LinuxError;

/// Reads a parameter; `None` if there is no such, as for IPv6 where it is disabled.
pub(super) fn read(
    family: Family,
    interface: InterfaceName,
    name: &'static str,
) -> Result<Option<u32>, LinuxError> {
    match fs::read_to_string(path(family, interface, name)) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(interface, name, error)),
    }
}

/// Writes a parameter, if there is such.
pub(super) fn write(
    family: Family,
    interface: InterfaceName,
    name: &'static str,
    value: u32,
) -> Result<(), LinuxError> {
    match fs::write(path(family, interface, name), value.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|error| failed(interface, name, error)),
    }
}

fn path(family: Family, interface: InterfaceName, name: &str) -> String {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    // No interface name holds a slash, and the kernel lets none be `.` or `..`.
    format!("/proc/sys/net/{family}/conf/{interface}/{name}")
}

fn failed(interface: InterfaceName, name: &'static str, source: io::Error) -> LinuxError {
    LinuxError::Sysctl {
        name,
        interface,
        source,
    }
}

//! Why something on Linux could not be done.

use core::fmt;
use core::net::IpAddr;
use std::io;

use carp_proto::{InterfaceName, Vhid};

/// Why something on Linux could not be done. Every variant names what it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxError {
    /// The process may not do what this adapter does.
    #[error("missing capability {capability}")]
    MissingCapability {
        /// What it needs.
        capability: Capability,
    },
    /// There is no interface of this name.
    #[error("no interface {interface}")]
    NoInterface {
        /// The name.
        interface: InterfaceName,
    },
    /// The interface is not an Ethernet one, as far as addresses of six bytes tell.
    #[error("interface {interface} has no Ethernet address")]
    NotEthernet {
        /// The interface.
        interface: InterfaceName,
    },
    /// The name of the macvlan interface is taken by one that is something else.
    #[error("interface {interface} exists and is no macvlan on {parent}")]
    NotOurMacvlan {
        /// The name that is taken.
        interface: InterfaceName,
        /// The interface on which the macvlan is to be.
        parent: InterfaceName,
    },
    /// The virtual host has effects on this interface already.
    #[error("vhid {vhid} has effects on {interface} already")]
    Taken {
        /// The interface.
        interface: InterfaceName,
        /// The virtual host.
        vhid: Vhid,
    },
    /// A prefix is longer than the address.
    #[error("prefix length {prefix} of {address} is too long")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// The length in bits.
        prefix: u8,
    },
    /// A change of an address was refused.
    #[error("cannot {action} {address} on {interface}: {source}")]
    Address {
        /// What was to be done.
        action: Action,
        /// The address.
        address: IpAddr,
        /// The interface.
        interface: InterfaceName,
        /// What the kernel says.
        source: io::Error,
    },
    /// A change of an interface was refused.
    #[error("cannot {action} interface {interface}: {source}")]
    Link {
        /// What was to be done.
        action: Action,
        /// The interface.
        interface: InterfaceName,
        /// What the kernel says.
        source: io::Error,
    },
    /// A socket of an interface could not be made, or not be set up.
    #[error("{call} for {interface}: {source}")]
    Socket {
        /// The system call, with what it was about.
        call: &'static str,
        /// The interface.
        interface: InterfaceName,
        /// What the kernel says.
        source: io::Error,
    },
    /// A kernel parameter could not be read or written.
    #[error("sysctl {name} for {interface}: {source}")]
    Sysctl {
        /// The parameter.
        name: &'static str,
        /// The interface.
        interface: InterfaceName,
        /// What the kernel says.
        source: io::Error,
    },
    /// A question or an order to the kernel failed as such.
    #[error("netlink {call}: {source}")]
    Netlink {
        /// The system call, or what was asked for.
        call: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The thread that talks to the kernel could not be started, or is gone.
    #[error("the netlink thread is gone: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// What was to be done to an address or interface.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// It was to be added.
    Add,
    /// It was to be removed.
    Remove,
    /// It was to be kept for longer.
    Refresh,
    /// It was to be announced to the neighbours.
    Announce,
    /// It was to be switched on or off.
    Switch,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Refresh => "refresh",
            Self::Announce => "announce",
            Self::Switch => "switch",
        })
    }
}

/// What a process needs to be allowed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Capability {
    /// To change addresses and interfaces.
    NetAdmin,
    /// To open raw and packet sockets.
    NetRaw,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
        })
    }
}

impl From<LinuxError> for io::Error {
    fn from(error: LinuxError) -> Self {
        let kind = match &error {
            LinuxError::MissingCapability { .. } => io::ErrorKind::PermissionDenied,
            LinuxError::NoInterface { .. } => io::ErrorKind::NotFound,
            LinuxError::Address { source, .. }
            | LinuxError::Link { source, .. }
            | LinuxError::Socket { source, .. }
            | LinuxError::Sysctl { source, .. }
            | LinuxError::Netlink { source, .. }
            | LinuxError::Thread { source } => source.kind(),
            LinuxError::NotEthernet { .. }
            | LinuxError::NotOurMacvlan { .. }
            | LinuxError::Taken { .. }
            | LinuxError::Prefix { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

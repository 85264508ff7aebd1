//! From statements to text, by the grammar of HAST §8.2.

use core::fmt::{self, Display};

use super::directive::Directive;
use super::value::{DeviceSetting, Node, NodeSetting, PeerSetting, ResourceNode, ResourceSetting};
use super::{File, Resource, ResourceStatement, Statement};

impl NodeSetting {
    /// Returns the directive that sets it.
    #[must_use]
    pub const fn directive(&self) -> Directive {
        match self {
            Self::Control(_) => Directive::Control,
            Self::PidFile(_) => Directive::PidFile,
            Self::Listen(_) => Directive::Listen,
            Self::TlsCertificate(_) => Directive::TlsCertificate,
            Self::TlsKey(_) => Directive::TlsKey,
            Self::TlsAuthority(_) => Directive::TlsAuthority,
        }
    }
}

impl Display for NodeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Control(value)
        | Self::PidFile(value)
        | Self::Listen(value)
        | Self::TlsCertificate(value)
        | Self::TlsKey(value)
        | Self::TlsAuthority(value)) = self;
        write!(f, "{} {value}", self.directive())
    }
}

impl ResourceSetting {
    /// Returns the directive that sets it.
    #[must_use]
    pub const fn directive(&self) -> Directive {
        match self {
            Self::Replication(_) => Directive::Replication,
            Self::Checksum(_) => Directive::Checksum,
            Self::Compression(_) => Directive::Compression,
            Self::Timeout(_) => Directive::Timeout,
            Self::Exec(_) => Directive::Exec,
            Self::MetaFlush(_) => Directive::MetaFlush,
            Self::Tls(_) => Directive::Tls,
            Self::Arbiter(_) => Directive::Arbiter,
            Self::RequestSize(_) => Directive::RequestSize,
        }
    }
}

impl Display for ResourceSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value: &dyn Display = match self {
            Self::Replication(value) => value,
            Self::Checksum(value) => value,
            Self::Compression(value) => value,
            Self::Timeout(value) => value,
            Self::Exec(value) => value,
            Self::MetaFlush(value) | Self::Tls(value) => value,
            Self::Arbiter(value) => value,
            Self::RequestSize(value) => value,
        };
        write!(f, "{} {value}", self.directive())
    }
}

impl DeviceSetting {
    /// Returns the directive that sets it.
    #[must_use]
    pub const fn directive(&self) -> Directive {
        match self {
            Self::Name(_) => Directive::Name,
            Self::Local(_) => Directive::Local,
        }
    }
}

impl Display for DeviceSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "name {name}"),
            Self::Local(path) => write!(f, "local {path}"),
        }
    }
}

impl PeerSetting {
    /// Returns the directive that sets it.
    #[must_use]
    pub const fn directive(&self) -> Directive {
        match self {
            Self::Device(setting) => setting.directive(),
            Self::Remote(_) => Directive::Remote,
            Self::Source(_) => Directive::Source,
            Self::MetaFlush(_) => Directive::MetaFlush,
            Self::TlsPeer(_) => Directive::TlsPeer,
        }
    }
}

impl Display for PeerSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(setting) => setting.fmt(f),
            Self::Remote(remote) => write!(f, "remote {remote}"),
            Self::Source(address) => write!(f, "source {address}"),
            Self::MetaFlush(switch) => write!(f, "metaflush {switch}"),
            Self::TlsPeer(name) => write!(f, "tlspeer {name}"),
        }
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on {} {{", self.name)?;
        for setting in &self.settings {
            writeln!(f, "\t{setting}")?;
        }
        f.write_str("}")
    }
}

/// As it stands in its resource, one level in.
impl Display for ResourceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on {} {{", self.name)?;
        for setting in &self.settings {
            writeln!(f, "\t\t{setting}")?;
        }
        f.write_str("\t}")
    }
}

impl Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "resource {} {{", self.name)?;
        for statement in &self.statements {
            match statement {
                ResourceStatement::Setting(setting) => writeln!(f, "\t{setting}")?,
                ResourceStatement::Device(setting) => writeln!(f, "\t{setting}")?,
                ResourceStatement::Node(node) => writeln!(f, "\t{node}")?,
            }
        }
        f.write_str("}")
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeSetting(setting) => setting.fmt(f),
            Self::ResourceSetting(setting) => setting.fmt(f),
            Self::Node(node) => node.fmt(f),
            Self::Resource(resource) => resource.fmt(f),
        }
    }
}

impl Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in &self.statements {
            writeln!(f, "{statement}")?;
        }
        Ok(())
    }
}

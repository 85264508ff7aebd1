//! What a configuration means on one node (HAST §8.3).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::directive::Directive;
use super::error::{ConfError, ConfFault};
use super::value::{
    AddressOrNone, DeviceSetting, Node, NodeSetting, PeerSetting, RequestSize, ResourceNode,
    ResourceSetting, Switch, Timeout,
};
use super::word::{Address, Name, NodeName, Path};
use super::{File, Resource, ResourceStatement, Statement};
use crate::types::{Checksum, Compression, Replication};

/// Where the daemon takes orders unless configured.
pub const DEFAULT_CONTROL: &str = "/var/run/hastctl";
/// Where the daemon writes its process id unless configured.
pub const DEFAULT_PIDFILE: &str = "/var/run/hastd.pid";
/// Where the daemon takes connections unless configured, as far as the host has the family.
pub const DEFAULT_LISTEN: [&str; 2] = ["tcp4://0.0.0.0:8457", "tcp6://[::]:8457"];

/// By which names a node knows that it is meant.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Host {
    /// The host name; its first label counts too, if there is a dot.
    pub name: String,
    /// The host's UUID (`kern.hostuuid`), compared without regard to case.
    pub uuid: Option<String>,
    /// The host's number (`kern.hostid`), which the names `hostidNUMBER` mean.
    pub id: Option<u64>,
}

impl Host {
    /// Makes a host with a name only.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uuid: None,
            id: None,
        }
    }

    /// Returns the host with a UUID.
    #[must_use]
    pub fn with_uuid(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some(uuid.into());
        self
    }

    /// Returns the host with a number.
    #[must_use]
    pub const fn with_id(mut self, id: u64) -> Self {
        self.id = Some(id);
        self
    }

    /// Returns whether an `on` section of this name means the host.
    #[must_use]
    pub fn is(&self, name: &NodeName) -> bool {
        let name = name.as_str();
        let uuid = || {
            self.uuid
                .as_ref()
                .is_some_and(|uuid| uuid.eq_ignore_ascii_case(name))
        };
        // As text, because FreeBSD compares text: "hostid007" is not 7.
        let id = || {
            self.id
                .is_some_and(|id| name.strip_prefix("hostid") == Some(&id.to_string()))
        };
        name == self.name || Some(name) == self.first_label() || uuid() || id()
    }

    /// Returns the names by which the host can be meant, in the order of FreeBSD's message.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        names.extend(self.first_label().map(String::from));
        names.push(self.name.clone());
        names.extend(self.uuid.clone());
        names.extend(self.id.map(|id| alloc::format!("hostid{id}")));
        names
    }

    fn first_label(&self) -> Option<&str> {
        self.name.split_once('.').map(|(label, _)| label)
    }
}

/// What a configuration means on one node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Where the daemon takes orders; `None` is [`DEFAULT_CONTROL`].
    pub control: Option<Address>,
    /// Where the daemon writes its process id; `None` is [`DEFAULT_PIDFILE`].
    pub pidfile: Option<Path>,
    /// Where the daemon takes connections.
    pub listen: Listen,
    /// What the node needs for TLS.
    pub tls: TlsConfig,
    /// The resources, in the order of the file.
    pub resources: Vec<ResourceConfig>,
}

impl Config {
    /// Returns where the daemon takes orders.
    #[must_use]
    pub fn control(&self) -> &str {
        self.control
            .as_ref()
            .map_or(DEFAULT_CONTROL, |address| address.as_str())
    }

    /// Returns where the daemon writes its process id.
    #[must_use]
    pub fn pidfile(&self) -> &str {
        self.pidfile
            .as_ref()
            .map_or(DEFAULT_PIDFILE, |path| path.as_str())
    }

    /// Returns the resource of this name.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&ResourceConfig> {
        self.resources
            .iter()
            .find(|resource| resource.name.as_str() == name)
    }
}

/// Where the daemon takes connections.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "configured or not")]
pub enum Listen {
    /// Nothing is configured: on [`DEFAULT_LISTEN`], each only if the host has the family.
    Default,
    /// On these, in the order of the file, at least one. One that fails stops the daemon.
    At(Vec<Address>),
}

impl Listen {
    /// Returns the addresses as text.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        match self {
            Self::Default => DEFAULT_LISTEN.to_vec(),
            Self::At(addresses) => addresses.iter().map(|address| address.as_str()).collect(),
        }
    }
}

/// What a node needs for TLS. All are there if any resource has TLS on.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The node's certificate.
    pub certificate: Option<Path>,
    /// Its private key.
    pub key: Option<Path>,
    /// The authorities that vouch for peers.
    pub authority: Option<Path>,
}

impl TlsConfig {
    /// Returns the directive of what is missing first.
    fn missing(&self) -> Option<Directive> {
        let needed = [
            (&self.certificate, Directive::TlsCertificate),
            (&self.key, Directive::TlsKey),
            (&self.authority, Directive::TlsAuthority),
        ];
        let missing = needed.into_iter().find(|(path, _)| path.is_none());
        missing.map(|(_, directive)| directive)
    }
}

/// What a configuration means for one resource on one node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct ResourceConfig {
    /// The resource's name, the same on both nodes.
    pub name: Name,
    /// The name of its device under `/dev/hast`.
    pub provider: Name,
    /// The path of the provider below.
    pub local: Path,
    /// The other node; `None` if there is none.
    pub remote: Option<Address>,
    /// The address to connect from, if it matters.
    pub source: Option<Address>,
    /// When a write is done.
    pub replication: Replication,
    /// What protects the data this node sends.
    pub checksum: Checksum,
    /// How the data this node sends is made smaller.
    pub compression: Compression,
    /// When a silent peer is given up.
    pub timeout: Timeout,
    /// What is run at every event.
    pub exec: Option<Path>,
    /// Whether the local disk is told to flush its cache after metadata.
    pub metaflush: Switch,
    /// Whether the connections to the peer are inside mutual TLS.
    pub tls: Switch,
    /// The name that the peer's certificate must bear; if `None`, the host in `remote`.
    pub tls_peer: Option<Name>,
    /// The services of which one must grant the role of primary. None: no such service.
    pub arbiters: Vec<Address>,
    /// The largest request this node sends.
    pub request_size: RequestSize,
}

/// The settings of resources that one level makes.
#[derive(Clone, Default)]
struct Level<'a> {
    replication: Option<Replication>,
    checksum: Option<Checksum>,
    compression: Option<Compression>,
    timeout: Option<Timeout>,
    exec: Option<&'a Path>,
    metaflush: Option<Switch>,
    tls: Option<Switch>,
    arbiters: Option<Vec<&'a Address>>,
    request_size: Option<RequestSize>,
}

impl<'a> Level<'a> {
    fn of(settings: impl Iterator<Item = &'a ResourceSetting>) -> Self {
        let mut level = Self::default();
        for setting in settings {
            match setting {
                ResourceSetting::Replication(value) => level.replication = Some(*value),
                ResourceSetting::Checksum(value) => level.checksum = Some(*value),
                ResourceSetting::Compression(value) => level.compression = Some(*value),
                ResourceSetting::Timeout(value) => level.timeout = Some(*value),
                ResourceSetting::Exec(path) => level.exec = Some(path),
                ResourceSetting::MetaFlush(value) => level.metaflush = Some(*value),
                ResourceSetting::Tls(value) => level.tls = Some(*value),
                ResourceSetting::Arbiter(AddressOrNone::None) => level.arbiters = Some(vec![]),
                ResourceSetting::Arbiter(AddressOrNone::Address(address)) => {
                    level.arbiters.get_or_insert_default().push(address);
                }
                ResourceSetting::RequestSize(value) => level.request_size = Some(*value),
            }
        }
        level
    }

    /// Fills what is not set with what `outer` sets.
    fn within(self, outer: &Self) -> Self {
        Self {
            replication: self.replication.or(outer.replication),
            checksum: self.checksum.or(outer.checksum),
            compression: self.compression.or(outer.compression),
            timeout: self.timeout.or(outer.timeout),
            exec: self.exec.or(outer.exec),
            metaflush: self.metaflush.or(outer.metaflush),
            tls: self.tls.or(outer.tls),
            arbiters: self.arbiters.or_else(|| outer.arbiters.clone()),
            request_size: self.request_size.or(outer.request_size),
        }
    }
}

/// The settings that depend on the node.
#[derive(Clone, Default)]
struct Place<'a> {
    provider: Option<&'a Name>,
    local: Option<&'a Path>,
    remote: Option<&'a AddressOrNone>,
    source: Option<&'a Address>,
    metaflush: Option<Switch>,
    tls_peer: Option<&'a Name>,
}

impl<'a> Place<'a> {
    fn set_device(&mut self, setting: &'a DeviceSetting) {
        match setting {
            DeviceSetting::Name(name) => self.provider = Some(name),
            DeviceSetting::Local(path) => self.local = Some(path),
        }
    }

    fn set(&mut self, setting: &'a PeerSetting) {
        match setting {
            PeerSetting::Device(setting) => self.set_device(setting),
            PeerSetting::Remote(remote) => self.remote = Some(remote),
            PeerSetting::Source(address) => self.source = Some(address),
            PeerSetting::MetaFlush(value) => self.metaflush = Some(*value),
            PeerSetting::TlsPeer(name) => self.tls_peer = Some(name),
        }
    }
}

/// Settles what `file` means on `host`.
pub(super) fn config(file: &File, host: &Host) -> Result<Config, ConfError> {
    let global = Level::of(
        file.statements
            .iter()
            .filter_map(|statement| match statement {
                Statement::ResourceSetting(setting) => Some(setting),
                _ => None,
            }),
    );
    let mut config = node(file, host);
    let mut names = BTreeSet::new();
    for section in file.resources() {
        if !names.insert(section.name.as_str()) {
            let resource = section.name.to_string();
            let first = None;
            return Err(fault(section, ConfFault::Duplicate { resource, first }));
        }
        let resource = resource(section, &global, host)?;
        if let Some(directive) = config.tls.missing().filter(|_| resource.tls.is_on()) {
            let resource = section.name.to_string();
            return Err(fault(
                section,
                ConfFault::NoIdentity {
                    resource,
                    directive,
                },
            ));
        }
        config.resources.push(resource);
    }
    Ok(config)
}

/// Collects what concerns the node as a whole; a section of the node wins over the global
/// level, wherever they stand.
fn node(file: &File, host: &Host) -> Config {
    let mut config = Config {
        control: None,
        pidfile: None,
        listen: Listen::Default,
        tls: TlsConfig::default(),
        resources: Vec::new(),
    };
    let mut listen = Vec::new();
    let mut set = |setting: &NodeSetting| match setting {
        NodeSetting::Control(address) => config.control = Some(address.clone()),
        NodeSetting::PidFile(path) => config.pidfile = Some(path.clone()),
        NodeSetting::Listen(_) => {}
        NodeSetting::TlsCertificate(path) => config.tls.certificate = Some(path.clone()),
        NodeSetting::TlsKey(path) => config.tls.key = Some(path.clone()),
        NodeSetting::TlsAuthority(path) => config.tls.authority = Some(path.clone()),
    };
    for statement in &file.statements {
        if let Statement::NodeSetting(setting) = statement {
            set(setting);
        }
    }
    for section in sections(file, host) {
        section.settings.iter().for_each(&mut set);
    }
    // Listen addresses are kept from both, in the order of the file.
    for statement in &file.statements {
        let settings = match statement {
            Statement::NodeSetting(setting) => core::slice::from_ref(setting),
            Statement::Node(section) if host.is(&section.name) => section.settings.as_slice(),
            _ => &[],
        };
        listen.extend(settings.iter().filter_map(|setting| match setting {
            NodeSetting::Listen(address) => Some(address.clone()),
            _ => None,
        }));
    }
    if !listen.is_empty() {
        config.listen = Listen::At(listen);
    }
    config
}

fn sections<'a>(file: &'a File, host: &'a Host) -> impl Iterator<Item = &'a Node> {
    file.statements
        .iter()
        .filter_map(|statement| match statement {
            Statement::Node(node) if host.is(&node.name) => Some(node),
            _ => None,
        })
}

fn resource(
    section: &Resource,
    global: &Level<'_>,
    host: &Host,
) -> Result<ResourceConfig, ConfError> {
    let nodes: Vec<&ResourceNode> = section
        .statements
        .iter()
        .filter_map(|statement| match statement {
            ResourceStatement::Node(node) if host.is(&node.name) => Some(node),
            _ => None,
        })
        .collect();
    let resource = || section.name.to_string();
    if nodes.is_empty() {
        let names = host.names();
        let resource = resource();
        return Err(fault(section, ConfFault::NoSection { resource, names }));
    }
    let mut place = Place::default();
    for statement in &section.statements {
        if let ResourceStatement::Device(setting) = statement {
            place.set_device(setting);
        }
    }
    nodes
        .iter()
        .flat_map(|node| &node.settings)
        .for_each(|setting| place.set(setting));

    let level = Level::of(
        section
            .statements
            .iter()
            .filter_map(|statement| match statement {
                ResourceStatement::Setting(setting) => Some(setting),
                _ => None,
            }),
    )
    .within(global);

    // FreeBSD asks for `remote` first.
    let Some(remote) = place.remote else {
        let resource = resource();
        return Err(fault(section, ConfFault::NoRemote { resource }));
    };
    let Some(local) = place.local else {
        let resource = resource();
        return Err(fault(section, ConfFault::NoLocal { resource }));
    };
    Ok(ResourceConfig {
        name: section.name.clone(),
        provider: place.provider.unwrap_or(&section.name).clone(),
        local: local.clone(),
        remote: remote.address().cloned(),
        source: place.source.cloned(),
        replication: level.replication.unwrap_or_default(),
        checksum: level.checksum.unwrap_or_default(),
        compression: level.compression.unwrap_or_default(),
        timeout: level.timeout.unwrap_or_default(),
        exec: level.exec.cloned(),
        metaflush: place.metaflush.or(level.metaflush).unwrap_or(Switch::On),
        tls: level.tls.unwrap_or(Switch::Off),
        tls_peer: place.tls_peer.cloned(),
        arbiters: level.arbiters.into_iter().flatten().cloned().collect(),
        request_size: level.request_size.unwrap_or_default(),
    })
}

/// A fault of a whole resource, at its closing brace.
const fn fault(section: &Resource, fault: ConfFault) -> ConfError {
    ConfError {
        at: section.end,
        fault,
    }
}

//! `hast.conf`: read, written, and applied to a node (HAST §8).
//!
//! [`File`] is what a file says, about all nodes. [`File::select`] is what it means on one of
//! them: every default filled in, every precedence settled.
//!
//! # Directives
//!
//! | directive | global | node | resource | resource node | default |
//! |---|---|---|---|---|---|
//! | `control ADDRESS` | yes | yes | | | [`DEFAULT_CONTROL`] |
//! | `pidfile PATH` | yes | yes | | | [`DEFAULT_PIDFILE`] |
//! | `listen ADDRESS` | repeatable | repeatable | | | [`DEFAULT_LISTEN`] |
//! | `replication fullsync\|memsync\|async` | yes | | yes | | memsync |
//! | `checksum none\|crc32\|sha256` | yes | | yes | | none |
//! | `compression none\|hole\|lzf` | yes | | yes | | hole |
//! | `timeout SECONDS` | yes | | yes | | 20 |
//! | `exec PATH` | yes | | yes | | none |
//! | `metaflush on\|off` | yes | | yes | yes | on |
//! | `name NAME` | | | yes | yes | the resource's name |
//! | `local PATH` | | | yes | yes | required |
//! | `remote ADDRESS\|none` | | | | yes | required |
//! | `source ADDRESS` | | | | yes | none |
//! | `tls on\|off` | yes | | yes | | off |
//! | `tlscert PATH`, `tlskey PATH`, `tlsca PATH` | yes | yes | | | none |
//! | `tlspeer NAME` | | | | yes | the host in `remote` |
//! | `arbiter ADDRESS\|none` | repeatable | | repeatable | | none |
//! | `requestsize OCTETS` | yes | | yes | | 131072 |
//!
//! The innermost level wins, and among equals the last one; where a directive stands in its
//! section does not matter. `listen` of a node section is added to the global ones. The
//! addresses of `arbiter` of a resource replace the global ones; `none` takes back what the
//! same level said before it.
//!
//! # Extensions
//!
//! `tls`, `tlscert`, `tlskey`, `tlsca`, `tlspeer`, `arbiter` and `requestsize` are not
//! FreeBSD's. Its parser expects one of its own words where they stand, so it refuses the
//! whole file and names the word: `Unable to parse configuration file at line 2 near 'tls':
//! syntax error`. A node that cannot do what the file wants thus does not start, instead of
//! starting without. [`File::extensions`] tells which a file uses. Being no keywords, the
//! words remain good names of resources and nodes.
//!
//! # Stricter than FreeBSD
//!
//! Every file that is refused here but not there is one that does not mean what it seems to:
//!
//! - A character that means nothing (quotes, `;`, `=`, `%` and the like) is an error; FreeBSD
//!   prints it and goes on, as if a blank stood there. Only a carriage return is a blank.
//! - A `timeout` that does not fit 32 bits is an error; FreeBSD cuts it off.
//! - A `name` of more than 254 octets is an error everywhere; FreeBSD cuts it at resource
//!   level.
//! - Limits of length hold in sections of other nodes too; FreeBSD looks at its own only.
//!
//! And one file is read that is refused there: a comment may end with the file, without a
//! line end.

#![warn(clippy::arithmetic_side_effects)]

mod directive;
mod endpoint;
mod error;
mod parse;
mod scan;
mod select;
mod value;
mod word;
mod write;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

pub use self::directive::{Directive, Scope, Takes};
pub use self::endpoint::{DEFAULT_PORT, Endpoint, EndpointError, Family};
pub use self::error::{ConfError, ConfFault, Expected, Found, Hint};
pub use self::scan::Position;
pub use self::select::{
    Config, DEFAULT_CONTROL, DEFAULT_LISTEN, DEFAULT_PIDFILE, Host, Listen, ResourceConfig,
    TlsConfig,
};
pub use self::value::{
    AddressOrNone, DeviceSetting, Node, NodeSetting, PeerSetting, RequestSize, ResourceNode,
    ResourceSetting, Switch, Timeout,
};
pub use self::word::{Address, MAX_NAME_LEN, MAX_TEXT_LEN, Name, NodeName, Path, Word, WordError};

/// The longest text that is read as a configuration, in octets: 1 MiB, room for thousands of
/// resources. What reading allocates is at most some tens of times the text's length.
pub const MAX_LEN: usize = 1024 * 1024;

/// A whole configuration, for all nodes.
///
/// `Display` writes it as text that [`parse`](Self::parse) reads back to an equal value.
/// Comments and layout are not kept.
///
/// # Example
///
/// ```
/// use hast_proto::conf::{File, Host};
/// use hast_proto::Replication;
///
/// let file = File::parse(b"
///     replication fullsync
///     resource shared {
///         local /dev/da0
///         on hasta { remote tcp://10.0.0.2 }
///         on hastb { remote tcp://10.0.0.1 }
///     }
/// ")?;
/// assert_eq!(File::parse(file.to_string().as_bytes())?, file);
///
/// let here = file.select(&Host::new("hasta.example.org"))?;
/// let shared = &here.resources[0];
/// assert_eq!(shared.replication, Replication::Fullsync);
/// assert_eq!(shared.remote.as_ref().unwrap().as_str(), "tcp://10.0.0.2");
///
/// let error = File::parse(b"replication fulsync\n").unwrap_err();
/// assert_eq!(
///     error.in_file("hast.conf").to_string(),
///     "hast.conf:1:13: `fulsync` where `fullsync`, `memsync` or `async` for `replication` is \
///      expected"
/// );
/// # Ok::<(), hast_proto::conf::ConfError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a file is its statements")]
pub struct File {
    /// What it says, in order.
    pub statements: Vec<Statement>,
}

impl File {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfError`] at the first fault: of syntax, of a value, or two resources of the same
    /// name. Whether a resource is complete for a node is for [`select`](Self::select) to say.
    pub fn parse(text: &[u8]) -> Result<Self, ConfError> {
        parse::file(text)
    }

    /// Settles what the configuration means on `host`.
    ///
    /// # Errors
    ///
    /// [`ConfError`] with [`ConfFault::NoSection`], [`ConfFault::NoRemote`],
    /// [`ConfFault::NoLocal`] or [`ConfFault::NoIdentity`] for the first resource that is not
    /// complete there, and [`ConfFault::Duplicate`] for a name given twice in a file that was
    /// not read from text.
    pub fn select(&self, host: &Host) -> Result<Config, ConfError> {
        select::config(self, host)
    }

    /// Returns the resources, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.statements
            .iter()
            .filter_map(|statement| match statement {
                Statement::Resource(resource) => Some(resource),
                _ => None,
            })
    }

    /// Returns the words of the extensions used, each once, in alphabetical order. If there is
    /// none, FreeBSD's hastd takes the file too.
    #[must_use]
    pub fn extensions(&self) -> BTreeSet<&'static str> {
        let mut used = BTreeSet::new();
        for statement in &self.statements {
            match statement {
                Statement::NodeSetting(setting) => used.extend(extension(setting.directive())),
                Statement::ResourceSetting(setting) => used.extend(extension(setting.directive())),
                Statement::Node(node) => {
                    used.extend(
                        node.settings
                            .iter()
                            .filter_map(|s| extension(s.directive())),
                    );
                }
                Statement::Resource(resource) => {
                    for statement in &resource.statements {
                        match statement {
                            ResourceStatement::Setting(s) => used.extend(extension(s.directive())),
                            ResourceStatement::Device(_) => {}
                            ResourceStatement::Node(node) => used.extend(
                                node.settings
                                    .iter()
                                    .filter_map(|s| extension(s.directive())),
                            ),
                        }
                    }
                }
            }
        }
        used
    }
}

fn extension(directive: Directive) -> Option<&'static str> {
    directive.is_extension().then(|| directive.word())
}

/// What stands outside all braces.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these four")]
pub enum Statement {
    /// A setting of all nodes.
    NodeSetting(NodeSetting),
    /// A setting of all resources.
    ResourceSetting(ResourceSetting),
    /// `on NAME { ... }`
    Node(Node),
    /// `resource NAME { ... }`
    Resource(Resource),
}

/// A section `resource NAME { ... }`.
///
/// Two are equal if they say the same, wherever they stand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resource {
    /// Its name.
    pub name: Name,
    /// What it says, in order.
    pub statements: Vec<ResourceStatement>,
    /// The closing brace, for messages.
    end: Option<Position>,
}

impl Resource {
    /// Makes a section of a resource.
    #[must_use]
    pub const fn new(name: Name, statements: Vec<ResourceStatement>) -> Self {
        Self {
            name,
            statements,
            end: None,
        }
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.statements == other.statements
    }
}

impl Eq for Resource {}

impl Hash for Resource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.statements.hash(state);
    }
}

/// What stands in a section of a resource.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these three")]
pub enum ResourceStatement {
    /// A setting that could be global too.
    Setting(ResourceSetting),
    /// A setting of the device.
    Device(DeviceSetting),
    /// `on NAME { ... }`
    Node(ResourceNode),
}

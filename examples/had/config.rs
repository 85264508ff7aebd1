//! What a configuration says. `had.toml` beside this file explains each setting.
//!
//! These are the words of the file, read by serde; what contradicts what is found by
//! [`check`](super::check). Where that has to name a place, the value is [`Spanned`].

use core::net::{IpAddr, SocketAddr};
use core::num::{NonZeroU8, NonZeroU16};
use std::path::{Path, PathBuf};

use ha_core::failover::NodeId;
use ha_core::hast_proto::{Checksum, Compression, Replication, ResourceName};
use ha_core::io::arbiter::etcd::Endpoint;
use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use super::check;
use super::fault::Fault;
use super::reach::{RawInterface, yes};
use super::read;
use super::values::{CommandLine, Remote, Seconds, Source, Text, Url, Word};
use super::vhost::{Rules, Shared, secret};

/// Reads and checks a file. The error says all that is wrong, each with its place.
pub(crate) fn load(path: &Path) -> Result<Config, String> {
    let text = read::text(path)?;
    parse(&text).map_err(|faults| told(&faults, path, &text))
}

/// The same, and looks for what it names on this host. What a unit lacks there is told beside, and
/// what had cannot begin without is an error.
pub(crate) fn load_and_look(path: &Path) -> Result<(Config, String), String> {
    let text = read::text(path)?;
    let config = parse(&text).map_err(|faults| told(&faults, path, &text))?;
    let mut missing = check::look(&config);
    match missing.faults.is_empty() {
        true => Ok((config, told(&missing.warnings, path, &text))),
        false => {
            missing.faults.append(&mut missing.warnings);
            Err(told(&missing.faults, path, &text))
        }
    }
}

fn told(faults: &[Fault], path: &Path, text: &str) -> String {
    let told = faults.iter();
    let told = told.map(|fault| fault.in_file(path, text).to_string());
    told.collect::<Vec<_>>().join("\n")
}

/// Reads and checks a text.
pub(crate) fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let config: Config = toml::from_str(text).map_err(|error| vec![Fault::from(&error)])?;
    let faults = check::faults(&config);
    match faults.is_empty() {
        true => Ok(config),
        false => Err(faults),
    }
}

/// Everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) node: Node,
    #[serde(default)]
    pub(crate) status: StatusPage,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) hast: Hast,
    #[serde(default, rename = "interface")]
    pub(crate) interfaces: Vec<Spanned<RawInterface>>,
    #[serde(default, rename = "unit")]
    pub(crate) units: Vec<Unit>,
}

/// `[node]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) id: Spanned<u8>,
    pub(crate) name: Spanned<Text<Word>>,
    #[serde(default = "run")]
    pub(crate) run: Spanned<PathBuf>,
    #[serde(default, rename = "peer")]
    pub(crate) peers: Vec<Peer>,
}

fn run() -> Spanned<PathBuf> {
    Spanned::new(0..0, "/run/had".into())
}

/// `[[node.peer]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) id: Spanned<u8>,
    pub(crate) name: Spanned<Text<Word>>,
    pub(crate) status: Option<SocketAddr>,
}

/// `[status]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusPage {
    pub(crate) page: Option<Spanned<SocketAddr>>,
    pub(crate) listen: Option<Spanned<SocketAddr>>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) events: Option<Spanned<PathBuf>>,
}

/// `[hast]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hast {
    #[serde(default)]
    pub(crate) listen: Vec<SocketAddr>,
}

/// `[[unit]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unit {
    pub(crate) name: Spanned<Text<Word>>,
    pub(crate) demotion: Option<Spanned<i32>>,
    pub(crate) shutdown: Option<Spanned<Seconds>>,
    #[serde(default)]
    pub(crate) carp: Vec<Spanned<Carp>>,
    pub(crate) resource: Option<Spanned<Resource>>,
    pub(crate) device: Option<Spanned<Device>>,
    #[serde(default, rename = "mount")]
    pub(crate) mounts: Vec<Spanned<Mount>>,
    #[serde(default, rename = "service")]
    pub(crate) services: Vec<Spanned<Service>>,
    #[serde(default, rename = "check")]
    pub(crate) checks: Vec<Spanned<Check>>,
    pub(crate) arbiter: Option<Spanned<Arbiter>>,
    pub(crate) fence: Option<Spanned<Fence>>,
    #[serde(default)]
    pub(crate) hold: Hold,
}

/// `[[unit.carp]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carp {
    pub(crate) interface: Spanned<String>,
    pub(crate) vhid: Spanned<u8>,
    pub(crate) addresses: Spanned<Vec<Spanned<Text<Shared>>>>,
    #[serde(default, deserialize_with = "secret")]
    pub(crate) passphrase: Option<Zeroizing<String>>,
    pub(crate) passphrase_file: Option<Spanned<PathBuf>>,
    #[serde(default = "rules")]
    pub(crate) rules: Spanned<Rules>,
    pub(crate) advbase: Option<Spanned<u8>>,
    pub(crate) advskew: Option<Spanned<u8>>,
    pub(crate) deadratio: Option<Spanned<NonZeroU8>>,
    #[serde(default = "on")]
    pub(crate) multicast: Spanned<bool>,
    #[serde(default)]
    pub(crate) peers: Vec<Spanned<IpAddr>>,
    #[serde(default)]
    pub(crate) macvlan: bool,
    #[serde(default = "yes")]
    pub(crate) expire: bool,
    #[serde(default)]
    pub(crate) hold_link: bool,
}

fn rules() -> Spanned<Rules> {
    Spanned::new(0..0, Rules::default())
}

fn on() -> Spanned<bool> {
    Spanned::new(0..0, true)
}

/// `[unit.resource]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resource {
    pub(crate) name: Option<Spanned<Text<ResourceName>>>,
    pub(crate) local: PathBuf,
    pub(crate) remote: Text<Remote>,
    pub(crate) peer: Option<Spanned<Text<Word>>>,
    pub(crate) source: Option<Text<Source>>,
    pub(crate) replication: Option<Text<Replication>>,
    pub(crate) checksum: Option<Text<Checksum>>,
    pub(crate) compression: Option<Text<Compression>>,
    #[serde(default = "seconds::<3>")]
    pub(crate) timeout: Spanned<Seconds>,
    #[serde(default = "seconds::<3>")]
    pub(crate) reconnect: Spanned<Seconds>,
    #[serde(default = "yes")]
    pub(crate) metaflush: bool,
    #[serde(default = "seconds::<2>")]
    pub(crate) role_change: Spanned<Seconds>,
    #[serde(default = "seconds::<30>")]
    pub(crate) deadline: Spanned<Seconds>,
}

/// `[unit.device]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) device: Spanned<PathBuf>,
    pub(crate) attach: CommandLine,
    pub(crate) detach: CommandLine,
    #[serde(default = "seconds::<30>")]
    pub(crate) deadline: Spanned<Seconds>,
}

/// `[[unit.mount]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    pub(crate) at: Spanned<PathBuf>,
    #[serde(rename = "type")]
    pub(crate) kind: Text<Word>,
    pub(crate) device: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(crate) options: String,
    #[serde(default)]
    pub(crate) fsck: Fsck,
    #[serde(default = "yes")]
    pub(crate) lazy: bool,
    #[serde(default = "seconds::<3>")]
    pub(crate) patience: Spanned<Seconds>,
    #[serde(default = "seconds::<30>")]
    pub(crate) deadline: Spanned<Seconds>,
}

/// How a file system is checked.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "neither true nor false nor a command")]
pub(crate) enum Fsck {
    Usual(bool),
    By(CommandLine),
}

impl Default for Fsck {
    fn default() -> Self {
        Self::Usual(true)
    }
}

/// `[[unit.service]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) name: Spanned<Text<Word>>,
    #[serde(default)]
    pub(crate) after: Vec<Spanned<Text<Word>>>,
    pub(crate) systemd: Option<Spanned<String>>,
    pub(crate) start: Option<Spanned<CommandLine>>,
    pub(crate) stop: Option<Spanned<CommandLine>>,
    pub(crate) kill: Option<Spanned<CommandLine>>,
    pub(crate) drain: Option<Spanned<CommandLine>>,
    #[serde(default)]
    pub(crate) background: bool,
    #[serde(default = "seconds::<30>")]
    pub(crate) start_deadline: Spanned<Seconds>,
    #[serde(default = "seconds::<10>")]
    pub(crate) stop_deadline: Spanned<Seconds>,
    #[serde(default = "seconds::<5>")]
    pub(crate) kill_deadline: Spanned<Seconds>,
    #[serde(default = "seconds::<10>")]
    pub(crate) drain_deadline: Spanned<Seconds>,
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
    pub(crate) retries: Option<Spanned<u8>>,
    #[serde(default = "seconds::<1>")]
    pub(crate) pause: Spanned<Seconds>,
}

/// What follows when a service does not start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFailure {
    #[default]
    RollBack,
    Skip,
}

/// `[[unit.check]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) name: Spanned<Text<Word>>,
    pub(crate) tcp: Option<Spanned<SocketAddr>>,
    pub(crate) http: Option<Spanned<Text<Url>>>,
    pub(crate) host: Option<Spanned<String>>,
    pub(crate) expect: Option<Spanned<String>>,
    pub(crate) command: Option<Spanned<CommandLine>>,
    pub(crate) file_age: Option<Spanned<FileAge>>,
    pub(crate) free_space: Option<Spanned<FreeSpace>>,
    pub(crate) pid_file: Option<Spanned<PathBuf>>,
    pub(crate) process: Option<Spanned<String>>,
    pub(crate) replication: Option<Spanned<bool>>,
    #[serde(default = "seconds::<5>")]
    pub(crate) interval: Spanned<Seconds>,
    #[serde(default = "seconds::<3>")]
    pub(crate) limit: Spanned<Seconds>,
    #[serde(default = "times::<1>")]
    pub(crate) rise: NonZeroU16,
    #[serde(default = "times::<3>")]
    pub(crate) fall: NonZeroU16,
    #[serde(default)]
    pub(crate) when: When,
    pub(crate) forgive: Option<Spanned<Seconds>>,
}

/// When a check is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    #[default]
    Always,
    Active,
}

/// How old a file may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileAge {
    pub(crate) path: PathBuf,
    pub(crate) limit: Seconds,
}

/// How much must be free.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreeSpace {
    pub(crate) path: PathBuf,
    pub(crate) least: u64,
}

/// `[unit.arbiter]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arbiter {
    pub(crate) etcd: Option<Spanned<Vec<Text<Endpoint>>>>,
    pub(crate) prefix: Option<Spanned<String>>,
    pub(crate) user: Option<Spanned<String>>,
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    pub(crate) file: Option<Spanned<PathBuf>>,
    pub(crate) ttl: Option<Seconds>,
    pub(crate) stop_early: Option<Seconds>,
    pub(crate) interval: Option<Seconds>,
    pub(crate) patience: Option<Seconds>,
    #[serde(default)]
    pub(crate) when_lost: WhenLost,
}

/// What it means to lose the arbiter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenLost {
    #[default]
    Release,
    KeepWhilePeerAgrees,
    Keep,
}

/// `[unit.fence]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fence {
    pub(crate) peer: Option<CommandLine>,
    #[serde(rename = "self")]
    pub(crate) this: Option<CommandLine>,
    #[serde(default = "seconds::<30>")]
    pub(crate) deadline: Spanned<Seconds>,
}

/// `[unit.hold]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    pub(crate) start: Option<Seconds>,
    pub(crate) settle: Option<Seconds>,
    pub(crate) failed: Option<Spanned<Seconds>>,
    pub(crate) left: Option<Spanned<Seconds>>,
    pub(crate) force: Option<Seconds>,
    pub(crate) stuck: Option<Spanned<Seconds>>,
}

fn seconds<const N: u64>() -> Spanned<Seconds> {
    Spanned::new(0..0, Seconds::new(N))
}

fn times<const N: u16>() -> NonZeroU16 {
    NonZeroU16::new(N).unwrap_or(NonZeroU16::MIN)
}

impl Config {
    /// The node that a resource is replicated with.
    pub(crate) fn storage_peer(&self, resource: &Resource) -> Result<NodeId, &'static str> {
        let mut peers = self.node.peers.iter();
        let found = match &resource.peer {
            Some(name) => peers.find(|peer| peer.name.get_ref() == name.get_ref()),
            None if self.node.peers.len() > 1 => return Err("there are several peers"),
            None => peers.next(),
        };
        let peer = found.ok_or("there is no such peer")?;
        NodeId::new(*peer.id.get_ref()).map_err(|_| "the peer has no id")
    }
}

impl Resource {
    /// When a write is done: as `hast.conf` has it, unless the file says something.
    pub(crate) fn replication(&self) -> Replication {
        self.replication.map_or(Replication::Memsync, |text| text.0)
    }
}

impl Unit {
    /// The device that the storage has on this node, if the file says so.
    pub(crate) fn own_device(&self) -> Option<&Path> {
        let device = self.device.as_ref()?;
        Some(device.get_ref().device.get_ref())
    }

    /// What the resource is called.
    pub(crate) fn resource_name(&self) -> Result<ResourceName, Fault> {
        let named = self.resource.as_ref();
        match named.and_then(|resource| resource.get_ref().name.as_ref()) {
            Some(name) => Ok(name.get_ref().0.clone()),
            None => ResourceName::new(self.name.get_ref())
                .map_err(|error| Fault::new(Some(self.name.span()), error.to_string())),
        }
    }
}

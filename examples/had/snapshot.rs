//! All that a node knows about itself at one moment, as the control socket, the status page and
//! the other nodes get it.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::moment::Stamp;
use super::timeline::Timeline;

/// A node.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    /// When it was taken.
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// Whose it is.
    pub(crate) node: Node,
    /// By how much CARP is demoted, and why.
    pub(crate) demotion: Demotion,
    /// What moves together.
    pub(crate) units: Vec<Unit>,
    /// Where this node cannot be asked although it should be, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) closed: BTreeMap<String, String>,
}

impl Snapshot {
    pub(crate) fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.name == name)
    }
}

/// Which node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Node {
    /// Its number.
    pub(crate) id: u8,
    /// What people call it.
    pub(crate) name: String,
}

/// The demotion level, and the named reasons that are part of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Demotion {
    pub(crate) level: i32,
    pub(crate) reasons: Vec<Reason>,
}

/// A reason for demotion.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Reason {
    pub(crate) name: String,
    pub(crate) amount: i32,
}

/// A unit: addresses, storage and services that move together.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) state: State,
    /// Whether the operator has taken it out of service here.
    pub(crate) maintenance: bool,
    /// Why it is not promoted here, if it is not.
    pub(crate) blocked: Option<String>,
    /// For what this node is demoted by it.
    pub(crate) causes: Vec<String>,
    pub(crate) addresses: Vec<Group>,
    pub(crate) storage: Option<Storage>,
    /// The steps of a promotion, in their order.
    pub(crate) steps: Vec<Step>,
    /// What is being done.
    pub(crate) running: Vec<Running>,
    pub(crate) checks: Vec<Check>,
    /// The last time the role was taken or given away.
    pub(crate) last: Option<Timeline>,
    /// Events that nobody read in time.
    pub(crate) lost_events: u64,
}

/// The state of a unit on a node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Standby,
    Acquiring,
    Promoting,
    Active,
    Draining,
    Demoting,
    Releasing,
    Stuck,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Standby,
        Self::Acquiring,
        Self::Promoting,
        Self::Active,
        Self::Draining,
        Self::Demoting,
        Self::Releasing,
        Self::Stuck,
    ];

    /// Whether something is under way.
    pub(crate) const fn is_moving(self) -> bool {
        !matches!(self, Self::Standby | Self::Active | Self::Stuck)
    }
}

impl From<ha_core::failover::State> for State {
    fn from(state: ha_core::failover::State) -> Self {
        use ha_core::failover::State as Its;
        match state {
            Its::Standby => Self::Standby,
            Its::Acquiring => Self::Acquiring,
            Its::Promoting => Self::Promoting,
            Its::Active => Self::Active,
            Its::Draining => Self::Draining,
            Its::Demoting => Self::Demoting,
            Its::Releasing => Self::Releasing,
            Its::Stuck => Self::Stuck,
        }
    }
}

impl core::fmt::Display for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Standby => "standby",
            Self::Acquiring => "acquiring",
            Self::Promoting => "promoting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Demoting => "demoting",
            Self::Releasing => "releasing",
            Self::Stuck => "stuck",
        })
    }
}

/// A group of addresses: one virtual host.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) interface: String,
    pub(crate) vhid: u8,
    /// `MASTER`, `BACKUP` or `INIT`.
    pub(crate) role: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// Those that are on the interface now.
    pub(crate) serving: Vec<IpAddr>,
    /// What could not be done to them, if something could not.
    pub(crate) failed: Option<String>,
    /// How the election goes: the lower, the better.
    pub(crate) advbase: u8,
    pub(crate) advskew: u8,
    /// Whether this node takes over from a worse master that works.
    pub(crate) preempt: bool,
    /// Packets, by the names of `netstat -s -p carp`.
    pub(crate) stats: BTreeMap<String, u64>,
}

/// Replicated storage.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Storage {
    /// `primary`, `secondary` or `init`.
    pub(crate) role: String,
    #[serde(flatten)]
    pub(crate) data: Data,
    /// `disconnected`, `secondary` or `primary`.
    pub(crate) peer: String,
    /// On a primary, the nodes that have all that was acknowledged.
    pub(crate) current: Vec<u8>,
    /// Whether it waits for the permission to go on without a node.
    pub(crate) waits: bool,
    /// How the resource that holds the data is, if it is one of HAST.
    pub(crate) resource: Option<Resource>,
}

impl Storage {
    /// Whether all that was acknowledged is here.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.data == Data::UpToDate
    }
}

/// How the data of a node compare with what was acknowledged.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "data", rename_all = "kebab-case")]
pub(crate) enum Data {
    Unknown,
    UpToDate,
    Outdated,
    Inconsistent,
    Synchronising { done: u64, total: u64 },
    SplitBrain,
}

impl From<ha_core::failover::Data> for Data {
    fn from(data: ha_core::failover::Data) -> Self {
        use ha_core::failover::Data as Its;
        match data {
            Its::Unknown => Self::Unknown,
            Its::UpToDate => Self::UpToDate,
            Its::Outdated => Self::Outdated,
            Its::Inconsistent => Self::Inconsistent,
            Its::Synchronising { done, total } => Self::Synchronising { done, total },
            Its::SplitBrain => Self::SplitBrain,
        }
    }
}

impl core::fmt::Display for Data {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::UpToDate => "up to date",
            Self::Outdated => "outdated",
            Self::Inconsistent => "inconsistent",
            Self::Synchronising { .. } => "synchronising",
            Self::SplitBrain => "split brain",
        })
    }
}

/// A resource of HAST.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Resource {
    pub(crate) name: String,
    /// The local disk.
    pub(crate) device: String,
    pub(crate) remote: String,
    /// `fullsync`, `memsync` or `async`.
    pub(crate) replication: String,
    pub(crate) connected: bool,
    /// On a primary: whether the peer has all, and both nodes know it.
    pub(crate) in_sync: Option<bool>,
    /// On a primary: octets that one of the two lacks.
    pub(crate) to_copy: u64,
    /// The synchronisation under way.
    pub(crate) copying: Option<Copying>,
    /// Requests that wait: for the local disk, to be sent, and for the peer's answer.
    pub(crate) queued: u64,
    /// The split brain that waits for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<Split>,
}

/// Both nodes have written alone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Split {
    pub(crate) here: Differing,
    /// Nothing as long as the other node has not told.
    pub(crate) there: Option<Differing>,
}

/// How much of a node's data may differ from the other's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Differing {
    pub(crate) extents: u32,
    pub(crate) octets: u64,
}

impl From<hast_proto::control::Differing> for Differing {
    fn from(differing: hast_proto::control::Differing) -> Self {
        let hast_proto::control::Differing { extents, octets } = differing;
        Self { extents, octets }
    }
}

/// A synchronisation under way, on a primary.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Copying {
    /// Octets copied.
    pub(crate) copied: u64,
    /// Octets left.
    pub(crate) left: u64,
    pub(crate) since_ms: f64,
    /// How long it will still take, as far as can be told.
    pub(crate) estimate_ms: Option<f64>,
    /// Whether this node is copied to.
    pub(crate) from_peer: bool,
}

/// A step of a promotion, and how it stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) standing: Standing,
}

/// What a step is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Fence,
    Storage,
    Device,
    Check,
    Mount,
    Service,
    Address,
}

impl From<ha_core::failover::StepKind> for Kind {
    fn from(kind: ha_core::failover::StepKind) -> Self {
        use ha_core::failover::StepKind as Its;
        match kind {
            Its::FencePeer => Self::Fence,
            Its::StorageRole => Self::Storage,
            Its::Device => Self::Device,
            Its::Check => Self::Check,
            Its::Mount => Self::Mount,
            Its::Service => Self::Service,
            Its::Address => Self::Address,
        }
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Fence => "fence",
            Self::Storage => "storage",
            Self::Device => "device",
            Self::Check => "file system check",
            Self::Mount => "mount",
            Self::Service => "service",
            Self::Address => "address",
        })
    }
}

/// How a step stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Nobody has done or undone it since the program began.
    #[default]
    Unknown,
    /// It is done: mounted, started, served.
    Done,
    /// It is undone.
    Undone,
    /// The last thing that was tried with it failed.
    Failed,
    /// It was left out because what it needs was.
    LeftOut,
}

/// Something that is being done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Running {
    pub(crate) step: String,
    pub(crate) action: String,
    /// For how much longer it may take; less than nothing if it was to have ended.
    pub(crate) left_ms: f64,
    pub(crate) cancelled: bool,
}

/// A health check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) good: bool,
    /// Why the last look was not well, if it was not.
    pub(crate) error: Option<String>,
}

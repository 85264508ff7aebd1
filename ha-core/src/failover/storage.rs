//! What the machine knows about replicated storage, and who is fit to be primary.

use core::fmt;

/// A node of the cluster: 0 to 63, another for each.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(u8);

/// A number that is not a node's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("node {value} where 0 to 63 are possible")]
pub struct NodeIdError {
    /// The number.
    pub value: u8,
}

impl NodeId {
    /// Makes a node of a number.
    ///
    /// # Errors
    ///
    /// [`NodeIdError`] if it is greater than 63.
    pub const fn new(value: u8) -> Result<Self, NodeIdError> {
        if value > 63 {
            return Err(NodeIdError { value });
        }
        Ok(Self(value))
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct NodeSet(u64);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);
    /// Every node that there can be.
    pub const ALL: Self = Self(u64::MAX);

    /// Takes a set in which bit n stands for node n.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the set as bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the set with `node` in it.
    #[must_use]
    pub const fn with(self, node: NodeId) -> Self {
        Self(self.0 | 1 << node.0)
    }

    /// Returns the nodes of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether `node` is in it.
    #[must_use]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & 1 << node.0 != 0
    }

    /// Returns whether all its nodes are in `other`.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Returns its nodes, in order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..64).map(NodeId).filter(move |node| self.contains(*node))
    }
}

impl From<NodeId> for NodeSet {
    fn from(node: NodeId) -> Self {
        Self::EMPTY.with(node)
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, node) in self.iter().enumerate() {
            write!(f, "{}{node}", if place == 0 { "{" } else { "," })?;
        }
        f.write_str(if self.0 == 0 { "{}" } else { "}" })
    }
}

/// The role of the storage on a node (HAST §5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "HAST has three roles")]
pub enum StorageRole {
    /// Nothing runs.
    Init,
    /// It follows.
    Secondary,
    /// It leads; the device exists.
    Primary,
}

/// How the data of this node compare with what was acknowledged, as far as it knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the policy covers each of them")]
pub enum Data {
    /// Nobody knows yet.
    Unknown,
    /// All that was acknowledged while the nodes were connected is here. A node that was left
    /// behind since need not know of it.
    UpToDate,
    /// They were whole once; other nodes have written since.
    Outdated,
    /// They are a mixture of old and new.
    Inconsistent,
    /// They are becoming up to date, and are a mixture until then.
    Synchronising {
        /// Octets copied.
        done: u64,
        /// Octets to copy in all.
        total: u64,
    },
    /// This node and another have both written alone.
    SplitBrain,
}

/// What the storage hears of a peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the policy covers each of them")]
pub enum Peer {
    /// None is connected. A node that has heard nothing else since its start is demoted until it
    /// was primary: [`Cause::Unmet`](super::Cause::Unmet).
    Disconnected,
    /// One is connected that is secondary.
    Secondary,
    /// One is connected that is primary.
    Primary,
    /// One is connected that is primary, and has not said yet how the data here compare with its
    /// own. It is in the way of a promotion, and has not been met.
    Unheard,
}

/// What the storage says about itself. A status handed in after a step has ended must have been
/// taken after that.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "these four facts decide")]
pub struct StorageStatus {
    /// The role here.
    pub role: StorageRole,
    /// The data here.
    pub data: Data,
    /// The peer.
    pub peer: Peer,
    /// On a primary: the nodes that have all that was acknowledged, this one included, and
    /// without which nothing more is acknowledged unless a [`Grant`](super::Grant) allows it.
    pub current: NodeSet,
}

/// Why the storage of a node should not become primary.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "operators are told each")]
pub enum Unfit {
    /// Nothing is known about it.
    #[error("nothing is known about the storage yet")]
    Unknown,
    /// Others have written since.
    #[error("the storage is outdated")]
    Outdated,
    /// It is a mixture of old and new.
    #[error("the storage is inconsistent")]
    Inconsistent,
    /// It is being synchronised, and a mixture of old and new.
    #[error("the storage is being synchronised")]
    Synchronising,
    /// Two nodes have written alone; somebody must decide.
    #[error("split brain")]
    SplitBrain,
    /// The arbiter's record says that others have written since.
    #[error("only the nodes {up_to_date} are up to date by the arbiter's record")]
    Record {
        /// Who is up to date.
        up_to_date: NodeSet,
    },
}

impl StorageStatus {
    /// Whether the two nodes have compared what they have: one leads, and the other follows.
    pub(super) const fn is_in_touch(&self) -> bool {
        matches!(
            (self.role, self.peer),
            (StorageRole::Secondary, Peer::Primary) | (StorageRole::Primary, Peer::Secondary)
        )
    }

    /// Tells whether this node's data may be served.
    ///
    /// # Errors
    ///
    /// [`Unfit`], if they are not known to be up to date.
    pub const fn fitness(&self) -> Result<(), Unfit> {
        match self.data {
            Data::UpToDate => Ok(()),
            Data::Unknown => Err(Unfit::Unknown),
            Data::Outdated => Err(Unfit::Outdated),
            Data::Inconsistent => Err(Unfit::Inconsistent),
            Data::Synchronising { .. } => Err(Unfit::Synchronising),
            Data::SplitBrain => Err(Unfit::SplitBrain),
        }
    }
}

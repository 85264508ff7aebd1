//! Whether a node's data can be used at all (HAST §5.5, hole 2).

/// The persistent mark of a node that is being synchronised.
///
/// A node that is overwritten with its peer's data holds a mixture of old and new until all is
/// copied, and neither its map nor its counters say so. The mark does. It is kept outside the
/// metadata block, where a real `hastd` would drop it; who embeds this crate knows where.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who stores it needs all of them")]
pub enum Consistency {
    /// The data are those of one moment, though perhaps not the latest.
    #[default]
    Consistent,
    /// They are a mixture, or older than what was acknowledged: the node must not be promoted,
    /// and its data must not be read, before a synchronisation from the peer has ended. What is
    /// missing is marked in the map of one of the two.
    Inconsistent,
    /// The same, and no map says what is missing, because the disk that would have to had
    /// failed: everything is to be copied.
    Incomplete,
}

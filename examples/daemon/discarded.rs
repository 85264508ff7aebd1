//! What an operator is told of a discard that is done.

/// What was saved, and what comes next.
pub(crate) fn told(name: &str, extents: u32, octets: u64, with_peer: bool) -> String {
    let of = match with_peer {
        true => "either node",
        false => "this node; the other does not tell which it has changed",
    };
    format!(
        "{name}: saved {extents} extents, {octets} octets, of {of}\n\
         {name}: everything is copied from the other node when it is primary\n"
    )
}

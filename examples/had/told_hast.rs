//! What replicated storage tells, as lines of events.

use ha_core::hast_proto::{primary, secondary};
use ha_core::io::hast::EventKind;
use serde::Serialize;

/// What happens to a resource, or to the sockets of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum HastTold {
    /// The role has changed.
    HastRole { from: String, to: String },
    /// The nodes are connected.
    HastConnected { version: String },
    /// They are not any more, or not yet.
    HastDisconnected { reason: String },
    /// A synchronisation has begun.
    SyncStarted { extents: u32, from_peer: bool },
    /// It is done.
    SyncDone,
    /// It is not.
    SyncFailed { extents: u32, reason: &'static str },
    /// The local disk has failed.
    DiskFailed {
        reason: String,
        /// Whether it is used no more.
        given_up: bool,
    },
    /// The local disk is used again.
    DiskAttached { from_peer: bool },
    /// Whether the local data are those of one moment.
    Consistency { mark: String },
    /// A peer, a connection or a request was refused.
    HastRefused { reason: String },
    /// Both nodes have written alone: how much may differ, for all that each of them knows.
    HastSplitBrain {
        extents: u32,
        octets: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_extents: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_octets: Option<u64>,
    },
    /// What this node had changed alone was saved, and is discarded.
    HastDiscarded {
        extents: u32,
        octets: u64,
        /// Whether what the other node has changed was saved, too.
        with_peer: bool,
    },
    /// Something else.
    Hast { text: String },
}

/// What a node of HAST tells; of which resource, the caller knows.
pub(crate) fn hast(kind: &EventKind) -> HastTold {
    match kind {
        EventKind::Role { old, new } => HastTold::HastRole {
            from: old.to_string(),
            to: new.to_string(),
        },
        EventKind::Primary(event) => leading(event),
        EventKind::Unreachable { error, .. } => HastTold::HastDisconnected {
            reason: error.to_string(),
        },
        EventKind::SessionBegun { version, .. } => HastTold::HastConnected {
            version: version.to_string(),
        },
        EventKind::Secondary(event) => following(event),
        EventKind::SessionEnded(end) => HastTold::HastDisconnected {
            reason: end.to_string(),
        },
        EventKind::Refused { reason, .. } => HastTold::HastRefused {
            reason: reason.to_string(),
        },
        EventKind::NotConfigured { peer, resource } => HastTold::HastRefused {
            reason: format!("{peer} asks for the resource {resource}, which there is not"),
        },
        EventKind::Stranger(address) => HastTold::HastRefused {
            reason: format!("{address} is nobody's remote"),
        },
        EventKind::NoOpening { peer, error } => HastTold::HastRefused {
            reason: format!("{peer}: {error}"),
        },
        EventKind::SplitBrain { found, .. } => HastTold::HastSplitBrain {
            extents: found.local.extents,
            octets: found.local.octets,
            peer_extents: found.remote.map(|it| it.extents),
            peer_octets: found.remote.map(|it| it.octets),
        },
        EventKind::Discarded(discarded) => HastTold::HastDiscarded {
            extents: discarded.extents,
            octets: discarded.octets.get(),
            with_peer: discarded.with_peer,
        },
        EventKind::Provider(error) => HastTold::DiskFailed {
            reason: error.to_string(),
            given_up: true,
        },
        other => HastTold::Hast {
            text: format!("{other:?}"),
        },
    }
}

fn leading(event: &primary::Event) -> HastTold {
    use primary::Event;
    match event {
        Event::Connected(version) => HastTold::HastConnected {
            version: version.to_string(),
        },
        Event::Disconnected(loss) => HastTold::HastDisconnected {
            reason: loss.to_string(),
        },
        Event::ConnectFailed(failure) => HastTold::HastDisconnected {
            reason: failure.to_string(),
        },
        Event::CopyStarted { extents, from_peer } => HastTold::SyncStarted {
            extents: *extents,
            from_peer: *from_peer,
        },
        Event::CopyDone => HastTold::SyncDone,
        Event::CopyInterrupted { extents } => HastTold::SyncFailed {
            extents: *extents,
            reason: "disconnected",
        },
        Event::CopyFailed { extents } => HastTold::SyncFailed {
            extents: *extents,
            reason: "requests failed; to be tried again",
        },
        Event::LocalReadFailed(error) | Event::LocalWriteFailed(error) => HastTold::DiskFailed {
            reason: error.to_string(),
            given_up: false,
        },
        Event::LocalFailed { error, .. } => HastTold::DiskFailed {
            reason: error.to_string(),
            given_up: true,
        },
        Event::Attached { from_peer } => HastTold::DiskAttached {
            from_peer: *from_peer,
        },
        Event::Consistency(mark) => HastTold::Consistency {
            mark: format!("{mark:?}").to_lowercase(),
        },
        other => HastTold::Hast {
            text: format!("{other:?}"),
        },
    }
}

fn following(event: &secondary::Event) -> HastTold {
    use secondary::Event;
    match event {
        Event::Refused(error) => HastTold::HastRefused {
            reason: error.to_string(),
        },
        Event::DiskError(error) => HastTold::DiskFailed {
            reason: error.to_string(),
            given_up: false,
        },
        Event::Consistency(mark) => HastTold::Consistency {
            mark: format!("{mark:?}").to_lowercase(),
        },
        other => HastTold::Hast {
            text: format!("{other:?}"),
        },
    }
}

//! What happens, as lines of a log. Whatever changes a state says why.

use core::net::SocketAddr;

use ha_core::io::hast::{Event, EventKind};
use hast_proto::control::SplitBrain;
use hast_proto::decision::Rule;
use hast_proto::primary::{self, Loss};
use hast_proto::{Consistency, Role, secondary};
use tracing::{debug, error, info, warn};

/// Logs an event.
pub(crate) fn tell(event: &Event) {
    match &event.resource {
        Some(resource) => resource_event(resource.as_str(), &event.kind),
        None => node_event(&event.kind),
    }
}

fn resource_event(resource: &str, kind: &EventKind) {
    match kind {
        EventKind::Role { old, new } => match new {
            Role::Init => info!(resource, %old, %new, "role changed: nothing is served any more"),
            Role::Primary => info!(resource, %old, %new, "role changed: this node is written to"),
            Role::Secondary => info!(resource, %old, %new, "role changed: waiting for the primary"),
        },
        EventKind::Primary(event) => primary_event(resource, event),
        EventKind::Unreachable { address, error } => match address {
            Some(address) => warn!(resource, %address, %error, "peer unreachable"),
            None => warn!(resource, %error, "the peer's address cannot be found"),
        },
        EventKind::SessionBegun {
            peer,
            version,
            rule,
        } => {
            info!(resource, %peer, %version, reason = because(*rule), "session begun");
        }
        EventKind::Secondary(event) => secondary_event(resource, event),
        EventKind::SessionEnded(end) => match end {
            secondary::End::Stopped => info!(resource, reason = %end, "session ended"),
            _ => warn!(resource, reason = %end, "session ended"),
        },
        EventKind::Refused { peer, reason } => warn!(resource, %peer, %reason, "peer refused"),
        EventKind::Unproven { peer, reason } => {
            warn!(resource, %peer, %reason, "connection not used");
        }
        EventKind::SplitBrain { peer, found } => split_brain(resource, *peer, *found),
        EventKind::DiscardGivenUp => warn!(resource, "the discard is given up"),
        EventKind::Discarded(discarded) => warn!(
            resource,
            extents = discarded.extents,
            octets = discarded.octets.get(),
            "what this node had changed alone was saved and is discarded"
        ),
        EventKind::Provider(error) => error!(resource, %error, "the provider cannot be used"),
        EventKind::Recovered => {
            warn!(
                resource,
                "the metadata were torn; their second copy was taken"
            );
        }
        EventKind::NotAdopted(error) => {
            error!(resource, %error, "the metadata cannot be written; peer refused");
        }
        other => warn!(resource, "{other:?}"),
    }
}

fn primary_event(resource: &str, event: &primary::Event) {
    use primary::Event;
    match event {
        Event::Connected(version) => info!(resource, %version, "connected"),
        Event::Disconnected(loss) => match loss {
            Loss::Stopped => info!(resource, reason = %loss, "disconnected"),
            _ => warn!(resource, reason = %loss, "disconnected: writes stay on this node"),
        },
        Event::ConnectFailed(failure) => warn!(resource, reason = %failure, "not connected"),
        Event::GivenUp(None) => {
            info!(
                resource,
                reason = "written meanwhile",
                "handshake begun anew"
            );
        }
        Event::GivenUp(Some(error)) => warn!(resource, reason = %error, "peer's answer refused"),
        Event::GaveWay => {
            warn!(
                resource,
                "both have counted, but this node has no changes: it gives way"
            );
        }
        Event::CopyStarted { extents, from_peer } => {
            let to = if *from_peer { "this node" } else { "the peer" };
            info!(resource, extents, to, "synchronisation begun");
        }
        Event::CopyDone => info!(resource, "synchronised"),
        Event::CopyInterrupted { extents } => {
            warn!(
                resource,
                extents,
                reason = "disconnected",
                "synchronisation interrupted"
            );
        }
        Event::CopyFailed { extents } => {
            warn!(
                resource,
                extents, "parts of the synchronisation have failed; to be tried again"
            );
        }
        Event::LocalReadFailed(error) => warn!(resource, %error, "local disk failed a read"),
        Event::LocalWriteFailed(error) => {
            error!(resource, %error, "local disk failed a write; it has the only complete copy");
        }
        Event::LocalFailed { error, complete } => {
            error!(resource, %error, peer_has_all = complete, "local disk failed; not used any more");
        }
        Event::Attached { from_peer } => {
            info!(
                resource,
                copied_from_peer = from_peer,
                "local disk used again"
            );
        }
        Event::AttachRefused => warn!(resource, "local disk not attached: it does not fit"),
        Event::PeerError(error) => warn!(resource, %error, "the peer failed a request"),
        Event::Consistency(mark) => consistency(resource, *mark),
        other => info!(resource, "{other:?}"),
    }
}

fn secondary_event(resource: &str, event: &secondary::Event) {
    use secondary::Event;
    match event {
        Event::Refused(error) => warn!(resource, reason = %error, "request refused"),
        Event::DiskError(error) => warn!(resource, %error, "local disk failed a request"),
        Event::Consistency(mark) => consistency(resource, *mark),
        other => info!(resource, "{other:?}"),
    }
}

/// What an operator needs to decide.
fn split_brain(resource: &str, peer: Option<SocketAddr>, found: SplitBrain) {
    let SplitBrain { local, remote } = found;
    let peer = peer.map(tracing::field::display);
    error!(
        resource,
        peer,
        extents = local.extents,
        octets = local.octets,
        peer_extents = remote.map(|it| it.extents),
        peer_octets = remote.map(|it| it.octets),
        "split brain: both nodes have written alone; `hastctl discard` or `had discard` on the one to give way"
    );
}

fn consistency(resource: &str, mark: Consistency) {
    match mark {
        Consistency::Consistent => info!(resource, "the local data are consistent"),
        Consistency::Inconsistent => {
            info!(
                resource,
                "the local data are inconsistent until everything is copied"
            );
        }
        Consistency::Incomplete => {
            warn!(
                resource,
                "the local data are incomplete: all must be copied from the peer"
            );
        }
    }
}

fn node_event(kind: &EventKind) {
    match kind {
        EventKind::NotConfigured { peer, resource } => {
            warn!(%peer, %resource, "peer refused: no such resource");
        }
        EventKind::Stranger(address) => {
            warn!(%address, "connection refused: the address is nobody's remote");
        }
        EventKind::NoOpening { peer, error } => warn!(%peer, reason = %error, "connection closed"),
        EventKind::TooManyConnections(address) => {
            warn!(%address, "connection refused: too many that have said nothing yet");
        }
        EventKind::NotAccepted(error) => warn!(%error, "no connection can be accepted"),
        other => debug!("{other:?}"),
    }
}

/// What the counters of the two nodes say (HAST §5.3).
fn because(rule: Rule) -> &'static str {
    match rule {
        Rule::BothNew => "both are new",
        Rule::SecondaryNew => "this node is new",
        Rule::OtherResource => "the nodes belong to different resources",
        Rule::SecondaryAhead => "this node wrote alone",
        Rule::Even => "neither wrote alone",
        Rule::PrimaryAhead => "the primary wrote alone",
        Rule::SplitBrain => "both wrote alone",
        Rule::PrimaryLostCount => "this node wrote alone, and the primary has lost count",
        Rule::SecondaryUnchanged => "both have counted, but this node has no changes: it gives way",
        Rule::PrimaryUnchanged => "both have counted, but the primary has no changes: it gives way",
        Rule::SecondaryLostCount => "the counters do not fit: everything is copied",
    }
}

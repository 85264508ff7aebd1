//! HAST inside mutual TLS: what goes in, and what does not.

mod hostile;
mod pki;
mod proof;
mod replicate;

use ha_core::hast_proto::handshake::Failure;
use ha_core::hast_proto::message::Refusal as Told;
use ha_core::hast_proto::primary::Event as PrimaryEvent;
use ha_core::io::hast::tls::{Identity, PeerName, Refusal};
use ha_core::io::hast::{EventKind, OpeningError, Settings};

use self::pki::Pki;
use crate::pair::{Pair, Side1, settings};
use crate::relay::Relay;

/// The names of the nodes: `a` of a pair is ada, and `b` is bob.
const ADA: &str = "ada.example";
const BOB: &str = "bob.example";

/// The identity that a node should have.
fn right(pki: &Pki, node: &str) -> Identity {
    pki.identity(node, &["hast:shared"])
}

/// What a node wants that reaches its peer by a relay; with a name, in TLS.
fn wanting(relay: &Relay, peer: Option<&str>) -> Settings {
    let mut settings = settings();
    settings.remote = Some(relay.address.into());
    settings.tls = peer.map(|peer| PeerName::parse(peer).unwrap());
    settings
}

/// A pair that knows how to prove who it is.
async fn pair(ada: Option<Identity>, bob: Option<Identity>) -> Pair {
    let pair = Pair::new(|_| {}).await;
    pair.a.node.set_identity(ada);
    pair.b.node.set_identity(bob);
    want(&pair.a, &pair.to_b, Some(BOB)).await;
    want(&pair.b, &pair.to_a, Some(ADA)).await;
    pair
}

async fn want(side: &Side1, relay: &Relay, peer: Option<&str>) {
    let settings = wanting(relay, peer);
    side.resource.configure(settings).await.unwrap();
}

/// Why a connection was not used, on either side.
fn unproven(kind: &EventKind) -> Option<Refusal> {
    match kind {
        EventKind::Unproven { reason, .. }
        | EventKind::NoOpening {
            error: OpeningError::Tls(reason),
            ..
        } => Some(reason.clone()),
        _ => None,
    }
}

/// What a primary was told, in words of HAST.
fn told(kind: &EventKind) -> Option<Told> {
    match kind {
        EventKind::Primary(PrimaryEvent::ConnectFailed(Failure::Refused(refused))) => {
            Some(refused.reason.clone())
        }
        _ => None,
    }
}

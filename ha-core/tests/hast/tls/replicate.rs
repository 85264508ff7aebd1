//! What two nodes replicate in TLS, and what may happen to their connections.

use core::time::Duration;

use ha_core::hast_proto::Replication;
use ha_core::hast_proto::message::Refusal as Told;
use ha_core::io::block::BlockDevice;
use ha_core::io::hast::EventKind;
use ha_core::io::hast::tls::Refusal;

use super::pki::{Pki, params};
use super::{ADA, BOB, pair, right, told, unproven, want, wanting};
use crate::pair::{MEBIBYTE, Pair, noise, read};
use crate::relay::Weather;

/// A pair in a session.
async fn session(pki: &Pki) -> (Pair, std::sync::Arc<dyn BlockDevice>) {
    let pair = pair(Some(right(pki, ADA)), Some(right(pki, BOB))).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    (pair, device)
}

#[tokio::test]
async fn every_mode_and_what_was_missed() {
    let pki = Pki::new();
    for replication in [
        Replication::Fullsync,
        Replication::Memsync,
        Replication::Async,
    ] {
        let pair = pair(Some(right(&pki, ADA)), Some(right(&pki, BOB))).await;
        for (side, relay, peer) in [(&pair.a, &pair.to_b, BOB), (&pair.b, &pair.to_a, ADA)] {
            let mut settings = wanting(relay, Some(peer));
            settings.primary.replication = replication;
            side.resource.configure(settings).await.unwrap();
        }
        let device = pair.start().await;
        let write = async |seed: u64, offset: u64, length: usize| {
            device.write(offset, noise(seed, length)).await.unwrap();
        };
        // From one record to many, and across the ends of both.
        for (number, length) in [512, 4096, 16 * 1024, 17 * 512, 1 << 20].iter().enumerate() {
            let number = number as u64;
            write(number, number * MEBIBYTE + 512, *length).await;
        }
        pair.agreed().await;
        pair.to_b.set(Weather {
            down: true,
            ..Weather::default()
        });
        write(7, 3 * MEBIBYTE + 512, 1 << 20).await;
        write(8, 6 * MEBIBYTE, 4096).await;
        pair.to_b.set(Weather::default());
        pair.agreed().await;
        write(9, 6 * MEBIBYTE + 512, 4096).await;
        pair.agreed().await;
        pair.assert_equal().await;
        assert_eq!(
            read(&*device, 6 * MEBIBYTE + 512, 4096).await,
            noise(9, 4096)
        );
        assert_eq!(pair.a.node.stats(), Default::default());
        assert_eq!(pair.b.node.stats(), Default::default());
        pair.end().await;
    }
}

#[tokio::test]
async fn connections_that_end_within_a_record() {
    let pki = Pki::new();
    let (pair, device) = session(&pki).await;
    for round in 0..12_u64 {
        pair.a.connected().await;
        // Large ones, of which the relay passes on a part.
        let writing = async {
            for number in 0..4 {
                let offset = (round * 4 + number) % 6 * MEBIBYTE;
                let data = noise(round * 4 + number, 1 << 20);
                device.write(offset, data).await.unwrap();
            }
        };
        let cutting = async {
            tokio::time::sleep(Duration::from_millis(1 + 3 * round)).await;
            pair.to_b.cut();
        };
        tokio::join!(writing, cutting);
    }
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn a_connection_that_stalls_within_a_record() {
    let pki = Pki::new();
    let (mut pair, device) = session(&pki).await;
    let mut settings = wanting(&pair.to_b, Some(BOB));
    settings.primary.timeout = Duration::from_secs(1);
    pair.a.resource.configure(settings).await.unwrap();
    pair.to_b.set(Weather {
        stall_after: Some(100_003),
        ..Weather::default()
    });
    let lost = |kind: &EventKind| {
        use ha_core::hast_proto::primary::Event::Disconnected;
        matches!(kind, EventKind::Primary(Disconnected(_))).then_some(())
    };
    device.write(0, noise(1, 1 << 20)).await.unwrap();
    pair.a.event("a dead peer", lost).await;
    pair.to_b.set(Weather::default());
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_the_next_session() {
    let (old, new) = (Pki::new(), Pki::new());
    let (mut pair, device) = session(&old).await;
    let peer = pair.a.primary().await.peer;
    // Another authority even; nobody notices.
    pair.a.node.set_identity(Some(right(&new, ADA)));
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.a.in_sync().await;
    assert_eq!(pair.a.primary().await.peer, peer);
    // For the next session it counts: bob does not believe the new authority yet.
    pair.to_b.cut();
    let Refusal::Handshake(_) = pair.b.event("another authority", unproven).await else {
        panic!("it was not the handshake");
    };
    device.write(4096, noise(2, 4096)).await.unwrap();
    pair.b.node.set_identity(Some(right(&new, BOB)));
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn both_authorities_are_believed_during_a_change() {
    let (old, new) = (Pki::new(), Pki::new());
    let both = old.authority() + &new.authority();
    let believing =
        |pki: &Pki, node| pki.identity_believing(&params(node, &["hast:shared"]), &both);
    let pair = pair(Some(believing(&old, ADA)), Some(believing(&new, BOB))).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

/// Who is reached by a number can be known by it.
#[tokio::test]
async fn an_address_is_a_name_too() {
    let pki = Pki::new();
    let identity = || Some(pki.identity("127.0.0.1", &["hast:other", "hast:%73hared"]));
    let pair = pair(identity(), identity()).await;
    want(&pair.a, &pair.to_b, Some("127.0.0.1")).await;
    want(&pair.b, &pair.to_a, Some("127.0.0.1")).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.agreed().await;
    pair.end().await;
}

#[tokio::test]
async fn a_session_ends_when_tls_is_switched() {
    let pki = Pki::new();
    let (mut pair, device) = session(&pki).await;
    // Off at the primary: it comes without, and is told what is missing.
    want(&pair.a, &pair.to_b, None).await;
    let missing = pair.a.event("what is missing", told).await;
    assert!(
        matches!(&missing, Told::Other(text) if text.contains("TLS only")),
        "{missing:?}"
    );
    assert!(matches!(
        pair.b.event("plain", unproven).await,
        Refusal::Plain
    ));
    device.write(0, noise(1, 4096)).await.unwrap();
    // At the secondary, too: they go on.
    want(&pair.b, &pair.to_a, None).await;
    pair.agreed().await;
    // On at the secondary: the plain session ends, and none begins.
    want(&pair.b, &pair.to_a, Some(ADA)).await;
    pair.b.event("plain again", unproven).await;
    assert_eq!(pair.a.primary().await.peer, None);
    want(&pair.a, &pair.to_b, Some(BOB)).await;
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

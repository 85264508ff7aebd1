//! What breaks: the network at any moment, the local disk, the peer in the middle of a word.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ha_core::hast_proto::primary::{Event as PrimaryEvent, LocalCopy, Loss};
use ha_core::hast_proto::{Replication, Role};
use ha_core::io::block::BlockDevice;
use ha_core::io::hast::{AttachError, EventKind};

use crate::pair::{MEBIBYTE, Pair, create, eventually, impatient, noise, read};
use crate::relay::Weather;

const CLIENTS: u64 = 4;

/// A client that remembers what was acknowledged. It has blocks of its own.
async fn write_on(
    device: Arc<dyn BlockDevice>,
    stop: Arc<AtomicBool>,
    client: u64,
) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::new();
    let mut seed = client;
    while !stop.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let block = (seed >> 33) % (6 * MEBIBYTE / 4096 / CLIENTS) * CLIENTS + client;
        // What is not acknowledged may be there or not.
        acknowledged.remove(&block);
        if device.write(block * 4096, noise(seed, 4096)).await.is_ok() {
            acknowledged.insert(block, seed);
        }
    }
    acknowledged
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_when_the_network_fails_at_any_moment() {
    for replication in [
        Replication::Fullsync,
        Replication::Memsync,
        Replication::Async,
    ] {
        let pair = Pair::new(|settings| {
            impatient(settings);
            settings.primary.replication = replication;
        })
        .await;
        let device = pair.start().await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(write_on(Arc::clone(&device), Arc::clone(&stop), client));
        }
        let mut state = 7_u64;
        for _ in 0..15 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            tokio::time::sleep(Duration::from_millis(1 + (state >> 33) % 150)).await;
            match (state >> 40) % 3 {
                0 => pair.to_b.cut(),
                1 => {
                    pair.to_b.set(Weather {
                        down: true,
                        ..Weather::default()
                    });
                    tokio::time::sleep(Duration::from_millis((state >> 45) % 80)).await;
                    pair.to_b.set(Weather::default());
                }
                _ => {
                    let stall_after = Some((state >> 45) % 100_000);
                    pair.to_b.set(Weather {
                        stall_after,
                        ..Weather::default()
                    });
                    tokio::time::sleep(Duration::from_millis((state >> 45) % 80)).await;
                    pair.to_b.set(Weather::default());
                    pair.to_b.cut();
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeMap::new();
        while let Some(client) = clients.join_next().await {
            acknowledged.extend(client.unwrap());
        }
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        pair.agreed().await;
        pair.assert_equal().await;
        // The other node takes over, and has them all.
        pair.a.resource.set_role(Role::Init).await.unwrap();
        pair.b.resource.set_role(Role::Primary).await.unwrap();
        let survivor = pair.b.resource.device().await.unwrap();
        for (block, seed) in acknowledged {
            let back = read(&*survivor, block * 4096, 4096).await;
            assert!(back == noise(seed, 4096), "{replication}: block {block}");
        }
        pair.end().await;
    }
}

#[tokio::test]
async fn a_peer_that_stalls_within_a_frame_is_noticed() {
    for stall_after in [0, 3, 700, 5000] {
        let mut pair = Pair::new(impatient).await;
        let device = pair.start().await;
        pair.a.in_sync().await;
        device.write(0, noise(1, 4096)).await.unwrap();
        pair.a.in_sync().await;
        pair.to_b.set(Weather {
            stall_after: Some(stall_after),
            ..Weather::default()
        });
        let begun = Instant::now();
        // In fullsync it waits, until the peer is given up.
        device.write(0, noise(2, 64 * 1024)).await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1300), "{took:?}");
        let lost = |kind: &EventKind| match kind {
            EventKind::Primary(PrimaryEvent::Disconnected(loss)) => Some(*loss),
            _ => None,
        };
        let loss = pair.a.event("the loss", lost).await;
        assert!(matches!(loss, Loss::Silent | Loss::Unanswered), "{loss}");
        pair.to_b.set(Weather::default());
        pair.to_b.cut();
        pair.a.in_sync().await;
        pair.assert_equal().await;
        pair.end().await;
    }
}

#[tokio::test]
async fn the_service_goes_on_without_the_local_disk_and_the_disk_comes_back() {
    let mut pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    device.write(0, noise(1, 1 << 20)).await.unwrap();
    pair.a.in_sync().await;
    let early = pair.a.resource.attach().await.unwrap_err();
    assert!(matches!(early, AttachError::NotFailed), "{early}");

    pair.a.disk.fail(true);
    // It may fail or not: what the peer has is enough.
    let _ = device.write(4096, noise(2, 8192)).await;
    let failed = |kind: &EventKind| match kind {
        EventKind::Primary(PrimaryEvent::LocalFailed { complete, .. }) => Some(*complete),
        _ => None,
    };
    assert!(pair.a.event("the disk has failed", failed).await);
    assert_eq!(read(&*device, 0, 4096).await, noise(1, 4096));
    assert!(
        pair.a.resource.attach().await.is_err(),
        "it is still broken"
    );

    // Another disk takes its place.
    pair.a.disk.fail(false);
    let zeroes = bytes::Bytes::from(vec![0; 4096]);
    pair.a.disk.write(0, zeroes).await.unwrap();
    create(&pair.a.disk).await;
    pair.a.resource.attach().await.unwrap();
    device.write(0, noise(3, 4096)).await.unwrap();
    pair.a.in_sync().await;
    assert_eq!(pair.a.primary().await.copy, LocalCopy::Current);
    assert_eq!(read(&*device, 0, 4096).await, noise(3, 4096));
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn what_the_peer_could_not_write_is_copied_later() {
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.a.in_sync().await;
    pair.b.disk.fail(true);
    device.write(0, noise(2, 4096)).await.unwrap();
    eventually("the peer lacks it", async || {
        pair.a.primary().await.to_copy > 0 || pair.a.primary().await.peer.is_none()
    })
    .await;
    assert!(!pair.a.primary().await.in_sync);
    pair.b.disk.fail(false);
    pair.a.in_sync().await;
    pair.assert_equal().await;
    pair.end().await;
}

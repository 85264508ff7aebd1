//! What is written on one node is on the other.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use ha_core::hast_proto::hooks::HookEvent;
use ha_core::hast_proto::{Checksum, Compression, Replication, RequestSize, Role};
use ha_core::io::block::Room;

use crate::pair::{MEBIBYTE, Pair, noise, read};
use crate::relay::Weather;

#[tokio::test]
async fn what_was_written_before_the_first_contact_is_copied() {
    let mut pair = Pair::new(|_| {}).await;
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let device = pair.a.resource.device().await.unwrap();
    for number in 0..32 {
        let data = noise(number, 64 * 1024);
        device.write(number * 200 * 1024, data).await.unwrap();
    }
    assert!(!pair.a.primary().await.in_sync);
    pair.b.resource.set_role(Role::Secondary).await.unwrap();
    pair.a.in_sync().await;
    pair.assert_equal().await;
    let order = [
        HookEvent::Connect,
        HookEvent::SyncStart,
        HookEvent::SyncDone,
    ];
    for wanted in order {
        let found = pair.a.event_with("hooks", |event| {
            event
                .hook
                .filter(|it| it != &role(Role::Init, Role::Primary))
        });
        assert_eq!(found.await, wanted);
    }
    pair.end().await;
}

fn role(old: Role, new: Role) -> HookEvent {
    HookEvent::Role { old, new }
}

#[tokio::test]
async fn each_mode_checksum_and_compression() {
    for replication in [
        Replication::Fullsync,
        Replication::Memsync,
        Replication::Async,
    ] {
        for checksum in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
            for compression in [Compression::None, Compression::Hole, Compression::Lzf] {
                let pair = Pair::new(|settings| {
                    settings.primary.replication = replication;
                    settings.checksum = checksum;
                    settings.compression = compression;
                })
                .await;
                let device = pair.start().await;
                let writes = [
                    (0, noise(1, 4096)),
                    (4096, Bytes::from(vec![0; 8192])),
                    (100 * 512, Bytes::from(vec![7; 150 * 1024])),
                    (MEBIBYTE, noise(2, 300 * 1024)),
                    (3 * MEBIBYTE, noise(3, 200 * 1024)),
                    (512, noise(4, 512)),
                ];
                for (offset, data) in writes {
                    device.write(offset, data).await.unwrap();
                }
                device.flush().await.unwrap();
                device.discard(3 * MEBIBYTE, 64 * 1024).await.unwrap();
                device
                    .write_zeroes(MEBIBYTE, 300 * 1024, Room::Keep)
                    .await
                    .unwrap();
                assert_eq!(read(&*device, 0, 512).await, noise(1, 4096)[..512]);
                assert_eq!(read(&*device, 512, 512).await, noise(4, 512));
                pair.a.in_sync().await;
                pair.assert_equal().await;
                pair.end().await;
            }
        }
    }
}

#[tokio::test]
async fn requests_are_cut_as_configured() {
    for size in [RequestSize::MIN, RequestSize::MAX] {
        let pair = Pair::new(|settings| settings.primary.request_size = size).await;
        let device = pair.start().await;
        device.write(0, noise(9, 4 << 20)).await.unwrap();
        assert_eq!(read(&*device, 0, 4 << 20).await, noise(9, 4 << 20));
        pair.a.in_sync().await;
        pair.assert_equal().await;
        pair.end().await;
    }
}

#[tokio::test]
async fn many_requests_at_once() {
    let pair = Pair::new(|settings| {
        // Fewer than are asked for, so that some are held back.
        settings.primary.max_requests = 16;
    })
    .await;
    let device = pair.start().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..400_u64 {
        let device = Arc::clone(&device);
        tasks.spawn(async move {
            let offset = number * 16 * 1024;
            device
                .write(offset, noise(number, 16 * 1024))
                .await
                .unwrap();
            let back = read(&*device, offset, 16 * 1024).await;
            assert_eq!(back, noise(number, 16 * 1024));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let status = pair.a.primary().await;
    assert_eq!((status.stats.writes, status.stats.reads), (400, 400));
    pair.a.in_sync().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn a_slow_peer_delays_fullsync_and_not_async() {
    let delay = Duration::from_millis(100);
    for (replication, waits) in [(Replication::Fullsync, true), (Replication::Async, false)] {
        let pair = Pair::new(|settings| settings.primary.replication = replication).await;
        let device = pair.start().await;
        pair.a.in_sync().await;
        // The extent is marked from here on, so that no map is in the way.
        device.write(0, noise(1, 4096)).await.unwrap();
        pair.a.in_sync().await;
        pair.to_b.set(Weather {
            delay,
            ..Weather::default()
        });
        let begun = std::time::Instant::now();
        device.write(0, noise(2, 4096)).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(took >= delay, waits, "{replication} took {took:?}");
        pair.a.in_sync().await;
        pair.assert_equal().await;
        pair.end().await;
    }
}

//! Changes of the role, and what becomes of those who use the device.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use ha_core::hast_proto::primary::LocalCopy;
use ha_core::hast_proto::{Consistency, Role};
use ha_core::io::block::BlockDevice;
use ha_core::io::hast::{DeviceError, EventKind, RoleError, Side};
use tokio::task::JoinSet;

use crate::pair::{Pair, eventually, noise, read};
use crate::relay::Weather;

#[tokio::test]
async fn the_roles_are_swapped_and_back() {
    let pair = Pair::new(|_| {}).await;
    let mut device = pair.start().await;
    for round in 0..4_u64 {
        let (old, new) = if round % 2 == 0 {
            (&pair.a, &pair.b)
        } else {
            (&pair.b, &pair.a)
        };
        let offset = round * 100 * 1024;
        device.write(offset, noise(round, 50 * 1024)).await.unwrap();
        old.in_sync().await;
        new.consistent().await;
        assert_eq!(
            old.resource.set_role(Role::Secondary).await.unwrap(),
            Role::Primary
        );
        assert_eq!(
            new.resource.set_role(Role::Primary).await.unwrap(),
            Role::Secondary
        );
        let gone = device.read(0, 512).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotConnected);
        device = new.resource.device().await.unwrap();
        for earlier in 0..=round {
            let back = read(&*device, earlier * 100 * 1024, 50 * 1024).await;
            assert_eq!(back, noise(earlier, 50 * 1024), "round {round}: {earlier}");
        }
        new.in_sync().await;
        pair.assert_equal().await;
    }
    pair.end().await;
}

#[tokio::test]
async fn only_a_primary_has_a_device() {
    let pair = Pair::new(|_| {}).await;
    let none = pair.a.resource.device().await.err().unwrap();
    assert_eq!(none, DeviceError::Role(Role::Init));
    let device = pair.start().await;
    let none = pair.b.resource.device().await.err().unwrap();
    assert_eq!(none, DeviceError::Role(Role::Secondary));
    // A device does not come back with the role.
    pair.a.resource.set_role(Role::Init).await.unwrap();
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let gone = device.flush().await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotConnected);
    pair.a
        .resource
        .device()
        .await
        .unwrap()
        .flush()
        .await
        .unwrap();
    pair.a.node.remove(pair.a.resource.name()).await.unwrap();
    assert_eq!(
        pair.a.resource.device().await.err().unwrap(),
        DeviceError::Ended(ha_core::io::hast::Ended)
    );
    pair.b.node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_role_is_left_in_time_whatever_the_peer_does() {
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    // The peer is silent; a write waits for it.
    pair.to_b.set(Weather {
        stall_after: Some(0),
        ..Weather::default()
    });
    let writing = tokio::spawn(async move { device.write(0, noise(1, 4096)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    pair.a.resource.set_role(Role::Init).await.unwrap();
    pair.b.resource.set_role(Role::Init).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    let failed = writing.await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::NotConnected);
    // The same while an attempt to connect gets no answer.
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let begun = Instant::now();
    pair.a.resource.set_role(Role::Init).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    pair.end().await;
}

#[tokio::test]
async fn a_disk_that_hangs_is_reported_in_time() {
    let pair = Pair::new(|settings| settings.role_change = Duration::from_millis(300)).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    device.write(0, noise(1, 512)).await.unwrap();
    pair.a.disk.hang(true);
    let writing = tokio::spawn(async move { device.write(0, noise(2, 512)).await });
    eventually("a write hangs", async || {
        pair.a.primary().await.queues.local > 0
    })
    .await;
    let begun = Instant::now();
    let busy = pair.a.resource.set_role(Role::Secondary).await.unwrap_err();
    assert!(
        matches!(busy, RoleError::DiskBusy { operations: 1 }),
        "{busy}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(writing.await.unwrap().is_err());
    let side = pair.a.resource.status().await.unwrap().side;
    assert!(matches!(side, Side::Changing), "{side:?}");
    pair.a.disk.hang(false);
    eventually("the disk is at rest", async || {
        matches!(pair.a.resource.status().await.unwrap().side, Side::Init)
    })
    .await;
    pair.a.resource.set_role(Role::Secondary).await.unwrap();
    pair.end().await;
}

#[tokio::test]
async fn what_a_slow_disk_has_not_begun_is_left_undone() {
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    // From now on the extent is marked.
    device.write(0, noise(1, 512)).await.unwrap();
    pair.a.disk.hang(true);
    let before = pair.a.disk.writes.load(Ordering::Relaxed);
    let mut writing = JoinSet::new();
    for number in 0..200 {
        let device = Arc::clone(&device);
        writing.spawn(async move { device.write(number * 512, noise(number, 512)).await });
    }
    eventually("all are on their way", async || {
        pair.a.primary().await.queues.local == 200
    })
    .await;
    let resource = pair.a.resource.clone();
    let change = tokio::spawn(async move { resource.set_role(Role::Init).await });
    while let Some(written) = writing.join_next().await {
        let failed = written.unwrap().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::NotConnected);
    }
    pair.a.disk.hang(false);
    change.await.unwrap().unwrap();
    let done = pair.a.disk.writes.load(Ordering::Relaxed) - before;
    assert!(done < 100, "{done} writes of a role that has ended");
    // The peer has done them all: what differs is marked.
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn a_provider_of_somebody_else_is_no_provider() {
    let mut pair = Pair::new(|_| {}).await;
    let block = bytes::Bytes::from(vec![b'x'; 4096]);
    pair.a.disk.write(0, block).await.unwrap();
    let error = pair.a.resource.set_role(Role::Primary).await.unwrap_err();
    assert!(matches!(error, RoleError::Provider(_)), "{error}");
    assert_eq!(
        pair.a.resource.status().await.unwrap().control.role,
        Role::Init
    );
    let told = |kind: &EventKind| matches!(kind, EventKind::Provider(_)).then_some(());
    pair.a.event("the provider", told).await;
    pair.end().await;
}

#[tokio::test]
async fn a_torn_metadata_block_is_mended_and_reported() {
    let mut pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.agreed().await;
    pair.a.resource.set_role(Role::Init).await.unwrap();
    let rubbish = bytes::Bytes::from(vec![0xa5; 512]);
    pair.a.disk.write(0, rubbish).await.unwrap();
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let told = |kind: &EventKind| matches!(kind, EventKind::Recovered).then_some(());
    pair.a.event("recovered", told).await;
    let device = pair.a.resource.device().await.unwrap();
    assert_eq!(read(&*device, 0, 4096).await, noise(1, 4096));
    device.write(0, noise(2, 4096)).await.unwrap();
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[tokio::test]
async fn a_node_promoted_in_the_middle_of_a_copy_serves_nothing_stale() {
    let pair = Pair::new(|settings| {
        // So slowly that the roles change before it is over.
        settings.primary.copy_rate = Some(core::num::NonZeroU64::new(512 * 1024).unwrap());
    })
    .await;
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let device = pair.a.resource.device().await.unwrap();
    device.write(0, noise(1, 4 << 20)).await.unwrap();
    pair.b.resource.set_role(Role::Secondary).await.unwrap();
    eventually("being copied to", async || {
        match pair.b.resource.status().await.unwrap().side {
            Side::Secondary(status) => status.consistency == Consistency::Inconsistent,
            _ => false,
        }
    })
    .await;
    pair.a.resource.set_role(Role::Init).await.unwrap();
    pair.b.resource.set_role(Role::Primary).await.unwrap();
    let half = pair.b.resource.device().await.unwrap();
    assert_eq!(pair.b.primary().await.copy, LocalCopy::Catching);
    half.read(4 << 20, 512).await.unwrap_err();
    // With the peer it can be read, and written.
    pair.a.resource.set_role(Role::Secondary).await.unwrap();
    pair.b.connected().await;
    assert_eq!(read(&*half, 0, 4 << 20).await, noise(1, 4 << 20));
    pair.end().await;
}

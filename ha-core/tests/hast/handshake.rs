//! Nodes that must not replicate say so.

use ha_core::hast_proto::decision::Rule;
use ha_core::hast_proto::handshake::{Failure, Refusing};
use ha_core::hast_proto::hooks::HookEvent;
use ha_core::hast_proto::message::Refusal;
use ha_core::hast_proto::primary::Event as PrimaryEvent;
use ha_core::hast_proto::{ResourceName, Role};
use ha_core::io::hast::{EventKind, Existing, provider};

use crate::pair::{MEBIBYTE, Pair, add, create, name, noise, settings};

fn refused(kind: &EventKind) -> Option<Refusal> {
    match kind {
        EventKind::Primary(PrimaryEvent::ConnectFailed(Failure::Refused(refused))) => {
            Some(refused.reason.clone())
        }
        _ => None,
    }
}

#[tokio::test]
async fn split_brain_is_found_by_both() {
    let mut pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.agreed().await;
    // Both write alone, one after the other.
    pair.b.resource.set_role(Role::Init).await.unwrap();
    device.write(0, noise(2, 4096)).await.unwrap();
    pair.a.resource.set_role(Role::Init).await.unwrap();
    pair.b.resource.set_role(Role::Primary).await.unwrap();
    let device = pair.b.resource.device().await.unwrap();
    device.write(0, noise(3, 4096)).await.unwrap();

    pair.a.resource.set_role(Role::Secondary).await.unwrap();
    let split = |kind: &EventKind| refused(kind).filter(|it| *it == Refusal::SplitBrain);
    pair.b.event("split-brain", split).await;
    let hook = |event: &ha_core::io::hast::Event| {
        (event.hook == Some(HookEvent::SplitBrain)).then(|| event.kind.clone())
    };
    let told = pair.a.event_with("split-brain here, too", hook).await;
    let EventKind::Refused { reason, .. } = told else {
        panic!("{told:?}");
    };
    assert_eq!(reason, Refusing::Told(Refusal::SplitBrain));
    pair.end().await;
}

#[tokio::test]
async fn other_data_of_the_same_name_are_refused() {
    let mut pair = Pair::new(|_| {}).await;
    let other = Pair::new(|_| {}).await;
    for pair in [&pair, &other] {
        let device = pair.start().await;
        device.write(0, noise(1, 512)).await.unwrap();
        pair.agreed().await;
        pair.b.resource.set_role(Role::Init).await.unwrap();
    }
    other.a.resource.set_role(Role::Init).await.unwrap();
    // The secondary of one pair meets the primary of the other.
    let mut settings = settings();
    settings.remote = Some(pair.a.address.into());
    pair.b.node.remove(&name()).await.unwrap();
    let resource = add(&pair.b.node, settings, &other.b.disk);
    resource.set_role(Role::Secondary).await.unwrap();
    let mismatch = |kind: &EventKind| {
        refused(kind).filter(|it| matches!(it, Refusal::ResourceIdMismatch { .. }))
    };
    pair.a.event("another resource", mismatch).await;
    pair.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_resource_that_is_not_configured_is_refused() {
    let mut pair = Pair::new(|_| {}).await;
    // Somebody else keeps the address known.
    let mut other = settings();
    other.remote = Some(pair.to_a.address.into());
    let disk = crate::disk::Disk::new(MEBIBYTE);
    let backing: std::sync::Arc<dyn ha_core::io::block::BlockDevice> = disk;
    let other_name = ResourceName::new("other").unwrap();
    pair.b.node.add(other_name, other, backing).unwrap();
    pair.b.node.remove(&name()).await.unwrap();
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let told = pair.a.event("not configured", refused).await;
    assert_eq!(told, Refusal::NotConfigured);
    let asked = |kind: &EventKind| match kind {
        EventKind::NotConfigured { resource, .. } => Some(resource.clone()),
        _ => None,
    };
    assert_eq!(pair.b.event("asked for", asked).await, name());
    assert!(pair.b.node.stats().not_configured > 0);
    pair.end().await;
}

#[tokio::test]
async fn a_node_in_another_role_is_refused() {
    let mut pair = Pair::new(|_| {}).await;
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let told = pair.a.event("init there", refused).await;
    assert_eq!(told, Refusal::Role(Role::Init));
    assert!(pair.b.node.stats().refused > 0);
    pair.b.resource.set_role(Role::Primary).await.unwrap();
    let primary = |kind: &EventKind| refused(kind).filter(|it| *it == Refusal::Role(Role::Primary));
    pair.a.event("primary there", primary).await;
    pair.end().await;
}

#[tokio::test]
async fn data_of_another_size_are_refused() {
    let mut pair = Pair::with_sizes([8 * MEBIBYTE, 9 * MEBIBYTE], |_| {}).await;
    pair.start().await;
    let size = |kind: &EventKind| match kind {
        EventKind::Primary(PrimaryEvent::ConnectFailed(Failure::DataSize { own, peer })) => {
            Some((*own, *peer))
        }
        _ => None,
    };
    let (own, peer) = pair.a.event("sizes", size).await;
    assert!(own < peer, "{own} {peer}");
    pair.end().await;
}

#[tokio::test]
async fn a_stranger_is_not_heard() {
    let mut pair = Pair::new(|_| {}).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(pair.b.address).await.unwrap();
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let stranger = |kind: &EventKind| match kind {
        EventKind::Stranger(address) => Some(address.to_string()),
        _ => None,
    };
    assert_eq!(pair.b.event("a stranger", stranger).await, "127.0.0.9");
    assert_eq!(pair.b.node.stats().strangers, 1);
    pair.end().await;
}

#[tokio::test]
async fn who_has_current_data_is_decided_by_the_counters() {
    let mut pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    let begun = |kind: &EventKind| match kind {
        EventKind::SessionBegun { rule, .. } => Some(*rule),
        _ => None,
    };
    let rule = pair.b.event("first session", begun).await;
    assert_eq!(rule, Rule::BothNew);
    pair.end().await;
}

#[tokio::test]
async fn a_provider_is_created_once() {
    let disk = crate::disk::Disk::new(MEBIBYTE);
    create(&disk).await;
    let again = provider::create(&*disk, name(), Default::default(), Existing::Keep).await;
    let error = again.unwrap_err().to_string();
    assert!(error.contains("shared"), "{error}");
    provider::create(&*disk, name(), Default::default(), Existing::Overwrite)
        .await
        .unwrap();
}

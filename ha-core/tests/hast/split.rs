//! Nodes that have both written alone: what they tell, and the discard of one's changes.

use ha_core::hast_proto::control::SplitBrain;
use ha_core::hast_proto::discard::Discarded;
use ha_core::hast_proto::{Consistency, Role};
use ha_core::io::hast::{Discard, DiscardError, EventKind, RoleError, Side};

use crate::pair::{Pair, eventually, noise, read};

/// Both have written alone: `b` is primary, and `a` secondary.
pub(crate) async fn split(pair: &Pair) {
    let device = pair.start().await;
    device.write(0, noise(1, 4096)).await.unwrap();
    pair.agreed().await;
    pair.b.resource.set_role(Role::Init).await.unwrap();
    device.write(0, noise(2, 4096)).await.unwrap();
    pair.a.resource.set_role(Role::Init).await.unwrap();
    pair.b.resource.set_role(Role::Primary).await.unwrap();
    let device = pair.b.resource.device().await.unwrap();
    device.write(0, noise(3, 4096)).await.unwrap();
    pair.a.resource.set_role(Role::Secondary).await.unwrap();
}

fn found(kind: &EventKind) -> Option<SplitBrain> {
    match kind {
        EventKind::SplitBrain { found, .. } => Some(*found),
        _ => None,
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lost");
    let mut pair = Pair::new(|_| {}).await;
    split(&pair).await;
    pair.a.event("a split brain", found).await;
    // Ordered, and given up before anything could be done.
    let order = pair.a.resource.discard(Discard::new(&file, "a"));
    tokio::time::timeout(core::time::Duration::ZERO, order)
        .await
        .unwrap_err();
    eventually("the role again", async || {
        let status = pair.a.resource.status().await.unwrap();
        matches!(status.side, Side::Secondary(it) if it.consistency == Consistency::Consistent)
    })
    .await;
    let status = pair.a.resource.status().await.unwrap();
    assert!(status.control.split_brain.is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // Who waits is served.
    let done = pair.a.resource.discard(Discard::new(&file, "a")).await;
    assert_eq!(done.unwrap().extents, 1);
    pair.b.in_sync().await;
    pair.assert_equal().await;
    pair.end().await;
}

fn discarded(kind: &EventKind) -> Option<Discarded> {
    match kind {
        EventKind::Discarded(discarded) => Some(*discarded),
        _ => None,
    }
}

#[tokio::test]
async fn changes_are_saved_before_they_are_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lost");
    let mut pair = Pair::new(|_| {}).await;
    let early = pair.a.resource.discard(Discard::new(&file, "a")).await;
    assert!(
        matches!(early, Err(DiscardError::NoSplitBrain)),
        "{early:?}"
    );
    split(&pair).await;
    let at_b = pair.b.event("a split brain", found).await;
    let at_a = pair.a.event("a split brain here, too", found).await;
    assert_eq!(Some(at_a.local), at_b.remote);
    assert_eq!(Some(at_b.local), at_a.remote);
    assert_eq!(at_a.local.extents, 1);
    let status = pair.a.resource.status().await.unwrap();
    assert_eq!(status.control.split_brain, Some(at_a));

    // Nothing of this discards anything.
    let primary = pair.b.resource.discard(Discard::new(&file, "b")).await;
    assert!(matches!(primary, Err(DiscardError::Primary)), "{primary:?}");
    let nameless = pair.a.resource.discard(Discard::new(&file, "")).await;
    assert!(
        matches!(nameless, Err(DiscardError::Discard(_))),
        "{nameless:?}"
    );
    let nowhere = folder.path().join("nowhere/lost");
    let nowhere = pair.a.resource.discard(Discard::new(nowhere, "a")).await;
    assert!(
        matches!(nowhere, Err(DiscardError::File { .. })),
        "{nowhere:?}"
    );
    let there = pair
        .a
        .resource
        .discard(Discard::new(folder.path(), "a"))
        .await;
    assert!(matches!(there, Err(DiscardError::File { .. })), "{there:?}");
    eventually("the role again", async || {
        let status = pair.a.resource.status().await.unwrap();
        matches!(status.side, Side::Secondary(it) if it.consistency == Consistency::Consistent)
    })
    .await;

    // One at a time, and no role meanwhile.
    let order = || Discard::new(&file, "a");
    let resource = pair.a.resource.clone();
    let (done, second, role) = tokio::join!(
        resource.discard(order()),
        resource.discard(order()),
        resource.set_role(Role::Primary),
    );
    assert!(matches!(second, Err(DiscardError::Changing)), "{second:?}");
    assert!(matches!(role, Err(RoleError::Changing)), "{role:?}");
    let done = done.unwrap();
    assert_eq!((done.extents, done.with_peer), (1, true));
    assert_eq!(pair.a.event("the discard", discarded).await, done);
    pair.b.in_sync().await;
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let saved = std::fs::read(&file).unwrap();
    let lost = noise(2, 4096);
    assert!(
        saved.windows(4096).any(|window| window == lost),
        "not in the file"
    );
    let status = pair.a.resource.status().await.unwrap();
    assert_eq!(status.control.split_brain, None);
    let device = pair.b.resource.device().await.unwrap();
    assert_eq!(read(&*device, 0, 4096).await, noise(3, 4096));
    pair.assert_equal().await;
    pair.end().await;
}

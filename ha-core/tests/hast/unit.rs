//! A replicated resource as the storage of a unit: its roles, what it reports, and whether it goes on
//! alone.

use core::time::Duration;

use ha_core::failover::{Action, Data, NodeId, NodeSet, Peer, StorageRole};
use ha_core::hast_proto::Version;
use ha_core::hast_proto::frame::Encoder;
use ha_core::hast_proto::message::{Progress, Request};
use ha_core::hast_proto::primary::Alone;
use ha_core::io::failover::{HastStorage, Job, Storage, StorageReport};
use ha_core::io::hast::EventKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::hostile::open;
use crate::pair::{Pair, Side1, noise};
use crate::relay::Weather;

fn id(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn job(action: Action) -> Job {
    let deadline = Instant::now() + Duration::from_secs(30);
    Job::new(action, "storage", deadline, None).0
}

/// A resource as the storage of node 0 or 1.
fn storage(side: &Side1, this: u8) -> HastStorage {
    HastStorage::follow(&side.node, side.resource.clone(), id(this), id(1 - this))
}

/// Waits for a report that is so.
async fn until(storage: &HastStorage, is_so: impl Fn(&StorageReport) -> bool) -> StorageReport {
    let mut reports = storage.reports();
    let found = timeout(Duration::from_secs(60), reports.wait_for(is_so)).await;
    *found
        .unwrap_or_else(|_| panic!("it stays {:?}", storage.reports().borrow()))
        .unwrap()
}

async fn roles(pair: &Pair) -> (HastStorage, HastStorage) {
    let (a, b) = (storage(&pair.a, 0), storage(&pair.b, 1));
    for storage in [&a, &b] {
        storage
            .set_secondary(&job(Action::SetSecondary))
            .await
            .unwrap();
        // What has come of it is told when it has ended.
        let status = storage.reports().borrow().status;
        assert_eq!(status.role, StorageRole::Secondary);
        assert_eq!(status.data, Data::UpToDate);
        assert_eq!(status.current, NodeSet::EMPTY);
    }
    a.set_primary(&job(Action::SetPrimary)).await.unwrap();
    assert_eq!(a.reports().borrow().status.role, StorageRole::Primary);
    (a, b)
}

#[tokio::test]
async fn who_is_current_and_who_is_connected_is_reported() {
    let pair = Pair::new(|_| {}).await;
    let (a, b) = roles(&pair).await;
    let both = NodeSet::from(id(0)).with(id(1));
    let report = until(&a, |report| report.status.current == both).await;
    assert_eq!(report.status.peer, Peer::Secondary);
    assert_eq!((report.status.data, report.wish), (Data::UpToDate, None));
    until(&b, |report| report.status.peer == Peer::Primary).await;

    pair.to_b.set(Weather {
        down: true,
        ..Weather::default()
    });
    let alone = NodeSet::from(id(0));
    let report = until(&a, |report| report.status.current == alone).await;
    assert_eq!(report.status.peer, Peer::Disconnected);
    // Nobody is to be asked.
    let device = pair.a.resource.device().await.unwrap();
    device.write(0, noise(1, 4096)).await.unwrap();
    assert_eq!(a.reports().borrow().wish, None);
    until(&b, |report| report.status.peer == Peer::Disconnected).await;

    pair.to_b.set(Weather::default());
    until(&a, |report| report.status.current == both).await;
    // Where the data of a primary went away, its role does not come back by itself.
    a.set_secondary(&job(Action::SetSecondary)).await.unwrap();
    let status = a.reports().borrow().status;
    assert_eq!(
        (status.role, status.current),
        (StorageRole::Secondary, NodeSet::EMPTY)
    );
    pair.end().await;
}

#[tokio::test]
async fn what_the_peer_lacks_waits_for_a_grant_or_for_the_peer() {
    let pair = Pair::new(|settings| settings.primary.alone = Alone::Asked).await;
    let (a, _b) = roles(&pair).await;
    let (alone, both) = (NodeSet::from(id(0)), NodeSet::from(id(0)).with(id(1)));
    until(&a, |report| report.status.current == both).await;
    let device = pair.a.resource.device().await.unwrap();
    device.write(0, noise(1, 4096)).await.unwrap();

    let down = Weather {
        down: true,
        ..Weather::default()
    };
    pair.to_b.set(down);
    until(&a, |report| report.status.peer == Peer::Disconnected).await;
    let mut write = tokio::spawn({
        let device = device.clone();
        async move { device.write(4096, noise(2, 4096)).await }
    });
    let report = until(&a, |report| report.wish.is_some()).await;
    let (wish, current) = report.wish.unwrap();
    assert_eq!((current, report.status.current), (alone, alone));
    let early = timeout(Duration::from_millis(500), &mut write).await;
    assert!(early.is_err(), "acknowledged without a grant");
    // One for another wish is void.
    pair.a.resource.permit(wish.get() + 1, None);
    let early = timeout(Duration::from_millis(200), &mut write).await;
    assert!(early.is_err(), "acknowledged by a void grant");
    pair.a.resource.permit(wish.get(), None);
    write.await.unwrap().unwrap();

    a.revoke();
    let write = tokio::spawn(async move { device.write(8192, noise(3, 4096)).await });
    tokio::task::yield_now().await;
    pair.to_b.set(Weather::default());
    // The peer is back, and has it.
    write.await.unwrap().unwrap();
    let report = until(&a, |report| report.status.current == both).await;
    assert_eq!(report.wish, None);
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

#[cfg(feature = "nbd")]
mod nbd {
    use std::fs;
    use std::path::Path;

    use ha_core::io::failover::{Command, Export, NbdExport};
    use tokio::net::UnixStream;

    use super::*;

    /// Writes down that it was run.
    fn note(path: &Path, what: &str) -> Command {
        let script = format!("echo {what} >> {}", path.display());
        Command::new("/bin/sh").args(["-c", &script])
    }

    #[tokio::test]
    async fn an_export_is_served_from_attach_to_detach() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, log) = (folder.path().join("x.nbd"), folder.path().join("log"));
        let pair = Pair::new(|_| {}).await;
        let (a, _b) = roles(&pair).await;
        // It is there already, as is that of the kernel's client.
        let export = NbdExport::new(
            pair.a.resource.clone(),
            &socket,
            "x",
            "/dev/null",
            note(&log, "attach"),
            note(&log, "detach"),
        );
        let (attach, detach) = (job(Action::WaitForDevice), job(Action::SetSecondary));
        // Nothing is there, which is harmless.
        export.detach(&detach).await.unwrap();
        export.attach(&attach).await.unwrap();
        export.attach(&attach).await.unwrap();
        UnixStream::connect(&socket).await.unwrap();
        export.detach(&detach).await.unwrap();
        assert!(!socket.exists());
        let told = fs::read_to_string(&log).unwrap();
        assert_eq!(told, "detach\nattach\nattach\ndetach\n");

        a.set_secondary(&detach).await.unwrap();
        let refused = export.attach(&attach).await.unwrap_err();
        assert!(refused.to_string().contains("secondary"), "{refused}");
        pair.end().await;
    }
}

#[tokio::test]
async fn a_primary_is_met_when_it_has_said_something() {
    let mut pair = Pair::new(|_| {}).await;
    let b = storage(&pair.b, 1);
    b.set_secondary(&job(Action::SetSecondary)).await.unwrap();
    // A primary that is gone before it says that it has more to copy.
    let (mut first, second) = open(&pair).await;
    let begun = |kind: &EventKind| matches!(kind, EventKind::SessionBegun { .. }).then_some(());
    pair.b.event("a session", begun).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = b.reports().borrow().status;
    assert_eq!((status.peer, status.data), (Peer::Unheard, Data::UpToDate));

    let word = Request::Progress(Progress::Copying);
    let octets = word.encode(Version::V2, &mut Encoder::new()).concat();
    first.write_all(&octets).await.unwrap();
    let report = until(&b, |report| report.status.peer == Peer::Primary).await;
    assert_eq!(
        report.status.data,
        Data::Synchronising { done: 0, total: 0 }
    );
    drop((first, second));
    let report = until(&b, |report| report.status.peer == Peer::Disconnected).await;
    assert_eq!(report.status.data, Data::Inconsistent);
    pair.end().await;
}

#[tokio::test]
async fn what_a_primary_has_said_is_not_forgotten_when_it_cannot_be_stored() {
    let pair = Pair::new(|_| {}).await;
    let b = storage(&pair.b, 1);
    b.set_secondary(&job(Action::SetSecondary)).await.unwrap();
    let (mut first, _second) = open(&pair).await;
    pair.b.disk.fail(true);
    let word = Request::Progress(Progress::Copying);
    let octets = word.encode(Version::V2, &mut Encoder::new()).concat();
    first.write_all(&octets).await.unwrap();
    // The node ends the session, as it must not be written to.
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    let gone = |report: &StorageReport| report.status.peer == Peer::Disconnected;
    let report = until(&b, gone).await;
    assert_eq!(report.status.data, Data::Inconsistent);
    pair.b.disk.fail(false);

    // Another primary has not said anything; then it says that nothing is missing.
    let (mut first, second) = open(&pair).await;
    let report = until(&b, |report| !gone(report)).await;
    let synchronising = Data::Synchronising { done: 0, total: 0 };
    assert_eq!(report.status.data, synchronising);
    let word = Request::Progress(Progress::Agreed);
    let octets = word.encode(Version::V2, &mut Encoder::new()).concat();
    first.write_all(&octets).await.unwrap();
    until(&b, |report| report.status.data == Data::UpToDate).await;
    drop((first, second));
    let report = until(&b, gone).await;
    assert_eq!(report.status.data, Data::UpToDate);
    pair.end().await;
}

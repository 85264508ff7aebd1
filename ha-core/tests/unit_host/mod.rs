//! A unit whose parts, storage and election are the test's.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ha_core::carp_proto::State as Role;
use ha_core::failover::{
    Data, DegradedId, Grant, GroupId, NodeId, NodeSet, Peer, State, Step, StepKind, StorageRole,
    StorageStatus,
};
use ha_core::io::failover::{
    Addresses, Election, ElectionError, Fence, Job, Part, Service, StepError, Storage,
    StorageReport, Unit, UnitError, UnitEvents, UnitHandle, UnitSetup,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(crate) fn both() -> NodeSet {
    NodeSet::from(node(0)).with(node(1))
}

/// How an action goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Way {
    #[default]
    Well,
    Fails,
    Panics,
    /// It ends when it is cancelled, so long after that.
    Hangs(Duration),
    Takes(Duration),
}

/// What happened, and what is to happen.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) done: Vec<String>,
    pub(crate) ways: BTreeMap<String, VecDeque<Way>>,
    running: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Stage(pub(crate) Arc<Mutex<Script>>);

impl Stage {
    pub(crate) fn next(&self, action: &str, way: Way) {
        let mut script = self.0.lock().unwrap();
        script.ways.entry(action.into()).or_default().push_back(way);
    }

    /// What was done since the last question.
    pub(crate) fn done(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap().done)
    }

    pub(crate) async fn perform(&self, job: &Job) -> Result<(), StepError> {
        let action = job.action.to_string();
        let way = {
            let mut script = self.0.lock().unwrap();
            assert!(!script.running.contains(&action), "{action} runs twice");
            script.running.push(action.clone());
            let next = script.ways.get_mut(&action).and_then(VecDeque::pop_front);
            next.unwrap_or_default()
        };
        let result = match way {
            Way::Well => Ok("done"),
            Way::Fails => Err(StepError::Other("as the test wants it".into())),
            Way::Panics => {
                self.end(&action);
                panic!("as the test wants it");
            }
            Way::Hangs(longer) => {
                job.cancelled().await;
                sleep(longer).await;
                Err(StepError::Cancelled)
            }
            Way::Takes(time) => {
                sleep(time).await;
                Ok("done")
            }
        };
        self.end(&action);
        let word = match &result {
            Ok(word) => *word,
            Err(StepError::Cancelled) => "cancelled",
            Err(_) => "failed",
        };
        let mut script = self.0.lock().unwrap();
        script.done.push(match word {
            "done" => action,
            word => format!("{action} {word}"),
        });
        result.map(drop)
    }

    fn end(&self, action: &str) {
        let mut script = self.0.lock().unwrap();
        script.running.retain(|running| running != action);
    }
}

#[async_trait]
impl Service for Stage {
    async fn start(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }

    async fn drain(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }

    async fn stop(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }

    async fn kill(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }
}

#[async_trait]
impl Addresses for Stage {
    async fn announce(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }

    async fn withdraw(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }
}

#[async_trait]
impl Fence for Stage {
    async fn fence(&self, job: &Job) -> Result<(), StepError> {
        self.perform(job).await
    }
}

/// Storage that does as it is told.
#[derive(Clone)]
pub(crate) struct Disk {
    stage: Stage,
    pub(crate) reports: Arc<watch::Sender<StorageReport>>,
    pub(crate) grants: Arc<Mutex<Vec<DegradedId>>>,
    pub(crate) revoked: Arc<Mutex<u32>>,
}

pub(crate) fn report(role: StorageRole, data: Data, current: NodeSet) -> StorageReport {
    StorageReport {
        status: StorageStatus {
            role,
            data,
            peer: Peer::Disconnected,
            current,
        },
        wish: None,
    }
}

impl Disk {
    pub(crate) fn new(stage: &Stage) -> Self {
        let (reports, _) = watch::channel(StorageReport::default());
        Self {
            stage: stage.clone(),
            reports: Arc::new(reports),
            grants: Arc::default(),
            revoked: Arc::default(),
        }
    }
}

#[async_trait]
impl Storage for Disk {
    fn reports(&self) -> watch::Receiver<StorageReport> {
        self.reports.subscribe()
    }

    async fn set_primary(&self, job: &Job) -> Result<(), StepError> {
        self.stage.perform(job).await?;
        // It begins alone, and asks to go on so.
        let mut report = report(StorageRole::Primary, Data::UpToDate, node(0).into());
        report.wish = Some((DegradedId::new(1), node(0).into()));
        self.reports.send_replace(report);
        Ok(())
    }

    async fn set_secondary(&self, job: &Job) -> Result<(), StepError> {
        self.stage.perform(job).await?;
        let report = report(StorageRole::Secondary, Data::UpToDate, NodeSet::EMPTY);
        self.reports.send_replace(report);
        Ok(())
    }

    fn grant(&self, grant: Grant<Instant>) {
        self.grants.lock().unwrap().push(grant.wish());
    }

    fn revoke(&self) {
        *self.revoked.lock().unwrap() += 1;
    }
}

type Teller = watch::Sender<Arc<[Role]>>;

/// An election that the test decides.
#[derive(Clone)]
pub(crate) struct Ballot {
    pub(crate) roles: Arc<Mutex<Option<Teller>>>,
    receiver: watch::Receiver<Arc<[Role]>>,
    /// What it was told, in order.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
    /// Whether it refuses demotions.
    pub(crate) refuses: Arc<Mutex<bool>>,
}

impl Ballot {
    pub(crate) fn new(groups: usize) -> Self {
        let (roles, receiver) = watch::channel(vec![Role::Backup; groups].into());
        Self {
            roles: Arc::new(Mutex::new(Some(roles))),
            receiver,
            told: Arc::default(),
            refuses: Arc::default(),
        }
    }

    pub(crate) fn set(&self, role: Role) {
        let roles = self.roles.lock().unwrap();
        let roles = roles.as_ref().unwrap();
        let count = roles.borrow().len();
        roles.send_replace(vec![role; count].into());
    }

    pub(crate) fn told(&self) -> Vec<String> {
        core::mem::take(&mut self.told.lock().unwrap())
    }

    fn tell(&self, what: String) -> Result<(), ElectionError> {
        if *self.refuses.lock().unwrap() {
            return Err(ElectionError::Other("as the test wants it".into()));
        }
        self.told.lock().unwrap().push(what);
        Ok(())
    }
}

#[async_trait]
impl Election for Ballot {
    fn roles(&self) -> watch::Receiver<Arc<[Role]>> {
        self.receiver.clone()
    }

    async fn demote(&self, name: &str, amount: i32) -> Result<(), ElectionError> {
        self.tell(format!("+{name} {amount}"))
    }

    async fn restore(&self, name: &str) -> Result<(), ElectionError> {
        self.tell(format!("-{name}"))
    }

    async fn force(&self, _: GroupId, role: Role) -> Result<(), ElectionError> {
        self.tell(role.to_string())
    }
}

/// A unit at work: storage, a service and an address.
pub(crate) struct Host {
    pub(crate) stage: Stage,
    pub(crate) disk: Disk,
    pub(crate) ballot: Ballot,
    pub(crate) handle: UnitHandle,
    pub(crate) events: UnitEvents,
    pub(crate) run: JoinHandle<Result<(), UnitError>>,
}

impl Host {
    pub(crate) fn start(change: impl FnOnce(UnitSetup) -> UnitSetup) -> Self {
        let stage = Stage::default();
        let disk = Disk::new(&stage);
        let ballot = Ballot::new(1);
        let mut service = Step::new(StepKind::Service, "service").after(0);
        service.drain = Some(SECOND);
        let steps = vec![
            (
                Step::new(StepKind::StorageRole, "storage"),
                Part::StorageRole(Arc::new(disk.clone())),
            ),
            (service, Part::Service(Arc::new(stage.clone()))),
            (
                Step::new(StepKind::Address, "address").after(1),
                Part::Address(Arc::new(stage.clone())),
            ),
        ];
        let mut setup = UnitSetup::new("unit", node(0), steps, ballot.clone()).unwrap();
        setup.config.holds.start = Duration::ZERO;
        let unit = Unit::new(change(setup)).unwrap();
        let (handle, events) = (unit.handle(), unit.events());
        Self {
            stage,
            disk,
            ballot,
            handle,
            events,
            run: tokio::spawn(unit.run()),
        }
    }

    pub(crate) async fn state(&self) -> State {
        self.handle.status().await.unwrap().state
    }

    /// Waits until it is in this state, and all that waited is done.
    pub(crate) async fn reach(&self, state: State) {
        let tick = Duration::from_millis(5);
        for _ in 0..20_000 {
            if self.state().await == state {
                sleep(tick).await;
                return;
            }
            sleep(tick).await;
        }
        panic!("{state} is not reached: {:?}", self.handle.status().await);
    }

    /// A unit that is active, and what led to that forgotten.
    pub(crate) async fn active(change: impl FnOnce(UnitSetup) -> UnitSetup) -> Self {
        let host = Self::start(change);
        host.reach(State::Standby).await;
        host.ballot.set(Role::Master);
        host.reach(State::Active).await;
        let (_, _) = (host.stage.done(), host.ballot.told());
        host
    }
}

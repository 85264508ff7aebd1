//! Watches what runs on this node: notes what it tells, and puts together what it says of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_core::carp_proto::{Event as CarpEvent, Reason, Settings, State as Role};
use ha_core::failover::{Cause, Peer as StoragePeer, StorageRole};
use ha_core::io::failover::{StorageReport, UnitEvents, UnitHandle, UnitStatus};
use ha_core::io::hast::{Events as HastEvents, Resource as HastResource, Side};
use ha_core::io::{EventKind, Events, Handle, HostId, HostStatus, Status};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use super::events::{self, Line, NodeTold, Subject, Told, UnitNames};
use super::figures::Figures;
use super::hast_log;
use super::journal::Journal;
use super::moment::{Clock, Stamp, ms, round};
use super::snapshot::{
    Check, Copying, Demotion, Group, Node, Reason as Named, Resource, Running, Snapshot, Split,
    Standing, Step, Storage, Unit,
};
use super::timeline::Collector;
use super::told_carp::carp;
use super::told_hast::hast;

/// What is watched, and where it is told.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) units: Vec<Watched>,
    /// The driver of the virtual hosts.
    pub(crate) driver: Handle,
    pub(crate) journal: Option<Journal>,
    pub(crate) figures: Figures,
    /// The doors that cannot be opened, and why.
    pub(crate) closed: Mutex<BTreeMap<String, String>>,
}

/// A unit that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) handle: UnitHandle,
    pub(crate) names: UnitNames,
    /// Its virtual hosts, and the interfaces that they are on.
    pub(crate) hosts: Vec<(HostId, String)>,
    pub(crate) resource: Option<HastResource>,
    collector: Mutex<Collector>,
}

impl Watched {
    pub(crate) fn new(
        handle: UnitHandle,
        names: UnitNames,
        hosts: Vec<(HostId, String)>,
        resource: Option<HastResource>,
    ) -> Self {
        Self {
            handle,
            names,
            hosts,
            resource,
            collector: Mutex::default(),
        }
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        self.collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn interface(&self, host: HostId) -> Option<&str> {
        let found = self.hosts.iter().find(|(id, _)| *id == host);
        found.map(|(_, interface)| interface.as_str())
    }
}

impl Watch {
    pub(crate) fn unit(&self, name: &str) -> Option<&Watched> {
        self.units.iter().find(|unit| unit.names.unit == name)
    }

    fn closed(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a door is open.
    pub(crate) fn door_opened(&self, door: &str) {
        self.closed().remove(door);
    }

    /// Notes why a door cannot be opened. Returns whether that is news.
    pub(crate) fn door_closed(&self, door: &str, reason: String) -> bool {
        let before = self.closed().insert(door.to_owned(), reason.clone());
        before.is_none_or(|before| before != reason)
    }

    /// Tells what this program does.
    pub(crate) fn tell(&self, told: NodeTold) {
        let subject = Subject::Node(&self.node.name);
        self.write(self.clock.now(), subject, Told::Node(told));
    }

    /// Notes what all that is watched tells, from the moment on when these events begin: of the
    /// units in their order, of the driver, and of the node of HAST. It ends with what is returned.
    pub(crate) fn follow(
        self: &Arc<Self>,
        units: Vec<UnitEvents>,
        driver: Events,
        hast: Option<HastEvents>,
    ) -> JoinSet<()> {
        self.tell(NodeTold::Started);
        let mut following = JoinSet::new();
        for (index, events) in units.into_iter().enumerate() {
            let watch = self.clone();
            following.spawn(async move {
                if let Some(unit) = watch.units.get(index) {
                    watch.unit_events(unit, events).await;
                }
            });
        }
        let watch = self.clone();
        following.spawn(async move { watch.driver_events(driver).await });
        if let Some(events) = hast {
            let watch = self.clone();
            following.spawn(async move { watch.hast_events(events).await });
        }
        following
    }

    /// Notes what a unit tells, until it ends.
    async fn unit_events(&self, unit: &Watched, mut events: UnitEvents) {
        let mut lost = 0;
        while let Some(event) = events.next().await {
            self.tell_lost(&mut lost, events.lost());
            info!(unit = unit.names.unit, "{event}");
            let (stamp, told) = events::unit(&event, &unit.names, &self.clock);
            self.figures.unit(&unit.names.unit, &told);
            if let Some(timeline) = unit.collector().hear(stamp, &told) {
                self.figures.failover(&unit.names.unit, timeline);
            }
            let subject = Subject::Unit(&unit.names.unit);
            self.write(stamp, subject, Told::Unit(&told));
        }
    }

    /// Notes what the driver of the virtual hosts tells, until it ends.
    async fn driver_events(&self, mut events: Events) {
        let mut lost = 0;
        while let Some(event) = events.next().await {
            self.tell_lost(&mut lost, events.lost());
            let stamp = self.clock.stamp(event.at);
            let name = self.subject(&event.kind);
            info!(host = name, "{event}");
            if let EventKind::Protocol {
                host,
                event: CarpEvent::State { to, reason, .. },
                ..
            } = &event.kind
            {
                self.role_changed(stamp, *host, *to, *reason).await;
            }
            let subject = match &event.kind {
                EventKind::Demotion { .. } => Subject::Node(&self.node.name),
                _ => Subject::Host(&name),
            };
            self.write(stamp, subject, Told::Carp(carp(&event.kind)));
        }
    }

    /// Notes what replicated storage tells, until it ends.
    async fn hast_events(&self, mut events: HastEvents) {
        let mut lost = 0;
        while let Some(event) = events.next().await {
            self.tell_lost(&mut lost, events.lost());
            let stamp = self.clock.now();
            hast_log::tell(&event);
            let subject = match &event.resource {
                Some(name) => Subject::Resource(name.as_str()),
                None => Subject::Node(&self.node.name),
            };
            self.write(stamp, subject, Told::Hast(hast(&event.kind)));
        }
    }

    fn tell_lost(&self, known: &mut u64, lost: u64) {
        let events = lost.saturating_sub(*known);
        *known = lost;
        if events > 0 {
            self.tell(NodeTold::Lost { events });
        }
    }

    fn write(&self, stamp: Stamp, subject: Subject<'_>, told: Told<'_>) {
        if let Some(journal) = &self.journal {
            journal.write(&Line {
                stamp,
                subject,
                told,
            });
        }
    }

    /// Of which virtual host or interface something is told.
    fn subject(&self, kind: &EventKind) -> String {
        match kind {
            EventKind::Protocol { host, vhid, .. }
            | EventKind::Done { host, vhid, .. }
            | EventKind::Failed { host, vhid, .. }
            | EventKind::Panicked { host, vhid }
            | EventKind::NotSent { host, vhid, .. } => {
                let interface = self.units.iter().find_map(|unit| unit.interface(*host));
                format!("{vhid}@{}", interface.unwrap_or("?"))
            }
            EventKind::Discarded { segment, .. } | EventKind::NotReceived { segment, .. } => {
                format!("segment {segment}")
            }
            _ => self.node.name.clone(),
        }
    }

    async fn role_changed(&self, at: Stamp, host: HostId, to: Role, reason: Reason) {
        let of_host = |unit: &&Watched| unit.interface(host).is_some();
        let Some(unit) = self.units.iter().find(of_host) else {
            return;
        };
        if to != Role::Master {
            unit.collector().lost_master();
            return;
        }
        let silence = match reason {
            Reason::MasterTimedOut => self.dead_time(host).await,
            _ => None,
        };
        unit.collector().became_master(at, silence);
    }

    /// For how long a backup has heard nobody when it takes the master for dead.
    async fn dead_time(&self, host: HostId) -> Option<f64> {
        let status = self.driver.status().await.ok()?;
        let found = status.hosts.iter().find(|status| status.host == host)?;
        Some(dead_time_ms(&found.settings))
    }

    /// Puts together all that this node knows about itself.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let driver = self.driver.status().await.ok();
        let mut units = Vec::with_capacity(self.units.len());
        for unit in &self.units {
            // One that has ended has nothing to say.
            if let Ok(status) = unit.handle.status().await {
                units.push(unit.snapshot(&status, driver.as_ref()).await);
            }
        }
        let reasons = driver.iter().flat_map(|driver| &driver.reasons);
        Snapshot {
            stamp: self.clock.now(),
            node: self.node.clone(),
            demotion: Demotion {
                level: driver.as_ref().map_or(0, |driver| driver.demotion),
                reasons: reasons
                    .map(|(name, amount)| Named {
                        name: name.to_string(),
                        amount: *amount,
                    })
                    .collect(),
            },
            units,
            closed: self.closed().clone(),
        }
    }
}

/// CARP: three intervals of our own (CARP §3.2).
fn dead_time_ms(settings: &Settings) -> f64 {
    let (base, skew) = (settings.advbase.get(), settings.advskew.get());
    round(1e3 * (3.0 * f64::from(base) + f64::from(skew) / 256.0))
}

impl Watched {
    async fn snapshot(&self, status: &UnitStatus, driver: Option<&Status>) -> Unit {
        let resource = match &self.resource {
            Some(resource) => resource.status().await.ok().map(|status| {
                let name = resource.name().as_str().to_owned();
                replicated(name, &status)
            }),
            None => None,
        };
        let hosts = driver.iter().flat_map(|driver| &driver.hosts);
        let collector = self.collector();
        let addresses = hosts.filter_map(|host| {
            let mut group = group(self.interface(host.host)?, host);
            // Before the gate is open, what is there to be served is not.
            let step = format!("{}@{}", group.vhid, group.interface);
            if collector.standing(&step) != Standing::Done {
                group.serving.clear();
            }
            Some(group)
        });
        let is_maintenance = |cause: &Cause| matches!(cause, Cause::Maintenance);
        Unit {
            name: self.names.unit.clone(),
            state: status.state.into(),
            maintenance: status.causes.iter().any(is_maintenance)
                || collector.goes_out_of_service(),
            blocked: status.blocked.map(|blocked| self.names.blocked(blocked)),
            causes: status
                .causes
                .iter()
                .map(|cause| self.names.cause(*cause))
                .collect(),
            addresses: addresses.collect(),
            storage: status
                .storage
                .as_ref()
                .map(|report| stored(report, resource)),
            steps: self
                .names
                .steps
                .iter()
                .map(|(_, name, kind)| Step {
                    name: name.clone(),
                    kind: (*kind).into(),
                    standing: collector.standing(name),
                })
                .collect(),
            running: status.running.iter().map(running).collect(),
            checks: status
                .checks
                .iter()
                .map(|check| Check {
                    name: check.name.to_string(),
                    good: check.verdict == ha_core::failover::Health::Good,
                    error: check.error.as_ref().map(ToString::to_string),
                })
                .collect(),
            last: collector.timeline().cloned(),
            lost_events: status.lost_events,
        }
    }
}

fn running(running: &ha_core::io::failover::Running) -> Running {
    let now = Instant::now();
    let left = ms(running.deadline.saturating_duration_since(now));
    let over = ms(now.saturating_duration_since(running.deadline));
    Running {
        step: running.step.to_string(),
        action: events::action(running.action).to_owned(),
        left_ms: left - over,
        cancelled: running.cancelled,
    }
}

fn group(interface: &str, host: &HostStatus) -> Group {
    let stats: BTreeMap<_, _> = host
        .stats
        .named()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    Group {
        interface: interface.to_owned(),
        vhid: host.vhid.get(),
        role: host.state.to_string(),
        addresses: host.addresses.to_vec(),
        serving: host.serving.as_deref().unwrap_or_default().to_vec(),
        failed: host.failed.map(|effect| effect.to_string()),
        advbase: host.settings.advbase.get(),
        advskew: host.settings.advskew.get(),
        preempt: host.settings.preempt,
        stats,
    }
}

fn stored(report: &StorageReport, resource: Option<Resource>) -> Storage {
    let status = &report.status;
    Storage {
        role: match status.role {
            StorageRole::Init => "init",
            StorageRole::Secondary => "secondary",
            StorageRole::Primary => "primary",
        }
        .to_owned(),
        data: status.data.into(),
        peer: match status.peer {
            StoragePeer::Disconnected => "disconnected",
            StoragePeer::Secondary => "secondary",
            StoragePeer::Primary | StoragePeer::Unheard => "primary",
        }
        .to_owned(),
        current: status.current.iter().map(|node| node.get()).collect(),
        waits: report.wish.is_some(),
        resource,
    }
}

fn replicated(name: String, status: &ha_core::io::hast::Status) -> Resource {
    let control = &status.control;
    let mut resource = Resource {
        name,
        device: control.local.to_string(),
        remote: control.remote.to_string(),
        replication: control.replication.as_str().to_owned(),
        split: control.split_brain.map(|split| Split {
            here: split.local.into(),
            there: split.remote.map(Into::into),
        }),
        ..Resource::default()
    };
    match &status.side {
        Side::Primary(primary) => {
            resource.connected = primary.peer.is_some();
            resource.in_sync = Some(primary.in_sync);
            resource.to_copy = primary.to_copy;
            resource.copying = primary.copying.map(|copying| Copying {
                copied: copying.copied,
                left: copying.left,
                since_ms: ms(copying.since),
                estimate_ms: copying.estimate.map(ms),
                from_peer: copying.from_peer,
            });
            let queues = &primary.queues;
            resource.queued = queues.local + queues.send + queues.receive;
        }
        Side::Secondary(secondary) => resource.connected = secondary.session.is_some(),
        _ => {}
    }
    resource
}

//! What a driver does at each moment, with nothing to wait for.

mod commands;
mod effects;
mod end;
mod outputs;
mod packets;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;

use carp_proto::{AddressCount, Input, vrrp};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::effects::{Report, work};
use super::super::event::{Event, EventKind};
use super::super::transport::Transport;
use super::demotion::Demotion;
use super::handle::CommandError;
use super::host::Host;
use super::segment::Segment;
use super::{DriverError, HostId, SegmentId, SetupError};

/// How many packets of a segment are read in a row. Timers get their turn after no more than
/// twice that: those that wake the driver, and those it looks for before a timer fires.
pub const PACKETS_PER_TURN: usize = 64;
/// Holds the longest advertisement, which is VRRP's, behind the longest IPv4 header.
const BUFFER_LEN: usize = vrrp::MAX_LEN + 60;
/// How many drivers there were.
static DRIVERS: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Engine {
    /// Tells the identities of its hosts and segments from those of other drivers.
    driver: usize,
    /// By the index of their identities, which are not used again.
    segments: BTreeMap<usize, Segment>,
    hosts: BTreeMap<usize, Host>,
    /// How many of either were ever added.
    segments_added: usize,
    hosts_added: usize,
    /// Runs the effects, once the driver runs.
    workers: Option<Workers>,
    demotion: Demotion,
    events: broadcast::Sender<Event>,
    buffer: Box<[u8]>,
    /// Whether a segment had more packets than a turn takes.
    flooded: bool,
    stage: Stage,
}

/// The tasks that own the effects, and what each of them is given.
struct Workers {
    /// Aborted when this is dropped.
    tasks: JoinSet<()>,
    /// Without a bound of its own: a host gets a job only when the report of the one before has
    /// been read, so that no more wait here than there are hosts.
    reports: mpsc::UnboundedSender<Report>,
    limit: Duration,
}

/// How far the end has come.
enum Stage {
    Running,
    /// Effects and farewells may take until then.
    Ending(Instant),
    Ended(Result<(), DriverError>),
}

impl Engine {
    pub(super) fn new(events: broadcast::Sender<Event>) -> Self {
        Self {
            driver: DRIVERS.fetch_add(1, Ordering::Relaxed),
            segments: BTreeMap::new(),
            hosts: BTreeMap::new(),
            segments_added: 0,
            hosts_added: 0,
            workers: None,
            demotion: Demotion::default(),
            events,
            buffer: std::vec![0; BUFFER_LEN].into_boxed_slice(),
            flooded: false,
            stage: Stage::Running,
        }
    }

    pub(super) fn add_segment(&mut self, transport: Box<dyn Transport>) -> SegmentId {
        let id = self.segment_id(self.segments_added);
        self.segments_added += 1;
        self.segments.insert(id.index, Segment::new(transport));
        id
    }

    fn host_id(&self, index: usize) -> HostId {
        HostId {
            driver: self.driver,
            index,
        }
    }

    fn segment_id(&self, index: usize) -> SegmentId {
        SegmentId {
            driver: self.driver,
            index,
        }
    }

    /// The virtual host of an identity that comes from outside.
    fn host(&mut self, id: HostId) -> Result<&mut Host, CommandError> {
        let known = self.hosts.get_mut(&id.index);
        known
            .filter(|_| id.driver == self.driver)
            .ok_or(CommandError::Unknown)
    }

    /// Adds a virtual host, and starts it if the driver runs already.
    pub(super) fn add(&mut self, now: Instant, host: Host) -> Result<HostId, SetupError> {
        if !matches!(self.stage, Stage::Running) {
            return Err(SetupError::Ended);
        }
        let segment = self
            .segments
            .get(&host.segment.index)
            .filter(|_| host.segment.driver == self.driver)
            .ok_or(SetupError::UnknownSegment)?;
        let vhid = host.vhid();
        if segment.has(vhid) {
            return Err(SetupError::Taken { vhid });
        }
        host.protocol.fits(&*segment.transport, &host.addresses)?;
        let id = self.host_id(self.hosts_added);
        self.hosts_added += 1;
        let segment = host.segment;
        self.hosts.insert(id.index, host);
        self.refresh_groups(segment);
        self.start_host(now, id);
        Ok(id)
    }

    /// Starts the virtual hosts and the tasks of their effects, whose reports it returns.
    pub(super) fn start(
        &mut self,
        now: Instant,
        limit: Duration,
    ) -> mpsc::UnboundedReceiver<Report> {
        let (reports, receiver) = mpsc::unbounded_channel();
        self.workers = Some(Workers {
            tasks: JoinSet::new(),
            reports,
            limit,
        });
        for index in 0..self.hosts_added {
            self.start_host(now, self.host_id(index));
        }
        receiver
    }

    fn start_host(&mut self, now: Instant, id: HostId) {
        let (Some(workers), Some(host)) = (&mut self.workers, self.hosts.get_mut(&id.index)) else {
            return;
        };
        // Those of hosts that were removed have ended.
        while workers.tasks.try_join_next().is_some() {}
        if let Some(effects) = host.effects.take() {
            let (jobs, orders) = mpsc::channel(1);
            host.jobs = Some(jobs);
            workers.tasks.spawn(work(
                id,
                effects,
                orders,
                workers.reports.clone(),
                workers.limit,
            ));
        }
        if let Some(segment) = self.segments.get(&host.segment.index) {
            host.learn_sources(now, &*segment.transport);
            // What the segment was told last, before this host was there.
            if let Some(interface) = segment.interface {
                host.machine.handle(now, Input::Interface(interface));
            }
        }
        host.machine
            .handle(now, Input::Demotion(self.demotion.level()));
        host.machine
            .handle(now, Input::Addresses(AddressCount::of(&host.addresses)));
    }

    /// When something is to be done at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hosts = self
            .hosts
            .values()
            .filter_map(|host| host.machine.poll_timeout());
        let retries = self
            .hosts
            .values()
            .filter_map(|host| host.pending.retry_at());
        let segments = self.segments.values().filter_map(Segment::retry_at);
        let end = match self.stage {
            Stage::Ending(at) => Some(at),
            Stage::Running | Stage::Ended(_) => None,
        };
        hosts.chain(retries).chain(segments).chain(end).min()
    }

    /// Lets the timers fire that are due.
    pub(super) fn on_time(&mut self, now: Instant) {
        for host in self.hosts.values_mut() {
            if host
                .machine
                .poll_timeout()
                .is_some_and(|deadline| deadline <= now)
            {
                host.machine.handle_timeout(now);
            }
        }
        if matches!(self.stage, Stage::Ending(at) if at <= now) {
            self.give_up(now);
            return;
        }
        let mut next = self.hosts.keys().next().copied();
        while let Some(index) = next {
            self.retry_effect(now, self.host_id(index));
            next = self
                .hosts
                .range(index + 1..)
                .next()
                .map(|(index, _)| *index);
        }
    }

    fn tell(&self, at: Instant, kind: EventKind) {
        // Fails only if nobody listens.
        let _ = self.events.send(Event { at, kind });
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;
    use std::io;
    use std::vec::Vec;

    use async_trait::async_trait;
    use carp_proto::{Config, Family, Key, State, Vhid};

    use super::super::super::clock;
    use super::super::super::effects::{Effects, Service};
    use super::super::super::udp::UdpTransport;
    use super::super::Setup;
    use super::super::handle::Change;
    use super::*;

    /// Effects that are done at once.
    struct Quick;

    #[async_trait]
    impl Effects for Quick {
        async fn acquire(&mut self, _: &Service) -> io::Result<()> {
            Ok(())
        }

        async fn release(&mut self, _: &Service) -> io::Result<()> {
            Ok(())
        }

        async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn no_more_reports_wait_than_there_are_hosts() {
        let now = clock::now();
        let mut engine = Engine::new(broadcast::channel(1).0);
        let transport = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], &[]).unwrap();
        let segment = engine.add_segment(Box::new(transport));
        let ids: Vec<_> = (1..=3)
            .map(|vhid| {
                let config = Config::new(Vhid::new(vhid).unwrap());
                let shared = [IpAddr::from([192, 0, 2, vhid])];
                let setup = Setup::new(config, Key::from_passphrase(b"secret"), &shared, Quick);
                engine.add(now, Host::new(segment, setup).unwrap()).unwrap()
            })
            .collect();
        let mut reports = engine.start(now, Duration::from_secs(1));
        for round in 0..100 {
            for id in &ids {
                for state in [State::Master, State::Backup] {
                    engine.change(now, Change::Force(*id, state)).unwrap();
                }
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            // Nobody reads them, so that nothing more is begun.
            assert_eq!(reports.len(), 3, "round {round}");
        }
        for _ in 0..3 {
            engine.on_report(now, reports.recv().await.unwrap());
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(reports.len(), 3, "the next of each");
    }
}

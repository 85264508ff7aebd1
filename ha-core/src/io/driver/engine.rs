//! What a driver does at each moment, with nothing to wait for.

use core::net::IpAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{
    AddressCount, Datagram, Discard, Input, Interface, Output, Received, State, Transmit, vrrp,
};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::clock;
use super::super::effects::{self, Effect, Outcome, Report};
use super::super::event::{DemotionCause, Event, EventKind};
use super::super::transport::Transport;
use super::demotion::Demotion;
use super::handle::{Change, CommandError, Reply, SegmentStatus, Status};
use super::host::{self, Host};
use super::segment::Segment;
use super::{DriverError, HostId, SegmentId, SetupError};

/// How many packets of a segment are read in a row. Timers get their turn after no more than
/// twice that: those that wake the driver, and those it looks for before a timer fires.
pub const PACKETS_PER_TURN: usize = 64;
/// How many outputs of a virtual host are acted on, on average, before packets get their turn.
/// No machine gives that many; the bound is for a transport that fails and succeeds in the
/// very rhythm in which demotions make all hosts send.
const OUTPUTS_PER_TURN: usize = 64;
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
    /// No more than one job of a host is under way, so that bounds what waits here.
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
            workers.tasks.spawn(effects::work(
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

    // Packets.

    /// Reads what the transports hold, up to [`PACKETS_PER_TURN`] each. Pending if there was
    /// nothing; then the task is woken when there is.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut read = Poll::Pending;
        let mut next = self.segments.keys().next().copied();
        while let Some(index) = next {
            next = self
                .segments
                .range(index + 1..)
                .next()
                .map(|(index, _)| *index);
            let mut count = 0;
            let id = self.segment_id(index);
            while count < PACKETS_PER_TURN && self.poll_packet(cx, now, id).is_ready() {
                count += 1;
                read = Poll::Ready(());
            }
            self.flooded |= count == PACKETS_PER_TURN;
        }
        read
    }

    /// Whether there was more to read than a turn takes, since this was asked last.
    pub(super) fn take_flooded(&mut self) -> bool {
        core::mem::take(&mut self.flooded)
    }

    /// Reads one packet and has it handled.
    fn poll_packet(&mut self, cx: &mut Context<'_>, now: Instant, id: SegmentId) -> Poll<()> {
        let Self {
            segments,
            hosts,
            buffer,
            ..
        } = self;
        let Some(segment) = segments.get_mut(&id.index) else {
            return Poll::Pending;
        };
        let datagram = match core::task::ready!(segment.poll_receive(cx, now, buffer)) {
            Ok(Some(datagram)) => datagram,
            Ok(None) => return Poll::Ready(()),
            Err(error) => {
                let error = Arc::new(error);
                self.tell(now, EventKind::NotReceived { segment: id, error });
                return Poll::Ready(());
            }
        };
        let source = datagram.source;
        segment.stats.count_input(datagram.family());
        let hosts = hosts.values_mut().filter(|host| host.segment == id);
        let heard = if segment.is_vrrp(&datagram) {
            hear_vrrp(now, segment, hosts, &datagram)
        } else {
            hear_carp(now, segment, hosts, &datagram)
        };
        match heard {
            // At once, so that the machine's queue has room for what the next one causes. What
            // is left over is for the loop.
            Ok(()) => _ = self.drain(now),
            Err(discard) => {
                if segment.discard(now, discard) {
                    self.tell(
                        now,
                        EventKind::Discarded {
                            segment: id,
                            source,
                            discard,
                        },
                    );
                }
            }
        }
        Poll::Ready(())
    }

    // Outputs.

    /// Does what the machines want done. Pending if that was more than a turn takes.
    pub(super) fn drain(&mut self, now: Instant) -> Poll<()> {
        for _ in 0..OUTPUTS_PER_TURN * self.hosts.len() {
            let Some((id, output)) = self.poll_output() else {
                return Poll::Ready(());
            };
            self.act(now, id, output);
        }
        if self.hosts.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_output(&mut self) -> Option<(HostId, Output)> {
        let driver = self.driver;
        self.hosts.iter_mut().find_map(|(&index, host)| {
            host.machine
                .poll_output()
                .map(|output| (HostId { driver, index }, output))
        })
    }

    fn act(&mut self, now: Instant, id: HostId, output: Output) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        match output {
            // Whoever sends packets could keep everything else from being read.
            Output::Event(carp_proto::Event::Refused { .. }) if !host.refusals.opens(now) => {}
            Output::Event(event) => {
                let vhid = host.vhid();
                self.tell(
                    now,
                    EventKind::Protocol {
                        host: id,
                        vhid,
                        event,
                    },
                );
            }
            Output::Demote(demote) => {
                let cause = DemotionCause::Protocol {
                    host: id,
                    reason: demote.reason,
                };
                self.demote(now, cause, |demotion| demotion.adjust(demote.adjustment));
            }
            Output::Transmit(transmit) => {
                if !host.keep_farewell(transmit) {
                    self.transmit(now, id, transmit);
                }
            }
            Output::Acquire => {
                // Whoever takes the role again does not leave.
                host.farewells.clear();
                self.begin(now, id, Effect::Acquire);
            }
            Output::Release => self.begin(now, id, Effect::Release),
            Output::Announce(family) => self.begin(now, id, Effect::Announce(family)),
            Output::NeedCounter => {
                host.machine
                    .handle(now, Input::FreshCounter(clock::random()));
            }
            Output::ForgetAddresses => {
                if let Some(auth) = host.protocol.auth_mut() {
                    auth.forget_previous();
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, id: HostId, transmit: Transmit) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&host.segment.index) else {
            return;
        };
        let family = transmit.family;
        let result = host.send(&mut *segment.transport, &transmit);
        host.machine
            .handle(now, Input::Sent(family, host::send_result(&result)));
        let was_mute = core::mem::replace(host.is_mute(family), result.is_err());
        if let Err(error) = result {
            if !was_mute {
                let (vhid, error) = (host.vhid(), Arc::new(error));
                self.tell(
                    now,
                    EventKind::NotSent {
                        host: id,
                        vhid,
                        family,
                        error,
                    },
                );
            }
        }
    }

    fn send_farewells(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        for transmit in core::mem::take(&mut host.farewells) {
            self.transmit(now, id, transmit);
        }
    }

    /// Changes the demotion level and hands it to all virtual hosts, if it is another now.
    fn demote(&mut self, now: Instant, cause: DemotionCause, change: impl FnOnce(&mut Demotion)) {
        let before = self.demotion.level();
        change(&mut self.demotion);
        let level = self.demotion.level();
        if level == before {
            return;
        }
        let adjustment = level.saturating_sub(before);
        self.tell(
            now,
            EventKind::Demotion {
                adjustment,
                level,
                cause,
            },
        );
        for host in self.hosts.values_mut() {
            host.machine.handle(now, Input::Demotion(level));
        }
    }

    // Effects.

    fn begin(&mut self, now: Instant, id: HostId, effect: Effect) {
        if let Some(host) = self.hosts.get_mut(&id.index) {
            host.pending.push(effect);
        }
        self.begin_next(now, id);
    }

    fn begin_next(&mut self, now: Instant, id: HostId) {
        while let Some(host) = self.hosts.get_mut(&id.index) {
            let Err(effect) = host.begin_effect() else {
                return;
            };
            // There is no task any more.
            let (vhid, error) = (host.vhid(), Arc::new(io::ErrorKind::BrokenPipe.into()));
            self.tell(
                now,
                EventKind::Failed {
                    host: id,
                    vhid,
                    effect,
                    error,
                },
            );
        }
    }

    pub(super) fn on_report(&mut self, now: Instant, report: Report) {
        let Report { host: id, outcome } = report;
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        let vhid = host.vhid();
        let is_well = matches!(outcome, Outcome::Ended { result: Ok(()), .. });
        if matches!(outcome, Outcome::Panicked) {
            host.jobs = None;
        }
        host.end_effect(now, is_well);
        let kind = match outcome {
            Outcome::Ended {
                effect,
                took,
                result: Ok(()),
            } => EventKind::Done {
                host: id,
                vhid,
                effect,
                took,
            },
            Outcome::Ended {
                effect,
                result: Err(error),
                ..
            } => EventKind::Failed {
                host: id,
                vhid,
                effect,
                error: Arc::new(error),
            },
            Outcome::Panicked => {
                // Nobody is there to serve the addresses: as good as no network.
                host.machine.handle(now, Input::Interface(Interface::Down));
                EventKind::Panicked { host: id, vhid }
            }
        };
        self.tell(now, kind);
        self.begin_next(now, id);
        // Who ends does not keep its successor waiting for what may never succeed.
        let is_ending = !matches!(self.stage, Stage::Running)
            || self
                .hosts
                .get(&id.index)
                .is_some_and(|host| host.leaving.is_some());
        let may_bow_out = self.hosts.get(&id.index).is_some_and(|host| {
            !host.pending.is_releasing() || is_ending && host.failed == Some(Effect::Release)
        });
        if may_bow_out {
            self.send_farewells(now, id);
        }
    }

    /// Tries again what failed, if it is time for it.
    fn retry_effect(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        if host.pending.retry_at().is_some_and(|at| at <= now) {
            host.pending.retry();
            self.begin_next(now, id);
        }
    }

    // Commands.

    pub(super) fn change(&mut self, now: Instant, change: Change) -> Result<(), CommandError> {
        if !matches!(self.stage, Stage::Running) {
            return Err(CommandError::ShuttingDown);
        }
        match change {
            Change::Force(id, state) => self.force(now, id, state)?,
            Change::Settings(id, settings) => {
                let host = self.host(id)?;
                settings.validate(host.machine.config().dialect)?;
                host.machine.handle(now, Input::Settings(settings));
            }
            Change::Addresses(id, addresses) => self.set_addresses(now, id, addresses)?,
            Change::Interface(id, interface) => {
                if id.driver != self.driver {
                    return Err(CommandError::Unknown);
                }
                let segment = self.segments.get_mut(&id.index);
                let told = &mut segment.ok_or(CommandError::Unknown)?.interface;
                // FreeBSD's rules take a repetition for a flap.
                if told.replace(interface) == Some(interface) {
                    return Ok(());
                }
                for host in self.hosts.values_mut().filter(|host| host.segment == id) {
                    if host.jobs.is_some() {
                        host.machine.handle(now, Input::Interface(interface));
                    }
                }
            }
            Change::RemoveSegment(id) => self.remove_segment(id)?,
            Change::Transport(id, transport) => self.replace_transport(now, id, transport)?,
            Change::Demote(name, amount) => {
                if !self.demotion.has_room_for(&name) {
                    return Err(CommandError::TooManyReasons);
                }
                let cause = DemotionCause::Named(name.clone());
                self.demote(now, cause, |demotion| demotion.set(name, amount));
            }
            Change::Restore(name) => {
                let cause = DemotionCause::Named(name.clone());
                self.demote(now, cause, |demotion| demotion.remove(&name));
            }
        }
        // So that whoever asks for the status next sees what came of it.
        let _ = self.drain(now);
        Ok(())
    }

    /// Ends a virtual host, which answers `reply` when it has left.
    pub(super) fn remove(
        &mut self,
        now: Instant,
        id: HostId,
        reply: Reply<Result<(), CommandError>>,
    ) {
        let running = matches!(self.stage, Stage::Running);
        let refusal = match self.host(id) {
            _ if !running => CommandError::ShuttingDown,
            Ok(host) if host.leaving.is_none() => {
                host.leaving = Some(reply);
                host.machine.handle(now, Input::Shutdown);
                let _ = self.drain(now);
                return;
            }
            Ok(_) | Err(_) => CommandError::Unknown,
        };
        // Whoever asked may be gone, here and below.
        let _ = reply.send(Err(refusal));
    }

    /// Closes a segment that has no virtual hosts.
    fn remove_segment(&mut self, id: SegmentId) -> Result<(), CommandError> {
        let is_known = id.driver == self.driver && self.segments.contains_key(&id.index);
        let is_used = self.hosts.values().any(|host| host.segment == id);
        match (is_known, is_used) {
            (false, _) => Err(CommandError::Unknown),
            (true, true) => Err(CommandError::InUse),
            (true, false) => {
                self.segments.remove(&id.index);
                Ok(())
            }
        }
    }

    fn replace_transport(
        &mut self,
        now: Instant,
        id: SegmentId,
        transport: Box<dyn Transport>,
    ) -> Result<(), CommandError> {
        let segment = self.segments.get_mut(&id.index);
        let segment = segment
            .filter(|_| id.driver == self.driver)
            .ok_or(CommandError::Unknown)?;
        let hosts = self.hosts.values_mut().filter(|host| host.segment == id);
        let hosts: Vec<_> = hosts.collect();
        for host in &hosts {
            host.protocol.fits(&*transport, &host.addresses)?;
        }
        for host in hosts {
            host.learn_sources(now, &*transport);
        }
        segment.replace_transport(transport);
        Ok(())
    }

    /// Forgets the virtual hosts that have left.
    pub(super) fn reap(&mut self) {
        let is_gone = |host: &Host| host.leaving.is_some() && !host.is_busy();
        while let Some(index) = self
            .hosts
            .iter()
            .find_map(|(&index, host)| is_gone(host).then_some(index))
        {
            let Some(host) = self.hosts.remove(&index) else {
                return;
            };
            self.refresh_groups(host.segment);
            host.end();
        }
    }

    fn force(&mut self, now: Instant, id: HostId, state: State) -> Result<(), CommandError> {
        let host = self.host(id)?;
        host.machine.handle(now, Input::Force(state));
        Ok(())
    }

    fn set_addresses(
        &mut self,
        now: Instant,
        id: HostId,
        addresses: Arc<[IpAddr]>,
    ) -> Result<(), CommandError> {
        let segment = self.host(id)?.segment;
        let transport = self
            .segments
            .get(&segment.index)
            .map(|segment| &*segment.transport)
            .ok_or(CommandError::Unknown)?;
        let host = self.hosts.get(&id.index).ok_or(CommandError::Unknown)?;
        host.protocol.fits(transport, &addresses)?;
        let host = self.host(id)?;
        if host.addresses == addresses {
            return Ok(());
        }
        if let Some(auth) = host.protocol.auth_mut() {
            auth.set_addresses(&addresses);
        }
        host.machine
            .handle(now, Input::Addresses(AddressCount::of(&addresses)));
        host.addresses = addresses;
        self.refresh_groups(segment);
        Ok(())
    }

    fn refresh_groups(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id.index) {
            segment.set_groups(self.hosts.values().filter(|host| host.segment == id));
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            demotion: self.demotion.level(),
            reasons: self.demotion.named(),
            hosts: self
                .hosts
                .iter()
                .map(|(&index, host)| host.status(self.host_id(index)))
                .collect(),
            segments: self
                .segments
                .iter()
                .map(|(&index, segment)| SegmentStatus {
                    segment: self.segment_id(index),
                    strangers: segment.transport.strangers(),
                    stats: segment.stats,
                })
                .collect(),
        }
    }

    // The end.

    pub(super) fn shutdown(&mut self, now: Instant, limit: Duration) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        self.stage = Stage::Ending(now + limit);
        for host in self.hosts.values_mut() {
            host.machine.handle(now, Input::Shutdown);
        }
        let _ = self.drain(now);
    }

    /// Whether all is done, or the time for it is over.
    pub(super) fn is_finished(&mut self) -> bool {
        if matches!(self.stage, Stage::Ending(_)) && self.unfinished() == 0 {
            self.stage = Stage::Ended(match self.not_released() {
                0 => Ok(()),
                hosts => Err(DriverError::NotReleased { hosts }),
            });
        }
        matches!(self.stage, Stage::Ended(_))
    }

    pub(super) fn result(&self) -> Result<(), DriverError> {
        match self.stage {
            Stage::Ended(result) => result,
            Stage::Running | Stage::Ending(_) => Ok(()),
        }
    }

    /// How many virtual hosts have something left to do.
    fn unfinished(&self) -> usize {
        self.hosts.values().filter(|host| host.is_busy()).count()
    }

    /// How many virtual hosts could not release their addresses.
    fn not_released(&self) -> usize {
        let failed = |host: &&Host| host.failed == Some(Effect::Release);
        self.hosts.values().filter(failed).count()
    }

    fn give_up(&mut self, now: Instant) {
        let hosts = self.unfinished();
        let only_failing = self
            .hosts
            .values()
            .all(|host| host.pending.is_idle() || host.pending.is_failing());
        let error = if only_failing {
            DriverError::NotReleased {
                hosts: self.not_released(),
            }
        } else {
            DriverError::Unfinished { hosts }
        };
        // Late, but nobody advertises here any more, so the successor may as well know.
        for index in 0..self.hosts_added {
            self.send_farewells(now, self.host_id(index));
        }
        self.stage = Stage::Ended(Err(error));
    }

    fn tell(&self, at: Instant, kind: EventKind) {
        // Fails only if nobody listens.
        let _ = self.events.send(Event { at, kind });
    }
}

/// Hands a CARP packet to the host it is for.
fn hear_carp<'h>(
    now: Instant,
    segment: &mut Segment,
    mut hosts: impl Iterator<Item = &'h mut Host>,
    datagram: &Datagram<'_>,
) -> Result<(), Discard> {
    let view = segment.check_carp(datagram)?;
    let vhid = view.vhid();
    let stranger = Discard::BadVhid { vhid };
    let host = hosts
        .find(|host| host.vhid().get() == vhid)
        .ok_or(stranger)?;
    let heard = host.protocol.auth().ok_or(stranger)?.verify(view)?;
    segment.stats.count_accepted(view);
    host.hear(now, Received::new(heard, datagram.source));
    Ok(())
}

/// Hands a VRRP packet to the host it is for.
fn hear_vrrp<'h>(
    now: Instant,
    segment: &Segment,
    mut hosts: impl Iterator<Item = &'h mut Host>,
    datagram: &Datagram<'_>,
) -> Result<(), Discard> {
    let vrid = datagram.payload.get(1).copied().unwrap_or(0);
    let host = hosts.find(|host| host.vhid().get() == vrid);
    let known = host.as_ref().and_then(|host| host.protocol.vrrp());
    let heard = segment.check_vrrp(datagram, known.unwrap_or_default())?;
    let host = host.ok_or(Discard::BadVhid { vhid: vrid })?;
    host.hear(now, Received::new(heard, datagram.source));
    Ok(())
}

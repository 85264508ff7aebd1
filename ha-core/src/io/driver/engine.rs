//! What a driver does at each moment, with nothing to wait for.

use core::net::IpAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
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
use super::super::effects::{self, Effect, Effects, Outcome, Report};
use super::super::event::{DemotionCause, Event, EventKind};
use super::super::transport::Transport;
use super::demotion::Demotion;
use super::handle::{Change, CommandError, SegmentStatus, Status};
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
    segments: Vec<Segment>,
    hosts: Vec<Host>,
    demotion: Demotion,
    events: broadcast::Sender<Event>,
    buffer: Box<[u8]>,
    /// Whether a segment had more packets than a turn takes.
    flooded: bool,
    stage: Stage,
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
            segments: Vec::new(),
            hosts: Vec::new(),
            demotion: Demotion::default(),
            events,
            buffer: std::vec![0; BUFFER_LEN].into_boxed_slice(),
            flooded: false,
            stage: Stage::Running,
        }
    }

    pub(super) fn add_segment(&mut self, transport: Box<dyn Transport>) -> SegmentId {
        self.segments.push(Segment::new(transport));
        self.segment_id(self.segments.len() - 1)
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
        let known = self.hosts.get_mut(id.index);
        known
            .filter(|_| id.driver == self.driver)
            .ok_or(CommandError::Unknown)
    }

    pub(super) fn add(&mut self, host: Host) -> Result<HostId, SetupError> {
        let segment = self
            .segments
            .get(host.segment.index)
            .filter(|_| host.segment.driver == self.driver)
            .ok_or(SetupError::UnknownSegment)?;
        let vhid = host.vhid();
        if segment.has(vhid) {
            return Err(SetupError::Taken { vhid });
        }
        host.protocol.fits(&*segment.transport, &host.addresses)?;
        let id = self.host_id(self.hosts.len());
        let segment = host.segment;
        self.hosts.push(host);
        self.refresh_groups(segment);
        Ok(id)
    }

    /// Starts the virtual hosts and the tasks of their effects, whose reports it returns.
    pub(super) fn start(
        &mut self,
        now: Instant,
        effects: Vec<Box<dyn Effects>>,
        limit: Duration,
        tasks: &mut JoinSet<()>,
    ) -> mpsc::Receiver<Report> {
        // One job of each is under way at a time, so one report of each waits at most.
        let (reports, receiver) = mpsc::channel(self.hosts.len().max(1));
        let driver = self.driver;
        for (index, (host, effects)) in self.hosts.iter_mut().zip(effects).enumerate() {
            let (jobs, orders) = mpsc::channel(1);
            host.jobs = Some(jobs);
            tasks.spawn(effects::work(
                HostId { driver, index },
                effects,
                orders,
                reports.clone(),
                limit,
            ));
            if let Some(segment) = self.segments.get(host.segment.index) {
                host.learn_sources(now, &*segment.transport);
            }
            host.machine
                .handle(now, Input::Addresses(AddressCount::of(&host.addresses)));
        }
        receiver
    }

    /// When something is to be done at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let hosts = self
            .hosts
            .iter()
            .filter_map(|host| host.machine.poll_timeout());
        let retries = self.hosts.iter().filter_map(|host| host.pending.retry_at());
        let segments = self.segments.iter().filter_map(Segment::retry_at);
        let end = match self.stage {
            Stage::Ending(at) => Some(at),
            Stage::Running | Stage::Ended(_) => None,
        };
        hosts.chain(retries).chain(segments).chain(end).min()
    }

    /// Lets the timers fire that are due.
    pub(super) fn on_time(&mut self, now: Instant) {
        for host in &mut self.hosts {
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
        for index in 0..self.hosts.len() {
            self.retry_effect(now, self.host_id(index));
        }
    }

    // Packets.

    /// Reads what the transports hold, up to [`PACKETS_PER_TURN`] each. Pending if there was
    /// nothing; then the task is woken when there is.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut read = Poll::Pending;
        for index in 0..self.segments.len() {
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
        let Some(segment) = segments.get_mut(id.index) else {
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
        let hosts = hosts.iter_mut().filter(|host| host.segment == id);
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
        self.hosts.iter_mut().enumerate().find_map(|(index, host)| {
            host.machine
                .poll_output()
                .map(|output| (HostId { driver, index }, output))
        })
    }

    fn act(&mut self, now: Instant, id: HostId, output: Output) {
        let Some(host) = self.hosts.get_mut(id.index) else {
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
        let Some(host) = self.hosts.get_mut(id.index) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(host.segment.index) else {
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
        let Some(host) = self.hosts.get_mut(id.index) else {
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
        for host in &mut self.hosts {
            host.machine.handle(now, Input::Demotion(level));
        }
    }

    // Effects.

    fn begin(&mut self, now: Instant, id: HostId, effect: Effect) {
        if let Some(host) = self.hosts.get_mut(id.index) {
            host.pending.push(effect);
        }
        self.begin_next(now, id);
    }

    fn begin_next(&mut self, now: Instant, id: HostId) {
        while let Some(host) = self.hosts.get_mut(id.index) {
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
        let Some(host) = self.hosts.get_mut(id.index) else {
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
        let is_ending = !matches!(self.stage, Stage::Running);
        let may_bow_out = self.hosts.get(id.index).is_some_and(|host| {
            !host.pending.is_releasing() || is_ending && host.failed == Some(Effect::Release)
        });
        if may_bow_out {
            self.send_farewells(now, id);
        }
    }

    /// Tries again what failed, if it is time for it.
    fn retry_effect(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(id.index) else {
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
                for host in self.hosts.iter_mut().filter(|host| host.segment == id) {
                    if host.jobs.is_some() {
                        host.machine.handle(now, Input::Interface(interface));
                    }
                }
            }
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
            .get(segment.index)
            .map(|segment| &*segment.transport)
            .ok_or(CommandError::Unknown)?;
        let host = self.hosts.get(id.index).ok_or(CommandError::Unknown)?;
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
        if let Some(segment) = self.segments.get_mut(id.index) {
            segment.set_groups(self.hosts.iter().filter(|host| host.segment == id));
        }
    }

    pub(super) fn status(&self) -> Status {
        let hosts = self.hosts.iter().enumerate();
        let segments = self.segments.iter().enumerate();
        Status {
            demotion: self.demotion.level(),
            reasons: self.demotion.named(),
            hosts: hosts
                .map(|(index, host)| host.status(self.host_id(index)))
                .collect(),
            segments: segments
                .map(|(index, segment)| SegmentStatus {
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
        for host in &mut self.hosts {
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
        let busy = |host: &&Host| !host.pending.is_idle() || !host.farewells.is_empty();
        self.hosts.iter().filter(busy).count()
    }

    /// How many virtual hosts could not release their addresses.
    fn not_released(&self) -> usize {
        let failed = |host: &&Host| host.failed == Some(Effect::Release);
        self.hosts.iter().filter(failed).count()
    }

    fn give_up(&mut self, now: Instant) {
        let hosts = self.unfinished();
        let only_failing = self
            .hosts
            .iter()
            .all(|host| host.pending.is_idle() || host.pending.is_failing());
        let error = if only_failing {
            DriverError::NotReleased {
                hosts: self.not_released(),
            }
        } else {
            DriverError::Unfinished { hosts }
        };
        // Late, but nobody advertises here any more, so the successor may as well know.
        for index in 0..self.hosts.len() {
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

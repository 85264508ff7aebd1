//! What a driver does at each moment, with nothing to wait for.

use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{
    AddressCount, Discard, Family, Input, Interface, Output, Received, State, Transmit,
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

/// How many packets of a segment are read before timers get their turn.
pub const PACKETS_PER_TURN: usize = 64;
/// How many outputs of a virtual host are acted on, on average, before packets get their turn.
/// No machine gives that many; the bound is for a transport that fails and succeeds in the
/// very rhythm in which demotions make all hosts send.
const OUTPUTS_PER_TURN: usize = 64;
/// Holds an advertisement behind the longest IPv4 header, and some more.
const BUFFER_LEN: usize = 256;

pub(super) struct Engine {
    segments: Vec<Segment>,
    hosts: Vec<Host>,
    demotion: Demotion,
    events: broadcast::Sender<Event>,
    buffer: [u8; BUFFER_LEN],
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
            segments: Vec::new(),
            hosts: Vec::new(),
            demotion: Demotion::default(),
            events,
            buffer: [0; BUFFER_LEN],
            flooded: false,
            stage: Stage::Running,
        }
    }

    pub(super) fn add_segment(&mut self, transport: Box<dyn Transport>) -> SegmentId {
        self.segments.push(Segment::new(transport));
        SegmentId(self.segments.len() - 1)
    }

    pub(super) fn add(&mut self, host: Host) -> Result<HostId, SetupError> {
        let segment = self
            .segments
            .get(host.segment.0)
            .ok_or(SetupError::UnknownSegment)?;
        let vhid = host.vhid();
        if segment.has(vhid) {
            return Err(SetupError::Taken { vhid });
        }
        if let Some(family) = missing(&*segment.transport, &host.addresses) {
            return Err(SetupError::Family { family });
        }
        let id = HostId(self.hosts.len());
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
        for (index, (host, effects)) in self.hosts.iter_mut().zip(effects).enumerate() {
            let (jobs, orders) = mpsc::channel(1);
            host.jobs = Some(jobs);
            tasks.spawn(effects::work(
                HostId(index),
                effects,
                orders,
                reports.clone(),
                limit,
            ));
            if let Some(segment) = self.segments.get(host.segment.0) {
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
        let segments = self.segments.iter().filter_map(Segment::retry_at);
        let end = match self.stage {
            Stage::Ending(at) => Some(at),
            Stage::Running | Stage::Ended(_) => None,
        };
        hosts.chain(segments).chain(end).min()
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
        }
    }

    // Packets.

    /// Reads what the transports hold, up to [`PACKETS_PER_TURN`] each. Pending if there was
    /// nothing; then the task is woken when there is.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        let mut read = Poll::Pending;
        for index in 0..self.segments.len() {
            let mut count = 0;
            while count < PACKETS_PER_TURN && self.poll_packet(cx, now, SegmentId(index)).is_ready()
            {
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
        let Some(segment) = segments.get_mut(id.0) else {
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
        let heard = segment.check(&datagram).and_then(|view| {
            let host = hosts
                .iter_mut()
                .find(|host| host.segment == id && host.vhid().get() == view.vhid())
                .ok_or_else(|| Discard::BadVhid { vhid: view.vhid() })?;
            let advertisement = host.auth.verify(view)?;
            if !view.is_usual() {
                segment.stats.unusual += 1;
            }
            host.machine.handle(
                now,
                Input::Advertisement(Received {
                    advertisement,
                    source,
                }),
            );
            // A master is heard: there is nobody left to bow out to.
            host.farewells.clear();
            Ok(())
        });
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
        self.hosts.iter_mut().enumerate().find_map(|(index, host)| {
            host.machine
                .poll_output()
                .map(|output| (HostId(index), output))
        })
    }

    fn act(&mut self, now: Instant, id: HostId, output: Output) {
        let Some(host) = self.hosts.get_mut(id.0) else {
            return;
        };
        match output {
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
            Output::ForgetAddresses => host.auth.forget_previous(),
        }
    }

    fn transmit(&mut self, now: Instant, id: HostId, transmit: Transmit) {
        let Some(host) = self.hosts.get_mut(id.0) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(host.segment.0) else {
            return;
        };
        let family = transmit.family;
        let result = host.send(&mut *segment.transport, &transmit);
        host.machine
            .handle(now, Input::Sent(family, host::send_result(&result)));
        let was_mute = core::mem::replace(&mut host.is_mute, result.is_err());
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
        let Some(host) = self.hosts.get_mut(id.0) else {
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
        if let Some(host) = self.hosts.get_mut(id.0) {
            host.pending.push(effect);
        }
        self.begin_next(now, id);
    }

    fn begin_next(&mut self, now: Instant, id: HostId) {
        while let Some(host) = self.hosts.get_mut(id.0) {
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
        let Some(host) = self.hosts.get_mut(id.0) else {
            return;
        };
        let vhid = host.vhid();
        host.pending.end();
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
                host.jobs = None;
                // Nobody is there to serve the addresses: as good as no network.
                host.machine.handle(now, Input::Interface(Interface::Down));
                EventKind::Panicked { host: id, vhid }
            }
        };
        let released = !host.pending.is_releasing();
        self.tell(now, kind);
        if released {
            self.send_farewells(now, id);
        }
        self.begin_next(now, id);
    }

    // Commands.

    pub(super) fn change(&mut self, now: Instant, change: Change) -> Result<(), CommandError> {
        if !matches!(self.stage, Stage::Running) {
            return Err(CommandError::ShuttingDown);
        }
        match change {
            Change::Force(id, state) => self.force(now, id, state)?,
            Change::Settings(id, settings) => {
                let host = self.hosts.get_mut(id.0).ok_or(CommandError::Unknown)?;
                settings.validate(host.machine.config().dialect)?;
                host.machine.handle(now, Input::Settings(settings));
            }
            Change::Addresses(id, addresses) => self.set_addresses(now, id, addresses)?,
            Change::Interface(id, interface) => {
                self.segments.get(id.0).ok_or(CommandError::Unknown)?;
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
        let host = self.hosts.get_mut(id.0).ok_or(CommandError::Unknown)?;
        host.machine.handle(now, Input::Force(state));
        Ok(())
    }

    fn set_addresses(
        &mut self,
        now: Instant,
        id: HostId,
        addresses: Arc<[IpAddr]>,
    ) -> Result<(), CommandError> {
        let host = self.hosts.get_mut(id.0).ok_or(CommandError::Unknown)?;
        let segment = self
            .segments
            .get(host.segment.0)
            .ok_or(CommandError::Unknown)?;
        if let Some(family) = missing(&*segment.transport, &addresses) {
            return Err(CommandError::Family { family });
        }
        if host.addresses == addresses {
            return Ok(());
        }
        host.auth.set_addresses(&addresses);
        host.machine
            .handle(now, Input::Addresses(AddressCount::of(&addresses)));
        host.addresses = addresses;
        let segment = host.segment;
        self.refresh_groups(segment);
        Ok(())
    }

    fn refresh_groups(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.get_mut(id.0) {
            let hosts = self.hosts.iter().filter(|host| host.segment == id);
            segment.set_groups(hosts.map(|host| (host.group(), host.addresses.clone())));
        }
    }

    pub(super) fn status(&self) -> Status {
        let hosts = self.hosts.iter().enumerate();
        let segments = self.segments.iter().enumerate();
        Status {
            demotion: self.demotion.level(),
            reasons: self.demotion.named(),
            hosts: hosts
                .map(|(index, host)| host.status(HostId(index)))
                .collect(),
            segments: segments
                .map(|(index, segment)| SegmentStatus {
                    segment: SegmentId(index),
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
            self.stage = Stage::Ended(Ok(()));
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

    fn give_up(&mut self, now: Instant) {
        let hosts = self.unfinished();
        // Late, but nobody advertises here any more, so the successor may as well know.
        for index in 0..self.hosts.len() {
            self.send_farewells(now, HostId(index));
        }
        self.stage = Stage::Ended(Err(DriverError::Unfinished { hosts }));
    }

    fn tell(&self, at: Instant, kind: EventKind) {
        // Fails only if nobody listens.
        let _ = self.events.send(Event { at, kind });
    }
}

/// A family of `addresses` that `transport` does not carry.
fn missing(transport: &dyn Transport, addresses: &[IpAddr]) -> Option<Family> {
    addresses
        .iter()
        .map(|address| Family::of(*address))
        .find(|family| !transport.carries(*family))
}

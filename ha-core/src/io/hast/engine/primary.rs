//! A primary: its device, its disk, its attempts to connect and its session.

mod attempt;
mod session;
mod status;

use core::task::Context;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use hast_proto::handshake::Failure;
use hast_proto::handshake::connecting::Which;
use hast_proto::hooks::HookEvent;
use hast_proto::message::{Refusal, Request};
use hast_proto::primary::{
    Config, Event, Input, LocalCopy, Output, Partner, Primary, RequestId, WishId,
};
use hast_proto::{BlockError, Errno, Length, SectorSize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::attempt::Attempt;
use self::session::Session;
use super::super::super::block::Geometry;
use super::super::event::EventKind;
use super::super::provider::{Opened, ProviderError, Store};
use super::super::resource::AttachError;
use super::super::settings::Settings;
use super::disk::{Disk, Ticket};
use super::outbox::Outbox;
use super::{Call, Common};

/// How many octets of data are made ready for the peer in one pass.
const PASS: usize = 512 * 1024;
/// How many bits the machine's number of a wish has, before which the term stands.
const WISH_BITS: u32 = 32;

/// What a primary needs.
pub(super) struct PrimarySide {
    machine: Primary<Instant>,
    term: u64,
    /// `None` while the provider is being opened again.
    store: Option<Arc<Store>>,
    geometry: Geometry,
    sector: SectorSize,
    disk: Disk,
    attempt: Option<Attempt>,
    session: Option<Session>,
    outbox: Outbox,
    /// Requests that the machine is too full to take.
    held: VecDeque<Call>,
    /// Who waits for the requests that it has taken.
    calls: BTreeMap<RequestId, Taken>,
    next_call: u64,
    /// When the synchronisation under way began, and what had been copied before.
    copying: Option<Copying>,
    /// Whether the role is being left.
    stopping: bool,
    /// Whether the machine has said its last word.
    stopped: bool,
}

/// Who waits for a request.
struct Taken {
    reply: oneshot::Sender<Result<Vec<Bytes>, Errno>>,
    #[cfg(feature = "metrics")]
    timer: super::meter::Timer,
}

#[derive(Clone, Copy)]
struct Copying {
    since: Instant,
    copied_before: u64,
    from_peer: bool,
}

impl PrimarySide {
    pub(super) fn new(
        now: Instant,
        term: u64,
        opened: Opened,
        settings: &Settings,
    ) -> Result<Self, ProviderError> {
        let Opened {
            store,
            provider,
            sector,
            ..
        } = opened;
        // The provider was read in full.
        let short = |_| ProviderError::Block(BlockError::Short { have: 0 });
        let config = config(settings, sector);
        let mut machine = Primary::new(config, provider).map_err(short)?;
        machine.handle(now, Input::Start);
        Ok(Self {
            machine,
            term,
            geometry: store.geometry(),
            store: Some(store),
            sector,
            disk: Disk::default(),
            attempt: None,
            session: None,
            outbox: Outbox::new(settings),
            held: VecDeque::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            copying: None,
            stopping: false,
            stopped: false,
        })
    }

    pub(super) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) const fn size(&self) -> Length {
        self.machine.metadata().layout.data_len()
    }

    pub(super) const fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn configure(&mut self, now: Instant, settings: &Settings, moved: bool) {
        let config = config(settings, self.sector);
        self.machine.handle(now, Input::Configure(config));
        self.outbox.configure(settings);
        if let Some(store) = &self.store {
            store.set_metaflush(settings.metaflush);
        }
        if moved {
            if let Some(session) = &self.session {
                self.machine.handle(now, Input::Closed(session.id));
            }
            if let Some(attempt) = self.attempt.take() {
                let failed = Input::ConnectFailed(attempt.id, Failure::Closed(Which::First));
                self.machine.handle(now, failed);
            }
        }
    }

    /// Takes the answer to a wish to go on alone.
    pub(super) fn permit(&mut self, now: Instant, wish: u64, until: Option<Instant>) {
        // The machine of another term of the role counts its wishes anew.
        let Some(wish) = wish.checked_sub(self.term << WISH_BITS) else {
            return;
        };
        let time = until.map(|until| until.saturating_duration_since(now));
        self.machine.handle(now, Input::Permit(WishId(wish), time));
    }

    pub(super) fn revoke(&mut self, now: Instant) {
        self.machine.handle(now, Input::Revoke);
    }

    /// Takes a request of the device.
    pub(super) fn call(&mut self, call: Call) {
        if self.stopping || call.term != self.term {
            call.refuse();
        } else {
            self.held.push_back(call);
        }
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.stopping = true;
        self.held.drain(..).for_each(Call::refuse);
        self.machine.handle(now, Input::Stop);
    }

    /// Whether it was stopped, the peer has what was acknowledged, and the disk has come to rest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stopped && self.disk.pending() == 0
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let machine = self.machine.poll_timeout();
        let attempt = self.attempt.as_ref().and_then(Attempt::deadline);
        machine.into_iter().chain(attempt).min()
    }

    pub(super) fn on_disk(&mut self, now: Instant, ticket: Ticket, result: Result<Bytes, Errno>) {
        self.disk.ended();
        self.disk_ended(now, ticket, result);
    }

    fn disk_ended(&mut self, now: Instant, ticket: Ticket, result: Result<Bytes, Errno>) {
        if let Ticket::Machine(id) = ticket {
            self.machine.handle(now, Input::Disk(id, result));
        }
    }

    /// Lets go of a disk that has failed, so that it can be opened again.
    pub(super) fn detach(&mut self) -> Result<(), AttachError> {
        if !matches!(self.machine.copy(), LocalCopy::Failed { .. }) || self.stopping {
            return Err(AttachError::NotFailed);
        }
        match self.disk.pending() {
            0 => {
                self.store = None;
                Ok(())
            }
            operations => Err(AttachError::DiskBusy { operations }),
        }
    }

    pub(super) fn on_attached(
        &mut self,
        now: Instant,
        result: Result<Opened, ProviderError>,
        common: &Common,
    ) -> Result<(), AttachError> {
        let Opened {
            store,
            provider,
            sector,
            recovered,
        } = result?;
        if self.stopping || self.disk.pending() > 0 {
            return Err(AttachError::NotFailed);
        }
        if recovered {
            common.tell(EventKind::Recovered);
        }
        // Users of the device were told its sectors.
        if sector != self.sector {
            return Err(AttachError::Refused);
        }
        self.machine.handle(now, Input::Attach(provider));
        if matches!(self.machine.copy(), LocalCopy::Failed { .. }) {
            return Err(AttachError::Refused);
        }
        self.store = Some(store);
        Ok(())
    }

    /// Goes once through everything; whether there may be more to do.
    pub(super) fn pass(&mut self, cx: &mut Context<'_>, now: Instant, common: &mut Common) -> bool {
        let mut busy = self.take_calls(now, common);
        busy |= self.pass_attempt(cx, now, common);
        busy |= self.receive(cx, now);
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
        }
        busy |= self.drain(now, common);
        self.flush(cx, now);
        if self.stopping {
            for ticket in self.disk.give_up() {
                self.disk_ended(now, ticket, Err(Errno::ECANCELED));
                busy = true;
            }
        }
        let store = self.store.as_ref();
        for (ticket, result) in self.disk.run(cx, store, &mut common.tasks) {
            busy = true;
            self.disk_ended(now, ticket, result);
        }
        busy || self.disk.is_waiting()
    }

    #[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
    fn take_calls(&mut self, now: Instant, common: &Common) -> bool {
        let mut busy = false;
        while !self.held.is_empty() && !self.machine.is_full() {
            let Some(Call { request, reply, .. }) = self.held.pop_front() else {
                break;
            };
            busy = true;
            let id = RequestId(self.next_call);
            self.next_call = self.next_call.wrapping_add(1);
            let taken = Taken {
                reply,
                #[cfg(feature = "metrics")]
                timer: common.meter.timer(now, &request),
            };
            self.calls.insert(id, taken);
            self.machine.handle(now, Input::Request(id, request));
        }
        busy
    }

    /// Does what the machine wants, until as much is to be sent as a pass compresses: so the
    /// peer gets the first of it while the rest is still being made ready.
    fn drain(&mut self, now: Instant, common: &mut Common) -> bool {
        let mut busy = false;
        let mut sent = 0_usize;
        while sent < PASS {
            if let Some(output) = self.machine.poll_output() {
                if let Output::Send(_, Request::Write { length, .. }) = &output {
                    sent = sent.saturating_add(length.to_usize().unwrap_or(PASS));
                }
                self.on_output(now, output, common);
            } else if !self.drain_attempt(now, common) {
                return busy;
            }
            busy = true;
        }
        true
    }

    fn on_output(&mut self, now: Instant, output: Output, common: &mut Common) {
        match output {
            Output::Disk(id, operation) => self.disk.push(Ticket::Machine(id), operation),
            Output::Connect(id, header) => self.connect(now, id, header, common),
            Output::Identity(id, identity) => self.identify(now, id, identity),
            Output::Send(id, request) => self.send(id, request),
            Output::Disconnect(id) => {
                self.session.take_if(|session| session.id == id);
                self.attempt.take_if(|attempt| attempt.id == id);
            }
            Output::Completed(id, result) => {
                if let Some(taken) = self.calls.remove(&id) {
                    #[cfg(feature = "metrics")]
                    taken.timer.ended(now);
                    // Whoever asked may have gone.
                    let _ = taken.reply.send(result);
                }
            }
            Output::Event(event) => self.tell(now, event, common),
            Output::Stopped => self.stopped = true,
        }
    }

    fn tell(&mut self, now: Instant, event: Event, common: &mut Common) {
        if let Event::Connected(_) = event {
            common.split = None;
        }
        let hook = match &event {
            Event::Connected(_) => Some(HookEvent::Connect),
            Event::Disconnected(_) => Some(HookEvent::Disconnect),
            Event::ConnectFailed(Failure::Refused(refused))
                if refused.reason == Refusal::SplitBrain =>
            {
                Some(HookEvent::SplitBrain)
            }
            Event::CopyStarted { from_peer, .. } => {
                self.copying = Some(Copying {
                    since: now,
                    copied_before: self.machine.stats().copied,
                    from_peer: *from_peer,
                });
                Some(HookEvent::SyncStart)
            }
            // Not if there was nothing to copy.
            Event::CopyDone => self.copying.take().map(|_| HookEvent::SyncDone),
            Event::CopyInterrupted { .. } => {
                self.copying = None;
                Some(HookEvent::SyncInterrupted)
            }
            _ => None,
        };
        common.tell_with(EventKind::Primary(event), hook);
    }
}

/// What the machine is to do.
fn config(settings: &Settings, sector: SectorSize) -> Config {
    Config {
        sector,
        partner: match settings.remote {
            Some(_) => Partner::Configured,
            None => Partner::None,
        },
        give_way: settings.give_way(),
        ..settings.primary.clone()
    }
}

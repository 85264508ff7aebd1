//! A secondary: its disk, and one session after the other.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::format;
use std::sync::Arc;

use bytes::Bytes;
use hast_proto::handshake::Established;
use hast_proto::handshake::accepting;
use hast_proto::hooks::HookEvent;
use hast_proto::primary::Provider;
use hast_proto::secondary::{Config, End, Event, Input, Output, Secondary};
use hast_proto::{
    Consistency, DiskOperation, Errno, Layout, Length, Metadata, SectorSize, SyncSource, Version,
};
use tokio::time::Instant;

use super::super::event::EventKind;
use super::super::link::{Broken, Link};
use super::super::provider::{Opened, ProviderError, Store};
use super::super::resource::SecondaryStatus;
use super::super::settings::Settings;
use super::disk::{Disk, Ticket};
use super::door::Door;
use super::outbox::Outbox;
use super::{Common, Done};

/// How many octets of replies may wait to be sent before no more requests are read. A peer that
/// takes none is then taken for dead.
const REPLIES: usize = 8 << 20;

/// What a secondary needs.
pub(super) struct SecondarySide {
    store: Arc<Store>,
    sector: SectorSize,
    metadata: Metadata,
    consistency: Consistency,
    /// What could not be stored of it.
    unmarked: Option<Consistency>,
    disk: Disk,
    session: Option<Session>,
    outbox: Outbox,
    preparing: Preparing,
    stopped: bool,
}

/// How far the answer to [`accepting::Output::Prepare`] is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Preparing {
    No,
    /// A session must end first.
    Ending,
    /// The map is being read.
    Reading,
}

struct Session {
    machine: Secondary<Instant>,
    version: Version,
    peer: SocketAddr,
    source: SyncSource,
    /// For requests, and for replies, until they are closed.
    links: Option<(Link, Link)>,
}

impl SecondarySide {
    pub(super) fn new(opened: Opened, settings: &Settings) -> Self {
        let Provider {
            metadata,
            consistency,
            ..
        } = opened.provider;
        Self {
            store: opened.store,
            sector: opened.sector,
            metadata,
            consistency,
            unmarked: None,
            disk: Disk::default(),
            session: None,
            outbox: Outbox::new(settings),
            preparing: Preparing::No,
            stopped: false,
        }
    }

    pub(super) const fn layout(&self) -> Layout {
        self.metadata.layout
    }

    pub(super) const fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn configure(&mut self, now: Instant, settings: &Settings, moved: bool) {
        self.outbox.configure(settings);
        self.store.set_metaflush(settings.metaflush);
        if let (true, Some(session)) = (moved, &mut self.session) {
            session.machine.handle(now, Input::Stop);
        }
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.stopped = true;
        if let Some(session) = &mut self.session {
            session.machine.handle(now, Input::Stop);
        }
    }

    /// Whether it was stopped, and the disk has come to rest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stopped && self.session.is_none() && self.disk.pending() == 0
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.session.as_ref()?.machine.poll_timeout()
    }

    /// Ends the running session, and reads what the answer to a peer needs.
    pub(super) fn prepare(&mut self, now: Instant, common: &mut Common) {
        match &mut self.session {
            Some(session) => {
                self.preparing = Preparing::Ending;
                session.machine.handle(now, Input::Stop);
            }
            None => self.read_map(common),
        }
    }

    fn read_map(&mut self, common: &mut Common) {
        self.preparing = Preparing::Reading;
        let store = Arc::clone(&self.store);
        common
            .tasks
            .spawn(async move { Done::Reloaded(store.reload().await) });
    }

    pub(super) fn on_reloaded(
        &mut self,
        now: Instant,
        result: Result<Provider, ProviderError>,
        door: &mut Door,
    ) {
        self.preparing = Preparing::No;
        let input = match result {
            Ok(provider) => {
                self.metadata = provider.metadata.clone();
                self.consistency = provider.consistency;
                accepting::Input::Ready {
                    metadata: provider.metadata,
                    map: provider.map,
                    consistency: provider.consistency,
                }
            }
            Err(error) => accepting::Input::Unavailable(format!("{error}").into()),
        };
        door.handle(now, input);
    }

    /// Stores the identity that the door adopts.
    pub(super) fn store(&mut self, metadata: Metadata) {
        self.metadata = metadata.clone();
        let store = DiskOperation::StoreMetadata(metadata);
        self.disk.push(Ticket::Door, store);
    }

    pub(super) fn establish(
        &mut self,
        now: Instant,
        established: &Established,
        links: ((Link, SocketAddr), (Link, SocketAddr)),
        common: &Common,
    ) {
        if self.stopped {
            // Nobody would end the session: its links close here.
            return;
        }
        let ((first, peer), (second, _)) = links;
        let Established {
            version,
            rule,
            source,
            keep_map,
            ..
        } = *established;
        let longest = Length::new(self.store.geometry().longest.get().into());
        let settings = &common.settings.primary;
        let defaults = Config::new(self.metadata.layout, source, self.consistency);
        let mut machine = Secondary::new(Config {
            sector: self.sector,
            max_transfer: Length::MAX_TRANSFER_13.min(longest),
            // A primary that has nothing to do says so once in a keepalive.
            timeout: settings.timeout.max(settings.keepalive.saturating_mul(2)),
            settle: Some(settings.keepalive.saturating_mul(2).max(SETTLE)),
            keep_map,
            ..defaults
        });
        machine.handle(now, Input::Start);
        self.session = Some(Session {
            machine,
            version,
            peer,
            source,
            links: Some((first, second)),
        });
        let begun = EventKind::SessionBegun {
            peer,
            version,
            rule,
        };
        common.tell_with(begun, Some(HookEvent::Connect));
    }

    pub(super) fn on_disk(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<Bytes, Errno>,
        door: &mut Door,
    ) {
        self.disk.ended();
        self.disk_ended(now, ticket, result, door);
    }

    fn disk_ended(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<Bytes, Errno>,
        door: &mut Door,
    ) {
        match (ticket, &mut self.session) {
            (Ticket::Machine(id), Some(session)) => {
                session.machine.handle(now, Input::Disk(id, result));
            }
            (Ticket::Machine(_), None) => {}
            (Ticket::Door, _) => {
                let stored = result.map(|_| ());
                door.handle(now, accepting::Input::Stored(stored));
            }
        }
    }

    /// Goes once through everything; whether there may be more to do.
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        common: &mut Common,
        door: &mut Door,
    ) -> bool {
        let mut busy = false;
        if let Some(session) = &mut self.session {
            busy |= session.receive(cx, now);
            if session.machine.poll_timeout().is_some_and(|due| due <= now) {
                session.machine.handle_timeout(now);
            }
        }
        busy |= self.drain(common);
        if let Some(session) = &mut self.session {
            busy |= session.flush(cx, now);
        }
        for (ticket, result) in self.disk.run(cx, Some(&self.store), &mut common.tasks) {
            busy = true;
            self.disk_ended(now, ticket, result, door);
        }
        busy || self.disk.is_waiting()
    }

    /// Does what the session wants.
    fn drain(&mut self, common: &mut Common) -> bool {
        let mut busy = false;
        while let Some(session) = &mut self.session {
            let Some(output) = session.machine.poll_output() else {
                break;
            };
            busy = true;
            match output {
                Output::Disk(id, operation) => self.disk.push(Ticket::Machine(id), operation),
                Output::Reply(reply) => {
                    if let Some((_, second)) = &mut session.links {
                        second.push(self.outbox.reply(reply, session.version));
                    }
                }
                Output::Close => {
                    // What has been answered may still be told.
                    if let Some((_, second)) = session.links.take() {
                        common.close(second);
                    }
                }
                Output::Ended(end) => self.ended(end, common),
                Output::Event(event) => {
                    if let Event::Consistency(consistency) = event {
                        self.consistency = consistency;
                    }
                    common.tell(EventKind::Secondary(event));
                }
            }
        }
        busy
    }

    fn ended(&mut self, end: End, common: &mut Common) {
        let session = self.session.take();
        if let Some(heard) = session.and_then(|session| session.machine.heard()) {
            let is_lost = matches!(end, End::Mark(_));
            self.unmarked = Some(heard).filter(|_| is_lost);
        }
        // HAST §10.1: not if it was ended from here.
        let hook = (end != End::Stopped).then_some(HookEvent::Disconnect);
        common.tell_with(EventKind::SessionEnded(end), hook);
        if self.preparing == Preparing::Ending {
            self.read_map(common);
        }
    }

    pub(super) fn status(&self) -> SecondaryStatus {
        let session = self.session.as_ref();
        SecondaryStatus {
            metadata: self.metadata.clone(),
            consistency: self.consistency,
            session: session.map(|session| (session.peer, session.source)),
            heard: session
                .and_then(|session| session.machine.heard())
                .or(self.unmarked),
            stats: session.map(|it| it.machine.stats()).unwrap_or_default(),
            pending: session.map_or(0, |it| it.machine.pending()),
        }
    }

    /// Whether both connections of a session are open.
    pub(super) fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|it| it.links.is_some())
    }
}

/// A real primary that has sent no step of its synchronisation for so long has finished it.
const SETTLE: Duration = Duration::from_secs(20);

impl Session {
    /// Takes what the peer has sent.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some((first, second)) = &mut self.links else {
            return false;
        };
        first.refill();
        let mut busy = false;
        let mut ended = None;
        while !self.machine.is_full() && second.queued() < REPLIES {
            match first.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => {
                    busy = true;
                    self.machine.handle(now, Input::Frame(frame));
                }
                Poll::Ready(Err(broken)) => {
                    ended = Some(match broken {
                        Broken::Closed | Broken::Failed(_) => Input::Closed,
                        Broken::Invalid(error) => Input::Invalid(error),
                    });
                    break;
                }
                Poll::Pending => {
                    busy |= first.is_exhausted();
                    break;
                }
            }
        }
        if ended.is_none() && second.poll_closed(cx).is_ready() {
            ended = Some(Input::Closed);
        }
        if let Some(input) = ended {
            busy = true;
            self.machine.handle(now, input);
        }
        busy
    }

    /// Sends replies; whether that has made room for requests.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some((first, second)) = &mut self.links else {
            return false;
        };
        let was_full = second.queued() >= REPLIES;
        // On the first there may still be the answer to the handshake.
        let flushed = [first.poll_flush(cx), second.poll_flush(cx)];
        if flushed.iter().any(|it| matches!(it, Poll::Ready(Err(_)))) {
            self.machine.handle(now, Input::Closed);
            return true;
        }
        was_full && second.queued() < REPLIES
    }
}

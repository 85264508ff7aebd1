//! The task of one resource: it gives the machines what has happened, and does what they want.
//!
//! Everything a resource waits for wakes the same task, which then goes through everything that
//! may have happened, in *passes*, until nothing is left to do:
//!
//! 1. commands, requests of the device, ends of disk operations and of attempts to connect,
//! 2. frames that have been received, and then deadlines,
//! 3. what the machines want: messages to the peer are written together, and only then
//! 4. the disk is asked, so that the peer works while the disk does.
//!
//! A disk operation that the page cache can answer ends where it begins, and is told in the next
//! pass.

mod access;
mod discard;
mod disk;
mod door;
mod message;
#[cfg(feature = "metrics")]
mod meter;
mod outbox;
mod primary;
mod role;
mod secondary;
mod status;

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use hast_proto::hooks::HookEvent;
use hast_proto::{ResourceName, Role};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};

pub(super) use self::access::Access;
use self::discard::Discarding;
use self::door::Door;
use self::message::Done;
pub(super) use self::message::{Call, Incoming, Message};
use self::primary::PrimarySide;
use self::role::Change;
use self::secondary::SecondarySide;
use super::super::clock::{self, within};
use super::backing::Backing;
use super::device::Device;
use super::event::{Event, EventKind};
use super::link::Link;
use super::resource::{AttachError, Command, DeviceError, Resource};
use super::settings::Settings;
use super::shared::Shared;
use super::split::Split;

/// How many passes one turn of the task takes before it lets others have theirs.
const PASSES: usize = 64;
/// How long names are not resolved again because somebody unknown has knocked.
const RESOLVED: Duration = Duration::from_secs(10);
/// How long a connection may take to send what is left before it is closed.
const CLOSING: Duration = Duration::from_secs(2);
/// How many octets may be left then. Some thousand answers are less; data that a peer has asked
/// for and does not take are more, and every session it leaves would hold them.
const LEFT: usize = 256 * 1024;

/// Starts the task of a resource.
pub(super) fn spawn(
    name: ResourceName,
    settings: Settings,
    backing: Box<dyn Backing>,
    shared: Shared,
) -> (Resource, Arc<Access>, AbortHandle) {
    let (messages, inbox) = mpsc::unbounded_channel();
    let access = Arc::new(Access::default());
    let engine = Engine {
        messages: messages.downgrade(),
        inbox,
        door: Door::new(&settings),
        common: Common {
            name: name.clone(),
            settings,
            shared,
            tasks: JoinSet::new(),
            split: None,
            #[cfg(feature = "metrics")]
            meter: meter::Meter::new(&name),
        },
        backing: backing.into(),
        access: Arc::clone(&access),
        resolved: None,
        role: Role::Init,
        stage: Stage::Init,
        change: None,
        discarding: None,
        terms: 0,
        alarm: Box::pin(clock::alarm()),
        armed: None,
    };
    let task = tokio::spawn(engine).abort_handle();
    (Resource::new(name, messages), access, task)
}

/// What all parts of the task use.
struct Common {
    name: ResourceName,
    settings: Settings,
    shared: Shared,
    tasks: JoinSet<Done>,
    /// A split brain that waits for an operator.
    split: Option<Split>,
    #[cfg(feature = "metrics")]
    meter: meter::Meter,
}

impl Common {
    fn tell(&self, kind: EventKind) {
        self.tell_with(kind, None);
    }

    fn tell_with(&self, kind: EventKind, hook: Option<HookEvent>) {
        self.shared.tell(Event::of(&self.name, kind, hook));
    }

    /// Both nodes have written alone.
    fn tell_split_brain(&mut self, peer: Option<SocketAddr>, split: Split) {
        let found = split.told;
        let known = self.split.replace(split);
        // Not again at each attempt of the primary.
        if known.is_none_or(|known| known.told != found) {
            self.tell(EventKind::SplitBrain { peer, found });
        }
    }

    /// Closes a connection after what it has to send, if that is little, and takes no time to
    /// speak of.
    fn close(&mut self, link: Link) {
        if link.queued() > LEFT {
            return;
        }
        self.tasks.spawn(async move {
            within(CLOSING, link.close()).await;
            Done::Closed
        });
    }
}

/// What the present role needs.
enum Stage {
    Init,
    Primary(Box<PrimarySide>),
    Secondary(Box<SecondarySide>),
}

/// The task.
struct Engine {
    messages: mpsc::WeakUnboundedSender<Message>,
    inbox: mpsc::UnboundedReceiver<Message>,
    door: Door,
    common: Common,
    backing: Arc<dyn Backing>,
    access: Arc<Access>,
    /// When names were resolved last.
    resolved: Option<Instant>,
    role: Role,
    stage: Stage,
    change: Option<Change>,
    discarding: Option<Discarding>,
    /// How often this node has become primary.
    terms: u64,
    alarm: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Future for Engine {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let engine = self.get_mut();
        if engine.resolved.is_none() {
            engine.resolve(clock::now());
        }
        for _ in 0..PASSES {
            let now = clock::now();
            let Some(mut busy) = engine.take_messages(cx, now) else {
                return Poll::Ready(());
            };
            busy |= engine.take_done(cx, now);
            busy |= engine.pass(cx, now);
            engine.advance_discard(now);
            engine.advance_change(now);
            // Once more, as what was begun in this pass was not waited for yet.
            busy |= engine.take_done(cx, now);
            #[cfg(feature = "metrics")]
            engine.tell_figures(now);
            if !busy && engine.wait(cx, now).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Engine {
    /// Takes what others have told; `None` when nobody is left who could.
    fn take_messages(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<bool> {
        let mut busy = false;
        while let Poll::Ready(message) = self.inbox.poll_recv(cx) {
            busy = true;
            match message? {
                Message::Call(call) => match &mut self.stage {
                    Stage::Primary(side) => side.call(call),
                    Stage::Init | Stage::Secondary(_) => call.refuse(),
                },
                Message::Command(command) => self.on_command(now, command),
                Message::Incoming(incoming) => {
                    self.door.on_incoming(now, *incoming, &mut self.common);
                }
                Message::Resolve => {
                    let recently = |at: Instant| now.saturating_duration_since(at) < RESOLVED;
                    if !self.resolved.is_some_and(recently) {
                        self.resolve(now);
                    }
                }
            }
        }
        Some(busy)
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::SetRole(role, reply) => self.set_role(now, role, reply),
            Command::Configure(settings, reply) => {
                self.configure(now, *settings);
                let _ = reply.send(());
            }
            Command::Attach(reply) => self.attach(reply),
            Command::Discard(order, reply) => self.discard(now, *order, reply),
            Command::Status(reply) => {
                let _ = reply.send(Box::new(self.status(now)));
            }
            Command::Device(reply) => {
                let _ = reply.send(self.device());
            }
            Command::Permit(wish, until) => {
                if let Stage::Primary(side) = &mut self.stage {
                    side.permit(now, wish, until);
                }
            }
            Command::Revoke => {
                if let Stage::Primary(side) = &mut self.stage {
                    side.revoke(now);
                }
            }
        }
    }

    fn device(&self) -> Result<Arc<dyn super::super::block::BlockDevice>, DeviceError> {
        let Some(messages) = self.messages.upgrade() else {
            return Err(super::resource::Ended.into());
        };
        match &self.stage {
            Stage::Primary(side) if self.change.is_none() => {
                let (below, size) = (side.geometry(), side.size());
                Ok(Arc::new(Device::new(messages, self.terms, below, size)))
            }
            Stage::Init | Stage::Primary(_) | Stage::Secondary(_) => {
                Err(DeviceError::Role(self.role))
            }
        }
    }

    fn configure(&mut self, now: Instant, settings: Settings) {
        let moved = !settings.is_same_peer(&self.common.settings);
        self.common.settings = settings;
        match &mut self.stage {
            Stage::Init => {}
            Stage::Primary(side) => side.configure(now, &self.common.settings, moved),
            Stage::Secondary(side) => side.configure(now, &self.common.settings, moved),
        }
        self.door.configure(now, &self.common.settings, moved);
        if moved {
            self.access.set(Vec::new());
            self.resolve(now);
        }
    }

    /// Finds out who may connect.
    fn resolve(&mut self, now: Instant) {
        self.resolved = Some(now);
        let Some(remote) = self.common.settings.remote.clone() else {
            self.access.set(Vec::new());
            return;
        };
        if let Some(address) = remote.literal() {
            self.access.set([address.to_canonical()].into());
            return;
        }
        self.common.tasks.spawn(async move {
            let found = remote.resolve().await.unwrap_or_default();
            let addresses = found.iter().map(|found| found.ip().to_canonical());
            Done::Resolved(addresses.collect())
        });
    }

    fn take_done(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut busy = false;
        // A task that was aborted, as attempts to connect are, has nothing to tell.
        while let Poll::Ready(Some(done)) = self.common.tasks.poll_join_next(cx) {
            if let Ok(done) = done {
                busy = true;
                self.on_done(now, done);
            }
        }
        busy
    }

    fn on_done(&mut self, now: Instant, done: Done) {
        match (done, &mut self.stage) {
            (Done::Disk(ticket, result), Stage::Primary(side)) => {
                side.on_disk(now, ticket, result);
            }
            (Done::Disk(ticket, result), Stage::Secondary(side)) => {
                side.on_disk(now, ticket, result, &mut self.door);
            }
            (Done::Dialled(id, which, result), Stage::Primary(side)) => {
                side.on_dialled(now, id, which, result, &self.common);
            }
            (Done::Reloaded(result), Stage::Secondary(side)) => {
                side.on_reloaded(now, result, &mut self.door);
            }
            (Done::Attached(result, reply), Stage::Primary(side)) => {
                let _ = reply.send(side.on_attached(now, result, &self.common));
            }
            (Done::Attached(_, reply), _) => {
                let _ = reply.send(Err(AttachError::NotFailed));
            }
            (Done::Opened(result), _) => self.on_opened(now, result),
            (Done::Discarded(outcome, reply), _) => self.end_discard(outcome, reply),
            (Done::Resolved(addresses), _) => {
                // A resolver that fails for a moment locks nobody out.
                if !addresses.is_empty() {
                    self.access.set(addresses);
                }
            }
            (Done::Disk(..) | Done::Dialled(..) | Done::Reloaded(_) | Done::Closed, _) => {}
        }
    }

    fn attach(&mut self, reply: oneshot::Sender<Result<(), AttachError>>) {
        let Stage::Primary(side) = &mut self.stage else {
            let _ = reply.send(Err(AttachError::NotFailed));
            return;
        };
        if let Err(error) = side.detach() {
            let _ = reply.send(Err(error));
            return;
        }
        let opening = self.open();
        self.common
            .tasks
            .spawn(async move { Done::Attached(opening.await, reply) });
    }

    /// One pass through links, machines and disk; whether another may find something to do.
    fn pass(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self {
            door,
            common,
            stage,
            ..
        } = self;
        let mut busy = door.pass(cx, now, common, stage);
        busy |= match stage {
            Stage::Init => false,
            Stage::Primary(side) => side.pass(cx, now, common),
            Stage::Secondary(side) => side.pass(cx, now, common, door),
        };
        busy
    }

    #[cfg(feature = "metrics")]
    fn tell_figures(&mut self, now: Instant) {
        if self.common.meter.is_due(now) {
            self.common.meter.tell(&self.status(now));
        }
    }

    /// Waits for the earliest deadline; ready if it has come.
    fn wait(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let own = match &self.stage {
            Stage::Init => None,
            Stage::Primary(side) => side.deadline(),
            Stage::Secondary(side) => side.deadline(),
        };
        let change = self.change.as_ref().and_then(Change::deadline);
        let discarding = self.discarding.as_ref().and_then(Discarding::deadline);
        #[cfg(feature = "metrics")]
        let own = [own, self.common.meter.deadline()]
            .into_iter()
            .flatten()
            .min();
        let deadlines = [own, change, discarding, self.door.deadline()];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if deadline <= now {
            return Poll::Ready(());
        }
        // Deadlines mostly move away, with each message: the alarm may ring too early, and is
        // then set again. So a message costs no change of a timer.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.alarm.as_mut().reset(deadline);
            self.armed = Some(deadline);
        }
        ready!(self.alarm.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}

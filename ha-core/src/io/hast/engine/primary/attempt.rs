//! An attempt of a primary to begin a session.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use hast_proto::frame::{Encoder, Phase};
use hast_proto::handshake::connecting::{Config, Input, Output, Which};
use hast_proto::handshake::{Identity, PrimaryHandshake};
use hast_proto::primary::{self, SessionId};
use hast_proto::{ResourceId, Version};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::super::super::clock::{self, within};
use super::super::super::address::NetAddress;
use super::super::super::channel::{self, Wrapping};
use super::super::super::event::EventKind;
use super::super::super::link::{Broken, Link};
use super::super::super::split::Split;
use super::super::super::tcp;
use super::super::{Common, Done};
use super::PrimarySide;

/// An attempt. A connection that is being made is given up when it is dropped.
pub(super) struct Attempt {
    pub(super) id: SessionId,
    machine: PrimaryHandshake<Instant>,
    first: Option<Link>,
    second: Option<Link>,
    /// Where the first connection leads; the second one must lead there, too.
    peer: Option<SocketAddr>,
    dialling: Option<AbortHandle>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(dialling) = &self.dialling {
            dialling.abort();
        }
    }
}

impl Attempt {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    const fn link(&mut self, which: Which) -> &mut Option<Link> {
        match which {
            Which::First => &mut self.first,
            Which::Second => &mut self.second,
        }
    }

    /// Takes the links out, ready for a session.
    pub(super) fn into_links(mut self) -> Option<(Link, Link, SocketAddr)> {
        let (first, mut second) = (self.first.take()?, self.second.take()?);
        second.enter(Phase::Reply);
        Some((first, second, self.peer?))
    }

    /// Takes what has come; whether anything has.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant, common: &Common) -> bool {
        let mut busy = false;
        for which in [Which::First, Which::Second] {
            let Some(link) = self.link(which) else {
                continue;
            };
            link.refill();
            let input = match link.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => Input::Frame(which, frame),
                Poll::Ready(Err(Broken::Invalid(error))) => Input::Invalid(which, error),
                Poll::Ready(Err(broken @ (Broken::Closed | Broken::Failed(_)))) => {
                    *self.link(which) = None;
                    if let (Broken::Failed(error), Some(peer)) = (broken, self.peer) {
                        if let Some(failure) = channel::failure(peer, error) {
                            common.tell(failure);
                        }
                    }
                    // A peer that refuses closes both, and says why on the first.
                    match which {
                        Which::Second if self.first.is_some() => continue,
                        Which::First | Which::Second => Input::Closed(which),
                    }
                }
                Poll::Pending => {
                    busy |= link.is_exhausted();
                    continue;
                }
            };
            busy = true;
            self.machine.handle(now, input);
        }
        busy
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) {
        for which in [Which::First, Which::Second] {
            if let Some(link) = self.link(which) {
                if let Poll::Ready(Err(_)) = link.poll_flush(cx) {
                    self.machine.handle(now, Input::Closed(which));
                }
            }
        }
    }
}

impl PrimarySide {
    pub(super) fn connect(
        &mut self,
        now: Instant,
        id: SessionId,
        header: Version,
        common: &Common,
    ) {
        let mut machine = PrimaryHandshake::new(Config {
            resource: common.name.clone(),
            layout: self.machine.metadata().layout,
            header,
            timeout: common.settings.primary.timeout,
        });
        machine.handle(now, Input::Start);
        self.attempt = Some(Attempt {
            id,
            machine,
            first: None,
            second: None,
            peer: None,
            dialling: None,
        });
    }

    pub(super) fn identify(&mut self, now: Instant, id: SessionId, identity: Identity) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) {
            attempt.machine.handle(now, Input::Identity(identity));
        }
    }

    pub(in super::super) fn on_dialled(
        &mut self,
        now: Instant,
        id: SessionId,
        which: Which,
        result: Result<(Link, SocketAddr), Box<EventKind>>,
        common: &Common,
    ) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) else {
            return;
        };
        attempt.dialling = None;
        match result {
            Ok((link, peer)) => {
                attempt.peer = Some(peer);
                *attempt.link(which) = Some(link);
                attempt.machine.handle(now, Input::Connected(which));
            }
            Err(why) => {
                common.tell(*why);
                attempt.machine.handle(now, Input::Closed(which));
            }
        }
    }

    pub(super) fn pass_attempt(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        common: &mut Common,
    ) -> bool {
        let Some(attempt) = &mut self.attempt else {
            return false;
        };
        let busy = attempt.receive(cx, now, common);
        if attempt.deadline().is_some_and(|due| due <= now) {
            attempt.machine.handle_timeout(now);
        }
        let drained = self.drain_attempt(now, common);
        if let Some(attempt) = &mut self.attempt {
            attempt.flush(cx, now);
        }
        busy || drained
    }

    /// Does what the handshake wants; whether it wanted anything.
    pub(super) fn drain_attempt(&mut self, now: Instant, common: &mut Common) -> bool {
        let mut busy = false;
        while let Some(attempt) = &mut self.attempt {
            let Some(output) = attempt.machine.poll_output() else {
                break;
            };
            busy = true;
            let id = attempt.id;
            match output {
                Output::Connect(which) => attempt.dial(which, now, common),
                Output::Send(which, version, opening) => {
                    if let Some(link) = attempt.link(which) {
                        link.push(opening.encode(version, &mut Encoder::new()));
                    }
                }
                Output::NeedIdentity => {
                    // Without a random number there is no identity; the attempt times out.
                    if let Some(fresh) = fresh_id() {
                        let identify = primary::Input::Identify(id, fresh);
                        self.machine.handle(now, identify);
                    }
                }
                Output::SplitBrain(map) => {
                    let own = self.machine.map();
                    let split = Split::new(*own.layout(), own.image(), map);
                    common.tell_split_brain(attempt.peer, split);
                }
                Output::Established(agreed) => {
                    if let Some(attempt) = self.attempt.take() {
                        self.establish(now, attempt, agreed);
                    }
                }
                Output::Failed(failure) => {
                    self.attempt = None;
                    let failed = primary::Input::ConnectFailed(id, failure);
                    self.machine.handle(now, failed);
                }
            }
        }
        busy
    }
}

impl Attempt {
    fn dial(&mut self, which: Which, now: Instant, common: &mut Common) {
        let settings = &common.settings;
        let Some(remote) = settings.remote.clone() else {
            self.machine.handle(now, Input::Closed(which));
            return;
        };
        let (id, peer) = (self.id, self.peer);
        let (source, timeout) = (settings.source.clone(), settings.primary.timeout);
        let wrapping = Wrapping::of(&common.name, settings, &common.shared);
        let dialling = common.tasks.spawn(async move {
            let dialled = dial(&remote, source.as_ref(), peer, &wrapping, timeout).await;
            Done::Dialled(id, which, dialled.map_err(Box::new))
        });
        self.dialling = Some(dialling);
    }
}

/// Connects to the peer: to where it was found before, or to the first of its addresses that
/// answers as it should.
async fn dial(
    remote: &NetAddress,
    source: Option<&NetAddress>,
    known: Option<SocketAddr>,
    wrapping: &Wrapping,
    timeout: Duration,
) -> Result<(Link, SocketAddr), EventKind> {
    let mut trying = known;
    let attempt = async {
        let nowhere = |error| unreachable(known, error);
        let addresses = match known {
            Some(known) => [known].into(),
            None => remote.resolve().await.map_err(nowhere)?,
        };
        let sources = match source {
            Some(source) => source.resolve().await.map_err(nowhere)?,
            None => std::vec::Vec::new(),
        };
        let mut last = nowhere(io::ErrorKind::NotFound.into());
        for address in addresses {
            let from = sources.iter().find(|it| it.is_ipv4() == address.is_ipv4());
            trying = Some(address);
            let wrapped = match tcp::connect(address, from.copied(), timeout).await {
                Ok(stream) => wrapping.wrap(stream, address).await,
                Err(error) => Err(unreachable(trying, error)),
            };
            match wrapped {
                Ok(link) => return Ok((link, address)),
                Err(why) => last = why,
            }
        }
        Err(last)
    };
    let result = within(timeout, attempt).await;
    result.unwrap_or_else(|| Err(unreachable(trying, io::ErrorKind::TimedOut.into())))
}

fn unreachable(address: Option<SocketAddr>, error: io::Error) -> EventKind {
    let error = Arc::new(error);
    EventKind::Unreachable { address, error }
}

fn fresh_id() -> Option<ResourceId> {
    // 0 is no identity.
    clock::secret()
        .map(u64::from_ne_bytes)
        .and_then(|id| ResourceId::new(id.max(1)))
}

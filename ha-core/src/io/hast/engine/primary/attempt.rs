//! An attempt of a primary to begin a session.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
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
use super::super::super::event::EventKind;
use super::super::super::link::{Broken, Link};
use super::super::super::split::Split;
use super::super::super::tcp;
use super::super::{Common, Done};
use super::PrimarySide;

/// Why no connection was made.
pub(in super::super) struct Undialled {
    address: Option<SocketAddr>,
    error: io::Error,
}

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
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut busy = false;
        for which in [Which::First, Which::Second] {
            let Some(link) = self.link(which) else {
                continue;
            };
            link.refill();
            let input = match link.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => Input::Frame(which, frame),
                Poll::Ready(Err(Broken::Invalid(error))) => Input::Invalid(which, error),
                Poll::Ready(Err(Broken::Closed)) => {
                    *self.link(which) = None;
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
        result: Result<(Link, SocketAddr), Undialled>,
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
            Err(Undialled { address, error }) => {
                let error = Arc::new(error);
                common.tell(EventKind::Unreachable { address, error });
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
        let busy = attempt.receive(cx, now);
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
        let dialling = common.tasks.spawn(async move {
            let dialled = dial(&remote, source.as_ref(), peer, timeout).await;
            let dialled = dialled.map(|(stream, peer)| (Link::new(stream, Phase::Answer), peer));
            Done::Dialled(id, which, dialled)
        });
        self.dialling = Some(dialling);
    }
}

/// Connects to the peer: to where it was found before, or to the first of its addresses that
/// answers.
async fn dial(
    remote: &NetAddress,
    source: Option<&NetAddress>,
    known: Option<SocketAddr>,
    timeout: Duration,
) -> Result<(tokio::net::TcpStream, SocketAddr), Undialled> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let mut last = Undialled {
        address: known,
        error: io::ErrorKind::NotFound.into(),
    };
    let attempt = async {
        let addresses = match known {
            Some(known) => [known].into(),
            None => remote.resolve().await?,
        };
        let sources = match source {
            Some(source) => source.resolve().await?,
            None => std::vec::Vec::new(),
        };
        for address in addresses {
            let from = sources.iter().find(|it| it.is_ipv4() == address.is_ipv4());
            last.address = Some(address);
            match tcp::connect(address, from.copied(), timeout).await {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last.error = error,
            }
        }
        Err(core::mem::replace(&mut last.error, late()))
    };
    let result = within(timeout, attempt).await;
    result
        .unwrap_or_else(|| Err(late()))
        .map_err(|error| Undialled {
            address: last.address,
            error,
        })
}

fn fresh_id() -> Option<ResourceId> {
    // 0 is no identity.
    clock::secret()
        .map(u64::from_ne_bytes)
        .and_then(|id| ResourceId::new(id.max(1)))
}

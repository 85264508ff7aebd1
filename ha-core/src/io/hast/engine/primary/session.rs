//! A session of a primary.

use core::net::SocketAddr;
use core::task::{Context, Poll};

use hast_proto::Version;
use hast_proto::handshake::connecting::Which;
use hast_proto::handshake::{Failure, Session as Agreed};
use hast_proto::message::Request;
use hast_proto::primary::{Input, SessionId};
use tokio::time::Instant;

use super::super::super::link::{Broken, Link};
use super::PrimarySide;
use super::attempt::Attempt;

/// A session.
pub(super) struct Session {
    pub(super) id: SessionId,
    version: Version,
    pub(super) peer: SocketAddr,
    /// For requests; nothing comes here.
    first: Link,
    /// For replies.
    second: Link,
    /// Requests that were not answered for good.
    pub(super) unanswered: u64,
}

impl Session {
    /// How many requests wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.first.waiting()
    }
}

impl PrimarySide {
    /// Takes what the peer has sent.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        let id = session.id;
        session.second.refill();
        let mut busy = false;
        let ended = loop {
            match session.second.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => {
                    busy = true;
                    if !frame.list().contains("received") {
                        session.unanswered = session.unanswered.saturating_sub(1);
                    }
                    self.machine.handle(now, Input::Frame(id, frame));
                }
                Poll::Ready(Err(Broken::Closed | Broken::Failed(_))) => {
                    break Some(Input::Closed(id));
                }
                Poll::Ready(Err(Broken::Invalid(error))) => break Some(Input::Invalid(id, error)),
                Poll::Pending => break None,
            }
        };
        let gone = session.first.poll_closed(cx).is_ready();
        let ended = ended.or(gone.then_some(Input::Closed(id)));
        busy |= session.second.is_exhausted() || ended.is_some();
        if let Some(input) = ended {
            self.session = None;
            self.machine.handle(now, input);
        }
        busy
    }

    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(session) = &mut self.session {
            if let Poll::Ready(Err(_)) = session.first.poll_flush(cx) {
                let id = session.id;
                self.session = None;
                self.machine.handle(now, Input::Closed(id));
            }
        }
    }

    pub(super) fn send(&mut self, id: SessionId, request: Request) {
        let Some(session) = self.session.as_mut().filter(|session| session.id == id) else {
            return;
        };
        if request.sequence().is_some() {
            session.unanswered = session.unanswered.saturating_add(1);
        }
        let frame = self.outbox.request(request, session.version);
        session.first.push(frame);
    }

    /// The handshake has succeeded.
    pub(super) fn establish(&mut self, now: Instant, attempt: Attempt, agreed: Agreed) {
        let id = attempt.id;
        match attempt.into_links() {
            Some((first, second, peer)) => {
                self.session = Some(Session {
                    id,
                    version: agreed.version,
                    peer,
                    first,
                    second,
                    unanswered: 0,
                });
                self.machine.handle(now, Input::Session(id, agreed));
            }
            None => {
                let failed = Failure::Closed(Which::First);
                self.machine.handle(now, Input::ConnectFailed(id, failed));
            }
        }
    }
}

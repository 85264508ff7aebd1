//! The peer: where things stand with it, requests and replies, and its loss.

use alloc::boxed::Box;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::{Config, Event, LocalCopy, Loss, Output, Primary, SessionId};
use crate::decision::Virgin;
use crate::frame::Frame;
use crate::handshake::{Failure, Session};
use crate::message::{Reply, Request};
use crate::types::{Errno, Length, Offset, Sequence, Version};

/// How long to wait after a session was lost.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// How long to wait when the peer has asked to (HAST §1.6): it gives its role up by closing a file
/// system or two, and until it has, nothing is served here.
pub(super) const ASKED: Duration = Duration::from_millis(100);

/// Where things stand with the peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage<T> {
    Waiting {
        retry_at: Option<T>,
    },
    Connecting {
        id: SessionId,
        deadline: T,
        /// Whether the handshake waits for the identity, and whether that is new.
        identify: Option<Virgin>,
    },
    Opening {
        id: SessionId,
        session: Box<Session>,
        /// Whether what the session needs is on its way to disk.
        storing: bool,
    },
    Up {
        id: SessionId,
        version: Version,
        heard: T,
        sent: T,
        /// Whether a sign of life was asked for.
        probed: bool,
    },
}

/// The peer, and the version it was last heard to speak.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Peer<T> {
    pub(super) stage: Stage<T>,
    pub(super) header: Version,
    /// Whether it was new when only it could have everything. It has taken over the identity
    /// by then, so that the next handshake does not tell.
    pub(super) is_empty: bool,
}

/// What a request to the peer is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// A WRITE or DELETE, of which one answer is awaited.
    Write {
        key: u64,
    },
    /// A WRITE of which "received" is awaited before.
    Memsync {
        key: u64,
    },
    Read {
        key: u64,
        part: usize,
        length: Length,
    },
    Flush {
        key: u64,
    },
    CopyRead {
        key: u64,
        length: Length,
    },
    CopyWrite {
        key: u64,
    },
    Probe {
        length: Length,
    },
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Peer<T> {
    pub(super) const fn new() -> Self {
        Self {
            stage: Stage::Waiting { retry_at: None },
            // HAST §1.3: the first header of a fresh primary has 1.
            header: Version::V1,
            is_empty: false,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up { .. })
    }

    pub(super) const fn is_opening(&self) -> bool {
        matches!(self.stage, Stage::Opening { .. })
    }

    pub(super) const fn has_memsync(&self) -> bool {
        match self.stage {
            Stage::Up { version, .. } => version.has_memsync(),
            Stage::Waiting { .. } | Stage::Connecting { .. } | Stage::Opening { .. } => false,
        }
    }

    const fn id(&self) -> Option<SessionId> {
        match self.stage {
            Stage::Waiting { .. } => None,
            Stage::Connecting { id, .. } | Stage::Opening { id, .. } | Stage::Up { id, .. } => {
                Some(id)
            }
        }
    }

    /// Returns when something is due.
    pub(super) fn deadline(&self, config: &Config) -> Option<T> {
        match self.stage {
            Stage::Waiting { retry_at } => retry_at,
            Stage::Connecting { deadline, .. } => Some(deadline),
            Stage::Opening { .. } => None,
            Stage::Up {
                heard,
                sent,
                probed,
                ..
            } => {
                let keepalive = sent + config.keepalive;
                let silence = if probed {
                    heard + config.timeout
                } else {
                    heard + config.timeout / 2
                };
                Some(keepalive.min(silence))
            }
        }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    /// Returns when the peer is given up for a request that it does not answer, though it
    /// answers others. On a slow connection the oldest one is never the same for long.
    pub(super) fn overdue_at(&self) -> Option<T> {
        let since = self.waiting_since.filter(|_| !self.asked.is_empty())?;
        Some(since + self.config.timeout)
    }

    pub(super) fn on_peer_timeout(&mut self, now: T) {
        let is_overdue = self.overdue_at().is_some_and(|overdue| overdue <= now);
        let config = &self.config;
        match &mut self.peer.stage {
            Stage::Waiting { retry_at } => {
                if retry_at.is_some_and(|retry| retry <= now) {
                    self.connect(now);
                }
            }
            Stage::Connecting { id, deadline, .. } => {
                if *deadline <= now {
                    let id = *id;
                    self.outputs.push_back(Output::Disconnect(id));
                    self.on_connect_failed(now, id, Failure::TimedOut);
                }
            }
            Stage::Opening { .. } => {}
            Stage::Up {
                id,
                heard,
                sent,
                probed,
                ..
            } => {
                if *heard + config.timeout <= now {
                    self.lose(now, Loss::Silent);
                } else if is_overdue {
                    self.lose(now, Loss::Unanswered);
                } else if !*probed && *heard + config.timeout / 2 <= now {
                    *probed = true;
                    let length = Length::new(config.sector.get().into());
                    self.ask(Asked::Probe { length }, |sequence| Request::Read {
                        sequence,
                        offset: Offset::ZERO,
                        length,
                    });
                } else if *sent + config.keepalive <= now {
                    *sent = now;
                    let keepalive = Output::Send(*id, Request::Keepalive);
                    self.outputs.push_back(keepalive);
                }
            }
        }
    }

    pub(super) fn wait(&mut self, now: T, delay: Duration) {
        let retry_at = Some(now + delay);
        self.peer.stage = Stage::Waiting { retry_at };
    }

    /// Sends a request, whose answer is for `asked`.
    pub(super) fn ask(&mut self, asked: Asked, request: impl FnOnce(Sequence) -> Request) {
        if self.asked.is_empty() {
            self.waiting_since = self.now;
        }
        let sequence = self.next_sequence;
        self.next_sequence = match sequence.next() {
            Sequence::SYNCHRONISATION => Sequence::SYNCHRONISATION.next(),
            next => next,
        };
        self.asked.insert(sequence, asked);
        self.send(request(sequence));
    }

    pub(super) fn send(&mut self, request: Request) {
        if let (Stage::Up { id, sent, .. }, Some(now)) = (&mut self.peer.stage, self.now) {
            *sent = now;
            let send = Output::Send(*id, request);
            self.outputs.push_back(send);
        }
    }

    pub(super) fn on_frame(&mut self, now: T, id: SessionId, frame: &Frame) {
        match &mut self.peer.stage {
            Stage::Up {
                id: own,
                heard,
                probed,
                ..
            } if *own == id => {
                *heard = now;
                *probed = false;
            }
            Stage::Opening { id: own, .. } if *own == id => {
                // Nothing was asked yet.
                self.lose(now, Loss::Unexpected { sequence: None });
                return;
            }
            Stage::Waiting { .. }
            | Stage::Connecting { .. }
            | Stage::Opening { .. }
            | Stage::Up { .. } => return,
        }
        let taken = Reply::decode(frame)
            .map_err(Loss::from)
            .and_then(|reply| self.take_reply(reply));
        if let Err(loss) = taken {
            self.lose(now, loss);
        }
    }

    /// Matches a reply with its request (HAST §3.2, §3.3). Whatever does not fit means that the
    /// peer is broken, or the stream out of step.
    fn take_reply(&mut self, reply: Reply) -> Result<(), Loss> {
        let sequence = reply.sequence();
        let unexpected = Loss::Unexpected { sequence };
        let sequence = sequence.ok_or(unexpected)?;
        let is_oldest = self.asked.first_key_value().map(|it| *it.0) == Some(sequence);
        let asked = self.asked.remove(&sequence).ok_or(unexpected)?;
        if is_oldest {
            self.waiting_since = self.now;
        }
        match (asked, reply) {
            (Asked::Memsync { key }, Reply::Received { .. }) => {
                self.asked.insert(sequence, Asked::Write { key });
                self.on_received(key);
                Ok(())
            }
            (_, Reply::Failed { error, .. }) => {
                self.event(Event::PeerError(error));
                self.answered(asked, Err(error));
                Ok(())
            }
            (
                Asked::Write { .. } | Asked::Flush { .. } | Asked::CopyWrite { .. },
                Reply::Done { .. },
            ) => {
                self.answered(asked, Ok(Bytes::new()));
                Ok(())
            }
            (
                Asked::Read { length, .. }
                | Asked::CopyRead { length, .. }
                | Asked::Probe { length },
                Reply::Data { payload, .. },
            ) => match payload.open(length) {
                Ok(data) => {
                    self.answered(asked, Ok(data));
                    Ok(())
                }
                Err(error) => {
                    // It is lost with the session, which ends the request, too.
                    self.asked.insert(sequence, asked);
                    Err(error.into())
                }
            },
            (_, Reply::Received { .. } | Reply::Done { .. } | Reply::Data { .. }) => {
                self.asked.insert(sequence, asked);
                Err(unexpected)
            }
        }
    }

    /// A request to the peer has ended, one way or another.
    fn answered(&mut self, asked: Asked, result: Result<Bytes, Errno>) {
        match asked {
            Asked::Write { key } | Asked::Memsync { key } => {
                self.on_remote_write(key, result.map(|_| ()));
            }
            Asked::Read { key, part, .. } => self.on_remote_read(key, part, result),
            Asked::Flush { key } => self.on_remote_flush(key, result.map(|_| ())),
            Asked::CopyRead { key, .. } => self.on_copy_read(key, result),
            Asked::CopyWrite { key } => self.on_copy_written(key, result.map(|_| ())),
            Asked::Probe { .. } => {}
        }
    }

    pub(super) fn on_loss(&mut self, now: T, id: SessionId, loss: Loss) {
        if self.peer.id() == Some(id) && (self.peer.is_up() || self.peer.is_opening()) {
            self.lose(now, loss);
        }
    }

    /// Gives the session up. Whatever the peer was asked for, nobody knows whether it was done.
    pub(super) fn lose(&mut self, now: T, loss: Loss) {
        let Some(id) = self.peer.id() else {
            return;
        };
        let was_up = self.peer.is_up();
        self.outputs.push_back(Output::Disconnect(id));
        self.wait(now, SOON.min(self.config.reconnect));
        if loss == Loss::Stopped {
            return;
        }
        if was_up {
            self.event(Event::Disconnected(loss));
            self.counters.disconnected();
            if self.needs_peer() {
                // Nobody else can answer, and it may be back in a moment.
                self.held_until = Some(now + self.config.first_contact);
            }
            self.abort_copying();
            let asked = core::mem::take(&mut self.asked);
            for asked in asked.into_values() {
                self.answered(asked, Err(Errno::ENOTCONN));
            }
            self.forget_remote_writes();
            self.map.peer_lost();
            self.settle_nothing();
        }
        if !self.holds() {
            self.release();
        }
    }

    /// Whether only the peer has everything that was acknowledged.
    pub(super) const fn needs_peer(&self) -> bool {
        matches!(
            self.copy,
            LocalCopy::Catching | LocalCopy::Failed { complete: true }
        )
    }

    /// Whether what only the peer can answer waits for it.
    pub(super) fn holds(&self) -> bool {
        self.needs_peer() && (self.held_until.is_some() || self.peer.is_opening())
    }
}

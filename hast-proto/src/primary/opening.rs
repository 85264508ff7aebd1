//! How a session begins: attempts, the identity, and what is stored before the session is up
//! (HAST §1.6, §5.4).

use alloc::boxed::Box;
use core::ops::Add;
use core::time::Duration;

use bytes::Bytes;

use super::peer::{ASKED, Stage};
use super::{Event, LocalCopy, Output, Primary, SessionId};
use crate::consistency::Consistency;
use crate::decision::{AnswerError, Changes, Virgin};
use crate::handshake::{Failure, Identity, Session};
use crate::types::{Counters, ResourceId, SyncSource, Version};

/// A handshake has four states that may each take the timeout.
const ATTEMPT: u32 = 5;

impl<T: Copy + Ord + Add<Duration, Output = T>> Primary<T> {
    pub(super) fn connect(&mut self, now: T) {
        let id = SessionId(self.next_session);
        self.next_session = self.next_session.wrapping_add(1);
        self.peer.stage = Stage::Connecting {
            id,
            deadline: now + self.config.timeout * ATTEMPT,
            identify: None,
        };
        let connect = Output::Connect(id, self.peer.header);
        self.outputs.push_back(connect);
    }

    pub(super) fn on_identify(&mut self, id: SessionId, fresh: ResourceId) {
        let Stage::Connecting {
            id: own, identify, ..
        } = &mut self.peer.stage
        else {
            return;
        };
        if *own != id {
            return;
        }
        if self.local.metadata.resource_id.is_some() {
            *identify = Some(Virgin::No);
        } else {
            // HAST §5.2: it is on disk before it is sent.
            *identify = Some(Virgin::Yes);
            self.local.metadata.resource_id = Some(fresh);
            self.store_metadata();
        }
        self.answer_identify();
    }

    /// Answers the handshake as soon as what it sends is on disk.
    pub(super) fn answer_identify(&mut self) {
        let on_disk = self.local.has_stored_all();
        let has_disk = self.has_disk();
        let Stage::Connecting { id, identify, .. } = &mut self.peer.stage else {
            return;
        };
        let Some(resource_id) = self.local.metadata.resource_id else {
            return;
        };
        // A disk that has failed stores nothing any more; what it had is what it has.
        let ready = on_disk || (!has_disk && *identify == Some(Virgin::No));
        if let Some(virgin) = identify.take_if(|_| ready) {
            let id = *id;
            let identity = Identity {
                resource_id,
                virgin,
                counters: self.counters.get(),
                changes: self.changes(),
                map: Bytes::copy_from_slice(self.map.image()),
            };
            let output = Output::Identity(id, identity);
            self.outputs.push_back(output);
        }
    }

    /// Whether this node may have changes that the peer lacks, as it is told.
    fn changes(&self) -> Changes {
        let (local, image) = (&self.local, self.map.image());
        let consistency = match self.copy {
            LocalCopy::Current if local.mark_is_stored() => local.mark_wanted(),
            LocalCopy::Current | LocalCopy::Catching | LocalCopy::Failed { .. } => {
                Consistency::Inconsistent
            }
        };
        let changes = Changes::of(consistency, image, local.metadata.previous_role);
        self.config.give_way.admit(changes)
    }

    pub(super) fn on_connect_failed(&mut self, now: T, id: SessionId, failure: Failure) {
        if !matches!(self.peer.stage, Stage::Connecting { id: own, .. } if own == id) {
            return;
        }
        // HAST §1.6: the peer is primary, too, and may be about to give that up.
        let wait = matches!(&failure, Failure::Refused(refused) if refused.wait);
        let delay = if wait && self.held_until.is_some() {
            self.hold_on(now);
            ASKED.min(self.config.reconnect)
        } else {
            self.release();
            self.config.reconnect
        };
        self.event(Event::ConnectFailed(failure));
        self.wait(now, delay);
    }

    /// Goes on holding requests back: the peer lives and may have written what this node lacks,
    /// so its next answer is worth waiting for.
    fn hold_on(&mut self, now: T) {
        let longer = now + self.config.first_contact.max(2 * ASKED);
        self.held_until = self
            .held_until
            .max(self.patient_until.map(|end| end.min(longer)));
    }

    pub(super) fn on_session(&mut self, id: SessionId, session: Session) {
        if !matches!(self.peer.stage, Stage::Connecting { id: own, .. } if own == id) {
            self.outputs.push_back(Output::Disconnect(id));
            return;
        }
        self.peer.header = session.version;
        self.peer.stage = Stage::Opening {
            id,
            session: Box::new(session),
            storing: false,
        };
    }

    /// Goes on with the opening of a session, if nothing is in the way any more.
    pub(super) fn advance_opening(&mut self, now: T) {
        let Stage::Opening {
            id,
            session,
            storing,
        } = &self.peer.stage
        else {
            return;
        };
        let (id, storing) = (*id, *storing);
        let on_disk = self.local.has_stored_all() || !self.has_disk();
        if !storing {
            if self.writes_are_quiet() && on_disk {
                let session = session.clone();
                self.open(now, id, &session);
            }
            return;
        }
        let map = !self.has_disk()
            || (!self.local.stored.is_storing() && self.map.changed(self.config.sector).is_none());
        if on_disk && map && (self.local.mark_is_stored() || !self.has_disk()) {
            let version = session.version;
            self.go_up(now, id, version);
        }
    }

    /// Takes over what the handshake has agreed on; it is stored before the session is up.
    fn open(&mut self, now: T, id: SessionId, session: &Session) {
        if session.sent != self.counters.get() {
            // This node has begun to write alone since.
            self.outputs.push_back(Output::Disconnect(id));
            self.event(Event::GivenUp(None));
            self.connect(now);
            if self.held_until.is_none() {
                self.release();
            }
            return;
        }
        let changed = match self.accept(session) {
            Ok(changed) => changed,
            Err(error) => {
                self.outputs.push_back(Output::Disconnect(id));
                self.event(Event::GivenUp(Some(error)));
                self.wait(now, self.config.reconnect);
                self.release();
                return;
            }
        };
        if let Some(counters) = changed {
            self.local.metadata.counters = counters;
            self.store_metadata();
        }
        if session.source == SyncSource::Secondary {
            self.copy = match self.copy {
                LocalCopy::Current | LocalCopy::Catching => LocalCopy::Catching,
                LocalCopy::Failed { .. } => LocalCopy::Failed { complete: true },
            };
        }
        if let Some(map) = &session.map {
            // The handshake has compared its length. Without a disk, too: the peer forgets it.
            let merged = self.map.merge(map);
            debug_assert!(merged.is_ok(), "{merged:?}");
        }
        self.local.map_is_due = true;
        // Once more, if it could not be stored before.
        match (self.copy, self.local.mark_wanted()) {
            (LocalCopy::Catching, Consistency::Consistent) => {
                self.want_mark(Consistency::Inconsistent);
            }
            (LocalCopy::Catching, mark) => self.want_mark(mark),
            (LocalCopy::Failed { complete: true }, _) => self.want_mark(Consistency::Incomplete),
            (LocalCopy::Current | LocalCopy::Failed { complete: false }, _) => {}
        }
        if let Stage::Opening { storing, .. } = &mut self.peer.stage {
            *storing = true;
        }
        self.store_map(now);
        self.advance_opening(now);
    }

    /// Checks the answer, and takes the peer's counters over; returns this node's if they have
    /// changed.
    fn accept(&mut self, session: &Session) -> Result<Option<Counters>, AnswerError> {
        self.peer.is_empty |= self.needs_peer() && session.virgin == Virgin::Yes;
        if self.needs_peer() && self.peer.is_empty {
            return Err(AnswerError::VirginNeeded);
        }
        let (local, remote) = (session.sent.local, session.peer.remote);
        let gives_way = session.source == SyncSource::Secondary && local > remote;
        if gives_way && self.changes() == Changes::Possible {
            return Err(AnswerError::WroteAlone { local, remote });
        }
        let changed = self
            .counters
            .connected(session.peer, session.source, session.virgin)?;
        if gives_way {
            self.event(Event::GaveWay);
            return Ok(Some(self.counters.give_way()));
        }
        Ok(changed)
    }

    fn go_up(&mut self, now: T, id: SessionId, version: Version) {
        self.peer.stage = Stage::Up {
            id,
            version,
            heard: now,
            sent: now,
            probed: false,
        };
        self.event(Event::Connected(version));
        self.catch_up();
        self.begin_copying();
        self.release();
    }
}

//! Changes of the role: the old one ends, the disk comes to rest, the new one begins.

use std::io;
use std::sync::Arc;

use hast_proto::Role;
use hast_proto::hooks::HookEvent;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::event::EventKind;
use super::super::provider::{self, Opened, ProviderError};
use super::super::resource::RoleError;
use super::primary::PrimarySide;
use super::secondary::SecondarySide;
use super::{Done, Engine, Stage};

type Reply = oneshot::Sender<Result<Role, RoleError>>;

/// A change under way.
pub(super) struct Change {
    to: Role,
    /// The role before, as the answer has it.
    old: Role,
    /// `None` once it was told that this takes too long.
    waiting: Option<(Reply, Instant)>,
    /// The opening of the provider, after the old role has ended.
    opening: Option<AbortHandle>,
}

impl Change {
    /// The role that was, once more: nobody waits for it.
    pub(super) const fn again(role: Role) -> Self {
        Self {
            to: role,
            old: role,
            waiting: None,
            opening: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(_, deadline)| *deadline)
    }
}

impl Engine {
    pub(super) fn set_role(&mut self, now: Instant, to: Role, reply: Reply) {
        let deadline = now + self.common.settings.role_change;
        if self.discarding.is_some() {
            let _ = reply.send(Err(RoleError::Changing));
            return;
        }
        match &mut self.change {
            Some(change) if change.waiting.is_none() => {
                change.to = to;
                change.waiting = Some((reply, deadline));
            }
            Some(_) => {
                let _ = reply.send(Err(RoleError::Changing));
            }
            None if to == self.role => {
                let _ = reply.send(Ok(to));
            }
            None => {
                self.change = Some(Change {
                    to,
                    old: self.role,
                    waiting: Some((reply, deadline)),
                    opening: None,
                });
                self.door.set_role(now, Role::Init);
                match &mut self.stage {
                    Stage::Init => {}
                    Stage::Primary(side) => side.stop(now),
                    Stage::Secondary(side) => side.stop(now),
                }
            }
        }
    }

    /// Goes on with a change, or gives it up when its time is over.
    pub(super) fn advance_change(&mut self, now: Instant) {
        let Some(change) = &mut self.change else {
            return;
        };
        let at_rest = match &self.stage {
            Stage::Init => true,
            Stage::Primary(side) => side.is_at_rest(),
            Stage::Secondary(side) => side.is_at_rest(),
        };
        if at_rest && change.opening.is_none() {
            self.stage = Stage::Init;
            if change.to == Role::Init {
                self.end_change(Ok(Role::Init));
                return;
            }
            let opening = self.open();
            let task = async move { Done::Opened(opening.await) };
            let task = self.common.tasks.spawn(task);
            if let Some(change) = &mut self.change {
                change.opening = Some(task);
            }
        }
        let Some(change) = &mut self.change else {
            return;
        };
        if change.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if let Some(opening) = &change.opening {
            opening.abort();
            let error = ProviderError::Io {
                action: "open",
                error: io::ErrorKind::TimedOut.into(),
            };
            self.end_change(Err(error));
        } else if let Some((reply, _)) = change.waiting.take() {
            let operations = match &self.stage {
                Stage::Init => 0,
                Stage::Primary(side) => side.disk().pending(),
                Stage::Secondary(side) => side.disk().pending(),
            };
            change.to = Role::Init;
            let _ = reply.send(Err(RoleError::DiskBusy { operations }));
        }
    }

    /// Opens the provider.
    pub(super) fn open(&self) -> impl Future<Output = Result<Opened, ProviderError>> + use<> {
        let backing = Arc::clone(&self.backing);
        let name = self.common.name.clone();
        let metaflush = self.common.settings.metaflush;
        async move {
            let opened = backing.open().await;
            let device = opened.map_err(provider::io_error("open"))?;
            provider::open(device, &name, metaflush).await
        }
    }

    pub(super) fn on_opened(&mut self, now: Instant, result: Result<Opened, ProviderError>) {
        let Some(change) = &self.change else {
            return;
        };
        let to = change.to;
        let entered = result.and_then(|opened| {
            if opened.recovered {
                self.common.tell(EventKind::Recovered);
            }
            self.enter(now, to, opened)
        });
        self.end_change(entered.map(|()| to));
    }

    fn enter(&mut self, now: Instant, to: Role, opened: Opened) -> Result<(), ProviderError> {
        match to {
            Role::Init => {}
            Role::Primary => {
                self.terms = self.terms.wrapping_add(1);
                let side = PrimarySide::new(now, self.terms, opened, &self.common.settings)?;
                self.stage = Stage::Primary(side.into());
            }
            Role::Secondary => {
                let side = SecondarySide::new(opened, &self.common.settings);
                self.stage = Stage::Secondary(side.into());
            }
        }
        // From now on peers are let in, or told what this node is.
        self.door.set_role(now, to);
        Ok(())
    }

    fn end_change(&mut self, result: Result<Role, ProviderError>) {
        let Some(Change { old, waiting, .. }) = self.change.take() else {
            return;
        };
        let new = *result.as_ref().unwrap_or(&Role::Init);
        self.role = new;
        if new != old {
            let hook = HookEvent::Role { old, new };
            self.common
                .tell_with(EventKind::Role { old, new }, Some(hook));
        }
        let answer = match result {
            Ok(_) => Ok(old),
            Err(error) => {
                let error = Arc::new(error);
                self.common.tell(EventKind::Provider(Arc::clone(&error)));
                Err(RoleError::Provider(error))
            }
        };
        if let Some((reply, _)) = waiting {
            let _ = reply.send(answer);
        }
    }
}

//! The discard of what this node has changed alone: the role ends, what may differ is saved, the
//! metadata are changed, and the role begins again.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hast_proto::saved::MAX_PIECE;
use hast_proto::{Errno, Role, discard};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::super::clock;
use super::super::event::EventKind;
use super::super::provider::{Opened, ProviderError};
use super::super::saved_file::SavedFile;
use super::super::split::{Discard, DiscardError};
use super::role::Change;
use super::{Done, Engine, Stage};

type Outcome = Result<discard::Discarded, DiscardError>;
type Reply = oneshot::Sender<Outcome>;

/// A discard under way.
pub(super) struct Discarding {
    order: Discard,
    /// Who waits for it, and until when the disk may take to come to rest; `None` when the discard
    /// itself has begun, which holds the one and takes as long as it takes.
    waiting: Option<(Reply, Instant)>,
}

impl Discarding {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(_, until)| *until)
    }
}

impl Engine {
    pub(super) fn discard(&mut self, now: Instant, order: Discard, reply: Reply) {
        let refused = if self.change.is_some() || self.discarding.is_some() {
            Some(DiscardError::Changing)
        } else if self.role == Role::Primary {
            Some(DiscardError::Primary)
        } else if self.common.split.is_none() && !order.force {
            Some(DiscardError::NoSplitBrain)
        } else {
            None
        };
        if let Some(error) = refused {
            let _ = reply.send(Err(error));
            return;
        }
        // Nobody is let in before it is over.
        self.door.set_role(now, Role::Init);
        if let Stage::Secondary(side) = &mut self.stage {
            side.stop(now);
        }
        let until = now + self.common.settings.role_change;
        self.discarding = Some(Discarding {
            order,
            waiting: Some((reply, until)),
        });
    }

    /// Begins the discard itself when the disk has come to rest.
    pub(super) fn advance_discard(&mut self, now: Instant) {
        let Some(discarding) = &mut self.discarding else {
            return;
        };
        let Some((mut reply, until)) = discarding.waiting.take() else {
            return;
        };
        let at_rest = match &self.stage {
            Stage::Init => true,
            Stage::Secondary(side) => side.is_at_rest(),
            // It was refused.
            Stage::Primary(_) => false,
        };
        if at_rest {
            let order = discarding.order.clone();
            self.stage = Stage::Init;
            let peer_map = self
                .common
                .split
                .as_ref()
                .and_then(|it| it.peer_map.clone());
            let opening = self.open();
            self.common.tasks.spawn(async move {
                let opened = opening.await;
                let outcome = carry_out(order, peer_map, opened, &mut reply).await;
                Done::Discarded(outcome, reply)
            });
        } else if now >= until {
            let busy = DiscardError::DiskBusy(self.common.settings.role_change);
            self.end_discard(Err(busy), reply);
        } else {
            discarding.waiting = Some((reply, until));
        }
    }

    /// Answers, and goes back to the role.
    pub(super) fn end_discard(&mut self, outcome: Outcome, reply: Reply) {
        self.discarding = None;
        match &outcome {
            Ok(discarded) => {
                self.common.split = None;
                self.common.tell(EventKind::Discarded(*discarded));
            }
            Err(DiscardError::GivenUp) => self.common.tell(EventKind::DiscardGivenUp),
            Err(_) => {}
        }
        if self.role != Role::Init {
            self.change = Some(Change::again(self.role));
        }
        // Whoever gave it up does not hear it.
        let _ = reply.send(outcome);
    }
}

/// Does what the machine wants.
async fn carry_out(
    order: Discard,
    peer_map: Option<Bytes>,
    opened: Result<Opened, ProviderError>,
    reply: &mut Reply,
) -> Outcome {
    let opened = opened.map_err(|error| DiscardError::Provider(Arc::new(error)))?;
    let Opened {
        store, provider, ..
    } = opened;
    let longest = usize::try_from(store.geometry().longest.get()).unwrap_or(MAX_PIECE);
    let config = discard::Config {
        node: order.node,
        saved_at: clock::seconds_since_1970(),
        peer_map,
        piece: longest.min(MAX_PIECE),
    };
    let machine = discard::Discard::new(config, provider);
    let mut machine = machine.map_err(discard::DiscardError::from)?;
    let creating = blocking(move || SavedFile::create(&order.save_to));
    let mut file = unless_gone(reply, creating).await?;
    // The machine knows numbers only; what the system has said tells more.
    let mut told = None;
    while let Some(output) = machine.poll_output() {
        let input = match output {
            discard::Output::Disk(operation) => {
                discard::Input::Disk(store.operate(operation).await)
            }
            discard::Output::Write(pieces) => {
                let written = blocking(move || {
                    let written = file.write(&pieces);
                    Ok((file, written))
                });
                let (back, written) = unless_gone(reply, written).await?;
                file = back;
                discard::Input::Written(number(written, &mut told))
            }
            discard::Output::Publish => {
                let published = blocking(move || {
                    let published = file.publish();
                    Ok((file, published))
                });
                let (back, published) = unless_gone(reply, published).await?;
                file = back;
                discard::Input::Published(number(published, &mut told))
            }
            discard::Output::Ended(Ok(discarded)) => return Ok(discarded),
            discard::Output::Ended(Err(error)) => return Err(told.unwrap_or_else(|| error.into())),
        };
        machine.handle(input);
    }
    // It always says how it has ended.
    Err(discard::DiscardError::Write(Errno::EIO).into())
}

fn number(result: Result<(), DiscardError>, told: &mut Option<DiscardError>) -> Result<(), Errno> {
    result.map_err(|error| {
        *told = Some(error);
        Errno::EIO
    })
}

/// Does something with the file, unless nobody waits for the outcome any more. A thread that hangs
/// in it is left to itself, and so is what it holds.
async fn unless_gone<T>(
    reply: &mut Reply,
    work: impl Future<Output = Result<T, DiscardError>>,
) -> Result<T, DiscardError> {
    tokio::select! {
        biased;
        () = reply.closed() => Err(DiscardError::GivenUp),
        done = work => done,
    }
}

/// Does something that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiscardError> + Send + 'static,
) -> Result<T, DiscardError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let error = ProviderError::Io {
            action: "save the data of",
            error: io::Error::other(error),
        };
        Err(DiscardError::Provider(Arc::new(error)))
    })
}

//! Asks on behalf of a machine that does not wait.

use std::boxed::Box;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Arbiter, ArbiterError};
use crate::failover::{Answer, Input, Request, RequestId};

/// How many replies wait to be read before nothing more is asked.
const REPLIES: usize = 4;

/// Carries the requests of one [`Failover`](crate::failover::Failover) to an [`Arbiter`], in a task
/// of its own that ends with it.
///
/// A request replaces one that is still waited for: the machine gives a new one only when it does
/// not wait for the former any more.
#[derive(Debug)]
pub struct Asker {
    requests: watch::Sender<Option<Request>>,
    replies: mpsc::Receiver<Reply>,
    task: JoinHandle<()>,
}

/// What came of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// Which.
    pub request: RequestId,
    /// The answer, or why there is none.
    pub result: Result<Answer, ArbiterError>,
}

impl Reply {
    /// Returns what the machine is told.
    #[must_use]
    pub fn input(&self) -> Input {
        let answer = match &self.result {
            Ok(answer) => *answer,
            Err(_) => Answer::Unavailable,
        };
        Input::Arbiter {
            request: self.request,
            answer,
        }
    }
}

impl Asker {
    /// Begins to wait for requests. To be called within a tokio runtime.
    #[must_use]
    pub fn spawn(arbiter: impl Arbiter + 'static) -> Self {
        let (requests, wanted) = watch::channel(None);
        let (said, replies) = mpsc::channel(REPLIES);
        let task = tokio::spawn(attend(Box::new(arbiter), wanted, said));
        Self {
            requests,
            replies,
            task,
        }
    }

    /// Asks; the reply comes by [`next`](Self::next). Never waits.
    pub fn ask(&self, request: Request) {
        self.requests.send_replace(Some(request));
    }

    /// Waits for a reply. Nothing is lost if the future is dropped. `None` if there will be no more
    /// because the arbiter has panicked; the machine then finds it silent.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn attend(
    mut arbiter: Box<dyn Arbiter>,
    mut requests: watch::Receiver<Option<Request>>,
    replies: mpsc::Sender<Reply>,
) {
    while requests.changed().await.is_ok() {
        let Some(request) = *requests.borrow_and_update() else {
            continue;
        };
        let ended = tokio::select! {
            result = arbiter.ask(request.query) => Some(result),
            // Whoever comes round sees the newer one.
            _ = newer(&mut requests) => None,
        };
        let Some(result) = ended else { continue };
        let request = request.id;
        if replies.send(Reply { request, result }).await.is_err() {
            return;
        }
    }
}

/// Waits until there is another request, and leaves it to be seen.
async fn newer(requests: &mut watch::Receiver<Option<Request>>) {
    if requests.changed().await.is_ok() {
        requests.mark_changed();
    }
}

//! The thread in which everything is done that may wait for the kernel.
//!
//! Requests to rtnetlink are carried out within `sendmsg`, under a lock of the kernel that
//! others may hold for long; joining a multicast group and some sysctls take the same lock.
//! None of that may hold up the protocol.

use std::boxed::Box;
use std::io;
use std::string::ToString;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::LinuxError;
use super::rtnl::Rtnl;

type Job = Box<dyn FnOnce(&mut Rtnl) + Send>;

/// Does jobs one after the other, in the order in which they were brought, also those whose
/// bringer no longer waits.
///
/// The queue has no bound of its own, as none may be refused that puts something in order
/// again. Whoever waits for a job has one there at a time, which is one for each virtual host
/// and one for the keeper; and whatever is dropped leaves one.
#[derive(Debug)]
pub(super) struct Worker {
    /// `None` only while it is dropped.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, in the network namespace of the calling one.
    pub(super) fn start(mut rtnl: Rtnl) -> Result<Self, LinuxError> {
        let (jobs, mut orders) = mpsc::unbounded_channel::<Job>();
        let thread = thread::Builder::new()
            .name("ha-netlink".to_string())
            .spawn(move || {
                while let Some(job) = orders.blocking_recv() {
                    job(&mut rtnl);
                }
            })
            .map_err(|source| LinuxError::Thread { source })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has `job` done and waits for what comes of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Rtnl) -> Result<T, LinuxError> + Send + 'static,
    ) -> Result<T, LinuxError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |rtnl| {
            // Whoever asked may be gone.
            let _ = reply.send(job(rtnl));
        });
        if let Some(jobs) = &self.jobs {
            jobs.send(job).map_err(|_| gone())?;
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has `job` done without waiting for it.
    pub(super) fn post(&self, job: impl FnOnce(&mut Rtnl) + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // If the thread is gone, it is not done, but dropped here.
            let _ = jobs.send(Box::new(job));
        }
    }
}

/// Waits for the jobs that were brought, so that nothing is left behind.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It may have panicked; whoever waited for it was told.
            let _ = thread.join();
        }
    }
}

fn gone() -> LinuxError {
    LinuxError::Thread {
        source: io::ErrorKind::BrokenPipe.into(),
    }
}

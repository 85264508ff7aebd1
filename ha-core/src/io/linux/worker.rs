//! The thread in which everything is done that may wait for the kernel.
//!
//! Requests to rtnetlink are carried out within `sendmsg`, under a lock of the kernel that
//! others may hold for long; joining a multicast group and some sysctls take the same lock.
//! None of that may hold up the protocol.

use std::boxed::Box;
use std::io;
use std::string::ToString;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::LinuxError;
use super::rtnl::Rtnl;

type Job = Box<dyn FnOnce(&mut Rtnl) + Send>;

/// How many jobs may be there of those that somebody waits for. More than there are virtual hosts
/// on four interfaces, so that only who gave up and tried again, while the kernel did nothing,
/// can fill it.
const PLACES: usize = 1024;

/// Does jobs one after the other, in the order in which they were brought, also those whose
/// bringer no longer waits.
///
/// A job that somebody waits for takes one of [`PLACES`], and its bringer waits for that, too.
/// What is dropped cannot wait, and leaves one job each to put something in order again: no more
/// than were ever made, each by a job of its own.
#[derive(Debug)]
pub(super) struct Worker {
    places: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(PLACES)),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has `job` done and waits for what comes of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Rtnl) -> Result<T, LinuxError> + Send + 'static,
    ) -> Result<T, LinuxError> {
        // First come, first served, so that this keeps the order.
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |rtnl| {
            // Whoever asked may be gone.
            let _ = reply.send(job(rtnl));
            drop(place);
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the worker is a thread")]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::time::Duration;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_gives_up_again_and_again_does_not_fill_the_memory() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let worker = Worker::start(Rtnl::open().unwrap()).unwrap();
            let (end, hang) = channel::<()>();
            // The kernel does nothing until somebody says so.
            worker.post(move |_| _ = hang.recv());
            let done = Arc::new(AtomicUsize::new(0));
            let count = || {
                let done = done.clone();
                move |_: &mut Rtnl| {
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            };
            for _ in 0..3 * PLACES {
                let given_up = tokio::time::timeout(Duration::ZERO, worker.run(count()));
                assert!(given_up.await.is_err());
            }
            drop(end);
            // One that is brought now is done, after all that found a place.
            worker.run(count()).await.unwrap();
            assert_eq!(done.load(Ordering::Relaxed), PLACES + 1);
        });
    }
}

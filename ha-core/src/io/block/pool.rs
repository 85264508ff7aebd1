//! Threads for system calls that may wait for a disk.

use core::fmt;
use core::panic::AssertUnwindSafe;
use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::panic::catch_unwind;
use std::string::ToString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that do jobs, begun when they are needed first.
///
/// The queue has no bound of its own: whoever waits for a job has one there, and how many wait
/// is up to them. When the pool is dropped, the jobs in the queue are still done.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// The most threads there are.
    threads: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// How many of them wait for a job.
    idle: usize,
    /// One of them was called, or started, and has not looked for a job yet.
    called: bool,
    closed: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.shared.threads)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                threads: threads.max(1),
            }),
        }
    }

    /// Has `job` done in one of the threads and waits for what comes of it. The job is done also
    /// if nobody waits any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(move || {
            // Whoever asked may be gone.
            let _ = reply.send(job());
        }))?;
        answer
            .await
            .map_err(|_| io::Error::other("the I/O has panicked"))?
    }

    fn submit(&self, job: Job) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        match self.shared.call(&mut state) {
            // Those that there are will have to do.
            Err(error) if state.threads == 0 => {
                state.jobs.pop_back();
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// What panics is a job, and never while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a thread if there is a job and none is on its way already. It calls the next one
    /// when it has taken a job and there are more: so a row of short jobs, which one thread does
    /// while the next would wake up, costs one call, and long ones run side by side.
    fn call(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.called || state.jobs.is_empty() {
            return Ok(());
        }
        if state.idle > 0 {
            self.work.notify_one();
        } else if state.threads < self.threads {
            let shared = Arc::clone(self);
            thread::Builder::new()
                .name("ha-disk".to_string())
                .spawn(move || shared.work())?;
            state.threads += 1;
        } else {
            // All are at work, and look for the next job when they have done theirs.
            return Ok(());
        }
        state.called = true;
        Ok(())
    }

    /// What a thread does: jobs, until the pool is gone.
    fn work(self: &Arc<Self>) {
        self.lock().called = false;
        while let Some(job) = self.next() {
            // Whoever waits for it sees that it is gone; the thread has others to do.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(self: &Arc<Self>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                // If no thread can be started, this one comes back.
                let _ = self.call(&mut state);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.called = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn jobs_run_side_by_side_and_no_more_than_there_are_threads() {
        let pool = Arc::new(Pool::new(2));
        // Each of the two waits for the other: they must run at the same time.
        let (to_first, first) = mpsc::channel();
        let (to_second, second) = mpsc::channel();
        let (a, b) = tokio::join!(
            pool.run(move || {
                to_second.send(1).unwrap();
                Ok(first.recv().unwrap())
            }),
            pool.run(move || {
                to_first.send(2).unwrap();
                Ok(second.recv().unwrap())
            }),
        );
        assert_eq!((a.unwrap(), b.unwrap()), (2, 1));
        for _ in 0..100 {
            pool.run(|| Ok(())).await.unwrap();
        }
        assert!(pool.shared.lock().threads <= 2);
    }

    #[test]
    fn every_thread_is_called_while_there_are_jobs() {
        const THREADS: usize = 4;
        let pool = Pool::new(THREADS);
        let (done, results) = mpsc::channel();
        // At first they are started, and then woken.
        for round in 0..100 {
            let all = Arc::new(std::sync::Barrier::new(THREADS));
            for _ in 0..THREADS {
                let (all, done) = (Arc::clone(&all), done.clone());
                // Each waits for all the others.
                let job = move || {
                    all.wait();
                    done.send(round).unwrap();
                };
                pool.submit(Box::new(job)).unwrap();
            }
            for _ in 0..THREADS {
                assert_eq!(results.recv(), Ok(round));
            }
        }
        assert_eq!(pool.shared.lock().threads, THREADS);
    }

    #[tokio::test]
    async fn a_job_that_panics_fails_and_the_next_one_is_done() {
        let pool = Pool::new(1);
        let failed: io::Result<()> = pool.run(|| panic!("as the test wants it")).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(pool.run(|| Ok(5)).await.unwrap(), 5);
    }

    #[test]
    fn what_is_in_the_queue_is_done_after_the_pool_is_gone() {
        let pool = Pool::new(1);
        let (done, results) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        pool.submit(Box::new(move || gate.recv().unwrap())).unwrap();
        for number in 0..3 {
            let done = done.clone();
            pool.submit(Box::new(move || done.send(number).unwrap()))
                .unwrap();
        }
        drop((pool, done));
        release.send(()).unwrap();
        assert_eq!(results.iter().collect::<std::vec::Vec<_>>(), [0, 1, 2]);
    }
}

//! Load on the processors, and how long they did nothing for anybody.

use core::hint::spin_loop;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::probe::hurry;

/// Six threads that do nothing, as fast as they can.
pub(crate) struct Busy {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    pub(crate) fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let spin = |ended: Arc<AtomicBool>| {
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    spin_loop();
                }
            })
        };
        let threads = (0..6).map(|_| spin(Arc::clone(&ended))).collect();
        Self { ended, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A thread on each processor with precedence over all daemons, which asks for very little. When
/// even one of those comes late, it is the machine that stands still, such as a virtual one whose
/// host has other work, or its kernel that lets nobody in.
pub(crate) struct Stalls {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Wait>>>,
}

/// When a thread waited for its processor.
#[derive(Clone, Copy, Debug)]
struct Wait {
    from: Instant,
    to: Instant,
}

impl Stalls {
    /// Starts the threads, and returns when all of them watch.
    pub(crate) fn watch() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let all = sched_getaffinity(Pid::from_raw(0)).expect("the processors of this process");
        let (begun, begins) = channel();
        let threads: Vec<_> = (0..CpuSet::count())
            .filter(|processor| all.is_set(*processor).unwrap_or_default())
            .map(|processor| {
                let (begun, ended) = (begun.clone(), Arc::clone(&ended));
                thread::spawn(move || waits(processor, begun, &ended))
            })
            .collect();
        drop(begun);
        for _ in &threads {
            begins.recv().expect("a thread that watches");
        }
        Self { ended, threads }
    }

    /// Ends the threads, and returns the longest time that one waited for its processor.
    pub(crate) fn longest(self) -> Duration {
        let waits = self.end().into_iter();
        let lengths = waits.map(|wait| wait.to - wait.from);
        lengths.max().unwrap_or_default()
    }

    /// The same, of what lies between two moments.
    pub(crate) fn longest_between(self, from: Instant, to: Instant) -> Duration {
        let waits = self.end().into_iter();
        let parts = waits.map(|wait| {
            let (begin, end) = (wait.from.max(from), wait.to.min(to));
            end.saturating_duration_since(begin)
        });
        parts.max().unwrap_or_default()
    }

    fn end(mut self) -> Vec<Wait> {
        self.ended.store(true, Ordering::Relaxed);
        let threads = mem::take(&mut self.threads).into_iter();
        threads
            .flat_map(|thread| thread.join().expect("a thread that only sleeps"))
            .collect()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How a thread on this processor waits for it before `ended`, where that can be told from how
/// exact a sleep is.
fn waits(processor: usize, begun: Sender<()>, ended: &AtomicBool) -> Vec<Wait> {
    const PERIOD: Duration = Duration::from_millis(1);
    let mut only = CpuSet::new();
    only.set(processor).expect("a processor");
    sched_setaffinity(Pid::from_raw(0), &only).expect("a processor of this process");
    hurry();
    begun.send(()).expect("somebody who waits for it");
    drop(begun);
    let mut waits = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let due = Instant::now() + PERIOD;
        thread::sleep(PERIOD);
        let now = Instant::now();
        if now.saturating_duration_since(due) > PERIOD / 2 {
            waits.push(Wait { from: due, to: now });
        }
    }
    waits
}

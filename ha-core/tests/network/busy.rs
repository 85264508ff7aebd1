//! Load on the processors, and how long they did nothing for anybody.

use core::hint::spin_loop;
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
/// host has other work.
pub(crate) struct Stalls {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
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
                thread::spawn(move || longest_wait(processor, &begun, &ended))
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
        self.ended.store(true, Ordering::Relaxed);
        let waits = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread that only sleeps"));
        waits.max().unwrap_or_default()
    }
}

/// The longest time that a thread on this processor waits for it before `ended`.
fn longest_wait(processor: usize, begun: &Sender<()>, ended: &AtomicBool) -> Duration {
    const PERIOD: Duration = Duration::from_millis(1);
    let mut only = CpuSet::new();
    only.set(processor).expect("a processor");
    sched_setaffinity(Pid::from_raw(0), &only).expect("a processor of this process");
    hurry();
    begun.send(()).expect("somebody who waits for it");
    let mut longest = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        let before = Instant::now();
        thread::sleep(PERIOD);
        longest = longest.max(before.elapsed().saturating_sub(PERIOD));
    }
    longest
}

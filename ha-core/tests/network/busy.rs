//! Load on the processors, and how long they did nothing for anybody.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

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

/// A thread with precedence over all daemons, which asks for very little. When even that comes
/// late, it is the machine that stands still, such as a virtual one whose host has other work.
pub(crate) struct Stalls {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        const PERIOD: Duration = Duration::from_millis(1);
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            hurry();
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(PERIOD);
                longest = longest.max(before.elapsed().saturating_sub(PERIOD));
            }
            longest
        });
        Self { ended, thread }
    }

    /// Ends the thread, and returns the longest time that it waited for a processor.
    pub(crate) fn longest(self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("a thread that only sleeps")
    }
}

//! The signals that ask a program to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, from the moment on when this is made.
#[derive(Debug)]
pub(crate) struct End {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl End {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use rustix::process::{Signal as Kill, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn each_signal_that_asks_for_the_end_is_heard() {
        let mut end = End::listen().unwrap();
        for signal in [Kill::TERM, Kill::INT, Kill::QUIT] {
            kill_process(getpid(), signal).unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(5), end.wait()).await;
            assert!(heard.is_ok(), "{signal:?}");
        }
    }
}

//! A bound on how often something is told.

use core::time::Duration;

use tokio::time::Instant;

/// How long nothing is told after something was.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Gate {
    closed_until: Option<Instant>,
}

impl Gate {
    /// Whether it is time to tell about something again.
    pub(super) fn opens(&mut self, now: Instant) -> bool {
        if self.closed_until.is_some_and(|until| now < until) {
            return false;
        }
        self.closed_until = Some(now + SILENCE);
        true
    }
}

//! The one place where clocks are read, deadlines waited for and random numbers drawn.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use carp_proto::CounterRule;
use tokio::time::{Instant, Sleep};

/// The time by which machines are driven.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver brings the time to the machines"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// An alarm to be set by `reset`.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver waits for the machines' deadlines"
)]
pub(super) fn alarm() -> Sleep {
    tokio::time::sleep_until(now())
}

/// Waits for `future`, but no longer than `limit`.
#[expect(
    clippy::disallowed_methods,
    reason = "effects are given a limited time"
)]
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}

/// A random number for an advertisement.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver answers `Output::NeedCounter`"
)]
pub(super) fn random() -> u64 {
    // Should the system have none, a number of the clock serves as well: it has to be new, not
    // secret (CARP §1.7).
    getrandom::u64().unwrap_or_else(|_| of_the_day())
}

/// Random octets that nobody can guess; `None` if the system has none.
#[cfg(feature = "hast")]
#[expect(
    clippy::disallowed_methods,
    reason = "tokens and identities come in from outside the machines"
)]
pub(super) fn secret<const N: usize>() -> Option<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).ok()?;
    Some(octets)
}

/// Returns the rule by which numbers increase from Unix time in the upper 32 bits.
///
/// The start so grows over reboots, and peers can use
/// [`ReplayPolicy::Strict`](carp_proto::ReplayPolicy::Strict). Only a clock that is set back
/// between two starts of the program breaks that.
#[must_use]
pub fn increasing_from_clock() -> CounterRule {
    CounterRule::Increasing {
        start: of_the_day(),
    }
}

fn of_the_day() -> u64 {
    seconds_since_1970() << 32
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the only question for the time of day"
)]
pub(super) fn seconds_since_1970() -> u64 {
    // A clock before 1970 counts as 1970.
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since_1970.as_secs()
}

/// Lets some time pass.
#[cfg(any(feature = "arbiter", feature = "hast"))]
#[expect(
    clippy::disallowed_methods,
    reason = "what has failed, or is in use by another process, is not tried again at once"
)]
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

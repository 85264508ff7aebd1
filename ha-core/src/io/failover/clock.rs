//! Where steps and checks wait, and ask for the time of day.

use core::time::Duration;
use std::time::SystemTime;

/// Waits so long.
#[expect(
    clippy::disallowed_methods,
    reason = "steps and checks wait for the outside"
)]
pub(super) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Has the calling thread wait, which must not be one of the runtime's.
#[expect(
    clippy::disallowed_methods,
    reason = "only threads of their own wait so"
)]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The time of day, by which files are dated.
#[expect(
    clippy::disallowed_methods,
    reason = "files are dated by the time of day"
)]
pub(super) fn time_of_day() -> SystemTime {
    SystemTime::now()
}

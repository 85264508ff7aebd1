//! A cluster in the middle of an ordinary bad day, for tests: the service has moved from alpha to
//! beta, and alpha is being brought up to date.

use super::overview::Overview;

/// What beta knows.
pub(crate) fn overview() -> Overview {
    let text = include_str!("fixture/status.json");
    serde_json::from_str(text).unwrap()
}

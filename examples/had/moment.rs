//! When something happened: by the monotonic clock, which orders what happens on a node, and by
//! that of the wall, by which people compare nodes.

use core::fmt;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

/// Ties the two clocks together. Clones are the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Stamp {
        self.stamp(Instant::now())
    }

    /// When this was, a moment ago. The wall's clock may have been set since, so it is asked only
    /// how late it is now.
    pub(crate) fn stamp(&self, at: Instant) -> Stamp {
        let age = at.elapsed();
        let wall = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
        Stamp {
            at: Wall::from(wall),
            monotonic_ms: ms(at.saturating_duration_since(self.start)),
        }
    }
}

/// A moment on one node.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Stamp {
    /// By the wall's clock.
    pub(crate) at: Wall,
    /// Since the program began.
    pub(crate) monotonic_ms: f64,
}

/// Milliseconds since 1970, written as RFC 3339 has it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Wall(pub(crate) u64);

impl Wall {
    /// How many milliseconds this is after another moment; before it, less than none.
    #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
    pub(crate) fn ms_since(self, other: Self) -> f64 {
        self.0 as f64 - other.0 as f64
    }
}

impl From<SystemTime> for Wall {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The end of the year 9999, which is as far as the form goes.
        const LAST: u64 = 253_402_300_799_999;
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(LAST));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self::from(time))
    }
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

/// Milliseconds to the microsecond: what is finer is noise.
pub(crate) fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_has_them_and_read_again() {
        let moment = Wall(1_763_756_419_042);
        assert_eq!(moment.to_string(), "2025-11-21T20:20:19.042Z");
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(serde_json::from_str::<Wall>(&text).unwrap(), moment);
        assert_eq!(Wall(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert!(serde_json::from_str::<Wall>("\"yesterday\"").is_err());
        assert_eq!(Wall(1000).ms_since(Wall(1500)), -500.0);
    }

    #[test]
    fn both_clocks_tell_of_the_same_moment() {
        let start = Instant::now() - Duration::from_secs(2);
        let clock = Clock { start };
        let (stamp, now) = (
            clock.stamp(start + Duration::from_millis(1500)),
            clock.now(),
        );
        assert_eq!(stamp.monotonic_ms, 1500.0);
        assert!(now.monotonic_ms >= 2000.0);
        let apart = now.at.ms_since(stamp.at);
        assert!((400.0..60_000.0).contains(&apart), "{apart}");
        assert_eq!(ms(Duration::from_nanos(1_234_567)), 1.235);
    }
}

//! Counting the results of health checks.

use alloc::string::String;
use core::num::NonZeroU16;

/// A check by its place in the configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CheckId(u16);

impl CheckId {
    /// Names the check at `index`, counted from 0.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Returns the place.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one look at something found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it is well or it is not")]
pub enum Health {
    /// All is well.
    Good,
    /// It is not, or the check did not end in time.
    Bad,
}

/// A check, as far as the machine is concerned: who looks, and how often, is the driver's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name and two thresholds")]
pub struct HealthCheck {
    /// What people call it.
    pub name: String,
    /// How many good results in a row end a failure.
    pub rise: NonZeroU16,
    /// How many bad results in a row are a failure.
    pub fall: NonZeroU16,
}

/// A change of mind.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it falls or it rises")]
pub enum Turn {
    /// It fails now.
    Fell,
    /// It is well again.
    Rose,
}

/// The count of results in a row that contradict the present verdict.
///
/// ```
/// use core::num::NonZeroU16;
/// use ha_core::failover::{Health, HealthCheck, Tally, Turn};
///
/// let check = HealthCheck {
///     name: "http".into(),
///     rise: NonZeroU16::MIN,
///     fall: NonZeroU16::MIN.saturating_add(1),
/// };
/// let mut tally = Tally::default();
/// assert_eq!(tally.count(&check, Health::Bad), None);
/// assert_eq!(tally.count(&check, Health::Bad), Some(Turn::Fell));
/// assert_eq!(tally.count(&check, Health::Good), Some(Turn::Rose));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tally {
    verdict: Health,
    against: u16,
}

/// What was never looked at is taken to be well.
impl Default for Tally {
    fn default() -> Self {
        Self {
            verdict: Health::Good,
            against: 0,
        }
    }
}

impl Tally {
    /// Returns the present verdict.
    #[must_use]
    pub fn verdict(&self) -> Health {
        self.verdict
    }

    /// Takes a result, and tells if it changed the verdict.
    pub fn count(&mut self, check: &HealthCheck, result: Health) -> Option<Turn> {
        if result == self.verdict {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let (enough, turn) = match result {
            Health::Good => (check.rise, Turn::Rose),
            Health::Bad => (check.fall, Turn::Fell),
        };
        if self.against < enough.get() {
            return None;
        }
        *self = Self {
            verdict: result,
            against: 0,
        };
        Some(turn)
    }
}

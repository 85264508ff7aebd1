//! The demotion level of this machine, made of what the virtual hosts notice and of what the
//! operator gives a name to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::Vec;

/// How many named reasons there can be at a time.
pub const MAX_DEMOTIONS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Demotion {
    protocol: i32,
    named: BTreeMap<Arc<str>, i32>,
}

impl Demotion {
    pub(super) fn level(&self) -> i32 {
        self.named
            .values()
            .fold(self.protocol, |sum, amount| sum.saturating_add(*amount))
    }

    pub(super) fn adjust(&mut self, adjustment: i32) {
        self.protocol = self.protocol.saturating_add(adjustment);
    }

    /// Whether a reason of this name can be given.
    pub(super) fn has_room_for(&self, name: &str) -> bool {
        self.named.len() < MAX_DEMOTIONS || self.named.contains_key(name)
    }

    /// Gives or changes a named reason, for which there must be room.
    pub(super) fn set(&mut self, name: Arc<str>, amount: i32) {
        debug_assert!(self.has_room_for(&name), "the caller asks before");
        self.named.insert(name, amount);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.named.remove(name);
    }

    pub(super) fn named(&self) -> Vec<(Arc<str>, i32)> {
        self.named
            .iter()
            .map(|(name, amount)| (name.clone(), *amount))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn the_level_is_the_sum_of_all_reasons() {
        let mut demotion = Demotion::default();
        demotion.adjust(240);
        demotion.set("maintenance".into(), 10);
        demotion.set("maintenance".into(), 20);
        assert_eq!(demotion.level(), 260);
        demotion.adjust(-240);
        demotion.remove("maintenance");
        demotion.remove("unknown");
        assert_eq!(demotion.level(), 0);
    }

    #[test]
    fn it_does_not_overflow_or_grow_without_bound() {
        let mut demotion = Demotion::default();
        demotion.adjust(i32::MAX);
        for index in 0..MAX_DEMOTIONS {
            demotion.set(format!("reason {index}").into(), i32::MAX);
        }
        assert_eq!(demotion.level(), i32::MAX);
        assert!(!demotion.has_room_for("one more"));
        assert!(demotion.has_room_for("reason 0"));
    }
}

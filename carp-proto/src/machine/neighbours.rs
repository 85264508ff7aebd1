//! Announcements to the neighbours, and rivals whose announcements they may have heard.

#![warn(clippy::wildcard_enum_match_arm)]

use core::ops::Add;
use core::time::Duration;

use super::VirtualHost;
use crate::advertisement::{Received, Said};
use crate::config::{RivalPolicy, Spacing};
use crate::event::Event;
use crate::queue::Step;
use crate::timers::Timer;
use crate::types::Family;

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn announce(&mut self) {
        for family in [Family::V4, Family::V6] {
            if self.has(family) {
                self.queue.push(Step::Announce(family));
            }
        }
    }

    pub(super) fn restart_announcements(&mut self, now: T) {
        self.announcements_left = self.config.announcements.repeats;
        self.schedule_announcement(now);
    }

    /// Arms the timer, or the count of advertisements, for the next announcement.
    pub(super) fn schedule_announcement(&mut self, now: T) {
        let plan = self.config.announcements;
        self.timers.stop(Timer::Announce);
        self.advertisements_left = 0;
        match (self.announcements_left, plan.spacing, plan.refresh) {
            (1.., Spacing::Time(wait), _) | (0, _, Some(wait)) => {
                self.timers
                    .arm(Timer::Announce, now + wait.max(Duration::from_millis(1)));
            }
            (1.., Spacing::Advertisements(count), _) => self.advertisements_left = count.get(),
            (0, _, None) => {}
        }
    }

    pub(super) fn on_announce(&mut self, now: T) {
        self.announce();
        self.announcements_left = self.announcements_left.saturating_sub(1);
        self.schedule_announcement(now);
    }

    /// The "delayed ARP" of OpenBSD and UCarp: a gratuitous ARP with the n-th advertisement.
    pub(super) fn count_down_announcement(&mut self) {
        if self.advertisements_left == 0 {
            return;
        }
        self.advertisements_left -= 1;
        if self.advertisements_left > 0 {
            return;
        }
        if self.has(Family::V4) {
            self.queue.push(Step::Announce(Family::V4));
        }
        self.announcements_left = self.announcements_left.saturating_sub(1);
        if let Some(now) = self.now {
            self.schedule_announcement(now);
        }
    }

    pub(super) fn note_rival(&mut self, now: T, received: Received) {
        match self.config.announcements.rival {
            RivalPolicy::Never => {}
            // Without a link nobody hears it; its return announces anyway, here and below.
            RivalPolicy::AtOnce if self.holds_link() => {}
            RivalPolicy::AtOnce => {
                self.announce();
                self.restart_announcements(now);
            }
            RivalPolicy::WhenGone => {
                let known = self.timers.get(Timer::RivalGone).is_some();
                let said = received.said();
                if said.is_farewell() {
                    // It says itself that it is gone.
                    if known {
                        self.timers.stop(Timer::RivalGone);
                        self.on_rival_gone(now);
                    }
                    return;
                }
                if !known {
                    self.queue.push(Step::Event(Event::Rival(received)));
                }
                let pace = match said {
                    Said::Carp(said) => self.config.dialect.pace(said.interval()),
                    Said::Vrrp(said) => said.interval.duration().max(Duration::from_millis(10)),
                };
                self.timers.arm(Timer::RivalGone, now + pace * 2);
            }
        }
    }

    pub(super) fn on_rival_gone(&mut self, now: T) {
        self.queue.push(Step::Event(Event::RivalGone));
        if !self.holds_link() {
            self.announce();
            self.restart_announcements(now);
        }
    }
}

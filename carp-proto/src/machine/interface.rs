//! The interface below a virtual host, and the addresses on it.

#![warn(clippy::wildcard_enum_match_arm)]

use core::ops::Add;
use core::time::Duration;

use super::VirtualHost;
use crate::config::{AddressCount, Config, Interface, UnknownLink};
use crate::dialect::{AtStart, Dialect, FreeBsd, UCarp};
use crate::event::{DemotionReason, Event, Reason, State};
use crate::queue::Step;
use crate::timers::Timer;
use crate::types::Family;
use crate::vrrp::Vrrp;

impl<T: Copy + Ord + Add<Duration, Output = T>> VirtualHost<T> {
    pub(super) fn on_interface(&mut self, now: T, interface: Interface) {
        let was_up = self.is_up();
        self.interface = interface;
        let up = self.is_up();
        if self.holds_link() {
            match interface {
                _ if up => self.link_restored(now),
                Interface::Down => self.interface_lost(),
                Interface::Up | Interface::Unknown | Interface::NoCarrier => {}
            }
            return;
        }
        let flap = self.state == State::Master && was_up && interface != Interface::Down;
        match (up, self.config.dialect) {
            (false, _) if flap && self.config.improvements.ride_out_link_flaps => {
                self.hold_link(now);
            }
            (false, _) => self.interface_lost(),
            // CARP §3.4: the notification may be of a flap whose beginning was never seen.
            (true, Dialect::FreeBsd(_) | Dialect::Vrrp(Vrrp::FreeBsd15))
                if was_up && self.config.improvements.ride_out_link_flaps => {}
            (true, Dialect::FreeBsd(_) | Dialect::Vrrp(Vrrp::FreeBsd15)) => {
                self.interface_found(now);
            }
            (true, Dialect::OpenBsd(_) | Dialect::UCarp(_) | Dialect::Vrrp(Vrrp::Rfc9568))
                if was_up => {}
            (true, Dialect::OpenBsd(_) | Dialect::Vrrp(Vrrp::Rfc9568)) => {
                self.interface_found(now);
            }
            (true, Dialect::UCarp(_)) => self.start(now, None),
        }
    }

    pub(super) fn on_addresses(&mut self, now: T, addresses: AddressCount) {
        let before = self.addresses;
        self.addresses = addresses;
        // The RFC does not say what a change of the list does.
        let improved =
            self.config.improvements.keep_state_on_address_change || self.config.dialect.is_rfc();
        if addresses.is_empty() {
            if !before.is_empty() {
                self.last_address_detached();
            }
        } else if self.holds_link() {
            // The link decides first.
        } else if !self.is_up() {
            self.interface_lost();
        } else if self.state == State::Init {
            self.interface_found(now);
        } else if improved || self.openbsd_keeps(before) {
            self.addresses_changed(now, before, improved);
        } else {
            self.interface_found(now);
        }
        // VRRP's packets prove nothing by their addresses, so there is nothing to forget.
        if before.is_empty() || self.config.dialect.vrrp().is_some() {
            return;
        }
        // One that still waits is about the list before.
        self.queue.retain(|step| *step != Step::ForgetAddresses);
        if improved && self.state != State::Init {
            self.timers
                .arm(Timer::AddressGrace, now + self.config.address_grace);
        } else {
            self.queue.push(Step::ForgetAddresses);
        }
    }

    /// The interface runs and there are addresses, or one of them has changed.
    pub(super) fn interface_found(&mut self, now: T) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.enter(State::Init, Reason::HardwareUp, None);
        self.forget_active();
        if self.owns_addresses() {
            self.become_master(now, Reason::AddressOwner, None);
            self.unsuppress();
            return;
        }
        if !self.addresses.is_empty() {
            self.enter(State::Backup, Reason::InitializationComplete, None);
            self.start(now, None);
        }
        let releases = if was_master {
            self.releases_on_exit()
        } else {
            self.releases_leftovers()
        };
        if releases {
            self.queue.push(Step::Release);
        }
        self.unsuppress();
    }

    /// The interface does not run.
    pub(super) fn interface_lost(&mut self) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.stop_master_down();
        self.timers.stop(Timer::Deaf);
        if let Dialect::UCarp(_) = self.config.dialect {
            // CARP §3.7: UCarp is BACKUP, and looks again later.
            let next = if self.addresses.is_empty() {
                State::Init
            } else {
                State::Backup
            };
            let starts = self.state == State::Init && next == State::Backup;
            self.enter(next, Reason::HardwareDown, None);
            if was_master || (starts && self.releases_leftovers()) {
                self.queue.push(Step::Release);
            }
            return;
        }
        self.enter(State::Init, Reason::HardwareDown, None);
        let freebsd_14 = matches!(
            self.config.dialect,
            Dialect::FreeBsd(FreeBsd::From14) | Dialect::Vrrp(Vrrp::FreeBsd15)
        );
        let openbsd = matches!(self.config.dialect, Dialect::OpenBsd(_));
        if was_master && (self.releases_on_exit() || freebsd_14) {
            self.queue.push(Step::Release);
        }
        // A virtual host without addresses takes no part, so that nobody suffers with it.
        let counts = !(self.addresses.is_empty() && self.config.improvements.exact_demotion);
        if self.suppressed.is_none() && counts {
            let (amount, reason) = if openbsd {
                (1, DemotionReason::CarpDev)
            } else {
                (
                    self.config.settings.ifdown_demotion,
                    DemotionReason::InterfaceDown,
                )
            };
            self.suppressed = Some(amount);
            self.demote(amount, reason);
        }
    }

    pub(super) fn last_address_detached(&mut self) {
        let was_master = self.state == State::Master;
        self.leave_master();
        self.stop_master_down();
        self.timers.stop(Timer::Deaf);
        self.enter(State::Init, Reason::HardwareUp, None);
        if was_master && self.releases_on_exit() {
            self.queue.push(Step::Release);
        }
        self.withdraw_demotions();
    }

    /// Takes back what this virtual host has demoted the others for, as it takes part no more.
    pub(super) fn withdraw_demotions(&mut self) {
        let exact = self.config.improvements.exact_demotion;
        // An OpenBSD is demoted for its parent, whatever addresses there are (CARP §3.5).
        if exact || !matches!(self.config.dialect, Dialect::OpenBsd(_)) {
            self.take_back_suppression(DemotionReason::VhidRemoved);
        }
        let demoted = core::mem::take(&mut self.sending).demoted;
        if exact && demoted != 0 {
            self.demote(demoted.saturating_neg(), DemotionReason::VhidRemoved);
        }
    }

    /// The list changed, but the state stays.
    pub(super) fn addresses_changed(&mut self, now: T, before: AddressCount, improved: bool) {
        let AddressCount { v4, v6 } = self.addresses;
        match self.state {
            State::Init => {}
            State::Backup if improved => {
                for (family, had, has) in [(Family::V4, before.v4, v4), (Family::V6, before.v6, v6)]
                {
                    let timer = Timer::MasterDown(family);
                    if has == 0 {
                        self.timers.stop(timer);
                    } else if had == 0 && self.timers.get(Timer::Deaf).is_none() {
                        let patience = self.patience(None);
                        self.timers.arm(timer, now + patience);
                    }
                }
            }
            // CARP §3.5: timers rearmed.
            State::Backup => self.start(now, None),
            State::Master if improved => {
                self.advertise(now);
                self.queue.push(Step::Acquire);
                self.announce();
                self.restart_announcements(now);
            }
            State::Master => self.arm_first_advertisement(now),
        }
    }

    /// CARP §3.5: an OpenBSD master stays so if addresses were only removed.
    pub(super) fn openbsd_keeps(&self, before: AddressCount) -> bool {
        let now = self.addresses;
        matches!(self.config.dialect, Dialect::OpenBsd(_))
            && now.v4 <= before.v4
            && now.v6 <= before.v6
            && now != before
    }

    pub(super) fn is_up(&self) -> bool {
        match self.interface {
            Interface::Up => true,
            Interface::Unknown => self.config.unknown_link == UnknownLink::Up,
            Interface::NoCarrier | Interface::Down => false,
        }
    }

    pub(super) fn holds_link(&self) -> bool {
        self.timers.get(Timer::LinkHold).is_some()
    }

    /// Keeps the role for one interval without sending.
    pub(super) fn hold_link(&mut self, now: T) {
        let Config {
            dialect, settings, ..
        } = self.config;
        let wait = dialect.advertise_interval(&settings, self.demotion);
        // The least patience of a peer with our advbase counts from when we last sent.
        let patience = dialect.least_patience(&settings);
        let until = match self.last_round {
            Some(last) => (last + patience).min(now + wait),
            None => now + wait,
        };
        if until <= now {
            self.interface_lost();
            return;
        }
        self.leave_master();
        self.timers.arm(Timer::LinkHold, until);
        self.queue.push(Step::Event(Event::LinkLost));
    }

    pub(super) fn link_restored(&mut self, now: T) {
        self.timers.stop(Timer::LinkHold);
        self.queue.push(Step::Event(Event::LinkRestored));
        self.advertise(now);
        // Systems drop addresses with the link, and the list may have changed meanwhile.
        self.queue.push(Step::Acquire);
        self.announce();
        self.restart_announcements(now);
    }

    pub(super) fn unsuppress(&mut self) {
        if self.suppressed.is_some() {
            let reason = match self.config.dialect {
                Dialect::OpenBsd(_) => DemotionReason::CarpDev,
                Dialect::FreeBsd(_) | Dialect::UCarp(_) | Dialect::Vrrp(_) => {
                    DemotionReason::InterfaceUp
                }
            };
            self.take_back_suppression(reason);
        }
    }

    pub(super) fn take_back_suppression(&mut self, reason: DemotionReason) {
        let Some(made) = self.suppressed.take() else {
            return;
        };
        let openbsd = matches!(self.config.dialect, Dialect::OpenBsd(_));
        // Kernels subtract the factor of the day, not what was added (CARP §4.1).
        let amount = if openbsd || self.config.improvements.exact_demotion {
            made
        } else {
            self.config.settings.ifdown_demotion
        };
        self.demote(amount.saturating_neg(), reason);
    }

    /// OpenBSD's link state and UCarp's script follow every change of the state; FreeBSD's
    /// routes do not (CARP §5.3).
    fn releases_on_exit(&self) -> bool {
        self.config.improvements.release_on_every_exit || !self.config.dialect.is_freebsd()
    }

    /// RFC 9568 §6.4.1: who owns the addresses waits for nobody.
    fn owns_addresses(&self) -> bool {
        self.config.dialect.is_rfc() && self.is_owner() && !self.addresses.is_empty()
    }

    /// Whether the start is made sure not to serve what an earlier run left behind.
    fn releases_leftovers(&self) -> bool {
        let Dialect::UCarp(UCarp { at_start, .. }) = self.config.dialect else {
            return false;
        };
        at_start == AtStart::Release
    }
}

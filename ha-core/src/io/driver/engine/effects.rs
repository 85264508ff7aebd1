//! What a driver does about effects and their reports.

use std::io;
use std::sync::Arc;

use carp_proto::{Input, Interface};
use tokio::time::Instant;

use super::super::super::effects::{Effect, Outcome, Report};
use super::super::super::event::EventKind;
use super::super::HostId;
use super::{Engine, Stage};

impl Engine {
    pub(super) fn begin(&mut self, now: Instant, id: HostId, effect: Effect) {
        if let Some(host) = self.hosts.get_mut(&id.index) {
            host.pending.push(effect);
        }
        self.begin_next(now, id);
    }

    fn begin_next(&mut self, now: Instant, id: HostId) {
        while let Some(host) = self.hosts.get_mut(&id.index) {
            let Err(effect) = host.begin_effect() else {
                return;
            };
            // There is no task any more.
            let (vhid, error) = (host.vhid(), Arc::new(io::ErrorKind::BrokenPipe.into()));
            self.tell(
                now,
                EventKind::Failed {
                    host: id,
                    vhid,
                    effect,
                    error,
                },
            );
        }
    }

    pub(in super::super) fn on_report(&mut self, now: Instant, report: Report) {
        let Report { host: id, outcome } = report;
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        let vhid = host.vhid();
        let is_well = matches!(outcome, Outcome::Ended { result: Ok(()), .. });
        if matches!(outcome, Outcome::Panicked) {
            host.jobs = None;
        }
        host.end_effect(now, is_well);
        let kind = match outcome {
            Outcome::Ended {
                effect,
                took,
                result: Ok(()),
            } => EventKind::Done {
                host: id,
                vhid,
                effect,
                took,
            },
            Outcome::Ended {
                effect,
                result: Err(error),
                ..
            } => EventKind::Failed {
                host: id,
                vhid,
                effect,
                error: Arc::new(error),
            },
            Outcome::Panicked => {
                // Nobody is there to serve the addresses: as good as no network.
                host.machine.handle(now, Input::Interface(Interface::Down));
                EventKind::Panicked { host: id, vhid }
            }
        };
        self.tell(now, kind);
        self.begin_next(now, id);
        // Who ends does not keep its successor waiting for what may never succeed.
        let is_ending = !matches!(self.stage, Stage::Running)
            || self
                .hosts
                .get(&id.index)
                .is_some_and(|host| host.leaving.is_some());
        let may_bow_out = self.hosts.get(&id.index).is_some_and(|host| {
            !host.pending.is_releasing() || is_ending && host.failed == Some(Effect::Release)
        });
        if may_bow_out {
            self.send_farewells(now, id);
        }
    }

    /// Tries again what failed, if it is time for it.
    pub(super) fn retry_effect(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        if host.pending.retry_at().is_some_and(|at| at <= now) {
            host.pending.retry();
            self.begin_next(now, id);
        }
    }
}

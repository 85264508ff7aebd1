//! How virtual hosts and drivers end.

use core::time::Duration;

use carp_proto::Input;
use tokio::time::Instant;

use super::super::super::effects::Effect;
use super::super::DriverError;
use super::super::host::Host;
use super::{Engine, Stage};

impl Engine {
    /// Forgets the virtual hosts that have left.
    pub(in super::super) fn reap(&mut self) {
        let is_gone = |host: &Host| host.leaving.is_some() && !host.is_busy();
        while let Some(index) = self
            .hosts
            .iter()
            .find_map(|(&index, host)| is_gone(host).then_some(index))
        {
            let Some(host) = self.hosts.remove(&index) else {
                return;
            };
            self.refresh_groups(host.segment);
            host.end();
        }
    }

    pub(in super::super) fn shutdown(&mut self, now: Instant, limit: Duration) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        self.stage = Stage::Ending(now + limit);
        for host in self.hosts.values_mut() {
            host.machine.handle(now, Input::Shutdown);
        }
        let _ = self.drain(now);
    }

    /// Whether all is done, or the time for it is over.
    pub(in super::super) fn is_finished(&mut self) -> bool {
        if matches!(self.stage, Stage::Ending(_)) && self.unfinished() == 0 {
            self.stage = Stage::Ended(match self.not_released() {
                0 => Ok(()),
                hosts => Err(DriverError::NotReleased { hosts }),
            });
        }
        matches!(self.stage, Stage::Ended(_))
    }

    pub(in super::super) fn result(&self) -> Result<(), DriverError> {
        match self.stage {
            Stage::Ended(result) => result,
            Stage::Running | Stage::Ending(_) => Ok(()),
        }
    }

    /// How many virtual hosts have something left to do.
    fn unfinished(&self) -> usize {
        self.hosts.values().filter(|host| host.is_busy()).count()
    }

    /// How many virtual hosts could not release their addresses.
    fn not_released(&self) -> usize {
        let failed = |host: &&Host| host.failed == Some(Effect::Release);
        self.hosts.values().filter(failed).count()
    }

    pub(super) fn give_up(&mut self, now: Instant) {
        let hosts = self.unfinished();
        let only_failing = self
            .hosts
            .values()
            .all(|host| host.pending.is_idle() || host.pending.is_failing());
        let error = if only_failing {
            DriverError::NotReleased {
                hosts: self.not_released(),
            }
        } else {
            DriverError::Unfinished { hosts }
        };
        // Late, but nobody advertises here any more, so the successor may as well know.
        for index in 0..self.hosts_added {
            self.send_farewells(now, self.host_id(index));
        }
        self.stage = Stage::Ended(Err(error));
    }
}

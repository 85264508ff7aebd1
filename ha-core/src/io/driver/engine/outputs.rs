//! What a driver does about what the machines want done.

use core::task::Poll;
use std::sync::Arc;

use carp_proto::{Input, Output, Transmit};
use tokio::time::Instant;

use super::super::super::clock;
use super::super::super::effects::Effect;
use super::super::super::event::{DemotionCause, EventKind};
use super::super::demotion::Demotion;
use super::super::{HostId, host};
use super::Engine;

/// How many outputs of a virtual host are acted on, on average, before packets get their turn.
/// No machine gives that many; the bound is for a transport that fails and succeeds in the
/// very rhythm in which demotions make all hosts send.
const OUTPUTS_PER_TURN: usize = 64;

impl Engine {
    /// Does what the machines want done. Pending if that was more than a turn takes.
    pub(in super::super) fn drain(&mut self, now: Instant) -> Poll<()> {
        for _ in 0..OUTPUTS_PER_TURN * self.hosts.len() {
            let Some((id, output)) = self.poll_output() else {
                return Poll::Ready(());
            };
            self.act(now, id, output);
        }
        if self.hosts.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_output(&mut self) -> Option<(HostId, Output)> {
        let driver = self.driver;
        self.hosts.iter_mut().find_map(|(&index, host)| {
            host.machine
                .poll_output()
                .map(|output| (HostId { driver, index }, output))
        })
    }

    fn act(&mut self, now: Instant, id: HostId, output: Output) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        match output {
            // Whoever sends packets could keep everything else from being read.
            Output::Event(carp_proto::Event::Refused { .. }) if !host.refusals.opens(now) => {}
            Output::Event(event) => {
                let vhid = host.vhid();
                self.tell(
                    now,
                    EventKind::Protocol {
                        host: id,
                        vhid,
                        event,
                    },
                );
            }
            Output::Demote(demote) => {
                let cause = DemotionCause::Protocol {
                    host: id,
                    reason: demote.reason,
                };
                self.demote(now, cause, |demotion| demotion.adjust(demote.adjustment));
            }
            Output::Transmit(transmit) => {
                if !host.keep_farewell(transmit) {
                    self.transmit(now, id, transmit);
                }
            }
            Output::Acquire => {
                // Whoever takes the role again does not leave.
                host.farewells.clear();
                self.begin(now, id, Effect::Acquire);
            }
            Output::Release => self.begin(now, id, Effect::Release),
            Output::Announce(family) => self.begin(now, id, Effect::Announce(family)),
            Output::NeedCounter => {
                host.machine
                    .handle(now, Input::FreshCounter(clock::random()));
            }
            Output::ForgetAddresses => {
                if let Some(auth) = host.protocol.auth_mut() {
                    auth.forget_previous();
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, id: HostId, transmit: Transmit) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&host.segment.index) else {
            return;
        };
        let family = transmit.family;
        let result = host.send(&mut *segment.transport, &transmit);
        // It may have changed since; whatever comes back has the one that was used.
        host.learn_sources(now, &*segment.transport);
        host.machine
            .handle(now, Input::Sent(family, host::send_result(&result)));
        let was_mute = core::mem::replace(host.is_mute(family), result.is_err());
        if let Err(error) = result {
            if !was_mute {
                let (vhid, error) = (host.vhid(), Arc::new(error));
                self.tell(
                    now,
                    EventKind::NotSent {
                        host: id,
                        vhid,
                        family,
                        error,
                    },
                );
            }
        }
    }

    pub(super) fn send_farewells(&mut self, now: Instant, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id.index) else {
            return;
        };
        for transmit in core::mem::take(&mut host.farewells) {
            self.transmit(now, id, transmit);
        }
    }

    /// Changes the demotion level and hands it to all virtual hosts, if it is another now.
    pub(super) fn demote(
        &mut self,
        now: Instant,
        cause: DemotionCause,
        change: impl FnOnce(&mut Demotion),
    ) {
        let before = self.demotion.level();
        change(&mut self.demotion);
        let level = self.demotion.level();
        if level == before {
            return;
        }
        let adjustment = level.saturating_sub(before);
        self.tell(
            now,
            EventKind::Demotion {
                adjustment,
                level,
                cause,
            },
        );
        for host in self.hosts.values_mut() {
            host.machine.handle(now, Input::Demotion(level));
        }
    }
}

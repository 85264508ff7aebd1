//! One virtual host: its machine, and all that surrounds it.

use core::net::IpAddr;
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{
    AddressCount, Config, Family, Group, Input, Received, ReplayPolicy, Said, SendResult, State,
    Stats, Transmit, Vhid, VirtualHost,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::effects::{Effect, Effects, Job, Order, Pending, Service};
use super::super::transport::Transport;
use super::gate::Gate;
use super::handle::Reply;
use super::protocol::Protocol;
use super::{CommandError, HostId, HostStatus, SegmentId, Setup, SetupError};

/// How many bow-outs wait for a release: two rounds of both families.
const MAX_FAREWELLS: usize = 4;
/// The error number for an error that has none: that of an input/output error.
const EIO: i32 = 5;

pub(super) struct Host {
    pub(super) segment: SegmentId,
    pub(super) machine: VirtualHost<Instant>,
    pub(super) protocol: Protocol,
    pub(super) addresses: Arc<[IpAddr]>,
    pub(super) pending: Pending,
    /// To the task that owns the effects; none before it runs and after it panicked.
    pub(super) jobs: Option<mpsc::Sender<Order>>,
    /// Until that task owns them.
    pub(super) effects: Option<Box<dyn Effects>>,
    /// Whom to tell when the host has left, if it was asked to.
    pub(super) leaving: Option<Reply<Result<(), CommandError>>>,
    /// Bow-outs to be sent when the addresses are released. The machine has counted them as
    /// sent, also those that then prove needless.
    pub(super) farewells: Vec<Transmit>,
    /// The effect that was run last, if it failed.
    pub(super) failed: Option<Effect>,
    /// Limits what is told about refusals.
    pub(super) refusals: Gate,
    /// What the last effect was to serve, and what the last successful `acquire` did.
    ordered: Arc<[IpAddr]>,
    serving: Option<Arc<[IpAddr]>>,
    /// Whether the last advertisement of the family could not be sent.
    is_mute_v4: bool,
    is_mute_v6: bool,
    /// Whether our own source address of the family is the transport's to say.
    learns_v4: bool,
    learns_v6: bool,
}

impl Host {
    pub(super) fn new(segment: SegmentId, setup: Setup) -> Result<Self, SetupError> {
        let Setup {
            config,
            addresses,
            means,
            effects,
        } = setup;
        let protocol = Protocol::new(config.dialect, config.vhid, &addresses, &means)?;
        Ok(Self {
            segment,
            learns_v4: config.source_v4.is_none(),
            learns_v6: config.source_v6.is_none(),
            machine: VirtualHost::new(config)?,
            protocol,
            ordered: addresses.clone(),
            addresses,
            pending: Pending::new(),
            jobs: None,
            effects: Some(effects),
            leaving: None,
            farewells: Vec::with_capacity(MAX_FAREWELLS),
            failed: None,
            refusals: Gate::default(),
            serving: None,
            is_mute_v4: false,
            is_mute_v6: false,
        })
    }

    pub(super) fn vhid(&self) -> Vhid {
        self.machine.vhid()
    }

    /// Whether something is left to do or to send.
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_idle() || !self.farewells.is_empty()
    }

    /// Has the effects dropped, and tells whoever had the host removed.
    pub(super) fn end(self) {
        let Some(reply) = self.leaving else {
            return;
        };
        let unsent = match self.jobs {
            // Nothing is under way, so there is room.
            Some(jobs) => jobs.try_send(Order::End(reply)).err(),
            None => Some(mpsc::error::TrySendError::Closed(Order::End(reply))),
        };
        if let Some(Order::End(reply)) = unsent.map(mpsc::error::TrySendError::into_inner) {
            // The task is gone, and the effects with it.
            let _ = reply.send(Ok(()));
        }
    }

    /// What the segment has to know of it.
    pub(super) fn group(&self) -> Group {
        let AddressCount { v4, v6 } = AddressCount::of(&self.addresses);
        Group {
            vhid: self.vhid(),
            v4: v4 > 0,
            v6: v6 > 0,
            ttl: self.protocol.ttl(),
        }
    }

    /// Takes from the transport the own addresses that were not configured, as they are now.
    pub(super) fn learn_sources(&mut self, now: Instant, transport: &dyn Transport) {
        let Config {
            source_v4,
            source_v6,
            ..
        } = *self.machine.config();
        let known = [
            (Family::V4, self.learns_v4, source_v4.map(IpAddr::from)),
            (Family::V6, self.learns_v6, source_v6.map(IpAddr::from)),
        ];
        for (family, learns, known) in known {
            let source = transport.source(family).filter(|_| learns);
            if let Some(source) = source.filter(|source| known != Some(*source)) {
                self.machine.handle(now, Input::Source(source));
            }
        }
    }

    /// Hands the next effect to its task.
    ///
    /// # Errors
    ///
    /// The effect, if there is no task any more; then there may be a further one.
    pub(super) fn begin_effect(&mut self) -> Result<(), Effect> {
        let Some(effect) = self.pending.begin() else {
            return Ok(());
        };
        let service = Service {
            vhid: self.vhid(),
            dialect: self.machine.config().dialect,
            addresses: self.addresses.clone(),
        };
        self.ordered = self.addresses.clone();
        let handed = match &self.jobs {
            Some(jobs) => jobs.try_send(Order::Do(Job { effect, service })).is_ok(),
            None => false,
        };
        if handed {
            return Ok(());
        }
        self.pending.end();
        self.failed = Some(effect);
        Err(effect)
    }

    /// Takes note that the effect under way has ended, well or not.
    pub(super) fn end_effect(&mut self, now: Instant, is_well: bool) {
        let Some(effect) = self.pending.end() else {
            return;
        };
        let was_failing = self.failed == Some(Effect::Acquire);
        self.failed = (!is_well).then_some(effect);
        match effect {
            // Without a task, nothing can be tried again.
            _ if !is_well && self.jobs.is_none() => {}
            _ if !is_well => self.pending.fail(now, effect),
            Effect::Acquire => {
                self.serving = Some(self.ordered.clone());
                if was_failing {
                    self.announce_late();
                }
            }
            Effect::Release => self.serving = None,
            Effect::Announce(_) => {}
        }
    }

    /// Announces what a first attempt did not serve, as far as that does not wait anyway.
    fn announce_late(&mut self) {
        if self.pending.is_releasing() {
            return;
        }
        let AddressCount { v4, v6 } = AddressCount::of(&self.ordered);
        for (family, count) in [(Family::V4, v4), (Family::V6, v6)] {
            if count > 0 {
                self.pending.push(Effect::Announce(family));
            }
        }
    }

    /// Hands an advertisement to the machine, and forgets the bow-outs that wait if there is
    /// nobody left to bow out to.
    pub(super) fn hear(&mut self, now: Instant, received: Received) {
        let is_from_another_master = self.is_from_another_master(&received);
        let screened = |stats: Stats| (stats.echoes, stats.replay);
        let before = screened(self.machine.stats());
        self.machine.handle(now, Input::Advertisement(received));
        let is_refused = screened(self.machine.stats()) != before;
        if is_from_another_master && !is_refused {
            self.farewells.clear();
        }
    }

    /// What the machine does not say, or no longer: after its end it screens nothing.
    fn is_from_another_master(&self, received: &Received) -> bool {
        let said = received.said();
        let config = self.machine.config();
        let is_own = match received.source {
            IpAddr::V4(source) => config.source_v4 == Some(source),
            IpAddr::V6(source) => config.source_v6 == Some(source),
        };
        let is_old = match said {
            Said::Carp(said) => {
                config.replay == ReplayPolicy::Strict && said.counter <= self.machine.counter()
            }
            Said::Vrrp(_) => false,
        };
        !is_own && !is_old && !said.is_farewell()
    }

    /// Whether the last advertisement of this family could not be sent.
    pub(super) fn is_mute(&mut self, family: Family) -> &mut bool {
        match family {
            Family::V4 => &mut self.is_mute_v4,
            Family::V6 => &mut self.is_mute_v6,
        }
    }

    /// Keeps a bow-out until the addresses are released; whether it did.
    pub(super) fn keep_farewell(&mut self, transmit: Transmit) -> bool {
        let is_bow_out = transmit.advertisement.is_farewell();
        if !is_bow_out || !self.pending.is_releasing() {
            return false;
        }
        if self.farewells.len() < MAX_FAREWELLS {
            self.farewells.push(transmit);
        }
        true
    }

    /// Sends an advertisement.
    pub(super) fn send(
        &self,
        transport: &mut dyn Transport,
        transmit: &Transmit,
    ) -> io::Result<()> {
        self.protocol.send(transport, transmit, &self.addresses)
    }

    pub(super) fn status(&self, host: HostId) -> HostStatus {
        let machine = &self.machine;
        let master_down = [Family::V4, Family::V6]
            .into_iter()
            .filter_map(|f| machine.master_down(f))
            .min();
        HostStatus {
            host,
            segment: self.segment,
            vhid: self.vhid(),
            state: machine.state(),
            settings: machine.config().settings,
            addresses: self.addresses.clone(),
            counter: machine.counter(),
            next_advertisement: machine.next_advertisement(),
            master_down: master_down.filter(|_| machine.state() == State::Backup),
            serving: self.serving.clone(),
            failed: self.failed,
            pending_effects: self.pending.len(),
            stats: machine.stats(),
        }
    }
}

/// What the machine is told about a packet that was or was not sent.
pub(super) fn send_result(result: &io::Result<()>) -> SendResult {
    match result {
        Ok(()) => SendResult::Ok,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => SendResult::NoMemory,
            _ => SendResult::Error(error.raw_os_error().unwrap_or(EIO)),
        },
    }
}

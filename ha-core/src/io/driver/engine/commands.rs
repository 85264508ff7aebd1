//! What a driver does about what it is told, and what it tells about itself.

use core::net::IpAddr;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{AddressCount, Input, State};
use tokio::time::Instant;

use super::super::super::event::DemotionCause;
use super::super::super::transport::Transport;
use super::super::handle::{Change, CommandError, Reply, SegmentStatus, Status};
use super::super::{HostId, SegmentId};
use super::{Engine, Stage};

impl Engine {
    pub(in super::super) fn change(
        &mut self,
        now: Instant,
        change: Change,
    ) -> Result<(), CommandError> {
        if !matches!(self.stage, Stage::Running) {
            return Err(CommandError::ShuttingDown);
        }
        match change {
            Change::Force(id, state) => self.force(now, id, state)?,
            Change::Settings(id, settings) => {
                let host = self.host(id)?;
                settings.validate(host.machine.config().dialect)?;
                host.machine.handle(now, Input::Settings(settings));
            }
            Change::Addresses(id, addresses) => self.set_addresses(now, id, addresses)?,
            Change::Interface(id, interface) => {
                if id.driver != self.driver {
                    return Err(CommandError::Unknown);
                }
                let segment = self.segments.get_mut(&id.index);
                let told = &mut segment.ok_or(CommandError::Unknown)?.interface;
                // FreeBSD's rules take a repetition for a flap.
                if told.replace(interface) == Some(interface) {
                    return Ok(());
                }
                for host in self.hosts.values_mut().filter(|host| host.segment == id) {
                    if host.jobs.is_some() {
                        host.machine.handle(now, Input::Interface(interface));
                    }
                }
            }
            Change::RemoveSegment(id) => self.remove_segment(id)?,
            Change::Transport(id, transport) => self.replace_transport(now, id, transport)?,
            Change::Demote(name, amount) => {
                if !self.demotion.has_room_for(&name) {
                    return Err(CommandError::TooManyReasons);
                }
                let cause = DemotionCause::Named(name.clone());
                self.demote(now, cause, |demotion| demotion.set(name, amount));
            }
            Change::Restore(name) => {
                let cause = DemotionCause::Named(name.clone());
                self.demote(now, cause, |demotion| demotion.remove(&name));
            }
        }
        // So that whoever asks for the status next sees what came of it.
        let _ = self.drain(now);
        Ok(())
    }

    /// Ends a virtual host, which answers `reply` when it has left.
    pub(in super::super) fn remove(
        &mut self,
        now: Instant,
        id: HostId,
        reply: Reply<Result<(), CommandError>>,
    ) {
        let running = matches!(self.stage, Stage::Running);
        let refusal = match self.host(id) {
            _ if !running => CommandError::ShuttingDown,
            Ok(host) if host.leaving.is_none() => {
                host.leaving = Some(reply);
                host.machine.handle(now, Input::Shutdown);
                let _ = self.drain(now);
                return;
            }
            Ok(_) | Err(_) => CommandError::Unknown,
        };
        // Whoever asked may be gone, here and below.
        let _ = reply.send(Err(refusal));
    }

    /// Closes a segment that has no virtual hosts.
    fn remove_segment(&mut self, id: SegmentId) -> Result<(), CommandError> {
        let is_known = id.driver == self.driver && self.segments.contains_key(&id.index);
        let is_used = self.hosts.values().any(|host| host.segment == id);
        match (is_known, is_used) {
            (false, _) => Err(CommandError::Unknown),
            (true, true) => Err(CommandError::InUse),
            (true, false) => {
                self.segments.remove(&id.index);
                Ok(())
            }
        }
    }

    fn replace_transport(
        &mut self,
        now: Instant,
        id: SegmentId,
        transport: Box<dyn Transport>,
    ) -> Result<(), CommandError> {
        let segment = self.segments.get_mut(&id.index);
        let segment = segment
            .filter(|_| id.driver == self.driver)
            .ok_or(CommandError::Unknown)?;
        let hosts = self.hosts.values_mut().filter(|host| host.segment == id);
        let hosts: Vec<_> = hosts.collect();
        for host in &hosts {
            host.protocol.fits(&*transport, &host.addresses)?;
        }
        for host in hosts {
            host.learn_sources(now, &*transport);
        }
        segment.replace_transport(transport);
        Ok(())
    }

    fn force(&mut self, now: Instant, id: HostId, state: State) -> Result<(), CommandError> {
        let host = self.host(id)?;
        host.machine.handle(now, Input::Force(state));
        Ok(())
    }

    fn set_addresses(
        &mut self,
        now: Instant,
        id: HostId,
        addresses: Arc<[IpAddr]>,
    ) -> Result<(), CommandError> {
        let segment = self.host(id)?.segment;
        let transport = self
            .segments
            .get(&segment.index)
            .map(|segment| &*segment.transport)
            .ok_or(CommandError::Unknown)?;
        let host = self.hosts.get(&id.index).ok_or(CommandError::Unknown)?;
        host.protocol.fits(transport, &addresses)?;
        let host = self.host(id)?;
        if host.addresses == addresses {
            return Ok(());
        }
        if let Some(auth) = host.protocol.auth_mut() {
            auth.set_addresses(&addresses);
        }
        host.machine
            .handle(now, Input::Addresses(AddressCount::of(&addresses)));
        host.addresses = addresses;
        self.refresh_groups(segment);
        Ok(())
    }

    pub(super) fn refresh_groups(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id.index) {
            segment.set_groups(self.hosts.values().filter(|host| host.segment == id));
        }
    }

    pub(in super::super) fn status(&self) -> Status {
        Status {
            demotion: self.demotion.level(),
            reasons: self.demotion.named(),
            hosts: self
                .hosts
                .iter()
                .map(|(&index, host)| host.status(self.host_id(index)))
                .collect(),
            segments: self
                .segments
                .iter()
                .map(|(&index, segment)| SegmentStatus {
                    segment: self.segment_id(index),
                    strangers: segment.transport.strangers(),
                    stats: segment.stats,
                })
                .collect(),
        }
    }
}

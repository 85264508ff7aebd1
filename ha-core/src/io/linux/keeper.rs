//! What keeps interfaces and addresses as they should be while a driver runs.

use core::net::IpAddr;
use core::num::NonZeroU32;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{Interface, Vhid};
use tokio::time::Instant;

use super::card::Card;
use super::message::{LinkState, Place};
use super::network::Shared;
use super::promote::Promoting;
use super::rtnl::Rtnl;
use super::socket::{self, Sockets};
use super::watch::{Change, Watch};
use super::{LinuxError, LinuxEvent, Nic, macvlan, serve};
use crate::io::{CommandError, Handle, SegmentId, clock};

/// How often a lifetime is lengthened before it would run out.
const REFRESHES: u32 = 4;
/// How soon is looked again whether lifetimes are to be lengthened; soon enough for the
/// shortest.
const IDLE: Duration = Duration::from_millis(250);

/// Addresses to be restored.
type Lost = Vec<(Arc<Card>, Vhid, IpAddr)>;

/// Why there is nothing left to keep.
enum Ended {
    /// The driver has ended.
    Driver,
    /// The thread that talks to the kernel is gone.
    Thread(LinuxError),
}

pub(super) async fn keep(
    shared: Arc<Shared>,
    handle: Handle,
    segments: Vec<(Nic, SegmentId)>,
) -> Result<(), LinuxError> {
    // Before all is looked at, so that no change is missed between.
    let mut watch = Watch::open(shared.port)?;
    let driver = handle.clone();
    let mut keeper = Keeper {
        shared,
        handle,
        segments,
        refreshed_at: clock::now(),
        is_failing: false,
        has_met_unreadable: false,
    };
    let mut going = keeper.begin().await;
    let mut alarm = pin!(clock::alarm());
    while going.is_ok() {
        going = tokio::select! {
            biased;
            () = alarm.as_mut() => {
                let asked_at = clock::now();
                // Looked at this often, as a lifetime may have come that is shorter than those
                // before.
                alarm.as_mut().reset(asked_at + IDLE);
                keeper.refresh_if_due(asked_at).await
            }
            () = driver.ended() => Err(Ended::Driver),
            changes = watch.changes() => keeper.on_changes(changes?).await,
        };
    }
    match going {
        Err(Ended::Thread(error)) => Err(error),
        _ => Ok(()),
    }
}

struct Keeper {
    shared: Arc<Shared>,
    handle: Handle,
    segments: Vec<(Nic, SegmentId)>,
    refreshed_at: Instant,
    /// Whether the last refresh failed, so that it is told once.
    is_failing: bool,
    /// Whether it was told that the kernel says things that cannot be read.
    has_met_unreadable: bool,
}

impl Keeper {
    /// Tells the driver about all interfaces, and looks at all addresses.
    async fn begin(&mut self) -> Result<(), Ended> {
        for (nic, segment) in self.segments.clone() {
            self.set_interface(segment, nic.state()).await?;
        }
        let mut lost = Lost::new();
        self.look_at_links(&mut lost).await?;
        self.look_at_addresses(&mut lost).await?;
        self.restore(lost).await
    }

    // Lifetimes.

    /// The shortest lifetime of the addresses.
    fn lifetime(&self) -> Option<Duration> {
        let shortest = |card: &Arc<Card>| {
            let facts = card.facts();
            facts.hosts.values().filter_map(|h| h.lifetime).min()
        };
        let seconds = self.shared.cards().iter().filter_map(shortest).min();
        seconds.map(|seconds: NonZeroU32| Duration::from_secs(seconds.get().into()))
    }

    fn period(&self) -> Duration {
        self.lifetime()
            .map_or(IDLE, |lifetime| lifetime / REFRESHES)
    }

    async fn refresh_if_due(&mut self, now: Instant) -> Result<(), Ended> {
        if now.saturating_duration_since(self.refreshed_at) < self.period() {
            return Ok(());
        }
        self.refresh(now).await
    }

    fn is_late(&self) -> bool {
        let since = clock::now().saturating_duration_since(self.refreshed_at);
        self.lifetime().is_some_and(|lifetime| since > lifetime)
    }

    /// Lengthens the lifetimes, if the driver answers. A driver that hangs so loses the
    /// addresses.
    async fn refresh(&mut self, asked_at: Instant) -> Result<(), Ended> {
        self.handle.ping().await.map_err(|_| Ended::Driver)?;
        if self.is_late() {
            // Addresses are gone that must not come back if another host is the master by now,
            // and must be announced if not.
            let mut lost = Lost::new();
            self.look_at_addresses(&mut lost).await?;
            self.let_driver_decide().await?;
            self.restore(lost).await?;
        }
        let cards = self.shared.cards();
        let refresh = move |rtnl: &mut Rtnl| serve::refresh(rtnl, &cards);
        let result = self.shared.worker.run(refresh).await;
        let took = clock::now().saturating_duration_since(self.refreshed_at);
        if self.lifetime().is_some_and(|lifetime| took > lifetime) {
            self.shared.teller.tell(LinuxEvent::Late { took });
        }
        self.refreshed_at = asked_at;
        let was_failing = core::mem::replace(&mut self.is_failing, result.is_err());
        if let (Err(error), false) = (result, was_failing) {
            self.fail(error)?;
        }
        Ok(())
    }

    // Changes.

    async fn on_changes(&mut self, changes: Vec<Change>) -> Result<(), Ended> {
        let mut lost = Lost::new();
        let mut is_overrun = false;
        let mut is_unreadable = false;
        let mut is_dirty = false;
        for change in changes {
            match change {
                Change::Link(link) => self.on_link(link, &mut lost).await?,
                Change::LinkGone(index) => self.on_link_gone(index).await?,
                // Refreshes of IPv6 addresses come from nobody, as the kernel tells it.
                Change::Address(place) if self.is_kept(place) => {}
                Change::Address(place) => is_dirty |= self.concerns_us(place.device),
                Change::AddressGone(place) => {
                    is_dirty |= self.concerns_us(place.device);
                    self.note_lost(place.device, place.address, &mut lost);
                }
                Change::Overrun => is_overrun = true,
                Change::Unreadable => is_unreadable = true,
            }
        }
        if is_overrun {
            self.shared.teller.tell(LinuxEvent::Overrun);
        }
        if is_unreadable {
            self.note_unreadable(LinuxError::Netlink {
                call: "event",
                source: io::ErrorKind::InvalidData.into(),
            })?;
        }
        if is_overrun || is_unreadable {
            self.look_at_links(&mut lost).await?;
        }
        if is_overrun || is_unreadable || is_dirty {
            self.look_at_addresses(&mut lost).await?;
        }
        self.restore(lost).await
    }

    async fn look_at_links(&mut self, lost: &mut Lost) -> Result<(), Ended> {
        let (links, unreadable) = match self.shared.worker.run(serve::links).await {
            Ok(links) => links,
            Err(error) => return self.fail(error),
        };
        // What could not be read is not gone.
        let is_whole = unreadable.is_none();
        if let Some(error) = unreadable {
            self.note_unreadable(error)?;
        }
        for card in self.shared.cards() {
            let index = card.index();
            if is_whole && index != 0 && links.iter().all(|link| link.index != index) {
                self.on_link_gone(index).await?;
            }
        }
        for link in links {
            self.on_link(link, lost).await?;
        }
        Ok(())
    }

    async fn look_at_addresses(&mut self, lost: &mut Lost) -> Result<(), Ended> {
        let cards = self.shared.cards();
        let inspect = move |rtnl: &mut Rtnl| serve::inspect(rtnl, &cards);
        match self.shared.worker.run(inspect).await {
            Ok(findings) => {
                for (interface, address) in findings.foreign {
                    let event = LinuxEvent::Foreign { interface, address };
                    self.shared.teller.tell(event);
                }
                lost.extend(findings.missing);
                findings
                    .unreadable
                    .map_or(Ok(()), |e| self.note_unreadable(e))
            }
            Err(error) => self.fail(error),
        }
    }

    fn note_unreadable(&mut self, error: LinuxError) -> Result<(), Ended> {
        if core::mem::replace(&mut self.has_met_unreadable, true) {
            return Ok(());
        }
        self.fail(error)
    }

    // Interfaces.

    async fn on_link(&mut self, link: LinkState, lost: &mut Lost) -> Result<(), Ended> {
        for card in self.shared.cards() {
            if card.index() == link.index {
                let before = card.facts().state;
                card.facts().set_link(&link);
                if before != link.state {
                    self.tell_state(&card, link.state).await?;
                }
            } else if link.name == Some(card.name()) {
                self.revive(&card, lost).await?;
            } else if link.state == Interface::Down {
                note_switched_off(&card, link.index, lost);
            }
        }
        Ok(())
    }

    async fn on_link_gone(&mut self, index: u32) -> Result<(), Ended> {
        for card in self.shared.cards() {
            if card.index() == index {
                {
                    let mut facts = card.facts();
                    facts.index = 0;
                    facts.state = Interface::Down;
                    facts.set_addresses(&[]);
                }
                let interface = card.name();
                self.shared.teller.tell(LinuxEvent::Gone { interface });
                self.tell_state(&card, Interface::Down).await?;
            }
        }
        Ok(())
    }

    /// Takes an interface of a known name for the one that is gone.
    async fn revive(&mut self, card: &Arc<Card>, lost: &mut Lost) -> Result<(), Ended> {
        let interface = card.name();
        let same = card.clone();
        let open = move |rtnl: &mut Rtnl| open_again(rtnl, &same);
        if let Err(error) = self.shared.worker.run(open).await {
            return self.fail(error);
        }
        self.shared.teller.tell(LinuxEvent::Back { interface });
        self.look_at_addresses(lost).await?;
        let state = card.facts().state;
        self.tell_state(card, state).await
    }

    async fn tell_state(&mut self, card: &Arc<Card>, state: Interface) -> Result<(), Ended> {
        let interface = card.name();
        self.shared
            .teller
            .tell(LinuxEvent::Link { interface, state });
        for (nic, segment) in self.segments.clone() {
            if Arc::ptr_eq(nic.card(), card) {
                self.set_interface(segment, state).await?;
            }
        }
        Ok(())
    }

    async fn set_interface(&self, segment: SegmentId, state: Interface) -> Result<(), Ended> {
        match self.handle.set_interface(segment, state).await {
            Err(CommandError::Ended) => Err(Ended::Driver),
            // One that is shutting down no longer cares.
            _ => Ok(()),
        }
    }

    // Addresses.

    /// Whether an interface is one of ours, or on top of one.
    fn concerns_us(&self, device: u32) -> bool {
        self.shared.cards().iter().any(|card| {
            let facts = card.facts();
            let mut hosts = facts.hosts.values();
            facts.index == device || hosts.any(|host| host.device(facts.index) == device)
        })
    }

    /// Whether an address is where it is to be.
    fn is_kept(&self, place: Place) -> bool {
        self.shared.cards().iter().any(|card| {
            let facts = card.facts();
            let mut hosts = facts.hosts.values();
            hosts.any(|h| h.device(facts.index) == place.device && h.keeps(place.address))
        })
    }

    /// Notes where an address that was removed is served, if it is.
    fn note_lost(&self, device: u32, address: IpAddr, lost: &mut Lost) {
        for card in self.shared.cards() {
            let facts = card.facts();
            for (vhid, host) in &facts.hosts {
                let is_here = host.device(facts.index) == device;
                if is_here && host.keeps(address) {
                    lost.push((card.clone(), *vhid, address));
                }
            }
        }
    }

    /// Restores what is still to be served.
    async fn restore(&mut self, mut lost: Lost) -> Result<(), Ended> {
        lost.retain(|(card, ..)| card.facts().state != Interface::Down);
        if lost.is_empty() {
            return Ok(());
        }
        self.let_driver_decide().await?;
        let mut done = Vec::new();
        for (card, vhid, address) in lost {
            let interface = card.name();
            if done.contains(&(interface, address)) {
                continue;
            }
            done.push((interface, address));
            let restore = move |rtnl: &mut Rtnl| serve::restore(rtnl, &card, vhid, address);
            match self.shared.worker.run(restore).await {
                Ok(true) => {
                    let event = LinuxEvent::Restored { interface, address };
                    self.shared.teller.tell(event);
                }
                Ok(false) => {}
                Err(error) => self.fail(error)?,
            }
        }
        Ok(())
    }

    /// If this program was held up, another host may be the master by now. When the driver has
    /// answered it has read what its sockets held, and when it has answered again, its decisions
    /// are on their way.
    async fn let_driver_decide(&self) -> Result<(), Ended> {
        for _ in 0..2 {
            self.handle.ping().await.map_err(|_| Ended::Driver)?;
        }
        Ok(())
    }

    /// Tells what failed, unless it is all over.
    fn fail(&self, error: LinuxError) -> Result<(), Ended> {
        if matches!(error, LinuxError::Thread { .. }) {
            return Err(Ended::Thread(error));
        }
        let error = Arc::new(error);
        self.shared.teller.tell(LinuxEvent::Failed { error });
        Ok(())
    }
}

/// Opens on a recreated interface what was open on the one before. Macvlans are made again when
/// they are needed.
fn open_again(rtnl: &mut Rtnl, card: &Card) -> Result<(), LinuxError> {
    let name = card.name();
    let link = macvlan::link(rtnl, name)?.ok_or(LinuxError::NoInterface { interface: name })?;
    let (setup, has_packet, has_below, has_promoting) = {
        let facts = card.facts();
        (
            facts.setup.clone(),
            facts.packet.is_some(),
            facts.below.is_some(),
            facts.promoting.is_some(),
        )
    };
    let open = |setup: Arc<_>| Sockets::open(&setup, name, link.index);
    let sockets = setup.map(open).transpose()?;
    let packet = has_packet.then(|| socket::packet(name, link.index));
    let packet = packet.transpose()?.map(Arc::new);
    let below = has_below.then(|| macvlan::Below::set(name)).transpose()?;
    // Of a fault here was told when it was met first.
    let promoting = has_promoting.then(|| Promoting::set(name).0);
    // Now that all is there: until it has a number, every event about it has this tried again.
    let old = {
        let mut facts = card.facts();
        facts.below = below;
        facts.promoting = promoting;
        facts.set_link(&link);
        core::mem::replace(&mut facts.packet, packet)
    };
    drop(old);
    if let Some(sockets) = sockets {
        card.offer(sockets);
    }
    Ok(())
}

/// Notes what is served on a macvlan that somebody switched off.
fn note_switched_off(card: &Arc<Card>, index: u32, lost: &mut Lost) {
    let facts = card.facts();
    for (vhid, host) in &facts.hosts {
        if host.macvlan.is_some_and(|macvlan| macvlan.index == index) {
            let kept = host.kept().map(|address| (card.clone(), *vhid, address));
            lost.extend(kept);
        }
    }
}

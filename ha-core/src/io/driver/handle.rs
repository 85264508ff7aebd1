//! What a program can ask of a running driver.

use core::net::IpAddr;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{ConfigError, Family, Interface, Settings, State, Stats, Vhid};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use super::super::effects::Effect;
use super::super::event::{Event, Events};
use super::super::transport::Transport;
use super::demotion::MAX_DEMOTIONS;
use super::{DriverError, HostId, SegmentId, Setup, SetupError};

/// The answer to a command.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// A question or an order.
pub(super) enum Command {
    Change(Change, Reply<Result<(), CommandError>>),
    AddSegment(Box<dyn Transport>, Reply<SegmentId>),
    Add(SegmentId, Box<Setup>, Reply<Result<HostId, SetupError>>),
    Remove(HostId, Reply<Result<(), CommandError>>),
    Status(Reply<Status>),
    Ping(Reply<()>),
    Shutdown(Reply<Result<(), DriverError>>),
}

pub(super) enum Change {
    Force(HostId, State),
    Settings(HostId, Settings),
    Addresses(HostId, Arc<[IpAddr]>),
    Interface(SegmentId, Interface),
    Demote(Arc<str>, i32),
    Restore(Arc<str>),
    RemoveSegment(SegmentId),
    Transport(SegmentId, Box<dyn Transport>),
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The driver has ended.
    #[error("the driver has ended")]
    Ended,
    /// The driver is shutting down.
    #[error("the driver is shutting down")]
    ShuttingDown,
    /// The identity is of another driver, or of what was removed.
    #[error("no such virtual host or segment")]
    Unknown,
    /// The segment still has virtual hosts.
    #[error("the segment still has virtual hosts")]
    InUse,
    /// The virtual host's rules do not allow these settings.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The transport of the segment does not carry the family of one of the addresses.
    #[error("the transport does not carry {family}")]
    Family {
        /// The family.
        family: Family,
    },
    /// The transport does not know its own address of the family of one of the addresses,
    /// which VRRP's checksum covers and its ties are broken by.
    #[error("the transport knows no {family} address of its own, which VRRP needs")]
    NoSource {
        /// The family.
        family: Family,
    },
    /// A VRRP advertisement does not hold so many addresses.
    #[error("{count} addresses where VRRP allows 255")]
    TooManyAddresses {
        /// How many there are.
        count: usize,
    },
    /// There are [`MAX_DEMOTIONS`] named reasons already.
    #[error("more than {MAX_DEMOTIONS} reasons for demotion")]
    TooManyReasons,
}

/// Commands a running [`Driver`](super::Driver); clones command the same one.
///
/// Every command is carried out when it returns. A driver whose handles are all dropped goes
/// on.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    /// Weak, so that the events end with the driver.
    events: broadcast::WeakSender<Event>,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        events: broadcast::WeakSender<Event>,
    ) -> Self {
        Self { commands, events }
    }

    /// Returns the events from now on; of a driver that has ended there are none.
    #[must_use]
    pub fn events(&self) -> Events {
        match self.events.upgrade() {
            Some(events) => Events::new(events.subscribe()),
            None => Events::none(),
        }
    }

    /// Adds a network segment, reached by `transport`, to the running driver.
    ///
    /// # Errors
    ///
    /// [`CommandError::Ended`].
    pub async fn add_segment(
        &self,
        transport: impl Transport + 'static,
    ) -> Result<SegmentId, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::AddSegment(Box::new(transport), reply))
            .await?;
        answer.await.map_err(|_| CommandError::Ended)
    }

    /// Adds a virtual host to the running driver, as [`Driver::add`](super::Driver::add) does
    /// before; it begins at once.
    ///
    /// # Errors
    ///
    /// [`SetupError`], whose variants say what is wrong.
    pub async fn add(&self, segment: SegmentId, setup: Setup) -> Result<HostId, SetupError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Add(segment, Box::new(setup), reply))
            .await
            .map_err(|_| SetupError::Ended)?;
        answer.await.unwrap_or(Err(SetupError::Ended))
    }

    /// Removes a virtual host: a master releases its addresses, and then bows out, so that a
    /// backup takes over at once. Returns when that is done and the effects are dropped; the
    /// others go on meanwhile.
    ///
    /// A release that fails is tried again until it succeeds, and so long this does not
    /// return; the bow-out is sent after the first attempt all the same.
    ///
    /// # Errors
    ///
    /// [`CommandError::Unknown`] also if it is leaving already, and when the driver ends.
    pub async fn remove(&self, host: HostId) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Remove(host, reply)).await?;
        answer.await.unwrap_or(Err(CommandError::Ended))
    }

    /// Removes a segment whose virtual hosts were all removed, and closes its transport.
    ///
    /// # Errors
    ///
    /// [`CommandError::InUse`], [`CommandError::Unknown`], and when the driver ends.
    pub async fn remove_segment(&self, segment: SegmentId) -> Result<(), CommandError> {
        self.change(Change::RemoveSegment(segment)).await
    }

    /// Has a segment reached by another transport from now on, and closes the former one. The
    /// virtual hosts keep their roles.
    ///
    /// # Errors
    ///
    /// [`CommandError::Family`] if the transport does not carry the family of an address that
    /// is shared there, [`CommandError::NoSource`] if it has no source for one that VRRP
    /// needs, [`CommandError::Unknown`], and when the driver ends.
    pub async fn replace_transport(
        &self,
        segment: SegmentId,
        transport: impl Transport + 'static,
    ) -> Result<(), CommandError> {
        self.change(Change::Transport(segment, Box::new(transport)))
            .await
    }

    /// Makes a virtual host MASTER or BACKUP now, as the operator's wish; what the machine
    /// makes of it depends on its state.
    ///
    /// # Errors
    ///
    /// [`CommandError::Unknown`], and when the driver ends.
    pub async fn force(&self, host: HostId, state: State) -> Result<(), CommandError> {
        self.change(Change::Force(host, state)).await
    }

    /// Changes the settings of a virtual host, from the next time a timer is armed.
    ///
    /// # Errors
    ///
    /// [`CommandError::Settings`] if its rules do not allow them, [`CommandError::Unknown`],
    /// and when the driver ends.
    pub async fn set_settings(&self, host: HostId, settings: Settings) -> Result<(), CommandError> {
        self.change(Change::Settings(host, settings)).await
    }

    /// Changes the shared addresses of a virtual host; none make it rest in INIT.
    ///
    /// The new list is signed with at once, and advertisements made with the old one are
    /// accepted for [`Config::address_grace`](carp_proto::Config::address_grace), so that the
    /// lists of all hosts can be changed one after the other.
    ///
    /// # Errors
    ///
    /// [`CommandError::Family`] if the transport does not carry one of the families,
    /// [`CommandError::Unknown`], and when the driver ends.
    pub async fn set_addresses(
        &self,
        host: HostId,
        addresses: &[IpAddr],
    ) -> Result<(), CommandError> {
        self.change(Change::Addresses(host, addresses.into())).await
    }

    /// Tells the virtual hosts of a segment about the interface that carries it, now and
    /// those that are added later. What was told before is no news.
    ///
    /// # Errors
    ///
    /// [`CommandError::Unknown`], and when the driver ends.
    pub async fn set_interface(
        &self,
        segment: SegmentId,
        interface: Interface,
    ) -> Result<(), CommandError> {
        self.change(Change::Interface(segment, interface)).await
    }

    /// Demotes this machine by `amount` for a reason of this name, or changes the amount. A
    /// negative one makes it better.
    ///
    /// # Errors
    ///
    /// [`CommandError::TooManyReasons`], and when the driver ends.
    pub async fn demote(&self, name: &str, amount: i32) -> Result<(), CommandError> {
        self.change(Change::Demote(name.into(), amount)).await
    }

    /// Takes back the reason of this name, if there is one.
    ///
    /// # Errors
    ///
    /// Only when the driver ends.
    pub async fn restore(&self, name: &str) -> Result<(), CommandError> {
        self.change(Change::Restore(name.into())).await
    }

    /// Returns everything there is to know at this moment.
    ///
    /// # Errors
    ///
    /// [`CommandError::Ended`].
    pub async fn status(&self) -> Result<Status, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Status(reply)).await?;
        answer.await.map_err(|_| CommandError::Ended)
    }

    /// Ends the driver: masters release their addresses, and then bow out, so that a backup
    /// takes over at once. Returns when that is done, and the sockets are closed.
    ///
    /// A release that fails is tried again for as long as the shutdown may take; the bow-out
    /// is sent after the first attempt all the same, as nobody advertises here any more.
    ///
    /// # Errors
    ///
    /// [`DriverError::NotReleased`] if a release failed to the end, and
    /// [`DriverError::Unfinished`] if not all was done within
    /// [`Limits::shutdown`](super::Limits::shutdown); the driver has ended all the same.
    /// [`DriverError::Ended`] if it had ended before, by a crash or an earlier shutdown.
    pub async fn shutdown(&self) -> Result<(), DriverError> {
        let (reply, answer) = oneshot::channel();
        match self.ask(Command::Shutdown(reply)).await {
            Err(_) => Err(DriverError::Ended),
            Ok(()) => answer.await.unwrap_or(Err(DriverError::Ended)),
        }
    }

    /// Asks whether the driver is alive. It answers within a turn or two of its loop, in each of
    /// which it reads at most 64 packets of each segment and does what is due, so an answer
    /// proves that the protocol runs. It does not prove that all packets were read: in a flood a
    /// transport may hold more than twice 64.
    ///
    /// # Errors
    ///
    /// [`CommandError::Ended`], and no other.
    pub async fn ping(&self) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Ping(reply)).await?;
        answer.await.map_err(|_| CommandError::Ended)
    }

    /// Waits until the driver has ended, in whatever way.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    async fn change(&self, change: Change) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Change(change, reply)).await?;
        answer.await.unwrap_or(Err(CommandError::Ended))
    }

    async fn ask(&self, command: Command) -> Result<(), CommandError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| CommandError::Ended)
    }
}

/// What a driver and its virtual hosts are doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The demotion level of this machine.
    pub demotion: i32,
    /// The named reasons that are part of it.
    pub reasons: Vec<(Arc<str>, i32)>,
    /// The virtual hosts, in the order in which they were added.
    pub hosts: Vec<HostStatus>,
    /// The segments, in the order in which they were added.
    pub segments: Vec<SegmentStatus>,
}

impl Status {
    /// Returns the sum of all counters, as `netstat -s -p carp` shows them.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for stats in self
            .hosts
            .iter()
            .map(|h| h.stats)
            .chain(self.segments.iter().map(|s| s.stats))
        {
            sum += stats;
        }
        sum
    }
}

/// One virtual host of a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostStatus {
    /// Its identity.
    pub host: HostId,
    /// The segment it takes part in.
    pub segment: SegmentId,
    /// Its group.
    pub vhid: Vhid,
    /// Its state.
    pub state: State,
    /// Its settings.
    pub settings: Settings,
    /// Its shared addresses.
    pub addresses: Arc<[IpAddr]>,
    /// The number last sent or adopted.
    pub counter: u64,
    /// When the next advertisement is due, if it is the master.
    pub next_advertisement: Option<Instant>,
    /// When the master will be taken for dead, if this is a backup.
    pub master_down: Option<Instant>,
    /// The addresses that the last successful `acquire` was given; none before that, and
    /// after a successful `release`. While an effect [fails](Self::failed), more or less than
    /// these may be served.
    pub serving: Option<Arc<[IpAddr]>>,
    /// The effect that was run last, if it failed.
    pub failed: Option<Effect>,
    /// How many effects are decided but not done, those to be tried again included.
    pub pending_effects: usize,
    /// What it counted.
    pub stats: Stats,
}

/// One segment of a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentStatus {
    /// Its identity.
    pub segment: SegmentId,
    /// Packets that its transport dropped because of where they came from.
    pub strangers: u64,
    /// What was counted before a packet reached a virtual host.
    pub stats: Stats,
}

//! The loop that runs virtual hosts.

mod demotion;
mod engine;
mod gate;
mod handle;
mod host;
mod protocol;
mod segment;

use core::fmt;
use core::future::{poll_fn, ready};
use core::net::IpAddr;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::vrrp::Checksum;
use carp_proto::{AcceptTtl, Config, ConfigError, Family, Key, LinkLocal, Vhid};
use tokio::sync::{broadcast, mpsc};

pub use self::demotion::MAX_DEMOTIONS;
use self::engine::Engine;
pub use self::engine::PACKETS_PER_TURN;
use self::handle::{Command, Reply};
pub use self::handle::{CommandError, Handle, HostStatus, SegmentStatus, Status};
use self::host::Host;
use self::protocol::Means;
use super::clock;
use super::effects::Effects;
use super::event::Events;
use super::transport::Transport;

/// How many commands wait to be carried out before those who give them have to.
const COMMANDS: usize = 32;

/// Names a virtual host of a driver. Other drivers refuse it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostId {
    driver: usize,
    index: usize,
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// Names a segment of a driver: a network in which each vhid stands for one group. Other
/// drivers refuse it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentId {
    driver: usize,
    index: usize,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// How long and how much a driver waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// How long one effect may take. Ten seconds by default.
    pub effect: Duration,
    /// How long a shutdown may take. Five seconds by default.
    pub shutdown: Duration,
    /// How many events are kept for a slow reader, at least. 256 by default.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            effect: Duration::from_secs(10),
            shutdown: Duration::from_secs(5),
            events: 256,
        }
    }
}

/// One virtual host to run.
pub struct Setup {
    config: Config,
    addresses: Arc<[IpAddr]>,
    means: Means,
    effects: Box<dyn Effects>,
}

impl Setup {
    /// A virtual host that speaks CARP, with these shared addresses, which `effects` serves.
    /// Every host of the group needs the same key and the same addresses.
    #[must_use]
    pub fn new(
        config: Config,
        key: Key,
        addresses: &[IpAddr],
        effects: impl Effects + 'static,
    ) -> Self {
        Self {
            config,
            addresses: addresses.into(),
            means: Means::Carp {
                key,
                link_local: LinkLocal::default(),
                ttl: AcceptTtl::default(),
            },
            effects: Box::new(effects),
        }
    }

    /// A virtual host that speaks VRRPv3, by a configuration as [`Config::vrrp`] makes it.
    /// Nothing authenticates VRRP: whoever reaches the segment can take the role.
    ///
    /// Advertisements list `addresses` in this order; by RFC 9568, the first one of IPv6 is
    /// the link-local one. The [transport](Transport) has to know its own address of their
    /// families, and a VRRP id must not be that of a CARP group on the same segment.
    #[must_use]
    pub fn vrrp(config: Config, addresses: &[IpAddr], effects: impl Effects + 'static) -> Self {
        Self {
            config,
            addresses: addresses.into(),
            means: Means::Vrrp { checksum: None },
            effects: Box::new(effects),
        }
    }

    /// Chooses whether link-local addresses are part of the hash that is sent. Without effect
    /// for VRRP, which has no hash.
    #[must_use]
    pub fn with_link_local(mut self, form: LinkLocal) -> Self {
        if let Means::Carp { link_local, .. } = &mut self.means {
            *link_local = form;
        }
        self
    }

    /// Chooses whether packets that passed a router are accepted. Without effect for VRRP,
    /// which is never routed.
    #[must_use]
    pub fn with_ttl(mut self, accept: AcceptTtl) -> Self {
        if let Means::Carp { ttl, .. } = &mut self.means {
            *ttl = accept;
        }
        self
    }

    /// Chooses what VRRP's checksum over IPv4 covers, instead of what the rules say:
    /// keepalived wants [`Checksum::WithPseudoHeader`] unless it is configured otherwise.
    /// Without effect for CARP.
    #[must_use]
    pub fn with_checksum(mut self, form: Checksum) -> Self {
        if let Means::Vrrp { checksum } = &mut self.means {
            *checksum = Some(form);
        }
        self
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("config", &self.config)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Why a virtual host cannot be added.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The transport of the segment does not carry the family of one of the addresses, so
    /// that the host would hear nobody and always become master.
    #[error("the transport does not carry {family}")]
    Family {
        /// The family.
        family: Family,
    },
    /// The dialect is of VRRP and the setup is not, or the other way round.
    #[error("the dialect is not of the protocol that is set up")]
    Protocol,
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
    /// The segment has a virtual host of this id already, in whichever protocol: both use the
    /// same virtual MAC address (CARP §5.7).
    #[error("vhid {vhid} is taken in this segment")]
    Taken {
        /// The id.
        vhid: Vhid,
    },
    /// The segment is of another driver, or was removed.
    #[error("no such segment")]
    UnknownSegment,
    /// The driver has ended or is shutting down.
    #[error("the driver has ended or is shutting down")]
    Ended,
}

/// How a driver ended other than well.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Effects were still running or waiting when the time for a shutdown was over. They were
    /// stopped where they were; what they serve may still be served.
    #[error("{hosts} virtual hosts had not done all effects when the time was over")]
    Unfinished {
        /// How many virtual hosts have such effects.
        hosts: usize,
    },
    /// All that could be done is done, but addresses could not be released, and may still be
    /// served. The hosts have bowed out all the same: their successors may find the addresses
    /// taken.
    #[error("{hosts} virtual hosts could not release their addresses")]
    NotReleased {
        /// How many virtual hosts have such addresses.
        hosts: usize,
    },
    /// The driver had ended before, by a crash or an earlier shutdown. After a crash, what it
    /// served may still be served.
    #[error("the driver has ended already")]
    Ended,
}

/// Runs virtual hosts: reads packets, keeps time, sends advertisements, and has the effects
/// done.
///
/// # What it promises
///
/// - **Packets before timers.** What a socket holds is read, up to [`PACKETS_PER_TURN`],
///   before a deadline takes effect. A program that was suspended does not take over while the
///   master's advertisement waits to be read; a flood does not keep the timers from firing.
/// - **Effects do not hold up the protocol.** They run in tasks of their own ([`Effects`]).
///   The one thing that waits for them is a bow-out: it is sent when the addresses are
///   released, so that a successor does not find them taken. If that fails, only a
///   [shutdown](Handle::shutdown) bows out all the same.
/// - **The role is served, or it is said that it is not.** An `acquire` or `release` that
///   fails is tried again every second, and [`HostStatus`] tells.
/// - **One demotion level.** What one virtual host notices, and what the operator says by
///   [`Handle::demote`], demotes all of them.
/// - **Everything is bounded**: commands, events, effects that wait, packets read in a row.
///   Packets and timers allocate nothing; effects, changes and questions do.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # struct Log;
/// # #[ha_core::io::async_trait]
/// # impl ha_core::io::Effects for Log {
/// #     async fn acquire(&mut self, _: &ha_core::io::Service) -> std::io::Result<()> { Ok(()) }
/// #     async fn release(&mut self, _: &ha_core::io::Service) -> std::io::Result<()> { Ok(()) }
/// #     async fn announce(&mut self, _: &ha_core::io::Service, _: ha_core::carp_proto::Family)
/// #         -> std::io::Result<()> { Ok(()) }
/// # }
/// use ha_core::carp_proto::{Config, Key, State, Vhid};
/// use ha_core::io::{Driver, Limits, Setup, UdpTransport, increasing_from_clock};
///
/// let mut config = Config::new(Vhid::new(1)?);
/// config.counter = increasing_from_clock();
/// let key = Key::from_passphrase(b"secret");
///
/// let mut driver = Driver::new(Limits::default());
/// let transport = UdpTransport::bind(&["127.0.0.1:0".parse()?], &[])?;
/// let segment = driver.add_segment(transport);
/// let host = driver.add(segment, Setup::new(config, key, &["192.0.2.1".parse()?], Log))?;
///
/// let (handle, mut events) = (driver.handle(), driver.events());
/// tokio::spawn(driver.run());
///
/// let event = events.next().await.expect("it becomes a backup at once");
/// assert_eq!(event.to_string(), "vhid 1: INIT -> BACKUP (initialization complete)");
/// handle.force(host, State::Master).await?;
/// assert_eq!(handle.status().await?.hosts[0].state, State::Master);
/// handle.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct Driver {
    engine: Engine,
    limits: Limits,
    commands: mpsc::Receiver<Command>,
    handle: Handle,
    events: Events,
}

impl Driver {
    /// Makes a driver without virtual hosts.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (sender, commands) = mpsc::channel(COMMANDS);
        // The channel panics on 0 and on what cannot be rounded up to a power of two.
        let (events, receiver) = broadcast::channel(limits.events.clamp(1, 1 << 20));
        Self {
            handle: Handle::new(sender, events.downgrade()),
            engine: Engine::new(events),
            limits,
            commands,
            events: Events::new(receiver),
        }
    }

    /// Adds a network segment, reached by `transport`.
    pub fn add_segment(&mut self, transport: impl Transport + 'static) -> SegmentId {
        self.engine.add_segment(Box::new(transport))
    }

    /// Adds a virtual host, which takes part in the group of its vhid on `segment`.
    ///
    /// Own source addresses that the configuration leaves out are taken from the transport.
    ///
    /// # Errors
    ///
    /// [`SetupError`], whose variants say what is wrong.
    pub fn add(&mut self, segment: SegmentId, setup: Setup) -> Result<HostId, SetupError> {
        let host = Host::new(segment, setup)?;
        self.engine.add(clock::now(), host)
    }

    /// Returns a handle to command the driver by.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Runs until [`Handle::shutdown`] is called and done.
    ///
    /// If the future is dropped, the virtual hosts end without releasing anything or bowing
    /// out, as if the machine had crashed.
    ///
    /// # Errors
    ///
    /// [`DriverError::NotReleased`] and [`DriverError::Unfinished`], as the shutdown.
    pub async fn run(self) -> Result<(), DriverError> {
        let Self {
            mut engine,
            limits,
            mut commands,
            handle,
            events,
        } = self;
        // These two would keep the channels open for ever.
        drop((handle, events));
        let mut commanded = true;
        let mut shutdowns: Vec<Reply<Result<(), DriverError>>> = Vec::new();
        let mut pings: Vec<Reply<()>> = Vec::new();

        let mut reports = engine.start(clock::now(), limits.effect);
        let mut alarm = pin!(clock::alarm());
        while !engine.is_finished() {
            engine.reap();
            let backlog = engine.drain(clock::now()).is_pending();
            for reply in pings.drain(..) {
                let _ = reply.send(());
            }
            if backlog || engine.take_flooded() {
                // There is more to do at once, but others want to run as well.
                tokio::task::yield_now().await;
            }
            let deadline = engine.deadline();
            if let Some(deadline) = deadline {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                Some(report) = reports.recv() => engine.on_report(clock::now(), report),
                command = commands.recv(), if commanded => match command {
                    Some(Command::Change(change, reply)) => {
                        // Whoever asked may be gone, here and below.
                        let _ = reply.send(engine.change(clock::now(), change));
                    }
                    Some(Command::AddSegment(transport, reply)) => {
                        let _ = reply.send(engine.add_segment(transport));
                    }
                    Some(Command::Add(segment, setup, reply)) => {
                        let added = Host::new(segment, *setup);
                        let now = clock::now();
                        let _ = reply.send(added.and_then(|host| engine.add(now, host)));
                    }
                    Some(Command::Remove(host, reply)) => {
                        engine.remove(clock::now(), host, reply);
                    }
                    Some(Command::Status(reply)) => {
                        let _ = reply.send(engine.status());
                    }
                    Some(Command::Ping(reply)) => pings.push(reply),
                    Some(Command::Shutdown(reply)) => {
                        shutdowns.push(reply);
                        engine.shutdown(clock::now(), limits.shutdown);
                    }
                    None => commanded = false,
                },
                () = poll_fn(|cx| engine.poll_packets(cx, clock::now())) => {}
                () = alarm.as_mut(), if deadline.is_some() => {}
                () = ready(()), if backlog => {}
            }
            // Packets before timers, and timers after every packet. A timer that is due only by
            // now is for the next turn: this one may not have read what came before it.
            let now = clock::now();
            poll_fn(|cx| {
                let _ = engine.poll_packets(cx, now);
                Poll::Ready(())
            })
            .await;
            engine.on_time(now);
        }
        let result = engine.result();
        // Whoever waits for the end may want to bind the same ports.
        drop((engine, reports));
        for reply in shutdowns {
            let _ = reply.send(result);
        }
        result
    }
}

impl Default for Driver {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

//! Failover on this host: a [`Failover`](crate::failover::Failover) machine with everything that
//! it needs to act. Feature `failover`.
//!
//! ```text
//!         operator                 Election: CARP, VRRP           Storage: HAST
//!    commands |  ^ events          roles |  ^ demotions      reports |  ^ grants
//!             v  |                       v  |                        v  |
//!    +-------------------------------- Unit ---------------------------------------+
//!    |                              the machine                                    |
//!    +------------|--------------------------------------------------|-------------+
//!                 v one at a time                                    ^ results
//!      Part: Fence, Storage, Device, FileSystem,               Check: a Probe and
//!            Service, Addresses                                how often it looks
//! ```
//!
//! A [`Unit`] runs the machine. What carries out its steps are [`Part`]s: traits, and the usual
//! implementations of them:
//!
//! | part | what there is |
//! |---|---|
//! | [`Fence`] | a [`Command`] |
//! | [`Storage`], [`Device`], [`Export`] | `HastStorage` (feature `hast`), `NbdExport` (`hast` and `nbd`), [`Exported`] storage, a [`DeviceFile`] |
//! | [`FileSystem`] | `Mount`, on Linux |
//! | [`Service`] | [`CommandService`], [`SystemdUnit`], [`InProcess`] functions |
//! | [`Addresses`] | an [`AddressGate`] before the effects of a virtual host |
//! | [`Election`] | [`VirtualHosts`] of the [`Driver`](crate::io::Driver) |
//! | [`Probe`] | [`TcpConnect`], [`HttpGet`], a [`Command`], [`FileAge`], [`FreeSpace`], [`PidFile`], `ProcessName`, [`Replication`] |
//!
//! # Example
//!
//! A service that runs where its address is. The address is served when the service runs, and no
//! sooner.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # struct Log;
//! # #[ha_core::io::async_trait]
//! # impl ha_core::io::Effects for Log {
//! #     async fn acquire(&mut self, _: &ha_core::io::Service) -> std::io::Result<()> { Ok(()) }
//! #     async fn release(&mut self, _: &ha_core::io::Service) -> std::io::Result<()> { Ok(()) }
//! #     async fn announce(&mut self, _: &ha_core::io::Service, _: ha_core::carp_proto::Family)
//! #         -> std::io::Result<()> { Ok(()) }
//! # }
//! use core::time::Duration;
//! use std::sync::Arc;
//!
//! use ha_core::carp_proto::{Config, Key, Vhid};
//! use ha_core::failover::{Command, NodeId, State, Step, StepKind};
//! use ha_core::io::failover::{
//!     AddressGate, InProcess, Part, Unit, UnitEventKind, UnitSetup, VirtualHosts,
//! };
//! use ha_core::io::{Driver, Limits, Setup, UdpTransport, increasing_from_clock};
//!
//! // The address: a virtual host whose effects are behind a gate.
//! let gate = AddressGate::new(Log);
//! let mut driver = Driver::new(Limits::default());
//! let segment = driver.add_segment(UdpTransport::bind(&["127.0.0.1:0".parse()?], &[])?);
//! let mut config = Config::new(Vhid::new(1)?);
//! config.counter = increasing_from_clock();
//! let key = Key::from_passphrase(b"secret");
//! let address = "192.0.2.1".parse()?;
//! let host = driver.add(segment, Setup::new(config, key, &[address], gate.effects()))?;
//! let (addresses, virtual_hosts) = (driver.handle(), VirtualHosts::follow(driver.handle(), &[host]));
//! tokio::spawn(driver.run());
//!
//! // The service, and the order: first the service, then the address.
//! let web = InProcess::new(|_| async { Ok(()) }, |_| async { Ok(()) });
//! let steps = vec![
//!     (Step::new(StepKind::Service, "web"), Part::Service(Arc::new(web))),
//!     (Step::new(StepKind::Address, "192.0.2.1").after(0), Part::Address(Arc::new(gate))),
//! ];
//! let mut setup = UnitSetup::new("web", NodeId::new(0)?, steps, virtual_hosts)?;
//! setup.config.holds.start = Duration::ZERO;
//! let unit = Unit::new(setup)?;
//! let (handle, mut events) = (unit.handle(), unit.events());
//! tokio::spawn(unit.run());
//!
//! // Without waiting until nobody else is heard:
//! handle.command(Command::Promote).await?;
//! while handle.status().await?.state != State::Active {
//!     println!("{}", events.next().await.expect("it runs"));
//! }
//! handle.shutdown().await?;
//! addresses.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What may go wrong
//!
//! - **This process is killed.** Its children are killed by the kernel. What is mounted, and what
//!   systemd runs, goes on; the next start undoes it first.
//! - **A step hangs in the kernel**, as an unmount of a dead disk does. Nothing ends it. It is
//!   given up, this node is demoted, and nothing else is done in its place before it has ended.
//! - **A process leaves its group.** That is how daemons detach themselves, so it is allowed: what
//!   stops a service must know how to find it.

mod blocking;
mod check;
mod child;
mod clock;
mod command;
mod election;
mod gate;
#[cfg(feature = "hast")]
mod hast;
mod job;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(all(feature = "hast", feature = "nbd"))]
mod nbd;
mod part;
mod service;
mod unit;

#[cfg(target_os = "linux")]
pub use self::check::ProcessName;
pub use self::check::{
    Check, CheckError, FileAge, FreeSpace, HttpError, HttpGet, MAX_ANSWER, PidFile, Probe,
    Replication, TcpConnect, When,
};
pub use self::command::{Captured, Command, CommandError, MAX_OUTPUT};
pub use self::election::{Election, ElectionError, VirtualHosts};
pub use self::gate::{AddressGate, GatedEffects};
#[cfg(feature = "hast")]
pub use self::hast::HastStorage;
pub use self::job::{Cancel, Job, StepError};
#[cfg(target_os = "linux")]
pub use self::mount::{Lazy, Mount, MountError};
#[cfg(all(feature = "hast", feature = "nbd"))]
pub use self::nbd::NbdExport;
pub use self::part::{
    Addresses, Device, Export, Exported, Fence, FileSystem, Part, Service, Storage, StorageReport,
};
pub use self::service::{CommandService, DeviceFile, InProcess, SystemdUnit};
pub use self::unit::{
    CheckStatus, Running, Unit, UnitCommandError, UnitError, UnitEvent, UnitEventKind, UnitEvents,
    UnitHandle, UnitSetup, UnitSetupError, UnitStatus,
};

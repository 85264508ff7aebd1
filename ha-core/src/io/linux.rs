//! CARP on the network interfaces of a Linux machine. Feature `linux`.
//!
//! ```text
//!               your program
//!                 |      ^ LinuxEvents
//!                 v      |
//!   +---------- Network ---------------------------------------------+
//!   |  Nic eth0              Nic eth1                                |
//!   |   |- RawTransport       |- RawTransport      packets 112       |
//!   |   |- Addresses vhid 1   |- Addresses vhid 1  Effects           |
//!   |   '- Addresses vhid 2                                          |
//!   |  keep: links -> driver, lifetimes, what others add and remove  |
//!   +---------------------|------------------------------------------+
//!                         v
//!              one thread that talks to the kernel
//! ```
//!
//! A [`Network`] is this machine's network as one [`Driver`](super::Driver) uses it; a [`Nic`]
//! is an interface. Of that come a [`RawTransport`] for a segment and [`Addresses`] for each
//! virtual host, and [`Network::keep`] is a future to be spawned beside the driver.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ha_core::carp_proto::{Config, InterfaceName, Key, Vhid};
//! use ha_core::io::linux::{AddressOptions, Network, TransportOptions};
//! use ha_core::io::{Driver, Limits, Setup};
//!
//! let network = Network::open()?;
//! let nic = network.interface(InterfaceName::new("eth0")?).await?;
//! let mut driver = Driver::new(Limits::default());
//! let segment = driver.add_segment(nic.transport(TransportOptions::default()).await?);
//!
//! let vhid = Vhid::new(1)?;
//! let shared = "192.0.2.1".parse()?;
//! let mut options = AddressOptions::default();
//! options.prefixes = vec![(shared, 24)];
//! let effects = nic.effects(vhid, options).await?;
//! let key = Key::from_passphrase(b"secret");
//! driver.add(segment, Setup::new(Config::new(vhid), key, &[shared], effects))?;
//!
//! tokio::spawn(network.keep(driver.handle(), vec![(nic, segment)]));
//! driver.run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Privileges
//!
//! `CAP_NET_RAW` and `CAP_NET_ADMIN`, in the user namespace that owns the network namespace.
//! What is missing is named before anything is done. Macvlans also need `/proc/sys/net` to be
//! writable.
//!
//! # The thread
//!
//! The kernel carries out requests to rtnetlink within `sendmsg`, under a lock that other
//! programs may hold for long. All of them are therefore made by one thread, in order, and the
//! driver never waits for it. Events arrive by a socket of their own; should the kernel have
//! more to tell than that holds, everything is asked for anew.
//!
//! # Lifetimes
//!
//! An address that is served has a finite valid lifetime ([`AddressOptions::lifetime`]), which
//! the keeper renews four times within it, each time only after the driver has
//! [answered](super::Handle::ping). A program that is killed, stopped, or whose driver hangs
//! so loses its addresses, without anybody's help, while its peers wait out their dead time.
//! One that is delayed by less than three quarters of the lifetime loses nothing.
//!
//! Lifetimes are whole seconds. The kernel removes an address no earlier than 20 ms before its
//! time, but may round the time of its check up to a full second of its own clock if that is
//! less than 250 ms away, and then checks no sooner than a second later. Measured on Linux 6.18
//! with 250 ticks a second, from the last renewal to the moment at which the address cannot be
//! bound any more:
//!
//! | lifetime | IPv4 | IPv6 | survives a delay of |
//! |---|---|---|---|
//! | 1 s (default) | 1.00 to 1.25 s | 1.01 to 1.22 s | 0.73 s |
//! | 2 s | 2.01 to 2.44 s | 2.00 to 2.36 s | 1.48 s |
//!
//! So one second is the only one that is always over within two. If the address was lost to a
//! delay and the host is still the master, the address is restored and announced;
//! [`LinuxEvent::Late`] tells of the delay. Other programs that listen to netlink hear each
//! renewal.
//!
//! The preferred lifetime of IPv6 addresses is 0: `ip` calls them deprecated. They serve like
//! others, but are no source of connections that this machine opens, if it has another address.
//!
//! # Which MAC
//!
//! Without a macvlan the addresses are those of the interface, and Linux answers for them with
//! the interface's MAC. On a failover neighbours learn the new one by gratuitous ARP and
//! neighbour advertisements. The virtual MAC is only the Ethernet source of advertisements.
//!
//! With [`AddressOptions::macvlan`] the addresses get an interface of their own with the virtual
//! MAC, up while the host is the master, so that the MAC moves and neighbours notice nothing.
//! Two parameters of the interface below are raised for that and restored at the end:
//! `arp_ignore` to 1, or it would answer with its own MAC, too, and `arp_announce` to 2, or its
//! requests would teach neighbours its own MAC. After a SIGKILL they stay as they are. On the
//! macvlan `rp_filter` is 2, as answers leave by the interface below. Frames of this machine so
//! have its own MAC as their source, whatever their IP source is, as on FreeBSD.
//!
//! # Other addresses of the prefix
//!
//! Where several IPv4 addresses of an interface are in one prefix, Linux removes all of them
//! with the first, as if they were its own: the addresses of other virtual hosts, and those of
//! the machine. So the parameter `promote_secondaries` of an interface is raised to 1 while there
//! are [`Addresses`] on it without a macvlan, and restored after. After a SIGKILL it stays at 1,
//! as it must until the last lifetime is over; that harms nobody, as addresses outlive others
//! then that were added before them. If it cannot be written, [`LinuxEvent::Failed`] says so, and
//! what was removed along with others is added again if it is shared.
//!
//! # Carrier
//!
//! [`Network::keep`] tells the driver of every change as the kernel reports it. What a lost
//! carrier does to a master is a choice of its configuration:
//! [`Improvements::ride_out_link_flaps`](carp_proto::Improvements) has it keep its role for one
//! interval, and an unknown carrier counts as
//! [`UnknownLink`](carp_proto::UnknownLink) says. A deleted interface is down; when one of its
//! name appears it takes its place, with sockets of its own.

mod addresses;
mod capability;
mod card;
mod error;
mod event;
mod filter;
mod frame;
mod keeper;
mod macvlan;
mod message;
mod network;
mod nic;
mod options;
mod promote;
mod rtnl;
mod serve;
mod socket;
mod sysctl;
mod transport;
mod watch;
mod worker;

pub use addresses::Addresses;
pub use error::{Action, Capability, LinuxError};
pub use event::{LinuxEvent, LinuxEvents};
pub use network::Network;
pub use nic::Nic;
pub use options::{
    AddressOptions, EthernetSource, GroupOptions, Leftover, MacvlanOptions, Multicast,
    TransportOptions,
};
pub use transport::{RawTransport, ReceiveStats};

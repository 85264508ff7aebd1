//! CARP on the network interfaces of a Linux machine. Feature `linux`.

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

//! CARP on the network interfaces of a Linux machine. Feature `linux`.

mod error;
mod event;
mod options;
mod skeleton;

pub use error::{Action, Capability, LinuxError};
pub use event::{LinuxEvent, LinuxEvents};
pub use options::{
    AddressOptions, EthernetSource, GroupOptions, Leftover, MacvlanOptions, Multicast,
    TransportOptions,
};
pub use skeleton::{Addresses, Network, Nic, RawTransport, ReceiveStats};

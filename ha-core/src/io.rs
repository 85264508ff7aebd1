//! Everything that touches the outside: sockets, clocks, tasks. Feature `tokio`.
//!
//! ```text
//!    UdpTransport, ...                          your program
//!         | packets                     commands |  ^ events
//!         v                                      v  |
//!    +---------------------------- Driver ----------------------------+
//!    |  segment 0: transport          segment 1: transport            |
//!    |  +-----------+ +-----------+   +-----------+                   |
//!    |  | vhid 1    | | vhid 2    |   | vhid 1    |   one demotion    |
//!    |  | machine   | | machine   |   | machine   |   level for all   |
//!    |  +-----+-----+ +-----+-----+   +-----+-----+                   |
//!    +--------|-------------|---------------|-------------------------+
//!             v             v               v
//!          Effects       Effects         Effects     each in a task of its own
//! ```
//!
//! A [`Driver`] runs any number of virtual hosts. Each takes part in the group of its vhid on
//! one [segment](SegmentId), a network reached by one [`Transport`]; what it decides is done
//! to the machine underneath by its [`Effects`].

#[cfg(feature = "arbiter")]
pub mod arbiter;
pub mod block;
mod clock;
mod driver;
mod effects;
mod event;
mod events;
#[cfg(all(feature = "failover", unix))]
pub mod failover;
#[cfg(feature = "hast")]
pub mod hast;
#[cfg(all(feature = "linux", target_os = "linux"))]
pub mod linux;
#[cfg(feature = "nbd")]
pub mod nbd;
mod transport;
mod udp;

pub use async_trait::async_trait;
pub use clock::increasing_from_clock;
pub use driver::{
    CommandError, Driver, DriverError, Handle, HostId, HostStatus, Limits, MAX_DEMOTIONS,
    PACKETS_PER_TURN, SegmentId, SegmentStatus, Setup, SetupError, Status,
};
pub use effects::{Effect, Effects, Service};
pub use event::{DemotionCause, Event, EventKind, Events};
pub use events::EventStream;
pub use transport::Transport;
pub use udp::{UdpError, UdpTransport};

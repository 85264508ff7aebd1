//! What a network tells about.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use carp_proto::{Interface, InterfaceName};
use tokio::sync::broadcast;

use super::super::events::EventStream;
use super::LinuxError;

/// How many events are kept for a slow reader.
const EVENTS: usize = 256;

/// Something on this machine that an operator may want to know. `Display` is a line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinuxEvent {
    /// The state of an interface changed, and the driver was told.
    Link {
        /// The interface.
        interface: InterfaceName,
        /// Its state now.
        state: Interface,
    },
    /// An interface was deleted. Should one of its name appear, it takes its place.
    Gone {
        /// The interface.
        interface: InterfaceName,
    },
    /// An interface that was gone is back, and its sockets are open again.
    Back {
        /// The interface.
        interface: InterfaceName,
    },
    /// A shared address was found at the start and removed.
    Leftover {
        /// Where it was.
        interface: InterfaceName,
        /// The address.
        address: IpAddr,
    },
    /// Somebody removed an address that is served here, or its lifetime ran out because this
    /// program was held up. It was added and announced again.
    Restored {
        /// Where it belongs.
        interface: InterfaceName,
        /// The address.
        address: IpAddr,
    },
    /// Somebody added a shared address that is not to be served here now. It is left alone.
    Foreign {
        /// Where it is.
        interface: InterfaceName,
        /// The address.
        address: IpAddr,
    },
    /// The driver took this long to prove that it is alive. Addresses whose lifetime is
    /// shorter than that were gone meanwhile.
    Late {
        /// How long it took.
        took: Duration,
    },
    /// The kernel had more to tell than was read; everything was asked for anew.
    Overrun,
    /// Something that the keeper had to do failed. It goes on.
    Failed {
        /// Why.
        error: Arc<LinuxError>,
    },
}

impl fmt::Display for LinuxEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { interface, state } => {
                let state = match state {
                    Interface::Up => "up",
                    Interface::Unknown => "up, carrier unknown",
                    Interface::NoCarrier => "without carrier",
                    Interface::Down => "down",
                };
                write!(f, "{interface}: {state}")
            }
            Self::Gone { interface } => write!(f, "{interface}: deleted"),
            Self::Back { interface } => write!(f, "{interface}: back"),
            Self::Leftover { interface, address } => {
                write!(f, "{interface}: removed {address}, left over from before")
            }
            Self::Restored { interface, address } => {
                write!(f, "{interface}: restored {address}, which somebody removed")
            }
            Self::Foreign { interface, address } => {
                write!(
                    f,
                    "{interface}: somebody added {address}, which is not ours now"
                )
            }
            Self::Late { took } => write!(f, "the driver was held up for {took:?}"),
            Self::Overrun => f.write_str("netlink events were lost; asked for everything anew"),
            Self::Failed { error } => error.fmt(f),
        }
    }
}

/// The events of a network and all that was made of it, which keeps 256 for a reader.
pub type LinuxEvents = EventStream<LinuxEvent>;

/// Where events are told.
#[derive(Clone, Debug)]
pub(super) struct Teller(broadcast::Sender<LinuxEvent>);

impl Teller {
    pub(super) fn new() -> Self {
        Self(broadcast::channel(EVENTS).0)
    }

    pub(super) fn events(&self) -> LinuxEvents {
        LinuxEvents::new(self.0.subscribe())
    }

    pub(super) fn tell(&self, event: LinuxEvent) {
        // Fails only if nobody listens.
        let _ = self.0.send(event);
    }
}

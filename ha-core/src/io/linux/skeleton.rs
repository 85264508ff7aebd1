//! The interface of what is to come.

use core::net::IpAddr;
use core::task::{Context, Poll};
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use async_trait::async_trait;
use carp_proto::{Datagram, Family, Interface, InterfaceName, MacAddr, Vhid};

use super::event::Teller;
use super::{AddressOptions, LinuxError, LinuxEvents, TransportOptions};
use crate::io::{Effects, Handle, SegmentId, Service, Transport};

/// What this machine's kernel is asked and told, by a thread of its own. One network belongs
/// to one driver. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Network {
    teller: Teller,
}

impl Network {
    /// Checks that the process may do what it has to, and starts the thread.
    ///
    /// # Errors
    ///
    /// [`LinuxError::MissingCapability`], and what keeps the thread from starting.
    pub fn open() -> Result<Self, LinuxError> {
        Ok(Self {
            teller: Teller::new(),
        })
    }

    /// Returns the interface of this name.
    ///
    /// # Errors
    ///
    /// [`LinuxError::NoInterface`], [`LinuxError::NotEthernet`], and what the kernel reports.
    pub async fn interface(&self, name: InterfaceName) -> Result<Nic, LinuxError> {
        Err(LinuxError::NoInterface { interface: name })
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> LinuxEvents {
        self.teller.events()
    }

    /// Keeps interfaces and addresses as they should be while a driver runs; to be spawned
    /// beside it. It ends with the driver.
    ///
    /// It tells the driver the state of each interface of `segments`, lengthens the lifetimes
    /// of what is served for as long as the driver proves that it is alive, and restores what
    /// somebody removes.
    ///
    /// # Errors
    ///
    /// If the kernel's events cannot be had. What fails later is an event.
    pub fn keep(
        &self,
        handle: Handle,
        segments: Vec<(Nic, SegmentId)>,
    ) -> impl Future<Output = Result<(), LinuxError>> + Send + 'static {
        async move {
            drop((handle, segments));
            Ok(())
        }
    }
}

/// A network interface. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Nic {
    name: InterfaceName,
}

impl Nic {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> InterfaceName {
        self.name
    }

    /// Returns its own MAC.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        MacAddr([0; 6])
    }

    /// Returns its state, as far as it was told.
    #[must_use]
    pub fn state(&self) -> Interface {
        Interface::Unknown
    }

    /// Returns the addresses of the interface that are not shared ones, in the kernel's order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Opens sockets that send and receive advertisements on this interface. Must be called
    /// in the context of a tokio runtime with I/O enabled, that of the driver.
    ///
    /// # Errors
    ///
    /// [`LinuxError::Socket`] with the system call that failed.
    pub async fn transport(&self, options: TransportOptions) -> Result<RawTransport, LinuxError> {
        drop(options);
        Err(LinuxError::NoInterface {
            interface: self.name,
        })
    }

    /// Returns the effects of a virtual host: its addresses on this interface, and their
    /// announcements. Removes what is left over from before, if that is wanted.
    ///
    /// # Errors
    ///
    /// [`LinuxError`], whose variants say what is wrong.
    pub async fn effects(
        &self,
        vhid: Vhid,
        options: AddressOptions,
    ) -> Result<Addresses, LinuxError> {
        drop((vhid, options));
        Err(LinuxError::NoInterface {
            interface: self.name,
        })
    }
}

/// Packets that a [`RawTransport`] read and did not hand on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// IP packets that contradict themselves.
    pub malformed: u64,
}

/// Advertisements as IP packets of their own on one interface.
#[derive(Debug)]
pub struct RawTransport {}

impl Transport for RawTransport {
    fn carries(&self, _: Family) -> bool {
        true
    }

    fn source(&self, _: Family) -> Option<IpAddr> {
        None
    }

    fn poll_receive<'b>(
        &mut self,
        _: &mut Context<'_>,
        _: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        Poll::Pending
    }

    fn try_send(&mut self, _: Family, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The shared addresses of one virtual host on an interface.
#[derive(Debug)]
pub struct Addresses {}

#[async_trait]
impl Effects for Addresses {
    async fn acquire(&mut self, _: &Service) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn release(&mut self, _: &Service) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

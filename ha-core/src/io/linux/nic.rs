//! One interface.

use core::fmt;
use core::net::IpAddr;
use std::sync::Arc;
use std::vec::Vec;

use carp_proto::{Interface, InterfaceName, MacAddr, Vhid};

use super::card::Card;
use super::network::Shared;
use super::rtnl::Rtnl;
use super::socket::Sockets;
use super::{AddressOptions, Addresses, LinuxError, RawTransport, ReceiveStats, TransportOptions};

/// A network interface, of which [`Network::interface`](super::Network::interface) tells.
/// Clones are the same one.
#[derive(Clone)]
pub struct Nic {
    shared: Arc<Shared>,
    card: Arc<Card>,
}

impl Nic {
    pub(super) fn new(shared: Arc<Shared>, card: Arc<Card>) -> Self {
        Self { shared, card }
    }

    pub(super) fn card(&self) -> &Arc<Card> {
        &self.card
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> InterfaceName {
        self.card.name()
    }

    /// Returns its own MAC.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        self.card.facts().mac
    }

    /// Returns its state: as it was found, and while [`Network::keep`](super::Network::keep)
    /// runs, as it is.
    #[must_use]
    pub fn state(&self) -> Interface {
        self.card.facts().state
    }

    /// Returns its addresses that are not shared ones, in the kernel's order.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.card.facts().own.clone()
    }

    /// Returns what its transport counted.
    #[must_use]
    pub fn receive_stats(&self) -> ReceiveStats {
        self.card.stats()
    }

    /// Opens sockets that send and receive advertisements on this interface. Must be called
    /// in the context of a tokio runtime with I/O enabled, that of the driver.
    ///
    /// An interface needs no more than one: should it be recreated, only the last one goes on.
    ///
    /// # Errors
    ///
    /// [`LinuxError::Socket`] with the system call that failed.
    pub async fn transport(&self, options: TransportOptions) -> Result<RawTransport, LinuxError> {
        let setup = Arc::new(RawTransport::setup(&options));
        let (card, same) = (self.card.clone(), setup.clone());
        let open = move |_: &mut Rtnl| {
            let sockets = Sockets::open(&same, card.name(), card.index())?;
            card.set_setup(same);
            Ok(sockets)
        };
        let sockets = self.shared.worker.run(open).await?;
        RawTransport::new(
            self.shared.clone(),
            self.card.clone(),
            options,
            (setup, sockets),
        )
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
        Addresses::open(self.shared.clone(), self.card.clone(), vhid, options).await
    }
}

impl fmt::Debug for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nic")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

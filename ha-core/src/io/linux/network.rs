//! Where it begins: the thread that talks to the kernel, and the interfaces.

use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use carp_proto::InterfaceName;

use super::card::Card;
use super::event::Teller;
use super::rtnl::Rtnl;
use super::worker::Worker;
use super::{LinuxError, LinuxEvents, Nic, capability, keeper, macvlan, serve};
use crate::io::{Handle, SegmentId};

/// What this machine's kernel is asked and told, by a thread of its own. One network belongs
/// to one driver. Clones are the same one.
///
/// When the last clone is dropped, and all that was made of it, the thread does what it was
/// told before and ends; that is waited for.
#[derive(Clone, Debug)]
pub struct Network {
    shared: Arc<Shared>,
}

/// What all parts of a network share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) worker: Worker,
    pub(super) teller: Teller,
    /// The number of the worker's socket.
    pub(super) port: u32,
    cards: Mutex<Vec<Arc<Card>>>,
}

impl Shared {
    pub(super) fn cards(&self) -> Vec<Arc<Card>> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.clone()
    }

    /// The interface of this name, if it is known.
    fn known(&self, name: InterfaceName) -> Option<Arc<Card>> {
        self.cards().into_iter().find(|card| card.name() == name)
    }

    /// Takes note of an interface, unless somebody else did so meanwhile; returns the one that
    /// counts.
    fn add(&self, card: Arc<Card>) -> Arc<Card> {
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cards.iter().find(|known| known.name() == card.name()) {
            return known.clone();
        }
        cards.push(card.clone());
        card
    }
}

impl Network {
    /// Checks that the process may do what it has to, and starts the thread, in the network
    /// namespace of the calling one.
    ///
    /// # Errors
    ///
    /// [`LinuxError::MissingCapability`], and what keeps the thread from starting.
    pub fn open() -> Result<Self, LinuxError> {
        capability::check()?;
        let rtnl = Rtnl::open()?;
        let port = rtnl.port();
        let shared = Shared {
            worker: Worker::start(rtnl)?,
            teller: Teller::new(),
            port,
            cards: Mutex::new(Vec::new()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns the interface of this name. One that was returned before is the same, with what
    /// is known of it.
    ///
    /// # Errors
    ///
    /// [`LinuxError::NoInterface`], [`LinuxError::NotEthernet`], and what the kernel reports.
    pub async fn interface(&self, name: InterfaceName) -> Result<Nic, LinuxError> {
        let ask = move |rtnl: &mut Rtnl| {
            let link = macvlan::link(rtnl, name)?;
            let link = link.ok_or(LinuxError::NoInterface { interface: name })?;
            match link.mac {
                Some(_) => Ok(link),
                None => Err(LinuxError::NotEthernet { interface: name }),
            }
        };
        let link = self.shared.worker.run(ask).await?;
        if let Some(card) = self.shared.known(name) {
            // What is new about it is for the keeper to find, who has more to do about it.
            return Ok(Nic::new(self.shared.clone(), card));
        }
        let card = Arc::new(Card::new(name));
        card.facts().set_link(&link);
        let cards = [card.clone()];
        let look = move |rtnl: &mut Rtnl| serve::inspect(rtnl, &cards);
        self.shared.worker.run(look).await?;
        let card = self.shared.add(card);
        Ok(Nic::new(self.shared.clone(), card))
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> LinuxEvents {
        self.shared.teller.events()
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
    /// If the kernel's events cannot be had, and [`LinuxError::Thread`] if the thread is gone.
    /// Whatever else fails later is an event.
    pub fn keep(
        &self,
        handle: Handle,
        segments: Vec<(Nic, SegmentId)>,
    ) -> impl Future<Output = Result<(), LinuxError>> + Send + 'static {
        keeper::keep(self.shared.clone(), handle, segments)
    }
}

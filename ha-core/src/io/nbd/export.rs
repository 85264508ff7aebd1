//! Devices that are exported.

use core::borrow::Borrow;
use core::fmt;
use std::string::String;
use std::sync::Arc;

use tokio::sync::watch;

use super::Limits;
use crate::io::block::BlockDevice;
use crate::nbd::{Offer, OfferError};

/// A device under a name.
#[derive(Clone)]
pub struct Export {
    offer: Offer,
    device: Arc<dyn BlockDevice>,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("offer", &self.offer)
            .finish_non_exhaustive()
    }
}

/// Why an export cannot be added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is one of that name.
    #[error("there is an export {name:?} already")]
    Taken {
        /// The name.
        name: String,
    },
    /// It cannot be offered.
    #[error(transparent)]
    Offer(#[from] OfferError),
}

impl Export {
    /// `device` under `name`, to be read and written. An empty name is for clients that give
    /// none.
    #[must_use]
    pub fn new(name: impl Into<String>, device: Arc<dyn BlockDevice>) -> Self {
        let geometry = device.geometry();
        let mut offer = Offer::new(name, geometry.size);
        offer.block = geometry.block;
        offer.preferred = geometry.preferred;
        offer.longest = geometry.longest;
        Self { offer, device }
    }

    /// Has clients told what it is.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.offer.description = description.into();
        self
    }

    /// Has all requests refused that write.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.offer.read_only = true;
        self
    }

    /// Promises that writing zeroes to the device takes less time than writing data. Clients that
    /// want zeroes only if that is so are refused without this promise.
    #[must_use]
    pub fn with_fast_zeroes(mut self) -> Self {
        self.offer.fast_zeroes = true;
        self
    }

    /// With no longer requests than `limits` allow.
    pub(super) fn exported(mut self, limits: &Limits) -> Result<Exported, OfferError> {
        let longest = limits.longest_request();
        self.offer.longest = self.offer.longest.min(longest);
        self.offer.preferred = self.offer.preferred.min(longest);
        self.offer.check()?;
        Ok(Exported {
            offer: self.offer,
            device: self.device,
            closing: watch::Sender::new(false),
        })
    }
}

/// An export that has been added.
pub(super) struct Exported {
    pub(super) offer: Offer,
    pub(super) device: Arc<dyn BlockDevice>,
    /// Whether it has been removed. Each of its connections listens.
    pub(super) closing: watch::Sender<bool>,
}

/// One of the exports that there are at the moment.
#[derive(Clone)]
pub(super) struct Entry(pub(super) Arc<Exported>);

impl Borrow<Offer> for Entry {
    fn borrow(&self) -> &Offer {
        &self.0.offer
    }
}

//! Who may connect to a resource.

use core::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

/// The addresses of a resource's `remote`.
#[derive(Debug, Default)]
pub(in super::super) struct Access {
    addresses: Mutex<Vec<IpAddr>>,
}

impl Access {
    pub(in super::super) fn allows(&self, address: IpAddr) -> bool {
        let addresses = self.addresses.lock();
        let addresses = addresses.unwrap_or_else(PoisonError::into_inner);
        addresses.contains(&address)
    }

    pub(super) fn set(&self, addresses: Vec<IpAddr>) {
        *self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

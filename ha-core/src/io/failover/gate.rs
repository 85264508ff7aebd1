//! The gate between the role of a group and its addresses.

use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use async_trait::async_trait;
use carp_proto::Family;
use tokio::sync::{Mutex, Notify};

use super::super::effects::{Effects, Service};
use super::job::{Job, StepError};
use super::part::Addresses;

/// Lets the addresses of a group of the CARP driver be served only when the failover machine says
/// so.
///
/// Being master of a group makes a node promote itself; while it does, it must not serve the
/// addresses yet. So a [`Setup`](crate::io::Setup) is given the [effects](Self::effects) of this
/// gate in place of its own, and the gate itself is the [`Addresses`] of a step. It is open from
/// the announcement of that step to its withdrawal. A group that ceases to be master lets go of
/// its addresses at once, open or not.
///
/// While the gate is closed, [`HostStatus::serving`](crate::io::HostStatus) tells what a master
/// would serve.
#[derive(Clone)]
pub struct AddressGate(Arc<Gate>);

struct Gate {
    /// Changed without waiting for an effect that runs: what it serves is released after it.
    is_open: AtomicBool,
    behind: Mutex<Behind>,
    /// Told when something is wanted.
    wanted: Notify,
}

struct Behind {
    /// What the master serves, or would.
    wanted: Option<Service>,
    /// What may be served.
    served: Option<Service>,
    effects: Box<dyn Effects>,
}

impl Behind {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        self.served = Some(service.clone());
        self.effects.acquire(service).await
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        self.effects.release(service).await?;
        self.served = None;
        Ok(())
    }
}

impl AddressGate {
    /// Makes a closed gate before these effects.
    pub fn new(effects: impl Effects + 'static) -> Self {
        let behind = Behind {
            wanted: None,
            served: None,
            effects: Box::new(effects),
        };
        Self(Arc::new(Gate {
            is_open: AtomicBool::new(false),
            behind: Mutex::new(behind),
            wanted: Notify::new(),
        }))
    }

    /// Returns what is to be handed to the CARP driver.
    #[must_use]
    pub fn effects(&self) -> GatedEffects {
        GatedEffects(self.0.clone())
    }
}

impl core::fmt::Debug for AddressGate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AddressGate").finish_non_exhaustive()
    }
}

/// The effects of a group behind an [`AddressGate`].
pub struct GatedEffects(Arc<Gate>);

impl core::fmt::Debug for GatedEffects {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GatedEffects").finish_non_exhaustive()
    }
}

#[async_trait]
impl Effects for GatedEffects {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        let mut behind = self.0.behind.lock().await;
        behind.wanted = Some(service.clone());
        self.0.wanted.notify_one();
        if self.0.is_open.load(Ordering::Acquire) {
            behind.acquire(service).await?;
        }
        Ok(())
    }

    async fn release(&mut self, service: &Service) -> io::Result<()> {
        let mut behind = self.0.behind.lock().await;
        behind.wanted = None;
        behind.release(service).await
    }

    async fn announce(&mut self, service: &Service, family: Family) -> io::Result<()> {
        let mut behind = self.0.behind.lock().await;
        if self.0.is_open.load(Ordering::Acquire) {
            behind.effects.announce(service, family).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Addresses for AddressGate {
    async fn announce(&self, job: &Job) -> Result<(), StepError> {
        let open = async {
            loop {
                let mut behind = self.0.behind.lock().await;
                if let Some(service) = behind.wanted.clone() {
                    self.0.is_open.store(true, Ordering::Release);
                    behind.acquire(&service).await?;
                    for family in families(&service) {
                        behind.effects.announce(&service, family).await?;
                    }
                    return Ok(());
                }
                // The role is known before its effects are begun.
                drop(behind);
                self.0.wanted.notified().await;
            }
        };
        job.unless_cancelled(open).await
    }

    async fn withdraw(&self, job: &Job) -> Result<(), StepError> {
        self.0.is_open.store(false, Ordering::Release);
        let close = async {
            let mut behind = self.0.behind.lock().await;
            match behind.served.clone() {
                Some(service) => Ok(behind.release(&service).await?),
                None => Ok(()),
            }
        };
        job.unless_cancelled(close).await
    }
}

fn families(service: &Service) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for address in &*service.addresses {
        let family = Family::of(*address);
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

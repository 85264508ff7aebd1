//! Where this node is asked and commanded, and where it asks others: all of them, opened together.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::control::Control;
use super::page::Page;
use super::peers::{Peers, Told};
use super::snapshot::Node;
use super::watch::Watch;

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) control: PathBuf,
    /// The status page, on loopback.
    pub(crate) page: Option<SocketAddr>,
    /// Where peers ask.
    pub(crate) listen: Option<SocketAddr>,
    /// The other nodes, and where they are asked.
    pub(crate) peers: Vec<(Node, Option<SocketAddr>)>,
}

/// All of them; they close when this is dropped.
#[derive(Debug)]
pub(crate) struct Doors {
    _control: Control,
    page: Option<Page>,
    told: Option<Told>,
    asking: JoinHandle<()>,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    #[error("the control socket {}: {error}", .path.display())]
    Control { path: PathBuf, error: io::Error },
    #[error("the status page at {address}: {error}")]
    Page {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("the status for peers at {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
}

impl Doors {
    /// Opens all of them.
    pub(crate) async fn open(places: Places, watch: &Arc<Watch>) -> Result<Self, DoorError> {
        let addresses = places.peers.iter().filter_map(|(_, address)| *address);
        let known: Vec<IpAddr> = addresses
            .map(|address| address.ip().to_canonical())
            .collect();
        let peers = Arc::new(Peers::new(places.peers));
        let path = places.control;
        let control = Control::open(&path, watch.clone(), peers.clone()).await;
        let control = control.map_err(|error| DoorError::Control { path, error })?;
        let page = match places.page {
            Some(address) => {
                let page = Page::open(address, watch.clone(), peers.clone()).await;
                Some(page.map_err(|error| DoorError::Page { address, error })?)
            }
            None => None,
        };
        let told = match places.listen {
            Some(address) => {
                let told = Told::open(address, known, watch.clone()).await;
                Some(told.map_err(|error| DoorError::Listen { address, error })?)
            }
            None => None,
        };
        let source = places.listen.map(|address| address.ip());
        Ok(Self {
            _control: control,
            page,
            told,
            // The peers know this node by the address that they ask it at.
            asking: tokio::spawn(peers.ask(source)),
        })
    }

    /// Where the status page is.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(Page::address)
    }

    /// Where peers ask.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        self.told.as_ref().map(Told::address)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

//! The door of a node: who connects, and to which resource (HAST §1.4).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::{Arc, Weak};

use hast_proto::frame::Encoder;
use hast_proto::handshake::Access;
use hast_proto::message::{FirstAnswer, Opening, Refusal, Refused};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::super::clock::{self, within};
use super::channel::{self, Proof};
use super::engine::{Incoming, Message};
use super::event::{Event, EventKind, OpeningError};
use super::link::{Broken, Link};
use super::node::Inner;
use super::shared::Shared;
use super::tcp;

/// After a failure to accept for want of descriptors or memory, until the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a refused peer may take to hear it.
const REFUSAL: Duration = Duration::from_secs(2);

/// A listening socket. It closes when it is dropped, and so do the connections that have not yet
/// said what they are for.
pub(super) struct Listener {
    pub(super) asked: SocketAddr,
    pub(super) bound: SocketAddr,
    task: AbortHandle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(super) fn open(asked: SocketAddr, node: &Arc<Inner>) -> io::Result<Self> {
        let socket = tcp::listen(asked)?;
        let bound = socket.local_addr()?;
        let node = Arc::downgrade(node);
        let task = tokio::spawn(accept(socket, node)).abort_handle();
        Ok(Self { asked, bound, task })
    }
}

async fn accept(socket: TcpListener, node: Weak<Inner>) {
    let mut visitors = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = visitors.join_next() => continue,
        };
        let Some(node) = node.upgrade() else { return };
        match accepted {
            Ok((stream, peer)) => {
                let address = peer.ip().to_canonical();
                if !node.knows(address) {
                    node.shared
                        .tell(Event::of_node(EventKind::Stranger(address)));
                } else if !node.enter(address) {
                    node.shared
                        .tell(Event::of_node(EventKind::TooManyConnections(address)));
                } else {
                    let entered = Entered {
                        node: Arc::downgrade(&node),
                        address,
                    };
                    visitors.spawn(admit(stream, peer, entered));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                node.shared
                    .tell(Event::of_node(EventKind::NotAccepted(error)));
                drop(node);
                clock::pause(PAUSE).await;
            }
        }
    }
}

/// That a connection is counted among those of its address.
struct Entered {
    node: Weak<Inner>,
    address: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            node.leave(self.address);
        }
    }
}

/// Hears what a connection is for, and hands it over.
async fn admit(stream: TcpStream, peer: SocketAddr, entered: Entered) {
    let Some((limit, shared)) = entered
        .node
        .upgrade()
        .map(|node| (node.limits.opening, node.shared.clone()))
    else {
        return;
    };
    // Without it the connection works as well.
    let _ = tcp::prepare(&stream, limit);
    let opening = within(limit, hear(stream, &shared)).await;
    let Some(node) = entered.node.upgrade() else {
        return;
    };
    let (mut link, proof, opening) = match opening.unwrap_or(Err(OpeningError::TimedOut)) {
        Ok(heard) => heard,
        Err(error) => {
            node.shared
                .tell(Event::of_node(EventKind::NoOpening { peer, error }));
            return;
        }
    };
    match node.find(opening.resource()) {
        Some((resource, access)) => {
            let allowed = access.allows(entered.address);
            let incoming = Incoming {
                link,
                peer,
                proof,
                opening,
                access: if allowed {
                    Access::Allowed
                } else {
                    Access::Denied
                },
            };
            let message = Message::Incoming(Box::new(incoming));
            let _ = resource.messages().send(message);
        }
        None => {
            let resource = opening.resource().clone();
            node.shared
                .tell(Event::of_node(EventKind::NotConfigured { peer, resource }));
            drop(node);
            let refused = FirstAnswer::Refused(Refused::from(Refusal::NotConfigured));
            link.push(refused.encode(&mut Encoder::new()));
            within(REFUSAL, link.close()).await;
        }
    }
}

async fn hear(stream: TcpStream, shared: &Shared) -> Result<(Link, Proof, Opening), OpeningError> {
    let (mut link, proof) = channel::accept(stream, shared).await?;
    let frame = core::future::poll_fn(|cx| link.poll_frame(cx)).await;
    match frame {
        Ok(frame) => {
            let opening = Opening::decode(&frame)?;
            Ok((link, proof, opening))
        }
        Err(Broken::Closed | Broken::Failed(_)) => Err(OpeningError::Closed),
        Err(Broken::Invalid(error)) => Err(error.into()),
    }
}

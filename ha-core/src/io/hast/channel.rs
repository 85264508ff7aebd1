//! What a connection runs in: nothing, or TLS.

use core::net::SocketAddr;
use std::io;

use hast_proto::ResourceName;
use hast_proto::frame::Phase;
use tokio::net::TcpStream;

use super::event::{EventKind, OpeningError};
use super::link::Link;
use super::settings::Settings;
use super::shared::Shared;
#[cfg(feature = "tls")]
use super::tls::{self, Certificate, Identity, PeerName, Refusal};

/// What whoever has connected has proven.
pub(super) enum Proof {
    /// Nothing: the connection is plain.
    Nothing,
    /// To have the key of a certificate.
    #[cfg(feature = "tls")]
    Certificate(Certificate),
}

/// Takes a connection that has come, in TLS or not, as it begins.
#[cfg_attr(
    not(feature = "tls"),
    expect(unused_variables, clippy::unused_async, reason = "TLS needs it")
)]
pub(super) async fn accept(
    stream: TcpStream,
    shared: &Shared,
) -> Result<(Link, Proof), OpeningError> {
    #[cfg(feature = "tls")]
    if tls::is_spoken(&stream).await.unwrap_or(false) {
        let identity = shared.identity().ok_or(Refusal::NoIdentity)?;
        let (stream, certificate) = identity.accept(stream).await?;
        let link = Link::new(stream, Phase::Opening);
        return Ok((link, Proof::Certificate(certificate)));
    }
    Ok((Link::new(stream, Phase::Opening), Proof::Nothing))
}

#[cfg(feature = "tls")]
impl Proof {
    /// Whether this is what a resource wants, no less and no more.
    pub(super) fn check(
        &self,
        settings: &Settings,
        resource: &ResourceName,
    ) -> Result<(), Refusal> {
        match (&settings.tls, self) {
            (None, Self::Nothing) => Ok(()),
            (None, Self::Certificate(_)) => Err(Refusal::Unwanted),
            (Some(_), Self::Nothing) => Err(Refusal::Plain),
            (Some(peer), Self::Certificate(certificate)) => certificate.check(peer, resource),
        }
    }
}

/// What a resource puts its connections to the peer into.
pub(super) enum Wrapping {
    /// Nothing.
    Plain,
    /// TLS, if there is an identity.
    #[cfg(feature = "tls")]
    Tls {
        identity: Option<Identity>,
        peer: PeerName,
        resource: ResourceName,
    },
}

impl Wrapping {
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "TLS needs it")
    )]
    pub(super) fn of(resource: &ResourceName, settings: &Settings, shared: &Shared) -> Self {
        #[cfg(feature = "tls")]
        if let Some(peer) = &settings.tls {
            return Self::Tls {
                identity: shared.identity(),
                peer: peer.clone(),
                resource: resource.clone(),
            };
        }
        Self::Plain
    }

    /// Makes a link of a connection, or says why not.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, clippy::unused_async, reason = "TLS needs it")
    )]
    pub(super) async fn wrap(&self, stream: TcpStream, to: SocketAddr) -> Result<Link, EventKind> {
        match self {
            Self::Plain => Ok(Link::new(stream, Phase::Answer)),
            #[cfg(feature = "tls")]
            Self::Tls {
                identity,
                peer,
                resource,
            } => {
                let connected = match identity {
                    Some(identity) => identity.connect(stream, peer, resource).await,
                    None => Err(Refusal::NoIdentity),
                };
                connected
                    .map(|stream| Link::new(stream, Phase::Answer))
                    .map_err(|reason| EventKind::Unproven { peer: to, reason })
            }
        }
    }
}

/// What is told of a connection to the peer that has failed, if that was TLS: a peer that does not
/// believe this node says so only after this side is through with its handshake.
#[cfg_attr(
    not(feature = "tls"),
    expect(
        unused_variables,
        clippy::needless_pass_by_value,
        reason = "TLS needs it"
    )
)]
pub(super) fn failure(peer: SocketAddr, error: io::Error) -> Option<EventKind> {
    #[cfg(feature = "tls")]
    if tls::is_of_tls(&error) {
        let reason = Refusal::handshake(error);
        return Some(EventKind::Unproven { peer, reason });
    }
    None
}

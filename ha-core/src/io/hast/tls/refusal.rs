//! Why a connection was not used.

use std::boxed::Box;
use std::io;
use std::sync::Arc;

use hast_proto::{ResourceName, message};

use super::PeerName;

/// Why a connection was not used: by TLS, by what its certificate says, or because it should have
/// been in TLS, or not.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The handshake of TLS has failed: this side does not trust the other's certificate, or the
    /// other way round, or one of them does not speak TLS.
    #[error("the TLS handshake has failed: {0}")]
    Handshake(Arc<io::Error>),
    /// This node has no identity, so that it can prove none.
    #[error("this node has no certificate")]
    NoIdentity,
    /// The connection is plain, but the resource is replicated in TLS only.
    #[error("the connection is plain, and the resource is replicated in TLS only")]
    Plain,
    /// The connection is in TLS, but the resource is replicated without.
    #[error("the connection is in TLS, and the resource is replicated without")]
    Unwanted,
    /// The certificate is another node's.
    #[error("the certificate is not that of {wanted}")]
    Name {
        /// Whose it should be.
        wanted: PeerName,
    },
    /// The certificate is not for this resource.
    #[error("the certificate is not for the resource {wanted}")]
    Resource {
        /// What it should be for.
        wanted: ResourceName,
    },
}

impl Refusal {
    pub(in super::super) fn handshake(error: io::Error) -> Self {
        Self::Handshake(Arc::new(error))
    }

    /// What the peer is told, in a text that no other implementation compares.
    pub(in super::super) fn told(&self) -> message::Refusal {
        let text = match self {
            Self::Plain => "The resource is replicated in TLS only.",
            Self::Unwanted => "The resource is replicated without TLS.",
            Self::Name { .. } | Self::Resource { .. } | Self::Handshake(_) | Self::NoIdentity => {
                return message::Refusal::NoAccess;
            }
        };
        message::Refusal::Other(Box::from(text))
    }
}

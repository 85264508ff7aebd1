//! The name of a peer.

use core::fmt;
use std::boxed::Box;

use tokio_rustls::rustls::pki_types::ServerName;

/// The name that the certificate of a peer must bear: a DNS name or an IP address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PeerName(pub(super) ServerName<'static>);

/// Why a text is no name of a peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is neither a DNS name nor an IP address")]
#[non_exhaustive]
pub struct PeerNameError {
    /// The text.
    pub text: Box<str>,
}

impl PeerName {
    /// Reads a name. In DNS names, case does not matter.
    ///
    /// # Errors
    ///
    /// [`PeerNameError`].
    pub fn parse(text: &str) -> Result<Self, PeerNameError> {
        let error = |_| PeerNameError { text: text.into() };
        let name = ServerName::try_from(text).map_err(error)?;
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

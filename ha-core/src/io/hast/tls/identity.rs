//! Who this node is, and who vouches for others.

use core::fmt;
use std::boxed::Box;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use hast_proto::ResourceName;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{self, Certificate};
use super::{PeerName, Refusal};

/// The longest file that is read.
const MAX_FILE: usize = 1024 * 1024;

/// A node's certificate with its key, and the authorities that vouch for peers. Clones share
/// them.
///
/// What was read of the key is wiped from memory. What the key has become for making signatures
/// is in the hands of the library `ring`, which does not wipe it.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[error("the {part}{}: {fault}", In(file.as_deref()))]
#[non_exhaustive]
pub struct IdentityError {
    /// What is wrong.
    pub part: IdentityPart,
    /// In which file, if it is from one.
    pub file: Option<PathBuf>,
    /// Why.
    #[source]
    pub fault: IdentityFault,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it has these three")]
pub enum IdentityPart {
    /// The node's certificate, and those that lead from it to an authority, in this order.
    Certificate,
    /// The node's private key.
    Key,
    /// The certificates of the authorities that vouch for peers.
    Authority,
}

/// What is wrong with a part of an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFault {
    /// It cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// There is more than anybody needs.
    #[error("more than {MAX_FILE} octets")]
    TooLong,
    /// It is not in the form PEM.
    #[error("not in the form PEM: {0}")]
    Pem(pem::Error),
    /// No part of it is what is looked for. An encrypted key is not.
    #[error("there is none in it")]
    Missing,
    /// It cannot be used.
    #[error("{0}")]
    Unusable(Box<dyn core::error::Error + Send + Sync>),
    /// The key is not that of the certificate.
    #[error("it is not the key of the certificate")]
    OtherKey,
}

impl Identity {
    /// Reads the files, which are in the form PEM. It waits for the disk.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] for the first part that is wrong.
    pub fn load(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, IdentityError> {
        let file = |part| match part {
            IdentityPart::Certificate => certificate,
            IdentityPart::Key => key,
            IdentityPart::Authority => authority,
        };
        let read = |part| read(file(part)).map_err(|fault| part.fault(fault));
        let made = || {
            Self::from_pem(
                &read(IdentityPart::Certificate)?,
                &read(IdentityPart::Key)?,
                &read(IdentityPart::Authority)?,
            )
        };
        made().map_err(|error| IdentityError {
            file: Some(file(error.part).into()),
            ..error
        })
    }

    /// Takes what such files hold.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] for the first part that is wrong.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        authority: &[u8],
    ) -> Result<Self, IdentityError> {
        use IdentityPart::{Authority, Certificate, Key};

        let chain = certificates(certificate).map_err(|fault| Certificate.fault(fault))?;
        let Some(own) = chain.first().cloned() else {
            return Err(Certificate.fault(IdentityFault::Missing));
        };
        webpki::EndEntityCert::try_from(&own).map_err(|error| Certificate.unusable(error))?;
        let mut der = PrivateKeyDer::from_pem_slice(key).map_err(|error| Key.pem(error))?;
        let signing = ring::sign::any_supported_type(&der);
        der.zeroize();
        let signing = signing.map_err(|error| Key.unusable(error))?;
        let pair = CertifiedKey::new(chain, signing);
        pair.keys_match()
            .map_err(|_| Key.fault(IdentityFault::OtherKey))?;

        let mut roots = RootCertStore::empty();
        for root in certificates(authority).map_err(|fault| Authority.fault(fault))? {
            roots.add(root).map_err(|error| Authority.unusable(error))?;
        }
        if roots.is_empty() {
            return Err(Authority.fault(IdentityFault::Missing));
        }
        let (client, server) = configs(pair, roots).map_err(|error| Authority.unusable(error))?;
        Ok(Self {
            certificate: own,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// Whether this node's own certificate is for a resource.
    #[must_use]
    pub fn is_for(&self, resource: &ResourceName) -> bool {
        certificate::is_for(&self.certificate, resource)
    }

    /// Begins TLS on a connection to a peer, and verifies that it is this one, and for this
    /// resource.
    pub(in super::super) async fn connect(
        &self,
        stream: TcpStream,
        peer: &PeerName,
        resource: &ResourceName,
    ) -> Result<client::TlsStream<TcpStream>, Refusal> {
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let connected = connector.connect(peer.0.clone(), stream).await;
        let stream = connected.map_err(Refusal::handshake)?;
        let certificate = Certificate::of_peer(stream.get_ref().1).ok_or_else(unproven)?;
        certificate.check(peer, resource)?;
        Ok(stream)
    }

    /// Begins TLS on a connection that has come, and returns what was proven.
    pub(in super::super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, Certificate), Refusal> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        let stream = acceptor.accept(stream).await.map_err(Refusal::handshake)?;
        let certificate = Certificate::of_peer(stream.get_ref().1).ok_or_else(unproven)?;
        Ok((stream, certificate))
    }
}

/// Makes what the library wants for either side: TLS 1.3 alone, certificates of both, and nothing
/// kept from one connection to the next.
fn configs(
    pair: CertifiedKey,
    roots: RootCertStore,
) -> Result<(ClientConfig, ServerConfig), Box<dyn core::error::Error + Send + Sync>> {
    let provider = Arc::new(ring::default_provider());
    let pair = Arc::new(SingleCertAndKey::from(pair));
    let roots = Arc::new(roots);
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(Arc::clone(&roots))
        .with_client_cert_resolver(Arc::clone(&pair) as _);
    client.resumption = Resumption::disabled();
    // Whoever listens has one certificate for all, and whoever reads along need not know names.
    client.enable_sni = false;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(pair);
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((client, server))
}

/// What does not happen, as either side demands a certificate.
fn unproven() -> Refusal {
    Refusal::handshake(io::Error::other(rustls::Error::NoCertificatesPresented))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityFault> {
    // All room at once: octets that move leave a copy behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    let file = File::open(path).map_err(IdentityFault::Read)?;
    file.take(MAX_FILE as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(IdentityFault::Read)?;
    match octets.len() > MAX_FILE {
        true => Err(IdentityFault::TooLong),
        false => Ok(octets),
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(IdentityFault::Pem)
}

impl IdentityPart {
    const fn fault(self, fault: IdentityFault) -> IdentityError {
        IdentityError {
            part: self,
            file: None,
            fault,
        }
    }

    fn pem(self, error: pem::Error) -> IdentityError {
        self.fault(match error {
            pem::Error::NoItemsFound => IdentityFault::Missing,
            error => IdentityFault::Pem(error),
        })
    }

    fn unusable(
        self,
        error: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> IdentityError {
        self.fault(IdentityFault::Unusable(error.into()))
    }
}

impl fmt::Display for IdentityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Authority => "certificate of an authority",
        })
    }
}

/// The place of an error, if it has one.
struct In<'a>(Option<&'a Path>);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " in {}", path.display()),
            None => Ok(()),
        }
    }
}

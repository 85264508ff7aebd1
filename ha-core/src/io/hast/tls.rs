//! HAST inside mutual TLS, between two nodes of this implementation. Feature `tls`.
//!
//! HAST proves to nobody who it is, and believes every address. Between two nodes that both run
//! this crate, both connections of a session can be inside TLS 1.3 instead, with a certificate of
//! either side. No other implementation knows that, so it is off unless
//! [`Settings::tls`](super::Settings::tls) says who the peer is; and
//! [`Node::set_identity`](super::Node::set_identity) says who this node is.
//!
//! # What a certificate must say
//!
//! A peer is let in for a resource if its certificate
//!
//! - is vouched for by an authority of [`Identity`], and valid now,
//! - may be used by servers and by clients, as roles are swapped: the extended key usage, if there
//!   is one, has both,
//! - has the peer's name among its alternative names: a DNS name, in which `*` stands for any first
//!   label, or an IP address if the [`PeerName`] is one. The subject's common name is not looked at;
//! - has, also among its alternative names, the URI `hast:RESOURCE` for this resource, in which
//!   octets may be written as `%` and two hexadecimal digits, and those that a URI cannot hold must
//!   be. A certificate without such a URI is for no resource at all: one that was made for a web
//!   server of the same host does not open its disks.
//!
//! For OpenSSL, such names are
//!
//! ```text
//! subjectAltName = DNS:ada.example.net, URI:hast:shared, URI:hast:tank
//! extendedKeyUsage = serverAuth, clientAuth
//! ```
//!
//! Both sides verify all of it, for each connection: the primary before it says a word of HAST,
//! the secondary before it answers one. Sessions are not resumed, so that no certificate is
//! believed for longer than it is valid. There are no revocation lists: a certificate is valid until
//! it ends, or until its authority is taken away.
//!
//! # No way back to plain
//!
//! TLS and plain connections come to the same port. The first octet tells them apart: it is 22 in
//! TLS, and the version, at most 2, in HAST. Which of them is right is a matter of the resource,
//! and is looked at when the opening has named it:
//!
//! | the connection | `tls` is `None` | `tls` is `Some` |
//! |---|---|---|
//! | plain | goes on | [`Refusal::Plain`] |
//! | TLS | [`Refusal::Unwanted`] | goes on if the certificate is right |
//!
//! A peer that is refused there is told so in HAST's own words. A primary connects in TLS if and
//! only if `tls` is `Some`; without an identity it does not connect at all. Another `tls`, like
//! another `remote`, ends the session that there is.
//!
//! The TLS handshake counts as part of the opening: [`NodeLimits`](super::NodeLimits) bound how
//! long it may take, and how many from one address may be at it. A primary gives up after the
//! timeout of the resource.
//!
//! # Renewal
//!
//! [`Node::set_identity`](super::Node::set_identity) may be called at any time. It holds for
//! connections that are made from then on; sessions go on as they are.

mod certificate;
mod identity;
mod name;
mod refusal;

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::rustls;

pub(super) use self::certificate::Certificate;
pub use self::identity::{Identity, IdentityError, IdentityFault, IdentityPart};
pub use self::name::{PeerName, PeerNameError};
pub use self::refusal::Refusal;

/// What a record begins with that begins a handshake; no version of HAST is so high.
const HANDSHAKE_RECORD: u8 = 22;

/// Whether an error is one that TLS has found or was told of, and not one of the connection below.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|it| it.is::<rustls::Error>())
}

/// Waits until a connection says something, and returns whether that is TLS.
pub(super) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let length = stream.peek(&mut first).await?;
    Ok(length > 0 && first == [HANDSHAKE_RECORD])
}

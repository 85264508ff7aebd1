//! What a certificate says of its owner.

use hast_proto::ResourceName;
use tokio_rustls::rustls::CommonState;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::{PeerName, Refusal};

/// A certificate that an authority has vouched for, and whose owner has proven to have its key.
pub(in super::super) struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// Returns that of the other side, after a handshake.
    pub(super) fn of_peer(connection: &CommonState) -> Option<Self> {
        let certificate = connection.peer_certificates()?.first()?;
        Some(Self(certificate.clone()))
    }

    /// Whether it is the one of this peer, and for this resource.
    pub(in super::super) fn check(
        &self,
        peer: &PeerName,
        resource: &ResourceName,
    ) -> Result<(), Refusal> {
        let named = EndEntityCert::try_from(&self.0)
            .is_ok_and(|it| it.verify_is_valid_for_subject_name(&peer.0).is_ok());
        if !named {
            let wanted = peer.clone();
            return Err(Refusal::Name { wanted });
        }
        if !is_for(&self.0, resource) {
            let wanted = resource.clone();
            return Err(Refusal::Resource { wanted });
        }
        Ok(())
    }
}

/// Whether one of the URIs in a certificate is that of a resource.
pub(super) fn is_for(certificate: &CertificateDer<'_>, resource: &ResourceName) -> bool {
    EndEntityCert::try_from(certificate).is_ok_and(|it| {
        it.valid_uri_names()
            .any(|uri| names(uri, resource.as_str()))
    })
}

/// Whether a URI is `hast:RESOURCE`. That what is encoded needlessly counts as well, and case in the
/// scheme does not, is the custom of URIs (RFC 3986, section 6.2.2).
fn names(uri: &str, resource: &str) -> bool {
    let Some((scheme, encoded)) = uri.split_once(':') else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("hast") {
        return false;
    }
    let mut octets = encoded.bytes();
    for wanted in resource.bytes() {
        let octet = match octets.next() {
            Some(b'%') => octets.next().and_then(digit).and_then(|high| {
                let low = octets.next().and_then(digit)?;
                Some(high << 4 | low)
            }),
            octet => octet,
        };
        if octet != Some(wanted) {
            return false;
        }
    }
    octets.next().is_none()
}

fn digit(octet: u8) -> Option<u8> {
    let digit = char::from(octet).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_uri_names_one_resource() {
        for (uri, resource) in [
            ("hast:shared", "shared"),
            ("HAST:shared", "shared"),
            ("hast:%73hared", "shared"),
            ("hast:a%2fb%2Fc", "a/b/c"),
            ("hast:a/b", "a/b"),
            ("hast:100%25", "100%"),
            ("hast:%c3%a9", "é"),
        ] {
            assert!(names(uri, resource), "{uri} {resource}");
        }
        for (uri, resource) in [
            ("hast:shared", "share"),
            ("hast:share", "shared"),
            ("hast:Shared", "shared"),
            ("hast:", "shared"),
            ("hast", "hast"),
            ("shared", "shared"),
            ("", "shared"),
            ("http:shared", "shared"),
            ("hast://shared", "shared"),
            ("hast:*", "shared"),
            ("hast:%7", "\u{7}"),
            ("hast:%", "%"),
            ("hast:%zz", "%zz"),
            ("hast:%2", "%2"),
            ("hast:shared%00", "shared"),
        ] {
            assert!(!names(uri, resource), "{uri} {resource}");
        }
    }
}

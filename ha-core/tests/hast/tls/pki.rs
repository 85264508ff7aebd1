//! Authorities and certificates, right and wrong.

use core::sync::atomic::{AtomicUsize, Ordering};

use ha_core::io::hast::tls::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};

/// An authority.
pub(super) struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A certificate as it should be for a node, except for what a test changes.
pub(super) fn params(node: &str, resources: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new([node.to_owned()]).unwrap();
    for uri in resources {
        let uri = SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names.push(uri);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

/// Makes a certificate that was valid once.
pub(super) fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

impl Pki {
    pub(super) fn new() -> Self {
        // Each has a name of its own, by which it is looked for.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    pub(super) fn authority(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(super) fn identity(&self, node: &str, resources: &[&str]) -> Identity {
        self.identity_with(&params(node, resources))
    }

    pub(super) fn identity_with(&self, params: &CertificateParams) -> Identity {
        self.identity_believing(params, &self.authority())
    }

    /// An identity of this authority that believes what others vouch for.
    pub(super) fn identity_believing(
        &self,
        params: &CertificateParams,
        authority: &str,
    ) -> Identity {
        let Issued { certificate, key } = self.issue(params);
        let made = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), authority.as_bytes());
        made.unwrap()
    }
}

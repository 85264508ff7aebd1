//! Who is not believed, by whom, and how both learn of it.

use std::fs;

use ha_core::hast_proto::message::Refusal as Told;
use ha_core::hast_proto::{ResourceName, Role};
use ha_core::io::hast::tls::{Identity, IdentityFault, IdentityPart, PeerName, Refusal};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};

use super::pki::{Pki, expired, params};
use super::{ADA, BOB, pair, right, told, unproven, want};
use crate::pair::{Pair, noise};

const SHARED: &[&str] = &["hast:shared"];

/// Begins in vain, and returns what the primary says of it.
async fn refused(mut pair: Pair) -> (Refusal, Pair) {
    pair.b.resource.set_role(Role::Secondary).await.unwrap();
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let here = pair.a.event("a refusal", unproven).await;
    let stats = pair.a.node.stats();
    assert!(stats.tls_failed + stats.tls_certificate > 0);
    assert_eq!(pair.a.primary().await.peer, None);
    // The primary works alone.
    let device = pair.a.resource.device().await.unwrap();
    device.write(0, noise(1, 4096)).await.unwrap();
    (here, pair)
}

/// What the secondary says.
async fn there(pair: &mut Pair) -> String {
    text(&pair.b.event("a refusal", unproven).await)
}

fn text(refusal: &Refusal) -> String {
    refusal.to_string()
}

#[tokio::test]
async fn another_authority() {
    let (pki, other) = (Pki::new(), Pki::new());
    // The primary does not believe the secondary.
    let pair1 = pair(Some(right(&pki, ADA)), Some(right(&other, BOB))).await;
    let (here, mut pair1) = refused(pair1).await;
    assert!(text(&here).contains("UnknownIssuer"), "{here}");
    assert!(there(&mut pair1).await.contains("UnknownCA"));
    pair1.end().await;
    // The secondary does not believe the primary.
    let believing = pki.authority() + &other.authority();
    let stranger = other.identity_believing(&params(ADA, SHARED), &believing);
    let pair2 = pair(Some(stranger), Some(right(&pki, BOB))).await;
    let (here, mut pair2) = refused(pair2).await;
    assert!(text(&here).contains("UnknownCA"), "{here}");
    assert!(there(&mut pair2).await.contains("UnknownIssuer"));
    pair2.end().await;
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let pki = Pki::new();
    let old = |node| pki.identity_with(&expired(params(node, SHARED)));
    let (here, pair1) = refused(pair(Some(right(&pki, ADA)), Some(old(BOB))).await).await;
    assert!(text(&here).contains("expired"), "{here}");
    pair1.end().await;
    let (here, mut pair2) = refused(pair(Some(old(ADA)), Some(right(&pki, BOB))).await).await;
    assert!(text(&here).contains("CertificateExpired"), "{here}");
    assert!(there(&mut pair2).await.contains("expired"));
    pair2.end().await;
}

#[tokio::test]
async fn a_certificate_for_servers_alone() {
    let pki = Pki::new();
    let mut server = params(ADA, SHARED);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let ada = pki.identity_with(&server);
    let (_, mut pair) = refused(pair(Some(ada), Some(right(&pki, BOB))).await).await;
    assert!(there(&mut pair).await.contains("usage"));
    pair.end().await;
}

#[tokio::test]
async fn the_certificate_of_another_node() {
    let pki = Pki::new();
    // The secondary is somebody else; what it proves in TLS is not what the primary wants.
    let (here, pair1) = refused(pair(Some(right(&pki, ADA)), Some(right(&pki, ADA))).await).await;
    assert!(text(&here).contains("not valid for name"), "{here}");
    pair1.end().await;
    // The primary is.
    let mut pair2 = pair(Some(right(&pki, BOB)), Some(right(&pki, BOB))).await;
    let _device = pair2.start().await;
    let Refusal::Name { wanted } = pair2.b.event("another node", unproven).await else {
        panic!("it was not the name");
    };
    assert_eq!(wanted, PeerName::parse(ADA).unwrap());
    assert_eq!(pair2.a.event("a refusal", told).await, Told::NoAccess);
    assert!(pair2.b.node.stats().tls_certificate > 0);
    pair2.end().await;
}

#[tokio::test]
async fn a_certificate_for_other_resources() {
    let pki = Pki::new();
    let shared = ResourceName::new("shared").unwrap();
    // None at all is for none.
    for resources in [&[][..], &["hast:share", "http:shared", "hast:*"]] {
        let other = |node| pki.identity(node, resources);
        assert!(!other(ADA).is_for(&shared) && right(&pki, ADA).is_for(&shared));
        let is_shared = |refusal: &Refusal| matches!(refusal, Refusal::Resource { wanted } if *wanted == shared);
        let (here, pair1) = refused(pair(Some(right(&pki, ADA)), Some(other(BOB))).await).await;
        assert!(is_shared(&here), "{here}");
        pair1.end().await;
        let mut pair2 = pair(Some(other(ADA)), Some(right(&pki, BOB))).await;
        let _device = pair2.start().await;
        let there = pair2.b.event("another resource", unproven).await;
        assert!(is_shared(&there), "{there}");
        assert_eq!(pair2.a.event("a refusal", told).await, Told::NoAccess);
        assert!(pair2.b.node.stats().tls_certificate > 0);
        pair2.end().await;
    }
}

#[tokio::test]
async fn plain_against_tls_and_tls_against_plain() {
    let pki = Pki::new();
    let mut pair = pair(Some(right(&pki, ADA)), Some(right(&pki, BOB))).await;
    want(&pair.a, &pair.to_b, None).await;
    let _device = pair.start().await;
    assert!(matches!(
        pair.b.event("plain", unproven).await,
        Refusal::Plain
    ));
    let missing = pair.a.event("a refusal", told).await;
    assert!(
        matches!(&missing, Told::Other(text) if text.contains("TLS only")),
        "{missing:?}"
    );
    assert!(pair.b.node.stats().tls_missing > 0);

    // The other way round.
    want(&pair.b, &pair.to_a, None).await;
    want(&pair.a, &pair.to_b, Some(BOB)).await;
    let unwanted = |kind: &_| unproven(kind).filter(|it| matches!(it, Refusal::Unwanted));
    pair.b.event("TLS", unwanted).await;
    let other = |kind: &_| match told(kind) {
        Some(Told::Other(text)) if text.contains("without TLS") => Some(()),
        _ => None,
    };
    pair.a.event("a refusal", other).await;
    assert!(pair.b.node.stats().tls_unwanted > 0);

    // And where the node has no certificate at all, the handshake ends.
    pair.b.node.set_identity(None);
    let none = |kind: &_| unproven(kind).filter(|it| matches!(it, Refusal::NoIdentity));
    pair.b.event("no certificate", none).await;
    pair.a.event("an end", unproven).await;
    assert_eq!(pair.a.primary().await.peer, None);
    pair.end().await;
}

#[tokio::test]
async fn without_an_identity_nothing_is_said() {
    let pki = Pki::new();
    let mut pair = pair(None, Some(right(&pki, BOB))).await;
    let _device = pair.start().await;
    let here = pair.a.event("no certificate", unproven).await;
    assert!(matches!(here, Refusal::NoIdentity), "{here}");
    assert_eq!(pair.b.node.stats().tls_missing, 0);
    // As soon as there is one, it is used.
    pair.a.node.set_identity(Some(right(&pki, ADA)));
    pair.agreed().await;
    pair.end().await;
}

#[test]
fn files_that_make_no_identity() {
    use IdentityFault::{Missing, OtherKey, Pem, Read, TooLong, Unusable};
    use IdentityPart::{Authority, Certificate, Key};

    let pki = Pki::new();
    let good = pki.issue(&params(ADA, SHARED));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &[u8]| fs::write(path(name), text).unwrap();
    write("cert", good.certificate.as_bytes());
    write("key", good.key.as_bytes());
    write("ca", pki.authority().as_bytes());
    write("empty", b"");
    write("long", &vec![b'\n'; 1024 * 1024 + 1]);
    write(
        "other",
        KeyPair::generate().unwrap().serialize_pem().as_bytes(),
    );
    write("cut", &good.certificate.as_bytes()[..100]);
    let rubbish = "-----BEGIN X-----\nAAAA\n-----END X-----\n";
    for (name, label) in [("badcert", "CERTIFICATE"), ("badkey", "PRIVATE KEY")] {
        write(name, rubbish.replace('X', label).as_bytes());
    }
    let load = |cert: &str, key: &str, ca: &str| Identity::load(&path(cert), &path(key), &path(ca));
    load("cert", "key", "ca").unwrap();

    let fails = |cert, key, ca, part, fault: fn(&IdentityFault) -> bool| {
        let error = load(cert, key, ca).unwrap_err();
        assert!(error.part == part && fault(&error.fault), "{error:?}");
        let file = match part {
            Certificate => cert,
            Key => key,
            Authority => ca,
        };
        assert_eq!(error.file, Some(path(file)));
        assert!(
            error.to_string().contains(path(file).to_str().unwrap()),
            "{error}"
        );
    };
    fails("absent", "key", "ca", Certificate, |it| {
        matches!(it, Read(_))
    });
    fails("empty", "key", "ca", Certificate, |it| {
        matches!(it, Missing)
    });
    fails("key", "key", "ca", Certificate, |it| matches!(it, Missing));
    fails("cut", "key", "ca", Certificate, |it| matches!(it, Pem(_)));
    fails("long", "key", "ca", Certificate, |it| matches!(it, TooLong));
    fails("badcert", "key", "ca", Certificate, |it| {
        matches!(it, Unusable(_))
    });
    fails("cert", "absent", "ca", Key, |it| matches!(it, Read(_)));
    fails("cert", "cert", "ca", Key, |it| matches!(it, Missing));
    fails("cert", "badkey", "ca", Key, |it| matches!(it, Unusable(_)));
    fails("cert", "other", "ca", Key, |it| matches!(it, OtherKey));
    fails("cert", "key", "absent", Authority, |it| {
        matches!(it, Read(_))
    });
    fails("cert", "key", "empty", Authority, |it| {
        matches!(it, Missing)
    });
    fails("cert", "key", "badcert", Authority, |it| {
        matches!(it, Unusable(_))
    });
}

#[test]
fn nothing_of_a_key_is_shown() {
    let identity = right(&Pki::new(), ADA);
    assert_eq!(format!("{identity:?}"), "Identity { .. }");
}

#[test]
fn names_of_peers() {
    let parse = PeerName::parse;
    for name in ["bob", "bob.example", "192.0.2.1", "2001:db8::1"] {
        assert_eq!(parse(name).unwrap().to_string(), name);
    }
    assert_eq!(parse("Bob.Example").unwrap(), parse("bob.example").unwrap());
    for name in ["", "bob example", "*.example", "-", "hast:bob"] {
        assert_eq!(&*parse(name).unwrap_err().text, name);
    }
}

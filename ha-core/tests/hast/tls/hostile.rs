//! Peers that speak no TLS, or no more of it, or prove nothing.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use ha_core::hast_proto::Role;
use ha_core::hast_proto::Version;
use ha_core::hast_proto::frame::Encoder;
use ha_core::hast_proto::message::{FirstStep, Opening};
use ha_core::io::hast::tls::{PeerName, Refusal};
use ha_core::io::hast::{EventKind, Node, NodeLimits, OpeningError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::pki::Pki;
use super::{ADA, BOB, pair, right, unproven, wanting};
use crate::disk::Disk;
use crate::pair::{MEBIBYTE, add, create, name, noise, settings};

/// How a real record begins that begins a handshake.
const RECORD: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc];

/// A client without a certificate.
async fn anonymous(pki: &Pki, node: &Node) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(pki.authority().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(node.listening()[0]).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(BOB.try_into().unwrap(), stream).await?;
    let first = Opening::First(FirstStep {
        resource: name(),
        version: Some(2),
    });
    let octets = first.encode(Version::V1, &mut Encoder::new()).concat();
    stream.write_all(&octets).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_peer_without_a_certificate_hears_nothing() {
    let pki = Pki::new();
    let mut pair = pair(Some(right(&pki, ADA)), Some(right(&pki, BOB))).await;
    let _device = pair.start().await;
    pair.a.in_sync().await;
    let error = anonymous(&pki, &pair.b.node).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let refusal = pair.b.event("no certificate", unproven).await;
    assert!(refusal.to_string().contains("no certificates"), "{refusal}");
    assert_eq!(pair.b.node.stats().tls_failed, 1);
    // The session has not noticed.
    assert!(pair.a.primary().await.peer.is_some());
    pair.end().await;
}

#[tokio::test]
async fn rubbish_and_halves_of_handshakes() {
    let pki = Pki::new();
    let mut pair = pair(Some(right(&pki, ADA)), Some(right(&pki, BOB))).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    let mut idle = Vec::new();
    for number in 0..60_u64 {
        let mut stream = TcpStream::connect(pair.b.address).await.unwrap();
        let rubbish = match number % 6 {
            0 => [RECORD, &noise(number, 4096)].concat().into(),
            // A record of 64 KiB.
            1 => Bytes::from_static(&[22, 3, 3, 0xff, 0xff]),
            // A message of 16 MiB.
            2 => Bytes::from_static(&[22, 3, 3, 0x40, 0, 1, 0xff, 0xff, 0xff]),
            3 => Bytes::from_static(RECORD),
            4 => Bytes::from_static(&[22]),
            _ => [&[22][..], &noise(number, 200)].concat().into(),
        };
        let _ = stream.write_all(&rubbish).await;
        // Some stay, some go.
        if number % 4 == 0 {
            idle.push(stream);
        }
        device
            .write(number * 4096, noise(number, 4096))
            .await
            .unwrap();
    }
    let Refusal::Handshake(_) = pair.b.event("rubbish", unproven).await else {
        panic!("it was not the handshake");
    };
    assert!(pair.b.node.stats().tls_failed > 0);
    assert!(pair.a.primary().await.peer.is_some());
    drop(idle);
    pair.agreed().await;
    pair.assert_equal().await;
    pair.end().await;
}

/// The handshake is part of what is limited: in time, and in number.
#[tokio::test]
async fn handshakes_that_go_nowhere_are_limited() {
    let pki = Pki::new();
    let mut limits = NodeLimits::default();
    limits.opening = Duration::from_millis(700);
    limits.openings = 3;
    let node = Node::new(limits);
    node.listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    node.set_identity(Some(right(&pki, BOB)));
    let disk = Disk::new(MEBIBYTE);
    create(&disk).await;
    let mut wanted = settings();
    wanted.remote = Some(node.listening()[0].into());
    wanted.tls = Some(PeerName::parse(ADA).unwrap());
    let resource = add(&node, wanted, &disk);
    resource.set_role(Role::Secondary).await.unwrap();
    let mut events = node.events();
    let mut idle = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(node.listening()[0]).await.unwrap();
        stream.write_all(RECORD).await.unwrap();
        idle.push(stream);
    }
    let (mut late, mut many) = (0, 0);
    while late < 3 || many < 2 {
        let next = tokio::time::timeout(Duration::from_secs(20), events.next());
        match next.await.unwrap().unwrap().kind {
            EventKind::TooManyConnections(_) => many += 1,
            EventKind::NoOpening { error, .. } => {
                assert!(matches!(error, OpeningError::TimedOut), "{error:?}");
                late += 1;
            }
            _ => {}
        }
    }
    let stats = node.stats();
    assert_eq!((stats.no_opening, stats.too_many), (3, 2));
    node.shutdown().await.unwrap();
}

/// A secondary that accepts and says nothing does not hold up the primary.
#[tokio::test]
async fn a_primary_waits_for_no_handshake() {
    let pki = Pki::new();
    let mut pair = pair(Some(right(&pki, ADA)), Some(right(&pki, BOB))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let silence = tokio::spawn(async move {
        let mut idle = Vec::new();
        loop {
            idle.push(silent.accept().await.unwrap());
        }
    });
    let mut settings = wanting(&pair.to_b, Some(BOB));
    settings.remote = Some(address.into());
    settings.primary.timeout = Duration::from_millis(500);
    pair.a.resource.configure(settings).await.unwrap();
    pair.a.resource.set_role(Role::Primary).await.unwrap();
    let device = pair.a.resource.device().await.unwrap();
    let failed = |kind: &EventKind| {
        use ha_core::hast_proto::primary::Event::ConnectFailed;
        matches!(kind, EventKind::Primary(ConnectFailed(_))).then_some(())
    };
    for round in 0..2 {
        device.write(0, noise(round, 4096)).await.unwrap();
        pair.a.event("the end of an attempt", failed).await;
    }
    silence.abort();
    pair.end().await;
}

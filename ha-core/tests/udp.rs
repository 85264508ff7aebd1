//! The UDP transport on the loopback interface. Real sockets and a real clock: these tests wait,
//! but never longer than [`LIMIT`].

#![expect(clippy::disallowed_methods, reason = "waiting for packets is limited")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::task::Poll;
use core::time::Duration;
use std::net::UdpSocket;

use ha_core::carp_proto::{ADVERTISEMENT_LEN, Family, TTL};
use ha_core::io::{Transport, UdpError, UdpTransport};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);
const LOOPBACK: &str = "127.0.0.1:0";

/// An address that was free a moment ago.
fn free(any: &str) -> SocketAddr {
    UdpSocket::bind(any).unwrap().local_addr().unwrap()
}

/// The next packet: its source and bytes, or `None` for a dropped one.
async fn receive(transport: &mut UdpTransport) -> Option<(IpAddr, u8, Vec<u8>)> {
    let mut buffer = [0; 256];
    let read = poll_fn(|cx| {
        transport.poll_receive(cx, &mut buffer).map_ok(|datagram| {
            datagram.map(|datagram| (datagram.source, datagram.ttl, datagram.payload.to_vec()))
        })
    });
    timeout(LIMIT, read)
        .await
        .expect("a packet is on its way")
        .unwrap()
}

async fn is_empty(transport: &mut UdpTransport) -> bool {
    let mut buffer = [0; 256];
    poll_fn(|cx| Poll::Ready(transport.poll_receive(cx, &mut buffer).is_pending())).await
}

#[tokio::test]
async fn peers_hear_each_other_and_not_themselves() {
    let peers = [free(LOOPBACK), free(LOOPBACK), free(LOOPBACK)];
    let [mut a, mut b, mut c] =
        peers.map(|local| UdpTransport::bind(&[local], &peers).expect("the ports are free"));
    assert_eq!(a.peers().count(), 2);
    assert!(a.carries(Family::V4) && !a.carries(Family::V6));

    let (one, two) = ([1; ADVERTISEMENT_LEN], [2; ADVERTISEMENT_LEN]);
    a.try_send(Family::V4, &one).unwrap();
    a.try_send(Family::V4, &two).unwrap();
    for other in [&mut b, &mut c] {
        let loopback = peers[0].ip();
        assert_eq!(receive(other).await, Some((loopback, TTL, one.to_vec())));
        assert_eq!(receive(other).await, Some((loopback, TTL, two.to_vec())));
        assert!(is_empty(other).await);
    }
    assert!(is_empty(&mut a).await);
}

#[tokio::test]
async fn strangers_are_dropped_and_counted() {
    let peer = free(LOOPBACK);
    let mut transport = UdpTransport::bind(&[LOOPBACK.parse().unwrap()], &[peer]).unwrap();
    let local = transport.local().next().unwrap();
    let stranger = UdpSocket::bind(LOOPBACK).unwrap();
    stranger.send_to(&[3; ADVERTISEMENT_LEN], local).unwrap();
    assert_eq!(receive(&mut transport).await, None);
    assert_eq!(transport.strangers(), 1);
    assert_eq!(transport.echoes(), 0);
}

#[tokio::test]
async fn short_and_long_packets_are_handed_on_up_to_the_buffer() {
    let peers = [free(LOOPBACK), free(LOOPBACK)];
    let mut transport = UdpTransport::bind(&peers[..1], &peers).unwrap();
    let peer = UdpSocket::bind(peers[1]).unwrap();
    for len in [0, 1, 1_400] {
        peer.send_to(&vec![7; len], peers[0]).unwrap();
        let (_, _, payload) = receive(&mut transport).await.expect("it is from a peer");
        assert_eq!(payload.len(), len.min(256));
    }
}

#[tokio::test]
async fn a_packet_is_found_without_the_runtime_having_noticed() {
    let peers = [free(LOOPBACK), free(LOOPBACK)];
    let mut transport = UdpTransport::bind(&peers[..1], &peers).unwrap();
    assert!(is_empty(&mut transport).await);
    let peer = UdpSocket::bind(peers[1]).unwrap();
    peer.send_to(&[7; ADVERTISEMENT_LEN], peers[0]).unwrap();
    // Not a single turn of the runtime in between.
    assert!(!is_empty(&mut transport).await);
}

#[tokio::test]
async fn a_peer_that_is_away_is_no_send_error() {
    let peers = [free(LOOPBACK), free(LOOPBACK)];
    let mut transport = UdpTransport::bind(&peers[..1], &peers).unwrap();
    for _ in 0..10 {
        transport
            .try_send(Family::V4, &[1; ADVERTISEMENT_LEN])
            .unwrap();
    }
    assert!(is_empty(&mut transport).await);
    assert!(
        transport
            .try_send(Family::V6, &[1; ADVERTISEMENT_LEN])
            .is_err()
    );
}

#[tokio::test]
async fn each_family_has_its_own_socket() {
    let Ok(v6) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("there is no IPv6 here");
        return;
    };
    drop(v6);
    let any = "[::1]:0";
    let left = [free(LOOPBACK), free(any)];
    let right = [free(LOOPBACK), free(any)];
    let peers = [left[0], left[1], right[0], right[1]];
    let mut a = UdpTransport::bind(&left, &peers).unwrap();
    let mut b = UdpTransport::bind(&right, &peers).unwrap();
    a.try_send(Family::V6, &[6; ADVERTISEMENT_LEN]).unwrap();
    assert_eq!(
        receive(&mut b).await,
        Some((left[1].ip(), TTL, vec![6; ADVERTISEMENT_LEN]))
    );
    a.try_send(Family::V4, &[4; ADVERTISEMENT_LEN]).unwrap();
    assert_eq!(
        receive(&mut b).await,
        Some((left[0].ip(), TTL, vec![4; ADVERTISEMENT_LEN]))
    );
}

#[tokio::test]
async fn an_own_address_that_peers_share_is_not_given_out() {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let elsewhere = ["192.0.2.7:7112".parse().unwrap()];
    let alone = UdpTransport::bind(&[local], &elsewhere).unwrap();
    assert_eq!(alone.source(Family::V4), Some(local.ip()));
    let shared = UdpTransport::bind(&[local], &[free(LOOPBACK)]).unwrap();
    assert_eq!(shared.source(Family::V4), None);
    let wildcard = UdpTransport::bind(&["0.0.0.0:0".parse().unwrap()], &elsewhere).unwrap();
    assert_eq!(wildcard.source(Family::V4), None);
}

#[tokio::test]
async fn a_wildcard_address_knows_itself_among_the_peers() {
    let own = free(LOOPBACK);
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, own.port()).into();
    let elsewhere: SocketAddr = (Ipv4Addr::new(192, 0, 2, 7), own.port()).into();
    let neighbour = free(LOOPBACK);
    let transport = UdpTransport::bind(&[any], &[own, elsewhere, neighbour]).unwrap();
    let peers: Vec<_> = transport.peers().collect();
    assert_eq!(peers, [elsewhere, neighbour]);
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused() {
    let local: SocketAddr = LOOPBACK.parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:7112".parse().unwrap();
    let refused = |local: &[SocketAddr], peers: &[SocketAddr]| {
        UdpTransport::bind(local, peers).expect_err("it cannot work")
    };
    assert!(matches!(refused(&[], &[]), UdpError::NoLocal));
    assert!(matches!(
        refused(&[local, local], &[]),
        UdpError::TwoLocals { .. }
    ));
    assert!(matches!(refused(&[local], &[v6]), UdpError::Unreachable { peer } if peer == v6));
    let taken = UdpSocket::bind(LOOPBACK).unwrap();
    let taken = taken.local_addr().unwrap();
    let error = refused(&[taken], &[]);
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot bind {taken}: ")),
        "{error}"
    );
}

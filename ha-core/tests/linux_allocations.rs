//! Neither sending nor receiving makes the raw transport allocate: counted, on a real cable.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

mod counting;
#[allow(dead_code, reason = "shared with other tests")]
mod lab;

use core::future::poll_fn;
use core::net::IpAddr;

use counting::allocations;
use ha_core::carp_proto::{ADVERTISEMENT_LEN, Family, TTL};
use ha_core::io::Transport;
use ha_core::io::linux::{Network, RawTransport, TransportOptions};
use lab::{Lab, Side, block_on, eth0};

const ROUNDS: u64 = 100;

async fn open(peer: &str) -> (Network, RawTransport) {
    let network = Network::open().unwrap();
    let nic = network.interface(eth0()).await.unwrap();
    let mut options = TransportOptions::default();
    // By both ways.
    options.group.peers = [peer.parse().unwrap()].into();
    let transport = nic.transport(options).await.unwrap();
    (network, transport)
}

async fn receive(transport: &mut RawTransport, buffer: &mut [u8]) -> (IpAddr, IpAddr, u8, usize) {
    poll_fn(|cx| {
        let read = transport.poll_receive(cx, buffer);
        read.map(|read| {
            let got = read.unwrap().expect("an advertisement");
            (got.source, got.destination, got.ttl, got.payload.len())
        })
    })
    .await
}

#[test]
#[ignore = "needs root: creates network namespaces"]
fn packets_allocate_nothing() {
    let lab = Lab::new();
    let mut advertisement = [0; ADVERTISEMENT_LEN];
    advertisement[..2].copy_from_slice(&[0x21, 1]);
    // The other side answers each packet by one of the same family.
    let answers = lab.spawn(Side::B, move || {
        block_on(async {
            let (_network, mut transport) = open("192.0.2.2").await;
            let mut buffer = [0; 128];
            for round in 0..ROUNDS + 2 {
                let family = if round % 2 == 0 {
                    Family::V4
                } else {
                    Family::V6
                };
                // IPv4 arrives twice: by the group and as unicast.
                for _ in 0..if family == Family::V4 { 2 } else { 1 } {
                    receive(&mut transport, &mut buffer).await;
                }
                transport.try_send(family, &advertisement).unwrap();
            }
        });
    });
    let counted = lab.run(Side::A, async move {
        let (_network, mut transport) = open("192.0.2.3").await;
        // So that the other side listens.
        tokio::time::sleep(core::time::Duration::from_millis(300)).await;
        let mut buffer = [0; 128];
        let mut before = 0;
        for round in 0..ROUNDS + 2 {
            // The first ones prepare what the runtime needs once.
            if round == 2 {
                before = allocations();
            }
            let family = if round % 2 == 0 {
                Family::V4
            } else {
                Family::V6
            };
            transport.try_send(family, &advertisement).unwrap();
            for _ in 0..if family == Family::V4 { 2 } else { 1 } {
                let (source, destination, ttl, len) = receive(&mut transport, &mut buffer).await;
                let own = if family == Family::V4 {
                    "192.0.2.3"
                } else {
                    "fe80::3"
                };
                assert_eq!(source, own.parse::<IpAddr>().unwrap());
                let is_known =
                    destination == family.group() || destination == IpAddr::from([192, 0, 2, 2]);
                assert!(is_known, "{destination}");
                assert_eq!((ttl, len), (TTL, ADVERTISEMENT_LEN));
            }
        }
        allocations() - before
    });
    answers.join().unwrap();
    assert_eq!(counted, 0);
}

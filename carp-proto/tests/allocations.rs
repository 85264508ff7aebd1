//! No packet and no timer allocates: counted, in every dialect.

#![expect(clippy::unwrap_used, reason = "this is how a test fails")]

#[path = "common/mod.rs"]
mod common;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::alloc::System;

use carp_proto::vrrp::{self, Ends, Priority, Vrrp};
use carp_proto::{
    ADVERTISEMENT_LEN, AcceptTtl, AddressCount, Authenticator, CheckOrder, Config, Datagram,
    Dialect, Family, FreeBsd, GROUP_V4, GROUP_V6, Group, HeaderStyle, IPV4_PACKET_LEN,
    IPV6_PACKET_LEN, Input, Interface, Key, Local, OpenBsd, Output, Received, SendResult, State,
    Stats, TTL, UCarp, VirtualHost, check, emit_ipv4, emit_ipv6,
};
use common::{saying, vhid};

struct Counting;

thread_local! {
    // Of this thread alone: the test harness allocates on its own ones.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged. Counting allocates nothing: the
// cell is initialised at compile time and has no destructor.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this `layout`, as `alloc` has no other.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| drop(black_box(vec![1, 2]))), 1);
    assert_eq!(allocations(|| {}), 0);
}

const DIALECTS: [Dialect; 4] = [
    Dialect::FreeBsd(FreeBsd::From14),
    Dialect::FreeBsd(FreeBsd::From10To13),
    Dialect::OpenBsd(OpenBsd::Before2025),
    Dialect::OpenBsd(OpenBsd::Since2025),
];

/// Both the strict and the improved configuration of every dialect.
fn configs() -> Vec<Config> {
    let mut configs = Vec::new();
    for dialect in DIALECTS
        .into_iter()
        .chain([Dialect::UCarp(UCarp::default())])
    {
        let strict = Config::strict(vhid(), dialect, 77);
        let mut improved = Config::new(vhid());
        improved.dialect = dialect;
        configs.extend([strict, improved]);
    }
    for config in &mut configs {
        config.settings.preempt = true;
        config.source_v4 = Some([192, 0, 2, 5].into());
        config.source_v6 = Some([0xfe80, 0, 0, 0, 0, 0, 0, 5].into());
    }
    configs
}

/// The way of a packet into the machine: parse, check, verify, handle.
fn receive(
    host: &mut VirtualHost<Duration>,
    now: Duration,
    packet: &[u8],
    auth: &Authenticator,
    stats: &mut Stats,
) {
    let groups = [Group {
        vhid: vhid(),
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    }];
    let local = Local {
        groups: &groups,
        shared: &[],
    };
    let datagram = Datagram::parse(packet).unwrap();
    stats.count_input(datagram.family());
    let view = check(&datagram, &local, CheckOrder::default()).unwrap();
    match auth.verify(view) {
        Ok(advertisement) => {
            let received = Received::new(advertisement, datagram.source);
            host.handle(now, Input::Advertisement(received));
        }
        Err(error) => stats.count_discard(&error.into()),
    }
}

/// The way of everything out of it: poll, sign, build the packet.
fn drain(host: &mut VirtualHost<Duration>, now: Duration, auth: &Authenticator) -> usize {
    let mut sent = 0;
    while let Some(output) = host.poll_output() {
        match output {
            Output::NeedCounter => host.handle(now, Input::FreshCounter(9)),
            Output::Transmit(transmit) => {
                let mut bytes = [0; ADVERTISEMENT_LEN];
                auth.sign(transmit.advertisement.carp().unwrap(), &mut bytes);
                black_box(wrap(transmit.family, false, &bytes));
                host.handle(now, Input::Sent(transmit.family, SendResult::Ok));
                sent += 1;
            }
            other => {
                black_box(other);
            }
        }
    }
    sent
}

/// An IP packet of either family, its length included.
fn wrap(
    family: Family,
    from_peer: bool,
    bytes: &[u8; ADVERTISEMENT_LEN],
) -> ([u8; IPV6_PACKET_LEN], usize) {
    let style = HeaderStyle::default();
    let last = if from_peer { 9 } else { 5 };
    let mut out = [0; IPV6_PACKET_LEN];
    match family {
        Family::V4 => {
            let mut packet = [0; IPV4_PACKET_LEN];
            let source = Ipv4Addr::new(192, 0, 2, last);
            emit_ipv4(source, GROUP_V4, style, bytes, &mut packet);
            out[..IPV4_PACKET_LEN].copy_from_slice(&packet);
            (out, IPV4_PACKET_LEN)
        }
        Family::V6 => {
            let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into());
            emit_ipv6(source, GROUP_V6, style, bytes, &mut out);
            (out, IPV6_PACKET_LEN)
        }
    }
}

/// The way of a VRRP packet into the machine.
fn route(
    host: &mut VirtualHost<Duration>,
    now: Duration,
    rules: Vrrp,
    source: IpAddr,
    payload: &[u8],
) {
    let groups = [Group {
        vhid: vhid(),
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    }];
    let local = vrrp::Local {
        vrrp: &groups,
        rules,
        checksum: rules.style().checksum,
        ..vrrp::Local::default()
    };
    let datagram = Datagram {
        source,
        destination: Family::of(source).group(),
        ttl: TTL,
        payload,
    };
    let heard = vrrp::check(&datagram, &local).unwrap();
    host.handle(now, Input::Advertisement(Received::new(heard, source)));
}

#[test]
fn no_packet_and_no_timer_of_vrrp_allocates() {
    let sources: [IpAddr; 2] = ["192.0.2.9".parse().unwrap(), "fe80::9".parse().unwrap()];
    for rules in [Vrrp::FreeBsd15, Vrrp::Rfc9568] {
        let config = Config::vrrp(vhid(), rules);
        let mut host = VirtualHost::<Duration>::new(config).unwrap();
        let (mut sent, mut masters) = (0, 0);
        let count = allocations(|| {
            let mut now = Duration::from_secs(1);
            host.handle(now, Input::Addresses(AddressCount { v4: 1, v6: 2 }));
            for (round, source) in sources.into_iter().cycle().take(200).enumerate() {
                let said = vrrp::Advertisement {
                    vrid: vhid(),
                    priority: Priority::from_wire([200, 100, 50, 0, 255][round % 5]),
                    interval: config.settings.adver_interval,
                };
                let (mut buffer, ends) = ([0; 64], Ends::to_group(source));
                let packet = said.emit(&[source], &ends, rules.style(), &mut buffer);
                route(&mut host, now, rules, source, packet.unwrap());
                for _ in 0..4 {
                    now = host.poll_timeout().unwrap();
                    host.handle_timeout(now);
                    while let Some(output) = host.poll_output() {
                        if let Output::Transmit(transmit) = black_box(output) {
                            host.handle(now, Input::Sent(transmit.family, SendResult::Ok));
                            sent += 1;
                        }
                    }
                    masters += u32::from(host.state() == State::Master);
                }
            }
            host.handle(now, Input::Shutdown);
            while host.poll_output().is_some() {}
        });
        assert_eq!(count, 0, "{rules:?}");
        assert!(sent > 100 && masters > 50, "{sent} sent, {masters} times");
    }
}

#[test]
fn no_packet_and_no_timer_allocates_in_any_dialect() {
    let shared: [IpAddr; 3] = [
        "192.0.2.1".parse().unwrap(),
        "2001:db8::1".parse().unwrap(),
        "fe80::1".parse().unwrap(),
    ];
    let auth = Authenticator::new(&Key::from_passphrase(b"secret"), vhid(), &shared);
    let forger = Authenticator::new(&Key::none(), vhid(), &shared);
    for config in configs() {
        let mut host = VirtualHost::<Duration>::new(config).unwrap();
        let mut stats = Stats::default();
        let (mut sent, mut masters) = (0, 0);
        let count = allocations(|| {
            let mut now = Duration::from_secs(1);
            host.handle(now, Input::Addresses(AddressCount { v4: 1, v6: 2 }));
            for round in 0..200u8 {
                // Better, equal and worse ones, bow-outs, forged ones, of both families.
                let said = match round % 5 {
                    0 => saying(1, 0, 0, round.into()),
                    1 => saying(1, 200, 0, round.into()),
                    2 => saying(255, 255, 0, round.into()),
                    3 => saying(0, 10, 3, round.into()),
                    _ => saying(4, 0, 0, round.into()),
                };
                let signer = if round % 7 == 0 { &forger } else { &auth };
                let mut bytes = [0; ADVERTISEMENT_LEN];
                signer.sign(&said, &mut bytes);
                let family = if round % 2 == 0 {
                    Family::V4
                } else {
                    Family::V6
                };
                let (packet, len) = wrap(family, true, &bytes);
                receive(&mut host, now, &packet[..len], &auth, &mut stats);
                sent += drain(&mut host, now, &auth);
                for _ in 0..4 {
                    if let Some(deadline) = host.poll_timeout() {
                        now = deadline;
                        host.handle_timeout(now);
                        sent += drain(&mut host, now, &auth);
                        masters += u32::from(host.state() == State::Master);
                    }
                }
                match round % 50 {
                    10 => host.handle(now, Input::Interface(Interface::NoCarrier)),
                    12 => host.handle(now, Input::Interface(Interface::Up)),
                    20 => host.handle(now, Input::Demotion(240)),
                    22 => host.handle(now, Input::Demotion(0)),
                    30 => host.handle(now, Input::Addresses(AddressCount { v4: 2, v6: 1 })),
                    40 => host.handle(now, Input::Force(State::Backup)),
                    _ => {}
                }
            }
            host.handle(now, Input::Shutdown);
            sent += drain(&mut host, now, &auth);
        });
        assert_eq!(count, 0, "{config:?}");
        // That all of this happened at all.
        assert!(
            sent > 100 && masters > 50,
            "{sent} sent, {masters} times master: {config:?}"
        );
        assert!(
            stats.badauth > 10 && stats.ipackets > 50 && stats.ipackets6 > 50,
            "{stats:?}"
        );
    }
}

//! What one packet and one timer cost, beside the floor: the two SHA-1 block compressions
//! that HMAC-SHA1 over a short message cannot do without.
//!
//! `cargo bench -p carp-proto` prints the time of each and, at the end, the ratios to the
//! floor measured in the same run.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use core::hint::black_box;
use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use carp_proto::{
    ADVERTISEMENT_LEN, AddressCount, AdvBase, AdvSkew, Advertisement, Authenticator, CheckOrder,
    Config, Datagram, Group, HeaderStyle, IPV4_PACKET_LEN, Input, Key, Local, Received, Vhid, View,
    VirtualHost, check, emit_ipv4,
};
use criterion::Criterion;
use sha1::block_api::compress;

/// Two compressions, the second from where the first ends, as in HMAC.
fn floor(state: &mut [u32; 5], block: &[u8; 64]) {
    compress(state, core::slice::from_ref(black_box(block)));
    compress(state, core::slice::from_ref(black_box(block)));
}

/// A group of one address, as most have.
struct Fixture {
    vhid: Vhid,
    auth: Authenticator,
    said: Advertisement,
    packet: [u8; IPV4_PACKET_LEN],
}

impl Fixture {
    fn new() -> Self {
        let vhid = Vhid::new(1).unwrap();
        let shared: [IpAddr; 1] = ["192.0.2.1".parse().unwrap()];
        let auth = Authenticator::new(&Key::from_passphrase(b"secret"), vhid, &shared);
        let said = Advertisement {
            vhid,
            advbase: AdvBase::DEFAULT,
            advskew: AdvSkew::DEFAULT,
            demote: 0,
            counter: 0x0123_4567_89ab_cdef,
        };
        let mut carp = [0; ADVERTISEMENT_LEN];
        auth.sign(&said, &mut carp);
        let mut packet = [0; IPV4_PACKET_LEN];
        let source = "192.0.2.2".parse().unwrap();
        emit_ipv4(
            source,
            carp_proto::GROUP_V4,
            HeaderStyle::default(),
            &carp,
            &mut packet,
        );
        Self {
            vhid,
            auth,
            said,
            packet,
        }
    }

    fn carp(&self) -> &[u8] {
        Datagram::parse(&self.packet).unwrap().payload
    }

    /// A backup that hears a better master, and the advertisement it hears.
    fn backup(&self) -> (VirtualHost<Duration>, Received) {
        let mut config = Config::new(self.vhid);
        config.settings.advskew = AdvSkew::new(100).unwrap();
        let mut host = VirtualHost::new(config).unwrap();
        host.handle(
            Duration::ZERO,
            Input::Addresses(AddressCount { v4: 1, v6: 0 }),
        );
        while host.poll_output().is_some() {}
        let advertisement = self.auth.verify(View::parse(self.carp()).unwrap()).unwrap();
        (
            host,
            Received::new(advertisement, "192.0.2.2".parse().unwrap()),
        )
    }

    fn master(&self) -> VirtualHost<Duration> {
        let mut host = VirtualHost::new(Config::new(self.vhid)).unwrap();
        host.handle(
            Duration::ZERO,
            Input::Addresses(AddressCount { v4: 1, v6: 0 }),
        );
        while host.state() != carp_proto::State::Master {
            host.handle_timeout(host.poll_timeout().unwrap());
        }
        while host.poll_output().is_some() {}
        host
    }
}

fn codec(c: &mut Criterion) {
    let fixture = Fixture::new();
    let carp: [u8; ADVERTISEMENT_LEN] = fixture.carp().try_into().unwrap();
    let mut group = c.benchmark_group("codec");
    let mut state = [1; 5];
    let block = [7; 64];
    group.bench_function("floor: two SHA-1 compressions", |b| {
        b.iter(|| floor(black_box(&mut state), &block));
    });
    let mut out = [0; ADVERTISEMENT_LEN];
    group.bench_function("sign", |b| {
        b.iter(|| {
            fixture
                .auth
                .sign(black_box(&fixture.said), black_box(&mut out))
        });
    });
    let view = View::parse(&carp).unwrap();
    group.bench_function("verify", |b| {
        b.iter(|| fixture.auth.verify(black_box(view)))
    });
    group.bench_function("parse", |b| {
        b.iter(|| View::parse(black_box(&carp)).is_ok())
    });
    let groups = [Group {
        vhid: fixture.vhid,
        v4: true,
        v6: false,
        ttl: Default::default(),
    }];
    let local = Local {
        groups: &groups,
        shared: &[],
    };
    group.bench_function("parse and check an IPv4 packet", |b| {
        b.iter(|| {
            let datagram = Datagram::parse(black_box(&fixture.packet)).unwrap();
            check(&datagram, &local, CheckOrder::FreeBsd15).is_ok()
        });
    });
    group.finish();
}

fn machine(c: &mut Criterion) {
    let fixture = Fixture::new();
    let mut group = c.benchmark_group("machine");
    let (mut host, received) = fixture.backup();
    let mut now = Duration::ZERO;
    group.bench_function("step: a backup hears its master", |b| {
        b.iter(|| {
            now += Duration::from_micros(1);
            host.handle(now, Input::Advertisement(black_box(received)));
            black_box(host.poll_output());
            black_box(host.poll_timeout())
        });
    });
    let mut host = fixture.master();
    group.bench_function("step: a master's timer fires", |b| {
        b.iter(|| {
            host.handle_timeout(black_box(host.poll_timeout().unwrap()));
            while let Some(output) = host.poll_output() {
                black_box(output);
            }
        });
    });
    group.bench_function("idle: nothing is due", |b| {
        b.iter(|| {
            host.handle_timeout(black_box(Duration::ZERO));
            black_box(host.poll_output());
            black_box(host.poll_timeout())
        });
    });
    group.finish();
}

/// The least time per call over many short runs taken in turn, so that the machine's speed
/// drifts for all of them alike.
fn ratios() {
    const CALLS: u32 = 20_000;
    let fixture = Fixture::new();
    let carp: [u8; ADVERTISEMENT_LEN] = fixture.carp().try_into().unwrap();
    let view = View::parse(&carp).unwrap();
    let (mut state, block, mut out) = ([1; 5], [7; 64], [0; ADVERTISEMENT_LEN]);
    let (mut host, received) = fixture.backup();
    let mut now = Duration::ZERO;
    let mut best = [f64::MAX; 4];
    let mut run = |index: usize, call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
        if let Some(best) = best.get_mut(index) {
            *best = best.min(each);
        }
    };
    for _ in 0..200 {
        run(0, &mut || floor(black_box(&mut state), &block));
        run(1, &mut || {
            fixture
                .auth
                .sign(black_box(&fixture.said), black_box(&mut out))
        });
        run(2, &mut || {
            _ = black_box(fixture.auth.verify(black_box(view)))
        });
        run(3, &mut || {
            now += Duration::from_micros(1);
            host.handle(now, Input::Advertisement(black_box(received)));
            black_box(host.poll_output());
            black_box(host.poll_timeout());
        });
    }
    let [floor, sign, verify, step] = best;
    println!("\nfloor, two SHA-1 compressions  {floor:6.1} ns");
    println!(
        "sign                           {sign:6.1} ns  {:.2} x floor",
        sign / floor
    );
    println!(
        "verify                         {verify:6.1} ns  {:.2} x floor",
        verify / floor
    );
    println!("machine step                   {step:6.1} ns");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    codec(&mut criterion);
    machine(&mut criterion);
    criterion.final_summary();
    ratios();
}

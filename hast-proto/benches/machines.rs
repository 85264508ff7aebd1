//! What a request costs the two machines of a session, back to back, with disks and a network
//! that take no time; and beside it what encoding and decoding its messages costs.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a benchmark fails by panicking"
)]

use core::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hast_proto::message::{Reply, Request};
use hast_proto::{Length, Offset, Payload, Replication, Sequence};

#[path = "machines/pair.rs"]
mod pair;

use pair::{Pair, Wire};

const BLOCK: u64 = 4096;

fn machines(c: &mut Criterion) {
    let data = Bytes::from(vec![5; 4096]);
    let mut group = c.benchmark_group("machines");

    group.throughput(Throughput::Elements(1));
    let (mut down, mut up) = (Wire::requests(), Wire::replies());
    let sequence = Sequence::new(2).unwrap();
    group.bench_function("messages of a write alone", |b| {
        b.iter(|| {
            let request = Request::Write {
                sequence,
                offset: Offset::new(BLOCK),
                length: Length::new(BLOCK),
                memsync: false,
                payload: Payload::plain(data.clone()).unwrap(),
            };
            black_box(down.request(&request));
            black_box(up.reply(&Reply::Done { sequence }));
        });
    });

    for (name, replication, depth) in [
        ("write, fullsync, depth 1", Replication::Fullsync, 1),
        ("write, fullsync, depth 32", Replication::Fullsync, 32),
        ("write, fullsync, depth 250", Replication::Fullsync, 250),
        ("write, memsync, depth 32", Replication::Memsync, 32),
        ("write, async, depth 32", Replication::Async, 32),
    ] {
        let mut pair = Pair::new(replication);
        let mut block = 0;
        group.throughput(Throughput::Elements(depth));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..depth {
                    // Out of order, in some of the extents that are kept.
                    block = (block + 4099) % (60 << 9);
                    pair.write(block * BLOCK, data.clone());
                }
                pair.settle();
            });
        });
    }

    let depth = 250;
    let mut pair = Pair::new(Replication::Fullsync);
    group.throughput(Throughput::Elements(depth));
    group.bench_function("write, fullsync, depth 250, all of one block", |b| {
        b.iter(|| {
            for _ in 0..depth {
                pair.write(0, data.clone());
            }
            pair.settle();
        });
    });
    group.bench_function(
        "write, fullsync, depth 250, each in an extent of its own",
        |b| {
            b.iter(|| {
                for extent in 0..depth {
                    pair.write(extent << 21, data.clone());
                }
                pair.settle();
            });
        },
    );
    group.bench_function("read, depth 250", |b| {
        b.iter(|| {
            for block in 0..depth {
                pair.read(block * BLOCK, BLOCK);
            }
            pair.settle();
        });
    });
    assert!(pair.completed > 0);
    group.finish();
}

criterion_group!(benches, machines);
criterion_main!(benches);

//! What a write costs the map, and what reading a disk's metadata and a configuration takes.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use core::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hast_proto::activemap::{ActiveMap, StepOutcome};
use hast_proto::conf::{File, Host};
use hast_proto::{
    ExtentSize, KeepDirty, Layout, Length, Metadata, Offset, RequestSize, ResourceName, SectorSize,
};

/// One tebibyte in extents of 2 MiB: half a million of them.
fn layout() -> Layout {
    let size = Length::new(1 << 40);
    Layout::create(size, ExtentSize::DEFAULT, SectorSize::DEFAULT).unwrap()
}

fn map(c: &mut Criterion) {
    let mut group = c.benchmark_group("map");
    let length = Length::new(4096);
    let mut map = ActiveMap::new(layout(), KeepDirty::DEFAULT);
    let write = |map: &mut ActiveMap, extent: u64| {
        let offset = Offset::new(extent << 21);
        let first = map.write_started(offset, length).unwrap();
        (first, map.write_completed(offset, length).unwrap())
    };
    group.bench_function("write, same extent", |b| {
        b.iter(|| black_box(write(&mut map, 5)))
    });
    let mut extent = 0;
    group.bench_function("write, one of 60 kept", |b| {
        b.iter(|| {
            extent = (extent + 7) % 60;
            black_box(write(&mut map, extent))
        });
    });
    group.bench_function("write, never one kept", |b| {
        b.iter(|| {
            extent = (extent + 7) % 500_000;
            black_box(write(&mut map, extent))
        });
    });

    let full = vec![0xff; map.image().len()];
    group.throughput(Throughput::Bytes(full.len() as u64));
    group.bench_function("merge, full map of 1 TiB", |b| {
        b.iter(|| {
            let mut map = ActiveMap::new(layout(), KeepDirty::DEFAULT);
            map.merge(&full).unwrap();
            black_box(map)
        });
    });
    // The floor of it: the same octets, once.
    group.bench_function("floor: copy of that map", |b| {
        b.iter(|| black_box(full.clone()))
    });
    group.throughput(Throughput::Elements(1));
    map.merge(&full).unwrap();
    group.bench_function("step, given and done", |b| {
        b.iter(|| {
            let Some(step) = map.next_step(RequestSize::DEFAULT) else {
                return map.merge(&full).unwrap();
            };
            black_box(map.step_done(step, StepOutcome::Copied));
        });
    });
    group.finish();
}

fn disk(c: &mut Criterion) {
    let mut group = c.benchmark_group("disk");
    let name = ResourceName::new("shared").unwrap();
    let metadata = Metadata::create(name, layout(), KeepDirty::DEFAULT);
    let block = metadata.emit();
    group.bench_function("block, read", |b| {
        b.iter(|| Metadata::parse(black_box(&block)))
    });
    group.bench_function("block, written", |b| b.iter(|| black_box(&metadata).emit()));
    let text: String = (0..100)
        .map(|n| {
            format!(
                "resource r{n} {{\n\tlocal /dev/da{n}\n\ton hasta {{ remote 10.0.0.2 }}\n\ton \
                 hastb {{ remote 10.0.0.1 }}\n}}\n"
            )
        })
        .collect();
    let host = Host::new("hasta");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("hast.conf of 100 resources, read and selected", |b| {
        b.iter(|| {
            File::parse(black_box(text.as_bytes()))
                .unwrap()
                .select(&host)
        });
    });
    group.finish();
}

criterion_group!(benches, map, disk);
criterion_main!(benches);

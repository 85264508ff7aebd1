//! One node of a replicated resource, to measure with: no configuration, no daemon.
//!
//! ```text
//! hast_node secondary FILE 127.0.0.1:8458 127.0.0.1:8457
//! hast_node primary FILE 127.0.0.1:8457 127.0.0.1:8458 bench 4096 1 5
//! ```
//!
//! The file must exist; what is in it is overwritten. After the addresses (its own, the peer's)
//! come settings as `name=value`: `mode=memsync`, `checksum=sha256`, `compression=lzf`,
//! `request=1048576`, `keepdirty=512`; `nbd=PATH` serves a primary's device on a UNIX socket. `bench LENGTH DEPTH SECONDS` writes at random offsets and
//! prints a line, `read LENGTH DEPTH SECONDS` reads, and `fill` writes everything without waiting
//! for the peer, and `sync` tells how long it takes until the nodes
//! agree, from when they meet.

#![expect(
    clippy::disallowed_methods,
    reason = "a program that measures reads the clock and waits"
)]

use core::error::Error;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ha_core::hast_proto::{KeepDirty, RequestSize, ResourceName, Role};
use ha_core::io::block::{BlockDevice, DiskFile, DiskOptions, FileDevice};
use ha_core::io::hast::{
    Create, Existing, FileBacking, Node, NodeLimits, Resource, Settings, Side, provider,
};
use ha_core::io::nbd::{Export, Limits, Listener, Server};

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, file, listen, remote, rest @ ..] = &arguments[..] else {
        return Err("see the head of this file".into());
    };
    let role: Role = role.parse()?;
    let name = ResourceName::new("shared")?;
    let mut settings = Settings::new("shared", file);
    settings.remote = Some(remote.parse::<core::net::SocketAddr>()?.into());
    let mut options = Create::default();
    let mut rest = rest.iter();
    let (mut work, mut socket) = (Vec::new(), None);
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            Some(("mode", value)) => settings.primary.replication = value.parse()?,
            Some(("checksum", value)) => settings.checksum = value.parse()?,
            Some(("compression", value)) => settings.compression = value.parse()?,
            Some(("request", value)) => {
                let size = RequestSize::new(value.parse()?)?;
                settings.primary.request_size = size;
            }
            Some(("nbd", path)) => socket = Some(path),
            Some(("keepdirty", value)) => options.keep_dirty = KeepDirty::new(value.parse()?)?,
            _ => {
                work.push(word.as_str());
                work.extend(rest.by_ref().map(String::as_str));
            }
        }
    }

    let disk = FileDevice::new(DiskFile::open(file, DiskOptions::default())?);
    provider::create(&disk, name.clone(), options, Existing::Overwrite).await?;
    drop(disk);
    let node = Node::new(NodeLimits::default());
    node.listen(&[listen.parse()?])?;
    let (mut events, begun) = (node.events(), Instant::now());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            eprintln!("{:.3} {:?}", begun.elapsed().as_secs_f64(), event.kind);
        }
    });
    let resource = node.add(name, settings, FileBacking::new(file))?;
    resource.set_role(role).await?;
    if let Some(path) = socket {
        let server = Server::new(Limits::default());
        server.add(Export::new("", resource.device().await?))?;
        let listener = Listener::unix(path).await?;
        tokio::spawn(async move { server.run(listener, |error| eprintln!("{error}")).await });
    }
    if role == Role::Primary && !work.is_empty() {
        let device = resource.device().await?;
        measure(&resource, &device, &work).await?;
        node.shutdown().await?;
    } else {
        core::future::pending::<()>().await;
    }
    Ok(())
}

async fn measure(
    resource: &Resource,
    device: &Arc<dyn BlockDevice>,
    work: &[&str],
) -> Result<(), Failure> {
    let connected = async || match resource.status().await.map(|status| status.side) {
        Ok(Side::Primary(status)) => (status.peer.is_some(), status.in_sync),
        _ => (false, false),
    };
    let mut words = work.iter();
    while let Some(word) = words.next() {
        let mut number =
            || -> Result<u64, Failure> { Ok(words.next().ok_or("a number is missing")?.parse()?) };
        while *word != "fill" && !connected().await.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match *word {
            "sync" => {
                let begun = Instant::now();
                while !connected().await.1 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                println!("in sync after {:.3} s", begun.elapsed().as_secs_f64());
            }
            "fill" => {
                let mut octets = vec![0; 1 << 20];
                for (number, octet) in octets.iter_mut().enumerate() {
                    *octet = number.wrapping_mul(0x9e37_79b9).to_le_bytes()[3];
                }
                let octets = Bytes::from(octets);
                let size = device.geometry().size;
                for offset in (0..size >> 20).map(|number| number << 20) {
                    device.write(offset, octets.clone()).await?;
                }
                println!("filled {} MiB", size >> 20);
            }
            "bench" | "read" => {
                let (length, depth, seconds) = (number()?, number()?, number()?);
                let writes = *word == "bench";
                run(device, length, depth, Duration::from_secs(seconds), writes).await?;
            }
            other => return Err(format!("{other}?").into()),
        }
    }
    Ok(())
}

async fn run(
    device: &Arc<dyn BlockDevice>,
    length: u64,
    depth: u64,
    time: Duration,
    writes: bool,
) -> Result<(), Failure> {
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let octets: Vec<u8> = (0..length / 8)
        .flat_map(|_| random().to_le_bytes())
        .collect();
    let data = Bytes::from(octets);
    let blocks = device.geometry().size / length;
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..depth {
        let (device, data) = (Arc::clone(device), data.clone());
        tasks.spawn(async move {
            let mut seed = client.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut count = 0_u64;
            while begun.elapsed() < time {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let offset = (seed >> 24) % blocks * length;
                if writes {
                    device.write(offset, data.clone()).await?;
                } else {
                    device
                        .read(offset, u32::try_from(length).unwrap_or(u32::MAX))
                        .await?;
                }
                count += 1;
            }
            Ok::<u64, std::io::Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} {length} depth {depth}: {:.0} IOPS, {:.0} MiB/s",
        if writes { "write" } else { "read" },
        count as f64 / seconds,
        (count * length) as f64 / seconds / f64::from(1 << 20),
    );
    Ok(())
}

//! Two nodes with one resource.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use ha_core::hast_proto::{Consistency, ExtentSize, ResourceName, Role};
use ha_core::io::block::BlockDevice;
use ha_core::io::hast::{
    Create, Event, EventKind, Events, Existing, Node, NodeLimits, PrimaryStatus, Resource,
    Settings, Side, provider,
};

use crate::disk::Disk;
use crate::relay::Relay;

pub(crate) const MEBIBYTE: u64 = 1 << 20;

pub(crate) fn name() -> ResourceName {
    ResourceName::new("shared").unwrap()
}

pub(crate) struct Side1 {
    pub(crate) node: Node,
    pub(crate) resource: Resource,
    pub(crate) disk: Arc<Disk>,
    pub(crate) events: Events,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Pair {
    pub(crate) a: Side1,
    pub(crate) b: Side1,
    /// From a to b, and from b to a.
    pub(crate) to_b: Relay,
    pub(crate) to_a: Relay,
    pub(crate) data_offset: u64,
}

/// What is quick enough for tests, and not too quick for a machine that does much besides.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new("shared", "memory");
    settings.primary.timeout = Duration::from_secs(8);
    settings.primary.keepalive = Duration::from_millis(300);
    settings.primary.reconnect = Duration::from_millis(100);
    settings.primary.first_contact = Duration::from_millis(500);
    settings.primary.copy_retry = Duration::from_millis(200);
    settings.primary.map_delay = Duration::from_millis(50);
    settings.primary.settle_delay = Duration::from_millis(500);
    settings
}

/// A peer that is silent for a second is dead.
pub(crate) fn impatient(settings: &mut Settings) {
    settings.primary.timeout = Duration::from_secs(1);
}

pub(crate) async fn create(disk: &Disk) -> u64 {
    let mut options = Create::default();
    options.extent_size = ExtentSize::new(128 * 1024).unwrap();
    let made = provider::create(disk, name(), options, Existing::Keep).await;
    made.unwrap().layout.data_offset().get()
}

pub(crate) fn add(node: &Node, settings: Settings, disk: &Arc<Disk>) -> Resource {
    let backing: Arc<dyn BlockDevice> = Arc::clone(disk) as _;
    node.add(name(), settings, backing).unwrap()
}

impl Pair {
    pub(crate) async fn new(change: impl Fn(&mut Settings)) -> Self {
        Self::with_sizes([8 * MEBIBYTE; 2], change).await
    }

    pub(crate) async fn with_sizes(sizes: [u64; 2], change: impl Fn(&mut Settings)) -> Self {
        let nodes = [(); 2].map(|()| Node::new(NodeLimits::default()));
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for node in &nodes {
            node.listen(&[loopback]).unwrap();
        }
        let [at_a, at_b] = [&nodes[0], &nodes[1]].map(|node| node.listening()[0]);
        let (to_b, to_a) = (Relay::new(at_b).await, Relay::new(at_a).await);
        let disks = sizes.map(Disk::new);
        let mut data_offset = 0;
        for disk in &disks {
            data_offset = create(disk).await;
        }
        let [a, b] = nodes;
        let [disk_a, disk_b] = disks;
        let side = |node: Node, disk: Arc<Disk>, relay: &Relay, address| {
            let mut settings = settings();
            settings.remote = Some(relay.address.into());
            change(&mut settings);
            let events = node.events();
            tokio::spawn(print(address, node.events()));
            let resource = add(&node, settings, &disk);
            Side1 {
                node,
                resource,
                disk,
                events,
                address,
            }
        };
        Self {
            a: side(a, disk_a, &to_b, at_a),
            b: side(b, disk_b, &to_a, at_b),
            to_b,
            to_a,
            data_offset,
        }
    }

    /// Makes a primary and b secondary.
    pub(crate) async fn start(&self) -> Arc<dyn BlockDevice> {
        self.b.resource.set_role(Role::Secondary).await.unwrap();
        self.a.resource.set_role(Role::Primary).await.unwrap();
        self.a.resource.device().await.unwrap()
    }

    /// Waits until a may end and b take over: b knows that it has everything.
    pub(crate) async fn agreed(&self) {
        self.a.in_sync().await;
        self.b.consistent().await;
    }

    /// Both data areas are equal.
    pub(crate) async fn assert_equal(&self) {
        let (a, b) = tokio::join!(
            self.a.disk.contents(self.data_offset),
            self.b.disk.contents(self.data_offset)
        );
        if let Some(at) = (0..a.len()).find(|&at| a[at] != b[at]) {
            panic!("the data differ at {at}: {} and {}", a[at], b[at]);
        }
    }

    pub(crate) async fn end(&self) {
        self.a.node.shutdown().await.unwrap();
        self.b.node.shutdown().await.unwrap();
    }
}

/// What happened, for those who look for the reason of a failure.
async fn print(address: SocketAddr, mut events: Events) {
    let begun = std::time::Instant::now();
    while let Some(event) = events.next().await {
        println!("{:?} {address}: {:?}", begun.elapsed(), event.kind);
    }
}

impl Side1 {
    pub(crate) async fn primary(&self) -> PrimaryStatus {
        match self.resource.status().await.unwrap().side {
            Side::Primary(status) => status,
            other => panic!("not primary: {other:?}"),
        }
    }

    pub(crate) async fn in_sync(&self) {
        eventually("in sync", async || self.primary().await.in_sync).await;
    }

    /// Waits until a secondary has no mark.
    pub(crate) async fn consistent(&self) {
        eventually("consistent", async || {
            match self.resource.status().await.unwrap().side {
                Side::Secondary(status) => status.consistency == Consistency::Consistent,
                _ => false,
            }
        })
        .await;
    }

    pub(crate) async fn connected(&self) {
        eventually("connected", async || self.primary().await.peer.is_some()).await;
    }

    /// Waits for an event.
    pub(crate) async fn event<T>(
        &mut self,
        what: &str,
        find: impl Fn(&EventKind) -> Option<T>,
    ) -> T {
        self.event_with(what, |event| find(&event.kind)).await
    }

    pub(crate) async fn event_with<T>(
        &mut self,
        what: &str,
        find: impl Fn(&Event) -> Option<T>,
    ) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the node lives");
                if let Some(found) = find(&event) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(20), search).await;
        found.unwrap_or_else(|_| panic!("no event: {what}"))
    }
}

/// Waits until something is so, 20 seconds at most.
pub(crate) async fn eventually(what: &str, test: impl AsyncFn() -> bool) {
    let wait = async {
        while !test().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Octets that no compression makes shorter, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(length + 8);
    while octets.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    octets.truncate(length);
    octets.into()
}

pub(crate) async fn read(device: &dyn BlockDevice, offset: u64, length: u32) -> Vec<u8> {
    device.read(offset, length).await.unwrap().concat()
}

//! The networks: one on which the address is, one for the replication, and one to the arbiter.
//!
//! ```text
//!   client 1 --+            +-- client 2
//!      alpha --+-- service--+-- beta
//!      alpha ----replication--- beta
//!      alpha -- to arbiter -+-- arbiter
//!       beta -- to arbiter -+
//! ```
//!
//! Each `--` is a pair of bridges with a cable between them that can be cut, also for one direction
//! alone; then nobody loses a carrier.

use std::process::Command;

use super::namespace::Namespace;

/// A node, or its side of the networks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Side {
    Alpha,
    Beta,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Alpha, Self::Beta];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Beta => "beta",
        }
    }

    /// The number of the node.
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Alpha => 0,
            Self::Beta => 1,
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Alpha => Self::Beta,
            Self::Beta => Self::Alpha,
        }
    }

    /// Its address on one of the networks.
    pub(crate) fn address(self, network: Net) -> String {
        format!("{}.{}", network.prefix(), self.id() + 1)
    }
}

/// A network, by the interface of a node that is on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Net {
    Service,
    Replication,
    Arbiter,
}

impl Net {
    const ALL: [Self; 3] = [Self::Service, Self::Replication, Self::Arbiter];

    /// The first three octets of its addresses.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Service => "192.0.2",
            Self::Replication => "198.51.100",
            Self::Arbiter => "203.0.113",
        }
    }

    pub(crate) const fn interface(self) -> &'static str {
        match self {
            Self::Service => "eth0",
            Self::Replication => "eth1",
            Self::Arbiter => "eth2",
        }
    }

    /// The bridge into which a node of this side is plugged.
    const fn bridge(self, side: Side) -> &'static str {
        match (self, side) {
            (Self::Service, Side::Alpha) => "service-a",
            (Self::Service, Side::Beta) => "service-b",
            (Self::Replication, Side::Alpha) => "repl-a",
            (Self::Replication, Side::Beta) => "repl-b",
            (Self::Arbiter, Side::Alpha) => "arbiter-a",
            (Self::Arbiter, Side::Beta) => "arbiter-b",
        }
    }
}

/// The address of the service.
pub(crate) const SERVICE: &str = "192.0.2.100";
/// The address of the arbiter.
pub(crate) const ARBITER: &str = "203.0.113.9";

/// A cable that can be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Link {
    /// Between the nodes, and the clients of either side.
    Service,
    /// Between the nodes.
    Replication,
    /// From a node to the arbiter.
    Arbiter(Side),
}

/// In which directions nothing passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    Both,
    /// From alpha to beta, or from the node to the arbiter.
    Forth,
    Back,
}

impl Link {
    pub(crate) const ALL: [Self; 4] = [
        Self::Service,
        Self::Replication,
        Self::Arbiter(Side::Alpha),
        Self::Arbiter(Side::Beta),
    ];

    /// The bridges that it joins, and its ends there.
    const fn ends(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Service => [("service-a", "s0"), ("service-b", "s1")],
            Self::Replication => [("repl-a", "r0"), ("repl-b", "r1")],
            Self::Arbiter(Side::Alpha) => [("arbiter-a", "a0"), ("arbiter", "a1")],
            Self::Arbiter(Side::Beta) => [("arbiter-b", "b0"), ("arbiter", "b1")],
        }
    }
}

/// All of them, in a namespace of their own.
pub(crate) struct Network {
    switch: Namespace,
}

impl Network {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new();
        for side in Side::BOTH {
            for network in Net::ALL {
                add_bridge(&switch, network.bridge(side));
            }
        }
        add_bridge(&switch, "arbiter");
        for link in Link::ALL {
            let [(here, this), (there, that)] = link.ends();
            switch.ip(&format!("link add {this} type veth peer name {that}"));
            switch.ip(&format!("link set {this} master {here} up"));
            switch.ip(&format!("link set {that} master {there} up"));
        }
        Self { switch }
    }

    /// Plugs in the three interfaces of a node.
    pub(crate) fn attach(&self, side: Side, node: &Namespace) {
        for network in Net::ALL {
            let interface = network.interface();
            let port = port(side, network);
            self.plug(node, &port, interface, network.bridge(side));
            let address = side.address(network);
            node.ip(&format!("addr add {address}/24 dev {interface}"));
        }
    }

    /// A host beside a node, with an address on the network of the service.
    pub(crate) fn client(&self, side: Side) -> Namespace {
        let client = Namespace::new();
        let (port, bridge) = (format!("client{}", side.id()), Net::Service.bridge(side));
        self.plug(&client, &port, "eth0", bridge);
        let address = format!("{}.{}", Net::Service.prefix(), 11 + side.id());
        client.ip(&format!("addr add {address}/24 dev eth0"));
        client
    }

    /// The host on which the arbiter runs.
    pub(crate) fn arbiter(&self) -> Namespace {
        let arbiter = Namespace::new();
        self.plug(&arbiter, "etcd", "eth0", "arbiter");
        arbiter.ip(&format!("addr add {ARBITER}/24 dev eth0"));
        arbiter
    }

    fn plug(&self, host: &Namespace, port: &str, interface: &str, bridge: &str) {
        // One of a former host may not be gone yet.
        let _ = self.switch.try_ip(&format!("link del {port}"));
        let path = host.path();
        self.switch.ip(&format!(
            "link add {port} type veth peer name {interface} netns {path}"
        ));
        self.switch
            .ip(&format!("link set {port} master {bridge} up"));
        host.ip(&format!("link set {interface} up"));
    }

    /// Takes the carrier from an interface of a node, or gives it back.
    pub(crate) fn set_carrier(&self, side: Side, network: Net, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        let port = port(side, network);
        self.switch.ip(&format!("link set {port} {state}"));
    }

    /// Takes the carrier from all interfaces of a node.
    pub(crate) fn unplug(&self, side: Side) {
        for network in Net::ALL {
            self.set_carrier(side, network, false);
        }
    }

    /// Has nothing pass a cable any more.
    pub(crate) fn cut(&self, link: Link, flow: Flow) {
        let [(_, this), (_, that)] = link.ends();
        if flow != Flow::Back {
            self.drop_at(this);
        }
        if flow != Flow::Forth {
            self.drop_at(that);
        }
    }

    /// Mends a cable that was cut.
    pub(crate) fn heal(&self, link: Link) {
        for (_, end) in link.ends() {
            let _ = self.tc(&format!("qdisc del dev {end} root"));
        }
    }

    /// A queue for no packet at all drops each that is sent.
    fn drop_at(&self, end: &str) {
        let done = self.tc(&format!("qdisc replace dev {end} root pfifo limit 0"));
        assert!(done, "the queue of {end} was not replaced");
    }

    fn tc(&self, words: &str) -> bool {
        self.switch.enter(|| {
            let mut tc = Command::new("tc");
            let output = tc.args(words.split_whitespace()).output();
            output.expect("iproute2 is installed").status.success()
        })
    }
}

fn port(side: Side, network: Net) -> String {
    format!("{}-{}", side.name(), network.interface())
}

fn add_bridge(switch: &Namespace, name: &str) {
    // Multicast goes to every port, and nothing waits for a spanning tree.
    switch.ip(&format!(
        "link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    ));
    switch.ip(&format!("link set {name} up"));
}

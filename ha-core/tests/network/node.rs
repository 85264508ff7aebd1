//! A host of the laboratory: a namespace with one interface, plugged into the bridge.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fs;
use std::net::UdpSocket;

use serde_json::Value;

use super::namespace::Namespace;
use super::packet::Mac;

/// A host.
pub(crate) struct Node {
    namespace: Namespace,
    number: u8,
}

impl Node {
    /// The number of the client.
    pub(crate) const CLIENT: u8 = 99;
    /// The name of every host's interface.
    pub(crate) const INTERFACE: &str = "eth0";

    pub(crate) fn new(switch: &Namespace, number: u8) -> Self {
        let node = Self {
            namespace: Namespace::new(),
            number,
        };
        let inside = &node.namespace;
        switch.ip(&format!(
            "link add p{number} type veth peer name {} address {} netns {}",
            Self::INTERFACE,
            node.mac(),
            inside.path()
        ));
        // Addresses are usable at once.
        node.sysctl("ipv6/conf/eth0/accept_dad", "0");
        node.sysctl("ipv6/conf/eth0/router_solicitations", "0");
        inside.ip(&format!("addr add {}/24 dev eth0", node.ipv4()));
        inside.ip(&format!("addr add {}/64 dev eth0 nodad", node.ipv6()));
        inside.ip("link set eth0 up");
        switch.ip(&format!("link set p{number} master br0 up"));
        node
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The address of its own that the host always has.
    pub(crate) fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 100 + self.number)
    }

    /// The address of its own that the host always has.
    pub(crate) fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, self.number.into())
    }

    /// The MAC address of its interface.
    pub(crate) fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, self.number])
    }

    /// The MAC addresses of all its interfaces.
    pub(crate) fn macs(&self) -> Vec<Mac> {
        let links = self.json("-j link show");
        let macs = links.iter().filter_map(|link| link["address"].as_str());
        macs.map(|mac| mac.parse().expect("a MAC address"))
            .collect()
    }

    /// The addresses on its interfaces, as text.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let links = self.json("-j addr show");
        let infos = links
            .iter()
            .filter_map(|link| link["addr_info"].as_array())
            .flatten();
        infos
            .filter_map(|info| info["local"].as_str())
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Whether it has this address now.
    pub(crate) fn has(&self, address: &str) -> bool {
        self.addresses().iter().any(|own| own == address)
    }

    /// Takes an IPv4 address away that a killed daemon may have left, and that may expire by
    /// itself meanwhile.
    pub(crate) fn clear(&self, address: &str) {
        if self.has(address) {
            let _ = self
                .namespace
                .try_ip(&format!("addr del {address}/24 dev eth0"));
        }
    }

    /// What it believes to be the MAC address of a neighbour.
    pub(crate) fn neighbour(&self, address: &str) -> Option<Mac> {
        let entries = self.json(&format!("-j neigh show {address}"));
        entries.first()?["lladdr"].as_str()?.parse().ok()
    }

    /// Sends something to an address, so that it must find the neighbour.
    pub(crate) fn greet(&self, address: &str) {
        let to = SocketAddr::new(address.parse().expect("an address"), 9);
        self.namespace.enter(|| {
            let any: IpAddr = match to {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).expect("a socket");
            socket.send_to(b"hello", to).expect("a way there");
        });
    }

    /// What the kernel says of its interface: `UP`, `DOWN` or `LOWERLAYERDOWN`.
    pub(crate) fn operstate(&self) -> String {
        let links = self.json("-j link show eth0");
        let state = links.first().and_then(|link| link["operstate"].as_str());
        state.expect("a state").to_owned()
    }

    /// How many frames its interface has received.
    pub(crate) fn received(&self) -> u64 {
        let links = self.json("-j -s link show eth0");
        let count = links
            .first()
            .and_then(|link| link["stats64"]["rx"]["packets"].as_u64());
        count.expect("a counter")
    }

    /// Writes a kernel setting below `net`.
    pub(crate) fn sysctl(&self, path: &str, value: &str) {
        self.namespace
            .enter(|| fs::write(format!("/proc/sys/net/{path}"), value))
            .unwrap_or_else(|error| panic!("net/{path} = {value}: {error}"));
    }

    fn json(&self, words: &str) -> Vec<Value> {
        let output = self.namespace.ip(words);
        serde_json::from_slice(&output).expect("JSON from ip")
    }
}

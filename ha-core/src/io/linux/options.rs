//! What an operator chooses about packets and addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;
use std::collections::BTreeMap;
use std::vec::Vec;

use carp_proto::{Family, GROUP_V4, HeaderStyle, InterfaceName, MacAddr, Vhid};

/// How advertisements are sent and received on one interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportOptions {
    /// The families that are carried. Both by default.
    pub families: Vec<Family>,
    /// The source of IPv4 advertisements (UCarp's `-s`), checked by nobody. By default it is
    /// the first address of the interface that is not shared, and follows it when it changes
    /// (CARP §1.2.1).
    pub source_v4: Option<Ipv4Addr>,
    /// The source of IPv6 advertisements. By default the first link-local address, as VRRP
    /// demands; failing that the first one that is not shared.
    pub source_v6: Option<Ipv6Addr>,
    /// TOS, traffic class and identification.
    pub style: HeaderStyle,
    /// How many bytes of packets the kernel keeps for each family while the program does not
    /// read. 4 MiB by default, which is about 50 ms of a flood of 100,000 packets a second.
    pub receive_buffer: usize,
    /// The multicast group of IPv4 advertisements. 224.0.0.18 by default, which alone the BSDs,
    /// and all of VRRP, speak to; UCarp takes another (`--mcast`).
    pub group_v4: Ipv4Addr,
    /// How the groups are reached that are not in `groups`.
    pub group: GroupOptions,
    /// How single groups are reached.
    pub groups: BTreeMap<Vhid, GroupOptions>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            families: [Family::V4, Family::V6].into(),
            source_v4: None,
            source_v6: None,
            style: HeaderStyle::default(),
            receive_buffer: 4 << 20,
            group_v4: GROUP_V4,
            group: GroupOptions::default(),
            groups: BTreeMap::new(),
        }
    }
}

/// How the advertisements of one group are sent.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupOptions {
    /// Whether they are sent to the multicast group.
    pub multicast: Multicast,
    /// Hosts to which they are sent besides, or instead.
    pub peers: Vec<IpAddr>,
    /// The Ethernet source of multicast advertisements.
    pub ethernet_source: EthernetSource,
}

/// Whether advertisements are sent to the multicast group.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "to the group, to everybody, or not"
)]
pub enum Multicast {
    /// They are.
    #[default]
    On,
    /// They are, but in Ethernet frames for everybody (UCarp's `-M`), for switches that lose
    /// those of groups.
    Broadcast,
    /// They are not; only the peers get them.
    Off,
}

/// The Ethernet source of multicast advertisements. Those to peers come from the MAC of the
/// interface always, as on FreeBSD.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EthernetSource {
    /// 00:00:5e:00:01:VHID for both families, from which switches learn where the master is
    /// (CARP §1.3). The kernels of the BSDs do so, FreeBSD for VRRP, too.
    #[default]
    Virtual,
    /// 00:00:5e:00:01:VRID for IPv4 and 00:00:5e:00:02:VRID for IPv6 (RFC 9568 §7.3).
    Rfc9568,
    /// The MAC of the interface, for networks that block others (CARP §8.1).
    Interface,
}

/// How the addresses of one virtual host are put on an interface.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddressOptions {
    /// The shared addresses and the lengths of their prefixes. Those that are here are known
    /// from the start: they count as left over if they are there already, as added by somebody
    /// else if they appear while they are not served, and not as sources for packets. Others
    /// are known from when the driver first serves them, as after
    /// [`Handle::set_addresses`](crate::io::Handle::set_addresses), with lengths of 32 and 128.
    pub prefixes: Vec<(IpAddr, u8)>,
    /// After how many seconds without a sign of life the kernel removes the addresses; `None`
    /// for never. One by default; the [module](super) tells what each number means.
    pub lifetime: Option<NonZeroU32>,
    /// What is done about shared addresses that are there at the start.
    pub leftover: Leftover,
    /// Whether the addresses get an interface with the virtual MAC.
    pub macvlan: Option<MacvlanOptions>,
}

impl Default for AddressOptions {
    fn default() -> Self {
        Self {
            prefixes: Vec::new(),
            lifetime: Some(NonZeroU32::MIN),
            leftover: Leftover::Remove,
            macvlan: None,
        }
    }
}

/// What is done about shared addresses that are there at the start, by an earlier run or by
/// hand.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "they are removed or not")]
pub enum Leftover {
    /// They are removed, as nobody knows yet who is to serve them.
    #[default]
    Remove,
    /// They are left alone until the role is known (UCarp's `-n`).
    Keep,
}

/// An interface with the virtual MAC on top of the other one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MacvlanOptions {
    /// Its name. By default `carp`, the vhid, a dot and the number of the interface below.
    pub name: Option<InterfaceName>,
    /// Its MAC. By default that of the vhid (CARP §1.3), which is also that of VRRP's IPv4
    /// groups. An IPv6 group of RFC 9568 has another; [`Dialect::mac`](carp_proto::Dialect::mac)
    /// tells which.
    pub mac: Option<MacAddr>,
}

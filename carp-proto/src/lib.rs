#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod advertisement;
mod announce;
mod auth;
mod check;
mod checksum;
mod config;
mod counter;
mod dialect;
mod event;
mod hmac;
mod ifconfig;
mod ip;
pub mod machine;
mod peers;
mod queue;
mod stats;
mod status;
mod text;
mod timers;
mod types;
pub mod vrrp;
mod wire;

/// The specification that this crate implements and its comments cite, as `CARP §3.4`.
#[cfg(doc)]
#[doc = include_str!("../docs/protocol.md")]
pub mod protocol {}

pub use advertisement::{Advertisement, Authentic, Heard, Received, Said};
pub use announce::{
    ARP_FRAME_LEN, ArpOperation, GratuitousArp, NA_FRAME_LEN, NA_PACKET_LEN, Router, UnsolicitedNa,
};
pub use auth::{AuthError, Authenticator, Key, LinkLocal};
pub use check::{AcceptTtl, CheckOrder, Discard, Group, Local, check};
pub use config::{
    AddressCount, Announcements, Config, ConfigError, Improvements, Interface, ReplayPolicy,
    RivalPolicy, Settings, Spacing, UnknownLink,
};
pub use counter::CounterRule;
pub use dialect::{AtStart, Dialect, FreeBsd, OpenBsd, TieOrder, UCarp};
pub use event::{
    Demote, DemotionReason, Event, Input, Output, Reason, Refusal, SendResult, State, Transmit,
};
pub use ifconfig::{
    AddressChange, CarpVersion, Peer, SharedAddress, Words, WordsError, WordsFault,
};
pub use ip::{
    Datagram, GROUP_V4, GROUP_V6, HeaderStyle, IPV4_HEADER_LEN, IPV4_PACKET_LEN, IPV6_HEADER_LEN,
    IPV6_PACKET_LEN, IpError, TTL, emit_ipv4, emit_ipv6, ipv4_header, ipv6_header,
};
pub use machine::VirtualHost;
pub use peers::MAX_SOURCES;
pub use stats::Stats;
pub use status::{DemotionLine, EventLine, PeerLine, Status, StatusError};
pub use text::Position;
pub use types::{
    AdvBase, AdvSkew, Family, InterfaceName, InterfaceNameError, Interval, MacAddr, OutOfRange,
    Vhid,
};
pub use wire::{ADVERTISEMENT_LEN, PROTOCOL, ParseError, VERSION, View};

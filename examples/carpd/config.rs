//! What carpd is to do: the values that the rest of the program works with. They come from
//! a [file](super::file) or from the [command line](super::options), and are checked there.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use ha_core::carp_proto::vrrp::{AdverInterval, Checksum, Priority, Vrrp};
use ha_core::carp_proto::{AdvBase, AdvSkew, Dialect, Interval, Settings, Vhid};

use super::reach::Interface;
use super::vhost::{Passphrase, Shared};

/// The longest time a script may be given.
pub(crate) const MAX_SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);
/// How many addresses one virtual host may share; a packet of VRRP counts them in a byte.
pub(crate) const MAX_ADDRESSES: usize = 255;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Config {
    /// Where the status is asked for.
    pub(crate) control: Option<PathBuf>,
    /// By name. Each that a host names is in here.
    pub(crate) interfaces: BTreeMap<String, Interface>,
    /// By interface and group.
    pub(crate) hosts: BTreeMap<HostName, Host>,
}

/// Names a virtual host: `1@eth0`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct HostName {
    pub(crate) interface: String,
    pub(crate) vhid: Vhid,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.vhid, self.interface)
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not of the form VHID@INTERFACE");
        let (vhid, interface) = text.split_once('@').ok_or_else(expected)?;
        let vhid = vhid.parse().map_err(|_| expected())?;
        Ok(Self {
            interface: interface.to_owned(),
            vhid: Vhid::new(vhid).map_err(|error| error.to_string())?,
        })
    }
}

/// A virtual host. What can be changed while it runs stands in [`Live`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    pub(crate) protocol: Protocol,
    /// Whether the addresses are put on an interface of their own, with the virtual MAC.
    pub(crate) macvlan: bool,
    /// Whether the addresses vanish by themselves when the daemon dies.
    pub(crate) expire: bool,
    /// Whether the daemon sets the addresses; otherwise the scripts do.
    pub(crate) set_address: bool,
    /// Whether a master without carrier waits one interval for its return; otherwise it steps
    /// down at once.
    pub(crate) hold_link: bool,
    pub(crate) live: Live,
}

/// What can be changed without an interruption.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Live {
    pub(crate) addresses: Vec<Shared>,
    pub(crate) pace: Pace,
    pub(crate) preempt: bool,
    /// Whether advertisements go to the multicast group.
    pub(crate) multicast: bool,
    /// Who gets them besides, or instead.
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) scripts: Scripts,
}

/// What is spoken, and what the members of a group share by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Carp {
        dialect: Dialect,
        passphrase: Passphrase,
    },
    Vrrp {
        rules: Vrrp,
        /// What the checksum over IPv4 covers.
        checksum: Checksum,
    },
}

/// How good this host is, and how often it says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pace {
    Carp {
        advbase: AdvBase,
        advskew: AdvSkew,
    },
    Vrrp {
        priority: Priority,
        interval: AdverInterval,
    },
}

/// What is run when the role changes, once for each address:
/// `SCRIPT INTERFACE ADDRESS [XPARAM]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scripts {
    pub(crate) up: Option<PathBuf>,
    pub(crate) down: Option<PathBuf>,
    pub(crate) xparam: Option<String>,
    /// How long each may run.
    pub(crate) timeout: Duration,
    /// Whether `down` is run at the start, in case an earlier run left something behind.
    pub(crate) down_at_start: bool,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            up: None,
            down: None,
            xparam: None,
            timeout: Duration::from_secs(10),
            down_at_start: false,
        }
    }
}

impl Config {
    /// Checks the parts against one another, whatever they came from.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.hosts.is_empty() {
            return Err("there is no [[host]]".to_owned());
        }
        let mut seen = BTreeMap::new();
        for (name, host) in &self.hosts {
            let live = &host.live;
            let fail = |what: String| Err(format!("host {name}: {what}"));
            if live.addresses.is_empty() {
                return fail("it has no addresses".to_owned());
            }
            if live.addresses.len() > MAX_ADDRESSES {
                return fail(format!("it has more than {MAX_ADDRESSES} addresses"));
            }
            host.check_peers().or_else(fail)?;
            for shared in &live.addresses {
                let address = shared.address;
                if let Some(other) = seen.insert((&name.interface, address), name) {
                    return fail(format!("{address} is an address of host {other} already"));
                }
            }
            if live.scripts.timeout.is_zero() || live.scripts.timeout > MAX_SCRIPT_TIMEOUT {
                return fail(format!(
                    "script_timeout of {:?} is outside 1..={} s",
                    live.scripts.timeout,
                    MAX_SCRIPT_TIMEOUT.as_secs()
                ));
            }
            if !host.set_address && live.scripts.up.is_none() {
                return fail("nobody sets its addresses: there is no up script".to_owned());
            }
            if host.macvlan && !host.set_address {
                return fail("macvlan is for addresses that the daemon sets".to_owned());
            }
            if let Protocol::Carp {
                dialect: Dialect::UCarp(_),
                passphrase,
            } = &host.protocol
            {
                if passphrase.is_empty() {
                    return fail("ucarp takes no empty passphrase".to_owned());
                }
            }
            host.check_pace().or_else(fail)?;
        }
        for (name, interface) in &self.interfaces {
            let fail = |what: String| Err(format!("interface {name}: {what}"));
            if !self.hosts.keys().any(|host| host.interface == *name) {
                return fail("no host is on it".to_owned());
            }
            for family in ["IPv4", "IPv6"] {
                let is_of = |source: &&IpAddr| source.is_ipv4() == (family == "IPv4");
                if interface.sources.iter().filter(is_of).count() > 1 {
                    return fail(format!("more than one {family} source"));
                }
            }
            for source in &interface.sources {
                check_end("source", source).or_else(fail)?;
                if seen.contains_key(&(name, *source)) {
                    return fail(format!("the source {source} is a shared address"));
                }
            }
        }
        for (name, host) in &self.hosts {
            for peer in &host.live.peers {
                if seen.contains_key(&(&name.interface, *peer)) {
                    return Err(format!("host {name}: the peer {peer} is a shared address"));
                }
            }
        }
        Ok(())
    }

    /// Whether some master advertises more often than once per second, so that the others do not
    /// wait long when it is kept from the processor.
    pub(crate) fn is_fast(&self) -> bool {
        let mut hosts = self.hosts.values();
        hosts.any(|host| host.live.pace.interval() < Duration::from_secs(1))
    }

    /// What is allowed, but may not be what was meant.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let is_doubtful = |host: &Host| {
            let mut addresses = host.live.addresses.iter();
            let first = addresses.find_map(|shared| match shared.address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            });
            let is_vrrp = matches!(host.protocol, Protocol::Vrrp { .. });
            is_vrrp && first.is_some_and(|address| !address.is_unicast_link_local())
        };
        let hosts = self.hosts.iter().filter(|(_, host)| is_doubtful(host));
        hosts
            .map(|(name, _)| {
                format!(
                    "host {name}: VRRP wants a link-local address as the first of IPv6, and other \
                     routers may refuse its advertisements"
                )
            })
            .collect()
    }
}

/// Checks an address that advertisements come from or go to.
fn check_end(what: &str, address: &IpAddr) -> Result<(), String> {
    if address.is_multicast() {
        return Err(format!("the {what} {address} is a multicast address"));
    }
    if address.is_unspecified() {
        return Err(format!("the {what} {address} is no host's address"));
    }
    Ok(())
}

impl Host {
    /// The rules of its machine.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.protocol {
            Protocol::Carp { dialect, .. } => *dialect,
            Protocol::Vrrp { rules, .. } => Dialect::Vrrp(*rules),
        }
    }

    /// Checks that there is somebody to advertise to.
    fn check_peers(&self) -> Result<(), String> {
        let live = &self.live;
        for peer in &live.peers {
            check_end("peer", peer)?;
        }
        let rules = match self.protocol {
            Protocol::Vrrp { rules, .. } => Some(rules),
            Protocol::Carp { .. } => None,
        };
        if rules == Some(Vrrp::FreeBsd15) && !(live.multicast && live.peers.is_empty()) {
            return Err("FreeBSD's VRRP knows multicast alone, and no peers".to_owned());
        }
        for (family, is_of) in [
            ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            ("IPv6", IpAddr::is_ipv6),
        ] {
            let is_shared = live.ips().iter().any(is_of);
            if !live.multicast && is_shared && !live.peers.iter().any(is_of) {
                return Err(format!("without multicast it needs a peer of {family}"));
            }
        }
        Ok(())
    }

    fn check_pace(&self) -> Result<(), String> {
        let is_carp = matches!(self.live.pace, Pace::Carp { .. });
        if is_carp != matches!(self.protocol, Protocol::Carp { .. }) {
            return Err("priority and interval are VRRP's, advbase and advskew CARP's".to_owned());
        }
        let settings = self.live.settings().validate(self.dialect());
        settings.map_err(|error| error.to_string())
    }
}

impl Pace {
    /// Between two advertisements of a master that is not demoted.
    fn interval(self) -> Duration {
        match self {
            Self::Carp { advbase, advskew } => Interval::new(advbase, advskew).duration(),
            Self::Vrrp { interval, .. } => interval.duration(),
        }
    }
}

impl Live {
    /// What the machine is told.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.preempt = self.preempt;
        match self.pace {
            Pace::Carp { advbase, advskew } => {
                settings.advbase = advbase;
                settings.advskew = advskew;
            }
            Pace::Vrrp { priority, interval } => {
                settings.priority = priority;
                settings.adver_interval = interval;
            }
        }
        settings
    }

    /// The addresses with the lengths of their prefixes.
    pub(crate) fn prefixes(&self) -> Vec<(IpAddr, u8)> {
        let addresses = self.addresses.iter();
        addresses
            .map(|shared| (shared.address, shared.prefix_len))
            .collect()
    }

    /// The addresses without their prefixes.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|shared| shared.address).collect()
    }
}

//! What has to change when a configuration takes the place of another one. The start is the
//! change from none.

use std::collections::BTreeSet;

use ha_core::carp_proto::Family;

use super::config::{Config, Host, HostName, Protocol};
use super::reach::{Group, Reach};

/// The steps from one configuration to another, in the order in which they are taken.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Plan {
    /// Leave politely.
    pub(crate) remove_hosts: Vec<HostName>,
    /// Nobody uses them any more.
    pub(crate) close: Vec<String>,
    /// Somebody uses them now.
    pub(crate) open: Vec<String>,
    /// They are reached in another way; nobody's role changes.
    pub(crate) reopen: Vec<String>,
    /// Begin; some of them were there before, but with another identity.
    pub(crate) add_hosts: Vec<HostName>,
    /// Go on with other settings, addresses or scripts.
    pub(crate) change_hosts: Vec<HostName>,
}

/// What there is, which may be less than was configured: steps can fail, and those that did are
/// taken again when the configuration is read next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    /// What was to be done last.
    pub(crate) config: Config,
    /// The hosts that are really there.
    pub(crate) hosts: BTreeSet<HostName>,
    /// The interfaces that are really open.
    pub(crate) interfaces: BTreeSet<String>,
    /// What could not be changed as it was to be.
    pub(crate) failed: Failed,
}

/// Hosts and interfaces that are there, but perhaps not as they are configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failed {
    pub(crate) hosts: BTreeSet<HostName>,
    pub(crate) interfaces: BTreeSet<String>,
}

impl Plan {
    pub(crate) fn new(from: &Present, to: &Config) -> Self {
        let old = &from.config;
        let kept = |name: &HostName| match (old.hosts.get(name), to.hosts.get(name)) {
            (Some(before), Some(after)) => {
                from.hosts.contains(name)
                    && identity(old, name, before) == identity(to, name, after)
                    && !is_resized(before, after)
            }
            _ => false,
        };
        let wanted = |choose: &dyn Fn(&HostName) -> bool| {
            let names = to.hosts.keys().filter(|name| choose(name));
            names.cloned().collect()
        };
        let (before, after) = (&from.interfaces, to.used());
        let is_reached_otherwise = |name: &&String| {
            from.failed.interfaces.contains(*name) || Reach::of(old, name) != Reach::of(to, name)
        };
        Self {
            remove_hosts: from
                .hosts
                .iter()
                .filter(|name| !kept(name))
                .cloned()
                .collect(),
            close: before.difference(&after).cloned().collect(),
            open: after.difference(before).cloned().collect(),
            reopen: before
                .intersection(&after)
                .filter(is_reached_otherwise)
                .cloned()
                .collect(),
            add_hosts: wanted(&|name| !kept(name)),
            change_hosts: wanted(&|name| {
                let live = |config: &Config| config.hosts.get(name).map(|host| host.live.clone());
                kept(name) && (from.failed.hosts.contains(name) || live(old) != live(to))
            }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything about a host that makes it another one when it changes.
fn identity(config: &Config, name: &HostName, host: &Host) -> impl PartialEq + use<> {
    let unknown_link = config
        .interfaces
        .get(&name.interface)
        .map(|interface| interface.unknown_link);
    (
        unknown_link,
        host.protocol.clone(),
        host.macvlan,
        host.expire,
        host.set_address,
        host.hold_link,
    )
}

/// Whether an address that stays gets a prefix of another length. To the kernel that is another
/// address, and the former one has to go.
fn is_resized(before: &Host, after: &Host) -> bool {
    let (before, after) = (&before.live.addresses, &after.live.addresses);
    before.iter().any(|old| {
        let mut after = after.iter();
        after.any(|new| new.address == old.address && new.prefix_len != old.prefix_len)
    })
}

impl Reach {
    pub(crate) fn of(config: &Config, name: &str) -> Option<Self> {
        let interface = config.interfaces.get(name)?.clone();
        let hosts = config
            .hosts
            .iter()
            .filter(|(host, _)| host.interface == name);
        let families = [Family::V4, Family::V6].into_iter().filter(|family| {
            hosts.clone().any(|(_, host)| {
                let mut addresses = host.live.addresses.iter();
                addresses.any(|shared| Family::of(shared.address) == *family)
            })
        });
        let families = families.collect();
        let groups = hosts.map(|(name, host)| {
            let protocol = match host.protocol {
                Protocol::Carp { .. } => None,
                Protocol::Vrrp { rules, .. } => Some(rules),
            };
            let group = Group {
                multicast: host.live.multicast,
                peers: host.live.peers.clone(),
                protocol,
            };
            (name.vhid, group)
        });
        let is_special =
            |group: &Group| !group.multicast || !group.peers.is_empty() || group.protocol.is_some();
        Some(Self {
            interface,
            families,
            groups: groups.filter(|(_, group)| is_special(group)).collect(),
        })
    }

    /// Adds the families that were there before.
    pub(crate) fn keep_families(&mut self, before: &Self) {
        for family in &before.families {
            if !self.families.contains(family) {
                self.families.push(*family);
            }
        }
    }
}

impl Config {
    /// The interfaces that hosts are on.
    fn used(&self) -> BTreeSet<String> {
        self.hosts
            .keys()
            .map(|name| name.interface.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const TWO: &str = r#"
        [[interface]]
        name = "eth0"

        [[host]]
        interface = "eth0"
        vhid = 1
        addresses = ["192.0.2.1/24"]
        passphrase = "secret"

        [[host]]
        interface = "eth0"
        vhid = 2
        addresses = ["192.0.2.2/24"]
        passphrase = "secret"
        peers = ["192.0.2.9"]
    "#;

    fn config(text: &str) -> Config {
        file::parse(text).unwrap()
    }

    /// All of a configuration in force.
    fn present(config: Config) -> Present {
        Present {
            hosts: config.hosts.keys().cloned().collect(),
            interfaces: config.used(),
            config,
            failed: Failed::default(),
        }
    }

    /// The plan for replacing `from` by `to` in the last place where it stands.
    fn plan(from: &str, to: &str) -> Plan {
        let at = TWO.rfind(from).unwrap();
        let (before, after) = TWO.split_at(at);
        let text = format!("{before}{}", after.replacen(from, to, 1));
        Plan::new(&present(config(TWO)), &config(&text))
    }

    fn host(name: &str) -> Vec<HostName> {
        vec![name.parse().unwrap()]
    }

    fn eth0() -> Vec<String> {
        vec!["eth0".to_owned()]
    }

    #[test]
    fn the_start_adds_everything_and_the_reverse_removes_it() {
        let (none, two) = (Config::default(), config(TWO));
        let (nothing, all) = (Present::default(), present(two.clone()));
        let both = [host("1@eth0"), host("2@eth0")].concat();
        let start = Plan {
            open: eth0(),
            add_hosts: both.clone(),
            ..Plan::default()
        };
        assert_eq!(Plan::new(&nothing, &two), start);
        let end = Plan {
            remove_hosts: both,
            close: eth0(),
            ..Plan::default()
        };
        assert_eq!(Plan::new(&all, &none), end);
        assert!(Plan::new(&all, &two).is_empty());
    }

    #[test]
    fn what_can_be_changed_while_a_host_runs_is_changed() {
        for (from, to) in [
            ("192.0.2.2/24", "192.0.2.3/24"),
            ("vhid = 2", "vhid = 2\nadvskew = 100"),
            ("vhid = 2", "vhid = 2\npreempt = true"),
            ("vhid = 2", "vhid = 2\nup = \"/bin/true\""),
            ("vhid = 2", "vhid = 2\nscript_timeout = 5"),
        ] {
            let expected = Plan {
                change_hosts: host("2@eth0"),
                ..Plan::default()
            };
            assert_eq!(plan(from, to), expected, "{to}");
        }
    }

    #[test]
    fn other_ways_to_reach_the_peers_keep_all_roles() {
        let expected = Plan {
            reopen: eth0(),
            ..Plan::default()
        };
        assert_eq!(
            plan("\"eth0\"\n\n", "\"eth0\"\nvirtual_mac = false\n"),
            expected
        );
        assert_eq!(
            plan("\"eth0\"\n\n", "\"eth0\"\nsource = [\"192.0.2.5\"]\n"),
            expected
        );
        let expected = Plan {
            reopen: eth0(),
            change_hosts: host("2@eth0"),
            ..Plan::default()
        };
        assert_eq!(plan("192.0.2.9", "192.0.2.8"), expected);
    }

    #[test]
    fn a_host_of_another_identity_is_another_host() {
        for (from, to) in [
            ("secret", "other"),
            ("192.0.2.2/24", "192.0.2.2/25"),
            ("vhid = 2", "vhid = 2\nrules = \"openbsd\""),
            ("vhid = 2", "vhid = 2\nmacvlan = true"),
            ("vhid = 2", "vhid = 2\nexpire = false"),
            ("vhid = 2", "vhid = 2\nhold_link = true"),
        ] {
            let expected = Plan {
                remove_hosts: host("2@eth0"),
                add_hosts: host("2@eth0"),
                ..Plan::default()
            };
            assert_eq!(plan(from, to), expected, "{to}");
        }
        // Sockets of the other family are needed.
        let expected = Plan {
            reopen: eth0(),
            change_hosts: host("2@eth0"),
            ..Plan::default()
        };
        assert_eq!(plan("2/24", "2/24\", \"2001:db8::1/64"), expected);
        let moved = Plan {
            remove_hosts: host("2@eth0"),
            add_hosts: host("2@eth1"),
            open: vec!["eth1".to_owned()],
            // The group of the peer is gone from there.
            reopen: eth0(),
            ..Plan::default()
        };
        let at = TWO.rfind("eth0").unwrap();
        let (before, after) = TWO.split_at(at);
        let text = format!("{before}{}", after.replacen("eth0", "eth1", 1));
        assert_eq!(Plan::new(&present(config(TWO)), &config(&text)), moved);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let two = config(TWO);
        let mut lacking = present(two.clone());
        lacking.hosts.remove(&host("2@eth0")[0]);
        let expected = Plan {
            add_hosts: host("2@eth0"),
            ..Plan::default()
        };
        assert_eq!(Plan::new(&lacking, &two), expected);
        // Nothing that is not there is removed.
        let one = config(&TWO[..TWO.rfind("[[host]]").unwrap()]);
        let plan = Plan::new(&lacking, &one);
        assert_eq!((plan.remove_hosts, plan.add_hosts), (vec![], vec![]));

        let mut lacking = present(two.clone());
        lacking.failed.hosts.extend(host("1@eth0"));
        lacking.failed.interfaces.extend(eth0());
        let expected = Plan {
            reopen: eth0(),
            change_hosts: host("1@eth0"),
            ..Plan::default()
        };
        assert_eq!(Plan::new(&lacking, &two), expected);

        let mut lacking = present(two.clone());
        lacking.interfaces.clear();
        lacking.hosts.clear();
        assert_eq!(
            Plan::new(&lacking, &two),
            Plan::new(&Present::default(), &two)
        );
        // An interface that could not be closed is closed now.
        let mut surplus = present(two.clone());
        surplus.interfaces.insert("eth1".to_owned());
        let expected = Plan {
            close: vec!["eth1".to_owned()],
            ..Plan::default()
        };
        assert_eq!(Plan::new(&surplus, &two), expected);
    }

    #[test]
    fn a_family_stays_until_its_last_address_is_gone() {
        let v6 = TWO.replace("192.0.2.2/24", "2001:db8::1/64");
        let reach = |text: &str| Reach::of(&config(text), "eth0").unwrap();
        let mut after = reach(TWO);
        assert_eq!(after.families, [Family::V4]);
        after.keep_families(&reach(&v6));
        assert_eq!(after.families, [Family::V4, Family::V6]);
        after.keep_families(&reach(&v6));
        assert_eq!(after.families.len(), 2);
    }
}

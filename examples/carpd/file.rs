//! The configuration file: TOML as people write it, turned into [`Config`]. What cannot be
//! right is refused with the line or the host it stands in, and nothing is ever guessed.

use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;
use std::path::{Path, PathBuf};

use ha_core::carp_proto::vrrp::{AdverInterval, Checksum, Priority, Vrrp};
use ha_core::carp_proto::{AdvBase, AdvSkew, InterfaceName, Vhid};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::config::{Config, Host, HostName, Live, Pace, Protocol, Scripts};
use super::fault::Fault;
use super::reach::{RawInterface, yes};
use super::read;
use super::vhost::{Passphrase, Rules, secret};

/// Reads and checks a file.
pub(crate) fn load(path: &Path) -> Result<Config, String> {
    let text = read::text(path)?;
    parse(&text).map_err(|fault| fault.in_file(path, &text).to_string())
}

/// Turns the text of a file into a configuration, and checks it.
pub(crate) fn parse(text: &str) -> Result<Config, Fault> {
    let file: RawFile = toml::from_str(text).map_err(|error| Fault::from(&error))?;
    make(file).map_err(|error| Fault::new(None, error))
}

fn make(file: RawFile) -> Result<Config, String> {
    let mut config = Config {
        control: file.control,
        ..Config::default()
    };
    for raw in file.interfaces {
        InterfaceName::new(&raw.name)
            .map_err(|error| format!("interface {:?}: {error}", raw.name))?;
        let name = raw.name.clone();
        if config.interfaces.insert(name, raw.into()).is_some() {
            return Err("an interface is configured twice".to_owned());
        }
    }
    for raw in file.hosts {
        let (name, host) = raw.host()?;
        config.interfaces.entry(name.interface.clone()).or_default();
        if config.hosts.insert(name.clone(), host).is_some() {
            return Err(format!("host {name} is configured twice"));
        }
    }
    config.check()?;
    Ok(config)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    control: Option<PathBuf>,
    #[serde(default, rename = "interface")]
    interfaces: Vec<RawInterface>,
    #[serde(default, rename = "host")]
    hosts: Vec<RawHost>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    interface: String,
    vhid: u8,
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "secret")]
    passphrase: Option<Zeroizing<String>>,
    passphrase_file: Option<PathBuf>,
    #[serde(default)]
    rules: Rules,
    advbase: Option<u8>,
    advskew: Option<u8>,
    deadratio: Option<NonZeroU8>,
    priority: Option<u8>,
    interval: Option<u16>,
    pseudo_header: Option<bool>,
    preempt: Option<bool>,
    #[serde(default = "yes")]
    multicast: bool,
    #[serde(default)]
    peers: Vec<IpAddr>,
    #[serde(default)]
    macvlan: bool,
    #[serde(default = "yes")]
    expire: bool,
    #[serde(default = "yes")]
    set_address: bool,
    #[serde(default)]
    hold_link: bool,
    up: Option<PathBuf>,
    down: Option<PathBuf>,
    script_timeout: Option<u64>,
    #[serde(default)]
    down_at_start: bool,
    xparam: Option<String>,
}

impl RawHost {
    fn host(self) -> Result<(HostName, Host), String> {
        let label = format!("host {}@{}", self.vhid, self.interface);
        self.checked()
            .map_err(|error: String| format!("{label}: {error}"))
    }

    fn checked(self) -> Result<(HostName, Host), String> {
        let text = |error: &dyn core::fmt::Display| error.to_string();
        InterfaceName::new(&self.interface).map_err(|error| text(&error))?;
        let vhid = Vhid::new(self.vhid).map_err(|error| text(&error))?;
        let (protocol, pace) = match self.rules.vrrp() {
            None => (self.carp()?, self.carp_pace()?),
            Some(rules) => (self.vrrp(rules)?, self.vrrp_pace()?),
        };
        let addresses = self
            .addresses
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()?;
        let defaults = Scripts::default();
        let scripts = Scripts {
            up: self.up,
            down: self.down,
            xparam: self.xparam,
            timeout: self
                .script_timeout
                .map_or(defaults.timeout, Duration::from_secs),
            down_at_start: self.down_at_start,
        };
        let host = Host {
            protocol,
            macvlan: self.macvlan,
            expire: self.expire,
            set_address: self.set_address,
            hold_link: self.hold_link,
            live: Live {
                addresses,
                pace,
                // As the RFC wants it, and as every CARP has it.
                preempt: self.preempt.unwrap_or(self.rules == Rules::Vrrp),
                multicast: self.multicast,
                peers: self.peers,
                scripts,
            },
        };
        let name = HostName {
            interface: self.interface,
            vhid,
        };
        Ok((name, host))
    }

    fn carp(&self) -> Result<Protocol, String> {
        refuse("VRRP", "priority", self.priority.is_some())?;
        refuse("VRRP", "interval", self.interval.is_some())?;
        refuse("VRRP", "pseudo_header", self.pseudo_header.is_some())?;
        refuse(
            "ucarp",
            "deadratio",
            self.deadratio.is_some() && self.rules != Rules::Ucarp,
        )?;
        let passphrase = match (&self.passphrase, &self.passphrase_file) {
            (Some(text), None) => Passphrase::new(text.as_bytes())?,
            (None, Some(path)) => Passphrase::read(path)?,
            (Some(_), Some(_)) => {
                return Err("both passphrase and passphrase_file are given".to_owned());
            }
            (None, None) => {
                return Err("passphrase or passphrase_file is missing (\"\" is none)".to_owned());
            }
        };
        Ok(Protocol::Carp {
            dialect: self.rules.dialect(self.deadratio),
            passphrase,
        })
    }

    fn carp_pace(&self) -> Result<Pace, String> {
        let advskew = AdvSkew::new(self.advskew.unwrap_or(AdvSkew::DEFAULT.get()));
        Ok(Pace::Carp {
            advbase: self.advbase.map_or(AdvBase::DEFAULT, AdvBase::new),
            advskew: advskew.map_err(|error| error.to_string())?,
        })
    }

    fn vrrp(&self, rules: Vrrp) -> Result<Protocol, String> {
        refuse("CARP", "advbase", self.advbase.is_some())?;
        refuse("CARP", "advskew", self.advskew.is_some())?;
        refuse("ucarp", "deadratio", self.deadratio.is_some())?;
        let has_secret = self.passphrase.is_some() || self.passphrase_file.is_some();
        refuse("CARP", "passphrase", has_secret)?;
        // Not as the RFC has it, but as keepalived and FreeBSD do: hosts that differ in it are
        // all masters.
        let checksum = match self.pseudo_header {
            None | Some(true) => Checksum::WithPseudoHeader,
            Some(false) => Checksum::WithoutPseudoHeader,
        };
        Ok(Protocol::Vrrp { rules, checksum })
    }

    fn vrrp_pace(&self) -> Result<Pace, String> {
        let priority = Priority::new(self.priority.unwrap_or(100));
        let interval = AdverInterval::new(self.interval.unwrap_or(100));
        Ok(Pace::Vrrp {
            priority: priority.map_err(|error| error.to_string())?,
            interval: interval.map_err(|error| error.to_string())?,
        })
    }
}

fn refuse(whose: &str, key: &str, is_given: bool) -> Result<(), String> {
    match is_given {
        false => Ok(()),
        true => Err(format!("{key} is for {whose} alone")),
    }
}

#[cfg(test)]
mod tests {
    use ha_core::carp_proto::{Dialect, FreeBsd, OpenBsd, UnknownLink};

    use std::fs;

    use super::super::reach::Interface;
    use super::*;

    /// What is wrong with a text, after its place.
    fn refused(text: &str) -> String {
        let fault = parse(text).unwrap_err();
        let told = fault.in_file(Path::new("f"), text).to_string();
        told.strip_prefix("f:").unwrap().trim_start().to_owned()
    }

    /// A host with `more` in it.
    fn with(more: &str) -> String {
        format!(
            "[[host]]\ninterface = \"eth0\"\nvhid = 1\naddresses = [\"192.0.2.1/24\"]\n{more}\n"
        )
    }

    fn host(more: &str) -> Host {
        let mut config = parse(&with(more)).unwrap();
        config.hosts.pop_first().unwrap().1
    }

    #[test]
    fn the_sample_is_right_and_shows_every_setting() {
        let sample = include_str!("carpd.toml");
        parse(sample).unwrap();
        // With all that is commented out, but for what excludes something else.
        let settings = sample.lines().filter_map(|line| line.strip_prefix("#= "));
        let all: Vec<_> = settings.collect();
        for key in [
            "control",
            "name",
            "virtual_mac",
            "source",
            "unknown_link",
            "ignore_carrier",
            "interface",
            "vhid",
            "addresses",
            "passphrase",
            "passphrase_file",
            "rules",
            "advbase",
            "advskew",
            "deadratio",
            "priority",
            "interval",
            "pseudo_header",
            "preempt",
            "multicast",
            "peers",
            "macvlan",
            "expire",
            "set_address",
            "hold_link",
            "up",
            "down",
            "script_timeout",
            "down_at_start",
            "xparam",
        ] {
            let is_shown = sample.lines().any(|line| {
                let line = line.strip_prefix("#= ").unwrap_or(line);
                line.strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(" = "))
            });
            assert!(is_shown, "{key}");
        }
        for line in all {
            let interface = format!("[[interface]]\nname = \"eth0\"\n{line}");
            let somewhere = [line.to_owned(), interface, with(line)].iter().any(|text| {
                let error = parse(text)
                    .err()
                    .map_or_else(String::new, |_| refused(text));
                !error.contains("unknown field") && !error.contains("invalid")
            });
            assert!(somewhere, "{line}");
        }
    }

    #[test]
    fn a_host_needs_little() {
        let config = parse(&with("passphrase = \"secret\"")).unwrap();
        assert_eq!(config.interfaces["eth0"], Interface::default());
        let host = &config.hosts.values().next().unwrap();
        assert_eq!(host.dialect(), Dialect::FreeBsd(FreeBsd::From14));
        assert_eq!(host.live.addresses, ["192.0.2.1/24".parse().unwrap()]);
        assert!(host.expire && host.set_address && host.live.multicast);
        assert!(
            !host.hold_link && !host.macvlan && !host.live.preempt && host.live.peers.is_empty()
        );
        assert_eq!(host.live.scripts, Scripts::default());
    }

    #[test]
    fn a_configuration_without_hosts_is_refused() {
        for text in ["", "control = \"/run/carpd.sock\""] {
            assert_eq!(refused(text), "there is no [[host]]");
        }
        let idle = with("passphrase = \"x\"") + "[[interface]]\nname = \"eth1\"";
        assert_eq!(refused(&idle), "interface eth1: no host is on it");
    }

    #[test]
    fn vrrp_without_a_link_local_address_is_doubted() {
        let doubts = |rules: &str, addresses: &str| {
            let text = with(rules).replace("192.0.2.1/24", addresses);
            parse(&text).unwrap().doubts().len()
        };
        let vrrp = "rules = \"vrrp\"";
        assert_eq!(doubts(vrrp, "192.0.2.1"), 0);
        assert_eq!(doubts(vrrp, "2001:db8::1"), 1);
        assert_eq!(doubts(vrrp, "2001:db8::1\", \"fe80::1"), 1);
        assert_eq!(doubts(vrrp, "192.0.2.1\", \"fe80::1\", \"2001:db8::1"), 0);
        assert_eq!(doubts("passphrase = \"x\"", "2001:db8::1"), 0);
    }

    #[test]
    fn intervals_below_a_second_are_fast() {
        let is_fast = |lines: &str| parse(&with(lines)).unwrap().is_fast();
        let carp = "passphrase = \"x\"\nrules = \"openbsd\"\n";
        assert!(!is_fast("passphrase = \"x\""));
        assert!(!is_fast(&format!("{carp}advskew = 100")));
        assert!(is_fast(&format!("{carp}advbase = 0\nadvskew = 254")));
        assert!(!is_fast("rules = \"vrrp\""));
        assert!(is_fast("rules = \"vrrp\"\ninterval = 99"));
    }

    #[test]
    fn rules_have_names() {
        for (name, dialect) in [
            ("freebsd", Dialect::FreeBsd(FreeBsd::From14)),
            ("freebsd10", Dialect::FreeBsd(FreeBsd::From10To13)),
            ("openbsd", Dialect::OpenBsd(OpenBsd::Since2025)),
            ("openbsd-old", Dialect::OpenBsd(OpenBsd::Before2025)),
        ] {
            let host = host(&format!("rules = \"{name}\"\npassphrase = \"x\""));
            assert_eq!(host.dialect(), dialect);
            let rules = Rules::of(dialect).map(|rules| serde_json::json!(rules));
            assert_eq!(rules, Some(name.into()));
        }
        let ucarp = host("rules = \"ucarp\"\npassphrase = \"x\"\ndeadratio = 5");
        let Dialect::UCarp(rules) = ucarp.dialect() else {
            panic!("not ucarp");
        };
        assert_eq!(rules.dead_ratio.get(), 5);

        let rfc = host("rules = \"vrrp\"\npriority = 200\ninterval = 10");
        assert_eq!(rfc.dialect(), Dialect::Vrrp(Vrrp::Rfc9568));
        let settings = rfc.live.settings();
        assert_eq!(
            (settings.priority.get(), settings.adver_interval.get()),
            (200, 10)
        );
        assert!(settings.preempt);
        let freebsd = host("rules = \"vrrp-freebsd\"\npseudo_header = false");
        assert_eq!(freebsd.dialect(), Dialect::Vrrp(Vrrp::FreeBsd15));
        assert!(!freebsd.live.preempt);
        let Protocol::Vrrp { checksum, .. } = freebsd.protocol else {
            panic!("not VRRP");
        };
        assert_eq!(checksum, Checksum::WithoutPseudoHeader);
    }

    #[test]
    fn an_interface_has_settings_of_its_own() {
        let text = "[[interface]]\nname = \"eth0\"\nvirtual_mac = false\n\
            source = [\"192.0.2.2\", \"fe80::2\"]\nunknown_link = \"down\"\nignore_carrier = true\n";
        let text = text.to_owned() + &with("passphrase = \"x\"");
        let interface = parse(&text).unwrap().interfaces.remove("eth0").unwrap();
        assert!(!interface.virtual_mac && interface.ignore_carrier);
        assert_eq!(interface.unknown_link, UnknownLink::Down);
        assert_eq!(interface.sources.len(), 2);
    }

    #[test]
    fn each_mistake_is_named_where_it_is() {
        let secret = "passphrase = \"x\"\n";
        for (more, error) in [
            (
                "",
                "host 1@eth0: passphrase or passphrase_file is missing (\"\" is none)",
            ),
            (
                "advskew = 0\nvihd = 2",
                "6:1: unknown field `vihd`, expected one of",
            ),
            (
                "advbase = 256\n",
                "5:11: invalid value: integer `256`, expected u8",
            ),
            (
                "advskew = 255\n",
                "host 1@eth0: advskew 255 is outside 0..=254",
            ),
            (
                "advbase = 0\n",
                "host 1@eth0: advbase 0 where FreeBSD's rules want 1 to 255",
            ),
            (
                "rules = \"linux\"",
                "5:9: unknown variant `linux`, expected one of",
            ),
            ("priority = 5", "host 1@eth0: priority is for VRRP alone"),
            ("deadratio = 5", "host 1@eth0: deadratio is for ucarp alone"),
            (
                "rules = \"vrrp\"\nadvskew = 5",
                "host 1@eth0: advskew is for CARP alone",
            ),
            (
                "rules = \"vrrp\"",
                "host 1@eth0: passphrase is for CARP alone",
            ),
            (
                "multicast = false",
                "host 1@eth0: without multicast it needs a peer of IPv4",
            ),
            (
                "multicast = false\npeers = [\"fe80::2\"]",
                "host 1@eth0: without multicast it needs a peer of IPv4",
            ),
            (
                "peers = [\"0.0.0.0\"]",
                "host 1@eth0: the peer 0.0.0.0 is no host's address",
            ),
            (
                "peers = [\"192.0.2.1\"]",
                "host 1@eth0: the peer 192.0.2.1 is a shared address",
            ),
            (
                "peers = [\"224.0.0.18\"]",
                "host 1@eth0: the peer 224.0.0.18 is a multicast address",
            ),
            ("peers = [\"here\"]", "5:10: invalid IP address syntax"),
            (
                "passphrase_file = \"y\"",
                "host 1@eth0: both passphrase and passphrase_file are given",
            ),
            (
                "script_timeout = 0",
                "host 1@eth0: script_timeout of 0ns is outside 1..=300 s",
            ),
            (
                "script_timeout = 301",
                "host 1@eth0: script_timeout of 301s is outside 1..=300 s",
            ),
            (
                "set_address = false",
                "host 1@eth0: nobody sets its addresses: there is no up script",
            ),
            ("vhid = 2", "5:1: duplicate key"),
        ] {
            // What is wanted is missing in the first case.
            let rest = if more.is_empty() { "" } else { secret };
            let found = refused(&with(&format!("{more}\n{rest}")));
            assert!(found.starts_with(error), "{more}: {found}");
        }
        for (address, error) in [
            (
                "192.0.2.1/0",
                "the prefix length of \"192.0.2.1/0\" is outside 1..=32",
            ),
            (
                "2001:db8::1/129",
                "the prefix length of \"2001:db8::1/129\" is outside 1..=128",
            ),
            ("192.0.2", "\"192.0.2\" is not an address"),
            ("ff02::12", "ff02::12 cannot be shared"),
            ("0.0.0.0", "0.0.0.0 cannot be shared"),
        ] {
            let text = with(secret).replace("192.0.2.1/24", address);
            assert_eq!(refused(&text), format!("host 1@eth0: {error}"));
        }
        let twice = with(secret).repeat(2);
        assert_eq!(refused(&twice), "host 1@eth0 is configured twice");
        let shared = format!(
            "{}{}",
            with(secret),
            with(secret).replace("vhid = 1", "vhid = 2")
        );
        assert_eq!(
            refused(&shared),
            "host 2@eth0: 192.0.2.1 is an address of host 1@eth0 already"
        );
        let none = with(secret).replace("\"192.0.2.1/24\"", "");
        assert_eq!(refused(&none), "host 1@eth0: it has no addresses");
        let interface = "[[interface]]\nname = \"eth0\"\n";
        assert_eq!(
            refused(&interface.repeat(2)),
            "an interface is configured twice"
        );
        for (source, error) in [
            ("192.0.2.2\", \"192.0.2.3", "more than one IPv4 source"),
            ("::", "the source :: is no host's address"),
            ("224.0.0.18", "the source 224.0.0.18 is a multicast address"),
            ("192.0.2.1", "the source 192.0.2.1 is a shared address"),
        ] {
            let sources = format!("{interface}source = [\"{source}\"]\n{}", with(secret));
            assert_eq!(refused(&sources), format!("interface eth0: {error}"));
        }
        let unicast = |rules| with(&format!("rules = \"{rules}\"\npeers = [\"192.0.2.2\"]"));
        assert!(parse(&unicast("vrrp")).is_ok());
        assert_eq!(
            refused(&unicast("vrrp-freebsd")),
            "host 1@eth0: FreeBSD's VRRP knows multicast alone, and no peers"
        );
        assert!(refused("[[host]]").contains("missing field"));
    }

    #[test]
    fn no_error_shows_a_passphrase() {
        for (text, error) in [
            (
                "passphrase = 31415926",
                "5:14: the passphrase is not a string but of type integer",
            ),
            ("passphrase = \"31415926", "5:23: "),
            (
                "passphrase = \"3141592631415926314159263141592631415926\"",
                "host 1@eth0: the passphrase has 40 bytes",
            ),
        ] {
            let found = refused(&with(text));
            assert!(found.starts_with(error), "{found}");
            assert!(!found.contains("31415926"), "{found}");
        }
        let config = parse(&with("passphrase = \"31415926\"")).unwrap();
        assert!(!format!("{config:?}").contains("31415926"));
    }

    #[test]
    fn errors_name_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("carpd.toml");
        assert!(load(&path).unwrap_err().contains("No such file"));
        fs::write(&path, "x = ").unwrap();
        assert!(load(&path).unwrap_err().contains("carpd.toml:1:5: "));

        let file = folder.path().join("passphrase");
        fs::write(&file, "first line\r\nsecond").unwrap();
        fs::write(&path, with(&format!("passphrase_file = {file:?}"))).unwrap();
        let host = load(&path).unwrap().hosts.pop_first().unwrap().1;
        let Protocol::Carp { passphrase, .. } = host.protocol else {
            panic!("not CARP");
        };
        assert_eq!(passphrase, Passphrase::new(b"first line").unwrap());
        fs::write(&file, [b'x'; 600]).unwrap();
        assert!(load(&path).unwrap_err().contains("512 bytes"));
    }
}

//! The configuration file: TOML as people write it, turned into [`Config`]. What cannot be
//! right is refused with the line or the host it stands in, and nothing is ever guessed.

use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ha_core::carp_proto::vrrp::{AdverInterval, Priority};
use ha_core::carp_proto::{AdvBase, AdvSkew, InterfaceName, UnknownLink, Vhid};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::config::{
    Config, Host, HostName, Interface, Live, Pace, Passphrase, Protocol, Rules, Scripts,
};

/// The longest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// How much of a file of a passphrase is read.
const MAX_PASSPHRASE_FILE: u64 = 512;

/// Reads and checks a file.
pub(crate) fn load(path: &Path) -> Result<Config, String> {
    let text = read(path, MAX_FILE)?;
    let text =
        core::str::from_utf8(&text).map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
    parse(text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Makes the first line of a file a passphrase.
pub(crate) fn passphrase(path: &Path) -> Result<Passphrase, String> {
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(MAX_PASSPHRASE_FILE).read_to_end(&mut text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Passphrase::first_line(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(fail)?.len() > most {
        return Err(format!("{}: more than {most} bytes", path.display()));
    }
    fs::read(path).map(Zeroizing::new).map_err(fail)
}

/// Turns the text of a file into a configuration, and checks it.
pub(crate) fn parse(text: &str) -> Result<Config, String> {
    let file: RawFile = toml::from_str(text).map_err(|error| {
        // Without the excerpt that the error could show: it may hold a passphrase.
        let before = error.span().and_then(|span| text.get(..span.start));
        match before {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                format!("line {line}: {}", error.message())
            }
            None => error.message().to_owned(),
        }
    })?;
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
struct RawInterface {
    name: String,
    #[serde(default = "yes")]
    virtual_mac: bool,
    #[serde(default)]
    source: Vec<IpAddr>,
    #[serde(default)]
    unknown_link: RawLink,
    #[serde(default)]
    ignore_carrier: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawLink {
    #[default]
    Up,
    Down,
}

fn yes() -> bool {
    true
}

impl From<RawInterface> for Interface {
    fn from(raw: RawInterface) -> Self {
        Self {
            virtual_mac: raw.virtual_mac,
            sources: raw.source,
            unknown_link: match raw.unknown_link {
                RawLink::Up => UnknownLink::Up,
                RawLink::Down => UnknownLink::Down,
            },
            ignore_carrier: raw.ignore_carrier,
            ..Self::default()
        }
    }
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
    #[serde(default = "yes")]
    hold_link: bool,
    up: Option<PathBuf>,
    down: Option<PathBuf>,
    script_timeout: Option<u64>,
    #[serde(default)]
    down_at_start: bool,
    xparam: Option<String>,
}

/// A string, whose text no error shows.
fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(Zeroizing::new(text))),
        other => Err(serde::de::Error::custom(format!(
            "the passphrase is not a string but of type {}",
            other.type_str()
        ))),
    }
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
            Some(vrrp) => (self.vrrp(vrrp)?, self.vrrp_pace()?),
        };
        let addresses = self
            .addresses
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()?;
        if let Some(peer) = self.peers.iter().find(|peer| peer.is_multicast()) {
            return Err(format!("the peer {peer} is a multicast address"));
        }
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
        refuse(
            "ucarp",
            "deadratio",
            self.deadratio.is_some() && self.rules != Rules::Ucarp,
        )?;
        let passphrase = match (&self.passphrase, &self.passphrase_file) {
            (Some(text), None) => Passphrase::new(text.as_bytes())?,
            (None, Some(path)) => passphrase(path)?,
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

    fn vrrp(&self, vrrp: super::config::Vrrp) -> Result<Protocol, String> {
        refuse("CARP", "advbase", self.advbase.is_some())?;
        refuse("CARP", "advskew", self.advskew.is_some())?;
        refuse("ucarp", "deadratio", self.deadratio.is_some())?;
        let has_secret = self.passphrase.is_some() || self.passphrase_file.is_some();
        refuse("CARP", "passphrase", has_secret)?;
        Ok(Protocol::Vrrp(vrrp))
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

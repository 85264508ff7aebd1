//! A configuration of had, made of what a node has already: `hast.conf`, and lines of `ifconfig`
//! or `rc.conf`.

use core::fmt::Write;
use std::collections::BTreeSet;
use std::path::Path;

use ha_core::carp_proto::{Peer, Words};
use ha_core::hast_proto::conf::{self, DEFAULT_PORT, Endpoint, File, Host};

use super::{config, read};

/// What hosts listen on by themselves when hast.conf does not say it.
const ANYWHERE: &str = "[::]:8457";
/// The interfaces' names begin after this in rc.conf.
const RC: &str = "ifconfig_";

/// A group of addresses, as `ifconfig` has it.
#[derive(Debug)]
struct Group {
    interface: String,
    words: Words,
    passphrase: Option<String>,
    addresses: Vec<String>,
}

/// Reads both files as they are on the node of this name, and returns the text of a configuration.
/// What it could not know stands in comments.
pub(crate) fn run(
    hast_conf: Option<&Path>,
    ifconfig: Option<&Path>,
    node: Option<&str>,
) -> Result<String, String> {
    let name = node.map_or_else(host_name, str::to_owned);
    let hast = hast_conf.map(|path| hast(path, &name)).transpose()?;
    let groups = match ifconfig {
        Some(path) => {
            let text = read::text(path)?;
            groups(&text).map_err(|error| format!("{}:{error}", path.display()))?
        }
        None => Vec::new(),
    };
    let text = write(&name, hast.as_ref(), &groups);
    if let Err(faults) = config::parse(&text) {
        let what = faults.iter().map(|fault| format!("#     {fault}\n"));
        let what: String = what.collect();
        return Ok(format!("# It is not complete yet:\n{what}{text}"));
    }
    Ok(text)
}

/// What `hast.conf` means on this node, and the names of all nodes in it.
struct Hast {
    config: conf::Config,
    nodes: BTreeSet<String>,
}

fn hast(path: &Path, node: &str) -> Result<Hast, String> {
    let shown = path.display().to_string();
    let text = read::text(path)?;
    let file = File::parse(text.as_bytes());
    let file = file.map_err(|error| error.in_file(&shown).to_string())?;
    let config = file.select(&Host::new(node));
    let config = config.map_err(|error| error.in_file(&shown).to_string())?;
    let sections = file.resources().flat_map(|resource| &resource.statements);
    let nodes = sections.filter_map(|statement| match statement {
        conf::ResourceStatement::Node(on) => Some(on.name.as_str().to_owned()),
        _ => None,
    });
    let nodes = nodes.collect();
    Ok(Hast { config, nodes })
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Reads lines as `ifconfig em0 vhid 1 ...`, or as `ifconfig_em0_alias0="inet vhid 1 ..."`. What
/// says nothing of a vhid is left out.
fn groups(text: &str) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((interface, words)) = split(line) else {
            continue;
        };
        let mut tokens = words.split_whitespace();
        if !tokens.any(|word| word == "vhid") {
            continue;
        }
        let parsed = Words::parse(&words).map_err(|error| format!("{number}: {error}"))?;
        let mut tokens = words.split_whitespace();
        let passphrase = tokens
            .find(|word| *word == "pass")
            .and_then(|_| tokens.next());
        let address = parsed.address.map(|shared| {
            let length = shared.prefix_len.map(|length| format!("/{length}"));
            format!("{}{}", shared.address, length.unwrap_or_default())
        });
        let is_same =
            |group: &&mut Group| group.interface == interface && group.words.vhid == parsed.vhid;
        match groups.iter_mut().find(is_same) {
            Some(group) => group.addresses.extend(address),
            None => groups.push(Group {
                interface,
                passphrase: passphrase.map(str::to_owned),
                addresses: address.into_iter().collect(),
                words: parsed,
            }),
        }
    }
    Ok(groups)
}

/// The interface and the words of a line, if it has them.
fn split(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("ifconfig ") {
        let (interface, words) = rest.trim_start().split_once(char::is_whitespace)?;
        return Some((interface.to_owned(), words.to_owned()));
    }
    let (name, value) = line.strip_prefix(RC)?.split_once('=')?;
    let interface = name.split('_').next()?;
    let value = value.trim_matches(['"', '\'']);
    Some((interface.to_owned(), value.to_owned()))
}

fn write(name: &str, hast: Option<&Hast>, groups: &[Group]) -> String {
    let mut out = String::new();
    let names = hast.map(|hast| hast.nodes.clone()).unwrap_or_default();
    let is_this = |other: &str| other == name || name.split('.').next() == Some(other);
    // The same on all nodes: the places in the order of the names.
    let place = names.iter().position(|other| is_this(other)).unwrap_or(0);
    let _ = write!(out, "[node]\nid = {place}\nname = {}\n", quoted(name));
    let others = names
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != place);
    for (id, other) in others {
        let name = quoted(other);
        let _ = write!(out, "\n[[node.peer]]\nid = {id}\nname = {name}\n");
    }
    let resources = hast.map(|hast| hast.config.resources.as_slice());
    let resources = resources.unwrap_or_default();
    if let Some(hast) = hast {
        let listen = listening(&hast.config.listen);
        let _ = write!(out, "\n[hast]\nlisten = [{}]\n", listen.join(", "));
    }
    match resources {
        [] => unit(&mut out, "service", groups, None),
        [first, rest @ ..] => {
            if !rest.is_empty() && !groups.is_empty() {
                out.push_str(
                    "\n# All addresses are the first unit's: move them to whose they are.\n",
                );
            }
            unit(&mut out, first.name.as_str(), groups, Some((0, first)));
            for (number, resource) in (1..).zip(rest) {
                unit(
                    &mut out,
                    resource.name.as_str(),
                    &[],
                    Some((number, resource)),
                );
            }
        }
    }
    out
}

fn unit(
    out: &mut String,
    name: &str,
    groups: &[Group],
    resource: Option<(usize, &conf::ResourceConfig)>,
) {
    let _ = write!(out, "\n[[unit]]\nname = {}\n", quoted(name));
    for group in groups {
        carp(out, group);
    }
    let Some((number, resource)) = resource else {
        return;
    };
    let _ = write!(
        out,
        "\n[unit.resource]\nname = {}\nlocal = {}\n",
        quoted(name),
        quoted(resource.local.as_str())
    );
    for (key, address) in [("remote", &resource.remote), ("source", &resource.source)] {
        if let Some(address) = address {
            let _ = writeln!(out, "{key} = {}", quoted(address.as_str()));
        }
    }
    let _ = write!(
        out,
        "replication = \"{}\"\nchecksum = \"{}\"\ncompression = \"{}\"\nmetaflush = {}\n\
         # hast.conf has {} here, and so long the other node would wait to take over.\n\
         timeout = 3\n",
        resource.replication,
        resource.checksum,
        resource.compression,
        resource.metaflush.is_on(),
        resource.timeout
    );
    if resource.tls.is_on() {
        out.push_str(
            "# hast.conf has `tls on` here. had replicates WITHOUT TLS: only on a network of its own.\n",
        );
    }
    let _ = write!(
        out,
        "\n[unit.device]\ndevice = \"/dev/nbd{number}\"\n\
         attach = [\"/usr/local/libexec/had/attach-nbd.sh\"]\n\
         detach = [\"/usr/local/libexec/had/attach-nbd.sh\", \"detach\"]\n\
         \n# What is on it: add a [[unit.mount]] with `at` and `type`, and each [[unit.service]].\n"
    );
}

fn carp(out: &mut String, group: &Group) {
    let Group {
        interface, words, ..
    } = group;
    let addresses = group.addresses.iter().map(|address| quoted(address));
    let _ = write!(
        out,
        "\n[[unit.carp]]\ninterface = {}\nvhid = {}\naddresses = [{}]\npassphrase = {}\n",
        quoted(interface),
        words.vhid.get(),
        addresses.collect::<Vec<_>>().join(", "),
        quoted(group.passphrase.as_deref().unwrap_or_default())
    );
    if let Some(advbase) = words.advbase {
        let _ = writeln!(out, "advbase = {}", advbase.get());
    }
    if let Some(advskew) = words.advskew {
        let _ = writeln!(out, "advskew = {}", advskew.get());
    }
    let v4 = words.peer.as_ref().and_then(|peer| match peer {
        Peer::Address(address) => Some(address.to_string()),
        _ => None,
    });
    let v6 = words.peer6.as_ref().and_then(|peer| match peer {
        Peer::Address(address) => Some(address.to_string()),
        _ => None,
    });
    let peers: Vec<String> = v4.into_iter().chain(v6).map(|peer| quoted(&peer)).collect();
    if !peers.is_empty() {
        let _ = write!(out, "multicast = false\npeers = [{}]\n", peers.join(", "));
    }
}

/// The addresses of `listen` as numbers; names, and what hosts do by themselves, become any
/// address.
fn listening(listen: &conf::Listen) -> Vec<String> {
    let addresses = listen.addresses().into_iter().map(|text| {
        let Ok(Endpoint::Tcp { host, port, .. }) = Endpoint::parse(text) else {
            return ANYWHERE.to_owned();
        };
        let port = port.unwrap_or(DEFAULT_PORT);
        match host.parse::<core::net::IpAddr>() {
            Ok(address) => core::net::SocketAddr::new(address, port).to_string(),
            Err(_) => ANYWHERE.to_owned(),
        }
    });
    let unique: BTreeSet<String> = addresses.collect();
    unique.iter().map(|address| quoted(address)).collect()
}

/// A string of TOML, which is one of JSON as far as texts without DEL are concerned.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HAST: &str = "replication fullsync
        listen 192.0.2.1
        resource shared {
            local /dev/vg0/shared
            on alpha { remote tcp://192.0.2.2 source 192.0.2.1 }
            on beta { remote tcp://192.0.2.1 }
        }\n";
    const RC_CONF: &str = "# a comment\nhostname=\"alpha\"\nifconfig_em0=\"inet 192.0.2.1/24\"\n\
        ifconfig_em0_alias0=\"inet vhid 7 advskew 100 pass pass\\\\word alias 192.0.2.7/32\"\n\
        ifconfig em0 vhid 7 192.0.2.8/32\n\
        ifconfig_em1_ipv6=\"inet6 vhid 8 peer6 fe80::2 2001:db8::8/64\"\n";

    fn import(hast: &str, rc: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let (conf, lines) = (
            folder.path().join("hast.conf"),
            folder.path().join("rc.conf"),
        );
        fs::write(&conf, hast).unwrap();
        fs::write(&lines, rc).unwrap();
        run(Some(&conf), Some(&lines), Some("alpha"))
    }

    #[test]
    fn what_is_there_becomes_a_configuration_that_is_right() {
        let text = import(HAST, RC_CONF).unwrap();
        let config = config::parse(&text).unwrap();
        assert_eq!((*config.node.id.get_ref(), config.node.peers.len()), (0, 1));
        assert_eq!(config.hast.listen, ["192.0.2.1:8457".parse().unwrap()]);
        let unit = &config.units[0];
        assert_eq!(&***unit.name.get_ref(), "shared");
        let [seven, eight] = [0, 1].map(|at| unit.carp[at].get_ref());
        assert_eq!(seven.addresses.get_ref().len(), 2);
        assert_eq!(seven.passphrase.as_deref().unwrap(), "pass\\\\word");
        assert_eq!(
            seven.advskew.as_ref().map(|skew| *skew.get_ref()),
            Some(100)
        );
        assert!(!eight.multicast.get_ref());
        let resource = unit.resource.as_ref().unwrap().get_ref();
        assert_eq!(resource.replication(), hast_proto::Replication::Fullsync);
        assert_eq!(resource.remote.0.0.as_str(), "tcp://192.0.2.2");
    }

    #[test]
    fn what_is_missing_is_said_in_front() {
        let text = import(HAST, "").unwrap();
        assert!(
            text.starts_with("# It is not complete yet:\n#     unit shared has no addresses\n")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = import("replication fulsync\n", "").unwrap_err();
        assert!(error.contains("hast.conf:1:13: "), "{error}");
        let error = import(HAST, "\nifconfig em0 vhid 300\n").unwrap_err();
        assert!(error.contains("rc.conf:2: "), "{error}");
        let error = import(HAST, "ifconfig em0 vhid 1 pass 3141592 advskw 3\n").unwrap_err();
        assert!(!error.contains("3141592"), "{error}");
    }
}

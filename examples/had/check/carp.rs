//! Groups of addresses.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::BTreeMap;

use ha_core::carp_proto::{AdvSkew, Dialect, InterfaceName, Vhid};
use toml::Spanned;

use super::super::config::{Carp, Config};
use super::super::vhost::Rules;
use super::super::{passphrase, vhosts};
use super::Faults;

/// How many addresses a group may have.
const MAX_ADDRESSES: usize = 255;

pub(super) fn check(config: &Config, faults: &mut Faults) {
    let mut groups = BTreeMap::new();
    let mut shared = BTreeMap::new();
    let all = || config.units.iter().flat_map(|unit| &unit.carp);
    for carp in all() {
        let carp = carp.get_ref();
        let (interface, vhid) = (carp.interface.get_ref(), *carp.vhid.get_ref());
        faults.unless_new(&mut groups, (interface, vhid), carp.vhid.span(), || {
            format!("vhid {vhid} is on {interface} already")
        });
        for address in carp.addresses.get_ref() {
            let ip = address.get_ref().address;
            faults.unless_new(&mut shared, (interface, ip), address.span(), || {
                format!("{ip} is shared on {interface} already")
            });
        }
        group(carp, faults);
    }
    for carp in all() {
        let carp = carp.get_ref();
        for peer in &carp.peers {
            let key = (carp.interface.get_ref(), *peer.get_ref());
            if shared.contains_key(&key) {
                let what = format!("the peer {} is a shared address", peer.get_ref());
                faults.hinted(peer.span(), what, "write the peer's own address");
            }
        }
    }
}

fn group(carp: &Carp, faults: &mut Faults) {
    if let Err(error) = InterfaceName::new(carp.interface.get_ref()) {
        faults.at(carp.interface.span(), error.to_string());
    }
    if let Err(error) = Vhid::new(*carp.vhid.get_ref()) {
        faults.at(carp.vhid.span(), error.to_string());
    }
    if let Some(skew) = &carp.advskew {
        if let Err(error) = AdvSkew::new(*skew.get_ref()) {
            faults.at(skew.span(), error.to_string());
        }
    }
    let addresses = carp.addresses.get_ref();
    if addresses.is_empty() {
        faults.at(carp.addresses.span(), "there are no addresses");
    }
    if addresses.len() > MAX_ADDRESSES {
        let what = format!("more than {MAX_ADDRESSES} addresses");
        faults.at(carp.addresses.span(), what);
    }
    rules(carp, faults);
    secret(carp, faults);
    peers(carp, faults);
}

fn rules(carp: &Carp, faults: &mut Faults) {
    let rules = *carp.rules.get_ref();
    if rules.vrrp().is_some() {
        faults.hinted(
            carp.rules.span(),
            "the addresses of a unit move by CARP",
            "carpd shares addresses by VRRP",
        );
        return;
    }
    if let (Some(ratio), false) = (&carp.deadratio, rules == Rules::Ucarp) {
        let hint = "the rules of the others have 3";
        faults.hinted(
            ratio.span(),
            "deadratio is for rules = \"ucarp\" alone",
            hint,
        );
    }
    // Only what is in range can be asked for the rest.
    let Some(settings) = vhosts::settings(carp) else {
        return;
    };
    if let Err(error) = settings.validate(vhosts::dialect(carp)) {
        let place = carp.advbase.as_ref().or(carp.advskew.as_ref());
        let span = place.map_or_else(|| carp.rules.span(), Spanned::span);
        faults.at(span, error.to_string());
    }
}

fn secret(carp: &Carp, faults: &mut Faults) {
    let hint = "name a file: passphrase_file = \"/etc/had/passphrase\"; passphrase = \"\" is none";
    let span = carp.vhid.span();
    match (&carp.passphrase, &carp.passphrase_file) {
        (None, None) => faults.hinted(span, "the group has no passphrase", hint),
        (Some(_), Some(file)) => {
            faults.at(file.span(), "both passphrase and passphrase_file are given")
        }
        (Some(_), None) => match passphrase::of(carp) {
            Err(error) => faults.at(span, error),
            Ok(secret) => {
                if secret.is_empty() && matches!(vhosts::dialect(carp), Dialect::UCarp(_)) {
                    faults.at(span, "ucarp takes no empty passphrase");
                }
            }
        },
        (None, Some(file)) => {
            if let Err(error) = passphrase::of(carp) {
                faults.at(file.span(), error);
            }
        }
    }
}

fn peers(carp: &Carp, faults: &mut Faults) {
    for peer in &carp.peers {
        let address = peer.get_ref();
        if address.is_multicast() || address.is_unspecified() {
            faults.at(
                peer.span(),
                format!("the peer {address} is no host's address"),
            );
        }
    }
    if *carp.multicast.get_ref() {
        return;
    }
    let span: Range<usize> = carp.multicast.span();
    for (family, is_of) in [
        ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", IpAddr::is_ipv6),
    ] {
        let addresses = carp.addresses.get_ref();
        let is_shared = addresses.iter().any(|it| is_of(&it.get_ref().address));
        let is_reached = carp.peers.iter().any(|peer| is_of(peer.get_ref()));
        if is_shared && !is_reached {
            let what = format!("without multicast there has to be a peer of {family}");
            faults.hinted(span.clone(), what, "add its address to `peers`");
        }
    }
}

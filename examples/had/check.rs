//! What a configuration contradicts: itself, or what can be. Each fault has its place, and where
//! there is something to do about it, a hint.

mod carp;
mod health;
mod host;
#[cfg(test)]
mod tests;
mod unit;

use core::ops::Range;
use std::collections::BTreeMap;

use ha_core::carp_proto::InterfaceName;
use ha_core::failover::NodeId;

use super::config::{Config, Node};
use super::fault::{Fault, nearest};

pub(crate) use self::host::look;

/// Returns everything that is wrong.
pub(crate) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    node(&config.node, &mut faults);
    status(config, &mut faults);
    interfaces(config, &mut faults);
    if config.units.is_empty() {
        let fault = Fault::new(None, "there is no [[unit]]");
        faults.add(fault.hint("a unit is what moves together: add one with a [[unit.carp]]"));
    }
    unit::check(config, &mut faults);
    carp::check(config, &mut faults);
    faults.0
}

/// What was found.
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn at(&mut self, span: Range<usize>, what: impl Into<String>) {
        self.add(Fault::new(Some(span), what));
    }

    pub(super) fn hinted(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Fault::new(Some(span), what).hint(hint));
    }

    /// Adds a fault unless `name` is the first of its kind.
    pub(super) fn unless_new<T: Ord>(
        &mut self,
        seen: &mut BTreeMap<T, Range<usize>>,
        name: T,
        span: Range<usize>,
        what: impl FnOnce() -> String,
    ) {
        match seen.get(&name) {
            Some(_) => self.at(span, what()),
            None => _ = seen.insert(name, span),
        }
    }

    /// A name that is not one of those that there are.
    pub(super) fn unknown<'a>(
        &mut self,
        span: Range<usize>,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        let known: Vec<&str> = known.collect();
        let fault = Fault::new(Some(span), format!("there is no {what} {name:?}"));
        self.add(
            match (nearest(name, known.iter().copied()), known.as_slice()) {
                (Some(word), _) => fault.hint(format!("did you mean {word:?}?")),
                (None, []) => fault.hint(format!("there is no {what} at all")),
                (None, known) => fault.hint(format!("there are: {}", known.join(", "))),
            },
        );
    }
}

fn node(node: &Node, faults: &mut Faults) {
    let mut ids = BTreeMap::from([(*node.id.get_ref(), node.id.span())]);
    let mut names = BTreeMap::from([(node.name.get_ref().0.clone(), node.name.span())]);
    let in_range = |id: &toml::Spanned<u8>, faults: &mut Faults| {
        if let Err(error) = NodeId::new(*id.get_ref()) {
            faults.at(id.span(), error.to_string());
        }
    };
    in_range(&node.id, faults);
    for peer in &node.peers {
        in_range(&peer.id, faults);
        let id = *peer.id.get_ref();
        if ids.insert(id, peer.id.span()).is_some() {
            let what = format!("id {id} is another node's");
            faults.hinted(peer.id.span(), what, "each node has an id of its own");
        }
        let name = peer.name.get_ref().0.clone();
        let what = format!("{name} is another node's name");
        if names.insert(name, peer.name.span()).is_some() {
            faults.at(peer.name.span(), what);
        }
    }
    if !node.run.get_ref().is_absolute() {
        faults.hinted(
            node.run.span(),
            "run is not an absolute path",
            "write it from the root: \"/run/had\"",
        );
    }
}

fn status(config: &Config, faults: &mut Faults) {
    if let Some(page) = &config.status.page {
        if !page.get_ref().ip().is_loopback() {
            faults.hinted(
                page.span(),
                format!("the page would be served on {}", page.get_ref()),
                "it is for this host alone: \"127.0.0.1:8480\", and ssh -L from elsewhere",
            );
        }
    }
    let mut peers = config.node.peers.iter();
    if let Some(listen) = &config.status.listen {
        if !peers.any(|peer| peer.status.is_some()) {
            faults.hinted(
                listen.span(),
                "no peer has an address that may ask for the status",
                "set `status` of each [[node.peer]]",
            );
        }
    }
}

fn interfaces(config: &Config, faults: &mut Faults) {
    let mut seen = BTreeMap::new();
    for interface in &config.interfaces {
        let (span, name) = (interface.span(), &interface.get_ref().name);
        if let Err(error) = InterfaceName::new(name) {
            faults.at(span.clone(), format!("interface {name:?}: {error}"));
        }
        faults.unless_new(&mut seen, name, span.clone(), || {
            format!("interface {name} is configured twice")
        });
        let mut groups = config.units.iter().flat_map(|unit| &unit.carp);
        if !groups.any(|carp| carp.get_ref().interface.get_ref() == name) {
            let units = config.units.iter().flat_map(|unit| &unit.carp);
            let names = units.map(|carp| carp.get_ref().interface.get_ref().as_str());
            let fault = Fault::new(Some(span), format!("no group is on interface {name}"));
            faults.add(match nearest(name, names) {
                Some(word) => fault.hint(format!("did you mean {word:?}?")),
                None => fault,
            });
        }
    }
}

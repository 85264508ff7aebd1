//! What happens, as lines of a log. A change of state tells its reason, and the advertisement
//! that caused it.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ha_core::carp_proto::{Dialect, Discard, Event as Protocol, Said, Vhid};
use ha_core::io::linux::{LinuxEvent, LinuxEvents};
use ha_core::io::{Effect, EventKind, Events, HostId, SegmentId};
use tracing::{debug, info, warn};

use super::config::{Config, HostName};

/// What the identities of a driver are called in the configuration.
#[derive(Debug, Default)]
pub(crate) struct Names {
    hosts: Mutex<BTreeMap<HostId, (HostName, Dialect)>>,
    /// The host that is just being added, and whose identity is not known yet.
    adding: Mutex<Option<HostName>>,
    segments: Mutex<BTreeMap<SegmentId, String>>,
    /// Addresses that scripts set.
    by_scripts: Mutex<BTreeSet<IpAddr>>,
}

fn lock<T>(names: &Mutex<T>) -> MutexGuard<'_, T> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    /// Says which host is to have the next identity.
    pub(crate) fn begin_host(&self, name: HostName) {
        *lock(&self.adding) = Some(name);
    }

    pub(crate) fn add_host(&self, id: HostId, name: HostName, dialect: Dialect) {
        lock(&self.hosts).insert(id, (name, dialect));
    }

    pub(crate) fn remove_host(&self, id: HostId) {
        lock(&self.hosts).remove(&id);
    }

    pub(crate) fn add_segment(&self, id: SegmentId, name: String) {
        lock(&self.segments).insert(id, name);
    }

    pub(crate) fn remove_segment(&self, id: SegmentId) {
        lock(&self.segments).remove(&id);
    }

    /// Takes note of who sets which addresses.
    pub(crate) fn set_owners(&self, config: &Config) {
        let hosts = config.hosts.values().filter(|host| !host.set_address);
        *lock(&self.by_scripts) = hosts.flat_map(|host| host.live.ips()).collect();
    }

    /// The interface of a segment; one that is just being opened has no name yet.
    pub(crate) fn segment(&self, id: SegmentId) -> String {
        let name = lock(&self.segments).get(&id).cloned();
        name.unwrap_or_else(|| format!("segment {id}"))
    }

    /// The name of a host.
    pub(crate) fn host(&self, id: HostId, vhid: Vhid) -> String {
        let known = lock(&self.hosts).get(&id).map(|(name, _)| name.clone());
        let adding = || lock(&self.adding).clone().filter(|name| name.vhid == vhid);
        match known.or_else(adding) {
            Some(name) => name.to_string(),
            None => format!("vhid {vhid}"),
        }
    }

    pub(crate) fn find_host(&self, name: &HostName) -> Option<HostId> {
        let hosts = lock(&self.hosts);
        let found = hosts.iter().find(|(_, (other, _))| other == name);
        found.map(|(id, _)| *id)
    }

    /// Whose rules a host follows; one that is just being added is not known yet.
    pub(crate) fn dialect(&self, id: HostId) -> Option<Dialect> {
        lock(&self.hosts).get(&id).map(|(_, dialect)| *dialect)
    }
}

/// Logs what a driver tells, until it ends. Refused and discarded packets come at most once a
/// second, as the driver sees to.
pub(crate) async fn driver(mut events: Events, names: &Names, on_change: impl Fn()) {
    let mut lost = 0;
    while let Some(event) = events.next().await {
        if events.lost() > lost {
            warn!(lost = events.lost() - lost, "events were lost");
            lost = events.lost();
        }
        tell(&event.kind, names);
        let is_state = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::Protocol {
                    event: Protocol::State { .. },
                    ..
                }
            )
        };
        if is_state(&event.kind) {
            on_change();
        }
    }
}

fn tell(kind: &EventKind, names: &Names) {
    match kind {
        EventKind::Protocol { host, vhid, event } => {
            protocol(&names.host(*host, *vhid), event);
        }
        EventKind::Demotion {
            adjustment,
            level,
            cause,
        } => info!(adjustment, level, %cause, "demotion changed"),
        EventKind::Done {
            host,
            vhid,
            effect,
            took,
        } => {
            let host = names.host(*host, *vhid);
            match effect {
                // Announcements are repeated.
                Effect::Announce(_) => debug!(%host, ?took, "{effect} done"),
                _ => info!(%host, ?took, "{effect} done"),
            }
        }
        EventKind::Failed {
            host,
            vhid,
            effect,
            error,
        } => {
            let host = names.host(*host, *vhid);
            warn!(%host, %error, "{effect} failed");
        }
        EventKind::NotSent {
            host,
            vhid,
            family,
            error,
        } => {
            let host = names.host(*host, *vhid);
            warn!(%host, %family, %error, "advertisement not sent");
        }
        EventKind::Discarded {
            segment,
            source,
            discard,
        } => {
            let interface = names.segment(*segment);
            match discard {
                // Others may have groups of their own there.
                Discard::BadVhid { .. } => debug!(%interface, %source, "{discard}"),
                _ => warn!(%interface, %source, reason = %discard, "packet discarded"),
            }
        }
        EventKind::NotReceived { segment, error } => {
            let interface = names.segment(*segment);
            warn!(%interface, %error, "cannot receive");
        }
        // A panic, and whatever a later version tells about.
        other => warn!("{other}"),
    }
}

fn protocol(host: &str, event: &Protocol) {
    match event {
        Protocol::State {
            from,
            to,
            reason,
            cause: None,
        } => info!(%host, %from, %to, %reason, "{event}"),
        Protocol::State {
            from,
            to,
            reason,
            cause: Some(cause),
        } => {
            let source = cause.source;
            let said = match cause.said() {
                Said::Carp(said) => said.to_string(),
                Said::Vrrp(said) => said.to_string(),
            };
            info!(%host, %from, %to, %reason, %source, advertisement = %said, "{event}");
        }
        Protocol::Refused { .. } => warn!(%host, "{event}"),
        Protocol::Rival(received) => {
            warn!(%host, source = %received.source, "{event}");
        }
        other => info!(%host, "{other}"),
    }
}

/// Logs what the kernel tells.
pub(crate) async fn network(mut events: LinuxEvents, names: &Names) {
    while let Some(event) = events.next().await {
        match event {
            LinuxEvent::Link { .. } | LinuxEvent::Back { .. } | LinuxEvent::Leftover { .. } => {
                info!("{event}");
            }
            LinuxEvent::Foreign { address, .. } if lock(&names.by_scripts).contains(&address) => {
                debug!("{event}");
            }
            _ => warn!("{event}"),
        }
    }
}

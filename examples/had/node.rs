//! What runs on this node: the driver of the virtual hosts, the node of HAST, the units, and what
//! watches all of them.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ha_core::failover::StepId;
use ha_core::io::failover::{UnitHandle, VirtualHosts};
use ha_core::io::linux::Network;
use ha_core::io::{Driver, Handle, Limits, hast};
use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::addresses::Interfaces;
use super::config::{self, Config};
use super::doors::{Doors, Places};
use super::events::{NodeTold, UnitNames};
use super::figures::Figures;
use super::journal::Journal;
use super::moment::Clock;
use super::watch::{Watch, Watched};
use super::{plan, snapshot, storage, unit};

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Node {
    driver: Handle,
    hast: hast::Node,
    units: Vec<UnitHandle>,
    watch: Arc<Watch>,
    doors: Option<Doors>,
    /// What notes events. It ends with those.
    following: JoinSet<()>,
    _lock: fs::File,
}

impl Node {
    /// Starts everything. What ends by itself, which it should not, is told to `fatal`.
    pub(crate) async fn start(
        config: &Config,
        fatal: &mpsc::Sender<String>,
    ) -> Result<Self, String> {
        let text = |error: &dyn core::fmt::Display| error.to_string();
        let lock = lock(config.node.run.get_ref())?;
        let clock = Clock::start();
        let figures = Figures::install().map_err(|error| text(&error))?;
        let name = config.node.name.get_ref().to_string();
        let journal = match &config.log.events {
            Some(path) => {
                let path = path.get_ref();
                let opened = Journal::open(path, clock, name.clone());
                Some(opened.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => None,
        };
        let network = Network::open().map_err(|error| text(&error))?;
        let mut limits = Limits::default();
        limits.events = 1024;
        let driver = Driver::new(limits);
        let (handle, events) = (driver.handle(), driver.events());
        watch_end(fatal, "the driver of the addresses", driver.run());
        let hast = hast::Node::new(hast::NodeLimits::default());
        let hast_events = hast.events();

        let interfaces = Interfaces::open(config, &network, &handle).await?;
        let mut units = Vec::new();
        let mut watched = Vec::new();
        for unit in &config.units {
            let made = add(config, unit, &interfaces, &handle, &hast).await;
            let (made, known) =
                made.map_err(|error| format!("{}: {error}", **unit.name.get_ref()))?;
            units.push(made);
            watched.push(known);
        }
        hast.listen(&config.hast.listen)
            .map_err(|error| text(&error))?;
        let watch = Arc::new(Watch {
            node: snapshot::Node {
                id: *config.node.id.get_ref(),
                name,
            },
            clock,
            units: watched,
            driver: handle.clone(),
            journal,
            figures,
            closed: Mutex::default(),
        });
        let told = units.iter().map(ha_core::io::failover::Unit::events);
        let following = watch.follow(told.collect(), events, Some(hast_events));
        let handles = units
            .iter()
            .map(ha_core::io::failover::Unit::handle)
            .collect();
        for unit in units {
            watch_end(fatal, "a unit", unit.run());
        }
        let keeping = network.keep(handle.clone(), interfaces.watched());
        watch_end(fatal, "the watch over the interfaces", keeping);
        let doors = Doors::open(Places::of(config), &watch).await;
        let doors = doors.map_err(|error| text(&error))?;
        for (what, address) in [("page", doors.page()), ("status", doors.listen())] {
            if let Some(address) = address {
                info!(%address, "listening: {what}");
            }
        }
        Ok(Self {
            driver: handle,
            hast,
            units: handles,
            watch,
            doors: Some(doors),
            following,
            _lock: lock,
        })
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(crate) fn driver(&self) -> &Handle {
        &self.driver
    }

    /// Ends: units drain and let go, then this node bows out, and other nodes are told no more of
    /// its storage.
    pub(crate) async fn shut_down(mut self) -> Result<(), String> {
        self.watch.tell(NodeTold::Ending);
        let mut ending = JoinSet::new();
        for unit in self.units.drain(..) {
            ending.spawn(async move { unit.shutdown().await });
        }
        let mut result = Ok(());
        while let Some(ended) = ending.join_next().await {
            if let Ok(Err(error)) = ended {
                result = Err(error.to_string());
            }
        }
        if let Err(error) = self.driver.shutdown().await {
            result = Err(error.to_string());
        }
        if let Err(error) = self.hast.shutdown().await {
            warn!("storage: {error}");
        }
        self.doors = None;
        // What was told last is noted.
        drop(self.hast);
        while self.following.join_next().await.is_some() {}
        if let Some(journal) = &self.watch.journal {
            journal.flush();
        }
        result
    }
}

/// Makes a unit with all that it needs, and what is to be known to watch it.
async fn add(
    config: &Config,
    unit: &config::Unit,
    interfaces: &Interfaces,
    driver: &Handle,
    hast: &hast::Node,
) -> Result<(ha_core::io::failover::Unit, Watched), String> {
    let resource = unit.resource.as_ref().map(|resource| resource.get_ref());
    let stored = resource.map(|resource| storage::add(config, unit, resource, hast));
    let stored = stored.transpose()?;
    let mut groups = Vec::new();
    for carp in &unit.carp {
        groups.push(interfaces.serve(carp.get_ref(), driver).await?);
    }
    let hosts: Vec<_> = groups.iter().map(|group| group.host).collect();
    let election = VirtualHosts::follow(driver.clone(), &hosts);
    let made = unit::make(config, unit, election, &groups, stored.as_ref())?;
    let steps = plan::steps(unit).into_iter().zip(0..);
    let names = UnitNames {
        unit: unit.name.get_ref().to_string(),
        steps: steps
            .map(|((step, _), index)| (StepId::new(index), step.name, step.kind))
            .collect(),
        checks: unit
            .checks
            .iter()
            .map(|check| check.get_ref().name.get_ref().to_string())
            .collect(),
    };
    let hosts = groups
        .into_iter()
        .map(|group| (group.host, group.interface));
    let resource = stored.map(|stored| stored.resource);
    let known = Watched::new(made.handle(), names, hosts.collect(), resource);
    Ok((made, known))
}

/// Runs something that is to run until the end.
fn watch_end<T, E>(
    fatal: &mpsc::Sender<String>,
    what: &'static str,
    running: impl Future<Output = Result<T, E>> + Send + 'static,
) where
    T: Send + 'static,
    E: core::fmt::Display + Send + 'static,
{
    let fatal = fatal.clone();
    tokio::spawn(async move {
        let ended = match running.await {
            Ok(_) => format!("{what} has ended"),
            Err(error) => format!("{what}: {error}"),
        };
        // If it is full, that is told already.
        let _ = fatal.try_send(ended);
    });
}

/// Makes the folder for sockets, for root alone, and keeps a second program away from it.
fn lock(folder: &Path) -> Result<fs::File, String> {
    let failed = |error: &dyn core::fmt::Display| format!("{}: {error}", folder.display());
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| failed(&error))?;
    // Whoever had the folder before had may have left a link there.
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder.join("lock"), flags, Mode::from_raw_mode(0o600));
    let file = fs::File::from(file.map_err(|error| failed(&format!("lock: {error}")))?);
    let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    locked.map_err(|_| failed(&"another had runs there"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn one_had_has_the_folder_and_no_link_is_followed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("had");
        let first = lock(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("lock")), 0o600);
        let second = lock(&folder).unwrap_err();
        assert!(second.ends_with("another had runs there"), "{second}");
        drop(first);
        lock(&folder).unwrap();
        let theirs = outer.path().join("theirs");
        fs::write(&theirs, "precious").unwrap();
        fs::remove_file(folder.join("lock")).unwrap();
        symlink(&theirs, folder.join("lock")).unwrap();
        let followed = lock(&folder).unwrap_err();
        assert!(followed.contains("lock: "), "{followed}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "precious");
    }
}

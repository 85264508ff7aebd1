//! Where this node is asked and commanded, and where it asks others: all of them, opened together.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::config::Config;
use super::control::Control;
use super::door::Door;
use super::page;
use super::peers::{self, Peers};
use super::snapshot::Node;
use super::watch::Watch;

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) control: PathBuf,
    /// The status page, on loopback.
    pub(crate) page: Option<SocketAddr>,
    /// Where peers ask.
    pub(crate) listen: Option<SocketAddr>,
    /// The other nodes, and where they are asked.
    pub(crate) peers: Vec<(Node, Option<SocketAddr>)>,
}

impl Places {
    /// As a configuration has them.
    pub(crate) fn of(config: &Config) -> Self {
        let peers = config.node.peers.iter().map(|peer| {
            let node = Node {
                id: *peer.id.get_ref(),
                name: (***peer.name.get_ref()).to_owned(),
            };
            (node, peer.status)
        });
        let status = &config.status;
        Self {
            control: config.node.run.get_ref().join("had.sock"),
            page: status.page.as_ref().map(|page| *page.get_ref()),
            listen: status.listen.as_ref().map(|listen| *listen.get_ref()),
            peers: peers.collect(),
        }
    }
}

/// All of them; they close when this is dropped.
#[derive(Debug)]
pub(crate) struct Doors {
    _control: Control,
    page: Option<Door>,
    told: Option<Door>,
    /// What asks the peers, and what keeps the figures.
    _tasks: JoinSet<()>,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    #[error("the control socket {}: {error}", .path.display())]
    Control { path: PathBuf, error: io::Error },
    #[error("the status page at {address}: {error}")]
    Page {
        address: SocketAddr,
        error: io::Error,
    },
}

impl Doors {
    /// Opens all of them. Only the control socket has to be open at once: what an operator asks at
    /// over the network is opened when its address is there.
    pub(crate) async fn open(places: Places, watch: &Arc<Watch>) -> Result<Self, DoorError> {
        let addresses = places.peers.iter().filter_map(|(_, address)| *address);
        let known: Vec<IpAddr> = addresses
            .map(|address| address.ip().to_canonical())
            .collect();
        let peers = Arc::new(Peers::new(places.peers));
        let path = places.control;
        let control = Control::open(&path, watch.clone(), peers.clone()).await;
        let control = control.map_err(|error| DoorError::Control { path, error })?;
        let page = match places.page {
            Some(address) => {
                let page = page::open(address, watch.clone(), peers.clone()).await;
                Some(page.map_err(|error| DoorError::Page { address, error })?)
            }
            None => None,
        };
        let told = match places.listen {
            Some(address) => Some(peers::listen(address, known, watch.clone()).await),
            None => None,
        };
        let source = places.listen.map(|address| address.ip());
        let mut tasks = JoinSet::new();
        // The peers know this node by the address that they ask it at.
        tasks.spawn(peers.ask(source, watch.figures.clone()));
        tasks.spawn(watch.figures.clone().keep_up());
        Ok(Self {
            _control: control,
            page,
            told,
            _tasks: tasks,
        })
    }

    /// Where the status page is, if it is open.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        self.page.as_ref().and_then(Door::address)
    }

    /// Where peers ask, if they can.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        self.told.as_ref().and_then(Door::address)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::time::{Instant, sleep};

    use super::super::cluster::{LIMIT, start};
    use super::super::{config, text};
    use super::*;

    #[tokio::test]
    async fn a_door_that_cannot_be_opened_yet_is_opened_later() {
        let folder = TempDir::new().unwrap();
        let [alpha, _beta] = start(&folder).await;
        let taken = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let at = taken.each_ref().map(|it| it.local_addr().unwrap());
        let places = Places {
            control: folder.path().join("third.sock"),
            page: Some(at[0]),
            listen: Some(at[1]),
            peers: Vec::new(),
        };
        let watch = &alpha.watch;
        let doors = Doors::open(places.clone(), watch).await.unwrap();
        assert_eq!((doors.page(), doors.listen()), (None, None));
        let overview = alpha.status().await;
        let told = text::status(&overview);
        for (door, at) in ["page", "status"].iter().zip(at) {
            let line = format!("NOT OPEN   {door} at {at}: Address already in use");
            assert!(told.contains(&line), "{told}");
        }
        drop(taken);
        let began = Instant::now();
        while (doors.page(), doors.listen()) != (Some(at[0]), Some(at[1])) {
            assert!(began.elapsed() < LIMIT);
            sleep(core::time::Duration::from_millis(50)).await;
        }
        assert!(alpha.status().await.own.closed.is_empty());
        tokio::net::TcpStream::connect(at[0]).await.unwrap();
        watch.journal.as_ref().unwrap().flush();
        let events = std::fs::read_to_string(&alpha.journal).unwrap();
        let count = |event: &str, at: &SocketAddr| {
            let (event, at) = (format!("\"{event}\""), format!("\"{at}\""));
            let lines = events.lines();
            lines
                .filter(|line| line.contains(&event) && line.contains(&at))
                .count()
        };
        for at in &at {
            assert_eq!((count("not-listening", at), count("listening", at)), (1, 1));
        }
        // The control socket is not optional.
        let refused = Doors::open(places, watch).await.map(drop);
        assert!(matches!(refused, Err(DoorError::Control { .. })));
    }

    #[test]
    fn the_file_says_where_the_doors_are() {
        let text = r#"
            [node]
            id = 0
            name = "alpha"
            run = "/run/other"
            [[node.peer]]
            id = 1
            name = "beta"
            status = "10.0.0.2:8479"
            [status]
            page = "127.0.0.1:8480"
            listen = "10.0.0.1:8479"
            [[unit]]
            name = "web"
            [[unit.carp]]
            interface = "eth0"
            vhid = 1
            addresses = ["192.0.2.1/24"]
            passphrase = ""
        "#;
        let places = Places::of(&config::parse(text).unwrap());
        assert_eq!(places.control, PathBuf::from("/run/other/had.sock"));
        assert_eq!(places.page, "127.0.0.1:8480".parse().ok());
        assert_eq!(places.listen, "10.0.0.1:8479".parse().ok());
        let (node, address) = &places.peers[0];
        assert_eq!((node.id, &*node.name), (1, "beta"));
        assert_eq!(*address, "10.0.0.2:8479".parse().ok());
    }
}

//! Two nodes in one process, for tests: each with CARP over loopback, and with a unit of an address
//! and a service that do nothing but take their time.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use ha_core::carp_proto::{AdvSkew, Config, Family, Key, Vhid};
use ha_core::failover::{NodeId, Step, StepId, StepKind};
use ha_core::io::failover::{AddressGate, InProcess, Part, Unit, UnitSetup, VirtualHosts};
use ha_core::io::{
    Driver, Effects, Limits, Service, Setup, UdpTransport, async_trait, increasing_from_clock,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::doors::{Doors, Places};
use super::events::UnitNames;
use super::figures::Figures;
use super::journal::Journal;
use super::moment::Clock;
use super::overview::Overview;
use super::snapshot::{Node, State};
use super::watch::{Watch, Watched};

/// The unit, of which the name has to be escaped wherever it goes.
pub(crate) const UNIT: &str = "web & \"more\" <b>";
/// How long the service takes to start, and to stop.
pub(crate) const SERVICE: Duration = Duration::from_millis(40);
/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The recorder of all tests of this process.
pub(crate) fn figures() -> Figures {
    static FIGURES: OnceLock<Figures> = OnceLock::new();
    FIGURES.get_or_init(|| Figures::install().unwrap()).clone()
}

/// A node that runs. It ends when this is dropped.
pub(crate) struct Running {
    pub(crate) watch: Arc<Watch>,
    pub(crate) doors: Doors,
    pub(crate) socket: PathBuf,
    pub(crate) journal: PathBuf,
    _tasks: JoinSet<()>,
}

struct Nothing;

#[async_trait]
impl Effects for Nothing {
    async fn acquire(&mut self, _: &Service) -> io::Result<()> {
        Ok(())
    }

    async fn release(&mut self, _: &Service) -> io::Result<()> {
        Ok(())
    }

    async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
        Ok(())
    }
}

/// Two nodes, alpha and beta, of which alpha is preferred.
pub(crate) async fn start(folder: &TempDir) -> [Running; 2] {
    // Free ports, which nobody else takes at once.
    let hold = |_| UdpSocket::bind("127.0.0.1:0").unwrap();
    let carp = [0, 1].map(hold).map(|socket| socket.local_addr().unwrap());
    let hold = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = [0, 1].map(hold).map(|socket| socket.local_addr().unwrap());
    let alpha = node(folder, "alpha", 0, carp, told).await;
    let beta = node(folder, "beta", 1, [carp[1], carp[0]], [told[1], told[0]]).await;
    [alpha, beta]
}

async fn node(
    folder: &TempDir,
    name: &str,
    id: u8,
    carp: [SocketAddr; 2],
    told: [SocketAddr; 2],
) -> Running {
    let clock = Clock::start();
    let mut driver = Driver::new(Limits::default());
    let transport = UdpTransport::bind(&[carp[0]], &[carp[1]]).unwrap();
    let segment = driver.add_segment(transport);
    let mut config = Config::new(Vhid::new(7).unwrap());
    config.counter = increasing_from_clock();
    config.settings.preempt = true;
    config.settings.advskew = AdvSkew::new(100 * id).unwrap();
    let shared: [IpAddr; 1] = ["192.0.2.10".parse().unwrap()];
    let gate = AddressGate::new(Nothing);
    let setup = Setup::new(config, Key::none(), &shared, gate.effects());
    let host = driver.add(segment, setup).unwrap();
    let election = VirtualHosts::follow(driver.handle(), &[host]);

    let takes_time = |_| async {
        sleep(SERVICE).await;
        Ok(())
    };
    let web = InProcess::new(takes_time, takes_time);
    let address = Step::new(StepKind::Address, "7@lo").after(0);
    let steps = vec![
        (
            Step::new(StepKind::Service, "web"),
            Part::Service(Arc::new(web)),
        ),
        (address, Part::Address(Arc::new(gate))),
    ];
    let mut setup = UnitSetup::new(UNIT, NodeId::new(id).unwrap(), steps, election).unwrap();
    setup.config.holds.start = Duration::ZERO;
    setup.config.holds.left = Duration::from_secs(2);
    let unit = Unit::new(setup).unwrap();
    let names = UnitNames {
        unit: UNIT.to_owned(),
        steps: vec![
            (StepId::new(0), "web".to_owned(), StepKind::Service),
            (StepId::new(1), "7@lo".to_owned(), StepKind::Address),
        ],
        checks: Vec::new(),
    };
    let journal = folder.path().join(format!("{name}.jsonl"));
    let node = Node {
        id,
        name: name.to_owned(),
    };
    let events = (unit.events(), driver.events());
    let watch = Arc::new(Watch {
        clock,
        units: vec![Watched::new(
            unit.handle(),
            names,
            vec![(host, "lo".to_owned())],
            None,
        )],
        driver: driver.handle(),
        journal: Some(Journal::open(&journal, clock, node.name.clone()).unwrap()),
        figures: figures(),
        closed: Mutex::default(),
        node,
    });
    let mut tasks = watch.follow(vec![events.0], events.1, None);
    tasks.spawn(async move { driver.run().await.unwrap() });
    tasks.spawn(async move { unit.run().await.unwrap() });
    let socket = folder.path().join(format!("{name}.sock"));
    let other = Node {
        id: 1 - id,
        name: if id == 0 { "beta" } else { "alpha" }.to_owned(),
    };
    let places = Places {
        control: socket.clone(),
        page: Some("127.0.0.1:0".parse().unwrap()),
        listen: Some(told[0]),
        peers: vec![(other, Some(told[1]))],
    };
    Running {
        doors: Doors::open(places, &watch).await.unwrap(),
        watch,
        socket,
        journal,
        _tasks: tasks,
    }
}

impl Running {
    /// Asks at the control socket.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Client) -> T + Send + 'static,
    ) -> T {
        let client = Client::new(&self.socket);
        tokio::task::spawn_blocking(move || ask(&client))
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self) -> Overview {
        self.ask(|client| client.status().unwrap()).await
    }

    /// Waits until the control socket says something.
    pub(crate) async fn until(&self, is_so: impl Fn(&Overview) -> bool) -> Overview {
        let began = Instant::now();
        loop {
            let now = self.status().await;
            if is_so(&now) {
                return now;
            }
            assert!(began.elapsed() < LIMIT, "{now:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until this node serves, and the other one is ready to, and each knows.
    pub(crate) async fn until_active(&self) -> Overview {
        self.until(|now| {
            let peer = now.peers[0].fresh().and_then(|peer| peer.unit(UNIT));
            let ready =
                peer.is_some_and(|peer| peer.state == State::Standby && peer.causes.is_empty());
            now.own.units[0].state == State::Active && ready
        })
        .await
    }
}

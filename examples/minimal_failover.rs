//! How does failover look? Two hosts, a service that stores what it is told, and a client that
//! keeps telling it something.
//!
//!     cargo run --release --example minimal_failover
//!
//! Each host is a process. By CARP they agree who is MASTER: they exchange signed advertisements
//! over UDP on the loopback interface, so nothing here needs root. A service address would; in its
//! place stands a TCP listener that only the MASTER opens. What the service stores goes to a block
//! device that HAST mirrors: the MASTER is primary, the other one secondary, and a write is
//! answered when both have it.
//!
//! The first master is killed: its backup hears nothing for 3 x advbase + advskew/256 s, then
//! takes over. The dead host comes back with an empty disk, and everything is copied to it. Then
//! the second master is stopped politely: it closes the listener, gives up the storage, bows out,
//! and the first takes over at once. The outages are measured as the client sees them, and after
//! each all that it was told to be stored is read back. The program fails if an outage exceeds what
//! the protocol promises, or if anything is missing.

#![expect(
    clippy::disallowed_methods,
    reason = "this program reads the clock and waits"
)]

use core::error::Error;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Instant, UNIX_EPOCH};

use ha_core::carp_proto::{AdvSkew, Config, Family, Key, Vhid};
use ha_core::hast_proto::hooks::HookEvent;
use ha_core::hast_proto::{Replication, ResourceName, Role};
use ha_core::io::block::{BlockDevice, MemoryDevice};
use ha_core::io::hast::{Create, Existing, Node, NodeLimits, Resource, Settings, provider};
use ha_core::io::{
    Driver, Effects, EventKind, Limits, Service, Setup, UdpTransport, async_trait,
    increasing_from_clock,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Result<T> = core::result::Result<T, Box<dyn Error>>;

/// The hosts, and how good each is: the lower the advskew, the better.
const HOSTS: [(&str, u8); 2] = [("ada", 0), ("bob", 50)];
/// How much they can store, in records of a sector.
const DISK: u64 = 4 << 20;
const RECORD: u32 = 512;
/// What the service can be told.
const STORE: u8 = b's';
const LOOK: u8 = b'l';
const ADVBASE: Duration = Duration::from_secs(1);
/// How long after an advertisement the first master dies: nearly the worst moment, with a little
/// left over for a busy machine that lets the processes wait.
const LAST_WORDS: Duration = Duration::from_millis(25);
/// How long the client waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the client asks, which is how much later it may notice.
const EVERY: Duration = Duration::from_millis(20);
/// How often it asks while the master changes: what is measured should be the outage, and not the
/// rhythm of the client.
const CLOSELY: Duration = Duration::from_millis(1);
/// What a polite stop may cost: one interval of the client, and a little.
const POLITE_BOUND: Duration = Duration::from_millis(25);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, began, addresses @ ..] = arguments.as_slice() else {
        return play();
    };
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<core::result::Result<_, _>>()?;
    host(name, began.parse()?, &addresses)?;
    Ok(ExitCode::SUCCESS)
}

// A host: all that a program needs to take part.

/// Runs one host until standard input is closed, as happens when whoever started it is gone.
#[tokio::main(flavor = "current_thread")]
async fn host(name: &str, began: u64, addresses: &[SocketAddr]) -> Result<()> {
    let [service, own_storage, peer_storage, local, peer] = *addresses else {
        return Err("addresses missing".into());
    };
    let node = Node::new(NodeLimits::default());
    node.listen(&[own_storage])?;
    let storage = storage(&node, peer_storage).await?;
    let listener = Listener {
        name: format!("{name} {began}"),
        service,
        storage: storage.clone(),
        task: None,
    };

    let mut config = Config::new(Vhid::new(1)?);
    config.settings.advskew = AdvSkew::new(advskew(name))?;
    config.counter = increasing_from_clock();
    let key = Key::from_passphrase(b"not a secret");
    let shared = [Ipv4Addr::new(192, 0, 2, 1).into()];
    let mut driver = Driver::new(Limits::default());
    let segment = driver.add_segment(UdpTransport::bind(&[local], &[peer])?);
    driver.add(segment, Setup::new(config, key, &shared, listener))?;
    let (handle, mut events) = (driver.handle(), driver.events());
    let running = tokio::spawn(driver.run());
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || stop.send(io::stdin().read(&mut [0])));
    let stopping = tokio::spawn(async move {
        let _ = stopped.await;
        handle.shutdown().await
    });
    let mut mirrored = node.events();
    let who = name.to_owned();
    tokio::spawn(async move {
        while let Some(event) = mirrored.next().await {
            match event.hook {
                Some(HookEvent::Role { old, new }) => {
                    say(began, &who, &format!("storage: {old} -> {new}"));
                }
                Some(hook) => say(began, &who, &format!("storage: {}", hook.word())),
                None => {}
            }
        }
    });
    // The events end with the driver.
    while let Some(event) = events.next().await {
        tell(began, name, &event.kind);
    }
    stopping.await??;
    Ok(running.await??)
}

/// A disk that is mirrored to the peer. It is in memory, so that a host comes back without one.
async fn storage(node: &Node, peer: SocketAddr) -> Result<Resource> {
    let disk: Arc<dyn BlockDevice> = Arc::new(MemoryDevice::new(DISK));
    let name = ResourceName::new("shared")?;
    provider::create(&*disk, name.clone(), Create::default(), Existing::Keep).await?;
    let mut settings = Settings::new("shared", "memory");
    settings.remote = Some(peer.into());
    settings.primary.replication = Replication::Fullsync;
    settings.primary.reconnect = EVERY;
    let storage = node.add(name, settings, disk)?;
    storage.set_role(Role::Secondary).await?;
    Ok(storage)
}

/// In the place of a service address: a listener that only the master has.
struct Listener {
    name: String,
    service: SocketAddr,
    storage: Resource,
    task: Option<JoinHandle<()>>,
}

#[async_trait]
impl Effects for Listener {
    async fn acquire(&mut self, _: &Service) -> io::Result<()> {
        if self.task.is_none() {
            let role = self.storage.set_role(Role::Primary).await;
            role.map_err(io::Error::other)?;
            let device = self.storage.device().await.map_err(io::Error::other)?;
            // Binds with SO_REUSEADDR: connections of the former master may still linger.
            let listener = tokio::net::TcpListener::bind(self.service).await?;
            let name = self.name.clone();
            self.task = Some(tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let _ = answer(client, &name, &*device).await;
                }
            }));
        }
        Ok(())
    }

    async fn release(&mut self, _: &Service) -> io::Result<()> {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await; // Only when it has ended, the listener is closed.
        }
        let role = self.storage.set_role(Role::Secondary).await;
        role.map(drop).map_err(io::Error::other)
    }

    async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
        Ok(()) // A listener has no neighbours to tell.
    }
}

/// Serves a client: stores a number in the record of this number, or looks what is there; then
/// says so, with the name of the host and the tag of the run.
async fn answer(
    mut client: tokio::net::TcpStream,
    name: &str,
    device: &dyn BlockDevice,
) -> io::Result<()> {
    let store = client.read_u8().await? == STORE;
    let number = client.read_u64().await?;
    let offset = number.saturating_mul(RECORD.into());
    if store {
        let record = number.to_be_bytes().repeat(RECORD as usize / 8);
        device.write(offset, record.into()).await?;
    }
    let record = device.read(offset, RECORD).await?.concat();
    let found = record
        .first_chunk()
        .map_or(0, |found| u64::from_be_bytes(*found));
    client.write_all(format!("{name} {found}").as_bytes()).await
}

// The play: start them, kill one, let it come back, stop the other one, and look.

fn play() -> Result<ExitCode> {
    let stage = Stage::build()?;
    let names = HOSTS.map(|(name, _)| name).into_iter();
    let mut hosts = names
        .map(|name| stage.start(name))
        .collect::<Result<Vec<_>>>()?;
    let mut client = Client::new(&stage);
    client.wait_for_another()?;
    // It advertises when it takes over, which the client has just seen, and once an interval from
    // then on.
    client.look_on(2 * ADVBASE + LAST_WORDS)?;
    let first = client.master.clone();
    find(&mut hosts, &first)?.child.kill()?;
    client.say(&format!("kill -9 {first}"));
    let crash = client.wait_for_another()?;
    let crash_bound = 3 * ADVBASE + ADVBASE * u32::from(advskew(&client.master)) / 256 + EVERY;
    let mut missing = client.read_back();

    client.say(&format!("start {first} again"));
    *find(&mut hosts, &first)? = stage.start(&first)?;
    client.look_on(2 * ADVBASE)?;
    client.say(&format!("stop {}", client.master));
    drop(find(&mut hosts, &client.master)?.child.stdin.take());
    let polite = client.wait_for_another()?;
    client.look_on(ADVBASE)?;
    missing += client.read_back();

    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (c, p) = (ms(crash), ms(polite));
    print("\noutage     measured        bound");
    print(&format!(
        "crash   {c:8.1} ms  {:8.1} ms  3 x advbase + advskew/256 s + 20 ms",
        ms(crash_bound)
    ));
    print(&format!("polite  {p:8.1} ms  {:8.1} ms", ms(POLITE_BOUND)));
    let stored = client.stored;
    print(&format!(
        "\n{stored} writes were acknowledged, {missing} are missing"
    ));
    if crash <= crash_bound && polite <= POLITE_BOUND && missing == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    print("a promise is broken");
    Ok(ExitCode::FAILURE)
}

/// Where they play: the addresses, and the tag of this run, which is the time when it began.
struct Stage {
    service: SocketAddr,
    seats: [Seat; 2],
    began: u64,
    _reserved: Vec<UdpSocket>,
}

/// The addresses of one host.
struct Seat {
    name: &'static str,
    storage: SocketAddr,
    carp: SocketAddr,
}

impl Stage {
    fn build() -> Result<Self> {
        // Ports that are free now, and below those that systems give to clients, or a client could
        // be given that very port and be connected to itself. A UDP socket of the same number keeps
        // each from another run of this program.
        let reserve = |port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let reserved = UdpSocket::bind(address).ok()?;
            let free = TcpListener::bind(address).is_ok();
            free.then_some((address, reserved))
        };
        let free = (7_200..10_000).filter_map(reserve).take(3);
        let (addresses, reserved): (Vec<_>, Vec<_>) = free.unzip();
        let [service, one, other] = *addresses else {
            return Err("no ports are free".into());
        };
        let seat = |(name, _), storage| -> io::Result<Seat> {
            Ok(Seat {
                name,
                storage,
                carp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?,
            })
        };
        let [first, second] = HOSTS;
        Ok(Self {
            service,
            seats: [seat(first, one)?, seat(second, other)?],
            began: u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?,
            _reserved: reserved,
        })
    }

    /// Starts a host.
    fn start(&self, name: &str) -> Result<Host> {
        let (own, peer) = match &self.seats {
            [own, peer] if own.name == name => (own, peer),
            [peer, own] => (own, peer),
        };
        let addresses = [self.service, own.storage, peer.storage, own.carp, peer.carp];
        let child = Command::new(env::current_exe()?)
            .args([name, &self.began.to_string()])
            .args(addresses.map(|address| address.to_string()))
            .stdin(Stdio::piped())
            .spawn()?;
        let name = own.name;
        Ok(Host { name, child })
    }
}

/// A process, killed when this is dropped, whatever happens.
struct Host {
    name: &'static str,
    child: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find<'a>(hosts: &'a mut [Host], name: &str) -> Result<&'a mut Host> {
    let found = hosts.iter_mut().find(|host| host.name == name);
    Ok(found.ok_or("unknown")?)
}

/// Has the service store one number after the other.
struct Client {
    service: SocketAddr,
    began: u64,
    /// All up to this number are stored, as was acknowledged.
    stored: u64,
    /// Who answered last, and when.
    master: String,
    answered: Instant,
    /// When it asked last.
    asked: Instant,
}

impl Client {
    fn new(stage: &Stage) -> Self {
        let now = Instant::now();
        Self {
            service: stage.service,
            began: stage.began,
            stored: 0,
            master: String::new(),
            answered: now,
            asked: now,
        }
    }

    /// Has the next number stored, this long after the last time, and says by whom; nobody is an
    /// empty name. What nobody has acknowledged is the next number still.
    fn ask(&mut self, pause: Duration) -> String {
        thread::sleep(pause.saturating_sub(self.asked.elapsed()));
        self.asked = Instant::now();
        let next = self.stored + 1;
        let name = self.exchange(STORE, next).unwrap_or_default();
        if !name.is_empty() {
            self.stored = next;
        }
        name
    }

    /// Counts the acknowledged numbers that are not there.
    fn read_back(&self) -> usize {
        let numbers = 1..=self.stored;
        let is_missing = |number: &u64| self.exchange(LOOK, *number).is_err();
        let missing = numbers.filter(is_missing).count();
        self.say(&format!(
            "{} writes read back from {}, {missing} missing",
            self.stored, self.master
        ));
        missing
    }

    /// Gives the name of the host that has a number stored.
    fn exchange(&self, what: u8, number: u64) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.service, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[&[what][..], &number.to_be_bytes()].concat())?;
        let mut heard = String::new();
        stream.take(64).read_to_string(&mut heard)?;
        let (name, _) = heard.split_once(' ').unwrap_or_default();
        match heard == format!("{name} {} {number}", self.began) {
            true => Ok(name.to_owned()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Asks until another host answers than before. Gives how long there was no answer.
    fn wait_for_another(&mut self) -> Result<Duration> {
        let limit = Instant::now() + 20 * ADVBASE;
        while Instant::now() < limit {
            let name = self.ask(CLOSELY);
            if !name.is_empty() {
                let before = core::mem::replace(&mut self.answered, Instant::now());
                if name != self.master {
                    self.say(&format!("{name} answers"));
                    self.master = name;
                    return Ok(self.answered - before);
                }
            }
        }
        Err("nobody takes over".into())
    }

    /// Goes on asking for some time, in which the same host must answer.
    fn look_on(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.ask(EVERY.min(left)) != self.master {
                return Err(format!("{} does not answer any more", self.master).into());
            }
            self.answered = Instant::now();
        }
    }

    fn say(&self, what: &str) {
        say(self.began, "client", what);
    }
}

fn advskew(name: &str) -> u8 {
    HOSTS
        .into_iter()
        .find(|(other, _)| *other == name)
        .map_or(0, |(_, advskew)| advskew)
}

/// Prints what a host decides; what it did about it, and how long that took, is left out.
fn tell(began: u64, name: &str, kind: &EventKind) {
    if !matches!(kind, EventKind::Done { .. }) {
        say(began, name, &kind.to_string());
    }
}

/// Prints a line of the timeline. All processes count from the same moment of Unix time.
fn say(began: u64, who: &str, what: &str) {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    let time = now
        .saturating_sub(Duration::from_millis(began))
        .as_secs_f64();
    print(&format!("{time:7.3} s  {who:6}  {what}"));
}

/// Prints a line. Whoever reads may be gone, and then this still has to end well.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

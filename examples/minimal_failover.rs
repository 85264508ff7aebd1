//! How does failover look? Three processes, a service, and a client that keeps asking.
//!
//!     cargo run --release --example minimal_failover
//!
//! Each process is a CARP host. They exchange signed advertisements over UDP on the loopback
//! interface, so nothing here needs root. A service address would; in its place stands a TCP
//! listener that only the MASTER opens, and that answers with the name of its host and a tag of
//! this run, so that nobody else is taken for one of them.
//!
//! The first master is killed: its backup hears nothing for 3 x advbase + advskew/256 s, then
//! takes over. The second is stopped politely: it closes the listener, then bows out, and the
//! third takes over at once. The outages are measured as the client sees them, and the program
//! fails if one exceeds what the protocol promises.

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
use std::thread;
use std::time::{Instant, UNIX_EPOCH};

use ha_core::carp_proto::{AdvSkew, Config, Family, Key, Vhid};
use ha_core::io::{
    Driver, Effects, EventKind, Limits, Service, Setup, UdpTransport, async_trait,
    increasing_from_clock,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Result<T> = core::result::Result<T, Box<dyn Error>>;

/// The hosts, and how good each is: the lower the advskew, the better.
const HOSTS: [(&str, u8); 3] = [("ada", 0), ("bob", 50), ("cyd", 100)];
const ADVBASE: Duration = Duration::from_secs(1);
/// How long after an advertisement the first master dies: nearly the worst moment, with a little
/// left over for a busy machine that lets the processes wait.
const LAST_WORDS: Duration = Duration::from_millis(25);
/// How long the client waits for an answer at most.
const PATIENCE: Duration = Duration::from_millis(200);
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
    let [service, local, peers @ ..] = addresses else {
        return Err("addresses missing".into());
    };
    let mut config = Config::new(Vhid::new(1)?);
    config.settings.advskew = AdvSkew::new(advskew(name))?;
    config.counter = increasing_from_clock();
    let key = Key::from_passphrase(b"not a secret");
    let shared = [Ipv4Addr::new(192, 0, 2, 1).into()];
    let listener = Listener {
        answer: answer(name, began),
        service: *service,
        task: None,
    };

    let mut driver = Driver::new(Limits::default());
    let segment = driver.add_segment(UdpTransport::bind(&[*local], peers)?);
    driver.add(segment, Setup::new(config, key, &shared, listener))?;
    let (handle, mut events) = (driver.handle(), driver.events());
    let running = tokio::spawn(driver.run());
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || stop.send(io::stdin().read(&mut [0])));
    let stopping = tokio::spawn(async move {
        let _ = stopped.await;
        handle.shutdown().await
    });
    // The events end with the driver.
    while let Some(event) = events.next().await {
        tell(began, name, &event.kind);
    }
    stopping.await??;
    Ok(running.await??)
}

/// In the place of a service address: a listener that only the master has.
struct Listener {
    answer: String,
    service: SocketAddr,
    task: Option<JoinHandle<()>>,
}

#[async_trait]
impl Effects for Listener {
    async fn acquire(&mut self, _: &Service) -> io::Result<()> {
        if self.task.is_none() {
            // Binds with SO_REUSEADDR: connections of the former master may still linger.
            let listener = tokio::net::TcpListener::bind(self.service).await?;
            let answer = self.answer.clone();
            self.task = Some(tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let _ = client.write_all(answer.as_bytes()).await;
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
        Ok(())
    }

    async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
        Ok(()) // A listener has no neighbours to tell.
    }
}

// The play: start them, kill one, stop one, and look.

fn play() -> Result<ExitCode> {
    let (mut hosts, mut client, _reserved) = start()?;
    client.wait_for_another()?;
    // It advertises when it takes over, which the client has just seen, and once an interval from
    // then on.
    client.look_on(2 * ADVBASE + LAST_WORDS)?;
    hosts
        .iter_mut()
        .find(|h| h.name == client.master)
        .ok_or("unknown")?
        .child
        .kill()?;
    client.say(&format!("kill -9 {}", client.master));
    let crash = client.wait_for_another()?;
    let crash_bound = 3 * ADVBASE + ADVBASE * u32::from(advskew(&client.master)) / 256 + EVERY;

    client.look_on(2 * ADVBASE)?;
    client.say(&format!("stop {}", client.master));
    drop(
        hosts
            .iter_mut()
            .find(|h| h.name == client.master)
            .and_then(|h| h.child.stdin.take()),
    );
    let polite = client.wait_for_another()?;
    client.look_on(ADVBASE)?;

    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (c, p) = (ms(crash), ms(polite));
    print("\noutage     measured        bound");
    print(&format!(
        "crash   {c:8.1} ms  {:8.1} ms  3 x advbase + advskew/256 s + 20 ms",
        ms(crash_bound)
    ));
    print(&format!("polite  {p:8.1} ms  {:8.1} ms", ms(POLITE_BOUND)));
    if crash <= crash_bound && polite <= POLITE_BOUND {
        return Ok(ExitCode::SUCCESS);
    }
    print("a bound is missed");
    Ok(ExitCode::FAILURE)
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

/// Starts all, and gives what reserves the port of the service.
fn start() -> Result<(Vec<Host>, Client, UdpSocket)> {
    // Ports that are free now. That of the service is below those that systems give to clients,
    // or a client could be given that very port and be connected to itself. A UDP socket of the
    // same number keeps it from another run of this program.
    let reserve = |port| {
        let service = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let reserved = UdpSocket::bind(service).ok()?;
        TcpListener::bind(service)
            .is_ok()
            .then_some((service, reserved))
    };
    let found = (7_200..10_000).find_map(reserve);
    let (service, reserved) = found.ok_or("no port is free")?;
    let sockets = HOSTS.map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr());
    let peers = sockets.into_iter().collect::<io::Result<Vec<_>>>()?;

    let began = u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?;
    let mut hosts = Vec::new();
    for ((name, _), local) in HOSTS.into_iter().zip(&peers) {
        let child = Command::new(env::current_exe()?)
            .args([name, &began.to_string()])
            .args(
                [service, *local]
                    .iter()
                    .chain(&peers)
                    .map(SocketAddr::to_string),
            )
            .stdin(Stdio::piped())
            .spawn()?;
        hosts.push(Host { name, child });
    }
    let now = Instant::now();
    let client = Client {
        service,
        began,
        master: String::new(),
        answered: now,
        asked: now,
    };
    Ok((hosts, client, reserved))
}

/// Asks the service who it is, again and again.
struct Client {
    service: SocketAddr,
    began: u64,
    /// Who answered last, and when.
    master: String,
    answered: Instant,
    /// When it asked last.
    asked: Instant,
}

impl Client {
    /// Asks once, this long after the last time; nobody is an empty name.
    fn ask(&mut self, pause: Duration) -> String {
        thread::sleep(pause.saturating_sub(self.asked.elapsed()));
        self.asked = Instant::now();
        let heard = self.hear().unwrap_or_default();
        let (name, _) = heard.split_once(' ').unwrap_or_default();
        if heard == answer(name, self.began) {
            name.into()
        } else {
            String::new()
        }
    }

    fn hear(&self) -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&self.service, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut heard = String::new();
        stream.take(64).read_to_string(&mut heard)?;
        Ok(heard)
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

/// What a host answers: its name, and the tag of this run.
fn answer(name: &str, began: u64) -> String {
    format!("{name} {began}")
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

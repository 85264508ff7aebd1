//! The status socket: a client connects, sends a command in one line or nothing, and reads one
//! JSON document to the end.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ha_core::carp_proto::vrrp::Vrrp;
use ha_core::carp_proto::{Dialect, FreeBsd, OpenBsd, State, Stats};
use ha_core::io::{Handle, HostStatus, Status};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::config::HostName;
use super::log::Names;
use super::vhost::Rules;
use super::{clients, socket};

/// User and group may connect.
const MODE: u32 = 0o660;
/// How many clients are served at a time; others wait.
const CLIENTS: usize = 16;
/// How long a client may take for all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command is waited for from a client that says nothing.
const SILENCE: Duration = Duration::from_millis(200);
/// The longest command.
const MAX_COMMAND: usize = 256;

/// The socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket. A file that is there is replaced only if it is a socket on which
    /// nobody answers.
    pub(crate) async fn open(path: &Path, handle: Handle, names: Arc<Names>) -> io::Result<Self> {
        let listener = socket::bind(path, MODE).await?;
        let serving = clients::serve(listener, CLIENTS, "status socket", move |client| {
            let (handle, names) = (handle.clone(), names.clone());
            async move { timeout(PATIENCE, answer(client, &handle, &names)).await? }
        });
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(serving),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut client: UnixStream, handle: &Handle, names: &Names) -> io::Result<()> {
    let reply = match read_command(&mut client).await? {
        Ok(command) => obey(&command, handle, names).await,
        Err(error) => Err(error),
    };
    let reply = reply.unwrap_or_else(|error| json!({ "error": error }));
    let mut text = reply.to_string();
    text.push('\n');
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// Reads a line; nothing is one as well. Half of one may be the half of another command.
async fn read_command(client: &mut UnixStream) -> io::Result<Result<String, String>> {
    let mut line = Vec::with_capacity(MAX_COMMAND);
    loop {
        let limit = if line.is_empty() { SILENCE } else { PATIENCE };
        let mut chunk = [0; MAX_COMMAND];
        let count = match timeout(limit, client.read(&mut chunk)).await {
            Ok(count) => count?,
            Err(_) => 0,
        };
        let text = chunk.get(..count).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == b'\n');
        line.extend(text.iter().take(end.unwrap_or(count)));
        if line.len() > MAX_COMMAND {
            return Ok(Err(format!("a command has at most {MAX_COMMAND} bytes")));
        }
        if end.is_some() || count == 0 && line.is_empty() {
            return Ok(Ok(String::from_utf8_lossy(&line).into_owned()));
        }
        if count == 0 {
            return Ok(Err("a command ends with the end of its line".to_owned()));
        }
    }
}

/// A command of a client.
#[derive(Debug, Eq, PartialEq)]
enum Command {
    Status,
    Demote(String, i32),
    Restore(String),
    StepDown(Option<HostName>),
}

fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words.as_slice() {
        [] | ["status"] => Ok(Command::Status),
        ["demote", name, amount] => match amount.parse() {
            Ok(amount) => Ok(Command::Demote((*name).to_owned(), amount)),
            Err(_) => Err(format!("{amount:?} is not a number")),
        },
        ["restore", name] => Ok(Command::Restore((*name).to_owned())),
        ["stepdown"] => Ok(Command::StepDown(None)),
        ["stepdown", name] => name.parse().map(|name| Command::StepDown(Some(name))),
        _ => Err(
            "unknown command; there are: status, demote NAME AMOUNT, restore NAME, \
             stepdown [VHID@INTERFACE]"
                .to_owned(),
        ),
    }
}

async fn obey(line: &str, handle: &Handle, names: &Names) -> Result<Value, String> {
    let text = |error: ha_core::io::CommandError| error.to_string();
    let command = parse(line)?;
    if command != Command::Status {
        info!(?command, "command by the status socket");
    }
    match command {
        Command::Status => {}
        Command::Demote(name, amount) => handle.demote(&name, amount).await.map_err(text)?,
        Command::Restore(name) => handle.restore(&name).await.map_err(text)?,
        Command::StepDown(None) => step_down(handle).await?,
        Command::StepDown(Some(name)) => {
            let host = names
                .find_host(&name)
                .ok_or_else(|| format!("no host {name}"))?;
            handle.force(host, State::Backup).await.map_err(text)?;
        }
    }
    let status = handle.status().await.map_err(text)?;
    Ok(document(&status, names))
}

/// Has all masters give up their roles; a peer takes them, or they come back after the dead
/// time.
pub(crate) async fn step_down(handle: &Handle) -> Result<(), String> {
    let status = handle.status().await.map_err(|error| error.to_string())?;
    for host in status.hosts {
        if host.state == State::Master {
            let forced = handle.force(host.host, State::Backup).await;
            forced.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The status as a client reads it.
pub(crate) fn document(status: &Status, names: &Names) -> Value {
    let reasons = status.reasons.iter();
    let segments = status.segments.iter();
    json!({
        "demotion": status.demotion,
        "reasons": reasons
            .map(|(name, amount)| json!({ "name": **name, "amount": amount }))
            .collect::<Vec<_>>(),
        "hosts": status.hosts.iter().map(|host| one(host, names)).collect::<Vec<_>>(),
        "interfaces": segments
            .map(|segment| json!({
                "name": names.segment(segment.segment),
                "strangers": segment.strangers,
                "stats": stats(&segment.stats),
            }))
            .collect::<Vec<_>>(),
        "stats": stats(&status.stats()),
    })
}

fn one(host: &HostStatus, names: &Names) -> Value {
    let now = Instant::now();
    let until =
        |at: Option<Instant>| at.map(|at| (at.saturating_duration_since(now)).as_secs_f64());
    let dialect = names.dialect(host.host);
    let mut document = json!({
        "interface": names.segment(host.segment),
        "vhid": host.vhid.get(),
        "rules": dialect.and_then(Rules::of),
        "state": host.state.to_string(),
        "addresses": &*host.addresses,
        "serving": host.serving.as_deref(),
        "failed": host.failed.map(|effect| effect.to_string()),
        "pending_effects": host.pending_effects,
        "preempt": host.settings.preempt,
        "counter": format!("{:016x}", host.counter),
        "next_advertisement": until(host.next_advertisement),
        "master_down": until(host.master_down),
        "stats": stats(&host.stats),
    });
    if let Value::Object(document) = &mut document {
        let pace = pace(host, dialect);
        document.extend(pace.map(|(name, value)| (name.to_owned(), value.into())));
    }
    document
}

/// What decides between the hosts of a group, and how often they advertise, by the names that
/// their protocol has for it.
pub(crate) fn pace(host: &HostStatus, dialect: Option<Dialect>) -> [(&'static str, u16); 2] {
    let settings = &host.settings;
    match dialect {
        Some(Dialect::Vrrp(_)) => [
            ("priority", settings.priority.get().into()),
            ("interval", settings.adver_interval.get()),
        ],
        _ => [
            ("advbase", settings.advbase.get().into()),
            ("advskew", settings.advskew.get().into()),
        ],
    }
}

fn stats(stats: &Stats) -> Map<String, Value> {
    stats
        .named()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect()
}

impl Rules {
    /// Those that a machine follows, if they have a name here.
    pub(crate) fn of(dialect: Dialect) -> Option<Self> {
        Some(match dialect {
            Dialect::FreeBsd(FreeBsd::From14) => Self::Freebsd,
            Dialect::FreeBsd(FreeBsd::From10To13) => Self::Freebsd10,
            Dialect::OpenBsd(OpenBsd::Since2025) => Self::Openbsd,
            Dialect::OpenBsd(OpenBsd::Before2025) => Self::OpenbsdOld,
            Dialect::UCarp(_) => Self::Ucarp,
            Dialect::Vrrp(Vrrp::Rfc9568) => Self::Vrrp,
            Dialect::Vrrp(Vrrp::FreeBsd15) => Self::VrrpFreebsd,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use ha_core::carp_proto::{Config, Family, Key, Vhid};
    use ha_core::io::{Driver, Effects, Limits, Service, Setup, UdpTransport, async_trait};

    use super::*;

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

    /// A driver with one master, and the names of it.
    async fn master() -> (Handle, Arc<Names>) {
        let config = Config::new(Vhid::new(1).unwrap());
        master_by(config, |config, shared| {
            Setup::new(config, Key::none(), shared, Nothing)
        })
        .await
    }

    async fn master_by(
        config: Config,
        setup: impl Fn(Config, &[IpAddr]) -> Setup,
    ) -> (Handle, Arc<Names>) {
        let mut driver = Driver::new(Limits::default());
        let transport = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], &[]).unwrap();
        let segment = driver.add_segment(transport);
        let shared: IpAddr = "192.0.2.1".parse().unwrap();
        let dialect = config.dialect;
        let setup = setup(config, &[shared]);
        let host = driver.add(segment, setup).unwrap();
        let handle = driver.handle();
        tokio::spawn(driver.run());
        let names = Arc::new(Names::default());
        names.add_segment(segment, "eth0".to_owned());
        names.add_host(host, "1@eth0".parse().unwrap(), dialect);
        handle.force(host, State::Master).await.unwrap();
        (handle, names)
    }

    async fn ask(path: &Path, command: &str) -> Value {
        let mut client = UnixStream::connect(path).await.unwrap();
        client.write_all(command.as_bytes()).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Says no more than this.
    async fn ask_and_end(path: &Path, command: &str) -> Value {
        let mut client = UnixStream::connect(path).await.unwrap();
        client.write_all(command.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[tokio::test]
    async fn a_router_has_priority_and_interval() {
        let mut config = Config::new(Vhid::new(1).unwrap());
        config.dialect = Rules::Vrrp.dialect(None);
        let (handle, names) = master_by(config, |config, shared| {
            Setup::vrrp(config, shared, Nothing)
        })
        .await;
        let status = document(&handle.status().await.unwrap(), &names);
        let host = &status["hosts"][0];
        assert_eq!(host["rules"], "vrrp");
        assert_eq!(
            (&host["priority"], &host["interval"]),
            (&json!(100), &json!(100))
        );
        assert_eq!((host.get("advbase"), host.get("advskew")), (None, None));
    }

    #[tokio::test]
    async fn clients_read_the_status_and_give_commands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (handle, names) = master().await;
        let control = Control::open(&path, handle, names).await.unwrap();
        // With a command, with an empty line, and with nothing at all.
        for command in ["status\n", "\n", ""] {
            let status = ask(&path, command).await;
            let host = &status["hosts"][0];
            assert_eq!(host["interface"], "eth0");
            assert_eq!(host["vhid"], 1);
            assert_eq!(host["state"], "MASTER");
            assert_eq!(host["addresses"], json!(["192.0.2.1"]));
            assert_eq!(host["serving"], json!(["192.0.2.1"]));
            assert_eq!(host["failed"], Value::Null);
            assert_eq!(host["rules"], "freebsd");
            assert_eq!((&host["advbase"], &host["advskew"]), (&json!(1), &json!(0)));
            assert_eq!((host.get("priority"), host.get("interval")), (None, None));
            assert_eq!(host["stats"]["opackets"], 1);
            assert_eq!(host["counter"].as_str().unwrap().len(), 16);
            assert_eq!(status["demotion"], 0);
            assert_eq!(status["interfaces"][0]["name"], "eth0");
        }
        let status = ask(&path, "demote backup 20\n").await;
        assert_eq!(status["demotion"], 20);
        assert_eq!(
            status["reasons"],
            json!([{ "name": "backup", "amount": 20 }])
        );
        assert_eq!(ask(&path, "restore backup\n").await["demotion"], 0);
        let error = &ask(&path, "stepdown 2@eth0\n").await["error"];
        assert_eq!(error, "no host 2@eth0");
        let status = ask(&path, "stepdown 1@eth0\n").await;
        assert_eq!(status["hosts"][0]["state"], "BACKUP");
        assert_eq!(
            ask(&path, "stepdown\n").await["hosts"][0]["state"],
            "BACKUP"
        );

        let error = ask(&path, "reboot\n").await["error"].clone();
        assert!(error.as_str().unwrap().starts_with("unknown command"));
        let error = ask(&path, "demote x y\n").await["error"].clone();
        assert_eq!(error, "\"y\" is not a number");
        for half in ["demote backup 2", "stepdown", "status"] {
            let error = ask_and_end(&path, half).await["error"].clone();
            assert_eq!(error, "a command ends with the end of its line");
        }
        assert_eq!(ask_and_end(&path, "").await["demotion"], 0);
        let error = ask(&path, &"x".repeat(2 * MAX_COMMAND)).await["error"].clone();
        assert_eq!(error, "a command has at most 256 bytes");
        drop(control);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn clients_that_say_nothing_more_do_not_keep_others_out_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (handle, names) = master().await;
        let _control = Control::open(&path, handle, names).await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(b"sta").await.unwrap();
            idle.push(client);
        }
        let began = Instant::now();
        assert_eq!(ask(&path, "status\n").await["demotion"], 0);
        assert!(began.elapsed() < 2 * PATIENCE);
    }

    #[test]
    fn commands_are_lines_of_words() {
        assert_eq!(parse(""), Ok(Command::Status));
        assert_eq!(parse(" status "), Ok(Command::Status));
        assert_eq!(
            parse("demote a -5"),
            Ok(Command::Demote("a".to_owned(), -5))
        );
        assert_eq!(parse("restore a"), Ok(Command::Restore("a".to_owned())));
        assert_eq!(parse("stepdown"), Ok(Command::StepDown(None)));
        let name = "7@eth1".parse().unwrap();
        assert_eq!(parse("stepdown 7@eth1"), Ok(Command::StepDown(Some(name))));
        for wrong in ["stepdown 0@eth0", "stepdown eth0", "demote a", "status now"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! The service: it appends each record that it is sent to a log, and acknowledges it when the disk
//! has it.
//!
//! A request is a record: the number of its stream and its number in it, counted from 1. The
//! answer says what has become of it, who says so, and when, by the clock that all nodes share.
//! A record that is there already is acknowledged and not appended again; one that would leave a
//! gap is refused, because what is missing was acknowledged once.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};

pub(crate) const PORT: u16 = 7000;
/// The stream whose records are questions for the whole log.
const DUMP: u8 = u8::MAX;
/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A record of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) stream: u8,
    pub(crate) number: u64,
}

impl Record {
    /// Octets of a record, on the wire and in the log.
    pub(crate) const LEN: usize = 16;

    pub(crate) fn octets(self) -> [u8; Self::LEN] {
        let mut octets = [b'.'; Self::LEN];
        octets[..8].copy_from_slice(&self.number.to_be_bytes());
        octets[8] = self.stream;
        octets[Self::LEN - 1] = b'\n';
        octets
    }

    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let record = Self {
            number: u64::from_be_bytes(octets.get(..8)?.try_into().ok()?),
            stream: *octets.get(8)?,
        };
        (octets == record.octets()).then_some(record)
    }
}

/// What the service says of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Whether it is in the log.
    pub(crate) is_stored: bool,
    /// The node.
    pub(crate) node: u8,
    /// The start of the service, of which there are not two with the same number.
    pub(crate) start: u64,
    /// When it said so.
    pub(crate) at: Duration,
}

impl Answer {
    pub(crate) const LEN: usize = 18;

    fn octets(self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        octets[0] = self.is_stored.into();
        octets[1] = self.node;
        octets[2..10].copy_from_slice(&self.start.to_be_bytes());
        let nanoseconds = u64::try_from(self.at.as_nanos()).expect("a time since boot");
        octets[10..].copy_from_slice(&nanoseconds.to_be_bytes());
        octets
    }

    pub(crate) fn parse(octets: &[u8; Self::LEN]) -> Self {
        let number = |at: usize| {
            let octets = octets[at..at + 8].try_into().expect("8 octets");
            u64::from_be_bytes(octets)
        };
        Self {
            is_stored: octets[0] != 0,
            node: octets[1],
            start: number(2),
            at: Duration::from_nanos(number(10)),
        }
    }
}

/// The time since boot, which is the same in all processes.
pub(crate) fn clock() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::try_from(time).expect("a time after boot")
}

/// Asks the service at this address for all that it has.
pub(crate) fn dump(stream: &mut TcpStream) -> io::Result<Vec<Record>> {
    let question = Record {
        stream: DUMP,
        number: 0,
    };
    stream.write_all(&question.octets())?;
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets)?;
    parse_log(&octets)
}

fn parse_log(octets: &[u8]) -> io::Result<Vec<Record>> {
    let records = octets.chunks(Record::LEN).enumerate().map(|(at, octets)| {
        Record::parse(octets)
            .ok_or_else(|| io::Error::other(format!("record {at} of the log is {octets:?}")))
    });
    records.collect()
}

/// The words of `service NODE LOG`, `service-start NODE LOG` and `service-stop` and `service-kill`.
pub(crate) fn main(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["service", node, log] => run(node, Path::new(log)),
        ["service-start", node, log] => start(node, log),
        ["service-stop"] => stop(Signal::SIGTERM),
        ["service-kill"] => stop(Signal::SIGKILL),
        _ => Err(io::Error::other("these are not words for a service")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Where the process of the service is to be found.
pub(crate) fn pid_file() -> PathBuf {
    "/run/service.pid".into()
}

/// Starts the service in a session of its own, and waits until it serves.
fn start(node: &str, log: &str) -> io::Result<()> {
    // Not to whoever captures what this command prints, and waits for its end.
    let complaints = File::options()
        .create(true)
        .append(true)
        .open("/run/service.log")?;
    let mut child = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .args(["service", node, log])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints)
        .spawn()?;
    let mut ready = String::new();
    let mut output = child.stdout.take().expect("a pipe");
    output.read_to_string(&mut ready)?;
    if ready == "ready\n" {
        return Ok(());
    }
    let (status, log) = (child.wait()?, fs::read_to_string("/run/service.log")?);
    Err(io::Error::other(format!("{status}\n{log}")))
}

/// Ends the service, and waits until it has ended.
fn stop(signal: Signal) -> io::Result<()> {
    let Ok(pid) = fs::read_to_string(pid_file()) else {
        return Ok(());
    };
    let pid = Pid::from_raw(pid.trim().parse().map_err(io::Error::other)?);
    let begin = Instant::now();
    let mut result = kill(pid, signal);
    while result.is_ok() {
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other("it does not end"));
        }
        thread::sleep(Duration::from_millis(1));
        result = kill(pid, None);
    }
    let _ = fs::remove_file(pid_file());
    Ok(())
}

/// The log, and what is in it.
struct Log {
    file: File,
    last: BTreeMap<u8, u64>,
    path: PathBuf,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let mut octets = Vec::new();
        file.read_to_end(&mut octets)?;
        let mut last = BTreeMap::new();
        for record in parse_log(&octets)? {
            let before = last.insert(record.stream, record.number).unwrap_or(0);
            if record.number != before + 1 {
                return Err(io::Error::other(format!("{record:?} follows {before}")));
            }
        }
        // The file itself may be new.
        File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()?;
        Ok(Self {
            file,
            last,
            path: path.to_owned(),
        })
    }

    /// Whether the record is in the log now.
    fn take(&mut self, record: Record) -> io::Result<bool> {
        let last = self.last.entry(record.stream).or_insert(0);
        if record.number <= *last {
            return Ok(true);
        }
        if record.number > *last + 1 {
            return Ok(false);
        }
        self.file.write_all(&record.octets())?;
        self.file.sync_data()?;
        *last = record.number;
        Ok(true)
    }
}

/// The service itself.
fn run(node: &str, path: &Path) -> io::Result<()> {
    let node = node.parse().map_err(io::Error::other)?;
    fs::write(pid_file(), process::id().to_string())?;
    let log = Arc::new(Mutex::new(Log::open(path)?));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let start = u64::try_from(clock().as_nanos()).map_err(io::Error::other)?;
    println!("ready");
    io::stdout().flush()?;
    // Whoever started it waits for the end of the pipe.
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    for stream in listener.incoming() {
        let (stream, log) = (stream?, log.clone());
        thread::spawn(move || serve(stream, &log, node, start));
    }
    Ok(())
}

/// Serves a client until it is gone. A log that cannot be written is the end of the service: what
/// the disk has of it is not known any more.
fn serve(mut client: TcpStream, log: &Mutex<Log>, node: u8, start: u64) {
    let _ = client.set_nodelay(true);
    let mut octets = [0; Record::LEN];
    while client.read_exact(&mut octets).is_ok() {
        let Some(record) = Record::parse(&octets) else {
            return;
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = if record.stream == DUMP {
            fs::read(&log.path).map(|octets| {
                let length = u64::try_from(octets.len()).unwrap_or(0);
                [&length.to_be_bytes()[..], &octets].concat()
            })
        } else {
            log.take(record).map(|is_stored| {
                let at = clock();
                let answer = Answer {
                    is_stored,
                    node,
                    start,
                    at,
                };
                answer.octets().to_vec()
            })
        };
        drop(log);
        match answer {
            Ok(answer) if client.write_all(&answer).is_ok() => {}
            Ok(_) => return,
            Err(error) => {
                eprintln!("the log: {error}");
                process::exit(1);
            }
        }
    }
}

//! Health checks against real sockets, files and processes of this host.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "real sockets and processes take real time"
)]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::process;

use ha_core::failover::{Data, NodeSet, Peer, StorageRole, StorageStatus, Unfit};
use ha_core::io::failover::{
    CheckError, Command, FileAge, FreeSpace, HttpError, HttpGet, PidFile, Probe, ProcessName,
    Replication, StorageReport, TcpConnect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// An address at which nobody listens, nor can as long as the socket is there.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A server that says this to each connection, again and again or once, and then closes it.
async fn server(answer: Vec<u8>, times: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let request = request.get(..length).unwrap();
            assert!(request.starts_with(b"GET /health HTTP/1.1\r\nHost: here\r\n"));
            assert!(request.ends_with(b"\r\n\r\n"));
            for _ in 0..times {
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

fn http(error: CheckError) -> HttpError {
    match error {
        CheckError::Http(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_connection_is_accepted_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    TcpConnect::new(listener.local_addr().unwrap())
        .look()
        .await
        .unwrap();
    let (_socket, address) = nobody();
    let refused = TcpConnect::new(address).look().await;
    assert!(matches!(refused, Err(CheckError::Io(_))), "{refused:?}");
}

#[tokio::test]
async fn an_answer_over_http_is_well_or_not() {
    let get = |address| HttpGet::new(address, "here", "/health").unwrap();
    let good = server(b"HTTP/1.1 200 OK\r\n\r\nfine".to_vec(), 1).await;
    get(good).look().await.unwrap();
    get(good).expect("fine").look().await.unwrap();
    let error = get(good).expect("better").look().await.unwrap_err();
    assert_eq!(http(error), HttpError::Unexpected);
    let bad = server(b"HTTP/1.1 503 Sorry\r\n\r\n".to_vec(), 1).await;
    let error = get(bad).look().await.unwrap_err();
    assert_eq!(http(error), HttpError::Status { status: 503 });
    let silent = server(Vec::new(), 1).await;
    assert_eq!(
        http(get(silent).look().await.unwrap_err()),
        HttpError::NotHttp
    );
    let (_socket, address) = nobody();
    assert!(get(address).look().await.is_err());
}

#[tokio::test]
async fn a_server_that_never_ends_is_read_up_to_a_bound() {
    let mut line = b"HTTP/1.1 200 OK\r\n".to_vec();
    line.resize(4096, b'x');
    let flood = server(line, usize::MAX).await;
    let get = HttpGet::new(flood, "here", "/health")
        .unwrap()
        .expect("the end");
    let error = timeout(5 * SECOND, get.look()).await.unwrap().unwrap_err();
    assert_eq!(http(error), HttpError::Unexpected);
}

#[tokio::test]
async fn a_file_is_young_or_old() {
    let file = tempfile::NamedTempFile::new().unwrap();
    FileAge::new(file.path(), 60 * SECOND).look().await.unwrap();
    let past = std::time::SystemTime::now() - 100 * SECOND;
    file.as_file().set_modified(past).unwrap();
    let old = FileAge::new(file.path(), 60 * SECOND).look().await;
    assert!(matches!(old, Err(CheckError::Stale { .. })), "{old:?}");
    let future = std::time::SystemTime::now() + 100 * SECOND;
    file.as_file().set_modified(future).unwrap();
    FileAge::new(file.path(), SECOND).look().await.unwrap();
    let gone = FileAge::new("/no/such", SECOND).look().await;
    assert!(matches!(gone, Err(CheckError::Io(_))), "{gone:?}");
}

#[tokio::test]
async fn there_is_room_or_not() {
    FreeSpace::new("/", 1).look().await.unwrap();
    let full = FreeSpace::new("/", u64::MAX).look().await;
    assert!(matches!(full, Err(CheckError::Full { .. })), "{full:?}");
    assert!(FreeSpace::new("/no/such", 1).look().await.is_err());
}

#[tokio::test]
async fn a_process_is_there_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let probe = PidFile::new(&path);
    assert!(matches!(probe.look().await, Err(CheckError::Io(_))));
    for (text, is_number) in [
        ("", false),
        ("no", false),
        ("-1", false),
        ("0", false),
        ("4194305", true),
    ] {
        fs::write(&path, text).unwrap();
        match (probe.look().await, is_number) {
            (Err(CheckError::NoNumber), false) | (Err(CheckError::NoProcess), true) => {}
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
    fs::write(&path, format!("{}\n", process::id())).unwrap();
    probe.look().await.unwrap();
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    ProcessName::new(own.trim()).look().await.unwrap();
    let none = ProcessName::new("no such name").look().await;
    assert!(matches!(none, Err(CheckError::NoProcess)), "{none:?}");
}

#[tokio::test]
async fn a_command_tells_how_it_is() {
    Command::new("true").look().await.unwrap();
    let bad = Probe::look(&Command::new("sh").args(["-c", "echo ill; exit 1"])).await;
    assert!(bad.unwrap_err().to_string().ends_with("ill"));
    let slow = Command::new("sleep").arg("1000").timeout(SECOND / 10);
    assert!(matches!(slow.look().await, Err(CheckError::Command(_))));
}

#[tokio::test]
async fn storage_is_up_to_date_or_not() {
    let (sender, reports) = watch::channel(StorageReport::default());
    let probe = Replication::new(reports);
    let unknown = probe.look().await;
    assert!(
        matches!(unknown, Err(CheckError::Storage(Unfit::Unknown))),
        "{unknown:?}"
    );
    sender.send_replace(StorageReport {
        status: StorageStatus {
            role: StorageRole::Secondary,
            data: Data::UpToDate,
            peer: Peer::Primary,
            current: NodeSet::EMPTY,
        },
        wish: None,
    });
    probe.look().await.unwrap();
}

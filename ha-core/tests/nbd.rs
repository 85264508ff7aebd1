//! The NBD server over real sockets.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "helpers of tests, which wait for real sockets"
)]

mod devices;
mod nbd_client;

use core::future::Future;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use devices::FaultyDevice;
use ha_core::io::block::{BlockDevice, MemoryDevice};
use ha_core::io::nbd::{ConnectionError, Export, ExportError, Limits, Listener, Server};
use nbd_client::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SIZE: u64 = 64 << 20;

/// A server with one export, "disk".
fn serving(limits: Limits) -> (Server, Arc<FaultyDevice>) {
    let server = Server::new(limits);
    let device = Arc::new(FaultyDevice::new(SIZE));
    server.add(Export::new("disk", device.clone())).unwrap();
    (server, device)
}

type Serving = JoinHandle<Result<(), ConnectionError>>;

/// A connection within this process.
fn connect(server: &Server) -> (DuplexStream, Serving) {
    let (ours, theirs) = duplex(64 * 1024);
    let server = server.clone();
    (
        ours,
        tokio::spawn(async move { server.serve(theirs).await }),
    )
}

async fn choose(server: &Server) -> (Client<DuplexStream>, Serving) {
    let (stream, serving) = connect(server);
    (Client::choose(stream, "disk").await, serving)
}

/// Nothing here takes long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.unwrap()
}

/// The path of a socket that does not exist.
fn socket() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ha-nbd-{}-{number}", std::process::id()))
}

/// Everything that a client does.
async fn uses<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) {
    let data: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 512) as u8).collect();
    assert_eq!(client.write(4096, &data).await, 0);
    assert_eq!(client.read(0, 4096, 1 << 20).await.unwrap(), data);
    assert_eq!(
        client.read(DF, 512, 131_072).await.unwrap()[3584..],
        data[..127_488]
    );
    for command in [TRIM, WRITE_ZEROES] {
        let octets = request(FUA, command, 5, 4096, 65_536);
        client.send(&octets).await;
        assert_eq!(client.outcome(5).await, 0);
        assert_eq!(client.read(0, 4096, 65_536).await.unwrap(), vec![0; 65_536]);
    }
    client.send(&request(0, FLUSH, 6, 0, 0)).await;
    assert_eq!(client.outcome(6).await, 0);
    // Pieces of 64 KiB in memory: the second one is empty up to its end.
    let status = client.status(0, 0, 4 << 20).await.unwrap();
    assert_eq!(status, [(1_114_112, 0), (3_080_192, 3)]);
    let status = client.status(REQ_ONE, 1 << 20, 512).await.unwrap();
    assert_eq!(status, [(512, 0)]);
    client.send(&request(0, CACHE, 3, 0, 512)).await;
    assert_eq!(client.outcome(3).await, 22);
    client.send(&request(0, DISC, 0, 0, 0)).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn clients_over_unix_and_tcp_are_served() {
    let server = Server::new(Limits::default());
    let device = Arc::new(MemoryDevice::new(SIZE));
    server.add(Export::new("disk", device)).unwrap();
    let path = socket();
    let unix = Listener::unix(&path).await.unwrap();
    let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = tcp.address().unwrap();
    let clients = async {
        uses(Client::choose(UnixStream::connect(&path).await.unwrap(), "disk").await).await;
        uses(Client::choose(TcpStream::connect(address).await.unwrap(), "disk").await).await;
    };
    soon(async {
        tokio::select! {
            () = clients => {}
            () = server.run(unix, |error| panic!("{error}")) => {}
            () = server.run(tcp, |error| panic!("{error}")) => {}
        }
    })
    .await;
    std::fs::remove_file(path).unwrap();
    let counters = server.counters();
    assert_eq!(
        (counters.reads, counters.writes, counters.flushes),
        (8, 2, 2)
    );
    assert_eq!(
        (counters.trims, counters.zeroes, counters.statuses),
        (2, 2, 4)
    );
    assert_eq!(
        (counters.refused, counters.failed, counters.broken),
        (2, 0, 0)
    );
    assert_eq!(counters.octets_written, 2 << 20);
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_no_other() {
    use std::os::unix::fs::PermissionsExt;
    let path = socket();
    let first = Listener::unix(&path).await.unwrap();
    let second = Listener::unix(&path).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    // Whatever the umask is.
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(first);
    drop(Listener::unix(&path).await.unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    let file = Listener::unix(&path).await.unwrap_err();
    assert_eq!(file.kind(), ErrorKind::AddrInUse);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn simple_replies_are_given_to_clients_that_know_no_others() {
    let (server, device) = serving(Limits::default());
    let (stream, _serving) = connect(&server);
    soon(async {
        let mut client = Client::choose_simple(stream, "disk").await;
        assert_eq!(client.write(0, &[3; 1024]).await, 0);
        client.send(&request(0, READ, 4, 512, 512)).await;
        assert_eq!(client.outcome(4).await, 0);
        assert_eq!(client.exactly(512).await, [3; 512]);
        device.fail(Some(ErrorKind::StorageFull));
        assert_eq!(client.write(0, &[3; 512]).await, 28);
        client.send(&request(0, READ, 4, 512, 512)).await;
        // Without data.
        assert_eq!(client.outcome(4).await, 28);
        device.fail(None);
        assert_eq!(client.write(0, &[3; 512]).await, 0);
    })
    .await;
}

#[tokio::test]
async fn errors_of_the_device_reach_the_client() {
    let (server, device) = serving(Limits::default());
    let (mut client, _serving) = choose(&server).await;
    let table = [
        (ErrorKind::PermissionDenied, 1),
        (ErrorKind::Other, 5),
        (ErrorKind::TimedOut, 5),
        (ErrorKind::OutOfMemory, 12),
        (ErrorKind::InvalidInput, 22),
        (ErrorKind::StorageFull, 28),
        (ErrorKind::QuotaExceeded, 28),
        (ErrorKind::Unsupported, 95),
        (ErrorKind::NotConnected, 108),
    ];
    soon(async {
        for (kind, code) in table {
            device.fail(Some(kind));
            assert_eq!(client.write(0, &[1; 512]).await, code);
            assert_eq!(client.read(0, 0, 512).await, Err(code));
            assert_eq!(client.status(0, 0, 512).await, Err(code));
        }
        // The connection is as good as before.
        device.fail(None);
        assert_eq!(client.write(0, &[1; 512]).await, 0);
    })
    .await;
    assert_eq!(server.counters().failed, 27);
}

#[tokio::test]
async fn what_has_to_be_durable_is_flushed_before_it_is_answered() {
    let (server, device) = serving(Limits::default());
    let (mut client, _serving) = choose(&server).await;
    soon(async {
        let mut octets = request(FUA, WRITE, 1, 0, 512);
        octets.extend([1; 512]);
        for (octets, flushes) in [
            (octets, 1),
            (request(FUA, TRIM, 1, 0, 512), 2),
            (request(FUA, WRITE_ZEROES, 1, 0, 512), 3),
            (request(FUA, WRITE_ZEROES, 1, 0, 0), 3),
            (request(FUA, FLUSH, 1, 0, 0), 4),
            (write(1, 0, &[1; 512]), 4),
        ] {
            client.send(&octets).await;
            assert_eq!(client.outcome(1).await, 0);
            assert_eq!(device.flushes.load(Ordering::SeqCst), flushes);
        }
    })
    .await;
}

#[tokio::test]
async fn requests_under_way_are_answered_when_they_are_done_and_no_more_than_allowed() {
    let mut limits = Limits::default();
    limits.requests = 4.try_into().unwrap();
    let (server, device) = serving(limits);
    let (mut client, _serving) = choose(&server).await;
    device.hold();
    soon(async {
        for cookie in 0..20 {
            client.send(&write(cookie, cookie * 512, &[1; 512])).await;
        }
        let mut seen = Vec::new();
        for _ in 0..20 {
            device.permits.add_permits(1);
            let Reply::Simple { error: 0, cookie } = client.reply().await else {
                panic!("not done");
            };
            seen.push(cookie);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<u64>>());
    })
    .await;
    assert_eq!(device.most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn memory_is_shared_and_given_back() {
    let mut limits = Limits::default();
    let kib = |count: u32| (count * 1024).try_into().unwrap();
    (limits.octets, limits.octets_in_all) = (kib(96), kib(128));
    let (server, device) = serving(limits);
    let (mut first, serving) = choose(&server).await;
    let (mut second, _serving) = choose(&server).await;
    device.hold();
    soon(async {
        // Three are too much for one connection, four for both.
        for cookie in 0..3 {
            first.send(&request(DF, READ, cookie, 0, 40_960)).await;
            second.send(&request(DF, READ, cookie, 0, 40_960)).await;
        }
        while device.under_way.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(device.most.load(Ordering::SeqCst), 3);
        // What a connection holds that breaks is given back.
        drop(first);
        device.permits.add_permits(1000);
        for _ in 0..3 {
            assert!(matches!(second.reply().await, Reply::Chunk { kind: 1, .. }));
        }
        assert!(serving.await.unwrap().is_err());
        assert_eq!(second.read(0, 0, 98_304).await.unwrap().len(), 98_304);
        // What carries no data needs none.
        for command in [TRIM, WRITE_ZEROES] {
            second.send(&request(0, command, 5, 0, 64 << 20)).await;
            assert_eq!(second.outcome(5).await, 0);
        }
        assert_eq!(second.status(0, 0, 64 << 20).await.unwrap().len(), 1);
        assert_eq!(second.write(0, &[1; 98_304]).await, 0);
        // Longer ones than there is memory for are refused.
        assert_eq!(second.read(0, 0, 98_816).await, Err(22));
    })
    .await;
}

#[tokio::test]
async fn zeroes_are_not_sent_to_clients_that_need_not_have_them() {
    let (server, _) = serving(Limits::default());
    let (mut client, _serving) = choose(&server).await;
    soon(async {
        assert_eq!(client.write(65_536, &[1; 512]).await, 0);
        for (flags, offset, length, kind, octets) in [
            (0, 0, 65_536, 2, 12),
            (DF, 0, 65_536, 1, 65_544),
            (0, 0, 512, 1, 520),
            (0, 0, 66_048, 1, 66_056),
        ] {
            client.send(&request(flags, READ, 1, offset, length)).await;
            let Reply::Chunk {
                done: true,
                kind: sent,
                payload,
                ..
            } = client.reply().await
            else {
                panic!("not one chunk");
            };
            assert_eq!((sent, payload.len()), (kind, octets));
        }
    })
    .await;
}

#[tokio::test]
async fn an_export_can_be_removed_and_added_again() {
    let (server, device) = serving(Limits::default());
    let (mut client, serving) = choose(&server).await;
    soon(async {
        device.hold();
        client.send(&write(1, 0, &[1; 512])).await;
        while device.under_way.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let removing = tokio::spawn({
            let server = server.clone();
            async move { server.remove("disk").await }
        });
        tokio::task::yield_now().await;
        assert!(!removing.is_finished(), "a request is under way");
        // What comes after that is not taken on.
        client.send(&write(2, 512, &[1; 512])).await;
        device.permits.add_permits(10);
        assert_eq!(client.outcome(1).await, 0);
        assert!(client.is_closed().await);
        assert!(removing.await.unwrap());
        serving.await.unwrap().unwrap();
        assert!(!server.remove("disk").await);

        let (stream, _serving) = connect(&server);
        let mut client = Client::greet(stream, 3).await;
        let refused = client.option(GO, &info("disk", &[])).await;
        assert_eq!(refused[0].0, ERR_UNKNOWN);
        // The same connection finds it when it is there.
        server.add(Export::new("disk", device.clone())).unwrap();
        let taken = server.add(Export::new("disk", device.clone())).unwrap_err();
        assert!(matches!(taken, ExportError::Taken { .. }));
        let accepted = client.option(GO, &info("disk", &[])).await;
        assert_eq!(accepted.last().unwrap().0, ACK);
        assert_eq!(client.write(0, &[2; 512]).await, 0);
    })
    .await;
    assert_eq!(device.memory.read(0, 512).await.unwrap().concat(), [2; 512]);
    assert_eq!(
        device.memory.read(512, 512).await.unwrap().concat(),
        [0; 512]
    );
}

#[tokio::test]
async fn several_exports_are_listed_and_apart() {
    let server = Server::new(Limits::default());
    let devices = [(); 3].map(|()| Arc::new(FaultyDevice::new(SIZE)));
    for (device, name) in devices.iter().zip(["", "b", "c"]) {
        let export = Export::new(name, device.clone()).with_description(name.repeat(2));
        let export = if name == "c" {
            export.read_only()
        } else {
            export
        };
        server.add(export).unwrap();
    }
    soon(async {
        let (stream, _serving) = connect(&server);
        let mut client = Client::greet(stream, 3).await;
        let listed = client.option(LIST, &[]).await;
        let expected = [&b"\0\0\0\0"[..], b"\0\0\0\x01bbb", b"\0\0\0\x01ccc", b""];
        assert_eq!(
            listed
                .iter()
                .map(|answer| &answer.1[..])
                .collect::<Vec<_>>(),
            expected
        );
        for (name, error) in [("", 0), ("b", 0), ("c", 1)] {
            let (stream, _serving) = connect(&server);
            let mut client = Client::choose_simple(stream, name).await;
            let data = [name.len() as u8 + 1; 512];
            assert_eq!(client.write(0, &data).await, error);
        }
    })
    .await;
    for (device, octet) in devices.iter().zip([1, 2, 0]) {
        let read = device.memory.read(0, 512).await.unwrap();
        assert_eq!(read.concat(), [octet; 512]);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing_behind() {
    let (server, device) = serving(Limits::default());
    let (client, serving) = choose(&server).await;
    drop(client);
    soon(serving).await.unwrap().unwrap();
    // In the middle of a request.
    let (mut client, serving) = choose(&server).await;
    client.send(&request(0, READ, 1, 0, 512)[..20]).await;
    drop(client);
    let ended = soon(serving).await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Truncated)));
    // In the middle of its data, and with a request under way.
    let (mut client, serving) = choose(&server).await;
    device.hold();
    client.send(&request(0, FLUSH, 1, 0, 0)).await;
    client.send(&request(0, WRITE, 1, 0, 1 << 20)).await;
    drop(client);
    let ended = soon(serving).await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Truncated)));
    assert_eq!(server.counters().connections, 0);
    assert_eq!(server.counters().broken, 2);
    soon(server.remove("disk")).await;
    assert_eq!(Arc::strong_count(&device), 1);
}

#[tokio::test]
async fn octets_that_make_no_sense_end_the_connection() {
    let (server, _) = serving(Limits::default());
    let (mut client, serving) = choose(&server).await;
    client.send(&[0; 28]).await;
    let ended = soon(serving).await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Request(_))));
    assert!(client.is_closed().await);
    let (mut stream, serving) = connect(&server);
    stream.write_all(&[0xff; 4]).await.unwrap();
    let ended = soon(serving).await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Handshake(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stands_still_is_disconnected() {
    let (server, _) = serving(Limits::default());
    // In the handshake, even if it keeps saying something.
    let (stream, serving) = connect(&server);
    let mut client = Client::greet(stream, 3).await;
    let talking = async {
        loop {
            client.option(LIST, &[]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = serving => ended.unwrap(),
        () = talking => return,
    };
    assert!(matches!(ended, Err(ConnectionError::Undecided { .. })));
    // Within a request.
    let (mut client, serving) = choose(&server).await;
    client.send(&request(0, WRITE, 1, 0, 1 << 20)).await;
    let ended = serving.await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Stalled { .. })));
    // With replies that it does not read.
    let (mut client, serving) = choose(&server).await;
    client.send(&request(DF, READ, 1, 0, 1 << 20)).await;
    let ended = serving.await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Stalled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_or_idle_is_not_disconnected() {
    let (server, device) = serving(Limits::default());
    let (mut client, _serving) = choose(&server).await;
    let octets = write(1, 0, &[1; 4096]);
    for octet in octets.chunks(100) {
        tokio::time::sleep(Duration::from_secs(59)).await;
        client.send(octet).await;
    }
    assert_eq!(client.outcome(1).await, 0);
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    assert_eq!(client.write(0, &[1; 512]).await, 0);
    // The device may take its time.
    device.hold();
    client.send(&write(1, 0, &[1; 512])).await;
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    device.permits.add_permits(1);
    assert_eq!(client.outcome(1).await, 0);
}

#[tokio::test]
async fn too_many_connections_are_turned_away() {
    let mut limits = Limits::default();
    limits.connections = 2;
    let (server, _) = serving(limits);
    let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = tcp.address().unwrap();
    let connect = || async { TcpStream::connect(address).await.unwrap() };
    let clients = async {
        let first = Client::choose(connect().await, "disk").await;
        let _second = Client::choose(connect().await, "disk").await;
        let mut third = Client {
            stream: connect().await,
        };
        assert!(third.is_closed().await);
        assert_eq!(server.counters().turned_away, 1);
        drop(first);
        while server.counters().connections > 1 {
            tokio::task::yield_now().await;
        }
        Client::choose(connect().await, "disk").await;
    };
    soon(async {
        tokio::select! {
            () = clients => {}
            () = server.run(tcp, |_| {}) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let (server, _) = serving(Limits::default());
    let (client, _serving) = choose(&server).await;
    let (reading, mut writing) = tokio::io::split(client.stream);
    let mut client = Client {
        stream: tokio::io::join(reading, tokio::io::sink()),
    };
    // Written while replies are read: neither side may wait for the other for ever.
    let sending = tokio::spawn(async move {
        for cookie in 0..2000_u64 {
            let length = [512, 4096, 40_960, 131_072][cookie as usize % 4];
            let octets = write(cookie, cookie % 16 * 131_072, &vec![cookie as u8; length]);
            writing.write_all(&octets).await.unwrap();
            let octets = request(0, READ, cookie, 0, 1024);
            writing.write_all(&octets).await.unwrap();
        }
        writing
    });
    soon(async {
        let (mut writes, mut reads) = (0, 0);
        while writes < 2000 || reads < 2000 {
            match client.reply().await {
                Reply::Simple { error: 0, .. } => writes += 1,
                Reply::Chunk {
                    done: true,
                    kind: 1,
                    payload,
                    ..
                } => {
                    assert_eq!(payload.len(), 8 + 1024);
                    reads += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    drop(sending.await.unwrap());
}

//! The arbiter in etcd before a server that says what the test wants, byte for byte.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::time::Duration;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ha_core::failover::{Answer, NodeId, NodeSet, Query, Record, Revision};
use ha_core::io::arbiter::etcd::{
    Credentials, Endpoint, EtcdArbiter, EtcdConfig, EtcdConfigError, EtcdError, HttpError,
};
use ha_core::io::arbiter::{Arbiter, ArbiterError, encode_record};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Say {
    /// Answers with this and status 200.
    Ok(Value),
    Status(u16, Value),
    /// Sends these bytes, and ends the connection.
    Raw(Vec<u8>),
    /// Sends them one by one, and keeps it.
    Slowly(Vec<u8>),
    Nothing,
}

/// What it was asked: path, authorization, body.
type Asked = (String, Option<String>, Value);

#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<Vec<Say>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<u32>>,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = Say>) -> (Self, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        let server = Self::default();
        server.script.lock().unwrap().extend(script);
        server.script.lock().unwrap().reverse();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (server, endpoint)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        loop {
            let head = loop {
                let end = read.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    break end + 4;
                }
                if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let text = String::from_utf8(read[..head].to_vec()).unwrap();
            let header = |name: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once(": "));
                lines
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.to_owned())
            };
            let length: usize = header("Content-Length").unwrap().parse().unwrap();
            while read.len() < head + length {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            let body = serde_json::from_slice(&read[head..head + length]).unwrap();
            read.drain(..head + length);
            let path = text.split(' ').nth(1).unwrap().to_owned();
            let asked = (path, header("Authorization"), body);
            self.asked.lock().unwrap().push(asked);
            let say = self.script.lock().unwrap().pop().unwrap_or(Say::Nothing);
            let (status, body) = match say {
                Say::Ok(body) => (200, body),
                Say::Status(status, body) => (status, body),
                Say::Raw(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    return;
                }
                Say::Slowly(bytes) => {
                    for byte in bytes {
                        stream.write_all(&[byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
                Say::Nothing => core::future::pending().await,
            };
            let body = body.to_string();
            let length = body.len();
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn record() -> Record {
    Record {
        generation: 4,
        up_to_date: NodeSet::from(node(0)).with(node(1)),
        holder: Some(node(1)),
        ttl: Duration::from_millis(8500),
    }
}

fn header(revision: u64) -> Value {
    json!({ "cluster_id": "14841639068965178418", "revision": revision.to_string() })
}

fn range(pairs: Value) -> Value {
    json!({ "response_range": { "header": {}, "kvs": pairs, "count": "1" } })
}

fn base64(text: &str) -> String {
    BASE64.encode(text)
}

/// What a transaction tells that has not set anything.
fn current(revision: u64, value: &str, is_held: bool) -> Value {
    let pair = json!({ "key": "", "mod_revision": revision.to_string(), "value": base64(value) });
    let holder = if is_held {
        json!([{ "key": "", "lease": "7" }])
    } else {
        json!([])
    };
    json!({
        "header": header(revision + 3),
        "succeeded": true,
        "responses": [range(json!([pair])), range(holder)],
    })
}

fn absent() -> Value {
    json!({
        "header": header(1),
        "succeeded": true,
        "responses": [{ "response_range": {} }, { "response_range": {} }],
    })
}

fn granted(seconds: u64) -> Value {
    json!({ "header": header(1), "ID": "7587862094", "TTL": seconds.to_string() })
}

fn arbiter(endpoints: Vec<Endpoint>) -> EtcdArbiter {
    let mut config = EtcdConfig::new(endpoints);
    config.attempt = Duration::from_millis(200);
    EtcdArbiter::new(config, "unit").unwrap()
}

async fn read(say: Say) -> Result<Answer, ArbiterError> {
    let (_, endpoint) = Server::start([say]).await;
    arbiter(vec![endpoint]).ask(Query::Read).await
}

async fn fault(say: Say) -> EtcdError {
    match read(say).await {
        Err(ArbiterError::Etcd(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn raw(text: &str) -> Say {
    Say::Raw(text.into())
}

#[tokio::test]
async fn a_read_is_one_transaction() {
    let text = encode_record(&record()).unwrap();
    let (server, endpoint) = Server::start([Say::Ok(current(9, &text, true))]).await;
    let answer = arbiter(vec![endpoint]).ask(Query::Read).await.unwrap();
    assert_eq!(answer, Answer::Current(Some((Revision::new(9), record()))));
    let (path, authorization, body) = server.asked().remove(0);
    assert_eq!((path.as_str(), authorization), ("/v3/kv/txn", None));
    let keys = ["/ha/unit/record", "/ha/unit/holder"];
    let ranges = keys.map(|key| json!({ "requestRange": { "key": base64(key) } }));
    assert_eq!(body, json!({ "success": ranges }));
}

#[tokio::test]
async fn a_holder_whose_lease_is_over_is_none_and_the_rest_stays() {
    let text = encode_record(&record()).unwrap();
    let answer = read(Say::Ok(current(9, &text, false))).await.unwrap();
    let free = Record {
        holder: None,
        ..record()
    };
    assert_eq!(answer, Answer::Current(Some((Revision::new(9), free))));
    assert_eq!(
        read(Say::Ok(absent())).await.unwrap(),
        Answer::Current(None)
    );
}

#[tokio::test]
async fn a_swap_grants_a_lease_that_is_not_shorter() {
    let set = json!({ "header": header(12), "succeeded": true, "responses": [{}, {}] });
    let (server, endpoint) = Server::start([Say::Ok(granted(9)), Say::Ok(set)]).await;
    let swap = Query::Swap {
        expected: Some(Revision::new(9)),
        record: record(),
    };
    let answer = arbiter(vec![endpoint]).ask(swap).await.unwrap();
    assert_eq!(answer, Answer::Swapped(Revision::new(12)));
    let asked = server.asked();
    assert_eq!(asked[0].0, "/v3/lease/grant");
    assert_eq!(asked[0].2, json!({ "TTL": "9" }), "8.5 s in whole seconds");
    assert_eq!(asked[1].2["compare"][0]["mod_revision"], "9");
    let puts = &asked[1].2["success"];
    assert_eq!(puts[1]["requestPut"]["lease"], "7587862094");
    let text = encode_record(&record()).unwrap();
    assert_eq!(puts[0]["requestPut"]["value"], base64(&text));
    assert_eq!(
        puts[0]["requestPut"].get("lease"),
        None,
        "it must outlive the holder"
    );
    assert_eq!(
        *server.connections.lock().unwrap(),
        1,
        "one connection serves"
    );
}

#[tokio::test]
async fn the_shortest_lease_is_two_seconds_and_a_shorter_one_is_refused() {
    let (server, endpoint) = Server::start([Say::Ok(granted(1))]).await;
    let swap = Query::Swap {
        expected: None,
        record: Record {
            ttl: Duration::from_millis(300),
            ..record()
        },
    };
    let error = arbiter(vec![endpoint]).ask(swap).await.unwrap_err();
    let wanted = "a lease of 1 s where 2 s were asked for";
    assert_eq!(error.to_string(), wanted);
    assert_eq!(server.asked().len(), 1, "nothing was set");
}

#[tokio::test]
async fn who_gives_the_record_back_needs_no_lease() {
    let set = json!({ "header": header(12), "succeeded": true });
    let (server, endpoint) = Server::start([Say::Ok(set)]).await;
    let swap = Query::Swap {
        expected: Some(Revision::new(3)),
        record: Record {
            holder: None,
            ..record()
        },
    };
    arbiter(vec![endpoint]).ask(swap).await.unwrap();
    let asked = server.asked();
    let key = base64("/ha/unit/holder");
    let delete = json!({ "requestDeleteRange": { "key": key } });
    assert_eq!(asked[0].2["success"][1], delete);
}

#[tokio::test]
async fn a_swap_that_finds_another_revision_tells_the_record() {
    let text = encode_record(&record()).unwrap();
    let mut told = current(10, &text, true);
    told.as_object_mut().unwrap().remove("succeeded");
    let (_, endpoint) = Server::start([Say::Ok(granted(9)), Say::Ok(told)]).await;
    let swap = Query::Swap {
        expected: None,
        record: record(),
    };
    let answer = arbiter(vec![endpoint]).ask(swap).await.unwrap();
    assert_eq!(answer, Answer::Current(Some((Revision::new(10), record()))));
}

#[tokio::test]
async fn the_next_endpoint_is_tried_and_remembered() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = closed.local_addr().unwrap().to_string().parse().unwrap();
    drop(closed);
    let (silent, slow) = Server::start([]).await;
    let refusal = json!({ "error": "etcdserver: no leader", "code": 14 });
    let (_, leaderless) = Server::start([Say::Status(503, refusal)]).await;
    let (server, good) = Server::start([Say::Ok(absent()), Say::Ok(absent())]).await;
    let mut arbiter = arbiter(vec![dead, slow, leaderless, good]);
    assert_eq!(
        arbiter.ask(Query::Read).await.unwrap(),
        Answer::Current(None)
    );
    assert_eq!(
        arbiter.ask(Query::Read).await.unwrap(),
        Answer::Current(None)
    );
    assert_eq!(server.asked().len(), 2);
    assert_eq!(
        silent.asked().len(),
        1,
        "the second question went to the good one at once"
    );
}

#[tokio::test]
async fn a_connection_that_was_ended_meanwhile_is_made_anew() {
    let body = absent().to_string();
    let length = body.len();
    let closing = raw(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let (server, endpoint) = Server::start([closing, Say::Ok(absent())]).await;
    let mut arbiter = arbiter(vec![endpoint]);
    arbiter.ask(Query::Read).await.unwrap();
    tokio::task::yield_now().await;
    arbiter.ask(Query::Read).await.unwrap();
    assert_eq!(*server.connections.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_token_is_fetched_shown_and_replaced() {
    let token = |text: &str| Say::Ok(json!({ "token": text }));
    let stale = json!({ "error": "etcdserver: invalid auth token", "code": 16 });
    let (server, endpoint) = Server::start([
        token("first.1"),
        Say::Ok(absent()),
        Say::Status(401, stale.clone()),
        token("second.2"),
        Say::Ok(absent()),
    ])
    .await;
    let mut config = EtcdConfig::new(vec![endpoint]);
    config.credentials = Some(Credentials::new("ha", "se\"cret"));
    assert!(!format!("{config:?}").contains("cret"));
    let mut arbiter = EtcdArbiter::new(config, "unit").unwrap();
    arbiter.ask(Query::Read).await.unwrap();
    arbiter.ask(Query::Read).await.unwrap();
    assert!(!format!("{arbiter:?}").contains("cret"));
    let asked = server.asked();
    assert_eq!(asked[0].2, json!({ "name": "ha", "password": "se\"cret" }));
    let shown: Vec<_> = asked.iter().map(|(_, token, _)| token.as_deref()).collect();
    let wanted = [
        None,
        Some("first.1"),
        Some("first.1"),
        None,
        Some("second.2"),
    ];
    assert_eq!(shown, wanted);
}

#[tokio::test]
async fn a_token_that_is_refused_at_once_is_not_asked_for_for_ever() {
    let stale = json!({ "error": "etcdserver: invalid auth token", "code": 16 });
    let evil = Say::Ok(json!({ "token": "a\r\nX: y" }));
    let good = Say::Ok(json!({ "token": "a" }));
    let (_, endpoint) = Server::start([good, Say::Status(401, stale), evil]).await;
    let mut config = EtcdConfig::new(vec![endpoint]);
    config.credentials = Some(Credentials::new("ha", "secret"));
    let mut arbiter = EtcdArbiter::new(config, "unit").unwrap();
    let error = arbiter.ask(Query::Read).await.unwrap_err().to_string();
    assert!(error.contains("invalid auth token"), "{error}");
    arbiter.ask(Query::Read).await.unwrap_err();
}

#[tokio::test]
async fn another_cluster_and_an_older_store_are_refused() {
    let text = encode_record(&record()).unwrap();
    let mut foreign = current(20, &text, true);
    foreign["header"]["cluster_id"] = json!("7");
    let script = [
        Say::Ok(current(9, &text, true)),
        Say::Ok(foreign),
        Say::Ok(current(8, &text, true)),
    ];
    let (_, endpoint) = Server::start(script).await;
    let mut arbiter = arbiter(vec![endpoint]);
    arbiter.ask(Query::Read).await.unwrap();
    let error = arbiter.ask(Query::Read).await.unwrap_err();
    let other = matches!(
        error,
        ArbiterError::Etcd(EtcdError::OtherCluster { found: 7, .. })
    );
    assert!(other, "{error}");
    let error = arbiter.ask(Query::Read).await.unwrap_err();
    let back = matches!(
        error,
        ArbiterError::Etcd(EtcdError::WentBack {
            seen: 12,
            found: 11
        })
    );
    assert!(back, "{error}");
}

#[tokio::test]
async fn each_fault_of_an_answer_is_named() {
    let text = encode_record(&record()).unwrap();
    let good = current(9, &text, true);
    let with = |pointer: &str, value: Value| {
        let mut told = good.clone();
        *told.pointer_mut(pointer).unwrap() = value;
        Say::Ok(told)
    };
    let kvs = "/responses/0/response_range/kvs";
    for (say, wanted) in [
        (Say::Ok(json!([])), "the answer: []"),
        (Say::Ok(json!({})), "header is missing"),
        (with("/header", json!({})), "cluster_id is missing"),
        (with("/header/revision", json!("x")), "revision: \"x\""),
        (with("/succeeded", json!("yes")), "succeeded: \"yes\""),
        (with("/responses", json!([1])), "responses: [1]"),
        (with("/responses/0", json!({})), "response_range is missing"),
        (with(kvs, json!([{}, {}])), "kvs: [{},{}]"),
        (
            with(&format!("{kvs}/0/mod_revision"), json!(-1)),
            "mod_revision: -1",
        ),
        (
            with(&format!("{kvs}/0/value"), json!("%%%")),
            "value: \"%%%\"",
        ),
        (
            with(&format!("{kvs}/0/value"), json!(base64("{}"))),
            "the record: format is missing",
        ),
    ] {
        assert_eq!(fault(say).await.to_string(), wanted);
    }
    let long = with(&format!("{kvs}/0/value"), json!("A".repeat(5000)));
    assert!(
        fault(long).await.to_string().len() < 100,
        "no error repeats all of it"
    );
    let json = raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]");
    assert!(matches!(fault(json).await, EtcdError::Json { .. }));
    let refused = Say::Status(400, json!({ "error": "bad", "message": "worse" }));
    let error = fault(refused).await;
    assert!(
        matches!(error, EtcdError::Refused { status: 400, ref message, .. } if message == "worse")
    );
}

#[tokio::test]
async fn each_fault_of_http_is_named_and_bounded() {
    let many = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(5000));
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000));
    let rest = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(200_000));
    let chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "y".repeat(4096)).repeat(17)
    );
    for (text, wanted) in [
        ("SSH-2.0-OpenSSH\r\n", "status line \"SSH-2.0-OpenSSH\""),
        ("HTTP/1.1 099 X\r\n", "status line \"HTTP/1.1 099 X\""),
        ("HTTP/2 200\r\n", "status line \"HTTP/2 200\""),
        ("HTTP/1.1 200 OK\r\nno colon\r\n", "header: \"no colon\""),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "content-length: \"-1\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n",
            "content-length: \"2\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
            "body of more than 65536 octets",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "transfer-encoding: \"gzip\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n",
            "chunk \"+1\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "chunk \"fffffffffffffffff\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            "chunk \"bc\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            "the connection ended within the answer",
        ),
        ("", "the connection ended within the answer"),
        (&many, "head of more than 16384 octets"),
        (&endless, "head of more than 16384 octets"),
        (&rest, "body of more than 65536 octets"),
        (&chunks, "body of more than 65536 octets"),
    ] {
        let EtcdError::Http { error, .. } = fault(raw(text)).await else {
            panic!("{wanted}");
        };
        // An unread rest may reset the connection before its beginning is read.
        let reset = matches!(error, HttpError::Io(_)) && text.len() > 1000;
        assert!(
            reset || error.to_string() == wanted,
            "{error}, not {wanted}"
        );
    }
    let silent = fault(Say::Nothing).await;
    assert!(matches!(silent, EtcdError::TimedOut { .. }), "{silent}");
}

#[tokio::test]
async fn an_answer_in_pieces_is_the_same() {
    let body = absent().to_string();
    let (one, two) = body.split_at(7);
    let lengths = (one.len(), two.len());
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
         {:x};x=y\r\n{one}\r\n{:X}\r\n{two}\r\n0\r\nTrailer: z\r\n\r\n",
        lengths.0, lengths.1
    );
    let until_the_end = raw(&format!("HTTP/1.0 200 OK\r\n\r\n{body}"));
    for say in [
        raw(&chunked),
        Say::Slowly(chunked.into_bytes()),
        until_the_end,
    ] {
        assert_eq!(read(say).await.unwrap(), Answer::Current(None));
    }
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let error = |config, unit| EtcdArbiter::new(config, unit).unwrap_err();
    let good = EtcdConfig::new(vec![Endpoint::default()]);
    assert_eq!(
        error(EtcdConfig::new(Vec::new()), "u"),
        EtcdConfigError::NoEndpoint
    );
    let mut hasty = good.clone();
    hasty.attempt = Duration::ZERO;
    assert_eq!(error(hasty, "u"), EtcdConfigError::NoTime);
    for unit in ["", "a/b", "a\n", &"u".repeat(256)] {
        let unit = error(good.clone(), unit);
        assert!(matches!(unit, EtcdConfigError::Unit { .. }));
    }
}

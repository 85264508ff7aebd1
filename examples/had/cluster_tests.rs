//! Tests of two nodes that run: what each of them is asked and tells.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::client::AskError;
use super::cluster::{LIMIT, SERVICE, UNIT, start};
use super::control::{FaultKind, Order};
use super::drill::Drill;
use super::joint::Outcome;
use super::overview::Overview;
use super::snapshot::{Standing, State};
use super::timeline::Kind;

/// What a server of HTTP answers: the head, and the body.
async fn get(address: SocketAddr, path: &str, host: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    })
    .await
    .unwrap()
}

async fn raw(path: &Path, line: &str) -> Vec<Value> {
    let mut client = UnixStream::connect(path).await.unwrap();
    client.write_all(line.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_control_socket_tells_and_does_what_it_is_asked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let [alpha, beta] = start(&folder).await;
    let mode = std::fs::metadata(&alpha.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let now = alpha.until_active().await;
    let unit = &now.own.units[0];
    assert_eq!(unit.name, UNIT);
    assert_eq!(unit.addresses[0].role, "MASTER");
    assert_eq!(unit.addresses[0].serving, unit.addresses[0].addresses);
    assert!(
        unit.steps
            .iter()
            .all(|step| step.standing == Standing::Done)
    );
    let last = unit.last.as_ref().unwrap();
    assert_eq!((last.kind, last.runs.len()), (Kind::Taking, 2));
    assert!(
        last.runs[0].ended_ms - last.runs[0].began_ms >= 39.0,
        "{last:?}"
    );
    // Being asked changes nothing.
    let plan = beta
        .ask(|client| client.plan(Order::Promote, UNIT))
        .await
        .unwrap();
    assert_eq!(plan.state, State::Active);
    let steps: Vec<_> = plan.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["web", "7@lo"]);
    let there = beta.status().await;
    assert_eq!(there.own.units[0].state, State::Standby);
    assert!(there.own.units[0].addresses[0].serving.is_empty());
    // What cannot be.
    let refused = beta.ask(|client| client.order(Order::Switch, UNIT)).await;
    let Err(AskError::Fault(fault)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(fault.kind, FaultKind::Refused);
    assert_eq!(fault.text, "this node is standby");
    let unknown = beta.ask(|client| client.order(Order::Switch, "db")).await;
    let Err(AskError::Fault(fault)) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!(fault.kind, FaultKind::NoSuchUnit);
    // What can be.
    alpha
        .ask(|client| client.order(Order::Maintenance, UNIT))
        .await
        .unwrap();
    beta.until(|now| now.own.units[0].state == State::Active)
        .await;
    let out = alpha.until(|now| now.own.units[0].maintenance).await;
    assert_eq!(out.own.demotion.level, 240);
    alpha
        .ask(|client| client.order(Order::Resume, UNIT))
        .await
        .unwrap();
    alpha.until_active().await;
    // The journal tells of it.
    alpha.watch.journal.as_ref().unwrap().flush();
    let text = std::fs::read_to_string(&alpha.journal).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let commanded = lines
        .iter()
        .position(|line| line["event"] == "commanded")
        .unwrap();
    let later = &lines[commanded..];
    let is_drained =
        |line: &Value| line["event"] == "state" && line["reason"] == "command maintenance";
    assert!(later.iter().any(is_drained), "{text}");
    assert!(
        lines
            .iter()
            .all(|line| line["at"].is_string() && line["monotonic_ms"].is_number())
    );
    assert!(
        lines
            .iter()
            .any(|line| line["event"] == "carp-state" && line["host"] == "7@lo")
    );
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_such() {
    let folder = TempDir::new().unwrap();
    let [alpha, _beta] = start(&folder).await;
    let kind = |answer: &Value| answer["error"]["kind"].clone();
    for line in [
        "status\n",
        "{}\n",
        "{\"command\":\"reboot\"}\n",
        "{\"command\":\"status\",\"unit\":\"web\"}\n{\"command\":\"status\"",
        "{\"command\":\"order\",\"order\":\"switch\"}\n",
        "\n",
    ] {
        let answers = raw(&alpha.socket, line).await;
        assert!(!answers.is_empty());
        for answer in &answers {
            assert_eq!(kind(answer), "malformed", "{line}");
        }
    }
    let long = raw(&alpha.socket, &"x".repeat(5000)).await;
    assert_eq!((long.len(), kind(&long[0])), (1, "malformed".into()));
    let status = "{\"command\":\"status\"}\n";
    let answers = raw(&alpha.socket, &status.repeat(3)).await;
    assert_eq!(answers.len(), 3);
    assert!(
        answers
            .iter()
            .all(|answer| answer["status"]["own"]["node"]["name"] == "alpha")
    );
}

#[tokio::test]
async fn nothing_is_discarded_where_nothing_is_stored() {
    let folder = TempDir::new().unwrap();
    let [alpha, _beta] = start(&folder).await;
    let fault = |result| match result {
        Err(AskError::Fault(fault)) => (fault.kind, fault.text),
        other => panic!("{other:?}"),
    };
    let file = folder.path().join("lost.hast");
    let (there, save) = (file.clone(), file.clone());
    let refused = alpha.ask(move |client| client.discard("db", &there, false));
    assert_eq!(fault(refused.await).0, FaultKind::NoSuchUnit);
    let refused = alpha.ask(move |client| client.discard(UNIT, &save, true));
    let storage = "the unit has no storage".to_owned();
    assert_eq!(fault(refused.await), (FaultKind::Refused, storage));
    assert!(!file.exists());
    for line in [
        "{\"command\":\"discard\",\"unit\":\"db\"}\n",
        "{\"command\":\"discard\",\"unit\":\"db\",\"save\":7}\n",
        "{\"command\":\"discard\",\"unit\":\"db\",\"save\":\"/f\",\"force\":\"yes\"}\n",
    ] {
        let answers = raw(&alpha.socket, line).await;
        assert_eq!(answers[0]["error"]["kind"], "malformed", "{line}");
    }
    let line = "{\"command\":\"discard\",\"unit\":\"db\",\"save\":\"/f\"}\n";
    let answers = raw(&alpha.socket, line).await;
    assert_eq!(answers[0]["error"]["kind"], "no-such-unit");
}

#[tokio::test]
async fn the_page_is_served_to_this_machine_alone() {
    let folder = TempDir::new().unwrap();
    let [alpha, _beta] = start(&folder).await;
    let address = alpha.doors.page().unwrap();
    alpha.until_active().await;
    let (head, body) = get(address, "/", "localhost").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    assert!(body.starts_with("<!doctype html>"));
    // Nothing of it comes from anywhere else.
    for path in ["/", "/page.css", "/page.js"] {
        let (head, body) = get(address, path, "127.0.0.1").await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{path}");
        let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("://"), "{path}");
    }
    let (_, body) = get(address, "/status.json", "[::1]:80").await;
    let overview: Overview = serde_json::from_str(&body).unwrap();
    assert_eq!(overview.own.units[0].state, State::Active);
    let (head, _) = get(address, "/status.json", "example.org").await;
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
    let (head, _) = get(address, "/etc/passwd", "localhost").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let (head, body) = get(address, "/metrics", "localhost").await;
    let host = "had_refusals_total{door=\"page\",why=\"host\"}";
    assert!(body.contains(host), "{body}");
    assert!(head.contains("text/plain; version=0.0.4"));
    figures_are_well_formed(&body);
    let unit = "web & \\\"more\\\" <b>";
    let active = format!("had_unit_state{{unit=\"{unit}\",state=\"active\"}} 1");
    assert!(body.lines().any(|line| line == active), "{body}");
    assert!(body.contains("# TYPE had_step_seconds histogram"), "{body}");
}

/// Each line is a comment or a name, labels in braces, and a number; each name has one type, which
/// is told before.
fn figures_are_well_formed(text: &str) {
    let mut types = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert_eq!(types.insert(name, kind), None, "{name} has two types");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let name = name.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|name| types.get(name) == Some(&"histogram"));
            assert!(of_histogram.is_some() || types.contains_key(name), "{line}");
        }
    }
    assert!(types.len() > 5, "{text}");
}

#[tokio::test]
async fn a_peer_that_is_not_heard_is_stale_and_one_that_is_not_known_hears_nothing() {
    let folder = TempDir::new().unwrap();
    let [alpha, beta] = start(&folder).await;
    let now = alpha.until_active().await;
    let seen = now.peers[0].seen.as_ref().unwrap();
    assert!(!seen.stale);
    assert!(seen.ahead_ms.abs() <= seen.took_ms + 2.0, "{seen:?}");
    // By another address than that of a peer.
    let listen = beta.doors.listen().unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        let from = connect_from("127.0.0.2:0", listen);
        let mut text = String::new();
        // Closed without a word; what is not read by then may be a reset.
        let _ = (&from).read_to_string(&mut text);
        text
    });
    assert_eq!(heard.await.unwrap(), "");
    drop(beta);
    let now = alpha
        .until(|now| now.peers[0].error.is_some() && now.peers[0].fresh().is_none())
        .await;
    let seen = now.peers[0].seen.as_ref().unwrap();
    assert!(seen.stale && seen.age_ms > 5000.0);
}

/// Connects from an address of this machine.
fn connect_from(local: &str, to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &local.parse::<SocketAddr>().unwrap()).unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}

#[tokio::test]
async fn a_drill_goes_there_and_back_and_measures_both_ways() {
    let folder = TempDir::new().unwrap();
    let [alpha, beta] = start(&folder).await;
    alpha.until_active().await;
    // From the other side there is nothing to give away.
    let report = beta
        .ask(|client| Drill::new(client, UNIT, LIMIT, &[]).run())
        .await;
    let why = report.failed.unwrap().to_string();
    assert_eq!(why, "not begun: this node is standby, and not active");
    let report = alpha
        .ask(|client| Drill::new(client, UNIT, LIMIT, &[]).run())
        .await;
    assert_eq!(report.failed, None, "{report}");
    assert_eq!((&*report.here, &*report.there), ("alpha", "beta"));
    let (away, back) = (report.away.as_ref().unwrap(), report.back.as_ref().unwrap());
    for (way, from, to) in [(away, "alpha", "beta"), (back, "beta", "alpha")] {
        assert_eq!(way.outcome, Outcome::Taken);
        assert_eq!(way.from.as_deref(), Some(from));
        assert_eq!(way.to.as_deref(), Some(to));
        // The service has to start at least; where no storage is in the way, it may stop on the
        // other side meanwhile.
        let least = SERVICE.as_secs_f64() * 1e3;
        let most = LIMIT.as_secs_f64() * 1e3;
        assert!((least..most).contains(&way.away_ms.unwrap()), "{way:?}");
        let done: Vec<_> = way
            .spans
            .iter()
            .filter_map(|span| Some((&*span.node, span.step.as_deref()?, &*span.what)))
            .collect();
        let gone = done.iter().position(|it| *it == (from, "7@lo", "withdraw"));
        let come = done.iter().position(|it| *it == (to, "7@lo", "announce"));
        assert!(gone.unwrap() < come.unwrap(), "{done:?}");
    }
    assert!(
        report
            .to_string()
            .contains("drill of web & \"more\" <b>: alpha -> beta")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["failed"], Value::Null);
    // As it was found.
    let now = alpha.until_active().await;
    assert_eq!(now.own.demotion.level, 0);
}

/// Has Chromium draw a page and do something with it. Returns what it prints.
fn chromium(address: SocketAddr, profile: &Path, what: &[&str]) -> Vec<u8> {
    let mut command = Command::new("timeout");
    let output = command
        .args(["--kill-after=5", "60", "chromium"])
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(what)
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

/// The values that the page shows, by their names.
fn drawn(address: SocketAddr, profile: &Path) -> BTreeMap<String, String> {
    let dom = chromium(address, profile, &["--dump-dom"]);
    let dom = String::from_utf8(dom).unwrap();
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">");
        text.replace("&quot;", "\"").replace("&amp;", "&")
    };
    let keyed = dom.split("data-key=\"").skip(1).map(|rest| {
        let (key, rest) = rest.split_once('"').unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        let (value, _) = rest.split_once('<').unwrap();
        (plain(key), plain(value))
    });
    keyed.collect()
}

fn is_shown(page: SocketAddr, now: &Overview, profile: &Path) {
    let shown = drawn(page, profile);
    let get = |key: String| {
        shown
            .get(&key)
            .cloned()
            .unwrap_or_else(|| panic!("{key}: {shown:#?}"))
    };
    let peer = now.peers[0].fresh().unwrap();
    for node in [&now.own, peer] {
        let (name, unit) = (&node.node.name, &node.units[0]);
        let key = |field: &str| format!("{name}/{UNIT}/{field}");
        assert_eq!(get(key("state")), unit.state.to_string());
        let group = &unit.addresses[0];
        assert_eq!(get(key("7")), format!("{} of 7@lo", group.role));
        let demotion = get(format!("{name}/demotion"));
        assert_eq!(demotion, format!("demoted by {}", node.demotion.level));
        let maintenance = shown.contains_key(&key("maintenance"));
        assert_eq!(maintenance, unit.maintenance);
    }
    let failover = now.failover(UNIT).unwrap();
    assert_eq!(
        get(format!("{UNIT}/failover/outcome")),
        failover.outcome.to_string()
    );
    // How far the clocks are apart may have been told better meanwhile.
    let away = get(format!("{UNIT}/failover/away"));
    let is_near = |by: i8| {
        let near = (failover.away_ms.unwrap() + f64::from(by)).max(0.0);
        away == format!("{} without service", super::text::duration(near))
    };
    assert!((-20..=20).any(is_near), "{away}, {failover:?}");
}

#[tokio::test]
#[ignore = "it needs Debian's package chromium"]
async fn a_browser_shows_what_the_control_socket_says() {
    let folder = TempDir::new().unwrap();
    let [alpha, beta] = start(&folder).await;
    // Where to leave a picture, for who wants to look.
    let picture = std::env::var("HAD_PICTURE").ok();
    for order in [None, Some(Order::Maintenance)] {
        match order {
            None => alpha.until_active().await,
            Some(order) => {
                alpha
                    .ask(move |client| client.order(order, UNIT))
                    .await
                    .unwrap();
                beta.until(|now| now.own.units[0].state == State::Active)
                    .await;
                alpha
                    .until(|now| {
                        let is_known = |last: &super::joint::Failover| {
                            last.from.is_some() && last.to.is_some()
                        };
                        now.own.units[0].maintenance
                            && now.own.units[0].state == State::Standby
                            && now.own.demotion.level == 240
                            && now.failover(UNIT).is_some_and(is_known)
                    })
                    .await
            }
        };
        // What was on its way has come.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = alpha.status().await;
        let profile = folder.path().join("profile");
        let page = alpha.doors.page().unwrap();
        let picture = picture.clone();
        let shown = tokio::task::spawn_blocking(move || {
            is_shown(page, &now, &profile);
            if let Some(file) = picture {
                let screenshot = format!("--screenshot={file}");
                chromium(page, &profile, &["--window-size=1280,900", &screenshot]);
            }
        });
        shown.await.unwrap();
    }
}

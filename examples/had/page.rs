//! The status page: a server of HTTP on loopback for people (`/`), programs (`/status.json`) and
//! Prometheus (`/metrics`). Nothing can be changed by it.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clients;
use super::door::Door;
use super::http::{self, Answer, MAX_HEAD, Refusal};
use super::peers::Peers;
use super::watch::Watch;

/// How many clients are served at a time; others wait.
const CLIENTS: usize = 16;
/// How long a client may take for all.
const PATIENCE: Duration = Duration::from_secs(10);

const HTML: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Listens at an address of loopback, and at no other: nobody is asked who he is.
pub(crate) async fn open(
    address: SocketAddr,
    watch: Arc<Watch>,
    peers: Arc<Peers>,
) -> io::Result<Door> {
    if !address.ip().is_loopback() {
        let text = format!("{address} is not an address of loopback");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let served = watch.clone();
    let serve = move |listener| {
        clients::serve(listener, CLIENTS, "status page", move |(client, _)| {
            let (watch, peers) = (served.clone(), peers.clone());
            async move { timeout(PATIENCE, converse(client, &watch, &peers)).await? }
        })
    };
    Ok(Door::open("page", address, watch, serve).await)
}

async fn converse(mut client: TcpStream, watch: &Watch, peers: &Peers) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let request = loop {
        match http::parse(&head) {
            Ok(Some(request)) => break Ok(request),
            Ok(None) => {}
            Err(refusal) => break Err(refusal),
        }
        let rest = MAX_HEAD.saturating_sub(head.len());
        let limit = u64::try_from(rest).unwrap_or(u64::MAX);
        if (&mut client).take(limit).read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head_only = request.as_ref().is_ok_and(|request| request.head_only);
    let answer = match request {
        Ok(request) => answer(&request.path, watch, peers).await,
        Err(refusal) => Err(refusal),
    };
    let answer = answer.unwrap_or_else(|refusal| {
        watch.figures.refused("page", refusal.why());
        Answer::refused(refusal)
    });
    client.write_all(&answer.octets(head_only)).await?;
    client.shutdown().await
}

async fn answer(path: &str, watch: &Watch, peers: &Peers) -> Result<Answer, Refusal> {
    Ok(match path {
        "/" => Answer::new("text/html; charset=utf-8", HTML),
        "/page.css" => Answer::new("text/css; charset=utf-8", STYLE),
        "/page.js" => Answer::new("text/javascript; charset=utf-8", SCRIPT),
        "/status.json" => {
            let overview = peers.overview(watch).await;
            // Names are strings and numbers are finite, so that nothing is left to fail.
            let json = serde_json::to_vec(&overview).unwrap_or_default();
            Answer::new("application/json", json)
        }
        "/metrics" => {
            let text = watch.figures.render(&watch.snapshot().await);
            Answer::new("text/plain; version=0.0.4; charset=utf-8", text)
        }
        _ => return Err(Refusal::NotFound),
    })
}

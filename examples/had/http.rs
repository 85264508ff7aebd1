//! As much of HTTP/1.1 as the status page needs: one request without a body on a connection, and
//! one answer.

use core::fmt::Write;

use httparse::{EMPTY_HEADER, Status};

/// The longest head of a request. Browsers send a tenth of it.
pub(crate) const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    /// Without what follows a question mark.
    pub(crate) path: String,
    /// Whether only the head of the answer is wanted.
    pub(crate) head_only: bool,
}

/// Why a request is not answered as it wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("400 Bad Request")]
    Malformed,
    #[error("404 Not Found")]
    NotFound,
    #[error("405 Method Not Allowed")]
    Method,
    #[error("413 Content Too Large")]
    Body,
    /// The page was asked for by a name that is not this machine's loopback: a name of somebody
    /// else's that leads here, by which his page could read this one.
    #[error("421 Misdirected Request")]
    Host,
    #[error("431 Request Header Fields Too Large")]
    TooLarge,
}

impl Refusal {
    /// What it is counted as.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::Body => "body",
            Self::Host => "host",
            Self::TooLarge => "too-large",
        }
    }
}

/// Reads the head of a request; `None` as long as it is not complete.
pub(crate) fn parse(octets: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(octets) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if octets.len() >= MAX_HEAD => return Err(Refusal::TooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Malformed),
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::Method),
    };
    let values = |name: &str| {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        let found = request.headers.iter().filter(named);
        found.map(|header| header.value).collect::<Vec<_>>()
    };
    match values("host").as_slice() {
        [host] if is_loopback(host) => {}
        [_] => return Err(Refusal::Host),
        _ => return Err(Refusal::Malformed),
    }
    let has_body = values("content-length")
        .iter()
        .any(|length| *length != b"0");
    if has_body || !values("transfer-encoding").is_empty() {
        return Err(Refusal::Body);
    }
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    Ok(Some(Request {
        path: path.to_owned(),
        head_only,
    }))
}

/// Whether a name is one of the machine that the browser runs on, with any port: a tunnel may
/// begin at another one.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = core::str::from_utf8(host) else {
        return false;
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let is_port = port.len() <= 5 && port.bytes().all(|octet| octet.is_ascii_digit());
    let names = ["localhost", "127.0.0.1", "[::1]"];
    is_port && names.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: String,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: "200 OK".to_owned(),
            kind,
            body: body.into(),
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self {
            status: refusal.to_string(),
            kind: "text/plain; charset=utf-8",
            body: format!("{refusal}\n").into_bytes(),
        }
    }

    /// Returns what goes over the wire. Nothing may be stored or guessed, and a page may use only
    /// what comes from here and be shown in no other.
    pub(crate) fn octets(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        let length = self.body.len().to_string();
        for (name, value) in [
            ("Content-Type", self.kind),
            ("Content-Length", &length),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ] {
            // Nothing fails that writes to a string.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.status == Refusal::Method.to_string() {
            head.push_str("Allow: GET, HEAD\r\n");
        }
        head.push_str("\r\n");
        let mut octets = head.into_bytes();
        if !head_only {
            octets.extend_from_slice(&self.body);
        }
        octets
    }
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    fn get(lines: &str) -> Result<Option<Request>, Refusal> {
        parse(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    #[test]
    fn a_request_of_a_browser_is_understood() {
        let request = get("GET /status.json?x=1 HTTP/1.1\nHost: localhost:8480\nAccept: */*");
        let path = "/status.json".to_owned();
        let head_only = false;
        assert_eq!(request, Ok(Some(Request { path, head_only })));
        let head = get("HEAD / HTTP/1.1\nhost: [::1]:8480\nContent-Length: 0");
        assert!(head.unwrap().unwrap().head_only);
        let whole = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
        }
        assert!(parse(whole).unwrap().is_some());
    }

    #[test]
    fn a_name_that_is_not_loopback_is_refused() {
        for host in [
            "example.org",
            "127.0.0.1.example.org",
            "localhost.example.org:8480",
            "localhost:8480:1",
            "localhost:x",
            "192.0.2.1:8480",
            "[::2]",
            "evil@localhost",
            "",
        ] {
            let request = get(&format!("GET / HTTP/1.1\nHost: {host}"));
            assert_eq!(request, Err(Refusal::Host), "{host}");
        }
        for host in ["LOCALHOST", "localhost:", "127.0.0.1:80", "[::1]"] {
            assert!(
                get(&format!("GET / HTTP/1.1\nHost: {host}")).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn what_is_no_plain_request_is_refused() {
        for (lines, refusal) in [
            ("GET / HTTP/1.1", Refusal::Malformed),
            (
                "GET / HTTP/1.1\nHost: localhost\nHost: localhost",
                Refusal::Malformed,
            ),
            ("GET /", Refusal::Malformed),
            ("\u{1}", Refusal::Malformed),
            ("POST / HTTP/1.1\nHost: localhost", Refusal::Method),
            ("DELETE / HTTP/1.1\nHost: localhost", Refusal::Method),
            (
                "GET / HTTP/1.1\nHost: localhost\nContent-Length: 1",
                Refusal::Body,
            ),
            (
                "GET / HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked",
                Refusal::Body,
            ),
        ] {
            assert_eq!(get(lines), Err(refusal), "{lines}");
        }
        let many = "\nX: y".repeat(MAX_HEADERS + 1);
        assert_eq!(
            get(&format!("GET / HTTP/1.1{many}")),
            Err(Refusal::TooLarge)
        );
        let endless = format!("GET /{} ", "x".repeat(MAX_HEAD));
        assert_eq!(parse(endless.as_bytes()), Err(Refusal::TooLarge));
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_what_may_be_done_with_it() {
        let answer = Answer::new("text/html; charset=utf-8", "page");
        let text = String::from_utf8(answer.octets(false)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"));
        assert!(head.contains("\r\nContent-Length: 4\r\n"));
        assert!(head.contains("default-src 'none'"));
        assert_eq!(body, "page");
        let text = String::from_utf8(answer.octets(true)).unwrap();
        assert!(text.contains("Content-Length: 4") && text.ends_with("\r\n\r\n"));
        let text = String::from_utf8(Answer::refused(Refusal::Method).octets(false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n"));
    }
}

//! A request of HTTP/1.1: as little of it as a health check needs.

use core::net::SocketAddr;
use core::ops::RangeInclusive;
use std::boxed::Box;
use std::format;
use std::io;
use std::string::{String, ToString};
use std::vec::Vec;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{CheckError, Probe};

/// How much of an answer is read: all of a healthy server's head, and enough of its body.
pub const MAX_ANSWER: usize = 16 * 1024;

/// Well if a GET request is answered with a status of success, and with a text if one is
/// [expected](Self::expect).
///
/// Nothing is followed, decoded or encrypted.
#[derive(Clone, Debug)]
pub struct HttpGet {
    address: SocketAddr,
    request: String,
    accepted: RangeInclusive<u16>,
    expected: Option<String>,
}

/// Why an HTTP server is not well, or a check of it is not possible.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The path or the name of the host holds what would end it: it must be visible ASCII, and the
    /// path begin with `/`.
    #[error("{value:?} is neither a path nor the name of a host")]
    Name {
        /// Which.
        value: String,
    },
    /// What it says is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// It answers with this status.
    #[error("status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It does not say what is expected, in the first [`MAX_ANSWER`] octets.
    #[error("the answer does not contain the expected text")]
    Unexpected,
}

impl HttpGet {
    /// A request for `path` of `host`, to the server at this address. A status of 200 to 299 is
    /// success.
    ///
    /// # Errors
    ///
    /// [`HttpError::Name`].
    pub fn new(address: SocketAddr, host: &str, path: &str) -> Result<Self, HttpError> {
        let is_plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic());
        for (value, is_good) in [
            (host, is_plain(host)),
            (path, is_plain(path) && path.starts_with('/')),
        ] {
            if !is_good {
                let value = value.to_string();
                return Err(HttpError::Name { value });
            }
        }
        Ok(Self {
            address,
            request: format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ha-core\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            ),
            accepted: 200..=299,
            expected: None,
        })
    }

    /// Chooses which statuses are success.
    #[must_use]
    pub fn accept(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.accepted = statuses;
        self
    }

    /// Wants this text in the answer.
    #[must_use]
    pub fn expect(mut self, text: &str) -> Self {
        self.expected = Some(text.to_string());
        self
    }

    /// What is known from the beginning of an answer; `None` if more is needed.
    fn judge(&self, answer: &[u8]) -> Option<Result<(), HttpError>> {
        const BEGIN: &[u8] = b"HTTP/1.";
        let known = answer.len().min(BEGIN.len());
        if answer.get(..known) != BEGIN.get(..known) {
            return Some(Err(HttpError::NotHttp));
        }
        // HTTP/1.1 200
        let line = answer.get(..12)?;
        let status = line.get(9..).filter(|_| line.get(8) == Some(&b' '));
        let status = status.and_then(|digits| core::str::from_utf8(digits).ok());
        let Some(status) = status.and_then(|digits| digits.parse().ok()) else {
            return Some(Err(HttpError::NotHttp));
        };
        if !self.accepted.contains(&status) {
            return Some(Err(HttpError::Status { status }));
        }
        let Some(expected) = &self.expected else {
            return Some(Ok(()));
        };
        let is_in = answer
            .windows(expected.len().max(1))
            .any(|text| text == expected.as_bytes());
        (is_in || expected.is_empty()).then_some(Ok(()))
    }
}

#[async_trait]
impl Probe for HttpGet {
    async fn look(&self) -> Result<(), CheckError> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(MAX_ANSWER);
        let mut stream = stream.take(MAX_ANSWER as u64);
        loop {
            let length = match stream.read_buf(&mut answer).await {
                Ok(length) => length,
                // It may end the connection so after all was said.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error.into()),
            };
            if let Some(verdict) = self.judge(&answer) {
                return Ok(verdict?);
            }
            if length == 0 {
                return Err(match answer.len() {
                    0..12 => HttpError::NotHttp.into(),
                    _ => HttpError::Unexpected.into(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> HttpGet {
        HttpGet::new("127.0.0.1:80".parse().unwrap(), "host", "/health?a=b").unwrap()
    }

    #[test]
    fn an_answer_is_judged_as_soon_as_it_can_be() {
        for (answer, verdict) in [
            (&b""[..], None),
            (b"HTTP", None),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 200", Some(Ok(()))),
            (b"HTTP/1.0 204 No Content\r\n", Some(Ok(()))),
            (
                b"HTTP/1.1 503 Busy\r\n",
                Some(Err(HttpError::Status { status: 503 })),
            ),
            (b"HTTP/1.1 2x0 OK\r\n", Some(Err(HttpError::NotHttp))),
            (b"HTTP/1.1200 OK\r\n", Some(Err(HttpError::NotHttp))),
            (b"SSH-2.0-", Some(Err(HttpError::NotHttp))),
            (b"S", Some(Err(HttpError::NotHttp))),
        ] {
            assert_eq!(get().judge(answer), verdict, "{answer:?}");
        }
        let expects = get().expect("fine");
        assert_eq!(expects.judge(b"HTTP/1.1 200 OK\r\n\r\nall is"), None);
        assert_eq!(
            expects.judge(b"HTTP/1.1 200 OK\r\n\r\nall is fine"),
            Some(Ok(()))
        );
        assert_eq!(get().expect("").judge(b"HTTP/1.1 200"), Some(Ok(())));
        let moved = b"HTTP/1.1 301 Moved\r\n";
        assert_eq!(get().accept(200..=399).judge(moved), Some(Ok(())));
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_request() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (host, path) in [
            ("host", "health"),
            ("host", "/a b"),
            ("host", "/\r\nX: y"),
            ("ho st", "/"),
            ("host", "/\u{e9}"),
        ] {
            let refused = HttpGet::new(address, host, path);
            assert!(
                matches!(refused, Err(HttpError::Name { .. })),
                "{host} {path}"
            );
        }
    }
}

//! One POST over a connection that is kept: as much of HTTP/1.1 (RFC 9112) as etcd's gateway needs.

use core::fmt::Write as _;
use std::io;
use std::string::{String, ToString};
use std::vec::Vec;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// The longest head of an answer, and the longest answer, in octets. Those of etcd take a thousand.
const MAX_HEAD: usize = 16 * 1024;
const MAX_BODY: usize = 64 * 1024;

/// The longest line that announces a piece of an answer.
const MAX_CHUNK_LINE: usize = 256;

/// How much of something unreadable an error shows.
const EXCERPT: usize = 64;

/// Why there is no answer over a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended before the answer did.
    #[error("the connection ended within the answer")]
    Truncated,
    /// What came first is no status line of HTTP/1.
    #[error("status line {line:?}")]
    StatusLine {
        /// Its beginning.
        line: String,
    },
    /// A header has a value that cannot be.
    #[error("{field}: {value:?}")]
    Header {
        /// The header.
        field: &'static str,
        /// The beginning of its value.
        value: String,
    },
    /// Something in the answer is too long.
    #[error("{part} of more than {max} octets")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// How long it may be.
        max: usize,
    },
    /// A piece of the answer is not announced as it should be.
    #[error("chunk {line:?}")]
    Chunk {
        /// The beginning of the line.
        line: String,
    },
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether the connection can serve again.
    pub(super) keep: bool,
}

/// How the end of an answer is known.
enum Extent {
    Length(usize),
    Chunked,
    /// The connection ends.
    End,
}

/// A connection, and what was read from it that belongs to what comes next.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        let read = Vec::new();
        Self { stream, read }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Whether nothing was read that nobody asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.read.is_empty()
    }

    /// Asks. After an error, or if the future is dropped, the connection serves no more.
    pub(super) async fn post(
        &mut self,
        host: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<Response, HttpError> {
        let mut request = Zeroizing::new(String::new());
        let length = body.len();
        // Writing to a String does not fail.
        let _ = write!(
            request,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nContent-Length: {length}\r\n"
        );
        if let Some(token) = token {
            let _ = write!(request, "Authorization: {token}\r\n");
        }
        request.push_str("\r\n");
        let mut bytes = Zeroizing::new(Vec::with_capacity(request.len() + length));
        bytes.extend_from_slice(request.as_bytes());
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        self.response().await
    }

    async fn response(&mut self) -> Result<Response, HttpError> {
        let mut left = MAX_HEAD;
        let line = self.line("head", MAX_HEAD, &mut left).await?;
        let status = status(&line).ok_or_else(|| HttpError::StatusLine {
            line: excerpt(&line),
        })?;
        let mut keep = line.starts_with(b"HTTP/1.1");
        let mut extent = None;
        loop {
            let line = self.line("head", MAX_HEAD, &mut left).await?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|octet| *octet == b':');
            let Some((name, value)) = colon.and_then(|colon| line.split_at_checked(colon)) else {
                return Err(wrong("header", &line));
            };
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = length(value)?;
                match extent {
                    Some(Extent::Length(other)) if other != length => {
                        return Err(wrong("content-length", value));
                    }
                    // The other one takes precedence (RFC 9112 §6.3).
                    Some(Extent::Chunked) => {}
                    _ => extent = Some(Extent::Length(length)),
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(wrong("transfer-encoding", value));
                }
                extent = Some(Extent::Chunked);
            } else if name.eq_ignore_ascii_case(b"connection") {
                keep &= !value.eq_ignore_ascii_case(b"close");
            }
        }
        let body = match extent.unwrap_or(Extent::End) {
            Extent::Length(length) => self.take(length).await?,
            Extent::Chunked => self.chunks().await?,
            Extent::End => {
                keep = false;
                self.rest().await?
            }
        };
        Ok(Response { status, body, keep })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        loop {
            let mut left = MAX_CHUNK_LINE;
            let line = self.line("chunk", MAX_CHUNK_LINE, &mut left).await?;
            let bad = || HttpError::Chunk {
                line: excerpt(&line),
            };
            let digits = line.split(|octet| *octet == b';').next();
            let digits = digits.unwrap_or_default().trim_ascii();
            let length = core::str::from_utf8(digits).map_err(|_| bad())?;
            if !length.bytes().all(|octet| octet.is_ascii_hexdigit()) {
                return Err(bad());
            }
            let length = usize::from_str_radix(length, 16).map_err(|_| bad())?;
            if length == 0 {
                break;
            }
            if length > MAX_BODY.saturating_sub(body.len()) {
                return Err(body_too_long());
            }
            body.extend(self.take(length).await?);
            let end = self.take(2).await?;
            if end != b"\r\n" {
                return Err(HttpError::Chunk {
                    line: excerpt(&end),
                });
            }
        }
        // What follows the last one is of no use, but must be read.
        let mut left = MAX_HEAD;
        while !self.line("trailer", MAX_HEAD, &mut left).await?.is_empty() {}
        Ok(body)
    }

    async fn rest(&mut self) -> Result<Vec<u8>, HttpError> {
        while self.fill().await? {
            if self.read.len() > MAX_BODY {
                return Err(body_too_long());
            }
        }
        Ok(core::mem::take(&mut self.read))
    }

    /// Reads a line, and takes its length from what all lines together may have.
    async fn line(
        &mut self,
        part: &'static str,
        max: usize,
        left: &mut usize,
    ) -> Result<Vec<u8>, HttpError> {
        let mut searched = 0;
        loop {
            let rest = self.read.get(searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=searched + end).collect();
                if line.len() > max.min(*left) {
                    return Err(HttpError::TooLong { part, max });
                }
                *left = left.saturating_sub(line.len());
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            searched = self.read.len();
            if searched > max.min(*left) {
                return Err(HttpError::TooLong { part, max });
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, HttpError> {
        while self.read.len() < length {
            self.more().await?;
        }
        Ok(self.read.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<(), HttpError> {
        if self.fill().await? {
            Ok(())
        } else {
            Err(HttpError::Truncated)
        }
    }

    /// Reads what there is, but not much at once. False at the end.
    async fn fill(&mut self) -> Result<bool, HttpError> {
        let mut piece = [0; 4096];
        let count = self.stream.read(&mut piece).await?;
        self.read.extend(piece.iter().take(count));
        Ok(count > 0)
    }
}

fn body_too_long() -> HttpError {
    HttpError::TooLong {
        part: "body",
        max: MAX_BODY,
    }
}

fn wrong(field: &'static str, value: &[u8]) -> HttpError {
    HttpError::Header {
        field,
        value: excerpt(value),
    }
}

pub(super) fn excerpt(bytes: &[u8]) -> String {
    let beginning = bytes.get(..EXCERPT).unwrap_or(bytes);
    String::from_utf8_lossy(beginning).to_string()
}

/// The code of a line like "HTTP/1.1 200 OK".
fn status(line: &[u8]) -> Option<u16> {
    let mut words = core::str::from_utf8(line).ok()?.split(' ');
    let version = words.next()?;
    let code = words.next()?;
    let is_one = code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_digit());
    let is_http = version == "HTTP/1.1" || version == "HTTP/1.0";
    let code = code.parse().ok().filter(|_| is_one && is_http)?;
    // Answers before the answer are for those who ask for them.
    (code >= 200).then_some(code)
}

fn length(value: &[u8]) -> Result<usize, HttpError> {
    let bad = || wrong("content-length", value);
    let text = core::str::from_utf8(value).map_err(|_| bad())?;
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(bad());
    }
    let length: usize = text.parse().map_err(|_| bad())?;
    if length > MAX_BODY {
        return Err(body_too_long());
    }
    Ok(length)
}

//! Where a member of the cluster listens.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;
use std::string::{String, ToString};

/// A host and a port: `10.0.0.1:2379`, `[fd00::1]:2379`, `etcd.example:2379`, each also after
/// `http://`. Without a port it is 2379.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    /// Without brackets.
    host: String,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It begins with a scheme other than `http`.
    #[error("{scheme}:// where only http:// is spoken")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// The host can be none.
    #[error("host {host:?}")]
    Host {
        /// Its beginning.
        host: String,
    },
    /// The port is no number from 1 to 65535.
    #[error("port {port:?} where 1 to 65535 are possible")]
    Port {
        /// Its beginning.
        port: String,
    },
}

const DEFAULT_PORT: u16 = 2379;

impl Endpoint {
    /// As tokio takes it.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// Etcd on this host.
impl Default for Endpoint {
    fn default() -> Self {
        Self {
            host: "localhost".to_string(),
            port: DEFAULT_PORT,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let rest = match text.split_once("://") {
            None | Some(("http", _)) => text.strip_prefix("http://").unwrap_or(text),
            Some((scheme, _)) => {
                let scheme = short(scheme);
                return Err(EndpointError::Scheme { scheme });
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => (host, port),
            Some((host, _)) => return Err(EndpointError::Host { host: short(host) }),
            None => rest
                .find(':')
                .map_or((rest, ""), |colon| rest.split_at(colon)),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_v6 = rest.starts_with('[');
        if !is_v6 && (host.is_empty() || host.len() > 253 || !host.chars().all(is_name)) {
            return Err(EndpointError::Host { host: short(host) });
        }
        let number = match port.strip_prefix(':') {
            None if port.is_empty() => Some(DEFAULT_PORT),
            None => None,
            Some(digits) => digits.parse().ok().filter(|port| *port != 0),
        };
        let port = number.ok_or_else(|| EndpointError::Port { port: short(port) })?;
        let host = host.to_string();
        Ok(Self { host, port })
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_endpoint() {
        for (text, shown) in [
            ("10.0.0.1:2379", "10.0.0.1:2379"),
            ("http://etcd.example:1/", "etcd.example:1"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("http://[::1]", "[::1]:2379"),
            ("localhost", "localhost:2379"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_named() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        let scheme = "https".to_string();
        assert_eq!(error("https://a:1"), EndpointError::Scheme { scheme });
        for text in ["", ":1", "a b:1", "a\r\nX: y:1", "http://[a]:1", "u@h:1"] {
            assert!(matches!(error(text), EndpointError::Host { .. }), "{text}");
        }
        for text in ["a:0", "a:65536", "a:", "a:x", "fd00::1", "[::1]80"] {
            assert!(matches!(error(text), EndpointError::Port { .. }), "{text}");
        }
    }
}

//! What an address means (HAST §1.1).

use core::fmt;

/// The port of HAST.
pub const DEFAULT_PORT: u16 = 8457;

/// The longest host in an address, in octets.
const MAX_HOST_LEN: usize = 255;

/// What the text of an address means.
///
/// The configuration takes every text for an address; whether it is one shows when it is used
/// (HAST §8.3).
///
/// # Example
///
/// ```
/// use hast_proto::conf::{Endpoint, Family};
///
/// let endpoint = Endpoint::parse("tcp6://[fd00::2]:8458")?;
/// assert_eq!(
///     endpoint,
///     Endpoint::Tcp { family: Family::V6, host: "fd00::2", port: Some(8458) }
/// );
/// assert_eq!(endpoint.to_string(), "tcp6://[fd00::2]:8458");
/// // With more than one colon and a bracket, what follows the last colon is the port.
/// assert!(Endpoint::parse("[::1]").is_err());
/// assert!(Endpoint::parse("::1").is_ok());
/// # Ok::<(), hast_proto::conf::EndpointError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Endpoint<'a> {
    /// A TCP socket.
    Tcp {
        /// Which addresses of the host count. The original uses the resolver's first only.
        family: Family,
        /// A name or an address, without brackets.
        host: &'a str,
        /// The port; `None` is [`DEFAULT_PORT`], but any in a `source`.
        port: Option<u16>,
    },
    /// A UNIX stream socket, good for `control` only.
    Unix(&'a str),
    /// The channel between hastd and its workers, good for nothing in a configuration.
    SocketPair,
}

/// The family of a TCP address.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the prefixes are these three")]
pub enum Family {
    /// `tcp://` or no prefix: any.
    #[default]
    Any,
    /// `tcp4://`: IPv4 only.
    V4,
    /// `tcp6://`: IPv6 only.
    V6,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError<'a> {
    /// There is no host, or no path.
    #[error("the address names nothing")]
    Empty,
    /// The host is too long.
    #[error("a host of {len} octets where at most 255 are allowed")]
    HostTooLong {
        /// Its octets.
        len: usize,
    },
    /// What stands where the port must is none of 1 to 65535.
    #[error("{text:?} is no port")]
    Port {
        /// What stands there.
        text: &'a str,
    },
}

impl<'a> Endpoint<'a> {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// [`EndpointError`], if the text can be no address. Whether the host exists, the resolver
    /// knows.
    pub fn parse(text: &'a str) -> Result<Self, EndpointError<'a>> {
        let prefixed = text.split_once("://").and_then(|(prefix, rest)| {
            let is = |known: &str| prefix.eq_ignore_ascii_case(known);
            match () {
                () if is("socketpair") => Some(Ok(Self::SocketPair)),
                () if is("uds") || is("unix") => Some(Self::unix(rest)),
                () if is("tcp") => Some(Self::tcp(Family::Any, rest)),
                () if is("tcp4") => Some(Self::tcp(Family::V4, rest)),
                () if is("tcp6") => Some(Self::tcp(Family::V6, rest)),
                () => None,
            }
        });
        match prefixed {
            Some(endpoint) => endpoint,
            None if text.starts_with('/') && !text.contains("://") => Self::unix(text),
            None => Self::tcp(Family::Any, text),
        }
    }

    fn unix(path: &'a str) -> Result<Self, EndpointError<'a>> {
        if path.is_empty() {
            return Err(EndpointError::Empty);
        }
        Ok(Self::Unix(path))
    }

    fn tcp(family: Family, text: &'a str) -> Result<Self, EndpointError<'a>> {
        let colons = text.bytes().filter(|&octet| octet == b':').count();
        let has_port = colons == 1 || (colons > 1 && text.starts_with('['));
        let (host, port) = match text.rsplit_once(':').filter(|_| has_port) {
            Some((host, port)) => (unbracketed(host), Some(self::port(port)?)),
            None => (text, None),
        };
        match host.len() {
            0 => Err(EndpointError::Empty),
            1..=MAX_HOST_LEN => Ok(Self::Tcp { family, host, port }),
            len => Err(EndpointError::HostTooLong { len }),
        }
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Reads a port: digits only, 1 to 65535, leading zeros allowed.
fn port(text: &str) -> Result<u16, EndpointError<'_>> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| digits && port != 0);
    port.ok_or(EndpointError::Port { text })
}

impl fmt::Display for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tcp { family, host, port } => {
                f.write_str(match family {
                    Family::Any => "tcp://",
                    Family::V4 => "tcp4://",
                    Family::V6 => "tcp6://",
                })?;
                match port {
                    Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
                    Some(port) => write!(f, "{host}:{port}"),
                    None => f.write_str(host),
                }
            }
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::SocketPair => f.write_str("socketpair://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn tcp(
        family: Family,
        host: &str,
        port: Option<u16>,
    ) -> Result<Endpoint<'_>, EndpointError<'_>> {
        Ok(Endpoint::Tcp { family, host, port })
    }

    #[test]
    fn the_port_is_found_by_the_rules_of_the_original() {
        let any = Family::Any;
        assert_eq!(Endpoint::parse("10.0.0.2"), tcp(any, "10.0.0.2", None));
        assert_eq!(
            Endpoint::parse("TCP4://h:08457"),
            tcp(Family::V4, "h", Some(8457))
        );
        assert_eq!(
            Endpoint::parse("tcp6://[::]:1"),
            tcp(Family::V6, "::", Some(1))
        );
        assert_eq!(Endpoint::parse("fd00::1"), tcp(any, "fd00::1", None));
        assert_eq!(Endpoint::parse("[h]:9"), tcp(any, "h", Some(9)));
        let port = |text| Err(EndpointError::Port { text });
        assert_eq!(Endpoint::parse("[::1]"), port("1]"));
        assert_eq!(Endpoint::parse("h:"), port(""));
        assert_eq!(Endpoint::parse("h:0"), port("0"));
        assert_eq!(Endpoint::parse("h:65536"), port("65536"));
        assert_eq!(Endpoint::parse("h:+1"), port("+1"));
        assert_eq!(Endpoint::parse("nonsense://what"), port("//what"));
        assert_eq!(Endpoint::parse("tcp://"), Err(EndpointError::Empty));
    }

    #[test]
    fn sockets_of_the_host_are_told_by_prefix_or_slash() {
        assert_eq!(
            Endpoint::parse("/var/run/hastctl"),
            Ok(Endpoint::Unix("/var/run/hastctl"))
        );
        assert_eq!(Endpoint::parse("uds:///a"), Ok(Endpoint::Unix("/a")));
        assert_eq!(Endpoint::parse("UNIX://a"), Ok(Endpoint::Unix("a")));
        assert_eq!(Endpoint::parse("uds://"), Err(EndpointError::Empty));
        assert_eq!(Endpoint::parse("socketpair://"), Ok(Endpoint::SocketPair));
        assert_eq!(
            Endpoint::parse("socketpair://").unwrap().to_string(),
            "socketpair://"
        );
    }

    #[test]
    fn a_host_has_at_most_255_octets() {
        let long = "a".repeat(256);
        assert_eq!(
            Endpoint::parse(&long),
            Err(EndpointError::HostTooLong { len: 256 })
        );
        assert!(Endpoint::parse(&long[1..]).is_ok());
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for text in [
            "tcp://h",
            "tcp4://h:1",
            "tcp6://[::1]:2",
            "tcp://::1",
            "unix:///a",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
    }
}

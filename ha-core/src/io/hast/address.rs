//! Where a peer is: an address of the configuration, resolved when it is needed.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use hast_proto::conf::{Endpoint, EndpointError, Family};

/// A TCP address as text, as `remote` and `source` have it (HAST §1.1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NetAddress {
    text: Box<str>,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Host {
    Address(IpAddr),
    Name(Family, Box<str>),
}

/// Why a text is no address of a peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It names nothing.
    #[error("the address names nothing")]
    Empty,
    /// The host is too long.
    #[error("a host of {len} octets where at most 255 are allowed")]
    HostTooLong {
        /// Its octets.
        len: usize,
    },
    /// The port is none.
    #[error("{text:?} is no port")]
    Port {
        /// What stands there.
        text: Box<str>,
    },
    /// The address is not one of TCP, or of another family than it says.
    #[error("{text:?} is no address for TCP")]
    NotTcp {
        /// The address.
        text: Box<str>,
    },
}

impl NetAddress {
    /// Reads an address; `port` is taken if it has none: 8457 for a peer, 0 (any) for a source.
    ///
    /// # Errors
    ///
    /// [`AddressError`].
    pub fn parse(text: &str, port: u16) -> Result<Self, AddressError> {
        let not_tcp = || AddressError::NotTcp { text: text.into() };
        let endpoint = Endpoint::parse(text).map_err(|error| match error {
            EndpointError::Empty => AddressError::Empty,
            EndpointError::HostTooLong { len } => AddressError::HostTooLong { len },
            EndpointError::Port { text } => AddressError::Port { text: text.into() },
            _ => not_tcp(),
        })?;
        let Endpoint::Tcp {
            family,
            host,
            port: own,
        } = endpoint
        else {
            return Err(not_tcp());
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) if !is_of(family, address) => return Err(not_tcp()),
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(family, host.into()),
        };
        Ok(Self {
            text: text.into(),
            host,
            port: own.unwrap_or(port),
        })
    }

    /// Returns the text, as it was read.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host, without its port.
    #[cfg(feature = "tls")]
    pub(super) fn host(&self) -> std::string::String {
        use std::string::ToString;

        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(_, name) => name.to_string(),
        }
    }

    /// Returns the address, if it is a number.
    pub(super) const fn literal(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Address(address) => Some(*address),
            Host::Name(..) => None,
        }
    }

    /// Asks the system's resolver, unless the host is a number.
    ///
    /// # Errors
    ///
    /// What the resolver reports; [`io::ErrorKind::NotFound`] if it knows no address of the
    /// family.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Address(address) => Ok([SocketAddr::new(*address, self.port)].into()),
            Host::Name(family, name) => {
                let found = tokio::net::lookup_host((&**name, self.port)).await?;
                let found: Vec<_> = found
                    .filter(|address| is_of(*family, address.ip()))
                    .collect();
                if found.is_empty() {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok(found)
            }
        }
    }
}

impl From<SocketAddr> for NetAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            text: std::format!("tcp://{address}").into(),
            host: Host::Address(address.ip()),
            port: address.port(),
        }
    }
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const fn is_of(family: Family, address: IpAddr) -> bool {
    match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    async fn resolved(text: &str) -> std::string::String {
        let address = NetAddress::parse(text, 8457).unwrap();
        assert_eq!(address.as_str(), text);
        address.resolve().await.unwrap()[0].to_string()
    }

    #[tokio::test]
    async fn numbers_need_no_resolver() {
        assert_eq!(resolved("tcp://10.0.0.2").await, "10.0.0.2:8457");
        assert_eq!(resolved("10.0.0.2:1").await, "10.0.0.2:1");
        assert_eq!(resolved("tcp6://[fd00::2]:8458").await, "[fd00::2]:8458");
        assert_eq!(resolved("::1").await, "[::1]:8457");
    }

    #[test]
    fn what_is_no_address_says_so() {
        let error = |text| NetAddress::parse(text, 8457).unwrap_err();
        let not_tcp = |text: &str| AddressError::NotTcp { text: text.into() };
        assert_eq!(error("/var/run/socket"), not_tcp("/var/run/socket"));
        assert_eq!(error("tcp4://::1"), not_tcp("tcp4://::1"));
        assert_eq!(error("tcp://"), AddressError::Empty);
        assert!(matches!(error("host:port"), AddressError::Port { .. }));
    }
}

//! Where etcd is, and who asks.

use core::fmt;
use core::time::Duration;
use std::string::{String, ToString};
use std::vec::Vec;

use zeroize::Zeroizing;

use super::Endpoint;

/// Where etcd is, and what is kept there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The members, or proxies of one cluster, in the order in which they are tried.
    pub endpoints: Vec<Endpoint>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long one endpoint may take for one request, connecting included. Less than the
    /// machine's patience, or no second endpoint is ever tried.
    pub attempt: Duration,
    /// Who asks, if etcd wants to know.
    pub credentials: Option<Credentials>,
}

impl EtcdConfig {
    /// Makes a configuration with the prefix `/ha` and half a second for each attempt.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            prefix: "/ha".to_string(),
            attempt: Duration::from_millis(500),
            credentials: None,
        }
    }
}

/// A name and a password, which is wiped and never shown.
#[derive(Clone)]
pub struct Credentials {
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

impl Credentials {
    /// Takes both.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_string(),
            password: Zeroizing::new(password.to_string()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Credentials");
        debug.field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdConfigError {
    /// Nobody could be asked.
    #[error("endpoints: none where at least one is needed")]
    NoEndpoint,
    /// An attempt would be over at once.
    #[error("attempt: zero")]
    NoTime,
    /// The name of a unit is empty, too long, or could be taken for a part of a key.
    #[error("unit {value:?}: 1 to 255 octets are possible, without \"/\" and without controls")]
    Unit {
        /// The name.
        value: String,
    },
}

//! The arbiter's record in etcd. Feature `etcd`.
//!
//! [`EtcdArbiter`] speaks to etcd's JSON gateway (API v3, etcd 3.4 and later) by HTTP/1.1 over TCP,
//! without TLS; what is beyond a trusted network goes through a tunnel or a proxy.
//!
//! # What it keeps
//!
//! | key | value | ends |
//! |---|---|---|
//! | `PREFIX/UNIT/record` | the [record](super::encode_record) | never |
//! | `PREFIX/UNIT/holder` | nothing | with the holder's lease |
//!
//! Both are read, and both are written, in one transaction. If the second is missing, the record
//! is told without its holder: etcd has counted the holder's time, by the clock of its leader, and
//! it is over. So a node that has just started need not watch the record for the whole time, as
//! those without such a store must. The record itself outlives every lease, because it says who is
//! up to date.
//!
//! Each swap grants a new lease, and lets the former one run out. A lease that is kept alive would
//! spare a request, but keeping alive is not agreed upon by the cluster: a leader that was deposed
//! without knowing could prolong a lease, of which the present leader does not know.
//!
//! # Which answers are believed
//!
//! Transactions are linearizable, reading ones too. Of several endpoints the next one is tried when
//! one fails, also with a swap: whichever copy of it comes first, the others find another revision.
//! An endpoint of another cluster is refused, and so is a revision that is smaller than one that
//! was seen: etcd was restored from a backup, and its record may be older than what was
//! acknowledged. The program has to be started anew then, after somebody has looked.

mod config;
mod endpoint;
mod error;
mod http;
mod message;

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::string::{String, ToString};

use async_trait::async_trait;
use serde_json::Value;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

pub use config::{Credentials, EtcdConfig, EtcdConfigError};
pub use endpoint::{Endpoint, EndpointError};
pub use error::EtcdError;
pub use http::HttpError;

use self::http::{Connection, Response};
use super::record::encode_record;
use super::{Arbiter, ArbiterError};
use crate::failover::{Answer, Query, Record, Revision};
use crate::io::clock;

/// The shortest lease of etcd, with its own default settings.
const MIN_TTL: Duration = Duration::from_secs(2);

/// The keys of a unit.
#[derive(Debug)]
struct Keys {
    record: String,
    holder: String,
}

/// Keeps a unit's record in etcd; see the [module](self).
///
/// ```
/// use ha_core::io::arbiter::etcd::{EtcdArbiter, EtcdConfig};
///
/// let endpoints = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"];
/// let endpoints = endpoints.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
/// let arbiter = EtcdArbiter::new(EtcdConfig::new(endpoints), "shared")?;
/// # drop(arbiter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EtcdArbiter {
    config: EtcdConfig,
    keys: Keys,
    /// The endpoint that is asked first.
    current: usize,
    /// Its connection, if the last answer left one.
    connection: Option<Connection<TcpStream>>,
    token: Option<Zeroizing<String>>,
    cluster: Option<u64>,
    /// The greatest revision that was seen.
    seen: Option<Revision>,
}

impl fmt::Debug for EtcdArbiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdArbiter")
            .field("config", &self.config)
            .field("keys", &self.keys)
            .field("cluster", &self.cluster)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl EtcdArbiter {
    /// Prepares to keep the record of `unit`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`EtcdConfigError`]
    pub fn new(config: EtcdConfig, unit: &str) -> Result<Self, EtcdConfigError> {
        if config.endpoints.is_empty() {
            return Err(EtcdConfigError::NoEndpoint);
        }
        if config.attempt.is_zero() {
            return Err(EtcdConfigError::NoTime);
        }
        let odd = |c: char| c == '/' || c.is_control();
        if unit.is_empty() || unit.len() > 255 || unit.contains(odd) {
            let value = unit.chars().take(64).collect();
            return Err(EtcdConfigError::Unit { value });
        }
        let key = |name| std::format!("{}/{unit}/{name}", config.prefix);
        Ok(Self {
            keys: Keys {
                record: key("record"),
                holder: key("holder"),
            },
            config,
            current: 0,
            connection: None,
            token: None,
            cluster: None,
            seen: None,
        })
    }

    async fn swap(
        &mut self,
        expected: Option<Revision>,
        record: &Record,
    ) -> Result<Answer, ArbiterError> {
        let text = encode_record(record)?;
        let lease = match record.holder {
            Some(_) => Some(self.grant(record.ttl).await?),
            None => None,
        };
        let question = message::swap(&self.keys, expected, &text, lease.as_deref());
        Ok(self.transact(&question, true).await?)
    }

    /// A lease that ends no earlier than the holder's time, which has begun before this.
    async fn grant(&mut self, ttl: Duration) -> Result<String, EtcdError> {
        let ttl = ttl.max(MIN_TTL);
        let wanted = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let question = message::grant(wanted);
        let answer = self.call("/v3/lease/grant", &question).await?;
        let (lease, granted) = message::granted(&answer)?;
        if granted < wanted {
            return Err(EtcdError::Lease { wanted, granted });
        }
        Ok(lease)
    }

    async fn transact(&mut self, question: &Value, swaps: bool) -> Result<Answer, EtcdError> {
        let answer = self.call("/v3/kv/txn", question).await?;
        let told = message::told(&answer, swaps).inspect_err(|_| self.give_up())?;
        let expected = *self.cluster.get_or_insert(told.cluster);
        if told.cluster != expected {
            self.give_up();
            let found = told.cluster;
            return Err(EtcdError::OtherCluster { expected, found });
        }
        if let Some(seen) = self.seen.filter(|seen| *seen > told.revision) {
            self.give_up();
            let (seen, found) = (seen.get(), told.revision.get());
            return Err(EtcdError::WentBack { seen, found });
        }
        self.seen = Some(told.revision);
        Ok(if told.set {
            Answer::Swapped(told.revision)
        } else {
            Answer::Current(told.stored)
        })
    }

    /// Asks the endpoints in turn, beginning with the one that answered last.
    async fn call(&mut self, path: &str, question: &Value) -> Result<Value, EtcdError> {
        let question = question.to_string();
        let mut left = self.config.endpoints.len();
        loop {
            let answer = self.call_current(path, question.as_bytes()).await;
            left = left.saturating_sub(1);
            let Err(error) = answer else { return answer };
            self.give_up();
            if left == 0 || !error.is_local() {
                return Err(error);
            }
        }
    }

    /// Next time another endpoint is asked first.
    fn give_up(&mut self) {
        self.connection = None;
        self.current = (self.current + 1) % self.config.endpoints.len().max(1);
    }

    /// Asks one endpoint, with a token if it wants one; a token that is not good any more is
    /// replaced once.
    async fn call_current(&mut self, path: &str, question: &[u8]) -> Result<Value, EtcdError> {
        let Some(credentials) = self.config.credentials.clone() else {
            let response = self.exchange(path, None, question).await?;
            return self.value(&response);
        };
        let mut fresh = false;
        loop {
            let token = match self.token.clone() {
                Some(token) => token,
                None => {
                    fresh = true;
                    self.authenticate(&credentials).await?
                }
            };
            let response = self.exchange(path, Some(&token), question).await?;
            let (_, code) = message::refusal(&response.body);
            // "invalid auth token": 16 is UNAUTHENTICATED.
            if (response.status == 401 || code == Some(16)) && !fresh {
                self.token = None;
                continue;
            }
            return self.value(&response);
        }
    }

    async fn authenticate(
        &mut self,
        credentials: &Credentials,
    ) -> Result<Zeroizing<String>, EtcdError> {
        let name = Value::from(credentials.name.as_str()).to_string();
        let password = Value::from(credentials.password.as_str()).to_string();
        let password = Zeroizing::new(password);
        let question = std::format!(r#"{{"name":{name},"password":{}}}"#, *password);
        let question = Zeroizing::new(question);
        let asked = self.exchange("/v3/auth/authenticate", None, question.as_bytes());
        let response = asked.await?;
        let token = Zeroizing::new(message::authenticated(&self.value(&response)?)?);
        self.token = Some(token.clone());
        Ok(token)
    }

    /// One request over the connection that is there, or over a new one.
    async fn exchange(
        &mut self,
        path: &str,
        token: Option<&str>,
        question: &[u8],
    ) -> Result<Response, EtcdError> {
        let endpoint = self.endpoint();
        // Whoever drops this future so drops the connection, which might have half an answer.
        let connection = self.connection.take().filter(is_open);
        let exchange = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => {
                    let stream = TcpStream::connect(endpoint.address()).await?;
                    stream.set_nodelay(true)?;
                    Connection::new(stream)
                }
            };
            let host = endpoint.to_string();
            let response = connection.post(&host, path, token, question).await?;
            Ok::<_, HttpError>((connection, response))
        };
        let time = self.config.attempt;
        match clock::within(time, exchange).await {
            Some(Ok((connection, response))) => {
                self.connection = Some(connection).filter(|_| response.keep);
                Ok(response)
            }
            Some(Err(error)) => Err(EtcdError::Http { endpoint, error }),
            None => Err(EtcdError::TimedOut { endpoint, time }),
        }
    }

    fn value(&self, response: &Response) -> Result<Value, EtcdError> {
        let endpoint = self.endpoint();
        if response.status != 200 {
            let (message, _) = message::refusal(&response.body);
            let status = response.status;
            return Err(EtcdError::Refused {
                endpoint,
                status,
                message,
            });
        }
        serde_json::from_slice(&response.body).map_err(|error| EtcdError::Json {
            endpoint,
            error: error.to_string(),
        })
    }

    fn endpoint(&self) -> Endpoint {
        let endpoint = self.config.endpoints.get(self.current);
        endpoint
            .or_else(|| self.config.endpoints.first())
            .cloned()
            .unwrap_or_default()
    }
}

#[async_trait]
impl Arbiter for EtcdArbiter {
    async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError> {
        match query {
            Query::Read => {
                let question = message::read(&self.keys);
                Ok(self.transact(&question, false).await?)
            }
            Query::Swap { expected, record } => self.swap(expected, &record).await,
        }
    }
}

/// Whether the other side has not ended it, and has said nothing that nobody asked for.
fn is_open(connection: &Connection<TcpStream>) -> bool {
    let end = connection.stream().try_read(&mut [0]);
    let is_silent = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    connection.is_idle() && is_silent
}

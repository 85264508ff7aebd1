//! Where the arbiter's record is kept. Feature `arbiter`; with etcd, feature `etcd`.
//!
//! The rules are [`failover`](crate::failover)'s: it says what to ask, and concludes from the
//! answers. An [`Arbiter`] only carries a [`Query`] to a store that can compare and set, and the
//! [`Answer`] back. One [`Arbiter`] keeps the record of one unit.
//!
//! ```text
//!   Failover --Output::Arbiter--> Asker --Query--> Arbiter ---> store
//!      ^                            |
//!      +------Input::Arbiter--------+ Reply
//! ```
//!
//! | store | for |
//! |---|---|
//! | [`MemoryArbiter`] | tests, and units within one process |
//! | [`FileArbiter`] | tests of several processes on one host |
//! | `EtcdArbiter` | production: etcd, by its JSON gateway |
//!
//! # What every store must do
//!
//! - A read tells the record as it was at some moment between question and answer, never an older
//!   one.
//! - A swap happens at most once, and only if the record has the revision that it expects. Each
//!   gives the record a greater revision than any record had before, even if the record was
//!   removed in between.
//! - What removes a record makes every node fit that says so itself: nothing must remove it, not
//!   even when its holder's time is over.
//! - A swap that failed with an error may have happened, or may happen later. Whoever asked reads,
//!   and [`failover`](crate::failover) does that by itself.
//!
//! # Clocks
//!
//! No two clocks are compared. The holder counts from before it asked, the others from when they
//! heard; see [`Arbitration`](crate::failover::Arbitration). A clock that stops while a machine is
//! suspended or migrated shows the holder more time than it has: where that can happen, set
//! `stop_early` to more than the longest pause, or fence by the token
//! ([`Run::token`](crate::failover::Run)).
//!
//! # Example
//!
//! ```
//! use core::time::Duration;
//! use ha_core::failover::{Answer, Expiry, Force, NodeId, Query, Record};
//! use ha_core::io::arbiter::{Arbiter, MemoryArbiter};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut arbiter = MemoryArbiter::new();
//! let node = NodeId::new(0)?;
//! let ttl = Duration::from_secs(15);
//! let record = Record::take(None, node, Expiry::Running, Force::No, ttl)?;
//! let expected = None;
//! let answer = arbiter.ask(Query::Swap { expected, record }).await?;
//! let Answer::Swapped(revision) = answer else { panic!("somebody else has it") };
//! let current = arbiter.ask(Query::Read).await?;
//! assert_eq!(current, Answer::Current(Some((revision, record))));
//! # Ok(())
//! # }
//! ```

mod asker;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(unix)]
mod file;
mod memory;
mod record;

use std::boxed::Box;

use async_trait::async_trait;

pub use asker::{Asker, Reply};
#[cfg(feature = "etcd")]
pub use etcd::EtcdArbiter;
#[cfg(unix)]
pub use file::{FileArbiter, FileError};
pub use memory::MemoryArbiter;
pub use record::{MAX_RECORD_LEN, RecordError, decode_record, encode_record};

use crate::failover::{Answer, Query};

/// A store of one unit's record.
///
/// A future that is dropped before its end takes nothing back: what was asked may still happen.
#[async_trait]
pub trait Arbiter: Send {
    /// Asks, within a time that the store bounds.
    ///
    /// # Errors
    ///
    /// [`ArbiterError`]: nothing is known then. A swap may have happened, or may happen later.
    async fn ask(&mut self, query: Query) -> Result<Answer, ArbiterError>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArbiterError {
    /// The record is none, or cannot be stored.
    #[error("the arbiter's record: {0}")]
    Record(#[from] RecordError),
    /// The file cannot be used.
    #[cfg(unix)]
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing is known from etcd.
    #[cfg(feature = "etcd")]
    #[error(transparent)]
    Etcd(#[from] etcd::EtcdError),
    /// What another store reports.
    #[error(transparent)]
    Other(Box<dyn core::error::Error + Send + Sync>),
}

//! How a session begins: two connections, two steps each way (HAST §1.2 to §1.6).
//!
//! ```text
//!  primary                                         secondary
//!     | ---- first connection -----------------------> |
//!     | first step: resource, version                  |
//!     | ---------------------------------------------> |
//!     |                        welcome: version, token |
//!     | <--------------------------------------------- |
//!     | ---- second connection ----------------------> |
//!     | second step: token, identity, counters         |
//!     | ---- on the second --------------------------> |
//!     |     answer: sizes, counters, who is the source |
//!     | <----------------------------- on the first -- |
//! ```
//!
//! After that requests travel on the first connection, and replies on the second.
//!
//! [`PrimaryHandshake`] is one attempt of the primary; [`SecondaryHandshake`] stands at the door
//! of one resource for as long as the resource is configured, whatever its role. Neither draws a
//! random number: tokens come in with each opening, and the primary's resource identifier with
//! [`Identity`]. Both give and take messages, not octets: the driver frames them, with the
//! [`Phase`](crate::frame::Phase) of each step, and so within its limits.
//!
//! # The state table of the primary's side
//!
//! Whatever is not in the table does nothing. "fail" is `Failed`, after which nothing comes
//! any more. Every state but the first and the last has a deadline, one timeout after it was
//! entered.
//!
//! | state | `Start` | `Connected` | `Frame` on the first | `Frame` on the second | `Identity` | `Timeout` | `Closed`, `Invalid` |
//! |---|---|---|---|---|---|---|---|
//! | idle | connect the first; connecting | - | - | - | - | - | - |
//! | connecting | - | first: send the first step; greeting | fail | fail | - | fail | fail |
//! | greeting | - | - | welcome: connect the second; joining. Refusal: fail | fail | - | fail | fail |
//! | joining | - | second: ask who we are; introducing | fail | fail | - | fail | fail |
//! | introducing | - | - | fail | refusal: fail | send the second step; deciding | fail | fail |
//! | deciding | - | - | answer: check it; `Established` or fail; over | refusal: fail | - | fail | fail |
//! | over | - | - | - | - | - | - | - |
//!
//! A refusal because both have counted is preceded by `SplitBrain`, with the peer's map if it has told
//! that.
//!
//! The identity is asked for as late as can be: counters that change after they were sent make
//! the decision worthless, which is why [`Session::sent`] says what was sent.
//!
//! # The state table of the secondary's side
//!
//! | state | first step | second step, its token known | `Ready` | `Stored` | `Timeout` | `Closed` |
//! |---|---|---|---|---|---|---|
//! | idle | welcome, half open | `Prepare`; preparing | - | - | close what was half open too long | forget the half-open one |
//! | preparing | the same | close the newcomer | refuse; accept; or store the adopted identity; idle or storing | - | the same, and give up after the limit | give up if it is one of the two |
//! | storing | the same | close the newcomer | - | accept, or refuse if it failed; idle | the same | the same |
//!
//! "Adopted identity" stands for whatever the answer needs on disk: the counters of a node that gives
//! way, too, and that a node is the source (HAST §16.2).
//!
//! As long as `Stored` is still to come for a second step that was given up, newcomers are closed
//! as in storing: nobody could tell whose identity had been stored.
//!
//! Openings are refused in any state for want of access, in a role other than secondary, and
//! with a token that is not known. "Give up" closes both connections; what a driver still does
//! for `Prepare` or `StoreMetadata` is ignored when it comes.
//!
//! # Order
//!
//! - A running session is ended by `Prepare`, so by nobody who has not brought back a token. The
//!   original ends it at any first step (HAST §14.16).
//! - A token is good for one second step, within the time limit, and there is none before the
//!   first step (HAST §12.2).
//! - The identity that a new secondary adopts is on disk before the answer is sent: otherwise a
//!   crash would make it new again, while the primary believes it known.

mod primary;
mod secondary;

pub use primary::{Failure, Identity, PrimaryHandshake};
pub use secondary::{Access, Connection, Established, Refusing, SecondaryHandshake};

/// What goes into and comes out of [`PrimaryHandshake`].
pub mod connecting {
    pub use super::primary::{Config, Input, Output, Which};
}

/// What goes into and comes out of [`SecondaryHandshake`].
pub mod accepting {
    pub use super::secondary::{Config, Input, Output};
}

use bytes::Bytes;

use crate::decision::Virgin;
use crate::types::{Counters, ResourceId, SyncSource, Version};

/// What the primary knows when the handshake has succeeded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Session {
    /// The version negotiated.
    pub version: Version,
    /// The counters that the primary has sent. If they have changed since, the secondary has
    /// decided on false premises, and the session is to be given up.
    pub sent: Counters,
    /// The identifier that was sent.
    pub resource_id: ResourceId,
    /// The secondary's counters.
    pub peer: Counters,
    /// Who has the current data.
    pub source: SyncSource,
    /// Whether the secondary is new.
    pub virgin: Virgin,
    /// The secondary's activemap, with a bit for every extent at least.
    pub map: Option<Bytes>,
}

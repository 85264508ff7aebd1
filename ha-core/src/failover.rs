//! The failover machine: addresses, storage role, file systems and services move together.
//!
//! A [`Failover`] looks after one unit on one node: groups of addresses, at most one replicated
//! storage resource, and what runs on it. It does no I/O and reads no clock. Being master of the
//! addresses is a wish to it, not a permission: it looks at the storage, asks the arbiter, and
//! then does the steps of a [`Plan`], the announcement of the addresses last. It gives the role
//! away in the opposite order, and lets other nodes have the addresses when nothing is left that
//! could write.
//!
//! ```text
//!   +---------+ wanted  +-----------+  record held  +-----------+  all done  +--------+
//!   | Standby | ------> | Acquiring | ------------> | Promoting | ---------> | Active |
//!   +---------+         +-----------+               +-----------+            +--------+
//!        ^                    | not wanted                |                   |      | planned
//!        | given back,        v any more     not wanted   |        not wanted |      v
//!        | or no answer +-----------+        any more, or |          any more | +----------+
//!        +------------- | Releasing |        a step failed|                   | | Draining |
//!                       +-----------+                     v                   | +----------+
//!                             ^                     +----------+              |      | drained
//!                             +-------------------- | Demoting | <------------+------+
//!                                all undone         +----------+
//!                                                     |      ^
//!     a start is a demotion          cannot be undone v      | time to try again
//!     of everything                                 +----------+
//!                                                   |  Stuck   |
//!                                                   +----------+
//! ```
//!
//! Without an arbiter, Acquiring and Releasing are passed over.
//!
//! # The state table
//!
//! An input is noted first; then everything follows that follows from what is known, so that an
//! input that was lost or came twice changes nothing in the end. "Wanted" is: master of all
//! groups for long enough; in service; no hold-down; no step of former times still runs; and,
//! unless forced, the storage is up to date by its own account and by the record, and no
//! connected peer is primary.
//!
//! | | Standby | Acquiring | Promoting | Active | Draining | Demoting | Releasing | Stuck |
//! |---|---|---|---|---|---|---|---|---|
//! | wanted | Acquiring | - | - | - | - | note | note | note |
//! | master, but not wanted | say why; if unfit or out of service, step down | Releasing | - | - | - | - | - | - |
//! | not master any more | - | Releasing | Demoting | Demoting | Demoting | - | - | - |
//! | step done | | | next step, or Active | | drain the next, or Demoting | undo the next, or Releasing | | - |
//! | step failed | | | try again, leave out, or Demoting | | as done | the next way to undo it; after the last, fence this node and Stuck | | - |
//! | step's deadline | | | cancel; then as failed | | cancel; then as done | cancel; then as failed | | try again: Demoting |
//! | storage unfit | demote | Releasing | Demoting | Demoting, if outdated or inconsistent | as in Active | - | demote | demote |
//! | storage not primary | - | - | Demoting, if it was made so | Demoting | Demoting | - | - | - |
//! | storage not secondary | Demoting | Releasing, then Demoting | - | - | - | note | note | - |
//! | storage degraded | - | - | grant | grant | grant | grant | - | - |
//! | record held | | Promoting | renew | renew | renew | renew | give back | - |
//! | record lost | - | wait | Demoting | as [`OnLoss`] says | Demoting | - | Standby | - |
//! | record given back | - | - | | | | | Standby | |
//! | health check falls | demote | demote | demote | Draining, if another node is up to date; else demote, unless nobody else has the data | note | note | note | demote |
//! | `Promote`, `Force` | take over, but `Promote` not while [`Cause::Unmet`] | take over | note | note | note | note | note | refused |
//! | `Demote` | refused | Releasing | Demoting | Demoting | Demoting | refused | refused | refused |
//! | `SwitchOver` | refused | refused | refused | Draining, if another node is up to date; else refused | refused | refused | refused | refused |
//! | `Maintenance` | demote | demote, Releasing | Demoting | Draining | note | note | demote | demote |
//! | `Shutdown` | end | Releasing | Demoting | Draining | note | note | note | note |
//!
//! "Grant" waits until the record says so. "Note" is: it counts in Standby. A hold-down, and the
//! demotion that goes with it, begins in Standby: after a failed promotion, storage that failed, a
//! health check, and the commands to give the role away. Who was demoted because the addresses had
//! left, and has them again by then, does not step down but is wanted. Steps run one at a time, and a step that did not end when
//! it was cancelled is not begun again before it has; until then this node is demoted.
//!
//! # Demotion
//!
//! Each [`Cause`] is an [`Output::Demote`] of its own and is taken back by its own
//! [`Output::Restore`], so nothing is left over (CARP §4.4). Those that would let another node
//! take over are withheld while there is something to undo here.
//!
//! # Storage
//!
//! A node whose storage is not up to date is demoted, so that it does not preempt before it is
//! resynchronised, and is not promoted unless forced. One that has met no peer since it started
//! cannot know: it is demoted too ([`Cause::Unmet`]), so that it leaves the addresses to a node
//! that has them, but it is promoted when there is none, as after both were off. An arbiter's
//! record makes that needless. The amount is that of every cause, since a level above 240 counts
//! as 240 (CARP §4.1): with a smaller one it would take the addresses from a node that serves and
//! is demoted for a lost link. Nor is a check that fails a reason to demote an active node whose
//! data no other node has: it counts when one has them. A primary that loses a node must not
//! acknowledge what that node lacks before it has an [`Output::Grant`]; with an arbiter the
//! record says so by then, and the node that was lost is not promoted.
//!
//! # What is not here
//!
//! Nothing that touches the outside: running the steps, watching the storage, storing the record.
//! What a split brain does is told, not mended: nothing is ever discarded by itself.

mod advance;
mod arbiter;
mod claim;
mod config;
mod event;
mod health;
mod machine;
mod plan;
mod preview;
mod queue;
mod standing;
mod storage;
mod work;

pub use arbiter::{
    Answer, Arbitration, Denial, Expiry, Force, OnLoss, Query, Record, Request, RequestId, Revision,
};
pub use config::{Config, ConfigError, Holds, MAX_TIME};
pub use event::{
    Blocked, Cause, Command, DegradedId, Ending, Event, Grant, GroupId, Input, Outcome, Output,
    Reason, Refusal, Run, RunId, State, Unknown,
};
pub use health::{CheckId, Health, HealthCheck, Tally, Turn};
pub use machine::Failover;
pub use plan::{
    Action, Attempt, IfStuck, MAX_STEPS, OnFailure, Plan, PlanError, Repeat, Step, StepId, StepKind,
};
pub use preview::{Planned, Preview};
pub use storage::{Data, NodeId, NodeIdError, NodeSet, Peer, StorageRole, StorageStatus, Unfit};

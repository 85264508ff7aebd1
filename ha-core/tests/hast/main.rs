//! Two nodes over loopback, in one process: what they replicate, and what can go wrong.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests wait for real sockets, and stop the program when they fail"
)]

mod disk;
mod faults;
mod handshake;
mod hostile;
#[cfg(feature = "metrics")]
mod metrics;
mod pair;
mod relay;
mod replicate;
mod roles;
mod split;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "failover")]
mod unit;

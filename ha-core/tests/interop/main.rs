//! The adapter for Linux and the daemon `carpd` on real networks, beside real `ucarp` and
//! `keepalived`.
//!
//! Needs root: everything happens in network namespaces that end with the test. Of the programs
//! it uses, `CONTRIBUTING.md` names the packages.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "waiting for daemons is limited")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod carpd;
mod keepalived;
mod load;
#[path = "../network/mod.rs"]
#[allow(dead_code, reason = "what the tests do not use, the benchmark does")]
mod network;
mod operator;
mod options;
mod outages;
mod ucarp;

use core::time::Duration;

const SECONDS: Duration = Duration::from_secs(1);

//! Two nodes of `had` in namespaces: a service with an append-only log on a replicated file system
//! moves between them with its address, while clients count what was acknowledged.
//!
//!     cargo test -p examples --test had -- --ignored
//!     HAD_FAILOVERS=100 cargo test --release -p examples --test had -- --ignored failovers
//!     HAD_PARTITIONS=100 cargo test --release -p examples --test had -- --ignored partitions
//!
//! Linux and root; `CONTRIBUTING.md` names the Debian packages. This program is everything that
//! runs on the nodes: it starts itself again as `had`, whose source it includes, as the service,
//! and as the first process of a node.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod lab;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    lab::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

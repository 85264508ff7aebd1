//! A whole node of a cluster for Linux: addresses, replicated storage, file systems and services
//! that move together, in one process, from one file.
//!
//!     cargo build --release --example had
//!     target/release/examples/had run --config examples/had/had.toml --check
//!     target/release/examples/had run --config examples/had/had.toml
//!
//! It needs root. `had.toml` beside its modules shows every setting, `had.service` is a unit for
//! systemd. From top to bottom:
//!
//! - `options`: the command line;
//! - `config`, `values`, `check`: the file, and what is wrong with it;
//! - `plan`, `vhosts`, `health`, `command`: its parts as what the machines are told;
//! - `node`: what runs.
//!
//! What is said of virtual hosts is in the folder `carp`, what any daemon needs in `daemon`.

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::disallowed_methods,
        reason = "a daemon reads the clock and waits; the machines do not"
    )
)]

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("had is for Linux: its sockets, addresses and mounts are those of that kernel");
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
#[path = "had/main.rs"]
mod program;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    program::main()
}

//! A whole CARP and VRRP daemon for Linux, in place of ucarp, keepalived and shell scripts.
//!
//!     cargo build --release --example carpd
//!     target/release/examples/carpd --config examples/carpd/carpd.toml
//!     target/release/examples/carpd -i eth0 -s 192.0.2.2 -v 1 -o /etc/carpd.pass -a 192.0.2.1
//!
//! It needs CAP_NET_RAW and CAP_NET_ADMIN. `carpd.toml` beside its modules shows every setting,
//! `carpd.service` is a unit for systemd. From top to bottom:
//!
//! - `options`, `file`: the command line and the configuration file, made a `config`;
//! - `daemon`: one driver for all virtual hosts, brought from one configuration to the next by
//!   the steps of `reload`;
//! - `effects`, `script`: addresses and scripts of a host that becomes or ceases to be master;
//! - `log`, `control`, `systemd`: what it tells, and to whom.
//!
//! What is said of virtual hosts is in the folder `carp`.
//!
//! What any daemon needs is in the folder `daemon`: the signals that end it, programs with a time
//! limit, a socket of its own, files and what is wrong with them, a log that waits for nobody, a
//! place in the background.

#![cfg_attr(
    target_os = "linux",
    expect(
        clippy::disallowed_methods,
        reason = "a daemon reads the clock and waits; the machines do not"
    )
)]

#[cfg(target_os = "linux")]
#[path = "carpd/config.rs"]
mod config;
#[cfg(target_os = "linux")]
#[path = "carpd/control.rs"]
mod control;
#[cfg(target_os = "linux")]
#[path = "carpd/daemon.rs"]
mod daemon;
#[cfg(target_os = "linux")]
#[path = "carpd/effects.rs"]
mod effects;
#[cfg(target_os = "linux")]
#[path = "carpd/file.rs"]
mod file;
#[cfg(target_os = "linux")]
#[path = "carpd/log.rs"]
mod log;
#[cfg(target_os = "linux")]
#[path = "carpd/options.rs"]
mod options;
#[cfg(target_os = "linux")]
#[path = "carpd/process.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "carpd/reload.rs"]
mod reload;
#[cfg(target_os = "linux")]
#[path = "carpd/run.rs"]
mod run;
#[cfg(target_os = "linux")]
#[path = "carpd/script.rs"]
mod script;
#[cfg(target_os = "linux")]
#[path = "carpd/systemd.rs"]
mod systemd;

#[cfg(target_os = "linux")]
#[path = "carp/reach.rs"]
mod reach;
#[cfg(target_os = "linux")]
#[path = "carp/vhost.rs"]
mod vhost;

#[cfg(target_os = "linux")]
#[path = "daemon/background.rs"]
mod background;
#[cfg(target_os = "linux")]
#[path = "daemon/clients.rs"]
mod clients;
#[cfg(target_os = "linux")]
#[path = "daemon/end.rs"]
mod end;
#[cfg(target_os = "linux")]
#[path = "daemon/fault.rs"]
mod fault;
#[cfg(target_os = "linux")]
#[path = "daemon/notify.rs"]
mod notify;
#[cfg(target_os = "linux")]
#[path = "daemon/program.rs"]
mod program;
#[cfg(target_os = "linux")]
#[path = "daemon/read.rs"]
mod read;
#[cfg(target_os = "linux")]
#[path = "daemon/socket.rs"]
mod socket;
#[cfg(target_os = "linux")]
#[path = "daemon/stderr.rs"]
mod stderr;

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("carpd is for Linux: its sockets and addresses are those of that kernel");
    ExitCode::FAILURE
}

/// 0 when it was ended by a signal, 1 for bad arguments or a bad configuration, 2 for what
/// fails later.
#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use std::sync::Arc;

    use clap::Parser;

    let options = match options::Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Also the help that was asked for, which is no error.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let stderr = match stderr::start(options.filter(), options.log_format) {
        Ok(stderr) => stderr,
        Err(error) => {
            eprintln!("carpd: {error}");
            return ExitCode::from(1);
        }
    };
    let code = match run::start(&Arc::new(options)) {
        Ok(()) => 0,
        Err(run::Failure::Configuration(error)) => {
            tracing::error!("{error}");
            1
        }
        Err(run::Failure::Running(error)) => {
            tracing::error!("{error}");
            2
        }
    };
    stderr.flush();
    ExitCode::from(code)
}

//! Mirrors block devices between two nodes by HAST, in place of FreeBSD's hastd or beside it.
//!
//!     cargo build --release --example hastd --example hastctl
//!     target/release/examples/hastctl create -c examples/hastd/hast.conf shared
//!     target/release/examples/hastd -F -c examples/hastd/hast.conf
//!     target/release/examples/hastctl role -c examples/hastd/hast.conf primary shared
//!     nbdinfo nbd+unix:///?socket=/var/run/hast/shared
//!
//! It reads a `hast.conf` and takes the original's options and orders of hastctl. Where the
//! original makes a device for the resource that is primary, this one serves it to NBD clients.
//! A local disk that has failed is not used any more, and the other node serves what it held; the
//! same role once more, `hastctl role primary shared`, uses it again, or another one in its place.
//! Where the other node lacks something, only the write that has failed is answered so.
//! `hast.conf` beside its modules is a configuration, `hastd.service` a unit for systemd. From top
//! to bottom:
//!
//! - `options`, `node`, `identity`: the command line, what `hast.conf` means on this node, and the
//!   certificates that it names;
//! - `run`: the signals, and what each of them means;
//! - `daemon`: the resources, brought from one configuration to the next by the plan of `reload`;
//! - `resource`: one of them: its role, its device, and its hook;
//! - `devices`: the devices, and the NBD clients that use them;
//! - `control`: the orders of hastctl;
//! - `hook`, `log`, `systemd`: what it tells, and to whom.
//!
//! What any daemon needs is in the folder `daemon`: the signals that end it, programs with a time
//! limit, a socket of its own, a log that waits for nobody, a place in the background.

#![cfg_attr(
    unix,
    expect(
        clippy::disallowed_methods,
        reason = "a daemon reads the clock and waits; the machines do not"
    )
)]

#[cfg(unix)]
#[path = "daemon/background.rs"]
mod background;
#[cfg(unix)]
#[path = "daemon/clients.rs"]
mod clients;
#[cfg(unix)]
#[path = "hastd/control.rs"]
mod control;
#[cfg(unix)]
#[path = "hastd/daemon.rs"]
mod daemon;
#[cfg(unix)]
#[path = "hastd/devices.rs"]
mod devices;
#[cfg(unix)]
#[path = "daemon/end.rs"]
mod end;
#[cfg(unix)]
#[path = "hastd/hook.rs"]
mod hook;
#[cfg(unix)]
#[path = "hastd/identity.rs"]
mod identity;
#[cfg(unix)]
#[path = "hastd/log.rs"]
mod log;
#[cfg(unix)]
#[path = "hast/node.rs"]
mod node;
#[cfg(unix)]
#[path = "daemon/notify.rs"]
mod notify;
#[cfg(unix)]
#[path = "hastd/options.rs"]
mod options;
#[cfg(unix)]
#[path = "hastd/pidfile.rs"]
mod pidfile;
#[cfg(unix)]
#[path = "daemon/program.rs"]
mod program;
#[cfg(unix)]
#[path = "hastd/reload.rs"]
mod reload;
#[cfg(unix)]
#[path = "hastd/resource.rs"]
mod resource;
#[cfg(unix)]
#[path = "hastd/run.rs"]
mod run;
#[cfg(unix)]
#[path = "daemon/socket.rs"]
mod socket;
#[cfg(unix)]
#[path = "daemon/stderr.rs"]
mod stderr;
#[cfg(unix)]
#[path = "hastd/systemd.rs"]
mod systemd;

use std::process::ExitCode;

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("hastd is for systems with UNIX sockets and signals");
    ExitCode::FAILURE
}

#[cfg(unix)]
fn main() -> ExitCode {
    start(std::env::args_os())
}

/// Does what the command line says, until a signal ends it.
#[cfg(unix)]
pub(crate) fn start(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    use clap::Parser;

    let options = match options::Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // The help that was asked for, too, as the original does it.
            eprint!("{error}");
            return ExitCode::from(run::Failure::USAGE);
        }
    };
    let stderr = match stderr::start(options.filter(), options.log_format) {
        Ok(stderr) => stderr,
        Err(error) => {
            eprintln!("hastd: {error}");
            return ExitCode::from(run::Failure::USAGE);
        }
    };
    let status = match run::start(options) {
        Ok(()) => 0,
        Err(failure) => {
            tracing::error!("{}", failure.text);
            failure.status
        }
    };
    stderr.flush();
    ExitCode::from(status)
}

//! Controls a hastd, ours or FreeBSD's, and prepares providers for either.
//!
//!     cargo run --release --example hastctl -- create -c hast.conf shared
//!     cargo run --release --example hastctl -- role -c hast.conf primary shared
//!     cargo run --release --example hastctl -- status -c hast.conf --json
//!
//! Commands, options, output and exit statuses are those of the original; `--json` prints the same
//! for programs. `create` refuses what would destroy data, unless it is told `--force`. From top to
//! bottom:
//!
//! - `options`: the command line;
//! - `node`: what `hast.conf` means here;
//! - `ask`: one question to hastd, over its control socket;
//! - `provider`: what is on a disk, and what is written there;
//! - `json`: the output for programs.

#[cfg(unix)]
#[path = "hastctl/ask.rs"]
mod ask;
#[cfg(unix)]
#[path = "daemon/discarded.rs"]
mod discarded;

#[path = "hastctl/failure.rs"]
mod failure;
#[cfg(unix)]
#[path = "hastctl/json.rs"]
mod json;
#[cfg(unix)]
#[path = "hast/node.rs"]
mod node;
#[cfg(unix)]
#[path = "hastctl/options.rs"]
mod options;
#[cfg(unix)]
#[path = "hastctl/provider.rs"]
mod provider;
#[cfg(unix)]
#[path = "hastctl/run.rs"]
mod run;

use std::process::ExitCode;

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("hastctl is for systems with UNIX sockets");
    ExitCode::FAILURE
}

#[cfg(unix)]
fn main() -> ExitCode {
    start(std::env::args_os())
}

/// Does what the command line says.
#[cfg(unix)]
pub(crate) fn start(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    use std::io;

    use clap::Parser;

    let options = match options::Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // The help that was asked for, too, as the original does it.
            eprint!("{error}");
            return ExitCode::from(failure::Status::Usage as u8);
        }
    };
    ExitCode::from(run::run(
        &options.command,
        &mut io::stdout(),
        &mut io::stderr(),
    ))
}

//! The program: its modules, and what the command line has it do.

mod check;
mod client;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod command;
mod config;
mod control;
mod doors;
mod drill;
mod events;
mod figures;
#[cfg(test)]
mod fixture;
mod health;
mod http;
mod joint;
mod journal;
mod moment;
mod node;
mod options;
mod orders;
mod overview;
mod page;
mod passphrase;
mod peers;
mod plan;
mod snapshot;
mod text;
mod timeline;
mod told_carp;
mod told_hast;
mod values;
mod vhosts;
mod watch;

#[path = "../carp/reach.rs"]
mod reach;
#[path = "../carp/vhost.rs"]
mod vhost;

#[path = "../daemon/clients.rs"]
mod clients;
#[path = "../daemon/fault.rs"]
mod fault;
#[path = "../daemon/read.rs"]
mod read;
#[path = "../daemon/socket.rs"]
mod socket;
#[path = "../daemon/stderr.rs"]
mod stderr;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use self::options::{Command, Options};

/// 0 when all went well, 1 for bad arguments or a bad configuration, 2 for what fails later.
pub(super) fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Also the help that was asked for, which is no error.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match options.command {
        Command::Ask(ask) => {
            let status = orders::run(&ask, &mut io::stdout(), &mut io::stderr());
            ExitCode::from(status)
        }
        Command::Run(run) => match config::load(&run.config) {
            Ok(config) => {
                eprintln!(
                    "{}: it is right, with {} units",
                    run.config.display(),
                    config.units.len()
                );
                ExitCode::SUCCESS
            }
            Err(faults) => {
                eprintln!("{faults}");
                ExitCode::from(1)
            }
        },
    }
}

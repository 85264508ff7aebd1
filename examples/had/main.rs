//! The program: its modules, and what the command line has it do.

mod check;
mod command;
mod config;
mod health;
mod node;
mod options;
mod passphrase;
mod plan;
mod values;
mod vhosts;

#[path = "../carp/reach.rs"]
mod reach;
#[path = "../carp/vhost.rs"]
mod vhost;

#[path = "../daemon/fault.rs"]
mod fault;
#[path = "../daemon/read.rs"]
mod read;
#[path = "../daemon/stderr.rs"]
mod stderr;

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

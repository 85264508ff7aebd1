//! The program: its modules, and what the command line has it do.

mod addresses;
mod admit;
mod check;
mod client;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod command;
mod config;
mod control;
mod create;
mod door;
mod doors;
mod drill;
mod events;
mod figures;
#[cfg(test)]
mod fixture;
mod health;
mod http;
mod import;
mod joint;
mod journal;
mod moment;
mod node;
mod options;
mod orders;
mod overview;
mod page;
mod passphrase;
mod password;
mod peers;
mod plan;
mod run;
mod snapshot;
mod storage;
mod text;
mod timeline;
mod told_carp;
mod told_hast;
mod unit;
mod values;
mod vhosts;
mod watch;

// How storage is told about in the log is as hastd does it.
#[path = "../hastd/log.rs"]
mod hast_log;

#[path = "../carp/reach.rs"]
mod reach;
#[path = "../carp/vhost.rs"]
mod vhost;

#[path = "../daemon/clients.rs"]
mod clients;
#[path = "../daemon/discarded.rs"]
mod discarded;
#[path = "../daemon/end.rs"]
mod end;
#[path = "../daemon/fault.rs"]
mod fault;
#[path = "../daemon/notify.rs"]
mod notify;
#[path = "../daemon/read.rs"]
mod read;
#[path = "../daemon/socket.rs"]
mod socket;
#[path = "../daemon/stderr.rs"]
mod stderr;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::options::{Command, Options};

/// 0 when all went well, 1 for bad arguments or a bad configuration, 2 for what fails later.
pub(super) fn main() -> ExitCode {
    start(std::env::args_os())
}

/// The same with these arguments, the name of the program first.
pub(crate) fn start(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
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
        Command::Run(run) => ExitCode::from(run_node(&run)),
        Command::Import(import) => ExitCode::from(print_import(&import)),
        Command::Create(create) => ExitCode::from(make_disk(&create)),
    }
}

fn make_disk(options: &options::Create) -> u8 {
    let made = config::load(&options.config)
        .and_then(|config| create::run(&config, &options.unit, options.force));
    match made {
        Ok(made) => {
            println!("{made}");
            0
        }
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

fn print_import(options: &options::Import) -> u8 {
    let options::Import {
        hast_conf,
        ifconfig,
        node,
    } = options;
    match import::run(hast_conf.as_deref(), ifconfig.as_deref(), node.as_deref()) {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// 0 if a node could run by it.
fn check_file(path: &Path) -> u8 {
    match config::load_and_look(path) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                eprintln!("{warnings}");
            }
            let (path, units) = (path.display(), config.units.len());
            println!("{path}: it is right; units: {units}");
            0
        }
        Err(faults) => {
            eprintln!("{faults}");
            1
        }
    }
}

fn run_node(options: &options::Run) -> u8 {
    if options.check {
        return check_file(&options.config);
    }
    let config = match config::load(&options.config) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return 1;
        }
    };
    let stderr = match stderr::start(options.log.as_deref(), options.log_format) {
        Ok(stderr) => stderr,
        Err(error) => {
            eprintln!("had: {error}");
            return 1;
        }
    };
    let code = match run::start(&config) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            2
        }
    };
    stderr.flush();
    code
}

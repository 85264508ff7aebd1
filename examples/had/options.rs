//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::orders::Ask;
use super::stderr::LogFormat;

/// A node of a cluster: addresses, storage, file systems and services that move together.
#[derive(Debug, Parser)]
#[command(name = "had", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the node until SIGTERM
    Run(Run),
    /// Prints a configuration made of what a node has already
    Import(Import),
    /// Makes the disk of a unit ready for replication: once, on each node
    Create(Create),
    #[command(flatten)]
    Ask(Ask),
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/had/had.toml")]
    pub(crate) config: PathBuf,
    /// Tells what is wrong with the configuration, and what of it is not on this host, and ends
    #[arg(long)]
    pub(crate) check: bool,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// What the log looks like
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/had/had.toml")]
    pub(crate) config: PathBuf,
    /// The unit
    pub(crate) unit: String,
    /// Overwrites what is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// What is replicated
    #[arg(long, value_name = "FILE")]
    pub(crate) hast_conf: Option<PathBuf>,
    /// Lines of ifconfig, or an rc.conf: the addresses
    #[arg(long, value_name = "FILE")]
    pub(crate) ifconfig: Option<PathBuf>,
    /// The node whose configuration it is to be; this host, if none is named
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

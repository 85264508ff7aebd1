//! What has this node that the other lacks, and how do I keep it before it is discarded?
//!
//!     cargo run --example hast_extents -- report /dev/sdb1
//!     cargo run --example hast_extents -- save /dev/sdb1 lost.hast --node hasta
//!     cargo run --example hast_extents -- list lost.hast
//!     cargo run --example hast_extents -- show lost.hast 1048576
//!     cargo run --example hast_extents -- verify lost.hast
//!     cargo run --example hast_extents -- restore lost.hast /dev/nbd0 --from 1048576 --length 4096
//!
//! After a split brain, `report` on both nodes tells how much each has changed alone. One of them
//! has to give way; `save` on that one, while nothing uses its provider, keeps what it alone has.
//! (`hastctl discard` does both while hastd runs, and writes such a file, too.)
//! What of it is missed afterwards is restored to the replicated device, or to an image of it.
//! Without arguments to say where, `restore` restores everything: older data over newer ones.

#[path = "hast_extents/provider.rs"]
mod provider;
#[path = "hast_extents/saved.rs"]
mod saved;

use core::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};
use hast_proto::saved::Header;
use provider::Provider;
use saved::{Part, SavedFile};

type Result<T> = core::result::Result<T, Box<dyn Error>>;

/// Saves what one node alone has of a HAST resource, and restores it.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "Saves what one node alone has of a HAST resource, and restores it."
)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells which extents of a provider may differ from the other node
    Report {
        /// The disk or file under the resource
        provider: PathBuf,
    },
    /// Saves these extents to a new file
    Save {
        /// The disk or file under the resource
        provider: PathBuf,
        /// Where to
        file: PathBuf,
        /// The name of this node, for those who read the file
        #[arg(long)]
        node: String,
    },
    /// Tells what is in a file, without reading the data
    List {
        /// The file
        file: PathBuf,
    },
    /// Shows the data at an offset in hex
    Show {
        /// The file
        file: PathBuf,
        /// From which octet of the resource
        from: u64,
        /// How many octets
        #[arg(default_value_t = 256)]
        length: u64,
    },
    /// Tells whether a file is whole
    Verify {
        /// The file
        file: PathBuf,
    },
    /// Writes what a file has to the replicated device, or to an image of it
    Restore {
        /// The file
        file: PathBuf,
        /// The device; not the provider under it
        target: PathBuf,
        /// From which octet of the resource
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many octets
        #[arg(long, default_value_t = u64::MAX)]
        length: u64,
    },
}

fn main() -> ExitCode {
    match run(&Options::parse(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is wanted, and tells about it.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    match &options.command {
        Command::Report { provider } => report(&open(provider)?, out),
        Command::Save {
            provider,
            file,
            node,
        } => save(&open(provider)?, file, node, out),
        Command::List { file } => list(file, out),
        Command::Show { file, from, length } => show(file, Part::new(*from, *length), out),
        Command::Verify { file } => {
            let octets = SavedFile::open(file)?.verify()?;
            Ok(writeln!(out, "whole: {octets} octets")?)
        }
        Command::Restore {
            file,
            target,
            from,
            length,
        } => restore(file, target, Part::new(*from, *length), out),
    }
}

fn open(path: &Path) -> Result<Provider> {
    Provider::open(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn report(provider: &Provider, out: &mut dyn Write) -> Result<()> {
    let metadata = provider.metadata();
    let counters = metadata.counters;
    writeln!(out, "resource {}", metadata.resource)?;
    writeln!(
        out,
        "counters local {} remote {}",
        counters.local, counters.remote
    )?;
    let mut octets = 0;
    for range in provider.ranges() {
        let length = range.end - range.start;
        writeln!(out, "{:>16} {length:>12}", range.start)?;
        octets += length;
    }
    let size = metadata.layout.extent_size();
    let extents = provider.extents();
    writeln!(
        out,
        "{extents} extents of {size} may differ, {octets} octets"
    )?;
    if extents == 0 {
        writeln!(
            out,
            "this node has changed nothing alone: it can give way without loss"
        )?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the file tells when it was saved"
)]
fn save(provider: &Provider, file: &Path, node: &str, out: &mut dyn Write) -> Result<()> {
    let metadata = provider.metadata();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let header = Header {
        resource: metadata.resource.clone(),
        node: node.into(),
        extent_size: metadata.layout.extent_size(),
        data_len: metadata.layout.data_len(),
        resource_id: metadata.resource_id,
        counters: metadata.counters,
        saved_at: since_1970.map_or(0, |time| time.as_secs()),
    };
    let mut octets = 0;
    saved::write_new(file, &header, |encoder| {
        for range in provider.ranges() {
            octets += range.end - range.start;
            provider.read(range, |offset, data| encoder.piece(offset, data))?;
        }
        Ok(())
    })?;
    // Nothing is discarded on the word of a file that nobody has read.
    let whole = SavedFile::open(file)?.verify()?;
    if whole != octets {
        return Err(format!("{whole} octets in the file where {octets} were saved").into());
    }
    let extents = provider.extents();
    Ok(writeln!(out, "saved {extents} extents, {octets} octets")?)
}

fn list(file: &Path, out: &mut dyn Write) -> Result<()> {
    let mut file = SavedFile::open(file)?;
    let header = file.header();
    writeln!(out, "resource {}", header.resource)?;
    writeln!(out, "node {}", header.node)?;
    writeln!(out, "saved at {} s since 1970", header.saved_at)?;
    if let Some(id) = header.resource_id {
        writeln!(out, "resource id {id}")?;
    }
    let (local, remote) = (header.counters.local, header.counters.remote);
    writeln!(out, "counters local {local} remote {remote}")?;
    writeln!(
        out,
        "extent size {}, data size {}",
        header.extent_size, header.data_len
    )?;
    let octets = file.list(|offset, length, is_zero| {
        let zeros = if is_zero { " zeros" } else { "" };
        Ok(writeln!(out, "{offset:>16} {length:>12}{zeros}")?)
    })?;
    Ok(writeln!(out, "{octets} octets")?)
}

fn show(file: &Path, part: Part, out: &mut dyn Write) -> Result<()> {
    let mut file = SavedFile::open(file)?;
    let mut shown = 0;
    file.read(part, |offset, data| {
        shown += data.len();
        for (row, octets) in data.chunks(16).enumerate() {
            write!(out, "{:016x} ", offset + 16 * row as u64)?;
            for octet in octets {
                write!(out, " {octet:02x}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    })?;
    if shown == 0 {
        return Err("nothing of that is in the file".into());
    }
    Ok(())
}

fn restore(file: &Path, target: &Path, part: Part, out: &mut dyn Write) -> Result<()> {
    if Provider::open(target).is_ok() {
        let target = target.display();
        let why = "what is written there bypasses the replication; take the device above it";
        return Err(format!("{target} is a provider itself: {why}").into());
    }
    // All of it is read before any of it is written.
    SavedFile::open(file)?.verify()?;
    let device = File::options().write(true).open(target)?;
    let mut octets = 0;
    SavedFile::open(file)?.read(part, |offset, data| {
        octets += data.len();
        Ok(provider::write_at(&device, offset, data)?)
    })?;
    device.sync_all()?;
    if octets == 0 {
        return Err("nothing of that is in the file".into());
    }
    Ok(writeln!(out, "restored {octets} octets")?)
}

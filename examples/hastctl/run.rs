//! What each command does, and with which status it ends.

use std::io::Write;
use std::path::Path;

use hast_proto::conf::{Config, ResourceConfig};
use hast_proto::control::{
    ControlAnswer, ControlFault, Differing, DiscardOutcome, ResourceStatus, SplitBrain,
};
use hast_proto::status;
use serde_json::{Value, json};

use super::discarded;
use super::failure::{Failure, Status};
use super::options::{Command, Common, Selection, Sizes};
use super::{ask, json as document, node, provider};

/// Does what a command says and returns the status. What cannot be printed is nobody's loss but
/// the reader's, who is gone.
pub(crate) fn run(command: &Command, out: &mut impl Write, err: &mut impl Write) -> u8 {
    let done = match command {
        Command::Create {
            common,
            sizes,
            force,
            names,
        } => create(common, *sizes, *force, names, out, err),
        Command::Role {
            common,
            role,
            names,
        } => load(common, err).and_then(|config| {
            let answer = ask::role(&config, (*role).into(), names)?;
            if common.json {
                print(out, &document::role(&answer));
            }
            told(&answer, err)
        }),
        Command::List(selection) => show(selection, out, err, |answer| {
            status::list(answer).to_string()
        }),
        Command::Status(selection) => show(selection, out, err, |answer| {
            status::status(answer).to_string()
        }),
        Command::Dump(selection) => dump(selection, out, err),
        Command::Discard {
            common,
            save,
            force,
            name,
        } => discard(common, save, *force, name, out, err),
    };
    match done {
        Ok(status) => status,
        Err(failure) => {
            let _ = writeln!(err, "hastctl: {}", failure.text);
            failure.status
        }
    }
}

fn load(common: &Common, err: &mut impl Write) -> Result<Config, Failure> {
    let config = node::load(&common.config, common.node.as_deref())?;
    if common.debug > 0 {
        let (file, resources) = (common.config.display(), config.resources.len());
        let _ = writeln!(err, "hastctl: {file}: {resources} resources of this node");
        let _ = writeln!(err, "hastctl: hastd is expected at {}", config.control());
    }
    Ok(config)
}

fn print(out: &mut impl Write, document: &Value) {
    let _ = writeln!(out, "{document:#}");
}

fn show(
    selection: &Selection,
    out: &mut impl Write,
    err: &mut impl Write,
    text: impl Fn(&hast_proto::control::StatusAnswer) -> String,
) -> Result<u8, Failure> {
    let answer = ask::status(&load(&selection.common, err)?, &selection.names)?;
    if selection.common.json {
        print(out, &document::status(&answer));
    } else if answer.fault.is_none() {
        let _ = out.write_all(text(&answer).as_bytes());
    }
    for (name, result) in &answer.resources {
        if let Ok(ResourceStatus {
            split_brain: Some(split),
            ..
        }) = result
        {
            let _ = writeln!(err, "hastctl: resource {name}: {}", told_split(*split));
        }
    }
    told(&answer, err)
}

/// Tells what an operator has to decide.
fn told_split(split: SplitBrain) -> String {
    let differing = |it: Differing| format!("{} extents, {} octets", it.extents, it.octets);
    let here = differing(split.local);
    let there = split.remote.map_or_else(|| "unknown".to_owned(), differing);
    format!("split brain; marked here: {here}; on the other node: {there}")
}

fn discard(
    common: &Common,
    save: &Path,
    force: bool,
    name: &str,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<u8, Failure> {
    let config = load(common, err)?;
    let answer = ask::discard(&config, name, save, &node_name(common), force)?;
    if common.json {
        print(out, &document::discard(&answer));
    }
    let mut status = told(&answer, err)?;
    for (name, result) in &answer.resources {
        match result {
            Ok(DiscardOutcome::Done {
                extents,
                octets,
                with_peer,
            }) if !common.json => {
                let text = discarded::told(name.as_str(), *extents, *octets, *with_peer);
                let _ = out.write_all(text.as_bytes());
            }
            Ok(DiscardOutcome::Refused(reason)) => {
                let _ = writeln!(err, "hastctl: resource {name}: not discarded: {reason}");
                status = Status::Software as u8;
            }
            Ok(DiscardOutcome::Done { .. }) | Err(_) => {}
        }
    }
    Ok(status)
}

/// The name of this node, for the file.
fn node_name(common: &Common) -> String {
    common.node.clone().unwrap_or_else(|| {
        let system = rustix::system::uname();
        system.nodename().to_string_lossy().into_owned()
    })
}

/// Tells what went wrong, and returns the status for it.
fn told<T>(answer: &ControlAnswer<T>, err: &mut impl Write) -> Result<u8, Failure> {
    if let Some(fault) = answer.fault {
        let text = format!("error {} received from hastd: {fault}", fault.code());
        return Err(Failure::new(Status::Software, text));
    }
    for (name, result) in &answer.resources {
        if let Err(fault) = result {
            let more = match fault {
                ControlFault::NoEntry => "",
                _ => "; the log of hastd says why",
            };
            let _ = writeln!(err, "hastctl: resource {name}: {fault}{more}");
        }
    }
    // No fault may look like success, whatever its number.
    let status = status::exit_status(answer);
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

fn create(
    common: &Common,
    sizes: Sizes,
    force: bool,
    names: &[String],
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<u8, Failure> {
    let config = load(common, err)?;
    let resources: Vec<_> = names.iter().map(String::as_str).collect();
    each(common.json, &config, &resources, out, err, |resource| {
        let metadata = provider::create(resource, sizes, force)?;
        Ok((String::new(), document::metadata(&metadata)))
    })
}

fn dump(selection: &Selection, out: &mut impl Write, err: &mut impl Write) -> Result<u8, Failure> {
    let config = load(&selection.common, err)?;
    let names: Vec<_> = match selection.names.first().map(String::as_str) {
        None | Some("all") => config.resources.iter().map(|it| it.name.as_str()).collect(),
        Some(_) => selection.names.iter().map(String::as_str).collect(),
    };
    each(
        selection.common.json,
        &config,
        &names,
        out,
        err,
        |resource| {
            let metadata = provider::read(resource)?;
            let text = status::dump(&metadata).to_string();
            Ok((text, document::metadata(&metadata)))
        },
    )
}

/// Does something with each resource. One that fails is told of, and the others are done all the
/// same; the status is that of the first failure.
fn each(
    json: bool,
    config: &Config,
    names: &[&str],
    out: &mut impl Write,
    err: &mut impl Write,
    mut work: impl FnMut(&ResourceConfig) -> Result<(String, Value), Failure>,
) -> Result<u8, Failure> {
    let mut documents = Vec::new();
    let mut status = 0;
    for name in names {
        let unknown = || Failure::new(Status::Data, format!("unknown resource {name}"));
        let done = config.resource(name).ok_or_else(unknown);
        match done.and_then(&mut work) {
            Ok((_, value)) if json => documents.push(value),
            Ok((text, _)) => _ = out.write_all(text.as_bytes()),
            Err(failure) => {
                let _ = writeln!(err, "hastctl: {}", failure.text);
                documents.push(document::failed(name, failure.status, &failure.text));
                if status == 0 {
                    status = failure.status;
                }
            }
        }
    }
    if json {
        print(out, &json!({ "resources": documents, "error": null }));
    }
    Ok(status)
}

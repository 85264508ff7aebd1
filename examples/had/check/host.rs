//! What is missing on this host, which only `--check` tells: what had could not begin without, and
//! what may still come, such as a disk that is found late.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::super::config::{Config, Unit};
use super::super::fault::{Fault, nearest};
use super::Faults;

/// Where the kernel shows its interfaces.
const INTERFACES: &str = "/sys/class/net";

/// What is missing, or not what it should be.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Without this had does not begin.
    pub(crate) faults: Vec<Fault>,
    /// Without this a unit cannot be active.
    pub(crate) warnings: Vec<Fault>,
}

/// Looks for all that is named.
pub(crate) fn look(config: &Config) -> Missing {
    let (mut faults, mut warnings) = (Faults(Vec::new()), Faults(Vec::new()));
    if let Some(path) = &config.log.events {
        events(path, &mut faults, &mut warnings);
    }
    for unit in &config.units {
        interfaces(unit, &mut faults);
        disk(unit, &mut warnings);
        mounts(unit, &mut warnings);
    }
    Missing {
        faults: faults.0,
        warnings: warnings.0,
    }
}

/// The file, or the folder that it is made in. Whoever starts had may make the folder, as systemd does
/// of `LogsDirectory`.
fn events(path: &Spanned<PathBuf>, faults: &mut Faults, warnings: &mut Faults) {
    let (span, path) = (path.span(), path.get_ref());
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() != ErrorKind::NotFound => {
            faults.at(span, format!("{}: {error}", path.display()));
        }
        Err(_) => match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => faults.at(span, format!("{}: it is not a folder", folder.display())),
            Err(error) => {
                let what = format!("warning: {}: {error}", folder.display());
                let hint = format!("make it: install -d -m 0700 {}", folder.display());
                warnings.hinted(span, what, hint);
            }
        },
    }
}

fn interfaces(unit: &Unit, faults: &mut Faults) {
    for carp in &unit.carp {
        let (span, name) = (
            carp.get_ref().interface.span(),
            carp.get_ref().interface.get_ref(),
        );
        let names: Vec<String> = fs::read_dir(INTERFACES)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        // Without that folder nobody knows.
        if names.is_empty() || names.contains(name) {
            continue;
        }
        let known = || names.iter().map(String::as_str);
        let what = format!("this host has no interface {name}");
        let hint = match nearest(name, known()) {
            Some(word) => format!("did you mean {word:?}?"),
            None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
        };
        faults.hinted(span, what, hint);
    }
}

fn disk(unit: &Unit, faults: &mut Faults) {
    let Some(resource) = &unit.resource else {
        return;
    };
    let local = &resource.get_ref().local;
    let hint = "`local` is the disk or file whose data are replicated";
    match fs::metadata(local) {
        Err(error) => {
            let what = format!("warning: {}: {error}", local.display());
            faults.hinted(resource.span(), what, hint);
        }
        Ok(metadata) if metadata.is_file() || metadata.file_type().is_block_device() => {}
        Ok(_) => {
            let what = format!(
                "warning: {}: it is neither a disk nor a file",
                local.display()
            );
            faults.hinted(resource.span(), what, hint);
        }
    }
}

fn mounts(unit: &Unit, faults: &mut Faults) {
    let mut before: Vec<&Path> = Vec::new();
    for mount in &unit.mounts {
        let at = &mount.get_ref().at;
        let (span, at) = (at.span(), at.get_ref().as_path());
        // What is below another mount of the unit is there when that is mounted.
        if !before.iter().any(|other| at.starts_with(other)) {
            let hint = format!("make it: mkdir -p {}", at.display());
            match fs::metadata(at) {
                Err(error) => {
                    let what = format!("warning: {}: {error}", at.display());
                    faults.hinted(span, what, hint);
                }
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    let what = format!("warning: {}: it is not a folder", at.display());
                    faults.at(span, what);
                }
            }
        }
        before.push(at);
    }
}

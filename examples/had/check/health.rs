//! Health checks.

use core::ops::Range;
use std::collections::BTreeMap;

use toml::Spanned;

use super::super::config::{Check, Unit, When};
use super::super::health;
use super::Faults;
use super::unit::positive;

/// As many as a unit takes.
const MAX_CHECKS: usize = 32;

pub(super) fn check(unit: &Unit, faults: &mut Faults) {
    let mut names = BTreeMap::new();
    if unit.checks.len() > MAX_CHECKS {
        let what = format!("more than {MAX_CHECKS} checks");
        faults.at(unit.name.span(), what);
    }
    for check in &unit.checks {
        let check = check.get_ref();
        let name = &check.name.get_ref().0;
        faults.unless_new(&mut names, name, check.name.span(), || {
            format!("there is a check {name} already")
        });
        subject(check, faults);
        details(unit, check, faults);
        positive(&check.interval, faults);
        positive(&check.limit, faults);
    }
}

/// What it looks at: just one thing.
fn subject(check: &Check, faults: &mut Faults) {
    let places: [Option<Range<usize>>; 8] = [
        check.tcp.as_ref().map(Spanned::span),
        check.http.as_ref().map(Spanned::span),
        check.command.as_ref().map(Spanned::span),
        check.file_age.as_ref().map(Spanned::span),
        check.free_space.as_ref().map(Spanned::span),
        check.pid_file.as_ref().map(Spanned::span),
        check.process.as_ref().map(Spanned::span),
        check.replication.as_ref().map(Spanned::span),
    ];
    let mut places = places.into_iter().flatten();
    let hint = "one of tcp, http, command, file_age, free_space, pid_file, process, replication";
    match (places.next(), places.next()) {
        (None, _) => {
            let what = format!("check {} looks at nothing", **check.name.get_ref());
            faults.hinted(check.name.span(), what, hint);
        }
        (Some(_), Some(second)) => {
            let what = format!("check {} looks at two things", **check.name.get_ref());
            faults.hinted(second, what, "make two checks of it");
        }
        (Some(_), None) => {}
    }
}

fn details(unit: &Unit, check: &Check, faults: &mut Faults) {
    for only in [&check.host, &check.expect].into_iter().flatten() {
        if check.http.is_none() {
            faults.at(only.span(), "this is for http alone");
        }
    }
    if let Some(http) = &check.http {
        if let Err(error) = health::http(check, http.get_ref()) {
            faults.at(http.span(), error.to_string());
        }
    }
    if let Some(replication) = &check.replication {
        if !replication.get_ref() {
            faults.at(replication.span(), "a check that is not made");
        } else if unit.resource.is_none() {
            let what = "there is no storage to look at";
            faults.hinted(replication.span(), what, "add a [unit.resource]");
        }
    }
    if let (Some(forgive), When::Always) = (&check.forgive, check.when) {
        let hint = "a check that is always made finds out by itself when all is well again";
        faults.hinted(
            forgive.span(),
            "forgive is for when = \"active\" alone",
            hint,
        );
    }
}

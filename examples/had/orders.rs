//! What an operator has a running had do, and what he is told.

use core::time::Duration;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::client::{AskError, Client};
use super::control::{FaultKind, Order, Plan, Saved};
use super::drill::{Drill, Report};
use super::{discarded, text};

/// The commands for a running had.
///
/// Exit status: 0 it was done or begun, 1 the arguments are wrong or there is no such unit, 2 had
/// does not answer, 3 it was refused, 4 a drill failed.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Ask {
    /// Tells how this node is, and what it knows of the others
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Takes the role, if the storage here is up to date, and known to be
    Promote(Unit),
    /// Takes the role even if that loses what another node has acknowledged
    Force(Unit),
    /// Gives the role away at once, without draining
    Demote(Unit),
    /// Gives the role to another node that is up to date, after draining
    Switch(Unit),
    /// Takes this node out of service for a unit
    Maintenance(Unit),
    /// Takes it back into service
    Resume(Unit),
    /// Tells what one of these would do, and does nothing
    DryRun {
        order: Word,
        #[command(flatten)]
        unit: Unit,
    },
    /// After a split brain: saves what this node has changed alone, and what the other has, and has
    /// everything copied from the other node then. Here the storage is not primary. What was saved
    /// is listed and restored by hast_extents
    Discard {
        #[command(flatten)]
        unit: Unit,
        /// Where to save it: a file that is not there yet
        #[arg(long, value_name = "FILE")]
        save: PathBuf,
        /// Does it although no split brain was found
        #[arg(long)]
        force: bool,
    },
    /// Switches over and back, measures both, and leaves everything as it was
    Drill {
        #[command(flatten)]
        unit: Unit,
        /// How many seconds each way may take, and the synchronisation after it
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        limit: u64,
        /// The command that has the other node switch back, such as: ssh beta had switch files.
        /// Without it this node has to be the preferred one, which takes the role back by itself
        #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
        back: Vec<String>,
    },
}

/// What all of them take.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The control socket
    #[arg(long, value_name = "PATH", default_value = "/run/had/had.sock")]
    socket: PathBuf,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// A unit, by its name.
#[derive(Args, Clone, Debug)]
pub(crate) struct Unit {
    #[arg(value_name = "UNIT")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// What a dry run is asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Word {
    Promote,
    Force,
    Demote,
    Switch,
    Maintenance,
    Resume,
}

impl From<Word> for Order {
    fn from(word: Word) -> Self {
        match word {
            Word::Promote => Self::Promote,
            Word::Force => Self::Force,
            Word::Demote => Self::Demote,
            Word::Switch => Self::Switch,
            Word::Maintenance => Self::Maintenance,
            Word::Resume => Self::Resume,
        }
    }
}

/// Does it, and returns the exit status. What cannot be printed is nobody's loss but the reader's,
/// who is gone.
pub(crate) fn run(ask: &Ask, out: &mut impl Write, err: &mut impl Write) -> u8 {
    let done = match ask {
        Ask::Status { common } => status(common, out),
        Ask::Promote(unit) => order(Order::Promote, unit, out),
        Ask::Force(unit) => order(Order::Force, unit, out),
        Ask::Demote(unit) => order(Order::Demote, unit, out),
        Ask::Switch(unit) => order(Order::Switch, unit, out),
        Ask::Maintenance(unit) => order(Order::Maintenance, unit, out),
        Ask::Resume(unit) => order(Order::Resume, unit, out),
        Ask::DryRun { order, unit } => dry_run((*order).into(), unit, out),
        Ask::Discard { unit, save, force } => discard(unit, save, *force, out),
        Ask::Drill { unit, limit, back } => {
            return drill(unit, Duration::from_secs(*limit), back, out);
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(err, "had: {error}");
            exit_status(&error)
        }
    }
}

fn exit_status(error: &AskError) -> u8 {
    match error {
        AskError::Fault(fault) => match fault.kind {
            FaultKind::Malformed | FaultKind::NoSuchUnit => 1,
            FaultKind::Refused => 3,
            FaultKind::Ended => 2,
        },
        AskError::Socket { .. } | AskError::Answer { .. } | AskError::Another { .. } => 2,
    }
}

fn print(out: &mut impl Write, value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = writeln!(out, "{text}");
}

fn status(common: &Common, out: &mut impl Write) -> Result<(), AskError> {
    let overview = Client::new(&common.socket).status()?;
    if common.json {
        print(out, &overview);
    } else {
        let _ = out.write_all(text::status(&overview).as_bytes());
    }
    Ok(())
}

fn order(order: Order, unit: &Unit, out: &mut impl Write) -> Result<(), AskError> {
    Client::new(&unit.common.socket).order(order, &unit.name)?;
    if unit.common.json {
        print(out, &serde_json::json!({ "begun": {} }));
    }
    Ok(())
}

fn dry_run(order: Order, unit: &Unit, out: &mut impl Write) -> Result<(), AskError> {
    let plan = Client::new(&unit.common.socket).plan(order, &unit.name)?;
    if unit.common.json {
        print(out, &plan);
    } else {
        let _ = out.write_all(planned(&plan).as_bytes());
    }
    Ok(())
}

fn discard(unit: &Unit, save: &Path, force: bool, out: &mut impl Write) -> Result<(), AskError> {
    // had has another working folder. One that cannot be found is refused there.
    let save = std::path::absolute(save).unwrap_or_else(|_| save.to_owned());
    let saved = Client::new(&unit.common.socket).discard(&unit.name, &save, force)?;
    if unit.common.json {
        print(out, &serde_json::json!({ "discarded": saved }));
    } else {
        let _ = out.write_all(told(&unit.name, saved).as_bytes());
    }
    Ok(())
}

fn told(name: &str, saved: Saved) -> String {
    let Saved {
        extents,
        octets,
        with_peer,
    } = saved;
    discarded::told(name, extents, octets, with_peer)
}

fn planned(plan: &Plan) -> String {
    let mut lines = Vec::new();
    if let Some(refused) = &plan.refused {
        lines.push(format!("it would be refused: {refused}"));
    }
    for (number, planned) in (1..).zip(&plan.steps) {
        lines.push(format!("{number}. {}: {}", planned.step, planned.action));
    }
    if plan.steps.is_empty() && plan.refused.is_none() {
        lines.push("nothing would be done here".to_owned());
    }
    lines.push(format!("then it would be {}", plan.state));
    if let Some(blocked) = &plan.blocked {
        lines.push(format!("and not active: {blocked}"));
    }
    if !plan.causes.is_empty() {
        lines.push(format!("demoted for: {}", plan.causes.join(", ")));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn drill(unit: &Unit, limit: Duration, back: &[String], out: &mut impl Write) -> u8 {
    let client = Client::new(&unit.common.socket);
    let report: Report = Drill::new(&client, &unit.name, limit, back).run();
    if unit.common.json {
        print(out, &report);
    } else {
        let _ = out.write_all(report.to_string().as_bytes());
    }
    if report.failed.is_some() { 4 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::control::{Fault, Planned};
    use super::super::snapshot::State;
    use super::*;

    #[test]
    fn a_plan_is_told_step_by_step() {
        let step = |step: &str, action: &str| Planned {
            step: step.to_owned(),
            action: action.to_owned(),
        };
        let mut plan = Plan {
            steps: vec![step("web", "stop"), step("files", "become-secondary")],
            state: State::Standby,
            blocked: Some("held down: role given away".to_owned()),
            refused: None,
            causes: vec!["role given away".to_owned()],
        };
        assert_eq!(
            planned(&plan),
            "1. web: stop\n2. files: become-secondary\nthen it would be standby\n\
             and not active: held down: role given away\ndemoted for: role given away\n"
        );
        plan.steps.clear();
        assert!(planned(&plan).starts_with("nothing would be done here\n"));
        plan.refused = Some("this node is standby".to_owned());
        assert!(planned(&plan).starts_with("it would be refused: this node is standby\nthen"));
    }

    #[test]
    fn a_discard_says_where_to_save_and_what_was_saved() {
        use super::super::options::{Command, Options};
        use clap::Parser as _;
        let parse = |words: &[&str]| {
            let words = ["had", "discard"].iter().chain(words);
            Options::try_parse_from(words).map(|options| options.command)
        };
        let parsed = parse(&["files", "--save", "/root/lost.hast"]).unwrap();
        let Command::Ask(Ask::Discard { unit, save, force }) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!((&*unit.name, force), ("files", false));
        assert_eq!(save, Path::new("/root/lost.hast"));
        let parsed = parse(&["--force", "--save", "x", "files"]).unwrap();
        assert!(matches!(
            parsed,
            Command::Ask(Ask::Discard { force: true, .. })
        ));
        for words in [&["files"][..], &["--save", "/f"], &["files", "--save"]] {
            parse(words).unwrap_err();
        }
        let saved = Saved {
            extents: 3,
            octets: 6_291_456,
            with_peer: true,
        };
        assert_eq!(
            told("files", saved),
            "files: saved 3 extents, 6291456 octets, of either node\n\
             files: everything is copied from the other node when it is primary\n"
        );
        let with_peer = false;
        let alone = told("files", Saved { with_peer, ..saved });
        assert!(alone.contains("of this node; the other does not tell"));
    }

    #[test]
    fn each_failure_has_its_status() {
        let fault = |kind| {
            let text = "no".to_owned();
            exit_status(&AskError::Fault(Fault { kind, text }))
        };
        assert_eq!(fault(FaultKind::NoSuchUnit), 1);
        assert_eq!(fault(FaultKind::Ended), 2);
        assert_eq!(fault(FaultKind::Refused), 3);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let common = Common {
            socket: "/nonexistent/had.sock".into(),
            json: false,
        };
        assert_eq!(run(&Ask::Status { common }, &mut out, &mut err), 2);
        assert!(
            String::from_utf8(err)
                .unwrap()
                .contains("/nonexistent/had.sock")
        );
    }
}

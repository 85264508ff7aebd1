//! The commands of the README, as they stand there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use super::cluster::{free_address, wait_until};
use super::trial;

const README: &str = include_str!("../../../README.md");
const CONFIG: &str = include_str!("../../hastd/loopback.conf");

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("the_commands_of_the_readme", commands)]
}

fn commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["hastd", "hastctl"] {
        let own = std::env::current_exe().expect("a path of our own");
        let script = format!("#!/bin/sh\nexec {} {name} \"$@\"\n", own.display());
        fs::write(path(name), script).expect("a file");
        fs::set_permissions(path(name), Permissions::from_mode(0o755)).expect("a file of ours");
    }
    let mut config = CONFIG.replace("/tmp/hast", &path(""));
    for port in ["8457", "8458"] {
        config = config.replace(port, &free_address().port().to_string());
    }
    fs::write(path("loopback.conf"), config).expect("a file");

    let (_, section) = README.split_once("## Mirrored storage").expect("a section");
    let (_, block) = section.split_once("```sh\n").expect("commands");
    let (block, _) = block.split_once("```").expect("an end of them");
    // The programs are there already, and perhaps there is no such client.
    let elsewhere = ["cargo ", "PATH=", "nbdinfo "];
    let lines = block
        .lines()
        .filter(|line| !elsewhere.iter().any(|start| line.starts_with(start)));
    let script: String = lines.map(|line| format!("{line}\n")).collect();
    let script = script
        .replace("examples/hastd/loopback.conf", &path("loopback.conf"))
        .replace("/tmp/hast", &path(""));
    let search = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-e", "-c", &script])
        .env("PATH", format!("{}:{search}", path("")))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    // Whatever came of it, nothing is left.
    let pids = ["ada", "bob"].map(|node| path(&format!("{node}.pid")));
    if !output.status.success() {
        let _ = Command::new("sh")
            .args(["-c", &format!("kill $(cat {})", pids.join(" "))])
            .output();
    }
    wait_until("the daemons have ended", || {
        !pids.iter().any(|pid| Path::new(pid).exists())
    });
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = said.lines().find(|line| line.starts_with("shared\t"));
    assert!(status.is_some_and(|it| it.contains("primary")), "{said}");
}

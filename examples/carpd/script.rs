//! Runs the up and down scripts, so that none of them can hold up the protocol: each has a
//! limited time, and what it prints goes to the log.

use core::net::IpAddr;
use std::path::Path;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::config::{Config, HostName, Scripts};
use super::program::{self, Call, Outcome};

/// Checks that the scripts of a configuration are there and can be run.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    for (name, host) in &config.hosts {
        let scripts = &host.live.scripts;
        for path in [&scripts.up, &scripts.down].into_iter().flatten() {
            program::check(path)
                .map_err(|error| format!("host {name}: script {}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// What the scripts of a virtual host are to bring about. Its [worker](work) runs them one
/// after the other, never two at a time; a role that is left before its script has begun
/// costs no script at all.
#[derive(Debug)]
pub(crate) struct Wish {
    wanted: watch::Sender<Wanted>,
    scripts: watch::Sender<Scripts>,
    done: watch::Receiver<Done>,
}

/// For which addresses the up script is to have run, and which wish this is.
#[derive(Clone, Debug)]
struct Wanted {
    number: u64,
    addresses: Vec<IpAddr>,
}

/// What the scripts have brought about.
#[derive(Debug)]
struct Done {
    /// The last wish that was fulfilled, as far as it could be.
    number: u64,
    /// Where an earlier run may have left something behind.
    unclean: Vec<IpAddr>,
    /// For which the up script was the last to run.
    up: Vec<IpAddr>,
    /// Those of them for which it did not run, or not to its end.
    failed: Vec<IpAddr>,
}

impl Wish {
    /// Makes a wish for nothing, and the worker that fulfils it until the wish is dropped.
    /// `at_start` are the addresses for which the down script is run first of all.
    pub(crate) fn new(
        name: HostName,
        scripts: Scripts,
        at_start: Vec<IpAddr>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (wanted, wanted_receiver) = watch::channel(Wanted {
            number: 1,
            addresses: Vec::new(),
        });
        let (scripts, scripts_receiver) = watch::channel(scripts);
        let (done_sender, done) = watch::channel(Done {
            number: 0,
            unclean: at_start,
            up: Vec::new(),
            failed: Vec::new(),
        });
        let wish = Self {
            wanted,
            scripts,
            done,
        };
        let worker = work(name, wanted_receiver, scripts_receiver, done_sender);
        (wish, worker)
    }

    /// Wishes that the up script has run for these addresses, and the down script for all
    /// others for which up had run. Where up failed, it is run again.
    pub(crate) fn up_for(&self, addresses: &[IpAddr]) -> Settled {
        self.wanted.send_modify(|wanted| {
            wanted.number += 1;
            wanted.addresses = addresses.to_vec();
        });
        self.settled()
    }

    /// Has other scripts run from the next one on.
    pub(crate) fn set_scripts(&self, scripts: Scripts) {
        self.scripts.send_replace(scripts);
    }

    /// Tells whether all has been done.
    pub(crate) fn settled(&self) -> Settled {
        Settled {
            wanted: self.wanted.subscribe(),
            done: self.done.clone(),
        }
    }
}

/// How it is learnt that a worker has done all it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    wanted: watch::Receiver<Wanted>,
    done: watch::Receiver<Done>,
}

impl Settled {
    fn is_settled(&self) -> bool {
        self.done.borrow().number == self.wanted.borrow().number
    }

    /// Waits until it has, or ends.
    pub(crate) async fn wait(&mut self) {
        while !self.is_settled() && self.done.changed().await.is_ok() {}
    }

    /// The addresses for which the up script could not be started or was killed.
    pub(crate) fn failed(&self) -> Vec<IpAddr> {
        self.done.borrow().failed.clone()
    }
}

/// Runs scripts until all is as it is wished for, again and again, until nobody wishes any
/// more.
async fn work(
    name: HostName,
    mut wanted: watch::Receiver<Wanted>,
    scripts: watch::Receiver<Scripts>,
    done: watch::Sender<Done>,
) {
    let mut wishes = true;
    // Those for which up failed before the present wish.
    let mut again = Vec::new();
    let mut number = wanted.borrow().number;
    loop {
        let goal = wanted.borrow_and_update().clone();
        if goal.number != number {
            number = goal.number;
            again.clone_from(&done.borrow().failed);
        }
        let step = next_step(&goal.addresses, &done.borrow(), &again);
        let scripts = scripts.borrow().clone();
        match step {
            Some((Direction::Up, address)) => {
                let up = scripts.up.as_deref();
                let has_run = tell(&name, &scripts, "up", up, address).await;
                again.retain(|other| *other != address);
                done.send_modify(|done| done.went_up(address, has_run));
            }
            Some((Direction::Down, address)) => {
                tell(&name, &scripts, "down", scripts.down.as_deref(), address).await;
                done.send_modify(|done| done.went_down(address));
            }
            None => {
                done.send_modify(|done| done.number = goal.number);
                if !wishes {
                    return;
                }
                wishes = wanted.changed().await.is_ok();
            }
        }
    }
}

impl Done {
    fn went_up(&mut self, address: IpAddr, has_run: bool) {
        self.went_down(address);
        self.up.push(address);
        if !has_run {
            self.failed.push(address);
        }
    }

    fn went_down(&mut self, address: IpAddr) {
        for list in [&mut self.unclean, &mut self.up, &mut self.failed] {
            list.retain(|other| *other != address);
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Up,
    Down,
}

/// What is to be done next, so that nothing is left behind and the up script has run for `goal`
/// and nothing else. It is run once more for those `again` that are wanted still.
fn next_step(goal: &[IpAddr], done: &Done, again: &[IpAddr]) -> Option<(Direction, IpAddr)> {
    let surplus = done.up.iter().find(|address| !goal.contains(address));
    let down = done.unclean.first().or(surplus);
    let is_missing = |address: &&IpAddr| !done.up.contains(address) || again.contains(address);
    down.map(|address| (Direction::Down, *address)).or_else(|| {
        let missing = goal.iter().find(is_missing);
        missing.map(|address| (Direction::Up, *address))
    })
}

/// Runs a script, if there is one, and logs what came of it. Returns whether it came to its end,
/// well or not.
async fn tell(
    name: &HostName,
    scripts: &Scripts,
    direction: &str,
    script: Option<&Path>,
    address: IpAddr,
) -> bool {
    let Some(script) = script else {
        return true;
    };
    let address = address.to_string();
    let mut arguments = vec![name.interface.as_str(), &address];
    arguments.extend(scripts.xparam.as_deref());
    let call = Call {
        program: script,
        arguments,
        limit: scripts.timeout,
    };
    debug!(host = %name, script = %call, "{direction} script begins");
    let began = Instant::now();
    let outcome = program::run(
        &call,
        |line| info!(host = %name, direction, "script: {line}"),
    )
    .await;
    let took = began.elapsed();
    let has_run = matches!(outcome, Outcome::Ended(_));
    match outcome {
        Outcome::Ended(status) if status.success() => {
            info!(host = %name, script = %call, ?took, "{direction} script done");
        }
        Outcome::Ended(status) => {
            warn!(host = %name, script = %call, ?took, %status, "{direction} script failed");
        }
        Outcome::Killed => {
            warn!(host = %name, script = %call, ?took, "{direction} script killed at its time limit");
        }
        Outcome::NotStarted(error) => {
            warn!(host = %name, script = %call, %error, "{direction} script cannot be run");
        }
    }
    has_run
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn script(folder: &TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("script");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn one_step_at_a_time_leads_to_the_goal() {
        let [a, b]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let next = |goal: &[IpAddr], unclean: &[IpAddr], up: &[IpAddr], again: &[IpAddr]| {
            let done = Done {
                number: 0,
                unclean: unclean.to_vec(),
                up: up.to_vec(),
                failed: Vec::new(),
            };
            next_step(goal, &done, again)
        };
        assert_eq!(next(&[], &[], &[], &[]), None);
        assert_eq!(next(&[a, b], &[], &[], &[]), Some((Direction::Up, a)));
        assert_eq!(next(&[a, b], &[], &[a], &[]), Some((Direction::Up, b)));
        assert_eq!(next(&[a, b], &[], &[b, a], &[]), None);
        assert_eq!(next(&[b], &[], &[a], &[]), Some((Direction::Down, a)));
        // What is left behind goes first, even if it is wanted.
        assert_eq!(next(&[a], &[a], &[], &[]), Some((Direction::Down, a)));
        assert_eq!(next(&[], &[b], &[], &[]), Some((Direction::Down, b)));
        // Once more, but only while it is wanted.
        assert_eq!(next(&[a], &[], &[a], &[a]), Some((Direction::Up, a)));
        assert_eq!(next(&[], &[], &[a], &[a]), Some((Direction::Down, a)));
        assert_eq!(next(&[], &[], &[], &[a]), None);
    }

    /// A wish whose scripts write down when they begin and end.
    fn wish(folder: &TempDir, at_start: Vec<IpAddr>) -> (Wish, PathBuf) {
        let log = folder.path().join("log");
        let text = format!(
            "echo $3 $2 begins >> {0}; sleep 0.3; echo $3 $2 ends >> {0}",
            log.display()
        );
        let path = script(folder, &text);
        let scripts = Scripts {
            up: Some(path.clone()),
            down: Some(path),
            xparam: Some("x".to_owned()),
            ..Scripts::default()
        };
        let name = "1@eth0".parse().unwrap();
        let (wish, worker) = Wish::new(name, scripts, at_start);
        tokio::spawn(worker);
        (wish, log)
    }

    #[tokio::test]
    async fn scripts_run_in_order_and_never_two_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let (wish, log) = wish(&folder, vec![a]);
        let mut settled = wish.up_for(&[a, b]);
        assert!(!settled.is_settled());
        settled.wait().await;
        // Down at the start, and then up for both, though the role came at once.
        let text = fs::read_to_string(&log).unwrap();
        let expected = ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
            .map(|address| format!("x {address} begins\nx {address} ends\n"));
        assert_eq!(text, expected.concat());

        // A role that is left and taken again while a script runs.
        wish.up_for(&[]);
        tokio::time::sleep(SECOND / 10).await;
        wish.up_for(&[a, b]);
        wish.up_for(&[]).wait().await;
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<_> = text.lines().skip(6).collect();
        let expected = [
            "x 192.0.2.1 begins",
            "x 192.0.2.1 ends",
            "x 192.0.2.2 begins",
            "x 192.0.2.2 ends",
        ];
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn the_last_wish_is_fulfilled_after_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let (wish, log) = wish(&folder, vec![a]);
        let mut settled = wish.settled();
        drop(wish);
        settled.wait().await;
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
    }

    #[tokio::test]
    async fn an_up_script_that_did_not_run_is_run_again_with_the_next_wish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let scripts = Scripts {
            up: Some(path),
            ..Scripts::default()
        };
        let (wish, worker) = Wish::new("1@eth0".parse().unwrap(), scripts, Vec::new());
        tokio::spawn(worker);
        for _ in 0..2 {
            let mut settled = wish.up_for(&[a]);
            settled.wait().await;
            assert_eq!(settled.failed(), [a]);
        }
        let log = folder.path().join("log");
        script(&folder, &format!("echo $2 >> {}", log.display()));
        for _ in 0..2 {
            let mut settled = wish.up_for(&[a]);
            settled.wait().await;
            assert!(settled.failed().is_empty());
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "192.0.2.1\n");
    }
}

//! Runs the up and down scripts, so that none of them can hold up the protocol: each has a
//! limited time, after which it is killed with all that it started, and what it prints goes to
//! the log, line by line and not without end.

use core::fmt;
use core::net::IpAddr;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::config::{Config, HostName, Scripts};

/// How many lines of what a script prints are logged, and how long they may be.
const MAX_LINES: usize = 100;
const MAX_LINE: usize = 1024;
/// How long output is waited for when the script itself has ended: what it left running in the
/// background may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a killed script is waited for. One that waits for a disk or a file server that does
/// not answer dies no sooner than that does; the next script is not held up by it.
const BURIAL: Duration = Duration::from_secs(1);

/// Checks that the scripts of a configuration are there and can be run.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    for (name, host) in &config.hosts {
        let scripts = &host.live.scripts;
        for path in [&scripts.up, &scripts.down].into_iter().flatten() {
            is_program(path)
                .map_err(|error| format!("host {name}: script {}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> Result<(), String> {
    if path
        .parent()
        .is_none_or(|folder| folder.as_os_str().is_empty())
    {
        // It would be looked for in $PATH.
        return Err("it has to be given with its folder".to_owned());
    }
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err("it is not a program".to_owned());
    }
    Ok(())
}

/// A script to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Call<'a> {
    script: &'a Path,
    arguments: Vec<&'a str>,
    limit: Duration,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.script.display(), self.arguments.join(" "))
    }
}

/// How a script ended.
#[derive(Debug)]
enum Outcome {
    Ended(ExitStatus),
    Killed,
    NotStarted(io::Error),
}

/// Runs a script to its end or to its limit, handing the lines that it prints to `line`.
async fn run(call: &Call<'_>, line: impl Fn(&str)) -> Outcome {
    let spawned = Command::new(call.script)
        .args(&call.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Outcome::NotStarted(error),
    };
    // Dropped before the script has ended, this kills it, too.
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let lines = AtomicUsize::new(0);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = async {
        tokio::join!(relay(stdout, &lines, &line), relay(stderr, &lines, &line));
    };
    let mut output = pin!(output);
    let mut limit = pin!(tokio::time::sleep(call.limit));
    let mut is_read = false;
    let outcome = loop {
        tokio::select! {
            biased;
            status = child.wait() => break match status {
                Ok(status) => {
                    group.leave();
                    Outcome::Ended(status)
                }
                Err(error) => Outcome::NotStarted(error),
            },
            () = &mut output, if !is_read => is_read = true,
            () = &mut limit => {
                drop(group);
                let _ = tokio::time::timeout(BURIAL, child.wait()).await;
                break Outcome::Killed;
            }
        }
    };
    if !is_read {
        let _ = tokio::time::timeout(LAST_WORDS, output).await;
    }
    outcome
}

/// The process group of a script; all of it is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// The script has ended; what it left in the background may stay.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Hands the lines of a pipe on, and goes on reading when there were enough of them, so that
/// the script does not wait for ever for somebody to read.
async fn relay(pipe: Option<impl AsyncRead + Unpin>, lines: &AtomicUsize, line: &impl Fn(&str)) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let tell = |text: &[u8]| match lines.fetch_add(1, Ordering::Relaxed) {
        0..MAX_LINES => line(&String::from_utf8_lossy(text)),
        MAX_LINES => line("(it prints more, which is left out)"),
        _ => {}
    };
    let mut buffer = Vec::with_capacity(2 * MAX_LINE);
    loop {
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            tell(buffer.trim_ascii_end());
            buffer = rest;
        }
        if buffer.len() >= MAX_LINE {
            tell(&buffer);
            buffer.clear();
        }
        buffer.reserve(MAX_LINE);
    }
    if !buffer.is_empty() {
        tell(&buffer);
    }
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
        script,
        arguments,
        limit: scripts.timeout,
    };
    debug!(host = %name, script = %call, "{direction} script begins");
    let began = Instant::now();
    let outcome = run(
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
    use std::fs::Permissions;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use tempfile::TempDir;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn script(folder: &TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("script");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs a script, and gives what it printed as well.
    async fn run_script(text: &str, limit: Duration) -> (Outcome, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let script = script(&folder, text);
        let call = Call {
            script: &script,
            arguments: vec!["eth0", "192.0.2.1", "x"],
            limit,
        };
        let lines = Mutex::new(Vec::new());
        let outcome = run(&call, |line| lines.lock().unwrap().push(line.to_owned())).await;
        (outcome, lines.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_script_gets_its_arguments_and_its_output_is_kept() {
        let (outcome, lines) =
            run_script("echo $# $1 $2 $3; echo oops >&2; exit 3", 5 * SECOND).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.code() == Some(3)));
        assert_eq!(lines.len(), 2);
        assert!(lines.contains(&"3 eth0 192.0.2.1 x".to_owned()));
        assert!(lines.contains(&"oops".to_owned()));
    }

    #[tokio::test]
    async fn at_its_limit_a_script_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let text = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let began = Instant::now();
        let (outcome, _) = run_script(&text, SECOND / 2).await;
        assert!(matches!(outcome, Outcome::Killed));
        assert!(began.elapsed() < 10 * SECOND);
        let pid = fs::read_to_string(pid).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        for _ in 0..100 {
            // Gone, or waiting for whoever adopted it.
            let is_gone = fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
            if is_gone {
                return;
            }
            tokio::time::sleep(SECOND / 20).await;
        }
        panic!("what the script started lives on");
    }

    #[tokio::test]
    async fn what_a_script_leaves_in_the_background_does_not_hold_it_up() {
        let began = Instant::now();
        let (outcome, lines) = run_script("sleep 3 & echo done", 20 * SECOND).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.success()));
        assert_eq!(lines, ["done"]);
        assert!(began.elapsed() < 2 * SECOND);
    }

    #[tokio::test]
    async fn output_without_end_is_read_and_left_out() {
        let text = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; \
            head -c 100000 /dev/zero | tr '\\0' x";
        let (outcome, lines) = run_script(text, 20 * SECOND).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.success()));
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(lines[0], "line 0");
        assert!(lines[MAX_LINES].contains("left out"));

        let (_, long) = run_script("head -c 5000 /dev/zero | tr '\\0' x", SECOND).await;
        assert!(long.iter().all(|line| line.len() <= 2 * MAX_LINE));
        assert_eq!(long.iter().map(String::len).sum::<usize>(), 5000);
    }

    #[tokio::test]
    async fn a_script_that_is_not_there_is_told() {
        let call = Call {
            script: Path::new("/nonexistent/script"),
            arguments: Vec::new(),
            limit: SECOND,
        };
        assert!(matches!(run(&call, |_| ()).await, Outcome::NotStarted(_)));
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

//! Runs other programs, so that none of them can hold up this one: each has a limited time, after
//! which it is killed with all that it started, and what it prints is handed on line by line and
//! not without end.

use core::fmt;
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

/// How many lines of what a program prints are handed on, and how long they may be.
const MAX_LINES: usize = 100;
const MAX_LINE: usize = 1024;
/// How long output is waited for when the program itself has ended: what it left running in the
/// background may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a killed program is waited for. One that waits for a disk or a file server that does
/// not answer dies no sooner than that does; the next one is not held up by it.
const BURIAL: Duration = Duration::from_secs(1);

/// Checks that there is a program that can be run.
pub(crate) fn check(path: &Path) -> Result<(), String> {
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

/// A program to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Call<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<&'a str>,
    pub(crate) limit: Duration,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program.display(), self.arguments.join(" "))
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ended(ExitStatus),
    Killed,
    NotStarted(io::Error),
}

/// Runs a program to its end or to its limit, handing the lines that it prints to `line`.
pub(crate) async fn run(call: &Call<'_>, line: impl Fn(&str)) -> Outcome {
    let spawned = Command::new(call.program)
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
    // Dropped before the program has ended, this kills it, too.
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

/// The process group of a program; all of it is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// The program has ended; what it left in the background may stay.
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
/// the program does not wait for ever for somebody to read.
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use tempfile::TempDir;
    use tokio::time::Instant;

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
            program: &script,
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
            program: Path::new("/nonexistent/script"),
            arguments: Vec::new(),
            limit: SECOND,
        };
        assert!(matches!(run(&call, |_| ()).await, Outcome::NotStarted(_)));
    }
}

//! Commands as real processes: what they write, how they are ended, and that nothing is left.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant as Clock;

use async_trait::async_trait;
use ha_core::carp_proto::State as Role;
use ha_core::failover::{Action, GroupId, NodeId, Step, StepKind};
use ha_core::io::failover::{
    Cancel, Command, CommandError, CommandService, Device, DeviceFile, Election, ElectionError,
    Job, MAX_OUTPUT, Part, Service, StepError, SystemdUnit, Unit, UnitSetup,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn job() -> (Job, Cancel) {
    Job::new(Action::Start, "service", Instant::now() + SECOND, None)
}

/// A shell that does this.
fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// Whether a process runs: one that has ended and was not buried does not.
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The numbers that a script has written to a file, one a line.
async fn pids(path: &Path, count: usize) -> Vec<i32> {
    for _ in 0..500 {
        let text = fs::read_to_string(path).unwrap_or_default();
        let pids: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
        if text.ends_with('\n') && pids.len() == count {
            return pids;
        }
        sleep(SECOND / 100).await;
    }
    panic!("the script has not begun");
}

async fn all_gone(pids: &[i32]) {
    for _ in 0..300 {
        if !pids.iter().any(|pid| runs(*pid)) {
            return;
        }
        sleep(SECOND / 100).await;
    }
    panic!("{pids:?} still run");
}

/// Three processes that sleep, one of which heeds no signal but SIGKILL.
fn family(path: &Path) -> String {
    let path = path.display();
    format!(
        "echo $$ >>{path}; sleep 1000 & echo $! >>{path}; \
         sh -c 'trap \"\" TERM; echo $$ >>{path}; while :; do sleep 1; done' & wait; wait"
    )
}

#[tokio::test]
async fn what_is_written_is_kept_up_to_a_bound() {
    let (job, _cancel) = job();
    let out = sh("echo to be seen; echo as well >&2")
        .run(&job)
        .await
        .unwrap();
    assert_eq!(out.octets(), b"to be seen\nas well\n");
    assert_eq!(out.to_string(), "to be seen | as well");
    let flood = sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end");
    let out = flood.run(&job).await.unwrap();
    assert_eq!(out.octets().len(), MAX_OUTPUT);
    assert_eq!(out.lost(), 3_000_009 - MAX_OUTPUT as u64);
    assert!(out.octets().ends_with(b"x\nthe end\n"));
    let odd = sh("printf 'a\\033[2J\\377'").run(&job).await.unwrap();
    assert_eq!(
        odd.to_string(),
        "a\\u{1b}[2J\u{fffd}",
        "nothing reaches a terminal"
    );
}

#[tokio::test]
async fn a_failure_says_how_and_what_was_written() {
    let (job, _cancel) = job();
    let error = sh("echo no >&2; exit 3").run(&job).await.unwrap_err();
    assert_eq!(error.code(), 3);
    assert_eq!(error.to_string(), "\"sh\" ended with exit status: 3: no");
    assert!(sh("exit 3").accept(3).run(&job).await.is_ok());
    let error = sh("kill -9 $$").run(&job).await.unwrap_err();
    assert_eq!(error.code(), 128 + 9);
    let error = Command::new("/no/such").run(&job).await.unwrap_err();
    let StepError::Command(CommandError::NotRun { .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(error.code(), 2, "no such file");
}

#[tokio::test]
async fn the_environment_is_what_is_given() {
    let (job, _cancel) = job();
    let out = sh("pwd; env | sort")
        .env("MORE", "a b")
        .run(&job)
        .await
        .unwrap();
    let text = String::from_utf8(out.octets().to_vec()).unwrap();
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split('=').next().unwrap())
        .collect();
    assert_eq!(names, ["/", "HA_ACTION", "HA_STEP", "MORE", "PATH", "PWD"]);
    assert!(
        text.contains("HA_ACTION=start\nHA_STEP=service\nMORE=a b\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_cancelled_command_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (job, cancel) = job();
    let command = sh(&family(&path)).grace(SECOND / 4);
    let run = tokio::spawn(async move { command.run(&job).await });
    let pids = pids(&path, 3).await;
    assert!(pids.iter().all(|pid| runs(*pid)));
    cancel.cancel();
    let result = timeout(2 * SECOND, run).await.expect("in time").unwrap();
    assert!(matches!(result, Err(StepError::Cancelled)), "{result:?}");
    // Not only soon: when it has ended.
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_command_that_heeds_no_signal_is_killed_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (job, _cancel) = job();
    let script = format!("trap '' TERM; {}", family(&path));
    let command = sh(&script).timeout(SECOND / 2).grace(SECOND / 4);
    let began = Clock::now();
    let error = command.run(&job).await.unwrap_err();
    let took = began.elapsed();
    assert!(took >= 3 * SECOND / 4 && took < 3 * SECOND, "{took:?}");
    let StepError::Command(CommandError::TimedOut { limit, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(limit, SECOND / 2);
    assert!(!pids(&path, 3).await.iter().any(|pid| runs(*pid)));
}

#[tokio::test]
async fn whoever_is_dropped_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (job, _cancel) = job();
    let command = sh(&family(&path));
    let run = tokio::spawn(async move { command.run(&job).await });
    let pids = pids(&path, 3).await;
    run.abort();
    all_gone(&pids).await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_or_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (job, _cancel) = job();
    for (name, keep) in [("killed", false), ("kept", true)] {
        let path = folder.path().join(name);
        let start = sh(&format!("sleep 1000 & echo $! >>{}", path.display()));
        let start = if keep { start.keep_leftovers() } else { start };
        timeout(SECOND, start.run(&job))
            .await
            .expect("at once")
            .unwrap();
        let pids = pids(&path, 1).await;
        assert_eq!(runs(pids[0]), keep, "{name}");
        if keep {
            sh(&format!("kill {}", pids[0])).run(&job).await.unwrap();
            all_gone(&pids).await;
        }
    }
}

#[tokio::test]
async fn a_daemon_that_leaves_its_group_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (job, _cancel) = job();
    // It keeps the pipe open, and goes on writing.
    let daemon = format!(
        "echo $$ >>{}; while :; do echo x; sleep 0.01; done",
        path.display()
    );
    let start = sh(&format!(
        "setsid sh -c '{daemon}' & while ! test -s {}; do :; done",
        path.display()
    ));
    timeout(2 * SECOND, start.run(&job))
        .await
        .expect("at once")
        .unwrap();
    let pids = pids(&path, 1).await;
    // Its next line finds nobody, which ends it.
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_child_does_not_outlive_this_process() {
    if let Some(path) = std::env::var_os("PIDS") {
        // This is the process that will be killed.
        let (job, _cancel) = job();
        let script = format!("echo $$ >>{}; exec sleep 1000", Path::new(&path).display());
        let _ = sh(&script).run(&job).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_does_not_outlive_this_process"])
        .env("PIDS", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pids = pids(&path, 1).await;
    assert!(runs(pids[0]));
    parent.kill().unwrap();
    parent.wait().unwrap();
    all_gone(&pids).await;
}

#[test]
fn a_child_does_not_end_with_the_thread_that_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let script = format!("echo $$ >>{}; exec sleep 1000", path.display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // A runtime of its own on another thread, which ends while the child runs.
    let (sender, receiver) = std::sync::mpsc::channel();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        let _guard = handle.enter();
        let (job, cancel) = job();
        let mut run = Box::pin(async move { sh(&script).run(&job).await.map(drop) });
        handle.block_on(async {
            tokio::select! {
                _ = &mut run => panic!("it sleeps"),
                _ = pids(&path, 1) => {}
            }
            sender.send((pids(&path, 1).await, cancel)).unwrap();
        });
        std::thread::spawn(move || handle.block_on(run));
    })
    .join()
    .unwrap();
    let (pids, cancel) = receiver.recv().unwrap();
    std::thread::sleep(SECOND / 2);
    assert!(runs(pids[0]), "its thread lives as long as it does");
    cancel.cancel();
    runtime.block_on(all_gone(&pids));
}

#[tokio::test]
async fn a_service_of_commands_is_started_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("flag");
    let (job, _cancel) = job();
    let service = CommandService::new(
        Command::new("touch").arg(&flag),
        Command::new("rm").arg("-f").arg(&flag),
    )
    .drained_by(Command::new("false"))
    .killed_by(sh("exit 7"));
    service.start(&job).await.unwrap();
    assert!(flag.exists());
    assert_eq!(service.drain(&job).await.unwrap_err().code(), 1);
    service.stop(&job).await.unwrap();
    service.stop(&job).await.unwrap();
    assert!(!flag.exists());
    assert_eq!(service.kill(&job).await.unwrap_err().code(), 7);
}

/// A program that behaves as systemctl does, with one unit whose state is a file.
fn systemctl(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("systemctl");
    let script = "#!/bin/sh\n\
        cd $(dirname $0); echo \"$*\" >>log\n\
        case $1 in\n\
        start) if test -e broken; then echo 'Job failed.' >&2; exit 1; fi; echo active >state;;\n\
        stop) test -e deaf && exit 1; test -e state || exit 5; echo inactive >state;;\n\
        kill) test -e state || exit 5; rm -f deaf;;\n\
        show) cat state 2>/dev/null || echo inactive;;\n\
        esac\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_unit_of_systemd_counts_by_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (job, _cancel) = job();
    let unit = SystemdUnit::new("web.service").systemctl(systemctl(folder));
    // There is no such unit yet: then it is stopped.
    unit.stop(&job).await.unwrap();
    unit.kill(&job).await.unwrap();
    unit.start(&job).await.unwrap();
    fs::write(folder.join("deaf"), "").unwrap();
    assert_eq!(unit.stop(&job).await.unwrap_err().code(), 1);
    unit.kill(&job).await.unwrap();
    assert_eq!(
        fs::read_to_string(folder.join("state")).unwrap(),
        "inactive\n"
    );
    fs::write(folder.join("broken"), "").unwrap();
    let error = unit.start(&job).await.unwrap_err();
    assert!(error.to_string().ends_with("Job failed."), "{error}");
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(log.contains("start -- web.service\n"), "{log}");
    assert!(
        log.contains("kill --signal=SIGKILL -- web.service\n"),
        "{log}"
    );
}

#[tokio::test]
async fn a_unit_that_ends_at_once_has_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let (job, _cancel) = job();
    let path = folder.path().join("systemctl");
    fs::write(&path, "#!/bin/sh\ntest $1 = start || echo failed\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let unit = SystemdUnit::new("web.service").systemctl(&path);
    let error = unit.start(&job).await.unwrap_err();
    assert_eq!(error.to_string(), "unit web.service is failed");
    unit.stop(&job).await.unwrap();
}

#[tokio::test]
async fn a_device_is_waited_for_until_the_step_is_cancelled() {
    let (present, _cancel) = job();
    DeviceFile::new("/dev/null").appear(&present).await.unwrap();
    let (absent, cancel) = job();
    let wait = tokio::spawn(async move { DeviceFile::new("/dev/no-such").appear(&absent).await });
    sleep(SECOND / 4).await;
    assert!(!wait.is_finished());
    cancel.cancel();
    assert!(matches!(wait.await.unwrap(), Err(StepError::Cancelled)));
}

#[tokio::test]
async fn it_has_nothing_to_read_and_a_session_of_its_own() {
    let (job, _cancel) = job();
    let look = sh("readlink /proc/self/fd/0; cut -d ' ' -f 1,5,6,7 /proc/$$/stat");
    let out = look.run(&job).await.unwrap();
    let text = String::from_utf8(out.octets().to_vec()).unwrap();
    let (stdin, numbers) = text.split_once('\n').unwrap();
    assert_eq!(stdin, "/dev/null");
    // The process, its group, its session, its terminal.
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(numbers[0], numbers[2]);
    assert_eq!(numbers[3], "0");
}

/// A unit with one service, which is this command.
fn unit(start: Command) -> (Unit, watch::Sender<Arc<[Role]>>) {
    struct Alone(watch::Receiver<Arc<[Role]>>);

    #[async_trait]
    impl Election for Alone {
        fn roles(&self) -> watch::Receiver<Arc<[Role]>> {
            self.0.clone()
        }

        async fn demote(&self, _: &str, _: i32) -> Result<(), ElectionError> {
            Ok(())
        }

        async fn restore(&self, _: &str) -> Result<(), ElectionError> {
            Ok(())
        }

        async fn force(&self, _: GroupId, _: Role) -> Result<(), ElectionError> {
            Ok(())
        }
    }

    let (sender, roles) = watch::channel([Role::Master].into());
    let service = CommandService::new(start, Command::new("true"));
    let step = Step::new(StepKind::Service, "service");
    let steps = vec![(step, Part::Service(Arc::new(service)))];
    let node = NodeId::new(0).unwrap();
    let mut setup = UnitSetup::new("unit", node, steps, Alone(roles)).unwrap();
    setup.config.holds.start = Duration::ZERO;
    (Unit::new(setup).unwrap(), sender)
}

#[tokio::test]
async fn a_unit_that_is_dropped_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (unit, _roles) = unit(sh(&family(&path)));
    let run = tokio::spawn(unit.run());
    let pids = pids(&path, 3).await;
    run.abort();
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_unit_that_is_told_to_end_ends_the_step_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pids");
    let (unit, _roles) = unit(sh(&family(&path)).grace(SECOND / 4));
    let handle = unit.handle();
    let run = tokio::spawn(unit.run());
    let pids = pids(&path, 3).await;
    timeout(5 * SECOND, handle.shutdown())
        .await
        .expect("in time")
        .unwrap();
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    run.await.unwrap().unwrap();
}

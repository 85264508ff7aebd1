//! Runs the program of `exec` at each event, one at a time and in order, so that no event
//! overtakes another and none of them can hold up the replication.

use core::time::Duration;
use std::path::Path;

use hast_proto::ResourceName;
use hast_proto::conf;
use hast_proto::hooks::HookEvent;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::program::{self, Call, Outcome};

/// How many events of a resource wait for the program; what comes beyond that is lost, and told.
const WAITING: usize = 64;

/// The program of a resource. Dropped, it is still told of all events so far.
#[derive(Debug)]
pub(crate) struct Hook {
    resource: ResourceName,
    events: mpsc::Sender<(conf::Path, HookEvent)>,
}

impl Hook {
    /// Makes a queue of events, and the worker that works it off until the queue is dropped.
    pub(crate) fn new(
        resource: ResourceName,
        limit: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (events, receiver) = mpsc::channel(WAITING);
        let worker = work(resource.clone(), receiver, limit);
        (Self { resource, events }, worker)
    }

    /// Whose events these are.
    pub(crate) fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// Has a program told of an event, if there is one. Does not wait for it.
    pub(crate) fn tell(&self, program: Option<&conf::Path>, event: HookEvent) {
        let Some(program) = program else {
            return;
        };
        if self.events.try_send((program.clone(), event)).is_err() {
            let resource = &self.resource;
            warn!(%resource, event = event.word(), "exec: too many events wait; this one is not told");
        }
    }
}

async fn work(
    resource: ResourceName,
    mut events: mpsc::Receiver<(conf::Path, HookEvent)>,
    limit: Duration,
) {
    while let Some((program, event)) = events.recv().await {
        run(&resource, program.as_str(), event, limit).await;
    }
}

async fn run(resource: &ResourceName, program: &str, event: HookEvent, limit: Duration) {
    let arguments = match event.arguments(program, resource) {
        Ok(arguments) => arguments,
        Err(error) => {
            warn!(%resource, event = event.word(), %error, "exec: not run");
            return;
        }
    };
    let call = Call {
        program: Path::new(program),
        // The first is what it is called by, which the system adds.
        arguments: arguments.get(1..).unwrap_or_default().to_vec(),
        limit,
    };
    debug!(%resource, "exec: {call} begins");
    let began = Instant::now();
    let outcome = program::run(&call, |line| info!(%resource, "exec: {line}")).await;
    let took = began.elapsed();
    match outcome {
        Outcome::Ended(status) if status.success() => {
            info!(%resource, ?took, "exec: {call} done");
        }
        Outcome::Ended(status) => warn!(%resource, ?took, %status, "exec: {call} failed"),
        Outcome::Killed => warn!(%resource, ?took, "exec: {call} killed at its time limit"),
        Outcome::NotStarted(error) => warn!(%resource, %error, "exec: {call} cannot be run"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use hast_proto::Role;
    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn program(folder: &TempDir, text: &str) -> conf::Path {
        let path = folder.path().join("hook");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        conf::Path::new(path.to_str().unwrap()).unwrap()
    }

    fn start(limit: Duration) -> (Hook, JoinHandle<()>) {
        let (hook, worker) = Hook::new(ResourceName::new("shared").unwrap(), limit);
        (hook, tokio::spawn(worker))
    }

    #[tokio::test]
    async fn events_are_told_in_order_and_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = format!("echo \"$0 $*\" >> {}", log.display());
        let path = program(&folder, &text);
        let (hook, worker) = start(5 * SECOND);
        let role = HookEvent::Role {
            old: Role::Init,
            new: Role::Primary,
        };
        for event in [role, HookEvent::Connect, HookEvent::SplitBrain] {
            hook.tell(Some(&path), event);
        }
        hook.tell(None, HookEvent::Disconnect);
        drop(hook);
        worker.await.unwrap();
        let told = fs::read_to_string(&log).unwrap();
        let expected = [
            "role shared init primary",
            "connect shared",
            "split-brain shared",
        ];
        assert_eq!(
            told,
            expected.map(|event| format!("{path} {event}\n")).concat()
        );
    }

    #[tokio::test]
    async fn a_program_that_hangs_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(&folder, "sleep 60");
        let (hook, worker) = start(SECOND / 5);
        let began = Instant::now();
        for _ in 0..3 * WAITING {
            hook.tell(Some(&path), HookEvent::Connect);
        }
        assert!(began.elapsed() < SECOND);
        worker.abort();
        let _ = worker.await;

        let (hook, worker) = start(SECOND / 5);
        hook.tell(Some(&path), HookEvent::Connect);
        drop(hook);
        worker.await.unwrap();
        assert!(began.elapsed() < 10 * SECOND);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let there = program(&folder, &format!("echo $1 > {}", log.display()));
        let (hook, worker) = start(SECOND);
        let missing = conf::Path::new("/nonexistent/hook").unwrap();
        hook.tell(Some(&missing), HookEvent::Connect);
        hook.tell(Some(&there), HookEvent::SyncDone);
        drop(hook);
        worker.await.unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "syncdone\n");
    }
}

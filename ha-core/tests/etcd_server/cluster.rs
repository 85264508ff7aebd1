//! Real etcd servers on loopback, in a directory that vanishes with them.

use core::time::Duration;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ha_core::failover::Query;
use ha_core::io::arbiter::Arbiter;
use ha_core::io::arbiter::etcd::{Credentials, Endpoint, EtcdArbiter, EtcdConfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct Cluster {
    directory: TempDir,
    /// Ports for clients and for each other.
    ports: Vec<(u16, u16)>,
    members: Vec<Option<Child>>,
}

/// A port that nobody has, until somebody takes it.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Cluster {
    pub(crate) fn start(count: usize) -> Self {
        let mut cluster = Self {
            directory: tempfile::tempdir().unwrap(),
            ports: (0..count).map(|_| (port(), port())).collect(),
            members: (0..count).map(|_| None).collect(),
        };
        for member in 0..count {
            cluster.launch(member);
        }
        cluster
    }

    /// Starts a member, with the data that it had.
    pub(crate) fn launch(&mut self, member: usize) {
        let (client, peer) = self.ports[member];
        let names = self.ports.iter().enumerate();
        let all: Vec<_> = names
            .map(|(name, (_, peer))| format!("{name}=http://127.0.0.1:{peer}"))
            .collect();
        let log = File::create(self.directory.path().join(format!("{member}.log"))).unwrap();
        let data = self.directory.path().join(format!("{member}"));
        let client = format!("http://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let child = Command::new("etcd")
            .args(["--name", &member.to_string(), "--logger", "zap"])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &all.join(",")])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd is installed");
        self.members[member] = Some(child);
    }

    pub(crate) fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops a member from running, or lets it run again.
    pub(crate) fn pause(&self, member: usize, signal: Signal) {
        let child = self.members[member].as_ref().unwrap();
        let pid = Pid::from_child(child);
        kill_process(pid, signal).unwrap();
        if signal == Signal::STOP {
            // The kernel stops one thread after the other, and one that runs may answer until then.
            while !is_stopped(child.id()) {
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn endpoint(&self, member: usize) -> Endpoint {
        format!("http://127.0.0.1:{}", self.ports[member].0)
            .parse()
            .unwrap()
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        let members = 0..self.ports.len();
        EtcdConfig::new(members.map(|member| self.endpoint(member)).collect())
    }

    pub(crate) fn arbiter(&self) -> EtcdArbiter {
        EtcdArbiter::new(self.config(), "unit").unwrap()
    }

    pub(crate) fn arbiter_as(&self, name: &str, password: &str) -> EtcdArbiter {
        let mut config = self.config();
        config.credentials = Some(Credentials::new(name, password));
        EtcdArbiter::new(config, "unit").unwrap()
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) {
        let mut arbiter = self.arbiter();
        for _ in 0..300 {
            if arbiter.ask(Query::Read).await.is_ok() {
                return;
            }
            crate::pass(Duration::from_millis(100)).await;
        }
        panic!("etcd did not start: {}", self.log(0));
    }

    fn log(&self, member: usize) -> String {
        let path = self.directory.path().join(format!("{member}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// What etcd's own tool prints.
    pub(crate) fn etcdctl(&self, words: &[&str]) -> String {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint(0).to_string()])
            .args(words)
            .output()
            .expect("etcdctl is installed");
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {text}{error}");
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in 0..self.members.len() {
            self.kill(member);
        }
    }
}

/// Whether all threads of a process are stopped (proc(5), the third field of `stat`).
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let behind_the_name = stat.rsplit(')').next().unwrap_or_default();
        behind_the_name.trim_start().starts_with('T')
    })
}

//! A real etcd on a host of its own.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::namespace::Namespace;
use super::network::{ARBITER, Network};
use super::pair::PATIENCE;
use super::wait_for;

/// A running etcd.
pub(crate) struct Etcd {
    child: Child,
    _host: Namespace,
}

impl Etcd {
    pub(crate) fn start(network: &Network, dir: &Path) -> Self {
        let host = network.arbiter();
        let log = File::create(dir.join("etcd.log")).expect("a log");
        let (client, peer) = (format!("http://{ARBITER}:2379"), "http://127.0.0.1:2380");
        // The kernel ends it with us.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "etcd", "--name", "arbiter"])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", peer])
            .args(["--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("arbiter={peer}")])
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = host.spawn(command);
        wait_for(
            PATIENCE,
            || std::fs::read_to_string(dir.join("etcd.log")).unwrap_or_default(),
            || host.enter(|| TcpStream::connect((ARBITER, 2379)).is_ok()),
        );
        Self { child, _host: host }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

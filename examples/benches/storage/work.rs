//! What the client does, and how fast it was.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// How long the client measures, after half a second that does not count.
const SECONDS: u32 = 3;

/// What a client asks for, over and over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// In the words of fio.
    pub(crate) pattern: &'static str,
    pub(crate) block: &'static str,
    pub(crate) depth: u32,
}

impl Work {
    pub(crate) const RANDOM_WRITE: Self = Self {
        pattern: "randwrite",
        block: "4k",
        depth: 32,
    };
    pub(crate) const RANDOM_READ: Self = Self {
        pattern: "randread",
        ..Self::RANDOM_WRITE
    };
    pub(crate) const ONE_BY_ONE: Self = Self {
        depth: 1,
        ..Self::RANDOM_WRITE
    };
    pub(crate) const SEQUENTIAL_WRITE: Self = Self {
        pattern: "write",
        block: "1m",
        depth: 8,
    };

    /// Has fio do it on the export behind `socket`, with random data. Returns requests and octets
    /// per second.
    pub(crate) fn run(self, socket: &Path) -> Speed {
        let output = Command::new("fio")
            .args(["--name=work", "--ioengine=nbd", "--output-format=json"])
            .args(["--time_based", "--ramp_time=500ms", "--randrepeat=1"])
            .arg(format!("--uri={}", uri(socket)))
            .arg(format!("--rw={}", self.pattern))
            .arg(format!("--bs={}", self.block))
            .arg(format!("--iodepth={}", self.depth))
            .arg(format!("--runtime={SECONDS}s"))
            .output()
            .expect("fio");
        assert!(output.status.success(), "fio failed: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        // Remarks may come before it.
        let json = text.find('{').map_or("", |start| &text[start..]);
        let report: Value = serde_json::from_str(json).expect("a report");
        let job = &report["jobs"][0];
        let side = if self.pattern.ends_with("read") {
            &job["read"]
        } else {
            &job["write"]
        };
        let number = |name: &str| side[name].as_f64().expect("a number");
        Speed {
            requests: number("iops"),
            octets: number("bw_bytes"),
        }
    }
}

/// What was done in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    pub(crate) requests: f64,
    pub(crate) octets: f64,
}

/// Writes random data everywhere.
pub(crate) fn fill(socket: &Path) {
    let status = Command::new("fio")
        .args(["--name=fill", "--ioengine=nbd", "--output=/dev/null"])
        .args(["--rw=write", "--bs=1m", "--iodepth=8"])
        .arg(format!("--uri={}", uri(socket)))
        .status()
        .expect("fio");
    assert!(status.success(), "fio cannot fill the device");
}

/// The default export behind a UNIX socket.
fn uri(socket: &Path) -> String {
    format!("nbd+unix:///?socket={}", socket.display())
}

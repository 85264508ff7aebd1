//! The NBD server beside clients that others wrote: nbdinfo, nbdcopy, qemu-io and fio.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which wait for real programs"
)]

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use ha_core::io::block::{DiskFile, DiskOptions, FileDevice};
use ha_core::io::nbd::{Export, Limits, Listener, Server};
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::time::timeout;

const SIZE: u64 = 64 << 20;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ha-nbd-tools-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What the tools are told to connect to.
    fn uri(&self, export: &str) -> String {
        let socket = self.path("socket");
        format!("nbd+unix:///{export}?socket={}", socket.display())
    }

    /// A file whose octets repeat nowhere near.
    fn image(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        let octets: Vec<u8> = (0..size / 8)
            .flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        fs::write(&path, octets).unwrap();
        path
    }

    fn empty(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        File::create_new(&path).unwrap().set_len(SIZE).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn export(name: &str, file: &Path) -> Export {
    let disk = DiskFile::open(file, DiskOptions::default()).unwrap();
    Export::new(name, Arc::new(FileDevice::new(disk)))
}

/// Runs a program to its end, which must be a good one, and returns what it says.
async fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let output: Output = timeout(Duration::from_secs(120), command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} {arguments:?} takes too long"))
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Serves `exports` on one thread while `client` runs.
fn serving(folder: &Folder, exports: Vec<Export>, client: impl AsyncFnOnce(Server)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::new(Limits::default());
        for export in exports {
            server.add(export).unwrap();
        }
        let listener = Listener::unix(folder.path("socket")).await.unwrap();
        tokio::select! {
            () = client(server.clone()) => {}
            () = server.run(listener, |error| panic!("{error}")) => {}
        }
    });
}

#[test]
#[ignore = "needs nbdinfo"]
fn nbdinfo_finds_what_there_is() {
    let folder = Folder::new();
    let (first, second) = (folder.empty("first"), folder.image("second", 1 << 20));
    let exports = vec![
        export("first", &first).with_description("the first one"),
        export("second", &second).read_only(),
    ];
    serving(&folder, exports, async |_| {
        let list = run("nbdinfo", &["--list", "--json", &folder.uri("")]).await;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let exports = list["exports"].as_array().unwrap();
        assert_eq!(exports.len(), 2);
        let first = &exports[0];
        assert_eq!(first["export-name"], "first");
        assert_eq!(first["description"], "the first one");
        assert_eq!(first["export-size"], SIZE);
        assert_eq!(first["block_size_minimum"], 512);
        assert_eq!(first["contexts"], serde_json::json!(["base:allocation"]));
        for able in [
            "flush",
            "fua",
            "trim",
            "zero",
            "multi_conn",
            "df",
            "fast_zero",
        ] {
            assert_eq!(first[format!("can_{able}")], true, "{able}");
        }
        assert_eq!(first["can_cache"], false);
        let second = run("nbdinfo", &["--json", &folder.uri("second")]).await;
        let second: serde_json::Value = serde_json::from_str(&second).unwrap();
        assert_eq!(second["protocol"], "newstyle-fixed");
        assert_eq!(second["exports"][0]["is_read_only"], true);
        run("nbdinfo", &["--is", "readonly", &folder.uri("second")]).await;
    });
}

#[test]
#[ignore = "needs nbdinfo, qemu-io"]
fn the_map_tells_of_data_and_holes() {
    let folder = Folder::new();
    let file = folder.empty("file");
    serving(&folder, vec![export("file", &file)], async |_| {
        let uri = folder.uri("file");
        let steps = [
            "-c",
            "write -P 7 1M 2M",
            "-c",
            "discard 2M 512k",
            "-c",
            "flush",
        ];
        run("qemu-io", &[&["-f", "raw", &uri][..], &steps].concat()).await;
        let map = run("nbdinfo", &["--map", "--json", &uri]).await;
        let map: serde_json::Value = serde_json::from_str(&map).unwrap();
        let extents: Vec<(u64, u64, u64)> = map
            .as_array()
            .unwrap()
            .iter()
            .map(|extent| {
                let number = |key: &str| extent[key].as_u64().unwrap();
                (number("offset"), number("length"), number("type"))
            })
            .collect();
        let kib = |count: u64| count << 10;
        assert_eq!(
            extents,
            [
                (0, kib(1024), 3),
                (kib(1024), kib(1024), 0),
                (kib(2048), kib(512), 3),
                (kib(2560), kib(512), 0),
                (kib(3072), SIZE - kib(3072), 3),
            ]
        );
    });
}

#[test]
#[ignore = "needs nbdcopy"]
fn nbdcopy_copies_there_and_back() {
    let folder = Folder::new();
    let (file, source) = (folder.empty("file"), folder.image("source", SIZE));
    serving(&folder, vec![export("file", &file)], async |server| {
        let uri = folder.uri("file");
        for (count, length) in [("1", "262144"), ("4", "1048576")] {
            let back = folder.path("back");
            let (from, to) = (source.to_str().unwrap(), back.to_str().unwrap());
            let how = ["--flush", "--connections", count, "--request-size", length];
            run("nbdcopy", &[&how[..], &[from, &uri]].concat()).await;
            run("nbdcopy", &[&how[..], &[&uri, to]].concat()).await;
            assert!(fs::read(&file).unwrap() == fs::read(&source).unwrap());
            assert!(fs::read(&back).unwrap() == fs::read(&source).unwrap());
            fs::remove_file(&back).unwrap();
        }
        // On several connections at a time; how many, the number of processors decides, too.
        assert!(server.counters().accepted > 4);
    });
}

#[test]
#[ignore = "needs qemu-io"]
fn qemu_io_finds_the_patterns_that_it_writes() {
    let folder = Folder::new();
    let file = folder.empty("file");
    serving(&folder, vec![export("file", &file)], async |server| {
        let steps = [
            "write -P 0x11 0 4M",
            "write -P 0x22 -f 1M 64k",
            "write -P 0x33 3000 100",
            "write -z 2M 128k",
            "write -z -u 3M 128k",
            "discard 3584k 128k",
            "flush",
            "read -P 0x11 0 3000",
            "read -P 0x33 3000 100",
            "read -P 0x22 1M 64k",
            "read -P 0x11 1088k 960k",
            "read -P 0 2M 128k",
            "read -P 0 3M 128k",
            "read -P 0 3584k 128k",
            "read -P 0 8M 8M",
            "aio_write -P 0x44 16M 1M",
            "aio_write -P 0x55 17M 1M",
            "aio_flush",
            "read -P 0x44 16M 1M",
            "read -P 0x55 17M 1M",
        ];
        let steps: Vec<&str> = steps.iter().flat_map(|step| ["-c", step]).collect();
        let uri = folder.uri("file");
        let said = run("qemu-io", &[&["-f", "raw", &uri][..], &steps].concat()).await;
        assert!(!said.contains("failed"), "{said}");
        let counters = server.counters();
        assert!(counters.zeroes >= 2 && counters.trims >= 1 && counters.flushes >= 1);
        assert_eq!((counters.refused, counters.failed), (0, 0));
    });
}

#[test]
#[ignore = "needs qemu-img"]
fn qemu_img_converts_and_compares() {
    let folder = Folder::new();
    let (file, source) = (folder.empty("file"), folder.image("source", SIZE / 2));
    File::options()
        .write(true)
        .open(&source)
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    serving(&folder, vec![export("file", &file)], async |_| {
        let (uri, from) = (folder.uri("file"), source.to_str().unwrap());
        run(
            "qemu-img",
            &["convert", "-n", "-f", "raw", "-O", "raw", from, &uri],
        )
        .await;
        run(
            "qemu-img",
            &["compare", "-f", "raw", "-F", "raw", from, &uri],
        )
        .await;
    });
    assert!(fs::read(&file).unwrap() == fs::read(&source).unwrap());
}

/// Random writes of several sizes, read back and compared.
async fn fio(uri: &str, name: &str, more: &[&str]) {
    let uri = format!("--uri={uri}");
    let name = format!("--name={name}");
    let common = [
        "--ioengine=nbd",
        "--rw=randwrite",
        "--verify=crc32c",
        "--do_verify=1",
        "--verify_state_save=0",
        "--verify_fatal=1",
        "--randrepeat=0",
        "--size=32m",
        "--bs=4k",
    ];
    // What an engine understands, fio knows only after it.
    let (engine, common) = common.split_at(1);
    run(
        "fio",
        &[&[&*name][..], engine, &[&*uri], common, more].concat(),
    )
    .await;
}

#[test]
#[ignore = "needs fio"]
fn fio_verifies_what_it_wrote() {
    let folder = Folder::new();
    let file = folder.empty("file");
    serving(&folder, vec![export("file", &file)], async |server| {
        let uri = folder.uri("file");
        fio(&uri, "small", &["--iodepth=1", "--io_size=4m"]).await;
        fio(&uri, "deep", &["--iodepth=32", "--bsrange=512-256k"]).await;
        fio(
            &uri,
            "synced",
            &["--iodepth=16", "--fsync=8", "--io_size=4m"],
        )
        .await;
        assert!(server.counters().flushes > 0);
    });
}

#[test]
#[ignore = "needs qemu-io"]
fn a_client_that_reconnects_outlives_a_restart_of_the_server() {
    let folder = Folder::new();
    let file = folder.empty("file");
    let socket = folder.path("socket");
    let options = format!(
        "driver=raw,file.driver=nbd,file.export=file,file.reconnect-delay=30,file.open-timeout=30,\
         file.server.type=unix,file.server.path={}",
        socket.display()
    );
    let client = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // Up to the sleep with one server, then with another.
                let steps = [
                    "-c",
                    "write -P 1 0 1M",
                    "-c",
                    "sleep 1500",
                    "-c",
                    "write -P 2 1M 1M",
                    "-c",
                    "read -P 1 0 1M",
                    "-c",
                    "read -P 2 1M 1M",
                    "-c",
                    "flush",
                ];
                run(
                    "qemu-io",
                    &[&["--image-opts", &options][..], &steps].concat(),
                )
                .await
            })
        });
        let lasts = |milliseconds| {
            serving(
                &folder,
                vec![export("file", &file)],
                async |server: Server| {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    while server.counters().writes == 0 {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
            );
        };
        lasts(100);
        lasts(3000);
        client.join().unwrap()
    });
    assert!(!client.contains("failed"), "{client}");
    let stored = fs::read(&file).unwrap();
    assert!(stored[..1 << 20].iter().all(|octet| *octet == 1));
    assert!(stored[1 << 20..2 << 20].iter().all(|octet| *octet == 2));
}

//! The replicated device beside clients that others wrote: what they wrote before a failover they
//! find after it.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use super::cluster::Cluster;
use super::cluster::Node::{self, Ada, Bob};
use super::space::{run, text};
use super::trial;
use super::writer::Random;

const SIZE: u64 = 64 << 20;
/// What nbdcopy writes; then comes what qemu-io does, and then what fio does.
const IMAGE: u64 = 24 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    ["fullsync", "memsync"]
        .map(|mode| {
            trial(format!("tools_{mode}"), move || failover(mode))
                .with_kind("tools")
                .with_ignored_flag(true)
        })
        .into()
}

fn failover(mode: &str) {
    let mut cluster = Cluster::new(SIZE, &format!("replication {mode} compression lzf"));
    cluster.start_in_roles(Ada);
    let info = run("nbdinfo", &["--json", &uri(&cluster, Ada)]);
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    let size = info["exports"][0]["export-size"].as_u64().expect("a size");
    assert!(size < SIZE && size > IMAGE, "{info}");

    let image = cluster.path("image");
    let mut random = Random(3);
    let noise: Vec<u8> = (0..IMAGE / 8)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    fs::write(&image, &noise).expect("a file");
    run("nbdcopy", &["--flush", text(&image), &uri(&cluster, Ada)]);
    qemu_io(
        &cluster,
        Ada,
        &[
            "write -P 0xa5 24M 2M",
            "write -P 0x5a 25000k 1536",
            "write -z 27M 1M",
            "write -P 0x11 28M 1M",
            "discard 28M 512k",
            "flush",
        ],
    );
    fio(&cluster, Ada, &["--do_verify=1"]);
    let before = read(&cluster, Ada);

    // The node dies, and the other one has it all.
    cluster.kill(Ada);
    cluster.role(Bob, "primary");
    let after = read(&cluster, Bob);
    let differs = before.iter().zip(&after).position(|(a, b)| a != b);
    assert_eq!((before.len(), differs), (after.len(), None));
    assert!(after.starts_with(&noise), "not what nbdcopy wrote");
    qemu_io(
        &cluster,
        Bob,
        &[
            "read -P 0xa5 24M 424k",
            "read -P 0x5a 25000k 1536",
            "read -P 0 27M 1M",
            "read -P 0x11 29184k 512k",
        ],
    );
    fio(&cluster, Bob, &["--verify_only=1"]);

    // And back again, with data that differ.
    qemu_io(&cluster, Bob, &["write -P 0x77 1M 3M", "flush"]);
    cluster.start(Ada);
    cluster.role(Ada, "secondary");
    cluster.wait_until_synchronised(Bob);
    cluster.role(Bob, "secondary");
    cluster.role(Ada, "primary");
    qemu_io(
        &cluster,
        Ada,
        &["read -P 0x77 1M 3M", "read -P 0x5a 25000k 1536"],
    );
    fio(&cluster, Ada, &["--verify_only=1"]);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn uri(cluster: &Cluster, node: Node) -> String {
    format!("nbd+unix:///shared?socket={}", text(&cluster.device(node)))
}

fn read(cluster: &Cluster, node: Node) -> Vec<u8> {
    let copy = cluster.path("copy");
    let _ = fs::remove_file(&copy);
    run("nbdcopy", &[&uri(cluster, node), text(&copy)]);
    fs::read(&copy).expect("a copy")
}

/// A READ of another pattern than was asked for ends qemu-io badly.
fn qemu_io(cluster: &Cluster, node: Node, commands: &[&str]) {
    let uri = uri(cluster, node);
    let mut arguments = vec!["-f", "raw", &*uri];
    for command in commands {
        arguments.extend(["-c", *command]);
    }
    let said = run("qemu-io", &arguments);
    assert!(!said.contains("failed"), "{said}");
}

fn fio(cluster: &Cluster, node: Node, how: &[&str]) {
    let uri = format!("--uri={}", uri(cluster, node));
    let folder = format!("--aux-path={}", text(Path::new(&cluster.path(""))));
    let usual = [
        "--name=verify",
        "--ioengine=nbd",
        &uri,
        &folder,
        "--rw=randwrite",
        "--bsrange=4k-64k",
        "--iodepth=16",
        "--offset=32M",
        "--size=24M",
        "--randseed=7",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--verify_state_save=0",
    ];
    run("fio", &[&usual[..], how].concat());
}

//! Nodes that have both written alone: what they tell, who gives way, and what is saved before it is
//! discarded.

use std::fs;
use std::path::Path;

use clap::Parser as _;
use hast_proto::{BLOCK_LEN, Metadata, Role};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::cluster::Node::{self, Ada, Bob};
use super::cluster::{Cluster, data, wait_until};
use super::hast_extents;
use super::nbd::Client;
use super::trial;

/// Sixteen extents.
const SIZE: u64 = 32 << 20;
const EXTENT: u64 = 2 << 20;
const BLOCK: usize = 4096;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("split_brain_is_discarded_by_command", discarded),
        trial(
            "a_primary_that_wrote_nothing_is_no_split_brain",
            wrote_nothing,
        ),
        trial("a_secondary_without_changes_gives_way", || {
            gives_way(Bob);
        }),
        trial("a_primary_without_changes_gives_way", || {
            gives_way(Ada);
        }),
        trial("who_never_gives_way_waits_for_the_operator", never),
        trial("marks_keep_a_node_from_giving_way", marked),
        trial("a_discard_without_a_split_brain_is_forced", forced),
    ]
}

/// Writes a block into an extent, through the device.
fn write(cluster: &Cluster, node: Node, extent: u64, octet: u8) {
    let mut client = Client::connect(&cluster.device(node), "shared").expect("a device");
    let block = [octet; BLOCK];
    client.write(extent * EXTENT, &block).expect("a write");
}

fn read(cluster: &Cluster, node: Node, extent: u64) -> Vec<u8> {
    let mut client = Client::connect(&cluster.device(node), "shared").expect("a device");
    client.read(extent * EXTENT, BLOCK as u32).expect("a read")
}

fn cut(cluster: &Cluster) {
    cluster.relay(Ada).down();
    cluster.relay(Bob).down();
}

fn join(cluster: &Cluster) {
    cluster.relay(Ada).up();
    cluster.relay(Bob).up();
}

/// Both nodes write alone; then Ada is primary, Bob is secondary, and they meet.
fn split(cluster: &mut Cluster) {
    cluster.start_in_roles(Ada);
    for extent in 0..8 {
        write(cluster, Ada, extent, 1);
    }
    cut(cluster);
    for extent in [1, 2] {
        write(cluster, Ada, extent, 2);
    }
    cluster.role(Bob, "primary");
    for (extent, octet) in [(2, 3), (5, 3), (6, 0)] {
        write(cluster, Bob, extent, octet);
    }
    cluster.role(Bob, "secondary");
    join(cluster);
    for node in [Ada, Bob] {
        cluster.wait_for_log(node, "split brain: both nodes have written alone");
    }
}

fn extents(arguments: &[&str]) -> String {
    let program = ["hast_extents"].iter().chain(arguments);
    let options = hast_extents::Options::try_parse_from(program).expect("arguments");
    let mut out = Vec::new();
    hast_extents::run(&options, &mut out).expect("a file that is whole");
    String::from_utf8(out).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

fn split_status(cluster: &Cluster, node: Node) -> Value {
    cluster.status(node)["splitbrain"].clone()
}

/// Orders a discard; the status and what was said.
fn discard(cluster: &Cluster, node: Node, options: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["discard"];
    arguments.extend(options);
    arguments.push("shared");
    let output = cluster.ctl(node, &arguments);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into())
}

fn discarded() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    split(&mut cluster);
    // Each knows what both have: Bob has changed three extents, and was given all eight before.
    let status = || [Ada, Bob].map(|node| split_status(&cluster, node));
    wait_until("both nodes tell the same", || {
        let [ada, bob] = status();
        ada["local"] == bob["remote"] && ada["remote"] == bob["local"] && !ada.is_null()
    });
    let bobs = json!({ "extents": 3, "octets": 3 * EXTENT });
    assert_eq!(status()[0]["remote"], bobs);
    assert_eq!(status()[0]["local"]["extents"], 8);
    let listed = cluster.ctl(Bob, &["list", "shared"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("splitbrain: 3 extents (6.0MB) here, 8 extents (16MB) there"),
        "{listed}"
    );

    // What must not be discarded is not.
    let file = cluster.path("lost.hast");
    let save = ["--save", text(&file)];
    let (code, said) = discard(&cluster, Ada, &save);
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("the role is primary"), "{said}");
    let nowhere = cluster.path("no folder/lost.hast");
    let (code, said) = discard(&cluster, Bob, &["--save", text(&nowhere)]);
    assert_eq!(code, Some(70), "{said}");
    fs::write(&file, "somebody's").expect("a file");
    let (code, said) = discard(&cluster, Bob, &save);
    assert_eq!(code, Some(70), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), b"somebody's");
    fs::remove_file(&file).expect("a file");
    wait_until("it is still a split brain", || {
        !split_status(&cluster, Bob).is_null()
    });

    // The operator decides that Bob gives way.
    let before = data(&cluster.provider(Bob)).expect("data");
    let (code, said) = discard(&cluster, Bob, &save);
    assert_eq!(code, Some(0), "{said}\n{}", cluster.log(Bob));
    assert!(said.contains("saved 8 extents"), "{said}");
    cluster.wait_until_synchronised(Ada);
    assert!(split_status(&cluster, Ada).is_null() && split_status(&cluster, Bob).is_null());
    for (extent, octet) in [(0, 1), (1, 2), (2, 2), (5, 1), (6, 1)] {
        assert_eq!(
            read(&cluster, Ada, extent),
            [octet; BLOCK],
            "extent {extent}"
        );
    }
    cluster.check_equal();

    // Over Ada's data the file gives all of Bob's; without it they are lost.
    let file = text(&file);
    let octets = 8 * EXTENT;
    assert_eq!(
        extents(&["verify", file]),
        format!("whole: {octets} octets\n")
    );
    let list = extents(&["list", file]);
    assert!(
        list.contains("node bob") && list.contains("resource shared"),
        "{list}"
    );
    let image = cluster.path("image");
    let after = data(&cluster.provider(Ada)).expect("data");
    assert!(after != before, "the nodes have differed");
    fs::write(&image, &after).expect("an image");
    extents(&["restore", file, text(&image)]);
    assert!(
        fs::read(&image).expect("an image") == before,
        "something is not in the file"
    );

    // One of the lost extents comes back through the device, on both nodes.
    fs::write(&image, &after).expect("an image");
    let from = (5 * EXTENT).to_string();
    extents(&[
        "restore",
        file,
        text(&image),
        "--from",
        &from,
        "--length",
        "4096",
    ]);
    let at = (5 * EXTENT) as usize;
    let lost = fs::read(&image).expect("an image")[at..at + BLOCK].to_vec();
    cluster.role(Bob, "secondary");
    cluster.role(Ada, "primary");
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(5 * EXTENT, &lost).expect("a write");
    drop(client);
    assert_eq!(read(&cluster, Ada, 5), [3; BLOCK]);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn wrote_nothing() {
    for idle in [Ada, Bob] {
        let mut cluster = Cluster::new(SIZE, "timeout 2");
        cluster.start_in_roles(Ada);
        write(&cluster, Ada, 0, 1);
        cut(&cluster);
        cluster.role(Bob, "primary");
        write(&cluster, idle.other(), 3, 2);
        // It is read, as a file system that is mounted for reading would.
        assert_eq!(read(&cluster, idle, 0), [1; BLOCK]);
        cluster.role(idle, "secondary");
        join(&cluster);
        cluster.wait_until_synchronised(idle.other());
        assert_eq!(read(&cluster, idle.other(), 3), [2; BLOCK]);
        for node in [Ada, Bob] {
            assert!(!cluster.log(node).contains("split brain"));
        }
        cluster.check_equal();
    }
}

/// Makes a provider one that has counted, though everything was copied that it wrote: what is left
/// when a node crashes between the end of a synchronisation and the agreement on that.
fn count(cluster: &Cluster, node: Node, marked: bool) {
    let path = cluster.provider(node);
    let mut octets = fs::read(&path).expect("a provider");
    let mut metadata = Metadata::parse(&octets[..BLOCK_LEN]).expect("metadata");
    metadata.counters.local += 1;
    metadata.previous_role = Role::Primary;
    // Without its second half the block is one of a real hastd.
    octets[..BLOCK_LEN].copy_from_slice(&metadata.emit());
    octets[BLOCK_LEN..BLOCK_LEN + 512].fill(0);
    octets[BLOCK_LEN] = u8::from(marked);
    fs::write(&path, octets).expect("a provider");
}

/// Both nodes have counted, and only the other one of `unchanged` has written. Ada is primary, Bob
/// has begun with `options`.
fn counted(cluster: &mut Cluster, unchanged: Node, marked: bool, options: &[&str]) {
    cluster.start_in_roles(Ada);
    write(cluster, Ada, 0, 1);
    cluster.stop(Ada);
    cluster.stop(Bob);
    count(cluster, unchanged, marked);
    let changed = unchanged.other();
    cluster.start(changed);
    cluster.role(changed, "primary");
    write(cluster, changed, 3, 2);
    cluster.stop(changed);
    cluster.start_with(Bob, options);
    cluster.role(Bob, "secondary");
    cluster.start(Ada);
    cluster.role(Ada, "primary");
}

fn gives_way(unchanged: Node) {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    counted(&mut cluster, unchanged, false, &[]);
    cluster.wait_until_synchronised(Ada);
    cluster.wait_for_log(unchanged, "has no changes: it gives way");
    assert_eq!(read(&cluster, Ada, 0), [1; BLOCK]);
    assert_eq!(read(&cluster, Ada, 3), [2; BLOCK], "the changes are kept");
    for node in [Ada, Bob] {
        assert!(!cluster.log(node).contains("split brain"));
    }
    cluster.check_equal();
}

/// Whether two that have counted stay apart.
fn stays_split(cluster: &Cluster) {
    for node in [Ada, Bob] {
        cluster.wait_for_log(node, "split brain: both nodes have written alone");
    }
    assert!(!cluster.is_connected(Ada));
    let all = [Ada, Bob].map(|node| data(&cluster.provider(node)).expect("data"));
    assert!(all[0] != all[1], "nothing is copied");
}

fn never() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    counted(&mut cluster, Bob, false, &["--never-give-way"]);
    stays_split(&cluster);
}

fn marked() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    counted(&mut cluster, Bob, true, &[]);
    stays_split(&cluster);
    // But it may be told to.
    let file = cluster.path("lost.hast");
    let (code, said) = discard(&cluster, Bob, &["--save", text(&file), "--json"]);
    assert_eq!(code, Some(0), "{said}");
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn forced() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    cluster.start_in_roles(Ada);
    write(&cluster, Ada, 4, 1);
    let file = cluster.path("nothing.hast");
    let (code, said) = discard(&cluster, Bob, &["--save", text(&file)]);
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("no split brain") && !file.exists(), "{said}");
    assert!(cluster.is_connected(Ada), "the session goes on");
    let (code, said) = discard(&cluster, Bob, &["--force", "--save", text(&file)]);
    assert_eq!(code, Some(0), "{said}");
    extents(&["verify", text(&file)]);
    // Everything is copied, and the role was not lost over it.
    cluster.wait_until_synchronised(Ada);
    assert_eq!(cluster.status(Bob)["role"], "secondary");
    cluster.check_equal();
}

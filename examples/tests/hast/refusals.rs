//! Nodes that must not work together, and how that is found out.

use std::fs;

use libtest_mimic::Trial;

use super::cluster::Cluster;
use super::cluster::Node::{Ada, Bob};
use super::nbd::Client;
use super::trial;

const SIZE: u64 = 8 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("split_brain_is_found_and_mended", split_brain),
        trial("another_resource_of_the_same_name", resource_id_mismatch),
        trial("a_resource_that_the_peer_does_not_know", unknown_resource),
        trial("providers_of_different_sizes", size_mismatch),
        trial("two_primaries", two_primaries),
    ]
}

fn write(cluster: &Cluster, node: super::cluster::Node, octet: u8) {
    let mut client = Client::connect(&cluster.device(node), "shared").expect("a device");
    client.write(0, &[octet; 4096]).expect("a write");
}

fn split_brain() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    cluster.start_in_roles(Ada);
    write(&cluster, Ada, 1);
    // Both write alone.
    cluster.relay(Ada).down();
    cluster.relay(Bob).down();
    write(&cluster, Ada, 2);
    cluster.role(Bob, "primary");
    write(&cluster, Bob, 3);
    // And meet again.
    cluster.role(Bob, "secondary");
    cluster.relay(Ada).up();
    cluster.relay(Bob).up();
    cluster.wait_for_log(Ada, "Split-brain condition!");
    cluster.wait_for_log(Bob, "Split-brain condition!");
    assert!(!cluster.is_connected(Ada));
    // Nothing was overwritten.
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    assert_eq!(client.read(0, 4096).expect("a read"), [2; 4096]);

    // The operator decides that Bob loses.
    cluster.role(Bob, "init");
    let refused = cluster.ctl(Bob, &["create", "shared"]);
    assert_eq!(refused.status.code(), Some(73), "{refused:?}");
    let created = cluster.ctl(Bob, &["create", "--force", "shared"]);
    assert!(created.status.success(), "{created:?}");
    cluster.role(Bob, "secondary");
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
}

fn resource_id_mismatch() {
    let mut other = Cluster::new(SIZE, "");
    other.start_in_roles(Ada);
    let stranger = other.provider(Bob);
    other.stop(Ada);
    other.stop(Bob);

    let mut cluster = Cluster::new(SIZE, "");
    cluster.start_in_roles(Ada);
    cluster.stop(Bob);
    fs::copy(stranger, cluster.provider(Bob)).expect("a copy");
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    cluster.wait_for_log(Ada, "Resource unique ID mismatch");
    cluster.wait_for_log(Bob, "Resource unique ID mismatch");
    assert!(!cluster.is_connected(Ada));
}

fn unknown_resource() {
    let mut cluster = Cluster::new(SIZE, "");
    let usual = cluster.config("");
    cluster.write_config(&usual.replace("resource shared", "resource other"));
    cluster.start(Bob);
    cluster.write_config(&usual);
    cluster.start(Ada);
    cluster.role(Ada, "primary");
    cluster.wait_for_log(Ada, "Resource not configured.");
    cluster.wait_for_log(Bob, "no such resource");
    write(&cluster, Ada, 1);
}

fn size_mismatch() {
    let mut cluster = Cluster::bare("");
    for (node, size) in [(Ada, SIZE), (Bob, 2 * SIZE)] {
        cluster.make_provider(node, size);
        assert!(cluster.ctl(node, &["create", "shared"]).status.success());
    }
    cluster.start_both();
    cluster.role(Bob, "secondary");
    cluster.role(Ada, "primary");
    cluster.wait_for_log(Ada, "data size");
    assert!(!cluster.is_connected(Ada));
    write(&cluster, Ada, 1);
}

fn two_primaries() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    cluster.start_both();
    cluster.role(Ada, "primary");
    cluster.role(Bob, "primary");
    cluster.wait_for_log(Ada, "Remote node acts as primary");
    assert!(!cluster.is_connected(Ada) && !cluster.is_connected(Bob));
}

//! What hastctl prints, with which status it ends, and what hastd does when it is told things.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::Node::{Ada, Bob};
use super::cluster::{Cluster, wait_until};
use super::nbd::Client;
use super::trial;

const SIZE: u64 = 8 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("hastctl_prints_what_the_original_does", texts),
        trial("hastctl_ends_with_the_status_of_the_original", statuses),
        trial("hastd_ends_with_the_status_of_the_original", ends),
        trial("in_the_background", background),
        trial("hooks_are_told", hooks),
        trial("a_reload_leaves_the_rest_alone", reload),
        trial("a_reload_moves_orders_and_devices", moving),
        trial(
            "a_secondary_in_the_making_is_no_primary",
            promotion_while_inconsistent,
        ),
    ]
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn texts() {
    let mut cluster = Cluster::new(SIZE, "replication fullsync");
    cluster.start_both();
    let local = cluster.provider(Ada).display().to_string();
    let remote = format!("tcp4://{}", cluster.relay(Bob).address());
    let status = cluster.ctl(Ada, &["status"]);
    assert_eq!(
        out(&status),
        format!(
            "Name\tStatus\t Role\t\tComponents\nshared\t-        init           {local}\t{remote}\n"
        )
    );
    cluster.role(Bob, "secondary");
    cluster.role(Ada, "primary");
    cluster.wait_until_synchronised(Ada);
    let status = cluster.ctl(Ada, &["status", "shared", "nosuch"]);
    assert_eq!(
        out(&status),
        format!(
            "Name\tStatus\t Role\t\tComponents\n\
             shared\tcomplete primary        {local}\t{remote}\n\
             nosuch\tERR1\n"
        )
    );
    assert_eq!(status.status.code(), Some(1));

    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(0, &[1; 512]).expect("a write");
    client.read(0, 512).expect("a read");
    client.flush().expect("a flush");
    let list = out(&cluster.ctl(Ada, &["list", "shared"]));
    let expected = format!(
        "shared:\n  role: primary\n  provname: shared\n  localpath: {local}\n  \
         extentsize: 2097152 (2.0MB)\n  keepdirty: 64\n  remoteaddr: {remote}\n  \
         replication: fullsync\n  status: complete\n  workerpid: "
    );
    assert!(list.starts_with(&expected), "{list}");
    let counted = "  statistics:\n    reads: 1\n    writes: 1\n    deletes: 0\n    flushes: 1\n";
    assert!(list.contains(counted), "{list}");
    assert!(
        list.contains("local errors: read: 0, write: 0, delete: 0, flush: 0\n"),
        "{list}"
    );

    // The metadata can be read while hastd uses them.
    let dump = out(&cluster.ctl(Ada, &["dump"]));
    let expected = "resource: shared\n    datasize: 8384000 (8.0MB)\n    \
                    extentsize: 2097152 (2.0MB)\n    keepdirty: 64\n    localoff: 4608\n";
    assert!(dump.starts_with(expected), "{dump}");
    assert!(dump.ends_with("    prevrole: primary\n"), "{dump}");

    let role = out(&cluster.ctl(Ada, &["role", "secondary", "all"]));
    assert_eq!(role, "");
    let before = cluster.ctl(Ada, &["role", "init", "shared", "--json"]);
    assert!(
        out(&before).contains("\"before\": \"secondary\""),
        "{before:?}"
    );
}

fn statuses() {
    let mut cluster = Cluster::new(SIZE, "");
    let code = |cluster: &Cluster, arguments: &[&str]| cluster.ctl(Ada, arguments).status.code();
    assert_eq!(code(&cluster, &["status"]), Some(71), "no hastd");
    cluster.start(Ada);
    for (arguments, expected) in [
        (&["status"][..], 0),
        (&["list", "all"], 0),
        (&["role", "secondary", "shared"], 0),
        (&["role", "primary", "nosuch"], 1),
        (&["status", "nosuch"], 1),
        (&["role", "master", "shared"], 64),
        (&["dump", "nosuch"], 65),
        (&["create", "nosuch"], 65),
        (&["create", "-e", "3M", "shared"], 65),
        // In use, as a secondary has it open.
        (&["create", "--force", "shared"], 66),
    ] {
        assert_eq!(code(&cluster, arguments), Some(expected), "{arguments:?}");
    }
    cluster.role(Ada, "init");
    assert_eq!(code(&cluster, &["create", "shared"]), Some(73));
    // A provider that hastd cannot use.
    fs::write(cluster.provider(Ada), vec![0; 1 << 20]).expect("a file");
    assert_eq!(code(&cluster, &["dump"]), Some(255));
    let failed = cluster.ctl(Ada, &["role", "primary", "shared"]);
    assert_eq!(failed.status.code(), Some(5), "{failed:?}");
    assert_eq!(cluster.status(Ada)["role"], "init");

    cluster.write_config("timeout soon\n");
    assert_eq!(code(&cluster, &["status"]), Some(78));
    fs::remove_file(cluster.path("hast.conf")).expect("a file");
    assert_eq!(code(&cluster, &["status"]), Some(72));
}

fn ends() {
    let mut cluster = Cluster::new(SIZE, "");
    let code = |cluster: &Cluster, arguments: &[&str]| cluster.hastd(Ada, arguments).status.code();
    assert_eq!(code(&cluster, &["--check"]), Some(0));
    assert_eq!(code(&cluster, &["--no-such-option"]), Some(64));
    let usual = cluster.config("");
    for (wrong, expected) in [
        ("timeout soon\n".to_owned(), 78),
        (
            usual.replace("remote tcp4://127.0.0.1:", "remote tcp4://h:x"),
            78,
        ),
        // What it cannot do, it does not begin without.
        (
            usual.replace("resource shared {", "resource shared { arbiter tcp://h"),
            78,
        ),
    ] {
        cluster.write_config(&wrong);
        assert_eq!(code(&cluster, &["--check"]), Some(expected), "{wrong}");
        assert_eq!(code(&cluster, &["-F"]), Some(expected), "{wrong}");
    }
    cluster.write_config(&usual);
    let pidfile = cluster.path("pid").display().to_string();
    cluster.start(Ada);
    // The addresses are in use.
    assert_eq!(code(&cluster, &["-F", "-P", &pidfile]), Some(71));
    cluster.stop(Ada);
    assert!(!cluster.path("ada.control").exists());
    fs::remove_file(cluster.path("hast.conf")).expect("a file");
    assert_eq!(code(&cluster, &["-F"]), Some(72));
}

fn background() {
    let cluster = Cluster::new(SIZE, "");
    let pidfile = cluster.path("pid").display().to_string();
    // It takes orders when whoever has started it goes on.
    let started = cluster.hastd(Ada, &["-P", &pidfile]);
    assert_eq!(started.status.code(), Some(0), "{started:?}");
    let pid = fs::read_to_string(&pidfile).expect("a pid file");
    let pid = Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
    let primary = cluster.ctl(Ada, &["role", "primary", "shared"]);
    let again = cluster.hastd(Ada, &["-P", &pidfile]);
    // Whatever came of that, it ends.
    kill_process(pid, Signal::TERM).expect("a process of ours");
    wait_until("it has ended", || !cluster.path("pid").exists());
    assert!(primary.status.success(), "{primary:?}");
    assert_eq!(again.status.code(), Some(75), "{again:?}");
    assert!(!cluster.device(Ada).exists());
}

fn hooks() {
    let mut cluster = Cluster::new(SIZE, "");
    let (hook, told) = (cluster.path("hook"), cluster.path("told"));
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display());
    fs::write(&hook, script).expect("a file");
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("a file of ours");
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    // Only Ada reads the configuration with the hook.
    cluster.configure(&format!("exec {}", hook.display()));
    cluster.start(Ada);
    cluster.relay(Bob).down();
    cluster.role(Ada, "primary");
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(0, &[1; 4096]).expect("a write");
    cluster.relay(Bob).up();
    cluster.wait_until_synchronised(Ada);
    cluster.role(Ada, "init");
    // That the session ends is not told where the role has ended it.
    let expected = "role shared init primary\nconnect shared\nsyncstart shared\n\
                    syncdone shared\nrole shared primary init\n";
    let mut lines = String::new();
    wait_until("the hooks have run", || {
        lines = fs::read_to_string(&told).unwrap_or_default();
        lines.ends_with("role shared primary init\n")
    });
    assert_eq!(lines, expected);
}

fn reload() {
    let mut cluster = Cluster::new(SIZE, "");
    cluster.start_in_roles(Ada);
    let usual = cluster.config("");
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(0, &[1; 4096]).expect("a write");
    // The role that it has already is no change.
    cluster.role(Ada, "primary");
    client.write(0, &[2; 4096]).expect("a write");
    // One more, and another setting of the first: its client and its peer notice nothing.
    let second = format!(
        "{}resource second {{ on ada {{ local {} remote none }} on bob {{ local /b remote none }} }}\n",
        cluster.config("checksum crc32"),
        cluster.path("second.disk").display(),
    );
    cluster.write_config(&second);
    cluster.signal(Ada, Signal::HUP);
    wait_until("the second is there", || {
        out(&cluster.ctl(Ada, &["status"])).contains("second\t")
    });
    assert_eq!(cluster.status(Ada)["checksum"], "crc32");
    assert!(cluster.is_connected(Ada));
    client.write(4096, &[2; 4096]).expect("a write");

    // A configuration that is wrong changes nothing.
    cluster.write_config("resource {\n");
    cluster.signal(Ada, Signal::HUP);
    cluster.wait_for_log(Ada, "the former configuration stays in force");
    client.write(8192, &[3; 4096]).expect("a write");

    cluster.write_config(&usual);
    cluster.signal(Ada, Signal::HUP);
    wait_until("the second is gone", || {
        !out(&cluster.ctl(Ada, &["status"])).contains("second\t")
    });
    client.write(12288, &[4; 4096]).expect("a write");
    assert!(!cluster.log(Ada).contains("disconnected"));
    cluster.wait_until_synchronised(Ada);
    drop(client);
    cluster.check_equal();
}

/// Orders are taken elsewhere, and a device with another name is another device; the role is what
/// it was.
fn moving() {
    let mut cluster = Cluster::new(SIZE, "");
    cluster.start_in_roles(Ada);
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    client.write(0, &[1; 4096]).expect("a write");
    let moved = cluster.config("name other").replace(".control", ".orders");
    cluster.write_config(&moved);
    cluster.signal(Ada, Signal::HUP);
    cluster.wait_for_log(Ada, "the new configuration is in force");
    assert!(!cluster.path("ada.control").exists() && cluster.path("ada.orders").exists());
    assert!(!cluster.device(Ada).exists());
    assert!(client.read(0, 4096).is_err(), "a device that is gone");
    let device = cluster.device(Ada).with_file_name("other");
    let mut client = Client::connect(&device, "other").expect("a device");
    assert_eq!(client.read(0, 4096).expect("a read"), [1; 4096]);
    cluster.wait_until_synchronised(Ada);
    // And back again.
    cluster.configure("");
    cluster.signal(Ada, Signal::HUP);
    wait_until("orders are taken where they were", || {
        cluster.status(Ada)["role"] == "primary"
    });
    cluster.wait_until_synchronised(Ada);
}

/// A node that is half overwritten with its peer's data does not serve them.
fn promotion_while_inconsistent() {
    let mut cluster = Cluster::new(SIZE, "timeout 2");
    cluster.start_in_roles(Ada);
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    cluster.stop(Bob);
    client.write(0, &[1; 4 << 20]).expect("a write");
    cluster.start(Bob);
    cluster.role(Bob, "secondary");
    // Within the first copies.
    cluster.relay(Bob).stall_after(1 << 20);
    cluster.wait_for_log(Bob, "inconsistent");
    cluster.kill(Ada);
    cluster.role(Bob, "primary");
    let mut other = Client::connect(&cluster.device(Bob), "shared").expect("a device");
    assert!(other.read(0, 4096).is_err(), "a mixture is served");
}

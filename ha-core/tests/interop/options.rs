//! `carpd` with the options of `ucarp` (CARP §7.1) instead of a configuration file.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::SECONDS;
use crate::network::capture::{Capture, Recording};
use crate::network::daemons::{Carpd, Host, PASS, SHARED, carpd_with_options, changes};
use crate::network::packet::Mac;
use crate::network::{Lab, Process, pass, time_until, wait_until};

const LIMIT: Duration = Duration::from_secs(8);

/// Those that have to be given, but for the passphrase.
fn least(source: Ipv4Addr) -> Vec<String> {
    let words = format!("-i eth0 -s {source} -v 1 -a {SHARED}/24");
    words.split(' ').map(ToOwned::to_owned).collect()
}

/// Starts it on node 1 with the least options and more.
fn start(lab: &Lab, more: &[&str]) -> Process {
    let least = least(lab.node(1).ipv4());
    let least = least.iter().map(String::as_str);
    let options: Vec<_> = least
        .chain(["-p", PASS])
        .chain(more.iter().copied())
        .collect();
    carpd_with_options(lab, 1, &options)
}

/// Waits until it tells of this change of state for the `count`th time.
fn await_change(carpd: &mut Process, change: &str, count: usize) {
    wait_until(&format!("{carpd} to tell of {change}"), LIMIT, || {
        assert!(!carpd.has_ended(), "{}", carpd.log());
        let changes = changes(&carpd.log());
        changes
            .iter()
            .filter(|told| told.starts_with(change))
            .count()
            >= count
    });
}

/// What is on the wire while `carpd` is master.
fn listen(lab: &Lab) -> Recording {
    let capture = Capture::start(lab);
    pass(SECONDS * 5 / 2);
    capture.stop()
}

/// A script that writes down how it was called, and then does something.
fn script(lab: &Lab, name: &str, then: &str) -> String {
    let path = lab.file(name);
    let calls = lab.file("calls");
    let text = format!(
        "#!/bin/sh\necho {name} \"$@\" >>{}\n{then}\n",
        calls.display()
    );
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    path.display().to_string()
}

/// How the scripts were called so far.
fn calls(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(lab.file("calls")).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn pace_rank_and_passphrase_are_as_given() {
    let lab = Lab::new(2);
    let file = lab.file("passphrase");
    // Only the first line counts.
    fs::write(&file, format!("{PASS}\nand nothing else\n")).expect("a file");
    let file = file.display().to_string();
    let least = least(lab.node(1).ipv4());
    let mut options: Vec<_> = least.iter().map(String::as_str).collect();
    options.extend(["-o", &file, "-b", "2", "-k", "7", "-P"]);
    let mut carpd = carpd_with_options(&lab, 1, &options);
    await_change(&mut carpd, "BACKUP -> MASTER", 1);
    lab.await_holder(1, SHARED, LIMIT);

    // Who has the same passphrase follows, and who has another does not.
    let follower = Host {
        advbase: 2,
        preempt: false,
        ..Host::new(200)
    };
    let backup = Carpd::start(&lab, 2, &follower);
    backup.await_state("BACKUP", LIMIT);
    let capture = Capture::start(&lab);
    pass(SECONDS * 7);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    recording.assert_all_from(lab.node(1).ipv4());
    let packets = &recording.packets;
    let last = packets.last().and_then(|packet| packet.carp()).unwrap();
    assert_eq!((last.advbase().get(), last.advskew().get()), (2, 7));
    for pair in packets.windows(2) {
        let pause = pair[1].at - pair[0].at;
        let expected = SECONDS * 2 + SECONDS * 7 / 256;
        assert!(pause.abs_diff(expected) < SECONDS / 5, "{pause:?}");
    }
    assert_eq!(backup.states(), ["BACKUP"]);
    backup.stop();
    let stranger = Host {
        passphrase: "another",
        ..Host::new(200)
    };
    let stranger = Carpd::start(&lab, 2, &stranger);
    stranger.await_state("MASTER", LIMIT);

    // -P: a better host takes over from a worse one. What ends it is a polite stop.
    stranger.stop();
    assert!(carpd.stop().success());
    assert_eq!(lab.holders(SHARED), [0; 0]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_preempt_a_worse_master_is_left_alone() {
    for (option, state) in [(&["-k", "0"][..], "MASTER"), (&["-k", "0", "-P"], "BACKUP")] {
        let lab = Lab::new(2);
        let patient = Host {
            preempt: false,
            ..Host::new(100)
        };
        let other = Carpd::start(&lab, 2, &patient);
        other.await_state("MASTER", LIMIT);
        let mut carpd = start(&lab, option);
        await_change(&mut carpd, "INIT -> BACKUP", 1);
        pass(SECONDS * 5);
        other.await_state(state, LIMIT);
    }
}

#[test]
#[ignore = "needs root, network namespaces and tshark"]
fn advertisements_go_from_and_to_where_they_are_told() {
    let lab = Lab::new(1);
    let other = Ipv4Addr::new(192, 0, 2, 150);
    let inside = lab.node(1).namespace();
    inside.ip(&format!("addr add {other}/24 dev eth0"));
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let elsewhere = Ipv4Addr::new(239, 1, 2, 3);
    let own = lab.node(1).ipv4();
    for (options, source, destination, mac) in [
        (&[][..], own, group, Mac::GROUP),
        (&["-M"], own, group, Mac::BROADCAST),
        (
            &["--mcast", "239.1.2.3"],
            own,
            elsewhere,
            Mac([1, 0, 0x5e, 1, 2, 3]),
        ),
        // Another one than would be chosen.
        (&[], other, group, Mac::GROUP),
    ] {
        let words = least(source);
        let mut words: Vec<_> = words.iter().map(String::as_str).collect();
        words.extend(["-p", PASS]);
        words.extend(options);
        let carpd = carpd_with_options(&lab, 1, &words);
        lab.await_holder(1, SHARED, LIMIT);
        let recording = listen(&lab);
        recording.assert_decodes_everywhere();
        for packet in &recording.packets {
            assert_eq!(packet.source, source, "{options:?}");
            assert_eq!(packet.destination, destination, "{options:?}");
            assert_eq!(packet.to_mac, mac, "{options:?}");
        }
        assert!(carpd.stop().success());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn broadcast_is_heard_by_those_who_broadcast() {
    let lab = Lab::new(2);
    let _master = start(&lab, &["-M"]);
    lab.await_holder(1, SHARED, LIMIT);
    let source = lab.node(2).ipv4().to_string();
    let options = [
        "-i",
        "eth0",
        "-s",
        &source,
        "-v",
        "1",
        "-a",
        "192.0.2.1/24",
        "-p",
        PASS,
        "-M",
        "-k",
        "50",
    ];
    let mut backup = carpd_with_options(&lab, 2, &options);
    await_change(&mut backup, "INIT -> BACKUP", 1);
    pass(SECONDS * 5);
    assert_eq!(changes(&backup.log()).len(), 1, "{}", backup.log());
    assert_eq!(lab.holders(SHARED), [1]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_dead_ratio_says_how_long_silence_lasts() {
    for (ratio, expected) in [("1", SECONDS), ("3", SECONDS * 3)] {
        let lab = Lab::new(1);
        let mut carpd = start(&lab, &["-r", ratio]);
        await_change(&mut carpd, "INIT -> BACKUP", 1);
        let silence = time_until("a master", LIMIT, || lab.node(1).has(SHARED));
        assert!(
            silence.abs_diff(expected) < SECONDS / 2,
            "master after {silence:?} with -r {ratio}"
        );
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn scripts_run_when_ucarp_would_run_them() {
    let lab = Lab::new(1);
    // They set the address, as those of ucarp do.
    let up = script(&lab, "up", "exec ip addr add \"$2/24\" dev \"$1\"");
    let down = script(&lab, "down", "ip addr del \"$2/24\" dev \"$1\" || true");
    let scripts = ["-u", &up, "-d", &down, "-x", "extra word", "-z"];
    let [called_up, called_down] =
        ["up", "down"].map(|name| format!("{name} eth0 {SHARED} extra word"));

    // Down at the start, up as master, and down at the end.
    let carpd = start(&lab, &scripts);
    lab.await_holder(1, SHARED, LIMIT);
    assert_eq!(calls(&lab), [&*called_down, &*called_up]);
    // The script's address, not one with a lifetime.
    let inside = lab.node(1).namespace();
    let shown = String::from_utf8(inside.ip(&format!("addr show to {SHARED}"))).unwrap();
    assert!(shown.contains("valid_lft forever"), "{shown}");
    assert!(carpd.stop().success());
    assert_eq!(calls(&lab), [&*called_down, &*called_up, &*called_down]);
    assert_eq!(lab.holders(SHARED), [0; 0]);

    // -n: nothing at the start.
    fs::remove_file(lab.file("calls")).expect("a list of calls");
    let neutral = [&scripts[..], &["-n"]].concat();
    let carpd = start(&lab, &neutral);
    lab.await_holder(1, SHARED, LIMIT);
    assert_eq!(calls(&lab), [&*called_up]);
    // The run time is logged.
    let log = carpd.log();
    assert!(log.contains("took"), "{log}");
    assert!(carpd.stop().success());
    assert_eq!(calls(&lab), [&*called_up, &*called_down]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn who_sets_the_address_can_be_chosen() {
    let lab = Lab::new(1);
    let up = script(&lab, "up", "");
    for (options, is_set) in [
        // Without scripts carpd sets it.
        (&[][..], true),
        // With one, that is the script's task, unless carpd is told.
        (&["-u", &up], false),
        (&["-u", &up, "--set-address"], true),
        (&["-u", &up, "-N"], false),
    ] {
        let mut carpd = start(&lab, &[&["-r", "1"], options].concat());
        await_change(&mut carpd, "BACKUP -> MASTER", 1);
        // For as long as it takes to set it, and longer.
        let since = Instant::now();
        while since.elapsed() < SECONDS && lab.node(1).has(SHARED) != is_set {
            pass(Duration::from_millis(10));
        }
        pass(SECONDS / 2);
        assert_eq!(lab.node(1).has(SHARED), is_set, "{options:?}");
        assert!(carpd.stop().success());
        // Its log is the next one's, too.
        fs::write(lab.file("carpd-1.log"), "").expect("a log");
    }
    // Somebody has to.
    let mut carpd = start(&lab, &["-N"]);
    wait_until("carpd to refuse", LIMIT, || carpd.has_ended());
    let log = carpd.log();
    assert!(log.contains("nobody sets its addresses"), "{log}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_lost_carrier_may_be_ignored() {
    for (options, stays) in [(&["-S"][..], true), (&[], false)] {
        let lab = Lab::new(1);
        let mut carpd = start(&lab, options);
        lab.await_holder(1, SHARED, LIMIT);
        lab.unplug(1);
        if stays {
            pass(SECONDS * 3);
            assert!(lab.node(1).has(SHARED));
            let last = changes(&carpd.log()).pop();
            assert!(last.is_some_and(|change| change.starts_with("BACKUP -> MASTER")));
        } else {
            await_change(&mut carpd, "MASTER -> BACKUP (hardware interface down)", 1);
            wait_until("the address to go", SECONDS, || !lab.node(1).has(SHARED));
        }
    }
}

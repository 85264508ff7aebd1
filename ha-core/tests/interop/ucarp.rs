//! In one group with the real `ucarp`.

use core::time::Duration;

use crate::SECONDS;
use crate::network::capture::{Capture, Recording};
use crate::network::daemons::{Carpd, Host, SHARED, Ucarp};
use crate::network::packet::Mac;
use crate::network::{Lab, pass, wait_until};

/// CARP §1.3: the virtual MAC address of group 1, and what `ucarp` takes for it.
const VIRTUAL: Mac = Mac([0, 0, 0x5e, 0, 1, 1]);
const VIRTUAL_OF_UCARP: Mac = Mac([0, 0, 0x5e, 0, 0, 1]);

/// For any takeover: `ucarp` takes up to 4.8 s and may hear a second late (CARP §7.4).
const LIMIT: Duration = Duration::from_secs(9);

/// What is on the wire in the next while.
fn listen(lab: &Lab) -> Recording {
    let capture = Capture::start(lab);
    pass(SECONDS * 3);
    capture.stop()
}

/// Checks that `node` is the master: it alone has the address, answers for it, and advertises,
/// from this MAC address and in a form that others decode.
fn assert_master(lab: &Lab, node: u8, mac: Mac) {
    lab.await_holder(node, SHARED, LIMIT);
    // The loser of an election may have one more advertisement on its way (CARP §7.4), and
    // hear a second late that it has lost.
    pass(SECONDS * 2);
    let recording = listen(lab);
    recording.assert_all_from(lab.node(node).ipv4());
    recording.assert_decodes_everywhere();
    let macs = recording.packets.iter().map(|packet| packet.mac);
    assert!(
        macs.clone().all(|own| own == mac),
        "{:?}",
        macs.collect::<Vec<_>>()
    );
    lab.await_holder(node, SHARED, LIMIT);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn our_master_crashes_and_ucarp_takes_over_until_it_is_back() {
    let lab = Lab::new(2);
    let ours = Carpd::start(&lab, 1, &Host::new(0));
    ours.await_state("MASTER", LIMIT);
    let _ucarp = Ucarp::new(100).start(&lab, 2);
    assert_master(&lab, 1, VIRTUAL);

    lab.unplug(1);
    ours.kill();
    lab.await_takeover(2, SHARED, LIMIT);
    assert_master(&lab, 2, VIRTUAL_OF_UCARP);

    lab.plug(1);
    let ours = Carpd::start(&lab, 1, &Host::new(0));
    ours.await_state("MASTER", LIMIT);
    assert_master(&lab, 1, VIRTUAL);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn our_master_stops_politely_and_ucarp_takes_over() {
    let lab = Lab::new(2);
    let ours = Carpd::start(&lab, 1, &Host::new(0));
    ours.await_state("MASTER", LIMIT);
    let _ucarp = Ucarp::new(100).start(&lab, 2);
    assert_master(&lab, 1, VIRTUAL);

    let capture = Capture::start(&lab);
    ours.stop();
    lab.await_takeover(2, SHARED, LIMIT);
    let recording = capture.stop();
    recording.assert_decodes_everywhere();
    let last = recording.from(lab.node(1).ipv4());
    let last = last.last().and_then(|packet| packet.carp()).unwrap();
    assert_eq!(
        (last.advbase().get(), last.advskew().get()),
        (255, 255),
        "the last word of a master is that it leaves"
    );
    assert_master(&lab, 2, VIRTUAL_OF_UCARP);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn ucarp_crashes_and_we_take_over_until_it_is_back() {
    let lab = Lab::new(2);
    let ucarp = Ucarp::new(0).start(&lab, 1);
    lab.await_holder(1, SHARED, LIMIT);
    let ours = Carpd::start(&lab, 2, &Host::new(100));
    ours.await_state("BACKUP", LIMIT);
    assert_master(&lab, 1, VIRTUAL_OF_UCARP);
    assert_eq!(ours.states(), ["BACKUP"]);

    lab.unplug(1);
    ucarp.kill();
    ours.await_state("MASTER", LIMIT);
    lab.await_takeover(2, SHARED, LIMIT);
    // Nobody else takes away what ucarp left behind.
    lab.node(1).clear(SHARED);
    assert_master(&lab, 2, VIRTUAL);

    lab.plug(1);
    let _ucarp = Ucarp::new(0).start(&lab, 1);
    ours.await_state("BACKUP", LIMIT);
    assert_master(&lab, 1, VIRTUAL_OF_UCARP);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn ucarp_stops_politely_and_we_take_over() {
    let lab = Lab::new(2);
    let ucarp = Ucarp::new(0).start(&lab, 1);
    lab.await_holder(1, SHARED, LIMIT);
    let ours = Carpd::start(&lab, 2, &Host::new(100));
    assert_master(&lab, 1, VIRTUAL_OF_UCARP);

    ucarp.stop();
    ours.await_state("MASTER", LIMIT);
    assert_master(&lab, 2, VIRTUAL);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn without_preempt_we_leave_the_address_to_ucarp() {
    let lab = Lab::new(2);
    let _ucarp = Ucarp::new(100).start(&lab, 1);
    lab.await_holder(1, SHARED, LIMIT);
    let patient = Host {
        preempt: false,
        ..Host::new(0)
    };
    let ours = Carpd::start(&lab, 2, &patient);
    assert_master(&lab, 1, VIRTUAL_OF_UCARP);
    assert_eq!(ours.states(), ["BACKUP"]);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn with_preempt_we_take_the_address_from_ucarp() {
    let lab = Lab::new(2);
    let _ucarp = Ucarp::new(100).start(&lab, 1);
    lab.await_holder(1, SHARED, LIMIT);
    let ours = Carpd::start(&lab, 2, &Host::new(0));
    ours.await_state("MASTER", LIMIT);
    assert_master(&lab, 2, VIRTUAL);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn without_preempt_ucarp_leaves_the_address_to_us() {
    let lab = Lab::new(2);
    let ours = Carpd::start(&lab, 1, &Host::new(100));
    ours.await_state("MASTER", LIMIT);
    let patient = Ucarp {
        preempt: false,
        ..Ucarp::new(0)
    };
    let _ucarp = patient.start(&lab, 2);
    assert_master(&lab, 1, VIRTUAL);
    assert_eq!(ours.states(), ["MASTER"]);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn with_preempt_ucarp_takes_the_address_from_us() {
    let lab = Lab::new(2);
    let ours = Carpd::start(&lab, 1, &Host::new(100));
    ours.await_state("MASTER", LIMIT);
    let _ucarp = Ucarp::new(0).start(&lab, 2);
    ours.await_state("BACKUP", LIMIT);
    assert_master(&lab, 2, VIRTUAL_OF_UCARP);
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn with_another_password_nobody_yields() {
    let lab = Lab::new(2);
    let ours = Carpd::start(&lab, 1, &Host::new(100));
    ours.await_state("MASTER", LIMIT);
    let stranger = Ucarp {
        passphrase: "another",
        ..Ucarp::new(0)
    };
    let _ucarp = stranger.start(&lab, 2);
    wait_until("ucarp to take the address", LIMIT, || {
        lab.node(2).has(SHARED)
    });
    let recording = listen(&lab);
    recording.assert_decodes_everywhere();
    for node in lab.nodes() {
        assert!(!recording.from(node.ipv4()).is_empty(), "both advertise");
    }
    assert_eq!(ours.states(), ["MASTER"]);
    // Who asks for the address hears of both: nobody yields to whom it cannot believe.
    let mut answers = lab.answers(SHARED);
    answers.sort_unstable();
    assert_eq!(answers, [lab.node(1).mac(), lab.node(2).mac()]);
    let counted = ours.status()["stats"]["badauth"].as_u64();
    assert!(
        counted > Some(0),
        "what was refused is counted: {counted:?}"
    );
}

#[test]
#[ignore = "needs root, network namespaces and ucarp"]
fn three_nodes_take_over_in_their_order() {
    let lab = Lab::new(3);
    let first = Carpd::start(&lab, 1, &Host::new(0));
    first.await_state("MASTER", LIMIT);
    let second = Ucarp::new(50).start(&lab, 2);
    let third = Carpd::start(&lab, 3, &Host::new(100));
    assert_master(&lab, 1, VIRTUAL);
    assert_eq!(third.states(), ["BACKUP"]);

    lab.unplug(1);
    first.kill();
    // ucarp notices so late that the third may be master for a moment.
    lab.await_takeover(2, SHARED, LIMIT);
    assert_master(&lab, 2, VIRTUAL_OF_UCARP);
    assert_eq!(third.states(), ["BACKUP"]);

    lab.unplug(2);
    second.kill();
    third.await_state("MASTER", LIMIT);
    lab.await_takeover(3, SHARED, LIMIT);
    lab.node(2).clear(SHARED);
    assert_master(&lab, 3, VIRTUAL);

    // The first is back, and then leaves in peace, as ucarp does after it.
    lab.node(1).clear(SHARED);
    lab.plug(1);
    lab.plug(2);
    let first = Carpd::start(&lab, 1, &Host::new(0));
    let second = Ucarp::new(50).start(&lab, 2);
    first.await_state("MASTER", LIMIT);
    assert_master(&lab, 1, VIRTUAL);
    first.stop();
    // ucarp does not count what is said at a farewell (CARP §7.4), so that we may be first.
    lab.await_holder(2, SHARED, LIMIT);
    assert_master(&lab, 2, VIRTUAL_OF_UCARP);
    second.stop();
    third.await_state("MASTER", LIMIT);
    assert_master(&lab, 3, VIRTUAL);
}

//! `decode` on real captures, on the forms of dump that people paste, and on garbage.

#![expect(clippy::unwrap_used, reason = "this is how a test fails")]

#[expect(dead_code, reason = "an example's `main` is not called by its test")]
#[path = "../decode.rs"]
mod decode;

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use decode::Options;

/// The worked example: vhid 1, passphrase "secret", shared address 192.0.2.1.
const PACKET: &str = "45e0003800004000ff70d860c0000202e00000122101000700017e1e\
    0123456789abcdef08ba7693f61e8b926873518e0350be85e1786463";

fn decode(arguments: &[&str]) -> Result<String, String> {
    let program = ["decode"].into_iter().chain(arguments.iter().copied());
    let options = Options::try_parse_from(program).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    decode::run(options, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

/// The last line about the worked example, as seen by a receiver with these options.
fn verdict(options: &[&str]) -> String {
    let arguments: Vec<_> = [PACKET]
        .into_iter()
        .chain(options.iter().copied())
        .collect();
    decode(&arguments)
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .trim()
        .to_owned()
}

fn captures() -> Vec<PathBuf> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../carp-proto/tests/vectors/pcaps"
    );
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "pcap")
    });
    paths.sort();
    paths
}

#[test]
fn every_capture_is_understood_and_those_of_ucarp_authenticate() {
    let mut authentic = 0;
    for path in captures() {
        let name = path.to_str().unwrap();
        let text = decode(&[name, "--pass", "secret", "--addr", "192.0.2.1"]).unwrap();
        assert!(text.contains("    vhid "), "{name}:\n{text}");
        if name.contains("ucarp-") && !name.contains("wrong-password") {
            assert!(!text.contains("badauth"), "{name}:\n{text}");
            authentic += text.lines().filter(|line| *line == "    authentic").count();
        }
        if name.contains("wrong-password") {
            assert!(
                text.contains("none of the usual mistakes explains it"),
                "{text}"
            );
        }
    }
    assert!(authentic > 100, "{authentic} authentic advertisements");
}

#[test]
fn the_usual_mistakes_are_named() {
    let right = ["--pass", "secret", "--addr", "192.0.2.1"];
    assert_eq!(verdict(&right), "authentic");
    let with = |more: &[&'static str]| verdict(&[&right, more].concat());
    assert_eq!(
        with(&["--addr", "192.0.2.9"]),
        "badauth; the sender does not share 192.0.2.9"
    );
    assert_eq!(
        with(&["--addr", "2001:db8::1", "--addr", "2001:db8::2"]),
        "badauth; the sender shares no IPv6 addresses"
    );
    assert_eq!(
        with(&["--vhid", "2"]),
        "discarded: badvhid, the packet is for another group"
    );
    let line_end = ["--pass", "secret\n", "--addr", "192.0.2.1"];
    assert_eq!(
        verdict(&line_end),
        "badauth; the sender has no space around the passphrase"
    );
    let other = ["--pass", "other", "--addr", "192.0.2.1"];
    assert!(verdict(&other).starts_with("badauth, and none of the usual mistakes"));
    let key = [
        "--key",
        "7365637265740000000000000000000000000000",
        "--addr",
        "192.0.2.1",
    ];
    assert_eq!(verdict(&key), "authentic");
}

#[test]
fn a_dump_may_have_any_usual_form() {
    let bytes: Vec<&str> = (0..PACKET.len())
        .step_by(2)
        .map(|i| &PACKET[i..i + 2])
        .collect();
    let rows = |separator: &str, row: &dyn Fn(usize, &str) -> String| -> String {
        let lines = bytes.chunks(16).enumerate();
        lines
            .map(|(i, line)| row(i * 16, &line.join(separator)) + "\n")
            .collect()
    };
    let headline = "12:34:56.789012 IP 192.0.2.2 > 224.0.0.18: CARPv2-advertise 36\n";
    for dump in [
        bytes.join(":"),
        rows(" ", &|_, row| row.to_uppercase()),
        rows(", ", &|_, row| format!("0x{}", row.replace(' ', " 0x"))),
        headline.to_owned() + &rows(" ", &|at, row| format!("\t{at:#06x}:  {row}")),
        rows(" ", &|at, row| format!("{at:08x}: {row}  E..8..@..p")),
        rows(" ", &|at, row| {
            format!("{at:08x}  {row}  |E..8..@..p......|")
        }),
        // hexdump -C and od end with the offset of the end.
        rows(" ", &|at, row| {
            format!("{at:08x}  {row}  |E..8..@..p......|")
        }) + "00000038",
        rows(" ", &|at, row| format!("{at:06x} {row}")) + "000038\n",
    ] {
        let text = decode(&[&dump]).unwrap();
        assert!(
            text.ends_with("demote 0 counter 0123456789abcdef\n"),
            "{dump}\n{text}"
        );
        let twice = decode(&[&format!("{dump}\n\n{dump}")]).unwrap();
        assert_eq!(twice.matches("vhid 1").count(), 2, "{dump}\n{twice}");
    }
    let bare = decode(&[&PACKET[40..]]).unwrap();
    assert!(
        bare.contains("taken for an advertisement") && bare.contains("vhid 1"),
        "{bare}"
    );
}

#[test]
fn what_is_not_carp_is_recognised() {
    let vrrp2 = "2107640100015cb8c0000201000000000000000000";
    let vrrp2 = &vrrp2[..40];
    let text = decode(&[vrrp2]).unwrap();
    assert!(
        text.contains("not CARP but VRRPv2: a router of id 7, priority 100"),
        "{text}"
    );
    let text = decode(&["31076401006400000a000001"]).unwrap();
    assert!(text.contains("VRRPv3"), "{text}");
    let text = decode(&["210100"]).unwrap();
    assert!(text.contains("discarded: badlen"), "{text}");
    let text = decode(&[&PACKET.replace("7e1e", "7e1f")]).unwrap();
    assert!(text.contains("discarded: badsum"), "{text}");
    let ttl_64 = decode(&[&PACKET.replace("ff70d860", "40709761")]).unwrap();
    assert!(
        ttl_64.contains("badttl") && ttl_64.contains("vhid 1"),
        "{ttl_64}"
    );
}

#[test]
fn garbage_is_refused_politely() {
    assert_eq!(decode(&["no packet"]).unwrap_err(), "'n' is no hex digit");
    assert_eq!(decode(&["abc"]).unwrap_err(), "an odd number of hex digits");
    assert_eq!(decode(&[""]).unwrap_err(), "no hex digits");
    assert!(
        decode(&["--key", "00ff"])
            .unwrap_err()
            .contains("a key has 20 bytes, not 2")
    );
    assert!(
        decode(&["--addr", "localhost"])
            .unwrap_err()
            .contains("--addr")
    );

    assert_eq!(
        decode(&["00000000  45 00  |E.|\n*\n00000040"]).unwrap_err(),
        "rows are left out; dump again with -v"
    );
    for missing in ["captures/missing", "missing.pcap"] {
        let error = decode(&[missing]).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot read {missing}: ")),
            "{error}"
        );
    }
    let help = decode(&["--help"]).unwrap_err();
    assert!(help.starts_with("Prints what is in CARP packets"), "{help}");
}

#[test]
fn captures_that_cannot_be_read_are_refused_with_a_reason() {
    let file = std::env::temp_dir().join(format!("decode-test-{}", std::process::id()));
    let whole = fs::read(&captures()[0]).unwrap();
    let garbage: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    let pcapng = [0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0];
    for (bytes, reason) in [
        (&whole[..10], "no readable pcap header: Error reading bytes"),
        (&whole[..30], "after packet 0: Error reading bytes"),
        (
            &whole[..whole.len() - 1],
            "after packet 15: Error reading bytes",
        ),
        (&garbage, "neither pcap nor hex digits"),
        (
            &pcapng,
            "pcapng is not understood; convert it with editcap -F pcap",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = decode(&[file.to_str().unwrap()]).unwrap_err();
        assert_eq!(error, reason);
    }
    fs::write(&file, &whole[..24]).unwrap();
    let empty = decode(&[file.to_str().unwrap()]).unwrap();
    assert_eq!(empty, "0 packets, 0 of other protocols\n");
    fs::remove_file(&file).unwrap();
}

#[test]
fn without_arguments_a_sample_is_explained() {
    let text = decode(&[]).unwrap();
    assert!(
        text.ends_with("badauth; the sender does not share 192.0.2.9\n"),
        "{text}"
    );
}

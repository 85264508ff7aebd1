//! The seeds, replayed through the functions that the fuzzer calls.

use std::fs;
use std::path::Path;

#[test]
fn every_seed_keeps_every_promise() {
    for (name, target) in carp_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count >= 10, "{name} has {count} seeds only");
    }
}

/// One input, by hand: `FUZZ_INPUT=machine:fuzz/artifacts/machine/crash-... cargo test -p carp-fuzz`.
#[test]
fn the_input_named_in_the_environment_keeps_every_promise() {
    let Ok(named) = std::env::var("FUZZ_INPUT") else {
        return;
    };
    let (name, path) = named.split_once(':').expect("TARGET:FILE");
    let (_, target) = carp_fuzz::TARGETS
        .into_iter()
        .find(|(n, _)| *n == name)
        .expect("a target");
    target(&fs::read(path).unwrap());
}

/// What a fuzzer tries first.
#[test]
fn hardly_any_bytes_keep_every_promise() {
    for (_, target) in carp_fuzz::TARGETS {
        for byte in [0x00, 0x01, 0x21, 0x45, 0x60, 0xff] {
            for len in [0, 1, 8, 20, 36, 56, 76, 200, 1000] {
                target(&vec![byte; len]);
            }
        }
    }
}

/// Otherwise a change of the targets' inputs would leave seeds behind that reach nothing.
#[test]
fn the_seeds_are_small() {
    let mut total = 0;
    for (name, _) in carp_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(name);
        for entry in fs::read_dir(folder).unwrap() {
            total += entry.unwrap().metadata().unwrap().len();
        }
    }
    assert!(total < 300 * 1024, "{total} bytes");
}

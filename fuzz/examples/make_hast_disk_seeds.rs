//! Makes the seeds of the targets of `hast_disk` anew from the test vectors of hast-proto:
//!
//! ```sh
//! cargo run -p carp-fuzz --example make_hast_disk_seeds
//! ```
//!
//! `hast_metadata`: every block, without the zeros at its end. `hast_activemap`: every script, on
//! the map that the target has. `hast_conf`: every file, and one with the directives of our own.
//! `hast_saved`: pieces of each kind, without their digests.

#![expect(
    clippy::expect_used,
    reason = "a tool that stops at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

type Seeds = BTreeSet<Vec<u8>>;

/// Longer ones only slow the fuzzer down.
const MAX: usize = 700;

/// A configuration with every directive of our own, which no vector has.
const EXTENSIONS: &[u8] = b"tls on\ntlscert /c\nrequestsize 65536\non hasta { tlskey /k tlsca /a }
resource a {\n\tarbiter http://10.0.0.5:2379\n\tlocal /dev/da0
\ton hasta { remote 10.0.0.2 tlspeer hastb }\n}\n";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = root.join("../hast-proto/tests/vectors");
    let text = fs::read_to_string(vectors.join("hast-metadata.json")).expect("a readable file");
    let disk: Value = serde_json::from_str(&text).expect("JSON");
    let seeds = [
        ("hast_metadata", blocks(&disk)),
        (
            "hast_activemap",
            cases(&disk, "activemap").map(script).collect(),
        ),
        ("hast_conf", configurations(&vectors)),
        ("hast_saved", pieces()),
    ];
    for (name, seeds) in seeds {
        let folder = root.join("seeds").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a writable folder");
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{index:03}")), seed).expect("a writable folder");
        }
        println!("{name}: {} seeds", seeds.len());
    }
}

/// The blocks of `hast-metadata.json`, without the zeros at the end.
fn blocks(file: &Value) -> Seeds {
    let written = cases(file, "write").map(|case| hex(&case["used_hex"]));
    let read = cases(file, "read").map(|case| hex(&case["block_prefix_hex"]));
    let mut seeds: Seeds = written.chain(read).collect();
    seeds.retain(|seed| seed.len() <= MAX);
    seeds
}

/// Places and data as the target reads them.
fn pieces() -> Seeds {
    let place = |offset: u64, length: u32, kind: u32| {
        let numbers = (
            offset.to_le_bytes(),
            length.to_le_bytes(),
            kind.to_le_bytes(),
        );
        [&numbers.0[..], &numbers.1, &numbers.2].concat()
    };
    let data = [place(4096, 7, 1), b"changed".to_vec()].concat();
    let zeros = place(8192, 512, 2);
    Seeds::from([
        place(0, 0, 3),
        [data.clone(), zeros.clone(), place(519, 0, 3)].concat(),
        [data.clone(), data.clone()].concat(),
        [zeros.clone(), place(9, 0, 3)].concat(),
        place(u64::MAX, u32::MAX, 2),
        place(0, 1, 4),
        data.clone(),
        [zeros.clone(), data.clone()].concat(),
        [place(0, 512, 1), vec![0; 512], place(512, 0, 3)].concat(),
        [place((1 << 24) - 1, 1, 1), vec![9], place(1, 0, 3)].concat(),
        place(0, (1 << 20) + 1, 2),
        [place(0, 1 << 20, 2), place(1 << 20, 0, 3)].concat(),
    ])
}

/// The files of `hast-conf`.
fn configurations(vectors: &Path) -> Seeds {
    let mut seeds = Seeds::from([EXTENSIONS.to_vec()]);
    for folder in ["valid", "invalid"] {
        let folder = vectors.join("hast-conf").join(folder);
        for entry in fs::read_dir(folder).expect("the vectors") {
            seeds.insert(fs::read(entry.expect("an entry").path()).expect("a file"));
        }
    }
    seeds.retain(|seed| seed.len() <= MAX);
    seeds
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("octets");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("an octet"))
        .collect()
}

fn cases<'a>(file: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    file[key].as_array().expect("cases").iter()
}

/// Four octets for each step, as the target reads them.
fn script(case: &Value) -> Vec<u8> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_u64().expect("a number"),
    };
    let octet = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    let mut script = vec![octet(number(&case["keepdirty"]) % 8)];
    for step in cases(case, "steps") {
        // Extents have eight sectors there, two to a count.
        let at = || octet(number(&step["offset"]) / number(&case["extentsize"]) * 4);
        let quartets = match step["op"].as_str().expect("a step") {
            "write_start" => vec![0, at(), 0, 0],
            "write_complete" => vec![4, 0, 0, 0],
            "need_sync" => vec![8, at(), 0, 0],
            "load" | "merge" => {
                let mut map = hex(&step["map_prefix_hex"]);
                map.resize(3, 0);
                [&[10], &map[..]].concat()
            }
            "sync_rewind" => vec![11, 0, 0, 0],
            "sync_next" => vec![18, 0, 1, 0, 12, 0, 0, 0],
            _ => vec![24, 0, 0, 0],
        };
        script.extend(quartets);
    }
    script
}

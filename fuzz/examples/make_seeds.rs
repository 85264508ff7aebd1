//! Makes the seeds anew from the test vectors of carp-proto:
//!
//! ```sh
//! cargo run -p carp-fuzz --example make_seeds
//! ```
//!
//! `packet`: every advertisement of `carp-advertisements.json` as a whole IP packet and as what
//! follows the header, and every packet of protocol 112 in the captures and traces, each once.
//! `vrrp`: the VRRP cases of the same file. `verify`: key, vhid and packet of each case that
//! authenticates. `ifconfig`: the words in the traces' configurations, and lines of each form.
//! `machine`: the events of the traces as choices, one for each step.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool that stops at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use serde_json::Value;

type Seeds = BTreeSet<Vec<u8>>;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = root.join("../carp-proto/tests/vectors");
    let advertisements = read_json(&vectors.join("carp-advertisements.json"));
    let traces: Vec<Value> = files(&vectors.join("traces"))
        .iter()
        .map(|path| read_json(path))
        .collect();
    let captures = files(&vectors.join("pcaps"));

    let seeds = [
        ("packet", packets(&advertisements, &traces, &captures)),
        ("vrrp", vrrp(&advertisements)),
        ("verify", exchanges(&advertisements)),
        ("ifconfig", words(&traces)),
        ("machine", scripts(&traces)),
    ];
    for (name, seeds) in seeds {
        let folder = root.join("seeds").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a writable folder");
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{index:03}")), seed).expect("a writable folder");
        }
        let bytes: usize = seeds.iter().map(Vec::len).sum();
        println!("{name}: {} seeds, {bytes} bytes", seeds.len());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the vectors");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a readable file");
    serde_json::from_str(&text).expect("JSON")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn hex(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

fn packets(advertisements: &Value, traces: &[Value], captures: &[PathBuf]) -> Seeds {
    let mut seeds = Seeds::new();
    for case in list(&advertisements["cases"]) {
        for field in ["ip_packet_hex", "computed_ip_packet_hex", "carp_hex"] {
            seeds.extend(hex(&case[field]));
        }
    }
    // The traces repeat themselves: the first two packets of each will do.
    for trace in traces {
        let events = list(&trace["events"]).chain(list(&trace["outputs"]));
        seeds.extend(events.filter_map(|event| hex(&event["pkt"])).take(2));
    }
    for path in captures {
        let file = fs::File::open(path).expect("a readable file");
        // One file describes the captures.
        let Ok(mut reader) = PcapReader::new(file) else {
            continue;
        };
        let mut taken = 0;
        while let Some(Ok(frame)) = reader.next_packet() {
            // Ethernet, of IPv4 or IPv6.
            let carp = match frame.data.get(12..14) {
                Some([0x08, 0x00]) => frame.data.get(23) == Some(&112),
                Some([0x86, 0xdd]) => frame.data.get(20) == Some(&112),
                _ => false,
            };
            if carp && taken < 4 {
                seeds.insert(frame.data[14..].to_vec());
                taken += 1;
            }
        }
    }
    seeds
}

fn vrrp(advertisements: &Value) -> Seeds {
    let mut seeds = Seeds::new();
    for case in list(&advertisements["vrrp_cases"]) {
        let packet = hex(&case["computed_ip_packet_hex"]);
        let bare = hex(&case["vrrp_hex"]);
        // As the structure of the target has it: source, destinations, pseudo header, rest.
        if let (Some(packet), Some(bare)) = (&packet, &bare) {
            let v4 = packet[0] >> 4 == 4;
            let mut seed = vec![0, 0, 0, if v4 { 0x00 } else { 0xff }];
            seed.extend(if v4 { &packet[12..16] } else { &packet[8..24] });
            seed.extend([
                224, 0, 0, 18, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12,
            ]);
            seed.extend([1, 0, 51, 100, 100, 0, 0]);
            seed.extend(bare);
            seeds.insert(seed);
        }
        seeds.extend(packet);
        seeds.extend(bare);
    }
    seeds
}

fn exchanges(advertisements: &Value) -> Seeds {
    let mut seeds = Seeds::new();
    for case in list(&advertisements["cases"]) {
        if case["expect"] != "accept" {
            continue;
        }
        if let (Some(key), Some(bytes)) = (hex(&case["key_hex"]), hex(&case["carp_hex"])) {
            // Key, vhid, no addresses, what was said, and the packet as a forgery.
            let mut seed = key;
            seed.extend([bytes[1], 0, 0, bytes[5], bytes[2], bytes[4]]);
            seed.extend(bytes[8..16].iter().rev());
            seed.extend([0, 100, 0]);
            seed.extend(bytes);
            seeds.insert(seed);
        }
    }
    seeds
}

fn words(traces: &[Value]) -> Seeds {
    let forms = [
        "vhid 1 pass MyPassword advskew 10 advbase 1 peer 192.0.2.7 state backup",
        "inet6 vhid 7 advbase 2 mcast mcast6 2001:db8::1/64 alias",
        "vhid 3 carpver 3 vrrpprio 200 vrrpinterval 50 inet 192.0.2.1/24",
        "vhid 255 peer6 fe80::9 state master 192.0.2.1 -alias",
        "carp: MASTER vhid 1 advbase 1 advskew 0",
        "\tcarp: BACKUP vhid 1 advbase 1 advskew 100\n",
        "carp: INIT vhid 9 advbase 255 advskew 254 key \"secret\"",
        "vrrp: MASTER vrid 1 prio 100 interval 100",
        "peer 224.0.0.18 peer6 ff02::12",
        "vhid 0",
        "vhid 256 advskew 255",
        "vhid 1 pass",
    ];
    let mut seeds: Seeds = forms.iter().map(|form| form.as_bytes().to_vec()).collect();
    for event in traces.iter().flat_map(|trace| list(&trace["events"])) {
        if event["ev"] != "vhid" {
            continue;
        }
        let mut text = format!("vhid {}", event["vhid"]);
        for word in ["advbase", "advskew"] {
            if let Some(number) = event[word].as_u64() {
                text += &format!(" {word} {number}");
            }
        }
        if let Some(key) = event["key"].as_str() {
            text += &format!(" pass {key}");
        }
        seeds.insert(text.into_bytes());
    }
    seeds
}

/// The choices of `operations.rs` for what a trace does: first those of the configuration, all 0,
/// then two or more for each event. Where they do not fit, they are choices all the same.
fn scripts(traces: &[Value]) -> Seeds {
    const DEADLINE: [u8; 1] = [1];
    const DO: u8 = 6;
    let mut seeds = Seeds::new();
    for trace in traces {
        let mut seed = vec![0; 24];
        for event in list(&trace["events"]).take(40) {
            seed.extend(DEADLINE);
            let input: &[u8] = match event["ev"].as_str().unwrap_or_default() {
                "addr_add" => &[DO, 5, 0, 0],
                "addr_del" => &[DO, 5, 1, 0],
                "recv" => &[DO, 1, 0, 1, 0, 0, 2],
                "link" if event["up"] == false => &[DO, 4, 1],
                "link" | "if" => &[DO, 4, 0],
                "sysctl" => &[DO, 6, 1],
                "state" => &[DO, 7, 1],
                _ => &[DO, 0],
            };
            seed.extend(input);
        }
        seed.extend(DEADLINE.repeat(4));
        seeds.insert(seed);
    }
    seeds
}

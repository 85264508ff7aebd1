//! Makes the seeds of the targets of `hast_machines` anew:
//!
//! ```sh
//! cargo run -p carp-fuzz --example make_hast_machine_seeds
//! ```
//!
//! They are choices drawn from a seeded generator: every sequence of octets is a script, and the
//! fuzzer finds the ones that matter by itself.

#![expect(
    clippy::expect_used,
    reason = "a tool that stops at the first surprise"
)]

use std::fs;
use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for name in ["hast_handshake", "hast_primary", "hast_secondary"] {
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        for number in 0..12_u64 {
            let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let script: Vec<u8> = (0..400)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                })
                .collect();
            fs::write(folder.join(format!("{number:03}")), script).expect("a seed");
        }
    }
}

//! Two real hastds on loopback, hastctl between them and NBD clients on top.
//!
//!     cargo test -p examples --test hast
//!     HAST_CYCLES=200 cargo test --release -p examples --test hast -- --ignored many_kills
//!     cargo test -p examples --test hast -- --ignored [tools]
//!     cargo test -p examples --test hast -- --ignored [root] --test-threads=1
//!
//! This program is all of them: it starts itself again as `hastd` and `hastctl`, whose sources it
//! includes, so that what is tested is never older than the test.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::duplicate_mod,
    reason = "a test waits for processes and fails by a panic; both programs have the same modules"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "neither `main` nor the unit tests of an example are run here"
)]
#[path = "../../hastctl.rs"]
mod hastctl;
#[allow(
    dead_code,
    unused_imports,
    reason = "neither `main` nor the unit tests of an example are run here"
)]
#[path = "../../hastd.rs"]
mod hastd;

#[allow(
    dead_code,
    unused_imports,
    reason = "neither `main` nor the unit tests of an example are run here"
)]
#[path = "../../hast_extents.rs"]
mod hast_extents;

mod cluster;
mod control;
#[cfg(target_os = "linux")]
mod disks;
#[cfg(target_os = "linux")]
mod ext4;
mod failures;
#[cfg(target_os = "linux")]
mod fuse;
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod modes;
mod nbd;
#[cfg(target_os = "linux")]
mod network;
mod readme;
mod refusals;
mod relay;
mod roles;
#[cfg(target_os = "linux")]
mod slow;
#[cfg(target_os = "linux")]
mod space;
mod split;
mod tls;
#[cfg(target_os = "linux")]
mod tools;
mod writer;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("hastd") => return hastd::start(env::args_os().skip(1)),
        Some("hastctl") => return hastctl::start(env::args_os().skip(1)),
        _ => {}
    }
    let mut trials = modes::trials();
    trials.extend(refusals::trials());
    trials.extend(split::trials());
    trials.extend(failures::trials());
    trials.extend(control::trials());
    trials.extend(tls::trials());
    trials.extend(readme::trials());
    trials.extend(roles::trials());
    #[cfg(target_os = "linux")]
    {
        trials.extend(disks::trials());
        trials.extend(ext4::trials());
        trials.extend(memory::trials());
        trials.extend(network::trials());
        trials.extend(slow::trials());
        trials.extend(tools::trials());
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that fails by a panic.
fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

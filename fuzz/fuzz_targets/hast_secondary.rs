//! See [`carp_fuzz::hast_machines::hast_secondary`].

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| carp_fuzz::hast_machines::hast_secondary(data));

/// Without libFuzzer there is nothing to start; the tests replay the seeds.
#[cfg(not(fuzzing))]
fn main() {}

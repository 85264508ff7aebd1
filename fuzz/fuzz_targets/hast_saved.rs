//! See [`carp_fuzz::hast_disk::hast_saved`].

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| carp_fuzz::hast_disk::hast_saved(data));

/// Without libFuzzer there is nothing to start; the tests replay the seeds.
#[cfg(not(fuzzing))]
fn main() {}

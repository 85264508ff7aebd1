//! See [`carp_fuzz::nbd::nbd`].

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| carp_fuzz::nbd::nbd(data));

/// Without libFuzzer there is nothing to start; the tests replay the seeds.
#[cfg(not(fuzzing))]
fn main() {}
